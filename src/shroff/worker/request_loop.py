"""Request loop: pending requests become one batch of limited size, committed before any of them is answered.

A single event is decided and committed at once; requests that arrive meanwhile form the next batch. So there is no
delay to configure, and batches grow with the load (docs/decisions/0035).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from threading import Event
from typing import NamedTuple

from shroff.errors import ShroffError
from shroff.events.intake import Submission
from shroff.log.columns.lines import together
from shroff.log.writer import Prepared, Writer
from shroff.runtime import traces
from shroff.runtime.process_wide import short_collector
from shroff.runtime.progress import Tell, unheard
from shroff.runtime.traces import TracedEvent
from shroff.runtime.values import replace
from shroff.streams.log import Log
from shroff.worker.ingest import short_turns
from shroff.worker.request_queue import Part, RequestQueue
from shroff.worker.serving.counts import WorkerOptions, trace_batch
from shroff.worker.serving.delivery import Outflow
from shroff.worker.serving.live_feed import Feeding, SourceFeed
from shroff.worker.serving.poison_search import RequestError, unmeant_as
from shroff.worker.serving.snapshot_schedule import SnapshotSchedule
from shroff.worker.serving.source_loop import LeaderTerm
from shroff.worker.serving.worker import Leader, Leading, Workplace
from shroff.worker.writer_tasks import ScoreQueue

IDLE_S = 0.05  # how long to wait for a request, and the interval between checks of the inbox
POLL_S = 0.01  # how long to wait for a request if there is a source to poll as well
SLOW_S = 0.005  # commits above this run in parallel with scoring; below it a second thread costs more
PATIENCE_S = 15.0  # how long a request waits while the log is unavailable
AWAY = "the log was unavailable for too long; send the events again with the same ids"
RESTARTS = "the service is restoring its state"

Asked = Callable[[Writer, Log], None]  # a task between two batches, on the log's thread


class ServiceHooks(NamedTuple):
    """Hooks of the service into the work of its log.

    Args:
        begun: Called with the writer when a term begins; returns the reader of requests.
        between: Called between batches and some twenty times a second, on the log's thread.
        scores: Score requests, which are answered also while a batch is flushed to disk.
    """

    begun: Callable[[Writer], object]
    between: Asked
    scores: ScoreQueue | None = None


class RequestLoop:
    """One term of deciding requests as the active writer.

    Args:
        feed: The project's live source, which is read between requests, if there is one.
    """

    def __init__(
        self, term: LeaderTerm, queue: RequestQueue, hooks: ServiceHooks, feed: SourceFeed | None = None
    ) -> None:
        log = term.log
        writer = term.writer
        work = term.work
        careful = term.careful
        tell = term.tell
        self._log = log
        self._writer = writer
        self._inbox = term.inbox
        self._queue = queue
        self._hooks = hooks
        self._work = work
        self._poison = careful
        careful.commit = self._commit
        self._flushing: tuple[ThreadPoolExecutor, Log] | None = None  # commit thread, and a log that scoring reads
        self._commit_s = 0.0
        self._held = ExitStack()
        self._outflow = Outflow(log, term.delivering, self._held, tell)
        self._saving = SnapshotSchedule(writer, None if feed is None else feed.source, work, term.options, tell)
        self._feeding = None if feed is None else Feeding(feed, log, writer, work, careful, tell)
        self._looked_s = 0.0

    def run(self, stop: Event) -> None:
        """Run until stopped; queued requests are decided first.

        Raises: as `SourceLoop.run`. Unanswered requests stay in the queue.
        """
        with short_turns(), short_collector(), self._held:
            self._work.seq = self._log.last_seq()
            self._outflow.attend(time.monotonic())  # starts delivery before the first request, so that it is delivered
            self._hooks.between(self._writer, self._log)
            self._queue.open(self._hooks.begun(self._writer))
            try:
                is_ending = is_busy = False
                while is_busy or not is_ending:
                    is_ending = stop.is_set()  # read before the queue: requests that came until then are decided
                    is_busy = self._turn(is_ending=is_ending)
                    self._attend(is_busy=is_busy)
                if self._feeding is not None:
                    self._feeding.end()
                self._saving.end()
            finally:
                self._queue.pause(RESTARTS)
                self._writer.give_up_snapshot()

    def _turn(self, *, is_ending: bool) -> bool:
        """Decide requests and read the source; False if both had nothing."""
        feeding = self._feeding
        if feeding is None:
            return self._decides(IDLE_S)
        is_busy = self._decides(0.0 if feeding.is_flowing else POLL_S)
        return is_busy if is_ending else feeding.turn() or is_busy

    def _decides(self, wait_s: float) -> bool:
        parts = self._queue.take(self._poison.size, wait_s)
        if not parts:
            return False
        # Counts requests before they are answered, so that a client with its answer finds it in the counts.
        prepared = self._poison.take(self._writer, self._work, self._submissions(parts))
        committed_s = time.monotonic()
        self._queue.answer(parts, prepared.answers)
        for request, start, stop in parts:
            self._work.latencies.add(committed_s - request.arrived_s, stop - start)
        if traces.is_on():
            self._trace(parts, prepared, committed_s)
        self._log.maintain()
        return True

    def _commit(self, writer: Writer, prepared: Prepared) -> None:
        """Commit a batch; if scores are pending and commits are slow, on another thread, to score meanwhile."""
        scores = self._hooks.scores
        commit_s = self._commit_s
        if scores is None or self._flushing is None or commit_s < SLOW_S or not scores.are_wanted:
            writer.commit(prepared)
        else:
            thread, log = self._flushing
            flushed = thread.submit(writer.commit, prepared)
            try:
                scores.attend_beside(writer, (log, prepared), flushed)
            finally:
                flushed.result()
        self._commit_s = prepared.commit_s

    def _trace(self, parts: Sequence[Part], prepared: Prepared, committed_s: float) -> None:
        traced = list[TracedEvent]()
        number = 0
        for request, start, stop in parts:
            if request.trace and not start:  # only for the first part of a long request
                traced.append(TracedEvent(number, request.trace, request.arrived_s))
            number += stop - start
        trace_batch(self._work, prepared, traced, parts[0][0].arrived_s, committed_s)

    def _submissions(self, parts: Sequence[Part]) -> Sequence[Submission]:
        """Return the submissions of the parts; the poison message, if found, as a refusal."""
        submissions = together(request.submissions[start:stop] for request, start, stop in parts)
        if self._poison.unwanted:
            reason = self._poison.unwanted.get((submissions[0].source, submissions[0].place))
            if reason is not None:
                refused = replace(submissions[0], event=None, refused=None, label=None, refusal=reason)
                return [refused, *submissions[1:]]
        return submissions

    def _attend(self, *, is_busy: bool) -> None:
        """Do the work between batches; under load most of it waits for `IDLE_S`."""
        now_s = time.monotonic()
        scores = self._hooks.scores
        is_scoring = scores is not None and scores.line.waiting > 0
        if not (is_busy or is_scoring) or now_s - self._looked_s >= IDLE_S:
            self._looked_s = now_s
            self._prepare_scores()
            if self._inbox.has_requests():
                with unmeant_as(RequestError):
                    self._inbox.serve()
            self._outflow.attend(now_s)
            self._work.sinks = self._outflow.health
            if self._feeding is not None:
                self._feeding.attend(now_s)
            self._saving.attend(now_s, _nothing, is_searching=self._poison.is_on)
        self._hooks.between(self._writer, self._log)
        self._work.seq = self._writer.seq  # includes records of the inbox and of tasks

    def _prepare_scores(self) -> None:
        """Open the second log and the commit thread once scores are requested."""
        scores = self._hooks.scores
        if scores is None or self._flushing is not None or not scores.are_wanted:
            return
        with suppress(ShroffError):  # while this fails, scores wait for commits
            log = self._held.enter_context(scores.reading())
            self._flushing = self._held.enter_context(ThreadPoolExecutor(1, thread_name_prefix="commit")), log


class RequestLeader(Leader):
    """Leads a log and decides requests. While the log is unavailable, requests fail after waiting too long.

    Args:
        feed: The project's live source, if there is one.
    """

    command = "serve"

    def __init__(
        self,
        place: Workplace,
        queue: RequestQueue,
        hooks: ServiceHooks,
        options: WorkerOptions | None = None,
        *,
        stop: Event | None = None,
        tell: Tell = unheard,
        feed: SourceFeed | None = None,
    ) -> None:
        super().__init__(place, options, stop=stop, tell=tell)
        self._queue = queue
        self._hooks = hooks
        self._feed = feed

    def _leading(self, term: LeaderTerm) -> Leading:
        return RequestLoop(term, self._queue, self._hooks, self._feed)


def _nothing() -> None:
    """Do nothing: no commit is pending between batches."""
