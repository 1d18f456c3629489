"""Compiled distinct counts of windows, by one hash table of values for each key and series.

An entry has a counter for each window: the number of the window's cells with this value. The distinct count of a window
changes when a counter leaves or reaches zero. An entry whose counters are all zero is free. Tables use open addressing,
are at most three quarters full, and deletion moves entries instead of marking them.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Ints
from shroff.features.kernels.cells import class_of, clear_words, copy_words, give, read, take
from shroff.features.kernels.layout import (
    DIFFERENT,
    ENTRY_COUNTERS,
    ENTRY_USES,
    ENTRY_VALUE,
    H_AT,
    H_ROOM,
    H_USED,
    L_AT,
    R_AT,
    S_COUNTER,
    S_ENTRY,
    S_HEAD,
    S_SERIES,
    S_TABLE,
)
from shroff.features.kernels.numbers import Word, compiled

ENTERS = 1
LEAVES = -1


@compiled
def home_of(value: Word, room: Word) -> Word:
    """Return the preferred slot of a value in a hash table of this size."""
    mixed = np.uint64(value) * np.uint64(0x9E3779B97F4A7C15)
    mixed = mixed ^ (mixed >> np.uint64(32))
    return np.int64(mixed & np.uint64(room - 1))


@compiled
def room_of(count: Word) -> Word:
    """Return the slots of a hash table of bare values: a power of two, of which at most half are used."""
    room = np.int64(1)
    while room < 2 * count:
        room += room
    return room


@compiled
def slot_of(heap: Ints, table: Word, room: Word, value: Word) -> Word:
    """Return the address of a value in a table of bare values, or of the free slot for it."""
    slot = home_of(value, room)
    while heap[table + slot] != 0 and heap[table + slot] != value:
        slot = (slot + 1) & (room - 1)
    return table + slot


@compiled
def find_entry(heap: Ints, table: Word, entry_words: Word, value: Word) -> Word:
    """Return the address of a value's entry, or of the free entry for it."""
    at, room = heap[table + H_AT], heap[table + H_ROOM]
    slot = home_of(value, room)
    while True:
        entry = at + slot * entry_words
        if heap[entry + ENTRY_USES] == 0 or heap[entry + ENTRY_VALUE] == value:
            return entry
        slot = (slot + 1) & (room - 1)


@compiled
def resize_table(heap: Ints, table: Word, entry_words: Word, room: Word) -> bool:
    """Move all entries to a new table; False if the heap is full."""
    fresh = take(heap, class_of(room * entry_words))
    if fresh == 0:
        return False
    clear_words(heap, fresh, room * entry_words)
    old, old_room = heap[table + H_AT], heap[table + H_ROOM]
    heap[table + H_AT], heap[table + H_ROOM] = fresh, room
    for slot in range(old_room):
        entry = old + slot * entry_words
        if heap[entry + ENTRY_USES] != 0:
            target = find_entry(heap, table, entry_words, heap[entry + ENTRY_VALUE])
            copy_words(heap, entry, target, entry_words)
    give(heap, old, class_of(old_room * entry_words))
    return True


@compiled
def room_in_table(heap: Ints, table: Word, entry_words: Word) -> bool:
    """Make room for one more value; False if the heap is full."""
    room = heap[table + H_ROOM]
    if (heap[table + H_USED] + 1) * 4 <= room * 3:
        return True
    return resize_table(heap, table, entry_words, max(4, room * 2))


@compiled
def enter(heap: Ints, head: Word, window: Word, value: Word) -> None:
    """Count one more cell with this value; needs a call of `room_in_table` before."""
    table = head + heap[window + S_TABLE]
    entry = find_entry(heap, table, heap[window + S_ENTRY], value)
    counter = entry + ENTRY_COUNTERS + heap[window + S_COUNTER]
    if heap[entry + ENTRY_USES] == 0:
        heap[entry + ENTRY_VALUE] = value
        heap[table + H_USED] += 1
    heap[entry + ENTRY_USES] += 1
    if heap[counter] == 0:
        heap[head + heap[window + S_HEAD] + DIFFERENT] += 1
    heap[counter] += 1


@compiled
def leave(heap: Ints, head: Word, window: Word, value: Word) -> None:
    """Count one cell less with this value, which must be in the table."""
    table = head + heap[window + S_TABLE]
    entry_words = heap[window + S_ENTRY]
    entry = find_entry(heap, table, entry_words, value)
    counter = entry + ENTRY_COUNTERS + heap[window + S_COUNTER]
    heap[counter] -= 1
    if heap[counter] == 0:
        heap[head + heap[window + S_HEAD] + DIFFERENT] -= 1
    heap[entry + ENTRY_USES] -= 1
    if heap[entry + ENTRY_USES] == 0:
        heap[table + H_USED] -= 1
        close_gap(heap, table, entry_words, entry)
        room = heap[table + H_ROOM]
        if room > 16 and heap[table + H_USED] * 16 < room:
            resize_table(heap, table, entry_words, room // 4)


@compiled
def close_gap(heap: Ints, table: Word, entry_words: Word, entry: Word) -> None:
    """Move entries back into a freed one, so that every search still ends at the first free entry."""
    at, room = heap[table + H_AT], heap[table + H_ROOM]
    gap = (entry - at) // entry_words
    slot = gap
    while True:
        slot = (slot + 1) & (room - 1)
        source = at + slot * entry_words
        if heap[source + ENTRY_USES] == 0:
            break
        home = home_of(heap[source + ENTRY_VALUE], room)
        if (slot - home) & (room - 1) >= (slot - gap) & (room - 1):
            target = at + gap * entry_words
            copy_words(heap, source, target, entry_words)
            gap = slot
    clear_words(heap, at + gap * entry_words, entry_words)


@compiled
def move_set(heap: Ints, head: Word, window: Word, begin: Word, end: Word) -> bool:
    """Make a window count exactly the cells in [begin, end); False if the heap is full, and a repeated call continues.

    Cost: proportional to the cells that enter or leave. A late row moves both ends back, and the next one forward
    again.
    """
    state = head + heap[window + S_HEAD]
    table, entry_words = head + heap[window + S_TABLE], heap[window + S_ENTRY]
    while heap[state + R_AT] > end:
        heap[state + R_AT] -= 1
        if heap[state + R_AT] < heap[state + L_AT]:
            heap[state + L_AT] = heap[state + R_AT]
        else:
            change_set(heap, head, window, heap[state + R_AT], LEAVES)
    drain_set(heap, head, window, begin)
    while heap[state + L_AT] > begin:
        if not room_in_table(heap, table, entry_words):
            return False
        heap[state + L_AT] -= 1
        change_set(heap, head, window, heap[state + L_AT], ENTERS)
    while heap[state + R_AT] < end:
        if not room_in_table(heap, table, entry_words):
            return False
        change_set(heap, head, window, heap[state + R_AT], ENTERS)
        heap[state + R_AT] += 1
    return True


@compiled
def change_set(heap: Ints, head: Word, window: Word, position: Word, direction: Word) -> None:
    """Add the cell at a position to a window's count, or remove it, if it has a value."""
    is_present, value = read(heap, head, heap[window + S_SERIES], position)
    if is_present and direction == ENTERS:
        enter(heap, head, window, value)
    elif is_present:
        leave(heap, head, window, value)


@compiled
def drain_set(heap: Ints, head: Word, window: Word, begin: Word) -> None:
    """Remove the cells before `begin` from a window's count."""
    state = head + heap[window + S_HEAD]
    while heap[state + L_AT] < begin and heap[state + L_AT] < heap[state + R_AT]:
        change_set(heap, head, window, heap[state + L_AT], LEAVES)
        heap[state + L_AT] += 1
    if heap[state + L_AT] < begin:
        heap[state + L_AT] = begin
        heap[state + R_AT] = begin


@compiled
def insert_in_set(heap: Ints, head: Word, window: Word, position: Word) -> None:
    """Add a late cell before the right end of a window; needs a call of `room_in_table` before."""
    state = head + heap[window + S_HEAD]
    heap[state + R_AT] += 1
    if position < heap[state + L_AT]:
        heap[state + L_AT] += 1
    else:
        change_set(heap, head, window, position, ENTERS)
