"""Places: where windows begin and end among the cells of a key, and which cells are their extremes; compiled.

All take a few whole keys at a time. Places stand by number and row that asks, the rows
counted from `base`, the first slot of the first key.
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

AHEAD = 3
# The stack of one track: its cells are those of [bottom, fed) that no later one outdoes.
STACK_COUNT = 0
STACK_BOTTOM = 1
STACK_FED = 2  # -1: nothing was asked yet
STACK_WORDS = 3


@compiled
def first_row(rows: Ints32, low: Word, high: Word, row: Word) -> Word:
    """The first slot in [low, high] whose row is not before `row`."""
    while low < high:
        middle = (low + high) >> 1
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def first_younger(times: Ints, low: Word, high: Word, cut_ms: Word) -> Word:
    """The first slot in [low, high] whose cell is younger than `cut_ms`; times ascend."""
    while low < high:
        middle = (low + high) >> 1
        if times[middle] <= cut_ms:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def steps_to(times: Ints, place: Word, cut_ms: Word) -> Word:
    """Number of the next `AHEAD` cells before the first younger one, without a branch."""
    first = np.int64(times[np.uint64(place)] <= cut_ms)
    two = first & np.int64(times[np.uint64(place + 1)] <= cut_ms)
    three = two & np.int64(times[np.uint64(place + 2)] <= cut_ms)
    return first + two + three


@compiled
def begin_of(places: Ints32, i: Word, left: Word, last_n: Word, end: Word) -> Word:
    """The first cell of a window that ends before `end`."""
    if left >= 0:
        return np.int64(places[left, i])
    start = np.int64(places[START, i])
    return max(start, end - last_n) if left == LEFT_LAST_N else start


@compiled
def mapped(maps: Ints32, of_map: Word, slot: Word) -> Word:
    """Position of a slot among the cells with a value."""
    return np.int64(maps[of_map, slot]) if of_map >= 0 else slot


@compiled
def place_lefts(
    start: Word,
    stop: Word,
    times: Ints,
    begin: Word,
    end: Word,
    ask_times: Ints,
    edges: Ints,
    base: Word,
    places: Ints32,
) -> None:
    """Place all edges for the rows [begin, end), whose times ascend, among the cells [start, stop)."""
    for e in range(edges.shape[0]):
        distance_ms, found = edges[e, 0], places[edges[e, 1]]
        place = first_younger(times, start, stop, ask_times[begin] - distance_ms)
        for ask in range(begin, end):
            cut_ms = ask_times[np.uint64(ask)] - distance_ms
            step = np.int64(AHEAD)
            while step == AHEAD and place < stop:
                step = steps_to(times, place, cut_ms)
                place += step
            place = min(place, stop)
            found[np.uint64(ask - base)] = place


@compiled
def place_edges(
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
    places: Ints32,
) -> None:
    """Place the present and all edges for the rows [begin, end) that ask about the key with cells [start, stop).

    Cost: a step per cell and edge.
    """
    now = first_row(rows, start, stop, ask_rows[begin])
    nows, starts, afters = places[NOW], places[START], places[AFTER]
    for ask in range(begin, end):
        i = ask - base
        row = ask_rows[np.uint64(ask)]
        while now < stop and rows[np.uint64(now)] < row:
            now += 1
        nows[np.uint64(i)] = now
        starts[np.uint64(i)] = start
        afters[np.uint64(i)] = now + np.int64(now < stop and rows[np.uint64(now)] == row)
    place_lefts(start, stop, times, begin, end, ask_times, edges, base, places)


@compiled
def first_stack(
    cells: Ints, of_value: Word, words: Word, flip: Word, low: Word, high: Word, at: Ints, keys: Ints
) -> Word:
    """Put the cells of [low, high) that no later one outdoes on the empty stack; gives how many there are."""
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
    """Let a stack take in the cells before `upto`; gives how many of it stayed what they were all the while."""
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
    """The last cell with the greatest key in [low, high); -1 if empty. Cost: one step per cell."""
    found: Word = np.int64(-1)
    best: Word = np.int64(0)
    for cell in range(low, high):
        key = cells[of_value + cell * words] ^ flip
        if found < 0 or key >= best:
            found, best = cell, key
    return found


@compiled
def place_extremes(
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
    places: Ints32,
) -> None:
    """Place the extremes of one track for the rows in the slots [low, high), -1 where a window is empty.

    One stack holds every cell that no later one outdoes, keys falling; nothing leaves it at
    its lower end, so all windows with this end share it, each with a head of its own. `at`
    and `keys` are its room, as long as the most cells of one key.

    A late row may ask about windows that end before what the stack was fed, or begin before
    its bottom: there the cells themselves are looked at, unless the stack knows all the same.
    """
    of_map, words, of_value = series[OF_MAP], series[WORDS], series[BASE] + series[OF_VALUE]
    flip, ends = track[TRACK_FLIP], places[track[TRACK_END]]
    first, last = track[TRACK_FIRST], track[TRACK_FIRST] + track[TRACK_LANES]
    if stack[STACK_FED] < 0:
        stop = np.int64(ends[low])
        least = stop
        for lane in range(first, last):
            least = min(least, begin_of(places, low, lanes[lane, LANE_LEFT], lanes[lane, LANE_LAST_N], stop))
            heads[lane] = 0
        stack[STACK_BOTTOM], stack[STACK_FED] = mapped(maps, of_map, least), mapped(maps, of_map, stop)
        stack[STACK_COUNT] = first_stack(cells, of_value, words, flip, stack[STACK_BOTTOM], stack[STACK_FED], at, keys)
    for i in range(low, high):
        stop = np.int64(ends[i])
        upto = mapped(maps, of_map, stop)
        lowest = feed_stack(cells, of_value, words, flip, upto, stack, at, keys)
        count = stack[STACK_COUNT]
        for lane in range(first, last):
            window = begin_of(places, i, lanes[lane, LANE_LEFT], lanes[lane, LANE_LAST_N], stop)
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
            places[lanes[lane, LANE_OUT], i] = found
