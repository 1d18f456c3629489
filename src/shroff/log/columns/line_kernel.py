"""Kernels that read JSON lines of one event type as columns and canonical bodies, without a Python object for each.

A line is read here only if no other reading of it is possible: a flat object of the type's fields, none repeated or
unknown, texts without escapes, decimals with no more digits than fit, times in UTC or in milliseconds. Every other line
is odd, and goes through validation, which has the last word.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from shroff.engine.kernels.texts import copy_text, write_number
from shroff.events.event import YEAR_1000_MS, YEAR_10000_MS
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import VECTOR_BYTES, Word, compiled, first_of, intrinsic_of, vector_in
from shroff.log.columns.kernel import (
    BACKSLASH,
    CLOSE,
    COLON,
    COMMA,
    DIGITS_MAX,
    LETTER_Z,
    MINUS,
    NEWLINE,
    NINE,
    OPEN,
    POINT,
    QUOTE,
    SPACE,
    THERE,
    UNITS_MAX,
    ZERO,
    time_of,
)
from shroff.log.columns.record_kernel import write_time

TEXT = 0  # kinds of fields
CHOICE = 1
MONEY = 2
NUMBER = 3
INTEGER = 4
BOOLEAN = 5
TIME = 6
REAL = 7
DURATION = 8

KIND = 0  # columns of a plan, which has a row for each field
SIZE = 1  # the most bytes of a text, the decimals of a number
IS_OPTIONAL = 2  # 1; or `MAY_LACK` if a value may be absent, but not null or empty
LEAST = 3  # and `MOST`: the bounds of a value, or the range [LEAST, MOST) of the field's choices among all
MOST = 4
PLAN_COLUMNS = 5
MAY_LACK = 2

UNSEEN = 0  # states of a value, beside `THERE`
NOTHING = 2  # null, or an empty text
ODD = 3
NUMBER_BYTES = 40  # size of the longest value that is not a text
_TAB = 9
_RETURN = 13
_FIRST_LETTER = 32  # smaller bytes must not occur in a text
_SAFE_MAX = 2**53
_SECONDS = 19  # characters of a time up to its seconds; milliseconds that are a time have fewer digits
_NULL = np.frombuffer(b"null", np.uint8)
TRUE = np.frombuffer(b"true", np.uint8)
FALSE = np.frombuffer(b"false", np.uint8)


def _count_letters(typing_context: Any, data: Any, at: Any) -> Any:
    from llvmlite import ir
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        read = vector_in(context, builder, signature, arguments, 0)
        compared = zip(("<", "==", "=="), (_FIRST_LETTER, QUOTE, BACKSLASH), strict=True)
        ends = [builder.icmp_unsigned(how, read, read.type([letter] * VECTOR_BYTES)) for how, letter in compared]
        return first_of(builder, builder.bitcast(reduce(builder.or_, ends), ir.IntType(VECTOR_BYTES)))

    return types.int64(data, types.int64), generate


def _count_same(typing_context: Any, data: Any, at: Any, others: Any, other: Any) -> Any:
    from llvmlite import ir
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        reads = [vector_in(context, builder, signature, arguments, array) for array in (0, 2)]
        differs = builder.icmp_unsigned("!=", *reads)
        return first_of(builder, builder.bitcast(differs, ir.IntType(VECTOR_BYTES)))

    return types.int64(data, types.int64, others, types.int64), generate


# Number of bytes before the first one that a text without escapes cannot contain; and before the first one that
# differs between two positions.
_letters, _same = intrinsic_of(_count_letters), intrinsic_of(_count_same)


@compiled
def _behind_blanks(data: Any, at: Word, end: Word) -> Word:
    while at < end and data[at] <= SPACE and data[at] in (SPACE, NEWLINE, _TAB, _RETURN):
        at += 1
    return at


@compiled
def _end_of_letters(data: Any, at: Word) -> Word:
    """Return the end of a text without escapes; if the text has one, no quotation mark is there."""
    count = VECTOR_BYTES
    while count == VECTOR_BYTES and at + VECTOR_BYTES <= len(data):
        count = _letters(data, at)
        at += count
    while data[at] >= _FIRST_LETTER and data[at] != QUOTE and data[at] != BACKSLASH:
        at += 1
    return at


@compiled
def is_same(data: Any, first: Word, last: Word, others: Any, begin: Word, end: Word) -> Word:
    if last - first != end - begin:
        return False
    same = True
    for k in range(end - begin):
        same &= data[first + k] == others[begin + k]
    return same


@compiled
def _field_of(data: Any, first: Word, last: Word, names: Any, name_ends: Any, expected: Word) -> Word:
    """Return the index of the field with a name, searched from the expected one on; -1 if there is none."""
    count = len(name_ends) - 1
    number = expected
    for _ in range(count):
        if number == count:
            number = 0
        if is_same(data, first, last, names, name_ends[number] + 1, name_ends[number + 1] - 2):
            return number
        number += 1
    return -1


@compiled
def _exact_decimal(data: Any, first: Word, last: Word) -> Any:
    """Read a JSON number without exponent: its digits as a signed number, its decimals, and whether it is valid."""
    negative = data[first] == MINUS
    at = first + 1 if negative else first
    number, point, begin = 0, -1, at
    if at >= last or last - at > DIGITS_MAX or (data[at] == ZERO and at + 1 < last and data[at + 1] != POINT):
        return 0, 0, False
    while at < last:
        if ZERO <= data[at] <= NINE:
            number = number * 10 + (data[at] - ZERO)
        elif data[at] == POINT and point < 0 and at > begin:
            point = at
        else:
            return 0, 0, False
        at += 1
    if point == last - 1 or (negative and number == 0):
        return 0, 0, False
    return -number if negative else number, last - 1 - point if point >= 0 else 0, True


@compiled
def _value_of(data: Any, first: Word, last: Word, is_text: Word, field: Any, choices: Any, choice_ends: Any) -> Any:
    """Return the value of a token, 0 for a text, and its state."""
    kind = field[KIND]
    if first == last if is_text else is_same(data, first, last, _NULL, 0, len(_NULL)):
        return 0, NOTHING if field[IS_OPTIONAL] == 1 else ODD
    if kind == TEXT:
        return 0, THERE if is_text and last - first <= field[SIZE] else ODD
    if kind == CHOICE:
        for number in range(field[LEAST], field[MOST] if is_text else 0):
            if is_same(data, first, last, choices, choice_ends[number], choice_ends[number + 1]):
                return 0, THERE
        return 0, ODD
    if kind == BOOLEAN:
        is_true = is_same(data, first, last, TRUE, 0, len(TRUE))
        fits = not is_text and (is_true or is_same(data, first, last, FALSE, 0, len(FALSE)))
        return 1 if is_true else 0, THERE if fits else ODD
    if kind == TIME and is_text and last - first > _SECONDS:
        value, fits = time_of(data, first, last)
    else:
        value, places, fits = _exact_decimal(data, first, last)
        if kind == INTEGER:
            fits = fits and not is_text and places == 0 and -_SAFE_MAX <= value <= _SAFE_MAX
        elif kind == TIME:  # milliseconds
            fits = fits and places == 0 and YEAR_1000_MS <= value < YEAR_10000_MS
        elif kind == REAL:
            return 0, THERE if fits and not is_text else ODD
        else:
            fits = fits and places <= field[SIZE] and not (is_text and kind == DURATION)
            for _ in range(field[SIZE] - places if fits else 0):
                if -UNITS_MAX <= value <= UNITS_MAX:
                    value *= 10
            fits = fits and -UNITS_MAX <= value <= UNITS_MAX
    return value, THERE if fits and field[LEAST] <= value <= field[MOST] else ODD


@compiled
def _is_plain_line(
    data: Any, at: Word, end: Word, row: Word, names: Any, name_ends: Any, plan: Any, choices: Any, choice_ends: Any,
    follows: Any, passes: Word, firsts: Any, lasts: Any, values: Any, states: Any,
) -> Word:  # fmt: skip
    expected = follows[-1]
    at = _behind_blanks(data, at, end)
    if at >= end or data[at] != OPEN:
        return False
    at = _behind_blanks(data, at + 1, end)
    while True:
        if at >= end or data[at] != QUOTE:
            return False
        number, begin = expected, name_ends[expected]
        size = name_ends[expected + 1] - begin
        is_near = size <= VECTOR_BYTES <= len(data) - at and names[begin + 1] >= _FIRST_LETTER
        if is_near and _same(data, at, names, begin) >= size:
            at += size - 1
        else:
            first, at = at + 1, _end_of_letters(data, at + 1)
            number = _field_of(data, first, at, names, name_ends, expected)
            if data[at] != QUOTE:
                return False
            at = _behind_blanks(data, at + 1, end)
        if at >= end or data[at] != COLON or (not passes if number < 0 else states[number, row] != UNSEEN):
            return False
        at = _behind_blanks(data, at + 1, end)
        is_text = data[at] == QUOTE
        first = at + 1 if is_text else at
        if is_text:
            at = last = _end_of_letters(data, first)
            if data[at] != QUOTE:
                return False
            at += 1
        else:
            while at < end and data[at] > SPACE and data[at] != COMMA and data[at] != CLOSE:
                at += 1
            last = at
        if at > end:
            return False
        if number >= 0:
            if is_text and plan[number, KIND] == TEXT and first < last <= first + plan[number, SIZE]:
                states[number, row] = THERE
            else:
                values[number, row], states[number, row] = _value_of(
                    data, first, last, is_text, plan[number], choices, choice_ends
                )
            if states[number, row] == ODD:
                return False
            firsts[number, row] = first
            lasts[number, row] = last
            expected = follows[number]
        at = _behind_blanks(data, at, end)
        if at >= end or (data[at] != COMMA and data[at] != CLOSE):
            return False
        if data[at] == CLOSE:
            break
        at = _behind_blanks(data, at + 1, end)
    if _behind_blanks(data, at + 1, end) != end:
        return False
    has_all = True
    for number in range(len(plan)):
        has_all &= states[number, row] != UNSEEN or plan[number, IS_OPTIONAL] != 0
    return has_all


_BYTES = "Array(uint8, 1, 'C', readonly=True)"


@native(
    f"void({_BYTES}, int64[::1], int64[::1], {_BYTES}, int64[::1], int64[:, ::1], {_BYTES}, int64[::1], int64[::1],"
    "int64, int64[:, ::1], int64[:, ::1], int64[:, ::1], uint8[:, ::1], uint8[::1])"
)
def scan_lines(
    data: Any, begins: Any, ends: Any, names: Any, name_ends: Any, plan: Any, choices: Any, choice_ends: Any,
    follows: Any, passes: Word, firsts: Any, lasts: Any, values: Any, states: Any, odd: Any,
) -> None:  # fmt: skip
    """Read lines into a row each; a zero or a line end must follow the last.

    Args:
        follows: The field expected after each, and the first one; fields may come in any order.
        passes: Whether fields with other names are skipped.
        names: Field names as in a body, `"card":`, concatenated.
        firsts: A row for each field: start of its values in `data`, with ends in `lasts`; both 0 for a missing value.
        states: Like `values`; all `UNSEEN` before the call.
        odd: Set for lines that are not read here; their rows are meaningless.
    """
    for row in range(len(ends)):
        odd[row] = not _is_plain_line(
            data, begins[row], ends[row], row, names, name_ends, plan, choices, choice_ends, follows, passes,
            firsts, lasts, values, states,
        )  # fmt: skip


@native(
    f"int64({_BYTES}, {_BYTES}, int64[::1], int64[:, ::1], int64[::1], int64[:, ::1], int64[:, ::1],"
    "int64[:, ::1], uint8[:, ::1], uint8[::1], uint8[::1], int64[::1])"
)
def write_bodies(
    data: Any, names: Any, name_ends: Any, plan: Any, order: Any, firsts: Any, lasts: Any, values: Any, states: Any,
    odd: Any, out: Any, ends: Any,
) -> Word:  # fmt: skip
    """Write the canonical body of each line that is not odd, fields in `order`, and the end of each body."""
    at = 0
    for row in range(len(ends)):
        if not odd[row]:
            out[at] = OPEN
            at += 1
            for number in order:
                if states[number, row] != THERE:
                    continue
                at = copy_text(out, at, names, name_ends[number], name_ends[number + 1])
                kind, size, value = plan[number, KIND], plan[number, SIZE], values[number, row]
                first, last = firsts[number, row], lasts[number, row]
                if kind in (TEXT, CHOICE):
                    at = copy_text(out, at, data, first - 1, last + 1)
                elif kind == BOOLEAN:
                    at = copy_text(out, at, data, first, last)
                elif kind == TIME and last - first <= _SECONDS:
                    at = write_time(out, at, value)
                elif kind == TIME:
                    at = copy_text(out, at, data, first - 1, first + _SECONDS)
                    if value % 1_000 != 0:
                        at = copy_text(out, at, data, first + _SECONDS, last - 1)
                    out[at] = LETTER_Z
                    out[at + 1] = QUOTE
                    at += 2
                else:
                    while kind == NUMBER and size > 0 and value % 10 == 0:
                        value //= 10
                        size -= 1
                    at = write_number(out, at, value, 0 if kind == INTEGER else size, kind != INTEGER)
                out[at] = COMMA
                at += 1
            out[at - 1] = CLOSE
        ends[row] = at
    return at
