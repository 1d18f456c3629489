"""Live decisions of a cluster: a sequencer's lake in, and into the project's log what a worker would have written.

The sequencer gave each event its place. Processes of the cluster write what came of a stretch
of places into a file; this process appends it to the log in order and removes the file. The
end of the log says what is still to be taken, so whoever is killed when, each place is there once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from shroff.config import make_folder
from shroff.engine.step import Effects, SequencedEvent
from shroff.errors import StateError
from shroff.events.event import Event
from shroff.features.cluster.partitioned import Cluster
from shroff.lake.cluster_replay import ReplayProcess, replay_plan
from shroff.lake.cluster_replay_files import CHECKPOINT, PLACES, PLAN, DecidedPart, begin, streaming
from shroff.lake.reader import LakeReader, NoLakeError
from shroff.log.event_notes import DayCounts
from shroff.log.key_index import KeyHasher, index_keys
from shroff.log.unique_index import index
from shroff.project.definitions import Definitions
from shroff.runtime.whole_files import whole_file
from shroff.streams.lake import Objects, RetriedObjects
from shroff.streams.log import Batch, DecisionRow, FlagRow, HitRow, Log, OutboxRow, Record, UniqueValue

LOOK_S: Final = 0.5  # how often it is looked whether another version came
PARTS: Final = "parts"


def undecided(definitions: Definitions) -> Definitions:
    """The same version, for a sequencer, which gives events their order and decides none of them."""
    return replace(definitions, features={}, rules=(), scoring={})


class _Part(msgspec.Struct):
    """What came of a stretch of places."""

    decisions: list[DecisionRow]
    hits: list[HitRow]
    flags: list[FlagRow]
    outbox: list[OutboxRow]


def write_part(folder: Path, after: int, upto: int, effects: Effects) -> None:
    """Write what came of the places (after, upto], whole under their name or not there; again is harmless."""
    part = _Part(effects.decisions, effects.hits, effects.flags, effects.outbox)
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
                self._append(end, last, msgspec.msgpack.decode(path.read_bytes(), type=_Part))
            path.unlink()
        if self._log.last_seq() < done:
            raise StateError(
                f"the log ends at sequence number {self._log.last_seq():,}, and the cluster has decided up to "
                f"{done:,}: remove {self._folder.parent}, and all is decided again from the sequencer's lake."
            )

    def _append(self, after: int, upto: int, part: _Part) -> None:
        for records in self._work.read(after, upto):
            for version, group in groupby(records, key=lambda record: max(self._work.version_at(record.seq), 0)):
                self._log.append(self._batch(list(group), version, part))

    def _batch(self, records: Sequence[Record], version: int, part: _Part) -> Batch:
        offsets, definitions = [], self._work.definitions(version)
        if self._hasher is None or self._hasher[0] is not definitions:
            index(self._log, definitions)
            offsets = index_keys(self._log, definitions)
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
        name = sha256(repr((objects.address, reader.state.number, str(out))).encode()).hexdigest()[:16]
        replay = replay_plan(name, opened, reader, models, cluster.partitions, is_live=True)
        begin(out / PLAN, reader, replay)
        decided = DecidedLog(log, ReplayProcess(replay), out / PARTS, now_ms)
        write, has_more = partial(write_part, out / PARTS), partial(decided.has_more, goes_on)
        backend.stream(replay, out / CHECKPOINT, PLACES, write, decided.done, has_more)
