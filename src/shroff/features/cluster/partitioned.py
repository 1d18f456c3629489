"""The batch engine on partitions by entity, which the processes of a cluster answer.

One process gives: it reads events in log order, evaluates expressions over them, and writes
the rows of each group of aggregates by partition. Each partition is answered alone, by the
kernels of the other engines. The answers are joined by the places of their rows, and the
one process computes what stands on them. No process holds more than a piece of the history
or one partition of one group.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

import shroff
from shroff.arrays import Bytes, Ints
from shroff.errors import StateError, StorageError, UsageError
from shroff.events.definitions import Events
from shroff.features.batch.backfill import ROWS_MAX, Backfill
from shroff.features.batch.columns import Piece
from shroff.features.batch.rounds import Rounds, Waiting
from shroff.features.cluster.exchange import (
    JoinedAnswers,
    PartitionAnswers,
    Rows,
    RowsWriter,
    fed_rows,
    joined_rows,
    read_rows,
    write_answers,
)
from shroff.features.cluster.spilled import Spilled
from shroff.features.computed import Computed
from shroff.features.frames import Frames
from shroff.features.online.engine import SWEEP_A_BATCH, SWEEP_A_ROW
from shroff.features.online.group_keys import SharedCodes
from shroff.features.online.group_state import GroupState
from shroff.features.online.window_state import HistoryPlan, WindowState
from shroff.language.row import Reference
from shroff.runtime.values import FrozenStruct

PARTITIONS = 16
ROWS_TOGETHER = 1 << 17  # of a partition, that are answered and written at a time
# What mends it where a process of a cluster ends for want of memory.
TOO_SMALL = "usually for lack of memory; increase --partitions, so that each is smaller"
One = TypeVar("One")
Two = TypeVar("Two")


class Backend(Protocol):
    """Worker processes, on this machine or elsewhere.

    Promises: each item is given to the function at least once, in another process than the one that asks, and each
    result is given once, in any order. An error of a call is raised where the results are taken, with its type; nothing
    is ever computed in the asking process instead.
    """

    def run(self, function: Callable[[One], Two], items: Sequence[One]) -> Iterator[Two]:
        """The results of a function of a module at each item."""

    def close(self) -> None:
        """Let go of the processes that were started."""


class Cluster(FrozenStruct):
    """A backend, and into how many partitions an entity's keys go: each must fit into a process of the backend."""

    backend: Backend
    partitions: int = PARTITIONS


class Work(FrozenStruct):
    """How a group is computed."""

    plan: HistoryPlan
    lateness_ms: int


class GroupPartition(FrozenStruct):
    """One partition of an entity's groups, computed from their files in the folder."""

    folder: str
    groups: tuple[tuple[str, Work], ...]
    number: int
    partitions: int
    version: str


class AnsweredPartition(FrozenStruct):
    """A partition that is answered: at how many rows, and by which process."""

    rows: int
    host: str
    process: int


class Partitioned(Rounds["_Exchanged"]):
    """The batch engine over a history that memory does not hold, answered by a cluster.

    Takes what `Batch` takes, and gives the same. Order and lateness are those of the whole
    history: it comes through one process, and what is parted is in that order. The
    watermark of a partition is at most that of the whole, so that no partition lets go of
    an event which the whole would still look at; nothing else hangs on it.

    Args:
        spill: The folder for all files, which every process of the cluster must see.

    Memory here: the different keys and texts, a piece of the results, and the windows of aggregates with `via` and of
    those that no kernel can take, which are answered here; in each process of the cluster what `Backfill` takes for a
    partition of the largest group.
    """

    def __init__(
        self,
        events: Events,
        computed: Sequence[Computed],
        reference: Reference,
        lateness_ms: int,
        *,
        cluster: Cluster,
        also: Collection[str] = (),
        spill: Path | None = None,
    ) -> None:
        assert cluster.partitions >= 1
        self._cluster = cluster
        self._folder = tempfile.TemporaryDirectory(prefix="shroff-exchange-", dir=spill)
        self._queues = ExitStack()
        super().__init__(events, computed, reference, also)
        codes = SharedCodes()
        for number, group in enumerate(self._plan.groups):
            fed = GroupState(group, lateness_ms, codes, events, reference, is_fed_only=True)
            if fed.kernel is None or group.key.via is not None:  # the latter looks past the key, so past a partition
                self._here.append(GroupState(group, int(lateness_ms), codes, events, reference))
            else:
                path = Path(self._folder.name) / f"group-{number}"
                self._feeds.append(_Exchanged(fed, Work(fed.kernel.plan, lateness_ms), path, cluster.partitions))
        self.done: list[AnsweredPartition] = []

    def waiting(self) -> Waiting[Any]:
        queue: Spilled[Any] = Spilled(Path(self._folder.name))
        self._queues.callback(queue.close)
        return queue

    def close(self) -> None:
        self._queues.close()
        for feed in self._feeds:
            feed.close()
        self._folder.cleanup()

    def _end_stage(self, stage: int) -> None:
        feeds = self._of_stage(stage)
        for feed in feeds:
            feed.end()
        given = sorted((feed for feed in feeds if feed.has_rows), key=_entity)
        parts = [
            GroupPartition(
                self._folder.name,
                tuple((feed.path.name, feed.work) for feed in mine),
                number,
                self._cluster.partitions,
                _VERSION,
            )
            for mine in (list(feeds) for _, feeds in groupby(given, key=_entity))
            for number in range(self._cluster.partitions)
        ]
        done = list(self._cluster.backend.run(answer_part, parts)) if parts else []
        if len(done) != len(parts):
            raise StateError(f"the cluster answered {len(done)} of {len(parts)} partitions")
        self.done += done
        for feed in feeds:
            feed.open()


class _Exchanged:
    """A group whose rows go to the cluster, and whose answers come back."""

    def __init__(self, group: GroupState, work: Work, path: Path, partitions: int) -> None:
        self.group = group
        self.work = work
        self.path = path
        self._partitions = partitions
        assert group.kernel is not None
        width = len(group.kernel.series) + len(group.kernel.operands)
        self._writer = RowsWriter(_rows_of(path), partitions, width)
        self._given = self._taken = 0
        self._joined: JoinedAnswers | None = None

    @property
    def has_rows(self) -> bool:
        return _rows_of(self.path).exists()

    def add(self, times: Ints, frames: Frames, size: int) -> None:
        """Write the group's part of a batch."""
        self._writer.add(fed_rows(self._given, times, self.group.feed(frames, size)))
        self._given += size

    def end(self) -> None:
        """End of input."""
        self._writer.close()

    def open(self) -> None:
        """All answers are available."""
        parts = range(self._partitions) if self.has_rows else ()
        self._joined = JoinedAnswers([_answers_of(self.path, part) for part in parts])

    def deliver(self, piece: Piece) -> None:
        """Put the answers at the next rows of the history into their frames; missing where the group has no row."""
        assert self._joined is not None
        begin = self._taken
        end = self._taken + piece.size
        self._taken = end
        width = len(self.work.plan.all_queries)
        out = np.zeros((width, piece.size), np.int64)
        valid = np.zeros((width, piece.size), np.uint8)
        for block in self._joined.take(begin, end):
            out[:, block.rows - begin], valid[:, block.rows - begin] = block.out, block.valid
        self.group.deliver(out, valid, piece.frames)

    def close(self) -> None:
        """Remove the files."""
        if self._joined is not None:
            self._joined.close()
        self._writer.close()
        for path in self.path.parent.glob(f"{self.path.name}.*"):
            path.unlink(missing_ok=True)


def _entity(feed: _Exchanged) -> str:
    return feed.group.key.entity


def _rows_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.rows")


def _answers_of(path: Path, part: int) -> Path:
    return path.with_name(f"{path.name}.answers-{part}")


# ---- in a process of the cluster

_VERSION = shroff.__version__


def answer_part(part: GroupPartition) -> AnsweredPartition:
    """Answer one partition of the groups of an entity, group by group. Called in a process of a cluster.

    Raises: StateError where this process has another version of shroff or does not see the folder; StorageError where
        it may not read or write there.
    """
    here = socket.gethostname()
    if part.version != _VERSION:
        raise StateError(
            f"{here} has shroff {_VERSION} and was asked by {part.version}: install the same version on every machine"
        )
    if not Path(part.folder).is_dir():
        raise StateError(f"{here} does not see {part.folder}: write --out to a folder that every machine sees")
    try:
        rows = sum(_answer_group(Path(part.folder) / name, work, part) for name, work in part.groups)
    except OSError as error:
        raise StorageError(
            f"{here} cannot read and write in {part.folder}: {error.strerror or error}; look for room and for the right"
        ) from None
    return AnsweredPartition(rows, here, os.getpid())


def _answer_group(path: Path, work: Work, part: GroupPartition) -> int:
    given = read_rows(_rows_of(path), part.number, part.partitions)
    return write_answers(_answers_of(path, part.number), len(work.plan.all_queries), _answered(work, given))


def _answered(work: Work, given: Iterable[Rows]) -> Iterator[PartitionAnswers]:
    if work.plan.looks:
        history = WindowState(work.plan, lateness_ms=work.lateness_ms)
        for rows, watermark_ms in _with_watermarks(given):
            columns = rows.times, rows.inserts, rows.asks, rows.values, rows.kept
            yield _asked(rows, *history.run(*columns, watermark_ms))
            if watermark_ms is not None:
                history.sweep(SWEEP_A_ROW * len(rows) + SWEEP_A_BATCH, watermark_ms)
        return
    parts = list(given)
    if not parts:
        return
    rows = joined_rows(parts)
    del parts
    if len(rows) >= ROWS_MAX:
        raise UsageError(f"a partition has {len(rows):,} rows, and less than {ROWS_MAX:,} can be answered: take more.")
    columns = rows.times, rows.inserts, rows.asks, rows.values, rows.kept
    backfill = Backfill(work.plan, *columns, lateness_ms=work.lateness_ms, threads=1)
    for first in range(0, len(rows), ROWS_TOGETHER):
        some = rows.take(slice(first, first + ROWS_TOGETHER))
        yield _asked(some, *backfill.answer(len(some)))


def _asked(rows: Rows, out: Ints, valid: Bytes) -> PartitionAnswers:
    asking = rows.asks >= 0
    return PartitionAnswers(rows.rows[asking], out[:, asking], valid[:, asking])


def _with_watermarks(given: Iterable[Rows]) -> Iterator[tuple[Rows, int | None]]:
    watermark_ms: int | None = None
    for rows in given:
        yield rows, watermark_ms
        asking = rows.times[rows.asks >= 0]
        if len(asking):
            newest = int(asking.max())
            watermark_ms = newest if watermark_ms is None else max(newest, watermark_ms)
