"""Log follower that raises alerts, and stores in the same transaction the sequence number up to which it has read.

So each alert exists once and in order, even if processes are killed, several follow the log, or the log existed before
the first follower (see docs/decisions/0037).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from shroff.cases.alert_groups import gather
from shroff.cases.alert_rules import AlertRules, RecentDecisions, said_by
from shroff.cases.case import SNOOZED, Alert, Case
from shroff.cases.case_history import past_of
from shroff.cases.label_effects import followed, write_labels
from shroff.engine.exploration import SAMPLED
from shroff.log.flags import FeedLabel, heard
from shroff.project.settings.casework import CaseSettings
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.cases.case_service import NotesEscalations
    from shroff.cases.sql import CaseChange, CaseStore

SEQS_AT_ONCE = 50_000  # sequence numbers read at once: 30 ms if few are alerts
ALERTS = 64  # alerts of one transaction: some 3 ms, during which commits to a log in the same file wait
LAZY = 200_000  # sequence numbers without an alert after which progress is stored: a second of reading


# Last sequence number, and the alerts and labels of one transaction
_Part: TypeAlias = tuple[int, Sequence[Alert], Sequence[FeedLabel]]


class CaseOpening(FrozenStruct):
    """A case that opened, or that a customer's denial reopened: event, sequence number, time and reason."""

    case: int
    seq: int
    at_ms: int
    event: str
    why: str


def take_in(
    change: CaseChange,
    alerts: Sequence[Alert],
    labels: Sequence[FeedLabel],
    now_ms: int,
    upto: int,
    last_case: int,
    closed: Collection[str],
) -> list[CaseOpening]:
    """Group alerts and apply labels, in the order of the log; return the cases that opened or reopened.

    Args:
        upto: Last sequence number that was read.
        last_case: Number of the newest case.
        closed: Queues that only their teams answer.
    """
    open_cases = change.open_about({alert.about for alert in alerts})
    snoozed = [open_case for open_case in open_cases.values() if open_case.state == SNOOZED]
    escalated_cases = {case.number for case in snoozed if past_of(change, case).is_escalated}
    gathered = gather(alerts, open_cases, last_case, now_ms, escalated_cases)
    change.add_cases(gathered.new)
    change.put_cases(gathered.changed)
    change.add_alerts(gathered.alerts)
    change.add_history(gathered.happened)
    reopened = write_labels(change, labels, now_ms, closed)
    change.put_place(upto, gathered.last_case)
    first: dict[int, Alert] = {}
    for alert in gathered.alerts:
        first.setdefault(alert.case, alert)
    # A denial is news from the time at which the customer gave it
    said_ms = {label.seq: label.known_at_ms for label in labels}
    openings = [_opening(case, first[case.number], said_ms) for case in gathered.new if case.rule != SAMPLED]
    reopenings = [
        CaseOpening(
            reopening.case.number,
            reopening.label.seq,
            reopening.label.known_at_ms,
            reopening.label.event,
            said_by(reopening.label),
        )
        for reopening in reopened
    ]
    return [*openings, *reopenings]


def _opening(case: Case, alert: Alert, said_ms: Mapping[int, int]) -> CaseOpening:
    return CaseOpening(case.number, alert.seq, said_ms.get(alert.seq, alert.time_ms), alert.named, case.reason)


class AlertConsumer:
    """Follows one log for alerts, and for labels of events with an alert. Use it from one thread.

    Args:
        log: Log opened for reading; the caller closes it.
        notify: Called with each case that opens; None for no notifications.
        recent: Newest decisions of this process, if it writes the log.
    """

    def __init__(
        self,
        log: Log,
        store: CaseStore,
        settings: CaseSettings,
        money_places: int,
        now_ms: Callable[[], int],
        notify: NotesEscalations | None = None,
        recent: RecentDecisions | None = None,
    ) -> None:
        self._log = log
        self._store = store
        self._now_ms = now_ms
        self._notify = notify
        self._closed = settings.foreign("", closed=True)
        self._rules = AlertRules(log, settings, money_places, recent)
        self._stored_seq: int | None = None  # last stored sequence number; None before the first read
        self._read_seq = 0  # last sequence number read
        self._end_seq = 0  # end of the log at the last check
        self._parts: deque[_Part] = deque()  # read, but not written yet

    @property
    def seq(self) -> int:
        """Sequence number up to which alerts were raised."""
        return self._read_seq

    def step(self) -> bool:
        """Process the next transaction; return whether there is more.

        Raises: StorageError, TransientError; nothing was written then, and the caller may retry.
        """
        if self._stored_seq is None:
            with self._store.look() as reader:
                self._read_seq = reader.place()[0]
            self._stored_seq = self._read_seq
        if not self._parts and not self._read():
            return False
        if self._write_part(*self._parts[0]):
            self._parts.popleft()
        else:
            self._parts.clear()
        return bool(self._parts) or self._read_seq < self._end_seq

    def _read(self) -> bool:
        self._end_seq = self._log.last_seq()
        upto = min(self._end_seq, self._read_seq + SEQS_AT_ONCE)
        if upto <= self._read_seq:
            return False
        labels = list(heard(self._log, self._read_seq, upto))
        self._parts.extend(_parts(self._rules.alerts(self._read_seq, upto), labels, upto))
        return True

    def follow(self) -> None:
        while self.step():
            pass

    def _write_part(self, end: int, alerts: Sequence[Alert], labels: Sequence[FeedLabel]) -> bool:
        """Write one part, if it has anything; return False if another follower was faster."""
        followed_cases = followed(self._store, labels, alerts)
        raised = sorted((*alerts, *self._rules.denied(followed_cases.denials)), key=lambda alert: alert.place)
        if not raised and not followed_cases.labels and end - (self._stored_seq or 0) < LAZY:
            self._read_seq = end
            return True
        with self._store.change() as change:
            stored_seq, last_case = change.place()
            if stored_seq == self._stored_seq:
                now_ms = self._now_ms()
                for opening in take_in(change, raised, followed_cases.labels, now_ms, end, last_case, self._closed):
                    self._notify_of(change, opening)
        is_ours = stored_seq == self._stored_seq
        self._stored_seq = end if is_ours else stored_seq
        self._read_seq = self._stored_seq
        return is_ours

    def _notify_of(self, change: CaseChange, opening: CaseOpening) -> None:
        if self._notify is not None:
            self._notify(
                change.people,
                case=opening.case,
                seq=opening.seq,
                at_ms=opening.at_ms,
                event=opening.event,
                why=opening.why,
            )


def _parts(alerts: Sequence[Alert], labels: Sequence[FeedLabel], upto: int) -> Iterator[_Part]:
    """Split a block into parts of one transaction each, with their last sequence number.

    Alerts of one sequence number stay together. Denials count like alerts, since they may raise some.
    """
    seqs = sorted((*(alert.seq for alert in alerts), *(label.seq for label in labels if label.is_denial)))
    for end in sorted({*seqs[ALERTS - 1 :: ALERTS], upto}):
        of_alerts = bisect_right(alerts, end, key=lambda alert: alert.seq)
        of_labels = bisect_right(labels, end, key=lambda label: label.seq)
        yield end, alerts[:of_alerts], labels[:of_labels]
        alerts = alerts[of_alerts:]
        labels = labels[of_labels:]
