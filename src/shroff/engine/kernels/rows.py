"""The kernels that write texts row by row: from columns of numbers, and from slices of other texts.

Only what stands here at the end is an entry point. Nothing allocates: the caller gives room for the longest text that
there can be, and `SLACK_BYTES` more behind every array, since texts are copied by whole vectors.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shroff.engine.kernels.reals import length_of, write_digits, write_real
from shroff.features.kernels.native import entry_point
from shroff.features.kernels.numbers import Word, compiled, intrinsic_of

INTEGER: Final = 0
BOOLEAN: Final = 1
MONEY: Final = 2
TEXT: Final = 3  # JSON that was written beforehand: `words` and `stops` say where in `out` it stands
REAL: Final = 4  # the bits of a finite float
NUMBER_BYTES: Final = 40  # of the longest number in quotes, with sign, point and zeros
SLACK_BYTES: Final = 32
_SAFE_MAX: Final = 2**53  # as `events.event.SAFE_INTEGER_MAX`: beyond it an integer is a text

_QUOTE: Final = 0x22
_MINUS: Final = 0x2D
_POINT: Final = 0x2E
_WORDS: Final = np.frombuffer(b"null".ljust(SLACK_BYTES) + b"true".ljust(SLACK_BYTES) + b"false".ljust(64), np.uint8)
_TRUE_AT: Final = SLACK_BYTES
_FALSE_AT: Final = 2 * SLACK_BYTES

Bytes = NDArray[np.uint8]
Words = NDArray[np.int64]


def _copy_vector(typing_context: Any, out: Any, at: Any, source: Any, start: Any) -> Any:
    from llvmlite import ir
    from numba import types

    vector = ir.VectorType(ir.IntType(8), SLACK_BYTES)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def place(array: int) -> Any:
            made = context.make_array(signature.args[array])(context, builder, arguments[array])
            return builder.bitcast(builder.gep(made.data, [arguments[array + 1]]), vector.as_pointer())

        read = builder.load(place(2))
        read.align = 1
        builder.store(read, place(0)).align = 1
        return context.get_dummy_value()

    return types.void(out, types.int64, source, types.int64), generate


# Copy SLACK_BYTES bytes of one array to another.
_copy_32 = intrinsic_of(_copy_vector)


@compiled
def copy_text(out: Any, at: Word, source: Any, start: Word, stop: Word) -> Word:
    """Copy a text, and whatever stands in the vector behind it; gives where the text ends."""
    while start < stop:
        _copy_32(out, at, source, start)
        at += SLACK_BYTES
        start += SLACK_BYTES
    return at - (start - stop)


@compiled
def write_number(out: Any, at: Word, value: Word, places: Word, is_quoted: Word) -> Word:
    """Write a number with a point before so many last digits."""
    if is_quoted:
        out[at] = _QUOTE
        at += 1
    rest = np.uint64(value)
    if value < 0:
        out[at] = _MINUS
        at += 1
        rest = np.uint64(0) - rest
    length = max(length_of(rest), places + 1)
    end = write_digits(out, at, rest, length)
    if places > 0:
        for place in range(end, end - places, -1):
            out[place] = out[place - 1]
        out[end - places] = _POINT
        end += 1
    if is_quoted:
        out[end] = _QUOTE
        end += 1
    return end


@entry_point(
    "int64(uint8[::1], int64, int64[::1], Array(uint8, 1, 'C', readonly=True), int64[::1], int64[:, ::1],"
    "int64[:, ::1], int64[:, ::1], uint8[:, ::1])"
)
def write_rows(
    out: Bytes, at: int, ends: Words, between: Any, between_ends: Words, kinds: Words, words: Words, stops: Words,
    valid: Bytes,
) -> int:  # fmt: skip
    """Write the values of each row from `at` on, one row behind the other, and where each ends.

    Args:
        between: What stands before each value, such as `,"card.spent_1h":`, and behind the last, one after the other.
        kinds: A row for each column: its kind and the places of money.
        stops: As `words`, for columns of texts: where their JSON ends in `out`.
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
def join_slices(out: Bytes, at: int, starts: Words, stops: Words, ends: Words) -> int:
    """Write for each row its slices of `out` before `at`, and the end of the row."""
    for row in range(len(ends)):
        for part in range(starts.shape[1]):
            at = copy_text(out, at, out, starts[row, part], stops[row, part])
        ends[row] = at
    return at
