"""The keys of shroff.yaml with their meanings (see `language.keys`)."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import ANY, DURATION, NAME, Either, Key, MappingShape, One, Required, choice, mapping_shape
from shroff.project.settings.casework import CASES
from shroff.project.settings.summaries import SUMMARIES
from shroff.project.settings.systems_keys import SYSTEMS

LANGUAGE_VERSION: Final = "1"
UNTAKEN: Final = ("skip", "quarantine")
CURRENCY: Final = One("a currency such as EUR", "^[A-Z]{3}$")
MONEY: Final = mapping_shape(
    """a currency with its decimal places

    currency: The currency, as three capital letters.
        Example: ZAR
    places: Decimal places: 4 for hundredths of a cent.
        Default: those of ISO 4217: JPY 0, KWD 3, most 2
    rates: The table of rates, declared in events.yaml: what one unit of each other currency is in this one, from a time
        on. Fields of the type `money in FIELD` are converted by it.
        Example: fx
    """,
    currency=Required(CURRENCY),
    places=choice(*"012345678"),
    rates=NAME,
)
SETTINGS: Final = MappingShape(
    "the project's settings",
    (
        Key("shroff", "The version of the language.", choice(LANGUAGE_VERSION), is_required=True, examples=("1",)),
        Key("name", "The project's display name.", ANY, is_required=True, examples=("mybank",)),
        Key(
            "money",
            "The project's currency. Without `rates` an amount in another currency is an input error.",
            Either((CURRENCY, MONEY)),
            is_required=True,
            examples=("EUR", "{ currency: ZAR, places: 4 }", "{ currency: EUR, rates: fx }"),
        ),
        Key(
            "lateness",
            "How much older than the newest event an event may be; older events are quarantined.",
            DURATION,
            default="1d",
            examples=("7d",),
        ),
        Key(
            "ahead",
            "How far ahead of the clock the time of an event may be, whether it is live or comes from a file; events "
            "beyond that are quarantined. `off` takes all of them: for synthetic data of the future.",
            Either((DURATION, choice("off"))),
            default="1d",
            examples=("1h", "off"),
        ),
        Key(
            "untaken",
            "Handling of unmatched lines, which no event type's `when` accepts. By default they are skipped, but a "
            "file without any matched line is an error: exit status 4, with each condition and the values found. "
            "`skip` declares such files as expected.",
            choice(*UNTAKEN),
            default="skip",
            examples=("quarantine",),
        ),
        Key(
            "zone",
            "The project's time zone: figures are counted by its days, times on pages and in mails are in it, unless a "
            "person, a notice or an option names no other. Without it days are in UTC, and pages show times in the "
            "browser's time zone.",
            One("a time zone"),
            default="UTC",
            examples=("Europe/Berlin",),
        ),
        *SYSTEMS,
        Key("cases", "Settings of analysts' cases.", CASES, examples=("{ about: { payment: card }, within: 4h }",)),
        Key(
            "summaries",
            "Five-minute summaries that `shroff summaries` writes into SQL tables.",
            SUMMARIES,
            examples=("{ url: sqlite:///summaries.db, columns: { country: country } }",),
        ),
    ),
)
