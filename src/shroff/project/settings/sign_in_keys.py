"""The keys of shroff.yaml for how people sign in to the service, and how long they stay (see `language.keys`)."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import ANY, DURATION, Key, Keys, One, choice, own_names
from shroff.streams.settings import CALLS, HTTP, VARIABLE

SIGN_IN: Final = Keys(
    "how people sign in, beside names with passwords",
    (
        Key(
            "oidc",
            "An OpenID provider, to which people are sent to sign in.",
            Keys(
                "an OpenID provider",
                (
                    Key(
                        "issuer",
                        "The provider's address; what it offers is read from /.well-known/openid-configuration there.",
                        HTTP,
                        is_required=True,
                        examples=("https://login.bank.org/realms/bank",),
                    ),
                    Key("client_id", "The name that the provider has for this service.", ANY, is_required=True),
                    Key(
                        "client_secret",
                        "The secret that goes with it, as a variable of the environment. Left out, there is none.",
                        One("a variable of the environment, such as ${OIDC_SECRET}", f"^{VARIABLE}$"),
                        examples=("${OIDC_SECRET}",),
                    ),
                    Key("claim", "The claim that says what somebody may do here.", ANY, default="groups"),
                    Key(
                        "roles",
                        "Which role each value of that claim gives; of several, the one that may do most. Whoever has "
                        "none of them is not let in.",
                        own_names(
                            "values of the claim with their roles",
                            choice("admin", "author", "analyst", "viewer"),
                            pattern="^.{1,200}$",
                        ),
                        is_required=True,
                        examples=("{ fraud-team: analyst, fraud-leads: admin }",),
                    ),
                    *CALLS,
                ),
            ),
            is_required=True,
            examples=("{ issuer: https://login.bank.org, client_id: shroff, roles: { fraud-team: analyst } }",),
        ),
    ),
)

SESSIONS: Final = Keys(
    "how long somebody stays signed in",
    (
        Key(
            "idle",
            "A session ends when it was not used for so long. What a page asks for by itself is no use.",
            DURATION,
            default="1h",
            examples=("15m",),
        ),
        Key(
            "lasts",
            "A session ends after so long, however much it is used; not before `idle`.",
            DURATION,
            default="12h",
            examples=("8h",),
        ),
    ),
)
