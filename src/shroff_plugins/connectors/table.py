"""Pull the new rows of a table: read ranges of a growing column, and write each into a file of JSON lines.

A range is named by its ends, `LOWER~UPPER`, so that a restarted process reads the same range. It begins earlier than
its lower end by the overlap, as rows may come late. The last range is checked again, by the count of its rows, until
there is a next one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any
from warnings import filterwarnings

from msgspec.json import encode as to_json
from sqlalchemy import Connection, DateTime, Integer, MetaData, Select, Table, func, inspect, select, type_coerce
from sqlalchemy.exc import NoSuchTableError, SAWarning
from sqlalchemy.types import NullType

from shroff.errors import TransientError, UsageError
from shroff.json_types import JsonMapping
from shroff.plugins.adapters import AwayError, PulledSource, PullPlace, Stamp
from shroff.plugins.databases import RejectedRowError, SqlDatabase
from shroff.plugins.language import parse_duration
from shroff.plugins.project import make_folder, private
from shroff_plugins.connectors.settings import OVERLAP, OVERLAP_TIME, ROWS

filterwarnings("ignore", "Did not recognize type", SAWarning)  # such a column is read as it comes

BETWEEN = "~"
FETCHED = 1_000  # rows that are in memory at once
Bound = int | datetime | None


class TableRows(PulledSource):
    """The rows of a table or view by a growing column. Keeps every promise of `streams.pull.PulledSource`.

    A row that is changed later is not taken again, since its event exists.

    Raises: UsageError if there is no such kind of database, or its library is not installed.
    """

    def __init__(self, options: JsonMapping, place: PullPlace) -> None:
        self._name = str(options["table"])
        self._by = str(options["by"])
        self.row_id = self._by
        self._database = SqlDatabase(str(options["url"]), f"the source {place.name}", takes_any=True)
        self._overlap = str(options.get("overlap", ""))
        self._rows = max(1, int(options.get("rows", ROWS)))
        self._place = place
        self._table: Table | None = None
        self.source = place.source_of(self._name)

    def names(self) -> list[str]:
        with self._connect() as (connection, table):
            ranges = sorted((self._ends(table, name) for name in self._place.taken()), key=itemgetter(1))
            newest = ranges[-1:]
            lower, mark = newest[0] if newest else (None, None)
            upper = connection.execute(self._next(table, mark)).scalar()
            end = connection.execute(select(func.max(table.c[self._by]))).scalar() if upper is None else upper
            self._check_end(end, lower, mark)
            newest += [] if upper is None else [(mark, upper)]
        return [_range_name(*bounds) for bounds in newest]

    def _check_end(self, end: Any, lower: Bound, mark: Bound) -> None:
        """Raises: UsageError if new rows could not be read, by the greatest value that the column has now."""
        if isinstance(end, str):
            raise UsageError(f"{self._name}.{self._by} has {end}, where no time follows: correct its row.")
        if end is not None and lower is not None and end <= self._subtract_overlap(lower):
            raise UsageError(
                f"{self._name} ends at {self._by} {end}, and {mark} was read. If it was restored or begun again, "
                f"rename the source {self._place.name}: all rows are then read."
            )

    def stamp(self, name: str) -> Stamp | None:
        with self._connect() as (connection, table):
            count = select(func.count()).select_from(self._stretch(table, name).subquery())
            return int(connection.execute(count).scalar_one()), 0

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        make_folder(self._place.folder)
        path = self._place.folder / f"{self._name}.jsonl"
        try:
            with private(path) as file, self._connect() as (connection, table):
                readers = _readers(connection, table)
                columns = [
                    type_coerce(column, NullType()).label(column.name) if readers else column for column in table.c
                ]
                rows = connection.execution_options(yield_per=FETCHED).execute(
                    self._stretch(table, name).order_by(table.c[self._by]).with_only_columns(*columns)
                )
                for row in rows.mappings():
                    file.write(_line({key: _plain(_convert(readers.get(key), value)) for key, value in row.items()}))
            yield path
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        self._database.close()

    # ---- the database

    @contextmanager
    def _connect(self) -> Iterator[tuple[Connection, Table]]:
        if not self._database.is_there():
            raise UsageError(f"there is no file {self._database.place}, which the source {self._place.name} names.")
        try:
            with self._database.begun() as connection:
                yield connection, self._reflected_table(connection)
        except AwayError as error:
            raise TransientError(f"the table {self._name} cannot be read: {error}") from None
        except (RejectedRowError, ValueError) as error:
            raise UsageError(f"the table {self._name} cannot be read by {self._by}: {error}.") from None

    def _reflected_table(self, connection: Connection) -> Table:
        if self._table is None:
            schema, _, name = self._name.rpartition(".")
            try:
                table = Table(name, MetaData(), schema=schema or None, autoload_with=connection)
            except NoSuchTableError:
                names = ", ".join(sorted(inspect(connection).get_table_names(schema or None))[:20])
                existing = f"there is {names}" if names else "the database has no table"
                raise UsageError(f"there is no table {self._name}; {existing}.") from None
            column = table.c.get(self._by)
            if column is None:
                raise UsageError(f"{self._name} has no column {self._by}; it has {', '.join(table.c.keys())}.")
            if not isinstance(column.type, (Integer, DateTime)):
                raise UsageError(
                    f"{self._name}.{self._by} is of the type {column.type}: name a column of whole numbers or times."
                )
            self._table = table
        return self._table

    def _next(self, table: Table, lower: Bound) -> Select[Any]:
        column = table.c[self._by]
        first = select(column.label("at")).where(column.is_not(None) if lower is None else column > lower)
        if isinstance(column.type, DateTime) and self._database.dialect == "postgresql":
            first = first.where(func.isfinite(column))
        return select(func.max(first.order_by(column).limit(self._rows).subquery().c.at))

    def _stretch(self, table: Table, name: str) -> Select[Any]:
        lower, upper = self._ends(table, name)
        column = table.c[self._by]
        query = select(table).where(column <= upper)
        return query if lower is None else query.where(column > self._subtract_overlap(lower))

    def _subtract_overlap(self, lower: int | datetime) -> int | datetime:
        """Subtract the overlap, so that the range has rows that came late. Raises: UsageError."""
        is_time = isinstance(lower, datetime)
        text = self._overlap or (OVERLAP_TIME if is_time else OVERLAP)
        if text.isdigit() == is_time:
            expected = "a duration such as 5m" if is_time else "a whole number"
            raise UsageError(f"{self._name}: 'overlap' of {self._by} is {expected}, not {text}.")
        if isinstance(lower, datetime):
            return lower - timedelta(milliseconds=parse_duration(text))
        return lower - int(text)

    def _ends(self, table: Table, name: str) -> tuple[Bound, Bound]:
        lower, _, upper = name.partition(BETWEEN)
        try:
            parse = datetime.fromisoformat if isinstance(table.c[self._by].type, DateTime) else int
            return parse(lower) if lower else None, parse(upper)
        except ValueError:
            raise UsageError(
                f"the log knows rows of {self._name} by another column than {self._by}: rename the source."
            ) from None


def _readers(connection: Connection, table: Table) -> dict[str, Callable[[Any], Any] | None]:
    dialect = connection.dialect
    if dialect.name != "sqlite":
        return {}
    return {column.name: column.type.dialect_impl(dialect).result_processor(dialect, None) for column in table.c}


def _convert(reader: Callable[[Any], Any] | None, value: Any) -> Any:
    """Convert a value to its column's type; leave an invalid one to validation."""
    if reader is None or value is None:
        return value
    try:
        return reader(value)
    except (TypeError, ValueError, ArithmeticError):
        return value


def _line(values: JsonMapping) -> bytes:
    """Encode a row as JSON. A text that is not Unicode keeps its bytes, so that validation refuses it."""
    try:
        return to_json(values) + b"\n"
    except (ValueError, OverflowError):
        return json.dumps(values, default=str, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"


def _range_name(lower: Bound, upper: Bound) -> str:
    return f"{_bound_text(lower)}{BETWEEN}{_bound_text(upper)}"


def _bound_text(bound: Bound) -> str:
    if bound is None:
        return ""
    return bound.isoformat() if isinstance(bound, datetime) else str(bound)


def _plain(value: object) -> object:
    """Convert a value for JSON: decimals to texts, so that no digit is lost; a time without a zone is in UTC."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    if isinstance(value, memoryview):
        return bytes(value)
    plain_types = (str, int, float, bool, bytes, list, dict, datetime, date, type(None))
    return value if isinstance(value, plain_types) else str(value)
