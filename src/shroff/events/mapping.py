"""Field mapping: turn a line of a file into the fields of an event by the mappings under `from`, and find its type.

The expressions of a mapping are compiled once, and evaluated for each line. A value that a mapping cannot compute goes
to validation as a `RefusedValue`, so that all mistakes of a line are reported together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec import Struct

from shroff.errors import InputError, nearest
from shroff.events.definitions import CsvLayout, Events, EventType, FileMapping
from shroff.events.mapped_values import as_text, form_of, made, of_zone, with_comma, with_commas, with_mark, zoned
from shroff.events.needed_columns import VERDICT, ColumnNeeds, column_name
from shroff.events.raw_values import RefusedValue, inside, shown, text_of, with_item
from shroff.events.readers import reader
from shroff.json_types import JsonObject
from shroff.language.expression import ITEM, Node, Path, RowValue, is_item_number, walk
from shroff.language.printer import text_of as expression_text
from shroff.language.row import Reference, compile_row
from shroff.language.types import TEXT, TIME, Type
from shroff.language.values import is_naive
from shroff.runtime.values import FrozenStruct, replace

Read = Callable[["MappedRow"], Any]

MAPPING_OF = {"csv": "csv", "jsonl": "json", "json": "json", "parquet": "parquet", "avro": "avro"}
LABEL = "label"
UTC = "UTC"
ITEMS_MAX = 10_000  # items of one message that are events; as many as the events of a request
_MISSING = "is missing"
_NO_MAPPING = FileMapping(None, {})
BEFORE_ALL_MS = -(1 << 62)


class MappedRow(FrozenStruct, gc=False):
    """One line of a file: the file's name, the line's number among the data lines from 1, its columns.

    `each` is the path of an array whose item at `index` is the event; None if the whole line is the event. `offset` is
    the number of items that were removed from the start of the array.
    """

    file: str
    number: int
    columns: Mapping[str, object]
    each: Path | None = None
    index: int = 0
    offset: int = 0

    @property
    def names(self) -> list[str]:
        """Names of the columns, with those of the item (see `needed_columns.column_name`)."""
        item = {} if self.each is None else value_at((*self.each, ITEM))(self)
        inner = [column_name((*(self.each or ()), ITEM, name)) for name in item] if isinstance(item, Mapping) else []
        return [*self.columns, *inner]

    def alone(self) -> MappedRow:
        """Return the event with its item as the only one of the array."""
        if self.each is None:
            return self
        columns = with_item(self.columns, self.each, self.index)
        return replace(self, columns=columns, index=0, offset=self.offset + self.index)


class Picked(FrozenStruct):
    """The event type of a line. `fields` are set if the line names its type, as its only key."""

    type: str
    fields: Mapping[str, object] | None = None


class Mapper:
    """Computes the fields of one event type from the lines of one format.

    A field without a mapping has the unchanged value of the column of its name. Nor does a mapping that only renames
    (`row.price`) change the value, so money objects and float columns are kept; a text field gets it as text.

    Args:
        format: `csv`, `jsonl`, `parquet` or `avro`.
        secret: Fields whose clear values are never stored; by default the hashed ones.

    Attributes:
        hidden: Fields whose values no message shows, since they read a column that a secret field reads.
        is_plain: Whether all fields are the columns of their names.
    """

    def __init__(self, event_type: EventType, format: str, secret: frozenset[str] | None = None) -> None:
        self._event_type = event_type
        self._mapping = event_type.mappings.get(MAPPING_OF[format], _NO_MAPPING)
        self._typed_columns = format in {"parquet", "avro"}
        self.each = self._mapping.each
        self.needs = ColumnNeeds(event_type, self._mapping, is_label=event_type.name == LABEL)
        self.secret = frozenset(field.name for field in event_type.fields if field.shape.is_hashed)
        if secret is not None:
            self.secret = secret
        fields = event_type.declared
        self.names = tuple(field.name for field in fields)
        paths = self.secret_paths
        self.hidden = frozenset(
            name for name in self.names if any(overlap(path, two) for path in self.paths(name) for two in paths)
        )
        self._plan = tuple(
            (field.name, self._field_reader(field.name, field.type, self._mapping.fields.get(field.name)))
            for field in fields
        )
        if self.needs.has_mapped_verdict:
            self._plan = tuple(
                (name, _verdict_reader(self, read) if name == VERDICT else read) for name, read in self._plan
            )
        arrived = self._mapping.arrived
        self.arrived = None if arrived is None else self._field_reader("", TIME, arrived)
        self.is_short = self.each is None and arrived is None
        is_written_so = not self._mapping.decimal and self._mapping.zone == UTC and self.each is None
        self.is_plain = not self._mapping.fields and not self._typed_columns and is_written_so
        self._times = tuple(field.name for field in fields if field.type == TIME)

    def fields(self, row: MappedRow) -> Mapping[str, object]:
        """Return the fields of a line for `EventValidator.admit`; a value that cannot be computed is a `RefusedValue`.

        Cost: nothing without a mapping, else about a microsecond for each mapped field.
        """
        if self.is_plain:
            columns = row.columns
            naive = [name for name in self._times if type(text := columns.get(name)) is str and is_naive(text.strip())]
            return {**columns, **{name: zoned(columns[name], UTC) for name in naive}} if naive else columns
        return {name: value for name, read in self._plan if (value := read(row)) is not None}

    def missing_columns(self, columns: Collection[str]) -> list[str]:
        """Return the columns that a required field needs and that a file with these columns lacks."""
        return self.needs.missing(columns)

    @property
    def needed(self) -> list[str]:
        return self.missing_columns(())

    def unread(self, columns: Collection[str]) -> list[str]:
        """Return the columns of a file that no field reads; one of them may be a missing column under another name."""
        read = {column_name(path) for name in self.names for path in self.paths(name)}
        return [name for name in columns if name not in read]

    @property
    def layout(self) -> CsvLayout:
        return self._mapping.layout

    @property
    def is_mapped(self) -> bool:
        return self._mapping is not _NO_MAPPING

    @property
    def secret_paths(self) -> frozenset[Path]:
        return frozenset(path for name in self.secret for path in self.paths(name))

    @property
    def condition_paths(self) -> frozenset[Path]:
        """Paths that `when` and `arrived` read."""
        read = (self._mapping.when, self._mapping.arrived)
        return frozenset(path for node in read if node is not None for path in _paths_of(node))

    @property
    def all_paths(self) -> frozenset[Path]:
        return self.condition_paths.union(*map(self.paths, self.names))

    def paths(self, name: str) -> frozenset[Path]:
        """Return the paths that a field reads; an expression may read several."""
        node = self._mapping.fields.get(name)
        own = {(name,)} if self.each is None else {(name,), (*self.each, ITEM, name)}
        return frozenset(own if node is None else _paths_of(node))

    def words(self, name: str) -> str:
        """Return the expression of a field in its canonical form; "" if there is none."""
        node = self._mapping.fields.get(name)
        return "" if node is None else expression_text(node)

    def is_column(self, name: str) -> bool:
        """Whether a field is one unchanged value of the line."""
        node = self._mapping.fields.get(name)
        return node is None or (isinstance(node, RowValue) and not _of_line(node))

    def is_cell(self, name: str) -> bool:
        """Whether a field is the unchanged text of one column of a CSV file, with times without an offset in UTC."""
        type_ = next(field.type for field in self._event_type.declared if field.name == name)
        is_changed = (self._mapping.decimal and type_.is_numeric) or (self.has_zone and type_ == TIME)
        return self.is_column(name) and not is_changed

    @property
    def has_zone(self) -> bool:
        """Whether times without an offset are in another zone than UTC."""
        return self._mapping.zone != UTC

    @property
    def has_mark(self) -> bool:
        """Whether decimals that are texts are written with a decimal mark and in groups."""
        return bool(self._mapping.decimal)

    def reader_of(self, name: str) -> Read:
        return next(read for field, read in self._plan if field == name)

    def _field_reader(self, name: str, wanted: Type, node: Node | None) -> Read:
        if node is None or (isinstance(node, RowValue) and not _of_line(node)):
            read = _column(name, self.each) if node is None else value_at(node.path)
            if wanted.is_text and (node is not None or self._typed_columns):
                return as_text(read)
            if wanted.is_numeric and self._mapping.decimal:
                return made(with_mark(read, self._mapping.decimal), None, is_secret=name in self.hidden)
            return of_zone(read, self._mapping.zone) if wanted == TIME else read
        leaf = _leaf_of(self._mapping, node)
        time = self.time_reader() if self._mapping.tables and name != self._event_type.time_field else None
        evaluate = compile_row(node, leaf, Reference(tables=self._mapping.tables), time=time, strict=True)
        form = str if wanted.is_text and node.type.kind == "integer" else form_of(node.type)
        return made(evaluate, form, is_secret=name in self.hidden)

    def time_reader(self) -> Read:
        """Return a function for the event's time in ms, by which time-dependent tables are looked up.

        For a line without a time it is `BEFORE_ALL_MS`, when no row is valid.
        """
        name = self._event_type.time_field
        time_of = reader(TIME, currency="")
        read = self._field_reader(name, TIME, self._mapping.fields.get(name))

        def time_ms(row: MappedRow) -> int:
            with suppress(InputError, ValueError, OverflowError):
                return int(time_of(read(row)))
            return BEFORE_ALL_MS

        return time_ms


class Dispatcher:
    """Finds the event type of a line, if the command does not give it."""

    def __init__(self, events: Events, format: str) -> None:
        types = {**events.types, LABEL: events.label}
        self._all = types
        self._types = frozenset(types)
        self._format = MAPPING_OF[format]
        conditions = [(name, _condition(type_, self._format)) for name, type_ in types.items()]
        self._conditions = [(name, condition) for name, condition in conditions if condition is not None]
        self._names_itself = self._format == "json"
        each = {name: type_.mappings.get(self._format, _NO_MAPPING).each for name, type_ in types.items()}
        self.each = {name: path for name, path in each.items() if path is not None}

    @property
    def is_possible(self) -> bool:
        return self._names_itself or bool(self._conditions)

    @property
    def conditioned(self) -> frozenset[str]:
        return frozenset(name for name, _ in self._conditions)

    @property
    def has_conditions(self) -> bool:
        return bool(self._conditions)

    def asked(self, row: MappedRow, secret: Collection[Path]) -> list[UnmetCondition]:
        """Return each `when` with the values of the line that it reads, without those at secret paths."""
        found = []
        for name, type_ in self._all.items():
            when = type_.mappings.get(self._format, _NO_MAPPING).when
            if when is not None:
                found.append(UnmetCondition(name, expression_text(when), ", ".join(_values(when, row, secret))))
        return found

    def first_found(self, row: MappedRow, secret: Collection[Path]) -> str | None:
        """Return a value that the first `when` reads from a line, such as `row.kind is 'x'`; None if all are missing.

        Values at secret paths are left out.
        """
        whens = (type_.mappings.get(self._format, _NO_MAPPING).when for type_ in self._all.values())
        found = next((list(_values(when, row, secret)) for when in whens if when is not None), [])
        return next((text for text in found if not text.endswith(_MISSING)), None)

    def leaves(self, type_name: str, row: MappedRow) -> bool:
        """Whether the mapping of a type rejects a line: its `when` is false, or it reads items of another array."""
        if self.each.get(type_name) != row.each:
            return True
        return any(name == type_name and not condition(row) for name, condition in self._conditions)

    def takes(self, row: MappedRow) -> bool:
        """Whether the `when` of any type is true for a line or item."""
        return any(condition(row) for name, condition in self._conditions if self.each.get(name) == row.each)

    def items(self, row: MappedRow, as_type: str | None, *, is_default: bool) -> list[MappedRow]:
        """Split a message into possible events: the items of its arrays, and the whole message.

        The whole message is included if it has no items, if it names its type, if the `when` of a type without `each`
        is true for it, or if `as_type` has no `each` and no item is of another type.

        Args:
            is_default: `as_type` is not for items and messages for which the `when` of another type is true.

        Raises: InputError if it has more than `ITEMS_MAX` items.
        """
        if self.named(row) is not None:
            return [row]
        is_only = as_type is not None and not is_default
        arrays = dict.fromkeys(path for name, path in self.each.items() if name == as_type or not is_only)
        found: list[MappedRow] = []
        for array in arrays:
            value = value_at(array)(row)
            count = len(value) if isinstance(value, list | tuple) else 0
            if count > ITEMS_MAX:
                name = expression_text(RowValue(TEXT, array))
                raise InputError([(name, f"has {count:,} items; at most {ITEMS_MAX:,} of one message are read")])
            found += (MappedRow(row.file, row.number, row.columns, array, at, row.offset) for at in range(count))
        if not found or is_only:
            return found or [row]
        is_default_whole = as_type is not None and as_type not in self.each and not any(map(self.takes, found))
        return [row, *found] if self.takes(row) or is_default_whole else found

    def pick(self, row: MappedRow) -> Picked | None:
        """Return the type of a line: the one that its only key names, else the first whose `when` is true, else None.

        Raises: InputError, if no mapping has a `when`, for a line whose only key names no type, or has no object.
        """
        columns = row.columns
        if self._names_itself and len(columns) == 1 and row.each is None:
            named = self.named(row)
            if named is not None:
                return named
            (name,) = columns
            if name in self._types and not self._conditions:
                raise InputError([(name, "expected an object with the fields of the event")])
            if not self._conditions:
                hint = nearest(name, self._types) or f"Event types are {', '.join(sorted(self._types))}."
                raise InputError([(name, f"is not an event type. {hint}")])
        for type_name, condition in self._conditions:
            if self.each.get(type_name) == row.each and condition(row):
                return Picked(type_name)
        return None

    def named(self, row: MappedRow) -> Picked | None:
        """Give the type that a line of one key names, and its fields; None where it names none."""
        if not self._names_itself or len(row.columns) != 1:
            return None
        ((name, value),) = row.columns.items()
        return Picked(name, value) if name in self._types and isinstance(value, Mapping) else None


def verdict_values(mapper: Mapper, row: MappedRow) -> str:
    """The values that the verdict of a line is read from, such as "Class is '2'"; secret values are not shown."""
    paths = sorted(mapper.paths(VERDICT), key=str)
    return " and ".join(f"{_path_text(path)} {_value_text(path, row, mapper.secret_paths)}" for path in paths)


def _verdict_reader(mapper: Mapper, read: Read) -> Read:
    def read_verdict(row: MappedRow) -> object:
        verdict = read(row)
        if verdict is not None:
            return verdict
        return RefusedValue(f"{verdict_values(mapper, row)}, for which events.yaml names no verdict")

    return read_verdict


def place_values(event_type: EventType, name: str) -> list[str]:
    """`row.file`, `row.number` and `row.item`, as far as a field of lines of JSON is made of them."""
    node = event_type.mappings.get("json", _NO_MAPPING).fields.get(name)
    parts = () if node is None else walk(node)
    return sorted({expression_text(part) for part in parts if isinstance(part, RowValue) and _of_line(part)})


def columns_read(node: Node) -> list[str]:
    """The columns of a line that an expression reads; a nested path by its first part."""
    return list(dict.fromkeys(str(path[0]) for path in _paths_of(node)))


def overlap(path: Path, two: Path) -> bool:
    """Whether one path leads to the other's value or into it."""
    return all(
        a == b or (ITEM in (a, b) and isinstance(a, int) and isinstance(b, int))
        for a, b in zip(path, two, strict=False)
    )


def _values(when: Node, row: MappedRow, secret: Collection[Path]) -> Iterator[str]:
    for path in dict.fromkeys(_paths_of(when)):
        yield f"{_path_text(path)} {_value_text(path, row, secret)}"


def _path_text(path: Path) -> str:
    return expression_text(RowValue(TEXT, path)) if ITEM in path else ".".join(map(str, path))


def _value_text(path: Path, row: MappedRow, secret: Collection[Path]) -> str:
    if any(overlap(path, hidden) for hidden in secret):
        return "is not shown"
    value = value_at(path)(row)
    return _MISSING if value is None or value == "" else f"is {shown(value)}"


def _condition(event_type: EventType, format: str) -> Read | None:
    mapping = event_type.mappings.get(format, _NO_MAPPING)
    if mapping.when is None:
        return None
    time = Mapper(event_type, format).time_reader() if mapping.tables else None
    leaf = _leaf_of(replace(mapping, zone=UTC), mapping.when)
    return compile_row(mapping.when, leaf, Reference(tables=mapping.tables), time=time)


def row_leaf(node: Node) -> Read:
    """Return the reader of a `RowValue`: a column as text, the number of the line or item, or the file's name."""
    assert isinstance(node, RowValue), node
    if is_item_number(node):
        return lambda row: row.offset + row.index + 1
    if node.path == ("number",):
        return lambda row: row.number
    if node.path == ("file",):
        return lambda row: row.file
    return _column_text(str(node.path[0])) if len(node.path) == 1 else as_text(value_at(node.path))


def _leaf_of(mapping: FileMapping, expression: Node) -> Callable[[Node], Read]:
    """Return `row_leaf` for columns with times without a zone, or numbers with decimal commas."""
    commas = with_commas(expression)

    def leaf(node: Node) -> Read:
        assert isinstance(node, RowValue), node
        if _of_line(node):
            return row_leaf(node)
        value = value_at(node.path)
        read = row_leaf(node) if mapping.zone == UTC else as_text(of_zone(value, mapping.zone, is_text=False))
        return with_comma(read, value) if id(node) in commas else read

    return leaf


def _of_line(node: RowValue) -> bool:
    return node.path in {("number",), ("file",)} or is_item_number(node)


def _paths_of(node: Node) -> Iterator[Path]:
    return (part.path for part in walk(node) if isinstance(part, RowValue) and not _of_line(part))


def _column(name: str, each: Path | None = None) -> Read:
    if each is None:
        return lambda row: row.columns.get(name)
    of_item = value_at((*each, ITEM, name))
    return lambda row: row.columns.get(name) if (value := of_item(row)) is None else value


def value_at(path: Path) -> Read:
    """Return the reader of a path, through objects, arrays and texts of JSON; it returns None for a missing value."""
    first = str(path[0])
    rest = path[1:]
    if not rest:
        return _column(first)

    def read(row: MappedRow) -> object:
        value = row.columns.get(first)
        for key in rest:
            value = inside(value, row.index if key == ITEM else key)
            if value is None:
                return None
        return value

    return read


def _column_text(name: str) -> Read:
    """Return `as_text(_column(name))` as a single function, which is faster."""

    def read(row: MappedRow) -> str | None:
        value = row.columns.get(name)
        return (value or None) if type(value) is str else text_of(value)

    return read


class UnmetCondition(NamedTuple):
    """One `when` that was not true: its event type, its expression, and the values that it read."""

    event: str
    when: str
    found: str


class Unmatched(Struct):
    """A source of which no line was accepted so far.

    Args:
        line: Number of its first line that no `when` accepted.
        asked: Returns the conditions, with the values that they read from that line.
        lines: Number of such lines.
    """

    source: str
    line: int
    asked: Callable[[], list[UnmetCondition]]
    lines: int = 0

    def document(self) -> JsonObject:
        asked = [condition._asdict() for condition in self.asked()]
        return {"file": self.source, "lines": self.lines, "line": self.line, "asked": asked}
