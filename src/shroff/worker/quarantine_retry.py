"""Quarantined input validated again, after the project was mended."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Final

import msgspec

from shroff.errors import SchemasAwayError, UsageError
from shroff.events.avro.wire import AvroDecoder
from shroff.events.event import time_text
from shroff.events.formats.encodings import format_by_name, read_stream
from shroff.events.formats.lines import CsvHeader, Line, Lines, line_and_row
from shroff.events.intake import Intake, Submission, named_header, source_name
from shroff.events.redaction import RedactedValues, unmarked
from shroff.log.event_notes import POSTED, UNKNOWN
from shroff.log.time_slips import STRAY
from shroff.log.unmatched_files import Headers, headers_of
from shroff.log.writer import REFUSED, UNTAKEN, Answer, Writer
from shroff.streams.log import Log, Quarantine, Refused, Reply
from shroff.worker.answers import GROUP_MAX

RETRIED: Final = ". Not retried: "  # between the reason of an entry and why its bytes cannot be read again
_TYPED: Final = ("parquet", "avro")  # formats whose rows are kept as JSON
_FRAME: Final = b"\0"  # what an Avro message begins with, and no line of a text
Decoders = Callable[[], AvroDecoder | None]
Entry = tuple[int, Refused]
_JSON_SOURCES: Final = frozenset(["-", "python", "shroff label", POSTED])  # what no file brought is JSON


@dataclass(frozen=True, slots=True)
class Retried:
    """Result of retrying one quarantine entry. `reason` says why it stays."""

    number: int
    source: str
    place: str
    outcome: str
    reason: str = ""

    @property
    def stays(self) -> bool:
        return self.outcome == REFUSED


def retry(
    log: Log,
    writer: Writer,
    intake: Intake,
    numbers: Sequence[int],
    headers: Mapping[str, CsvHeader],
    reply: Callable[[list[Retried]], list[Reply]] = lambda _found: [],
    decoder: Decoders = lambda: None,
) -> list[Retried]:
    """Retry entries, all of them without numbers; accepted ones leave quarantine in the same batch.

    Args:
        reply: Gives what is replied to a request, to be committed with the last batch.
        decoder: Makes what reads Avro messages of the project's live source; None where that has none.

    Raises: UsageError for a number that is not there.
    """
    wanted, noted = known_numbers(log, numbers) if numbers else log.refused_numbers(), headers_of(log)
    found: list[Retried] = []
    for at in range(0, max(len(wanted), 1), GROUP_MAX):
        entries = log.refused(wanted[at : at + GROUP_MAX])
        prepared = writer.prepare(submissions(entries, intake, headers, decoder, noted), by=UNKNOWN)
        tried = outcomes(entries, prepared.answers)
        found += tried
        prepared.batch.refused = _as_before(prepared.batch.refused, entries)
        prepared.batch.dropped = [attempt.number for attempt in tried if not attempt.stays]
        if at + GROUP_MAX >= len(wanted):
            prepared.batch.replies = reply(found)
        writer.commit(prepared)
    return found


def _as_before(rows: Iterable[Refused], entries: Iterable[Entry]) -> list[Refused]:
    """What was refused again: the same entry, also where it had no type and this version knows one."""
    known = {(entry.source, entry.place, entry.type, entry.raw) for _, entry in entries}
    return [
        replace(row, type="")
        if (row.source, row.place, row.type, row.raw) not in known and (row.source, row.place, "", row.raw) in known
        else row
        for row in rows
    ]


def known_numbers(log: Quarantine, numbers: Sequence[int]) -> list[int]:
    """These numbers, unique and sorted. Raises: UsageError for one that is not in quarantine."""
    lacking = sorted({*numbers}.difference(log.refused_numbers()))
    if lacking:
        raise UsageError(
            f"there is no entry {', '.join(map(str, lacking))} in quarantine. 'shroff quarantine list' shows all."
        )
    return sorted(set(numbers))


def submissions(
    entries: Iterable[Entry],
    intake: Intake,
    headers: Mapping[str, CsvHeader],
    decoder: Decoders = lambda: None,
    noted: Headers = MappingProxyType({}),
) -> list[Submission]:
    """The entries as they would come from their files: exactly one submission for each, in their order.

    It stands at the entry's own place and has its bytes, so that a second refusal is the same entry.
    One that cannot be read here keeps the reason why it was refused, and has why it could not be read behind it.

    Args:
        headers: The headers of CSV files that a caller names, by their names.
        noted: The headers that the log noted when the files were read; a quarantined line alone does not have them.
    """
    named = {source_name(name): header for name, header in headers.items()}
    found = []
    with closing(_Live(decoder)) as live:
        for _, entry in entries:
            try:
                name = entry.source.rpartition("/")[2]  # of a file of a pulled source, by its own name
                header = named.get(name) or _noted(entry, noted)
                one = _submission(entry, intake, header, live)
                if STRAY in entry.reason and one.event is not None and time_text(one.event.time_ms) in entry.reason:
                    # alone it is right, so nobody would see that its time is the same slip
                    one = msgspec.structs.replace(one, event=None, body=None, refused=one.event, refusal=entry.reason)
            except (UsageError, SchemasAwayError, ValueError) as error:
                first, why = entry.reason.partition(RETRIED)[0], str(error).rstrip(".")
                one = Submission(entry.source, entry.place, lambda: b"", entry.type, refusal=f"{first}{RETRIED}{why}")
            found.append(msgspec.structs.replace(one, source=entry.source, place=entry.place, raw=partial(_raw, entry)))
    return found


def outcomes(entries: Iterable[Entry], answers: Iterable[Answer]) -> list[Retried]:
    """Result of each entry."""
    found = []
    for (number, entry), answer in zip(entries, answers, strict=True):
        refused = answer.kind in {REFUSED, UNTAKEN}
        reason = answer.reason.rpartition(RETRIED)[2] or ("no event type accepts it" if refused else "")
        found.append(Retried(number, entry.source, entry.place, REFUSED if refused else answer.kind, reason))
    return found


def _raw(entry: Refused) -> bytes:
    return entry.raw


class _Live:
    """Messages of the project's live source, with a reader created on first use."""

    def __init__(self, decoder: Decoders) -> None:
        self._made = decoder
        self._decoder: AvroDecoder | None = None

    def lines(self, entry: Refused) -> tuple[Lines, RedactedValues] | None:
        """The line of an Avro message; None of an entry that is none.

        Raises: UsageError where nothing says where its schema is; SchemasAwayError.
        """
        if entry.source in _JSON_SOURCES or format_by_name(entry.source) is not None:
            return None
        is_framed = entry.raw.startswith(_FRAME)
        if self._decoder is None:
            self._decoder = self._made()
        if self._decoder is None:
            if is_framed:
                raise UsageError("it is an Avro message, and no source in shroff.yaml names the registry of its schema")
            return None
        if not is_framed:  # it was read, and what a project with hashed fields keeps of a record is JSON
            raw, seals = unmarked(entry.raw, "jsonl")
            return _only(entry, "avro", read_stream(io.BytesIO(b"\n" + raw), "jsonl")), seals
        line = self._decoder.line(line_and_row(entry.place)[1] or 0, entry.raw)
        return Lines("avro", None, iter([line]), lambda: None), {}

    def close(self) -> None:
        """Let the registry go."""
        if self._decoder is not None:
            self._decoder.close()


def _submission(entry: Refused, intake: Intake, header: CsvHeader | None, live: _Live) -> Submission:
    """An entry as the only line of its file.

    Raises: UsageError, ValueError where it is none.
    """
    lines, seals = live.lines(entry) or _read(entry, header, intake)
    is_record = entry.raw.startswith(_FRAME) and lines.format == "avro"  # which has all its values, and no mark
    seals_of = None if is_record else seals
    found = list(islice(intake.submissions(lines, entry.source, entry.type or None, seals=seals_of), 2))
    if not found:
        raise UsageError("the line is empty")
    if len(found) > 1 and found[0].refusal is None:
        raise UsageError("it is more than one line")
    return found[0]


def _read(entry: Refused, header: CsvHeader | None, intake: Intake) -> tuple[Lines, RedactedValues]:
    """An entry as the only line of its file. Raises: UsageError where its columns are not known."""
    if header is None and _is_csv(entry):
        header = named_header(intake.events, entry.type, entry.raw)
    if header is None and not _is_csv(entry):
        raw, seals = unmarked(entry.raw, "jsonl")
        found = format_by_name(entry.source)
        format = found if found in _TYPED else "jsonl"
        # Behind an empty line, since bytes that mark the encoding of a whole file are read where it begins only.
        return _only(entry, format, read_stream(io.BytesIO(b"\n" + raw), "jsonl")), seals
    if header is None:
        raise UsageError(f"its column names are in the first line of {entry.source}; add --file with that file")
    raw, seals = unmarked(entry.raw, "csv", header.separator)
    stream = io.BytesIO(b"\n" + raw)
    return _only(entry, "csv", read_stream(stream, "csv", name=entry.source, header=header)), seals


def _noted(entry: Refused, noted: Headers) -> CsvHeader | None:
    """The header that the file of a CSV line had when the line was refused; None where the log has none."""
    before = [header for since_ms, header in noted.get(entry.source, ()) if since_ms <= entry.at_ms]
    return before[-1] if before and _is_csv(entry) else None


def _is_csv(entry: Refused) -> bool:
    """Whether an entry is a line of a CSV file.

    A JSON object is none whatever its file is called, as `--format` may have said so. Else its name says it, and
    where that says nothing, its first character. A name with a slash and no ending is no file's: a part of a source.
    """
    if entry.source in _JSON_SOURCES or _is_object(entry.raw):
        return False
    format = format_by_name(entry.source)
    is_unknown = format is None and "/" not in entry.source
    return format == "csv" or (is_unknown and not entry.raw.lstrip().startswith(b"{"))


def _is_object(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return False
    return True


def _only(entry: Refused, format: str, lines: Lines) -> Lines:
    """The lines of an entry's bytes, numbered as in the file they came from."""

    def numbered() -> Iterator[Line]:
        for line in lines:
            line.number = line_and_row(entry.place)[1] or line.number
            yield line

    return Lines(format, lines.columns, numbered(), lines.close)
