"""Numbers for the distinct texts of a column, over all its batches, by compiled code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shroff.arrays import Array, Hashes, Ints, Ints32
from shroff.features.frames import Dictionary

FULLEST = 0.7  # of a hash table's slots
SMALLEST = 1 << 12
BESIDE = 128  # bytes that a text takes beside its characters: as an object, in lists and in the table
Key = tuple[np.uint64, np.uint64]


class TextCodes:
    """The texts of a column so far, in a dictionary, and their codes by hash under a key.

    Attributes:
        size: Approximate memory in bytes.
    """

    def __init__(self) -> None:
        self.dictionary = Dictionary()
        self.size = 0
        self._slots = np.zeros((0, 2), np.uint64)
        self._numbers = np.zeros(0, np.int32)

    def of(self, hashes: Hashes, texts: Callable[[Ints], list[str]]) -> Ints32:
        """Return the codes for these hashes; `texts` returns the texts of rows that are new."""
        from shroff.log.columns.ids import code_texts

        texts_so_far = self.dictionary.values
        if is_full(self._slots, len(texts_so_far) + len(hashes)):
            self._slots, self._numbers = grown(self._slots, self._numbers, len(texts_so_far) + len(hashes))
        codes = np.empty(len(hashes), np.int32)
        is_new = np.empty(len(hashes), np.uint8)
        if code_texts(hashes, self._slots, self._numbers, len(texts_so_far), codes, is_new) > len(texts_so_far):
            new = texts(is_new.nonzero()[0])
            texts_so_far.extend(new)
            self.size += sum(map(len, filter(None, new))) + BESIDE * len(new)
        return codes


def is_full(slots: Array, count: int) -> bool:
    return count > len(slots) * FULLEST


def size_for(count: int) -> int:
    """Return the number of slots of a table with room for this many hashes."""
    size = SMALLEST
    while count > size * FULLEST:
        size *= 2
    return size


def grown(slots: Hashes, numbers: Ints32, count: int) -> tuple[Hashes, Ints32]:
    """Return a table with room for `count` hashes that contains those of a smaller table, and their numbers."""
    from shroff.log.columns.ids import code_texts

    size = size_for(count)
    used = np.flatnonzero(slots[:, 1])
    in_order = used[np.argsort(numbers[used], kind="stable")]
    larger, larger_numbers = (
        np.full((size, 2), 0, np.uint64),
        np.zeros(size, np.int32),
    )  # `zeros`: small pages in a heap
    code_texts(slots[in_order], larger, larger_numbers, 0, np.empty(len(used), np.int32), np.empty(len(used), np.uint8))
    return larger, larger_numbers
