"""Kernels of the first pass, key by key: where windows lie, and which cells are their extremes; compiled."""

from __future__ import annotations

import numpy as np

from shroff.features.backfill_kernels import Flags, Places, Words
from shroff.features.backfill_numbers import entry
from shroff.features.backfill_plan import (
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
    TRACK_SERIES,
    WORDS,
)
from shroff.features.kernel_numbers import Word, compiled


@compiled
def first_younger(times: Words, low: Word, high: Word, cut_ms: Word) -> Word:
    """The first slot in [low, high] whose cell is younger than `cut_ms`; times ascend."""
    while low < high:
        middle = (low + high) >> 1
        if times[middle] <= cut_ms:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def begin_of(places: Places, record: Word, left: Word, last_n: Word, end: Word) -> Word:
    """The first cell of a window that ends before `end`."""
    if left >= 0:
        return np.int64(places[record, left])
    start = np.int64(places[record, START])
    return max(start, end - last_n) if left == LEFT_LAST_N else start


@compiled
def mapped(maps: Places, of_map: Word, slot: Word) -> Word:
    """The place of a slot among the cells that have a value."""
    return np.int64(maps[of_map, slot]) if of_map >= 0 else slot


@entry(
    "void(int64, int64, uint8[::1], int64[::1], int64[::1], int32[::1], int64[::1],"
    " int64[::1], int64[::1], int32[::1], int64[::1], int64[:, ::1], int32[:, ::1])"
)
def place_edges(
    first: Word,
    last: Word,
    late: Flags,
    starts: Words,
    ends: Words,
    rows: Places,
    times: Words,
    ask_starts: Words,
    ask_ends: Words,
    ask_rows: Places,
    ask_times: Words,
    edges: Words,
    places: Places,
) -> None:
    """Fill the columns of the present and of all edges for the rows that ask about keys of [first, last).

    Keys with late rows get zeros. Cost: a step per cell and edge.
    """
    for key in range(first, last):
        begin, end = ask_starts[key], ask_ends[key]
        if late[key] != 0:
            places[begin:end, :] = 0
            continue
        if begin == end:
            continue
        start, stop = starts[key], ends[key]
        now = start
        if rows[start] != ask_rows[begin]:
            low, high = start, stop
            while low < high:
                middle = (low + high) >> 1
                if rows[middle] < ask_rows[begin]:
                    low = middle + 1
                else:
                    high = middle
            now = low
        for ask in range(begin, end):
            while now < stop and rows[now] < ask_rows[ask]:
                now += 1
            places[ask, NOW] = now
            places[ask, START] = start
            places[ask, AFTER] = now + np.int64(now < stop and rows[now] == ask_rows[ask])
        for i in range(edges.shape[0]):
            distance_ms, column = edges[i, 0], edges[i, 1]
            place = first_younger(times, start, stop, ask_times[begin] - distance_ms)
            for ask in range(begin, end):
                cut_ms = ask_times[ask] - distance_ms
                while place < stop and times[place] <= cut_ms:
                    place += 1
                places[ask, column] = place


@entry(
    "void(int64, int64, uint8[::1], int64[::1], int64[::1], int64[:, ::1], int32[:, ::1], int64[::1],"
    " int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1], int32[:, ::1])"
)
def place_extremes(
    first: Word,
    last: Word,
    late: Flags,
    ask_starts: Words,
    ask_ends: Words,
    series: Words,
    maps: Places,
    cells: Words,
    track: Words,
    lanes: Words,
    heads: Words,
    at: Words,
    keys: Words,
    places: Places,
) -> None:
    """Fill the columns of one track: the cell that holds the extreme of each window, -1 where it is empty.

    One stack holds every cell that no later one outdoes, keys falling; nothing leaves it at
    its lower end, so all windows with this end share it, each with a head of its own. `at`
    and `keys` are its room, as long as the most cells of one key.
    """
    of_map, words = series[track[TRACK_SERIES], OF_MAP], series[track[TRACK_SERIES], WORDS]
    of_value = series[track[TRACK_SERIES], BASE] + series[track[TRACK_SERIES], OF_VALUE]
    flip, end_column = track[TRACK_FLIP], track[TRACK_END]
    first_lane, last_lane = track[TRACK_FIRST], track[TRACK_FIRST] + track[TRACK_LANES]
    for key in range(first, last):
        begin, end = ask_starts[key], ask_ends[key]
        if late[key] != 0 or begin == end:
            continue
        stop = np.int64(places[begin, end_column])
        fed = stop
        for lane in range(first_lane, last_lane):
            fed = min(fed, begin_of(places, begin, lanes[lane, LANE_LEFT], lanes[lane, LANE_LAST_N], stop))
            heads[lane] = 0
        fed = mapped(maps, of_map, fed)
        count = np.int64(0)
        for ask in range(begin, end):
            stop = np.int64(places[ask, end_column])
            upto = mapped(maps, of_map, stop)
            lowest = count
            while fed < upto:
                value = cells[of_value + fed * words] ^ flip
                while count > 0 and keys[count - 1] <= value:
                    count -= 1
                lowest = min(lowest, count)
                at[count] = fed
                keys[count] = value
                count += 1
                fed += 1
            for lane in range(first_lane, last_lane):
                window = begin_of(places, ask, lanes[lane, LANE_LEFT], lanes[lane, LANE_LAST_N], stop)
                window = mapped(maps, of_map, window)
                head = min(heads[lane], lowest)
                while head < count and at[head] < window:
                    head += 1
                heads[lane] = head
                places[ask, lanes[lane, LANE_OUT]] = at[head] if head < count else -1
