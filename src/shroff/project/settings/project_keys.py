"""Declare the keys of shroff.yaml with their meanings (see `language.keys`)."""

from __future__ import annotations

from shroff.language.keys import ANY, DURATION, NAME, Either, One, Required, choice, mapping_shape
from shroff.project.settings.casework import CASES
from shroff.project.settings.systems_keys import SYSTEMS

LANGUAGE_VERSION = "1"
UNTAKEN = ("skip", "quarantine")
CURRENCY = One("a currency such as EUR", "^[A-Z]{3}$")


class _Currency:
    """A currency with its decimal places.

    currency: The currency, as three capital letters.
        Example: ZAR
    places: Decimal places: 4 for hundredths of a cent.
        Default: those of ISO 4217: JPY 0, KWD 3, most 2
    rates: The table of rates, declared in events.yaml: what one unit of each other currency is in this one, from a time
        on. Fields of the type `money in FIELD` are converted by it.
        Example: fx
    """

    currency = Required(CURRENCY)
    places = choice(*"012345678")
    rates = NAME


MONEY = mapping_shape(_Currency)


class _ProjectSettings:
    """The project's settings.

    shroff: The version of the language.
        Example: 1
    name: The project's display name.
        Example: mybank
    money: The project's currency. Without `rates` an amount in another currency is an input error.
        Example: EUR
        Example: { currency: ZAR, places: 4 }
        Example: { currency: EUR, rates: fx }
    lateness: How much older than the newest event an event may be; older events are quarantined.
        Default: 1d
        Example: 7d
    ahead: How far ahead of the clock the time of an event may be, whether it is live or comes from a file; events
        beyond that are quarantined. `off` takes all of them: for synthetic data of the future.
        Default: 1d
        Example: 1h
        Example: off
    untaken: Handling of unmatched lines, which no event type's `when` accepts. By default they are skipped, but a file
        without any matched line is an error: exit status 4, with each condition and the values found. `skip` declares
        such files as expected.
        Default: skip
        Example: quarantine
    zone: The project's time zone: figures are counted by its days, times on pages and in mails are in it, unless a
        person, a notice or an option names no other. Without it days are in UTC, and pages show times in the browser's
        time zone.
        Default: UTC
        Example: Europe/Berlin
    cases: Settings of analysts' cases.
        Example: { about: { payment: card }, within: 4h }
    """

    shroff = Required(choice(LANGUAGE_VERSION))
    name = Required(ANY)
    money = Required(Either((CURRENCY, MONEY)))
    lateness = DURATION
    ahead = Either((DURATION, choice("off")))
    untaken = choice(*UNTAKEN)
    zone = One("a time zone")
    systems = SYSTEMS
    cases = CASES


SETTINGS = mapping_shape(_ProjectSettings)
