"""Kernels that read types, times and outcomes of a log's lines as numbers, and the characters that they look for."""

from __future__ import annotations

from typing import Any

from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, compiled

THERE = 1  # state of a value that is present
NEWLINE = 10
SPACE = 32
QUOTE = 34
COMMA = 44
MINUS = 45
POINT = 46
ZERO = 48
NINE = 57
COLON = 58
BACKSLASH = 92
OPEN = 123
CLOSE = 125
LETTER_T_UPPER = 84
LETTER_Z = 90
DIGITS_MAX = 18  # always fit 64 bits
UNITS_MAX = 10**15
DAY_MS = 86_400_000


@compiled
def number_of(data: Any, begin: Word, first: Word, last: Word, names: Any, name_ends: Any) -> Word:
    """Return the index of a kind and type among `names`; their number if there is no match."""
    for number in range(len(name_ends) - 1):
        start = name_ends[number] + 1
        if names[start - 1] != data[begin] or name_ends[number + 1] - start != last - first:
            continue
        same = True
        for k in range(last - first):
            if names[start + k] != data[first + k]:
                same = False
                break
        if same:
            return number
    return len(name_ends) - 1


@native(
    "void(Array(uint8, 1, 'C', readonly=True), int64[::1], Array(uint8, 1, 'C', readonly=True), int64[::1], int64[::1],"
    "int64[::1])"
)
def sort_out(data: Any, ends: Any, names: Any, name_ends: Any, types: Any, bodies: Any) -> None:
    """Set for each line the index of its kind and type in `names`, and the start of its body.

    A name is the letter of the kind and the type: `epayment`. A line without a match gets the number of names.
    """
    begin = 0
    for i in range(len(ends)):
        at = begin + 2
        while at < ends[i] and data[at] != SPACE:
            at += 1
        types[i] = number_of(data, begin, begin + 2, at, names, name_ends)
        bodies[i] = at + 1
        begin = ends[i] + 1


@compiled
def whole_number(data: Any, first: Word, last: Word) -> Any:
    """Return digits as a number, and whether they are 1 to 18 digits and nothing else."""
    number = 0
    if last <= first or last - first > DIGITS_MAX:
        return number, False
    for k in range(first, last):
        if data[k] < ZERO or data[k] > NINE:
            return number, False
        number = number * 10 + (data[k] - ZERO)
    return number, True


@compiled
def days_from_civil(year: Word, month: Word, day: Word) -> Word:
    """Return days since 1970-01-01 for a date from the year 1000 on (Howard Hinnant's algorithm `days_from_civil`)."""
    if month <= 2:
        year -= 1
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@compiled
def days_in(year: Word, month: Word) -> Word:
    if month == 2:
        return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28
    return 30 + (month + month // 8) % 2


@compiled
def time_of(data: Any, first: Word, last: Word) -> Any:
    """Return `2026-03-01T10:00:00Z`, with or without milliseconds, in milliseconds, and whether it is valid."""
    length = last - first
    if not (length == 20 or (length == 24 and data[first + 19] == POINT)):
        return 0, False
    year, y = whole_number(data, first, first + 4)
    month, m = whole_number(data, first + 5, first + 7)
    day, d = whole_number(data, first + 8, first + 10)
    hour, h = whole_number(data, first + 11, first + 13)
    minute, i = whole_number(data, first + 14, first + 16)
    second, s = whole_number(data, first + 17, first + 19)
    rest_ms, r = whole_number(data, first + 20, first + 23) if length == 24 else (0, True)
    fits = y and m and d and h and i and s and r and data[last - 1] == LETTER_Z
    fits = fits and data[first + 4] == MINUS and data[first + 7] == MINUS and data[first + 10] == LETTER_T_UPPER
    fits = fits and data[first + 13] == COLON and data[first + 16] == COLON and year >= 1000
    if not fits or not (1 <= month <= 12 and hour < 24 and minute < 60 and second < 60):
        return 0, False
    if not 1 <= day <= days_in(year, month):
        return 0, False
    seconds = hour * 3_600 + minute * 60 + second
    return days_from_civil(year, month, day) * DAY_MS + seconds * 1_000 + rest_ms, True


@native("int64(uint8[::1], uint8[::1], int64[::1], int8[::1])")
def read_outcomes(data: Any, letters: Any, places: Any, outcomes: Any) -> Word:
    """Read lines such as `17 approve` as sequence numbers and indices of outcomes by first letter; return their number.

    The index of an unknown outcome is -1.
    """
    count, at = 0, 0
    while at < len(data):
        place = 0
        while data[at] != SPACE:
            place = place * 10 + (data[at] - ZERO)
            at += 1
        places[count] = place
        outcomes[count] = -1
        for number in range(len(letters)):
            if letters[number] == data[at + 1]:
                outcomes[count] = number
        while data[at] != NEWLINE:
            at += 1
        at += 1
        count += 1
    return count
