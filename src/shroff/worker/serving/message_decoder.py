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

_Kind = tuple[str, str | None, str]  # partition, type and format of lines


class MessageDecoder:
    """Decodes the lines of a source into one submission each, in order.

    A line that makes its reader fail unexpectedly is refused alone, and reading continues with the next one. An event
    too far ahead of its arrival is refused as well: one wrong clock would make all other events late.

    Args:
        now_ms: The clock: the arrival time of messages.
        is_live: Whether lines arrive as they are read; False for files.
        tell: Called with an internal error that costs only speed.

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
        self._readers: dict[_Kind, _LineReader] = {}
        self._forms = LiveForms(definitions.events, tell)
        self.unwanted: dict[tuple[str, str], str] = {}

    def items(self, found: Sequence[PolledMessages]) -> Sequence[PolledMessages]:
        """Return the messages with one line for each event, if their type splits a message by `each`."""
        each = [self._reader(taken).items for taken in found]
        if not any(each):
            return found
        return [
            taken if items is None else taken._replace(lines=[part for line in taken.lines for part in items(line)])
            for taken, items in zip(found, each, strict=True)
        ]

    def submissions(self, found: Sequence[PolledMessages]) -> Sequence[Submission]:
        """Return one submission for each line, in order. Raises: UsageError if lines do not fit their type."""
        read: Sequence[Submission] | None
        if self.unwanted:
            read = [submission for taken in found for line in taken.lines for submission in self._picked(taken, line)]
        elif (read := self._run(found)) is None:
            read = self._reader(found[0]).submissions(found[0].lines) if len(found) == 1 else self._mixed(found)
        return self._timely(read) if self._is_live and not isinstance(read, EventRun) else read

    def _run(self, found: Sequence[PolledMessages]) -> EventRun | None:
        """Return many lines of one type that has a fast reader as a run; None for others."""
        count = sum(len(taken.lines) for taken in found)
        are_records = any(taken.format == "avro" for taken in found)
        if not self._forms.take(count, are_records=are_records):
            return None
        lines = [(taken, line) for taken in found for line in taken.lines]
        type_, records = self._short(found)
        if type_ is None:
            return None
        raws = [line.raw for _, line in lines]
        if max(map(len, raws)) > MESSAGE_BYTES_MAX:  # a message that long is refused whatever its content
            return None

        def careful(at: int) -> Submission:
            taken, line = lines[at]
            read = self._reader(taken).submissions([line])
            return self._timely(read)[0] if self._is_live else read[0]

        origins = [
            LineOrigin(source_name(taken_lines.part), len(taken_lines.lines), partial(_place, taken_lines.lines))
            for taken_lines in found
        ]
        until_ms = latest_ms(self._definitions.settings, self._now_ms()) if self._is_live else None
        return self._forms.run(type_, raws, careful, origins, until_ms, records)

    def _short(self, found: Sequence[PolledMessages]) -> tuple[EventType | None, list[RecordForm | None] | None]:
        """Return the event type whose fast reader takes all these lines, or None; for Avro also each line's form."""
        readers = [self._reader(taken) for taken in found]
        records = None
        types: list[EventType | None] = [reader.short for reader in readers]
        if all(taken.format == "avro" and taken.columns is None for taken in found):
            pairs = zip(readers, found, strict=True)
            records = [reader.record_form(line) for reader, taken in pairs for line in taken.lines]
            types = [form.type for form in records if form is not None]
            types = types if 2 * len(types) > len(records) else [None]
        return types[0] if all(type_ is types[0] for type_ in types) else None, records

    def _mixed(self, found: Sequence[PolledMessages]) -> list[Submission]:
        """Read the lines of each partition in one go, then restore their order; partitions may alternate often."""
        lines: dict[str, list[Line]] = defaultdict(list)
        readers: dict[str, _LineReader] = {}
        for taken in found:
            lines[taken.part] += taken.lines
            readers[taken.part] = self._reader(taken)
        each = {part: iter(reader.submissions(lines[part])) for part, reader in readers.items()}
        return [line for taken in found for line in islice(each[taken.part], len(taken.lines))]

    def _reader(self, taken: PolledMessages) -> _LineReader:
        kind = taken.part, taken.type, taken.format
        reader = self._readers.get(kind)
        if reader is None:
            reader = self._readers[kind] = _LineReader(self._intake, taken, self._reason)
        return reader

    def _picked(self, taken: PolledMessages, line: Line) -> list[Submission]:
        reader = self._reader(taken)
        reason = self.unwanted.get((source_name(taken.part), line.place))
        return reader.submissions([line]) if reason is None else [reader.refused(line, reason)]

    def _reason(self, error: Exception) -> str:
        return reason_of(error, shows_words=not self._definitions.events.has_hashed)

    def _timely(self, found: Sequence[Submission]) -> list[Submission]:
        """Refuse submissions that are too far in the future."""
        now_ms = self._now_ms()
        return [timely(submission, self._definitions, now_ms) for submission in found]


class _LineReader:
    """Reads the lines of one type and format from one partition."""

    def __init__(self, intake: Intake, first: PolledMessages, reason: Callable[[Exception], str]) -> None:
        self._intake = intake
        self._kind = first
        self._reason = reason
        self._source = source_name(first.part)
        self.short = None
        self.items = intake.items(self._lines(iter(())), first.part, first.type)
        if first.format == "jsonl":
            self.short = intake.plain_type(self._lines(iter(())), first.part, first.type)
        self._forms = dict[Shape, RecordForm | None]()
        self._given: deque[Line] = deque()
        self._read = self._begun()

    def record_form(self, line: Line) -> RecordForm | None:
        """Return how compiled code reads an Avro record; None if it cannot, as for a line without raw bytes."""
        if type(line) is not AvroLine or not line.has_bytes or (shape := line.shape) is None:
            return None
        if shape not in self._forms:
            kind = self._kind
            read = self._intake.record_type(self._lines(iter(())), kind.part, kind.type, shape.schema)
            self._forms[shape] = None if read is None else record_form(shape.schema, *read)
        return self._forms[shape]

    def submissions(self, lines: Sequence[Line]) -> list[Submission]:
        """Return one submission for each line; a line that fails unexpectedly is refused."""
        self._given.extend(lines)
        found: list[Submission] = []
        while len(found) < len(lines):
            try:
                for line in islice(self._read, len(lines) - len(found)):
                    found.append(line)  # noqa: PERF402 (lines read before an error are kept)
            except ShroffError:
                raise
            except Exception as error:  # noqa: BLE001 (no single line may end the partition)
                found.append(self.refused(lines[len(found)], self._reason(error)))
                self._read = self._begun()
        return found

    def refused(self, line: Line, words: str) -> Submission:
        """Return a line refused for this reason."""
        header = self._lines(iter(())).header
        told = "" if header is None else header.text
        return self._intake.unreadable(line, self._source, self._kind.type or "", words, told)

    def _begun(self) -> Iterator[Submission]:
        """Start a reader of the pending lines. It consumes one line for each submission that is taken from it."""
        lines = self._lines(iter(self._given.popleft, None))
        return self._intake.submissions(lines, self._kind.part, self._kind.type)

    def _lines(self, lines: Iterator[Line]) -> Lines:
        kind = self._kind
        return Lines(kind.format, kind.columns, lines, separator=kind.separator)


def reason_of(error: Exception, *, shows_words: bool) -> str:
    """Return why a message is refused after an unexpected error.

    Args:
        shows_words: Include the error message, which may repeat values of the event.
    """
    name = type(error).__name__
    words = " ".join(str(error).split())[:WORDS_MAX]
    told = f"{name}: {words}" if words and shows_words else name
    return f"shroff cannot process it ({told}); please report this"


def _place(lines: Sequence[Line], at: int) -> str:
    return lines[at].place
