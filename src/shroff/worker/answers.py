"""Response to one submission as JSON: the decision, undecided, or the problem."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.engine.decision import Decision, Refusal, Undecided, kind_of
from shroff.engine.stored import stored
from shroff.errors import UsageError
from shroff.events.formats.lines import LOST
from shroff.events.intake import Submission
from shroff.json_types import JsonMapping, JsonObject
from shroff.log.writer import REFUSED, UNTAKEN, Answer
from shroff.runtime.texts import one_line

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_MAX = 4_096
CONFLICT = 409
UNPROCESSABLE = 422


def answer_json(answer: Answer, **more: object) -> bytes:
    """Encode an answer as JSON; `more`, such as the line number, is added to problem documents only."""
    if answer.document is not None:
        return answer.document
    if answer.kind in {REFUSED, UNTAKEN}:
        return to_json(problem_of(answer) | more)
    return to_json({"event": answer.type, "id": answer.id, "seq": answer.seq or None, "decided": False})


def foreseen_json(body: bytes) -> bytes:
    """Encode a preview as JSON: the answer without a sequence number."""
    fields = from_json(body, type=dict[str, msgspec.Raw])
    if "seq" in fields:
        fields["seq"] = msgspec.Raw(b"null")
    return to_json(fields)


def problem_of(answer: Answer) -> JsonObject:
    if answer.kind == UNTAKEN:
        no_type = 'no event type accepts this line; name its type, or write {"EVENT": {…}}'
        not_true = f"skipped: 'when' of {answer.type} in events.yaml is not true for this line"
        return {
            "type": "no-event-type",
            "title": "No event type accepts this",
            "status": UNPROCESSABLE,
            "detail": not_true if answer.type else no_type,
        }
    if answer.is_conflict:
        title = "This id already exists with different values"
        return {"type": "id-conflict", "title": title, "status": CONFLICT, "detail": answer.reason}
    return {"type": "invalid-event", "title": "The event was refused", "status": UNPROCESSABLE, "detail": answer.reason}


def is_lacking(kinds: Counter[str]) -> bool:
    """Return whether an answer is a refusal, or no event type accepted any line."""
    return kinds[REFUSED] > 0 or 0 < kinds.total() == kinds[UNTAKEN]


def answer_value(answer: Answer, line: int) -> Decision | Undecided | Refusal:
    """Return the answer as a value. `line` is its number in the input, counted from 1."""
    if answer.document is not None:
        return stored(answer.document, kind_of(answer.document), f"the decision at sequence number {answer.seq}")
    if answer.kind in {REFUSED, UNTAKEN}:
        return Refusal(**problem_of(answer), line=line)
    return Undecided(answer.type, answer.id, answer.seq or None)


class ArrowStream(Protocol):
    """A data frame or table that exports an Arrow stream: of pandas (2.2 or newer), Polars, Arrow."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export the stream, by the Arrow PyCapsule interface."""


Events: TypeAlias = Iterable[JsonMapping] | ArrowStream  # events that a Python program passes


def table_of(events: object) -> pa.Table | None:
    """Return a data frame of pandas or Polars as an Arrow table; None for rows.

    Raises: UsageError for a frame that Arrow cannot read, and for a value that is neither a frame nor rows.
    """
    if not hasattr(events, "__arrow_c_stream__"):
        if not isinstance(events, Iterable) or isinstance(events, str | bytes | Mapping) or hasattr(events, "collect"):
            raise UsageError(f"events are a {type(events).__name__}. {_ROWS}")
        return None
    import pyarrow as pa

    try:
        return pa.table(events)
    except (pa.ArrowException, TypeError, ValueError) as error:
        message = str(error).partition("\n")[0].rstrip(".")
        raise UsageError(f"the {type(events).__name__} cannot be read as a table: {message}. {_ROWS}") from None


def rows_of(events: Any) -> Iterable[Any]:
    table = table_of(events)
    return events if table is None else (row for batch in table.to_batches() for row in batch.to_pylist())


def json_lines(events: Events, *, is_strict: bool = False) -> Iterator[bytes]:
    """Encode events as JSON lines, one at a time. Data frames are read faster by column: `table_of`.

    Floats get their shortest decimal form, times RFC 3339 (UTC if they have no zone), durations seconds; numpy and
    pandas values likewise. An event with a value that JSON cannot express becomes a line that will be refused.

    Raises: UsageError for an event that is no mapping; with `is_strict` also for a value that JSON cannot express.
    """
    for number, event in enumerate(rows_of(events), start=1):
        if not isinstance(event, Mapping):
            raise UsageError(f"event {number} is a {type(event).__name__}, not a mapping of fields. {_ROWS}")
        try:
            yield _ENCODER.encode({name: _sayable(value) for name, value in event.items()}) + b"\n"
        except (TypeError, ValueError, OverflowError) as error:
            message = one_line(f"event {number} cannot be written as JSON: {error}")
            if is_strict:
                raise UsageError(message) from None
            yield LOST + message.encode() + b"\n"


def _sayable(value: Any) -> object:
    """Return the value in a form that the encoder writes faithfully; NaT becomes None.

    Raises: TypeError for bytes, ValueError for infinity: the encoder would write base64 and null.
    """
    if type(value) is str:
        return value
    if isinstance(value, Mapping):
        return {name: _sayable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(part) for part in value]
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{type(value).__name__} cannot be a value of a field; pass text")
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(f"{value} is not a value of a field")
    if isinstance(value, datetime | timedelta) and value != value:  # noqa: PLR0124 (pandas' NaT)
        return None
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    if isinstance(value, timedelta):
        return value / timedelta(seconds=1)
    return value


def _plain(value: Any) -> object:
    """Convert a library's value: a numpy scalar has `item`, a pandas timestamp `isoformat`."""
    kind = value.dtype.kind if hasattr(value, "dtype") else ""
    if kind in {"M", "m"}:  # `item` returns a number if the unit is below a microsecond
        return _sayable(value.astype(f"{value.dtype.str[:3]}[us]").item())
    for way in ("isoformat", "item"):
        if hasattr(value, way):
            return _sayable(getattr(value, way)())
    if type(value).__name__ == "NAType":  # pandas' missing number, text or truth value
        return None
    raise TypeError(f"a {type(value).__name__} is not a value of a field")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
_ROWS = "Give a list of them, or a data frame of pandas, Polars or Arrow."


def in_groups(submissions: Iterable[Submission], has_more: Callable[[], bool]) -> Iterator[list[Submission]]:
    """Yield submissions in groups of up to `GROUP_MAX` that never wait for input that has not arrived yet."""
    group: list[Submission] = []
    for submission in submissions:
        group.append(submission)
        if len(group) == GROUP_MAX or not has_more():
            yield group
            group = []
    if group:
        yield group
