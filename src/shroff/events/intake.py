"""Turn the lines of a source into submissions: typed events and labels, or the reason why a line is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from types import MappingProxyType

import msgspec
from msgspec import Struct

from shroff.errors import InputError, UsageError, nearest
from shroff.events.avro.fit import fit
from shroff.events.avro.schema import Avro, schema_name_of
from shroff.events.avro.values import schema_name
from shroff.events.conversion import Conversion
from shroff.events.definitions import Events, EventType, Settings
from shroff.events.event import Event, has_column_form
from shroff.events.formats.lines import Line, Lines
from shroff.events.line_types import (
    LineReading,
    arrival_ms,
    check_beginning,
    csv_layout,
    has_standard_labels,
    picked_type,
)
from shroff.events.mapping import LABEL, Dispatcher, MappedRow, Mapper, Unmatched
from shroff.events.raw_values import Number
from shroff.events.redaction import LineRedactor, RedactedValues, keeping_hashed, masked, opened, unread
from shroff.events.unique import Named
from shroff.events.validation import EventValidator, LabelInput, OutOfBoundsError, secret_fields
from shroff.runtime.values import FrozenStruct, replace

READ = "read"  # in the log, begins the names of sources that are read by name


class Submission(FrozenStruct, gc=False):
    """One input, and the result of its validation: an event, a label, or a refusal.

    If it has none of the three, no event type accepts the line.

    Args:
        source: Name of the source.
        place: Position in the source, such as a line number.
        raw: Returns the bytes to store if the input is refused, redacted in a project that hashes fields.
        body: Canonical body of the event, if reading it has produced that, too.
        personal: Personal fields, which are stored beside the log.
        header: Header of the CSV file, as `CsvHeader.text`.
        refused: Event whose time or values are out of bounds. It is refused only if its id is new; if the log has the
            id, it is a duplicate, whatever the clock and the bounds are now.
        id: Id of a refused event, if it can be read; for a label the event that it names.
    """

    source: str
    place: str
    raw: Callable[[], bytes]
    type: str = ""
    event: Event | None = None
    label: LabelInput | None = None
    refusal: str | None = None
    body: bytes | None = None
    personal: tuple[Named, ...] = ()
    header: str = ""
    refused: Event | None = None
    mistakes: tuple[tuple[str, str], ...] = ()  # path and message for each wrong field
    id: str = ""
    arrived_ms: int | None = None  # if the mapping of the file says when the line arrived

    @property
    def moment_ms(self) -> int | None:
        """When it arrived, else the time of its event or label; None for any other line."""
        own_ms = self.label.known_at_ms if self.label else self.event.time_ms if self.event else None
        return own_ms if self.arrived_ms is None else self.arrived_ms

    @property
    def sent(self) -> Event | None:
        """The event, also if it is out of bounds."""
        return self.event or self.refused


def undated(submission: Submission) -> Submission:
    """Mark a label as sent without `known_at`, whose value is then the time of sending."""
    if submission.label is None:
        return submission
    return replace(submission, label=replace(submission.label, is_undated=True))


class FieldMistakes(Struct):
    """Path and message of each wrong field of a submission; `hidden` are further fields whose values are not shown."""

    hidden: frozenset[str] = frozenset()
    found: list[tuple[str, str]] = []


class OwnTypes(FrozenStruct):
    """Event types of one source, with its own mappings.

    Args:
        others: What to do with lines that none of them accepts: `skip`, `quarantine`, or the type to read them as.
    """

    events: Events
    others: str

    @property
    def default(self) -> tuple[str | None, bool]:
        """The type of lines that do not name theirs (None: all must), and whether lines may name another type."""
        if self.others == LABEL:
            return LABEL, False
        if self.others in self.events.types:
            return self.others, True
        if not self.events.types:
            return None, False
        (first, *more) = self.events.types.values()
        if more or any(mapping.when is not None for mapping in first.mappings.values()):
            return None, False
        return first.name, self.has_labels

    @property
    def has_labels(self) -> bool:
        return any(mapping.when is not None for mapping in self.events.label.mappings.values())


class Intake:
    """Turns lines into submissions, for one project.

    Args:
        hasher: Hashes the value of a hashed field; without one nothing is hashed.
        own: Sources with their own event types, by the first two parts of their names in the log.
        conversion: See `EventValidator`.
    """

    def __init__(
        self,
        events: Events,
        settings: Settings,
        hasher: Callable[[str], str] | None,
        own: Mapping[str, OwnTypes] = MappingProxyType({}),
        conversion: Conversion | None = None,
    ) -> None:
        self.events = events
        self.settings = settings
        self._own_types = own
        self.money_places = settings.money_places
        self._unmatched: dict[str, Unmatched] = {}
        self._validator = EventValidator(events, settings, hasher, conversion)
        self._secret = {name: secret_fields(events, name) for name in (*events.types, LABEL)}
        self._hasher: Callable[[str], str] | None = None  # for stored lines; None if the project hashes nothing
        if hasher is not None and any(self._secret.values()):
            self._hasher = keeping_hashed(hasher)
            self._keeping_validator = EventValidator(events, settings, self._hasher)

    @property
    def unmatched(self) -> list[Unmatched]:
        """Sources of which no event type accepted a line; none if shroff.yaml says what to do with such lines."""
        return [] if self.settings.untaken else list(self._unmatched.values())

    def submissions(
        self,
        lines: Lines,
        source: str,
        as_type: str | None = None,
        *,
        seals: RedactedValues | None = None,
        is_default: bool = False,
    ) -> Iterator[Submission]:
        """Read lines as events of one type, or of the type that each line shows.

        Args:
            as_type: Type of all lines; None if each line shows its own.
            seals: For a line from quarantine, the redacted values that its mark lists (`events.redaction`). Such a line
                may name its type even with `as_type`.
            is_default: `as_type` is only for lines that do not name a type, and that no condition `when` accepts.

        Raises: UsageError, before the first line, if the type does not exist, if lines of this format cannot name
            theirs, or if the file lacks a column, or has no line with a verdict.
        """
        _check_type(as_type, self.events)
        as_type, reading = self._reading(lines, source, as_type, seals, is_default=is_default)
        is_live_avro = lines.format == "avro" and lines.columns is None  # whose records have the names of their schemas
        if as_type is None and not reading.dispatcher.is_possible and not is_live_avro:
            types = " or --as ".join(self.events.types)
            raise UsageError(f"{reading.source}: a {lines.format} file does not name its event type. Add --as {types}.")
        check_beginning(lines, as_type, reading)
        return self._read(lines, as_type, reading, self._own(as_type, reading) if is_live_avro else {})

    def plain_type(self, lines: Lines, source: str, as_type: str | None) -> EventType | None:
        """Return the type of all these lines of JSON or CSV if they can be read by columns, else None."""
        _check_type(as_type, self.events)
        as_type, reading = self._reading(lines, source, as_type)
        check_beginning(lines, as_type, reading)
        type_ = self.events.types.get(as_type or "")
        return type_ if type_ is not None and reading.has_columns_of(type_) else None

    def named_types(self, lines: Lines, source: str, as_type: str | None) -> list[EventType]:
        """Return the types that can be read by columns, if each of these lines of JSON names its type."""
        as_type, reading = self._reading(lines, source, as_type)
        picker = reading.dispatcher
        types = self.events.types.values()
        is_named = as_type is None and not (picker.has_conditions or picker.each or self.events.has_arrivals)
        return [type_ for type_ in types if is_named and reading.has_columns_of(type_)]

    def lay_out(self, lines: Lines, source: str, as_type: str | None = None, *, beside: str | None = None) -> Lines:
        """Read the beginning of CSV (`csv_layout`) and the records of XML as mappings say; return the lines.

        Raises: UsageError if it cannot be read.
        """
        own = self._own_types.get(_owner(source_name(source)))
        if own is not None and as_type is None:
            as_type = own.default[0]
        types = {**self.events.types, **({} if own is None else own.events.types), LABEL: self.events.label}
        if lines.records is None:
            mapped = [type_ for type_ in types.values() if lines.prepare is not None and "json" in type_.mappings]
            return lines.read_for(frozenset().union(*(Mapper(type_, "jsonl").all_paths for type_ in mapped)))
        lines.lay_out(csv_layout(types, as_type, beside, source, lines.records)).columns  # noqa: B018 (they are read)
        return lines

    def record_type(
        self, lines: Lines, source: str, as_type: str | None, schema: Avro
    ) -> tuple[EventType, Mapper] | None:
        """Return event type and mapping for Avro records of this schema, if a compiled reader can read them."""
        as_type, reading = self._reading(lines, source, as_type)
        own = {} if lines.columns is not None else self._own(as_type, reading)
        name, reading = own.get(schema.name, (as_type or "", reading))
        type_ = self.events.types.get(name)
        if type_ is None or not reading.is_short_for(name) or not has_column_form(type_):
            return None
        if reading.mappers[name].has_zone or reading.mappers[name].has_mark:
            return None
        return (type_, reading.mappers[name]) if fit(schema, type_, self.settings).is_readable else None

    def _reading(
        self,
        lines: Lines,
        source: str,
        as_type: str | None,
        seals: RedactedValues | None = None,
        *,
        is_default: bool = False,
    ) -> tuple[str | None, LineReading]:
        self.lay_out(lines, source, as_type)
        source = source_name(source)
        own = self._own_types.get(_owner(source))
        if own is not None and as_type is None:
            as_type, is_default = own.default
        elif own is not None and as_type in own.events.types:  # the type of a live source's topic
            is_default = own.has_labels
        events = self.events if own is None else own.events
        mappers = self._mappers(lines.format, events)
        columns = lines.columns or ()
        if as_type == LABEL and has_standard_labels(columns) and mappers[LABEL].missing_columns(columns):
            events = replace(events, label=replace(events.label, mappings={}))
            mappers[LABEL] = Mapper(events.label_input, lines.format, self._secret[LABEL])
        keeper = None
        if self._hasher is not None:
            keeper = LineRedactor(
                self.events, self._keeping_validator, self._hasher, mappers, lines.format, separator=lines.separator
            )
        keeps_untaken = (self.settings.untaken if own is None else own.others) == "quarantine"
        is_owned = own is not None or source.startswith(f"{READ}/")
        file = source.removeprefix(f"{_owner(source)}/") if is_owned else source
        dispatcher = Dispatcher(events, lines.format)
        header = "" if (csv_header := lines.header) is None else csv_header.text
        return as_type, LineReading(
            source, file, lines.format, dispatcher, mappers, keeper, seals, is_default, keeps_untaken, header
        )

    def submit(
        self,
        type_name: str,
        fields: Mapping[str, object],
        *,
        source: str,
        place: str,
        raw: bytes,
        is_strict: bool,
        mistakes: FieldMistakes | None = None,
    ) -> Submission:
        """Validate one event or label from its fields; mistakes in them are added to `mistakes`."""
        kept = partial(self._kept_fields, raw, type_name)
        hidden: frozenset[str] = frozenset() if mistakes is None else mistakes.hidden
        try:
            if type_name == LABEL:
                return Submission(
                    source, place, kept, LABEL, label=self._validator.admit_label(fields, is_strict=is_strict)
                )
            event, personal = self._validator.admit_with_personal(type_name, fields, is_strict=is_strict, hidden=hidden)
            return Submission(source, place, kept, type_name, event, personal=personal)
        except InputError as error:
            if mistakes is not None:
                mistakes.found += error.mistakes
            return Submission(source, place, kept, type_name, refusal=str(error), refused=_event_of(error))

    def unreadable(self, line: Line, source: str, type_name: str, words: str, header: str = "") -> Submission:
        """Return a refused submission of a line without columns, with the reason `words`, by default the line's
        error.
        """
        if self._hasher is None:
            words = words or line.error or ""
            return Submission(source, line.place, line.original, type_name, refusal=words, header=header)
        kept, told = unread(line, self._hasher, words)
        return Submission(source, line.place, lambda: kept, type_name, refusal=told, header=header)

    def refused(
        self, mapped: EventType, columns: Mapping[str, object], *, source: str, place: str, raw: bytes, words: str
    ) -> Submission:
        """Return a refused submission, with the reason `words`, of a line that the type `mapped` has read."""
        kept: Callable[[], bytes] = partial(bytes, raw)
        if self._hasher is not None:
            keeper = self._keeper_of_objects(mapped)
            kept = partial(keeper.line, Line(0, raw, dict(columns)), MappedRow("", 0, columns), mapped.name, None)
        return Submission(source, place, kept, mapped.name, refusal=words)

    def _mappers(self, format: str, events: Events) -> dict[str, Mapper]:
        types = {**self.events.types, **events.types, LABEL: self.events.label_input}
        return {name: Mapper(type_, format, self._secret[name]) for name, type_ in types.items()}

    def _read(
        self,
        lines: Iterable[Line],
        as_type: str | None,
        reading: LineReading,
        own: Mapping[str, tuple[str, LineReading]],
    ) -> Iterator[Submission]:
        source = reading.source
        dispatcher = reading.dispatcher
        takers = {name: self._taker(name, reading) for name in reading.mappers}
        own_takers = {schema: (name, self._taker(name, own_reading)) for schema, (name, own_reading) in own.items()}
        if dispatcher.each:
            lines = chain.from_iterable(reading.items(line, as_type) for line in lines)
        has_taken = as_type is not None and (as_type == LABEL or as_type not in dispatcher.conditioned)
        for line in lines:
            own_type, own_take = own_takers.get(schema_name(line), ("", None)) if own_takers else ("", None)
            has_taken = has_taken or own_take is not None
            if line.columns is None:
                yield self.unreadable(line, source, own_type or as_type or "", "", reading.header)
                continue
            row = MappedRow(reading.file, line.number, line.columns, line.each, line.index, line.offset)
            if own_take is not None:
                yield own_take(line, row, None)
                continue
            try:
                picked = picked_type(row, as_type, reading)
            except InputError as error:
                kept = _untaken_bytes(line, row, reading)
                yield Submission(source, line.place, kept, refusal=str(error), header=reading.header)
                continue
            if picked is None:
                if not has_taken and _owner(source) not in self._own_types:
                    self._note(line, row, reading)
                yield _untaken(line, row, reading, as_type)
                continue
            if not has_taken:
                has_taken = True
                self._unmatched.pop(source, None)
            yield takers[picked.type](line, row, picked.fields)

    def items(self, lines: Lines, source: str, as_type: str | None) -> Callable[[Line], Sequence[Line]] | None:
        """Return a function that splits a message into a line for each event; None if a message is one event."""
        as_type, reading = self._reading(lines, source, as_type)
        return partial(reading.items, as_type=as_type) if reading.dispatcher.each else None

    def _own(self, as_type: str | None, reading: LineReading) -> dict[str, tuple[str, LineReading]]:
        """Return type and reading for the schemas that shroff writes, by name: their records need no mapping."""
        types = {**self.events.types, LABEL: self.events.label_input}
        if reading.seals is not None or (as_type is not None and "avro" not in types[as_type].mappings):
            return {}
        mappers = {
            name: Mapper(replace(type_, mappings={}), "avro", self._secret[name]) for name, type_ in types.items()
        }
        keeper = None
        if self._hasher is not None:
            keeper = LineRedactor(self.events, self._keeping_validator, self._hasher, mappers, "avro")
        own = replace(reading, mappers=mappers, keeper=keeper)
        wanted = types if as_type is None else [as_type]
        return {schema_name_of(name, self.settings): (name, own) for name in wanted}

    def _note(self, line: Line, row: MappedRow, reading: LineReading) -> None:
        """Count a line that no type accepts, for a source of which no line was accepted yet."""
        if reading.source not in self._unmatched:
            secret = [path for mapper in reading.mappers.values() for path in mapper.secret_paths]
            asked = partial(reading.dispatcher.asked, row.alone(), secret)
            self._unmatched[reading.source] = Unmatched(reading.source, line.number, asked)
        self._unmatched[reading.source].lines += 1

    def _taker(
        self, type_name: str, reading: LineReading
    ) -> Callable[[Line, MappedRow, Mapping[str, object] | None], Submission]:
        validator = self._validator.of_file(reading.format)
        source = reading.source
        keeper = reading.keeper
        seals = reading.seals
        header = reading.header
        mapper = reading.mappers[type_name]
        is_label = type_name == LABEL
        hidden = mapper.hidden
        arrived = mapper.arrived

        def take(line: Line, row: MappedRow, named: Mapping[str, object] | None) -> Submission:
            kept = line.original if keeper is None else partial(keeper.line, line, row, type_name, named)
            fields: Mapping[str, object] = {}
            try:
                if named is None:
                    fields = mapper.fields(row)
                else:
                    named_row = MappedRow(row.file, row.number, named)
                    fields = mapper.fields(named_row) if mapper.is_mapped and mapper.each is None else named
                if seals is not None and keeper is not None:
                    fields = opened(type_name, mapper, row.alone().columns if named is None else named, fields, seals)
                came_ms = None if arrived is None else arrival_ms(arrived(row))
                if is_label:
                    label = validator.admit_label(fields, hidden=hidden)
                    return Submission(source, line.place, kept, LABEL, None, label, header=header, arrived_ms=came_ms)
                event, personal = validator.admit_with_personal(type_name, fields, is_strict=False, hidden=hidden)
                read = Submission(source, line.place, kept, type_name, event, None, None, None, personal, header)
                return read if came_ms is None else replace(read, arrived_ms=came_ms)
            except InputError as error:
                return Submission(
                    *(source, line.place, kept, type_name),
                    refusal=str(error),
                    header=header,
                    refused=_event_of(error),
                    mistakes=error.mistakes,
                    id=_id_in(validator, None if is_label else self.events.types[type_name], fields),
                )

        return take

    def _kept_fields(self, raw: bytes, type_name: str) -> bytes:
        if self._hasher is None:
            return raw
        try:
            columns = msgspec.json.Decoder(dict[str, object], float_hook=Number).decode(raw)
        except (ValueError, RecursionError):
            return masked(raw, self._hasher)
        keeper = self._keeper_of_objects()
        line = Line(0, raw, columns)
        row = MappedRow("", 0, columns)
        if type_name not in self._secret:
            return keeper.untaken(line, row)
        named = columns.get(type_name) if len(columns) == 1 else None
        return keeper.line(line, row, type_name, named if isinstance(named, dict) else None)

    def _keeper_of_objects(self, mapped: EventType | None = None) -> LineRedactor:
        assert self._hasher is not None
        types = {**self.events.types, LABEL: self.events.label_input}
        plain = {name: replace(type_, mappings={}) for name, type_ in types.items()}
        plain |= {} if mapped is None else {mapped.name: mapped}
        mappers = {name: Mapper(pieces, "jsonl", self._secret[name]) for name, pieces in plain.items()}
        return LineRedactor(self.events, self._keeping_validator, self._hasher, mappers, "jsonl")


def _check_type(as_type: str | None, events: Events) -> None:
    names = (*events.types, LABEL)
    if as_type is not None and as_type not in names:
        hint = nearest(as_type, names) or f"There is {', '.join(names)}."
        raise UsageError(f"{as_type!r} is not an event type. {hint}")


def _event_of(error: InputError) -> Event | None:
    return error.event if isinstance(error, OutOfBoundsError) else None


def _id_in(validator: EventValidator, type_: EventType | None, fields: Mapping[str, object]) -> str:
    try:
        if type_ is None:
            return "/".join(validator.named_event(str(fields.get("event") or "")))
        return validator.hashed(type_.name, type_.id_field, fields.get(type_.id_field)) or ""
    except (InputError, ValueError, OverflowError):
        return ""


def source_name(name: str) -> str:
    r"""Return the name of a source as text, with bytes of a file's name that are not UTF-8 written as escapes.

    >>> source_name("b\udcff.jsonl")
    'b\\xff.jsonl'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _owner(source: str) -> str:
    return "/".join(source.split("/", 2)[:2])


def _untaken(line: Line, row: MappedRow, reading: LineReading, as_type: str | None) -> Submission:
    is_kept = reading.keeps_untaken and as_type != LABEL and (as_type is None or not reading.dispatcher.takes(row))
    refusal = "no event type matches: the condition 'when' of none is true" if is_kept else None
    kept = _untaken_bytes(line, row, reading)
    type_ = "" if is_kept or as_type in {None, LABEL} else as_type
    return Submission(reading.source, line.place, kept, type_ or "", refusal=refusal, header=reading.header)


def _untaken_bytes(line: Line, row: MappedRow, reading: LineReading) -> Callable[[], bytes]:
    keeper = reading.keeper
    return line.original if keeper is None else partial(keeper.untaken, line, row)
