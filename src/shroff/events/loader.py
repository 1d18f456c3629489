"""Event types, entities and tables of events.yaml: the file read into `definitions`, its mistakes into a list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf

from shroff.errors import Problem, nearest
from shroff.events.definitions import (
    DISPUTE_NAMES,
    LABEL_NAMES,
    RATE,
    CsvLayout,
    Entity,
    Events,
    EventType,
    Field,
    FileMapping,
    dispute_type,
    label_type,
)
from shroff.events.keys import DESCENDING, EVENT_TYPE, EVENTS, FROM, LABEL, RESERVED, SEPARATORS, SETTINGS, SUMMARY
from shroff.events.summary import load_summary
from shroff.json_types import TextDict
from shroff.language import loader
from shroff.language.expression import ORIGINAL_AMOUNT, Path, RowValue, ThisField
from shroff.language.expression import Node as Expression
from shroff.language.field_types import FieldType, TypeTextError, parse_field_type
from shroff.language.names import TABLE_KINDS, DeclaredNames, Scope, TableShape
from shroff.language.types import BOOLEAN, TEXT, money, number
from shroff.language.values import is_zone, time_zones
from shroff.language.yaml.text import Mapping, Node, Scalar, Sequence
from shroff.runtime.values import replace

SKIP_DIGITS_MAX = 6  # no file has a million lines before its header
_PATH = re.compile(r"(.*\S)\s+from\s+([A-Za-z_][\w.\[\]]*)\s*")  # of a column in a MaxMind database
FROM_COLUMN = "from"  # of a table: the key that names the column of times from which rows are valid


def load_events(node: Node | None, lists: frozenset[str], money_places: int, problems: list[Problem]) -> Events:
    """Read events.yaml. What cannot be read is left out, with a problem for each."""
    top = loader.mapping(node, problems, "events.yaml")
    if top is None:
        return Events(label=label_type(money_places, {}))
    tables, table_keys = _tables(top.get("tables"), money_places, problems)
    names = DeclaredNames(money_places=money_places, tables=tables)
    row_scope = Scope(names, what="a mapping", reads_row=True)
    types: dict[str, EventType] = {}
    label_node: Node | None = None
    for key, value in top.entries:
        if key.text == "label":
            label_node = value
        elif key.text not in EVENTS.names:
            type_ = _event_type(key, value, row_scope, money_places, problems)
            if type_ is not None:
                types[type_.name] = type_
    naming = Events(types).naming
    mappings = _label_mappings(label_node, naming, row_scope, problems)
    label = label_type(money_places, mappings[0])
    disputes = dispute_type(naming, mappings[1])
    partial = Events(types, {}, tables, table_keys, label, disputes)
    entities = _entities(top.get("entities"), partial.names(lists, money_places), types, problems)
    return replace(partial, entities=entities)


def _event_type(key: Scalar, node: Node, scope: Scope, places: int, problems: list[Problem]) -> EventType | None:
    name = loader.name(key, problems, "an event type", RESERVED)
    found = loader.mapping(node, problems, f"event type {name}", EVENT_TYPE) if name else None
    if name is None or found is None:
        return None
    declared = _fields(found.get("fields"), places, problems, name)
    fields = _with_originals([field for field in declared if not field.shape.is_personal], found, places, problems)
    id_field = _named_field(found.get("id"), fields, ("text",), problems, f"id of {name}")
    time_field = _named_field(found.get("time"), fields, ("time",), problems, f"time of {name}")
    decided = loader.boolean(found.get("decide"), problems, "decide")
    mappings = _mappings(found.get("from"), {field.name for field in declared}, scope, problems, name)
    personal = tuple(field for field in declared if field.shape.is_personal)
    summary = load_summary(found.get(SUMMARY), fields, personal, problems, name)
    if id_field is None or time_field is None:
        return None
    return EventType(name, id_field, time_field, bool(decided), fields, mappings, personal, summary)


def _fields(node: Node | None, places: int, problems: list[Problem], event: str) -> tuple[Field, ...]:
    found = loader.mapping(node, problems, f"fields of {event}")
    fields: list[Field] = []
    for key, value in found.entries if found else ():
        name = loader.name(key, problems, "a field")
        text = loader.scalar(value, problems, f"the type of {key.text}")
        if name is None or text is None:
            continue
        try:
            fields.append(Field(name, parse_field_type(text.text, money_places=places)))
        except TypeTextError as error:
            text.report(problems, f"field {name}: {error}")
    return tuple(fields)


def _with_originals(fields: list[Field], of: Mapping, places: int, problems: list[Problem]) -> tuple[Field, ...]:
    own = list[Field]()
    more = list[Field]()
    kinds = {field.name: field.shape for field in fields}
    written = {key.text: key for key, _ in entries.entries} if isinstance(entries := of.get("fields"), Mapping) else {}
    for field in fields:
        if not field.shape.currency:
            own.append(field)
            continue
        code = kinds.get(field.shape.currency)
        if code is None or not code.type.is_text or code.is_hashed:
            words = (
                f"{field.name} is money in {field.shape.currency}, which is not a field that holds a code such as EUR"
            )
            hint = nearest(field.shape.currency, [name for name, shape in kinds.items() if shape.type.is_text])
            written[field.name].report(problems, f"{words}.", hint or f"Declare {field.shape.currency}: text.")
            continue
        own.append(Field(field.name, replace(field.shape, type=money(places), bounds=None)))
        original = replace(field.shape, type=number(field.type.places), currency="")
        rate = FieldType(TEXT, is_optional=True)
        more += Field(f"{field.name}.{ORIGINAL_AMOUNT}", original), Field(f"{field.name}.{RATE}", rate)
    return *own, *more


def _named_field(
    node: Node | None, fields: tuple[Field, ...], kinds: tuple[str, ...], problems: list[Problem], what: str
) -> str | None:
    found = loader.scalar(node, problems, what)
    if found is None:
        return None
    by_name = {field.name: field for field in fields}
    if found.text not in by_name:
        likely = nearest(found.text, list(by_name)) or next(
            (f"Did you mean {field.name}?" for field in fields if field.type.kind in kinds), ""
        )
        found.report(problems, f"the {what} is {found.text!r}, which is not a field of it.", likely)
        return None
    field = by_name[found.text]
    mark = "?" if field.shape.is_optional else ""
    if field.type.kind not in kinds or mark:
        found.report(
            problems, f"the {what} must be a {kinds[0]} that is always there; {found.text} is {field.type}{mark}."
        )
        return None
    return found.text


def _mappings(
    node: Node | None, fields: set[str], scope: Scope, problems: list[Problem], event: str
) -> dict[str, FileMapping]:
    top = loader.mapping(node, problems, f"from of {event}")
    mappings: dict[str, FileMapping] = {}
    zone = _zone(top.get("zone") if top else None, problems) or "UTC"
    arrived = _arrival(top.get("arrived") if top else None, replace(scope, zone=zone), problems)
    of_all = [name for name in FROM.names if name not in {"zone", "arrived"}]
    for key, value in top.entries if top else ():
        if key.text in {"zone", "arrived"}:
            continue
        if key.text not in FROM.names:
            hint = nearest(key.text, FROM.names) or f"Formats are {', '.join(FROM.names)}."
            key.report(problems, f"{key.text!r} is no format.", hint)
            continue
        found = loader.mapping(value, problems, f"from.{key.text} of {event}")
        if found is not None:
            given = replace(scope, zone=zone)
            own = _file_mapping(found, fields, given, problems, event, format=key.text)
            mappings[key.text] = own if own.arrived is not None else replace(own, arrived=arrived)
    if zone != "UTC" or arrived is not None:  # also of the formats that need no mapping
        plain = FileMapping(None, {}, zone=zone, arrived=arrived)
        mappings = {name: mappings.get(name, plain) for name in of_all}
    return mappings


def _file_mapping(
    found: Mapping, fields: set[str], scope: Scope, problems: list[Problem], event: str, *, format: str
) -> FileMapping:
    when: Expression | None = None
    expressions: dict[str, Expression] = {}
    known: tuple[str, ...] = ("zone", "arrived", "order", "decimal")
    known += ("separator", "columns", "skip", "missing") if format == "csv" else ()
    known += ("each",) if format == "json" else ()
    settings = {  # if a field has a setting's name, only a list is the setting
        key.text: value
        for key, value in found.entries
        if key.text in known and (key.text not in fields or isinstance(value, Sequence))
    }
    chosen = {
        name: loader.one_of(settings.get(name), choices, problems, name) or "" for name, choices in SETTINGS.items()
    }
    zone = _zone(settings.get("zone"), problems) or scope.zone
    each = _array(settings.get("each"), scope, problems)
    scope = replace(scope, decimal=chosen["decimal"], zone=zone, each=each)
    for key, value in found.entries:
        if key.text in settings:
            continue
        if key.text == "when":
            when = loader.expression(value, scope, problems, BOOLEAN)
        elif key.text not in fields:
            key.report(problems, f"{event} has no field {key.text!r}.", nearest(key.text, {*fields, *known}))
        else:
            node = loader.expression(value, scope, problems)
            if node is not None:
                expressions[key.text] = node
    layout = CsvLayout(
        SEPARATORS.get(chosen["separator"]),
        _words(settings.get("columns"), problems, "columns"),
        _skip(settings.get("skip"), problems),
        None if (words := _words(settings.get("missing"), problems, "missing")) is None else frozenset(words),
    )
    if layout.columns is not None and (not all(layout.columns) or len(set(layout.columns)) < len(layout.columns)):
        settings["columns"].report(problems, "columns names each column of the file, none twice.")
    arrived = _arrival(settings.get("arrived"), scope, problems)
    is_descending = chosen["order"] == DESCENDING
    return FileMapping(when, expressions, scope.decimal, zone, layout, each, arrived, is_descending=is_descending)


def _arrival(node: Node | None, scope: Scope, problems: list[Problem]) -> Expression | None:
    found = None if node is None else loader.expression(node, scope, problems)
    if node is None or found is None or found.type.kind in {"time", "missing"}:
        return found
    if isinstance(found, RowValue) and found.type.is_text:
        return found
    words = f"arrived is a time, or a column that holds one; this is {found.type}."
    node.report(problems, words, "Write time(row.LoadedAt, '%d.%m.%Y %H:%M') for other forms.")
    return None


def _array(node: Node | None, scope: Scope, problems: list[Problem]) -> Path | None:
    if node is None:
        return None
    if isinstance(node, Scalar) and not node.text.startswith("row"):
        hint = f"Write each: row.{node.text}." if loader.NAME.fullmatch(node.text) else ""
        node.report(problems, "each is the path of an array of the message, such as row.items.", hint)
        return None
    found = loader.expression(node, scope, problems)
    if isinstance(found, RowValue) and found.type.is_text and found.path != ("file",):
        return found.path
    if found is not None:
        node.report(problems, "each is the path of an array of the message, such as row.items.")
    return None


def _zone(node: Node | None, problems: list[Problem]) -> str | None:
    found = loader.scalar(node, problems, "zone")
    if found is None:
        return None
    if not is_zone(found.text):
        near = nearest(found.text, time_zones()) or "Write one such as Europe/Berlin."
        found.report(problems, f"there is no time zone {found.text!r}.", near)
        return None
    return found.text


def _words(node: Node | None, problems: list[Problem], what: str) -> tuple[str, ...] | None:
    found = loader.sequence(node, problems, what)
    if found is None:
        return None
    problems += [item.problem(f"{what} is a list of words.") for item in found.items if not isinstance(item, Scalar)]
    return tuple(item.text.strip() for item in found.items if isinstance(item, Scalar))


def _skip(node: Node | None, problems: list[Problem]) -> int | None:
    found = loader.scalar(node, problems, "skip")
    if found is None:
        return None
    if not (found.text.isascii() and found.text.isdecimal() and len(found.text) <= SKIP_DIGITS_MAX):
        found.report(problems, f"skip is how many lines stand before the header, such as 3, not {found.text!r}.")
        return None
    return int(found.text)


def _label_mappings(
    node: Node | None, naming: Iterable[str], scope: Scope, problems: list[Problem]
) -> tuple[dict[str, FileMapping], dict[str, FileMapping]]:
    found = loader.mapping(node, problems, "label")
    if found is None:
        return {}, {}
    loader.check_keys(found, LABEL, problems, "label, a built-in event type,")
    labels = _mappings(found.get("from"), {*LABEL_NAMES, *naming}, scope, problems, "label")
    return labels, _mappings(found.get("disputes"), {*DISPUTE_NAMES, *naming}, scope, problems, "label.disputes")


def _tables(node: Node | None, places: int, problems: list[Problem]) -> tuple[dict[str, TableShape], TextDict]:
    top = loader.mapping(node, problems, "tables")
    tables: dict[str, TableShape] = {}
    keys: TextDict = {}
    for key, value in top.entries if top else ():
        name = loader.name(key, problems, "a table")
        kind, key_count, value = _kind(value)
        value, valid_from = _since(value, key_count, problems, f"table {key.text}")
        value, paths = _paths(value)
        problems_before = len(problems)
        columns = _fields(value, places, problems, f"table {key.text}")
        are_read = len(problems) == problems_before
        problems += [
            key.problem(f"{column.name} of table {key.text}: a table has nothing personal, since rules read it.")
            for column in columns
            if column.shape.is_personal
        ]
        problems += [
            key.problem(f"{column.name} of table {key.text}: a column has no bounds; they are for what comes in.")
            for column in columns
            if column.shape.bounds is not None
        ]
        if name is None or len(columns) <= key_count:
            if name is not None and are_read:
                key.report(problems, f"table {name} needs a key and at least one more column.")
            continue
        types = {column.name: column.type for column in columns[key_count:]}
        upper_end = columns[1].name if key_count > 1 else ""
        tables[name] = TableShape(columns[0].read_type, types, valid_from, kind, paths, upper_end)
        keys[name] = columns[0].name
    return tables, keys


def _since(node: Node, place: int, problems: list[Problem], what: str) -> tuple[Node, str]:
    if not isinstance(node, Mapping) or (found := node.get(FROM_COLUMN)) is None:
        return node, ""
    if [key.text for key, _ in node.entries].index(FROM_COLUMN) != place:
        found.report(problems, f"{what}: {FROM_COLUMN} stands {('second', 'third')[place - 1]}, behind the key.")
    name = loader.scalar(found, problems, f"{FROM_COLUMN} of {what}")
    rest = tuple(entry for entry in node.entries if entry[0].text != FROM_COLUMN)
    return replace(node, entries=rest), name.text if name else ""


def _paths(node: Node) -> tuple[Node, TextDict]:
    if not isinstance(node, Mapping):
        return node, {}
    paths = dict[str, str]()
    entries = []
    for key, value in node.entries:
        if isinstance(value, Scalar) and (found := _PATH.fullmatch(value.text)):
            paths[key.text], value = found[2], replace(value, text=found[1])
        entries.append((key, value))
    return replace(node, entries=tuple(entries)), paths


def _kind(node: Node) -> tuple[str, int, Node]:
    """Return how a table's keys are looked up, the number of key columns, and the columns, with keys as texts.

    Two key columns are the ends of a range.
    """
    entries = node.entries if isinstance(node, Mapping) else ()
    kinds = [value.text.strip() if isinstance(value, Scalar) else "" for _, value in entries[:2]]
    if not isinstance(node, Mapping) or not kinds or kinds[0] not in TABLE_KINDS:
        return "", 1, node
    key_count = 2 if kinds[0] != "suffix" and kinds[1:] == kinds[:1] else 1
    keys = [(key, replace(value, text=TEXT.kind)) for key, value in entries[:key_count] if isinstance(value, Scalar)]
    return kinds[0], key_count, replace(node, entries=(*keys, *entries[key_count:]))


def _entities(
    node: Node | None, names: DeclaredNames, types: MappingOf[str, EventType], problems: list[Problem]
) -> dict[str, Entity]:
    top = loader.mapping(node, problems, "entities")
    entities: dict[str, Entity] = {}
    for key, value in top.entries if top else ():
        name = loader.name(key, problems, "an entity", {*RESERVED, *types})
        found = loader.mapping(value, problems, f"entity {key.text}")
        if name is None or found is None:
            continue
        keys: dict[str, tuple[Expression, ...]] = {}
        for event, written in found.entries:
            if event.text not in types:
                event.report(problems, f"{event.text!r} is not an event type.", nearest(event.text, types))
                continue
            parts = written.items if isinstance(written, Sequence) else (written,)
            read = [_key_part(part, event.text, names, problems) for part in parts]
            if read and all(part is not None for part in read):
                keys[event.text] = tuple(part for part in read if part is not None)
        for each in zip(*keys.values(), strict=False):
            if len({field.type.hashing for field in each}) > 1:
                words = f"{name}: the key is hashed for some event types and not for others, so it is never the same."
                key.report(problems, words, "Mark the field hashed in each of them, or in none.")
        if len({tuple(part.type.key_form for part in parts) for parts in keys.values()}) > 1:
            words = f"{name}: the key has not the same types and number of parts for all event types."
            key.report(problems, words, "Name the same things in each, in the same order; text(x) makes a text.")
        entities[name] = Entity(name, keys)
    return entities


def _key_part(node: Node, event: str, names: DeclaredNames, problems: list[Problem]) -> Expression | None:
    fields = names.events.get(event, {})
    if isinstance(node, Scalar) and node.text in fields:
        return ThisField(fields[node.text], node.text)
    if isinstance(node, Scalar) and loader.NAME.fullmatch(node.text):
        if node.text in names.personal.get(event, ()):
            words = f"{node.text} is personal, and keys are read by all that decides."
            node.report(problems, words, "Mark the field hashed instead: the same value is then the same key.")
        else:
            node.report(problems, f"{node.text!r} is not a field of {event}.", nearest(node.text, fields))
        return None
    return loader.expression(node, Scope(names, what="a key", this=(event,)), problems)
