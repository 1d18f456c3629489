"""The log as complete Arrow tables with typed columns, as known at a time: for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from shroff.engine.decision import ConvertedDecision, html_table
from shroff.engine.stored import AMOUNT_PARTS
from shroff.errors import UsageError
from shroff.events.definitions import Events, Field
from shroff.events.event import Event
from shroff.events.labels import LabelEvent, VerdictInForce
from shroff.events.raw_values import instant_of
from shroff.language.columns import column_of
from shroff.language.values import Value, parse_time
from shroff.log.columns.tables import array_of, arrow_type, known_type
from shroff.log.state.feature_events import known_by, log_batches
from shroff.project.definitions import Definitions
from shroff.replay import exports
from shroff.runtime.values import replace
from shroff.streams.log import Log, LogReader

if TYPE_CHECKING:
    import pyarrow as pa

    from shroff.engine.decision import Decision, Refusal, Undecided

Moment = str | date | datetime
_A_DAY = "A day such as '2026-06-30' is its start, UTC."
_LABEL_FIELDS = ("verdict", "source", "known_at", "reason", "amount")


class AnswerList(list["Decision | Undecided | Refusal"]):
    """Answers to events, in their order; as a data frame, one row per event.

    A frame has the columns of `Project.decisions` and `error`: why an event was refused.
    """

    def to_arrow(self) -> pa.Table:
        """Get an Arrow table of shape (events, 15), or (events, 20) with amounts in many currencies."""
        import pyarrow as pa

        kind = exports.kind_of("decisions")
        if any(isinstance(record, ConvertedDecision) for record in self):
            kind = replace(kind, columns=(*kind.columns, *AMOUNT_PARTS))
        schema = exports.schema(kind).append(pa.field("error", pa.string()))
        more = [getattr(record, "detail", None) for record in self]
        rows = [{name: getattr(document, name, None) for name in schema.names} for document in self]
        for row, error in zip(rows, more, strict=True):
            row["experiments"] = row["experiments"] or None
            row["error"] = error
        return exports.table_of(rows, schema)

    def to_pandas(self) -> Any:
        """Get a pandas data frame of the shape of `to_arrow`. Raises: ImportError where pandas is not installed."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Get a Polars data frame of the shape of `to_arrow`. Raises: ImportError where Polars is not installed."""
        import polars as pl

        return pl.from_arrow(self.to_arrow())

    def _repr_html_(self) -> str:
        rows = self.to_arrow().select(["event", "id", "outcome", "score", "rules", "error"]).to_pylist()
        return html_table(rows[0], (row.values() for row in rows)) if rows else ""


def moment_ms(moment: Moment | None, name: str = "as_of") -> int | None:
    """Convert a time to UTC milliseconds: RFC 3339, a `datetime` (naive means UTC), or a day, which is its start in
    UTC.

    >>> moment_ms("2026-06-30") == moment_ms("2026-06-30T02:00:00+02:00")
    True

    Raises: UsageError for anything else, naming the argument.
    """
    if moment is None:
        return None
    if isinstance(moment, datetime):
        return instant_of(moment)
    if isinstance(moment, date):
        return instant_of(datetime(moment.year, moment.month, moment.day, tzinfo=UTC))
    if not isinstance(moment, str):
        raise UsageError(f"{name}: expected a day or a moment, found {moment!r}. {_A_DAY}")
    try:
        return moment_ms(date.fromisoformat(moment)) if len(moment) == len("2026-06-30") else parse_time(moment)
    except ValueError as error:
        raise UsageError(f"{name}: {error}. {_A_DAY}") from None


def whole(schema: pa.Schema, tables: Iterable[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables([schema.empty_table(), *tables])


def exported(log: Log, events: Events, name: str, as_of: Moment | None, now_ms: int) -> pa.Table:
    """Return the table of the export with this name, like `shroff export --format parquet` up to a time.

    Flags use the labels known at that time, by default now.
    """
    kind = exports.known_by(exports.with_amounts(exports.kind_of(name), events), moment_ms(as_of), now_ms)
    return whole(exports.schema(kind), exports.tables(log, kind))


def events_table(log: LogReader, definitions: Definitions, event: str, as_of: Moment | None) -> pa.Table:
    """Return the events of one type up to a time, in log order: `seq`, then the type's fields in order.

    Raises: UsageError if there is no such type.
    """
    known_type(definitions, event)
    as_of_ms = moment_ms(as_of)
    fields = definitions.events.types[event].fields
    schema = _schema(fields, definitions, ["seq"])

    def tables() -> Iterator[pa.Table]:
        for batch in known_by(log_batches(log, definitions), as_of_ms):
            rows = [
                (seq, document.values)
                for seq, document in batch
                if isinstance(document, Event) and document.type == event
            ]
            yield _table(schema, [[seq] for seq, _ in rows], fields, [values for _, values in rows])

    return whole(schema, tables())


def labels_table(log: LogReader, definitions: Definitions, as_of: Moment | None) -> pa.Table:
    """Return the verdict that was active at a time for each labeled event, in the order of the active labels.

    `event` and `id` name the labeled event as decisions do; all other columns are of the active label.
    Memory: the active labels, and one batch of the log.
    """
    in_force: dict[tuple[str, str], tuple[VerdictInForce, int, tuple[Value, ...]]] = {}
    for batch in known_by(log_batches(log, definitions), moment_ms(as_of)):
        for seq, event in batch:
            if isinstance(event, LabelEvent):
                key = (event.of.type, event.of.id)
                new = event.standing
                if new.takes_over(in_force[key][0] if key in in_force else None):
                    in_force[key] = new, seq, event.values
    label = definitions.events.label
    fields = [label.fields[label.at(name)] for name in _LABEL_FIELDS]
    ordered = sorted((seq, key, values) for key, (_, seq, values) in in_force.items())
    schema = _schema(fields, definitions, ["event", "id", "seq"])
    first: list[list[object]] = [[*key, seq] for seq, key, _ in ordered]
    places = [label.at(name) for name in _LABEL_FIELDS]
    return _table(schema, first, fields, [[values[at] for at in places] for _, _, values in ordered])


def _schema(fields: Iterable[Field], definitions: Definitions, first: Iterable[str]) -> pa.Schema:
    import pyarrow as pa

    first_fields = [pa.field(name, pa.int64() if name == "seq" else pa.string()) for name in first]
    places = definitions.settings.money_places
    return pa.schema([*first_fields, *(pa.field(field.name, arrow_type(field.type, places)) for field in fields)])


def _table(
    schema: pa.Schema, first: Sequence[Sequence[object]], fields: Sequence[Field], rows: Sequence[Sequence[Value]]
) -> pa.Table:
    import pyarrow as pa

    first_count = len(schema) - len(fields)
    arrays = [pa.array([row[at] for row in first], schema.field(at).type) for at in range(first_count)]
    for at, field in enumerate(fields):
        column = column_of([row[at] for row in rows], field.type)
        arrays.append(array_of(column, field.type, schema.field(first_count + at).type))
    return pa.Table.from_arrays(arrays, schema=schema)
