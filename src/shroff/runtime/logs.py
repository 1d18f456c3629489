"""Logging: readable lines or JSON, to standard error; and a file of unexpected errors for bug reports.

Callers pass messages to a `tell` function; those of `failure` carry a level and fields. A log must not contain event
data. As a second line of defense, everything written is masked where it looks like a card number, a mail address, a
password in an address or a key.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Final, Self

from shroff.errors import COVERED, UsageError, covered, stack_of, trace_of
from shroff.json_types import JsonMapping, JsonObject, TextDict, TextMapping
from shroff.runtime.texts import one_line

LOG = logging.getLogger("shroff")
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
ERRORS_FILE = "errors.jsonl"  # in the state folder: the last unexpected errors
ERRORS_BYTES_MAX = 256 * 1024
REPEAT_S = 60.0  # how long the same message is suppressed
REPEATS_MAX = 1_000  # messages that are remembered
IDS: Final[ContextVar[TextMapping]] = ContextVar("ids", default={})  # noqa: B039  # ids of the request, never mutated
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
_KEY = re.compile(r"(?i)(?<=bearer )\S+|(?<=/login/link/)\S+|(?<=/login/once/)\S+|(?<=/confirm/)\S+")
_VALUE = re.compile(r"%(?:\(\w+\))?[#0 +-]*\d*(?:\.\d+)?[a-zA-Z]")  # placeholder in a message of `logging`
_DIGITS = re.compile(r"\d(?:[ -]?\d){12,18}(?!\d)")


class Told(str):
    """A message for a log, with level and fields; a plain text to code that does not know about them."""

    __slots__ = ("fields", "level")
    level: int
    fields: JsonMapping

    def __new__(cls, words: str, level: int = logging.WARNING, fields: JsonMapping | None = None) -> Self:
        message = super().__new__(cls, words)
        message.level = level
        message.fields = fields or {}
        return message


class _ErrorStacks:
    """Folder of the unexpected errors of this process, and error ids of the stacks that were logged in full."""

    folder: Path | None = None
    seen: Final[TextDict] = {}


def keep_errors_in(folder: Path) -> None:
    """Keep unexpected errors in the state folder of a project from now on; the folder is not created."""
    _ErrorStacks.folder = folder


def failure(what: str, error: BaseException, **fields: str) -> Told:
    """Return a message about an unexpected error, with its id among the fields; it is kept for `doctor --bundle`.

    `what` names what failed. The stack has file, line and function; the error's own message is left out because it may
    contain event data. A stack that was reported before is replaced by the id of that report.
    """
    id_ = token_hex(6)
    trace = trace_of(error)
    first = _ErrorStacks.seen.setdefault(trace, id_)
    if len(_ErrorStacks.seen) > REPEATS_MAX:
        _ErrorStacks.seen.clear()
    fields_of_error = {"error_id": id_, "error": type(error).__name__, **IDS.get(), **fields}
    stack = {"stack": stack_of(error)} if first == id_ else {"same_as": first}
    _keep({"time": _moment(time.time()), "what": what, **fields_of_error, **stack})
    message = f"error {id_}: {what}: {trace if first == id_ else f'{type(error).__name__}, again as error {first}'}"
    return Told(message, logging.ERROR, fields_of_error | stack)


def kept_errors(folder: Path) -> list[JsonObject]:
    entries = []
    with suppress(OSError):
        for line in (folder / ERRORS_FILE).read_bytes().splitlines():
            with suppress(ValueError):
                entries.append(json.loads(line))
    return [entry for entry in entries if isinstance(entry, dict)]


def _keep(entry: JsonMapping) -> None:
    if _ErrorStacks.folder is None or not _ErrorStacks.folder.is_dir():
        return
    path = _ErrorStacks.folder / ERRORS_FILE
    line = json.dumps(entry).encode() + b"\n"
    with suppress(OSError):
        if path.exists() and path.stat().st_size > ERRORS_BYTES_MAX:
            path.write_bytes(path.read_bytes()[-ERRORS_BYTES_MAX // 2 :].partition(b"\n")[2])
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(file, line)
        finally:
            os.close(file)


def ids_of(headers: TextMapping) -> TextDict:
    """Return the ids of a request for logs: from X-Request-Id and a W3C `traceparent`, if well-formed."""
    ids = {}
    if _ID.fullmatch(request := headers.get("x-request-id", "")):
        ids["request_id"] = request
    if trace := _TRACE.fullmatch(headers.get("traceparent", "")):
        ids["trace_id"] = trace[1]
    return ids


def tell(words: str) -> None:
    """Log a message; one without a level is a warning."""
    if isinstance(words, Told):
        LOG.log(words.level, "%s", one_line(words), extra={"fields": words.fields})
    else:
        LOG.warning("%s", one_line(words))


def say(level: int, words: str, **fields: object) -> None:
    LOG.log(level, "%s", words, extra={"fields": fields})


def scrubbed(text: str) -> str:
    """Mask everything in a text that looks like a secret or personal data.

    >>> scrubbed("redis://u:pw@h/0 told ann@bank.example of 4111 1111 1111 1111, order 4111111111111112")
    'redis://[covered]@h/0 told [covered] of [covered], order 4111111111111112'
    """
    return without_cards(_MAIL.sub(COVERED, _KEY.sub(COVERED, covered(text))))


def without_cards(text: str) -> str:
    return _DIGITS.sub(lambda match: COVERED if _is_card(match[0]) else match[0], text)


def _is_card(text: str) -> bool:
    digits = [int(digit) for digit in reversed(text) if digit.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


# ---- output


def settings() -> tuple[str, str]:
    """Return format and level from SHROFF_LOG_FORMAT and SHROFF_LOG_LEVEL. Raises: UsageError for unknown ones."""
    values = []
    for name, allowed, default in (("SHROFF_LOG_FORMAT", FORMATS, "text"), ("SHROFF_LOG_LEVEL", LEVELS, "info")):
        value = os.environ.get(name) or default
        if value not in allowed:
            raise UsageError(f"{name} is one of {', '.join(allowed)}, not {value!r}.")
        values.append(value)
    return values[0], values[1]


def begin(write: Callable[[str], None], format_: str, level: str, **fields: object) -> None:
    """Write log lines with this function from now on. `fields` are added to each JSON line."""
    handler = _LogHandler(write, is_json=format_ == "json", fields=fields)
    LOG.handlers[:] = [handler]
    LOG.propagate = False
    LOG.setLevel(level.upper())
    logging.root.handlers[:] = [handler]  # libraries log in the same form
    logging.root.setLevel(logging.WARNING)


def is_json() -> bool:
    return any(isinstance(handler, _LogHandler) and handler.is_json for handler in LOG.handlers)


class _LogHandler(logging.Handler):
    def __init__(self, write: Callable[[str], None], *, is_json: bool, fields: Mapping[str, object]) -> None:
        super().__init__()
        self.is_json = is_json
        self._fields = fields
        self._write = write
        self._said: dict[tuple[int, str], tuple[float, int]] = {}  # by level and kind: last time, and repeats since

    def emit(self, record: logging.LogRecord) -> None:
        message = scrubbed(_words(record))
        kind = message if _is_ours(record) else f"{record.pathname}:{record.lineno}"  # library messages contain values
        times = self._times(record.levelno, kind, record.created) if record.levelno > logging.INFO else 1
        if not times:
            return
        fields = {**IDS.get(), **getattr(record, "fields", {})}
        if times > 1:
            fields["times"] = times
        self._write(self._json(record, message, fields) if self.is_json else _text(record, message, fields))

    def _times(self, level: int, kind: str, now_s: float) -> int:
        """Return how often this kind came since it was last written, with this time; 0 if that is a short time ago."""
        at_s, count = self._said.get((level, kind), (0.0, 0))
        if now_s - at_s < REPEAT_S:
            self._said[level, kind] = at_s, count + 1
            return 0
        if len(self._said) >= REPEATS_MAX:
            self._said.clear()
        self._said[level, kind] = now_s, 0
        return count + 1

    def _json(self, record: logging.LogRecord, message: str, fields: JsonMapping) -> str:
        entry = {"time": _moment(record.created), "level": record.levelname.lower(), "message": message}
        masked = {name: scrubbed(value) if isinstance(value, str) else value for name, value in fields.items()}
        return json.dumps({**entry, "pid": record.process, **self._fields, **masked})


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == LOG.name


def _words(record: logging.LogRecord) -> str:
    """Return the message; of a library its name and first line, with `...` for values, which may be anything."""
    if _is_ours(record):
        return record.getMessage()
    text = str(record.msg).strip().partition("\n")[0]
    return f"{record.name}: {_VALUE.sub('...', text) if record.args else text}"


def _text(record: logging.LogRecord, message: str, fields: JsonMapping) -> str:
    pairs = [f"{name}={one_line(value)}" for name, value in fields.items() if not isinstance(value, list)]
    more = f" ({', '.join(pairs)})" if pairs and (record.levelno < logging.INFO or "times" in fields) else ""
    return f"shroff: {message}{scrubbed(more)}"


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
