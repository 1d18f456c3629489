"""Kernels of the backfill that sort a history by key; compiled once for every plan.

*Slots* are the cells of all keys, key by key, each key's in log order. After each range of keys that one thread
handles, one slot stays free for the total after its last cell, because totals are stored before each cell.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints, Ints32
from shroff.features.batch.backfill_plan import BASE, IS_REAL, IS_WIDE, OF_MAP, OF_SQUARES, OF_SUM, OF_VALUE, WORDS
from shroff.features.kernels.layout import NEVER_MS
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, compiled, in_order, product


@native("int64(int64[::1], int32[::1], int64[::1])")
def find_keys(keys: Ints, numbers: Ints32, found: Ints) -> Word:
    """Collect the distinct keys of rows; return their number. `numbers` must be -1 for all keys; it is 0 for these."""
    count = np.int64(0)
    for row in range(keys.size):
        key = keys[row]
        if key >= 0 and numbers[key] < 0:
            numbers[key] = 0
            found[count] = key
            count += 1
    return count


@native("void(int64[::1], int32[::1], int64[::1], int64[::1])")
def number_keys(keys: Ints, numbers: Ints32, found: Ints, numbered: Ints) -> None:
    """Number the keys of rows by their positions in `found`; at the end `numbers` is -1 for all keys again."""
    for i in range(found.size):
        numbers[found[i]] = i
    for row in range(keys.size):
        numbered[row] = numbers[keys[row]] if keys[row] >= 0 else -1
    for i in range(found.size):
        numbers[found[i]] = -1


@native("void(int64[::1], int64, int64, int64[::1])")
def count_keys(keys: Ints, begin: Word, end: Word, counts: Ints) -> None:
    for row in range(begin, end):
        if keys[row] >= 0:
            counts[keys[row]] += 1


@native("void(int64[::1], int64, int64, int64[::1], int32[::1], int32[::1], int64, int64)")
def sort_rows(
    keys: Ints, begin: Word, end: Word, slots: Ints, rows: Ints32, slot_of: Ints32, base: Word, nowhere: Word
) -> None:
    """Assign each of the rows [begin, end) the next slot of its key; rows without a key get `nowhere`."""
    for row in range(begin, end):
        key = keys[row]
        if key >= 0:
            slot = slots[key]
            slots[key] = slot + 1
            rows[slot] = row + base
            slot_of[row] = slot
        else:
            slot_of[row] = nowhere


@native("void(int64[::1], int32[::1], int64, int64, int64, int64[::1])")
def scatter(source: Ints, slot_of: Ints32, begin: Word, end: Word, nowhere: Word, target: Ints) -> None:
    """Scatter the values of the rows [begin, end) into their slots.

    In row order, because writes to a key's slots are mostly near each other; in slot order, the reads of rows of cold
    keys would be far apart.
    """
    for row in range(begin, end):
        slot = slot_of[row]
        if slot != nowhere:
            target[slot] = source[row]


@native("void(uint8[::1], int32[::1], int64, int64, int64, uint8[::1])")
def scatter_flags(source: Bytes, slot_of: Ints32, begin: Word, end: Word, nowhere: Word, target: Bytes) -> None:
    """Like `scatter`, but for flags."""
    for row in range(begin, end):
        slot = slot_of[row]
        if slot != nowhere:
            target[slot] = source[row]


@native("int64(int64, int64, int64[::1], int64[::1], int64[::1], uint8[::1])")
def find_late_keys(first: Word, last: Word, starts: Ints, ends: Ints, times: Ints, late: Bytes) -> Word:
    """Mark the keys of [first, last) whose times, by slot, ever fall; return their number."""
    count = 0
    for key in range(first, last):
        falls = 0
        for slot in range(starts[key] + 1, ends[key]):
            falls |= times[slot] < times[slot - 1]
        late[key] = falls
        count += falls
    return count


@native("int64(int64[::1], int64[::1], int64[::1], int64[::1], uint8[::1])")
def find_late_rows(times: Ints, inserts: Ints, asks: Ints, newest: Ints, late: Bytes) -> Word:
    """Mark the keys in which an older row follows a younger one, be they events or queries; return their number."""
    count = 0
    newest[:] = NEVER_MS
    for row in range(times.size):
        for key in (inserts[row], asks[row]):
            if key >= 0:
                if times[row] < newest[key]:
                    count += late[key] == 0
                    late[key] = 1
                newest[key] = max(newest[key], times[row])
    return count


@native("UniTuple(int64, 2)(int64[:, ::1], uint8[:, ::1], int64[::1], int64, int64, int64)")
def survey(values: Ints, kept: Bytes, inserts: Ints, number: Word, begin: Word, end: Word) -> tuple[Word, Word]:
    """Return the largest absolute value of a series in the rows [begin, end), and the number of events without one."""
    largest, missing = np.int64(0), np.int64(0)
    for row in range(begin, end):
        if kept[number, row] == 0:
            missing += inserts[row] >= 0
        elif inserts[row] >= 0:
            largest = max(largest, abs(values[number, row]))
    return largest, missing


@compiled
def clear(cells: Ints, cell: Word, words: Word) -> None:
    for i in range(words):
        cells[cell + i] = 0


@native("void(int64, int64, int64[::1], uint8[::1], int64[::1], int32[:, ::1], int64[::1])")
def fill_series(begin: Word, end: Word, values: Ints, kept: Bytes, series: Ints, maps: Ints32, cells: Ints) -> None:
    """Store a series of the slots [begin, end): values without the missing ones, and totals before each.

    `values` and `kept` are by slot; `kept` is not read if no value is missing.
    """
    of_map, words, wide = series[OF_MAP], series[WORDS], series[IS_WIDE] != 0
    of_sum, of_squares, of_value = series[OF_SUM], series[OF_SQUARES], series[OF_VALUE]
    at, cell = begin, series[BASE] + begin * words
    clear(cells, cell, words)
    for slot in range(begin, end):
        if of_map >= 0:
            maps[of_map, slot] = at
            if kept[slot] == 0:
                continue
        value = values[slot]
        if of_sum >= 0:
            total = cells[cell + of_sum] + value
            cells[cell + words + of_sum] = total
            if wide:
                carry = np.int64(np.uint64(total) < np.uint64(value))
                cells[cell + words + of_sum + 1] = cells[cell + of_sum + 1] + (value >> 63) + carry
        if of_squares >= 0 and not wide:
            cells[cell + words + of_squares] = cells[cell + of_squares] + value * value
        elif of_squares >= 0:
            high, low = product(np.uint64(abs(value)), np.uint64(abs(value)))
            total = cells[cell + of_squares] + np.int64(low)
            carry = np.int64(np.uint64(total) < low)
            cells[cell + words + of_squares] = total
            cells[cell + words + of_squares + 1] = cells[cell + of_squares + 1] + np.int64(high) + carry
        if of_value >= 0:
            cells[cell + of_value] = in_order(value) if series[IS_REAL] != 0 else value
        at += 1
        cell += words
    if of_map >= 0:
        maps[of_map, end] = at


@native("int64(int64, int64, int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1])")
def find_own_rows(
    begin: Word, end: Word, inserts: Ints, asks: Ints, codes: Ints, rows: Ints, own_inserts: Ints, own_asks: Ints
) -> Word:
    """Collect the rows of [begin, end) whose keys have a code, and the codes (-1 for none); return their number."""
    count = np.int64(0)
    for row in range(begin, end):
        inserted = codes[inserts[row]] if inserts[row] >= 0 else -1
        asked = codes[asks[row]] if asks[row] >= 0 else -1
        if inserted >= 0 or asked >= 0:
            rows[count], own_inserts[count], own_asks[count] = row, inserted, asked
            count += 1
    return count


@native("void(int64[::1], int64[:, ::1], uint8[:, ::1], int64[:, ::1], uint8[:, ::1])")
def copy_in(rows: Ints, values: Ints, kept: Bytes, own_values: Ints, own_kept: Bytes) -> None:
    for number in range(values.shape[0]):
        for i in range(rows.size):
            own_values[number, i] = values[number, rows[i]]
            own_kept[number, i] = kept[number, rows[i]]


@native("void(int64[::1], int64[::1], int64, int64[:, ::1], uint8[:, ::1], int64[:, ::1], uint8[:, ::1])")
def copy_out(rows: Ints, own_asks: Ints, base: Word, own_out: Ints, own_valid: Bytes, out: Ints, valid: Bytes) -> None:
    """Copy the answers of some rows into the results, from row `base` on."""
    for target in range(out.shape[0]):
        for i in range(rows.size):
            if own_asks[i] >= 0:
                out[target, rows[i] - base] = own_out[target, i]
                valid[target, rows[i] - base] = own_valid[target, i]
