"""Compiled: find the positions where windows begin and end among the cells of a key, and their extremes.

Each call handles a few whole keys. `positions` is indexed by number of the position and by row with a query, counted
from `base`, the first slot of the first key.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Ints, Ints32
from shroff.features.batch.backfill_plan import (
    AFTER,
    BASE,
    LANE_LAST_N,
    LANE_LEFT,
    LANE_OUT,
    LEFT_LAST_N,
    NOW,
    OF_MAP,
    OF_VALUE,
    START,
    TRACK_END,
    TRACK_FIRST,
    TRACK_FLIP,
    TRACK_LANES,
    WORDS,
)
from shroff.features.kernels.numbers import Word, compiled

AHEAD = 3  # cells that are compared at once
# The stack of one track: the cells of [bottom, fed) that are greater than all later ones.
STACK_COUNT = 0
STACK_BOTTOM = 1
STACK_FED = 2  # -1 before the first query
STACK_WORDS = 3


@compiled
def first_row(rows: Ints32, low: Word, high: Word, row: Word) -> Word:
    """Return the first slot in [low, high] whose row is not before `row`."""
    while low < high:
        middle = (low + high) >> 1
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def first_younger(times: Ints, low: Word, high: Word, cut_ms: Word) -> Word:
    """Return the first slot in [low, high] whose cell is younger than `cut_ms`; times must ascend."""
    while low < high:
        middle = (low + high) >> 1
        if times[middle] <= cut_ms:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def steps_to(times: Ints, slot: Word, cut_ms: Word) -> Word:
    """Return how many of the next `AHEAD` cells come before the first younger one, without a branch."""
    first = np.int64(times[np.uint64(slot)] <= cut_ms)
    two = first & np.int64(times[np.uint64(slot + 1)] <= cut_ms)
    three = two & np.int64(times[np.uint64(slot + 2)] <= cut_ms)
    return first + two + three


@compiled
def begin_of(positions: Ints32, i: Word, left: Word, last_n: Word, end: Word) -> Word:
    """Return the first cell of a window that ends before `end`."""
    if left >= 0:
        return np.int64(positions[left, i])
    start = np.int64(positions[START, i])
    return max(start, end - last_n) if left == LEFT_LAST_N else start


@compiled
def mapped(maps: Ints32, of_map: Word, slot: Word) -> Word:
    """Return the index of a slot among the cells with a value."""
    return np.int64(maps[of_map, slot]) if of_map >= 0 else slot


@compiled
def locate_lefts(
    start: Word,
    stop: Word,
    times: Ints,
    begin: Word,
    end: Word,
    ask_times: Ints,
    edges: Ints,
    base: Word,
    positions: Ints32,
) -> None:
    """Locate all edges of the rows [begin, end), whose times must ascend, among the cells [start, stop)."""
    for e in range(edges.shape[0]):
        distance_ms = edges[e, 0]
        lefts = positions[edges[e, 1]]
        slot = first_younger(times, start, stop, ask_times[begin] - distance_ms)
        for ask in range(begin, end):
            cut_ms = ask_times[np.uint64(ask)] - distance_ms
            step = np.int64(AHEAD)
            while step == AHEAD and slot < stop:
                step = steps_to(times, slot, cut_ms)
                slot += step
            slot = min(slot, stop)
            lefts[np.uint64(ask - base)] = slot


@compiled
def locate_edges(
    start: Word,
    stop: Word,
    rows: Ints32,
    times: Ints,
    begin: Word,
    end: Word,
    ask_rows: Ints32,
    ask_times: Ints,
    edges: Ints,
    base: Word,
    positions: Ints32,
) -> None:
    """Locate each row of [begin, end), which query the key with cells [start, stop), and all its edges.

    Cost: a step per cell and edge.
    """
    now = first_row(rows, start, stop, ask_rows[begin])
    nows, starts, afters = positions[NOW], positions[START], positions[AFTER]
    for ask in range(begin, end):
        i = ask - base
        row = ask_rows[np.uint64(ask)]
        while now < stop and rows[np.uint64(now)] < row:
            now += 1
        nows[np.uint64(i)] = now
        starts[np.uint64(i)] = start
        afters[np.uint64(i)] = now + np.int64(now < stop and rows[np.uint64(now)] == row)
    locate_lefts(start, stop, times, begin, end, ask_times, edges, base, positions)


@compiled
def first_stack(
    cells: Ints, of_value: Word, words: Word, flip: Word, low: Word, high: Word, at: Ints, keys: Ints
) -> Word:
    """Fill the empty stack with the cells of [low, high) that are greater than all later ones; return their number."""
    count = np.int64(0)
    for cell in range(high - 1, low - 1, -1):
        value = cells[np.uint64(of_value + cell * words)] ^ flip
        if count == 0 or value > keys[np.uint64(count - 1)]:
            at[np.uint64(count)] = cell
            keys[np.uint64(count)] = value
            count += 1
    for i in range(count // 2):
        at[i], at[count - 1 - i] = at[count - 1 - i], at[i]
        keys[i], keys[count - 1 - i] = keys[count - 1 - i], keys[i]
    return count


@compiled
def feed_stack(
    cells: Ints, of_value: Word, words: Word, flip: Word, upto: Word, stack: Ints, at: Ints, keys: Ints
) -> Word:
    """Feed the cells before `upto` to a stack; return how many of its lower cells never changed meanwhile."""
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
    return lowest


@compiled
def greatest(cells: Ints, of_value: Word, words: Word, flip: Word, low: Word, high: Word) -> Word:
    """Return the last cell with the greatest key in [low, high); -1 if empty. Cost: one step per cell."""
    best_cell: Word = np.int64(-1)
    best: Word = np.int64(0)
    for cell in range(low, high):
        key = cells[of_value + cell * words] ^ flip
        if best_cell < 0 or key >= best:
            best_cell, best = cell, key
    return best_cell


@compiled
def locate_extremes(
    low: Word,
    high: Word,
    is_late: Word,
    series: Ints,
    maps: Ints32,
    cells: Ints,
    track: Ints,
    lanes: Ints,
    heads: Ints,
    stack: Ints,
    at: Ints,
    keys: Ints,
    positions: Ints32,
) -> None:
    """Locate the extremes of one track for the rows [low, high); -1 for an empty window.

    The stack has every cell that is greater than all later ones, so its keys fall. Nothing leaves its lower end, so
    all windows with the same end share it, each with its own head. `at` and `keys` are its storage, as long as the
    largest key.

    The windows of a late row may end before the last cell of the stack, or begin before its bottom: then the cells
    themselves are searched, unless the stack has the answer anyway.
    """
    of_map, words, of_value = series[OF_MAP], series[WORDS], series[BASE] + series[OF_VALUE]
    flip, ends = track[TRACK_FLIP], positions[track[TRACK_END]]
    first, last = track[TRACK_FIRST], track[TRACK_FIRST] + track[TRACK_LANES]
    if stack[STACK_FED] < 0:
        stop = np.int64(ends[low])
        least = stop
        for lane in range(first, last):
            least = min(least, begin_of(positions, low, lanes[lane, LANE_LEFT], lanes[lane, LANE_LAST_N], stop))
            heads[lane] = 0
        stack[STACK_BOTTOM], stack[STACK_FED] = mapped(maps, of_map, least), mapped(maps, of_map, stop)
        stack[STACK_COUNT] = first_stack(cells, of_value, words, flip, stack[STACK_BOTTOM], stack[STACK_FED], at, keys)
    for i in range(low, high):
        stop = np.int64(ends[i])
        upto = mapped(maps, of_map, stop)
        lowest = feed_stack(cells, of_value, words, flip, upto, stack, at, keys)
        count = stack[STACK_COUNT]
        for lane in range(first, last):
            window = begin_of(positions, i, lanes[lane, LANE_LEFT], lanes[lane, LANE_LAST_N], stop)
            window = mapped(maps, of_map, window)
            head = min(heads[lane], lowest)
            if is_late:
                heads[lane], head = head, 0
            while head < count and at[np.uint64(head)] < window:
                head += 1
            found = at[np.uint64(head)] if head < count else np.int64(-1)
            if not is_late:
                heads[lane] = head
            elif found < 0 or found >= upto:
                found = greatest(cells, of_value, words, flip, window, upto)
            elif window < stack[STACK_BOTTOM]:
                older = greatest(cells, of_value, words, flip, window, stack[STACK_BOTTOM])
                if older >= 0 and cells[of_value + older * words] ^ flip > cells[of_value + found * words] ^ flip:
                    found = older
            positions[lanes[lane, LANE_OUT], i] = found
