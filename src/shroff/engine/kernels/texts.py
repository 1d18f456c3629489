"""Writes a text or a number into an array of bytes; without entry points, so that importing it loads nothing.

Texts are copied by whole vectors: every array needs `SLACK_BYTES` more after its end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shroff.engine.kernels.reals import length_of, write_digits
from shroff.features.kernels.numbers import Word, compiled, intrinsic_of

SLACK_BYTES = 32
_QUOTE = 0x22
_MINUS = 0x2D
_POINT = 0x2E


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
    """Copy a text, and whatever follows it within the vector; return the end of the text."""
    while start < stop:
        _copy_32(out, at, source, start)
        at += SLACK_BYTES
        start += SLACK_BYTES
    return at - (start - stop)


@compiled
def write_number(out: Any, at: Word, value: Word, places: Word, is_quoted: Word) -> Word:
    """Write a number with a point before its last `places` digits."""
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
