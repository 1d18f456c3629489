"""Compiled first pass of a backfill, key by key: from positions to the words of each query row."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints, Ints32
from shroff.features.batch.backfill_plan import (
    BASE,
    EVENTS_WORD,
    GROUP_END,
    GROUP_FIRST,
    GROUP_LAST_N,
    GROUP_LEFT,
    GROUP_QUERIES,
    GROUP_SERIES,
    IS_REAL,
    IS_WIDE,
    N_WORD,
    OF_MAP,
    OF_SQUARES,
    OF_SUM,
    OF_VALUE,
    PART_SERIES,
    QUERY_FUNCTION,
    QUERY_POSITION,
    QUERY_WORD,
    SCALE,
    SQUARES_WORD,
    SUM_WORD,
    TRACK_SERIES,
    WORDS,
)
from shroff.features.batch.backfill_positions import STACK_FED, begin_of, locate_edges, locate_extremes
from shroff.features.batch.backfill_values import locate_distinct, locate_ranks
from shroff.features.kernels.layout import DISTINCT, FIRST, LAST, MEDIAN
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, bits_of, compiled, middle

TOGETHER = 512  # rows whose records are filled together: these stay in the second-level cache


@compiled
def word_of(cells: Ints, base: Word, words: Word, cell: Word) -> Word:
    """Return one word of a cell; the index is unsigned, because signed ones are checked for negative values."""
    return cells[np.uint64(base + cell * words)]


@compiled
def take_total(
    rows: Word, begins: Ints, ends: Ints, cells: Ints, base: Word, words: Word, wide: Word, records: Ints, word: Word
) -> None:
    """Subtract the total before each window from that at its end."""
    for i in range(rows):
        after, before = word_of(cells, base, words, ends[i]), word_of(cells, base, words, begins[i])
        records[i, word] = after - before
        if wide:
            high = word_of(cells, base + 1, words, ends[i]) - word_of(cells, base + 1, words, begins[i])
            records[i, word + 1] = high - np.int64(np.uint64(after) < np.uint64(before))


@compiled
def take_value(
    rows: Word, begins: Ints, ends: Ints, query: Ints, series: Ints, cells: Ints, positions: Ints32, records: Ints
) -> None:
    """Store the value that a query reads; arbitrary if its window is empty."""
    function, word = query[QUERY_FUNCTION], query[QUERY_WORD]
    base, words = series[BASE] + series[OF_VALUE], series[WORDS]
    if FIRST <= function <= LAST:
        for i in range(rows):
            cell = begins[i] if function == FIRST else ends[i] - 1
            records[i, word] = word_of(cells, base, words, cell if ends[i] > begins[i] else 0)
        return
    found = positions[query[QUERY_POSITION]]
    if function == DISTINCT:
        for i in range(rows):
            records[i, word] = found[i]
    elif function == MEDIAN:
        uppers = positions[query[QUERY_POSITION] + 1]
        for i in range(rows):
            low = word_of(cells, base, words, np.int64(max(found[i], 0)))
            high = word_of(cells, base, words, np.int64(max(uppers[i], 0)))
            records[i, word] = bits_of(middle(low, high, series[SCALE], series[IS_REAL] != 0))
    else:
        for i in range(rows):
            records[i, word] = word_of(cells, base, words, np.int64(max(found[i], 0)))


@compiled
def take_words(
    rows: Word,
    groups: Ints,
    queries: Ints,
    series: Ints,
    maps: Ints32,
    cells: Ints,
    positions: Ints32,
    windows: Ints,
    records: Ints,
) -> None:
    """Fill the records of some rows from their positions; `windows` is scratch space for bounds."""
    begins, ends = windows[0], windows[1]
    for g in range(groups.shape[0]):
        group = groups[g]
        of_end, left, last_n = positions[group[GROUP_END]], group[GROUP_LEFT], group[GROUP_LAST_N]
        for i in range(rows):
            ends[i] = of_end[i]
            begins[i] = begin_of(positions, i, left, last_n, ends[i])
        if group[EVENTS_WORD] >= 0:
            for i in range(rows):
                records[i, group[EVENTS_WORD]] = ends[i] - begins[i]
        number = group[GROUP_SERIES]
        if number >= 0 and series[number, OF_MAP] >= 0:
            for i in range(rows):
                begins[i] = maps[series[number, OF_MAP], begins[i]]
                ends[i] = maps[series[number, OF_MAP], ends[i]]
        for i in range(rows):
            records[i, group[N_WORD]] = ends[i] - begins[i]
        if group[SUM_WORD] >= 0:
            layout = series[number]
            base, words, wide = layout[BASE], layout[WORDS], layout[IS_WIDE] != 0
            take_total(rows, begins, ends, cells, base + layout[OF_SUM], words, wide, records, group[SUM_WORD])
            if group[SQUARES_WORD] >= 0:
                take_total(
                    rows, begins, ends, cells, base + layout[OF_SQUARES], words, wide, records, group[SQUARES_WORD]
                )
        for q in range(group[GROUP_FIRST], group[GROUP_FIRST] + group[GROUP_QUERIES]):
            if queries[q, QUERY_WORD] >= 0:
                take_value(rows, begins, ends, queries[q], series[number], cells, positions, records)


@native(
    "void(int64, int64, uint8[::1], int64[::1], int64[::1], int32[::1], int64[::1],"
    " int64[::1], int64[::1], int32[::1], int64[::1],"
    " int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int64[:, ::1], int32[:, ::1], int64[::1], int32[:, ::1], int32[:, ::1],"
    " int32[:, ::1], int64[::1], int64[::1], int64[::1], int64[::1], int32[::1], int64[:, ::1], int64[:, ::1])"
)
def take_records(
    first: Word,
    last: Word,
    late: Bytes,
    starts: Ints,
    ends: Ints,
    rows: Ints32,
    times: Ints,
    ask_starts: Ints,
    ask_ends: Ints,
    ask_rows: Ints32,
    ask_times: Ints,
    edges: Ints,
    tracks: Ints,
    lanes: Ints,
    sets: Ints,
    quantiles: Ints,
    groups: Ints,
    queries: Ints,
    series: Ints,
    maps: Ints32,
    cells: Ints,
    links: Ints32,
    ranks: Ints32,
    positions: Ints32,
    heads: Ints,
    stack: Ints,
    at: Ints,
    keys: Ints,
    tree: Ints32,
    windows: Ints,
    records: Ints,
) -> None:
    """Fill the records of the rows that query the keys [first, last), except keys with late rows.

    Keys are grouped up to `TOGETHER` rows, so that positions are read while they are in the cache. Long, because it
    passes all tables and scratch space to its parts.
    """
    key, is_late = first, False
    while key < last:
        if late[key] != 0:
            key += 1
            continue
        base: Word = ask_starts[key]
        done: Word = base
        while key < last and late[key] == 0 and done - base < TOGETHER:
            begin, end = ask_starts[key], ask_ends[key]
            done = end
            if begin < end:
                start, stop = starts[key], ends[key]
                locate_edges(start, stop, rows, times, begin, end, ask_rows, ask_times, edges, base, positions)
                slot, slot_end = begin - base, end - base
                for t in range(tracks.shape[0]):
                    track, layout, stack[STACK_FED] = tracks[t], series[tracks[t, TRACK_SERIES]], -1
                    locate_extremes(
                        slot, slot_end, is_late, layout, maps, cells, track, lanes, heads, stack, at, keys, positions
                    )
                for p in range(sets.shape[0]):
                    locate_distinct(begin, end, series[sets[p, PART_SERIES]], maps, links, sets[p], base, positions)
                for p in range(quantiles.shape[0]):
                    layout = series[quantiles[p, PART_SERIES]]
                    locate_ranks(start, stop, begin, end, layout, maps, ranks, quantiles[p], tree, base, positions)
            key += 1
        for low in range(base, done, TOGETHER):
            high: Word = min(low + TOGETHER, done)
            near = positions[:, low - base : high - base]
            take_words(high - low, groups, queries, series, maps, cells, near, windows, records[low:high])
