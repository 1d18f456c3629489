"""Live source of a service, read between the requests of clients.

The log has one writer, so the process that serves a project with a source also reads that source: a batch of requests,
then a batch of messages, each in its own commit. A commit holds the offset before and after its messages, as a
worker's does (docs/decisions/0028). An unreachable source is retried and delays no request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from shroff.errors import StateError, TransientError, UsageError
from shroff.log.writer import Writer
from shroff.runtime.progress import Tell
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log
from shroff.streams.source import Source
from shroff.worker.serving.counts import WorkerCounts
from shroff.worker.serving.message_decoder import MessageDecoder
from shroff.worker.serving.poison_search import PoisonSearch
from shroff.worker.serving.source_positions import SourceBatch, SourceReading

AT_ONCE = 512  # messages of a batch: a request waits some ten milliseconds for them at most


class SourceFeed(FrozenStruct):
    """A source and how to decode it; `opened` returns a decoder for the writer's active definitions."""

    source: Source
    opened: Callable[[Writer], MessageDecoder]
    keeps_late: bool | Collection[str] = False


class Feeding:
    """One term of reading a source, on the log's thread.

    Args:
        work: Counts that this object updates.
        tell: Called when the source is unreachable.
    """

    def __init__(
        self, feed: SourceFeed, log: Log, writer: Writer, work: WorkerCounts, careful: PoisonSearch, tell: Tell
    ) -> None:
        self._source = feed.source
        self._keeps_late = feed.keeps_late
        writer.by = feed.source.name
        self._log = log
        self._writer = writer
        self._work = work
        self._poison = careful
        self._inflow = feed.opened(writer)
        self._inflow.unwanted = careful.unwanted
        self._reading = SourceReading(self._source, log, work, tell)
        self.is_flowing = False  # whether the last poll returned messages, so more may be waiting

    def turn(self) -> bool:
        """Decide and commit available messages, with no batch open; return whether a commit was made.

        Raises: SuspectError if a message caused an unexpected error; errors of the log. The caller must then discard
            the state and start the source again.
        """
        gathered = self._polled(min(self._poison.size, AT_ONCE))
        self.is_flowing = bool(gathered.submissions)
        if not gathered.offsets:
            return False
        self._writer.keeps_late = self._keeps_late
        try:
            prepared = self._poison.take(self._writer, self._work, gathered.submissions, gathered.kept)
        finally:
            self._writer.keeps_late = False  # a late event in a request is refused, and its sender is told
        self._reading.done(gathered, prepared, time.monotonic())
        self._log.maintain()
        return True

    def attend(self, now_s: float) -> None:
        """Check the source's health and send dead letters. Raises: as the log's `append`."""
        self._reading.attend(now_s)
        if self._reading.has_letters:
            self._reading.send_letters()

    def end(self) -> None:
        """Send pending dead letters, with no batch open. Raises: as the log's `append`."""
        self._reading.end()

    # ---- reading

    def _polled(self, size: int) -> SourceBatch:
        """Poll the source without waiting. If that fails, schedule a restart and return an empty batch.

        Lasting errors, such as a deleted topic, are retried too, since a service still has requests to serve.
        """
        gathered = SourceBatch()
        reading = self._reading
        arrived_s = time.monotonic()
        if not reading.is_due:
            return gathered
        try:
            if not reading.is_begun:
                reading.begin()
            messages = self._inflow.items(self._source.poll(size, 0.0))
        except (TransientError, UsageError, StateError) as error:
            reading.is_away(error, is_lasting=not isinstance(error, TransientError))
            return gathered
        reading.add(gathered, messages, self._inflow.submissions(messages), arrived_s)
        return gathered
