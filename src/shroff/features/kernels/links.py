"""Compiled aggregates over linked events (`via`): events that share a link value with the events of a key.

Heap, block, head, cell and series are those of `kernels.layout`. A history with links stores each event twice: with its
link value and with its key. Link value n has head 2n, key n has head 2n + 1. Its last three series are the codes of
link value and key, and the arrival number of aggregated events.

A key with many link values has an *account*: the totals over its quiet values, and a list of the heads of its other
link values. It is valid while the end of the window moves by at most its *reach*. A *quiet value* is a link value of
which no event enters or leaves the window meanwhile. New events are read from a log of arrivals. A quiet value with a
new event is added to the list by its head plus 1. So an odd entry is a quiet value of which only new cells count.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Ints
from shroff.features.kernels.cells import (
    address,
    class_of,
    clear_words,
    copy_words,
    give,
    is_kept,
    place,
    size_of,
    take,
    value_at,
)
from shroff.features.kernels.distinct import room_of, slot_of
from shroff.features.kernels.layout import (
    A_AT,
    A_CLASS,
    A_COUNT,
    A_LIST,
    A_MADE,
    A_READ,
    A_ROOM,
    A_SEEDS,
    A_TABLE,
    A_TABLE_ROOM,
    A_UNTIL,
    ARRIVALS,
    CELL_WORDS,
    FAR_MS,
    HEAD_WORDS,
    HEADS,
    HI,
    LO,
    LOG,
    LOG_ROOM,
    LOOKS,
    MARK,
    MARKS,
    OF_ARRIVAL,
    OF_KEY,
    OF_LINK,
    SEED_WORDS,
    SERIES,
    SERIES_WORDS,
    UP_TO,
)
from shroff.features.kernels.numbers import Word, compiled

FIRST_ROOM = 16  # addresses in the first block of `gather`


@compiled
def link_series(heap: Ints, number: Word) -> Word:
    """Return the address of one of the last series, numbered from the end (`OF_LINK`, `OF_KEY`, `OF_ARRIVAL`)."""
    return heap[SERIES] + (heap[SERIES + 1] - number) * SERIES_WORDS


@compiled
def is_marked(heap: Ints, head: Word, mark: Word) -> bool:
    """Mark a head, and return whether it had the mark before."""
    at = head + heap[MARK]
    if heap[at] == mark:
        return True
    heap[at] = mark
    return False


@compiled
def span(heap: Ints, head: Word, after_ms: Word, upto_ms: Word) -> tuple[Word, Word]:
    """Return the address of the first cell of a head in a window (after, upto], and the number of cells."""
    lo, hi = heap[head + LO], heap[head + HI]
    begin = place(heap, head, lo, hi, lo, after_ms)
    return address(heap, head, begin), max(place(heap, head, lo, hi, hi, upto_ms) - begin, 0)


@compiled
def is_linking(heap: Ints, asked: Word, first: Word, cells: Word, is_sure: Word) -> Word:
    """Whether a link value links the key `asked` in a window: it has a cell of the key, and is no hub.

    A hub has cells of more than UP_TO different keys, the key `asked` included. Cells are read from the last one.

    Args:
        asked: Address of the head of the key.
        first: Address of the link value's first cell in the window, and `cells` their number.
        is_sure: Whether the value is known to have a cell of the key.
    """
    if is_sure and cells < heap[UP_TO]:
        return True  # fewer cells than UP_TO cannot have too many keys
    heap[MARKS] += 1
    key, degree = link_series(heap, OF_KEY), 1
    heap[asked + heap[MARK]] = heap[MARKS]
    for i in range(cells - 1, -1, -1):
        at = first + i * heap[CELL_WORDS]
        if not is_kept(heap, key, at):
            continue
        head = heap[HEADS] + (2 * value_at(heap, key, at) + 1) * heap[HEAD_WORDS]
        is_sure = is_sure or head == asked
        if not is_marked(heap, head, heap[MARKS]):
            degree += 1
            if degree > heap[UP_TO]:
                return False
    return is_sure


@compiled
def candidates(heap: Ints, asked: Word, after_ms: Word, upto_ms: Word, own: Word) -> tuple[Word, Word, Word]:
    """Return a block with the head numbers of a key's link values in a window, its class, and how many they are.

    The block is 0 if the heap is full. `own` is the head number of the row's own link value; -1 for none.
    """
    first, cells = span(heap, asked, after_ms, upto_ms)
    link, size_class, count = link_series(heap, OF_LINK), class_of(cells + 1), 0
    block = take(heap, size_class)
    heap[MARKS] += 1
    for i in range(cells if block != 0 else -1, -1, -1):
        number = own if i == cells else 2 * value_at(heap, link, first + i * heap[CELL_WORDS])
        if number >= 0 and not is_marked(heap, heap[HEADS] + number * heap[HEAD_WORDS], heap[MARKS]):
            heap[block + count] = number
            count += 1
    return block, size_class, count


@compiled
def gather(
    heap: Ints, asked: Word, listed: Word, values: Word, after_ms: Word, upto_ms: Word, own: Word, account: Word
) -> tuple[Word, Word, Word, Word]:
    """Return a block with the addresses of the linked cells of a window, its class, and how many cells and link values.

    The cells of each link value are in order. The block is 0 if the heap is full. The count is -1 if a quiet value has
    become a hub, which makes the totals wrong.

    Args:
        listed: Address of `values` head numbers of link values. Those of an account may repeat, be odd, or have no cell
            of the key.
        own: Head number of a link value that needs no cell of the key; -1 for none.
        account: The account of the key; 0 for none.
    """
    words, arrival = heap[CELL_WORDS], link_series(heap, OF_ARRIVAL)
    size_class = class_of(FIRST_ROOM)
    block = take(heap, size_class)
    heap[MARKS] += 1
    mark, count, links = heap[MARKS], 0, 0
    for i in range(values):
        number = heap[listed + i] & -2
        head = heap[HEADS] + number * heap[HEAD_WORDS]
        if block == 0 or count < 0 or is_marked(heap, head, mark):
            continue
        since = heap[account + A_MADE] if number != heap[listed + i] else 0
        first, cells = span(heap, head, after_ms, upto_ms)
        if not is_linking(heap, asked, first, cells, account == 0 or since != 0 or number == own):
            if since != 0:
                count = -1
            continue
        if count + cells > size_of(size_class):
            larger = class_of(2 * (count + cells))
            at = take(heap, larger)
            if at != 0:
                copy_words(heap, block, at, count)
            give(heap, block, size_class)
            block, size_class = at, larger
            if block == 0:
                continue
        links += 1
        for at in range(first, first + cells * words, words):
            if is_kept(heap, arrival, at) and value_at(heap, arrival, at) >= since:
                heap[block + count] = at
                count += 1
    return block, size_class, count, links


@compiled
def is_current(heap: Ints, asked: Word, account: Word, upto_ms: Word) -> bool:
    """Bring an account up to date for a window that ends at `upto_ms`; return whether it is valid.

    New arrivals are added to its list. It is invalid outside of its reach, or if too many events arrived.
    """
    number, count = (asked - heap[HEADS]) // heap[HEAD_WORDS], heap[account + A_COUNT]
    is_read = heap[ARRIVALS] - heap[account + A_READ] <= LOG_ROOM
    if not (is_read and heap[account + A_AT] <= upto_ms <= heap[account + A_UNTIL]):
        return False
    for arrival in range(heap[account + A_READ], heap[ARRIVALS]):
        word = heap[heap[LOG] + arrival % LOG_ROOM]
        value = word >> 32
        is_quiet = heap[slot_of(heap, heap[account + A_TABLE], heap[account + A_TABLE_ROOM], value + 1)] != 0
        if is_quiet or word & 0xFFFFFFFF == number:
            if count == heap[account + A_ROOM]:
                return False
            heap[heap[account + A_LIST] + count] = value + np.int64(is_quiet)
            count += 1
    heap[account + A_READ], heap[account + A_COUNT] = heap[ARRIVALS], count
    return True


@compiled
def new_account(
    heap: Ints, asked: Word, listed: Word, values: Word, after_ms: Word, upto_ms: Word
) -> tuple[Word, Word]:
    """Make an account; return it with the number of quiet values, which are moved to the front.

    Its reach is the length of the window divided by the square root of the number of link values. It is valid from
    A_AT, which the caller sets after computing the totals. The account is 0 if the heap is full.
    """
    root, quiet = np.int64(np.sqrt(values)), np.int64(0)
    reach = (upto_ms - after_ms) // root
    for i in range(values):
        number = heap[listed + i]
        head = heap[HEADS] + number * heap[HEAD_WORDS]
        first, cells = span(heap, head, after_ms, upto_ms)
        is_quiet = (first, cells) == span(heap, head, after_ms + reach, upto_ms + reach)
        if is_quiet and is_linking(heap, asked, first, cells, is_sure=True):
            heap[listed + i] = heap[listed + quiet]
            heap[listed + quiet] = number
            quiet += 1
    if heap[LOG] == 0:
        heap[LOG] = take(heap, class_of(LOG_ROOM))
    table, room, others = A_SEEDS + heap[LOOKS + 1] * SEED_WORDS, room_of(quiet), values - quiet
    size_class = class_of(table + room + others + 2 * root)
    account = take(heap, size_class) if heap[LOG] != 0 else 0
    if account != 0:
        clear_words(heap, account, table + room)
        table += account
        heap[account + A_CLASS], heap[account + A_AT], heap[account + A_UNTIL] = size_class, FAR_MS, upto_ms + reach
        heap[account + A_MADE], heap[account + A_READ] = heap[ARRIVALS], heap[ARRIVALS]
        heap[account + A_TABLE], heap[account + A_TABLE_ROOM], heap[account + A_LIST] = table, room, table + room
        heap[account + A_COUNT], heap[account + A_ROOM] = others, others + 2 * root
        copy_words(heap, listed + quiet, table + room, others)
        for i in range(quiet):
            heap[slot_of(heap, table, room, heap[listed + i] + 1)] = heap[listed + i] + 1
    return account, quiet
