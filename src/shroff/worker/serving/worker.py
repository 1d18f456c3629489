"""The worker: moves messages of a source into the log, with all effects, until it is stopped.

One process leads a log. A batch holds whatever messages are available, so a single event is decided at once, and a
thousand waiting events are decided together (`source_loop`). Each commit holds the source's offset before and after it;
a process that lost the lead fails at that commit and ends. Every other external failure is waited out: state is
discarded, restored from the log, and the source is read again from the committed offset.
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
from shroff.runtime.retries import Backoff
from shroff.streams.log import Log
from shroff.streams.source import Source
from shroff.worker.inbox_server import InboxServer
from shroff.worker.serving.counts import LEADING, RESTORING, STANDING_BY, WorkerCounts, WorkerOptions
from shroff.worker.serving.delivery import Tended
from shroff.worker.serving.message_decoder import MessageDecoder, reason_of
from shroff.worker.serving.poison_search import PoisonSearch, RequestError, SuspectError
from shroff.worker.serving.source_loop import LeaderTerm, SourceLoop
from shroff.worker.standby import FollowedProject, Standby, Start

PAUSES_S = (0.1, 5.0)  # before the log is retried: the first pause, and the longest after doublings
BUSY_TRIES = 8  # some 20 s: after a broken connection a store may report the old writer as active for a while


HOW_TO_WAIT = "'shroff {} --standby' waits and takes over when it stops"


class Workplace(FollowedProject, Protocol):
    """The project in which a worker works, with its log."""

    def intake(self) -> Intake:
        """Return the validator of the active definitions."""

    def inbox(self, writer: Writer, log: Log) -> InboxServer:
        """Return the inbox of requests from other processes to the writer."""

    def delivering(self, log: Log) -> AbstractContextManager[Tended]:
        """Deliver from this log to sinks while this process writes it.

        Raises: LogBusyError if another process on this machine delivers.
        """

    def now_ms(self) -> int:
        """Return the current time."""


class _IdleStopError(Exception):
    """The worker was stopped while it had no work to finish."""


class Leading(Protocol):
    """The work of one term of leading a log."""

    def run(self, stop: Event) -> None:
        """Work until stopped, or until the options say so; accepted messages are committed first.

        Raises: SuspectError if a message, RequestError if a request caused an unexpected error; errors of the log. No
            commit is running then.
        """


class Leader(ABC):
    """Leads a log, or stands by until it can. Subclasses define the work of a term in `_leading`.

    Args:
        stop: Set it from any thread to end; polled messages are committed first.
        tell: Called with messages for the operator, such as what is waited for or which message was refused.

    `work` holds the counts, for any thread.
    """

    command: str  # the subcommand that starts it, for messages

    def __init__(
        self, place: Workplace, options: WorkerOptions | None = None, *, stop: Event | None = None, tell: Tell = unheard
    ) -> None:
        self._place = place
        self._options = options or WorkerOptions()
        self._tell = tell
        self.work = WorkerCounts()
        self.stop = stop or Event()
        self._poison = PoisonSearch(self._options.batch_size)
        self._shows_words = self._has_led = False
        self._retry = Backoff(*PAUSES_S)
        self._taken_then = 0
        self._told = ""
        self._refusal = ""  # reason to refuse the oldest request

    @abstractmethod
    def _leading(self, term: LeaderTerm) -> Leading:
        """Begin as the active writer of the log, with the state at its end."""

    def run(self) -> WorkerCounts:
        """Work until stopped, or until the options say so.

        Raises: LogBusyError if another process leads the log and this one does not stand by; OvertakenError if another
            process took the log over; DefinitionError, UsageError, StateError for errors that waiting does not cure.
        """
        began_s = time.monotonic()
        try:
            self._work()
        finally:
            done_s = self.work.done_s if self.work.done_s is not None else time.monotonic()
            self.work.counts.seconds = done_s - began_s  # idle time at the end is not work
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
            self.stop.wait(pause_s)  # outside `except`, so that the error does not keep the discarded state in memory

    def _restoring(self, count: int) -> None:
        """Count events read from the log to restore state. Raises: _IdleStopError if stopped."""
        self.work.read_back += count
        if self.stop.is_set():
            raise _IdleStopError

    def _pause_after(self, error: Exception) -> float:
        """Report what is waited for and return the pause in seconds.

        Raises: the error itself if waiting does not cure it.
        """
        is_busy = isinstance(error, LogBusyError)
        if not self._has_led and (is_busy or not isinstance(error, TransientError)):
            raise error
        is_new = self.work.taken > self._taken_then
        if is_new:
            self._retry.worked()
        pause_s = self._retry.failed()
        self._taken_then = self.work.taken
        if is_busy and self._retry.failures > BUSY_TRIES:
            raise error
        message = f"waiting: {error}"
        self.work.waits_for = message
        self.work.has_begun = True
        if message != self._told or is_new:
            self._told = message
            self._tell(message)
        return pause_s

    def _lead(self) -> None:
        opened_log = self._opened()
        if opened_log is None:
            return
        log, start = opened_log
        with closing(log), calm_collector():
            definitions = self._place.definitions() if start is None else start[0].engine.definitions
            definitions.require_models()
            self.work.has_begun = True
            self._shows_words = not definitions.events.has_hashed
            workplace = self._place
            writer = Writer(log, definitions, workplace.now_ms, self._restoring, workplace.snapshots, start)
            writer.keeps_late = self._options.keeps_late
            self.work.seq = writer.seq
            if self.work.counts.tally is not None:
                self.work.counts.tally.follow(lambda: writer.definitions)
            for message in (*writer.warnings, *definitions.remarks()):
                self._tell(message)
            with closing(workplace.inbox(writer, log)) as inbox:
                inbox.count = self.work.counts.add
                if self._refusal and inbox.has_requests():
                    inbox.refuse_next(self._refusal)
                self._refusal = ""
                doing = workplace.delivering, self.work, self._poison, self._options, self._tell
                leading = self._leading(LeaderTerm(log, writer, inbox, *doing))
                self.work.state = LEADING
                self.work.waits_for = ""
                self._has_led = True
                leading.run(self.stop)

    def _opened(self) -> tuple[Log, Start | None] | None:
        """Open the log for writing, with a standby's state; None if stopped before it became available."""
        if not self._options.stands_by:
            try:
                return self._place.open_log(read_only=False), None
            except LogBusyError as busy:
                raise LogBusyError(f"{busy}. {HOW_TO_WAIT.format(self.command)}", busy.by) from busy
        self.work.state = STANDING_BY
        self.work.has_begun = True
        return Standby(self._place, self.stop, self._tell, self._restoring).lead()


class Worker(Leader):
    """Reads the messages of a source into a log.

    Args:
        is_live: Whether messages arrive as they are read; False for lines of files.
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
        self._source = source
        self._is_live = is_live
        self._intake: Intake | None = None

    def run(self) -> WorkerCounts:
        work = super().run()
        if self._intake is not None and not self._is_live:
            work.counts.unmatched = self._intake.unmatched
        return work

    def _leading(self, term: LeaderTerm) -> Leading:
        workplace = self._place
        self._intake = self._place.intake()
        definitions = term.writer.definitions
        inflow = MessageDecoder(self._intake, definitions, workplace.now_ms, is_live=self._is_live, tell=term.tell)
        inflow.unwanted = self._poison.unwanted
        passing_over = None if self._is_live else PassingOver(term.log, self._intake, workplace.now_ms)
        return SourceLoop(term, inflow, self._source, passing_over)
