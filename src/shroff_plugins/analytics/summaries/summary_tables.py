"""Summaries as rows of two tables: PostgreSQL (extra `postgres`), MariaDB (extra `mariadb`), SQLite.

A third table, `summaries_followed`, has their settings and position. Each transaction first locks its row there, so
processes write one after the other, and none replaces a newer row by an older one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CHAR,
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Numeric,
    RowMapping,
    Table,
    case,
    cast,
    func,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.types import UserDefinedType

from shroff.errors import StorageError, UsageError
from shroff.json_types import JsonObject
from shroff.plugins.databases import (
    JSON,
    MOMENT,
    NAME,
    TEXT,
    WHOLE,
    RejectedRowError,
    SqlDatabase,
    adding,
    key_column,
    make_missing,
    replacing,
    value_column,
)
from shroff_plugins.analytics.summaries.settings import SummarySettings
from shroff_plugins.analytics.summaries.summaries import SummaryRow, WindowSummary
from shroff_plugins.analytics.summaries.summary_writer import PROGRESS_TABLE, SummaryProgress, other_tables

SIGNS = {"EUR": "€", "GBP": "£", "JPY": "¥", "USD": "$"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DIGITS = 20
_AT_ONCE = 500  # windows in one query


class _Exact(UserDefinedType[Decimal]):
    """An exact decimal; in SQLite a number exact to 15 digits, for which SQLAlchemy's own type would warn."""

    cache_ok = True

    def __init__(self, decimals: int) -> None:  # SQLAlchemy copies a type by the names of its arguments
        self.decimals = decimals

    def get_col_spec(self, **_: object) -> str:
        return f"DECIMAL({_DIGITS},{self.decimals})"

    def bind_processor(self, dialect: Any) -> Callable[[Any], Any] | None:
        return (lambda value: None if value is None else str(value)) if dialect.name == "sqlite" else None


def _table(name: str, settings: SummarySettings, decimals: int, *, has_frauds: bool) -> Table:
    return Table(
        name,
        MetaData(),
        key_column("window_start", MOMENT),
        value_column("window_end", MOMENT),
        value_column("revision", Integer()),
        value_column("created_at", MOMENT),
        *(value_column(column, JSON) for column in settings.columns),
        value_column("transaction_count", WHOLE),
        value_column("amount_sum", _Exact(decimals)),
        Column("average_amount", _Exact(decimals + 2)),
        value_column("currency", CHAR(3)),
        *([value_column("fraud_count", WHOLE)] if has_frauds else []),
        value_column("confirmed_fraud_count", WHOLE),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )


class SqlSummaries:
    """Rows of summaries, of all events and of frauds, by the start of their window; and how far they follow the log.

    Each call writes all or nothing, and is durable when it returns. Several processes may write at once: a row is never
    replaced by one of an older position. A row with unchanged content is not written and keeps `revision` and
    `created_at`; otherwise its revision, from 0, increases by one.

    Args:
        url: The database.
        currency: Currency of the project, with its decimal places.
        now_ms: Clock for `created_at`.
    """

    def __init__(
        self,
        url: str,
        settings: SummarySettings,
        currency: tuple[str, int],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._now_ms = now_ms
        self._currency, self._places = currency
        self._database = SqlDatabase(url, "summaries")
        self._tables = (
            _table(settings.table, settings, self._places, has_frauds=True),
            _table(settings.fraud_table, settings, self._places, has_frauds=False),
        )
        self._progress_of = Table(
            PROGRESS_TABLE,
            MetaData(),
            key_column("name", NAME),
            *(value_column(name, TEXT) for name in ("settings", "position", "rows_position")),
            Column("next_window", MOMENT),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
        )
        self._own = self._progress_of.c.name == settings.table

    def begin(self, position: int) -> SummaryProgress:
        """Create what is missing, with this position as the start; return the progress.

        Raises: UsageError if the tables have summaries of other settings.
        """
        try:
            self._database.make_table(self._progress_of)
        except RejectedRowError:  # in PostgreSQL, if another process creates it at the same moment
            self._database.make_table(self._progress_of)
        with self._transaction() as connection:
            definition = {
                "name": self._settings.table,
                "settings": self._definition(),
                "position": str(position),
                "rows_position": str(position),
                "next_window": None,
            }
            connection.execute(adding(self._progress_of, self._database.dialect), definition)
            row = self._lock(connection)
            assert row is not None, "it was just added"
            self._check(row)
            for table in self._tables:
                if make_missing(connection, table):
                    self._make_view(connection, table)
        return _progress_of(row)

    def followed(self) -> SummaryProgress | None:
        """Return the progress; None before the first `begin`."""
        if not self._database.is_there():
            return None
        with self._transaction() as connection:
            if not inspect(connection).has_table(PROGRESS_TABLE):
                return None
            row = connection.execute(select(self._progress_of).where(self._own)).mappings().first()
        return None if row is None else _progress_of(row)

    def has_rows(self) -> bool:
        """Return whether any window has a row, after `begin`."""
        with self._transaction() as connection:
            return connection.execute(select(self._tables[0].c.window_start).limit(1)).first() is not None

    def write(self, rows: Sequence[WindowSummary], position: int, next_ms: int | None = None) -> int | None:
        """Write the rows of windows as of a position, and the next window of `run`.

        Return the number of new or changed rows of both tables; None, and write nothing, if there are rows of a later
        position or a later one is settled.
        """
        with self._transaction() as connection:
            row = self._lock(connection)
            if row is None or position < max(int(row["rows_position"]), int(row["position"])):
                return None
            now = _moment(self._now_ms())
            changed = sum(self._write_table(connection, number, rows, now) for number in range(len(self._tables)))
            progress: JsonObject = {"rows_position": str(position)}
            if next_ms is not None:
                stored_ms = _ms_of(row["next_window"])
                progress["next_window"] = _moment(next_ms if stored_ms is None else max(stored_ms, next_ms))
            connection.execute(update(self._progress_of).where(self._own).values(progress))
        return changed

    def settle(self, position: int, absent: Collection[int]) -> bool:
        """Note that every row counts the log up to a position.

        Return False, and settle nothing, if one of the `absent` windows has a row now: another process wrote it,
        possibly as of an earlier position.
        """
        with self._transaction() as connection:
            row = self._lock(connection)
            if self._counts(connection, absent):
                return False
            if row is not None and position >= int(row["position"]):
                connection.execute(update(self._progress_of).where(self._own).values(position=str(position)))
        return True

    def written(self, starts: Collection[int]) -> list[int]:
        """Return those of the windows that have a row, in order."""
        return sorted(self.counts(starts))

    def counts(self, starts: Collection[int]) -> dict[int, int]:
        """Return the number of events in the rows of these windows; windows without a row are left out."""
        with self._transaction() as connection:
            return self._counts(connection, starts)

    def _counts(self, connection: Connection, starts: Collection[int]) -> dict[int, int]:
        columns = self._tables[0].c
        query = select(columns.window_start, columns.transaction_count)
        ordered = sorted(starts)
        counts = dict[int, int]()
        for begin in range(0, len(ordered), _AT_ONCE):
            some = [_moment(start) for start in ordered[begin : begin + _AT_ONCE]]
            rows = connection.execute(query.where(columns.window_start.in_(some)))
            counts |= {_required_ms(start): count for start, count in rows}
        return counts

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Begin a transaction. Raises: as `SqlDatabase.begun`; StorageError for rows that the database always
        refuses.
        """
        try:
            with self._database.begun() as connection:
                yield connection
        except RejectedRowError as error:
            raise StorageError(f"{self._database.name} refuses a summary: {error}") from None

    # Below: rows, and their form in tables

    def _lock(self, connection: Connection) -> RowMapping | None:
        """Lock the row of progress until the transaction ends, by a statement that all three databases know."""
        connection.execute(update(self._progress_of).where(self._own).values(name=self._settings.table))
        return connection.execute(select(self._progress_of).where(self._own)).mappings().first()

    def _write_table(self, connection: Connection, number: int, rows: Sequence[WindowSummary], now: datetime) -> int:
        table = self._tables[number]
        keys = [_moment(row.start_ms) for row in rows]
        present = {
            _required_ms(row["window_start"]): row
            for row in connection.execute(select(table).where(table.c.window_start.in_(keys))).mappings()
        }
        changed = []
        for summary in rows:
            values = self._values(summary, number)
            stored = present.get(summary.start_ms)
            if stored is not None and all(_is_same(stored[name], value) for name, value in values.items()):
                continue
            revision = 0 if stored is None else stored["revision"] + 1
            ends = {"window_start": _moment(summary.start_ms), "window_end": _moment(summary.end_ms)}
            changed.append({**ends, **values, "revision": revision, "created_at": now})
        if changed:
            connection.execute(replacing(table, self._database.dialect), changed)
        return len(changed)

    def _values(self, window: WindowSummary, number: int) -> JsonObject:
        summary: SummaryRow = window.fraud if number else window.all
        counts = {name: json.dumps(count, ensure_ascii=False) for name, count in summary.counts.items()}
        return {
            **counts,
            "transaction_count": summary.count,
            "amount_sum": summary.amount,
            "average_amount": summary.average,
            "currency": self._currency,
            **({} if number else {"fraud_count": window.fraud.count}),
            "confirmed_fraud_count": summary.confirmed,
        }

    def _definition(self) -> str:
        settings = self._settings
        definition = {
            "event": settings.event,
            "columns": dict(sorted(settings.columns.items())),
            "amount": settings.amount,
            "every_ms": settings.every_ms,
            "by": settings.by,
            "fraud": sorted(settings.fraud),
            "fraud_table": settings.fraud_table,
            "currency": [self._currency, self._places],
        }
        return json.dumps(definition, sort_keys=True)

    def _check(self, row: RowMapping) -> None:
        if row["settings"] != self._definition():
            definition = json.loads(self._definition())
            then = json.loads(row["settings"])
            names = sorted(name for name in definition.keys() | then.keys() if definition.get(name) != then.get(name))
            raise UsageError(
                f"the table {self._settings.table} holds summaries by other settings "
                f"({', '.join(names)} differ). {other_tables(self._settings)}"
            )

    def _make_view(self, connection: Connection, table: Table) -> None:
        """Create the view that shows amounts as text with the sign of the currency, `£12.34`."""
        dialect = connection.dialect
        sign = SIGNS.get(self._currency, f"{self._currency} ")
        columns = [_text_of(column, sign, self._places, dialect.name) for column in table.columns]
        query = select(*columns).compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        making = "CREATE VIEW IF NOT EXISTS" if dialect.name == "sqlite" else "CREATE OR REPLACE VIEW"
        connection.execute(text(f"{making} {table.name}_text AS {query}"))


def _text_of(column: Column[Any], sign: str, decimals: int, dialect: str) -> ColumnElement[Any]:
    if column.name not in {"amount_sum", "average_amount"}:
        return column
    if dialect == "sqlite":
        digits: ColumnElement[Any] = func.printf(f"%.{decimals}f", column)
        return case((column.is_not(None), literal(sign).concat(digits))).label(column.name)
    digits = cast(func.round(column, decimals), Numeric(_DIGITS, decimals))
    return literal(sign).concat(digits).label(column.name)


def _moment(at_ms: int) -> datetime:
    return _EPOCH + at_ms * _MILLISECOND


def _ms_of(stored: Any) -> int | None:
    """Convert a moment from a database: with a zone, without one, or as text."""
    if stored is None:
        return None
    moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // _MILLISECOND


def _required_ms(stored: Any) -> int:
    at_ms = _ms_of(stored)
    assert at_ms is not None, "a key is never missing"
    return at_ms


def _is_same(stored: Any, value: Any) -> bool:
    if isinstance(value, str) and not isinstance(stored, str):
        return bool(stored == json.loads(value))  # PostgreSQL returns JSON parsed
    if isinstance(value, Decimal):
        return stored is not None and Decimal(str(stored)) == value
    return bool(stored == value)


def _progress_of(row: RowMapping) -> SummaryProgress:
    return SummaryProgress(int(row["position"]), _ms_of(row["next_window"]))
