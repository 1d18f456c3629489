"""Server of the inbox: runs requests for the active writer, between two batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Event, Lock, Thread
from typing import Final

import msgspec
from msgspec import Struct, field
from msgspec.json import decode as from_json

import shroff
from shroff.errors import DefinitionError, PrunedError, StateError, StorageError, TransientError, UsageError
from shroff.events.intake import Intake, Submission
from shroff.log.event_notes import FILES
from shroff.log.version_switch import Adoption, carried, check_inputs_unchanged
from shroff.log.writer import Prepared, Writer
from shroff.project.definitions import Definitions
from shroff.runtime.progress import unheard
from shroff.streams.log import Batch, InboxRequest, Log, Offset, Reply, prune_through
from shroff.worker import forwarded_input
from shroff.worker.file_order import LATE_LINES_MIN, arranged
from shroff.worker.inbox import (
    ADOPT,
    DROP,
    ERASE,
    LABELS,
    LINES,
    PRUNE,
    RETRY,
    ROWS_MAX,
    SNAPSHOT,
    WATERMARK,
    DropBody,
    LineResults,
    RetryBody,
    SnapshotResult,
    refusal_of,
    reply_with,
)
from shroff.worker.outbox import OUTBOX, changes
from shroff.worker.quarantine_retry import Decoders, Retried, known_numbers, retry

PAGE = 500  # entries of quarantine that are retried between two batches
_LOOK_S = 0.05  # how often an idle process checks its inbox


class InboxServer(Struct, eq=False):
    """Runs the requests in a log's inbox, for the active writer.

    Args:
        intake: Creates the validator of a version, for retries.
        load: Returns the project's definitions with these files as they are now and all others as active; None loads
            all files. Raises DefinitionError.
        opened: Opens the log for reading, beside the writer.
        decoder: Creates the decoder of the live source's messages (see `quarantine_retry.retry`).
        took_up: Called when the files became active; returns offsets to commit with that.
    """

    _log: Log
    _writer: Writer
    _intake: Callable[[Definitions], Intake]
    _load: Callable[[list[str] | None], Definitions]
    _opened: Callable[[], Log]
    _decoder: Decoders = lambda: None
    _took_up: Callable[[], Sequence[Offset]] = tuple
    count: Callable[[Prepared], object] = unheard  # called with each durable batch of a request
    _adoption: Adoption | None = None
    # A request's number, its remaining entries, and results so far.
    _retrying: tuple[int, list[int], list[Retried]] = field(default_factory=lambda: (0, [], []))
    _turn: Lock = field(default_factory=Lock)
    _error: Exception | None = None

    def has_requests(self) -> bool:
        """Return whether requests are pending. Not during a commit. Cost: 10 µs if there are none."""
        return bool(self._log.inbox.pending(limit=1))

    def serve(self) -> None:
        """Run the pending requests in order; call it between batches.

        While a request cannot finish, those after it wait, except labels.
        """
        labels: list[InboxRequest] = []
        is_waiting = False
        for request in self._log.inbox.pending():
            if request.kind == LABELS:
                labels.append(request)
            elif not is_waiting:
                self._take_labels(labels)
                labels = []
                is_waiting = not self._is_done(request)
        self._take_labels(labels)

    def refuse_next(self, words: str) -> None:
        """Refuse the oldest request, which raised an unexpected error. There must be one."""
        self._refuse(self._log.inbox.pending(limit=1)[0], words)

    def replied(self, number: int) -> bytes:
        """Run pending requests up to one of this process, and return its reply.

        Raises: StateError if the log does not know the request.
        """
        while (reply := self._log.inbox.reply_to(number)) is None:
            pending = [request.number for request in self._log.inbox.pending()]
            if number not in pending and (not pending or pending[-1] > number):
                raise StateError(
                    f"request {number} does not wait in the log's inbox, and no reply is there: the log is another one "
                    "than it was asked of, or the reply is long gone. See whether it was done, and ask again if not"
                )
            self.serve()
            if self._adoption is not None:
                time.sleep(_LOOK_S)
        return reply

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Serve the inbox from a thread of its own while the caller waits for input outside of `turn`."""
        stop = Event()

        def look() -> None:
            while not stop.wait(_LOOK_S) and self._error is None:
                with self._turn:
                    try:
                        self.serve()
                    except Exception as error:  # noqa: BLE001 - raised in the next `turn`
                        self._error = error

        thread = Thread(target=look, name="inbox", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the log and its writer exclusively. Raises: the error of serving the inbox meanwhile."""
        with self._turn:
            if self._error is not None:
                raise self._error
            yield

    def close(self) -> None:
        """Give up a version that is being prepared; its request stays pending for the next process."""
        if self._adoption is not None:
            self._adoption.stop()

    # ---- labels

    def _take_labels(self, requests: Sequence[InboxRequest]) -> None:
        """Append the labels of many requests in as few batches as possible."""
        group: list[tuple[int, list[Submission]]] = []
        rows = 0
        for request in requests:
            try:
                lines = from_json(request.body, type=list[forwarded_input.HandedLine])
                submissions = forwarded_input.submissions(lines, self._writer.definitions)
            except ValueError as error:
                self._refuse(request, _unknown(request, str(error)))
                continue
            group.append((request.number, submissions))
            rows += len(submissions)
            if rows >= ROWS_MAX:
                self._commit_labels(group)
                group = []
                rows = 0
        if group:
            self._commit_labels(group)

    def _commit_labels(self, group: Sequence[tuple[int, list[Submission]]]) -> None:
        prepared = self._writer.prepare([submission for _, submissions in group for submission in submissions])
        answers = iter(prepared.answers)
        for number, submissions in group:
            request_answers = [next(answers) for _ in submissions]
            prepared.batch.replies.append(reply_with(number, request_answers))
        self._writer.commit(prepared)
        self.count(prepared)

    # ---- all other requests

    def _is_done(self, request: InboxRequest) -> bool:
        """Run a request; return False if it needs another call, or a version that is still being prepared."""
        try:
            if request.kind in BY_THE_LOG:
                carry_out(self._log, request)
            elif (
                request.kind in {RETRY, ADOPT, WATERMARK}
                and request.number != self._retrying[0]
                and not self.adopts(partial(self._load, _files(request)))
            ):
                return False
            elif request.kind == RETRY:
                return self._is_retried(request, from_json(request.body, type=RetryBody))
            elif request.kind == SNAPSHOT:
                self._log.append(Batch(replies=[reply_with(request.number, self._saved())]))
            elif request.kind == WATERMARK:
                at_ms, because = from_json(request.body, type=tuple[int, str])
                self._writer.set_watermark(at_ms, because, lambda *done: [reply_with(request.number, done)])
            elif request.kind == LINES:
                self._take(request, from_json(request.body, type=forwarded_input.HandedLines))
            elif request.kind == ADOPT:
                self._log.append(Batch(replies=[reply_with(request.number, None)], offsets=list(self._took_up())))
            else:
                self._refuse(request, _unknown(request, "there is none of this kind"))
        except (UsageError, PrunedError) as error:
            self._refuse(request, str(error))
        except msgspec.MsgspecError as error:
            self._refuse(request, _unknown(request, str(error)))
        except DefinitionError as error:
            count = len(error.problems)
            message = f"the project's files have {count} mistake{'s' if count > 1 else ''}, so they are not active"
            self._refuse(request, f"{message}. 'shroff check' names {'them' if count > 1 else 'it'}.")
        return True

    def _refuse(self, request: InboxRequest, reason: str) -> None:
        self._log.append(Batch(replies=[refusal_of(request, reason)]))

    def _saved(self) -> SnapshotResult:
        try:
            saved = self._writer.snapshot()
        except StorageError as error:  # a failed snapshot harms nothing else
            return SnapshotResult(failure=str(error))
        return SnapshotResult(str(saved.file), saved.seq, saved.bytes, saved.seconds)

    def _take(self, request: InboxRequest, asked: forwarded_input.HandedLines) -> None:
        """Append lines of a file and its new offset in one batch; nothing if another process read on."""
        if self._log.offsets.get(asked.source, asked.part) != asked.before:
            self._log.append(Batch(replies=[reply_with(request.number, None)]))
            return
        lines = forwarded_input.submissions(asked.given, self._writer.definitions)
        if asked.is_first:
            arranged([(asked.part, lines)], self._writer, late_min=LATE_LINES_MIN)
        offsets = [Offset(asked.source, asked.part, asked.offset)]
        prepared = self._writer.prepare(lines, decide=asked.decide, offsets=offsets, by=FILES)
        prepared.batch.replies.append(
            reply_with(request.number, LineResults(list(prepared.answers), dict(prepared.met)))
        )
        self._writer.commit(prepared)
        self.count(prepared)

    def _is_retried(self, request: InboxRequest, asked: RetryBody) -> bool:
        """Retry a page of entries; return whether it was the last. A restarted process retries those still there."""
        retried_request, remaining, results = self._retrying
        if retried_request != request.number:
            remaining = sorted(set(asked.numbers)) or self._log.quarantine.numbers()
            results = []
        page = remaining[:PAGE]
        remaining = remaining[PAGE:]

        def reply(found: list[Retried]) -> list[Reply]:
            return [] if remaining else [reply_with(request.number, results + found)]

        intake = self._intake(self._writer.definitions)
        results += retry(self._log, self._writer, intake, page, asked.headers, reply, self._decoder)
        self._retrying = request.number, remaining, results
        return not remaining

    def adopts(self, load: Callable[[], Definitions]) -> bool:
        """Activate a version, such as the project's files; return False while it is being prepared.

        Call it between two batches.

        Args:
            load: Returns the version; called only if none is being prepared.

        Raises: UsageError if the change needs a restart; DefinitionError if the files have errors or do not fit the
            log.
        """
        if self._adoption is None:
            try:
                definitions = load()
            except (StateError, TransientError) as error:
                raise UsageError(f"the project's files cannot be read: {error}") from error
            if definitions.versions == self._writer.definitions.versions:
                return True
            check_inputs_unchanged(self._writer.definitions, definitions)
            same = carried(self._writer.state, definitions)
            if same is not None:
                self._writer.adopt(same)
                return True
            self._adoption = Adoption(definitions, self._opened)
        if not self._adoption.is_ready:
            return False
        adoption = self._adoption
        self._adoption = None
        try:
            folded = adoption.finish(self._log)
        except (StateError, TransientError) as error:
            raise UsageError(f"the project's files cannot become active: {error}") from error
        self._writer.adopt(folded)
        return True


def carry_out(log: Log, request: InboxRequest) -> bytes:
    """Run a request of a kind in `BY_THE_LOG` as the writer, and return the reply."""
    try:
        batch, result = BY_THE_LOG[request.kind](log, request.body)
        reply = reply_with(request.number, result)
    except UsageError as error:
        batch = Batch()
        reply = refusal_of(request, str(error))
    batch.replies.append(reply)
    log.append(batch)
    return reply.body


def _dropped(log: Log, body: bytes) -> tuple[Batch, int]:
    drop = from_json(body, type=DropBody)
    if drop.is_all:
        dropped = sorted(set(drop.numbers).intersection(log.quarantine.numbers()))
    else:
        dropped = known_numbers(log, drop.numbers)
    return Batch(dropped=dropped), len(dropped)


def _erased(_log: Log, body: bytes) -> tuple[Batch, int]:
    events = from_json(body, type=list[tuple[str, str]])
    return Batch(erased=events), len(events)


def _pruned(log: Log, body: bytes) -> tuple[Batch, int]:
    return Batch(), prune_through(log, from_json(body, type=int))


# Requests that need no state: each returns its changes to the log, and its result.
BY_THE_LOG: Final[Mapping[str, Callable[[Log, bytes], tuple[Batch, object]]]] = {
    DROP: _dropped,
    ERASE: _erased,
    OUTBOX: changes,
    PRUNE: _pruned,
}


def _files(request: InboxRequest) -> list[str] | None:
    """Return the files that a request activates; None: all."""
    decoded = None if request.kind == WATERMARK else from_json(request.body, type=RetryBody | list[str] | None)
    return decoded.files if isinstance(decoded, RetryBody) else decoded


def _unknown(request: InboxRequest, why: str) -> str:
    writer = f"the process that writes the log, of shroff {shroff.__version__},"
    return f"{writer} cannot read this request ({request.kind}): {why}"
