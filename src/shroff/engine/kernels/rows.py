"""Kernels that write texts row by row: from columns of numbers, and from slices of other texts.

Nothing allocates: the caller provides room for the longest possible text, and `SLACK_BYTES` more after every array,
since texts are copied by whole vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.engine.kernels.reals import write_real
from shroff.engine.kernels.texts import SLACK_BYTES, copy_text, write_number
from shroff.features.kernels.native import entry_point

INTEGER = 0
BOOLEAN = 1
MONEY = 2
TEXT = 3  # JSON written beforehand: `words` and `stops` are its start and end in `out`
REAL = 4  # the bits of a finite float
NUMBER_BYTES = 40  # of the longest number in quotes, with sign, point and zeros
_SAFE_MAX = 2**53  # as `events.event.SAFE_INTEGER_MAX`: a larger integer is a text

_WORDS = np.frombuffer(b"null".ljust(SLACK_BYTES) + b"true".ljust(SLACK_BYTES) + b"false".ljust(64), np.uint8)
_TRUE_AT = SLACK_BYTES
_FALSE_AT = 2 * SLACK_BYTES


@entry_point(
    "int64(uint8[::1], int64, int64[::1], Array(uint8, 1, 'C', readonly=True), int64[::1], int64[:, ::1],"
    "int64[:, ::1], int64[:, ::1], uint8[:, ::1])"
)
def write_rows(
    out: Bytes, at: int, ends: Ints, between: Any, between_ends: Ints, kinds: Ints, words: Ints, stops: Ints,
    valid: Bytes,
) -> int:  # fmt: skip
    """Write the values of each row from `at` on, one row after the other, and the end of each row.

    Args:
        between: Texts before each value, such as `,"card.spent_1h":`, and after the last, concatenated.
        kinds: A row for each column: its kind and the decimals of money.
        words: A row for each column: the value of each event, a number by its kind, or where its JSON begins in `out`.
        stops: A row for each column; for columns of texts the end of their JSON in `out`.
    """
    columns = len(kinds)
    for row in range(len(ends)):
        start = 0
        for column in range(columns):
            at = copy_text(out, at, between, start, between_ends[column])
            start = between_ends[column]
            kind = kinds[column, 0]
            value = words[column, row]
            if not valid[column, row]:
                at = copy_text(out, at, _WORDS, 0, 4)
            elif kind == INTEGER:
                at = write_number(out, at, value, 0, value > _SAFE_MAX or value < -_SAFE_MAX)
            elif kind == MONEY:
                at = write_number(out, at, value, kinds[column, 1], 1)
            elif kind == REAL:
                at = write_real(out, at, value)
            elif kind == TEXT:
                at = copy_text(out, at, out, value, stops[column, row])
            elif value:
                at = copy_text(out, at, _WORDS, _TRUE_AT, _TRUE_AT + 4)
            else:
                at = copy_text(out, at, _WORDS, _FALSE_AT, _FALSE_AT + 5)
        at = copy_text(out, at, between, start, between_ends[columns])
        ends[row] = at
    return at


@entry_point("int64(uint8[::1], int64, int64[:, ::1], int64[:, ::1], int64[::1])")
def join_slices(out: Bytes, at: int, starts: Ints, stops: Ints, ends: Ints) -> int:
    """Write for each row its slices of `out` before `at`, and the end of the row."""
    for row in range(len(ends)):
        for part in range(starts.shape[1]):
            at = copy_text(out, at, out, starts[row, part], stops[row, part])
        ends[row] = at
    return at
