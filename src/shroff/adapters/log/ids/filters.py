"""Bloom filters of sealed runs: which runs may have a digest. They may name too many runs, never too few."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from shroff.arrays import Hashes

Numbers = Hashes

FINAL = 1 << 18  # ids of a run that is sealed
FILTER_WORDS = 3 * FINAL >> 3  # three bytes an id
_SHIFTS = np.arange(40, 64, 6, dtype=np.uint64)[:, None]
# Filters side by side: their words for one digest are 64 bytes, which a processor reads at once, or a few times that
# once there are many.
_BESIDE = 8
_BESIDE_MAX = 32


class Filters(Struct):
    """Filters of runs, in groups of `_BESIDE` and more side by side."""

    runs: list[int] = []  # 0 where none is
    words: list[Numbers] = []

    def add(self, run: int, filter: Numbers) -> None:
        if 0 not in self.runs:
            beside = min(max(len(self.runs), _BESIDE), _BESIDE_MAX)
            self.words.append(np.zeros((FILTER_WORDS, beside), np.uint64))
            self.runs += [0] * beside
        self._of(0)[:] = filter
        self.runs[self.runs.index(0)] = run

    def drop(self, run: int) -> None:
        if run in self.runs:
            self._of(run)[:] = 0
            self.runs[self.runs.index(run)] = 0

    def naming(self, digests: Numbers) -> list[tuple[int, int]]:
        """Return pairs of a digest's row and a run that may have it.

        A run is named for about one of 10,000 digests that it does not have.

        Cost: 0.1 to 0.2 µs a digest for each group.
        """
        found, start = list[tuple[int, int]](), 0
        at, mask = _in_filter(digests[:, 1])
        order = np.argsort(at)  # so that each page of memory is read once
        at, mask = at[order], mask[order, None]
        for words in self.words:
            if len(near := np.flatnonzero(words[at] & mask == mask)):
                rows, columns = np.divmod(near, words.shape[1])
                rows = order[rows]
                at_too, mask_too = _in_filter(digests[rows, 0])
                has_both = words[at_too, columns] & mask_too == mask_too
                runs = map(self.runs.__getitem__, (columns[has_both] + start).tolist())
                found += zip(rows[has_both].tolist(), runs, strict=True)
            start += words.shape[1]
        return found

    def _of(self, run: int) -> Numbers:
        at = self.runs.index(run)
        for words in self.words:
            if at < words.shape[1]:
                break
            at -= words.shape[1]
        return words[:, at]


def filter_of(digests: Numbers) -> Numbers:
    found = np.zeros(FILTER_WORDS, np.uint64)
    for half in (1, 0):
        words, mask = _in_filter(digests[:, half])
        np.bitwise_or.at(found, words, mask)
    return found


def _in_filter(halves: Numbers) -> tuple[Numbers, Numbers]:
    bits = np.uint64(1) << (halves >> _SHIFTS & np.uint64(63))
    return halves % np.uint64(FILTER_WORDS), np.bitwise_or.reduce(bits, axis=0)
