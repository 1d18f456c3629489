"""What a writer remembers of runs of ids: which of them may have a digest. It may name too many, never too few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]

FINAL: Final = 1 << 20
YOUNG: Final = FINAL >> 4  # ids of smaller runs are remembered apart, for most batches change only these
FILTER_WORDS: Final = 3 * FINAL >> 3  # three bytes an id
_SHIFTS: Final = np.arange(40, 64, 6, dtype=np.uint64)
# Filters side by side: their words for one digest are 64 bytes, which a processor reads at once. From the third group
# on they are twice as many: with 103 runs 1.05 µs of processor time a digest instead of 1.5.
_BESIDE: Final = 8


@dataclass(slots=True)
class Heads:
    """Half digests of runs in order, each with its run. Adding 65,536 to a million takes 8 ms."""

    heads: Numbers
    runs: NDArray[np.uint32]

    def may_have(self, heads: Numbers) -> bool:
        """Whether one of these half digests is there."""
        if not len(self.heads):
            return False
        near = self.heads.take(self.heads.searchsorted(heads), mode="clip")
        return bool((near == heads).any())

    def add(self, run: int, heads: Numbers) -> None:
        at = np.searchsorted(self.heads, heads) + np.arange(len(heads))
        is_other = np.ones(len(self.heads) + len(heads), np.bool_)
        is_other[at] = False
        all_heads, all_runs = np.empty(len(is_other), np.uint64), np.empty(len(is_other), np.uint32)
        all_heads[at], all_heads[is_other] = heads, self.heads
        all_runs[at], all_runs[is_other] = run, self.runs
        self.heads, self.runs = all_heads, all_runs

    def take(self, runs: Sequence[int]) -> Numbers:
        """Forget these runs; gives their heads."""
        is_taken = np.isin(self.runs, np.array(runs, np.uint32))
        taken, is_other = self.heads[is_taken], ~is_taken
        self.heads, self.runs = self.heads[is_other], self.runs[is_other]
        return taken


@dataclass(slots=True)
class Filters:
    """Filters of large runs, in groups of `_BESIDE` and twice as many side by side."""

    runs: list[int] = field(default_factory=list)  # 0 where none is
    words: list[Numbers] = field(default_factory=list)

    def add(self, run: int, filter: Numbers) -> None:
        if 0 not in self.runs:
            beside = _BESIDE if len(self.words) < 2 else 2 * _BESIDE
            self.words.append(no_numbers(FILTER_WORDS, beside))
            self.runs += [0] * beside
        self.of(0)[:] = filter
        self.runs[self.runs.index(0)] = run

    def of(self, run: int) -> Numbers:
        at = self.runs.index(run)
        for words in self.words:
            if at < words.shape[1]:
                break
            at -= words.shape[1]
        return words[:, at]

    def drop(self, runs: Sequence[int]) -> None:
        for run in set(runs).intersection(self.runs):
            self.of(run)[:] = 0
            self.runs[self.runs.index(run)] = 0

    def naming(self, digests: Numbers) -> tuple[NDArray[np.intp], Numbers]:
        """Which digests a run may have, and the run: of 10,000 that it does not have, about one.

        Cost: 0.1 µs a digest for each eight runs, and for each sixteen if there are many.
        """
        found = list[tuple[NDArray[np.intp], Numbers]]()
        (at, mask), (at_too, mask_too) = _in_filter(digests[:, 1]), _in_filter(digests[:, 0])
        order = np.argsort(at)  # so that each page of memory is read once
        at, mask = at[order], mask[order, None]
        start = 0
        for words in self.words:
            rows, columns = np.divmod(np.flatnonzero(words[at] & mask == mask), words.shape[1])
            rows = order[rows]
            has_both = words[at_too[rows], columns] & mask_too[rows] == mask_too[rows]
            runs = np.array(self.runs[start : start + words.shape[1]], np.uint64)
            start += words.shape[1]
            found.append((rows[has_both], runs[columns[has_both]]))
        return np.concatenate([rows for rows, _ in found]), np.concatenate([runs for _, runs in found])


@dataclass(slots=True)
class Memory:
    """What the writer keeps: half digests of runs below `YOUNG` and below `FINAL`, and the filters of the others."""

    young: Heads
    old: Heads
    filters: Filters

    def heads(self, size: int) -> Heads:
        """Where the half digests of a run of this size are."""
        return self.young if size < YOUNG else self.old

    def take(self, sizes: Mapping[int, int]) -> Numbers:
        """Forget these runs, given with their sizes; gives their heads, as far as they are known."""
        self.filters.drop([*sizes])
        young = self.young.take([*sizes]) if min(sizes.values()) < YOUNG else no_numbers(0)
        if not any(YOUNG <= size < FINAL for size in sizes.values()):
            return young
        old = self.old.take([*sizes])
        return np.sort(np.concatenate((young, old)), kind="stable") if len(young) else old


def in_order(found: Mapping[int, Numbers]) -> Heads:
    heads = np.concatenate([no_numbers(0), *found.values()])
    runs = np.repeat(np.array([*found], np.uint32), [len(of_run) for of_run in found.values()])
    order = np.argsort(heads, kind="stable")
    return Heads(heads[order], runs[order])


def filter_of(digests: Numbers, filter_: Numbers | None = None) -> Numbers:
    """A filter that has these digests as well."""
    found = no_numbers(FILTER_WORDS) if filter_ is None else filter_
    for half in (1, 0):
        words, mask = _in_filter(digests[:, half])
        np.bitwise_or.at(found, words, mask)
    return found


def _in_filter(halves: Numbers) -> tuple[Numbers, Numbers]:
    """For each digest, by one of its halves, a word of a filter and the four bits of it that it sets."""
    bits = np.uint64(1) << (halves[:, None] >> _SHIFTS & np.uint64(63))
    return halves % np.uint64(FILTER_WORDS), np.bitwise_or.reduce(bits, axis=1)


def no_numbers(*shape: int) -> Numbers:
    return np.zeros(shape, np.uint64)
