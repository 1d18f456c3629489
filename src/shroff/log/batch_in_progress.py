"""Batch in progress: classifies each submission, on state that advances with it.

It checks what validation cannot see (ids, lateness, labels and their events), gives places
and lets the engine decide. Nothing is written here, and a draft that is not committed
takes its state with it: see `log.writer`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from shroff.engine.step import Effects, SequencedBatch, SequencedEvent
from shroff.events.event import Event, time_text
from shroff.events.intake import Submission
from shroff.events.labels import LogEvent, VerdictInForce
from shroff.events.unique import Named
from shroff.events.validation import LabelInput, label_refusal, latest_ms, too_early
from shroff.features.key_texts import Hits
from shroff.features.online.engine import FEW
from shroff.log.columns.lines import EventRun, odd_rows
from shroff.log.dedup_lookup import Key, KnownRecords, NameKey
from shroff.log.event_notes import ComingBy
from shroff.log.history import label_id, label_key, waiting_body, waiting_label
from shroff.log.lateness import too_late
from shroff.log.prepared import DECIDED, DUPLICATE, LATE, REFUSED, TAKEN, UNTAKEN, WAITING, Answer, Prepared, RunAnswers
from shroff.log.state.fold import Folded
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import (
    Batch,
    DecisionRow,
    LateEvent,
    Offset,
    PersonalValue,
    Record,
    Refused,
    UniqueValue,
    WaitingLabel,
)
from shroff.streams.log_columns import RecordColumns
from shroff.streams.merge import EARLIEST


class _Early(FrozenStruct):
    """A label of this batch whose event has not arrived, and how the log keeps it if none does."""

    label: LabelInput
    answer: Answer
    waiting: WaitingLabel


REPEATS_SHARE = 8  # of the events of a run one in so many may be a repeat, and the others stay columns


class BatchInProgress:
    """Takes the submissions of one batch.

    Args:
        state: State at the end of the log. It moves on, so it must not be used if this batch is not committed.
        known: What is there already of these submissions.
        decide: Whether events are decided, or only taken.
        coming: Notes by which source events came.
        keeps_late: Events that are too late are kept beside the log; else they are refused. Of several
            sources: those of these (`read/cards`).
    """

    def __init__(
        self,
        state: Folded,
        known: KnownRecords,
        now_ms: Callable[[], int],
        coming: ComingBy,
        *,
        decide: bool,
        keeps_late: bool | Collection[str] = False,
    ) -> None:
        self._state, self._known, self._now_ms, self._decide = state, known, now_ms, decide
        self._coming = coming
        self._keeps_late = keeps_late
        self._late = known.late
        self._past_hits: Hits | None = None if decide else {}
        self._settings = state.engine.definitions.settings
        self._conversion = state.engine.definitions.conversion
        self._lateness_ms = self._settings.lateness_ms
        self._latest_ms = latest_ms(self._settings, now_ms())
        self._seq = known.seq
        self._batch, self._records = Batch(), list[Record]()
        self._placed: list[SequencedEvent] = []
        self._unique = state.records.unique
        self._events: dict[Key, tuple[Event, Record]] = {}
        self._named: dict[NameKey, tuple[Event, Record]] = {}
        self._label_places: dict[str, int] = {}
        self._early: dict[str, _Early] = {}
        self._early_of: dict[NameKey, list[str]] = defaultdict(list)
        self._repeated: list[tuple[Answer, Key]] = []
        self._repeated_labels: list[Answer] = []
        self._met: dict[str, int] = {}
        self._run_seqs, self._run_others = list[int](), dict[int, Answer]()

    def prepared(self, submissions: Sequence[Submission], offsets: Sequence[Offset]) -> Prepared:
        """Everything that comes of these submissions, in their order."""
        run = self._odd_apart(submissions) if isinstance(submissions, EventRun) else None
        answers = [self._take(submission) for submission in submissions] if run is None else []
        if run is not None:
            run = run.converted(self._conversion)
        placed = self._placed if run is None else self._take_run(run)
        effects = self._state.engine.step(placed)
        batch = self._batch
        batch.decisions = effects.decisions if effects.columns is None else effects.columns
        batch.hits, batch.flags = effects.hits, effects.flags
        batch.outbox, batch.offsets = effects.outbox, [*offsets, *self._coming.offsets()]
        batch.remarks = effects.remarks
        batch.waiting = [early.waiting for early in self._early.values()]
        if run is None:
            batch.records = self._records
            self._fill(answers, effects)
            return Prepared(batch, answers, self._met, placed, effects.scores)
        return Prepared(batch, self._answers(run, effects), self._met, placed, effects.scores)

    # ---- many events at once

    def _odd_apart(self, run: EventRun) -> EventRun | None:
        """The run with the events that are not taken among the others; None where it is not taken as a whole.

        Those are events whose ids the log or the run itself has already, those too far ahead of the clock, and those
        that are too late. Of other types nothing may be in it that is decided, and not many that are not taken.
        """
        types = self._state.engine.definitions.events.types
        if len(run.ids) <= FEW or not self._decide or self._unique:
            return None
        others = {at: other for at, other in run.others.items() if other.event is not None}
        if any(types[other.type].is_decided for other in others.values()):
            return None
        if others and len({source for _, source in run.sources}.union(other.source for other in others.values())) > 1:
            return None
        known, limits = {*self._known.records, *self._late}, (self._latest_ms, self._lateness_ms)
        rows = odd_rows(run, known, self._state.watermark_ms, *limits, keeps_late=bool(self._keeps_late))
        if not rows:
            return None if rows is None else run
        return run.with_apart(rows) if len(rows) <= len(run.ids) // REPEATS_SHARE else None

    def _take_run(self, run: EventRun) -> SequencedBatch:
        """Take events that all are new and in time, and the others among them, in their order."""
        state, name, ids, bodies = self._state, run.type.name, run.ids, run.bodies
        newest = np.maximum.accumulate(np.maximum(run.times, _or_earliest(state.watermark_ms))).tolist()
        named = {value for _, _, value in self._known.waiting}
        for other in run.others.values():
            named |= {other.sent.id} if other.sent else {other.label.event_id} if other.label else set()
        rows = [row for row, id_ in enumerate(ids) if id_ in named] if named else []
        by_line = {run.at[row]: (row, event) for row, event in zip(rows, run.events_at(rows), strict=True)}
        seqs = self._run_seqs
        for line in sorted([*run.others, *by_line]):
            before = bisect_left(run.at, line)
            self._pass(before)
            if line in run.others:
                if before:
                    state.watermark_ms = max(_or_earliest(state.watermark_ms), newest[before - 1])
                self._run_others[line] = self._take(run.others[line])
                continue
            row, event = by_line[line]
            self._pass(row + 1)
            body = bodies[row]
            record = Record(self._seq, "event", name, event.id, event.time_ms, body, self._decide)
            self._events[name, event.id] = event, record
            self._join_waiting([("", event.id)], event, body)
        self._pass(len(ids))
        state.watermark_ms = max(_or_earliest(state.watermark_ms), newest[-1])
        for row, source in run.sources:
            if source != self._coming.where:
                self._coming.note(seqs[row], source)
        others = {record.seq: record for record in self._records}
        places: Sequence[int] = seqs if others else range(seqs[0], seqs[-1] + 1)
        self._batch.records = RecordColumns(name, places, ids, run.times, bodies, others)
        labels = {label.seq: label for label in self._placed}
        return SequencedBatch(name, places, ids, run.times, bodies, run.columns, run.event, labels)

    def _pass(self, row: int) -> None:
        """Give places to the events of a run before this row."""
        count = row - len(self._run_seqs)
        self._run_seqs += range(self._seq + 1, self._seq + 1 + count)
        self._seq += count

    def _answers(self, run: EventRun, effects: Effects) -> Sequence[Answer]:
        """The answers to the lines of a run that was taken."""
        decisions, seqs = effects.columns, self._run_seqs
        mine = [answer.seq for answer, (type_, _) in self._repeated if type_ == run.type.name]
        again = [seq for seq in mine if seq > self._known.seq]
        self._fill_repeated({seq: decisions[bisect_left(seqs, seq)] for seq in again} if decisions is not None else {})
        return RunAnswers(run.type.name, run.at, seqs, run.ids, decisions, self._run_others)

    # ---- one submission

    def _take(self, submission: Submission) -> Answer:
        event = submission.event or submission.refused
        if event is not None:
            return self._event(submission, event)
        if submission.refusal is not None:
            return self._refuse(submission, submission.refusal)
        if submission.label is not None:
            return self._label(submission, submission.label)
        return Answer(UNTAKEN)

    def _refuse(self, submission: Submission, reason: str, *, is_conflict: bool = False) -> Answer:
        origin, raw = (submission.source, submission.place, submission.type), submission.raw()
        self._batch.refused.append(Refused(*origin, reason, raw, self._now_ms(), submission.header))
        id_ = submission.sent.id if submission.sent else ""
        is_label = submission.type == "label"
        return Answer(REFUSED, submission.type, id_, reason=reason, is_conflict=is_conflict, is_label=is_label)

    def _event(self, submission: Submission, event: Event) -> Answer:
        state, type_, id_, time_ms = self._state, event.type, event.id, event.time_ms
        key = type_, id_
        is_converted, body = bool(self._conversion.fields(type_)), submission.body or b""
        earlier = self._events[key][1] if key in self._events else self._known.records.get(key)
        if not body and (not is_converted or earlier is not None or key in self._late):
            body = state.records.encode(event)
        if earlier is not None:
            return self._again(submission, event, body, earlier)
        if key in self._late:
            return self._late_again(submission, event, body, self._late[key])
        if self._unique and (earlier := self._unique.repeated(event, self._named_record, _time_ms)) is not None:
            return self._repeat(event, earlier)
        names = self._unique.keys(event) if self._unique else []
        doubled = self._doubled(type_, names) if names else ""
        if doubled or submission.refusal is not None:
            return self._refuse(submission, doubled or submission.refusal or "")
        if time_ms > self._latest_ms:
            field_name = state.engine.definitions.events.types[type_].time_field
            return self._refuse(submission, too_early(event.time_ms, field_name, self._settings, self._now_ms()))
        watermark_ms = state.watermark_ms
        if watermark_ms is None or watermark_ms < time_ms:
            state.watermark_ms = time_ms
        elif watermark_ms - time_ms > self._lateness_ms:
            if (kept := self._keeps_late) is True or (kept and "/".join(submission.source.split("/", 2)[:2]) in kept):
                return self._keep(submission, event, body or state.records.encode(event))
            words = too_late(event, watermark_ms, state.engine.definitions, self._known.holder)
            return self._refuse(submission, words)
        if is_converted:
            event = self._conversion.event(event)
            body = state.records.encode(event)
        seq = self._seq = self._seq + 1
        if submission.source != self._coming.where:
            self._coming.note(seq, submission.source)
        record = Record(seq, "event", type_, id_, time_ms, body, self._decide)
        self._records.append(record)
        self._events[key] = event, record
        self._placed.append(SequencedEvent(seq, event, body, self._past_hits))
        if submission.personal:
            self._lay_beside(submission, event)
        for name, value in names:
            self._batch.unique.append(UniqueValue(type_, name, value, seq))
            self._named[type_, name, value] = event, record
        if self._known.waiting or self._early:
            self._join_waiting([("", id_), *names], event, body)
        return Answer(TAKEN, type_, id_, seq)

    def _doubled(self, type_: str, names: Iterable[Named]) -> str:
        """Why an event with these unique values cannot be taken; nothing where nobody has them."""
        for name, value in names:
            record = self._named_record((type_, name, value))
            if record is not None:
                return f"{name}: it is unique, and {type_} {record.id!r} has the same value already"
        return ""

    def _named_record(self, key: NameKey) -> Record | None:
        """The event that has this value of a unique field."""
        return self._named[key][1] if key in self._named else self._known.unique.get(key)

    def _repeat(self, event: Event, earlier: Record) -> Answer:
        """Answer an event with another id that repeats one, with that one's decision."""
        answer = Answer(DUPLICATE, event.type, event.id, earlier.seq)
        self._repeated.append((answer, (earlier.type, earlier.id)))
        return answer

    def _again(self, submission: Submission, event: Event, body: bytes, earlier: Record) -> Answer:
        """Answer a known id: with the existing decision for equal content, else with a refusal.

        Bytes that differ may still be the same content, written when the type had other
        fields or places; so values are compared, as today's type reads them.
        """
        if earlier.body != body and self._sent(earlier) != event:
            words = f"{event.type} {event.id!r} already exists with different content"
            return self._refuse(submission, words, is_conflict=True)
        return self._repeat(event, earlier)

    def _keep(self, submission: Submission, event: Event, body: bytes) -> Answer:
        """Keep a late event without a sequence number, so that nothing reads it."""
        late = LateEvent(event.type, event.id, event.time_ms, body, self._now_ms())
        self._batch.late.append(late)
        self._late[event.type, event.id] = late
        self._lay_beside(submission, event)
        return Answer(LATE, event.type, event.id)

    def _late_again(self, submission: Submission, event: Event, body: bytes, kept: LateEvent) -> Answer:
        """An id that an event has which was too late and is kept: as with one of the log."""
        stored = Record(0, "event", kept.type, kept.id, kept.time_ms, kept.body, decided=False)
        if kept.body != body and self._sent(stored) != event:
            words = f"{event.type} {event.id!r} came too late and is kept with different content"
            return self._refuse(submission, words, is_conflict=True)
        return Answer(DUPLICATE, event.type, event.id)

    def _sent(self, stored: Record) -> LogEvent | None:
        """An event of the log as it was sent, before amounts were converted."""
        event = self._state.records.decode(stored)
        return self._conversion.sent(event) if isinstance(event, Event) else event

    def _lay_beside(self, submission: Submission, event: Event) -> None:
        """Keep the personal fields of an event, where no fold sees them."""
        self._batch.personal += [PersonalValue(event.type, event.id, name, text) for name, text in submission.personal]

    # ---- labels

    def _label(self, submission: Submission, label: LabelInput) -> Answer:
        places = self._state.records.money_places
        forms = self._unique.forms
        lacking = next((name for name, _ in label.unique if (label.event_type or "", name) not in forms), "")
        if lacking:
            return self._refuse(submission, f"{lacking}: no unique field of {label.event_type} in the active version")
        event, record = self._event_of(label)
        label = label if record is None else label.dated(record.time_ms)
        id_ = label_id(label, places, "" if record is None else record.id)
        misfit = self._misfit(label, event) if event is not None and label.unique else ""
        if not misfit and self._is_known(id_):
            answer = Answer(DUPLICATE, "label", id_, is_label=True)
            self._repeated_labels.append(answer)
            return answer
        if record is None:
            return self._wait(submission, label, id_)
        event = event or self._decoded(record)
        misfit = misfit or _too_early(label, event)
        if misfit:
            return self._refuse(submission, misfit)
        seq = self._join(label, id_, event, record.body)
        standing = self._state.standings[f"{event.type}/{event.id}"]
        in_force = standing.verdict, standing.source
        return Answer(TAKEN, "label", id_, seq, is_label=True, in_force=in_force)

    def _event_of(self, label: LabelInput) -> tuple[Event | None, Record | None]:
        """The event that a label names by its id, else by a unique field, and its record.

        One that is found by its id alone in the log is not read yet, since most labels that come again need it not.
        """
        type_ = label.event_type or ""
        key = type_, label.event_id
        if label.event_id:
            if key in self._events:
                return self._events[key]
            if key in self._known.records:
                record = self._known.records[key]
                return self._decoded(record) if label.unique else None, record
        for name, value in label.unique:
            named = type_, name, value
            if named in self._named:
                return self._named[named]
            if named in self._known.unique:
                record = self._known.unique[named]
                return self._decoded(record), record
        return None, None

    def _decoded(self, record: Record) -> Event:
        found = self._state.records.decode(record)
        assert isinstance(found, Event)
        return found

    def _misfit(self, label: LabelInput, event: Event) -> str:
        """Why an event is not all that a label says of it; nothing where it is."""
        if label.event_id and label.event_id != event.id:
            return f"event: it is not {event.type} {event.id!r}, which {label.unique[0][0]} names"
        has = dict(self._unique.keys(event))
        for name, value in label.unique:
            if has.get(name) != value:
                key = event.type, name, value
                other = self._named_record(key)
                whose = "" if other is None else f"; this is that of {event.type} {other.id!r}"
                return f"{name}: {event.type} {event.id!r} has {'another one' if name in has else 'none'}{whose}"
        return ""

    def _wait(self, submission: Submission, label: LabelInput, id_: str) -> Answer:
        """Keep a label until its event arrives, by the event's id if it has one."""
        type_, name, value = key = label_key(label)
        answer = Answer(WAITING, "label", id_, is_label=True)
        body = waiting_body(label, self._state.records.money_places, self._now_ms())
        origin = submission.source, submission.place, submission.raw()
        waiting = WaitingLabel(type_, value, id_, body, *origin, name, submission.header)
        self._early[id_] = _Early(label, answer, waiting)
        self._early_of[key].append(id_)
        return answer

    def _join_waiting(self, names: Iterable[Named], event: Event, body: bytes) -> None:
        """Append the labels that wait for an event: by id, then by each unique field, in order of arrival.

        So where batches end makes no difference: what waits in the log came before what this batch brought.
        """
        for name, value in names:
            key = event.type, name, value
            for waiting in self._known.waiting.pop(key, ()):
                self._join_stored(waiting, event, body)
            for label_id_ in self._early_of.pop(key, ()):
                self._join_early(label_id_, event, body)

    def _is_known(self, id_: str) -> bool:
        """Whether a label is in the log, in this batch, or waits for its event."""
        known = self._known
        if id_ in self._label_places or id_ in self._early or ("label", id_) in known.records:
            return True
        return id_ in known.waiting_ids and id_ not in self._met

    def _join_stored(self, waiting: WaitingLabel, event: Event, body: bytes) -> None:
        """Append a label that had waited, right after its event; one that does not fit it is refused now."""
        settings = self._state.engine.definitions.settings
        sent = waiting_label(waiting.body, settings.money_places)
        label = sent.dated(event.time_ms)
        self._batch.joined.append(waiting.id)
        # Beyond the limits are those of a program that did not keep them, and amounts under other places of money.
        reason = label_refusal(label, settings) or self._misfit(label, event) or _too_early(label, event)
        if reason:
            self._met[waiting.id] = 0
            self._refuse_waiting(waiting, reason)
        else:
            is_other = bool(waiting.field) or label.known_at_ms != sent.known_at_ms
            id_ = label_id(label, settings.money_places, event.id) if is_other else waiting.id
            self._met[waiting.id] = self._label_places.get(id_) or self._join(label, id_, event, body)

    def _join_early(self, id_: str, event: Event, body: bytes) -> None:
        """The same for a label of this batch, whose answer then has the result."""
        early = self._early.pop(id_)
        label, answer = early.label.dated(event.time_ms), early.answer
        reason = self._misfit(label, event) or _too_early(label, event)
        if reason:
            answer.reason = reason
            self._refuse_waiting(early.waiting, reason)
        else:
            known_as = label_id(label, self._state.records.money_places, event.id)
            answer.seq = self._label_places.get(known_as) or self._join(label, known_as, event, body)
        self._met[id_] = answer.seq

    def _refuse_waiting(self, waiting: WaitingLabel, reason: str) -> None:
        """Refuse a label as if it had come now: the same line again is then the same entry."""
        of = waiting
        self._batch.refused.append(Refused(of.source, of.place, "label", reason, of.raw, self._now_ms(), of.header))

    def _join(self, label: LabelInput, id_: str, event: Event, body: bytes) -> int:
        """Append a label to its event; gives its sequence number."""
        state = self._state
        named = f"{event.type}/{event.id}"
        current = state.standings.get(named)
        new = VerdictInForce(label.verdict, label.source, label.known_at_ms)
        takes_over = current is None or current.gives_way_to(new)
        changes = takes_over and (current is None or current.verdict != new.verdict)
        joined, stored = state.records.join(label, id_, event, body, changes=changes)
        if takes_over:
            state.standings[named] = new
        self._seq += 1
        self._records.append(Record(self._seq, "label", "label", id_, joined.time_ms, stored, decided=False))
        self._label_places[id_] = self._seq
        self._placed.append(SequencedEvent(self._seq, joined, stored, None))
        return self._seq

    # ---- answers

    def _fill(self, answers: Iterable[Answer], effects: Effects) -> None:
        """Add decisions and sequence numbers to the answers; duplicates get the original ones."""
        decided = {row.seq: row for row in effects.decisions}
        for answer in answers:
            row = decided.get(answer.seq) if answer.kind == TAKEN else None
            if row is not None:
                answer.kind, answer.outcome, answer.document = DECIDED, row.outcome, row.document
        self._fill_repeated(decided)

    def _fill_repeated(self, decided: Mapping[int, DecisionRow]) -> None:
        """Give what came again the places of the first ones, and their decisions, of this batch by their places."""
        for answer in self._repeated_labels:
            record = self._known.records.get(("label", answer.id))
            answer.seq = self._label_places.get(answer.id, record.seq if record is not None else 0)
        for answer, key in self._repeated:
            row = decided.get(answer.seq) or self._known.decisions.get(key)
            if row is not None:
                answer.outcome, answer.document = row.outcome, row.document


def _time_ms(record: Record) -> int:
    return record.time_ms


def _or_earliest(watermark_ms: int | None) -> int:
    return EARLIEST if watermark_ms is None else watermark_ms


def _too_early(label: LabelInput, event: Event) -> str:
    if label.known_at_ms >= event.time_ms:
        return ""
    known, happened = time_text(label.known_at_ms), time_text(event.time_ms)
    return f"known_at: {known} lies before the time of {event.type} {event.id!r}, {happened}"
