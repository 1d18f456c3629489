"""One line of a file or message of a source, the iterator over a file's lines, and their positions as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.events.definitions import CsvLayout
from shroff.events.raw_values import canonical_json, kept_bytes, with_item
from shroff.language.expression import Path
from shroff.runtime.progress import unheard
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.events.formats.csv_records import CsvRecords

One = TypeVar("One")
ITEM_MARK = "#"  # between the position of a message and the number of an item in it, from 1
_PLACE = re.compile(r"([0-9]+)(?: \(row ([0-9]+)\))?(#[0-9]+)?")
_ITEM = re.compile(r"#[1-9][0-9]{0,8}$")
_ENTRY = re.compile(r"[0-9]+-[0-9]+")
_ENTRIES_A_MS = 1_000_000  # more than a server can add in a millisecond, so that numbers of entries differ

LINE_BYTES_MAX = 16 * 1024 * 1024  # longer lines are errors, so that one file cannot fill the memory
ROWS_AT_ONCE = 8_192  # a few megabytes of Python values for rows of usual length
LOST = b"shroff: "  # begins a line that stands for lost lines and names them; the line is refused
Read = Callable[[bytes], "tuple[dict[str, object] | None, str | None]"]


class Line(msgspec.Struct, eq=False, gc=False):
    """One data line: its columns, or the error why it has none.

    Args:
        number: Its number among the data lines, from 1.
        _raw: Its bytes, line end included; None for a row of Parquet or an element of a JSON list, whose `raw` is
            canonical JSON.
        _read: Reads columns and error from the bytes at their first use.
        line: Its first line in the file as an editor counts, with the header and empty lines; 0 if there are no lines.
        where: Its position in a source that does not count, such as the id of a stream's entry.
        trace: The `traceparent` of its message, if spans are recorded.
        each: The array of which the line is one item, and `index` the index of the item, as for `MappedRow`.
        is_whole: Whether the line is a message whose items are lines of their own.
        offset: Number of items before those of a message from quarantine.
    """

    number: int
    _raw: bytes | None
    _columns: dict[str, object] | None
    _error: str | None = None
    _read: Read | None = None
    line: int = 0
    where: str = ""
    trace: str = ""
    each: Path | None = None
    index: int = 0
    is_whole: bool = False
    offset: int = 0

    def part(self, each: Path | None, index: int) -> Line:
        """Return an item of this message as a line; without `each` the message itself, marked as whole."""
        if each is None:
            return replace(self, is_whole=True)
        where = f"{self.place}{ITEM_MARK}{index + 1}"
        return Line(
            *(self.number, None, self.columns, None, None, self.line, where, self.trace, each, index),
            offset=self.offset,
        )

    @property
    def place(self) -> str:
        """Its position as text: `where`, or `place_of`."""
        return self.where or place_of(self.number, self.line)

    @property
    def has_bytes(self) -> bool:
        """Whether `raw` is what was read, and not made from the columns."""
        return self._raw is not None

    @property
    def raw(self) -> bytes:
        if self._raw is not None:
            return self._raw
        columns = self.columns if self.each is None else with_item(self.columns, self.each, self.index)
        return kept_bytes(canonical_json(columns))

    def original(self) -> bytes:
        return self.raw

    @property
    def columns(self) -> dict[str, object] | None:
        if self._read is not None:
            self._look()
        return self._columns

    @property
    def error(self) -> str | None:
        if self._read is not None:
            self._look()
        return self._error

    def _look(self) -> None:
        read = self._read
        self._read = None
        assert read is not None
        assert self._raw is not None
        self._columns, self._error = read(self._raw)

    def __repr__(self) -> str:
        content = self.error if self.columns is None else f"{len(self.columns)} columns"
        return f"Line({self.number}, {content})"


def place_of(number: int, line: int) -> str:
    """Return a position as text: the line in the file, and its number among data lines if it differs: `9 (row 8)`."""
    return str(number) if line == number or not line else f"{line} (row {number})"


def line_and_row(place: str) -> tuple[str, int | None]:
    """Split a position by `place_of`: the line in the file, and the number among data lines, None for other positions.

    >>> line_and_row("9 (row 8)"), line_and_row("8"), line_and_row("payment/p-1"), line_and_row("9 (row 8)#2")
    (('9', 8), ('8', 8), ('payment/p-1', None), ('9#2', 8))
    """
    if _ENTRY.fullmatch(message_of(place)) is not None:
        return place, number_of_entry(message_of(place))
    match = _PLACE.fullmatch(place)
    return (place, None) if match is None else (match[1] + (match[3] or ""), int(match[2] or match[1]))


def line_of(place: str) -> int:
    """Return the line of a file at a position.

    >>> line_of("9 (row 8)"), line_of("9 (row 8)#2")
    (9, 9)
    """
    return int(line_and_row(message_of(place))[0])


def message_of(place: str) -> str:
    """Return the position of the message that an item belongs to; any other position unchanged.

    >>> message_of("9 (row 8)#2"), message_of("evt_1")
    ('9 (row 8)', 'evt_1')
    """
    return _ITEM.sub("", place)


def item_of(place: str) -> int:
    """Return the number of the item at a position, from 1; 0 if it is no item's."""
    match = _ITEM.search(place)
    return int(match[0].removeprefix(ITEM_MARK)) if match else 0


def number_of_entry(id_: str) -> int:
    """Return a number for a stream's entry, made from its id, so that each reading of the stream gives the same one.

    >>> number_of_entry("1700000000000-3")
    1700000000000000003
    """
    ms, _, at = id_.partition("-")
    return int(ms) * _ENTRIES_A_MS + int(at)


class FileExtent(NamedTuple):
    """The size of a file, and a function for how much of it was read, both in stored (compressed) bytes."""

    size_bytes: int
    read_bytes: Callable[[], int]


class CsvHeader(FrozenStruct):
    """The column names of a CSV file, and its separator."""

    columns: tuple[str, ...]
    separator: str = ","

    @property
    def text(self) -> str:
        """JSON that is stored with a line in quarantine; `header_of` reads it."""
        return to_json(self).decode()


def header_of(text: str) -> CsvHeader | None:
    return from_json(text, type=CsvHeader) if text else None


class Lines:
    """An iterator over the lines of one file. It closes the file after the last line; before that, use `close` or
    `with`.

    Args:
        format: `csv`, `jsonl`, `parquet` or `avro`.
        columns: Names of the columns in order; None for JSON lines, each of which has its own.
        close: Closes the file; by default there is none.
        extent: How much of the file was read; None if unknown.
        separator: Separator of CSV columns.
        physical: Raw lines of JSON, for a caller that does not iterate over lines.

    Attributes:
        records: Records of CSV, likewise for a caller that does not iterate over lines.
        again: Opens the same file from its first line; None if the lines are from no file.
        tell: Called with notes for users on how the file is read.
        rows_at_once: How many rows of Parquet a reader may keep in memory.
        prepare: Set for XML, whose records depend on the paths that mappings read.
    """

    def __init__(
        self,
        format: str,
        columns: tuple[str, ...] | None,
        lines: Iterator[Line],
        close: Callable[[], None] = unheard,
        extent: FileExtent | None = None,
        *,
        separator: str = ",",
        physical: Iterator[bytes] | None = None,
    ) -> None:
        self.format = format
        self._separator = separator
        self._columns = columns
        self.extent = extent
        self.physical = physical
        self.records: CsvRecords | None = None
        self.prepare: Callable[[Collection[Path]], object] | None = None
        self.again: Callable[[], Lines] | None = None
        self.tell: Callable[[str], object] = unheard
        self.rows_at_once = ROWS_AT_ONCE
        self._lines = lines
        self._next = lines.__next__
        self.close = close

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns; those of CSV are read at the first use. Raises: UsageError if they cannot be read."""
        return self._columns if self.records is None else self.records.header.columns

    @property
    def separator(self) -> str:
        return self._separator if self.records is None else self.records.header.separator

    @property
    def header(self) -> CsvHeader | None:
        """The header of CSV; None for other formats. Raises: as `columns`."""
        return None if self.format != "csv" or self.columns is None else CsvHeader(self.columns, self.separator)

    def lay_out(self, layout: CsvLayout) -> Self:
        """Read the beginning of CSV by this layout, if it is not read yet; return itself."""
        if self.records is not None:
            self.records.lay_out(layout)
        return self

    def read_for(self, paths: Collection[Path]) -> Self:
        """Prepare the lines, and those of `again`, before the first one is read; returns itself."""
        if self.prepare is not None:
            self.prepare(paths)
            again = self.again
            self.again = again and (lambda: again().read_for(paths))
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Line:
        return self._next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Meter:
    """Measures the progress of an ingest over its files.

    It counts stored (compressed) bytes. Files that are sorted are read completely before the first line is ingested;
    from then on it counts lines.
    """

    def __init__(self) -> None:
        self._files: list[Lines] = []
        self._taken = self._given = 0

    def opened(self, lines: Lines) -> Lines:
        self._files.append(lines)
        return lines

    def taken(self, items: Iterable[One]) -> Iterator[One]:
        for item in items:
            self._taken += 1
            yield item

    def given(self, items: Iterable[One]) -> Iterator[One]:
        for item in items:
            self._given += 1
            yield item

    def share(self) -> float | None:
        """Return the share that is done, in [0, 1]; None if the size of a file is unknown, as of a pipe."""
        if self._given:
            return self._given / self._taken
        extents = [file.extent for file in self._files if file.extent is not None]
        size_bytes = sum(extent.size_bytes for extent in extents)
        if len(extents) < len(self._files) or size_bytes == 0:
            return None
        return sum(extent.read_bytes() for extent in extents) / size_bytes
