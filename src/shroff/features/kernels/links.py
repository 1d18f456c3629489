"""The events that share a link value with those of a key (`via`); compiled.

A history with links has each event twice: its head is number 2n for the link value with code n, and 2n + 1 for the key
with code n. Its last series are the codes of link value and key, and of events that aggregates are over the number by
arrival.
"""

from __future__ import annotations

from shroff.features.kernels.answers import place_edges, place_windows
from shroff.features.kernels.cells import Words, class_of, copy_words, give, is_kept, size_of, take, value_at
from shroff.features.kernels.layout import (
    BEGIN,
    CELL_WORDS,
    EDGES,
    END,
    HEAD_WORDS,
    HEADS,
    HI,
    LEFT,
    LO,
    MARK,
    MARKS,
    OF_ARRIVAL,
    OF_KEY,
    OF_LINK,
    ORIGIN,
    RIGHT,
    RIGHT_NOW,
    SERIES,
    SERIES_WORDS,
    UP_TO,
    WINDOW_WORDS,
    WINDOWS,
)
from shroff.features.kernels.numbers import Word, compiled

FIRST_ROOM = 16


@compiled
def link_series(heap: Words, number: Word) -> Word:
    """The address of a series that a history with links has behind all others."""
    return heap[SERIES] + (heap[SERIES + 1] - number) * SERIES_WORDS


@compiled
def is_marked(heap: Words, head: Word, mark: Word) -> bool:
    """Whether a head has a mark, which it has from now on."""
    at = head + heap[MARK]
    if heap[at] == mark:
        return True
    heap[at] = mark
    return False


@compiled
def place_window(heap: Words, head: Word, window: Word, time_ms: Word) -> None:
    """Set begin and end of a window of this address at a head; most have all its cells, which costs no search."""
    lo, hi, words = heap[head + LO], heap[head + HI], heap[CELL_WORDS]
    after_ms = time_ms - heap[heap[EDGES] + heap[window + LEFT]]
    first, last = heap[head + ORIGIN] + lo * words, heap[head + ORIGIN] + (hi - 1) * words
    if lo < hi and heap[window + RIGHT] == RIGHT_NOW and heap[first] > after_ms and heap[last] <= time_ms:
        heap[window + BEGIN], heap[window + END] = lo, hi
        return
    number = (window - heap[WINDOWS]) // WINDOW_WORDS
    place_windows(heap, head, number, number + 1, place_edges(heap, head, time_ms))


@compiled
def is_hub(heap: Words, asked: Word, first: Word, last: Word) -> bool:
    """Whether cells, by the addresses of the first and the last, are of more keys than count, that of a head too."""
    heap[MARKS] += 1
    key, degree = link_series(heap, OF_KEY), 1
    heap[asked + heap[MARK]] = heap[MARKS]
    for at in range(last, first - 1, -heap[CELL_WORDS]):
        if not is_kept(heap, key, at):
            continue
        if not is_marked(heap, heap[HEADS] + (2 * value_at(heap, key, at) + 1) * heap[HEAD_WORDS], heap[MARKS]):
            degree += 1
            if degree > heap[UP_TO]:
                return True
    return False


@compiled
def linked_cells(heap: Words, asked: Word, window: Word, own: Word, time_ms: Word) -> tuple[Word, Word, Word, Word]:
    """The linked cells of a window: a block of their addresses, its class, their number, and that of link values.

    The cells of each link value are in order. Block 0: the heap must grow first.

    Args:
        asked: The head of the key.
        window: The address of the window in the plan.
        own: The code of a link value that counts in any case; -1: none.
    """
    words = heap[CELL_WORDS]
    place_window(heap, asked, window, time_ms)
    origin, oldest, newest = heap[asked + ORIGIN], heap[window + BEGIN], heap[window + END]
    link, arrival = link_series(heap, OF_LINK), link_series(heap, OF_ARRIVAL)
    size_class = class_of(FIRST_ROOM)
    block = take(heap, size_class)
    heap[MARKS] += 1
    mark, count, links = heap[MARKS], 0, 0
    for position in range(max(oldest, newest), oldest - 1, -1):
        code = own if position >= newest else value_at(heap, link, origin + position * words)
        head = heap[HEADS] + 2 * code * heap[HEAD_WORDS]
        if block == 0 or code < 0 or is_marked(heap, head, mark):
            continue
        place_window(heap, head, window, time_ms)
        first = heap[head + ORIGIN] + heap[window + BEGIN] * words
        cells = heap[window + END] - heap[window + BEGIN]
        if cells <= 0:
            continue
        if cells >= heap[UP_TO] and is_hub(heap, asked, first, first + (cells - 1) * words):
            continue  # so many cells may be of so many other keys
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
            if is_kept(heap, arrival, at):
                heap[block + count] = at
                count += 1
    return block, size_class, count, links
