"""The rows of a range of the log, as Arrow tables by folder: kind of rows, event type, and day of the event.

Rows hold everything that the log holds: bodies, documents and receipts, to the byte. In addition their values are
columns, typed by the version of the project that was active at that sequence number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from msgspec.json import encode as to_json

from shroff.arrays import Ints
from shroff.engine.stored import damaged, telling_damage
from shroff.events.definitions import EventType
from shroff.events.event import by_canonical_key
from shroff.json_types import TextDict
from shroff.lake.columns import body_columns, document_columns, texts_of
from shroff.language.types import Type
from shroff.log.experiment_arms import arms_of
from shroff.project.definitions import Definitions
from shroff.replay.compare import Segment
from shroff.streams.log import DecisionRow, FlagRow, HitRow, LogReader, Record

KINDS = "events labels controls decisions features flags hits".split()
DAY_MS = 86_400_000
SLICE = 8_192  # rows read from the log at once
TIME = pa.timestamp("ms", tz="UTC")
Row = TypeVar("Row")


class SeqRange(Struct):
    """All rows of the sequence numbers (after, upto] of a log."""

    after: int
    upto: int
    records: list[Record] = []
    decisions: list[DecisionRow] = []
    flags: list[FlagRow] = []
    hits: list[HitRow] = []

    def time_at(self, seq: int) -> int:
        """Return the time of the event with this sequence number."""
        return self.records[seq - self.after - 1].time_ms


class _LabelColumns(msgspec.Struct, gc=False):
    event: str | None = None
    verdict: str | None = None
    source: str | None = None
    reason: str | None = None
    amount: str | None = None


def read_span(log: LogReader, after: int, upto: int) -> SeqRange:
    """Read the rows of a range. Raises: StorageError if the log lacks a sequence number."""
    span = SeqRange(after, upto)
    for into, batches in (
        (span.records, log.read(after, upto, SLICE)),
        (span.decisions, log.decisions.after(after, upto, SLICE)),
        (span.flags, log.flags.after(after, upto, SLICE)),
        (span.hits, log.hits.after(after, upto, SLICE)),
    ):
        for batch in batches:
            into.extend(batch)  # type: ignore[arg-type]  # each pair above is of one type
    if [record.seq for record in span.records] != list(range(after + 1, upto + 1)):
        raise damaged(f"the log between the places {after + 1:,} and {upto:,}", "a sequence number is missing")
    return span


class VersionsBySeq:
    """The active definitions by sequence number, each loaded on first use.

    Args:
        segments: The versions of the log, with the range that each decided.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = list(segments)
        self._read: dict[int, Definitions] = {}

    def parts(self, after: int, upto: int) -> Iterator[tuple[int, int, Definitions | None]]:
        """Split (after, upto] into ranges with the definitions active in each; None before the first version."""
        for segment in self._segments:
            if after < min(segment.start, upto):
                yield after, min(segment.start, upto), None
                after = segment.start
            if after < min(segment.end, upto):
                yield after, min(segment.end, upto), self._definitions(segment)
                after = segment.end
        if after < upto:
            yield after, upto, None

    def _definitions(self, segment: Segment) -> Definitions:
        if segment.start not in self._read:
            with telling_damage():
                self._read = {segment.start: segment.definitions}
        return self._read[segment.start]


def tables_of(span: SeqRange, versions: VersionsBySeq) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of a range by folder, in log order; a folder occurs again if its columns change."""
    yield from _split_by_day("controls", *_controls([record for record in span.records if record.kind == "control"]))
    yield from _split_by_day("labels", *_labels([record for record in span.records if record.kind == "label"]))
    yield from _split_by_day("flags", *_flags(span.flags))
    yield from _split_by_day("hits", *_hits(span))
    decided = 0
    for after, upto, definitions in versions.parts(span.after, span.upto):
        records = span.records[after - span.after : upto - span.after]
        events: dict[str, list[Record]] = {}
        for record in records:
            if record.kind == "event":
                events.setdefault(record.type, []).append(record)
        for name, type_records in events.items():
            yield from _split_by_day(f"events/type={name}", *_events(name, type_records, definitions))
        decisions: dict[str, list[DecisionRow]] = {}
        while decided < len(span.decisions) and span.decisions[decided].seq <= upto:
            row = span.decisions[decided]
            decisions.setdefault(row.event, []).append(row)
            decided += 1
        for name, rows in decisions.items():
            times = np.fromiter((span.time_at(row.seq) for row in rows), np.int64, len(rows))
            for folder, table in _decisions(name, rows, times, definitions):
                yield from _split_by_day(folder, times, table)


def empty_tables(definitions: Definitions) -> dict[str, pa.Table]:
    """Return tables without rows by folder, with the columns that files of these definitions have."""
    none = SeqRange(0, 0)
    tables = {}
    for name, type_ in definitions.events.types.items():
        tables[f"events/type={name}"] = _events(name, [], definitions)[1]
        if type_.is_decided:
            tables |= dict(_decisions(name, [], np.empty(0, np.int64), definitions))
    kinds = {"labels": _labels([]), "controls": _controls([]), "flags": _flags([]), "hits": _hits(none)}
    return tables | {folder: table for folder, (_, table) in kinds.items()}


def _split_by_day(folder: str, times: Ints, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    days = times // DAY_MS
    if not len(days):
        return
    if days[0] == days[-1] and (days == days[0]).all():
        yield f"{folder}/date={_day(days[0])}", table
        return
    if (np.diff(days) < 0).any():
        order = np.argsort(days, kind="stable")
        days = days[order]
        table = table.take(order)
    ends = [*(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    for begin, end in zip([0, *ends], ends, strict=False):
        yield f"{folder}/date={_day(days[begin])}", table.slice(begin, end - begin)


def _day(day: np.int64) -> str:
    return str(np.datetime64(int(day), "D"))


def _column(rows: Sequence[Any], name: str, type_: pa.DataType | None = None) -> pa.Array:
    return pa.array([getattr(row, name) for row in rows], type_ or pa.string())


def _base(rows: Sequence[Any], times: Ints, *more: str) -> dict[str, pa.Array]:
    columns = {"seq": pa.array(np.fromiter((row.seq for row in rows), np.int64, len(rows)))}
    columns |= {name: _column(rows, name) for name in more}
    columns["time"] = pa.array(times).cast(TIME)
    return columns


def _times(records: Sequence[Record] | Sequence[FlagRow]) -> Ints:
    return np.fromiter((record.time_ms for record in records), np.int64, len(records))


def _bodies(records: Sequence[Record]) -> list[bytes]:
    return [record.body for record in records]


def _events(name: str, records: list[Record], definitions: Definitions | None) -> tuple[Ints, pa.Table]:
    times = _times(records)
    columns = _base(records, times, "id")
    columns["decided"] = _column(records, "decided", pa.bool_())
    bodies = _bodies(records)
    columns["body"] = texts_of(bodies)
    type_ = None if definitions is None else definitions.events.types.get(name)
    if type_ is not None and definitions is not None:
        fields = [(type_.fields[index].name, type_.fields[index].type) for index in by_canonical_key(type_)]

        def what(row: int) -> str:
            return f"the {name} at sequence number {records[row].seq}"

        field_values = body_columns(bodies, fields, definitions.settings.money_places, what)
        columns |= {column: field_values[name] for name, column in field_columns(type_).items()}
    return times, pa.table(columns)


EVENT_COLUMNS = "seq id time decided body type date".split()


def field_columns(type_: EventType) -> TextDict:
    """Return the column name of each field of an event type; id and time fields of those names have columns already.

    A field with the name of another column gets an underscore appended. A dot becomes an underscore, since some table
    formats do not allow dots.
    """
    columns: TextDict = {}
    for name in type_.field_names:
        if (name, name) in {("id", type_.id_field), ("time", type_.time_field)}:
            continue
        column = name.replace(".", "_")
        while column in EVENT_COLUMNS or (column != name and column in type_.field_names):
            column += "_"
        columns[name] = column
    return columns


def _controls(records: list[Record], more: Iterable[tuple[str, pa.Array]] = ()) -> tuple[Ints, pa.Table]:
    times = _times(records)
    columns = _base(records, times, "id")
    columns["type"] = _column(records, "type")
    return times, pa.table({**columns, **dict(more), "body": texts_of(_bodies(records))})


def _labels(records: list[Record]) -> tuple[Ints, pa.Table]:
    labels = _decode(_bodies(records), _LabelColumns, lambda row: f"the label at sequence number {records[row].seq}")
    names = _LabelColumns.__struct_fields__
    return _controls(records, ((name, _column(labels, name)) for name in names))


def _flags(rows: list[FlagRow]) -> tuple[Ints, pa.Table]:
    times = _times(rows)
    columns = _base(rows, times) | {"number": _numbers(rows)}
    for name in ("rule", "entity", "key", "event", "reason", "accuracy"):
        columns[name] = _column(rows, name)
    return times, pa.table(columns)


def _hits(span: SeqRange) -> tuple[Ints, pa.Table]:
    rows = span.hits
    times = np.fromiter((span.time_at(row.seq) for row in rows), np.int64, len(rows))
    columns = _base(rows, times) | {"number": _numbers(rows)}
    columns |= {"rule": _column(rows, "rule"), "key": _column(rows, "key")}
    columns["shadow"] = _column(rows, "shadow", pa.bool_())
    return times, pa.table(columns)


def _numbers(rows: Sequence[FlagRow] | Sequence[HitRow]) -> pa.Array:
    numbers: list[int] = []
    last_seq = 0
    for row in rows:
        numbers.append(numbers[-1] + 1 if row.seq == last_seq else 0)
        last_seq = row.seq
    return pa.array(numbers, pa.int32())


def _decisions(
    name: str, rows: list[DecisionRow], times: Ints, definitions: Definitions | None
) -> Iterator[tuple[str, pa.Table]]:
    def what(row: int) -> str:
        return f"the decision at sequence number {rows[row].seq}"

    base = _base(rows, times, "id")
    documents = [decision_row.document for decision_row in rows]
    fields = feature_fields(definitions, name)
    decimals = 0 if definitions is None else definitions.settings.money_places
    parts, features = document_columns(documents, fields, decimals, what)
    columns = base | {"outcome": _column(rows, "outcome")} | parts
    if definitions is not None:
        names = [experiment.id for experiment in definitions.experiments if experiment.on == name]
        if names:
            columns["experiments"] = texts_of([to_json(arms_of(document, names)) for document in documents])
    columns["receipt"] = _column(rows, "receipt", pa.binary())
    columns["document"] = texts_of(documents)
    yield f"decisions/event={name}", pa.table(columns)
    if fields:
        yield f"features/event={name}", pa.table(base | features)


def feature_fields(definitions: Definitions | None, event: str) -> list[tuple[str, Type]]:
    """Return the features that a decision of this type shows, with their types, in the order of its document."""
    if definitions is None or event not in definitions.events.types:
        return []
    return [(name, definitions.features[name].type) for name in definitions.feature_names(event)]


def _decode(bodies: Sequence[bytes], type_: type[Row], what: Any) -> list[Row]:
    decode = msgspec.json.Decoder(type_).decode
    decoded: list[Row] = []
    try:
        for body in bodies:
            decoded.append(decode(body))  # noqa: PERF401 - how many were decoded names the damaged one
    except ValueError as error:
        raise damaged(what(len(decoded)), error) from None
    return decoded
