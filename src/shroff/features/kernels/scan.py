"""Compiled aggregates whose condition reads `this` (looks): each event of the window is tested for each row."""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.answers import place_edges, place_windows, rank_of
from shroff.features.kernels.cells import (
    address,
    class_of,
    clear_words,
    copy_words,
    give,
    is_kept,
    place,
    take,
    value_at,
)
from shroff.features.kernels.distinct import room_of, slot_of
from shroff.features.kernels.keys import forget_account
from shroff.features.kernels.layout import (
    A_AT,
    A_COUNT,
    A_LIST,
    A_SEEDS,
    ACCOUNTS,
    BEGIN,
    CELL_WORDS,
    COUNT,
    DENOMINATOR,
    DISTINCT,
    EDGES,
    END,
    FAR_MS,
    FIRST,
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
    LEFT,
    LOAD_WORDS,
    LOOK_WORDS,
    LOOKS,
    LOOKS_BEFORE,
    MAX,
    MEAN,
    MEDIAN,
    MIN,
    MODE,
    NTH_LAST,
    NUMERATOR,
    OF_ARRIVAL,
    PART,
    QUANTILE,
    RIGHT,
    ROW_OUT,
    S_BEST,
    S_CELLS,
    S_SUM,
    S_VALUES,
    SCALE,
    SEED_WORDS,
    SERIES,
    SERIES_WORDS,
    SHARE,
    STD,
    SUM,
    UP_TO,
    W_MANY,
    WINDOW_WORDS,
    WINDOWS,
    WINDOWS_BEFORE,
)
from shroff.features.kernels.links import candidates, gather, is_current, link_series, new_account, span
from shroff.features.kernels.numbers import Word, bits_of, compiled, in_order, middle, product, scaled, spread
from shroff.features.kernels.order import select
from shroff.features.kernels.programs import evaluate


@compiled
def linked_cells(
    heap: Ints, head: Word, window: Word, own: Word, time_ms: Word, out: Ints, valid: Bytes
) -> tuple[Word, Word, Word, Word, Word]:
    """Return the linked cells of a window as `gather` does, and the account with the totals of the others, 0 for none.

    A key with many link values gets an account, if the window is the newest. The first result is 0 if the heap is full.
    """
    edges, slot = heap[EDGES], head + heap[ACCOUNTS] + (window - heap[WINDOWS]) // WINDOW_WORDS
    after_ms, upto_ms = time_ms - heap[edges + heap[window + LEFT]], time_ms
    if heap[window + RIGHT] >= 0:
        upto_ms -= heap[edges + heap[window + RIGHT]]
    none = np.int64(0)
    while True:
        account = heap[slot]
        if account != 0 and is_current(heap, head, account, upto_ms):
            listed, values = heap[account + A_LIST], heap[account + A_COUNT]
            cells, size_class, count, links = gather(heap, head, listed, values, after_ms, upto_ms, own, account)
            if count >= 0:
                return cells, size_class, count, links, account
            give(heap, cells, size_class)
        listed, list_class, values = candidates(heap, head, after_ms, upto_ms, own)
        is_many = values >= heap[window + W_MANY] and span(heap, head, upto_ms, FAR_MS)[1] == 0
        quiet = values
        if is_many:
            forget_account(heap, account)
            account, quiet = new_account(heap, head, listed, values, after_ms, upto_ms)
            heap[slot] = account
        cells, size_class, count, links = gather(heap, head, listed, quiet, after_ms, upto_ms, own, none)
        give(heap, listed, list_class)
        is_done = listed != 0 and cells != 0 and (account != 0 or not is_many)
        if is_done and not is_many:
            return cells, size_class, count, links, none
        for i in range(heap[LOOKS + 1]):
            look = heap[LOOKS] + i * LOOK_WORDS
            if is_done and heap[WINDOWS] + heap[look + K_WINDOW] == window:
                seed = account + A_SEEDS + i * SEED_WORDS
                is_done = look_at_all(heap, look, cells, 0, count, -seed, 0, out, valid)
        give(heap, cells, size_class)
        if not is_done:
            return none, none, none, none, none
        heap[account + A_AT] = upto_ms


@compiled
def look_step(
    heap: Ints,
    head: Word,
    step: Word,
    time_ms: Word,
    values: Ints,
    kept: Bytes,
    row: Word,
    own: Word,
    out: Ints,
    valid: Bytes,
) -> Word:
    """Answer the looks before (step 0) or after (step 1) the row's event is inserted; False if the heap is full.

    `own` is the head number of a link value that links in any case; -1 for none.
    """
    if step == 0:
        first_window, last_window = np.int64(0), heap[WINDOWS_BEFORE]
        first, last = np.int64(0), heap[LOOKS_BEFORE]
    else:
        first_window, last_window = heap[WINDOWS_BEFORE], heap[WINDOWS + 1]
        first, last = heap[LOOKS_BEFORE], heap[LOOKS + 1]
    if first == last:
        return True
    is_linked = heap[UP_TO] != 0
    if not is_linked:
        place_windows(heap, head, first_window, last_window, place_edges(heap, head, time_ms))
    cells, size_class, count, links, placed = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    account = np.int64(0)
    is_done = True
    for i in range(first, last):
        look = heap[LOOKS] + i * LOOK_WORDS
        window = heap[WINDOWS] + heap[look + K_WINDOW]
        if is_linked and window != placed:
            give(heap, cells, size_class)
            placed = window
            cells, size_class, count, links, account = linked_cells(heap, head, window, own, time_ms, out, valid)
            if cells == 0:
                return False
        if links > 1 and heap[look + FUNCTION] in (FIRST, LAST, MODE, NTH_LAST):
            sort(heap, cells, count, link_series(heap, OF_ARRIVAL))
            links = np.int64(1)
        if not is_linked:
            count = max(heap[window + END] - heap[window + BEGIN], np.int64(0))
        oldest = address(heap, head, heap[window + BEGIN])
        load_this(heap, look, values, kept, row)
        skipped, since = np.int64(0), heap[look + PART]
        if since != 0 and not is_linked and count > 0:
            skipped, begin, end = count, heap[window + BEGIN], heap[window + END]
            if heap[since + 1] != 0:
                cut_ms = heap[since] - 1
                skipped = place(heap, head, begin, end, end, cut_ms) - begin
        oldest += skipped * heap[CELL_WORDS]
        seed = account + A_SEEDS + i * SEED_WORDS if account != 0 else np.int64(0)
        is_done = is_done and look_at_all(heap, look, cells, oldest, count - skipped, seed, row, out, valid) != 0
    give(heap, cells, size_class)
    return is_done


@compiled
def load_this(heap: Ints, look: Word, values: Ints, kept: Bytes, row: Word) -> None:
    """Load the operands that a look's condition reads from the row itself."""
    for i in range(heap[look + K_LOADS_COUNT], heap[look + K_LOADS_COUNT] + heap[look + K_THIS_COUNT]):
        load = heap[look + K_LOADS] + i * LOAD_WORDS
        register = heap[load + 1]
        heap[register + 1] = kept[heap[load], row]
        heap[register] = values[heap[load], row] if heap[register + 1] != 0 else 0


@compiled
def keeps(heap: Ints, look: Word, at: Word) -> Word:
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
    heap: Ints, look: Word, cells: Word, oldest: Word, count: Word, seed: Word, row: Word, out: Ints, valid: Bytes
) -> Word:
    """Answer one look over `count` cells; False if the heap is full.

    It exceeds the usual length, as one pass over the window serves all functions.

    Args:
        cells: A block with the addresses of the cells; 0 if the cells are adjacent.
        oldest: Address of the first of adjacent cells.
        seed: The seed with totals over further cells; 0 for none. A negative address: store the totals in this seed
            instead of answering.
    """
    words = heap[CELL_WORDS]
    function, target = heap[look + FUNCTION], heap[look + ROW_OUT]
    series = heap[SERIES] + heap[look + K_SERIES] * SERIES_WORDS
    collects = function in (DISTINCT, QUANTILE, MEDIAN, MODE)
    is_backward = function in (LAST, NTH_LAST)
    wanted = max(heap[look + NUMERATOR], 1)
    values, size_class = np.int64(0), np.int64(0)
    if collects:
        size_class = class_of(5 * count if function == DISTINCT else 2 * count if function == MODE else count)
        values = take(heap, size_class)
        if values == 0:
            return False
    n, best = np.int64(0), np.int64(0)
    zero = np.uint64(0)
    sum_low, sum_high, square_low, square_high = np.int64(0), np.int64(0), zero, zero
    seen = count
    if seed > 0:
        seen += heap[seed + S_CELLS]
    if seed > 0 and not collects:
        n, best, sum_low, sum_high = heap[seed], heap[seed + S_BEST], heap[seed + S_SUM], heap[seed + S_SUM + 1]  # type: ignore[assignment]  # words
    is_always = heap[look + K_LOADS_COUNT] + heap[look + K_THIS_COUNT] == 0 and keeps(heap, look, oldest) != 0
    is_counted = is_always and function <= SHARE
    if is_counted:
        n += count
    for i in range(0 if is_counted else count):
        number = count - 1 - i if is_backward else i
        at = oldest + number * words if cells == 0 else heap[cells + number]
        if not is_always and not keeps(heap, look, at):
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
        elif is_backward or n == 0 or (function == MIN and value < best) or (function == MAX and value > best):
            best = value
        n += 1
        if is_backward and n == wanted:
            break
    if function == DISTINCT:
        best, sum_low = different(heap, values, n, max(seed, 0))
    if seed < 0:
        heap[S_CELLS - seed], heap[-seed] = count, n
        heap[S_SUM - seed], heap[S_SUM + 1 - seed], heap[S_BEST - seed], heap[S_VALUES - seed] = (
            sum_low,
            sum_high,
            best,
            values,
        )
        return True
    there: Word = n > 0
    if function == COUNT:
        out[target, row] = n
        there = True
    elif function == SHARE:
        there = seen > 0
        if there:
            out[target, row] = bits_of(np.float64(n) / np.float64(seen))
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
    elif function == DISTINCT:
        out[target, row] = best + sum_low
        there = True
    elif function == MEDIAN and there:
        low, high = select(heap, values, n, (n + 1) >> 1), select(heap, values, n, (n >> 1) + 1)
        median = middle(low, high, heap[series + SCALE], heap[series + IS_REAL] != 0)
        out[target, row] = bits_of(median)
        there = np.isfinite(median)
    elif there:
        if is_backward:
            there = n == wanted
        elif function == MODE:
            best = most_frequent(heap, values, n)
        elif function == QUANTILE:
            best = select(heap, values, n, rank_of(n, heap[look + NUMERATOR], heap[look + DENOMINATOR]))
        out[target, row] = in_order(best) if heap[series + IS_REAL] != 0 else best
    give(heap, values, size_class)
    valid[target, row] = there
    if not there:
        out[target, row] = 0
    return True


@compiled
def is_greater(heap: Ints, left: Word, right: Word, arrival: Word) -> Word:
    """Whether a word is greater than another; with a series of arrivals, compare two cells by (time, arrival)."""
    if arrival != 0 and heap[left] != heap[right]:
        left, right = heap[left], heap[right]
    elif arrival != 0:
        left, right = value_at(heap, arrival, left), value_at(heap, arrival, right)
    return left > right


@compiled
def sort(heap: Ints, values: Word, count: Word, arrival: Word) -> None:
    """Sort a block in place (Shell sort)."""
    gap: Word = np.int64(1)
    while gap < count:
        gap = gap * 3 + 1
    while gap > 1:
        gap = gap // 3
        for i in range(gap, count):
            value: Word = heap[values + i]
            j: Word = i
            while j >= gap and is_greater(heap, heap[values + j - gap], value, arrival) != 0:
                heap[values + j] = heap[values + j - gap]
                j -= gap
            heap[values + j] = value


@compiled
def different(heap: Ints, values: Word, count: Word, seed: Word) -> tuple[Word, Word]:
    """Return the number of distinct values except 0 in a block and a seed, and whether 0 occurs.

    The words after the block, at most four for each value, are used for a hash table.
    """
    room, table = room_of(count), values + count
    found, zeros, others, others_room = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    if seed != 0:
        found, zeros = heap[seed + S_BEST], heap[seed + S_SUM]
        others, others_room = heap[seed + S_VALUES] + heap[seed], room_of(heap[seed])
    clear_words(heap, table, room)
    for i in range(count):
        value = heap[values + i]
        slot = slot_of(heap, table, room, value)
        if value == 0:
            zeros = np.int64(1)
        elif heap[slot] == 0 and (others == 0 or heap[slot_of(heap, others, others_room, value)] == 0):
            heap[slot] = value
            found += 1
    return found, zeros


@compiled
def most_frequent(heap: Ints, values: Word, count: Word) -> Word:
    """Return the most frequent value of a block in order of time; of several the newest.

    As many words after the block are used for a sorted copy.
    """
    by_value = values + count
    copy_words(heap, values, by_value, count)
    sort(heap, by_value, count, 0)
    most = np.int64(0)  # in the sorted copy, a value is more frequent if it also stands `most` words further
    for i in range(count):
        while i + most < count and heap[by_value + i + most] == heap[by_value + i]:
            most += 1
    for i in range(count - 1, -1, -1):
        low, high = np.int64(0), count
        while low < high:
            middle_at = (low + high) >> 1
            if heap[by_value + middle_at] < heap[values + i]:
                low = middle_at + 1
            else:
                high = middle_at
        if low + most <= count and heap[by_value + low + most - 1] == heap[values + i]:
            return heap[values + i]
    return np.int64(0)
