"""The writer of a log: submissions in, places in the log and answers out, one batch a transaction.

It checks what the door cannot see (ids, lateness, labels and their events), gives places,
lets the engine decide, and hands the log one batch with everything that came of it. State
moves only with the log: when a commit fails it is thrown away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from shroff.decisions.definitions import Definitions
from shroff.decisions.engine import Placed
from shroff.decisions.fold import Folded, Progress, fold
from shroff.decisions.history import label_id, waiting_body, waiting_label
from shroff.decisions.snapshots import Saved, restore, save
from shroff.errors import StateError
from shroff.events.door import LabelInput
from shroff.events.event import Event, time_text
from shroff.events.intake import Submission
from shroff.events.labels import Standing
from shroff.language.values import show_duration
from shroff.streams.log import Batch, DecisionRow, Log, Offset, Record, Refused, WaitingLabel
from shroff.streams.snapshots import Snapshots

DECIDED: Final = "decided"
TAKEN: Final = "taken"
DUPLICATE: Final = "duplicate"
REFUSED: Final = "refused"
WAITING: Final = "waiting"
UNTAKEN: Final = "untaken"


@dataclass(slots=True)
class Answer:
    """What became of one submission. `document` is the decision's bytes, where there is one."""

    kind: str
    type: str = ""
    id: str = ""
    seq: int = 0
    outcome: str = ""
    document: bytes | None = None
    reason: str = ""
    is_conflict: bool = False
    is_label: bool = False


@dataclass(slots=True)
class Prepared:
    """A batch ready to be committed, and the answers that hold once it is."""

    batch: Batch
    answers: list[Answer]


@dataclass(slots=True)
class _Fresh:
    """What a batch takes before it is committed, by type and id."""

    events: dict[tuple[str, str], tuple[Event, bytes, int]] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    waiting: dict[tuple[str, str], list[LabelInput]] = field(default_factory=lambda: defaultdict(list))
    placed: list[Placed] = field(default_factory=list)
    repeated: list[tuple[Answer, tuple[str, str]]] = field(default_factory=list)


class Writer:
    """Writes one log for one version of a project.

    Args:
        now_ms: The clock, for what is not part of a decision: when input was refused and
            when a version came into force.
        snapshots: Where state is saved; without it the whole log is read.

    `warnings` says which snapshots could not be used, and why.
    """

    def __init__(
        self,
        log: Log,
        definitions: Definitions,
        now_ms: Callable[[], int],
        progress: Progress | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        self._log, self.definitions, self._now_ms, self._snapshots = log, definitions, now_ms, snapshots
        self.warnings: list[str] = []
        self._saved_seq = 0
        self._state: Folded | None = None
        if snapshots is None:
            self._state = fold(log, definitions, progress=progress)
        else:
            self._state, self._saved_seq, self.warnings = restore(snapshots, log, definitions, progress)
        self._seq = log.last_seq()
        self._has_waiting = bool(log.waiting_all())
        self._activate()

    @property
    def state(self) -> Folded:
        if self._state is None:
            raise StateError("the last commit failed; open the project again, which restores its state from the log")
        return self._state

    @property
    def unsaved(self) -> int:
        """Places of the log that the next start would have to read."""
        return self._seq - self._saved_seq

    def snapshot(self) -> Saved:
        """Save state, every batch committed; not for the path of a decision, as it takes up to seconds.

        Raises: StorageError where it cannot be written, which harms nothing else.
        """
        assert self._snapshots is not None, "this writer was given no place for snapshots"
        state = self.state
        if self._log.last_seq() != self._seq:
            raise StateError("a batch is not committed yet; save state when it is")
        state.seq = self._seq
        saved = save(self._snapshots, self._log, state)
        self._saved_seq = saved.seq
        return saved

    def unknown(self, events: Iterable[Event]) -> int:
        """How many of these events the log does not have."""
        by_type: dict[str, list[str]] = defaultdict(list)
        for event in events:
            by_type[event.type].append(event.id)
        return sum(len(ids) - len(self._log.find(type_, ids)) for type_, ids in by_type.items())

    def _activate(self) -> None:
        """Put the project's files in force where they differ from what the log has."""
        control, seq = self.state.control, self._seq + 1
        if control.versions == asdict(self.definitions.versions):
            return
        body = control.change_to(self.definitions.files, asdict(self.definitions.versions))
        record = Record(seq, "control", "control", str(seq), self._now_ms(), body, decided=False)
        self._log.append(Batch(records=[record]))
        control.take(record)
        self._seq += 1

    def write(
        self, submissions: Sequence[Submission], *, decide: bool = True, offsets: Sequence[Offset] = ()
    ) -> list[Answer]:
        """Take submissions in order and commit what came of them; gives an answer for each."""
        prepared = self.prepare(submissions, decide=decide, offsets=offsets)
        self.commit(prepared)
        return prepared.answers

    def commit(self, prepared: Prepared) -> None:
        """Make a prepared batch durable. One at a time, in order; where it fails, state is thrown away."""
        if prepared.batch.is_empty():
            return
        try:
            self._log.append(prepared.batch)
        except BaseException:
            self._state = None
            raise

    def prepare(
        self, submissions: Sequence[Submission], *, decide: bool = True, offsets: Sequence[Offset] = ()
    ) -> Prepared:
        """Decide a batch without committing it. The batch before it must be committed."""
        state, batch, fresh = self.state, Batch(offsets=list(offsets)), _Fresh()
        try:
            known = self._known(submissions)
            waiting = self._waiting(submissions)
            answers = [self._one(one, batch, fresh, known, waiting, decide=decide) for one in submissions]
            effects = state.engine.step(fresh.placed)
        except BaseException:
            self._state = None
            raise
        batch.decisions, batch.hits, batch.flags, batch.outbox = (
            effects.decisions,
            effects.hits,
            effects.flags,
            effects.outbox,
        )
        self._fill(answers, fresh, {row.seq: row for row in effects.decisions}, known)
        self._has_waiting = self._has_waiting or bool(batch.waiting)
        return Prepared(batch, answers)

    # ---- what the log already has

    def _known(self, submissions: Iterable[Submission]) -> dict[tuple[str, str], Record]:
        """The records of the events that a batch sends again or labels, and of labels that it sends again."""
        wanted: dict[str, set[str]] = defaultdict(set)
        for one in submissions:
            if one.event is not None:
                wanted[one.type].add(one.event.id)
            elif one.label is not None:
                wanted[one.label.event_type or ""].add(one.label.event_id)
                wanted["label"].add(label_id(one.label))
        return {
            (type_, id_): record
            for type_, ids in wanted.items()
            for id_, record in self._log.find(type_, list(ids)).items()
        }

    def _waiting(self, submissions: Iterable[Submission]) -> dict[tuple[str, str], list[WaitingLabel]]:
        """Labels that wait for the events of a batch."""
        if not self._has_waiting:
            return {}
        wanted: dict[str, list[str]] = defaultdict(list)
        for one in submissions:
            if one.event is not None:
                wanted[one.type].append(one.event.id)
        found: dict[tuple[str, str], list[WaitingLabel]] = defaultdict(list)
        for type_, ids in wanted.items():
            for label in self._log.waiting_for(type_, ids):
                found[type_, label.event_id].append(label)
        return found

    # ---- one submission

    def _one(
        self,
        one: Submission,
        batch: Batch,
        fresh: _Fresh,
        known: dict[tuple[str, str], Record],
        waiting: dict[tuple[str, str], list[WaitingLabel]],
        *,
        decide: bool,
    ) -> Answer:
        if one.refusal is not None:
            return self._refuse(one, batch, one.refusal)
        if one.event is not None:
            return self._event(one, one.event, batch, fresh, known, waiting, decide=decide)
        if one.label is not None:
            return self._label(one, one.label, batch, fresh, known)
        return Answer(UNTAKEN)

    def _refuse(self, one: Submission, batch: Batch, reason: str, *, is_conflict: bool = False) -> Answer:
        batch.refused.append(Refused(one.source, one.place, one.type, reason, one.raw(), self._now_ms()))
        id_ = one.event.id if one.event else ""
        is_label = one.type == "label"
        return Answer(REFUSED, one.type, id_, reason=reason, is_conflict=is_conflict, is_label=is_label)

    def _event(
        self,
        one: Submission,
        event: Event,
        batch: Batch,
        fresh: _Fresh,
        known: dict[tuple[str, str], Record],
        waiting: dict[tuple[str, str], list[WaitingLabel]],
        *,
        decide: bool,
    ) -> Answer:
        key = (event.type, event.id)
        body = self.state.records.encode(event)
        earlier = (
            fresh.events[key][1:]
            if key in fresh.events
            else (known[key].body, known[key].seq)
            if key in known
            else None
        )
        if earlier is not None:
            return self._again(one, event, body, earlier, batch, fresh)
        late = self._lateness(event)
        if late:
            return self._refuse(one, batch, late)
        seq = self._place()
        batch.records.append(Record(seq, "event", event.type, event.id, event.time_ms, body, decide))
        fresh.events[key] = (event, body, seq)
        fresh.placed.append(Placed(seq, event, body, None if decide else frozenset()))
        state = self.state
        state.watermark_ms = event.time_ms if state.watermark_ms is None else max(state.watermark_ms, event.time_ms)
        for label in waiting.pop(key, ()):
            batch.joined.append(label.id)
            self._join_waiting(waiting_label(label.body), label.body, event, body, batch, fresh)
        for early in fresh.waiting.pop(key, ()):
            batch.waiting = [row for row in batch.waiting if (row.event_type, row.event_id) != key]
            self._join_waiting(early, waiting_body(early), event, body, batch, fresh)
        return Answer(TAKEN, event.type, event.id, seq)

    def _again(
        self, one: Submission, event: Event, body: bytes, earlier: tuple[bytes, int], batch: Batch, fresh: _Fresh
    ) -> Answer:
        """An id that is taken: the same content is answered from what was decided, other content is refused."""
        if earlier[0] != body:
            words = f"{event.type} {event.id!r} is in the log with other content; an id names one event"
            return self._refuse(one, batch, words, is_conflict=True)
        answer = Answer(DUPLICATE, event.type, event.id, earlier[1])
        fresh.repeated.append((answer, (event.type, event.id)))
        return answer

    def _lateness(self, event: Event) -> str:
        """Why an event is too late, or nothing."""
        settings, watermark_ms = self.definitions.settings, self.state.watermark_ms
        if watermark_ms is None or watermark_ms - event.time_ms <= settings.lateness_ms:
            return ""
        field_name = self.definitions.events.types[event.type].time_field
        behind = show_duration(watermark_ms - event.time_ms)
        return (
            f"{field_name}: too late: {time_text(event.time_ms)} is {behind} behind the newest event, "
            f"and lateness in shroff.yaml allows {show_duration(settings.lateness_ms)}"
        )

    def _place(self) -> int:
        """The next place of the log."""
        self._seq += 1
        return self._seq

    # ---- labels

    def _label(
        self, one: Submission, label: LabelInput, batch: Batch, fresh: _Fresh, known: dict[tuple[str, str], Record]
    ) -> Answer:
        key = (label.event_type or "", label.event_id)
        id_ = label_id(label)
        if id_ in fresh.labels or ("label", id_) in known:
            return Answer(DUPLICATE, "label", id_, is_label=True)
        if key in fresh.events:
            event, body, _ = fresh.events[key]
        elif key in known:
            found = self.state.records.decode(known[key])
            assert isinstance(found, Event)
            event, body = found, known[key].body
        else:
            return self._wait(label, id_, key, batch, fresh)
        early = _too_early(label, event)
        if early:
            return self._refuse(one, batch, early)
        seq = self._join(label, event, body, batch, fresh)
        return Answer(TAKEN, "label", id_, seq, is_label=True)

    def _wait(self, label: LabelInput, id_: str, key: tuple[str, str], batch: Batch, fresh: _Fresh) -> Answer:
        is_waiting = self._has_waiting and bool(self._log.waiting_with_ids([id_]))
        if is_waiting or any(label_id(row) == id_ for row in fresh.waiting[key]):
            return Answer(DUPLICATE, "label", id_, is_label=True)
        fresh.waiting[key].append(label)
        batch.waiting.append(WaitingLabel(*key, id_, waiting_body(label)))
        return Answer(WAITING, "label", id_, is_label=True)

    def _join_waiting(
        self, label: LabelInput, raw: bytes, event: Event, body: bytes, batch: Batch, fresh: _Fresh
    ) -> None:
        """Append a label that waited, right after its event; one that was known too early is refused now."""
        early = _too_early(label, event)
        if early:
            place = f"{label.event_type}/{label.event_id}"
            batch.refused.append(Refused("waiting labels", place, "label", early, raw, self._now_ms()))
            return
        self._join(label, event, body, batch, fresh)

    def _join(self, label: LabelInput, event: Event, body: bytes, batch: Batch, fresh: _Fresh) -> int:
        state = self.state
        named = f"{event.type}/{event.id}"
        current = state.standings.get(named)
        new = Standing(label.verdict, label.source, label.known_at_ms)
        takes_over = current is None or current.gives_way_to(new)
        changes = takes_over and (current is None or current.verdict != new.verdict)
        joined, stored = state.records.join(label, event, body, changes=changes)
        if takes_over:
            state.standings[named] = new
        seq = self._place()
        batch.records.append(Record(seq, "label", "label", joined.id, joined.time_ms, stored, decided=False))
        fresh.labels.add(joined.id)
        fresh.placed.append(Placed(seq, joined, stored, None))
        return seq

    # ---- answers

    def _fill(
        self,
        answers: Iterable[Answer],
        fresh: _Fresh,
        decided: dict[int, DecisionRow],
        known: dict[tuple[str, str], Record],
    ) -> None:
        """Put the decisions into the answers; of duplicates those of the first time."""
        for answer in answers:
            row = decided.get(answer.seq) if answer.kind == TAKEN else None
            if row is not None:
                answer.kind, answer.outcome, answer.document = DECIDED, row.outcome, row.document
        stored: dict[str, list[str]] = defaultdict(list)
        for answer, (type_, id_) in fresh.repeated:
            row = decided.get(answer.seq)
            if row is not None:
                answer.outcome, answer.document = row.outcome, row.document
            elif (type_, id_) in known:
                stored[type_].append(id_)
        rows = {
            (type_, id_): row for type_, ids in stored.items() for id_, row in self._log.decisions(type_, ids).items()
        }
        for answer, key in fresh.repeated:
            if answer.document is None and key in rows:
                answer.outcome, answer.document = rows[key].outcome, rows[key].document


def _too_early(label: LabelInput, event: Event) -> str:
    if label.known_at_ms >= event.time_ms:
        return ""
    known, happened = time_text(label.known_at_ms), time_text(event.time_ms)
    return f"known_at: {known} lies before the time of {event.type} {event.id!r}, {happened}"
