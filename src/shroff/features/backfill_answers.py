"""The kernel of the second pass, row by row: all answers from the places of each row; compiled.

Rows go in blocks that fit the first cache. What a group of queries shares (count, sum and
sum of squares of its window) is made once per block; each query is then one short loop.
"""

from __future__ import annotations

import math

import numpy as np

from shroff.features.backfill_kernels import Flags, Places, Words
from shroff.features.backfill_numbers import entry, narrow_spread, pairs_of
from shroff.features.backfill_plan import (
    BASE,
    GROUP_END,
    GROUP_FIRST,
    GROUP_LAST_N,
    GROUP_LEFT,
    GROUP_QUERIES,
    GROUP_SERIES,
    IS_REAL,
    IS_WIDE,
    LEFT_LAST_N,
    OF_MAP,
    OF_SQUARES,
    OF_SUM,
    OF_VALUE,
    QUERY_FUNCTION,
    QUERY_PART,
    QUERY_TARGET,
    SCALE,
    START,
    WORDS,
)
from shroff.features.kernel_layout import COUNT, DISTINCT, FIRST, LAST, MEAN, SHARE, STD, SUM
from shroff.features.kernel_numbers import Word, bits_of, compiled, in_order, scaled, spread

BLOCK = 1_024
STRIDE = BLOCK + 8  # so that the words of one row do not compete for the same lines of the cache
# What a block keeps of a group: rows of its scratch.
BEGIN, END, EVENTS, TOTAL, TOTAL_HIGH, SQUARE, SQUARE_HIGH = range(7)
SCRATCH = 7


@compiled
def take_records(begin: Word, rows: Word, record_of: Places, places: Places, block: Places) -> None:
    """Bring the records of a block together, one line per column."""
    records = record_of[begin : begin + rows]
    for i in range(rows):
        record = places[np.uint64(records[i])]
        for column in range(record.size):
            block[column, i] = record[column]


@compiled
def take_windows(rows: Word, block: Places, group: Words, scratch: Words) -> None:
    """Note where a window begins and ends at each row of a block."""
    left, last_n = group[GROUP_LEFT], group[GROUP_LAST_N]
    lefts, rights = block[left if left >= 0 else START], block[group[GROUP_END]]
    begins, ends = scratch[BEGIN], scratch[END]
    for i in range(rows):
        begins[i] = lefts[i]
        ends[i] = rights[i]
    if left == LEFT_LAST_N:
        for i in range(rows):
            begins[i] = max(begins[i], ends[i] - last_n)


@compiled
def map_windows(rows: Word, maps: Places, of_map: Word, scratch: Words) -> None:
    """Let begins and ends count only the cells that have a value."""
    begins, ends, events, values = scratch[BEGIN], scratch[END], scratch[EVENTS], maps[of_map]
    for i in range(rows):
        events[i] = ends[i] - begins[i]
        begins[i] = values[np.uint64(begins[i])]
        ends[i] = values[np.uint64(ends[i])]


@compiled
def take_totals(rows: Word, series: Words, cells: Words, scratch: Words) -> None:
    """Subtract the totals before each window from those behind it."""
    words, of_sum, of_squares = series[WORDS], series[BASE] + series[OF_SUM], series[BASE] + series[OF_SQUARES]
    begins, ends, totals, squares = scratch[BEGIN], scratch[END], scratch[TOTAL], scratch[SQUARE]
    has_squares = series[OF_SQUARES] >= 0
    if series[IS_WIDE] != 0:
        for i in range(rows):
            take_wide(cells, of_sum, words, scratch, i, TOTAL)
            if has_squares:
                take_wide(cells, of_squares, words, scratch, i, SQUARE)
        return
    for i in range(rows):
        totals[i] = word_of(cells, of_sum, words, ends[i]) - word_of(cells, of_sum, words, begins[i])
    if has_squares:
        for i in range(rows):
            squares[i] = word_of(cells, of_squares, words, ends[i]) - word_of(cells, of_squares, words, begins[i])


@compiled
def word_of(cells: Words, base: Word, words: Word, cell: Word) -> Word:
    """One word of a cell; unsigned, as a signed place would be looked at for counting from the end."""
    return cells[np.uint64(base + cell * words)]


@compiled
def take_wide(cells: Words, base: Word, words: Word, scratch: Words, i: Word, target: Word) -> None:
    """The difference of two totals of 128 bits."""
    begin, end = scratch[BEGIN, i], scratch[END, i]
    low, taken = word_of(cells, base, words, end), word_of(cells, base, words, begin)
    high = word_of(cells, base + 1, words, end) - word_of(cells, base + 1, words, begin)
    scratch[target, i] = low - taken
    scratch[target + 1, i] = high - np.int64(np.uint64(low) < np.uint64(taken))


@compiled
def answer_narrow(rows: Word, function: Word, scale: Word, scratch: Words, results: Words, there: Flags) -> None:
    """Sum, mean or std where no sum leaves a signed word, no sum of squares an unsigned one."""
    begins, ends, totals, squares = scratch[BEGIN], scratch[END], scratch[TOTAL], scratch[SQUARE]
    if function == SUM:
        for i in range(rows):
            results[i] = totals[i]
            there[i] = 1
    elif function == MEAN:
        for i in range(rows):
            n = ends[i] - begins[i]
            mean = bits_of(np.float64(totals[i]) / np.float64(n * scale))
            results[i] = mean if n > 0 else 0
            there[i] = n > 0
    else:
        for i in range(rows):
            n = ends[i] - begins[i]
            std = bits_of(math.sqrt(narrow_spread(n, squares[i], totals[i]) / pairs_of(n, scale)))
            results[i] = std if n > 1 else 0
            there[i] = n > 1


@compiled
def answer_wide(rows: Word, function: Word, scale: Word, scratch: Words, results: Words, there: Flags) -> None:
    """Sum, mean or std of anything; a sum outside 64 bits is missing, and so is its mean."""
    for i in range(rows):
        n = scratch[END, i] - scratch[BEGIN, i]
        low, high = scratch[TOTAL, i], scratch[TOTAL_HIGH, i]
        is_there = high == low >> 63
        result = low
        if function == MEAN:
            is_there = is_there and n > 0
            if is_there:
                result = bits_of(np.float64(low) / scaled(n, scale))
        elif function == STD:
            is_there = n > 1
            if is_there:
                result = bits_of(spread(n, scratch[SQUARE_HIGH, i], scratch[SQUARE, i], high, low, scale))
        results[i] = result if is_there else 0
        there[i] = is_there


@compiled
def answer_values(
    rows: Word, function: Word, found: Places, series: Words, cells: Words, scratch: Words, results: Words, there: Flags
) -> None:
    """The value of one cell: first, last, or where an extreme or a quantile was `found`."""
    base, words = series[BASE] + series[OF_VALUE], series[WORDS]
    begins, ends = scratch[BEGIN], scratch[END]
    if FIRST <= function <= LAST:
        for i in range(rows):
            is_there = ends[i] > begins[i]
            cell = begins[i] if function == FIRST else ends[i] - 1
            value = word_of(cells, base, words, cell if is_there else 0)
            results[i] = value if is_there else 0
            there[i] = is_there
    else:
        for i in range(rows):
            is_there = found[i] >= 0
            value = word_of(cells, base, words, np.int64(max(found[i], 0)))
            results[i] = value if is_there else 0
            there[i] = is_there
    if series[IS_REAL] != 0:
        for i in range(rows):
            results[i] = in_order(results[i])


@compiled
def answer(
    rows: Word,
    block: Places,
    query: Words,
    series: Words,
    number: Word,
    cells: Words,
    scratch: Words,
    results: Words,
    there: Flags,
) -> None:
    """Answer one query at each row of a block."""
    function, found = query[QUERY_FUNCTION], block[query[QUERY_PART]]
    begins, ends, events = scratch[BEGIN], scratch[END], scratch[EVENTS]
    if function == COUNT:
        for i in range(rows):
            results[i] = ends[i] - begins[i]
            there[i] = 1
    elif function == SHARE:
        if series[number, OF_MAP] < 0:
            for i in range(rows):
                events[i] = ends[i] - begins[i]
        for i in range(rows):
            share = bits_of(np.float64(ends[i] - begins[i]) / np.float64(events[i]))
            results[i] = share if events[i] > 0 else 0
            there[i] = events[i] > 0
    elif function == DISTINCT:
        for i in range(rows):
            results[i] = found[i]
            there[i] = 1
    elif SUM <= function <= STD:
        if series[number, IS_WIDE] != 0:
            answer_wide(rows, function, series[number, SCALE], scratch, results, there)
        else:
            answer_narrow(rows, function, series[number, SCALE], scratch, results, there)
    else:
        answer_values(rows, function, found, series[number], cells, scratch, results, there)


@entry(
    "void(int64, int64, int32[::1], int64, int32[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int32[:, ::1], int64[::1], int32[:, ::1], int64[:, ::1], int64[:, ::1], uint8[:, ::1])"
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
    cells: Words,
    block: Places,
    scratch: Words,
    out: Words,
    valid: Flags,
) -> None:
    """Answer all queries at the rows [first, last); `nowhere` is the record of rows that ask nobody."""
    for begin in range(first, last, BLOCK):
        rows = min(BLOCK, last - begin)
        take_records(begin, rows, record_of, places, block)
        for g in range(groups.shape[0]):
            take_windows(rows, block, groups[g], scratch)
            number = groups[g, GROUP_SERIES]
            if number >= 0:
                if series[number, OF_MAP] >= 0:
                    map_windows(rows, maps, series[number, OF_MAP], scratch)
                if series[number, OF_SUM] >= 0:
                    take_totals(rows, series[number], cells, scratch)
            for i in range(groups[g, GROUP_FIRST], groups[g, GROUP_FIRST] + groups[g, GROUP_QUERIES]):
                target = queries[i, QUERY_TARGET]
                results, there = out[target, begin : begin + rows], valid[target, begin : begin + rows]
                answer(rows, block, queries[i], series, number, cells, scratch, results, there)
        for row in range(begin, begin + rows):
            if record_of[row] == nowhere:
                for target in range(out.shape[0]):
                    out[target, row] = 0
                    valid[target, row] = 0
