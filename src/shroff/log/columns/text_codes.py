"""Numbers for the different texts of a column, over all its batches, by compiled code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shroff.arrays import Array, Hashes, Ints, Ints32
from shroff.features.frames import Dictionary

FULLEST = 0.7  # of a table of hashes
SMALLEST = 1 << 12
BESIDE = 128  # bytes of memory that a text takes beside its characters: as an object, in lists and in the table
Key = tuple[np.uint64, np.uint64]


class TextCodes:
    """The texts of a column that were met so far, in a dictionary, and their numbers by hashes under a key.

    Attributes:
        size: About how many bytes of memory they take.
    """

    def __init__(self) -> None:
        self.dictionary = Dictionary()
        self.size = 0
        self._slots, self._numbers = np.zeros((0, 2), np.uint64), np.zeros(0, np.int32)

    def of(self, hashes: Hashes, texts: Callable[[Ints], list[str]]) -> Ints32:
        """The numbers of texts with these hashes; of those that are new, `texts` gives the texts by their rows."""
        from shroff.log.columns.ids import code_texts

        known = self.dictionary.values
        if is_full(self._slots, len(known) + len(hashes)):
            self._slots, self._numbers = grown(self._slots, self._numbers, len(known) + len(hashes))
        codes = np.empty(len(hashes), np.int32)
        is_new = np.empty(len(hashes), np.uint8)
        if code_texts(hashes, self._slots, self._numbers, len(known), codes, is_new) > len(known):
            new = texts(is_new.nonzero()[0])
            known.extend(new)
            self.size += sum(map(len, filter(None, new))) + BESIDE * len(new)
        return codes


def is_full(slots: Array, count: int) -> bool:
    """Whether this many hashes would overfill the table."""
    return count > len(slots) * FULLEST


def size_for(count: int) -> int:
    """The slots of a table with room for so many."""
    size = SMALLEST
    while count > size * FULLEST:
        size *= 2
    return size


def grown(slots: Hashes, numbers: Ints32, count: int) -> tuple[Hashes, Ints32]:
    """A table with room for so many hashes, and the number of each; with those of a smaller table in it."""
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
