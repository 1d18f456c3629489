"""Decodes messages of a source into submissions: one reader for each partition, type and format."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

from shroff.errors import ShroffError
from shroff.events.avro.values import AvroLine, Shape
from shroff.events.definitions import EventType
from shroff.events.formats.lines import Line, Lines
from shroff.events.formats.wire import MESSAGE_BYTES_MAX
from shroff.events.intake import Intake, Submission, source_name
from shroff.events.validation import latest_ms
from shroff.log.columns.avro_columns import RecordForm, record_form
from shroff.log.columns.lines import EventRun, LineOrigin, LiveForms
from shroff.log.implausible_times import timely
from shroff.project.definitions import Definitions
from shroff.runtime.progress import Tell, unheard
from shroff.streams.source import PolledMessages

WORDS_MAX = 200  # characters of an error message within a reason

_ReaderKey = tuple[str, str | None, str]  # partition; type, None if lines name theirs; format


class MessageDecoder:
    """Decodes the lines of a source into one submission each, in order.

    A line that makes its reader fail unexpectedly is refused alone, and reading continues with the next one. An event
    too far ahead of its arrival is refused as well: one wrong clock would make all other events late.

    Args:
        now_ms: The clock: the arrival time of messages.
        is_live: Whether lines arrive as they are read; False for files.
        tell: Called with an error of compiled code, after which lines are read one by one.

    `unwanted` maps (source, location) of a message to the reason for which it is refused unread.
    """

    def __init__(
        self,
        intake: Intake,
        definitions: Definitions,
        now_ms: Callable[[], int],
        *,
        is_live: bool,
        tell: Tell = unheard,
    ) -> None:
        self._intake = intake
        self._definitions = definitions
        self._now_ms = now_ms
        self._is_live = is_live
        self._readers: dict[_ReaderKey, _LineReader] = {}
        self._forms = LiveForms(definitions.events, tell)
        self.unwanted: dict[tuple[str, str], str] = {}

    def items(self, found: Sequence[PolledMessages]) -> Sequence[PolledMessages]:
        """Split messages of types with `each` into a line for each event; other messages stay as they are."""
        splitters = [self._reader(polled).items for polled in found]
        if not any(splitters):
            return found
        return [
            polled if items is None else polled._replace(lines=[part for line in polled.lines for part in items(line)])
            for polled, items in zip(found, splitters, strict=True)
        ]

    def submissions(self, found: Sequence[PolledMessages]) -> Sequence[Submission]:
        """Return one submission for each line, in order. Raises: UsageError if lines do not fit their type."""
        submissions: Sequence[Submission] | None
        if self.unwanted:
            submissions = [
                submission for polled in found for line in polled.lines for submission in self._picked(polled, line)
            ]
        elif (submissions := self._run(found)) is None:
            submissions = self._reader(found[0]).submissions(found[0].lines) if len(found) == 1 else self._mixed(found)
        return self._timely(submissions) if self._is_live and not isinstance(submissions, EventRun) else submissions

    def _run(self, messages: Sequence[PolledMessages]) -> EventRun | None:
        """Read many lines of one type by compiled code; None if they must be read one by one."""
        count = sum(len(polled.lines) for polled in messages)
        are_records = any(polled.format == "avro" for polled in messages)
        if not self._forms.take(count, are_records=are_records):
            return None
        lines = [(polled, line) for polled in messages for line in polled.lines]
        type_, records = self._fast_type(messages)
        if type_ is None:
            return None
        raws = [line.raw for _, line in lines]
        if max(map(len, raws)) > MESSAGE_BYTES_MAX:  # a message that long is refused whatever its content
            return None

        def validate_line(at: int) -> Submission:
            polled, line = lines[at]
            read = self._reader(polled).submissions([line])
            return self._timely(read)[0] if self._is_live else read[0]

        origins = [
            LineOrigin(source_name(taken_lines.part), len(taken_lines.lines), partial(_place, taken_lines.lines))
            for taken_lines in messages
        ]
        until_ms = latest_ms(self._definitions.settings, self._now_ms()) if self._is_live else None
        return self._forms.run(type_, raws, validate_line, origins, until_ms, records)

    def _fast_type(self, messages: Sequence[PolledMessages]) -> tuple[EventType | None, list[RecordForm | None] | None]:
        """Return the one type of these lines if compiled code reads it, else None; for Avro also each record's form,
        which most must have.
        """
        readers = [self._reader(polled) for polled in messages]
        records = None
        types: list[EventType | None] = [reader.fast_type for reader in readers]
        if all(polled.format == "avro" and polled.columns is None for polled in messages):
            pairs = zip(readers, messages, strict=True)
            records = [reader.record_form(line) for reader, polled in pairs for line in polled.lines]
            types = [form.type for form in records if form is not None]
            types = types if 2 * len(types) > len(records) else [None]
        return types[0] if all(type_ is types[0] for type_ in types) else None, records

    def _mixed(self, messages: Sequence[PolledMessages]) -> list[Submission]:
        """Read the lines of each reader together, as partitions may alternate often; then restore their order."""
        lines: dict[_LineReader, list[Line]] = defaultdict(list)
        readers = [self._reader(polled) for polled in messages]
        for reader, polled in zip(readers, messages, strict=True):
            lines[reader] += polled.lines
        read = {reader: iter(reader.submissions(of_reader)) for reader, of_reader in lines.items()}
        return [
            line
            for reader, polled in zip(readers, messages, strict=True)
            for line in islice(read[reader], len(polled.lines))
        ]

    def _reader(self, messages: PolledMessages) -> _LineReader:
        key = messages.part, messages.type, messages.format
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = _LineReader(self._intake, messages, self._reason)
        return reader

    def _picked(self, messages: PolledMessages, line: Line) -> list[Submission]:
        reader = self._reader(messages)
        reason = self.unwanted.get((source_name(messages.part), line.place))
        return reader.submissions([line]) if reason is None else [reader.refused(line, reason)]

    def _reason(self, error: Exception) -> str:
        return reason_of(error, shows_words=not self._definitions.events.has_hashed)

    def _timely(self, submissions: Sequence[Submission]) -> list[Submission]:
        now_ms = self._now_ms()
        return [timely(submission, self._definitions, now_ms) for submission in submissions]


class _LineReader:
    """Reads the lines of one type and format from one partition."""

    def __init__(self, intake: Intake, first: PolledMessages, reason: Callable[[Exception], str]) -> None:
        self._intake = intake
        self._first = first
        self._reason = reason
        self._source = source_name(first.part)
        self.fast_type = None
        self.items = intake.items(self._lines(iter(())), first.part, first.type)
        if first.format == "jsonl":
            self.fast_type = intake.plain_type(self._lines(iter(())), first.part, first.type)
        self._forms = dict[Shape, RecordForm | None]()
        self._given: deque[Line] = deque()
        self._read = self._begun()

    def record_form(self, line: Line) -> RecordForm | None:
        """Return how compiled code reads an Avro record; None if it cannot, as for a line without raw bytes."""
        if type(line) is not AvroLine or not line.has_bytes or (shape := line.shape) is None:
            return None
        if shape not in self._forms:
            first = self._first
            read = self._intake.record_type(self._lines(iter(())), first.part, first.type, shape.schema)
            self._forms[shape] = None if read is None else record_form(shape.schema, *read)
        return self._forms[shape]

    def submissions(self, lines: Sequence[Line]) -> list[Submission]:
        """Return one submission for each line; a line that fails unexpectedly is refused."""
        self._given.extend(lines)
        submissions: list[Submission] = []
        while len(submissions) < len(lines):
            try:
                for line in islice(self._read, len(lines) - len(submissions)):
                    submissions.append(line)  # noqa: PERF402 (lines read before an error are kept)
            except ShroffError:
                raise
            except Exception as error:  # noqa: BLE001 (no single line may end the partition)
                submissions.append(self.refused(lines[len(submissions)], self._reason(error)))
                self._read = self._begun()
        return submissions

    def refused(self, line: Line, words: str) -> Submission:
        header = self._lines(iter(())).header
        header_text = "" if header is None else header.text
        return self._intake.unreadable(line, self._source, self._first.type or "", words, header_text)

    def _begun(self) -> Iterator[Submission]:
        """Start a reader of the pending lines, which consumes one for each submission taken from it."""
        lines = self._lines(iter(self._given.popleft, None))
        return self._intake.submissions(lines, self._first.part, self._first.type)

    def _lines(self, lines: Iterator[Line]) -> Lines:
        first = self._first
        return Lines(first.format, first.columns, lines, separator=first.separator)


def reason_of(error: Exception, *, shows_words: bool) -> str:
    """Return why a message is refused after an unexpected error.

    Args:
        shows_words: Include the error message, which may repeat values of the event.
    """
    name = type(error).__name__
    message = " ".join(str(error).split())[:WORDS_MAX]
    error_text = f"{name}: {message}" if message and shows_words else name
    return f"shroff cannot process it ({error_text}); please report this"


def _place(lines: Sequence[Line], index: int) -> str:
    return lines[index].place
