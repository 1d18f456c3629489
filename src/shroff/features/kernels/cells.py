"""Compiled: allocate blocks of the heap, and find, read and write the cells of one key (see `layout`)."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.layout import (
    BASE_MS,
    BEFORE,
    CELL_WORDS,
    CHUNK,
    CHUNK_LO,
    COUNT_BITS,
    COUNT_MASK,
    FREE,
    FREE_CLASSES,
    GROUP,
    GROUP_BITS,
    HALF_MASK,
    HI,
    IS_REAL,
    LO,
    MISSING,
    NUMBER,
    OF_VALUE,
    PACKED_WORDS,
    SERIES,
    SERIES_TOTALS,
    SERIES_WORDS,
    TAIL,
    TOTALS_WORDS,
    WANTED,
    WIDE,
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
def free_from(heap: Ints, size_class: Word) -> Word:
    """Return the first class with a free block among this one and those of 2, 4, 8 ... times its size."""
    while size_class < FREE_CLASSES and heap[FREE + size_class] == 0:
        size_class += 2
    return size_class


@compiled
def take(heap: Ints, size_class: Word) -> Word:
    """Allocate a block, with arbitrary content; return its address, 0 if the heap is full.

    Without a free block of the class, a larger free block is split, such as an old directory.
    """
    larger = free_from(heap, size_class)
    if larger >= FREE_CLASSES:
        larger = free_from(heap, size_class + 3)  # parts of such a block are blocks, too
    if larger < FREE_CLASSES:
        at = heap[FREE + larger]
        heap[FREE + larger] = heap[at]
        if (larger - size_class) & 1 != 0:
            larger -= 1
            give(heap, at + size_of(larger), larger - 2 - (larger & 1))
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
def words_of(heap: Ints, base_ms: Word) -> Word:
    """Return the words of a cell."""
    return heap[CELL_WORDS] if base_ms == WIDE else heap[PACKED_WORDS]


@compiled
def offset_of(heap: Ints, base_ms: Word, number: Word) -> Word:
    """Return the offset of a cell in its chunk."""
    return number * words_of(heap, base_ms) + (number >> GROUP_BITS) * heap[TOTALS_WORDS]


@compiled
def length_of(heap: Ints, base_ms: Word, cells: Word) -> Word:
    """Return the words of a chunk with so many cells, at least one."""
    return offset_of(heap, base_ms, max(cells - 1, 0)) + words_of(heap, base_ms)


@compiled
def address(heap: Ints, head: Word, position: Word) -> Word:
    """Return the address of a cell."""
    return heap[head + CHUNK] + offset_of(heap, heap[head + BASE_MS], position - heap[head + CHUNK_LO])


@compiled
def time_at(heap: Ints, head: Word, position: Word) -> Word:
    """Return the time of a cell."""
    word = heap[address(heap, head, position)]
    base_ms = heap[head + BASE_MS]
    return word if base_ms == WIDE else base_ms + (word & HALF_MASK)


@compiled
def place(heap: Ints, head: Word, lo: Word, hi: Word, start: Word, cut_ms: Word) -> Word:
    """Return the first position in [lo, hi] whose cell is later than `cut_ms`; the search begins at `start`.

    Cost: O(log d) for a result d cells away, so the usual step of one or two is cheap.
    """
    start = max(start, lo)
    start = min(start, hi)
    step = 1
    if start < hi and time_at(heap, head, start) <= cut_ms:
        low = start + 1
        while low + step <= hi and time_at(heap, head, low + step - 1) <= cut_ms:
            low += step
            step += step
        high = min(low + step - 1, hi)
    elif start > lo and time_at(heap, head, start - 1) > cut_ms:
        high = start - 1
        while high - step >= lo and time_at(heap, head, high - step) > cut_ms:
            high -= step
            step += step
        low = max(high - step + 1, lo)
    else:
        return start
    while low < high:
        middle = (low + high) >> 1
        if time_at(heap, head, middle) <= cut_ms:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def is_kept(heap: Ints, series: Word, at: Word) -> Word:
    """Whether the wide cell at this address has a value of the series."""
    number = heap[series + NUMBER]
    return (heap[at + 1 + (number >> 6)] >> (number & 63)) & 1 != 0


@compiled
def value_at(heap: Ints, series: Word, at: Word) -> Word:
    """Return the value of a series in a wide cell that has one; for reals the ordered bits."""
    return heap[at + heap[series + OF_VALUE]]


@compiled
def read(heap: Ints, head: Word, series: Word, position: Word) -> tuple[Word, Word]:
    """Return whether a cell has a value of the series, and the value; for reals the ordered bits."""
    at = address(heap, head, position)
    if heap[head + BASE_MS] == WIDE:
        return is_kept(heap, series, at), value_at(heap, series, at)
    half = heap[series + NUMBER] + 1
    word = heap[at + (half >> 1)]
    value = word >> 32 if half & 1 != 0 else (word << 32) >> 32
    return value != MISSING, value


@compiled
def write_time(heap: Ints, at: Word, base_ms: Word, time_ms: Word) -> None:
    """Begin a cell; `write_value` follows for each series, in order."""
    if base_ms == WIDE:
        heap[at] = time_ms
        clear_words(heap, at + 1, heap[CELL_WORDS] - heap[SERIES + 1] - 1)
    else:
        heap[at] = time_ms - base_ms


@compiled
def write_value(heap: Ints, at: Word, base_ms: Word, series: Word, is_present: Word, value: Word) -> None:
    """Write the value of a series into a cell, or that it has none."""
    number = heap[series + NUMBER]
    if base_ms == WIDE:
        heap[at + 1 + (number >> 6)] |= np.int64(is_present) << (number & 63)
        heap[at + heap[series + OF_VALUE]] = value if is_present else np.int64(0)
        return
    half = value if is_present else np.int64(MISSING)
    word = at + ((number + 1) >> 1)
    if number & 1 == 0:
        heap[word] += half << 32
    else:
        heap[word] = half & HALF_MASK


@compiled
def write_cell(heap: Ints, head: Word, position: Word, time_ms: Word, values: Ints, kept: Bytes, row: Word) -> None:
    """Write a row's cell, without totals."""
    at, base_ms = address(heap, head, position), heap[head + BASE_MS]
    write_time(heap, at, base_ms, time_ms)
    for i in range(heap[SERIES + 1]):
        series = heap[SERIES] + i * SERIES_WORDS
        value = values[i, row]
        if heap[series + IS_REAL] != 0:
            value = in_order(value)
        write_value(heap, at, base_ms, series, kept[i, row] != 0, value)


@compiled
def shift_cells(heap: Ints, head: Word, position: Word, hi: Word) -> None:
    """Move the cells in [position, hi) by one position."""
    for source in range(hi - 1, position - 1, -1):
        at = address(heap, head, source)
        copy_words(heap, at, address(heap, head, source + 1), words_of(heap, heap[head + BASE_MS]))


@compiled
def add_cells(
    heap: Ints, head: Word, series: Word, begin: Word, end: Word, counts: Word, low: Word, squares: Word, high: Word
) -> tuple[Word, Word, Word, Word]:
    """Return totals of a series with those of the cells in [begin, end)."""
    for position in range(begin, end):
        is_present, value = read(heap, head, series, position)
        if is_present:
            low += value
            carry = np.int64(np.uint64(low) < np.uint64(value))
            counts += 1 + (((value >> 63) + carry) << COUNT_BITS)
            square_high, square_low = product(np.uint64(abs(value)), np.uint64(abs(value)))
            squares += np.int64(square_low)
            high += np.int64(square_high) + np.int64(np.uint64(squares) < square_low)
    return counts, low, squares, high


@compiled
def totals(heap: Ints, head: Word, series: Word, position: Word) -> tuple[Word, Word, Word, Word]:
    """Return the totals of a series before a position."""
    first, at = heap[head + CHUNK_LO], np.int64(0)
    group = max(position - first - 1, 0) >> GROUP_BITS
    if group > 0:
        first += group << GROUP_BITS
        at = address(heap, head, first) - heap[TOTALS_WORDS]
    elif heap[BEFORE] != 0:
        at = head + heap[BEFORE]
    counts, low, squares, high = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    if at != 0:
        at += heap[series + NUMBER] * SERIES_TOTALS
        counts, low, squares, high = heap[at], heap[at + 1], heap[at + 2], heap[at + 3]
    return add_cells(heap, head, series, first, position, counts, low, squares, high)


@compiled
def write_totals(heap: Ints, head: Word, at: Word, position: Word) -> None:
    """Write the totals before a position."""
    for i in range(heap[SERIES + 1]):
        of = at + i * SERIES_TOTALS
        heap[of], heap[of + 1], heap[of + 2], heap[of + 3] = totals(
            heap, head, heap[SERIES] + i * SERIES_WORDS, position
        )


@compiled
def update_totals(heap: Ints, head: Word, position: Word) -> None:
    """Write the totals behind a position."""
    if heap[TOTALS_WORDS] == 0:
        return
    lo, hi = heap[head + CHUNK_LO], heap[head + HI]
    for group in range(max((position - lo + GROUP - 1) >> GROUP_BITS, 1), ((hi - lo - 1) >> GROUP_BITS) + 1):
        first = lo + (group << GROUP_BITS)
        write_totals(heap, head, address(heap, head, first) - heap[TOTALS_WORDS], first)


@compiled
def repack(heap: Ints, head: Word, chunk: Word, base_ms: Word) -> None:
    """Move a key's live cells to a block, or to the begin of their own with the same base."""
    lo, hi = heap[head + LO], heap[head + HI]
    if heap[BEFORE] != 0:
        write_totals(heap, head, head + heap[BEFORE], lo)
    for position in range(lo, hi):
        at = chunk + offset_of(heap, base_ms, position - lo)
        if base_ms == heap[head + BASE_MS]:
            copy_words(heap, address(heap, head, position), at, words_of(heap, base_ms))
            continue
        write_time(heap, at, base_ms, time_at(heap, head, position))
        for i in range(heap[SERIES + 1]):
            series = heap[SERIES] + i * SERIES_WORDS
            is_present, value = read(heap, head, series, position)
            write_value(heap, at, base_ms, series, is_present, value)
    heap[head + CHUNK] = chunk
    heap[head + CHUNK_LO] = lo
    heap[head + BASE_MS] = base_ms
    update_totals(heap, head, lo)


@compiled
def count_before(heap: Ints, head: Word, series: Word, position: Word) -> Word:
    """Return the number of values of a series before a position."""
    return totals(heap, head, series, position)[0] & COUNT_MASK


@compiled
def trimmed(heap: Ints, head: Word, series: Word) -> Word:
    """Return the number of values in trimmed cells."""
    return count_before(heap, head, series, heap[head + LO])


@compiled
def first_kept(heap: Ints, head: Word, series: Word, begin: Word, end: Word, rank: Word) -> Word:
    """Return the position of the cell with the value number `rank` (from 1) in [begin, end), which has as many."""
    before = count_before(heap, head, series, begin)
    low, high = begin, end - 1
    while low < high:
        middle = (low + high) >> 1
        if count_before(heap, head, series, middle + 1) - before < rank:
            low = middle + 1
        else:
            high = middle
    return low
