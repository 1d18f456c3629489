"""Quarantined input validated again, after the project was mended."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice

from msgspec import Struct

from shroff.errors import SchemasAwayError, UsageError
from shroff.events.avro.wire import AvroDecoder
from shroff.events.event import time_text
from shroff.events.formats.encodings import format_by_name, read_stream
from shroff.events.formats.lines import CsvHeader, Line, Lines, header_of, line_and_row, message_of
from shroff.events.intake import Intake, Submission, source_name
from shroff.events.redaction import RedactedValues, unmarked
from shroff.log.event_notes import POSTED, UNKNOWN
from shroff.log.implausible_times import STRAY
from shroff.log.writer import REFUSED, UNTAKEN, Answer, Writer
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Log, Quarantine, Refused, Reply

RETRIED = ". Not retried: "  # between the reason of an entry and why its bytes cannot be read again
_TYPED = ("parquet", "avro")  # formats whose rows are kept as JSON
_FRAME = b"\0"  # what an Avro message begins with, and no line of a text
Decoders = Callable[[], AvroDecoder | None]
Entry = tuple[int, Refused]
_JSON_SOURCES = frozenset(["-", "python", "shroff label", POSTED])  # what no file brought is JSON


class Retried(FrozenStruct):
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
    """Retry entries in one batch, in which accepted ones leave quarantine; numbers that are not there are left out.

    Args:
        reply: Gives what is replied to a request, to be committed with them.
        decoder: Makes what reads Avro messages of the project's live source; None where that has none.
    """
    entries = log.refused(numbers)
    prepared = writer.prepare(submissions(entries, intake, headers, decoder), by=UNKNOWN)
    found = outcomes(entries, prepared.answers)
    prepared.batch.refused = _as_before(prepared.batch.refused, entries)
    prepared.batch.dropped = [attempt.number for attempt in found if not attempt.stays]
    prepared.batch.replies = reply(found)
    writer.commit(prepared)
    return found


def _as_before(rows: Iterable[Refused], entries: Iterable[Entry]) -> list[Refused]:
    """Entries rejected again: the same entry of the same time, also where it had no type and this version knows one."""
    before = {(entry.source, entry.place, entry.raw, entry.type): entry.at_ms for _, entry in entries}
    found = []
    for row in rows:
        type_ = row.type if (row.source, row.place, row.raw, row.type) in before else ""
        at_ms = before.get((row.source, row.place, row.raw, type_))
        found.append(row if at_ms is None else replace(row, type=type_, at_ms=at_ms))
    return found


def known_numbers(log: Quarantine, numbers: Sequence[int]) -> list[int]:
    """These numbers, unique and sorted. Raises: UsageError for one that is not in quarantine."""
    lacking = sorted({*numbers}.difference(log.refused_numbers()))
    if lacking:
        raise UsageError(
            f"there is no entry {', '.join(map(str, lacking))} in quarantine. 'shroff quarantine list' shows all."
        )
    return sorted(set(numbers))


def submissions(
    entries: Iterable[Entry], intake: Intake, headers: Mapping[str, CsvHeader], decoder: Decoders = lambda: None
) -> list[Submission]:
    """The entries as they would come from their files: exactly one submission for each, in their order.

    It stands at the entry's own place and has its bytes, so that a second refusal is the same entry.
    One that cannot be read here keeps the reason why it was refused, and has why it could not be read behind it.

    Args:
        headers: The headers of CSV files that a caller names, by their names, before those that entries have.
    """
    named = {source_name(name): header for name, header in headers.items()}
    found = []
    with closing(_Live(decoder)) as live:
        for _, entry in entries:
            try:
                name = entry.source.rpartition("/")[2]  # of a file of a pulled source, by its own name
                header = named.get(name) or header_of(entry.header)
                submission = _submission(entry, intake, header, live)
                if (
                    STRAY in entry.reason
                    and submission.event is not None
                    and time_text(submission.event.time_ms) in entry.reason
                ):
                    # alone it is right, so nobody would see that its time is still implausible
                    submission = replace(
                        submission, event=None, body=None, refused=submission.event, refusal=entry.reason
                    )
            except (UsageError, SchemasAwayError, ValueError) as error:
                first = entry.reason.partition(RETRIED)[0]
                why = str(error).rstrip(".")
                submission = Submission(
                    entry.source, entry.place, lambda: b"", entry.type, refusal=f"{first}{RETRIED}{why}"
                )
            own = {"source": entry.source, "place": entry.place, "raw": partial(_raw, entry)}
            found.append(replace(submission, **own, header=submission.header or entry.header))
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


class _Live(Struct, eq=False):
    """Messages of the project's live source, with a reader created on first use."""

    _made: Decoders
    _decoder: AvroDecoder | None = None

    def lines(self, entry: Refused) -> tuple[Lines, RedactedValues] | None:
        """The line of an Avro message; None of an entry that is none.

        Raises: UsageError where nothing says where its schema is; SchemasAwayError.
        """
        if entry.header or entry.source in _JSON_SOURCES or format_by_name(entry.source) is not None:
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
        return Lines("avro", None, iter([line])), {}

    def close(self) -> None:
        """Let the registry go."""
        if self._decoder is not None:
            self._decoder.close()


def _submission(entry: Refused, intake: Intake, header: CsvHeader | None, live: _Live) -> Submission:
    """An entry as the only line of its file.

    Raises: UsageError, ValueError where it is none.
    """
    lines, seals = live.lines(entry) or _read(entry, header)
    is_record = entry.raw.startswith(_FRAME) and lines.format == "avro"  # which has all its values, and no mark
    seals_of = None if is_record else seals
    found = list(islice(intake.submissions(lines, entry.source, entry.type or None, seals=seals_of), 3))
    is_item = message_of(entry.place) != entry.place  # which a message beside its items is not
    found = [
        submission for submission in found if is_item == (message_of(submission.place) != submission.place)
    ] or found
    if not found:
        raise UsageError("the line is empty")
    if len(found) > 1 and found[0].refusal is None:
        raise UsageError("it is more than one line, or a message of several items; bring it in again")
    return found[0]


def _read(entry: Refused, header: CsvHeader | None) -> tuple[Lines, RedactedValues]:
    """An entry as the only line of its file: a line of CSV where it has a header, else one of JSON."""
    # Behind an empty line, since bytes that mark the encoding of a whole file are read where it begins only.
    if header is not None:
        raw, seals = unmarked(entry.raw, "csv", header.separator)
        lines = read_stream(io.BytesIO(b"\n" + raw), "csv", name=entry.source, header=header)
        return _only(entry, "csv", lines), seals
    raw, seals = unmarked(entry.raw, "jsonl")
    named = format_by_name(entry.source)
    return _only(entry, named if named in _TYPED else "jsonl", read_stream(io.BytesIO(b"\n" + raw), "jsonl")), seals


def _only(entry: Refused, format: str, lines: Lines) -> Lines:
    """The lines of an entry's bytes, numbered as in the file they came from."""

    def numbered() -> Iterator[Line]:
        for line in lines:
            line.number = line_and_row(entry.place)[1] or line.number
            yield line

    return Lines(format, lines.columns, numbered(), lines.close, separator=lines.separator)
