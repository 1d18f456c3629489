"""Inbox: requests to the active writer, and their replies.

A process that needs a single record written puts a request into the inbox, and the process that holds the log
takes it from there. The reply is committed in the transaction of the request's effects, so a request runs exactly
once, whichever process is killed and when (docs/decisions/0010).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import LogBusyError, StorageError, UsageError
from shroff.events.formats.lines import CsvHeader
from shroff.events.intake import Submission
from shroff.log.state.snapshots import Saved
from shroff.log.writer import Answer, Prepared
from shroff.runtime.progress import Tell, unheard
from shroff.streams.log import Batch, InboxRequest, Log, Reply
from shroff.worker import forwarded_input
from shroff.worker.quarantine_retry import Retried

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
QUIET_S = 1.0  # how long a wait may last before it is reported
LEFT = "The request is queued for the active writer; do not repeat it"
_TURN_S = 0.5  # how often a process that waits for a reply tries to open the log itself


class RetryBody(msgspec.Struct):
    """Entries of quarantine (all, if there are no numbers), and the headers of their CSV files."""

    numbers: list[int]
    headers: dict[str, CsvHeader]
    files: list[str] | None = None


class SnapshotResult(msgspec.Struct):
    """A saved snapshot, or the reason why it could not be written."""

    file: str = ""
    seq: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failure: str = ""


class DropBody(msgspec.Struct):
    """Quarantine entries to drop. With `is_all`, missing ones are ignored."""

    numbers: list[int]
    is_all: bool


class LineResults(msgspec.Struct):
    """Results of lines, and of pending labels that one of them matched (see `Prepared.met`)."""

    answers: list[Answer]
    met: dict[str, int]


class ReplyBody(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    refusal: str = ""


# ---- requests


def labels_request(submissions: Iterable[Submission], money_places: int) -> bytes:
    return to_json(forwarded_input.given(submissions, money_places))


def retry_request(numbers: Sequence[int], headers: Mapping[str, CsvHeader], files: list[str] | None = None) -> bytes:
    """Encode a request to retry entries of quarantine after activating files; None activates all."""
    return to_json(RetryBody(list(numbers), dict(headers), files))


def drop_request(numbers: Sequence[int], *, is_all: bool = False) -> bytes:
    """Encode a request to remove entries from quarantine; `is_all`: missing entries are ignored."""
    return to_json(DropBody(list(numbers), is_all))


def ask(
    put: Callable[[Log], int],
    alone: Callable[[int | None], bytes],
    reading: Callable[[], AbstractContextManager[Log]],
    waits: Tell,
    lasts: Tell = unheard,
) -> msgspec.Raw:
    """Run a request, here or in the active writer, and return its result.

    Args:
        put: Puts the request into the inbox if another process writes, and returns its number.
        alone: Opens the log for writing, runs the request of this number (None: the caller's own), and returns the
            reply. Raises LogBusyError if another process writes.
        waits: Called once, when the request is queued, with the message to show if the caller stops waiting.
        lasts: Called once, after a second of waiting, with the process that it waits for.

    Raises: UsageError if the request was refused; LogBusyError if the active writer does not run it within 60 s;
        StorageError if the disk fails. The message says if the request stays queued.
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
            reply = _await_reply(log, number)
            if reply is not None:
                return result_of(reply)


def _impatient(by: str, *, is_asked: bool) -> LogBusyError:
    message = f"{by} writes the log, and did not run this request within {PATIENCE_S:g} s"
    state = LEFT if is_asked else "The request was not queued; try again"
    return LogBusyError(f"{message}. It may still be starting. {state}", by)


@contextmanager
def staying() -> Iterator[None]:
    """Add to a disk error that the request stays queued: it runs once there is space."""
    try:
        yield
    except StorageError as error:
        raise StorageError(f"{error}. {LEFT}") from error


def _await_reply(log: Log, number: int) -> bytes | None:
    end = time.monotonic() + _TURN_S
    while (reply := log.inbox.reply_to(number)) is None and time.monotonic() < end:
        time.sleep(0.02)
    return reply


def result_of(reply: bytes) -> msgspec.Raw:
    """Decode a reply. Raises: UsageError if the request was refused."""
    decoded = from_json(reply, type=ReplyBody)
    if decoded.refusal:
        raise UsageError(decoded.refusal)
    return decoded.result


# ---- replies


def reply_with(number: int, result: Any) -> Reply:
    return Reply(number, to_json(ReplyBody(msgspec.Raw(to_json(result)))))


def refusal_of(request: InboxRequest, reason: str) -> Reply:
    return Reply(request.number, to_json(ReplyBody(refusal=reason)))


def answers_of(result: msgspec.Raw) -> list[Answer]:
    return from_json(result, type=list[Answer])


def taken_of(result: msgspec.Raw) -> Prepared | None:
    """Decode the results of durable lines; None if another process read on."""
    results = from_json(result, type=LineResults | None)
    return None if results is None else Prepared(Batch(), results.answers, results.met)


def retried_of(result: msgspec.Raw) -> list[Retried]:
    return from_json(result, type=list[Retried])


def saved_of(result: msgspec.Raw) -> Saved:
    """Decode the snapshot that was saved. Raises: StorageError if it could not be written."""
    decoded = from_json(result, type=SnapshotResult)
    if decoded.failure:
        raise StorageError(decoded.failure)
    return Saved(Path(decoded.file), decoded.seq, decoded.bytes, decoded.seconds)
