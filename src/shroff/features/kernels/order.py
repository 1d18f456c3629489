"""Compiled order statistics: greatest and smallest values by monotonic deques, and values at ranks by quickselect.

All windows with the same right edge share a deque. It has (position, key) of each cell whose key exceeds those of all
later cells, so keys fall strictly, and the first entry at or after a window's left edge is the window's maximum.
Positions are never reused, so a window never reads a removed cell.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Ints
from shroff.features.kernels.cells import class_of, copy_words, give, read, size_of, take
from shroff.features.kernels.layout import D_AT, D_BEGIN, D_CLASS, D_COUNT, D_FED, LO, T_FLIP, T_HEAD, T_SERIES
from shroff.features.kernels.numbers import Word, compiled

SMALLEST_CLASS = 0  # two entries


@compiled
def room_in_deque(heap: Ints, deque: Word, lo: Word) -> Word:
    """Make room for one more entry at the end; False if the heap is full."""
    at, begin, count = heap[deque + D_AT], heap[deque + D_BEGIN], heap[deque + D_COUNT]
    if at == 0:
        heap[deque + D_CLASS] = SMALLEST_CLASS
        heap[deque + D_AT] = take(heap, heap[deque + D_CLASS])
        return heap[deque + D_AT] != 0
    size = size_of(heap[deque + D_CLASS])
    if (begin + count) * 2 + 2 <= size:
        return True
    drop_before(heap, deque, lo)
    begin, count = heap[deque + D_BEGIN], heap[deque + D_COUNT]
    if count * 4 <= size:
        copy_words(heap, at + begin * 2, at, count * 2)
    else:
        larger = take(heap, heap[deque + D_CLASS] + 2)
        if larger == 0:
            return False
        copy_words(heap, at + begin * 2, larger, count * 2)
        give(heap, at, heap[deque + D_CLASS])
        heap[deque + D_AT] = larger
        heap[deque + D_CLASS] += 2
    heap[deque + D_BEGIN] = 0
    return True


@compiled
def drop_before(heap: Ints, deque: Word, lo: Word) -> None:
    """Remove the entries before a position; the next cell to feed is at this position or later."""
    at, begin, count = heap[deque + D_AT], heap[deque + D_BEGIN], heap[deque + D_COUNT]
    while count > 0 and heap[at + begin * 2] < lo:
        begin += 1
        count -= 1
    heap[deque + D_BEGIN], heap[deque + D_COUNT] = begin, count
    heap[deque + D_FED] = max(heap[deque + D_FED], lo)


@compiled
def feed_deque(heap: Ints, head: Word, track: Word, end: Word) -> Word:
    """Add the cells before `end`; False if the heap is full, and a repeated call continues."""
    deque = head + heap[track + T_HEAD]
    position = heap[deque + D_FED]
    series, flip = heap[track + T_SERIES], heap[track + T_FLIP]
    while position < end:
        is_present, value = read(heap, head, series, position)
        if is_present:
            key = value ^ flip
            last = heap[deque + D_AT] + (heap[deque + D_BEGIN] + heap[deque + D_COUNT] - 1) * 2
            while heap[deque + D_COUNT] > 0 and heap[last + 1] <= key:
                heap[deque + D_COUNT] -= 1
                last -= 2
            if not room_in_deque(heap, deque, heap[head + LO]):
                heap[deque + D_FED] = position
                return False
            entry = heap[deque + D_AT] + (heap[deque + D_BEGIN] + heap[deque + D_COUNT]) * 2
            heap[entry], heap[entry + 1] = position, key
            heap[deque + D_COUNT] += 1
        position += 1
        heap[deque + D_FED] = position
    return True


@compiled
def search_deque(heap: Ints, deque: Word, position: Word) -> Word:
    """Return the index of the first entry at or after a position; the number of entries if there is none."""
    at = heap[deque + D_AT] + heap[deque + D_BEGIN] * 2
    low, high = 0, heap[deque + D_COUNT]
    if high > 0 and heap[at] >= position:
        return 0
    while low < high:
        middle = (low + high) >> 1
        if heap[at + middle * 2] < position:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def insert_in_deque(heap: Ints, head: Word, track: Word, position: Word) -> None:
    """Add a late cell before the end of the fed cells; needs a call of `room_in_deque` before."""
    deque = head + heap[track + T_HEAD]
    at = heap[deque + D_AT] + heap[deque + D_BEGIN] * 2
    count = heap[deque + D_COUNT]
    later = search_deque(heap, deque, position)
    for i in range(later, count):
        heap[at + i * 2] += 1
    heap[deque + D_FED] += 1
    is_present, value = read(heap, head, heap[track + T_SERIES], position)
    if not is_present:
        return
    key = value ^ heap[track + T_FLIP]
    if later < count and heap[at + later * 2 + 1] >= key:
        return
    earlier = later
    while earlier > 0 and heap[at + earlier * 2 - 1] <= key:
        earlier -= 1
    if earlier == later:
        for i in range(count * 2 - 1, later * 2 - 1, -1):
            heap[at + i + 2] = heap[at + i]
    else:
        copy_words(heap, at + later * 2, at + earlier * 2 + 2, (count - later) * 2)
    heap[at + earlier * 2], heap[at + earlier * 2 + 1] = position, key
    heap[deque + D_COUNT] = count + 1 - (later - earlier)


@compiled
def greatest_key(heap: Ints, head: Word, track: Word, begin: Word, end: Word) -> tuple[bool, Word]:
    """Return whether [begin, end) has a value, and its greatest key, by reading each cell; for late rows."""
    series, flip = heap[track + T_SERIES], heap[track + T_FLIP]
    found, best = False, np.int64(0)
    for position in range(begin, end):
        is_present, value = read(heap, head, series, position)
        if is_present:
            key = value ^ flip
            if not found or key > best:
                found, best = True, key
    return found, best


@compiled
def select(heap: Ints, values: Word, count: Word, rank: Word) -> Word:
    """Return the value at a rank (from 1) in a block of `count` values by quickselect, which reorders the block."""
    left, right, wanted = values, values + count - 1, values + rank - 1
    while left < right:
        pivot = heap[(left + right) >> 1]
        i, j = left, right
        while i <= j:
            while heap[i] < pivot:
                i += 1
            while heap[j] > pivot:
                j -= 1
            if i <= j:
                heap[i], heap[j] = heap[j], heap[i]
                i += 1
                j -= 1
        if wanted <= j:
            right = j
        elif wanted >= i:
            left = i
        else:
            break
    return heap[wanted]


@compiled
def values_at_ranks(
    heap: Ints, head: Word, series: Word, begin: Word, end: Word, count: Word, rank: Word, other: Word
) -> tuple[Word, Word, Word]:
    """Return (True, value, value) for two ranks (from 1) among the `count` values of the cells in [begin, end).

    Returns (False, 0, 0) if the heap has no room for a copy of the values.

    Cost: reading each cell, and quickselect with middle pivots.
    """
    size_class = class_of(count)
    values = take(heap, size_class)
    if values == 0:
        return False, np.int64(0), np.int64(0)
    found = values
    for position in range(begin, end):
        is_present, one = read(heap, head, series, position)
        if is_present:
            heap[found] = one
            found += 1
    value = select(heap, values, count, rank)
    second = value if other == rank else select(heap, values, count, other)
    give(heap, values, size_class)
    return True, value, second
