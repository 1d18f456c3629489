"""A kernel that copies a history's heap without unused space, for snapshots; after a while about half is unused."""

from __future__ import annotations

from shroff.arrays import Ints
from shroff.features.kernels.cells import class_of, clear_words, length_of, repack, size_of
from shroff.features.kernels.layout import (
    ACCOUNTS,
    BASE_MS,
    BLOCKS,
    CHUNK,
    CHUNK_CLASS,
    CHUNK_LO,
    D_AT,
    D_BEGIN,
    D_CLASS,
    D_COUNT,
    FREE,
    FREE_CLASSES,
    H_AT,
    H_ROOM,
    HEAD_WORDS,
    HEADS,
    HEADS_ROOM,
    HI,
    LO,
    LOG,
    T_HEAD,
    TABLE_WORDS,
    TABLES,
    TAIL,
    TRACK_WORDS,
    TRACKS,
)
from shroff.features.kernels.native import entry_point
from shroff.features.kernels.numbers import Word, compiled


@compiled
def copied(heap: Ints, source: Word, words: Word, size_class: Word, into: Ints) -> Word:
    """Copy words into a new block of a class, filled up with zeros; return its address."""
    at = into[TAIL]
    into[TAIL] = at + size_of(size_class)
    for i in range(words):
        into[at + i] = heap[source + i]
    for i in range(at + words, into[TAIL]):
        into[i] = 0
    return at


@entry_point("void(int64[::1], int64[::1])")
def compact(heap: Ints, into: Ints) -> None:
    """Copy a heap without free blocks, trimmed cells and most of its reserved space. The copy gives the same answers.

    Args:
        into: The target, at least as long as the used part of the heap. Its word TAIL then has its used length.
    """
    blocks = heap[BLOCKS]
    for i in range(blocks):
        into[i] = heap[i]
    for i in range(FREE, FREE + FREE_CLASSES):
        into[i] = 0
    into[TAIL], into[LOG] = blocks, 0
    room, head_words = heap[HEADS_ROOM], heap[HEAD_WORDS]
    if room == 0:
        return
    into[HEADS] = copied(heap, heap[HEADS], room * head_words, class_of(room * head_words), into)
    for key in range(room):
        head = into[HEADS] + key * head_words
        clear_words(into, head + heap[ACCOUNTS], heap[ACCOUNTS + 1])  # accounts are rebuilt when needed
        if into[head + CHUNK] != 0:
            base_ms, hi = into[head + BASE_MS], into[head + HI]
            words = length_of(into, base_ms, hi - into[head + CHUNK_LO])
            chunk = copied(heap, into[head + CHUNK], words, into[head + CHUNK_CLASS], into)
            into[head + CHUNK] = chunk
            repack(into, head, chunk, base_ms)
            cells = hi - into[head + LO]
            words = length_of(into, base_ms, cells)
            into[head + CHUNK_CLASS] = class_of(words)
            into[TAIL] = chunk + size_of(into[head + CHUNK_CLASS])
            if cells == 0:
                words = 0  # a chunk has room for one cell at least
            clear_words(into, chunk + words, into[TAIL] - chunk - words)
        for i in range(heap[TRACKS + 1]):
            deque = head + heap[heap[TRACKS] + i * TRACK_WORDS + T_HEAD]
            if into[deque + D_AT] != 0:
                entries = into[deque + D_COUNT] * 2
                into[deque + D_CLASS] = class_of(entries)
                begin = into[deque + D_AT] + into[deque + D_BEGIN] * 2
                into[deque + D_AT] = copied(heap, begin, entries, into[deque + D_CLASS], into)
                into[deque + D_BEGIN] = 0
        for i in range(heap[TABLES + 1]):
            plan = heap[TABLES] + i * TABLE_WORDS
            table = head + heap[plan]
            if into[table + H_AT] != 0:
                entries = into[table + H_ROOM] * heap[plan + 1]
                into[table + H_AT] = copied(heap, into[table + H_AT], entries, class_of(entries), into)
