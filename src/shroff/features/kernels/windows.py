"""The kernel of the online engine: insert rows, and answer the queries about them, for any plan.

The entry points of window state are here. They return how far they came. If the heap is full, Python makes it larger
and calls again: a step that found no room has changed nothing, or continues where it stopped.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.answers import answer_nothing, answer_step
from shroff.features.kernels.cells import address, place, shift_cells, update_totals, write_cell
from shroff.features.kernels.distinct import insert_in_set, move_set, room_in_table
from shroff.features.kernels.keys import forget_key, room_for_cell, room_for_key, sweep_key
from shroff.features.kernels.layout import (
    ARRIVALS,
    CELLS,
    CHUNK,
    D_AT,
    D_BEGIN,
    D_FED,
    EDGES,
    HEAD_WORDS,
    HEADS,
    HEADS_ROOM,
    HI,
    HINTS,
    L_AT,
    LO,
    LOG,
    LOG_ROOM,
    OF_ARRIVAL,
    OF_KEY,
    OF_LINK,
    OLDEST_MS,
    PHASE,
    R_AT,
    RIGHT_NOW,
    S_ENTRY,
    S_HEAD,
    S_RIGHT,
    S_TABLE,
    SERIES,
    SET_WORDS,
    SETS,
    T_HEAD,
    T_RIGHT,
    TRACK_WORDS,
    TRACKS,
    UNREAD,
    UP_TO,
)
from shroff.features.kernels.native import entry_point
from shroff.features.kernels.numbers import Word, compiled, fetch
from shroff.features.kernels.order import feed_deque, insert_in_deque, room_in_deque
from shroff.features.kernels.scan import look_step

AHEAD = 8  # rows; the memory of a key is prefetched so many rows before it is needed


@compiled
def insert(heap: Ints, head: Word, time_ms: Word, values: Ints, kept: Bytes, row: Word, watermark_ms: Word) -> bool:
    """Insert a row's cell after all cells that are not later; False, with nothing changed, if the heap is full."""
    if not room_for_cell(heap, head, time_ms, values, kept, row, watermark_ms):
        return False
    lo, hi = heap[head + LO], heap[head + HI]
    position = place(heap, head, lo, hi, hi, time_ms)
    is_late = position < hi
    if is_late:
        if not room_for_late(heap, head, position):
            return False
        shift_cells(heap, head, position, hi)
    write_cell(heap, head, position, time_ms, values, kept, row)
    heap[head + HI] = hi + 1
    update_totals(heap, head, position)
    if is_late:
        take_in_late(heap, head, position)
    if position == lo:
        heap[head + OLDEST_MS] = time_ms
    heap[CELLS] += 1
    return True


@compiled
def room_for_late(heap: Ints, head: Word, position: Word) -> bool:
    """Make room for a late cell in all deques and tables; False if the heap is full."""
    for i in range(heap[TRACKS + 1]):
        deque = head + heap[heap[TRACKS] + i * TRACK_WORDS + T_HEAD]
        if position < heap[deque + D_FED] and not room_in_deque(heap, deque, heap[head + LO]):
            return False
    for i in range(heap[SETS + 1]):
        window = heap[SETS] + i * SET_WORDS
        if not room_in_table(heap, head + heap[window + S_TABLE], heap[window + S_ENTRY]):
            return False
    return True


@compiled
def take_in_late(heap: Ints, head: Word, position: Word) -> None:
    """Add a late cell to all deques and sets that were fed beyond its position."""
    for i in range(heap[TRACKS + 1]):
        track = heap[TRACKS] + i * TRACK_WORDS
        if position < heap[head + heap[track + T_HEAD] + D_FED]:
            insert_in_deque(heap, head, track, position)
    for i in range(heap[SETS + 1]):
        window = heap[SETS] + i * SET_WORDS
        if position < heap[head + heap[window + S_HEAD] + R_AT]:
            insert_in_set(heap, head, window, position)


@compiled
def feed_now(heap: Ints, head: Word) -> bool:
    """Add the newest cell to all deques and sets of windows that end at the present; False if the heap is full."""
    hi = heap[head + HI]
    for i in range(heap[TRACKS + 1]):
        track = heap[TRACKS] + i * TRACK_WORDS
        if heap[track + T_RIGHT] == RIGHT_NOW and not feed_deque(heap, head, track, hi):
            return False
    for i in range(heap[SETS + 1]):
        window = heap[SETS] + i * SET_WORDS
        if heap[window + S_RIGHT] == RIGHT_NOW:
            begin = heap[head + heap[window + S_HEAD] + L_AT]
            if not move_set(heap, head, window, begin, hi):
                return False
    return True


@compiled
def row_step(
    heap: Ints,
    row: Word,
    time_ms: Word,
    inserted: Word,
    asked: Word,
    values: Ints,
    kept: Bytes,
    watermark_ms: Word,
    out: Ints,
    valid: Bytes,
) -> bool:
    """Answer and insert one row; False if the heap is full, and a repeated call continues."""
    last, also, own = heap[SERIES + 1], np.int64(-1), np.int64(-1)
    if heap[UP_TO] != 0 and inserted >= 0:  # the event is inserted under its link value and under its key
        values[last - OF_LINK, row], values[last - OF_ARRIVAL, row] = inserted >> 1, heap[ARRIVALS]
        if kept[last - OF_KEY, row] != 0:
            also, own = 2 * values[last - OF_KEY, row] + 1, inserted
    if not room_for_key(heap, max(asked, inserted, also)):
        return False
    if asked < 0 and asked != UNREAD:
        answer_nothing(heap, row, out, valid)
    # Step 0 answers before the event is inserted, step 1 after.
    for step in range(heap[PHASE], 2):
        if step == 1 and inserted >= 0 and not feed_now(heap, heap[HEADS] + inserted * heap[HEAD_WORDS]):
            return False
        if asked >= 0:
            head = heap[HEADS] + asked * heap[HEAD_WORDS]
            if not answer_step(heap, head, step, time_ms, row, out, valid):
                return False
            if not look_step(heap, head, step, time_ms, values, kept, row, own if step == 1 else -1, out, valid):
                return False
        if step == 0 and inserted >= 0:
            if also >= 0:
                head = heap[HEADS] + also * heap[HEAD_WORDS]
                if not room_for_cell(heap, head, time_ms, values, kept, row, watermark_ms):
                    return False
            head = heap[HEADS] + inserted * heap[HEAD_WORDS]
            if not insert(heap, head, time_ms, values, kept, row, watermark_ms):
                return False
            if also >= 0:
                insert(heap, heap[HEADS] + also * heap[HEAD_WORDS], time_ms, values, kept, row, watermark_ms)
            if heap[LOG] != 0:
                heap[heap[LOG] + heap[ARRIVALS] % LOG_ROOM] = (inserted << 32) + max(also, 0)
            heap[ARRIVALS] += 1
        heap[PHASE] = step + 1
    heap[PHASE] = 0
    return True


@compiled
def fetch_cells(heap: Ints, key: Word) -> None:
    """Prefetch the memory that a row reads first: the newest cell of a key, and those at the edges of its windows."""
    if 0 <= key < heap[HEADS_ROOM]:
        head = heap[HEADS] + key * heap[HEAD_WORDS]
        fetch(heap, address(heap, head, heap[head + HI]))
        for i in range(heap[EDGES + 1]):
            fetch(heap, address(heap, head, heap[head + HINTS + i]))
        for i in range(heap[TRACKS + 1]):
            deque = head + heap[heap[TRACKS] + i * TRACK_WORDS + T_HEAD]
            fetch(heap, heap[deque + D_AT] + 2 * heap[deque + D_BEGIN])


@entry_point(
    "int64(int64[::1], int64, int64[::1], int64[::1], int64[::1], int64[:, ::1], uint8[:, ::1], int64,"
    " int64[:, ::1], uint8[:, ::1])"
)
def run(
    heap: Ints,
    row: Word,
    times: Ints,
    insert_keys: Ints,
    query_keys: Ints,
    values: Ints,
    kept: Bytes,
    watermark_ms: Word,
    out: Ints,
    valid: Bytes,
) -> Word:
    """Answer and insert the rows from `row` on; return the row at which the heap is full, else the number of rows."""
    for i in range(row, times.size):
        head = heap[HEADS] + insert_keys[min(i + 2 * AHEAD, times.size - 1)] * heap[HEAD_WORDS]
        fetch(heap, head)
        fetch(heap, head + heap[HEAD_WORDS] - 1)
        fetch_cells(heap, insert_keys[min(i + AHEAD, times.size - 1)])
        if not row_step(heap, i, times[i], insert_keys[i], query_keys[i], values, kept, watermark_ms, out, valid):
            return i
    return times.size


@entry_point("void(int64[::1], int64, int64, int64, int64, uint8[::1])")
def tend(heap: Ints, forgotten: Word, first: Word, step: Word, watermark_ms: Word, held: Bytes) -> None:
    """Remove a key (-1: none), then trim the keys `first`, `first + step`, ..., one for each element of `held`.

    Sets the elements of keys that still have cells or totals to 1.
    """
    if 0 <= forgotten < heap[HEADS_ROOM]:
        forget_key(heap, heap[HEADS] + forgotten * heap[HEAD_WORDS])
    for i in range(held.size):
        key = first + i * step
        if key < heap[HEADS_ROOM]:
            head = heap[HEADS] + key * heap[HEAD_WORDS]
            sweep_key(heap, head, watermark_ms)
            if heap[head + CHUNK] != 0:
                held[i] = 1
