"""Exports of the log, as lines or as tables, in log order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.json import encode as to_json

from shroff.engine.stored import AMOUNT_PARTS, decision_document, stored
from shroff.errors import UsageError, nearest
from shroff.events.definitions import Events
from shroff.events.event import canonical_text, time_text
from shroff.json_types import JsonMapping, JsonObject, TextMapping
from shroff.log.experiment_arms import ExperimentArms
from shroff.log.flags import JudgedFlag, flags
from shroff.log.later_labels import now_of
from shroff.runtime.atomic_files import csv_line
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import DecisionRow, LateEvent, Log, Record

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("jsonl", "csv", "parquet")


class ExportKind(FrozenStruct):
    """A kind of export: how to read its rows, their JSON lines, and their columns in tables."""

    name: str
    batches: Callable[[Log], Iterator[list[Any]]]
    line: Callable[[Any], bytes]
    columns: Sequence[str]
    row: Callable[[Any], JsonObject]


def kind_of(name: str) -> ExportKind:
    if name not in KINDS:
        raise UsageError(f"{name!r} cannot be exported. {nearest(name, KINDS) or 'There is ' + ', '.join(KINDS) + '.'}")
    return KINDS[name]


def known_by(kind: ExportKind, as_of_ms: int | None, now_ms: int) -> ExportKind:
    """Exclude rows that happened, or became known, after a time; flags use the labels known then, or now.

    Raises: UsageError if the rows have no time.
    """
    is_flags = kind is KINDS["flags"]
    if as_of_ms is None and not is_flags:
        return kind
    if "time" not in kind.columns and "known_at" not in kind.columns:
        raise UsageError(f"--as-of is for events, flags and labels; {kind.name} have no time of their own.")

    def batches(log: Log) -> Iterator[list[Any]]:
        upto_ms = now_of(log, now_ms) if as_of_ms is None else as_of_ms
        for batch in flags(log, upto_ms) if is_flags else kind.batches(log):
            rows = [record for record in batch if record.time_ms <= upto_ms]
            if rows:
                yield rows

    return replace(kind, batches=batches)


def with_personal(kind: ExportKind, events: Events, names: Sequence[str]) -> ExportKind:
    """Add these personal fields, which are stored beside events, to the rows.

    Raises: UsageError for another kind, and for a name that is no personal field of any event type.
    """
    if not names:
        return kind
    if kind is not KINDS["events"]:
        raise UsageError(f"personal fields lie beside events; {kind.name} have none.")
    allowed = {field.name for type_ in events.types.values() for field in type_.personal}
    for name in names:
        if name not in allowed:
            hint = nearest(name, allowed) or f"There is {', '.join(sorted(allowed)) or 'none'}."
            raise UsageError(f"{name!r} is no personal field. {hint}")

    def batches(log: Log) -> Iterator[list[Any]]:
        for records in kind.batches(log):
            types = dict.fromkeys(record.type for record in records)
            values = {
                name: log.personal.of(name, [record.id for record in records if record.type == name]) for name in types
            }
            yield [_with(record, values[record.type].get(record.id, {}), names) for record in records]

    return replace(kind, batches=batches)


def _with(record: Record, values: TextMapping, names: Sequence[str]) -> Record:
    values_of_record = {name: values[name] for name in names if name in values}
    if not values_of_record:
        return record
    return replace(record, body=record.body[:-1] + b"," + to_json(values_of_record)[1:])


def lines(log: Log, kind: ExportKind, format: str) -> Iterator[list[bytes]]:
    """Yield the rows as JSON or CSV lines, with line ends, in batches; a CSV starts with its header."""
    if format == "csv":
        yield [csv_line(kind.columns)]
    for batch in kind.batches(log):
        if format == "csv":
            rows = map(kind.row, batch)
            yield [csv_line(_with_time_text(row[name]) for name in kind.columns) for row in rows]
        else:
            yield [kind.line(field) + b"\n" for field in batch]


def schema(kind: ExportKind) -> pa.Schema:
    """Return the columns of a Parquet file; nested values are JSON text."""
    import pyarrow as pa

    types = {"seq": pa.int64(), "as_of_seq": pa.int64(), "score": pa.float64(), "time": pa.timestamp("ms", tz="UTC")}
    types |= {
        "known_at": types["time"],
        "arrived": types["time"],
        "updated": types["time"],
        "created": types["time"],
        "rules": pa.list_(pa.string()),
        "shadow_rules": pa.list_(pa.string()),
    }
    return pa.schema([pa.field(name, types.get(name, pa.string())) for name in kind.columns])


def tables(log: Log, kind: ExportKind) -> Iterator[pa.Table]:
    schema_of_kind = schema(kind)
    for batch in kind.batches(log):
        yield table_of([kind.row(record) for record in batch], schema_of_kind)


def table_of(rows: Sequence[JsonMapping], schema_of_kind: pa.Schema) -> pa.Table:
    import pyarrow as pa

    arrays = [_array([row[name] for row in rows], schema_of_kind.field(name).type) for name in schema_of_kind.names]
    return pa.Table.from_arrays(arrays, schema=schema_of_kind)


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_timestamp(type_):
        return pa.array([None if value is None else value.ms for value in values], pa.int64()).cast(type_)
    if pa.types.is_string(type_):
        return pa.array([value if value is None or isinstance(value, str) else _json(value) for value in values], type_)
    return pa.array(values, type_)


class _Time(FrozenStruct):
    ms: int


def _with_time_text(value: Any) -> Any:
    return time_text(value.ms) if isinstance(value, _Time) else value


def _json(value: Any) -> str:
    return to_json(value).decode()


# ---- decisions

_DECISION_COLUMNS = (  # few decisions have the last two: see `decision.Decision`
    *"event id seq as_of_seq outcome score rules shadow_rules reasons features versions receipt".split(),
    *("exploration", "experiments"),
)


def _decisions(log: Log) -> Iterator[list[DecisionRow]]:
    arms = ExperimentArms()
    for rows in log.decisions.after():
        arms.read(log, [row.document for row in rows])
        yield [replace(row, document=arms.beside(row.document)) for row in rows] if arms.names else rows


def _decision_row(row: DecisionRow) -> JsonObject:
    document = decision_document(row)
    return {name: document.get(name) for name in (*_DECISION_COLUMNS, *AMOUNT_PARTS)}


def with_amounts(kind: ExportKind, events: Events) -> ExportKind:
    """Add converted and original amounts to decisions, if the project has amounts in many currencies."""
    if kind is not KINDS["decisions"] or not any(type_.converted for type_ in events.types.values()):
        return kind
    return replace(kind, columns=(*kind.columns, *AMOUNT_PARTS))


# ---- events and labels


def _events(log: Log) -> Iterator[list[Record]]:
    for records in log.read():
        events = [record for record in records if record.kind == "event"]
        if events:
            yield events


def _event_line(record: Record | LateEvent) -> bytes:
    return b"{" + canonical_text(record.type).encode() + b":" + record.body + b"}"


def _event_row(record: Record) -> JsonObject:
    return {
        "seq": record.seq,
        "event": record.type,
        "id": record.id,
        "time": _Time(record.time_ms),
        "fields": record.body.decode(),
    }


_LABEL_COLUMNS = "event verdict source known_at reason amount".split()


def _label_fields(record: Record) -> JsonObject:
    body = stored(record.body, JsonObject, f"the label at sequence number {record.seq}")
    return {name: body[name] for name in _LABEL_COLUMNS if body.get(name) is not None}


def _label_line(record: Record) -> bytes:
    return to_json(_label_fields(record))


def _label_row(record: Record) -> JsonObject:
    fields = _label_fields(record)
    return {"seq": record.seq, **{name: fields.get(name) for name in _LABEL_COLUMNS}, "known_at": _Time(record.time_ms)}


def _late(log: Log) -> Iterator[list[LateEvent]]:
    after = ("", "")
    while rows := log.late.after(*after):
        yield rows
        after = (rows[-1].type, rows[-1].id)


def _late_row(late: LateEvent) -> JsonObject:
    return {
        "event": late.type,
        "id": late.id,
        "time": _Time(late.time_ms),
        "arrived": _Time(late.at_ms),
        "fields": late.body.decode(),
    }


# ---- flags


_FLAG_COLUMNS = "seq rule entity key event reason accuracy time updated id created fields".split()


def _flag_row(flag: JudgedFlag) -> JsonObject:
    created = _Time(flag.time_ms)
    fields = None if flag.fields is None else flag.fields.decode()
    return flag.document | {"created": created, "time": created, "updated": _Time(flag.updated_ms), "fields": fields}


def _flag_line(flag: JudgedFlag) -> bytes:
    return to_json(flag.document if flag.fields is None else flag.document | {"fields": msgspec.Raw(flag.fields)})


KINDS = {
    "decisions": ExportKind("decisions", _decisions, lambda row: row.document, _DECISION_COLUMNS, _decision_row),
    "events": ExportKind("events", _events, _event_line, ("seq", "event", "id", "time", "fields"), _event_row),
    "late": ExportKind("late", _late, _event_line, ("event", "id", "time", "arrived", "fields"), _late_row),
    "flags": ExportKind("flags", flags, _flag_line, _FLAG_COLUMNS, _flag_row),
    "labels": ExportKind("labels", lambda log: log.labels_after(), _label_line, ("seq", *_LABEL_COLUMNS), _label_row),
}
