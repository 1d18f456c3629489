"""Triggers of notices: flags from the log's outbox, decisions and verdicts from the log, customers' answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.events.labels import VerdictInForce
from shroff.log.flags import FeedLabel, heard
from shroff.notices.definitions import Notice
from shroff.notices.facts import Facts, NoticeEvent
from shroff.notices.services import NoticeServices
from shroff.notices.store import Due, OutgoingMessage, Question
from shroff.runtime.values import replace
from shroff.streams.log import Log, OutboxRow, kept_offset
from shroff.streams.sink import Outgoing, Undelivered
from shroff.streams.sink_cursor import BEGAN, source_of
from shroff.worker.outbox import KEYS_MAX, OF_NOTICE

if TYPE_CHECKING:
    from shroff.notices.sql import NoticeStore

KIND = "notice:"  # prefix of a kind in the log's outbox, followed by the notice
SOURCE = "notices"  # name of the offset in the log
BEGUN = "begun"  # partition of that offset: the last sequence number before notices, which notify nobody


class _Flagged(msgspec.Struct):
    """Row of a flag's notification in the log's outbox."""

    event: str
    rule: str
    reason: str


def due_of(
    notice: Notice, kind: str, key: str, now_ms: int, *, event: str = "", rule: str = "", told: Mapping[str, Any] = {}
) -> Due:
    """Make a notification of a notice, due after its digest interval."""
    details = to_json(told).decode() if told else ""
    return Due(f"{notice.name}/{key}", notice.name, kind, event, rule, details, now_ms, now_ms + notice.digest_ms)


def flagged(services: NoticeServices, facts: Facts, log: Log, rows: Sequence[OutboxRow], begun: int) -> Iterator[Due]:
    """Iterate over the notifications for rows of the log's outbox that are news to an existing notice."""
    now_ms = services.now_ms()
    flagged_rows = list[tuple[OutboxRow, Notice, _Flagged]]()
    for row in rows:
        notice = services.notices.get(row.kind.removeprefix(KIND)) if row.kind.startswith(KIND) else None
        if notice is not None and notice.on == "flag" and row.seq > begun:
            flagged_rows.append((row, notice, from_json(row.body, type=_Flagged)))
    events = facts.notice_events(log, [flag.event for _, _, flag in flagged_rows])
    for row, notice, flag in flagged_rows:
        notice_event = events.get(flag.event)
        if notice_event is not None and is_news(notice, facts, notice_event, now_ms):
            more = {"reason": flag.reason}
            yield due_of(notice, "flag", row.key, now_ms, event=flag.event, rule=flag.rule, told=more)


def is_news(notice: Notice, facts: Facts, notice_event: NoticeEvent, now_ms: int) -> bool:
    """Whether a notice reports this event: it is recent enough, has the right type, and `when` is true."""
    return now_ms - notice_event.time_ms <= notice.within_ms and concerns(notice, facts, notice_event)


def concerns(notice: Notice, facts: Facts, notice_event: NoticeEvent) -> bool:
    return (not notice.event or notice_event.type == notice.event) and facts.holds(notice, notice_event)


class DecisionNotices:
    """Sink of decisions for one notice: stores a notification of each. Repeated rows are dropped by their keys."""

    on = "decision"
    wants_fields: bool = False
    places_max: int = KEYS_MAX

    def __init__(self, services: NoticeServices, notice: Notice) -> None:
        self._services = services
        self._notice = notice
        self._facts = Facts(services.definitions)
        self._log: Log | None = None
        self._store: NoticeStore | None = None

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        self._log = log = self._log or self._services.open_log()
        self._services.renew()
        self._services.follow(log)
        self._facts = self._facts.of(self._services.definitions)
        notice = self._services.notices.get(self._notice.name)
        now_ms = self._services.now_ms()
        if notice is None or notice.on != self.on:
            return []
        events = self._facts.notice_events(log, [row.name for row in rows])
        if dues := list(self._dues(notice, log, rows, events, now_ms)):
            self._store = store = self._store or self._services.open_store()
            with store.change() as change:
                change.add_dues(dues)
        return []

    def _dues(
        self, notice: Notice, log: Log, rows: Sequence[Outgoing], events: Mapping[str, NoticeEvent], now_ms: int
    ) -> Iterator[Due]:
        for row in rows:
            notice_event = events.get(row.name)
            if notice_event is not None and is_news(notice, self._facts, notice_event, now_ms):
                yield due_of(notice, self.on, row.key, now_ms, event=notice_event.name)

    def close(self) -> None:
        for part in (self._log, self._store):
            if part is not None:
                part.close()
        self._log = self._store = None


class VerdictNotices(DecisionNotices):
    """Sink of labels for one notice: stores a notification of each active verdict that begins or ends by them.

    A verdict ends for a notice with `ends` only if a notice told its beginning, which the log alone shows: the start
    of that notice, and the time at which the log took the label. So it does not matter when rows are sent here.
    Memory: two verdicts for each labeled event. The first call reads all labels, 5 µs each.
    """

    on = "verdict"

    def __init__(self, services: NoticeServices, notice: Notice) -> None:
        super().__init__(services, notice)
        self._active: dict[str, FeedLabel] = {}
        self._first: dict[str, FeedLabel] = {}  # the label by which the accepted verdict of an event last began
        self._read_to = 0

    def _dues(
        self, notice: Notice, log: Log, rows: Sequence[Outgoing], events: Mapping[str, NoticeEvent], now_ms: int
    ) -> Iterator[Due]:
        beginning = replace(notice, ends=False)
        partners = [other for other in self._services.of_kind(self.on) if notice.is_end_of(other)] or [notice]
        for label in heard(log, self._read_to, rows[-1].seq):
            previous = self._active.get(label.event)
            if not label.takes_over(previous):
                continue
            self._active[label.event] = label
            first = self._first.get(label.event) if notice.ends else label
            if beginning.reports(label, previous):
                self._first[label.event] = label
            notice_event = events.get(label.event)
            if notice_event is None or label.seq < rows[0].seq or not notice.reports(label, previous) or first is None:
                continue
            is_told = any(self._tells(partner, log, first, notice_event) for partner in partners)
            if is_told and self._concerned_then(notice, log, label, notice_event):
                details = {
                    "verdict": label.verdict,
                    "source": label.source,
                    "old_verdict": "" if previous is None else previous.verdict,
                    "old_source": "" if previous is None else previous.source,
                }
                yield due_of(notice, self.on, f"{label.seq}-0", now_ms, event=notice_event.name, told=details)
        self._read_to = rows[-1].seq

    def _tells(self, notice: Notice, log: Log, label: FeedLabel, notice_event: NoticeEvent) -> bool:
        """Whether a notice tells that a verdict begins with this label."""
        source = source_of(OF_NOTICE + notice.name)
        began = log.offsets.get(source, BEGAN)
        if began is None or label.seq <= kept_offset(source, BEGAN, began, int):
            return False
        ((_, taken_ms),) = log.ingested(label.seq - 1, label.seq)
        is_recent = taken_ms is None or taken_ms - label.known_at_ms <= notice.within_ms
        return is_recent and self._concerned_then(notice, log, label, notice_event)

    def _concerned_then(self, notice: Notice, log: Log, label: FeedLabel, notice_event: NoticeEvent) -> bool:
        """Whether a notice is about an event by the lists and tables that were active when the label came.

        Later ones would end a verdict whose beginning was not told, or the reverse.
        """
        facts = self._facts.of(self._services.in_force_at(log, label.seq))
        return concerns(notice, facts, notice_event)


def answered(notices: Mapping[str, Notice], question: Question, now_ms: int, verdict: VerdictInForce) -> list[Due]:
    """Return the notifications of an answer. `verdict` is the active one for the event once the answer counts."""
    details = {"answer": question.answer, "released": question.is_released}
    type_ = question.event.partition("/")[0]
    kind = "appeal" if question.is_why else "answer"
    return [
        due_of(notice, kind, f"{question.answer}-{question.id}", now_ms, event=question.event, told=details)
        for notice in notices.values()
        if notice.on == "answer" and question.answer in notice.answers and notice.event in {"", type_}
        if notice.accepts(verdict)
    ]


def done(notices: Mapping[str, Notice], letter: OutgoingMessage, dues: Sequence[Due], now_ms: int) -> list[Due]:
    """Return the notifications of a letter that was sent or refused, for each event in it and each notice on that."""
    letter_notice = notices.get(letter.notice)
    details = {"of": letter.notice, "words": letter.reason}
    return [
        due_of(
            notice,
            letter.state,
            f"{letter.state}-{letter.id}-{due.event}",
            now_ms,
            event=due.event,
            rule=due.rule,
            told=details,
        )
        for notice in notices.values()
        if letter_notice is not None and notice.is_about(letter_notice, letter.state)
        for due in dues
        if due.event and notice.event in {"", due.event.partition("/")[0]}
    ]
