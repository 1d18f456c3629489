"""A desk with cases over a SQLite file, without a log that anybody leads: alerts come as a test says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.cases.alert_consumer import CaseOpening, take_in
from shroff.cases.case import STATES, Alert, Case, CaseFilter
from shroff.cases.case_service import CaseService
from shroff.cases.sql import CaseStore
from shroff.log.flags import FeedLabel
from shroff.people.access import RIGHTS, Role, Who
from shroff.people.audit import sealing, verify
from shroff.people.store import User, rows_of
from shroff.project.settings.casework import CaseSettings
from shroff.runtime.values import replace
from tests.support.log_rows import NOW_MS

SEAL = sealing(b"of a test")


def user(number: int, name: str, role: Role = Role.ANALYST) -> Who:
    """A user who signed in."""
    return Who("user", f"user-{number}", name, role, RIGHTS[role])


ANN, BEN = user(1, "Ann"), user(2, "Ben")
VIEWER = user(3, "Vera", Role.VIEWER)


def alert(seq: int, key: str = "c-1", **more: Any) -> Alert:
    """An alert of which only its place and key matter, of an event some time before `NOW_MS`."""
    time_ms, due_ms = NOW_MS - 1_000 + seq, NOW_MS + seq + 1_000
    made = Alert(seq, "card", key, "payment", f"p-{seq}", time_ms, due_ms, "review", stake=1_000)
    return replace(made, **more)


def denial(seq: int, of: int, known_ms: int = NOW_MS) -> FeedLabel:
    """A customer's "no" at a place of the log, to the event `payment/p-OF`."""
    return FeedLabel("fraud", "customer", known_ms, seq, f"payment/p-{of}")


@dataclass(slots=True)
class NoticeServices:
    """A desk, its clock, and what a test asks of both."""

    folder: Path
    people: SqlPeople
    desk: CaseService
    now_ms: int = NOW_MS

    def raised(self, *alerts: Alert) -> None:
        """Alerts came."""
        self.heard(*alerts)

    def heard(self, *alerts: Alert, labels: Sequence[FeedLabel] = ()) -> list[CaseOpening]:
        """Alerts came, with labels; gives the cases that opened."""
        with self.desk.store.change() as change:
            upto = max(label.seq for label in (*alerts, *labels))
            closed = self.desk.settings.foreign("", closed=True)
            return take_in(change, alerts, labels, self.now_ms, upto, change.place()[1], closed)

    def denied(self, seq: int, of: int, known_ms: int | None = None) -> list[CaseOpening]:
        """At a place a customer said that it was not them, of the event `payment/p-OF`."""
        return self.heard(labels=[denial(seq, of, self.now_ms if known_ms is None else known_ms)])

    def case(self, number: int = 1) -> Case:
        with self.desk.store.look() as look:
            found = look.case(number)
        assert found is not None
        return found

    def cases(self) -> list[Case]:
        with self.desk.store.look() as look:
            return look.queue(CaseFilter(states=STATES), "newest", limit=1_000)[::-1]

    def alerts(self, number: int = 1) -> list[Alert]:
        with self.desk.store.look() as look:
            return look.alerts(number)

    def labels(self) -> list[tuple[str, str, str, int]]:
        """What was asked of the log: event, verdict, source and when it was known, in order."""
        log = SqliteLog(self.folder / "log.db", read_only=True)
        try:
            requests = log.inbox.pending(limit=10_000)
        finally:
            log.close()
        assert {item.kind for item in requests} <= {"labels"}
        given = [item["label"] for request in requests for item in msgspec.json.decode(request.body)]
        return [
            (f"{row['event_type']}/{row['event_id']}", row["verdict"], row["source"], row["known_at_ms"])
            for row in given
        ]

    def acts(self) -> list[str]:
        """What the record says was done; it is one whole chain."""
        with self.people.look() as look:
            head = look.head()
        assert verify(rows_of(self.people), head, SEAL).breaks == []
        return [row.action for row in rows_of(self.people)]


@contextmanager
def services(folder: Path, **settings: Any) -> Iterator[NoticeServices]:
    """An office whose settings are these; two analysts and a viewer work there."""
    path = folder / "log.db"
    is_new = not path.exists()
    if is_new:
        SqliteLog(path).close()
    people = SqlPeople(path, SEAL)
    made: list[NoticeServices] = []
    chosen = CaseSettings(**{"second_look": 0.0, **settings})
    made.append(NoticeServices(folder, people, CaseService(CaseStore(people), people, lambda: made[0].now_ms, chosen)))
    if is_new:
        with people.change() as change:
            for who in (ANN, BEN, VIEWER):
                given = (who.role, "", 1)
                change.add_user(User(0, who.name.lower(), who.name, "", *given, is_disabled=False, made_at_ms=NOW_MS))
    try:
        yield made[0]
    finally:
        people.close()
