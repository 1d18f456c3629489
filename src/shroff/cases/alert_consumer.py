"""Log follower that raises alerts; each transaction also stores the sequence number read so far.

So each alert is there once and in order, whoever is killed and when, however many follow, and for a log that was there
before anybody looked for alerts (see docs/decisions/0037).
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

PLACES = 50_000  # read between two looks at anything else: 30 ms where few are alerts
ALERTS = 64  # in one transaction: some 3 ms, for which a log in the same file waits with its commits
LAZY = 200_000  # places without an alert before how far it was read is written: a second's reading


_Part: TypeAlias = tuple[int, Sequence[Alert], Sequence[FeedLabel]]  # up to which place, and what is written of it


class CaseOpening(FrozenStruct):
    """A case that opened, or that a customer's "no" opened again: over which event, at which place, when, and why."""

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
    """Gather alerts and hear labels, in the order of the log; gives the cases that opened.

    Args:
        upto: The place up to which that was read.
        last_case: The number of the newest case.
        closed: Queues whose cases only their teams answer.
    """
    open_cases = change.open_about({alert.about for alert in alerts})
    snoozed = [open_case for open_case in open_cases.values() if open_case.state == SNOOZED]
    escalated = {case.number for case in snoozed if past_of(change, case).is_escalated}
    gathered = gather(alerts, open_cases, last_case, now_ms, escalated)
    change.add_cases(gathered.new)
    change.put_cases(gathered.changed)
    change.add_alerts(gathered.alerts)
    change.add_history(gathered.happened)
    reopened = write_labels(change, labels, now_ms, closed)
    change.put_place(upto, gathered.last_case)
    first: dict[int, Alert] = {}
    for alert in gathered.alerts:
        first.setdefault(alert.case, alert)
    said_ms = {label.seq: label.known_at_ms for label in labels}  # a customer's "no" is news of when it was said
    opened = [_opening(case, first[case.number], said_ms) for case in gathered.new if case.rule != SAMPLED]
    again = [
        CaseOpening(
            reopening.case.number,
            reopening.label.seq,
            reopening.label.known_at_ms,
            reopening.label.event,
            said_by(reopening.label),
        )
        for reopening in reopened
    ]
    return [*opened, *again]


def _opening(case: Case, alert: Alert, said_ms: Mapping[int, int]) -> CaseOpening:
    return CaseOpening(case.number, alert.seq, said_ms.get(alert.seq, alert.time_ms), alert.named, case.reason)


class AlertConsumer:
    """Follows one log for alerts, and for labels of events that have one. For one thread.

    Args:
        log: Opened to read; the process that made the follower closes it.
        tells: Called with each case that opens; None where nobody wants to know.
        recent: What this process has put into the log just now, if it writes it.
    """

    def __init__(
        self,
        log: Log,
        store: CaseStore,
        settings: CaseSettings,
        money_places: int,
        now_ms: Callable[[], int],
        tells: NotesEscalations | None = None,
        recent: RecentDecisions | None = None,
    ) -> None:
        self._log = log
        self._store = store
        self._now_ms = now_ms
        self._tells = tells
        self._closed = settings.foreign("", closed=True)
        self._raiser = AlertRules(log, settings, money_places, recent)
        self._kept: int | None = None  # as the store has it
        self._seen = self._last = 0  # of the log, the end when it was last looked at
        self._parts: deque[_Part] = deque()  # that were read and are not written yet

    @property
    def seq(self) -> int:
        """Sequence number up to which alerts were raised."""
        return self._seen

    def step(self) -> bool:
        """Go on by one transaction, if there is more; gives whether there is more still.

        Raises: StorageError, TransientError; then nothing of it was written, and it may be tried again.
        """
        if self._kept is None:
            with self._store.look() as look:
                self._kept = self._seen = look.place()[0]
        if not self._parts and not self._read():
            return False
        if self._take(*self._parts[0]):
            self._parts.popleft()
        else:
            self._parts.clear()
        return bool(self._parts) or self._seen < self._last

    def _read(self) -> bool:
        """Read what will be written next; whether there is anything."""
        self._last = self._log.last_seq()
        upto = min(self._last, self._seen + PLACES)
        if upto <= self._seen:
            return False
        labels = list(heard(self._log, self._seen, upto))
        self._parts.extend(_parts(self._raiser.alerts(self._seen, upto), labels, upto))
        return True

    def follow(self) -> None:
        """Read up to the end of the log."""
        while self.step():
            pass

    def _take(self, end: int, alerts: Sequence[Alert], labels: Sequence[FeedLabel]) -> bool:
        """Write what lies between, where there is something; False where another follower was there first."""
        found = followed(self._store, labels, alerts)
        raised = sorted((*alerts, *self._raiser.denied(found.denials)), key=lambda alert: alert.place)
        if not raised and not found.labels and end - (self._kept or 0) < LAZY:
            self._seen = end
            return True
        with self._store.change() as change:
            place, last_case = change.place()
            if place == self._kept:
                now_ms = self._now_ms()
                for opening in take_in(change, raised, found.labels, now_ms, end, last_case, self._closed):
                    self._tell(change, opening)
        is_ours = place == self._kept
        self._kept = self._seen = end if is_ours else place
        return is_ours

    def _tell(self, change: CaseChange, opening: CaseOpening) -> None:
        if self._tells is not None:
            self._tells(
                change.people,
                case=opening.case,
                seq=opening.seq,
                at_ms=opening.at_ms,
                event=opening.event,
                why=opening.why,
            )


def _parts(alerts: Sequence[Alert], labels: Sequence[FeedLabel], upto: int) -> Iterator[_Part]:
    """What is written in a transaction each, with the place up to which it goes; what is of one place stays together.

    Denials count as alerts, since they may become some.
    """
    places = sorted((*(alert.seq for alert in alerts), *(label.seq for label in labels if label.is_denial)))
    for end in sorted({*places[ALERTS - 1 :: ALERTS], upto}):
        of_alerts = bisect_right(alerts, end, key=lambda alert: alert.seq)
        of_labels = bisect_right(labels, end, key=lambda label: label.seq)
        yield end, alerts[:of_alerts], labels[:of_labels]
        alerts = alerts[of_alerts:]
        labels = labels[of_labels:]
