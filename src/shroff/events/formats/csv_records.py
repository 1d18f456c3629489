"""Records of CSV files, line by line or many lines at a time."""

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
RECORD_LINES_MAX = 200  # of a record with line ends inside quotes; beyond it the quote is a stray one
BLANKS = " \t"  # around a cell that may be missing
WINDOWS = "windows-1252"
_LETTERS = "".join(bytes([code]).decode("cp1252", "replace") for code in range(256))
_WINDOWS_LETTERS = "".join(chr(code) if letter == "\ufffd" else letter for code, letter in enumerate(_LETTERS))
_QUOTED = re.compile(rb'"[^"]*"')
_SEP_LINE = re.compile(rb'"?sep=([,;|\t])"?[\r\n]*', re.IGNORECASE)


def windows_text(raw: bytes) -> str:
    """Bytes as windows-1252; the five that it does not have are control characters, as in browsers."""
    return codecs.charmap_decode(raw, "strict", _WINDOWS_LETTERS)[0]


class _OpenQuoteError(Exception):
    """A quoted text goes on for more lines than a record has; its quotation mark was meant for something else."""


class _Text:
    """Turns the bytes of a CSV file into text lines, and keeps the bytes of the record being read.

    `tell` is called where the file shows to be windows-1252.
    """

    def __init__(self, physical: Iterator[bytes], tell: Callable[[], None]) -> None:
        self.physical = physical
        self._tell = tell
        self.again: deque[bytes] = deque()  # lines to be read once more
        self.encoding: str | None = None  # None while all is ASCII
        self.taken: list[bytes] = []
        self.skipped = 0  # lines before the header
        self.words: str | None = None  # why the record being read is no text

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
        """Whether whole lines of the file are UTF-8, as those before them and so those behind them are."""
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
        """Leave out the lines before the header; gives the separator of its columns.

        It is what Excel's line `sep=;` says, which is left out too, else `wanted` where that is in the first line, else
        the sign of SEPARATORS that is there most often. Signs inside quotation marks do not count; where several are
        there equally often, it is the first of them.
        """
        told = ""
        seen = list[bytes]()
        for raw in self.physical:
            found = _SEP_LINE.fullmatch(raw)
            told = told or ("" if found is None else found[1].decode("latin-1"))
            if self.skipped < skip or found is not None:
                self.skipped += 1
                continue
            seen.append(raw)
            if raw.strip():
                break
        self.physical = chain(seen, self.physical)
        plain = _QUOTED.sub(b"", seen[-1] if seen else b"")
        if not told and wanted and wanted.encode() in plain:
            return wanted
        return told or max(SEPARATORS, key=lambda sign: plain.count(sign.encode()))

    def ahead(self, count: int) -> list[str]:
        """The lines that come next, which are read again afterwards."""
        seen = list(islice(self.physical, count))
        self.physical = chain(seen, self.physical)
        return [raw.decode("utf-8", "replace") for raw in seen]

    def take(self) -> bytes:
        """The bytes of the record that was read last."""
        raw = self.taken[0] if len(self.taken) == 1 else b"".join(self.taken)
        self.taken.clear()
        return raw


class CsvRecords(Iterator[Line]):
    """The records of a CSV file behind its header; or its raw lines, for a caller that finds the records itself.

    Args:
        physical: The lines of the file with their ends.
        name: The file's, for messages.
        header: That of the lines, where none of them is one.
        tell: Told what people should know of how the file is read.

    Its header is read when it is first asked for, by what `lay_out` was given until then.
    """

    def __init__(
        self, physical: Iterator[bytes], name: str, header: CsvHeader | None = None, tell: Tell = unheard
    ) -> None:
        words = f"{name} is not UTF-8; it is read as windows-1252."
        self._text = _Text(physical, partial(tell, words))
        self._name = name
        self._header = header
        # of the last record, and of the line behind it
        self.layout = CsvLayout()
        self.number = 0
        self.following = 1
        self._missing: frozenset[str] | None = None
        self._records: Iterator[list[str]] = iter(())
        if header is not None:
            self._begin(header.separator)

    def lay_out(self, layout: CsvLayout) -> None:
        """Read by this layout, where none before says otherwise."""
        self.layout = self.layout.over(layout)
        named = self.layout.missing
        self._missing = None if named is None or named <= {""} else named | {""}

    @property
    def header(self) -> CsvHeader:
        """The names of the columns, by the layout. Raises: UsageError where they cannot be read."""
        if self._header is None:
            self._header = self._read_header()
        return self._header

    @property
    def is_plain(self) -> bool:
        """Whether a cell is missing for no other reason than that it is blank."""
        return self._missing is None

    def ahead(self, count: int) -> Iterator[tuple[int, list[str]]]:
        """Lines that come next, with their numbers and cells, for hints: they are read again afterwards."""
        for at, line in enumerate(self._text.ahead(count), self.following):
            with suppress(csv.Error):
                yield at, next(csv.reader([line], delimiter=self.header.separator), [])

    def first_lines(self, count: int) -> list[str]:
        """The first lines of a file of which nothing was read yet; they are read again afterwards."""
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
        """The next record, or why it cannot be read. No generator, which would keep its file open in a cycle."""
        text = self._text
        header = self.header.columns
        missing = self._missing
        record: list[str] | None = []
        while not record:
            try:
                record = next(self._records, None)
            except (csv.Error, _OpenQuoteError) as error:
                # A stray quotation mark would swallow what follows: one line is refused, the rest is read afresh.
                # Keep the first line of the record being read, and read the others once more
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
        there = "`columns` names" if self.layout.columns else "the header has"
        return self._line(
            text.take(), lines, None, words or f"has {many(len(record), 'column')}, {there} {len(header)}"
        )

    def _line(self, raw: bytes, lines: int, columns: dict[str, object] | None, words: str | None) -> Line:
        line = self.following
        self.following = self.following + lines
        self.number += 1
        return Line(self.number, raw, columns, words, None, line)

    def lines(self) -> Iterator[bytes]:
        """The raw lines that come next. The caller sets `number` and `following` to what it has taken."""
        assert not self._text.again, "lines that were given back come first"
        return self._text.physical

    def are_utf8(self, raws: Sequence[bytes]) -> bool:
        return self._text.is_utf8(b"".join(raws))

    def give_back(self, raws: Sequence[bytes], failure: Exception | None = None) -> None:
        """Have lines that were taken last be read as records; `failure` is why nothing can be read behind them."""
        self._text.again.extendleft(reversed(raws))
        if failure is not None:
            self._text.physical = _failing(failure)

    @property
    def is_given_back(self) -> bool:
        """Whether lines were given back that are not read yet."""
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
