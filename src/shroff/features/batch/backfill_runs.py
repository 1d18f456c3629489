"""Compiled first pass of a backfill for keys with late rows: run by run, late cells inserted in order.

A *run* is a stretch of a key's rows in which time does not fall; its rows are located like those of any other key. A
late cell ends the run and moves back to its position by time: the cells between move by one, as do the totals and the
stacks of extremes. So the processed cells are always ordered by time, then by log order, and the others follow them.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints, Ints32
from shroff.features.batch.backfill_plan import (
    AFTER,
    BASE,
    IS_WIDE,
    NOW,
    OF_MAP,
    OF_SQUARES,
    OF_SUM,
    OF_VALUE,
    START,
    TRACK_FIRST,
    TRACK_FLIP,
    TRACK_LANES,
    TRACK_SERIES,
    WORDS,
)
from shroff.features.batch.backfill_positions import (
    STACK_BOTTOM,
    STACK_COUNT,
    STACK_FED,
    first_younger,
    locate_extremes,
    locate_lefts,
    mapped,
)
from shroff.features.batch.backfill_words import TOGETHER, take_words
from shroff.features.kernels.layout import NEVER_MS
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, compiled


@compiled
def move_total(cells: Ints, base: Word, words: Word, wide: Word, target: Word, source: Word) -> None:
    """Count the value of cell `source`, which is in log order, from cell `target` on."""
    at = base + source * words
    low = cells[at + words] - cells[at]
    high = np.int64(0)
    if wide:
        high = cells[at + words + 1] - cells[at + 1] - np.int64(np.uint64(cells[at + words]) < np.uint64(cells[at]))
    while at > base + target * words:
        before = at - words
        total = cells[before] + low
        if wide:
            cells[at + 1] = cells[before + 1] + high + np.int64(np.uint64(total) < np.uint64(low))
        cells[at] = total
        at = before


@compiled
def move_cell(position: Word, slot: Word, times: Ints, series: Ints, maps: Ints32, cells: Ints) -> None:
    """Move the cell of a slot to an earlier position, in every series."""
    time_ms = times[slot]
    for i in range(slot, position, -1):
        times[i] = times[i - 1]
    times[position] = time_ms
    for number in range(series.shape[0]):
        layout = series[number]
        if layout[BASE] < 0:
            continue
        of_map, words = layout[OF_MAP], layout[WORDS]
        source, target = mapped(maps, of_map, slot), mapped(maps, of_map, position)
        is_kept = np.int64(1)
        if of_map >= 0:
            is_kept = np.int64(maps[of_map, slot + 1] - maps[of_map, slot])
            for i in range(slot, position, -1):
                maps[of_map, i] = maps[of_map, i - 1] + is_kept
        if is_kept == 0:
            continue
        if layout[OF_SUM] >= 0:
            move_total(cells, layout[BASE] + layout[OF_SUM], words, layout[IS_WIDE] != 0, target, source)
        if layout[OF_SQUARES] >= 0:
            move_total(cells, layout[BASE] + layout[OF_SQUARES], words, layout[IS_WIDE] != 0, target, source)
        if layout[OF_VALUE] >= 0:
            at = layout[BASE] + layout[OF_VALUE] + source * words
            value = cells[at]
            for _ in range(target, source):
                cells[at] = cells[at - words]
                at -= words
            cells[at] = value


@compiled
def insert_in_stack(
    stack: Ints, at: Ints, keys: Ints, heads: Ints, first: Word, last: Word, cell: Word, key: Word
) -> None:
    """Insert a late cell into a stack that has seen later cells; heads of the lanes [first, last) move before it."""
    count = stack[STACK_COUNT]
    later = count
    while later > 0 and at[later - 1] >= cell:
        later -= 1
        at[later] += 1
    stack[STACK_FED] += 1
    if cell < stack[STACK_BOTTOM]:
        stack[STACK_BOTTOM] += 1
        return
    if later < count and keys[later] >= key:
        return
    earlier = later
    while earlier > 0 and keys[earlier - 1] <= key:
        earlier -= 1
    if earlier == later:
        for i in range(count, later, -1):
            at[i], keys[i] = at[i - 1], keys[i - 1]
    else:
        for i in range(later, count):
            at[earlier + 1 + i - later], keys[earlier + 1 + i - later] = at[i], keys[i]
    at[earlier], keys[earlier] = cell, key
    stack[STACK_COUNT] = count + 1 - (later - earlier)
    for lane in range(first, last):
        heads[lane] = min(heads[lane], earlier)


@compiled
def insert_in_stacks(
    position: Word,
    series: Ints,
    maps: Ints32,
    cells: Ints,
    tracks: Ints,
    heads: Ints,
    stacks: Ints,
    at: Ints,
    keys: Ints,
) -> None:
    """Insert a late cell, already moved to its position, into every stack that has seen later cells."""
    for t in range(tracks.shape[0]):
        layout = series[tracks[t, TRACK_SERIES]]
        cell = mapped(maps, layout[OF_MAP], position)
        is_kept = layout[OF_MAP] < 0 or maps[layout[OF_MAP], position + 1] > cell
        if is_kept and cell < stacks[t, STACK_FED]:
            key = cells[layout[BASE] + layout[OF_VALUE] + cell * layout[WORDS]] ^ tracks[t, TRACK_FLIP]
            first, lanes = tracks[t, TRACK_FIRST], tracks[t, TRACK_LANES]
            insert_in_stack(stacks[t], at[t], keys[t], heads, first, first + lanes, cell, key)


@native(
    "void(int64, int64, uint8[::1], int64[::1], int64[::1], int32[::1], int64[::1], int64[::1],"
    " int64[::1], int64[::1], int32[::1], int64[::1],"
    " int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int64[:, ::1], int32[:, ::1], int64[::1],"
    " int32[:, ::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1])"
)
def take_late_records(
    first: Word,
    last: Word,
    late: Bytes,
    starts: Ints,
    ends: Ints,
    rows: Ints32,
    times: Ints,
    come: Ints,
    ask_starts: Ints,
    ask_ends: Ints,
    ask_rows: Ints32,
    ask_times: Ints,
    edges: Ints,
    tracks: Ints,
    lanes: Ints,
    groups: Ints,
    queries: Ints,
    series: Ints,
    maps: Ints32,
    cells: Ints,
    positions: Ints32,
    heads: Ints,
    stacks: Ints,
    at: Ints,
    keys: Ints,
    windows: Ints,
    records: Ints,
) -> None:
    """Fill the records of the rows that query the late keys among [first, last).

    `come` is the number of processed cells of each key, from which the next piece of the log continues. Long, because
    it passes all tables and scratch space to its parts.

    Cost: as for other keys, and for each late cell a step per younger cell.
    """
    nows, key_starts, afters = positions[NOW], positions[START], positions[AFTER]
    for key in range(first, last):
        ask, end = ask_starts[key], ask_ends[key]
        if late[key] == 0 or ask == end:
            continue
        start, limit = starts[key], ends[key]
        have = start + come[key]
        newest_ms = times[have - 1] if have > start else np.int64(NEVER_MS)
        newest_ask_ms = np.int64(NEVER_MS)
        stacks[:, STACK_FED] = -1
        stacks[:, STACK_COUNT] = 0
        while ask < end:
            begin, count, is_late = ask, np.int64(0), False
            while ask < end and count < TOGETHER and not is_late:
                row, time_ms = ask_rows[np.uint64(ask)], ask_times[np.uint64(ask)]
                # Cells before this row; one that is older than a cell or row of the run waits for the run's end.
                oldest_ms = max(newest_ms, newest_ask_ms)
                while have < limit and rows[np.uint64(have)] < row and times[np.uint64(have)] >= oldest_ms:
                    newest_ms = oldest_ms = times[np.uint64(have)]
                    have += 1
                has_waiting = have < limit and rows[np.uint64(have)] < row
                is_late = time_ms < max(newest_ms, newest_ask_ms)
                if (has_waiting or is_late) and count > 0:
                    is_late = False
                    break
                while have < limit and rows[np.uint64(have)] < row:
                    time_of_cell = times[np.uint64(have)]
                    if time_of_cell < newest_ms:
                        position = first_younger(times, start, have, time_of_cell)
                        move_cell(position, have, times, series, maps, cells)
                        insert_in_stacks(position, series, maps, cells, tracks, heads, stacks, at, keys)
                    newest_ms = max(newest_ms, time_of_cell)
                    have += 1
                is_late = time_ms < max(newest_ms, newest_ask_ms)
                own = np.int64(have < limit and rows[np.uint64(have)] == row)
                now = have
                if time_ms < newest_ms:
                    now = first_younger(times, start, have, time_ms)
                    if own:
                        move_cell(now, have, times, series, maps, cells)
                        insert_in_stacks(now, series, maps, cells, tracks, heads, stacks, at, keys)
                have += own
                newest_ms = max(newest_ms, time_ms) if own else newest_ms
                newest_ask_ms = max(newest_ask_ms, time_ms)
                nows[count], key_starts[count], afters[count] = now, start, now + own
                count += 1
                ask += 1
            locate_lefts(start, have, times, begin, begin + count, ask_times, edges, begin, positions)
            for t in range(tracks.shape[0]):
                layout, track, stack = series[tracks[t, TRACK_SERIES]], tracks[t], stacks[t]
                locate_extremes(
                    0, count, is_late, layout, maps, cells, track, lanes, heads, stack, at[t], keys[t], positions
                )
            near = positions[:, :TOGETHER]
            take_words(count, groups, queries, series, maps, cells, near, windows, records[begin : begin + count])
        come[key] = have - start
