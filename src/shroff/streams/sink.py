"""The contract of sinks: destinations of decisions and flags after their commit.

The log is the outbox. It holds decisions and flags in order, so everything that a sink still has to receive is after
one sequence number, which is stored for each sink. An interrupted delivery is repeated: each row has a key, and a sink
that can replace by key has each row once, as does a sink that stores a mark in the same transaction as its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec
from msgspec.json import encode as to_json

from shroff.errors import TransientError
from shroff.runtime.values import FrozenStruct


class Outgoing(FrozenStruct, gc=False):
    """An outgoing row: its sequence number, its number among the effects there, its kind and its content.

    `body` is the decision's document, the flag as JSON, or the canonical body of the event or label. `event` and `id`
    name the event, a label's too; only a decision has an `outcome`. If the sink requests fields, `fields` is the
    event's body, `time_ms` its time, and `at_ms` its ingest time, None if the log does not know it. Flags count from 1;
    all others have the number 0.
    """

    seq: int
    number: int
    kind: str  # decision | flag | event | label
    event: str
    id: str
    outcome: str
    body: bytes
    fields: bytes = b""
    time_ms: int | None = None
    at_ms: int | None = None

    @property
    def key(self) -> str:
        """Unique and stable key of the row, which makes it harmless to accept it twice."""
        return f"{self.seq}-{self.number}"

    @property
    def name(self) -> str:
        """Identity of the row for sinks that keep only the latest: the event; for a flag also the flag."""
        return f"{self.event}/{self.id}" if self.kind != "flag" else f"{self.event}/{self.id}/{self.key}"


class Undelivered(NamedTuple):
    """A row that the sink does not accept, with the reason.

    It is refused for good, unless it `may_pass`: then the sink failed at this row, and may accept it later. Rows before
    it were delivered or refused, and none after it was sent. It is retried with all rows after it, and set aside in the
    end.
    """

    row: Outgoing
    reason: str
    may_pass: bool = False


def refused_by_halves(rows: Sequence[Outgoing], write: Callable[[Sequence[Outgoing]], str]) -> list[Undelivered]:
    """Return refused rows if one refused row fails a whole write: halves are written until it is found.

    `write` returns the reason why rows were refused; empty if they were written.
    """
    refused: list[Undelivered] = []
    to_do = [rows] if rows else []
    while to_do:
        part = to_do.pop()
        reason = write(part)
        if reason and len(part) == 1:
            refused.append(Undelivered(part[0], reason))
        elif reason:
            middle = len(part) // 2
            to_do += [part[middle:], part[:middle]]
    return refused


def field_reader(name: str) -> Callable[[Outgoing], str | None]:
    """Return a reader of a field of a row's event: a text as it is, else JSON; None without a value."""
    only = msgspec.defstruct("OneField", [("value", Any, None)], rename={"value": name})
    decoder: Any = msgspec.json.Decoder(only)

    def read(row: Outgoing) -> str | None:
        value = decoder.decode(row.fields).value if row.fields else None
        return value if value is None or isinstance(value, str) else to_json(value).decode()

    return read


class AwayError(TransientError):
    """The sink accepts nothing now, whatever the row; `after_s` is how long it asks to wait."""

    def __init__(self, message: str, after_s: float = 0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Sink(Protocol):
    """An external destination of rows, used by one thread.

    Opening it contacts nothing that may be unreachable. After an error it is closed, and another one is opened.
    """

    wants_fields: bool  # whether rows must carry the event's fields
    places_max: int  # maximum number of distinct sequence numbers in one `send`

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        """Deliver rows in order, durable there on return; return those that are not accepted.

        Rows of one sequence number come together. A row comes again if it is unknown whether it arrived.
        Raises: TransientError, such as AwayError, if a retry may succeed: no row counts as delivered then, and all of
            them come again; UsageError if the sink cannot be what the settings say, which is reported and retried as
            well.
        """

    def close(self) -> None:
        """Release all resources. Closing twice does nothing."""


@runtime_checkable
class MarkedSink(Sink, Protocol):
    """A sink that stores a mark in one transaction with its rows, so that it has each row once."""

    def mark(self) -> str:
        """Return the mark of the last committed `send_marked`, by this or another process; empty if there is none.

        From here on no other process can commit one that it had started. Raises: as `send`.
        """

    def send_marked(self, rows: Sequence[Outgoing], mark: str) -> list[Undelivered]:
        """Like `send`, but store all rows and the mark, or nothing. No row may pass later.

        If the sink refuses some rows, it stores none, and keeps the old mark: the others come again without them.
        """


@runtime_checkable
class VolatileSink(Sink, Protocol):
    """A sink that may lose its content, such as an in-memory server; its rows may be sent again at any time.

    It stores a mark beside the rows. A mark that is missing or too old shows which rows are lost.
    """

    def mark(self) -> str:
        """Return the mark; empty if the sink is new or lost its content. Raises: as `send`."""

    def set_mark(self, mark: str, before: str) -> bool:
        """Set the mark if it still is `before`, in one step; return whether it was. Raises: as `send`."""


@runtime_checkable
class MakingSink(Sink, Protocol):
    """A sink that creates its target if that is missing, such as a table."""

    def is_missing(self) -> bool:
        """Return whether the target is missing, so that the next `send` creates it. Raises: as `send`."""


@runtime_checkable
class KeepingSink(Sink, Protocol):
    """A sink that stores each row under its key, and can be queried for it."""

    def missing(self, rows: Sequence[Outgoing]) -> list[Outgoing]:
        """Return those of these rows, a few dozen at most, that it does not have. Raises: as `send`."""


@runtime_checkable
class PreparedSink(Sink, Protocol):
    """A sink that needs something created before it accepts rows, such as topics. Not every sink is one."""

    def prepare(self, partitions: int | None) -> list[str]:
        """Check that what it needs exists; with `partitions`, create what is missing with that many partitions.

        It accepts no rows, and does not disturb another process that delivers. Returns the names of what was created.
        Raises: UsageError if something is missing, or cannot be created; TransientError if the server does not answer.
        """
