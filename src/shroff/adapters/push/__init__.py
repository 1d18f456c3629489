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
                "The ARNs of the accepted topics.",
                Many("a list of ARNs", One("the ARN of a topic", rf"^({TOPIC_ARN}|{VARIABLE})$")),
                is_required=True,
                examples=("['arn:aws:sns:eu-west-1:123456789012:savings']",),
            ),
            Key(
                "subscribe",
                "How subscriptions are confirmed: automatically (`auto`), or with `shroff sources confirm` (`ask`).",
                choice("ask", "auto"),
                default="ask",
            ),
            Key(
                "password",
                "USER:PASSWORD, as in the URL set in SNS (`https://USER:PASSWORD@bank.example/hooks/NAME`). Raw "
                "delivery requires it, because it is not signed. If set, every request needs it.",
                One("USER:PASSWORD", rf"^([^:\s]+:\S+|{VARIABLE})$"),
                examples=("${SNS_PASSWORD}",),
            ),
            Key(
                "certificates",
                "A folder with the certificates of SNS (`*.pem`, named as in their URLs), for a service without "
                "access to the internet. By default, they are downloaded.",
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
                "The secrets that sign the calls: one, or two during a change of the secret.",
                Many("a list of secrets", One("a secret", r"^\S+$")),
                is_required=True,
                examples=("['${PARTNER_SECRET}']",),
            ),
            Key(
                "form",
                "The signature format: Standard Webhooks, or the headers of Stripe or GitHub.",
                choice("standard", "stripe", "github"),
                default="standard",
            ),
            Key(
                "tolerance",
                "Maximum difference between the signing time of a call and now. GitHub's calls have no signing time.",
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
                "The service account that signs the subscription's requests.",
                One("a mail address", rf"^([^@\s]+@[^@\s]+|{VARIABLE})$"),
                is_required=True,
                examples=("push@my-project.iam.gserviceaccount.com",),
            ),
            Key(
                "subscriptions",
                "Only these subscriptions. By default, every one of the service account with this audience.",
                Many("a list of subscriptions", One("a subscription", r"^projects/\S+/subscriptions/\S+$")),
                examples=("[projects/my-project/subscriptions/shroff]",),
            ),
            Key(
                "body",
                "The body of a request: the message in Pub/Sub's own JSON (`wrapped`), or the message alone "
                "(`unwrapped`).",
                choice("wrapped", "unwrapped"),
                default="wrapped",
            ),
            *CALLS,
        ),
    ),
    is_called=True,
)
SETTINGS: Final = {"sns": SNS, "pubsub": PUBSUB, "webhook": WEBHOOK}
