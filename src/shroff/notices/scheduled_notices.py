"""Notifications without an event: reports that are due, silence where that is asked for, spikes of rules, failures."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.log.unmatched_files import unmatched_of
from shroff.monitoring.doctor import WRONG, look_at_waiting
from shroff.notices.definitions import Notice
from shroff.notices.reports.daily import report_due
from shroff.notices.reports.report_figures import reckoned
from shroff.notices.services import NoticeServices
from shroff.notices.store import REFUSED, SENT, SHIPPED, UNKNOWN, Due, NoticeStore
from shroff.notices.texts.localization import plain
from shroff.notices.triggers import due_of
from shroff.streams.log import Log
from shroff.streams.sink_cursor import DeliveryHealth

HOURS: Final = 7 * 24  # that say what is usual
LOOK_BACK: Final = 200_000  # places whose flags are read at the start
QUARANTINE: Final = "quarantine"
LOOKED_AT: Final = 200  # letters, the newest, some times a minute
INACTIVE_MS: Final = 10 * MINUTE_MS  # for which files differ from the active version before a notification
FAILS_MS: Final = MINUTE_MS  # for which something fails before a notification


class Watching:
    """Finds notifications that are due by the clock, some times a minute.

    Args:
        health: How delivery to each sink is doing.
    """

    def __init__(
        self, services: NoticeServices, store: NoticeStore, log: Log, health: Callable[[], Sequence[DeliveryHealth]]
    ) -> None:
        self._services, self._store, self._log, self._health = services, store, log, health
        self._hours: dict[str, Counter[int]] = {}  # of each rule, by hours since 1970 of the flags' events
        self._recent: dict[str, deque[int]] = {}
        self._flags_to = -1
        self._told_to = log.last_seq()
        self._stamp: object = None
        self._files: list[str] = []  # that are not active, and since when
        self._since_ms = 0
        self._refused = self._refused_now = log.counts().refused  # up to which that was told, and by now

    def go_on(self, store: NoticeStore, log: Log) -> None:
        """Look there from now on: the same store and log, opened anew."""
        self._store, self._log = store, log

    def look(self) -> int:
        """Keep what is due by now; gives how much of it is new."""
        found = [*self._reports(), *self._silence(), *self._spikes(), *self._failures()]
        if not found:
            return 0
        with self._store.look() as look:
            new = [report for report in found if look.due(report.key) is None]
        if not new:
            return 0
        with self._store.change() as change:
            added = sum(change.add_due(due) for due in new)
        if any(f"/failure-{QUARANTINE}" in due.key for due in new):
            self._refused = self._refused_now
        return added

    def _reports(self) -> Iterator[Due]:
        notices = self._services.of_kind("report")
        if not notices:
            return
        now_ms, begun = self._services.now_ms(), self._log.ingested(0, 1)
        begun_ms = (begun[0][1] or 0) if begun else now_ms + 1
        for notice in notices:
            due = report_due(notice, now_ms, begun_ms)
            if due is not None and not self._is_known(due):
                yield reckoned(self._services, notice, due, self._log)

    def _is_known(self, due: Due) -> bool:
        with self._store.look() as look:
            return look.due(due.key) is not None

    def _silence(self) -> Iterator[Due]:
        """That there was nothing, where a notice says so: that the rules ran all the same."""
        now_ms = self._services.now_ms()
        for notice in self._services.notices.values():
            if not notice.is_verbose or not notice.digest_ms:
                continue
            with self._store.look() as look:
                is_quiet = not look.waiting(notice.name, 1)
                last_ms = look.last_made_ms(notice.name)
            if is_quiet and now_ms - last_ms >= notice.digest_ms:
                last, self._told_to = self._told_to, self._log.last_seq()
                due = due_of(notice, "nothing", f"nothing-{now_ms}", now_ms, told={"count": self._told_to - last})
                yield replace(due, due_ms=now_ms)

    # ---- spikes

    def _spikes(self) -> Iterator[Due]:
        notices = self._services.of_kind("spike")
        if not notices:
            return
        self._count_flags()
        now_ms = self._services.now_ms()
        for rule, recent in self._recent.items():
            while recent and recent[0] <= now_ms - HOUR_MS:
                recent.popleft()
            usual = self._usual(rule, now_ms // HOUR_MS)
            for notice in notices:
                if len(recent) >= notice.least and len(recent) > notice.times_usual * usual:
                    yield self._spike(notice, rule, len(recent), usual, now_ms)

    def _spike(self, notice: Notice, rule: str, count: int, usual: float, now_ms: int) -> Due:
        told = {"count": count, "usual": f"{usual:.1f}"}
        return due_of(notice, "spike", f"spike-{rule}-{now_ms // HOUR_MS}", now_ms, rule=rule, told=told)

    def _usual(self, rule: str, hour: int) -> float:
        """The mean of the hours before this one, of a week at most, from the first that there was."""
        hours = self._hours[rule]
        earlier = [at for at in hours if hour - HOURS <= at < hour]
        return sum(hours[at] for at in earlier) / (hour - min(earlier)) if earlier else 0.0

    def _count_flags(self) -> None:
        last = self._log.last_seq()
        if self._flags_to < 0:
            self._flags_to = max(0, last - LOOK_BACK)
        for rows in self._log.flags_after(self._flags_to, last):
            for row in rows:
                self._hours.setdefault(row.rule, Counter())[row.time_ms // HOUR_MS] += 1
                self._recent.setdefault(row.rule, deque()).append(row.time_ms)
        self._flags_to = last

    # ---- failures

    def _failures(self) -> Iterator[Due]:
        notices = self._services.of_kind("failure")
        if not notices:
            return
        now_ms = self._services.now_ms()
        for key, words in self._failing(now_ms):
            for notice in notices:
                yield due_of(notice, "failure", f"failure-{key}", now_ms, told={"words": words})

    def _failing(self, now_ms: int) -> Iterator[tuple[str, str]]:
        """What fails, each under a key that is the same for as long as it does."""
        for health in self._health():
            if health.trouble is not None and now_ms - health.trouble.since_ms >= FAILS_MS:
                words = f"sink {health.name} is failing: {health.trouble.words}"
                yield f"{health.name}-{health.trouble.since_ms}", plain(words)
        counts = self._log.counts()
        self._refused, self._refused_now = min(self._refused, counts.refused), counts.refused
        if counts.refused > self._refused:  # told once an hour, all that came since it was told before
            words = f"{counts.refused - self._refused:,} more in quarantine; 'shroff quarantine list' says why"
            yield f"{QUARANTINE}-{now_ms // HOUR_MS}", words
        if counts.stuck:
            yield f"stuck-{now_ms // DAY_MS}", f"{counts.stuck:,} stuck; 'shroff outbox list' says why"
        waiting = look_at_waiting(self._log, counts.waiting, now_ms)
        if waiting.state == WRONG:
            yield f"labels-{now_ms // DAY_MS}", f"labels: {waiting.words}; 'shroff label --pending' lists them"
        for name, words, at_ms in self._services.source_troubles():
            yield f"source-{name}-{at_ms}", plain(f"source {name}: {words}")
        for name, words in self._services.failing_schedules():
            yield f"schedule-{name}-{now_ms // DAY_MS}", plain(f"schedule {name}: {words}")
        yield from self._letters(now_ms)
        yield from self._inactive(now_ms)
        for name, passed in unmatched_of(self._log).items():
            if now_ms - passed.at_ms < DAY_MS:
                yield (
                    f"unmatched-{name}-{passed.at_ms}",
                    plain(f"no event type accepts a line of {name}; 'shroff doctor'"),
                )

    def _inactive(self, now_ms: int) -> Iterator[tuple[str, str]]:
        """Files that have not been active for a while, once for each set of them."""
        services = self._services
        stamp = services.file_stamps(), services.taken.number, services.version_seq
        if stamp != self._stamp:
            self._stamp, before, self._files = stamp, self._files, list(services.inactive(self._log))
            if self._files != before:
                self._since_ms = now_ms
        if self._files and now_ms - self._since_ms >= INACTIVE_MS:
            words = f"only in files, and not active: {', '.join(self._files)}; 'shroff apply' makes them active"
            yield f"inactive-{self._since_ms}", plain(words)

    def _letters(self, now_ms: int) -> Iterator[tuple[str, str]]:
        """Letters that did not leave, once an hour, and those without the project's own text, once a day."""
        with self._store.look() as look:
            lost, sent = look.letters([REFUSED, UNKNOWN], limit=LOOKED_AT), look.letters([SENT], limit=LOOKED_AT)
        for message in lost:
            if message.done_ms > now_ms - HOUR_MS:
                words = (
                    f"a message of notice {message.notice} was not sent: {message.reason}; "
                    f"'shroff notices letters' has all"
                )
                yield f"letters-{message.done_ms // HOUR_MS}", plain(words)
        for message in sent:
            if message.done_ms > now_ms - DAY_MS and SHIPPED in message.reason:
                yield (
                    f"text-{message.notice}-{message.done_ms // DAY_MS}",
                    plain(f"notice {message.notice}: {message.reason}"),
                )
