"""Deliver decisions and flags to a table: PostgreSQL (extra `postgres`), MariaDB (extra `mariadb`), SQLite.

A row is written by its key: a decision by its event, a flag by its sequence number and its index there. So a repeated
row replaces itself. The row of a key never changes within one log, so the order of writers does not matter. A table in
which a row could replace that of another key is refused.

SQLAlchemy makes the statements. Connections are those of the log's adapters, with their TLS and deadlines. No message
has an address with its password, or a statement with its values.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec.json import encode as to_json
from sqlalchemy import Column, Connection, MetaData, Table, inspect, select, tuple_

from shroff.adapters.databases.sql_database import (
    JSON,
    MOMENT,
    NAME,
    REAL,
    TEXT,
    TYPE,
    WHOLE,
    RejectedRowError,
    SqlDatabase,
    check_table,
    key_column,
    known_name,
    replacing,
    value_column,
)
from shroff.engine.stored import active_rules
from shroff.errors import UsageError
from shroff.json_types import JsonMapping, JsonObject, TextMapping
from shroff.streams.sink import Outgoing, Undelivered, refused_by_halves

# Types of chosen columns; all others are texts
_CHOSEN: Final[JsonMapping] = {"event_time": MOMENT, "ingest_time": MOMENT, "fields": JSON, "features": JSON}


def _decision_columns() -> list[Column[Any]]:
    return [
        key_column("event", TYPE),
        key_column("id", NAME),
        value_column("seq", WHOLE),
        value_column("outcome", NAME),
        Column("score", REAL),  # not every decision is scored
        value_column("rules", JSON),
        value_column("receipt", TEXT),
        value_column("document", JSON),
    ]


def _flag_columns() -> list[Column[Any]]:
    return [
        key_column("seq", WHOLE),
        key_column("number", WHOLE),
        value_column("event", TYPE),
        value_column("id", NAME),
        value_column("rule", NAME),
        value_column("entity", NAME),
        value_column("entity_key", TEXT),  # `key` is a word of SQL
        value_column("reason", TEXT),
        value_column("document", JSON),
    ]


# ---- the rows


class _Decision(msgspec.Struct):
    receipt: str = ""
    score: float | None = None
    rules: list[str] = []
    reasons: list[JsonMapping] = []


class _FeatureRows(msgspec.Struct):
    features: msgspec.Raw = msgspec.Raw(b"{}")


class _Flag(msgspec.Struct):
    rule: str = ""
    entity: str = ""
    key: str = ""
    reason: str = ""


_features = msgspec.json.Decoder(_FeatureRows)
_values = msgspec.json.Decoder(JsonObject)
_decision = msgspec.json.Decoder(_Decision)
_flag = msgspec.json.Decoder(_Flag)


def _decision_row(row: Outgoing) -> JsonObject:
    decision = _decision.decode(row.body)
    return {
        "event": row.event,
        "id": row.id,
        "seq": row.seq,
        "outcome": row.outcome,
        "score": decision.score,
        "rules": to_json(active_rules({"rules": decision.rules, "reasons": decision.reasons})).decode(),
        "receipt": decision.receipt,
        "document": row.body.decode(),
    }


def _flag_row(row: Outgoing) -> JsonObject:
    flag = _flag.decode(row.body)
    return {
        "seq": row.seq,
        "number": row.number,
        "event": row.event,
        "id": row.id,
        "rule": flag.rule,
        "entity": flag.entity,
        "entity_key": flag.key,
        "reason": flag.reason,
        "document": row.body.decode(),
    }


def _chosen_values(row: Outgoing, columns: TextMapping) -> JsonObject:
    parts = {
        "fields": row.fields or b"{}",
        "features": bytes(_features.decode(row.body).features) if row.kind == "decision" else b"{}",
    }
    moments = {"event_time": row.time_ms, "ingest_time": row.at_ms}
    values: JsonObject = {}
    for column, source_name in columns.items():
        part, _, name = source_name.partition(".")
        if source_name in moments:
            values[column] = _moment(moments[source_name])
        else:
            values[column] = _text(_values.decode(parts[part]).get(name)) if name else parts[part].decode()
    return values


def _moment(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1_000, UTC)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else to_json(value).decode()


class SqlSink:
    """A table in a database; a missing one is created. Durable when `send` returns: committed."""

    places_max = 1_000

    def __init__(self, name: str, options: JsonMapping) -> None:
        """Prepare the statements without calling the database.

        Args:
            name: Name of the sink.
            options: `url`, `table`, `take` (decisions or flags), and `columns`: further columns by name.

        Raises: UsageError if there is no such kind of database, or its library is not installed.
        """
        takes_flags = options.get("take") == "flags"
        self._chosen: TextMapping = options.get("columns", {})
        self._row = _flag_row if takes_flags else _decision_row
        columns = _flag_columns() if takes_flags else _decision_columns()
        own_names = [column.name for column in columns]
        if not self._chosen.keys().isdisjoint(own_names):
            raise UsageError(f"columns of a sink have names that are already used: {', '.join(own_names)}.")
        self.wants_fields = bool(self._chosen)
        self._table = Table(
            known_name(str(options["table"])),
            MetaData(),
            *columns,
            *(
                Column(known_name(column_name), _CHOSEN.get(source_name, TEXT))
                for column_name, source_name in self._chosen.items()
            ),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
        )
        self._database = SqlDatabase(str(options["url"]), "a sink of kind sql")
        self._has_table = False
        self._replacing = replacing(self._table, self._database.dialect)

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        """Write rows in one transaction; refused rows are found by halving the batch.

        Raises: as in the contract. Cost: 10 to 40 µs a row.
        """
        if not self._has_table:
            self._database.make_table(self._table)
            self._has_table = True
        return refused_by_halves(rows, lambda part: self._write([self._values(row) for row in part]))

    def is_missing(self) -> bool:
        if not self._database.is_there():
            return True
        with self._database.begun() as connection:
            return not inspect(connection).has_table(self._table.name)

    def missing(self, rows: Sequence[Outgoing]) -> list[Outgoing]:
        if not rows or self.is_missing():
            return [*rows]
        with self._database.begun() as connection:
            stored = self._stored_keys(connection, [self._row(row) for row in rows])
        return [row for row in rows if self._key(self._row(row)) not in stored]

    def prepare(self, partitions: int | None) -> list[str]:
        """Check the columns and unique keys of the table, if it exists.

        Raises: UsageError with the remedy; AwayError if the database does not answer.
        """
        if self._database.is_there():
            with self._database.begun() as connection:
                if inspect(connection).has_table(self._table.name):
                    check_table(connection, self._table)
        return []

    def close(self) -> None:
        self._database.close()

    def _values(self, row: Outgoing) -> JsonObject:
        values = self._row(row)
        return values | _chosen_values(row, self._chosen) if self._chosen else values

    def _write(self, rows: Sequence[JsonMapping]) -> str:
        """Write rows by their keys in one transaction; return why they are refused for good, or ""."""
        try:
            with self._database.begun() as connection:
                connection.execute(self._replacing, rows)
                if self._database.dialect == "mysql":
                    self._check_keys(connection, rows)
        except RejectedRowError as error:
            return f"{self._database.name} refuses it: {error}"
        return ""

    def _check_keys(self, connection: Connection, rows: Sequence[JsonMapping]) -> None:
        """Check that each row has its own key. MariaDB may have overwritten another row instead.

        That happens with a unique key added after the start, or a collation for which `a1` and `A1` are equal.

        Raises: RejectedRowError, which rolls the write back.
        """
        if not {self._key(row) for row in rows} <= self._stored_keys(connection, rows):
            raise RejectedRowError(
                f"a unique key or the collation of {self._table.name} makes it overwrite the row of another event"
            )

    def _key(self, row: JsonMapping) -> tuple[Any, ...]:
        return tuple(row[column.name] for column in self._table.primary_key)

    def _stored_keys(self, connection: Connection, rows: Sequence[JsonMapping]) -> set[tuple[Any, ...]]:
        key = list(self._table.primary_key)
        keys = sorted({self._key(row) for row in rows})
        return {tuple(stored) for stored in connection.execute(select(*key).where(tuple_(*key).in_(keys)))}
