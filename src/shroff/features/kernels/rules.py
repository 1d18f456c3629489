"""Compiled evaluation of rules with `since flag`, in which each hit resets the aggregates that later rows see.

A rule has a history for each group of its aggregates, and a program for its condition. For each row the histories
answer, the program decides whether the rule hits, and a hit empties the histories of its key before the next row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.keys import forget_key
from shroff.features.kernels.layout import HEAD_WORDS, HEADS, HEADS_ROOM
from shroff.features.kernels.native import entry_point
from shroff.features.kernels.numbers import Word, compiled, intrinsic_of
from shroff.features.kernels.operations import (
    ASKED,
    DO,
    DO_COUNT,
    FIRST_OUT,
    FIRST_ROW,
    HEAP,
    HEAP_SIZE,
    HIT,
    LINKS,
    LINKS_SIZE,
    MISSING,
    NEXTS,
    NEXTS_SIZE,
    NO_HIT,
    OUTS,
    OUTSIDE,
    REGISTER_WORDS,
    RESULT,
    ROWS,
    STOPPED_BY_HEAP,
    STOPPED_BY_WIDTH,
    THERE,
    UNKNOWN,
)
from shroff.features.kernels.programs import evaluate
from shroff.features.kernels.windows import row_step


def _words_at(typing_context: Any, address: Any, size: Any) -> Any:
    from numba import types
    from numba.np import arrayobj

    kind = types.Array(types.int64, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array: Any = arrayobj.make_array(kind)(context, builder)  # type: ignore[no-untyped-call]  # numba's own
        eight = context.get_constant(types.intp, 8)
        pointer = builder.inttoptr(arguments[0], array.data.type)
        parts = {"data": pointer, "shape": [arguments[1]], "strides": [eight], "itemsize": eight, "meminfo": None}
        arrayobj.populate_array(array, **parts)  # type: ignore[no-untyped-call]  # numba's own
        return array._getvalue()  # noqa: SLF001 (how numba's own code takes the value of a struct)

    return kind(types.int64, types.int64), generate


# Returns the 64-bit words at an address as an array, since a kernel cannot take a list of arrays. Its caller keeps the
# memory alive.
words_at = cast("Callable[[Word, Word], Word]", intrinsic_of(_words_at))


@compiled
def load(program: Ints, sources: Ints, row: Word, operands: Ints, there: Bytes, out: Ints, valid: Bytes) -> Word:
    """Fill the registers of a program's operands for a row; return False if an operand does not fit 64 bits."""
    for i in range(sources.size):
        register = i * REGISTER_WORDS
        source = sources[i]
        if source >= 0:
            program[register], program[register + 1] = out[source, row], valid[source, row]
        else:
            program[register], program[register + 1] = operands[~source, row], there[~source, row]
            if program[register + 1] == OUTSIDE:
                return False
        if program[register + 1] == MISSING:
            program[register] = 0
    return True


@compiled
def forget(heap: Ints, key: Word) -> None:
    """Forget a key, unless the history has never seen it."""
    if 0 <= key < heap[HEADS_ROOM]:
        forget_key(heap, heap[HEADS] + key * heap[HEAD_WORDS])


@entry_point(
    "int64(int64[:, ::1], int64[::1], int64, int64[::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " uint8[:, ::1], int64, int64[:, ::1], uint8[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1],"
    " uint8[:, ::1], int64[::1], uint8[::1])"
)
def run_rule(
    groups: Ints,
    stopped: Ints,
    row: Word,
    times: Ints,
    inserts: Ints,
    asks: Ints,
    values: Ints,
    kept: Bytes,
    watermark_ms: Word,
    out: Ints,
    valid: Bytes,
    program: Ints,
    shape: Ints,
    sources: Ints,
    operands: Ints,
    there: Bytes,
    keys: Ints,
    answers: Bytes,
) -> Word:
    """Evaluate a rule for the rows from `row` on; return the row at which Python must help, or the number of rows.

    `answers` says which rows to evaluate (`ASKED`), and receives whether each of them hits. If the evaluation stops
    early, `stopped` receives the group to continue with, and the reason.
    """
    for i in range(row, times.size):
        for g in range(stopped[0], groups.shape[0]):
            heap = words_at(groups[g, HEAP], groups[g, HEAP_SIZE])
            first, last = groups[g, FIRST_ROW], groups[g, FIRST_ROW] + groups[g, ROWS]
            first_out, last_out = groups[g, FIRST_OUT], groups[g, FIRST_OUT] + groups[g, OUTS]
            if not row_step(
                heap,
                i,
                times[i],
                inserts[g, i],
                asks[g, i],
                values[first:last],
                kept[first:last],
                watermark_ms,
                out[first_out:last_out],
                valid[first_out:last_out],
            ):
                stopped[0], stopped[1] = g, STOPPED_BY_HEAP
                return i
        if answers[i] == ASKED:
            fits = load(program, sources, i, operands, there, out, valid)
            if not (fits and evaluate(program, shape[DO], shape[DO_COUNT])):
                stopped[0], stopped[1] = groups.shape[0], STOPPED_BY_WIDTH
                return i
            result = shape[RESULT]
            if program[result + 1] != THERE:
                answers[i] = UNKNOWN
            else:
                answers[i] = HIT if program[result] != 0 else NO_HIT
        if answers[i] == HIT and keys[i] >= 0:
            for g in range(groups.shape[0]):
                heap = words_at(groups[g, HEAP], groups[g, HEAP_SIZE])
                if groups[g, LINKS] == 0:
                    forget(heap, keys[i])
                elif keys[i] < groups[g, LINKS_SIZE]:
                    links = words_at(groups[g, LINKS], groups[g, LINKS_SIZE])
                    nexts = words_at(groups[g, NEXTS], groups[g, NEXTS_SIZE])
                    pair = links[keys[i]]
                    while pair >= 0:
                        forget(heap, pair)
                        pair = nexts[pair]
        stopped[0] = 0
    return times.size
