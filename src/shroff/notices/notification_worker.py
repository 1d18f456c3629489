"""Notification thread next to the writer of the log: takes due notifications, makes letters, and sends them.

Notifications of flags are in the log's outbox, written with their events. The thread copies them to the store of
notices, which drops repeated keys; only then the log's thread deletes them from the outbox. So a kill loses nothing,
and a second copy has no effect.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from shroff.errors import ShroffError
from shroff.notices.customer_confirmation import settle_appeals
from shroff.notices.facts import Facts
from shroff.notices.mailbox import remove_older
from shroff.notices.notification_routes import plan
from shroff.notices.outgoing_mail import ChannelOutage, MailSender
from shroff.notices.scheduled_notices import ScheduledNotices
from shroff.notices.services import NoticeServices
from shroff.notices.store import OPEN
from shroff.notices.triggers import BEGUN, SOURCE, flagged
from shroff.project.settings.systems import TOLD_KEPT_MS
from shroff.runtime.retries import Backoff
from shroff.streams.log import Batch, Log, Offset, kept_offset
from shroff.streams.sink import AwayError
from shroff.streams.sink_cursor import DeliveryHealth, Trouble

if TYPE_CHECKING:
    from shroff.notices.sql import NoticeStore

IDLE_S = 0.25
STORE_EVERY_S = 1.0  # interval of looking into the store without news in the log
LOOK_EVERY_S = 10.0  # interval of checking reports, spikes and failures
SWEEP_EVERY_S = 3_600.0
ROWS = 500
# Delay after a failure, doubled after each further one up to WAIT_S_MAX
WAIT_S = 1.0
WAIT_S_MAX = 60.0
END_S = 5.0
FINISH_S = 60.0  # time to try everything due before an orderly end


class NoticeWorker:
    """Sends due notifications on its own thread; `tend` and `health` are for the log's thread.

    Args:
        begun: Last sequence number that notifies nobody.
        others: Returns the health of the delivery to sinks.
    """

    def __init__(
        self,
        services: NoticeServices,
        begun: int,
        others: Callable[[], Sequence[DeliveryHealth]] = tuple,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._begun = begun
        self._others = others
        self._clock = clock
        self._retry = Backoff(WAIT_S, WAIT_S_MAX, clock=clock, draw=random.random)
        self._facts = Facts(services.definitions)
        self._log: Log | None = None
        self._store: NoticeStore | None = None
        self._sending: MailSender | None = None
        self._watching: ScheduledNotices | None = None
        self._lock = Lock()
        self._copied: set[str] = set()  # keys that the log may delete
        self._sent = 0
        self._trouble: Trouble | None = None
        self._away: ChannelOutage | None = None
        self._look_s = self._sweep_s = self._store_s = 0.0
        self._waiting = self._appeals_seq = 0
        self.end_s = END_S  # time that an end may take
        self.stop = Event()  # ends the thread after its current step

    # ---- for the log's thread

    def tend(self, log: Log) -> None:
        """Delete copied rows from the log's outbox. Raises: as the log's `outbox_done`."""
        with self._lock:
            keys = list(self._copied)
        if keys:
            log.outbox.done(keys)
            with self._lock:
                self._copied.difference_update(keys)

    def health(self) -> DeliveryHealth:
        """Return the state of delivery. `lag` counts notifications without a letter, and letters to send."""
        attempts = self._retry.failures
        failure = self._trouble
        away = self._away
        if failure is None and away is not None:
            attempts = away.times
            failure = Trouble(away.words, away.since_ms)
        return DeliveryHealth(SOURCE, 0, self._waiting, self._sent, attempts, failure)

    def finish_all(self) -> None:
        """Try everything due once before the end, for at most `FINISH_S`."""
        self.end_s = FINISH_S

    # ---- for its own thread

    def step(self) -> float:
        """Do the next work; return for how many seconds nothing is due."""
        if not self._retry.is_due:
            return IDLE_S
        try:
            did = self._work()
        except Exception as error:  # noqa: BLE001 - the outermost loop of its thread: it goes on whatever fails
            self._fail(error)
            return IDLE_S
        self._retry.worked()
        self._trouble = None
        self._away = None if self._sending is None else self._sending.away
        return 0.0 if did else IDLE_S

    def finish(self, end_s: float) -> None:
        """Try everything due once, until `end_s` of the clock."""
        self._retry.hurry()
        while self._clock() < end_s:
            self._store_s = 0.0  # no waiting for the next interval
            if self.step() > 0:
                return

    def close(self) -> None:
        """Close everything. A second call does nothing."""
        for part in (self._sending, self._store, self._log):
            if part is not None:
                with suppress(Exception):  # closing a broken connection may fail too
                    part.close()
        self._log = self._store = self._sending = None

    def _work(self) -> bool:
        log = self._log = self._log or self._services.open_log()
        if self._services.renew() and self._sending is not None:
            self._sending.close()  # its mailer has the old settings
            self._sending = None
        self._facts = self._facts.of(self._services.definitions)
        copied = self._copy(log)
        if not self._services.notices or not (copied or self._clock() >= self._store_s):
            return copied
        self._store_s = self._clock() + STORE_EVERY_S
        store = self._store = self._store or self._services.open_store()
        self._services.follow(log)
        self._facts = self._facts.of(self._services.definitions)
        self._watch(store, log)
        self._appeals_seq = settle_appeals(self._services, store, log, self._appeals_seq)
        planned = plan(self._services, self._facts, store, log, self._services.now_ms())
        if self._sending is None:
            self._sending = MailSender(self._services, store, log)
        sent_count = self._sending.send()
        self._sent += sent_count
        if planned or sent_count or copied:
            with store.look() as queries:
                self._waiting = queries.count_waiting() + sum(queries.count_letters([OPEN]).values())
        if planned or sent_count:
            self._store_s = 0.0  # there may be more
        return copied or bool(planned or sent_count)

    def _copy(self, log: Log) -> bool:
        """Copy rows of the log's outbox into the store; return whether there were any."""
        with self._lock:
            copied = set(self._copied)
        rows = [outbox_row for outbox_row in log.outbox.rows(limit=ROWS + len(copied)) if outbox_row.key not in copied]
        if not rows:
            return False
        dues = list(flagged(self._services, self._facts, log, rows, self._begun))
        if dues:
            store = self._store = self._store or self._services.open_store()
            with store.change() as change:
                change.add_dues(dues)
        with self._lock:
            self._copied.update(row.key for row in rows)
        return True

    def _watch(self, store: NoticeStore, log: Log) -> None:
        now_s = self._clock()
        if self._watching is None:
            self._watching = ScheduledNotices(self._services, store, log, self._others)
        self._watching.go_on(store, log)
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_EVERY_S
            self._watching.look()
        if now_s >= self._sweep_s:
            self._sweep_s = now_s + SWEEP_EVERY_S
            with store.change() as change:
                change.sweep(self._services.now_ms() - TOLD_KEPT_MS)
            remove_older(self._services.mail_folder, self._services.now_ms() - self._services.mails_kept_ms)

    def _fail(self, error: Exception) -> None:
        """Close everything and wait; the next step starts with new connections."""
        self.close()
        message = str(error) if isinstance(error, ShroffError) else f"a mistake in the program ({type(error).__name__})"
        since_ms = self._trouble.since_ms if self._trouble is not None else self._services.now_ms()
        self._trouble = Trouble(message, since_ms)
        self._retry.failed(least_s=min(error.after_s, WAIT_S_MAX) if isinstance(error, AwayError) else 0.0)


def begun_at(log: Log) -> int:
    """Return the last sequence number that notifies nobody, set when notices are first used. For the log's writer."""
    begin_behind(log, log.last_seq())
    return kept_offset(SOURCE, BEGUN, log.offsets.get(SOURCE, BEGUN) or "", int)


def begin_behind(log: Log, seq: int) -> None:
    """Notify of records after a sequence number, although they are older than the first notice. For the log's writer.

    Does nothing if notices have been used before.
    """
    if log.offsets.get(SOURCE, BEGUN) is None:
        log.append(Batch(offsets=[Offset(SOURCE, BEGUN, str(seq), before=None)]))


@contextmanager
def telling(
    services: NoticeServices, log: Log, others: Callable[[], Sequence[DeliveryHealth]] = tuple
) -> Iterator[NoticeWorker]:
    """Send notifications while a process writes this log; call `tend` between its batches.

    At the end the current step may take five seconds; after `finish_all` everything due is tried.
    Raises: as the log's `append`.
    """
    teller = NoticeWorker(services, begun_at(log), others)
    stop = teller.stop
    end_s: float | None = None

    def run() -> None:
        while not stop.is_set():
            wait_s = teller.step()
            if wait_s:
                stop.wait(wait_s)
        if end_s is not None:
            teller.finish(end_s)
        teller.close()

    thread = Thread(target=run, name="notices", daemon=True)
    thread.start()
    try:
        yield teller
        if teller.end_s > END_S:
            end_s = time.monotonic() + teller.end_s
    finally:
        stop.set()
        thread.join(teller.end_s)
    teller.tend(log)
