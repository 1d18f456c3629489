"""Cluster replay: decide the recorded log of a lake in many processes. This module has the work of one process.

Three kinds of work follow each other over a range of sequence numbers: `rows_of` reads the range, and finds the
partitions of each stage that need an event; `answers_of` advances the state of a partition, and returns its answers;
`decided` combines the answers of all stages, and runs the engine. `cluster_replay_files` sends them to a backend.

A stage is an entity's state as one version of the project folds it; versions with equal state share stages. A stage
folds all events up to the last one at which it is needed, as if its version had been active from the start.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from threading import local
from typing import Final

from msgspec import Struct, field

from shroff.config import ProjectPaths
from shroff.engine.step import Effects, Engine, SequencedEvent
from shroff.errors import StateError, UsageError
from shroff.events.labels import LogEvent
from shroff.features.cluster.partition_state import (
    Answered,
    EntityAnswer,
    Partition,
    PartitionPlan,
    check_keyed,
    entities_of,
)
from shroff.features.frames import frames_of
from shroff.features.online.engine import Online
from shroff.features.plan import make_plan
from shroff.json_types import TextMapping
from shroff.lake.reader import LakeReader
from shroff.log.history import Records
from shroff.log.lateness import lateness_after_resets
from shroff.log.version_switch import means_the_same
from shroff.models.registry import Registry
from shroff.project.definitions import Definitions, computed_of, load_definitions
from shroff.replay.compare import Segment, segments_of
from shroff.runtime.contents import known_store
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.lake import Objects, RetriedObjects
from shroff.streams.log import PENDING, DecisionRow, FlagRow, HitRow, Record

STEP = 4_096  # events folded or decided at once


class Stage(FrozenStruct):
    """The partitions of an entity's keys, folded by one version of the project."""

    version: int
    entity: str


class ReplayPlan(FrozenStruct):
    """Arguments of every process: the location of the log and the computation. Can be pickled.

    Args:
        name: Identifies the run, in a thread that caches what it loaded for it.
        opened: Opens the lake's objects.
        models: The folder of the models; every process that decides needs access to it and to .shroff beside it.
        starts: Sequence number after which each version decides.
        versions: The files of each version, by name.
        folds: For each version the index of the version whose stages compute its answers.
        ends: For each version that folds the last sequence number at which it is needed.
        partitions: Number of partitions of an entity's keys.
        upto: The last sequence number.
    """

    name: str
    opened: Callable[[], Objects]
    models: Path
    upto: int
    starts: tuple[int, ...]
    versions: tuple[TextMapping, ...]
    folds: tuple[int, ...]
    ends: Mapping[int, int]
    stages: tuple[Stage, ...]
    lateness_ms: int
    partitions: int


PartitionRow = tuple[Record, bool]  # an event that a partition needs, and whether its answers are needed


class Decided(Struct):
    """A range of sequence numbers that was decided, and its comparison with the log.

    `differing` counts decisions, hits and flags that only one side has, or that differ.
    """

    effects: Effects = field(default_factory=Effects)
    differing: int = 0
    first: str = ""


def replay_plan(
    name: str, opened: Callable[[], Objects], reader: LakeReader, models: Path, partitions: int
) -> ReplayPlan:
    """Plan how many processes decide the log of a lake.

    Raises: UsageError for a version that cannot be partitioned by keys; StateError if a model that decided cannot be
        loaded.
    """
    upto = reader.last_seq
    known_store(ProjectPaths(models.parent).tables)
    segments = segments_of(list(reader.controls(upto=upto)), upto, Registry(models).load)
    versions = [segment.definitions for segment in segments]
    for definitions, segment in zip(versions, segments, strict=True):
        _check(definitions, segment)
    usual_ms = max((definitions.settings.lateness_ms for definitions in versions), default=0)
    lateness_ms = int(lateness_after_resets(usual_ms, reader.controls(upto=upto)))
    folds = _folds(versions, lateness_ms)
    stages = [
        Stage(fold, entity)
        for fold in sorted(set(folds))
        for entity in entities_of(make_plan(computed_of(versions[fold])))
    ]
    return ReplayPlan(
        name,
        opened,
        models,
        upto,
        tuple(segment.start for segment in segments),
        tuple(segment.files for segment in segments),
        tuple(folds),
        {fold: segment.end for fold, segment in zip(folds, segments, strict=True)},
        tuple(stages),
        lateness_ms,
        partitions,
    )


def _check(definitions: Definitions, segment: Segment) -> None:
    definitions.require_models()
    where = f"the active version after sequence number {segment.start:,}"
    try:
        check_keyed(computed_of(definitions))
    except UsageError as error:
        raise UsageError(f"{where} cannot be spread over processes: {error}") from None
    for event in definitions.events.decided:
        if definitions.policy(event).explore:
            raise UsageError(
                f"{where} cannot be spread over processes: its policy explores {event} with a cap for each day, which "
                "counts over all keys in the order of the log. One process decides it: 'shroff verify'."
            )


def _folds(versions: Sequence[Definitions], lateness_ms: int) -> list[int]:
    """Return for each version the index of the first one with equal state."""
    layouts = [
        Online(definitions.events, computed_of(definitions), definitions.reference, lateness_ms).layout()
        for definitions in versions
    ]
    return [
        next(
            first
            for first in range(number + 1)
            if first == number or (layouts[first] == layout and means_the_same(versions[first], versions[number]))
        )
        for number, layout in enumerate(layouts)
    ]


class ReplayProcess:
    """Resources of one thread of a process: each is created on first use and cached."""

    def __init__(self, replay: ReplayPlan) -> None:
        self.replay = replay
        self._definitions: dict[int, Definitions] = {}
        self._records: dict[int, Records] = {}
        self._keyed: dict[int, PartitionPlan] = {}
        self._engines: dict[int, tuple[Engine, Answered]] = {}
        self._reader: LakeReader | None = None

    def reader(self, upto: int) -> LakeReader:
        """Return the lake's reader. Raises: StateError if the lake does not reach this sequence number."""
        if self._reader is None:
            self._reader = LakeReader(RetriedObjects(self.replay.opened()))
        elif self._reader.last_seq < upto:
            self._reader.refresh()
        if self._reader.last_seq < upto:
            raise StateError(
                f"{self._reader.objects.address} ends at sequence number {self._reader.last_seq:,}, before {upto:,}"
            )
        return self._reader

    def read(self, after: int, upto: int) -> Iterator[list[Record]]:
        return self.reader(upto).records(after, upto, STEP)

    def definitions(self, version: int) -> Definitions:
        if version not in self._definitions:
            load_model = Registry(self.replay.models).load
            known_store(ProjectPaths(self.replay.models.parent).tables)
            loaded = load_definitions(self.replay.versions[version], load_model=load_model)
            self._definitions[version] = loaded.or_raise()
        return self._definitions[version]

    def records(self, version: int) -> Records:
        if version not in self._records:
            definitions = self.definitions(version)
            self._records[version] = Records(definitions.events, definitions.settings.money_places)
        return self._records[version]

    def decode(self, version: int, record: Record) -> LogEvent | None:
        return self.records(version).decode(record)

    def keyed(self, stage: int) -> PartitionPlan:
        if stage not in self._keyed:
            stage_of = self.replay.stages[stage]
            definitions = self.definitions(stage_of.version)
            late_ms = self.replay.lateness_ms
            self._keyed[stage] = PartitionPlan(
                definitions.events, computed_of(definitions), definitions.reference, late_ms, stage_of.entity
            )
        return self._keyed[stage]

    def engine(self, version: int) -> tuple[Engine, Answered]:
        if version not in self._engines:
            definitions = self.definitions(version)
            online = Answered(definitions.events, computed_of(definitions), definitions.reference)
            self._engines[version] = Engine(definitions, online=online), online
        return self._engines[version]

    def version_at(self, seq: int) -> int:
        """Return which version decides at a sequence number."""
        return bisect_left(self.replay.starts, seq) - 1


class _Cached(local):
    work: ReplayProcess | None = None


_CACHED: Final = _Cached()


def work_of(replay: ReplayPlan) -> ReplayProcess:
    """Return the cached resources of this thread for a run; those of another run are dropped.

    Threads share nothing, because a step of the engine reads answers that were set just before it.
    """
    if _CACHED.work is None or _CACHED.work.replay.name != replay.name:
        _CACHED.work = ReplayProcess(replay)
    return _CACHED.work


# ---- the three kinds of work


def rows_of(work: ReplayProcess, after: int, upto: int) -> Iterator[tuple[int, int, PartitionRow]]:
    """Yield the rows of (after, upto], each with the stage and the partition that need it."""
    for records in work.read(after, upto):
        for fold, end in work.replay.ends.items():  # its version may be unable to read later records
            yield from _rows(work, fold, [record for record in records if record.seq <= end])


def _rows(work: ReplayProcess, fold: int, records: Sequence[Record]) -> Iterator[tuple[int, int, PartitionRow]]:
    decoded = [(record, work.decode(fold, record)) for record in records]
    decoded_events = [(record, event) for record, event in decoded if event is not None]
    definitions = work.definitions(fold)
    replay = work.replay
    frames = (
        frames_of([event for _, event in decoded_events], definitions.events, definitions.reference)
        if decoded_events
        else {}
    )
    for number, stage in enumerate(replay.stages):
        if stage.version != fold:
            continue
        keyed = work.keyed(number)
        for frame in (frames[name] for name in sorted(keyed.events & frames.keys())):
            has_answers = bool(keyed.asked(frame.type.name))
            for row, (home, needing) in zip(
                frame.rows.tolist(), keyed.partitions(frame, replay.partitions), strict=True
            ):
                record = decoded_events[row][0]
                is_asked = has_answers and record.decided and replay.folds[work.version_at(record.seq)] == fold
                for partition in sorted(needing):
                    yield number, partition, (record, is_asked and partition == home)


def answers_of(
    work: ReplayProcess, stage: int, state: bytes | None, rows: Iterable[PartitionRow]
) -> tuple[bytes, list[tuple[int, EntityAnswer]]]:
    """Advance the state of a partition over the rows that it needs; return the state and its answers by seq.

    Args:
        state: Result of the call for the range before; None for a partition that has seen nothing.
        rows: Rows of the next range, in any order.
    """
    in_order = sorted(rows, key=lambda row: row[0].seq)
    partition = Partition(work.keyed(stage), state)
    version = work.replay.stages[stage].version
    answers: list[tuple[int, EntityAnswer]] = []
    for begin in range(0, len(in_order), STEP):
        part = in_order[begin : begin + STEP]
        decoded = (work.decode(version, record) for record, _ in part)
        events = [event for event in decoded if event is not None]
        for (record, is_asked), answer in zip(part, partition.take(events), strict=True):
            if is_asked and answer is not None:
                answers.append((record.seq, answer))
    return partition.state(), answers


def decided(work: ReplayProcess, after: int, upto: int, answers: Mapping[int, Mapping[int, EntityAnswer]]) -> Decided:
    """Decide (after, upto] from the answers of each stage at each sequence number, and compare with the lake.

    Raises: StateError if a stage left an event without an answer.
    """
    effects = Effects()
    for records in work.read(after, upto):
        decided_records = (record for record in records if record.decided)
        for version, version_records in groupby(decided_records, key=lambda record: work.version_at(record.seq)):
            _decide(work, version, list(version_records), answers, effects)
    return _compare(work.reader(upto), after, upto, effects)


def _decide(
    work: ReplayProcess,
    version: int,
    records: Sequence[Record],
    answers: Mapping[int, Mapping[int, EntityAnswer]],
    into: Effects,
) -> None:
    engine, online = work.engine(version)
    batch = list[SequencedEvent]()
    for record in records:
        event = work.decode(version, record)
        if event is not None:
            batch.append(SequencedEvent(record.seq, event, record.body))
    fold = work.replay.folds[version]
    online.given = {
        stage.entity: [answers.get(number, {}).get(sequenced_event.seq) for sequenced_event in batch]
        for number, stage in enumerate(work.replay.stages)
        if stage.version == fold
    }
    step_effects = engine.step(batch)
    into.decisions += step_effects.decisions
    into.hits += step_effects.hits
    into.flags += step_effects.flags
    into.outbox += step_effects.outbox


def _compare(reader: LakeReader, after: int, upto: int, effects: Effects) -> Decided:
    recorded: set[DecisionRow | HitRow | FlagRow] = {row for rows in reader.decisions(after, upto) for row in rows}
    recorded |= {row for rows in reader.hits(after, upto) for row in rows}
    # Accuracy follows from later labels; everything else of a flag is a result of the fold.
    recorded |= {replace(row, accuracy=PENDING) for rows in reader.flags(after, upto) for row in rows}
    computed: set[DecisionRow | HitRow | FlagRow] = {*effects.decisions, *effects.hits, *effects.flags}
    differing = sorted(recorded ^ computed, key=lambda row: (row.seq, repr(row)))
    first = ""
    if differing:
        row = differing[0]
        kind = type(row).__name__.removesuffix("Row").lower()
        first = (
            f"the {kind} at sequence number {row.seq:,}, which "
            f"{'the log' if row in recorded else 'this run'} has so alone"
        )
    differing_seqs = {(type(row), row.seq) for row in differing}
    return Decided(effects, len(differing_seqs), first)
