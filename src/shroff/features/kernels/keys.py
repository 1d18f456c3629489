"""Compiled storage of one key: its head and its chunk of cells, with growth, trimming and removal.

Layout and vocabulary (heap, head, cell, chunk, position, track, set, fold) are those of `kernels.layout`. Functions
return False if the heap is full.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.features.kernels.cells import (
    class_of,
    clear_words,
    copy_words,
    give,
    length_of,
    place,
    read,
    repack,
    size_of,
    take,
    time_at,
    trimmed,
)
from shroff.features.kernels.distinct import drain_set
from shroff.features.kernels.layout import (
    A_CLASS,
    A_SEEDS,
    ACCOUNTS,
    BASE_MS,
    CELLS,
    CHUNK,
    CHUNK_CLASS,
    CHUNK_LO,
    D_AT,
    D_CLASS,
    D_FED,
    EVER,
    F_FIRST,
    F_FIRST_AT,
    F_LAST,
    F_LAST_AT,
    F_MAX,
    F_MIN,
    FAR_MS,
    H_AT,
    H_ROOM,
    HALF_MASK,
    HEAD_WORDS,
    HEADS,
    HEADS_ROOM,
    HI,
    L_AT,
    LATENESS_MS,
    LEFT_EVER,
    LO,
    LOOKS,
    MISSING,
    OF_FOLD,
    OLDEST_MS,
    PACKED_WORDS,
    R_AT,
    REACH_CELLS,
    REACH_MS,
    S_CELLS,
    S_HEAD,
    S_LEFT,
    S_VALUES,
    SEED_WORDS,
    SERIES,
    SERIES_WORDS,
    SET_WORDS,
    SETS,
    SPARE_MS,
    T_HEAD,
    TABLE_WORDS,
    TABLES,
    TRACK_WORDS,
    TRACKS,
    WIDE,
)
from shroff.features.kernels.numbers import Word, compiled
from shroff.features.kernels.order import drop_before


@compiled
def blank_head(heap: Ints, head: Word) -> None:
    """Initialize the head of a key without events."""
    clear_words(heap, head, heap[HEAD_WORDS])
    heap[head + CHUNK_LO] = 1
    heap[head + BASE_MS] = WIDE
    heap[head + LO] = 1
    heap[head + HI] = 1
    heap[head + OLDEST_MS] = FAR_MS
    for i in range(heap[TRACKS + 1]):
        heap[head + heap[heap[TRACKS] + i * TRACK_WORDS + T_HEAD] + D_FED] = 1
    for i in range(heap[SETS + 1]):
        state = head + heap[heap[SETS] + i * SET_WORDS + S_HEAD]
        heap[state + L_AT] = 1
        heap[state + R_AT] = 1


@compiled
def room_for_key(heap: Ints, key: Word) -> bool:
    """Make room for this key in the directory. Cost: growth, by a third or a half, copies all heads."""
    room = heap[HEADS_ROOM]
    if key < room:
        return True
    words = heap[HEAD_WORDS]
    size_class = class_of(max(key + 1, 16) * words)
    at = take(heap, size_class)
    if at == 0:
        return False
    copy_words(heap, heap[HEADS], at, room * words)
    give(heap, heap[HEADS], class_of(room * words))
    heap[HEADS] = at
    heap[HEADS_ROOM] = size_of(size_class) // words
    for fresh in range(room, heap[HEADS_ROOM]):
        blank_head(heap, at + fresh * words)
    return True


@compiled
def is_fitting(heap: Ints, base_ms: Word, time_ms: Word, values: Ints, kept: Bytes, row: Word) -> bool:
    """Whether a row fits into a chunk with this base."""
    if base_ms == WIDE:
        return True
    if not 0 <= time_ms - base_ms <= HALF_MASK:
        return False
    beyond = 0
    for i in range(heap[SERIES + 1]):
        if kept[i, row] != 0 and not MISSING < values[i, row] < -MISSING:
            beyond += 1
    return beyond == 0


@compiled
def best_base(heap: Ints, head: Word, time_ms: Word, values: Ints, kept: Bytes, row: Word) -> Word:
    """Return the base of a packed chunk for the live cells and a row; WIDE if they or later cells do not fit."""
    if heap[PACKED_WORDS] == 0:
        return WIDE
    lo, hi = heap[head + LO], heap[head + HI]
    newest_ms = max(time_ms, time_at(heap, head, hi - 1)) if lo < hi else time_ms
    base_ms = min(time_ms, heap[head + OLDEST_MS]) - min(heap[LATENESS_MS], SPARE_MS)
    if not is_fitting(heap, base_ms, time_ms, values, kept, row) or newest_ms - base_ms > HALF_MASK - SPARE_MS:
        return WIDE
    for position in range(lo, hi if heap[head + BASE_MS] == WIDE else lo):
        for i in range(heap[SERIES + 1]):
            is_present, value = read(heap, head, heap[SERIES] + i * SERIES_WORDS, position)
            if is_present and not MISSING < value < -MISSING:
                return WIDE
    return base_ms


@compiled
def room_for_cell(
    heap: Ints, head: Word, time_ms: Word, values: Ints, kept: Bytes, row: Word, watermark_ms: Word
) -> bool:
    """Make room for a row's cell. Cost: copies O(1) cells, amortized."""
    chunk, base_ms = heap[head + CHUNK], heap[head + BASE_MS]
    size = size_of(heap[head + CHUNK_CLASS]) if chunk != 0 else np.int64(0)
    is_fit = is_fitting(heap, base_ms, time_ms, values, kept, row)
    if is_fit and length_of(heap, base_ms, heap[head + HI] - heap[head + CHUNK_LO] + 1) <= size:
        return True
    trim_key(heap, head, watermark_ms)
    if not is_fit or base_ms == WIDE:
        base_ms = best_base(heap, head, time_ms, values, kept, row)
    cells = heap[head + HI] - heap[head + LO] + 1
    # At most 3/4 full
    if base_ms == heap[head + BASE_MS] and length_of(heap, base_ms, cells) * 4 <= size * 3:
        repack(heap, head, chunk, base_ms)
        return True
    # Room to grow by 3/4
    return move_chunk(heap, head, class_of(length_of(heap, base_ms, cells + (cells - 1) * 3 // 4)), base_ms)


@compiled
def move_chunk(heap: Ints, head: Word, size_class: Word, base_ms: Word) -> bool:
    """Move a key's cells to a block of another class."""
    fresh = take(heap, size_class)
    if fresh == 0:
        return False
    chunk, chunk_class = heap[head + CHUNK], heap[head + CHUNK_CLASS]
    repack(heap, head, fresh, base_ms)
    give(heap, chunk, chunk_class)
    heap[head + CHUNK_CLASS] = size_class
    return True


@compiled
def trim_key(heap: Ints, head: Word, watermark_ms: Word) -> None:
    """Remove the cells that no later row can reach, after adding them to the folds of queries without a window.

    Cost: a pass over the removed cells for each fold and set.
    """
    lo, hi = heap[head + LO], heap[head + HI]
    oldest_ms = watermark_ms - heap[LATENESS_MS]
    keep = hi
    if heap[REACH_MS] >= 0:
        keep = place(heap, head, lo, hi, lo, oldest_ms - heap[REACH_MS])
    if heap[REACH_CELLS] > 0:
        surely = place(heap, head, lo, hi, hi, oldest_ms)
        keep = min(keep, surely - heap[REACH_CELLS])
    for i in range(heap[SETS + 1]):
        window = heap[SETS] + i * SET_WORDS
        if heap[window + S_LEFT] == LEFT_EVER:
            keep = min(keep, heap[head + heap[window + S_HEAD] + R_AT])
    if keep <= lo:
        return
    for i in range(heap[SERIES + 1]):
        series = heap[SERIES] + i * SERIES_WORDS
        if heap[series + OF_FOLD] >= 0:
            fold_cells(heap, head, series, keep)
    for i in range(heap[SETS + 1]):
        window = heap[SETS] + i * SET_WORDS
        if heap[window + S_LEFT] != LEFT_EVER:
            drain_set(heap, head, window, keep)
    for i in range(heap[TRACKS + 1]):
        drop_before(heap, head + heap[heap[TRACKS] + i * TRACK_WORDS + T_HEAD], keep)
    heap[head + LO] = keep
    heap[head + OLDEST_MS] = time_at(heap, head, keep) if keep < hi else FAR_MS
    heap[CELLS] -= keep - lo


@compiled
def fold_cells(heap: Ints, head: Word, series: Word, end: Word) -> None:
    """Update a series' fold (first, last, least and greatest value) by the live cells before position `end`."""
    fold = head + heap[series + OF_FOLD]
    empty = trimmed(heap, head, series) == 0
    for position in range(heap[head + LO], end):
        is_present, value = read(heap, head, series, position)
        if not is_present:
            continue
        time_ms = time_at(heap, head, position)
        if empty or time_ms < heap[fold + F_FIRST_AT]:
            heap[fold + F_FIRST], heap[fold + F_FIRST_AT] = value, time_ms
        if empty or time_ms >= heap[fold + F_LAST_AT]:
            heap[fold + F_LAST], heap[fold + F_LAST_AT] = value, time_ms
        heap[fold + F_MIN] = value if empty else min(value, heap[fold + F_MIN])
        heap[fold + F_MAX] = value if empty else max(value, heap[fold + F_MAX])
        empty = False


@compiled
def forget_account(heap: Ints, account: Word) -> None:
    """Free an account and the values of its seeds; does nothing for address 0."""
    for i in range(heap[LOOKS + 1] if account != 0 else 0):
        seed = account + A_SEEDS + i * SEED_WORDS
        give(heap, heap[seed + S_VALUES], class_of(5 * heap[seed + S_CELLS]))
    give(heap, account, heap[account + A_CLASS])


@compiled
def forget_key(heap: Ints, head: Word) -> None:
    """Free all blocks of a key, and make it a key without events."""
    give(heap, heap[head + CHUNK], heap[head + CHUNK_CLASS])
    for i in range(heap[TRACKS + 1]):
        deque = head + heap[heap[TRACKS] + i * TRACK_WORDS + T_HEAD]
        give(heap, heap[deque + D_AT], heap[deque + D_CLASS])
    for i in range(heap[TABLES + 1]):
        plan = heap[TABLES] + i * TABLE_WORDS
        table = head + heap[plan]
        give(heap, heap[table + H_AT], class_of(heap[table + H_ROOM] * heap[plan + 1]))
    for i in range(heap[ACCOUNTS + 1]):
        forget_account(heap, heap[head + heap[ACCOUNTS] + i])
    heap[CELLS] -= heap[head + HI] - heap[head + LO]
    blank_head(heap, head)


@compiled
def sweep_key(heap: Ints, head: Word, watermark_ms: Word) -> None:
    """Trim a key, and move its cells to a smaller block if its chunk is at most a quarter full.

    Forgets a key without live cells if all queries have windows. Cost: if no cell has expired, only the head is read.
    """
    reach_ms = heap[REACH_MS]
    if reach_ms >= 0 and heap[head + OLDEST_MS] > watermark_ms - heap[LATENESS_MS] - reach_ms:
        return
    trim_key(heap, head, watermark_ms)
    if heap[head + CHUNK] == 0:
        return
    live = heap[head + HI] - heap[head + LO]
    if live == 0 and heap[EVER] == 0:
        forget_key(heap, head)
        return
    needed = length_of(heap, heap[head + BASE_MS], live)
    smaller = class_of(needed)
    if smaller + 4 <= heap[head + CHUNK_CLASS]:
        move_chunk(heap, head, smaller, heap[head + BASE_MS])
