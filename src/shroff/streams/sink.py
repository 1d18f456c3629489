"""The contract of sinks: where decisions and flags go behind their commit.

The log is the outbox. Decisions and flags stand in it in order, so what a sink still has to get is all behind one
place, which is kept in the store for each sink. A delivery that was cut off is made again: each row has a key, and a
sink that can replace by key has each once. One that can take a mark in the same transaction as its rows has each once
as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec
from msgspec.json import encode as to_json

from shroff.errors import TransientError
from shroff.runtime.values import FrozenStruct


class Outgoing(FrozenStruct, gc=False):
    """A row on its way out: its place in the log and its number among the effects there, its kind and its content.

    `body` is the decision's document, the flag as JSON, or the event's canonical body. `event` and `id` name the
    event, `outcome` is empty for a flag and an event. Where the sink asked for fields, `fields` is that body of the
    event, `time_ms` its time, and `at_ms` its ingest time, None where the log does not know it. A decision and an event
    have the number 0, flags count from 1.
    """

    seq: int
    number: int
    kind: str  # decision | flag | event
    event: str
    id: str
    outcome: str
    body: bytes
    fields: bytes = b""
    time_ms: int | None = None
    at_ms: int | None = None

    @property
    def key(self) -> str:
        """The same whenever this row leaves, and no other row's: what makes it harmless to take it twice."""
        return f"{self.seq}-{self.number}"

    @property
    def name(self) -> str:
        """Identity of the row for sinks that keep one of each: the event, of a flag the flag itself."""
        return f"{self.event}/{self.id}" if self.kind != "flag" else f"{self.event}/{self.id}/{self.key}"


class Undelivered(NamedTuple):
    """A row that the sink does not take, with the reason in words.

    It is refused for good, unless it `may_pass`: then it is the row that the sink fails at, and it may take it later;
    what is ahead of it was delivered or refused, and nothing behind it was sent. It comes again, with all behind it,
    and is set aside in the end.
    """

    row: Outgoing
    reason: str
    may_pass: bool = False


def refused_by_halves(rows: Sequence[Outgoing], write: Callable[[Sequence[Outgoing]], str]) -> list[Undelivered]:
    """The rows that are refused, where one refused row fails a whole write: halves are written until it is found.

    `write` gives the reason why rows were refused; empty where they were written.
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
    """What reads a field of a row's event: as it is where it is a text, else as JSON; None where it has no value."""
    only = msgspec.defstruct("OneField", [("value", Any, None)], rename={"value": name})
    decoder: Any = msgspec.json.Decoder(only)

    def read(row: Outgoing) -> str | None:
        value = decoder.decode(row.fields).value if row.fields else None
        return value if value is None or isinstance(value, str) else to_json(value).decode()

    return read


class AwayError(TransientError):
    """The sink takes nothing now, whatever the row; `after_s` is how long it asks to be left alone."""

    def __init__(self, words: str, after_s: float = 0) -> None:
        super().__init__(words)
        self.after_s = after_s


class Sink(Protocol):
    """One place outside that takes rows, used by one thread.

    Opening one reaches for nothing that may be away. After an error it is closed, and another one is opened.
    """

    wants_fields: bool  # whether rows have to carry the event's fields
    places_max: int  # so many places of the log have their rows in one `send` at most

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        """Deliver rows in their order, durable there on return; gives those that are not taken.

        The rows of one place come together. A row comes again where it cannot be known whether it arrived.
        Raises: TransientError, such as AwayError, where it may work later: nothing of `rows` counts as delivered then,
            and all of them come again; UsageError where the sink cannot be what the settings say, which is told, and
            tried again as well.
        """

    def close(self) -> None:
        """Let go. Closing twice does nothing."""


@runtime_checkable
class MarkedSink(Sink, Protocol):
    """A sink that keeps a mark in one transaction with its rows, so that it has each row once."""

    def mark(self) -> str:
        """The mark of the last `send_marked` that was carried out, by this process or another one; else nothing.

        From here on no other process can carry out one that it had begun. Raises: as `send`.
        """

    def send_marked(self, rows: Sequence[Outgoing], mark: str) -> list[Undelivered]:
        """As `send`, and with the rows, all or none, the mark. No row may pass later.

        Where it refuses some, it takes none, and leaves the mark as it is: the others come again without them.
        """


@runtime_checkable
class VolatileSink(Sink, Protocol):
    """A sink that may lose its content, such as a server in memory; its rows may be sent again at any time.

    It keeps a mark beside the rows. A mark that is missing or too old says which rows are lost.
    """

    def mark(self) -> str:
        """Return the mark; empty if the sink is new or lost its content. Raises: as `send`."""

    def set_mark(self, mark: str, before: str) -> bool:
        """Set the mark if it still is `before`, in one step; return whether it was. Raises: as `send`."""


@runtime_checkable
class MakingSink(Sink, Protocol):
    """A sink that makes what it writes to where that is missing, such as a table."""

    def is_missing(self) -> bool:
        """Whether what it writes to is missing, so that the next `send` makes it. Raises: as `send`."""


@runtime_checkable
class KeepingSink(Sink, Protocol):
    """A sink that keeps each row under its key, and can be asked for it."""

    def missing(self, rows: Sequence[Outgoing]) -> list[Outgoing]:
        """Return those of some rows, a few dozen at most, that it does not have. Raises: as `send`."""


@runtime_checkable
class PreparedSink(Sink, Protocol):
    """A sink that needs something made before it takes rows, such as topics. Not every sink is one."""

    def prepare(self, partitions: int | None) -> list[str]:
        """See that what it needs is there; with a number, make what is not, with so many partitions.

        It takes no rows, and is no trouble to another process that delivers. Gives the names of what was made.
        Raises: UsageError where it is not there, or cannot be made; TransientError where nobody answers.
        """
