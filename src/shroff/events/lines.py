"""A line of a file, as it was read, and the iterator over a file's lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

from shroff.events.given import canonical_json


class Line:
    """One data line: its number from 1, its bytes, and its columns, or why it has none.

    `raw` is what the file has, line end included; where a file has no lines (Parquet, one
    JSON list), the canonical JSON of the row, made when it is asked for.
    """

    __slots__ = ("_raw", "columns", "error", "number")

    def __init__(
        self, number: int, raw: bytes | None, columns: dict[str, object] | None, error: str | None = None
    ) -> None:
        self.number = number
        self._raw = raw
        self.columns = columns
        self.error = error

    @property
    def raw(self) -> bytes:
        return canonical_json(self.columns).encode() if self._raw is None else self._raw

    def __repr__(self) -> str:
        found = self.error if self.columns is None else f"{len(self.columns)} columns"
        return f"Line({self.number}, {found})"


class Lines:
    """The lines of one file, read as they are asked for.

    `format` is what was read (`csv`, `jsonl`, `parquet`); `columns` are the names of the
    columns in order, None for JSON lines, where each line has its own. The file is closed
    after its last line; one that is left before needs `close`, or a `with`.
    """

    def __init__(
        self, format: str, columns: tuple[str, ...] | None, lines: Iterator[Line], close: Callable[[], None]
    ) -> None:
        self.format = format
        self.columns = columns
        self._lines = lines
        self._next = lines.__next__
        self.close = close

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Line:
        return self._next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
