"""A follower of the log: what it raises is written with the place up to which it was read, in one transaction.

So each alert is there once and in order, whoever is killed and when, however many follow, and for a log that was there
before anybody looked for alerts (see docs/decisions/0037).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

from shroff.cases.case import Alert
from shroff.cases.gathering import gather
from shroff.cases.labelled import followed_labels, write_labels
from shroff.cases.raising import Raiser
from shroff.cases.store import CaseStore
from shroff.events.casework import CaseSettings
from shroff.streams.log import Log

PLACES: Final = 50_000  # read between two looks at anything else: 30 ms where few are alerts
ALERTS: Final = 200  # in one transaction: some 10 ms
LAZY: Final = 200_000  # places without an alert before how far it was read is written: a second's reading


class Follower:
    """Follows one log for alerts, and for labels of events that have one. For one thread.

    Args:
        log: Opened to read; whoever made the follower closes it.
    """

    def __init__(
        self, log: Log, store: CaseStore, settings: CaseSettings, money_places: int, now_ms: Callable[[], int]
    ) -> None:
        self._log, self._store, self._now_ms = log, store, now_ms
        self._raiser = Raiser(log, settings, money_places)
        self._kept: int | None = None  # as the store has it
        self._seen = 0

    @property
    def seq(self) -> int:
        """The place up to which alerts were raised."""
        return self._seen

    def step(self) -> bool:
        """Read on a bit, if there is more; gives whether there was.

        Raises: StorageError, TransientError; then nothing of it was written, and it may be tried again.
        """
        if self._kept is None:
            with self._store.look() as look:
                self._kept = self._seen = look.place()[0]
        upto = min(self._log.last_seq(), self._seen + PLACES)
        if upto <= self._seen:
            return False
        for end, alerts in _parts(self._raiser.alerts(self._seen, upto), upto):
            if not self._take(alerts, end):
                return True
        return True

    def follow(self) -> None:
        """Read up to the end of the log."""
        while self.step():
            pass

    def _take(self, alerts: Sequence[Alert], end: int) -> bool:
        """Write what lies between, where there is something; False where another follower was there first."""
        start = self._seen
        labels = followed_labels(self._log, self._store, start, end, alerts)
        if not alerts and not labels and end - (self._kept or 0) < LAZY:
            self._seen = end
            return True
        with self._store.change() as change:
            place, last_case = change.place()
            if place == self._kept:
                gathered = gather(alerts, change.open_about({one.about for one in alerts}), last_case, self._now_ms())
                change.add_cases(gathered.new)
                change.put_cases(gathered.changed)
                change.add_alerts(gathered.alerts)
                change.add_history(gathered.happened)
                write_labels(change, labels)
                change.put_place(end, gathered.last_case)
        is_ours = place == self._kept
        self._kept = self._seen = end if is_ours else place
        return is_ours


def _parts(alerts: Sequence[Alert], upto: int) -> list[tuple[int, Sequence[Alert]]]:
    """Alerts in parts for a transaction each, with the place up to which it goes; those of a place stay together."""
    parts: list[tuple[int, Sequence[Alert]]] = []
    part: list[Alert] = []
    for seq, of_place in groupby(alerts, key=lambda alert: alert.seq):
        part += of_place
        if len(part) >= ALERTS:
            parts.append((seq, part))
            part = []
    return [*parts, (upto, part)]
