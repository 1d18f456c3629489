"""Files as a source: read each file to its end, from the position of the last run."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from msgspec.json import encode as to_json

from shroff.errors import UsageError, os_words
from shroff.events.formats.csv_records import RECORD_LINES_MAX
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.lines import Line, Lines
from shroff.events.intake import source_name
from shroff.json_types import TextMapping
from shroff.runtime.progress import unheard
from shroff.streams.log import Refused, kept_offset
from shroff.streams.source import Health, PartLag, PolledMessages

HEAD_BYTES = 65_536  # the hash of the first bytes identifies a file that grows


class _Reached(NamedTuple):
    """Read position in a file, and hashes that identify the file.

    A writer may have been in the middle of the last line. If that line has changed since, reading continues after the
    first `sure` lines. These never include the last line, nor unreadable lines or elements of a document before it, at
    which its record may begin.

    Args:
        lines: Number of lines read.
        head_bytes: Number of first bytes whose hash is `head`.
        last: Hash of the last line.
    """

    lines: int = 0
    head_bytes: int = 0
    head: str = ""
    sure: int = 0
    last: str = ""

    def __str__(self) -> str:
        return f"{self.lines}@{to_json(self).decode()}"


class FileSource:
    """A `streams.source.Source` that reads complete files, one after the other; a part is the name of a file.

    A file that grew is read on. A file with another beginning than before is read from its first line. In both cases
    repeated events are recognized by their ids.

    Args:
        type: The event type of all lines; None if each line shows its own.
        format: The format of all files; by default by the endings of their names.
        lay_out: Reads the beginning of a CSV file by the project's mappings (`Intake.lay_out`).
        tell: Called with notes about lines that a writer may not have finished.

    Raises: UsageError if a file does not exist or cannot be read, or two files have the same name.
    """

    name = "files"
    takes_refused = False

    def __init__(
        self,
        paths: Sequence[Path],
        type: str | None = None,
        format: str | None = None,
        lay_out: Callable[[Lines, str, str | None], Lines] = lambda lines, *_: lines,
        tell: Callable[[str], None] = unheard,
    ) -> None:
        self._paths = {source_name(path.name): path for path in paths}
        if len(self._paths) < len(paths):
            raise UsageError("two of these files have the same name. Rename one.")
        self._type = type
        self._format = format
        self._lay_out = lay_out
        self._tell = tell
        self._waiting: deque[_File] = deque()
        self._error: UsageError | None = None
        for path in paths:  # report an unreadable file before reading any
            with self._open(path) as lines:
                lines.columns  # noqa: B018 (they are read)

    def __repr__(self) -> str:
        return f"<FileSource {', '.join(self._paths)}>"

    def _open(self, path: Path) -> Lines:
        return self._lay_out(read_lines(path, self._format), path.name, self._type)

    def start(self, offsets: TextMapping) -> None:
        self.close()
        self._error = None
        for part, path in self._paths.items():
            self._waiting.append(_File(part, path, offsets.get(part), self._tell))

    def look(self, offsets: TextMapping) -> list[PartLag]:
        """Return an empty list: the lag of a file is known only once it is read."""
        return []

    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        """Return up to `limit` further lines without waiting; an empty list after the last file.

        Raises: UsageError if the rest of a file cannot be read, once the lines before it were returned.
        """
        if self._error is not None:
            raise self._error
        while self._waiting:
            file = self._waiting[0]
            reader = file.reader(self._open)
            lines = list[Line]()
            try:
                for line in islice(reader, limit):
                    lines.append(line)
            except UsageError as error:
                self._error = error
                if not lines:
                    raise
            if lines:
                begins = file.is_at_begin
                offset = file.read(lines)
                header = reader.columns, begins, reader.separator
                return [PolledMessages(file.part, self._type, reader.format, lines, offset, *header)]
            self._waiting.popleft().close()
        return []

    def acknowledge(self, offsets: TextMapping) -> None:
        """Do nothing: reading does not change files."""

    def refuse(self, refused: Sequence[Refused]) -> None:
        """Do nothing: a refused line stays in the file, and a copy is in quarantine."""

    def health(self) -> Health:
        return Health(None if self._waiting else 0)

    def close(self) -> None:
        while self._waiting:
            self._waiting.popleft().close()


class _File:
    def __init__(self, part: str, path: Path, offset: str | None, tell: Callable[[str], None]) -> None:
        self.part = part
        self._path = path
        self._tell = tell
        stored = _Reached()
        if offset is not None:
            stored = kept_offset(FileSource.name, part, offset.partition("@")[2] or offset, _Reached)
        is_same = _head(path, stored.head_bytes) == stored.head
        head_bytes = min(path.stat().st_size, HEAD_BYTES)
        self._reached = (stored if is_same else _Reached())._replace(
            head_bytes=head_bytes, head=_head(path, head_bytes)
        )
        self._reader: Lines | None = None
        # Line numbers at which an unfinished record may begin; those of earlier runs start at `sure`.
        self._unsure = [stored.sure] if is_same and stored.lines else []

    @property
    def is_at_begin(self) -> bool:
        return not self._reached.lines

    def reader(self, opened: Callable[[Path], Lines]) -> Lines:
        """Return a reader after the last line read, or after an earlier one if the last line has changed."""
        if self._reader is None:
            self._reader = opened(self._path)
            reached = self._reached
            first = list(islice(self._reader, min(reached.lines, 1)))
            skipped = deque(first, maxlen=1)
            skipped.extend(islice(self._reader, reached.lines - len(first)))
            if first and not _may_begin_more(first[0], self._reader.format):
                self._unsure = [line_number for line_number in self._unsure if line_number]
            if skipped and _line_hash(skipped[0]) != reached.last:
                self._tell(f"{self.part}: the last line went on since it was read, and is read anew.")
                self.close()
                self._reader = opened(self._path)
                self._reached = reached._replace(lines=reached.sure)
                self._unsure = []
                deque(islice(self._reader, reached.sure), maxlen=0)
        return self._reader

    def read(self, lines: Sequence[Line]) -> str:
        lines_before = self._reached.lines
        last = lines[-1]
        reader = self._reader
        assert reader is not None
        if reader.format == "csv" and not last.raw.endswith(b"\n"):
            self._tell(
                f"{self.part}: the last line has no line end. If more of it comes, it is read anew by the next run."
            )
        lines_now = lines_before + len(lines)
        if reader.physical is not None:  # each line is a record of its own
            self._unsure = []
        else:
            begin = 0 if reader.format == "jsonl" else None  # a document begins there, with any number of lines
            self._unsure += [
                line_number
                for line_number, line in enumerate(lines, lines_before)
                if _may_begin_more(line, reader.format)
            ]
            self._unsure = [
                line_number
                for line_number in self._unsure
                if line_number == begin or lines_now - line_number <= RECORD_LINES_MAX
            ]
        sure = min([*self._unsure, lines_now - 1])
        self._reached = self._reached._replace(lines=lines_now, sure=sure, last=_line_hash(last))
        return str(self._reached)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def _head(path: Path, count: int) -> str:
    try:
        with path.open("rb") as file:
            return _hash(file.read(count))
    except OSError as error:
        raise UsageError(f"{os_words(error, path, ' cannot be read')}.") from None


def _may_begin_more(line: Line, format: str) -> bool:
    if line.error is None or not line.line:
        return not line.line
    return format == "csv" or line.raw.lstrip().startswith((b"[", b"{"))


def _line_hash(line: Line) -> str:
    return _hash(b"%d %d %s" % (line.number, line.line, line.raw.rstrip()))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
