"""Kernels that walk trees and compute scores, compiled once for all models.

Only the last two functions are entry points. Nothing allocates: the caller passes the working space. See
`models.trees.layout` for the arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shroff.arrays import Floats, Ints
from shroff.features.kernels.native import entry_point
from shroff.features.kernels.numbers import Word, compiled, float_of
from shroff.models.trees import score as kernel_score
from shroff.models.trees.layout import (
    ABSENT_LEFT,
    ABSENT_ZERO,
    BLOCK,
    CATEGORY,
    LINK_SHIFT,
    LOOKS_UP,
    SET_HEADER,
    SLOT_MASK,
    TOGETHER,
    ZERO_LEFT,
    ZERO_RIGHT,
)
from shroff.models.trees.score import LN2, POINTS, POWER

_STEPS = 4  # between two checks whether all trees have reached their leaves

_exponential = compiled(kernel_score.exponential)
_sigmoid = compiled(kernel_score.sigmoid)
_between = compiled(kernel_score.between)
_corrected = compiled(kernel_score.corrected)
_rounded = compiled(kernel_score.rounded)


@compiled
def _compare(nodes: Ints, sets: Ints, row: Floats, base: Word, at: Word) -> Word:
    link = nodes[at, 1]
    is_left = row[base + ((link >> 1) & SLOT_MASK)] <= float_of(nodes[at, 0])
    return (link >> LINK_SHIFT) + (0 if is_left else 1)


@compiled
def _decide(nodes: Ints, sets: Ints, row: Floats, base: Word, at: Word) -> Word:
    link = nodes[at, 1]
    value = row[base + ((link >> 1) & SLOT_MASK)]
    if link & LOOKS_UP == 0:
        is_left = value <= float_of(nodes[at, 0])
    else:
        first = nodes[at, 0]
        if np.isnan(value):
            is_left = sets[first + 1] == 1
        else:
            code = np.int64(value)
            word = sets[first + SET_HEADER + (code >> 6)] if code < sets[first] else 0
            is_left = (word >> (code & 63)) & 1 == sets[first + 2]
    return (link >> LINK_SHIFT) + (0 if is_left else 1)


@compiled
def _plus(total: Word, value: Word, is_single: Word) -> Word:
    """Add two numbers. A rounded double sum of single floats equals their single sum (53 >= 2 * 24 + 2 bits)."""
    total = total + value
    return np.float64(np.float32(total)) if is_single else total


def _eight(step: Callable[..., Word]) -> Callable[..., Word]:
    """Add the leaves of eight trees to a sum, in their order.

    They are walked together, so that no step waits for the memory of another tree.
    """

    @compiled
    def walk(
        nodes: Ints,
        values: Floats,
        roots: Ints,
        sets: Ints,
        tree: Word,
        row: Floats,
        base: Word,
        total: Word,
        is_single: Word,
    ) -> Word:
        a = roots[tree, 0]
        b = roots[tree + 1, 0]
        c = roots[tree + 2, 0]
        d = roots[tree + 3, 0]
        e = roots[tree + 4, 0]
        f = roots[tree + 5, 0]
        g = roots[tree + 6, 0]
        h = roots[tree + 7, 0]
        rest = roots[tree, 1]  # steps to the deepest leaf of the eight
        while rest > 0:
            before = a + b + c + d + e + f + g + h
            for _ in range(min(rest, _STEPS)):
                a = step(nodes, sets, row, base, a)
                b = step(nodes, sets, row, base, b)
                c = step(nodes, sets, row, base, c)
                d = step(nodes, sets, row, base, d)
                e = step(nodes, sets, row, base, e)
                f = step(nodes, sets, row, base, f)
                g = step(nodes, sets, row, base, g)
                h = step(nodes, sets, row, base, h)
            rest -= _STEPS
            # A child follows its parent, so equal sums mean that no walk has moved.
            if a + b + c + d + e + f + g + h == before:
                break
        total = _plus(total, values[a], is_single)
        total = _plus(total, values[b], is_single)
        total = _plus(total, values[c], is_single)
        total = _plus(total, values[d], is_single)
        total = _plus(total, values[e], is_single)
        total = _plus(total, values[f], is_single)
        total = _plus(total, values[g], is_single)
        return _plus(total, values[h], is_single)

    return walk


_eight_compared = _eight(_compare)
_eight_decided = _eight(_decide)


@compiled
def _staged(value: Word, way: Word, count: Word) -> Word:
    is_absent = np.isnan(value)
    if way == CATEGORY:
        return value if 0.0 <= value < count else np.nan
    if way in (ZERO_LEFT, ZERO_RIGHT):
        is_absent = is_absent or value == 0.0
    if not is_absent:
        return value
    if way in (ABSENT_LEFT, ZERO_LEFT):
        return -np.inf
    return 0.0 if way == ABSENT_ZERO else np.nan


@entry_point(
    "void(int64[:, ::1], float64[::1], int64[:, ::1], int64[::1], int64[:, ::1], float64, float64, int64, int64,"
    " float64[:, ::1], float64[::1], float64[::1])"
)
def add_leaves(
    nodes: Ints,
    values: Floats,
    roots: Ints,
    sets: Ints,
    slots: Ints,
    start: Word,
    zero_below: Word,
    is_single_input: Word,
    is_single_sum: Word,
    columns: Floats,
    room: Floats,
    out: Floats,
) -> None:
    """Put the margin of each row into `out`: `start`, plus the leaves of all trees in their order.

    Args:
        zero_below: Values with at most this absolute value count as 0.
        is_single_input: Whether values are rounded to single precision before they are compared.
        is_single_sum: Whether each sum is rounded to single precision.
        columns: A row for each input, a column for each row to score.
        room: Working space: a float for each slot of BLOCK rows, or of all rows if these are fewer.
    """
    count = columns.shape[1]
    width = slots.shape[0]
    for first in range(0, count, BLOCK):
        last = min(count, first + BLOCK)
        for slot in range(width):
            source = slots[slot, 0]
            way = slots[slot, 1]
            known = slots[slot, 2]
            for row in range(first, last):
                value = columns[source, row]
                if is_single_input:
                    value = np.float64(np.float32(value))
                elif abs(value) <= zero_below:
                    value = 0.0
                room[(row - first) * width + slot] = _staged(value, way, known)
        for row in range(first, last):
            out[row] = start
        for tree in range(0, roots.shape[0], TOGETHER):
            for row in range(first, last):
                at = (row - first) * width
                if len(sets) > 0:
                    out[row] = _eight_decided(nodes, values, roots, sets, tree, room, at, out[row], is_single_sum)
                else:
                    out[row] = _eight_compared(nodes, values, roots, sets, tree, room, at, out[row], is_single_sum)


@entry_point("void(float64[::1], int64, float64, float64, float64[::1], float64[::1], float64)")
def make_scores(
    margins: Floats, kind: Word, slope: Word, intercept: Word, points: Any, values: Any, kept: Word
) -> None:
    """Replace each margin by its score: the calibrated probability, rounded half-even to six decimals."""
    for row in range(len(margins)):
        margin = margins[row]
        if kind == POINTS:
            probability = _between(margin, points, values)
        elif kind == POWER:
            probability = _exponential(min(0.0, LN2 * margin))
        else:
            margin = slope * margin + intercept
            probability = _sigmoid(margin, _exponential(-abs(margin)))
        margins[row] = _rounded(_corrected(probability, kept))
