"""The worker: a source in, the log and all effects out, until somebody ends it.

One process leads a log. What it polls goes into batches as large as what is there, so that one event alone is decided
at once, and a thousand that wait are decided together (`working_lead`). Every commit carries how far the source was
read and how far it was before; whoever lost the lead loses that commit, and ends. Whatever else fails outside is waited
for: state is thrown away, restored from the log, and the source read again from where the log says.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, closing
from threading import Event
from typing import Protocol

from shroff.errors import LogBusyError, StorageError, TransientError
from shroff.events.intake import Intake
from shroff.log.unmatched_files import PassingOver
from shroff.log.writer import Writer
from shroff.runtime.process_wide import calm_collector
from shroff.runtime.progress import Tell, unheard
from shroff.streams.log import Log
from shroff.streams.source import Source
from shroff.worker.inbox import InboxServer
from shroff.worker.serving.counts import LEADING, RESTORING, STANDING_BY, WorkerCounts, WorkerOptions
from shroff.worker.serving.delivery import Tended
from shroff.worker.serving.message_decoder import MessageDecoder, reason_of
from shroff.worker.serving.poison_search import PoisonSearch, RequestError, SuspectError
from shroff.worker.serving.source_loop import LeaderTerm, SourceLoop
from shroff.worker.standby import FollowedProject, Standby, Start

PAUSES_S = (0.1, 5.0)  # before the log is tried again: the first, and the longest after doublings
BUSY_TRIES = 8  # some 20 s: a store whose connection broke may believe for a while that the old one still writes


HOW_TO_WAIT = "'shroff {} --standby' waits and takes over when it stops"


class Workplace(FollowedProject, Protocol):
    """Where a worker works: a project with its log."""

    def intake(self) -> Intake:
        """The validator, for the definitions that were given last."""

    def inbox(self, writer: Writer, log: Log) -> InboxServer:
        """Requests of other processes to the writer."""

    def delivering(self, log: Log) -> AbstractContextManager[Tended]:
        """Deliver from this log to sinks, while this process writes it.

        Raises: LogBusyError where another process delivers on this machine.
        """

    def now_ms(self) -> int:
        """The clock."""


class _IdleStopError(Exception):
    """It was stopped while it had nothing to finish."""


class Leading(Protocol):
    """The work of one time of leading a log."""

    def run(self, stop: Event) -> None:
        """Go on until it is stopped, or is to end by itself; what was taken is then committed.

        Raises: SuspectError where the program fails at a message, RequestError where it fails at a request; whatever
            the log raises. No commit is under way then.
        """


class Leader(ABC):
    """Leads a log, or stands by until it can; what it does while it leads is for others to say.

    Args:
        stop: Ends it from any thread: what was polled is committed first.
        tell: Told in words what somebody should know: what is waited for, which message was refused by itself.

    `work` says how it is doing, to any thread.
    """

    command: str  # that starts one, for messages

    def __init__(
        self, place: Workplace, options: WorkerOptions | None = None, *, stop: Event | None = None, tell: Tell = unheard
    ) -> None:
        self._place, self._options = place, options or WorkerOptions()
        self._tell = tell
        self.work, self.stop = WorkerCounts(), stop or Event()
        self._poison = PoisonSearch(self._options.batch_size)
        self._shows_words = self._has_led = False
        self._failures, self._taken_then, self._told = 0, 0, ""
        self._refusal = ""  # of the request that waits longest

    @abstractmethod
    def _leading(self, term: LeaderTerm) -> Leading:
        """Begin as the active writer of the log, with the state at its end."""

    def run(self) -> WorkerCounts:
        """Work until it is stopped, or has come to the end that its options say.

        Raises: LogBusyError where another process leads the log and this one does not stand by; OvertakenError where
            another one took it over; DefinitionError, UsageError, StateError for what waiting does not cure.
        """
        began_s = time.monotonic()
        try:
            self._work()
        finally:
            done_s = self.work.done_s if self.work.done_s is not None else time.monotonic()
            self.work.counts.seconds = done_s - began_s  # whoever waits for more to come is not at work
        return self.work

    def _work(self) -> None:
        while not self.stop.is_set():
            pause_s = 0.0
            try:
                self._lead()
                break
            except _IdleStopError:
                break
            except SuspectError as suspect:
                self._tell(self._poison.suspect(suspect, shows_words=self._shows_words))
                self.work.unbearable = self._poison.found
            except RequestError as failed:
                self._refusal = reason_of(failed.error, shows_words=self._shows_words)
                self._tell(f"a request to this worker was refused: {self._refusal}")
            except (TransientError, StorageError, OSError) as error:
                pause_s = self._pause_after(error)
            self.work.state = RESTORING
            self.work.restored += 1
            self.stop.wait(pause_s)  # outside, so that the error keeps nothing of the state that is thrown away

    def _restoring(self, count: int) -> None:
        """While state is restored: so many events of the log more were read."""
        self.work.read_back += count
        if self.stop.is_set():
            raise _IdleStopError

    def _pause_after(self, error: Exception) -> float:
        """Say what is waited for; gives how long. Raises: the error itself, where waiting is no answer."""
        is_busy = isinstance(error, LogBusyError)
        if not self._has_led and (is_busy or not isinstance(error, TransientError)):
            raise error
        is_new = self.work.taken > self._taken_then
        self._failures, self._taken_then = 1 if is_new else self._failures + 1, self.work.taken
        if is_busy and self._failures > BUSY_TRIES:
            raise error
        words = f"waiting: {error}"
        self.work.waits_for, self.work.has_begun = words, True
        if words != self._told or is_new:
            self._told = words
            self._tell(words)
        return float(min(PAUSES_S[0] * 2 ** (self._failures - 1), PAUSES_S[1]))

    def _lead(self) -> None:
        """Have the log, and work until it is over or something fails."""
        opened = self._opened()
        if opened is None:
            return
        log, start = opened
        with closing(log), calm_collector():
            definitions = self._place.definitions() if start is None else start[0].engine.definitions
            definitions.require_models()
            self.work.has_begun = True
            self._shows_words = not definitions.events.has_hashed
            place = self._place
            writer = Writer(log, definitions, place.now_ms, self._restoring, place.snapshots, start)
            writer.keeps_late = self._options.keeps_late
            self.work.seq = writer.seq
            if self.work.counts.tally is not None:
                self.work.counts.tally.follow(lambda: writer.definitions)
            for words in (*writer.warnings, *definitions.remarks()):
                self._tell(words)
            with closing(place.inbox(writer, log)) as inbox:
                inbox.count = self.work.counts.add
                if self._refusal and inbox.has_requests():
                    inbox.refuse_next(self._refusal)
                self._refusal = ""
                doing = place.delivering, self.work, self._poison, self._options, self._tell
                leading = self._leading(LeaderTerm(log, writer, inbox, *doing))
                self.work.state, self.work.waits_for, self._has_led = LEADING, "", True
                leading.run(self.stop)

    def _opened(self) -> tuple[Log, Start | None] | None:
        """The log, opened for writing, and state to go on from; nothing where it was stopped before it could be had."""
        if not self._options.stands_by:
            try:
                return self._place.open_log(read_only=False), None
            except LogBusyError as busy:
                raise LogBusyError(f"{busy}. {HOW_TO_WAIT.format(self.command)}", busy.by) from busy
        self.work.state, self.work.has_begun = STANDING_BY, True
        return Standby(self._place, self.stop, self._tell, self._restoring).lead()


class Worker(Leader):
    """Takes what a source gives into a log.

    Args:
        is_live: Whether messages arrive, as lines of files do not.
    """

    command = "run"

    def __init__(
        self,
        place: Workplace,
        source: Source,
        options: WorkerOptions | None = None,
        *,
        is_live: bool = True,
        stop: Event | None = None,
        tell: Tell = unheard,
    ) -> None:
        super().__init__(place, options, stop=stop, tell=tell)
        self._source, self._is_live = source, is_live
        self._intake: Intake | None = None

    def run(self) -> WorkerCounts:
        work = super().run()
        if self._intake is not None and not self._is_live:
            work.counts.unmatched = self._intake.unmatched
        return work

    def _leading(self, term: LeaderTerm) -> Leading:
        place, self._intake = self._place, self._place.intake()
        definitions = term.writer.definitions
        inflow = MessageDecoder(self._intake, definitions, place.now_ms, is_live=self._is_live, tell=term.tell)
        inflow.unwanted = self._poison.unwanted
        passing_over = None if self._is_live else PassingOver(term.log, self._intake, place.now_ms)
        return SourceLoop(term, inflow, self._source, passing_over)
