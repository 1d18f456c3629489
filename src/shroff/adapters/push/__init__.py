"""Pushed sources: Amazon SNS, Google Pub/Sub and webhooks. Here is what shroff.yaml may say of each."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import DURATION, Key, Keys, Many, One, choice
from shroff.streams.settings import CALLS, FILE, VARIABLE, AdapterSettings

TOPIC_ARN: Final = r"arn:aws(-cn|-us-gov)?:sns:[a-z0-9-]{1,40}:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?"
SNS: Final = AdapterSettings(
    "Topics of Amazon SNS, which posts their messages to `/hooks/NAME`.",
    Keys(
        "topics of Amazon SNS",
        (
            Key(
                "topics",
                "The topics whose messages are accepted, by their ARNs.",
                Many("a list of ARNs", One("the ARN of a topic", rf"^({TOPIC_ARN}|{VARIABLE})$")),
                is_required=True,
                examples=("['arn:aws:sns:eu-west-1:123456789012:savings']",),
            ),
            Key(
                "subscribe",
                "Whether a subscription is confirmed by itself (`auto`) or by `shroff sources confirm` (`ask`).",
                choice("ask", "auto"),
                default="ask",
            ),
            Key(
                "password",
                "USER:PASSWORD, as in the address that SNS has (`https://USER:PASSWORD@bank.example/hooks/NAME`). Raw "
                "delivery, which is not signed, needs it; with it every request needs it.",
                One("USER:PASSWORD", rf"^([^:\s]+:\S+|{VARIABLE})$"),
                examples=("${SNS_PASSWORD}",),
            ),
            Key(
                "certificates",
                "A folder of the certificates of SNS (`*.pem`, named as in their addresses), for a service that may "
                "not call outside. Left out, they are fetched.",
                FILE,
                examples=("certs/sns",),
            ),
            *CALLS,
        ),
    ),
    is_called=True,
)
WEBHOOK: Final = AdapterSettings(
    "Signed webhooks, posted to `/hooks/NAME`.",
    Keys(
        "signed webhooks",
        (
            Key(
                "secrets",
                "The secrets that calls are signed with: one, or two while the sender changes to another.",
                Many("a list of secrets", One("a secret", r"^\S+$")),
                is_required=True,
                examples=("['${PARTNER_SECRET}']",),
            ),
            Key(
                "form",
                "How calls are signed: by Standard Webhooks, or with the headers of Stripe or GitHub.",
                choice("standard", "stripe", "github"),
                default="standard",
            ),
            Key(
                "tolerance",
                "How far from now a call may have been signed. GitHub's say nothing of when they were.",
                DURATION,
                default="5m",
            ),
        ),
    ),
)
PUBSUB: Final = AdapterSettings(
    "A push subscription of Google Pub/Sub, with authentication, that posts to `/hooks/NAME`.",
    Keys(
        "push subscriptions of Google Pub/Sub",
        (
            Key(
                "audience",
                "The audience of the subscription's tokens.",
                One("a text", r"^\S+$"),
                is_required=True,
                examples=("https://bank.example/hooks/app_events",),
            ),
            Key(
                "service_account",
                "The service account that the subscription signs its requests as.",
                One("a mail address", rf"^([^@\s]+@[^@\s]+|{VARIABLE})$"),
                is_required=True,
                examples=("push@my-project.iam.gserviceaccount.com",),
            ),
            Key(
                "subscriptions",
                "Only these subscriptions; left out, every one of the service account with this audience.",
                Many("a list of subscriptions", One("a subscription", r"^projects/\S+/subscriptions/\S+$")),
                examples=("[projects/my-project/subscriptions/shroff]",),
            ),
            Key(
                "body",
                "Whether a request has Pub/Sub's own JSON around the message (`wrapped`), or the message alone.",
                choice("wrapped", "unwrapped"),
                default="wrapped",
            ),
            *CALLS,
        ),
    ),
    is_called=True,
)
SETTINGS: Final = {"sns": SNS, "pubsub": PUBSUB, "webhook": WEBHOOK}
