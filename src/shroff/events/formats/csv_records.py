"""Records of CSV files, line by line or many lines at a time."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from shroff.errors import UsageError
from shroff.events.formats.lines import LINE_BYTES_MAX, CsvHeader, Line

SEPARATORS: Final = (",", ";", "\t", "|")
RECORD_LINES_MAX: Final = 200  # of a record with line ends inside quotes; beyond it the quote is a stray one
_QUOTED: Final = re.compile(rb'"[^"]*"')


class _OpenQuoteError(Exception):
    """A quoted text goes on for more lines than a record has; its quotation mark was meant for something else."""


class _Text:
    """Turns the bytes of a CSV file into text lines, and keeps the bytes of the record being read."""

    def __init__(self, physical: Iterator[bytes]) -> None:
        self.physical = physical
        self.again: deque[bytes] = deque()  # lines to be read once more
        self._encoding: str | None = None  # None while all is ASCII
        self.taken: list[bytes] = []
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
        if self._encoding == "latin-1":
            return raw.decode("latin-1")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            if self._encoding is None:
                self._encoding = "latin-1"
            else:
                self.words = "the line is not UTF-8, as the lines before it are"
            return raw.decode("latin-1")
        self._encoding = "utf-8"
        return text

    def is_utf8(self, data: bytes) -> bool:
        """Whether whole lines of the file are UTF-8, as those before them and so those behind them are."""
        if data.isascii():
            return True
        if self._encoding != "latin-1":
            try:
                data.decode()
            except UnicodeDecodeError:
                return False
            self._encoding = "utf-8"
        return self._encoding == "utf-8"

    def separator(self) -> str:
        """Separator of the header's columns: the sign of SEPARATORS that is in its first line most often.

        Signs inside quotation marks do not count; where several are there equally often, it is the first of them.
        """
        for raw in self.physical:
            self.again.append(raw)
            if raw.strip():
                plain = _QUOTED.sub(b"", raw)
                return max(SEPARATORS, key=lambda sign: plain.count(sign.encode()))
        return SEPARATORS[0]

    def only_first(self) -> None:
        """Keep the first line of the record being read, and read the others once more."""
        self.again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]

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

    Raises: UsageError where the header cannot be read.
    """

    def __init__(self, physical: Iterator[bytes], name: str) -> None:
        self._text = text = _Text(physical)
        separator = text.separator()
        self._records = csv.reader(iter(text), strict=True, delimiter=separator)
        try:
            header = next((record for record in self._records if record), None)
        except csv.Error as error:
            words = _csv_words(error, b"".join(text.taken))
            raise UsageError(f"The header of {name} cannot be read: {words}.") from None
        if header is None:
            raise UsageError(f"{name} is empty; a CSV file begins with a line of column names.")
        doubled = sorted({column for column in header if column and header.count(column) > 1})
        if doubled:
            raise UsageError(f"{name} has the column {doubled[0]!r} twice; rename one.")
        self.header = CsvHeader(tuple(header), separator)
        self.number, self.following = 0, len(text.taken) + 1  # of the last record, and of the line behind it
        text.take()
        text.words = None

    def __next__(self) -> Line:
        """The next record, or why it cannot be read. No generator, which would keep its file open in a cycle."""
        text, header = self._text, self.header.columns
        record: list[str] | None = []
        while not record:
            try:
                record = next(self._records, None)
            except (csv.Error, _OpenQuoteError) as error:
                # A stray quotation mark would swallow what follows: one line is refused, the rest is read afresh.
                text.only_first()
                self._records = csv.reader(iter(text), strict=True, delimiter=self.header.separator)
                text.words = None
                raw = text.take()
                return self._line(raw, 1, None, _csv_words(error, raw))
            if record is None:
                raise StopIteration
            if not record:
                self.following += len(text.taken)
                text.take()
        words, text.words, lines = text.words, None, len(text.taken)
        if words is None and len(record) == len(header):
            return self._line(text.take(), lines, dict(zip(header, record, strict=True)), None)
        return self._line(
            text.take(), lines, None, words or f"has {_columns(len(record))}, the header has {len(header)}"
        )

    def _line(self, raw: bytes, lines: int, columns: dict[str, object] | None, words: str | None) -> Line:
        line, self.following = self.following, self.following + lines
        self.number += 1
        return Line(self.number, raw, columns, words, None, line)

    def lines(self) -> Iterator[bytes]:
        """The raw lines that come next. The caller sets `number` and `following` to what it has taken."""
        assert not self._text.again, "lines that were given back come first"
        return self._text.physical

    def are_utf8(self, raws: Sequence[bytes]) -> bool:
        """Whether lines that were taken are UTF-8, as those before them are."""
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


def _columns(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"


def _csv_words(error: Exception, raw: bytes) -> str:
    """Why a record that begins with these bytes cannot be read."""
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
