"""Compiled: count distinct values in windows, and locate quantiles."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints, Ints32
from shroff.features.batch.backfill_plan import (
    BASE,
    OF_LINKS,
    OF_MAP,
    OF_RANKS,
    OF_VALUE,
    PART_END,
    PART_LAST_N,
    PART_LEFT,
    PART_OUT,
    RANK_DENOMINATOR,
    RANK_FUNCTION,
    RANK_NUMERATOR,
    WORDS,
)
from shroff.features.batch.backfill_positions import begin_of, mapped
from shroff.features.kernels.answers import rank_of
from shroff.features.kernels.distinct import home_of
from shroff.features.kernels.layout import MEDIAN
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, compiled

NEVER_AGAIN = (1 << 31) - 1


@native(
    "void(int64, int64, uint8[::1], int64[::1], int64[::1], int64[::1], int32[:, ::1], int64[::1],"
    " int32[:, ::1], int32[::1])"
)
def link_values(
    first: Word,
    last: Word,
    late: Bytes,
    starts: Ints,
    ends: Ints,
    series: Ints,
    maps: Ints32,
    cells: Ints,
    links: Ints32,
    table: Ints32,
) -> None:
    """Link each cell to the previous cell of its key with the same value, -1 if there is none, and to the next one.

    `table` is scratch space for twice the cells of the largest key, rounded up to a power of two.
    """
    of_value, words = series[BASE] + series[OF_VALUE], series[WORDS]
    earlier, later = series[OF_LINKS], series[OF_LINKS] + 1
    for key in range(first, last):
        begin, end = mapped(maps, series[OF_MAP], starts[key]), mapped(maps, series[OF_MAP], ends[key])
        if late[key] != 0 or begin == end:
            continue
        room = np.int64(2)
        while room < 2 * (end - begin):
            room *= 2
        table[:room] = -1
        for at in range(begin, end):
            value = cells[of_value + at * words]
            slot = home_of(value, room)
            while table[slot] >= 0 and cells[of_value + table[slot] * words] != value:
                slot = (slot + 1) & (room - 1)
            before = table[slot]
            links[earlier, at] = before
            links[later, at] = NEVER_AGAIN
            if before >= 0:
                links[later, before] = at
            table[slot] = at


@compiled
def locate_distinct(
    begin: Word, end: Word, series: Ints, maps: Ints32, links: Ints32, part: Ints, base: Word, positions: Ints32
) -> None:
    """Count the distinct values in the window of one set, for the rows [begin, end) of a key.

    An entering cell adds one if the window lacks its value; a leaving cell subtracts one if its value is not in the
    rest of the window.
    """
    of_map, earlier, later = series[OF_MAP], series[OF_LINKS], series[OF_LINKS] + 1
    stop = np.int64(positions[part[PART_END], begin - base])
    low = mapped(maps, of_map, begin_of(positions, begin - base, part[PART_LEFT], part[PART_LAST_N], stop))
    high, different = low, np.int64(0)
    for i in range(begin - base, end - base):
        stop = np.int64(positions[part[PART_END], i])
        window = mapped(maps, of_map, begin_of(positions, i, part[PART_LEFT], part[PART_LAST_N], stop))
        upto = mapped(maps, of_map, stop)
        while high < upto:
            different += np.int64(links[earlier, high] < low)
            high += 1
        while low < window:
            different -= np.int64(links[later, low] >= upto)
            low += 1
        positions[part[PART_OUT], i] = different


@compiled
def merge(
    cells: Ints,
    of_value: Word,
    words: Word,
    ranks: Ints32,
    of_cell: Word,
    low: Word,
    middle: Word,
    high: Word,
    spare: Ints32,
) -> None:
    """Merge the sorted runs [low, middle) and [middle, high)."""
    for i in range(low, middle):
        spare[i - low] = ranks[of_cell, i]
    left, lefts, right, at = np.int64(0), middle - low, middle, low
    while left < lefts and right < high:
        if cells[of_value + ranks[of_cell, right] * words] < cells[of_value + spare[left] * words]:
            ranks[of_cell, at] = ranks[of_cell, right]
            right += 1
        else:
            ranks[of_cell, at] = spare[left]
            left += 1
        at += 1
    for i in range(left, lefts):
        ranks[of_cell, at + i - left] = spare[i]


@native(
    "void(int64, int64, uint8[::1], int64[::1], int64[::1], int64[::1], int32[:, ::1], int64[::1],"
    " int32[:, ::1], int32[::1])"
)
def rank_values(
    first: Word,
    last: Word,
    late: Bytes,
    starts: Ints,
    ends: Ints,
    series: Ints,
    maps: Ints32,
    cells: Ints,
    ranks: Ints32,
    spare: Ints32,
) -> None:
    """Sort the cells of each key by value into two rows: the rank of each cell from 0, and the cell at each rank.

    Merge sort; equal values stay in log order. `spare` is scratch space for the cells of the largest key.
    """
    of_value, words = series[BASE] + series[OF_VALUE], series[WORDS]
    of_rank, of_cell = series[OF_RANKS], series[OF_RANKS] + 1
    for key in range(first, last):
        begin, end = mapped(maps, series[OF_MAP], starts[key]), mapped(maps, series[OF_MAP], ends[key])
        if late[key] != 0:
            continue
        for at in range(begin, end):
            ranks[of_cell, at] = at
        run = np.int64(1)
        while run < end - begin:
            for low in range(begin, end, 2 * run):
                merge(cells, of_value, words, ranks, of_cell, low, min(low + run, end), min(low + 2 * run, end), spare)
            run *= 2
        for at in range(begin, end):
            ranks[of_rank, ranks[of_cell, at]] = at - begin


@compiled
def add(tree: Ints32, size: Word, rank: Word, change: Word) -> None:
    """Add `change` to the number of cells with this rank."""
    node = rank + 1
    while node <= size:
        tree[node] += change
        node += node & -node


@compiled
def rank_at(tree: Ints32, size: Word, top: Word, wanted: Word) -> Word:
    """Return the rank of the counted cell number `wanted`, from 1; `top` is the greatest power of two up to `size`."""
    node, step = np.int64(0), top
    while step > 0:
        if node + step <= size and tree[node + step] < wanted:
            node += step
            wanted -= np.int64(tree[node])
        step >>= 1
    return node


@compiled
def locate_ranks(
    start: Word,
    stop: Word,
    begin: Word,
    end: Word,
    series: Ints,
    maps: Ints32,
    ranks: Ints32,
    part: Ints,
    tree: Ints32,
    base: Word,
    positions: Ints32,
) -> None:
    """Locate one quantile for the rows [begin, end) of the key with cells [start, stop); -1 for an empty window.

    A median has two positions: its lower and its upper middle value.

    `tree` is a Fenwick tree that counts the window's cells by rank, with one node more than the largest key has cells.
    Cost: O(log n) for each cell that enters or leaves, for n cells of the key.
    """
    of_map, of_rank, of_cell = series[OF_MAP], series[OF_RANKS], series[OF_RANKS] + 1
    least = mapped(maps, of_map, start)
    size = mapped(maps, of_map, stop) - least
    tree[: size + 1] = 0
    top = np.int64(1)
    while 2 * top <= size:
        top *= 2
    last = np.int64(positions[part[PART_END], begin - base])
    low = mapped(maps, of_map, begin_of(positions, begin - base, part[PART_LEFT], part[PART_LAST_N], last))
    high, is_median = low, part[RANK_FUNCTION] == MEDIAN
    for i in range(begin - base, end - base):
        last = np.int64(positions[part[PART_END], i])
        window = mapped(maps, of_map, begin_of(positions, i, part[PART_LEFT], part[PART_LAST_N], last))
        upto = mapped(maps, of_map, last)
        while high < upto:
            add(tree, size, np.int64(ranks[of_rank, high]), 1)
            high += 1
        while low < window:
            add(tree, size, np.int64(ranks[of_rank, low]), -1)
            low += 1
        cell, upper = np.int64(-1), np.int64(-1)
        if high > low:
            if is_median:
                upper = np.int64(ranks[of_cell, least + rank_at(tree, size, top, (high - low >> 1) + 1)])
                rank = high - low + 1 >> 1
            else:
                rank = rank_of(high - low, part[RANK_NUMERATOR], part[RANK_DENOMINATOR])
            cell = np.int64(ranks[of_cell, least + rank_at(tree, size, top, rank)])
        positions[part[PART_OUT], i] = cell
        if is_median:
            positions[part[PART_OUT] + 1, i] = upper
