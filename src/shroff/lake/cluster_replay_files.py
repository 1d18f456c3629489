"""Decide a recorded log on a cluster, and keep decisions and states in a folder that all its processes see.

A batch is a range of sequence numbers. Its ends are recorded before it is computed, so a batch that was interrupted is
computed again for the same numbers, from the same states, into files of the same names and bytes. Processes of the
interrupted run that still write do no harm.

A batch takes three rounds. Each slice of the batch is read and split by partition; each partition takes its rows
and answers them; each slice is decided from the answers. Rows and answers are files that the next batch removes.
"""

from __future__ import annotations

import io
import secrets
import socket
from collections import defaultdict
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.msgpack import decode as from_msgpack
from msgspec.msgpack import encode as to_msgpack

from shroff.engine.step import Effects
from shroff.errors import StateError, StorageError, UsageError
from shroff.features.cluster.partition_state import EntityAnswer
from shroff.features.cluster.partitioned import Backend, Cluster
from shroff.lake.cluster_replay import PartitionRow, ReplayPlan, answers_of, decided, replay_plan, rows_of, work_of
from shroff.lake.reader import LakeReader
from shroff.operations.declaration import OperationAnswer
from shroff.runtime.atomic_files import UNFINISHED, unfinished_files, whole_file
from shroff.runtime.state_folder import lock_file, make_folder
from shroff.runtime.texts import many
from shroff.runtime.values import FrozenStruct
from shroff.streams.lake import Objects, RetriedObjects

PLACES = 65_536  # records of a batch; each writes the state of every partition
SLICE = 8_192  # sequence numbers that one process reads, and that one process decides
PLAN = "run.json"
DECISIONS = "decisions"
STATES = "states"
EXCHANGE = "exchange"


class Batch(FrozenStruct):
    """The sequence numbers (after, upto] of a plan, and the folder of its files."""

    replay: ReplayPlan
    out: Path
    after: int
    upto: int

    def slices(self) -> list[tuple[int, int]]:
        """Return the ranges (after, upto] that one process reads, and decides, at a time."""
        return [(start, min(start + SLICE, self.upto)) for start in range(self.after, self.upto, SLICE)]

    def partitions(self) -> list[tuple[int, int]]:
        """Return stage and number of each partition."""
        return list(product(range(len(self.replay.stages)), range(self.replay.partitions)))

    def exchange(self, kind: str, start: int, stage: int, partition: int) -> Path:
        """Return the file with rows or answers of a partition, for the slice that starts there."""
        return self.out / EXCHANGE / f"{kind}-{start}-{stage}-{partition}"

    def state(self, seq: int, stage: int, partition: int) -> Path:
        """Return the file with the state of a partition after a sequence number."""
        return self.out / STATES / f"{seq}-{stage}-{partition}"


class DecidedSlice(FrozenStruct):
    """Number of decisions in a slice, and its comparison with the lake."""

    decisions: int
    differing: int
    first: str


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
    """The plan by which the states in a folder were made (see `ReplayPlan`), and its progress.

    Args:
        log: Hash of the first record.
        done: The last sequence number that is decided.
        begun: End of the batch that was begun last.
    """

    log: str
    partitions: int
    lateness_ms: int
    starts: tuple[int, ...]
    folds: tuple[int, ...]
    done: int
    begun: int


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

    Raises: UsageError if project or folder is unsuitable; LogBusyError if another command decides into the folder;
        StateError or StorageError if the lake or a process fails.
    """
    batch_size = PLACES if places is None else places
    if batch_size < 1:
        raise UsageError(f"a batch has at least 1 record, not {batch_size}.")
    with lock_file(out / "run.lock", f"another command is deciding into {out}."):
        # The lake is read under the lock, so it is not older than one that another command has decided meanwhile.
        reader = LakeReader(objects)
        replay = replay_plan(secrets.token_hex(8), opened, reader, models, cluster.partitions)
        for name in (DECISIONS, STATES, EXCHANGE):
            make_folder(out / name)
        plan = begin(out / PLAN, reader, replay)
        _remove_used(out, plan.done)
        run = ReplayRun(plan.done, max(plan.done, replay.upto))
        while plan.done < replay.upto:
            if plan.begun == plan.done:
                plan.begun = min(plan.done + batch_size, replay.upto)
                _store(out / PLAN, plan)
            batch = Batch(replay, out, plan.done, plan.begun)
            for slice_result in _decide(batch, cluster.backend):
                run.decisions += slice_result.decisions
                run.differing += slice_result.differing
                run.first = run.first or slice_result.first
            plan.done = plan.begun
            _store(out / PLAN, plan)
            _remove_used(out, plan.done)
            if progress is not None:
                progress(batch.upto - batch.after)
    return run


def _decide(batch: Batch, backend: Backend) -> list[DecidedSlice]:
    slices = [(batch, *ends) for ends in batch.slices()]
    list(backend.run(split_rows, slices))
    list(backend.run(fold_partition, [(batch, *partition) for partition in batch.partitions()]))
    results = dict(backend.run(decide_slice, slices))
    return [results[start] for start in sorted(results)]


def _remove_used(out: Path, finished_batch: int) -> None:
    """Remove the files that no later batch reads, and those that killed processes left unfinished."""
    states = [path for path in (out / STATES).iterdir() if not path.name.startswith(f"{finished_batch}-")]
    for path in [*states, *(out / EXCHANGE).iterdir(), *unfinished_files(out / DECISIONS)]:
        path.unlink(missing_ok=True)


# ---- in a process of the cluster


def split_rows(work: tuple[Batch, int, int]) -> None:
    """Read a slice, and write the rows of each partition."""
    batch, after, upto = work
    rows: dict[tuple[int, int], list[PartitionRow]] = {partition: [] for partition in batch.partitions()}
    for stage, partition, row in rows_of(work_of(batch.replay), after, upto):
        rows[stage, partition].append(row)
    for (stage, partition), partition_rows in rows.items():
        _write(batch.exchange("rows", after, stage, partition), to_msgpack(partition_rows))


def fold_partition(work: tuple[Batch, int, int]) -> None:
    """Advance the state of a partition over a batch, and write its answers for each slice."""
    batch, stage, partition = work
    rows: list[PartitionRow] = []
    for start, _ in batch.slices():
        data = _read_file(batch.exchange("rows", start, stage, partition))
        rows += from_msgpack(data, type=list[PartitionRow])
    previous = _read_file(batch.state(batch.after, stage, partition)) if batch.after else None
    state, answers = answers_of(work_of(batch.replay), stage, previous, rows)
    _write(batch.state(batch.upto, stage, partition), state, is_durable=True)
    for start, end in batch.slices():
        in_slice = [(seq, answer) for seq, answer in answers if start < seq <= end]
        _write(batch.exchange("answers", start, stage, partition), to_msgpack(in_slice))


def decide_slice(work: tuple[Batch, int, int]) -> tuple[int, DecidedSlice]:
    """Decide a slice from all answers, and write its decisions."""
    batch, after, upto = work
    answers: dict[int, dict[int, EntityAnswer]] = defaultdict(dict)
    for stage, partition in batch.partitions():
        data = _read_file(batch.exchange("answers", after, stage, partition))
        answers[stage].update(from_msgpack(data, type=list[tuple[int, EntityAnswer]]))
    decisions = decided(work_of(batch.replay), after, upto, answers)
    write_decisions(batch.out / DECISIONS, after, upto, decisions.effects)
    return after, DecidedSlice(len(decisions.effects.decisions), decisions.differing, decisions.first)


def _write(path: Path, data: bytes, *, is_durable: bool = False) -> None:
    """Write a file, which another thread or process may write at the same time."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.{UNFINISHED}")
    try:
        with whole_file(path, unfinished, is_durable=is_durable) as file:
            file.write(data)
    except OSError as error:
        raise StorageError(f"{socket.gethostname()} cannot write {path}: {error.strerror or error}") from None


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"{socket.gethostname()} cannot read {path}: {error.strerror or error}; write --out to a folder that every "
            "machine sees"
        ) from None


# ---- the plan of a folder


def begin(path: Path, reader: LakeReader, replay: ReplayPlan) -> _StatesOrigin:
    """Store the plan of a replay, or check it against the plan of the states in this folder."""
    plan = _StatesOrigin(reader.state.log, replay.partitions, replay.lateness_ms, replay.starts, replay.folds, 0, 0)
    if path.exists():
        try:
            stored = from_json(path.read_bytes(), type=_StatesOrigin)
        except ValueError as error:
            raise StateError(f"{path} cannot be read: {error}. Begin again with another --out.") from None
        _hold(stored, plan, path.parent)
        plan.done = stored.done
        plan.begun = stored.begun
    elif any((path.parent / DECISIONS).glob("*.parquet")):
        raise UsageError(f"{path.parent} has decisions but no {path.name}: use another --out.")
    _store(path, plan)
    return plan


def _store(path: Path, plan: _StatesOrigin) -> None:
    with whole_file(path, path.with_suffix(".new")) as file:
        file.write(to_json(plan))


def _hold(previous: _StatesOrigin, plan: _StatesOrigin, out: Path) -> None:
    if previous.log != plan.log:
        raise UsageError(f"{out} has the decisions of another log: use another --out.")
    if previous.partitions != plan.partitions:
        raise UsageError(
            f"{out} was started with --partitions {previous.partitions}, and keys cannot move: use that number, or "
            f"another --out."
        )
    count = len(previous.folds)
    is_kept = (previous.starts, previous.folds) == (plan.starts[:count], plan.folds[:count])
    if not is_kept or set(plan.folds[count:]) - {previous.folds[-1]} or previous.lateness_ms != plan.lateness_ms:
        raise UsageError(
            f"since {out} was started, a version with other features or lateness became active, which needs the log "
            f"from its start: use another --out."
        )


def write_decisions(folder: Path, after: int, upto: int, effects: Effects) -> None:
    """Write the decisions of (after, upto] to a file, atomic and durable; repeating it is harmless."""
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
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    _write(folder / f"{after + 1:012d}-{upto:012d}.parquet", file.getvalue(), is_durable=True)
