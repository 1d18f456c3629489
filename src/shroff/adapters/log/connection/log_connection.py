"""The connection of a log to its database, which all parts of the log share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from shroff.adapters.log.tables.rows import RowTable
from shroff.adapters.log.tables.sql_text import SqlWording
from shroff.errors import StateError, StorageError
from shroff.streams.log import Reply

NUMBER_MAX = 2**62
_Given = TypeVar("_Given")


class CollisionError(StateError):
    """A row has a key that is taken; the log looks up which."""


class LogConnection(ABC):
    """Statements, transactions and the lead of one log; every method raises StorageError if the database fails.

    A transaction commits only while this process leads the log.
    """

    wording: SqlWording
    place: str  # names the log in messages
    epoch = 0  # of the lead; 0 for a reader

    def __init__(self) -> None:
        self.on_rollback = list[Callable[[], None]]()  # called before a rollback, to forget what it undoes

    @abstractmethod
    def select(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        """Return all rows of a query, so that no read stays open between calls and each sees complete batches.

        Args:
            shape: The type of each column: i an integer, t a text, b bytes, j a text as bytes; upper case if it may
                be missing.
        """

    @abstractmethod
    def select_by_ids(self, question: Any, shape: str, ids: Iterable[Any], *more: str) -> Iterator[Any]:
        """Yield the rows of a query over a list of ids; `more` are its further values."""

    @abstractmethod
    def transact(
        self, write: Callable[[], _Given], *, before_commit: Callable[[], None] | None = None, erases: bool = False
    ) -> _Given:
        """Call `write` in a transaction of its own, and return what it returns.

        Args:
            before_commit: Called before the commit of a batch.
            erases: Overwrite deleted rows on the medium, as far as the database can.

        Raises: StateError for a reader; OvertakenError if another process leads the log; CollisionError if a key of a
            batch is taken; LogBusyError if the log is locked for longer than 5 s.
        """

    @abstractmethod
    def put(self, table: RowTable, rows: Sequence[Any], *, newest_wins: Sequence[str] = (), adds: str = "") -> None:
        """Insert rows within the open transaction.

        Args:
            newest_wins: Columns that are overwritten if the key exists.
            adds: A column whose value is added to the stored one.
        """

    @abstractmethod
    def take_out(self, table: RowTable, rows: Iterable[Any]) -> None:
        """Delete the rows with these keys within the open transaction; unknown keys are ignored."""

    @abstractmethod
    def execute(self, sql: str, values: Sequence[object]) -> None:
        """Execute a statement within the open transaction."""

    @abstractmethod
    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        """Store a request in the inbox, durable on return, and return its number; readers may call it, too."""

    @abstractmethod
    def answer(self, replies: Sequence[Reply]) -> int:
        """Store replies within the open transaction; return how many of their requests were waiting."""

    @abstractmethod
    def damaged(self, damage: str) -> StorageError:
        """Return the error for rows that differ from those that were written."""

    @abstractmethod
    def check(self, within_s: float) -> None:
        """Check the storage by the database's own means. Raises: StorageError if it is damaged."""

    def version(self) -> int | None:
        """Return a number that changes whenever another process changes the log; None if unknown."""
        return None

    def damaged_index(self, damage: str) -> StorageError:
        return StorageError(
            f"{self.place}: {damage}. No event is lost. Stop the worker and run 'shroff migrate --apply --compare-ids "
            "--at BACKUPS', which makes a backup there, and then builds the index again"
        )

    def one(self, sql: str) -> Any:
        """Return the only row of a table that always has one."""
        rows = self.select(sql, shape="I")
        if not rows:
            raise self.damaged("a row that every log has is missing")
        return rows[0]

    def slices(self, sql: str, shape: str, after: int, end: int, size: int) -> Iterator[list[Any]]:
        """Yield the rows in (after, end] of a table whose first and last columns are sequence number and number."""
        number = NUMBER_MAX
        while rows := self.select(sql, (after, after, number, end, size), shape):
            yield rows
            after = rows[-1][0]
            number = rows[-1][-1]

    @abstractmethod
    def size_bytes(self) -> int:
        """Return the bytes on disk."""

    @abstractmethod
    def maintain(self) -> None:
        """Do the upkeep of the database that is due between two batches."""

    @abstractmethod
    def close(self) -> None:
        """Release the lead and the database. Closing twice does nothing."""
