"""Read the lines of one source: choose the event type of each line, and check a file before its first line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain

from msgspec import Struct, field

from shroff.errors import InputError, UsageError, nearest
from shroff.events.definitions import VERDICTS, CsvLayout, EventType
from shroff.events.event import has_column_form
from shroff.events.formats.csv_records import CsvRecords
from shroff.events.formats.lines import Line, Lines
from shroff.events.mapping import LABEL, Dispatcher, MappedRow, Mapper, Picked, Read, verdict_values
from shroff.events.needed_columns import VERDICT
from shroff.events.raw_values import shown
from shroff.events.readers import expectation, reader
from shroff.events.redaction import LineRedactor, RedactedValues
from shroff.language.types import TIME
from shroff.language.values import with_point
from shroff.runtime.texts import many
from shroff.runtime.values import FrozenStruct, replace

_READ_TIME = reader(TIME, currency="")
AHEAD = 50  # lines that are searched for a header
VALUES_SHOWN = 5  # values of the verdict's column in the message that refuses a file
_DATED = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([T ]|$)")


class LineReading(FrozenStruct):
    """How the lines of one source are read.

    Args:
        file: Name of the file as mappings see it; for a file of a pulled source without the source's name.
        seals: Redacted values of a line from quarantine; None for other lines.
        is_default: Whether a given type is only for lines that do not name theirs.
        keeps_untaken: Whether lines that no type accepts are quarantined.
        header: Header of CSV, as `CsvHeader.text`.
    """

    source: str
    file: str
    format: str
    dispatcher: Dispatcher
    mappers: Mapping[str, Mapper]
    keeper: LineRedactor | None
    seals: RedactedValues | None
    is_default: bool
    keeps_untaken: bool
    header: str = ""

    def is_short_for(self, type_name: str) -> bool:
        """Whether lines can be read by columns: nothing is hashed, and every line is of this type."""
        has_when = self.dispatcher.has_conditions if self.is_default else type_name in self.dispatcher.conditioned
        return self.keeper is None and self.seals is None and not has_when and self.mappers[type_name].is_short

    def has_columns_of(self, type_: EventType) -> bool:
        is_short = self.format in {"jsonl", "csv"} and self.is_short_for(type_.name)
        return is_short and (self.format == "csv" or self.mappers[type_.name].is_plain) and has_column_form(type_)

    def items(self, line: Line, as_type: str | None) -> Sequence[Line]:
        """Split a message into a line for each of its events (see `Dispatcher.items`); an error if it has too many."""
        if line.columns is None or line.each is not None or line.is_whole:
            return (line,)
        row = MappedRow(self.file, line.number, line.columns, offset=line.offset)
        try:
            rows = self.dispatcher.items(row, as_type, is_default=self.is_default)
        except InputError as error:
            return (replace(line, _columns=None, _error=str(error)),)
        return (line,) if rows == [row] else [line.part(row.each, row.index) for row in rows]


def arrival_ms(value: object) -> int | None:
    """Return the arrival of a line from the value of its mapping; None if it is missing. Raises: InputError."""
    if value is None or value == "":
        return None
    try:
        return int(_READ_TIME(value))
    except (ValueError, OverflowError) as error:
        raise InputError([("arrived", f"expected {expectation(TIME, '')}; {error}")]) from None


def tells_type(type_name: str, row: MappedRow, reading: LineReading) -> bool:
    """Whether a line shows its own type, although this one was given for all lines."""
    return _names_itself(type_name, row, reading) or (reading.is_default and reading.dispatcher.takes(row))


def _names_itself(type_name: str, row: MappedRow, reading: LineReading) -> bool:
    """Whether a line has its fields under the name of a type.

    If the given type reads a column of that name, an ordinary line may have only this column, so the answer is False.
    """
    picked = reading.dispatcher.named(row)
    named = _mistyped(row, reading) if picked is None else picked.type
    mapper = reading.mappers[type_name]
    return named is not None and all(path[0] != named for name in mapper.names for path in mapper.paths(name))


def _mistyped(row: MappedRow, reading: LineReading) -> str | None:
    """Return the unknown type name of a line such as `{"paymnt": {...}}`; None for a line of another form."""
    if not reading.is_default or reading.dispatcher.has_conditions or len(row.columns) != 1:
        return None
    ((name, value),) = row.columns.items()
    return name if isinstance(value, Mapping) else None


def csv_layout(
    types: Mapping[str, EventType], as_type: str | None, beside: str | None, source: str, records: CsvRecords
) -> CsvLayout:
    """Return the layout of a CSV file (separator, header, lines to skip) by the mappings of its types.

    The layout of `as_type` comes first. Mappings of `beside`, a further type in the file, and of types with a condition
    `when` fill in what it leaves open. A file with the columns of exported labels has their layout.

    Raises: UsageError without `as_type` if the mappings differ.
    """
    layout = CsvLayout()
    chooser = ""
    for name, type_ in types.items():
        mapping = type_.mappings.get("csv")
        if mapping is None or (mapping.when is None and name not in {as_type, beside}):
            continue
        first = mapping.layout.over(layout)
        later = layout.over(mapping.layout)
        if as_type is None and first != later:
            words = f"{chooser} and {name} read CSV files that begin otherwise"
            raise UsageError(f"{source}: {words}. Say the same under their from.csv in events.yaml, or add --as.")
        layout = first if name == as_type else later
        chooser = name
    is_standard = as_type == LABEL and has_standard_labels(re.findall(r"\w+", "".join(records.first_lines(1))))
    return replace(layout, columns=None, skip=None) if is_standard else layout


def has_standard_labels(columns: Iterable[str]) -> bool:
    """Whether a file has the columns that `export labels` writes, which need no mapping."""
    return {"event", "verdict", "known_at"}.issubset(columns)


def picked_type(row: MappedRow, as_type: str | None, reading: LineReading) -> Picked | None:
    """Return the type of a line; None if no type accepts it. Raises: InputError."""
    may_tell = reading.seals is not None or reading.is_default
    if as_type is None or (may_tell and tells_type(as_type, row, reading)):
        return reading.dispatcher.pick(row)
    return None if reading.dispatcher.leaves(as_type, row) else Picked(as_type)


def check_beginning(lines: Lines, as_type: str | None, reading: LineReading) -> None:
    """Check a file before its first line is ingested.

    Raises: UsageError if its separator differs from that of its mapping, if no line of a type has a column that the
    type
        needs, or if none of its labels has a verdict.
    """
    if as_type is not None and lines.columns is not None:
        _check_columns(lines, as_type, reading)
    if lines.again is not None and reading.seals is None:
        _check_lines(lines, as_type, reading)


def _check_columns(lines: Lines, as_type: str, reading: LineReading) -> None:
    mapper = reading.mappers[as_type]
    columns = lines.columns or ()
    if lines.records is not None and mapper.layout.separator not in {None, lines.separator}:
        raise UsageError(
            f"{reading.source} has {shown(lines.separator)} between its columns, but {as_type}.from.csv in events.yaml "
            f"says separator {shown(mapper.layout.separator)}. Save the file so, or change or remove that setting."
        )
    lacking = mapper.missing_columns(columns)
    if not reading.is_default:
        lacking = list(dict.fromkeys([*lacking, *mapper.needs.missing_in_condition(columns)]))
    if lacking:
        raise UsageError(_lacking_text(mapper, as_type, lacking, columns, reading, lines))
    _tell_missing_fields(mapper, lines, as_type, reading.source)


def _lacking_text(
    mapper: Mapper, type_name: str, lacking: Sequence[str], columns: Sequence[str], reading: LineReading, lines: Lines
) -> str:
    noun = "columns" if len(lacking) > 1 else "column"
    free = mapper.unread(columns)
    hints = [nearest(name, free) for name in lacking]
    hint = next((hint for hint in hints if hint), "") or f"It has {', '.join(columns)}."
    cure = _beginning(mapper, lines, type_name) or f"Name other columns under {type_name}.from in events.yaml."
    return f"{reading.source} lacks the {noun} {', '.join(lacking)}, which {type_name} needs. {hint} {cure}"


def _tell_missing_fields(mapper: Mapper, lines: Lines, as_type: str, source: str) -> None:
    columns = lines.columns or ()
    fields = mapper.needs.missing_fields(columns)
    if not fields:
        return
    lacking = list(dict.fromkeys(name for names in fields.values() for name in names))
    free = mapper.unread(columns)
    hint = next(filter(None, (nearest(name, free) for name in lacking)), "")
    noun = "columns" if len(lacking) > 1 else "column"
    verb = "are" if len(fields) > 1 else "is"
    names = ", ".join(f"{as_type}.{name}" for name in fields)
    words = f"{source} has no {noun} {', '.join(lacking)}: {names} {verb} missing in each of its lines."
    lines.tell(f"{words} {hint}".rstrip())


class _LineSearch(Struct):
    """Searches a file for lines of one type that together have all columns it needs and, for labels, a verdict.

    Args:
        lacking: Needed columns that each line so far lacks; None before the first line.
        columns: Columns of the last line.
        values: Counts of the values that were no verdict.
    """

    mapper: Mapper
    read_verdict: Read | None
    lacking: list[str] | None = None
    columns: Sequence[str] = ()
    values: Counter[str] = field(default_factory=Counter)
    has_verdict: bool = False

    def is_found(self, row: MappedRow) -> bool:
        """Read a line, and return whether the search is finished."""
        if self.lacking is None or self.lacking:
            self.columns = row.names
            missing = self.mapper.missing_columns(self.columns)
            self.lacking = missing if self.lacking is None else [name for name in self.lacking if name in missing]
        if self.read_verdict is not None and not self.has_verdict:
            self.has_verdict = _is_verdict(self.read_verdict(row))
            if not self.has_verdict:
                self.values[verdict_values(self.mapper, row)] += 1
        return not self.lacking and (self.has_verdict or self.read_verdict is None)


def _check_lines(lines: Lines, as_type: str | None, reading: LineReading) -> None:
    """Read a file until the search of each type is finished.

    Raises: UsageError if all lines of a type lack the same column, or no label has a verdict.
    Cost: usually one line of each type; all lines if the file is refused or has no line of a type.
    """
    searches = _searches(lines, as_type, reading)
    if not searches or lines.again is None:
        return
    unfinished = dict(searches)
    with lines.again() as again:
        if lines.records is not None:
            again.lay_out(lines.records.layout)
        for line in chain.from_iterable(reading.items(line, as_type) for line in again):
            if not unfinished:
                return
            if line.columns is None:
                continue
            row = MappedRow(reading.file, line.number, line.columns, line.each, line.index)
            with suppress(InputError):
                picked = picked_type(row, as_type, reading)
                search = None if picked is None or picked.fields is not None else unfinished.get(picked.type)
                if picked is not None and search is not None and search.is_found(row):
                    del unfinished[picked.type]
    for name, search in unfinished.items():
        if search.lacking:
            raise UsageError(_lacking_text(search.mapper, name, search.lacking, search.columns, reading, lines))
        if search.values and not search.has_verdict:
            raise UsageError(_verdict_text(search, reading))


def _searches(lines: Lines, as_type: str | None, reading: LineReading) -> dict[str, _LineSearch]:
    conditioned = reading.dispatcher.conditioned if as_type is None or reading.is_default else frozenset[str]()
    found = {}
    for name, mapper in reading.mappers.items():
        is_read = name == as_type or name in conditioned
        if not is_read or not (mapper.is_mapped or lines.columns is not None):
            continue
        read_verdict = mapper.reader_of(VERDICT) if name == LABEL else None
        is_by_line = lines.columns is None or mapper.each is not None
        if read_verdict is not None or is_by_line or mapper.missing_columns(lines.columns or ()):
            found[name] = _LineSearch(mapper, read_verdict)
    return found


def _verdict_text(search: _LineSearch, reading: LineReading) -> str:
    counts = search.values
    values = ", ".join(f"{value} in {many(count, 'line')}" for value, count in counts.most_common(VALUES_SHOWN))
    more = ", …" if len(counts) > VALUES_SHOWN else ""
    is_mapped = search.mapper.needs.has_mapped_verdict
    how = "as label.from in events.yaml names them" if is_mapped else f"({', '.join(VERDICTS)})"
    return (
        f"{reading.source} has no line with a verdict {how}: {values}{more}. Correct the file, or map its values to "
        "both verdicts under label.from in events.yaml."
    )


def _is_verdict(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in VERDICTS


def _beginning(mapper: Mapper, lines: Lines, as_type: str) -> str:
    if lines.records is None or mapper.layout.columns is not None:
        return ""
    where = f"{as_type}.from.csv in events.yaml"
    for at, cells in lines.records.ahead(AHEAD):
        if not mapper.missing_columns([cell.strip() for cell in cells]):
            return f"Line {at} looks like the header: write `skip: {at - 1}` under {where}."
    columns = lines.columns or ()
    needed = mapper.needed
    if not any(map(_is_value, columns)):
        return ""
    names = ", ".join(needed) + (", …" if len(columns) > len(needed) else "")
    return (
        f"If its first line is no header, name its {len(columns)} columns in their order: write "
        f"`columns: [{names}]` under {where}."
    )


def _is_value(cell: str) -> bool:
    try:
        with_point(cell, ".")
    except ValueError:
        return _DATED.match(cell) is not None
    return True
