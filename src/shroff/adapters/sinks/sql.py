"""Decisions and flags as rows of a table: PostgreSQL (extra `postgres`), MariaDB (extra `mariadb`), SQLite.

A row is written by its key: a decision by its event, a flag by its place and number. So one that comes again takes
its own place, and nothing is there twice. What is under a key never changes in one log, so it does not matter who
writes it last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from shroff.adapters.sinks.sql_servers import Server, server_of
from shroff.errors import UsageError
from shroff.streams.sink import Outgoing, Undelivered

_TABLE: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its type by kind (`name`, `text`, `whole`, `real`, `json`, `time`), and whether the key has it.

    One that `may_lack` a value holds NULL then.
    """

    name: str
    kind: str
    is_key: bool = False
    may_lack: bool = False


class _Decision(msgspec.Struct):
    """What of a decision's document stands in columns of its own."""

    receipt: str = ""
    score: float | None = None
    rules: list[str] = []


class _Features(msgspec.Struct):
    """The features of a decision."""

    features: msgspec.Raw = msgspec.Raw(b"{}")


class _Flag(msgspec.Struct):
    """The same of a flag."""

    rule: str = ""
    entity: str = ""
    key: str = ""
    reason: str = ""


DECISIONS: Final = (
    Column("event", "name", is_key=True),
    Column("id", "name", is_key=True),
    Column("seq", "whole"),
    Column("outcome", "name"),
    Column("score", "real", may_lack=True),  # not every decision is scored
    Column("rules", "json"),
    Column("receipt", "text"),
    Column("document", "json"),
)
FLAGS: Final = (
    Column("seq", "whole", is_key=True),
    Column("number", "whole", is_key=True),
    Column("event", "name"),
    Column("id", "name"),
    Column("rule", "name"),
    Column("entity", "name"),
    Column("entity_key", "text"),  # `key` is a word of SQL
    Column("reason", "text"),
    Column("document", "json"),
)
_MORE: Final = {"event_time": "time", "ingest_time": "time", "fields": "json", "features": "json"}
_features = msgspec.json.Decoder(_Features)
_values = msgspec.json.Decoder(dict[str, Any])
_decision = msgspec.json.Decoder(_Decision)
_flag = msgspec.json.Decoder(_Flag)


def _decision_row(row: Outgoing) -> tuple[Any, ...]:
    found = _decision.decode(row.body)
    rules = msgspec.json.encode(found.rules).decode()
    return row.event, row.id, row.seq, row.outcome, found.score, rules, found.receipt, row.body.decode()


def _flag_row(row: Outgoing) -> tuple[Any, ...]:
    found = _flag.decode(row.body)
    return (
        *(row.seq, row.number, row.event, row.id, found.rule, found.entity, found.key, found.reason),
        row.body.decode(),
    )


def _more(columns: Mapping[str, str]) -> tuple[list[Column], Callable[[Outgoing], tuple[Any, ...]]]:
    """Columns that somebody chose, and what gives their values: `fields.amount` is one value as text."""
    made = [Column(_known_name(name), _MORE.get(of, "text"), may_lack=True) for name, of in columns.items()]

    def values(row: Outgoing) -> tuple[Any, ...]:
        fields = row.fields or b"{}"
        features = bytes(_features.decode(row.body).features) if row.kind == "decision" else b"{}"
        whole: dict[str, Any] = {
            "event_time": _moment(row.time_ms),
            "ingest_time": _moment(row.at_ms),
            "fields": fields.decode(),
            "features": features.decode(),
        }
        parts = {"fields": fields, "features": features}
        found = []
        for of in columns.values():
            part, _, name = of.partition(".")
            found.append(_text(_values.decode(parts[part]).get(name)) if name else whole[of])
        return tuple(found)

    return made, values


def _moment(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1_000, UTC)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


class SqlSink:
    """A table in a database, made where there is none. Durable when `send` returns: committed."""

    places_max = 1_000

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        """Prepare for a database; nothing is asked of it yet.

        Args:
            name: Of the sink.
            options: `url`, `table`, `take`: decisions or flags, and `columns`: further ones by name.

        Raises: UsageError where there is no such kind of database, or its library is not installed.
        """
        takes_flags = options.get("take") == "flags"
        row: Callable[[Outgoing], tuple[Any, ...]] = _flag_row if takes_flags else _decision_row
        chosen: Mapping[str, str] = options.get("columns", {})
        more, values = _more(chosen)
        self._columns = (*(FLAGS if takes_flags else DECISIONS), *more)
        if len({one.name for one in self._columns}) < len(self._columns):
            names = ", ".join(one.name for one in self._columns[: -len(more)])
            raise UsageError(f"a column of a sink has a name that is taken: {names} are there already.")
        self.wants_fields = bool(chosen)
        self._values: Callable[[Outgoing], tuple[Any, ...]] = lambda one: (*row(one), *values(one))
        self._table = _known_name(str(options["table"]))
        self._server: Server = server_of(str(options["url"]))
        self._has_table = False

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        """Write rows in one transaction; those that the database refuses are found by halves.

        Raises: as in the contract. Cost: 10 to 40 µs a row.
        """
        if not self._has_table:
            self._server.make_table(self._table, self._columns)
            self._has_table = True
        refused: list[Undelivered] = []
        to_do: list[Sequence[Outgoing]] = [rows] if rows else []
        while to_do:
            part = to_do.pop()
            reason = self._server.write(self._table, self._columns, [self._values(row) for row in part])
            if reason and len(part) == 1:
                refused.append(Undelivered(part[0], reason))
            elif reason:
                middle = len(part) // 2
                to_do += [part[middle:], part[:middle]]
        return refused

    def close(self) -> None:
        """Let go of the connection. Closing twice does nothing."""
        with suppress(Exception):  # what is broken may not close either
            self._server.close()


def _known_name(table: str) -> str:
    if not _TABLE.fullmatch(table):
        raise UsageError(f"{table!r} is no table's name: small letters, digits and _, 63 at most.")
    return table
