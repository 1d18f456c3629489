"""Request loop: all requests that wait become a batch, which is committed before any of them is answered.

One event alone is decided and committed at once; while that lasts, others gather and are the next batch. So there is
no time to choose for which one waits, and under load batches grow by themselves (docs/decisions/0035).
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

IDLE_S = 0.05  # how long one waits for a request, and how often the inbox is looked into
POLL_S = 0.01  # how long one waits for a request where there is a source to be asked as well
SLOW_S = 0.005  # a commit after which scores do not wait for the next: for shorter ones a second thread costs more
PATIENCE_S = 15.0  # for which a request waits while the log is away
AWAY = "the log was unavailable for too long; send the events again with the same ids"
RESTARTS = "the service is restoring its state"

Asked = Callable[[Writer, Log], None]  # something to be done between two batches, by the thread of the log


class ServiceHooks(NamedTuple):
    """Hooks of the service into the work of its log.

    Args:
        begun: Told of the writer when this process begins to lead; gives what reads requests from then on.
        between: Called between batches and some twenty times a second, on the thread of the log.
        scores: Requests that are answered while a batch is flushed to the disk, too.
    """

    begun: Callable[[Writer], object]
    between: Asked
    scores: ScoreQueue | None = None


class RequestLoop:
    """One term as writer of a log that decides requests.

    Args:
        hooks: What the service does when this begins, and between batches.
        feed: The project's live source, which is read between requests; None where there is none.
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
        self._flushing: tuple[ThreadPoolExecutor, Log] | None = None  # commits beside scores, which ask this log
        self._commit_s = 0.0
        self._held = ExitStack()
        self._outflow = Outflow(log, term.delivering, self._held, tell)
        self._saving = SnapshotSchedule(writer, None if feed is None else feed.source, work, term.options, tell)
        self._feeding = None if feed is None else Feeding(feed, log, writer, work, careful, tell)
        self._looked_s = 0.0

    def run(self, stop: Event) -> None:
        """Run until stopped; queued requests are decided first.

        Raises: as `SourceLoop.run`. What is not answered stays in line.
        """
        with short_turns(), short_collector(), self._held:
            self._work.seq = self._log.last_seq()
            self._outflow.attend(time.monotonic())  # before anything is taken, so that the first of it is delivered
            self._queue.open(self._hooks.begun(self._writer))
            try:
                is_ending = is_busy = False
                while is_busy or not is_ending:
                    is_ending = stop.is_set()  # before the line is looked at: what came until then is decided
                    is_busy = self._turn(is_ending=is_ending)
                    self._attend(is_busy=is_busy)
                if self._feeding is not None:
                    self._feeding.end()
                self._saving.end()
            finally:
                self._queue.pause(RESTARTS)
                self._writer.give_up_snapshot()

    def _turn(self, *, is_ending: bool) -> bool:
        """Decide queued requests, then messages of the source; whether there were any.

        At the end only what is in line: what the source has stays there.
        """
        feeding = self._feeding
        if feeding is None:
            return self._decides(IDLE_S)
        is_busy = self._decides(0.0 if feeding.is_flowing else POLL_S)
        return is_busy if is_ending else feeding.turn() or is_busy

    def _decides(self, wait_s: float) -> bool:
        """Decide, commit and answer queued requests; whether there were any."""
        parts = self._queue.take(self._poison.size, wait_s)
        if not parts:
            return False
        # Counted before it is answered, so that a client that has its answer finds it in the counts.
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
        """Commit a batch; if scores are wanted and commits take long, on another thread, and answer them meanwhile."""
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
        found = list[TracedEvent]()
        number = 0
        for request, start, stop in parts:
            if request.trace and not start:  # of a long one the first part
                found.append(TracedEvent(number, request.trace, request.arrived_s))
            number += stop - start
        trace_batch(self._work, prepared, found, parts[0][0].arrived_s, committed_s)

    def _submissions(self, parts: Sequence[Part]) -> Sequence[Submission]:
        """What the parts hold; the one that is looked for, refused."""
        found = together(request.submissions[start:stop] for request, start, stop in parts)
        if self._poison.unwanted:
            reason = self._poison.unwanted.get((found[0].source, found[0].place))
            if reason is not None:
                refused = replace(found[0], event=None, refused=None, label=None, refusal=reason)
                return [refused, *found[1:]]
        return found

    def _attend(self, *, is_busy: bool) -> None:
        """Tasks between two batches: inbox, requests of others, delivery, snapshots."""
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
        self._work.seq = self._writer.seq  # also what the inbox and others brought

    def _prepare_scores(self) -> None:
        """Open what scores beside a commit need, once somebody wants scores."""
        scores = self._hooks.scores
        if scores is None or self._flushing is not None or not scores.are_wanted:
            return
        with suppress(ShroffError):  # until it can be opened, scores wait for commits
            log = self._held.enter_context(scores.reading())
            self._flushing = self._held.enter_context(ThreadPoolExecutor(1, thread_name_prefix="commit")), log


class RequestLeader(Leader):
    """Leads a log and decides requests; while the log is away, those that wait for too long are answered so.

    Args:
        feed: The project's live source, where there is one.
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
    """No commit is pending between batches."""
