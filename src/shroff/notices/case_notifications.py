"""Notifications of cases that open, stored in the transaction that opens them: a kill leaves both or neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shroff.cases.case import Case
from shroff.notices.definitions import Notice
from shroff.notices.facts import Facts
from shroff.notices.store import Due
from shroff.notices.triggers import BEGUN, SOURCE, due_of, is_news
from shroff.people.sql import Change
from shroff.project.definitions import Definitions
from shroff.runtime.values import replace
from shroff.streams.log import Log, kept_offset

if TYPE_CHECKING:
    from shroff.notices.sql import NoticeStore


@dataclass(slots=True)
class CaseNotifications:
    """Stores notifications about cases. Use it from one thread, while its log is open.

    Args:
        notices: Notices on cases, as of now.
        store: Notices in the database of the cases.
        log: Log opened for reading.
    """

    notices: Sequence[Notice]
    definitions: Definitions
    store: NoticeStore
    log: Log
    now_ms: Callable[[], int]
    facts: Facts = field(init=False)
    _begun: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.facts = Facts(self.definitions)
        with self.store.look():  # creates the tables: inside a transaction this would wait for itself
            pass

    def __call__(self, change: Change, *, case: int, seq: int, at_ms: int, event: str, why: str) -> None:
        """Store notifications of a case that opened or reopened over an event; `at_ms` is the time of that news."""
        if dues := self._dues(case, seq, at_ms, event, why):
            self.store.beside(change).add_dues(dues)

    def _dues(self, case: int, seq: int, at_ms: int, event: str, why: str) -> list[Due]:
        now_ms = self.now_ms()
        # Checked before anything is read
        fresh = [notice for notice in self.notices if now_ms - at_ms <= notice.within_ms]
        if not fresh or not self._is_behind_begun(seq):
            return []
        notice_event = self.facts.notice_event(self.log, event)
        if notice_event is None:
            return []
        news = replace(notice_event, time_ms=at_ms)
        more = {"case": case, "words": why}
        return [
            due_of(notice, "case", f"case-{case}-{seq}", now_ms, event=event, told=more)
            for notice in fresh
            if is_news(notice, self.facts, news, now_ms)
        ]

    def escalated(self, change: Change, *, case: Case, event: str, why: str) -> None:
        """Notify the user to whom a case was escalated, by the first mail notice that covers its event.

        Quiet hours, limit and digest of that notice apply.
        """
        now_ms = self.now_ms()
        notice_event = self.facts.notice_event(self.log, event)
        news = None if notice_event is None else replace(notice_event, time_ms=now_ms)
        mails = (notice for notice in self.notices if notice.channel == "mail" and notice.to.of_event is None)
        for notice in mails:
            if news is not None and is_news(notice, self.facts, news, now_ms):
                more = {"case": case.number, "words": why, "user": case.assignee}
                key = f"escalated-{case.number}-{case.version}"
                self.store.beside(change).add_due(due_of(notice, "case", key, now_ms, event=event, told=more))
                return

    def _is_behind_begun(self, seq: int) -> bool:
        """Whether a record came after notifications began: earlier ones notify no one."""
        if self._begun is None:
            begun = self.log.offsets.get(SOURCE, BEGUN)
            self._begun = None if begun is None else kept_offset(SOURCE, BEGUN, begun, int)
        return self._begun is not None and seq > self._begun
