"""Compiled second pass of a backfill: computes all answers of each row from its record.

Works in blocks that fit into the cache: the records of a block are transposed, so that each query is one short loop
over adjacent words.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from shroff.arrays import Bytes, Ints, Ints32
from shroff.features.batch.backfill_plan import (
    EVENTS_WORD,
    GROUP_FIRST,
    GROUP_QUERIES,
    GROUP_SERIES,
    IS_REAL,
    IS_WIDE,
    N_WORD,
    QUERY_FUNCTION,
    QUERY_TARGET,
    QUERY_WORD,
    SCALE,
    SQUARES_WORD,
    SUM_WORD,
)
from shroff.features.kernels.layout import COUNT, DISTINCT, MEAN, MEDIAN, SHARE, STD, SUM
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import (
    Word,
    bits_of,
    compiled,
    float_of,
    high_product,
    in_order,
    intrinsic_of,
    scaled,
    spread,
)

BLOCK = 512
STRIDE = BLOCK + 8  # so that the words of one record do not compete for the same cache lines


@compiled
def turn_records(begin: Word, rows: Word, record_of: Ints32, records: Ints, block: Ints) -> None:
    """Transpose the records of a block: one line per word."""
    numbers = record_of[begin : begin + rows]
    for i in range(rows):
        record = records[np.uint64(numbers[i])]
        for word in range(record.size):
            block[word, i] = record[word]


@compiled
def answer_narrow(
    rows: Word, function: Word, scale: Word, group: Ints, block: Ints, results: Ints, there: Bytes
) -> None:
    """Compute sum, mean or std if sums fit into a signed word, and sums of squares into an unsigned one."""
    counts, totals = block[group[N_WORD]], block[group[SUM_WORD]]
    if function == SUM:
        for i in range(rows):
            results[i] = totals[i]
            there[i] = 1
    elif function == MEAN:
        for i in range(rows):
            mean = bits_of(np.float64(totals[i]) / np.float64(counts[i] * scale))
            results[i] = mean if counts[i] > 0 else 0
            there[i] = counts[i] > 0
    else:
        squares = block[group[SQUARES_WORD]]
        for i in range(rows):
            above = narrow_spread(counts[i], squares[i], totals[i])
            std = bits_of(math.sqrt(above / pairs_of(counts[i], scale)))
            results[i] = std if counts[i] > 1 else 0
            there[i] = counts[i] > 1


@compiled
def answer_wide(rows: Word, function: Word, scale: Word, group: Ints, block: Ints, results: Ints, there: Bytes) -> None:
    """Compute sum, mean or std of any values; a sum outside 64 bits is missing, and so is its mean."""
    counts, totals, highs = block[group[N_WORD]], block[group[SUM_WORD]], block[group[SUM_WORD] + 1]
    for i in range(rows):
        n, low, high = counts[i], totals[i], highs[i]
        is_there = high == low >> 63
        result = low
        if function == MEAN:
            is_there = is_there and n > 0
            if is_there:
                result = bits_of(np.float64(low) / scaled(n, scale))
        elif function == STD:
            is_there = n > 1
            if is_there:
                squares = group[SQUARES_WORD]
                result = bits_of(spread(n, block[squares + 1, i], block[squares, i], high, low, scale))
        results[i] = result if is_there else 0
        there[i] = is_there


@compiled
def answer(rows: Word, group: Ints, query: Ints, series: Ints, block: Ints, results: Ints, there: Bytes) -> None:
    function, counts, number = query[QUERY_FUNCTION], block[group[N_WORD]], group[GROUP_SERIES]
    if function in (COUNT, DISTINCT):
        found = counts if function == COUNT else block[query[QUERY_WORD]]
        for i in range(rows):
            results[i] = found[i]
            there[i] = 1
    elif function == SHARE:
        events = block[group[EVENTS_WORD]]
        for i in range(rows):
            share = bits_of(np.float64(counts[i]) / np.float64(events[i]))
            results[i] = share if events[i] > 0 else 0
            there[i] = events[i] > 0
    elif SUM <= function <= STD:
        if series[number, IS_WIDE] != 0:
            answer_wide(rows, function, series[number, SCALE], group, block, results, there)
        else:
            answer_narrow(rows, function, series[number, SCALE], group, block, results, there)
    elif function == MEDIAN:
        found = block[query[QUERY_WORD]]
        for i in range(rows):
            is_there = counts[i] > 0 and np.isfinite(float_of(found[i]))
            results[i] = found[i] if is_there else 0
            there[i] = is_there
    else:
        found = block[query[QUERY_WORD]]
        is_real = series[number, IS_REAL] != 0
        for i in range(rows):
            value = in_order(found[i]) if is_real else found[i]
            results[i] = value if counts[i] > 0 else 0
            there[i] = counts[i] > 0


@native(
    "void(int64, int64, int64, int32[::1], int64, int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int64[:, ::1], int64[:, ::1], uint8[:, ::1])"
)
def answer_rows(
    first: Word,
    last: Word,
    shift: Word,
    record_of: Ints32,
    nowhere: Word,
    records: Ints,
    groups: Ints,
    queries: Ints,
    series: Ints,
    block: Ints,
    out: Ints,
    valid: Bytes,
) -> None:
    """Answer all queries at the rows [first, last), at offset `shift` in the results.

    `nowhere` is the record of rows without a query.
    """
    for begin in range(first, last, BLOCK):
        rows = min(BLOCK, last - begin)
        turn_records(begin, rows, record_of, records, block)
        for g in range(groups.shape[0]):
            for q in range(groups[g, GROUP_FIRST], groups[g, GROUP_FIRST] + groups[g, GROUP_QUERIES]):
                target = queries[q, QUERY_TARGET]
                at = begin + shift
                results, is_valid = out[target, at : at + rows], valid[target, at : at + rows]
                answer(rows, groups[g], queries[q], series, block, results, is_valid)
        for row in range(begin, begin + rows):
            if record_of[row] == nowhere:
                for target in range(out.shape[0]):
                    out[target, row + shift] = 0
                    valid[target, row + shift] = 0


# ---- arithmetic for values in these bounds


def _leading_zeros(typing_context: Any, value: Any) -> Any:
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        truth = context.get_value_type(types.boolean)
        return builder.ctlz(arguments[0], truth(0))

    return types.uint64(types.uint64), generate


# Counts the leading zero bits of a word; 64 for zero.
leading_zeros = intrinsic_of(_leading_zeros)


@compiled
def rounded_pair(high: Word, low: Word) -> Word:
    """Return the float nearest to a number of 128 bits, half to even."""
    one, all_bits = np.uint64(1), np.uint64(63)
    if high == np.uint64(0):
        return np.float64(low)
    shift = leading_zeros(high)
    # The bits below the top 64 can only decide a tie, so one bit tells whether any is set.
    top = (high << shift) | ((low >> one) >> (all_bits - shift))
    top = top | np.uint64((low << shift) != np.uint64(0))
    return np.float64(top) * float_of(np.int64(1023 + 64 - np.int64(shift)) << 52)


@compiled
def narrow_spread(n: Word, squares: Word, total: Word) -> Word:
    """Return float(n * squares - total**2), if `squares` fits into an unsigned word and `total` into a signed one."""
    # All unsigned: the compiler would convert mixed signed and unsigned words to floats.
    count, squares_low, sum_low = np.uint64(n), np.uint64(squares), np.uint64(abs(total))
    low = count * squares_low
    taken = sum_low * sum_low
    high = high_product(count, squares_low) - high_product(sum_low, sum_low) - np.uint64(low < taken)
    return rounded_pair(high, low - taken)


@compiled
def pairs_of(n: Word, scale: Word) -> Word:
    """Return float(n * (n - 1) * scale**2); all steps stay below 2^63 except the last, which has 128 bits."""
    pairs = np.uint64(n) * np.uint64(n - 1)
    factor = np.uint64(scale) * np.uint64(scale)
    return rounded_pair(high_product(pairs, factor), pairs * factor)
