"""The kernel that writes JSON objects row by row from columns of numbers; compiled once for all projects.

Only what stands here at the end is an entry point. Nothing allocates: the caller gives
room for the longest text that there can be.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shroff.features.kernels.native import entry_point
from shroff.features.kernels.numbers import Word, compiled

INTEGER: Final = 0
BOOLEAN: Final = 1
MONEY: Final = 2
TEXT: Final = 3  # JSON that was written beforehand: `words` and `stops` say where in `pool` it stands
NUMBER_BYTES: Final = 40  # of the longest number in quotes, with sign, point and zeros
_SAFE_MAX: Final = 2**53  # as `events.event.SAFE_INTEGER_MAX`: beyond it an integer is a text

_QUOTE: Final = 0x22
_MINUS: Final = 0x2D
_POINT: Final = 0x2E
_ZERO: Final = 0x30
_COMMA: Final = 0x2C
_NULL: Final = np.frombuffer(b"null", np.uint8)
_TRUE: Final = np.frombuffer(b"true", np.uint8)
_FALSE: Final = np.frombuffer(b"false", np.uint8)

Bytes = NDArray[np.uint8]
Words = NDArray[np.int64]


@compiled
def _copy(out: Bytes, at: Word, source: Any, start: Word, stop: Word) -> Word:
    for place in range(start, stop):
        out[at] = source[place]
        at += 1
    return at


@compiled
def _digits(out: Bytes, at: Word, value: Word, places: Word) -> Word:
    """Write an unsigned number with a point before so many last digits."""
    # Unsigned words only: one of each kind together would be computed as floats.
    ten = np.uint64(10)
    length = places + 1
    rest = value
    for _ in range(places):
        rest //= ten
    while rest >= ten:
        rest //= ten
        length += 1
    place = at + length
    if places > 0:
        for _ in range(places):
            out[place] = _ZERO + np.int64(value % ten)
            value //= ten
            place -= 1
        out[place] = _POINT
        length += 1
    while place > at:
        place -= 1
        out[place] = _ZERO + np.int64(value % ten)
        value //= ten
    return at + length


@compiled
def _number(out: Bytes, at: Word, value: Word, places: Word, is_quoted: Word) -> Word:
    if is_quoted:
        out[at] = _QUOTE
        at += 1
    if value < 0:
        out[at] = _MINUS
        at = _digits(out, at + 1, np.uint64(0) - np.uint64(value), places)
    else:
        at = _digits(out, at, np.uint64(value), places)
    if is_quoted:
        out[at] = _QUOTE
        at += 1
    return at


@entry_point(
    "int64(uint8[::1], int64[::1], Array(uint8, 1, 'C', readonly=True), int64[::1], int64[:, ::1], int64[:, ::1],"
    "int64[:, ::1], uint8[:, ::1], Array(uint8, 1, 'C', readonly=True))"
)
def write_objects(
    out: Bytes,
    ends: Words,
    names: Any,
    name_ends: Words,
    kinds: Words,
    words: Words,
    stops: Words,
    valid: Bytes,
    pool: Any,
) -> int:
    """Write an object for each row, one behind the other, and where each ends; gives where the last does.

    Args:
        names: What stands before each value, such as `,"card.spent_1h":`, and behind the last, one after the other.
        kinds: A row for each column: its kind and the places of money.
        stops: As `words`, for columns of texts: where their JSON ends in `pool`.
    """
    at = 0
    columns = len(kinds)
    for row in range(len(ends)):
        start = 0
        for column in range(columns):
            at = _copy(out, at, names, start, name_ends[column])
            start = name_ends[column]
            kind = kinds[column, 0]
            value = words[column, row]
            if not valid[column, row]:
                at = _copy(out, at, _NULL, 0, 4)
            elif kind == INTEGER:
                at = _number(out, at, value, 0, value > _SAFE_MAX or value < -_SAFE_MAX)
            elif kind == MONEY:
                at = _number(out, at, value, kinds[column, 1], 1)
            elif kind == TEXT:
                at = _copy(out, at, pool, value, stops[column, row])
            elif value:
                at = _copy(out, at, _TRUE, 0, 4)
            else:
                at = _copy(out, at, _FALSE, 0, 5)
        at = _copy(out, at, names, start, len(names))
        ends[row] = at
    return at


@entry_point("int64(Array(uint8, 1, 'C', readonly=True), int64[::1], int64[::1])")
def find_numbers(listed: Any, starts: Words, stops: Words) -> int:
    """Find the numbers of a JSON list of floats, without the `.0` of whole ones; gives how many there are."""
    start = 1
    count = 0
    for place in range(1, len(listed)):
        if listed[place] == _COMMA or place == len(listed) - 1:
            starts[count] = start
            is_whole = place - start > 2 and listed[place - 1] == _ZERO and listed[place - 2] == _POINT
            stops[count] = place - 2 if is_whole else place
            start = place + 1
            count += 1
    return count
