"""The kernel of the second pass, row by row: all answers from the places of each row; compiled.

Rows go in blocks that fit the first cache. What a group of queries shares (count, sum and
sum of squares of its window) is made once per block; each query is then one short loop.
"""

from __future__ import annotations

import math

import numpy as np

from shroff.features.backfill_kernels import Flags, Places, Words
from shroff.features.backfill_numbers import entry, narrow_spread, pairs_of
from shroff.features.backfill_places import begin_of
from shroff.features.backfill_plan import (
    GROUP_END,
    GROUP_FIRST,
    GROUP_LAST_N,
    GROUP_LEFT,
    GROUP_QUERIES,
    GROUP_SERIES,
    IS_REAL,
    IS_WIDE,
    OF_MAP,
    OF_SQUARES,
    OF_SUM,
    OF_VALUES,
    QUERY_FUNCTION,
    QUERY_PART,
    QUERY_TARGET,
    SCALE,
)
from shroff.features.kernel_layout import COUNT, DISTINCT, FIRST, LAST, MEAN, SHARE, STD, SUM
from shroff.features.kernel_numbers import Word, bits_of, compiled, in_order, scaled, spread

BLOCK = 1_024
# What a block keeps of a group: rows of its scratch.
BEGIN, END, EVENTS, TOTAL, TOTAL_HIGH, SQUARE, SQUARE_HIGH = range(7)
SCRATCH = 7


@compiled
def place_windows(begin: Word, end: Word, record_of: Places, places: Places, group: Words, scratch: Words) -> None:
    """Note where a window begins and ends at each row of a block."""
    left, last_n, end_column = group[GROUP_LEFT], group[GROUP_LAST_N], group[GROUP_END]
    for i in range(end - begin):
        record = record_of[begin + i]
        stop = np.int64(places[record, end_column])
        start = begin_of(places, record, left, last_n, stop)
        scratch[BEGIN, i] = start
        scratch[END, i] = stop
        scratch[EVENTS, i] = stop - start


@compiled
def map_windows(rows: Word, maps: Places, of_map: Word, scratch: Words) -> None:
    """Let begins and ends count only the cells that have a value."""
    for i in range(rows):
        scratch[BEGIN, i] = maps[of_map, scratch[BEGIN, i]]
        scratch[END, i] = maps[of_map, scratch[END, i]]


@compiled
def take_totals(rows: Word, series: Words, sums: Words, squares: Words, scratch: Words) -> None:
    """Subtract the totals before each window from those behind it."""
    of_sum, of_squares = series[OF_SUM], series[OF_SQUARES]
    if series[IS_WIDE] == 0:
        for i in range(rows):
            scratch[TOTAL, i] = sums[of_sum, scratch[END, i]] - sums[of_sum, scratch[BEGIN, i]]
        if of_squares >= 0:
            for i in range(rows):
                scratch[SQUARE, i] = squares[of_squares, scratch[END, i]] - squares[of_squares, scratch[BEGIN, i]]
    else:
        for i in range(rows):
            take_wide(sums, of_sum, scratch, i, TOTAL)
            if of_squares >= 0:
                take_wide(squares, of_squares, scratch, i, SQUARE)


@compiled
def take_wide(totals: Words, row: Word, scratch: Words, i: Word, target: Word) -> None:
    """The difference of two totals of 128 bits."""
    begin, end = scratch[BEGIN, i], scratch[END, i]
    low, taken = totals[row, end], totals[row, begin]
    borrow = np.int64(np.uint64(low) < np.uint64(taken))
    scratch[target, i] = low - taken
    scratch[target + 1, i] = totals[row + 1, end] - totals[row + 1, begin] - borrow


@compiled
def answer_narrow(
    begin: Word, rows: Word, function: Word, target: Word, scale: Word, scratch: Words, out: Words, valid: Flags
) -> None:
    """Sum, mean or std where no sum leaves a signed word, no sum of squares an unsigned one."""
    if function == SUM:
        for i in range(rows):
            out[target, begin + i] = scratch[TOTAL, i]
            valid[target, begin + i] = 1
    elif function == MEAN:
        for i in range(rows):
            n = scratch[END, i] - scratch[BEGIN, i]
            mean = bits_of(np.float64(scratch[TOTAL, i]) / np.float64(n * scale))
            out[target, begin + i] = mean if n > 0 else 0
            valid[target, begin + i] = n > 0
    else:
        for i in range(rows):
            n = scratch[END, i] - scratch[BEGIN, i]
            above = narrow_spread(n, scratch[SQUARE, i], scratch[TOTAL, i])
            std = bits_of(math.sqrt(above / pairs_of(n, scale)))
            out[target, begin + i] = std if n > 1 else 0
            valid[target, begin + i] = n > 1


@compiled
def answer_wide(
    begin: Word, rows: Word, function: Word, target: Word, scale: Word, scratch: Words, out: Words, valid: Flags
) -> None:
    """Sum, mean or std of anything; a sum outside 64 bits is missing, and so is its mean."""
    for i in range(rows):
        n = scratch[END, i] - scratch[BEGIN, i]
        low, high = scratch[TOTAL, i], scratch[TOTAL_HIGH, i]
        fits = high == low >> 63
        result = np.int64(0)
        if function == SUM:
            there = fits
            result = low
        elif function == MEAN:
            there = n > 0 and fits
            if there:
                result = bits_of(np.float64(low) / scaled(n, scale))
        else:
            there = n > 1
            if there:
                result = bits_of(spread(n, scratch[SQUARE_HIGH, i], scratch[SQUARE, i], high, low, scale))
        out[target, begin + i] = result if there else 0
        valid[target, begin + i] = there


@compiled
def answer(
    begin: Word,
    end: Word,
    record_of: Places,
    places: Places,
    query: Words,
    series: Words,
    number: Word,
    stored: Words,
    scratch: Words,
    out: Words,
    valid: Flags,
) -> None:
    """Answer one query at each row of a block."""
    function, target, part = query[QUERY_FUNCTION], query[QUERY_TARGET], query[QUERY_PART]
    rows = end - begin
    if function == COUNT:
        for i in range(rows):
            out[target, begin + i] = scratch[END, i] - scratch[BEGIN, i]
            valid[target, begin + i] = 1
    elif function == SHARE:
        for i in range(rows):
            there = scratch[EVENTS, i] > 0
            share = bits_of(np.float64(scratch[END, i] - scratch[BEGIN, i]) / np.float64(scratch[EVENTS, i]))
            out[target, begin + i] = share if there else 0
            valid[target, begin + i] = there
    elif SUM <= function <= STD:
        if series[number, IS_WIDE] != 0:
            answer_wide(begin, rows, function, target, series[number, SCALE], scratch, out, valid)
        else:
            answer_narrow(begin, rows, function, target, series[number, SCALE], scratch, out, valid)
    elif function == DISTINCT:
        for i in range(rows):
            out[target, begin + i] = places[record_of[begin + i], part]
            valid[target, begin + i] = 1
    else:
        of_values, is_real = series[number, OF_VALUES], series[number, IS_REAL] != 0
        for i in range(rows):
            cell = np.int64(-1)
            if function == FIRST:
                cell = scratch[BEGIN, i] if scratch[END, i] > scratch[BEGIN, i] else -1
            elif function == LAST:
                cell = scratch[END, i] - 1 if scratch[END, i] > scratch[BEGIN, i] else -1
            else:
                cell = np.int64(places[record_of[begin + i], part])
            value = stored[of_values, max(cell, 0)]
            value = in_order(value) if is_real else value
            out[target, begin + i] = value if cell >= 0 else 0
            valid[target, begin + i] = cell >= 0


@entry(
    "void(int64, int64, int32[::1], int64, int32[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int32[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], uint8[:, ::1])"
)
def answer_rows(
    first: Word,
    last: Word,
    record_of: Places,
    nowhere: Word,
    places: Places,
    groups: Words,
    queries: Words,
    series: Words,
    maps: Places,
    sums: Words,
    squares: Words,
    stored: Words,
    scratch: Words,
    out: Words,
    valid: Flags,
) -> None:
    """Answer all queries at the rows [first, last); `nowhere` is the record of rows that ask nobody."""
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        for g in range(groups.shape[0]):
            place_windows(begin, end, record_of, places, groups[g], scratch)
            number = groups[g, GROUP_SERIES]
            if number >= 0:
                if series[number, OF_MAP] >= 0:
                    map_windows(end - begin, maps, series[number, OF_MAP], scratch)
                if series[number, OF_SUM] >= 0:
                    take_totals(end - begin, series[number], sums, squares, scratch)
            for i in range(groups[g, GROUP_FIRST], groups[g, GROUP_FIRST] + groups[g, GROUP_QUERIES]):
                answer(begin, end, record_of, places, queries[i], series, number, stored, scratch, out, valid)
        for row in range(begin, end):
            if record_of[row] == nowhere:
                for target in range(out.shape[0]):
                    out[target, row] = 0
                    valid[target, row] = 0
