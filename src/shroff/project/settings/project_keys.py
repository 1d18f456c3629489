"""The keys of shroff.yaml, each with what it means (see `language.keys`)."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import ANY, DURATION, Either, Key, Keys, One, choice
from shroff.project.settings.casework import CASES
from shroff.project.settings.summaries import SUMMARIES
from shroff.project.settings.systems_keys import SYSTEMS

LANGUAGE_VERSION: Final = "1"
UNTAKEN: Final = ("skip", "quarantine")
CURRENCY: Final = One("a currency such as EUR", "^[A-Z]{3}$")
MONEY: Final = Keys(
    "a currency with its places",
    (
        Key("currency", "The currency, in three capital letters.", CURRENCY, is_required=True, examples=("ZAR",)),
        Key("places", "Decimals of the smallest unit: 4 for hundredths of a cent.", choice(*"012345678"), default="2"),
    ),
)
SETTINGS: Final = Keys(
    "the project's settings",
    (
        Key("shroff", "The version of the language.", choice(LANGUAGE_VERSION), is_required=True, examples=("1",)),
        Key("name", "The project's name, for people.", ANY, is_required=True, examples=("mybank",)),
        Key(
            "money",
            "The one currency. An amount in another one is an input error.",
            Either((CURRENCY, MONEY)),
            is_required=True,
            examples=("EUR", "{ currency: ZAR, places: 4 }"),
        ),
        Key(
            "lateness",
            "How far behind the newest event an event may be; an older one is quarantined.",
            DURATION,
            default="1d",
            examples=("7d",),
        ),
        Key(
            "ahead",
            "How far after its arrival an event of a live source may claim to be; one beyond that is quarantined.",
            DURATION,
            default="1d",
            examples=("1h",),
        ),
        Key(
            "untaken",
            "What becomes of a line that no event type's `when` accepts. Left out, it is skipped, and an input file "
            "of which no line is accepted is an error: exit status 4, with each condition and what it found. `skip` "
            "says that such files are expected.",
            choice(*UNTAKEN),
            default="skip",
            examples=("quarantine",),
        ),
        *SYSTEMS,
        Key(
            "cases",
            "How alerts gather in cases for analysts.",
            CASES,
            examples=("{ about: { payment: card }, within: 4h }",),
        ),
        Key(
            "summaries",
            "Which summaries of five minutes `shroff summaries` writes, and into which SQL tables.",
            SUMMARIES,
            examples=("{ url: sqlite:///summaries.db, columns: { country: country } }",),
        ),
    ),
)
