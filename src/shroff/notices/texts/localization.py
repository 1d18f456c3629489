"""Money, times and masked card numbers in each language."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from shroff.language.values import MINUTE_MS, show_decimal
from shroff.notices.texts.words import DAYS, MARKS, MONTHS, WORDS
from shroff.runtime.texts import one_line

NO_BREAK = "\u00a0"
MINUS = "\u2212"
HASHED = re.compile(r"hashed:[0-9a-f]{32}:(.{0,4})")
_CARD = re.compile(r"(?<![0-9A-Za-z])(?:[0-9][ -]?){11,18}[0-9](?![0-9A-Za-z])")
_HIDDEN_CARD = re.compile(r"(?<![0-9])(?:[0-9][ ./_-]?){11,18}[0-9](?![0-9])")  # card numbers only by their check digit
_MASKED_CARD = re.compile(r"(?:[0-9]{4,6})?[ -]?[•·*xX.][•·*xX. -]*[0-9]{4}")
_HIDDEN = "••••"


def money_text(units: int, decimals: int, currency: str, language: str) -> str:
    r"""Format an amount for people.

    >>> money_text(166190, 2, "EUR", "en"), money_text(166190, 2, "EUR", "de")
    ('1,661.90\xa0EUR', '1.661,90\xa0EUR')
    """
    thousands, point = MARKS[language]
    whole_units, _, fraction = show_decimal(abs(units), decimals).partition(".")
    text = f"{int(whole_units):,}".replace(",", thousands) + (point + fraction if fraction else "")
    return f"{MINUS if units < 0 else ''}{text}{NO_BREAK}{currency}"


def count_text(count: int, language: str) -> str:
    """Format a count with thousands separators."""
    return f"{count:,}".replace(",", MARKS[language][0])


def share_text(share: float, language: str) -> str:
    """Format a share as a percentage."""
    return f"{100 * share:.1f}".replace(".", MARKS[language][1]) + f"{NO_BREAK}%"


def day_text(at_ms: int, zone: str, language: str) -> str:
    """Format a day without its year: `20 July`."""
    moment = _local_time(at_ms, zone)
    return WORDS[language]["day"].format(day=moment.day, month=MONTHS[language][moment.month - 1])


def moment_text(at_ms: int, zone: str, language: str) -> str:
    """Format a time with its weekday and time zone: `Monday 20 July 2026, 14:32, Berlin time`."""
    moment = _local_time(at_ms, zone)
    city = zone.rpartition("/")[2].replace("_", " ")
    return WORDS[language]["moment"].format(
        weekday=DAYS[language][moment.weekday()],
        day=moment.day,
        month=MONTHS[language][moment.month - 1],
        year=moment.year,
        time=f"{moment:%H:%M}",
        zone="UTC" if zone == "UTC" else WORDS[language]["time_in"].format(place=city),
    )


def until_text(at_ms: int, zone: str, language: str) -> str:
    """Format a time in the near future: `21 July, 14:32`."""
    return f"{day_text(at_ms, zone, language)}, {_local_time(at_ms, zone):%H:%M}"


def lasting_text(length_ms: int, language: str) -> str:
    r"""Format a duration by its two largest units; the shortest is a minute.

    >>> lasting_text(7_500_000, "en"), lasting_text(90_000_000, "de"), lasting_text(200, "en")
    ('2\xa0h 5\xa0min', '1\xa0T 1\xa0Std.', '1\xa0min')
    """
    minutes = max(1, length_ms // MINUTE_MS)
    counts = {"days": minutes // 1_440, "hours": minutes // 60 % 24, "minutes": minutes % 60}
    first = next(index for index, count in enumerate(counts.values()) if count)
    parts = [(name, count) for name, count in list(counts.items())[first : first + 2] if count]
    return " ".join(WORDS[language][name].format(count=count).replace(" ", NO_BREAK) for name, count in parts)


def _local_time(at_ms: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).astimezone(ZoneInfo(zone))


def card_end(text: str) -> str:
    """Return the last four digits of a complete, hashed or masked card number; empty for any other text.

    The id of a card, such as `c-000186`, has no digits that its holder knows.

    >>> card_end("4000 1234 1234 4417"), card_end("•••• 4417"), card_end("hashed:" + 32 * "a" + ":4417")
    ('4417', '4417', '4417')
    >>> card_end("c-000186"), card_end("186"), card_end("20260528143000123456")
    ('', '', '')
    """
    match = _CARD.fullmatch(text) or _MASKED_CARD.fullmatch(text) or HASHED.fullmatch(text)
    digits = "" if match is None else text[-4:]
    return digits if digits.isdecimal() and digits.isascii() else ""


def covered(text: str) -> str:
    """Mask a possible card number, and the digest of a hashed value.

    Digits inside words or with other separators count as a card number only if the check digit is right.

    >>> covered("paid with 4000 1234 1234 4417 today"), covered("PAN4111.1111.1111.1111, from 192.168.100.200")
    ('paid with •••• 4417 today', 'PAN•••• 1111, from 192.168.100.200')
    """
    text = HASHED.sub(lambda match: f"{_HIDDEN} {match[1]}".rstrip(), text)
    text = _CARD.sub(lambda match: f"{_HIDDEN} {match[0][-4:]}", text)
    return _HIDDEN_CARD.sub(lambda match: f"{_HIDDEN} {match[0][-4:]}" if _is_card(match[0]) else match[0], text)


def has_card(text: str) -> bool:
    """Whether a text contains a card number, by its check digit.

    >>> has_card("4111111111111111@bank.example"), has_card("900011112222@bank.example")
    (True, False)
    """
    return any(_is_card(digits) for digits in _HIDDEN_CARD.findall(text))


def _is_card(text: str) -> bool:
    """Whether digits end in the check digit of a card: ISO/IEC 7812-1, annex B."""
    digits = [int(digit) for digit in reversed(text) if digit.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def plain(text: str) -> str:
    """Prepare a text of an event for any mail: one line, without card numbers."""
    return covered(one_line(text))
