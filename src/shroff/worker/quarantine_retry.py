"""Retries quarantined input after the project was corrected."""

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
from shroff.events.formats.lines import CsvHeader, Line, Lines, header_of, item_of, line_and_row, message_of
from shroff.events.intake import Intake, Submission, source_name
from shroff.events.redaction import RedactedValues, unmarked
from shroff.log.event_notes import POSTED, UNKNOWN
from shroff.log.implausible_times import STRAY
from shroff.log.writer import REFUSED, UNTAKEN, Answer, Writer
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Log, Refused, Reply

RETRIED = ". Not retried: "  # between the reason of an entry and why its bytes cannot be read again
_TYPED = ("parquet", "avro")  # formats whose rows are stored as JSON
_FRAME = b"\0"  # first byte of an Avro message; no line of text starts with it
Decoders = Callable[[], AvroDecoder | None]
Entry = tuple[int, Refused]
_JSON_SOURCES = frozenset(["-", "python", "shroff label", POSTED])  # sources without a file, whose input is JSON


class Retried(FrozenStruct):
    """Result of retrying one quarantine entry. `reason` says why it stays in quarantine."""

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
    """Retry entries in one batch, which removes accepted ones from quarantine. Unknown numbers are ignored.

    Args:
        reply: Returns the replies to commit with the batch.
        decoder: Creates the decoder of the live source's Avro messages; None if the project has none.
    """
    entries = log.quarantine.entries(numbers)
    prepared = writer.prepare(submissions(entries, intake, headers, decoder), by=UNKNOWN)
    results = outcomes(entries, prepared.answers)
    prepared.batch.refused = _as_before(prepared.batch.refused, entries)
    prepared.batch.dropped = [attempt.number for attempt in results if not attempt.stays]
    prepared.batch.replies = reply(results)
    writer.commit(prepared)
    return results


def _as_before(rows: Iterable[Refused], entries: Iterable[Entry]) -> list[Refused]:
    """Restore time and type of entries refused again, so that each stays the same entry of quarantine."""
    refused_at_ms = {(entry.source, entry.place, entry.raw, entry.type): entry.at_ms for _, entry in entries}
    restored = []
    for row in rows:
        type_ = row.type if (row.source, row.place, row.raw, row.type) in refused_at_ms else ""
        at_ms = refused_at_ms.get((row.source, row.place, row.raw, type_))
        restored.append(row if at_ms is None else replace(row, type=type_, at_ms=at_ms))
    return restored


def known_numbers(log: Log, numbers: Sequence[int]) -> list[int]:
    """Return these numbers, unique and sorted. Raises: UsageError for one that is not in quarantine."""
    missing = sorted({*numbers}.difference(log.quarantine.numbers()))
    if missing:
        raise UsageError(
            f"there is no entry {', '.join(map(str, missing))} in quarantine. 'shroff quarantine list' shows all."
        )
    return sorted(set(numbers))


def submissions(
    entries: Iterable[Entry], intake: Intake, headers: Mapping[str, CsvHeader], decoder: Decoders = lambda: None
) -> list[Submission]:
    """Read entries as from their files: exactly one submission for each, in order.

    A submission has the location and bytes of its entry, so that a second refusal is the same entry. An unreadable
    entry keeps the reason of its refusal, followed by why it cannot be read.

    Args:
        headers: CSV headers by file name; they take precedence over those stored with entries.
    """
    headers_by_name = {source_name(name): header for name, header in headers.items()}
    read = []
    with closing(_Live(decoder)) as live:
        for _, entry in entries:
            try:
                name = entry.source.rpartition("/")[2]  # a pulled file is named without its source
                header = headers_by_name.get(name) or header_of(entry.header)
                submission = _submission(entry, intake, header, live)
                if (
                    STRAY in entry.reason
                    and submission.event is not None
                    and time_text(submission.event.time_ms) in entry.reason
                ):
                    # Without its neighbors the time cannot be recognized as implausible, so keep the refusal.
                    submission = replace(
                        submission, event=None, body=None, refused=submission.event, refusal=entry.reason
                    )
            except (UsageError, SchemasAwayError, ValueError) as error:
                first = entry.reason.partition(RETRIED)[0]
                problem = str(error).rstrip(".")
                submission = Submission(
                    entry.source, entry.place, lambda: b"", entry.type, refusal=f"{first}{RETRIED}{problem}"
                )
            origin = {"source": entry.source, "place": entry.place, "raw": partial(_raw, entry)}
            read.append(replace(submission, **origin, header=submission.header or entry.header))
    return read


def outcomes(entries: Iterable[Entry], answers: Iterable[Answer]) -> list[Retried]:
    results = []
    for (number, entry), answer in zip(entries, answers, strict=True):
        refused = answer.kind in {REFUSED, UNTAKEN}
        reason = answer.reason.rpartition(RETRIED)[2] or ("no event type accepts it" if refused else "")
        results.append(Retried(number, entry.source, entry.place, REFUSED if refused else answer.kind, reason))
    return results


def _raw(entry: Refused) -> bytes:
    return entry.raw


class _Live(Struct, eq=False):
    """Decodes messages of the project's live source, with a decoder created on first use."""

    _made: Decoders
    _decoder: AvroDecoder | None = None

    def lines(self, entry: Refused) -> tuple[Lines, RedactedValues] | None:
        """Decode the Avro message of an entry; None if it is none.

        Raises: UsageError if no source names a schema registry; SchemasAwayError.
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
        if not is_framed:  # a decoded record, which a project with hashed fields stores as JSON
            raw, seals = unmarked(entry.raw, "jsonl")
            return _only(entry, "avro", read_stream(io.BytesIO(b"\n" + raw), "jsonl")), seals
        line = self._decoder.line(line_and_row(entry.place)[1] or 0, entry.raw)
        return Lines("avro", None, iter([line])), {}

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()


def _submission(entry: Refused, intake: Intake, header: CsvHeader | None, live: _Live) -> Submission:
    """Raises: UsageError or ValueError if the entry is not exactly one line."""
    lines, seals = live.lines(entry) or _read(entry, header)
    is_record = entry.raw.startswith(_FRAME) and lines.format == "avro"  # complete bytes without redacted values
    seals_of = None if is_record else seals
    read = list(islice(intake.submissions(lines, entry.source, entry.type or None, seals=seals_of), 3))
    is_item = message_of(entry.place) != entry.place  # an item of a message, not the message itself
    read = [submission for submission in read if is_item == (message_of(submission.place) != submission.place)] or read
    if not read:
        raise UsageError("the line is empty")
    if len(read) > 1 and read[0].refusal is None:
        raise UsageError("it is more than one line, or a message of several items; bring it in again")
    return read[0]


def _read(entry: Refused, header: CsvHeader | None) -> tuple[Lines, RedactedValues]:
    """Read an entry as the only line of its file: CSV if it has a header, else JSON."""
    # An empty line comes first because a byte order mark is only recognized at the start of a file.
    if header is not None:
        raw, seals = unmarked(entry.raw, "csv", header.separator)
        lines = read_stream(io.BytesIO(b"\n" + raw), "csv", name=entry.source, header=header)
        return _only(entry, "csv", lines), seals
    raw, seals = unmarked(entry.raw, "jsonl")
    format_name = format_by_name(entry.source)
    return _only(
        entry, format_name if format_name in _TYPED else "jsonl", read_stream(io.BytesIO(b"\n" + raw), "jsonl")
    ), seals


def _only(entry: Refused, format: str, lines: Lines) -> Lines:
    def numbered() -> Iterator[Line]:
        for line in lines:
            line.number = line_and_row(entry.place)[1] or line.number
            line.offset = max(item_of(entry.place) - 1, 0)
            yield line

    return Lines(format, lines.columns, numbered(), lines.close, separator=lines.separator)
