"""A line of a file, as it was read, and the iterator over a file's lines."""

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
ITEM_MARK = "#"  # between the place of a message and the number of an item, which counts from 1
_PLACE = re.compile(r"([0-9]+)(?: \(row ([0-9]+)\))?(#[0-9]+)?")
_ITEM = re.compile(r"#[1-9][0-9]{0,8}$")
_ENTRY = re.compile(r"[0-9]+-[0-9]+")
_ENTRIES_A_MS = 1_000_000  # beyond which a number of two ids may be the same; no server makes so many

LINE_BYTES_MAX = 16 * 1024 * 1024  # longer ones are errors, so that one file cannot fill the memory
ROWS_AT_ONCE = 8_192  # a few megabytes of Python values, if rows are of usual length
LOST = b"shroff: "  # begins a line in the place of lines that are lost, and says which; it is refused
Read = Callable[[bytes], "tuple[dict[str, object] | None, str | None]"]


class Line(msgspec.Struct, eq=False, gc=False):
    """One data line: its number among these from 1, its bytes, and its columns, or why it has none.

    `line` is its first line in the file, as an editor shows it, with the header and empty
    lines counted. `raw` is what the file has, line end included. Where a file has no lines
    (Parquet, one JSON list) these are 0 and the canonical JSON of the row, made when it is
    asked for. With `read` the columns are read from the bytes when they are first asked for.
    `where` is its place in a source whose places are no numbers, such as the id of a stream's entry. `key` is that of
    its message, where somebody asks for it; `trace` its `traceparent`, where spans are made. `each` and `index` are of
    a line that is one item of its array alone, as `MappedRow` has them; `is_whole` of a message beside its items.
    `offset` is how many items stood before those of a message that comes from quarantine.
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
        """An item of this message as a line at a place of its own, or the message beside its items."""
        if each is None:
            return replace(self, is_whole=True)
        where = f"{self.place}{ITEM_MARK}{index + 1}"
        return Line(
            *(self.number, None, self.columns, None, None, self.line, where, self.trace, each, index),
            offset=self.offset,
        )

    @property
    def place(self) -> str:
        """Its place by `place_of`, or `where`."""
        return self.where or place_of(self.number, self.line)

    @property
    def has_bytes(self) -> bool:
        """Whether `raw` is what was read, and not made of the columns."""
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
        found = self.error if self.columns is None else f"{len(self.columns)} columns"
        return f"Line({self.number}, {found})"


def place_of(number: int, line: int) -> str:
    """A line in the file, and its number among data lines where that is another: `8`, `9 (row 8)`."""
    return str(number) if line == number or not line else f"{line} (row {number})"


def line_and_row(place: str) -> tuple[str, int | None]:
    """Parts of `place_of`: the line that a person sees, and the number among data lines; None of any other place.

    >>> line_and_row("9 (row 8)"), line_and_row("8"), line_and_row("payment/p-1"), line_and_row("9 (row 8)#2")
    (('9', 8), ('8', 8), ('payment/p-1', None), ('9#2', 8))
    """
    if _ENTRY.fullmatch(message_of(place)) is not None:
        return place, number_of_entry(message_of(place))
    found = _PLACE.fullmatch(place)
    return (place, None) if found is None else (found[1] + (found[3] or ""), int(found[2] or found[1]))


def line_of(place: str) -> int:
    """The line of a file in which a person finds a place of it.

    >>> line_of("9 (row 8)"), line_of("9 (row 8)#2")
    (9, 9)
    """
    return int(line_and_row(message_of(place))[0])


def message_of(place: str) -> str:
    """The place of the message that an item stood in; any other place as it is.

    >>> message_of("9 (row 8)#2"), message_of("evt_1")
    ('9 (row 8)', 'evt_1')
    """
    return _ITEM.sub("", place)


def item_of(place: str) -> int:
    """The number of the item at a place, from 1; 0 of a place that is no item's."""
    found = _ITEM.search(place)
    return int(found[0].removeprefix(ITEM_MARK)) if found else 0


def number_of_entry(id_: str) -> int:
    """The number of a stream's entry, made of its id: it stays the same however often the stream is read.

    >>> number_of_entry("1700000000000-3")
    1700000000000000003
    """
    ms, _, at = id_.partition("-")
    return int(ms) * _ENTRIES_A_MS + int(at)


class FileExtent(NamedTuple):
    """The size of a file, and what says how much of it was read; both in bytes as they are stored."""

    size_bytes: int
    read_bytes: Callable[[], int]


class CsvHeader(FrozenStruct):
    """The column names of a CSV file, and what parts its columns."""

    columns: tuple[str, ...]
    separator: str = ","

    @property
    def text(self) -> str:
        """The form that stands beside a line in quarantine; `header_of` reads it."""
        return to_json(self).decode()


def header_of(text: str) -> CsvHeader | None:
    """The header of `CsvHeader.text`; None of an empty text."""
    return from_json(text, type=CsvHeader) if text else None


class Lines:
    """The lines of one file, read as they are asked for.

    `format` is what was read (`csv`, `jsonl`, `parquet`, `avro`); `columns` are the names of the columns in order, None
    for JSON lines, where each line has its own. The file is closed after its last line; one that is left before needs
    `close`, or a `with`. `extent` says how much of a file was read, of a compressed one too; None where that is not
    known. `separator` parts the columns of CSV. Without `close` there is no file to close. `physical` gives the raw
    lines of JSON instead, and `records` those of CSV; use one of the two. `again` opens the same file from its first
    line, None if the lines are of no file. `tell` is called with what people should know of how the file is read.
    `rows_at_once` is how many rows of Parquet a reader may hold at the same time. `prepare` is set of XML, whose
    records depend on the paths that mappings read.
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
        """Of CSV they are read when they are first asked for. Raises: UsageError where that is not possible."""
        return self._columns if self.records is None else self.records.header.columns

    @property
    def separator(self) -> str:
        return self._separator if self.records is None else self.records.header.separator

    @property
    def header(self) -> CsvHeader | None:
        """That of CSV; None of other formats. Raises: as `columns`."""
        return None if self.format != "csv" or self.columns is None else CsvHeader(self.columns, self.separator)

    def lay_out(self, layout: CsvLayout) -> Self:
        """Read the beginning of CSV so, if it is not read yet; gives itself."""
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
    """How far into its files an ingest is.

    By bytes as they are stored, so that it holds for compressed files too. Files that are
    sorted first are all read before the first line comes out again; from then on by lines.
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
        """A share in [0, 1]; None where a file's size is not known, as of a pipe."""
        if self._given:
            return self._given / self._taken
        extents = [file.extent for file in self._files if file.extent is not None]
        size_bytes = sum(extent.size_bytes for extent in extents)
        if len(extents) < len(self._files) or size_bytes == 0:
            return None
        return sum(extent.read_bytes() for extent in extents) / size_bytes
