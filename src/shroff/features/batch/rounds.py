"""Rounds over a whole history, shared by all engines that work by columns.

The first round stores of each event what is needed later, as small columns. Each further round answers the aggregates
of one stage and computes what depends on them, piece by piece in log order; the last one yields the results. The
engines decide where aggregates are answered: `BatchEngine` in this process, `Partitioned` in those of a cluster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from shroff.arrays import Ints
from shroff.events.definitions import Events
from shroff.features.batch.columns import Chunk, Keeper, Piece
from shroff.features.computed import Computed
from shroff.features.frames import Frame, Frames, times_of
from shroff.features.online.engine import SWEEP_A_BATCH, SWEEP_A_ROW, compute
from shroff.features.online.group_state import GroupState
from shroff.features.plan import make_plan
from shroff.language.row import Reference
from shroff.runtime.values import replace

PIECE_ROWS = 1 << 18  # rows whose results are in memory at a time
One = TypeVar("One")


class Waiting(Protocol[One]):
    """A queue for a later round, first in first out, such as `deque`."""

    def append(self, item: One, /) -> None:
        """Add an item at the end."""

    def popleft(self) -> One:
        """Remove and return the first item."""

    def __getitem__(self, at: Any, /) -> One:
        """Return the item at an index; only 0, the first, is used."""

    def __len__(self) -> int:
        """Return the number of items."""


class FedGroup(Protocol):
    """A group of aggregates that gets all events first and then answers them in order."""

    group: GroupState

    def add(self, times: Ints, frames: Frames, size: int) -> None:
        """Add the group's part of the next batch."""

    def deliver(self, piece: Piece) -> None:
        """Put the answers for the next rows of the history into their frames."""

    def close(self) -> None:
        """Release the answers."""


Fed = TypeVar("Fed", bound=FedGroup)


class Rounds(ABC, Generic[Fed]):
    """A whole history: first `add` all of it, then read the `answers`, each once; `close` at the end.

    Conditions with `since flag` depend on earlier hits, row by row, and are left out; the online engine and the
    definition compute them.
    """

    def __init__(
        self, events: Events, computed: Sequence[Computed], reference: Reference, also: Collection[str]
    ) -> None:
        self._plan = make_plan([feature for feature in computed if not feature.looks_since_flag])
        self._keeper = Keeper(self._plan, also, events, reference)
        self._without: dict[int, frozenset[int]] = {}  # by version
        self._chunks: Waiting[Chunk] = self.waiting()
        self._feeds: list[Fed] = []
        self._here: list[GroupState] = []  # groups answered while events are added
        self._watermark_ms: int | None = None

    def add(self, frames: Frames, size: int) -> None:
        """Add the next events in log order, by type; `size` includes those of types left out."""
        self._chunks.append(self._take(0, frames, size, times_of(frames, size)))

    def refer(self, reference: Reference, without: Collection[Computed] = ()) -> None:
        """Use these lists and tables from here on, in a new piece; aggregates keep reading the first ones.

        So one pass can compute several versions of a project that differ in what rules read of the deciding event, and
        in models: `without` are the scores not to compute for the following events.
        """
        self._keeper.versions.append(reference)
        self._without[len(self._keeper.versions) - 1] = frozenset(map(id, without))

    def answers(self, rows: int = PIECE_ROWS) -> Iterator[dict[str, Frame]]:
        """Yield all events of the computed types in log order: pieces by type, with their columns.

        A piece has at most `rows` rows, or those of one added batch.
        """
        for stage in range(self._plan.stages):
            self._watermark_ms = None  # the next round begins with the first event again
            self._end_stage(stage)
            if stage + 1 < self._plan.stages:
                given = self._chunks
                self._chunks = self.waiting()
                for piece in self._pieces(given, rows):
                    frames = self._answered(stage, piece)
                    kept = self._take(stage + 1, frames, piece.size, piece.times)
                    self._chunks.append(replace(kept, version=piece.version))
                self._close_stage(stage)
        for piece in self._pieces(self._chunks, rows):
            yield self._answered(self._plan.stages - 1, piece)
        self._close_stage(self._plan.stages - 1)

    def waiting(self) -> Waiting[Any]:
        """Return a new queue for items of a later round."""
        return deque()

    @abstractmethod
    def close(self) -> None:
        """Remove spilled files."""

    def _of_stage(self, stage: int) -> list[Fed]:
        return [feed for feed in self._feeds if feed.group.key.stage == stage]

    def _take(self, stage: int, frames: Frames, size: int, times: Ints) -> Chunk:
        """Give the groups of a stage their input, and store the columns for later stages."""
        for feed in self._of_stage(stage):
            feed.add(times, frames, size)
        self._run_here(stage, frames, size, times)
        return self._keeper.keep(stage, frames, size, times)

    @abstractmethod
    def _end_stage(self, stage: int) -> None:
        """End of input: prepare the groups of a stage to answer."""

    def _close_stage(self, stage: int) -> None:
        for feed in self._of_stage(stage):
            feed.close()

    def _run_here(self, stage: int, frames: Frames, size: int, times: Ints) -> None:
        """Answer the groups of a stage that are answered here, and release events that later ones cannot reach."""
        groups = [group for group in self._here if group.key.stage == stage]
        for group in groups:
            group.run(times, frames, self._watermark_ms)
        newest = [int(frame.times.max()) for name, frame in frames.items() if name != "label" and len(frame)]
        if newest:  # labels do not move the watermark
            self._watermark_ms = max([*newest, *([] if self._watermark_ms is None else [self._watermark_ms])])
            for group in groups:
                group.trim(self._watermark_ms, SWEEP_A_ROW * size + SWEEP_A_BATCH)

    def _answered(self, stage: int, piece: Piece) -> dict[str, Frame]:
        for feed in self._of_stage(stage):
            feed.deliver(piece)
        without = self._without.get(piece.version, ())
        for at, wanted in self._plan.computed:
            if at == stage and id(wanted) not in without:
                compute(wanted, piece.frames)
        return piece.frames

    def _pieces(self, chunks: Waiting[Chunk], rows: int) -> Iterator[Piece]:
        """Concatenate pieces; each is released after it is read."""
        while len(chunks):
            taken = [chunks.popleft()]
            while (
                len(chunks)
                and chunks[0].version == taken[0].version
                and sum(chunk.size for chunk in taken) + chunks[0].size <= rows
            ):
                taken.append(chunks.popleft())
            yield self._keeper.piece(taken)
