"""Files of a cluster's run: decisions by segments of the log, and the plan that the run was started with.

A run that was stopped goes on from its folder. So the folder says what the states in it were
made of, and a run that would be told something else is refused before it begins.

Live, a sequencer gave each event its place. Processes of the cluster write what came of a stretch of places into a
file; this process appends it to the log in order and removes the file. The end of the log says what is still to be
taken, so each place is there once, whichever process is killed at whatever moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.config import make_folder
from shroff.engine.step import Effects, SequencedEvent
from shroff.errors import StateError, UsageError
from shroff.events.event import Event
from shroff.features.cluster.partitioned import Cluster
from shroff.lake.cluster_replay import ReplayPlan, ReplayProcess, replay_plan
from shroff.lake.reader import LakeReader, NoLakeError
from shroff.log.event_notes import DayCounts
from shroff.log.key_index import KeyHasher
from shroff.log.writer import index_all
from shroff.operations.declaration import OperationAnswer
from shroff.project.definitions import Definitions
from shroff.runtime.atomic_files import whole_file
from shroff.runtime.texts import many
from shroff.runtime.values import replace
from shroff.streams.lake import Objects, RetriedObjects
from shroff.streams.log import Batch, DecisionRow, FlagRow, HitRow, Log, OutboxRow, Record, UniqueValue

PLACES = 65_536  # of a micro-batch: each writes the state of every partition that it touches
PLAN = "run.json"
CHECKPOINT = "checkpoint"
DECISIONS = "decisions"
LOOK_S = 0.5  # how often it is looked whether another version came
PARTS = "parts"


class DecidedPart(Protocol):
    """A stretch of places that is decided, as `stream` tells of it."""

    first: int
    last: int
    decisions: int
    differing: int
    example: str


def recorded() -> bool:
    """A recorded log ends by itself."""
    return True


@runtime_checkable
class Streaming(Protocol):
    """A backend that folds a recorded log by state of its own.

    Promises: each place is decided, in order for each partition, from states that hold all places before it and no
    other, however often the run is stopped and begun again; what is written of a place is written at least once. A
    stretch of places that was begun keeps its ends, so that where it is written again, it is the same. A process that
    fails is a StateError with its words.
    """

    def stream(
        self,
        replay: ReplayPlan,
        checkpoint: Path,
        places: int,
        write: Callable[[int, int, Any], None],
        done: Callable[[DecidedPart], None],
        goes_on: Callable[[], bool] = recorded,
    ) -> None:
        """Decide what is not decided yet; killed processes lose and double nothing.

        By a plan that is live: until `goes_on` is false, which is asked several times a second, on this thread.
        """


class ReplayRun(OperationAnswer):
    """Result of a run: the sequence numbers (after, upto], and how they compare with the recorded log."""

    after: int = 0
    upto: int = 0
    decisions: int = 0
    differing: int = 0
    first: str = ""
    out: str = ""
    STATUS: ClassVar = "differing"

    def text(self) -> str:
        if self.after == self.upto:
            return f"{self.out}: already decided up to sequence number {self.upto:,}."
        same = "all equal to the log" if not self.differing else f"{self.differing:,} differ, first {self.first}"
        words = f"sequence numbers {self.after + 1:,} to {self.upto:,}, {many(self.decisions, 'decision')}"
        return f"{self.out}: {words}, {same}."


class _StatesOrigin(msgspec.Struct):
    """Origin of the states in a folder: see `ReplayPlan`. `log` is the hash of the log's first record."""

    log: str
    partitions: int
    lateness_ms: int
    starts: tuple[int, ...]
    folds: tuple[int, ...]


def _name(reader: LakeReader, out: Path) -> str:
    return sha256(repr((reader.objects.address, reader.state.number, str(out))).encode()).hexdigest()[:16]


def decide_on_cluster(
    objects: RetriedObjects,
    opened: Callable[[], Objects],
    models: Path,
    cluster: Cluster,
    out: Path,
    *,
    places: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReplayRun:
    """Decide the recorded log of a lake by a cluster, from where the folder `out` has come to.

    Raises: UsageError where backend, project or folder is not fit for it; StateError where the lake or a process fails.
    """
    backend = streaming(cluster)
    most = PLACES if places is None else places
    if most < 1:
        raise UsageError(f"a micro-batch has at least 1 record, not {most}.")
    reader = LakeReader(objects)
    replay = replay_plan(_name(reader, out), opened, reader, models, cluster.partitions)
    make_folder(out / DECISIONS)
    begin(out / PLAN, reader, replay)
    run = ReplayRun(replay.upto, replay.upto)

    def done(part: DecidedPart) -> None:
        run.after = min(run.after, part.first)
        run.decisions += part.decisions
        run.differing += part.differing
        run.first = run.first or part.example
        if progress is not None:
            progress(part.last - part.first)

    backend.stream(replay, out / CHECKPOINT, most, partial(write_decisions, out / DECISIONS), done)
    return run


def streaming(cluster: Cluster) -> Streaming:
    """The backend of a cluster. Raises: UsageError where it cannot decide a log."""
    if not isinstance(cluster.backend, Streaming):
        raise UsageError("this backend keeps no state between events: decide a log with --backend spark.")
    return cluster.backend


def begin(path: Path, reader: LakeReader, replay: ReplayPlan) -> None:
    """Record the plan of a replay, or check it against the one that the states in this folder were made of."""
    plan = _StatesOrigin(reader.state.log, replay.partitions, replay.lateness_ms, replay.starts, replay.folds)
    if path.exists():
        try:
            before = from_json(path.read_bytes(), type=_StatesOrigin)
        except ValueError as error:
            raise StateError(f"{path} cannot be read: {error}. Begin again with another --out.") from None
        _hold(before, plan, path.parent)
    with whole_file(path, path.with_suffix(".new"), is_durable=False) as file:
        file.write(to_json(plan))


def _hold(before: _StatesOrigin, plan: _StatesOrigin, out: Path) -> None:
    if before.log != plan.log:
        raise UsageError(f"{out} has the decisions of another log: use another --out.")
    if before.partitions != plan.partitions:
        raise UsageError(
            f"{out} was started with --partitions {before.partitions}, and keys cannot move: use that number, or "
            f"another --out."
        )
    count = len(before.folds)
    is_kept = (before.starts, before.folds) == (plan.starts[:count], plan.folds[:count])
    if not is_kept or set(plan.folds[count:]) - {before.folds[-1]} or before.lateness_ms != plan.lateness_ms:
        raise UsageError(
            f"since {out} was started, a version with other features or lateness became active, which needs the log "
            f"from its start: use another --out."
        )


def write_decisions(folder: Path, after: int, upto: int, effects: Effects) -> None:
    """Write the decisions of the places (after, upto], whole under their name or not there; again is harmless."""
    import os
    import socket

    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ("seq", "event", "id", "outcome", "receipt", "document")
    kinds = (pa.int64(), pa.string(), pa.string(), pa.string(), pa.binary(), pa.string())
    table = pa.table(
        [
            pa.array([getattr(decision, name) for decision in effects.decisions], kind)
            for name, kind in zip(columns, kinds, strict=True)
        ],
        schema=pa.schema(list(zip(columns, kinds, strict=True))),
    )
    path = folder / f"{after + 1:012d}-{upto:012d}.parquet"
    unfinished = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    with whole_file(path, unfinished, is_durable=False):
        pq.write_table(table, unfinished, compression="zstd")


# ---- live: a sequencer's lake in, and into the project's log what a worker would have written


def undecided(definitions: Definitions) -> Definitions:
    """The same version, for a sequencer, which gives events their order and decides none of them."""
    return replace(definitions, features={}, rules=(), experiments=(), scoring={})


class _Stretch(msgspec.Struct):
    """Rows of a stretch of places."""

    decisions: list[DecisionRow]
    hits: list[HitRow]
    flags: list[FlagRow]
    outbox: list[OutboxRow]


def write_part(folder: Path, after: int, upto: int, effects: Effects) -> None:
    """Write what came of the places (after, upto], whole under their name or not there; again is harmless."""
    part = _Stretch(effects.decisions, effects.hits, effects.flags, effects.outbox)
    with whole_file(folder / f"{after + 1:019}-{upto:019}") as file:
        file.write(msgspec.msgpack.encode(part))


class DecidedLog:
    """Appends decided stretches to the project's log, each place once and in order."""

    def __init__(self, log: Log, work: ReplayProcess, folder: Path, now_ms: Callable[[], int]) -> None:
        self._log, self._work, self._folder, self._now_ms = log, work, folder, now_ms
        self._counts = DayCounts(log, log.pruned_to()).read_on(log)
        self._hasher: tuple[Definitions, KeyHasher] | None = None
        self._done, self._looked_s = 0, 0.0

    def done(self, part: DecidedPart) -> None:
        """Note that a stretch has its file; from any thread."""
        self._done = max(self._done, part.last)

    def has_more(self, goes_on: Callable[[], bool]) -> bool:
        """Append what is there; whether the caller goes on and this version of the project decides more."""
        self.take()
        if (now_s := time.monotonic()) - self._looked_s > LOOK_S:
            self._looked_s = now_s
            if self._log.last_seq() >= self._work.end() and self._work.is_over:
                return False
        return goes_on()

    def take(self) -> None:
        """Append the stretches that follow the end of the log.

        Raises: StateError where the cluster has decided more than the log has, and files are missing.
        """
        done = self._done
        for path in sorted(self._folder.glob("[0-9]*")):
            first, last = map(int, path.name.split("-"))
            if first > (end := self._log.last_seq()) + 1:
                break
            if last > end:
                self._append(end, last, msgspec.msgpack.decode(path.read_bytes(), type=_Stretch))
            path.unlink()
        if self._log.last_seq() < done:
            raise StateError(
                f"the log ends at sequence number {self._log.last_seq():,}, and the cluster has decided up to "
                f"{done:,}: remove {self._folder.parent}, and all is decided again from the sequencer's lake."
            )

    def _append(self, after: int, upto: int, part: _Stretch) -> None:
        for records in self._work.read(after, upto):
            for version, group in groupby(records, key=lambda record: max(self._work.version_at(record.seq), 0)):
                self._log.append(self._batch(list(group), version, part))

    def _batch(self, records: Sequence[Record], version: int, part: _Stretch) -> Batch:
        offsets, definitions = [], self._work.definitions(version)
        if self._hasher is None or self._hasher[0] is not definitions:
            offsets = index_all(self._log, definitions)
            self._hasher = definitions, KeyHasher(definitions)
        events = [(record, event) for record in records if (event := self._work.decode(version, record)) is not None]
        unique = self._work.records(version).unique
        places = range(records[0].seq, records[-1].seq + 1)
        return Batch(
            records=list(records),
            keys=self._hasher[1].of([SequencedEvent(record.seq, event, record.body) for record, event in events]),
            unique=[
                UniqueValue(event.type, name, value, record.seq)
                for record, event in events
                if unique and isinstance(event, Event)
                for name, value in unique.keys(event)
            ],
            decisions=[row for row in part.decisions if row.seq in places],
            hits=[row for row in part.hits if row.seq in places],
            flags=[row for row in part.flags if row.seq in places],
            outbox=[row for row in part.outbox if row.seq in places],
            offsets=[*offsets, *self._counts.take(records)],
            at_ms=self._now_ms(),
        )


def decide_live(
    opened: Callable[[], Objects],
    models: Path,
    cluster: Cluster,
    out: Path,
    log: Log,
    now_ms: Callable[[], int],
    goes_on: Callable[[], bool],
) -> None:
    """Decide a sequencer's lake into a log while it grows, as long as `goes_on`, which is asked on this thread.

    Raises: UsageError where backend, project or folder is not fit for it; StateError where the lake or a process fails.
    """
    backend, objects = streaming(cluster), RetriedObjects(opened())
    make_folder(out / PARTS)
    while goes_on():
        try:
            reader = LakeReader(objects)
        except NoLakeError:
            time.sleep(LOOK_S)
            continue
        replay = replay_plan(_name(reader, out), opened, reader, models, cluster.partitions, is_live=True)
        begin(out / PLAN, reader, replay)
        decided = DecidedLog(log, ReplayProcess(replay), out / PARTS, now_ms)
        write, has_more = partial(write_part, out / PARTS), partial(decided.has_more, goes_on)
        backend.stream(replay, out / CHECKPOINT, PLACES, write, decided.done, has_more)
