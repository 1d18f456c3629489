"""Bloom filters of sealed id runs: they name the runs that may have a digest, sometimes too many, never too few.

`IdIndex` of the writer keeps them in memory, 3 bytes an id, and reads a row of a sealed run only if its filter names
it.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from shroff.arrays import Hashes

Numbers = Hashes

FINAL = 1 << 18  # ids; a run with as many is sealed
FILTER_WORDS = 3 * FINAL >> 3  # 64-bit words of one filter: three bytes an id
# Each half of a digest selects one word of the filter, and four bits of that word by six bits of the half each.
_SHIFTS = np.arange(40, 64, 6, dtype=np.uint64)[:, None]
# Filters of a group lie side by side: the words of eight filters for one digest are 64 bytes, which a processor reads
# at once. Later groups have more filters, as each group costs a look-up.
_GROUP_SIZE = 8
_GROUP_SIZE_MAX = 32


class Filters(Struct):
    """Filters of runs, in groups of `_GROUP_SIZE` to `_GROUP_SIZE_MAX`.

    Args:
        runs: Run of each column of all groups; 0 for an empty column.
        groups: One array for each group, with a row for each word and a column for each run.
    """

    runs: list[int] = []
    groups: list[Numbers] = []

    def add(self, run: int, filter: Numbers) -> None:
        if 0 not in self.runs:
            size = min(max(len(self.runs), _GROUP_SIZE), _GROUP_SIZE_MAX)
            self.groups.append(np.zeros((FILTER_WORDS, size), np.uint64))
            self.runs += [0] * size
        self._column_of(0)[:] = filter
        self.runs[self.runs.index(0)] = run

    def drop(self, run: int) -> None:
        if run in self.runs:
            self._column_of(run)[:] = 0
            self.runs[self.runs.index(run)] = 0

    def candidates(self, digests: Numbers) -> list[tuple[int, int]]:
        """Return pairs of a row of `digests` and a run that may have this digest.

        A run is returned for about one of 10,000 digests that it does not have.

        Cost: 0.1 to 0.2 µs a digest for each group.
        """
        pairs = list[tuple[int, int]]()
        words, masks = _filter_bits(digests[:, 1])
        order = np.argsort(words)  # so that each page of memory is read once
        words = words[order]
        masks = masks[order, None]
        first_column = 0
        for group in self.groups:
            matches = np.flatnonzero(group[words] & masks == masks)
            if len(matches):
                rows, columns = np.divmod(matches, group.shape[1])
                rows = order[rows]
                other_words, other_masks = _filter_bits(digests[rows, 0])
                has_both = group[other_words, columns] & other_masks == other_masks
                runs = [self.runs[column] for column in (columns[has_both] + first_column).tolist()]
                pairs += zip(rows[has_both].tolist(), runs, strict=True)
            first_column += group.shape[1]
        return pairs

    def _column_of(self, run: int) -> Numbers:
        """Return the column of a run, a view; 0 for the first empty column."""
        column = self.runs.index(run)
        for group in self.groups:
            if column < group.shape[1]:
                break
            column -= group.shape[1]
        return group[:, column]


def filter_of(digests: Numbers) -> Numbers:
    filter_words = np.zeros(FILTER_WORDS, np.uint64)
    for half in (1, 0):
        words, masks = _filter_bits(digests[:, half])
        np.bitwise_or.at(filter_words, words, masks)
    return filter_words


def _filter_bits(halves: Numbers) -> tuple[Numbers, Numbers]:
    bits = np.uint64(1) << (halves >> _SHIFTS & np.uint64(63))
    return halves % np.uint64(FILTER_WORDS), np.bitwise_or.reduce(bits, axis=0)
