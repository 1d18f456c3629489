"""Files of a cluster's run: decisions by segments of the log, and the plan that the run was started with.

A stopped run continues from its folder. So the folder stores what its states were made of, and a run with another plan
is rejected before it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.config import make_folder
from shroff.engine.step import Effects
from shroff.errors import StateError, UsageError
from shroff.features.cluster.partitioned import Cluster
from shroff.lake.cluster_replay import ReplayPlan, replay_plan
from shroff.lake.reader import LakeReader
from shroff.operations.declaration import OperationAnswer
from shroff.runtime.atomic_files import whole_file
from shroff.runtime.texts import many
from shroff.streams.lake import Objects, RetriedObjects

PLACES = 65_536  # records of a micro-batch; each writes the state of every partition that it touches
PLAN = "run.json"
CHECKPOINT = "checkpoint"
DECISIONS = "decisions"


class DecidedPart(Protocol):
    """A range of sequence numbers that was decided, as `stream` reports it."""

    first: int
    last: int
    decisions: int
    differing: int
    example: str


@runtime_checkable
class Streaming(Protocol):
    """A backend that folds a recorded log with its own state.

    Promises: each event is decided, in order for each partition, from states that include exactly the events before it,
    however often the run is stopped and restarted; results are written at least once. A range that was started keeps
    its ends, so writing it again has the same result. A failed process is a StateError with its message.
    """

    def stream(
        self,
        replay: ReplayPlan,
        checkpoint: Path,
        places: int,
        write: Callable[[int, int, Any], None],
        done: Callable[[DecidedPart], None],
    ) -> None:
        """Decide everything that is not decided yet; killed processes lose and duplicate nothing."""


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
        range_text = f"sequence numbers {self.after + 1:,} to {self.upto:,}, {many(self.decisions, 'decision')}"
        return f"{self.out}: {range_text}, {same}."


class _StatesOrigin(msgspec.Struct):
    """The plan by which the states in a folder were made (see `ReplayPlan`); `log` is the hash of the first record."""

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
    """Decide the recorded log of a lake on a cluster, continuing in the folder `out`.

    Raises: UsageError if backend, project or folder is unsuitable; StateError if the lake or a process fails.
    """
    backend = streaming(cluster)
    batch_size = PLACES if places is None else places
    if batch_size < 1:
        raise UsageError(f"a micro-batch has at least 1 record, not {batch_size}.")
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

    backend.stream(replay, out / CHECKPOINT, batch_size, partial(write_decisions, out / DECISIONS), done)
    return run


def streaming(cluster: Cluster) -> Streaming:
    """Return the backend of a cluster. Raises: UsageError if it cannot decide a log."""
    if not isinstance(cluster.backend, Streaming):
        raise UsageError("this backend keeps no state between events: decide a log with --backend spark.")
    return cluster.backend


def begin(path: Path, reader: LakeReader, replay: ReplayPlan) -> None:
    """Store the plan of a replay, or check it against the plan of the states in this folder."""
    plan = _StatesOrigin(reader.state.log, replay.partitions, replay.lateness_ms, replay.starts, replay.folds)
    if path.exists():
        try:
            stored = from_json(path.read_bytes(), type=_StatesOrigin)
        except ValueError as error:
            raise StateError(f"{path} cannot be read: {error}. Begin again with another --out.") from None
        _hold(stored, plan, path.parent)
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
    """Write the decisions of (after, upto] to a file, atomically; repeating it is harmless."""
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
