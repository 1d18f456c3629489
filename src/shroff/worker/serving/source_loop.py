"""One term of leading a log: a batch is decided while the batch before it is committed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from threading import Event

from shroff.errors import ShroffError, TransientError
from shroff.log.read_positions import known
from shroff.log.unmatched_files import PassingOver
from shroff.log.writer import Prepared, Writer
from shroff.runtime.progress import Tell
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log
from shroff.streams.source import Source
from shroff.worker.inbox_server import InboxServer
from shroff.worker.ingest import Committer, short_turns
from shroff.worker.serving.counts import WorkerCounts, WorkerOptions
from shroff.worker.serving.delivery import Outflow, Tended
from shroff.worker.serving.message_decoder import MessageDecoder
from shroff.worker.serving.poison_search import PoisonSearch, RequestError, SuspectError, unmeant_as
from shroff.worker.serving.snapshot_schedule import SnapshotSchedule
from shroff.worker.serving.source_positions import SourceBatch, SourceReading

IDLE_S = 0.05  # how long an idle poll waits, and the interval between checks of the inbox


class LeaderTerm(FrozenStruct):
    """One term of leading a log, as a leader hands it to the loop that does the work.

    Args:
        log: Open for writing; the same as the writer's.
        delivering: Opens the delivery from the log to sinks.
        work: Counts, updated by the loop's thread.
        careful: The search for poison messages.
        tell: Called with messages for the operator.
    """

    log: Log
    writer: Writer
    inbox: InboxServer
    delivering: Callable[[Log], AbstractContextManager[Tended]]
    work: WorkerCounts
    careful: PoisonSearch
    options: WorkerOptions
    tell: Tell


class SourceLoop:
    """Reads a source while this process leads the log and nothing fails.

    Args:
        passing_over: For files, notes which of them are skipped.
    """

    def __init__(
        self, term: LeaderTerm, inflow: MessageDecoder, source: Source, passing_over: PassingOver | None = None
    ) -> None:
        log = term.log
        writer = term.writer
        work = term.work
        options = term.options
        tell = term.tell
        self._log = log
        self._writer = writer
        self._inbox = term.inbox
        self._inflow = inflow
        self._source = source
        self._work = work
        self._poison = term.careful
        self._options = options
        self._passing_over = passing_over
        writer.by = options.source_name or source.name
        self._held = ExitStack()
        self._outflow = Outflow(log, term.delivering, self._held, tell)
        self._saving = SnapshotSchedule(writer, source, work, options, tell)
        self._reading = SourceReading(source, log, work, tell)
        self._rounds: deque[SourceBatch] = deque()
        self._is_empty = False  # whether the last poll of the source returned nothing
        self._failure: ShroffError | None = None
        self._committed_s = 0.0
        now_s = time.monotonic()
        self._came_s = now_s
        self._looked_s = 0.0

    def run(self, stop: Event) -> None:
        """Work until stopped, or until the options say so; polled messages are committed first.

        Raises: SuspectError if a message, RequestError if a request caused an unexpected error; errors of the log and
            the source. No commit is running then.
        """
        with short_turns(), ThreadPoolExecutor(1, thread_name_prefix="commit") as thread, self._held:
            self._committer = Committer(self._writer, thread, self._done, self._behind_commit)
            try:
                while not stop.is_set() and not self._is_over():
                    self._turn()
                self._drain()
                self._reading.end()
                self._saving.end()
                self._work.health = self._source.health()
                if not stop.is_set():  # a user who stops the worker does not wait for mails
                    self._outflow.finish_all()
            except Exception:
                # Commit what was decided; an error of the running commit came first and replaces this one.
                self._drain()
                raise
            finally:
                self._writer.give_up_snapshot()

    def _is_over(self) -> bool:
        options = self._options
        if options.limit is not None and self._left() <= 0:
            return True
        if options.until_idle_s is None or self._rounds or not self._is_empty:
            return False
        is_quiet = time.monotonic() - self._came_s >= options.until_idle_s and not self._source.health().lag
        return is_quiet and self._has_no_more()

    def _has_no_more(self) -> bool:
        """Return whether the source is at its end: no lag, no new partition with messages, and no silent partition."""
        try:
            part_lags = self._source.look(known(self._reading.reached))
        except TransientError as error:
            self._is_away(error)
            return False
        self._came_s = time.monotonic()  # a silent source, or one with more, is queried again after `until_idle_s`
        if any(part.waiting is None and part.is_counted and not part.trouble for part in part_lags):
            return False  # a partition that no server answers for may have more
        are_new = any(part.waiting and part.part not in self._reading.reached for part in part_lags)
        return not are_new and not self._source.health().lag

    def _turn(self) -> None:
        gathered = self._add_polled(SourceBatch(), 0.0 if self._committer.prepared is not None else IDLE_S)
        if gathered or self._committer.is_done:
            self._finish()
            self._attend()
        if gathered:
            self._decide(self._add_polled(gathered, 0.0))
        elif not self._committer.is_under_way:
            self._committer.start()

    # ---- reading

    def _left(self) -> int:
        on_their_way = sum(len(round_.submissions) for round_ in self._rounds)
        limit = self._options.limit
        return self._poison.size if limit is None else limit - self._work.taken - on_their_way

    def _add_polled(self, gathered: SourceBatch, wait_s: float) -> SourceBatch:
        capacity = min(self._poison.size, self._left()) - len(gathered.submissions)
        if capacity <= 0 or not self._start_if_due():
            return gathered
        try:
            if self._failure is not None:
                raise self._failure
            messages = self._inflow.items(self._source.poll(capacity, wait_s))
        except TransientError as error:
            self._is_away(error)
            return gathered
        except ShroffError as error:
            if not gathered:
                raise
            self._failure = error  # raised once the messages before it are committed
            return gathered
        self._is_empty = not messages
        if messages:
            self._came_s = time.monotonic()
            submissions = self._inflow.submissions(messages)
            self._reading.add(gathered, messages, submissions, self._came_s)
            if self._passing_over is not None:
                gathered.passed_over.update({offset.part: offset for offset in self._passing_over.offsets(messages)})
        return gathered

    def _start_if_due(self) -> bool:
        reading = self._reading
        if reading.is_begun:
            return True
        if not reading.is_due:
            time.sleep(IDLE_S)
            return False
        try:
            reading.begin()
        except TransientError as error:
            self._is_away(error)
            return False
        self._came_s = time.monotonic()
        return True

    def _is_away(self, error: TransientError) -> None:
        self._is_empty = False
        self._reading.is_away(error)

    # ---- deciding and committing

    def _decide(self, gathered: SourceBatch) -> None:
        committer = self._committer
        writer = self._writer
        if not writer.looks_ahead:
            self._drain()
        with unmeant_as(partial(SuspectError, gathered.submissions)):
            known_records = writer.look_up(gathered.submissions)
            committer.start()
            prepared = writer.prepare(gathered.submissions, offsets=gathered.kept, known=known_records)
        self._rounds.append(gathered)
        committer.prepared = prepared
        if self._poison.is_on:
            self._drain()

    def _drain(self) -> None:
        self._finish()
        self._committer.start()
        self._finish()

    def _finish(self) -> None:
        with unmeant_as(lambda error: SuspectError(self._rounds[0].submissions, error)):
            self._committer.finish()

    def _behind_commit(self) -> None:
        """Note the time of a commit and let the log tidy up; runs on the commit thread."""
        self._committed_s = time.monotonic()
        self._log.maintain()

    def _done(self, prepared: Prepared) -> None:
        batch = self._rounds.popleft()
        self._work.counts.add(prepared, len(batch.submissions))
        self._work.batches += 1
        self._work.seq += len(prepared.batch.records)
        self._reading.done(batch, prepared, self._committed_s)
        self._poison.passed(batch.submissions, has_taken=bool(prepared.batch.records))

    # ---- between batches

    def _attend(self) -> None:
        now_s = time.monotonic()
        self._reading.attend(now_s)
        if now_s - self._looked_s >= IDLE_S:
            self._looked_s = now_s
            if self._inbox.has_requests():
                self._drain()
                with unmeant_as(RequestError):
                    self._inbox.serve()
                self._work.seq = self._writer.seq
        self._outflow.attend(now_s)
        self._work.sinks = self._outflow.health
        if self._reading.has_letters:
            self._drain()
            self._reading.send_letters()
        self._saving.attend(now_s, self._drain, is_searching=self._poison.is_on)
