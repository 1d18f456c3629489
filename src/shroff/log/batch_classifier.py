"""Classify the submissions of a batch, for `log.writer`: accepted, duplicate, refused, late or pending.

It checks ids, lateness, and labels against their events, which validation cannot, assigns sequence numbers and calls
the engine. It writes nothing; the state advances, so it is lost if the batch is not committed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from shroff.engine.step import Effects, SequencedBatch
from shroff.events.event import Event
from shroff.events.intake import Submission
from shroff.events.labels import LogEvent
from shroff.events.unique import Named
from shroff.events.validation import latest_ms, too_early
from shroff.features.key_texts import Hits
from shroff.features.online.engine import FEW
from shroff.log.batch_labels import BatchLabels, SequencedRows
from shroff.log.columns.lines import EventRun, odd_rows
from shroff.log.dedup_lookup import Key, KnownRecords
from shroff.log.event_notes import ComingBy
from shroff.log.lateness import too_late
from shroff.log.prepared import DECIDED, DUPLICATE, LATE, REFUSED, TAKEN, UNTAKEN, Answer, Prepared, RunAnswers
from shroff.log.state.fold import Folded
from shroff.streams.log import (
    UNDATED,
    Batch,
    DecisionRow,
    LateEvent,
    Offset,
    PersonalValue,
    Record,
    Refused,
    Remark,
    UniqueValue,
)
from shroff.streams.log_columns import RecordColumns
from shroff.streams.merge import EARLIEST

PERSONAL_CHANGED = "other personal value"
REPEATS_SHARE = 8  # a run with more than one irregular event in this many is processed event by event


class BatchClassifier:
    """Classifies the submissions of one batch.

    Args:
        state: State at the end of the log. It advances, so it must not be used if this batch is not committed.
        known: The records that the log already has for these submissions.
        decide: Whether to decide events or only append them.
        coming: Notes the source of events.
        keeps_late: Whether late events are stored beside the log instead of being refused; or the sources for which
            they are (`read/cards`).
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
        self._state = state
        self._known = known
        self._now_ms = now_ms
        self._decide = decide
        self._coming = coming
        self._keeps_late = keeps_late
        self._late = known.late
        self._past_hits: Hits | None = None if decide else {}
        self._settings = state.engine.definitions.settings
        self._conversion = state.engine.definitions.conversion
        self._lateness_ms = self._settings.lateness_ms
        self._latest_ms = latest_ms(self._settings, now_ms())
        self._batch = Batch()
        self._rows = SequencedRows(known, known.seq)
        self._unique = state.records.unique
        # Not a method: a bound method would form a reference cycle and keep the batch until the next garbage
        # collection.
        self._refuse = partial(_refuse, self._batch)
        self._labels = BatchLabels(state, self._rows, self._batch, self._refuse, now_ms)
        self._repeated: list[tuple[Answer, Key]] = []
        self._run_seqs = list[int]()
        self._run_others = dict[int, Answer]()

    def prepared(self, submissions: Sequence[Submission], offsets: Sequence[Offset]) -> Prepared:
        run = self._split_exceptions(submissions) if isinstance(submissions, EventRun) else None
        answers = [self._take(submission) for submission in submissions] if run is None else []
        if run is not None:
            run = run.converted(self._conversion)
        placed = self._rows.placed if run is None else self._take_run(run)
        effects = self._state.engine.step(placed)
        batch = self._batch
        batch.decisions = effects.decisions if effects.columns is None else effects.columns
        batch.hits = effects.hits
        batch.flags = effects.flags
        batch.outbox = effects.outbox
        batch.offsets = [*offsets, *self._coming.offsets()]
        batch.remarks += effects.remarks
        batch.waiting = [early.waiting for early in self._labels.early.values()]
        if run is None:
            batch.records = self._rows.records
            self._fill(answers, effects)
            return Prepared(batch, answers, self._labels.met, placed, effects.scores)
        return Prepared(batch, self._answers(run, effects), self._labels.met, placed, effects.scores)

    # ---- runs of events

    def _split_exceptions(self, run: EventRun) -> EventRun | None:
        """Return the run with its irregular events (known or repeated id, future time, too late) set apart.

        Return None if the run must be processed event by event: it is short, has other events that are decided, or too
        many irregular ones.
        """
        types = self._state.engine.definitions.events.types
        if len(run.ids) <= FEW or not self._decide or self._unique:
            return None
        others = {at: other for at, other in run.others.items() if other.event is not None}
        if any(types[other.type].is_decided for other in others.values()):
            return None
        if others and len({source for _, source in run.sources}.union(other.source for other in others.values())) > 1:
            return None
        known_ids = {*self._known.records, *self._late}
        limits = (self._latest_ms, self._lateness_ms)
        rows = odd_rows(run, known_ids, self._state.watermark_ms, *limits, keeps_late=bool(self._keeps_late))
        if not rows:
            return None if rows is None else run
        return run.with_apart(rows) if len(rows) <= len(run.ids) // REPEATS_SHARE else None

    def _take_run(self, run: EventRun) -> SequencedBatch:
        """Append the events of a run, which are new and in time, and the other submissions between them, in order."""
        state = self._state
        types = run.types
        ids = run.ids
        bodies = run.bodies
        newest = np.maximum.accumulate(np.maximum(run.times, _or_earliest(state.watermark_ms))).tolist()
        labeled_ids = {value for _, _, value in self._known.waiting}
        for other in run.others.values():
            if other.sent:
                labeled_ids.add(other.sent.id)
            elif other.label:
                labeled_ids.add(other.label.event_id)
        rows = [row for row, id_ in enumerate(ids) if id_ in labeled_ids] if labeled_ids else []
        by_line = {run.at[row]: (row, event) for row, event in zip(rows, run.events_at(rows), strict=True)}
        seqs = self._run_seqs
        for line in sorted([*run.others, *by_line]):
            before = bisect_left(run.at, line)
            self._number_events(before)
            if line in run.others:
                if before:
                    state.watermark_ms = max(_or_earliest(state.watermark_ms), newest[before - 1])
                self._run_others[line] = self._take(run.others[line])
                continue
            row, event = by_line[line]
            self._number_events(row + 1)
            body = bodies[row]
            record = Record(self._rows.seq, "event", event.type, event.id, event.time_ms, body, self._decide)
            self._rows.events[event.type, event.id] = event, record
            self._labels.join_waiting([("", event.id)], event, body)
        self._number_events(len(ids))
        state.watermark_ms = max(_or_earliest(state.watermark_ms), newest[-1])
        for row, source in run.sources:
            if source != self._coming.where:
                self._coming.note(seqs[row], source)
        others = {record.seq: record for record in self._rows.records}
        sequence: Sequence[int] = seqs if others else range(seqs[0], seqs[-1] + 1)
        self._batch.records = RecordColumns(types, sequence, ids, run.times, bodies, others)
        labels = {label.seq: label for label in self._rows.placed}
        return SequencedBatch(types, sequence, ids, run.times, bodies, run.columns, run.event, labels)

    def _number_events(self, row: int) -> None:
        count = row - len(self._run_seqs)
        self._run_seqs += range(self._rows.seq + 1, self._rows.seq + 1 + count)
        self._rows.seq += count

    def _answers(self, run: EventRun, effects: Effects) -> Sequence[Answer]:
        decisions = effects.columns
        repeated_seqs = [answer.seq for answer, _ in self._repeated if answer.seq > self._known.seq]
        self._fill_repeated({} if decisions is None else decisions.by_seq(repeated_seqs))
        return RunAnswers(run.types, run.at, self._run_seqs, run.ids, decisions, self._run_others)

    # ---- one submission

    def _take(self, submission: Submission) -> Answer:
        event = submission.event or submission.refused
        if event is not None:
            return self._event(submission, event)
        if submission.refusal is not None:
            return self._refuse(submission, submission.refusal)
        if submission.label is not None:
            return self._labels.take(submission, submission.label)
        return Answer(UNTAKEN, submission.type)

    def _event(self, submission: Submission, event: Event) -> Answer:
        state = self._state
        type_ = event.type
        id_ = event.id
        time_ms = event.time_ms
        key = type_, id_
        is_converted = bool(self._conversion.fields(type_))
        body = submission.body or b""
        earlier = self._rows.events[key][1] if key in self._rows.events else self._known.records.get(key)
        if not body and (not is_converted or earlier is not None or key in self._late):
            body = state.records.encode(event)
        if earlier is not None:
            return self._again(submission, event, body, earlier)
        if key in self._late:
            return self._late_again(submission, event, body, self._late[key])
        if self._unique:
            earlier = self._unique.repeated(event, self._rows.named_record, _time_ms)
            if earlier is not None:
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
            keeps_late = self._keeps_late
            if keeps_late is True or (keeps_late and "/".join(submission.source.split("/", 2)[:2]) in keeps_late):
                return self._keep(submission, event, body or state.records.encode(event))
            reason = too_late(event, watermark_ms, state.engine.definitions, self._known.holder)
            return self._refuse(submission, reason)
        if is_converted:
            event = self._conversion.event(event)
            body = state.records.encode(event)
        record = self._rows.append("event", event, body, self._past_hits, is_decided=self._decide)
        if submission.source != self._coming.where:
            self._coming.note(record.seq, submission.source)
        self._rows.events[key] = event, record
        if submission.personal:
            self._store_personal(submission, event)
        for name, value in names:
            self._batch.unique.append(UniqueValue(type_, name, value, record.seq))
            self._rows.named[type_, name, value] = event, record
        if self._known.waiting or self._labels.early:
            self._labels.join_waiting([("", id_), *names], event, body)
        return Answer(TAKEN, type_, id_, record.seq)

    def _doubled(self, type_: str, names: Iterable[Named]) -> str:
        """Return why an event's unique value is refused; empty if no other event has it."""
        for name, value in names:
            record = self._rows.named_record((type_, name, value))
            if record is not None:
                return f"{name}: it is unique, and {type_} {record.id!r} has the same value already"
        return ""

    def _repeat(self, event: Event, earlier: Record) -> Answer:
        answer = Answer(DUPLICATE, event.type, event.id, earlier.seq)
        self._repeated.append((answer, (earlier.type, earlier.id)))
        return answer

    def _again(self, submission: Submission, event: Event, body: bytes, earlier: Record) -> Answer:
        """Answer a known id: with the existing decision for equal content, else with a refusal.

        Different bytes may be the same content, written when the type had other fields or decimals. So values are
        compared, as today's type reads them.
        """
        if earlier.body != body and self._sent(earlier) != event:
            reason = f"{event.type} {event.id!r} already exists with different content"
            return self._refuse(submission, reason, is_conflict=True)
        self._note_personal_changes(submission, event)
        return self._repeat(event, earlier)

    def _keep(self, submission: Submission, event: Event, body: bytes) -> Answer:
        """Store a late event without a sequence number, so that nothing reads it."""
        late = LateEvent(event.type, event.id, event.time_ms, body, self._now_ms())
        self._batch.late.append(late)
        self._late[event.type, event.id] = late
        self._store_personal(submission, event)
        return Answer(LATE, event.type, event.id)

    def _late_again(self, submission: Submission, event: Event, body: bytes, kept: LateEvent) -> Answer:
        """Answer an id of a stored late event: as a duplicate for equal content, else with a refusal."""
        stored = Record(0, "event", kept.type, kept.id, kept.time_ms, kept.body, decided=False)
        if kept.body != body and self._sent(stored) != event:
            reason = f"{event.type} {event.id!r} came too late and is kept with different content"
            return self._refuse(submission, reason, is_conflict=True)
        self._note_personal_changes(submission, event)
        return Answer(DUPLICATE, event.type, event.id)

    def _sent(self, stored: Record) -> LogEvent | None:
        """Return a stored event as it was sent, before amounts were converted."""
        event = self._state.records.decode(stored)
        return self._conversion.sent(event) if isinstance(event, Event) else event

    def _store_personal(self, submission: Submission, event: Event) -> None:
        """Store the personal fields of an event apart from the event, so that no fold reads them."""
        self._batch.personal += [PersonalValue(event.type, event.id, name, text) for name, text in submission.personal]
        self._known.personal[event.type, event.id] = dict(submission.personal)

    def _note_personal_changes(self, submission: Submission, event: Event) -> None:
        """Count personal fields that came again with another value, at the sequence number of the event before.

        A value that is missing or erased is no change.
        """
        seq = self._rows.seq
        time_ms = _or_earliest(self._state.watermark_ms)
        first = self._known.personal.get((event.type, event.id), {})
        for name, text in submission.personal:
            if first.get(name, text) != text:
                asker = f"{event.type}.{name}"
                remark = Remark(PERSONAL_CHANGED, asker, 1, seq, time_ms, seq, time_ms)
                self._batch.remarks.append(remark)

    # ---- answers

    def _fill(self, answers: Iterable[Answer], effects: Effects) -> None:
        decided = {row.seq: row for row in effects.decisions}
        for answer in answers:
            row = decided.get(answer.seq) if answer.kind == TAKEN else None
            if row is not None:
                answer.kind = DECIDED
                answer.outcome = row.outcome
                answer.document = row.document
        self._fill_repeated(decided)

    def _fill_repeated(self, decided: Mapping[int, DecisionRow]) -> None:
        """Copy sequence number and decision of the original to each duplicate.

        `decided` maps sequence numbers to this batch's decisions.
        """
        self._labels.fill_repeated()
        for answer, key in self._repeated:
            row = decided.get(answer.seq) or self._known.decisions.get(key)
            if row is not None:
                answer.outcome = row.outcome
                answer.document = row.document


def _refuse(batch: Batch, submission: Submission, reason: str, *, is_conflict: bool = False) -> Answer:
    origin = (submission.source, submission.place, submission.type)
    raw = submission.raw()
    batch.refused.append(Refused(*origin, reason, raw, UNDATED, submission.header))
    id_ = submission.sent.id if submission.sent else ""
    is_label = submission.type == "label"
    return Answer(REFUSED, submission.type, id_, reason=reason, is_conflict=is_conflict, is_label=is_label)


def _time_ms(record: Record) -> int:
    return record.time_ms


def _or_earliest(watermark_ms: int | None) -> int:
    return EARLIEST if watermark_ms is None else watermark_ms
