"""Reading the lines of a log into columns, without a Python object for each event; compiled.

Bodies are canonical JSON objects of single values, keys in one order. What is not in the form
in which today's types would write it is marked as odd: Python reads those events one by one.
"""

from __future__ import annotations

from typing import Any, Final

from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, compiled

MISSING: Final = 0
THERE: Final = 1
ODD: Final = 2
TEXT: Final = 1  # kinds of a value's token: a text without escapes, and anything else that stands without quotes
TOKEN: Final = 2
STRANGE: Final = 3

DECIMAL: Final = 0  # kinds of fields whose values are whole numbers here
INTEGER: Final = 1
DURATION: Final = 2
TRUTH: Final = 3
TIME: Final = 4
WORD_KINDS: Final = {
    "money": DECIMAL,
    "number": DECIMAL,
    "integer": INTEGER,
    "duration": DURATION,
    "boolean": TRUTH,
    "time": TIME,
}

NEWLINE: Final = 10
SPACE: Final = 32
QUOTE: Final = 34
COMMA: Final = 44
MINUS: Final = 45
POINT: Final = 46
ZERO: Final = 48
NINE: Final = 57
COLON: Final = 58
BACKSLASH: Final = 92
OPEN: Final = 123
CLOSE: Final = 125
ONE: Final = 49
LETTER_T: Final = 116
LETTER_F: Final = 102
LETTER_T_UPPER: Final = 84
LETTER_Z: Final = 90
LIST: Final = 91
DIGITS_MAX: Final = 18  # that always fit 64 bits
EXACT_DIGITS_MAX: Final = 15  # of a float whose digits are a whole number below 2^53
EXACT_PLACES_MAX: Final = 22  # powers of ten up to here are floats themselves
UNITS_MAX: Final = 10**15
DAY_MS: Final = 86_400_000
SECONDS_MAX_DIGITS: Final = 12


@compiled
def end_of_text(data: Any, at: Word, end: Word) -> Word:
    """Position of the quote that ends a text; `end` if there is none."""
    while at < end and data[at] != QUOTE:
        at += 2 if data[at] == BACKSLASH else 1
    return min(end, at)


@compiled
def number_of(data: Any, first: Word, last: Word, names: Any, name_ends: Any, begin: Word) -> Word:
    """The number of a name among `names` from `begin` on; how many there are where it is none of them."""
    for number in range(begin, len(name_ends) - 1):
        start = name_ends[number]
        if name_ends[number + 1] - start != last - first:
            continue
        same = True
        for k in range(last - first):
            if names[start + k] != data[first + k]:
                same = False
                break
        if same:
            return number
    return len(name_ends) - 1


@compiled
def has_escape(data: Any, first: Word, last: Word) -> Word:
    found = False
    for k in range(first, last):
        found |= data[k] == BACKSLASH
    return found


@native("void(uint8[::1], int64[::1], int64[::1], uint8[::1], int64[::1], int64[:, ::1], int64[:, ::1], uint8[:, ::1])")
def find_values(
    data: Any, begins: Any, ends: Any, names: Any, name_ends: Any, firsts: Any, lasts: Any, kinds: Any
) -> None:
    """Ranges [first, last) of some fields' values in each body, and the token kind of each.

    `names` are as they stand between quotes, in the order of keys. Fields that a body lacks have the kind 0.
    """
    fields = len(name_ends) - 1
    for row in range(len(begins)):
        at, end, wanted = begins[row] + 1, ends[row], 0
        for number in range(fields):
            kinds[number, row] = 0
        while wanted < fields and at < end and data[at] == QUOTE:
            key = at + 1
            at = end_of_text(data, key, end)
            number = number_of(data, key, at, names, name_ends, wanted)
            at += 2  # the quote and the colon
            if at >= end or data[at] == OPEN or data[at] == LIST:
                break
            kind = TEXT if data[at] == QUOTE else TOKEN
            if kind == TEXT:
                first = at + 1
                last = end_of_text(data, first, end)
                at = last + 1
            else:
                first = at
                while at < end and data[at] != COMMA and data[at] != CLOSE:
                    at += 1
                last = at
            if number < fields:
                firsts[number, row] = first
                lasts[number, row] = last
                kinds[number, row] = STRANGE if kind == TEXT and has_escape(data, first, last) else kind
                wanted = number + 1
            at += 1  # the comma, or the end
        if wanted < fields and at != end:  # no flat object: Python says what is wrong with it
            for number in range(fields):
                kinds[number, row] = STRANGE


@native("void(uint8[::1], int64[::1], uint8[::1], int64[::1], int64[::1], uint8[::1], int64[::1])")
def sort_out(data: Any, ends: Any, names: Any, name_ends: Any, types: Any, decided: Any, bodies: Any) -> None:
    """For each line: the number of its kind and type in `names`, whether it was decided, and its body's start.

    A name is the letter of the kind and the type: `epayment`. What is none of them has the number behind the last.
    """
    begin = 0
    for i in range(len(ends)):
        at = begin + 2
        while at < ends[i] and data[at] != SPACE:
            at += 1
        decided[i] = data[begin + 1] == ONE
        data[begin + 1] = data[begin]  # so that the kind stands right before the type
        types[i] = number_of(data, begin + 1, at, names, name_ends, 0)
        bodies[i] = at + 1
        begin = ends[i] + 1


@compiled
def whole_number(data: Any, first: Word, last: Word) -> Any:
    """Digits as a number, and whether they are at most 18 and nothing else."""
    number = 0
    if last <= first or last - first > DIGITS_MAX:
        return number, False
    for k in range(first, last):
        if data[k] < ZERO or data[k] > NINE:
            return number, False
        number = number * 10 + (data[k] - ZERO)
    return number, True


@compiled
def decimal(data: Any, first: Word, last: Word) -> Any:
    """A plain decimal: its signed digits, the number of decimal places, and whether it is valid."""
    negative = first < last and data[first] == MINUS
    at = first + 1 if negative else first
    number, places, count, seen = 0, 0, 0, False
    begin = at
    while at < last:
        if data[at] == POINT and not seen and at > begin:
            seen = True
        elif ZERO <= data[at] <= NINE and count < DIGITS_MAX:
            number = number * 10 + (data[at] - ZERO)
            count += 1
            places += 1 if seen else 0
        else:
            return number, places, count, False
        at += 1
    if count == 0 or (seen and places == 0):
        return number, places, count, False
    return -number if negative else number, places, count, True


@native("void(uint8[::1], int64[::1], int64[::1], uint8[::1], float64[::1], uint8[::1])")
def read_reals(data: Any, firsts: Any, lasts: Any, kinds: Any, values: Any, states: Any) -> None:
    """Floats of so few digits that one division of exact numbers rounds them correctly."""
    for row in range(len(firsts)):
        states[row] = MISSING if kinds[row] == 0 else ODD
        if kinds[row] != TOKEN:
            continue
        number, places, count, fits = decimal(data, firsts[row], lasts[row])
        if fits and count <= EXACT_DIGITS_MAX and places <= EXACT_PLACES_MAX:
            scale = 1.0
            for _ in range(places):
                scale *= 10.0
            values[row] = float(number) / scale
            states[row] = THERE


@compiled
def days_from_civil(year: Word, month: Word, day: Word) -> Word:
    """Days since 1970-01-01 of a date from the year 1000 on (Howard Hinnant's algorithm `days_from_civil`)."""
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
    """`2026-03-01T10:00:00Z`, or with milliseconds, in milliseconds, and whether it is one."""
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


@compiled
def _word_of(data: Any, first: Word, last: Word, token: Word, kind: Word, places: Word) -> Any:
    """A value that is a whole number here, and whether it is one of its kind in the stored form."""
    if kind == TIME:
        value, fits = time_of(data, first, last)
        return value, fits and token == TEXT
    if kind == TRUTH:
        is_true = data[first] == LETTER_T
        return (1 if is_true else 0), token == TOKEN and (is_true or data[first] == LETTER_F)
    number, found, count, fits = decimal(data, first, last)
    if kind == INTEGER:  # beyond 2^53 it is a text
        return number, fits and found == 0
    if kind == DURATION:
        places = 3
        fits = fits and token == TOKEN and count <= SECONDS_MAX_DIGITS
    else:
        fits = fits and token == TEXT
    fits = fits and found <= places
    for _ in range(places - found if fits else 0):
        if -UNITS_MAX <= number <= UNITS_MAX:
            number *= 10
    return number, fits and -UNITS_MAX <= number <= UNITS_MAX


@native("void(uint8[::1], int64[::1], int64[::1], uint8[::1], int64, int64, int64[::1], uint8[::1])")
def read_words(
    data: Any, firsts: Any, lasts: Any, kinds: Any, kind: Word, places: Word, values: Any, states: Any
) -> None:
    """The values of a field in smallest units, milliseconds, or 1 and 0, by one of `WORD_KINDS`.

    `places` are those of money and numbers, which are stored as texts.
    """
    for row in range(len(firsts)):
        states[row] = MISSING if kinds[row] == 0 else ODD
        if kinds[row] == TEXT or kinds[row] == TOKEN:
            value, fits = _word_of(data, firsts[row], lasts[row], kinds[row], kind, places)
            if fits:
                values[row] = value
                states[row] = THERE


@native("void(uint8[::1], int64[::1], int64[::1], uint8[::1], uint8[::1], int32[::1], uint8[::1])")
def gather_texts(data: Any, firsts: Any, lasts: Any, kinds: Any, letters: Any, ends: Any, states: Any) -> None:
    """Texts one behind the other, as Arrow has them. One that is missing or odd is empty."""
    at = 0
    for row in range(len(firsts)):
        ends[row] = at
        states[row] = MISSING if kinds[row] == 0 else ODD
        if kinds[row] == TEXT:
            for k in range(firsts[row], lasts[row]):
                letters[at] = data[k]
                at += 1
            states[row] = THERE
    ends[len(firsts)] = at


@native("int64(uint8[::1], uint8[::1], int64[::1], int8[::1])")
def read_outcomes(data: Any, letters: Any, places: Any, outcomes: Any) -> Word:
    """Lines such as `17 approve` as places and numbers of outcomes by their first `letters`; gives how many there are.

    An outcome that is none of them has the number -1.
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
