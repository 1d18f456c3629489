"""Compiled: find the cells in each window of one row, and answer all queries about them."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.cells import add_cells, first_kept, place, read, time_at, totals, trimmed
from shroff.features.kernels.distinct import move_set
from shroff.features.kernels.layout import (
    BEGIN,
    COUNT,
    COUNT_BITS,
    COUNT_MASK,
    D_AT,
    D_BEGIN,
    D_COUNT,
    DENOMINATOR,
    DIFFERENT,
    DISTINCT,
    EDGE_PLACES,
    EDGES,
    END,
    F_FIRST,
    F_FIRST_AT,
    F_LAST,
    F_LAST_AT,
    F_MAX,
    F_MIN,
    FIRST,
    FUNCTION,
    G_COUNT,
    G_FIRST,
    G_SERIES,
    G_WINDOW,
    GROUP,
    GROUP_WORDS,
    GROUPS,
    GROUPS_BEFORE,
    HI,
    HINTS,
    IS_REAL,
    LAST,
    LAST_N,
    LEFT,
    LEFT_EVER,
    LEFT_LAST_N,
    LO,
    LOOKS,
    MAX,
    MEAN,
    MEDIAN,
    MIN,
    NUMERATOR,
    OF_FOLD,
    PART,
    QUANTILE,
    QUERIES,
    QUERY_WORDS,
    RIGHT,
    ROW_OUT,
    S_HEAD,
    SCALE,
    SERIES,
    SERIES_WORDS,
    SHARE,
    STD,
    SUM,
    T_FLIP,
    T_HEAD,
    WINDOW_WORDS,
    WINDOWS,
    WINDOWS_BEFORE,
)
from shroff.features.kernels.numbers import Word, bits_of, compiled, in_order, middle, product, scaled, spread
from shroff.features.kernels.order import feed_deque, greatest_key, search_deque, values_at_ranks


@compiled
def answer_step(heap: Ints, head: Word, step: Word, time_ms: Word, row: Word, out: Ints, valid: Bytes) -> Word:
    """Answer the queries before (step 0) or after (step 1) the row's event is inserted; False if the heap is full."""
    if step == 0:
        first, last = np.int64(0), heap[WINDOWS_BEFORE]
        first_group, last_group = np.int64(0), heap[GROUPS_BEFORE]
    else:
        first, last = heap[WINDOWS_BEFORE], heap[WINDOWS + 1]
        first_group, last_group = heap[GROUPS_BEFORE], heap[GROUPS + 1]
    if first_group == last_group:
        return True
    now = place_edges(heap, head, time_ms)
    place_windows(heap, head, first, last, now)
    return answer(heap, head, first_group, last_group, row, out, valid)


@compiled
def place_edges(heap: Ints, head: Word, time_ms: Word) -> Word:
    """Find the position of each window edge of the plan at this time; return the first position after the row.

    The search begins at the edge's last position, so rows in order cost a step or two. A late row searches backwards,
    and leaves the last position unchanged.
    """
    lo, hi = heap[head + LO], heap[head + HI]
    edges, places = heap[EDGES], heap[EDGE_PLACES]
    for i in range(heap[EDGES + 1]):
        hint = heap[head + HINTS + i]
        found = place(heap, head, lo, hi, hint, time_ms - heap[edges + i])
        heap[places + i] = found
        if found > hint:
            heap[head + HINTS + i] = found
    return place(heap, head, lo, hi, hi, time_ms)


@compiled
def place_windows(heap: Ints, head: Word, first: Word, last: Word, now: Word) -> None:
    """Set begin and end of the windows [first, last) of the plan from the edges."""
    lo = heap[head + LO]
    places = heap[EDGE_PLACES]
    for i in range(first, last):
        window = heap[WINDOWS] + i * WINDOW_WORDS
        end = now if heap[window + RIGHT] < 0 else max(lo, heap[places + heap[window + RIGHT]])
        left = heap[window + LEFT]
        if left >= 0:
            begin = heap[places + left]
        elif left == LEFT_LAST_N:
            begin = end - heap[window + LAST_N]
        else:
            begin = lo
        heap[window + BEGIN] = max(lo, begin)
        heap[window + END] = end


@compiled
def rank_of(count: Word, numerator: Word, denominator: Word) -> Word:
    """Return ceil(count * numerator / denominator), at least 1, exactly: the least rank that reaches the share."""
    want_high, want_low = product(np.uint64(count), np.uint64(numerator))
    low, high = 1, count
    while low < high:
        middle = (low + high) >> 1
        have_high, have_low = product(np.uint64(middle), np.uint64(denominator))
        if have_high < want_high or (have_high == want_high and have_low < want_low):
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def extreme_of(heap: Ints, head: Word, series: Word, track: Word, window: Word) -> tuple[Word, Word]:
    """Return the extreme of a window as (state, value); state 2: the heap is full, 1: a value, 0: no value."""
    begin, end = heap[window + BEGIN], heap[window + END]
    deque = head + heap[track + T_HEAD]
    flip = heap[track + T_FLIP]
    if not feed_deque(heap, head, track, end):
        return 2, np.int64(0)
    number = search_deque(heap, deque, begin)
    entry = heap[deque + D_AT] + (heap[deque + D_BEGIN] + number) * 2
    found, key = False, np.int64(0)
    if number < heap[deque + D_COUNT]:
        if heap[entry] < end:
            found, key = True, heap[entry + 1]
        else:
            # The row is late, and a later cell outside of its window has removed the window's entries.
            found, key = greatest_key(heap, head, track, begin, end)
    if heap[window + LEFT] == LEFT_EVER and trimmed(heap, head, series) != 0:
        fold = heap[head + heap[series + OF_FOLD] + (F_MIN if flip != 0 else F_MAX)] ^ flip
        if not found or fold > key:
            found, key = True, fold
    return np.int64(found), key ^ flip


@compiled
def different_of(heap: Ints, head: Word, part: Word, window: Word) -> Word:
    """Return the number of distinct values in a window; -1 if the heap is full."""
    begin = 1 if heap[window + LEFT] == LEFT_EVER else heap[window + BEGIN]
    if not move_set(heap, head, part, begin, heap[window + END]):
        return -1
    return heap[head + heap[part + S_HEAD] + DIFFERENT]


@compiled
def end_of(heap: Ints, head: Word, series: Word, window: Word, function: Word, live: Word) -> Word:
    """Return the first or last value of a window that has one; `live` is the number of its values in cells."""
    begin, end = heap[window + BEGIN], heap[window + END]
    value, time_ms = np.int64(0), np.int64(0)
    if live > 0:
        position = begin if function == FIRST else end - 1
        is_present, value = read(heap, head, series, position)
        if not is_present:
            position = first_kept(heap, head, series, begin, end, 1 if function == FIRST else live)
            value = read(heap, head, series, position)[1]
        time_ms = time_at(heap, head, position)
    if heap[window + LEFT] == LEFT_EVER and trimmed(heap, head, series) != 0:
        fold = head + heap[series + OF_FOLD]
        if function == FIRST:
            if live == 0 or time_ms >= heap[fold + F_FIRST_AT]:
                return heap[fold + F_FIRST]
        elif live == 0 or time_ms < heap[fold + F_LAST_AT]:
            return heap[fold + F_LAST]
    return value


@compiled
def totals_of(
    heap: Ints, head: Word, series: Word, begin: Word, end: Word, is_ever: Word
) -> tuple[Word, Word, Word, Word, Word]:
    """Return the totals of a window: its number of values, low and high part of their sum, and of their squares."""
    counts, low, squares, high = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    if not is_ever and end - begin <= GROUP:
        counts, low, squares, high = add_cells(heap, head, series, begin, end, counts, low, squares, high)
        return counts & COUNT_MASK, low, counts >> COUNT_BITS, squares, high
    counts, low, squares, high = totals(heap, head, series, end)
    if is_ever:
        return counts & COUNT_MASK, low, counts >> COUNT_BITS, squares, high
    counts_before, low_before, squares_before, high_before = totals(heap, head, series, begin)
    sum_high = (counts >> COUNT_BITS) - (counts_before >> COUNT_BITS)
    sum_high = ((sum_high - np.int64(np.uint64(low) < np.uint64(low_before))) << COUNT_BITS) >> COUNT_BITS
    high = high - high_before - np.int64(np.uint64(squares) < np.uint64(squares_before))
    return (counts - counts_before) & COUNT_MASK, low - low_before, sum_high, squares - squares_before, high


@compiled
def answer(heap: Ints, head: Word, first: Word, last: Word, row: Word, out: Ints, valid: Bytes) -> Word:
    """Answer the queries of the groups [first, last); False if the heap is full.

    It exceeds the usual length, as all functions share the totals of a window.
    """
    for g in range(first, last):
        group = heap[GROUPS] + g * GROUP_WORDS
        window = heap[WINDOWS] + heap[group + G_WINDOW] * WINDOW_WORDS
        begin, end = heap[window + BEGIN], heap[window + END]
        ever = heap[window + LEFT] == LEFT_EVER
        if not ever and end < begin:
            end = begin
            heap[window + END] = end
        events = end - 1 if ever else end - begin
        series = np.int64(0)
        n = events
        sum_low, sum_high, square_low, square_high = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        if heap[group + G_SERIES] >= 0:
            series = heap[SERIES] + heap[group + G_SERIES] * SERIES_WORDS
            n, sum_low, sum_high, square_low, square_high = totals_of(heap, head, series, begin, end, ever)
        for i in range(heap[group + G_FIRST], heap[group + G_FIRST] + heap[group + G_COUNT]):
            query = heap[QUERIES] + i * QUERY_WORDS
            function = heap[query + FUNCTION]
            target = heap[query + ROW_OUT]
            there = n > 0
            if function == COUNT:
                out[target, row] = n
                there = True
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
                    out[target, row] = bits_of(
                        spread(n, square_high, square_low, sum_high, sum_low, heap[series + SCALE])
                    )
            elif MIN <= function <= MAX:
                state, value = extreme_of(heap, head, series, heap[query + PART], window)
                if state == 2:
                    return False
                there = state == 1
                out[target, row] = in_order(value) if heap[series + IS_REAL] != 0 else value
            elif function == DISTINCT:
                n_different = different_of(heap, head, heap[query + PART], window)
                if n_different < 0:
                    return False
                out[target, row] = n_different
                there = True
            elif function == SHARE:
                there = events > 0
                if there:
                    out[target, row] = bits_of(np.float64(n) / np.float64(events))
            elif FIRST <= function <= LAST:
                if there:
                    live = n
                    if ever:
                        live -= trimmed(heap, head, series)
                    value = end_of(heap, head, series, window, function, live)
                    out[target, row] = in_order(value) if heap[series + IS_REAL] != 0 else value
            elif function == QUANTILE and there:
                rank = rank_of(n, heap[query + NUMERATOR], heap[query + DENOMINATOR])
                found, value, _ = values_at_ranks(heap, head, series, begin, end, n, rank, rank)
                if not found:
                    return False
                out[target, row] = in_order(value) if heap[series + IS_REAL] != 0 else value
            elif function == MEDIAN and there:
                found, low, high = values_at_ranks(heap, head, series, begin, end, n, (n + 1) >> 1, (n >> 1) + 1)
                if not found:
                    return False
                median = middle(low, high, heap[series + SCALE], heap[series + IS_REAL] != 0)
                out[target, row] = bits_of(median)
                there = np.isfinite(median)
            valid[target, row] = there
            if not there:
                out[target, row] = 0
    return True


@compiled
def answer_nothing(heap: Ints, row: Word, out: Ints, valid: Bytes) -> None:
    """Mark all answers as missing, for a row without a key."""
    for i in range(heap[QUERIES + 1] + heap[LOOKS + 1]):
        out[i, row] = 0
        valid[i, row] = 0
