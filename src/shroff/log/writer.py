"""The writer of a log: assigns sequence numbers to submissions, decides them and returns answers; one transaction a
batch.

The worker, the service and `ingest` write through it. A batch is prepared, and then committed to the log with all its
effects. State advances only with the log: it is unavailable from the start of `prepare` to the end of `commit`, so a
failure in between leaves no state. A batch may be prepared while the previous one is committed; if that commit fails,
both are discarded with the state.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import NamedTuple, cast

from msgspec.structs import asdict

from shroff.engine.step import Effects, Engine, SequencedEvent
from shroff.errors import StateError, UsageError
from shroff.events.event import Event, time_text
from shroff.events.intake import Submission
from shroff.events.validation import latest_ms
from shroff.log.activation import check_change
from shroff.log.batch_classifier import BatchClassifier
from shroff.log.dedup_lookup import KnownRecords, look_up
from shroff.log.event_notes import EVENT_SOURCES, FILES, NEWEST, UNKNOWN, ComingBy, DayCounts
from shroff.log.history import Control, Records, control_of
from shroff.log.key_index import KeyHasher, index_keys
from shroff.log.lateness import WatermarkReset, lateness_after_resets, reset_record, watermark_holder
from shroff.log.prepared import DECIDED, DUPLICATE, LATE, REFUSED, TAKEN, UNTAKEN, WAITING, Answer, Prepared
from shroff.log.state.fold import Folded, Progress, empty, fold, lateness_of, take
from shroff.log.state.snapshot_writer import SnapshotWriter
from shroff.log.state.snapshots import Saved, restore, save
from shroff.log.unique_index import index
from shroff.models.in_force import FILE, read_in_force
from shroff.project.definitions import Definitions
from shroff.runtime.values import replace
from shroff.streams.log import UNDATED, Batch, Log, LogReader, Offset, Reply
from shroff.streams.snapshots import Snapshots

__all__ = [
    "DECIDED",
    "DUPLICATE",
    "LATE",
    "REFUSED",
    "TAKEN",
    "UNTAKEN",
    "WAITING",
    "Answer",
    "KnownRecords",
    "LogEnd",
    "Prepared",
    "SnapshotWriter",
    "Writer",
    "check_change",
    "foreseen",
    "unknown",
    "unwritten",
]

_AGAIN = "open the project again, which restores its state from the log"


class LogEnd(NamedTuple):
    """The end of a log, for checks of new files.

    Args:
        watermark_ms: None for a log without events.
        unknown: Counts the given events that the log does not have.
        holder: Describes the event that keeps the watermark beyond the clock; empty if there is none.
    """

    definitions: Definitions
    watermark_ms: int | None
    now_ms: int
    unknown: Callable[[Iterable[Event]], int]
    holder: str = ""


class Writer:
    """Writes one log for one version of a project.

    Args:
        now_ms: The clock, for times outside of decisions: when input was refused, when a version became active.
        snapshots: Where state is saved; without it the whole log is read.
        start: State of the same definitions to continue from, and the sequence number of the newest snapshot.

    `warnings` has a message for each snapshot that could not be used.
    Raises: DefinitionError if the log has events that this version cannot read; StateError if the version activates a
        model that cannot be loaded. Nothing is written then.
    """

    def __init__(
        self,
        log: Log,
        definitions: Definitions,
        now_ms: Callable[[], int],
        progress: Progress | None = None,
        snapshots: Snapshots | None = None,
        start: tuple[Folded, int] | None = None,
    ) -> None:
        self._log = log
        self.definitions = definitions
        self._now_ms = now_ms
        self._snapshots = snapshots
        self.maintain = log.maintain  # call it between batches
        self.warnings: list[str] = []
        self.keeps_late: bool | Collection[str] = False  # as `BatchClassifier` takes it
        self.by = FILES  # the source of events that were not posted, pushed or pulled
        self._newest_source = log.offsets.get(EVENT_SOURCES, NEWEST) or UNKNOWN
        self._cached_holder: tuple[int | None, str] = None, ""  # a watermark, and the event that keeps it
        self._counts = DayCounts(log, log.pruned_to()).read_on(log)
        self._saved_seq = 0
        self._snapshot_writer: SnapshotWriter | None = None
        self._state: Folded | None = None  # after the last prepared batch; None while one is prepared
        self._open: list[Prepared] = []  # prepared batches that are not committed
        self._is_lost = False  # whether a commit failed
        check_change(log, definitions)
        if start is not None:
            self._state = fold(log, definitions, progress=progress, start=start[0])
            self._saved_seq = start[1]
        elif snapshots is None:
            self._state = fold(log, definitions, progress=progress)
        else:
            self._state, self._saved_seq, self.warnings = restore(snapshots, log, definitions, progress)
        index(log, definitions)
        self._seq = log.last_seq()  # after the last prepared batch
        counts = log.counts()
        self._has_waiting = counts.waiting > 0
        self._has_late = counts.late > 0
        self._activate(self._state)

    @property
    def state(self) -> Folded:
        """State at the end of the log. Raises: StateError if a batch is open, or a commit failed."""
        if self._open and not self._is_lost:
            raise StateError(f"a batch is not committed yet; {_AGAIN}")
        return self._drafted()

    def _drafted(self) -> Folded:
        """Return the state after the last prepared batch, which may not be committed yet."""
        if self._state is None or self._is_lost:
            raise StateError(f"the last commit failed; {_AGAIN}")
        return self._state

    @property
    def seq(self) -> int:
        return self._seq

    @property
    def unsaved(self) -> int:
        """Records that the next start would have to read."""
        return self._seq - self._saved_seq

    def snapshot(self) -> Saved:
        """Save state now; no batch may be open. It takes up to seconds, during which nothing is decided.

        Raises: StorageError if it cannot be written; the writer remains usable.
        """
        assert self._snapshots is not None, "this writer was given no place for snapshots"
        state = self.state
        state.seq = self._seq
        self.give_up_snapshot()
        saved = save(self._snapshots, self._log, state)
        self._saved_seq = saved.seq
        return saved

    def snapshot_beside(self) -> SnapshotWriter:
        """Start saving state in another process; no batch may be open. Call `saved` when it is done.

        Raises: StorageError if it cannot be started.
        """
        assert self._snapshots is not None, "this writer was given no place for snapshots"
        state = self.state
        state.seq = self._seq
        self.give_up_snapshot()
        self._snapshot_writer = SnapshotWriter(self._snapshots, self._log, state)
        return self._snapshot_writer

    def give_up_snapshot(self) -> None:
        if self._snapshot_writer is not None:
            self._snapshot_writer.give_up()

    def saved(self, seq: int) -> None:
        self._saved_seq = max(self._saved_seq, seq)

    def end(self) -> LogEnd:
        """Return the end of the log, for checks of new files. Raises: StateError as `state`."""
        watermark_ms = self.state.watermark_ms
        return LogEnd(
            self.definitions, watermark_ms, self._now_ms(), partial(unknown, self._log), self._holder(watermark_ms)
        )

    def set_watermark(
        self, at_ms: int, because: str, replies: Callable[[int, WatermarkReset], Iterable[Reply]] = lambda *_: ()
    ) -> WatermarkReset:
        """Set the watermark back by a control event, and fold the state again without the times beyond it.

        Args:
            replies: Returns replies to commit with the event, given its sequence number.

        Raises: UsageError if the time is not earlier, or beyond the clock; PrunedError if older events have left the
            store and no lake has them, with the day from which on it would be exact. Nothing is written then.
        Cost: two passes over the log.
        """
        state = self.state
        now_ms = self._now_ms()
        was_ms = state.watermark_ms
        if was_ms is None or at_ms >= was_ms:
            reason = "there is no event" if was_ms is None else f"it is {time_text(was_ms)}"
            raise UsageError(f"the watermark is set back only, and {reason}: name an earlier time.")
        if at_ms > latest_ms(self.definitions.settings, now_ms):
            raise UsageError(f"{time_text(at_ms)} is beyond the clock itself: name a time of which events have come.")
        holder = watermark_holder(self._log, self.definitions, at_ms)
        beyond = [] if holder is None else holder.beyond
        set_back = WatermarkReset(time_text(at_ms), time_text(was_ms), beyond, because)
        record = reset_record(set_back, state.control.versions, self._seq + 1, now_ms)
        late = lateness_after_resets(lateness_of(self._log, self.definitions).usual_ms, [*self._log.controls(), record])
        folded = fold(self._log, self.definitions, start=empty(self.definitions, late))
        take(record, folded, {})
        folded.engine.let_through = state.engine.let_through
        self.give_up_snapshot()
        self._state = None
        self._saved_seq = 0
        reply_rows = [*replies(record.seq, set_back)]
        self._log.append(Batch(records=[record], watermark_ms=at_ms, at_ms=now_ms, replies=reply_rows))
        self._seq += 1
        self._state = folded
        return set_back

    def _holder(self, watermark_ms: int | None) -> str:
        """Describe the event that keeps the watermark beyond the clock; empty if there is none."""
        if watermark_ms is None or watermark_ms <= latest_ms(self.definitions.settings, self._now_ms()):
            return ""
        if self._cached_holder[0] != watermark_ms:
            holder = watermark_holder(self._log, self.definitions, watermark_ms - 1)
            self._cached_holder = watermark_ms, "" if holder is None else holder.words
        return self._cached_holder[1]

    def adopt(self, folded: Folded) -> None:
        """Activate another version with its state at the end of the log.

        Raises: StateError if a batch is open; StorageError as `commit`, and state is discarded.
        """
        _ = self.state
        self.give_up_snapshot()
        self._state = None
        self._saved_seq = 0
        self.definitions = folded.engine.definitions
        self._activate(folded)
        self._state = folded

    def _activate(self, folded: Folded) -> None:
        self._hasher = KeyHasher(self.definitions)
        offsets = [*index_keys(self._log, self.definitions)]
        control = folded.control
        record = control_of(control, self.definitions, self._seq + 1, self._now_ms())
        if record is None:
            if offsets:
                self._log.append(Batch(offsets=offsets))
            return
        if control.versions.get("model", "") != self.definitions.versions.model:
            self.definitions.require_models()  # a version whose model is missing does not become active
            self.warnings += _champions_gone(control.files.get(FILE), self.definitions)
        self._log.append(Batch(records=[record], offsets=offsets, at_ms=record.time_ms))
        control.become(self.definitions.files, asdict(self.definitions.versions))
        self._seq += 1

    def write(
        self, submissions: Sequence[Submission], *, decide: bool = True, offsets: Sequence[Offset] = ()
    ) -> Sequence[Answer]:
        """Decide and commit submissions, in order; return an answer for each."""
        prepared = self.prepare(submissions, decide=decide, offsets=offsets)
        self.commit(prepared)
        return prepared.answers

    @property
    def looks_ahead(self) -> bool:
        """Whether the next batch can be looked up before the open one is committed."""
        return all(not open_batch.batch.waiting and not open_batch.batch.joined for open_batch in self._open)

    def look_up(self, submissions: Sequence[Submission]) -> KnownRecords:
        """Return the records that the log and the open batch already have of these submissions.

        Not during a commit, since it queries the log. If a batch is open, only if `looks_ahead`.
        """
        coming = self._open[-1].batch if self._open else None
        types = self._drafted().records
        known = look_up(submissions, self._log, coming, types, has_waiting=self._has_waiting, has_late=self._has_late)
        known.seq = self._seq
        known.holder = self._holder(self._drafted().watermark_ms)
        return known

    def foresee(self, submissions: Sequence[Submission], beside: tuple[Log, Prepared] | None = None) -> list[Answer]:
        """Return the answer that each submission would have if it came alone now. Changes and writes nothing.

        Args:
            beside: While a batch is committed on another thread: another log to query than the writer's, and the batch.
                Refusals then do not name the event that holds the watermark.

        Raises: StateError as `look_up`; state is not lost then.
        Cost: that of deciding each, and one look-up for all.
        """
        state = self._drafted()
        if beside is None:
            known = self.look_up(submissions)
        else:
            log, prepared = beside
            coming = prepared.batch
            types = state.records
            known = look_up(submissions, log, coming, types, has_waiting=False, has_late=self._has_late)
            known.seq = self._seq
        known.waiting = {}  # pending labels follow their event, so they do not change its answer
        engine = cast("Engine", _Foreseeing(state.engine))
        answers: list[Answer] = []
        for submission in submissions:
            trial = Folded(engine, state.records, state.control, watermark_ms=state.watermark_ms)
            alone = replace(known, late=dict(known.late))
            draft = BatchClassifier(
                trial,
                alone,
                self._now_ms,
                ComingBy(self._newest_source, self.by),
                decide=True,
                keeps_late=self.keeps_late,
            )
            answers += draft.prepared([submission], ()).answers
        return answers

    def prepare(
        self,
        submissions: Sequence[Submission],
        *,
        decide: bool = True,
        offsets: Sequence[Offset] = (),
        known: KnownRecords | None = None,
        by: str | None = None,
    ) -> Prepared:
        """Decide a batch without committing it.

        Args:
            known: Result of `look_up` for the submissions, made after the previous batch was prepared; that batch may
                still be open. Without `known` the log is queried, and no batch may be open.
            by: The source of events that were not posted, pushed or pulled; by default that of this writer.

        Raises: StateError if an earlier batch is not committed (with `known`, the last but one). Any error until this
            batch is committed discards the state.
        """
        if known is None:
            _ = self.state
            known = self.look_up(submissions)
        if known.seq != self._seq or len(self._open) > 1:
            raise StateError("these submissions were looked up at another place of the log; look them up again")
        began_s = time.monotonic()
        state = self._drafted()
        self._state = None
        coming = ComingBy(self._newest_source, self.by if by is None else by)
        draft = BatchClassifier(state, known, self._now_ms, coming, decide=decide, keeps_late=self.keeps_late)
        prepared = draft.prepared(submissions, offsets)
        prepared.batch.keys = self._hasher.of(prepared.placed)
        prepared.batch.offsets += self._counts.take(prepared.batch.records)
        self._newest_source = coming.newest
        self._seq += len(prepared.batch.records)
        self._has_waiting = self._has_waiting or bool(prepared.batch.waiting)
        self._has_late = self._has_late or bool(prepared.batch.late)
        prepared.decided_at_s = time.monotonic()
        prepared.decide_s = prepared.decided_at_s - began_s
        self._open.append(prepared)
        self._state = state  # last, so that an interruption before it leaves no state
        return prepared

    def commit(self, prepared: Prepared) -> None:
        """Make the prepared batch durable, on any thread; if that fails, state is discarded."""
        if self._is_lost or not self._open or self._open[0] is not prepared:
            raise StateError(
                "this batch is not the next one of those that were prepared, so it does not follow the log"
            )
        try:
            if not prepared.batch.is_empty():
                _date(prepared.batch, self._now_ms())
                began_s = time.monotonic()
                self._log.append(prepared.batch)
                prepared.commit_s = time.monotonic() - began_s
        except BaseException:
            self._is_lost = True
            raise
        del self._open[0]  # last, so that an interruption before it leaves the batch open, and thus no state


def _date(batch: Batch, at_ms: int) -> None:
    """Set the ingest time of the batch's records and the time of its new refusals: the time of the commit.

    Batches are prepared while others are committed. With the commit's time no refusal is older than a record of an
    earlier batch.
    """
    batch.at_ms = at_ms
    batch.refused = [
        replace(refused, at_ms=at_ms) if refused.at_ms == UNDATED else refused for refused in batch.refused
    ]


def _champions_gone(before: str | None, definitions: Definitions) -> list[str]:
    """Return warnings that the file with the champions is missing (a rollback does not remove it)."""
    if before is None or FILE in definitions.files:
        return []
    champions = [(event, force.champion.id) for event, force in read_in_force(before, []).items() if force.champion]
    return [
        f"{FILE} no longer exists, so {id_} is no longer the champion of {event}, and no score counts. "
        f"Restore the file, or run 'shroff models promote {id_}'."
        for event, id_ in champions
    ]


class _Unwritten:
    """Forwards every query to a log, and discards what is appended."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    def append(self, batch: Batch) -> None:
        """Discard a batch."""


def unwritten(log: Log) -> Log:
    """Return the log without writing, for previews: everything appended is discarded."""
    return cast("Log", _Unwritten(log))


def unknown(log: LogReader, events: Iterable[Event]) -> int:
    by_type: dict[str, set[str]] = defaultdict(set)
    for event in events:
        by_type[event.type].add(event.id)
    return sum(len(ids) - len(log.find(type_, list(ids))) for type_, ids in by_type.items())


class _Undeciding:
    """A stand-in for the engine that decides nothing: loading the engine may compile its kernels first."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions

    def step(self, _placed: object) -> Effects:
        return Effects()


class _Foreseeing:
    """A stand-in for the engine that decides events by trial, without changing state."""

    def __init__(self, engine: Engine) -> None:
        self.definitions = engine.definitions
        self._engine = engine

    def step(self, placed: Sequence[SequencedEvent]) -> Effects:
        """Return the effects of the event; an event that is only appended has none."""
        for event in placed:
            if event.past_hits is None:
                return self._engine.foresee(event)
        return Effects()


def foreseen(submissions: Sequence[Submission], log: Log, definitions: Definitions, now_ms: int) -> Sequence[Answer]:
    """Return the answer to each submission as the writer of the log would, except for decisions."""
    records = Records(definitions.events, definitions.settings.money_places)
    counts = log.counts()
    engine = cast("Engine", _Undeciding(definitions))
    state = Folded(engine, records, Control(), watermark_ms=log.watermark_ms())
    known = look_up(submissions, log, None, records, has_waiting=counts.waiting > 0, has_late=counts.late > 0)
    draft = BatchClassifier(state, known, lambda: now_ms, ComingBy(UNKNOWN, FILES), decide=False)
    return draft.prepared(submissions, ()).answers
