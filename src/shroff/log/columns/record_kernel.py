"""Kernels that convert Avro records to JSON lines for `line_kernel`, without a Python object for each.

A record is converted if its line means the same: plain values, each of which may be null, texts without escapes, and
numbers that fit a word. The line of every other record, including a damaged one, is empty.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shroff.engine.kernels.reals import write_digits, write_real
from shroff.engine.kernels.texts import copy_text, write_number
from shroff.events.event import YEAR_1000_MS, YEAR_10000_MS
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, compiled, float_of
from shroff.log.columns.kernel import (
    BACKSLASH,
    CLOSE,
    COLON,
    COMMA,
    DAY_MS,
    DIGITS_MAX,
    LETTER_T_UPPER,
    LETTER_Z,
    MINUS,
    OPEN,
    POINT,
    QUOTE,
    SPACE,
)

UNREAD = 0  # kinds of values; an `UNREAD` one is only skipped
TEXT = 1
SYMBOL = 2
TRUTH = 3
INTEGER = 4
TIME = 5
DECIMAL = 6
DOUBLE = 7
CENTS = 8  # of a 32-bit float
BOUNDED = 9  # a number that no field reads, and that must be within [FIRST, STOP)

KIND = 0  # columns of a plan, which has a row for each field of the record
BYTES = 1  # size of a value, `BY_LENGTH` or `VARYING`
BRANCHES = 2  # of its union, 0 without one
NULL_AT = 3  # index of the null branch; -1 if there is none
FIELD = 4  # index of the type's field; -1 for a value that no field reads
FIRST = 5  # of an enum's symbols; a timestamp's units in a millisecond; a decimal's scale; a number's minimum
STOP = 6  # after the last symbol; the decimals of the field; above the number's maximum
PLAN_COLUMNS = 7

VALUE_BYTES = 40  # size of the longest value that is not a text
BY_LENGTH = -1  # the length precedes the value
VARYING = -2  # the value is a number of variable length
_LONG_BITS = 63
_WORD_BYTES = 8
_ASCII_MAX = 127
_INFINITE = 0x7FF
_CENTS_BELOW = 131_072.0  # below it 32-bit floats are closer than cents, so each amount in cents has its own float
_TRUE = np.frombuffer(b"true".ljust(32), np.uint8)
_FALSE = np.frombuffer(b"false".ljust(32), np.uint8)


@compiled
def _long_of(data: Any, at: Word, end: Word) -> Any:
    """Return a zig-zag number of variable length, and its end; -1 if it has no end, or more than 63 bits."""
    number: Word = 0
    shift = 0
    while at < end and shift < _LONG_BITS:
        byte = np.int64(data[at])
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
    return 0, -1


@compiled
def _word_of(data: Any, first: Word, last: Word) -> Word:
    """Return at most eight bytes as a little-endian number."""
    word: Word = 0
    for k in range(last - first):
        word |= np.int64(data[first + k]) << (8 * k)
    return word


@compiled
def _units_of(data: Any, first: Word, last: Word) -> Any:
    """Return the digits of a decimal, big-endian, and whether they fit a word."""
    units: Word = -1 if first < last and data[first] > _ASCII_MAX else 0
    sign = units & 0xFF
    fits = True
    for k in range(first, last):
        if k < last - _WORD_BYTES:
            fits &= data[k] == sign
        else:
            units = (units << 8) | np.int64(data[k])
    return units, fits and (last - first <= _WORD_BYTES or (units < 0) == (sign != 0))


@compiled
def _cents_of(bits: Word) -> Any:
    """Return the cents of a 32-bit float by its bits, and whether the float is the nearest to them.

    Zero and floats that are not normal count as no fit.
    """
    exponent = (bits >> 23) & 0xFF
    if not 0 < exponent < 0xFF:
        return 0, False
    value = float_of(((bits >> 31) << 63) | ((exponent + 896) << 52) | ((bits & 0x7FFFFF) << 29))
    if not -_CENTS_BELOW < value < _CENTS_BELOW:
        return 0, False
    cents = np.int64(np.rint(value * 100.0))
    return cents, np.float64(np.float32(cents / 100.0)) == value


@compiled
def write_time(out: Any, at: Word, time_ms: Word) -> Word:
    """Write a time with a year of four digits, with milliseconds unless they are 0.

    By Howard Hinnant's algorithm `civil_from_days`.
    """
    days = time_ms // DAY_MS + 719_468
    era = days // 146_097
    of_era = days - era * 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + (3 if shifted < 10 else -9)
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    rest = time_ms % DAY_MS
    out[at] = QUOTE
    at = write_digits(out, at + 1, np.uint64(year), 4)
    out[at] = MINUS
    at = write_digits(out, at + 1, np.uint64(month), 2)
    out[at] = MINUS
    at = write_digits(out, at + 1, np.uint64(of_year - (153 * shifted + 2) // 5 + 1), 2)
    out[at] = LETTER_T_UPPER
    at = write_digits(out, at + 1, np.uint64(rest // 3_600_000), 2)
    out[at] = COLON
    at = write_digits(out, at + 1, np.uint64(rest // 60_000 % 60), 2)
    out[at] = COLON
    at = write_digits(out, at + 1, np.uint64(rest // 1_000 % 60), 2)
    if rest % 1_000 != 0:
        out[at] = POINT
        at = write_digits(out, at + 1, np.uint64(rest % 1_000), 3)
    out[at] = LETTER_Z
    out[at + 1] = QUOTE
    return at + 2


@compiled
def _write_quoted(out: Any, at: Word, source: Any, first: Word, last: Word) -> Word:
    out[at] = QUOTE
    at = copy_text(out, at + 1, source, first, last)
    out[at] = QUOTE
    return at + 1


@compiled
def _write_value(
    out: Any, at: Word, data: Any, first: Word, last: Word, value: Word, step: Any, symbols: Any, symbol_ends: Any
) -> Word:
    """Write a value in [first, last), or a number; return its end, -1 if it cannot be written.

    A value that no field reads is only checked, since there is no room for it.
    """
    kind = step[KIND]
    if kind == TEXT:
        most = 0xFF if step[FIELD] >= 0 else _ASCII_MAX
        plain = True
        for k in range(first, last):
            letter = data[k]
            plain &= (letter >= SPACE) & (letter != QUOTE) & (letter != BACKSLASH) & (letter <= most)
        if step[FIELD] < 0:
            return at if plain else -1
        return _write_quoted(out, at, data, first, last) if plain else -1
    if kind == SYMBOL:
        number = step[FIRST] + value
        if value < 0 or number >= step[STOP]:
            return -1
        if step[FIELD] < 0:
            return at
        return _write_quoted(out, at, symbols, symbol_ends[number], symbol_ends[number + 1])
    if kind == BOUNDED:
        return at if step[FIRST] <= value < step[STOP] else -1
    if kind == TRUTH:
        if data[first] > 1:
            return -1
        return copy_text(out, at, _TRUE, 0, 4) if data[first] else copy_text(out, at, _FALSE, 0, 5)
    if kind == INTEGER:
        return write_number(out, at, value, 0, 0)
    if kind == TIME:
        time_ms = value // step[FIRST]
        return write_time(out, at, time_ms) if YEAR_1000_MS <= time_ms < YEAR_10000_MS else -1
    if kind == DECIMAL:
        units, fits = _units_of(data, first, last)
        places = step[FIRST]
        while places > step[STOP] and units % 10 == 0:
            units //= 10
            places -= 1
        return write_number(out, at, units, places, 0) if fits and places <= DIGITS_MAX else -1
    word = _word_of(data, first, last)
    if kind == DOUBLE:
        return write_real(out, at, word) if ((word >> 52) & _INFINITE) != _INFINITE else -1
    cents, fits = _cents_of(word)
    return write_number(out, at, cents, 2, 0) if fits else -1


@compiled
def _write_line(
    data: Any, at: Word, end: Word, plan: Any, first_step: Word, stop: Word, names: Any, name_ends: Any,
    symbols: Any, symbol_ends: Any, out: Any, to: Word,
) -> Word:  # fmt: skip
    """Write the line of a record; return its end, -1 if it cannot be written."""
    out[to] = OPEN
    to += 1
    for number in range(first_step, stop):
        step = plan[number]
        if step[BRANCHES] > 0:
            branch, at = _long_of(data, at, end)
            if at < 0 or branch < 0 or branch >= step[BRANCHES]:
                return -1
            if branch == step[NULL_AT]:
                continue
        value, size = 0, step[BYTES]
        if size < 0:
            value, at = _long_of(data, at, end)
            if at < 0:
                return -1
            size = value if size == BY_LENGTH else 0
        if size < 0 or size > end - at:
            return -1
        first, at, field = at, at + size, step[FIELD]
        if field >= 0:
            to = copy_text(out, to, names, name_ends[field], name_ends[field + 1])
        if step[KIND] != UNREAD:
            behind = _write_value(out, to, data, first, at, value, step, symbols, symbol_ends)
            if behind < 0:
                return -1
            if field >= 0:
                out[behind] = COMMA
                to = behind + 1
    out[to - 1] = CLOSE
    return to if at == end else -1


_BYTES = "Array(uint8, 1, 'C', readonly=True)"


@native(
    f"int64({_BYTES}, int64[::1], int64, int64[::1], int64[:, ::1], int64[::1], {_BYTES}, int64[::1], {_BYTES},"
    "int64[::1], uint8[::1], int64[::1])"
)
def write_records(
    data: Any, ends: Any, head: Word, forms: Any, plan: Any, plan_ends: Any, names: Any, name_ends: Any,
    symbols: Any, symbol_ends: Any, out: Any, line_ends: Any,
) -> Word:  # fmt: skip
    """Write the lines of concatenated messages, and the end of each; return the end of the last.

    Args:
        head: Bytes before the record of each message.
        forms: Index of the plan of each message, or -1.
        plan: The rows of all plans; `plan_ends` has a 0 and the end of each plan.
        names: Field names as in a line, `"card":`, concatenated.
    """
    begin, to = 0, 0
    for row in range(len(ends)):
        form = forms[row]
        if form >= 0:
            behind = _write_line(
                data, begin + head, ends[row], plan, plan_ends[form], plan_ends[form + 1], names, name_ends,
                symbols, symbol_ends, out, to,
            )  # fmt: skip
            if behind >= 0:
                to = behind
        begin = ends[row]
        line_ends[row] = to
    return to
