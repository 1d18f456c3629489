"""The batch engine on a cluster: for a history that does not fit into memory.

`log.columns.tables` and `replay.clusters` use it for exports and training sets. The coordinating process reads events
in log order, evaluates expressions over them, and writes the rows of each group of aggregates to files, by partition
of the entity's keys. Each process of the cluster answers whole partitions with the kernels of the other engines. The
coordinator merges the answers by row, and computes the features that read them. No process has more in memory than a
piece of the history, or one partition of one group.
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
ROWS_TOGETHER = 1 << 17  # rows of a partition that are answered and written at a time
# The end of a message about a process of a cluster that was killed.
TOO_SMALL = "usually for lack of memory; increase --partitions, so that each is smaller"
One = TypeVar("One")
Two = TypeVar("Two")


class Backend(Protocol):
    """Worker processes, on this machine or elsewhere.

    Promises: `run` calls the function at least once for each item, always in another process, and yields each result
    once, in any order. An error of a call is raised by the iterator, with its type.
    """

    def run(self, function: Callable[[One], Two], items: Sequence[One]) -> Iterator[Two]:
        """Yield the result of a module-level function for each item."""

    def close(self) -> None:
        """Release the processes that this backend started."""


class Cluster(FrozenStruct):
    """A backend, and the number of partitions of an entity's keys; a partition must fit into memory of one process."""

    backend: Backend
    partitions: int = PARTITIONS


class Work(FrozenStruct):
    """The plan of a group's history, as sent to a process of the cluster."""

    plan: HistoryPlan
    lateness_ms: int


class GroupPartition(FrozenStruct):
    """A partition of all groups of an entity: the work of one call on the cluster.

    `groups` has for each group the name of its files in `folder`, and its plan.
    """

    folder: str
    groups: tuple[tuple[str, Work], ...]
    number: int
    partitions: int
    version: str


class AnsweredPartition(FrozenStruct):
    """The number of rows that were answered, and the host name and process id that answered them."""

    rows: int
    host: str
    process: int


class Partitioned(Rounds["_Exchanged"]):
    """The batch engine with a cluster that answers the aggregates. Results equal those of `Batch`.

    One process writes all rows, so each partition has its rows in log order. A partition's watermark is never above
    that of the whole history, so a partition releases no event that a later row still needs.

    Args:
        spill: The folder for all files; every process of the cluster must be able to read and write it.

    Memory of the coordinator: the distinct keys and texts, a piece of the results, and the windows of aggregates with
    `via` or without a kernel, which are answered here. Memory of a process of the cluster: that of `Backfill` for a
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
            if fed.kernel is None or group.key.via is not None:  # with `via`, a key needs events of other partitions
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
        with_rows = sorted((feed for feed in feeds if feed.has_rows), key=_entity)
        parts: list[GroupPartition] = []
        for _, feeds_of_entity in groupby(with_rows, key=_entity):
            groups = tuple((feed.path.name, feed.work) for feed in feeds_of_entity)
            parts += [
                GroupPartition(self._folder.name, groups, number, self._cluster.partitions, _VERSION)
                for number in range(self._cluster.partitions)
            ]
        answered = list(self._cluster.backend.run(answer_part, parts)) if parts else []
        if len(answered) != len(parts):
            raise StateError(f"the cluster answered {len(answered)} of {len(parts)} partitions")
        self.done += answered
        for feed in feeds:
            feed.open()


class _Exchanged:
    """A group of aggregates whose rows are sent to the cluster, and whose answers are read from its files.

    Call `add` for all rows, then `end`, then `open` once the cluster has answered, then `deliver`.
    """

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
        self._writer.add(fed_rows(self._given, times, self.group.feed(frames, size)))
        self._given += size

    def end(self) -> None:
        """Write the remaining rows; none come after."""
        self._writer.close()

    def open(self) -> None:
        """Open the files of answers. Raises: StateError if a file is missing, when `deliver` reads it."""
        parts = range(self._partitions) if self.has_rows else ()
        self._joined = JoinedAnswers([_answers_of(self.path, part) for part in parts])

    def deliver(self, piece: Piece) -> None:
        """Put the answers for the next rows of the history into their frames; missing at rows that the group lacks."""
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
    """Answer one partition of an entity's groups, one group at a time. Runs in a process of a cluster.

    Raises: StateError if this process has another version of shroff or the folder does not exist here; StorageError if
        a file cannot be read or written; UsageError if the partition has too many rows.
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
    rows = read_rows(_rows_of(path), part.number, part.partitions)
    return write_answers(_answers_of(path, part.number), len(work.plan.all_queries), _answered(work, rows))


def _answered(work: Work, parts: Iterable[Rows]) -> Iterator[PartitionAnswers]:
    if work.plan.looks:  # `Backfill` has no looks, so a history answers them row by row
        history = WindowState(work.plan, lateness_ms=work.lateness_ms)
        for rows, watermark_ms in _with_watermarks(parts):
            columns = rows.times, rows.inserts, rows.asks, rows.values, rows.kept
            yield _asked(rows, *history.run(*columns, watermark_ms))
            if watermark_ms is not None:
                history.sweep(SWEEP_A_ROW * len(rows) + SWEEP_A_BATCH, watermark_ms)
        return
    all_parts = list(parts)
    if not all_parts:
        return
    rows = joined_rows(all_parts)
    del all_parts  # frees memory before the back-fill
    if len(rows) >= ROWS_MAX:
        raise UsageError(f"a partition has {len(rows):,} rows, and less than {ROWS_MAX:,} can be answered: take more.")
    columns = rows.times, rows.inserts, rows.asks, rows.values, rows.kept
    backfill = Backfill(work.plan, *columns, lateness_ms=work.lateness_ms, threads=1)
    for first in range(0, len(rows), ROWS_TOGETHER):
        block = rows.take(slice(first, first + ROWS_TOGETHER))
        yield _asked(block, *backfill.answer(len(block)))


def _asked(rows: Rows, out: Ints, valid: Bytes) -> PartitionAnswers:
    asking = rows.asks >= 0
    return PartitionAnswers(rows.rows[asking], out[:, asking], valid[:, asking])


def _with_watermarks(parts: Iterable[Rows]) -> Iterator[tuple[Rows, int | None]]:
    """Yield each part with the greatest time of asking rows before it."""
    watermark_ms: int | None = None
    for rows in parts:
        yield rows, watermark_ms
        asking = rows.times[rows.asks >= 0]
        if len(asking):
            newest = int(asking.max())
            watermark_ms = newest if watermark_ms is None else max(newest, watermark_ms)
