"""Compiled first pass of a backfill for keys with late rows: run by run, late cells inserted in order.

A *run* is a stretch of a key's rows in which time does not fall. Behind the cells of a run
nothing has come yet, so its rows are placed as those of any other key. Where a late cell
comes, the run ends, and the cell moves from its place in the log to its place in time: the
cells between move by one, and so do the totals and the stacks of extremes. So the cells that
have come always stand in the order (time, place in the log), and the others behind them.
"""

from __future__ import annotations

import numpy as np

from shroff.features.batch.backfill_kernels import Flags, ProjectPaths, Words
from shroff.features.batch.backfill_places import begin_of, first_stack, first_younger, mapped
from shroff.features.batch.backfill_plan import (
    AFTER,
    BASE,
    IS_WIDE,
    LANE_LAST_N,
    LANE_LEFT,
    LANE_OUT,
    NOW,
    OF_MAP,
    OF_SQUARES,
    OF_SUM,
    OF_VALUE,
    START,
    TRACK_END,
    TRACK_FIRST,
    TRACK_FLIP,
    TRACK_LANES,
    TRACK_SERIES,
    WORDS,
)
from shroff.features.batch.backfill_words import TOGETHER, take_words
from shroff.features.kernels.layout import NEVER_MS
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, compiled

# The stack of one track: its cells are those of [bottom, fed) that no later one outdoes.
STACK_COUNT = 0
STACK_BOTTOM = 1
STACK_FED = 2  # -1: nothing was asked yet
STACK_WORDS = 3


@compiled
def move_total(cells: Words, base: Word, words: Word, wide: Word, target: Word, source: Word) -> None:
    """Let the value of cell `source`, in the order of the log, count from cell `target` on."""
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
def move_cell(position: Word, slot: Word, times: Words, series: Words, maps: ProjectPaths, cells: Words) -> None:
    """Move the cell of a slot to a position before it, in every series."""
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
    stack: Words, at: Words, keys: Words, heads: Words, first: Word, last: Word, cell: Word, key: Word
) -> None:
    """Take in a late cell among those that a stack was fed; heads of the lanes [first, last) stay before it."""
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
    series: Words,
    maps: ProjectPaths,
    cells: Words,
    tracks: Words,
    heads: Words,
    stacks: Words,
    at: Words,
    keys: Words,
) -> None:
    """Tell every stack that was fed beyond it of a late cell, which is at its position by now."""
    for t in range(tracks.shape[0]):
        layout = series[tracks[t, TRACK_SERIES]]
        cell = mapped(maps, layout[OF_MAP], position)
        is_kept = layout[OF_MAP] < 0 or maps[layout[OF_MAP], position + 1] > cell
        if is_kept and cell < stacks[t, STACK_FED]:
            key = cells[layout[BASE] + layout[OF_VALUE] + cell * layout[WORDS]] ^ tracks[t, TRACK_FLIP]
            first, lanes = tracks[t, TRACK_FIRST], tracks[t, TRACK_LANES]
            insert_in_stack(stacks[t], at[t], keys[t], heads, first, first + lanes, cell, key)


@compiled
def greatest(cells: Words, of_value: Word, words: Word, flip: Word, low: Word, high: Word) -> Word:
    """The last cell with the greatest key in [low, high); -1 if empty. Cost: one step per cell."""
    found: Word = np.int64(-1)
    best: Word = np.int64(0)
    for cell in range(low, high):
        key = cells[of_value + cell * words] ^ flip
        if found < 0 or key >= best:
            found, best = cell, key
    return found


@compiled
def feed_stack(
    cells: Words,
    of_value: Word,
    words: Word,
    flip: Word,
    upto: Word,
    stack: Words,
    at: Words,
    keys: Words,
    heads: Words,
    first: Word,
    last: Word,
) -> None:
    """Let a stack take in the cells before `upto`; the heads of the lanes [first, last) stay in it."""
    count, fed = stack[STACK_COUNT], stack[STACK_FED]
    lowest = count
    while fed < upto:
        value = cells[np.uint64(of_value + fed * words)] ^ flip
        while count > 0 and keys[np.uint64(count - 1)] <= value:
            count -= 1
        lowest = min(lowest, count)
        at[np.uint64(count)] = fed
        keys[np.uint64(count)] = value
        count += 1
        fed += 1
    stack[STACK_COUNT], stack[STACK_FED] = count, fed
    for lane in range(first, last):
        heads[lane] = min(heads[lane], lowest)


@compiled
def place_run_extremes(
    count: Word,
    is_late: Word,
    series: Words,
    maps: ProjectPaths,
    cells: Words,
    track: Words,
    lanes: Words,
    heads: Words,
    stack: Words,
    at: Words,
    keys: Words,
    places: ProjectPaths,
) -> None:
    """Place the extremes of one track for the first `count` rows of a run, -1 where a window is empty.

    A late row may ask about windows that end before what the stack was fed, or begin before
    its bottom: there the cells themselves are looked at, unless the stack knows all the same.
    """
    of_map, words, of_value = series[OF_MAP], series[WORDS], series[BASE] + series[OF_VALUE]
    flip, ends = track[TRACK_FLIP], places[track[TRACK_END]]
    first, last = track[TRACK_FIRST], track[TRACK_FIRST] + track[TRACK_LANES]
    if stack[STACK_FED] < 0:
        stop = np.int64(ends[0])
        least = stop
        for lane in range(first, last):
            least = min(least, begin_of(places, 0, lanes[lane, LANE_LEFT], lanes[lane, LANE_LAST_N], stop))
            heads[lane] = 0
        stack[STACK_BOTTOM], stack[STACK_FED] = mapped(maps, of_map, least), mapped(maps, of_map, stop)
        stack[STACK_COUNT] = first_stack(cells, of_value, words, flip, stack[STACK_BOTTOM], stack[STACK_FED], at, keys)
    for i in range(count):
        stop = np.int64(ends[i])
        upto = mapped(maps, of_map, stop)
        if upto > stack[STACK_FED]:
            feed_stack(cells, of_value, words, flip, upto, stack, at, keys, heads, first, last)
        for lane in range(first, last):
            begin = begin_of(places, i, lanes[lane, LANE_LEFT], lanes[lane, LANE_LAST_N], stop)
            window = mapped(maps, of_map, begin)
            head = np.int64(0) if is_late else heads[lane]
            while head < stack[STACK_COUNT] and at[np.uint64(head)] < window:
                head += 1
            if not is_late:
                heads[lane] = head
            found = np.int64(-1)
            if head < stack[STACK_COUNT] and at[np.uint64(head)] < upto:
                found = at[np.uint64(head)]
                if window < stack[STACK_BOTTOM]:
                    older = greatest(cells, of_value, words, flip, window, stack[STACK_BOTTOM])
                    younger_key = cells[of_value + found * words] ^ flip
                    if older >= 0 and cells[of_value + older * words] ^ flip > younger_key:
                        found = older
            elif window < upto:
                found = greatest(cells, of_value, words, flip, window, upto)
            places[lanes[lane, LANE_OUT], i] = found


@compiled
def place_run_edges(
    start: Word,
    stop: Word,
    times: Words,
    begin: Word,
    count: Word,
    ask_times: Words,
    edges: Words,
    places: ProjectPaths,
) -> None:
    """Place all edges for the rows of a run among the cells [start, stop) that have come. Times ascend."""
    for e in range(edges.shape[0]):
        distance_ms, found = edges[e, 0], places[edges[e, 1]]
        place = first_younger(times, start, stop, ask_times[begin] - distance_ms)
        for i in range(count):
            cut_ms = ask_times[np.uint64(begin + i)] - distance_ms
            while place < stop and times[np.uint64(place)] <= cut_ms:
                place += 1
            found[np.uint64(i)] = place


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
    late: Flags,
    starts: Words,
    ends: Words,
    rows: ProjectPaths,
    times: Words,
    come: Words,
    ask_starts: Words,
    ask_ends: Words,
    ask_rows: ProjectPaths,
    ask_times: Words,
    edges: Words,
    tracks: Words,
    lanes: Words,
    groups: Words,
    queries: Words,
    series: Words,
    maps: ProjectPaths,
    cells: Words,
    places: ProjectPaths,
    heads: Words,
    stacks: Words,
    at: Words,
    keys: Words,
    windows: Words,
    records: Words,
) -> None:
    """Fill the records of the rows that ask about the late ones among the keys [first, last).

    `come` says how many cells of each key have come, so that the next piece of the log goes
    on from there. Long, as it hands all tables and all room to the parts.

    Cost: as for other keys, and for each late cell a step per cell that is younger than it.
    """
    nows, key_starts, afters = places[NOW], places[START], places[AFTER]
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
                # What came before this row; a cell older than another or than a row of the run waits for its end.
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
            place_run_edges(start, have, times, begin, count, ask_times, edges, places)
            for t in range(tracks.shape[0]):
                layout = series[tracks[t, TRACK_SERIES]]
                place_run_extremes(
                    count, is_late, layout, maps, cells, tracks[t], lanes, heads, stacks[t], at[t], keys[t], places
                )
            near = places[:, :TOGETHER]
            take_words(count, groups, queries, series, maps, cells, near, windows, records[begin : begin + count])
        come[key] = have - start
