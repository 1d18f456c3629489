"""A batch in the making: what becomes of each submission, on state that moves along with it.

It checks what the door cannot see (ids, lateness, labels and their events), gives places
and lets the engine decide. Nothing is written here, and a draft that is not committed
takes its state with it: see `decisions.writer`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from shroff.decisions.engine import Effects, Placed
from shroff.decisions.fold import Folded
from shroff.decisions.history import label_id, waiting_body, waiting_label
from shroff.events.door import LabelInput
from shroff.events.event import Event, time_text
from shroff.events.intake import Submission
from shroff.events.labels import Standing
from shroff.language.values import show_duration
from shroff.streams.log import Batch, Log, Offset, Record, Refused, WaitingLabel

DECIDED: Final = "decided"
TAKEN: Final = "taken"
DUPLICATE: Final = "duplicate"
REFUSED: Final = "refused"
WAITING: Final = "waiting"
UNTAKEN: Final = "untaken"

Key = tuple[str, str]  # a type and an id


@dataclass(slots=True)
class Answer:
    """What became of one submission. `document` is the decision's bytes, where there is one.

    A label that came before its event is `waiting` whatever the batches; `seq` is its place
    where the event came in the same batch, and `reason` says then why it did not fit.
    """

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
    """A batch ready to be committed, and the answers that hold once it is.

    `met` has the labels that had waited, in the log or in this batch, and whose event has
    come: their places by their ids, 0 for one that did not fit its event and was refused.
    """

    batch: Batch
    answers: list[Answer]
    met: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Early:
    """A label of this batch whose event has not come yet."""

    label: LabelInput
    answer: Answer


@dataclass(slots=True)
class _Stored:
    """What the log has already of a batch, asked once."""

    records: dict[Key, Record] = field(default_factory=dict)
    waiting: dict[Key, list[WaitingLabel]] = field(default_factory=dict)
    waiting_ids: frozenset[str] = frozenset()


class Draft:
    """Takes the submissions of one batch.

    Args:
        state: State at the end of the log. It moves on, so it must not be used if this batch is not committed.
        has_waiting: Whether the log has waiting labels at all.
        decide: Whether events are decided, or only taken.
    """

    def __init__(
        self, log: Log, state: Folded, now_ms: Callable[[], int], *, has_waiting: bool, decide: bool, after: int
    ) -> None:
        self._log, self._state, self._now_ms = log, state, now_ms
        self._has_waiting, self._decide = has_waiting, decide
        self._seq = after
        self._batch = Batch()
        self._stored = _Stored()
        self._placed: list[Placed] = []
        self._events: dict[Key, tuple[Event, Record]] = {}
        self._label_places: dict[str, int] = {}
        self._early: dict[str, _Early] = {}
        self._early_of: dict[Key, list[str]] = defaultdict(list)
        self._repeated: list[tuple[Answer, Key]] = []
        self._repeated_labels: list[Answer] = []
        self._met: dict[str, int] = {}

    def prepared(self, submissions: Sequence[Submission], offsets: Sequence[Offset]) -> Prepared:
        """Everything that comes of these submissions, in their order."""
        self._stored = self._look_up(submissions)
        answers = [self._take(one) for one in submissions]
        effects = self._state.engine.step(self._placed)
        batch = self._batch
        batch.decisions, batch.hits, batch.flags = effects.decisions, effects.hits, effects.flags
        batch.outbox, batch.offsets = effects.outbox, list(offsets)
        places = self._state.records.money_places
        batch.waiting = [
            WaitingLabel(early.label.event_type or "", early.label.event_id, id_, waiting_body(early.label, places))
            for id_, early in self._early.items()
        ]
        self._fill(answers, effects)
        return Prepared(batch, answers, self._met)

    # ---- what the log already has

    def _look_up(self, submissions: Iterable[Submission]) -> _Stored:
        """The records and waiting labels that concern a batch: a query for each type, not for each submission."""
        events: dict[str, list[str]] = defaultdict(list)
        named: dict[str, list[str]] = defaultdict(list)
        labels: list[str] = []
        for one in submissions:
            if one.event is not None:
                events[one.type].append(one.event.id)
            elif one.label is not None:
                named[one.label.event_type or ""].append(one.label.event_id)
                labels.append(label_id(one.label, self._state.records.money_places))
        found = _Stored()
        wanted = {type_: {*events.get(type_, ()), *named.get(type_, ())} for type_ in (*events, *named)}
        for type_, ids in (wanted | {"label": set(labels)} if labels else wanted).items():
            found.records.update({(type_, id_): record for id_, record in self._log.find(type_, list(ids)).items()})
        if self._has_waiting:
            for type_, in_order in events.items():
                for label in self._log.waiting_for(type_, in_order):
                    found.waiting.setdefault((type_, label.event_id), []).append(label)
            found.waiting_ids = frozenset(row.id for row in self._log.waiting_with_ids(labels))
        return found

    # ---- one submission

    def _take(self, one: Submission) -> Answer:
        if one.refusal is not None:
            return self._refuse(one, one.refusal)
        if one.event is not None:
            return self._event(one, one.event)
        if one.label is not None:
            return self._label(one, one.label)
        return Answer(UNTAKEN)

    def _refuse(self, one: Submission, reason: str, *, is_conflict: bool = False) -> Answer:
        self._batch.refused.append(Refused(one.source, one.place, one.type, reason, one.raw(), self._now_ms()))
        id_ = one.event.id if one.event else ""
        is_label = one.type == "label"
        return Answer(REFUSED, one.type, id_, reason=reason, is_conflict=is_conflict, is_label=is_label)

    def _event(self, one: Submission, event: Event) -> Answer:
        state, key = self._state, (event.type, event.id)
        body = state.records.encode(event)
        earlier = self._events[key][1] if key in self._events else self._stored.records.get(key)
        if earlier is not None:
            return self._again(one, event, body, earlier)
        late = self._lateness(event)
        if late:
            return self._refuse(one, late)
        self._seq += 1
        seq = self._seq
        record = Record(seq, "event", event.type, event.id, event.time_ms, body, self._decide)
        self._batch.records.append(record)
        self._events[key] = event, record
        self._placed.append(Placed(seq, event, body, None if self._decide else frozenset()))
        state.watermark_ms = event.time_ms if state.watermark_ms is None else max(state.watermark_ms, event.time_ms)
        for waiting in self._stored.waiting.pop(key, ()):
            self._join_stored(waiting, event, body)
        if self._early:
            for id_ in self._early_of.pop(key, ()):
                self._join_early(id_, event, body)
        return Answer(TAKEN, event.type, event.id, seq)

    def _again(self, one: Submission, event: Event, body: bytes, earlier: Record) -> Answer:
        """An id that is taken: the same content is answered from what was decided, other content is refused.

        Bytes that differ may still be the same content, written when the type had other
        fields or places; so values are compared, as today's type reads them.
        """
        if earlier.body != body and self._state.records.decode(earlier) != event:
            words = f"{event.type} {event.id!r} is in the log with other content; an id names one event"
            return self._refuse(one, words, is_conflict=True)
        answer = Answer(DUPLICATE, event.type, event.id, earlier.seq)
        self._repeated.append((answer, (event.type, event.id)))
        return answer

    def _lateness(self, event: Event) -> str:
        """Why an event is too late, or nothing."""
        definitions, watermark_ms = self._state.engine.definitions, self._state.watermark_ms
        lateness_ms = definitions.settings.lateness_ms
        if watermark_ms is None or watermark_ms - event.time_ms <= lateness_ms:
            return ""
        field_name = definitions.events.types[event.type].time_field
        behind = show_duration(watermark_ms - event.time_ms)
        return (
            f"{field_name}: too late: {time_text(event.time_ms)} is {behind} behind the newest event, "
            f"and lateness in shroff.yaml allows {show_duration(lateness_ms)}"
        )

    # ---- labels

    def _label(self, one: Submission, label: LabelInput) -> Answer:
        key = (label.event_type or "", label.event_id)
        id_ = label_id(label, self._state.records.money_places)
        if self._is_known(id_):
            answer = Answer(DUPLICATE, "label", id_, is_label=True)
            self._repeated_labels.append(answer)
            return answer
        if key in self._events:
            event, record = self._events[key]
        elif key in self._stored.records:
            record = self._stored.records[key]
            found = self._state.records.decode(record)
            assert isinstance(found, Event)
            event = found
        else:
            answer = Answer(WAITING, "label", id_, is_label=True)
            self._early[id_] = _Early(label, answer)
            self._early_of[key].append(id_)
            return answer
        too_early = _too_early(label, event)
        if too_early:
            return self._refuse(one, too_early)
        seq = self._join(label, id_, event, record.body)
        return Answer(TAKEN, "label", id_, seq, is_label=True)

    def _is_known(self, id_: str) -> bool:
        """Whether a label is in the log, in this batch, or waits for its event."""
        stored = self._stored
        if id_ in self._label_places or id_ in self._early or ("label", id_) in stored.records:
            return True
        return id_ in stored.waiting_ids and id_ not in self._met

    def _join_stored(self, waiting: WaitingLabel, event: Event, body: bytes) -> None:
        """Append a label that had waited, right after its event; one that was known too early is refused now."""
        label = waiting_label(waiting.body, self._state.records.money_places)
        self._batch.joined.append(waiting.id)
        too_early = _too_early(label, event)
        if too_early:
            self._met[waiting.id] = 0
            self._refuse_waiting(label, waiting.body, too_early)
        else:
            self._met[waiting.id] = self._join(label, waiting.id, event, body)

    def _join_early(self, id_: str, event: Event, body: bytes) -> None:
        """The same for a label of this batch, whose answer then says what became of it."""
        early = self._early.pop(id_)
        label, answer = early.label, early.answer
        too_early = _too_early(label, event)
        if too_early:
            answer.reason = too_early
            self._refuse_waiting(label, waiting_body(label, self._state.records.money_places), too_early)
        else:
            answer.seq = self._join(label, id_, event, body)
        self._met[id_] = answer.seq

    def _refuse_waiting(self, label: LabelInput, raw: bytes, reason: str) -> None:
        place = f"{label.event_type}/{label.event_id}"
        self._batch.refused.append(Refused("waiting labels", place, "label", reason, raw, self._now_ms()))

    def _join(self, label: LabelInput, id_: str, event: Event, body: bytes) -> int:
        """Append a label with its event; gives its place."""
        state = self._state
        named = f"{event.type}/{event.id}"
        current = state.standings.get(named)
        new = Standing(label.verdict, label.source, label.known_at_ms)
        takes_over = current is None or current.gives_way_to(new)
        changes = takes_over and (current is None or current.verdict != new.verdict)
        joined, stored = state.records.join(label, id_, event, body, changes=changes)
        if takes_over:
            state.standings[named] = new
        self._seq += 1
        self._batch.records.append(Record(self._seq, "label", "label", id_, joined.time_ms, stored, decided=False))
        self._label_places[id_] = self._seq
        self._placed.append(Placed(self._seq, joined, stored, None))
        return self._seq

    # ---- answers

    def _fill(self, answers: Iterable[Answer], effects: Effects) -> None:
        """Put decisions and places into the answers; of duplicates those of the first time."""
        decided = {row.seq: row for row in effects.decisions}
        for answer in answers:
            row = decided.get(answer.seq) if answer.kind == TAKEN else None
            if row is not None:
                answer.kind, answer.outcome, answer.document = DECIDED, row.outcome, row.document
        for answer in self._repeated_labels:
            record = self._stored.records.get(("label", answer.id))
            answer.seq = self._label_places.get(answer.id, record.seq if record is not None else 0)
        stored: dict[str, list[str]] = defaultdict(list)
        for answer, (type_, id_) in self._repeated:
            row = decided.get(answer.seq)
            if row is not None:
                answer.outcome, answer.document = row.outcome, row.document
            elif (type_, id_) in self._stored.records:
                stored[type_].append(id_)
        rows = {
            (type_, id_): row for type_, ids in stored.items() for id_, row in self._log.decisions(type_, ids).items()
        }
        for answer, key in self._repeated:
            if answer.document is None and key in rows:
                answer.outcome, answer.document = rows[key].outcome, rows[key].document


def _too_early(label: LabelInput, event: Event) -> str:
    if label.known_at_ms >= event.time_ms:
        return ""
    known, happened = time_text(label.known_at_ms), time_text(event.time_ms)
    return f"known_at: {known} lies before the time of {event.type} {event.id!r}, {happened}"
