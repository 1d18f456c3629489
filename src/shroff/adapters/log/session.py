"""One connection to a database server, in the words in which a log uses it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from shroff.adapters.log.rows import RowTable
from shroff.adapters.log.server_sql import ServerWording
from shroff.errors import StateError


class CollisionError(StateError):
    """A row has a key that is taken; the log looks up which."""


class Session(ABC):
    """A connection that is in no transaction unless `begin` was called.

    Every method raises TransientError where the server cannot be reached or the connection is lost, LogBusyError where
    a lock is not to be had in time, and StorageError where the server refuses; after a loss `is_lost` is true.
    What `put`, `take_out` and `do` write may go out as late as with `flush`, and fail as late.
    """

    wording: ServerWording
    now_ms: ClassVar[str]  # the server's clock in SQL

    @property
    @abstractmethod
    def is_lost(self) -> bool:
        """Whether the connection is closed or broken."""

    @abstractmethod
    def ask(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        """All rows of a question, or of a statement that gives some."""

    @abstractmethod
    def about(self, question: Any, ids: Sequence[Any], more: Sequence[str]) -> tuple[str, Sequence[object]]:
        """A question about a list of ids, and its values."""

    @abstractmethod
    def do(self, sql: str, values: Sequence[object] = ()) -> None:
        """Carry out a statement; in a transaction it may go out later."""

    @abstractmethod
    def changed(self, sql: str, values: Sequence[object] = ()) -> int:
        """Carry out a statement at once; gives how many rows it found."""

    @abstractmethod
    def begin(self, sql: str) -> list[Any]:
        """Begin a transaction, with its first question."""

    @abstractmethod
    def put(self, table: RowTable, rows: Iterable[Any], *, newest_wins: Sequence[str] = (), adds: str = "") -> None:
        """Write rows.

        Args:
            newest_wins: Columns that a row takes over where one of its key is there already.
            adds: A column that is added to the one that is there.
        """

    @abstractmethod
    def take_out(self, table: RowTable, rows: Iterable[Any]) -> None:
        """Remove the rows that have these keys; those that are not there are passed over."""

    @abstractmethod
    def request(self, kind: str, body: str, at_ms: int) -> int:
        """Put a request into the inbox; gives its number. Whoever sees one sees all of lower numbers."""

    @abstractmethod
    def reply(self, replies: Sequence[tuple[bytes, int]]) -> int:
        """Answer requests by their numbers; gives how many of them waited."""

    @abstractmethod
    def flush(self) -> None:
        """Send what is written, and see that it was taken."""

    @abstractmethod
    def commit(self) -> None:
        """End the transaction."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo the transaction."""

    @abstractmethod
    def name(self) -> str:
        """A name by which another session can end this one."""

    @abstractmethod
    def end(self, name: str) -> None:
        """End another session of this user by its name, where there still is one."""

    @abstractmethod
    def version(self) -> int | None:
        """The version of the tables; None where there are none, and 0 where they are being made."""

    @abstractmethod
    def make_tables(self) -> None:
        """Make the tables, or bring them up to date. Raises: StorageError where other tables are in their place."""

    @abstractmethod
    def check_durable(self) -> None:
        """Raises: StorageError where the server does not flush what is committed before it says so."""

    @abstractmethod
    def size_bytes(self) -> int:
        """Bytes of the tables and their indexes."""

    @abstractmethod
    def close(self) -> None:
        """End the connection; what is not committed is undone. Closing twice does nothing."""
