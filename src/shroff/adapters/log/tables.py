"""What the parts of a log ask of its tables; SQLite and PostgreSQL each implement it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from shroff.adapters.log.rows import RowTable
from shroff.adapters.log.sql_text import SqlWording
from shroff.errors import StorageError


class LogTables(ABC):
    """Reading and writing rows of one log; every method raises StorageError if the database fails."""

    wording: SqlWording
    place: str  # names the log in messages

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
    def transact(self, write: Callable[[], Any]) -> Any:
        """Call `write` in a transaction of its own, and return what it returns."""

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
    def damaged(self, what: str) -> StorageError:
        """Return the error for rows that differ from those that were written."""
