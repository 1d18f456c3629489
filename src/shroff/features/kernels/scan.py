"""Aggregates whose condition compares with `this`: each event of the window is looked at; compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shroff.features.kernels.answers import place_edges, place_windows, rank_of
from shroff.features.kernels.cells import Words, class_of, give, is_kept, take, value_at
from shroff.features.kernels.layout import (
    BEGIN,
    CELL_WORDS,
    COUNT,
    DENOMINATOR,
    DISTINCT,
    END,
    FUNCTION,
    IS_REAL,
    K_DO,
    K_DO_COUNT,
    K_LOADS,
    K_LOADS_COUNT,
    K_RESULT,
    K_SERIES,
    K_THIS_COUNT,
    K_WINDOW,
    LAST,
    LOAD_WORDS,
    LOOK_WORDS,
    LOOKS,
    LOOKS_BEFORE,
    MAX,
    MEAN,
    MEDIAN,
    MIN,
    NUMERATOR,
    ORIGIN,
    QUANTILE,
    ROW_OUT,
    SCALE,
    SERIES,
    SERIES_WORDS,
    SHARE,
    STD,
    SUM,
    WINDOWS,
    WINDOWS_BEFORE,
)
from shroff.features.kernels.numbers import Word, bits_of, compiled, in_order, middle, product, scaled, spread
from shroff.features.kernels.order import select
from shroff.features.kernels.programs import evaluate


@compiled
def look_step(
    heap: Words,
    head: Word,
    step: Word,
    time_ms: Word,
    values: NDArray[np.int64],
    kept: NDArray[np.uint8],
    row: Word,
    out: NDArray[np.int64],
    valid: NDArray[np.uint8],
) -> Word:
    """Answer the looks before (step 0) or after (step 1) the row's event is in; False: the heap must grow first."""
    if step == 0:
        first_window, last_window = np.int64(0), heap[WINDOWS_BEFORE]
        first, last = np.int64(0), heap[LOOKS_BEFORE]
    else:
        first_window, last_window = heap[WINDOWS_BEFORE], heap[WINDOWS + 1]
        first, last = heap[LOOKS_BEFORE], heap[LOOKS + 1]
    if first == last:
        return True
    now = place_edges(heap, head, time_ms)
    place_windows(heap, head, first_window, last_window, now)
    for i in range(first, last):
        look = heap[LOOKS] + i * LOOK_WORDS
        load_this(heap, look, values, kept, row)
        if not look_at_all(heap, head, look, row, out, valid):
            return False
    return True


@compiled
def load_this(heap: Words, look: Word, values: NDArray[np.int64], kept: NDArray[np.uint8], row: Word) -> None:
    """Load the operands of the query row behind the series' values."""
    for i in range(heap[look + K_LOADS_COUNT], heap[look + K_LOADS_COUNT] + heap[look + K_THIS_COUNT]):
        load = heap[look + K_LOADS] + i * LOAD_WORDS
        register = heap[load + 1]
        heap[register + 1] = kept[heap[load], row]
        heap[register] = values[heap[load], row] if heap[register + 1] != 0 else 0


@compiled
def keeps(heap: Words, look: Word, at: Word) -> Word:
    """Whether a look's condition is true for the cell at this address; False if it cannot be computed."""
    for i in range(heap[look + K_LOADS_COUNT]):
        load = heap[look + K_LOADS] + i * LOAD_WORDS
        series, register = heap[SERIES] + heap[load] * SERIES_WORDS, heap[load + 1]
        if is_kept(heap, series, at):
            value = value_at(heap, series, at)
            heap[register] = in_order(value) if heap[series + IS_REAL] != 0 else value
            heap[register + 1] = 1
        else:
            heap[register] = 0
            heap[register + 1] = 0
    if not evaluate(heap, heap[look + K_DO], heap[look + K_DO_COUNT]):
        return np.int64(0)
    result = heap[look + K_RESULT]
    return heap[result] != 0 and heap[result + 1] != 0


@compiled
def look_at_all(
    heap: Words, head: Word, look: Word, row: Word, out: NDArray[np.int64], valid: NDArray[np.uint8]
) -> Word:
    """Answer one look; False if the heap must grow first.

    Above the usual length: one pass over the window feeds whatever the function needs.
    """
    window = heap[WINDOWS] + heap[look + K_WINDOW]
    begin, end = heap[window + BEGIN], max(heap[window + BEGIN], heap[window + END])
    words, origin = heap[CELL_WORDS], heap[head + ORIGIN]
    function, target = heap[look + FUNCTION], heap[look + ROW_OUT]
    series = heap[SERIES] + heap[look + K_SERIES] * SERIES_WORDS
    collects = function in (DISTINCT, QUANTILE, MEDIAN)
    values, size_class = np.int64(0), np.int64(0)
    if collects:
        size_class = class_of(end - begin)
        values = take(heap, size_class)
        if values == 0:
            return False
    n, best = np.int64(0), np.int64(0)
    zero = np.uint64(0)
    sum_low, sum_high, square_low, square_high = np.int64(0), np.int64(0), zero, zero
    for position in range(begin, end):
        at = origin + position * words
        if not keeps(heap, look, at):
            continue
        if function <= SHARE:
            n += 1
            continue
        if not is_kept(heap, series, at):
            continue
        value = value_at(heap, series, at)
        if collects:
            heap[values + n] = value
        elif function <= STD:
            sum_low += value
            sum_high += (value >> 63) + np.int64(np.uint64(sum_low) < np.uint64(value))
            if function == STD:
                high, low = product(np.uint64(abs(value)), np.uint64(abs(value)))
                square_low = square_low + low
                square_high = square_high + high + np.uint64(square_low < low)
        elif n == 0 or function == LAST or (function == MIN and value < best) or (function == MAX and value > best):
            best = value
        n += 1
    there: Word = n > 0
    if function == COUNT:
        out[target, row] = n
        there = True
    elif function == SHARE:
        there = end > begin
        if there:
            out[target, row] = bits_of(np.float64(n) / np.float64(end - begin))
    elif function == SUM:
        out[target, row] = sum_low
        there = sum_high == sum_low >> 63
    elif function == MEAN:
        there = there and sum_high == sum_low >> 63
        if there:
            out[target, row] = bits_of(np.float64(sum_low) / scaled(n, heap[series + SCALE]))
    elif function == STD:
        there = n > 1
        if there:
            squares = np.int64(square_high), np.int64(square_low)
            out[target, row] = bits_of(spread(n, squares[0], squares[1], sum_high, sum_low, heap[series + SCALE]))
    elif MIN <= function <= LAST:
        out[target, row] = in_order(best) if heap[series + IS_REAL] != 0 else best
    elif function == DISTINCT:
        out[target, row] = different(heap, values, n)
        there = True
    elif function == MEDIAN and there:
        low, high = select(heap, values, n, (n + 1) >> 1), select(heap, values, n, (n >> 1) + 1)
        median = middle(low, high, heap[series + SCALE], heap[series + IS_REAL] != 0)
        out[target, row] = bits_of(median)
        there = np.isfinite(median)
    elif there:
        rank = rank_of(n, heap[look + NUMERATOR], heap[look + DENOMINATOR])
        value = select(heap, values, n, rank)
        out[target, row] = in_order(value) if heap[series + IS_REAL] != 0 else value
    if collects:
        give(heap, values, size_class)
    valid[target, row] = there
    if not there:
        out[target, row] = 0
    return True


@compiled
def different(heap: Words, values: Word, count: Word) -> Word:
    """Number of distinct values in a block, which is sorted in place (Shell sort)."""
    gap: Word = np.int64(1)
    while gap < count:
        gap = gap * 3 + 1
    while gap > 1:
        gap = gap // 3
        for i in range(gap, count):
            value: Word = heap[values + i]
            j: Word = i
            while j >= gap and heap[values + j - gap] > value:
                heap[values + j] = heap[values + j - gap]
                j -= gap
            heap[values + j] = value
    found: Word = min(count, np.int64(1))
    for i in range(1, count):
        if heap[values + i] != heap[values + i - 1]:
            found += 1
    return found
