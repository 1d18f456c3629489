"""Read the records of CSV files, one by one, or let a caller read many raw lines at a time."""

from __future__ import annotations

import codecs
import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice

from shroff.errors import UsageError
from shroff.events.definitions import CsvLayout
from shroff.events.formats.lines import LINE_BYTES_MAX, CsvHeader, Line
from shroff.runtime.progress import Tell, unheard
from shroff.runtime.texts import many

SEPARATORS = (",", ";", "\t", "|")
RECORD_LINES_MAX = 200  # lines of one record; a quoted text that goes on further has a stray quotation mark
BLANKS = " \t"  # stripped before a cell is compared with the values for missing
WINDOWS = "windows-1252"
_LETTERS = "".join(bytes([code]).decode("cp1252", "replace") for code in range(256))
_WINDOWS_LETTERS = "".join(chr(code) if letter == "\ufffd" else letter for code, letter in enumerate(_LETTERS))
_QUOTED = re.compile(rb'"[^"]*"')
_SEP_LINE = re.compile(rb'"?sep=([,;|\t])"?[\r\n]*', re.IGNORECASE)


def windows_text(raw: bytes) -> str:
    """Decode bytes as windows-1252. Its five undefined bytes become control characters, as in browsers."""
    return codecs.charmap_decode(raw, "strict", _WINDOWS_LETTERS)[0]


class _OpenQuoteError(Exception):
    """A quoted text goes on for more than RECORD_LINES_MAX lines, so its quotation mark is a stray one."""


class _Text:
    """Decodes the lines of a CSV file, and keeps the bytes of the record that is being read.

    `tell` is called once the file turns out to be windows-1252.
    """

    def __init__(self, physical: Iterator[bytes], tell: Callable[[], None]) -> None:
        self.physical = physical
        self._tell = tell
        self.again: deque[bytes] = deque()  # lines to read before those of `physical`
        self.encoding: str | None = None  # None while all lines are ASCII
        self.taken: list[bytes] = []  # lines of the record that is being read
        self.skipped = 0  # lines before the header
        self.words: str | None = None  # why the record that is being read cannot be decoded

    def __iter__(self) -> Iterator[str]:
        while (raw := self.again.popleft() if self.again else next(self.physical, None)) is not None:
            self.taken.append(raw)
            if len(self.taken) > RECORD_LINES_MAX:
                raise _OpenQuoteError
            if len(raw) > LINE_BYTES_MAX:
                self.words = f"the line is longer than {LINE_BYTES_MAX:,} bytes"  # its end may cut a character
            yield raw.decode("latin-1") if raw.isascii() or self.words else self._decoded(raw)

    def _decoded(self, raw: bytes) -> str:
        if self.encoding == WINDOWS:
            return windows_text(raw)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            if self.encoding is None:
                self.encoding = WINDOWS
                self._tell()
            else:
                self.words = "the line is not UTF-8, as the lines before it are"
            return windows_text(raw)
        self.encoding = "utf-8"
        return text

    def is_utf8(self, data: bytes) -> bool:
        """Whether lines of the file can be read as UTF-8; if they show that the file is UTF-8, note that."""
        if data.isascii():
            return True
        if self.encoding != WINDOWS:
            try:
                data.decode()
            except UnicodeDecodeError:
                return False
            self.encoding = "utf-8"
        return self.encoding == "utf-8"

    def begin(self, skip: int, wanted: str | None) -> str:
        """Skip the lines before the header, and return the separator of its columns.

        Excel's line `sep=;`, which is skipped, too, comes first. Next is `wanted`, if the first line contains it, and
        then the most frequent one of SEPARATORS in the first line, outside quotation marks; the earlier one if equal.
        """
        declared = ""
        seen = list[bytes]()
        for raw in self.physical:
            match = _SEP_LINE.fullmatch(raw)
            if match is not None and not declared:
                declared = match[1].decode("latin-1")
            if self.skipped < skip or match is not None:
                self.skipped += 1
                continue
            seen.append(raw)
            if raw.strip():
                break
        self.physical = chain(seen, self.physical)
        plain = _QUOTED.sub(b"", seen[-1] if seen else b"")
        if declared:
            return declared
        if wanted and wanted.encode() in plain:
            return wanted
        return max(SEPARATORS, key=lambda separator: plain.count(separator.encode()))

    def ahead(self, count: int) -> list[str]:
        """Return the next lines without consuming them."""
        seen = list(islice(self.physical, count))
        self.physical = chain(seen, self.physical)
        return [raw.decode("utf-8", "replace") for raw in seen]

    def take(self) -> bytes:
        """Return the bytes of the last record, and begin a new one."""
        raw = self.taken[0] if len(self.taken) == 1 else b"".join(self.taken)
        self.taken.clear()
        return raw


class CsvRecords(Iterator[Line]):
    """The records of a CSV file after its header, or its raw lines for a caller that splits them itself.

    The header is read at its first use, by the layouts that `lay_out` was given until then.

    Args:
        physical: The lines of the file with their ends.
        name: Name of the file, for messages.
        header: The header, if the file has none.
        tell: Called with notes for users, such as that the file is windows-1252.
    """

    def __init__(
        self, physical: Iterator[bytes], name: str, header: CsvHeader | None = None, tell: Tell = unheard
    ) -> None:
        words = f"{name} is not UTF-8; it is read as windows-1252."
        self._text = _Text(physical, partial(tell, words))
        self._name = name
        self._header = header
        self.layout = CsvLayout()
        self.number = 0  # of the last record
        self.following = 1  # number of the line after the last record
        self._missing: frozenset[str] | None = None
        self._records: Iterator[list[str]] = iter(())
        if header is not None:
            self._begin(header.separator)

    def lay_out(self, layout: CsvLayout) -> None:
        """Use this layout for what earlier layouts leave open."""
        self.layout = self.layout.over(layout)
        named = self.layout.missing
        self._missing = None if named is None or named <= {""} else named | {""}

    @property
    def header(self) -> CsvHeader:
        """The names of the columns and the separator. Raises: UsageError if they cannot be read."""
        if self._header is None:
            self._header = self._read_header()
        return self._header

    @property
    def is_plain(self) -> bool:
        """Whether only blank cells are missing."""
        return self._missing is None

    def ahead(self, count: int) -> Iterator[tuple[int, list[str]]]:
        """Yield number and cells of the next lines without consuming them, for hints in messages."""
        for at, line in enumerate(self._text.ahead(count), self.following):
            with suppress(csv.Error):
                yield at, next(csv.reader([line], delimiter=self.header.separator), [])

    def first_lines(self, count: int) -> list[str]:
        """Return the first lines of a file of which nothing was read yet, without consuming them."""
        return self._text.ahead(count)

    def _begin(self, separator: str) -> None:
        self._records = csv.reader(iter(self._text), strict=True, delimiter=separator)

    def _read_header(self) -> CsvHeader:
        text = self._text
        name = self._name
        layout = self.layout
        separator = text.begin(layout.skip or 0, layout.separator)
        self._begin(separator)
        if layout.columns is not None:
            self.following = text.skipped + 1
            return CsvHeader(layout.columns, separator)
        try:
            header = next((record for record in self._records if record), None)
        except csv.Error as error:
            words = _csv_words(error, b"".join(text.taken))
            raise UsageError(f"The header of {name} cannot be read: {words}.") from None
        if header is None:
            behind = f" behind the {text.skipped} lines that `skip` leaves out" if layout.skip else ""
            raise UsageError(f"{name} is empty{behind}; a CSV file begins with a line of column names.")
        header = [column.strip() for column in header]
        doubled = sorted({column for column in header if column and header.count(column) > 1})
        if doubled:
            raise UsageError(f"{name} has the column {doubled[0]!r} twice; rename one.")
        self.following = text.skipped + len(text.taken) + 1
        text.take()
        text.words = None
        return CsvHeader(tuple(header), separator)

    def __next__(self) -> Line:
        """Return the next record; one that cannot be read has an error.

        Not a generator, which would form a reference cycle and so keep its file open.
        """
        text = self._text
        header = self.header.columns
        missing = self._missing
        record: list[str] | None = []
        while not record:
            try:
                record = next(self._records, None)
            except (csv.Error, _OpenQuoteError) as error:
                # A stray quotation mark would swallow the lines that follow. So only the first line of the record is
                # refused, and the others are read again.
                text.again.extendleft(reversed(text.taken[1:]))
                del text.taken[1:]
                self._records = csv.reader(iter(text), strict=True, delimiter=self.header.separator)
                text.words = None
                raw = text.take()
                return self._line(raw, 1, None, _csv_words(error, raw))
            if record is None:
                raise StopIteration
            if not record:
                self.following += len(text.taken)
                text.take()
        words = text.words
        text.words = None
        lines = len(text.taken)
        if words is None and len(record) == len(header):
            if missing is not None:
                record = ["" if cell.strip(BLANKS) in missing else cell for cell in record]
            elif any(map(str.isspace, record)):
                record = [cell if cell.strip(BLANKS) else "" for cell in record]
            return self._line(text.take(), lines, dict(zip(header, record, strict=True)), None)
        expected = "`columns` names" if self.layout.columns else "the header has"
        return self._line(
            text.take(), lines, None, words or f"has {many(len(record), 'column')}, {expected} {len(header)}"
        )

    def _line(self, raw: bytes, lines: int, columns: dict[str, object] | None, words: str | None) -> Line:
        line = self.following
        self.following = self.following + lines
        self.number += 1
        return Line(self.number, raw, columns, words, None, line)

    def lines(self) -> Iterator[bytes]:
        """Return the next raw lines. The caller updates `number` and `following` by what it has taken."""
        assert not self._text.again, "lines that were given back must be read first"
        return self._text.physical

    def are_utf8(self, raws: Sequence[bytes]) -> bool:
        return self._text.is_utf8(b"".join(raws))

    def give_back(self, raws: Sequence[bytes], failure: Exception | None = None) -> None:
        """Return the last taken lines, to be read as records; `failure` is raised after them."""
        self._text.again.extendleft(reversed(raws))
        if failure is not None:
            self._text.physical = _failing(failure)

    @property
    def is_given_back(self) -> bool:
        """Whether lines that were given back remain to be read."""
        return bool(self._text.again)


def _failing(failure: Exception) -> Iterator[bytes]:
    yield from ()
    raise failure


def _csv_words(error: Exception, raw: bytes) -> str:
    words = str(error)
    if "field larger" in words and b'"' not in raw:
        return f"a column has more than {csv.field_size_limit():,} characters"
    if "new-line" in words:
        return "a line ends in CR alone; save the file with LF or CR LF"
    if isinstance(error, _OpenQuoteError) or "field larger" in words or "unexpected end" in words:
        return "a quoted text that begins here does not end; is a quotation mark missing?"
    if "expected after" in words:
        return "text follows a closing quotation mark; write a quotation mark inside a text twice"
    return f"cannot be read as CSV: {words}"
