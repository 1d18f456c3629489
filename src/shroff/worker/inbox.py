"""Inbox: requests to the active writer, between two batches; long because requests and replies are one protocol.

One way for all: whoever wants a single record written puts a request into the inbox, and
the process that holds the log takes it from there. The reply is committed in the transaction of what
it tells of, so a request is carried out once, whoever is killed and when (see
docs/decisions/0010).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Final

import msgspec
from msgspec import Struct, field
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

import shroff
from shroff.errors import (
    DefinitionError,
    LogBusyError,
    PrunedError,
    StateError,
    StorageError,
    TransientError,
    UsageError,
)
from shroff.events.formats.lines import CsvHeader
from shroff.events.intake import Intake, Submission
from shroff.log.event_notes import FILES
from shroff.log.state.snapshots import Saved
from shroff.log.version_switch import Adoption, carried, check_inputs_unchanged
from shroff.log.writer import Answer, Prepared, Writer
from shroff.project.definitions import Definitions
from shroff.runtime.progress import Tell, unheard
from shroff.streams.log import Batch, InboxRequest, Log, Offset, Reply, prune_through
from shroff.worker import forwarded_input
from shroff.worker.file_order import LATE_LINES_MIN, arranged
from shroff.worker.outbox import OUTBOX, changes
from shroff.worker.quarantine_retry import Decoders, Retried, known_numbers, retry

LABELS = "labels"
LINES = "lines"
RETRY = "retry"
DROP = "drop"
ADOPT = "adopt"
SNAPSHOT = "snapshot"
WATERMARK = "watermark"
ERASE = "erase"
PRUNE = "prune"
ROWS_MAX = 1_000  # labels in one request
PATIENCE_S = 60.0
QUIET_S = 1.0  # that a wait may last before somebody is told
LEFT = "The request is queued for the active writer; do not repeat it"
PAGE = 500  # entries of quarantine that are retried between two batches
_LOOK_S = 0.05  # how often an idle process looks into its inbox
_TURN_S = 0.5  # how often one that waits for a reply tries to have the log itself


class _Retry(msgspec.Struct):
    """Entries of quarantine, all without numbers, and the headers of the CSV files that they came from."""

    numbers: list[int]
    headers: dict[str, CsvHeader]
    files: list[str] | None = None


class _Saved(msgspec.Struct):
    """A snapshot that the writer saved, or in words why it cannot be written."""

    file: str = ""
    seq: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failure: str = ""


class _Drop(msgspec.Struct):
    """Quarantine entries to drop. With `is_all`, missing ones are ignored."""

    numbers: list[int]
    is_all: bool


class _LineResults(msgspec.Struct):
    """Results of lines, and the labels that had waited for one of them (see `Prepared.met`)."""

    answers: list[Answer]
    met: dict[str, int]


class _Replied(msgspec.Struct):
    """A reply: the result of the request, or the reason why it failed."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    refusal: str = ""


# ---- what is asked


def labels_request(submissions: Iterable[Submission], money_places: int) -> bytes:
    """The body of a request to take labels in."""
    return to_json(forwarded_input.given(submissions, money_places))


def retry_request(numbers: Sequence[int], headers: Mapping[str, CsvHeader], files: list[str] | None = None) -> bytes:
    """The body of a request to bring entries of quarantine back in; files become active before, None: all."""
    return to_json(_Retry(list(numbers), dict(headers), files))


def drop_request(numbers: Sequence[int], *, is_all: bool = False) -> bytes:
    """The body of a request to remove entries from quarantine; with `is_all` these are all that there were."""
    return to_json(_Drop(list(numbers), is_all))


def ask(
    put: Callable[[Log], int],
    alone: Callable[[int | None], bytes],
    reading: Callable[[], AbstractContextManager[Log]],
    waits: Tell,
    lasts: Tell = unheard,
) -> msgspec.Raw:
    """Have a request processed, and give its result.

    Args:
        put: Puts it into the inbox, where another process writes, and gives its number.
        alone: Takes the log for this process and carries out the request of this number, or this one; gives the
            reply. Raises LogBusyError where another process writes.
        waits: Told in words, once, what holds if nobody waits for the reply any longer.
        lasts: Told in words, once, for whom this waits, where that lasts longer than a second.

    Raises: UsageError where it was refused; LogBusyError where the process that writes does not come to it in time;
        StorageError where the disk fails. Where the request waits then, each says so.
    """
    number: int | None = None
    began = time.monotonic()
    is_told = False
    while True:
        try:
            if number is None:
                return result_of(alone(None))
            with staying():
                return result_of(alone(number))
        except LogBusyError as error:
            by = error.by
            waited_s = time.monotonic() - began
        if waited_s > PATIENCE_S:
            raise _impatient(by, is_asked=number is not None)
        if waited_s > QUIET_S and not is_told:
            is_told = True
            lasts(f"waiting for {by}, which writes the log and runs this request between two batches.")
        with suppress(LogBusyError), reading() as log:
            if number is None:
                number = put(log)
                waits(f"{LEFT}.")
            reply = _awaited(log, number)
            if reply is not None:
                return result_of(reply)


def _impatient(by: str, *, is_asked: bool) -> LogBusyError:
    words = f"{by} writes the log, and did not run this request within {PATIENCE_S:g} s"
    rest = LEFT if is_asked else "The request was not queued; try again"
    return LogBusyError(f"{words}. It may still be starting. {rest}", by)


@contextmanager
def staying() -> Iterator[None]:
    """Say of a failure of the disk behind a request that the request waits: it is carried out once there is room."""
    try:
        yield
    except StorageError as error:
        raise StorageError(f"{error}. {LEFT}") from error


def _awaited(log: Log, number: int) -> bytes | None:
    """The reply to a request, if it comes before it is time to try for the log."""
    end = time.monotonic() + _TURN_S
    while (reply := log.reply_to(number)) is None and time.monotonic() < end:
        time.sleep(0.02)
    return reply


def result_of(reply: bytes) -> msgspec.Raw:
    """Result of a request, by its reply. Raises: UsageError where it was refused."""
    found = from_json(reply, type=_Replied)
    if found.refusal:
        raise UsageError(found.refusal)
    return found.result


# ---- what is answered


class InboxServer(Struct, eq=False):
    """Processes the requests in a log's inbox, for the active writer.

    Args:
        intake: Makes what reads refused input again, for a version.
        load: Gives the project's definitions as files of these names have them now, the others as they are active;
            for None as all have them. Raises DefinitionError.
        opened: Opens the log to read, beside the writer.
        decoder: Makes what reads refused messages of the live source (see `quarantine_retry.retry`).
        took_up: Told that the files are in force; gives what the log keeps of that beside the version.
    """

    _log: Log
    _writer: Writer
    _intake: Callable[[Definitions], Intake]
    _load: Callable[[list[str] | None], Definitions]
    _opened: Callable[[], Log]
    _decoder: Decoders = lambda: None
    _took_up: Callable[[], Sequence[Offset]] = tuple
    count: Callable[[Prepared], object] = unheard  # told of what requests brought, once it is durable
    _adoption: Adoption | None = None
    # A request, the entries that are left of it, and results.
    _retrying: tuple[int, list[int], list[Retried]] = field(default_factory=lambda: (0, [], []))
    _turn: Lock = field(default_factory=Lock)
    _error: Exception | None = None

    def has_requests(self) -> bool:
        """Whether requests wait. Not during a commit. Cost: 10 µs if there are none."""
        return bool(self._log.asked(limit=1))

    def serve(self) -> None:
        """Process the waiting requests in order; call it between batches.

        Where one is not done yet, all behind it wait, but labels.
        """
        labels: list[InboxRequest] = []
        is_waiting = False
        for request in self._log.asked():
            if request.kind == LABELS:
                labels.append(request)
            elif not is_waiting:
                self._take_labels(labels)
                labels = []
                is_waiting = not self._is_done(request)
        self._take_labels(labels)

    def refuse_next(self, words: str) -> None:
        """Refuse the request that waits longest, at which this program fails; there must be one."""
        self._refuse(self._log.asked(limit=1)[0], words)

    def replied(self, number: int) -> bytes:
        """Process waiting requests up to one of this process; gives its reply.

        Raises: StateError where the log knows nothing of this request.
        """
        while (reply := self._log.reply_to(number)) is None:
            waiting = [request.number for request in self._log.asked()]
            if number not in waiting and (not waiting or waiting[-1] > number):
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
        """Look into the inbox on a thread of its own, while the caller waits for input outside of `turn`."""
        stop = Event()

        def look() -> None:
            while not stop.wait(_LOOK_S) and self._error is None:
                with self._turn:
                    try:
                        self.serve()
                    except Exception as error:  # noqa: BLE001 - it is raised in the next `turn`
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
        """The log and its writer for the caller alone. Raises: what went wrong while the inbox was looked into."""
        with self._turn:
            if self._error is not None:
                raise self._error
            yield

    def close(self) -> None:
        """Give up a version that is being prepared; its request waits for the next process."""
        if self._adoption is not None:
            self._adoption.stop()

    # ---- labels

    def _take_labels(self, requests: Sequence[InboxRequest]) -> None:
        """Take the labels of many requests in as few batches as may be."""
        group: list[tuple[int, list[Submission]]] = []
        rows = 0
        for request in requests:
            try:
                given = from_json(request.body, type=list[forwarded_input.HandedLine])
                submissions = forwarded_input.submissions(given, self._writer.definitions)
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
            mine = [next(answers) for _ in submissions]
            prepared.batch.replies.append(_reply(number, mine))
        self._writer.commit(prepared)
        self.count(prepared)

    # ---- all else

    def _is_done(self, request: InboxRequest) -> bool:
        """Carry a request out; False where it waits for a version that is being prepared, or is not done yet."""
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
                return self._is_retried(request, from_json(request.body, type=_Retry))
            elif request.kind == SNAPSHOT:
                self._log.append(Batch(replies=[_reply(request.number, self._saved())]))
            elif request.kind == WATERMARK:
                at_ms, because = from_json(request.body, type=tuple[int, str])
                self._writer.set_watermark(at_ms, because, lambda *done: [_reply(request.number, done)])
            elif request.kind == LINES:
                self._take(request, from_json(request.body, type=forwarded_input.HandedLines))
            elif request.kind == ADOPT:
                self._log.append(Batch(replies=[_reply(request.number, None)], offsets=list(self._took_up())))
            else:
                self._refuse(request, _unknown(request, "there is none of this kind"))
        except (UsageError, PrunedError) as error:
            self._refuse(request, str(error))
        except msgspec.MsgspecError as error:
            self._refuse(request, _unknown(request, str(error)))
        except DefinitionError as error:
            count = len(error.problems)
            words = f"the project's files have {count} mistake{'s' if count > 1 else ''}, so they are not active"
            self._refuse(request, f"{words}. 'shroff check' names {'them' if count > 1 else 'it'}.")
        return True

    def _refuse(self, request: InboxRequest, words: str) -> None:
        self._log.append(Batch(replies=[_refusal(request, words)]))

    def _saved(self) -> _Saved:
        try:
            saved = self._writer.snapshot()
        except StorageError as error:  # which harms nothing else
            return _Saved(failure=str(error))
        return _Saved(str(saved.file), saved.seq, saved.bytes, saved.seconds)

    def _take(self, request: InboxRequest, asked: forwarded_input.HandedLines) -> None:
        """Take lines of a file, and how far it is read with them, in one batch; nothing where somebody else read on."""
        if self._log.offset(asked.source, asked.part) != asked.before:
            self._log.append(Batch(replies=[_reply(request.number, None)]))
            return
        lines = forwarded_input.submissions(asked.given, self._writer.definitions)
        if asked.is_first:
            arranged([(asked.part, lines)], self._writer, late_min=LATE_LINES_MIN)
        offsets = [Offset(asked.source, asked.part, asked.offset)]
        prepared = self._writer.prepare(lines, decide=asked.decide, offsets=offsets, by=FILES)
        prepared.batch.replies.append(_reply(request.number, _LineResults(list(prepared.answers), dict(prepared.met))))
        self._writer.commit(prepared)
        self.count(prepared)

    def _is_retried(self, request: InboxRequest, asked: _Retry) -> bool:
        """Retry a page of entries; whether there are no more. A process that begins anew finds those that are left."""
        number, left, tried = self._retrying
        if number != request.number:
            left = sorted(set(asked.numbers)) or self._log.refused_numbers()
            tried = []
        page = left[:PAGE]
        left = left[PAGE:]

        def reply(found: list[Retried]) -> list[Reply]:
            return [] if left else [_reply(request.number, tried + found)]

        intake = self._intake(self._writer.definitions)
        tried += retry(self._log, self._writer, intake, page, asked.headers, reply, self._decoder)
        self._retrying = request.number, left, tried
        return not left

    def adopts(self, load: Callable[[], Definitions]) -> bool:
        """Activate a version, such as the project's files; False while it is being prepared.

        Between two batches, none being open.

        Args:
            load: Gives the version, where none is being prepared yet.

        Raises: UsageError where that takes a new start; DefinitionError where they have mistakes or do not fit the log.
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
    """Process a request of a kind in `BY_THE_LOG`, as the writer; gives the reply."""
    try:
        batch, done = BY_THE_LOG[request.kind](log, request.body)
        reply = _reply(request.number, done)
    except UsageError as error:
        batch = Batch()
        reply = _refusal(request, str(error))
    batch.replies.append(reply)
    log.append(batch)
    return reply.body


def _dropped(log: Log, body: bytes) -> tuple[Batch, int]:
    asked = from_json(body, type=_Drop)
    if asked.is_all:
        dropped = sorted(set(asked.numbers).intersection(log.refused_numbers()))
    else:
        dropped = known_numbers(log, asked.numbers)
    return Batch(dropped=dropped), len(dropped)


def _erased(_log: Log, body: bytes) -> tuple[Batch, int]:
    named = from_json(body, type=list[tuple[str, str]])
    return Batch(erased=named), len(named)


def _pruned(log: Log, body: bytes) -> tuple[Batch, int]:
    return Batch(), prune_through(log, from_json(body, type=int))


# Requests that need no state: what each changes in the log, and its result.
BY_THE_LOG: Final[Mapping[str, Callable[[Log, bytes], tuple[Batch, object]]]] = {
    DROP: _dropped,
    ERASE: _erased,
    OUTBOX: changes,
    PRUNE: _pruned,
}


def _files(request: InboxRequest) -> list[str] | None:
    """The files that become active with a request; None: all."""
    found = None if request.kind == WATERMARK else from_json(request.body, type=_Retry | list[str] | None)
    return found.files if isinstance(found, _Retry) else found


def _unknown(request: InboxRequest, why: str) -> str:
    writer = f"the process that writes the log, of shroff {shroff.__version__},"
    return f"{writer} cannot read this request ({request.kind}): {why}"


def _reply(number: int, result: Any) -> Reply:
    return Reply(number, to_json(_Replied(msgspec.Raw(to_json(result)))))


def _refusal(request: InboxRequest, words: str) -> Reply:
    return Reply(request.number, to_json(_Replied(refusal=words)))


def answers_of(result: msgspec.Raw) -> list[Answer]:
    """Results of labels, by the reply."""
    return from_json(result, type=list[Answer])


def taken_of(result: msgspec.Raw) -> Prepared | None:
    """Results of lines that are durable, by the reply; None where another process read on."""
    taken = from_json(result, type=_LineResults | None)
    return None if taken is None else Prepared(Batch(), taken.answers, taken.met)


def retried_of(result: msgspec.Raw) -> list[Retried]:
    """Results of quarantine entries, by the reply."""
    return from_json(result, type=list[Retried])


def saved_of(result: msgspec.Raw) -> Saved:
    """The snapshot that was saved, by the reply. Raises: StorageError where it cannot be written."""
    found = from_json(result, type=_Saved)
    if found.failure:
        raise StorageError(found.failure)
    return Saved(Path(found.file), found.seq, found.bytes, found.seconds)
