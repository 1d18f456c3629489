"""Compiled: allocate blocks of the heap, and find, read and write the cells of one key (see `layout`)."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.layout import (
    CELL_WORDS,
    COUNT_BITS,
    COUNT_MASK,
    FREE,
    FREE_CLASSES,
    IS_REAL,
    LO,
    OF_COUNTS,
    OF_SQUARES,
    OF_SUM,
    OF_VALUE,
    ORIGIN,
    SERIES,
    SERIES_WORDS,
    TAIL,
    WANTED,
)
from shroff.features.kernels.numbers import Word, compiled, in_order, product


@compiled
def size_of(size_class: Word) -> Word:
    """Return the words of a block of a class: 4, 6, 8, 12, 16, 24 ..., so that at most a third of a block is unused."""
    return (4 + 2 * (size_class & 1)) << (size_class >> 1)


@compiled
def class_of(words: Word) -> Word:
    """Return the smallest class whose blocks have at least so many words."""
    size_class = np.int64(0)
    while size_of(size_class) < words:
        size_class += 1
    return size_class


@compiled
def take(heap: Ints, size_class: Word) -> Word:
    """Allocate a block, with arbitrary content; return its address, 0 if the heap is full.

    Without a free block of the class, a free block of 2, 4, 8 ... times the size is split, such as an old directory.
    """
    larger = size_class
    while larger < FREE_CLASSES and heap[FREE + larger] == 0:
        larger += 2
    if larger < FREE_CLASSES:
        at = heap[FREE + larger]
        heap[FREE + larger] = heap[at]
        while larger > size_class:
            larger -= 2
            give(heap, at + size_of(larger), larger)
        return at
    size = size_of(size_class)
    at = heap[TAIL]
    if at + size > heap.size:
        heap[WANTED] = size
        return 0
    heap[TAIL] = at + size
    return at


@compiled
def give(heap: Ints, at: Word, size_class: Word) -> None:
    """Free a block; address 0 for none."""
    if at != 0:
        heap[at] = heap[FREE + size_class]
        heap[FREE + size_class] = at


@compiled
def copy_words(heap: Ints, source: Word, target: Word, words: Word) -> None:
    """Copy words to a lower address or another block."""
    for i in range(words):
        heap[target + i] = heap[source + i]


@compiled
def clear_words(heap: Ints, at: Word, words: Word) -> None:
    """Set words to zero."""
    for i in range(words):
        heap[at + i] = 0


@compiled
def place(heap: Ints, origin: Word, words: Word, lo: Word, hi: Word, start: Word, cut_ms: Word) -> Word:
    """Return the first position in [lo, hi] whose cell is later than `cut_ms`; the search begins at `start`.

    Cost: O(log d) for a result d cells away, so the usual step of one or two is cheap.
    """
    start = max(start, lo)
    start = min(start, hi)
    step = 1
    if start < hi and heap[origin + start * words] <= cut_ms:
        low = start + 1
        while low + step <= hi and heap[origin + (low + step - 1) * words] <= cut_ms:
            low += step
            step += step
        high = min(low + step - 1, hi)
    elif start > lo and heap[origin + (start - 1) * words] > cut_ms:
        high = start - 1
        while high - step >= lo and heap[origin + (high - step) * words] > cut_ms:
            high -= step
            step += step
        low = max(high - step + 1, lo)
    else:
        return start
    while low < high:
        middle = (low + high) >> 1
        if heap[origin + middle * words] <= cut_ms:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def is_kept(heap: Ints, series: Word, at: Word) -> Word:
    """Whether the cell at this address has a value of the series."""
    counts = at + heap[series + OF_COUNTS]
    return (heap[counts] - heap[counts - heap[CELL_WORDS]]) & COUNT_MASK != 0


@compiled
def value_at(heap: Ints, series: Word, at: Word) -> Word:
    """Return the value of a series in a cell that has one; for reals the ordered bits."""
    of_value = heap[series + OF_VALUE]
    if of_value >= 0:
        return heap[at + of_value]
    total = at + heap[series + OF_SUM]
    return heap[total] - heap[total - heap[CELL_WORDS]]


@compiled
def first_kept(heap: Ints, head: Word, series: Word, begin: Word, end: Word, rank: Word) -> Word:
    """Return the position of the cell with the value number `rank` (from 1) in [begin, end), which has as many."""
    words = heap[CELL_WORDS]
    counts = heap[head + ORIGIN] + heap[series + OF_COUNTS]
    before = heap[counts + (begin - 1) * words]
    low, high = begin, end - 1
    while low < high:
        middle = (low + high) >> 1
        if (heap[counts + middle * words] - before) & COUNT_MASK < rank:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def add_value(heap: Ints, series: Word, at: Word, value: Word) -> None:
    """Add a value to the running totals of the cell at this address."""
    counts = at + heap[series + OF_COUNTS]
    of_sum = heap[series + OF_SUM]
    if of_sum < 0:
        heap[counts] += 1
        return
    total = heap[at + of_sum] + value
    heap[at + of_sum] = total
    carry = np.int64(np.uint64(total) < np.uint64(value))
    heap[counts] += 1 + (((value >> 63) + carry) << COUNT_BITS)
    of_squares = heap[series + OF_SQUARES]
    if of_squares >= 0:
        size = np.uint64(abs(value))
        high, low = product(size, size)
        total = heap[at + of_squares] + np.int64(low)
        heap[at + of_squares] = total
        heap[at + of_squares + 1] += np.int64(high) + np.int64(np.uint64(total) < low)


@compiled
def write_cell(heap: Ints, at: Word, time_ms: Word, values: Ints, kept: Bytes, row: Word) -> None:
    """Write a cell after the previous one, including its running totals."""
    words = heap[CELL_WORDS]
    copy_words(heap, at - words, at, words)
    heap[at] = time_ms
    for i in range(heap[SERIES + 1]):
        series = heap[SERIES] + i * SERIES_WORDS
        if kept[i, row] != 0:
            value = values[i, row]
            if heap[series + IS_REAL] != 0:
                value = in_order(value)
            add_value(heap, series, at, value)
            if heap[series + OF_VALUE] >= 0:
                heap[at + heap[series + OF_VALUE]] = value


@compiled
def shift_cells(heap: Ints, head: Word, position: Word, hi: Word, values: Ints, kept: Bytes, row: Word) -> None:
    """Make a gap at a position in [lo, hi) for a row's cell, and add its values to the totals of all later cells."""
    words = heap[CELL_WORDS]
    begin = heap[head + ORIGIN] + position * words
    end = heap[head + ORIGIN] + hi * words
    for at in range(end - 1, begin - 1, -1):
        heap[at + words] = heap[at]
    for i in range(heap[SERIES + 1]):
        if kept[i, row] != 0:
            series = heap[SERIES] + i * SERIES_WORDS
            value = values[i, row]
            if heap[series + IS_REAL] != 0:
                value = in_order(value)
            for at in range(begin + words, end + words, words):
                add_value(heap, series, at, value)


@compiled
def totals_before(heap: Ints, head: Word) -> Word:
    """Return the address of the cell with the totals of all trimmed cells."""
    return heap[head + ORIGIN] + (heap[head + LO] - 1) * heap[CELL_WORDS]
