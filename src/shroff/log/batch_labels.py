"""Labels of a batch, for `log.batch_classifier`: each is joined to its event, or waits until the event arrives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from msgspec import Struct

from shroff.engine.step import SequencedEvent
from shroff.events.event import Event, time_text
from shroff.events.intake import Submission
from shroff.events.labels import LogEvent, VerdictInForce
from shroff.events.unique import Named
from shroff.events.validation import LabelInput, label_refusal
from shroff.features.key_texts import Hits
from shroff.log.dedup_lookup import Key, KnownRecords, NameKey
from shroff.log.history import label_id, label_key, waiting_body, waiting_label
from shroff.log.prepared import DUPLICATE, TAKEN, WAITING, Answer
from shroff.log.state.fold import Folded
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import UNDATED, Batch, Kind, Record, Refused, WaitingLabel


class SequencedRows(Struct):
    """The records of a batch so far, the last with sequence number `seq`, and its events by id and unique value."""

    known: KnownRecords
    seq: int
    records: list[Record] = []
    placed: list[SequencedEvent] = []
    events: dict[Key, tuple[Event, Record]] = {}
    named: dict[NameKey, tuple[Event, Record]] = {}

    def append(
        self, kind: Kind, event: LogEvent, body: bytes, hits: Hits | None = None, *, is_decided: bool = False
    ) -> Record:
        self.seq += 1
        record = Record(self.seq, kind, event.type, event.id, event.time_ms, body, is_decided)
        self.records.append(record)
        self.placed.append(SequencedEvent(self.seq, event, body, hits))
        return record

    def named_record(self, key: NameKey) -> Record | None:
        return self.named[key][1] if key in self.named else self.known.unique.get(key)


class _Early(FrozenStruct):
    """A label of this batch whose event has not arrived, and how the log stores it while it waits."""

    label: LabelInput
    answer: Answer
    waiting: WaitingLabel


class BatchLabels:
    """Classifies the labels of one batch.

    `early` has the batch's pending labels by id, and `met` the sequence numbers as in `Prepared`.

    Args:
        rows: The batch's records, to which labels are appended.
        refuse: Adds a refusal to the batch, and returns the answer.
    """

    def __init__(
        self,
        state: Folded,
        rows: SequencedRows,
        batch: Batch,
        refuse: Callable[[Submission, str], Answer],
        now_ms: Callable[[], int],
    ) -> None:
        self._state = state
        self._rows = rows
        self._known = rows.known
        self._batch = batch
        self._refuse = refuse
        self._now_ms = now_ms
        self._unique = state.records.unique
        self.early: dict[str, _Early] = {}
        self._early_of: dict[NameKey, list[str]] = defaultdict(list)
        self.met: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._repeated: list[Answer] = []

    def take(self, submission: Submission, label: LabelInput) -> Answer:
        """Join a label to its event, or store it until the event arrives."""
        decimals = self._state.records.money_places
        forms = self._unique.forms
        missing = next((name for name, _ in label.unique if (label.event_type or "", name) not in forms), "")
        if missing:
            return self._refuse(submission, f"{missing}: no unique field of {label.event_type} in the active version")
        event, record = self._event_of(label)
        label = label if record is None else label.dated(record.time_ms)
        id_ = label_id(label, decimals, "" if record is None else record.id)
        misfit = self._misfit(label, event) if event is not None and label.unique else ""
        if not misfit and self._is_known(id_):
            answer = Answer(DUPLICATE, "label", id_, is_label=True)
            self._repeated.append(answer)
            return answer
        if record is None:
            return self._wait(submission, label, id_)
        event = event or self._decoded(record)
        reason = misfit or self._misfit(label, event)
        if reason:
            return self._refuse(submission, reason)
        seq = self._join(label, id_, event, record.body)
        verdict = self._state.standings[f"{event.type}/{event.id}"]
        in_force = None
        if verdict.known_at_ms <= max(self._now_ms(), self._state.watermark_ms or 0):
            in_force = verdict.verdict, verdict.source
        return Answer(TAKEN, "label", id_, seq, is_label=True, in_force=in_force)

    def _event_of(self, label: LabelInput) -> tuple[Event | None, Record | None]:
        """Return the event that a label names by id, else by a unique field, and its record.

        An event found by id alone in the log is not decoded: most labels for it are duplicates, which do not need it.
        """
        type_ = label.event_type or ""
        key = type_, label.event_id
        if label.event_id:
            if key in self._rows.events:
                return self._rows.events[key]
            if key in self._known.records:
                record = self._known.records[key]
                return self._decoded(record) if label.unique else None, record
        for name, value in label.unique:
            unique_key = type_, name, value
            if unique_key in self._rows.named:
                return self._rows.named[unique_key]
            if unique_key in self._known.unique:
                record = self._known.unique[unique_key]
                return self._decoded(record), record
        return None, None

    def _decoded(self, record: Record) -> Event:
        event = self._state.records.decode(record)
        assert isinstance(event, Event)
        return event

    def _misfit(self, label: LabelInput, event: Event) -> str:
        """Return the contradiction between a label and an event; empty if they fit."""
        if label.event_id and label.event_id != event.id:
            return f"event: it is not {event.type} {event.id!r}, which {label.unique[0][0]} names"
        has = dict(self._unique.keys(event))
        for name, value in label.unique:
            if has.get(name) != value:
                key = event.type, name, value
                other = self._rows.named_record(key)
                whose = "" if other is None else f"; this is that of {event.type} {other.id!r}"
                return f"{name}: {event.type} {event.id!r} has {'another one' if name in has else 'none'}{whose}"
        if label.known_at_ms >= event.time_ms:
            return ""
        known_at = time_text(label.known_at_ms)
        happened = time_text(event.time_ms)
        return f"known_at: {known_at} lies before the time of {event.type} {event.id!r}, {happened}"

    def _wait(self, submission: Submission, label: LabelInput, id_: str) -> Answer:
        """Store a label until its event arrives, under the event's id if it has one."""
        key = label_key(label)
        type_, name, value = key
        answer = Answer(WAITING, "label", id_, is_label=True)
        body = waiting_body(label, self._state.records.money_places, self._now_ms())
        origin = submission.source, submission.place, submission.raw()
        waiting = WaitingLabel(type_, value, id_, body, *origin, name, submission.header)
        self.early[id_] = _Early(label, answer, waiting)
        self._early_of[key].append(id_)
        return answer

    def join_waiting(self, names: Iterable[Named], event: Event, body: bytes) -> None:
        """Append the labels that wait for an event: by id, then by each unique field, in order of arrival.

        Labels pending in the log arrived before those of this batch, so the order does not depend on batch boundaries.
        """
        for name, value in names:
            key = event.type, name, value
            for pending_label in self._known.waiting.pop(key, ()):
                self._join_stored(pending_label, event, body)
            for label_id_ in self._early_of.pop(key, ()):
                self._join_early(label_id_, event, body)

    def _is_known(self, id_: str) -> bool:
        known = self._known
        if id_ in self._places or id_ in self.early or ("label", id_) in known.records:
            return True
        return id_ in known.waiting_ids and id_ not in self.met

    def _join_stored(self, waiting: WaitingLabel, event: Event, body: bytes) -> None:
        """Append a label of the log that was pending, right after its event; refuse it if it does not fit the event."""
        settings = self._state.engine.definitions.settings
        sent = waiting_label(waiting.body, settings.money_places)
        label = sent.dated(event.time_ms)
        self._batch.joined.append(waiting.id)
        # Refusals happen if another program stored the label unchecked, or if the decimals of amounts changed since.
        reason = label_refusal(label, settings) or self._misfit(label, event)
        if reason:
            self.met[waiting.id] = 0
            self._refuse_waiting(waiting, reason)
        else:
            is_other = bool(waiting.field) or label.known_at_ms != sent.known_at_ms
            id_ = label_id(label, settings.money_places, event.id) if is_other else waiting.id
            self.met[waiting.id] = self._places.get(id_) or self._join(label, id_, event, body)

    def _join_early(self, id_: str, event: Event, body: bytes) -> None:
        early = self.early.pop(id_)
        label = early.label.dated(event.time_ms)
        answer = early.answer
        reason = self._misfit(label, event)
        if reason:
            answer.reason = reason
            self._refuse_waiting(early.waiting, reason)
        else:
            known_as = label_id(label, self._state.records.money_places, event.id)
            answer.seq = self._places.get(known_as) or self._join(label, known_as, event, body)
        self.met[id_] = answer.seq

    def _refuse_waiting(self, waiting: WaitingLabel, reason: str) -> None:
        """Refuse a label as if it had arrived now, so that the same line sent again is the same entry of quarantine."""
        self._batch.refused.append(
            Refused(waiting.source, waiting.place, "label", reason, waiting.raw, UNDATED, waiting.header)
        )

    def _join(self, label: LabelInput, id_: str, event: Event, body: bytes) -> int:
        state = self._state
        event_name = f"{event.type}/{event.id}"
        current = state.standings.get(event_name)
        new = VerdictInForce(label.verdict, label.source, label.known_at_ms)
        joined, stored = state.records.join(label, id_, event, body, changes=new.changes(current))
        if new.takes_over(current):
            state.standings[event_name] = new
        seq = self._rows.append("label", joined, stored).seq
        self._places[id_] = seq
        return seq

    def fill_repeated(self) -> None:
        """Set the sequence numbers of duplicate labels to those of the originals."""
        for answer in self._repeated:
            record = self._known.records.get(("label", answer.id))
            answer.seq = self._places.get(answer.id, record.seq if record is not None else 0)
