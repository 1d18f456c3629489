"""The lake as files for BigQuery: for each commit of the lake one file per table, and the schema of each table.

    FOLDER/schemas/payment.json               names, types and modes of the columns, as `bq load` takes them
    FOLDER/payment/000000000007.parquet       the rows of manifest 7

The rows of a commit have the sequence numbers (after, upto] of its manifest, in whatever files they are now. So
they are the same before and after a compaction, and a table into which each commit was loaded once has each row once.

Tables are those that marts read (`analytics.marts.views`), without the features, and the results of SELECTs of
`warehouse/` on them. A SELECT sees the rows of one commit at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.json import encode as to_json

from shroff.errors import StateError
from shroff.json_types import JsonMapping, TextDict
from shroff.plugins.lake import LakeReader, Write, damaged, read_manifest, sorted_by_place
from shroff.plugins.project import unfinished, write_lines
from shroff.plugins.values import FrozenStruct
from shroff_plugins.analytics.closed_duckdb import QueryLimits, closed_duckdb, identifier, library
from shroff_plugins.analytics.marts.models import MartModel
from shroff_plugins.analytics.marts.views import view_name

FORMATS = ("parquet", "ndjson")
KINDS = ("events", "decisions", "labels", "flags", "hits")
REQUIRED = frozenset({"seq", "time", "date"})  # columns of the lake's own rows
NUMERIC_DIGITS = 29  # before the point, with 9 after it: the range of NUMERIC; BIGNUMERIC holds all our values
NUMERIC_PLACES = 9
_SIMPLE = (
    (pa.types.is_integer, "INTEGER"),
    (pa.types.is_string, "STRING"),
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_timestamp, "TIMESTAMP"),
    (pa.types.is_date, "DATE"),
    (pa.types.is_floating, "FLOAT"),
    (pa.types.is_binary, "BYTES"),
)


class Commit(NamedTuple):
    """One manifest: the sequence numbers (after, upto] of the log."""

    number: int
    after: int
    upto: int

    @property
    def name(self) -> str:
        return f"{self.number:012d}"


class WarehouseFiles(Struct):
    """The files written.

    Args:
        files: Number of files of each table.
        rows: Number of rows of each table.
        manifests: The last manifest, under "0": a lake belongs to one log.
        schemas: The columns of each table, as BigQuery names them.
        log: Identifies the log of the lake.
        paths: Each file, with its table and its name.
    """

    files: dict[str, int] = {}
    rows: dict[str, int] = {}
    manifests: dict[str, int] = {}
    schemas: dict[str, list[TextDict]] = {}
    log: str = ""
    paths: list[tuple[str, str, Path]] = []


class WarehouseRequest(FrozenStruct):
    """The files to write: a format of `FORMATS`, and the commits after a manifest.

    Args:
        empty: Tables of the lake without rows, by folder (see `lake.rows.empty_tables`).
        models: SELECTs of `warehouse/`, each after those that it reads.
    """

    out: Path
    format: str
    behind: int
    empty: Mapping[str, pa.Table]
    models: Sequence[MartModel]


def commits(reader: LakeReader, behind: int) -> Iterator[Commit]:
    """Yield the commits after a manifest that wrote rows. Raises: StorageError. Cost: one small object each."""
    for number in range(behind + 1, reader.state.number + 1):
        manifest = read_manifest(reader.objects, number)
        if manifest is None:
            raise damaged(reader.objects, f"manifest {number:,}", "it is not there")
        plan = manifest[0].plan
        if isinstance(plan, Write) and plan.upto > plan.after:
            yield Commit(number, plan.after, plan.upto)


def write_warehouse(reader: LakeReader | None, request: WarehouseRequest) -> WarehouseFiles:
    """Write the files of all commits, and the schemas; without a lake only the schemas. The result is deterministic.

    Raises: StateError if a column has two types, or a required value is missing; StorageError; DuckDB's errors.
    """
    files = WarehouseFiles()
    if reader is not None:
        files.log = reader.state.log
        files.manifests = {"0": reader.state.number}
    fields: dict[str, dict[str, TextDict]] = {}
    empty = {
        view_name(name): _add_folder_columns(table, name)
        for name, table in request.empty.items()
        if name.startswith(KINDS)
    }
    for name, table in empty.items():
        _add_columns(fields, name, _loadable(table).schema, REQUIRED)
    with _open_duckdb(request.models) as connection:
        for name, (table, required) in _select(connection, request.models, empty, {}).items():
            _add_columns(fields, name, table.schema, required)
        for commit, rows in (
            () if reader is None else ((commit, rows_of(reader, commit)) for commit in commits(reader, request.behind))
        ):
            tables_of_commit = {name: (_loadable(table), REQUIRED) for name, table in rows.items()}
            tables_of_commit |= _select(connection, request.models, empty, rows)
            for name, (table, required) in tables_of_commit.items():
                _add_columns(fields, name, table.schema, required)
                _write(request, files, name, commit, table, required)
    files.schemas = {name: list(fields[name].values()) for name in sorted(fields)}
    folder = request.out / "schemas"
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in files.schemas.items():
        write_lines(folder / f"{name}.json", [[msgspec.json.format(to_json(columns)), b"\n"]])
    return files


def rows_of(reader: LakeReader, commit: Commit) -> dict[str, pa.Table]:
    """Return the rows of a commit by table, in log order. Raises: StateError if a column has two types."""
    parts: dict[str, list[pa.Table]] = {}
    for kind in KINDS:
        for file, table in reader.pieces(kind, commit.after, commit.upto):
            if table.num_rows:
                name = view_name(file.folder.rpartition("/date=")[0])
                parts.setdefault(name, []).append(_add_folder_columns(table, file.folder))
    return {name: sorted_by_place(_join(name, tables)) for name, tables in sorted(parts.items())}


def column_of(column: pa.Field, required: frozenset[str]) -> TextDict:
    """Return a column of BigQuery's schema.

    Raises: StateError if BigQuery has no such type.
    Source: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet, "Parquet conversions".
    """
    type_ = column.type
    mode = "REQUIRED" if column.name in required else "NULLABLE"
    if pa.types.is_list(type_):
        type_ = type_.value_type
        mode = "REPEATED"
    if pa.types.is_decimal(type_):
        name = "NUMERIC" if type_.scale <= NUMERIC_PLACES else "BIGNUMERIC"
    else:
        name = next((name for is_it, name in _SIMPLE if is_it(type_)), "")
    if not name:
        raise StateError(f"column {column.name!r} has the type {type_}, which is not loaded into BigQuery")
    return {"name": column.name, "type": name, "mode": mode}


@contextmanager
def _open_duckdb(models: Sequence[MartModel]) -> Iterator[Any]:
    """Open a closed DuckDB; None without a SELECT. One thread keeps the order of rows."""
    if not models:
        yield None
        return
    with (
        TemporaryDirectory() as spill,
        closed_duckdb(None, (), spill=Path(spill), limits=QueryLimits(threads=1)) as connection,
    ):
        yield connection


def _select(
    connection: Any, models: Sequence[MartModel], empty: Mapping[str, pa.Table], rows: Mapping[str, pa.Table]
) -> dict[str, tuple[pa.Table, frozenset[str]]]:
    """Run SELECTs on some rows; return their results, with the required columns. Raises: StateError if SQL fails."""
    selected = {}
    for name, table in empty.items() if models else ():
        connection.register(name, _join(name, [table, rows[name]] if name in rows else [table]))
    for model in models:
        try:
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {identifier(model.name)} AS {model.sql}")
            result = connection.sql(f"FROM {identifier(model.name)}").to_arrow_table()
        except library().Error as error:
            raise StateError(f"{model.file}: {error}") from None
        required = {name for test in model.tests if test.name.startswith("not_null") for _, name, _ in test.columns}
        if model.kind == "mart":
            selected[model.name] = _loadable(result), frozenset(required)
    return selected


def _write(
    request: WarehouseRequest,
    files: WarehouseFiles,
    name: str,
    commit: Commit,
    table: pa.Table,
    required: frozenset[str],
) -> None:
    if not table.num_rows:
        return
    for column in required & set(table.schema.names):
        if empty := table[column].null_count:
            raise StateError(
                f"table {name}, places {commit.after + 1:,} to {commit.upto:,}: column {column!r} has no value in "
                f"{empty:,} of {table.num_rows:,} rows, and is not_null"
            )
    folder = request.out / name
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{commit.name}.{request.format}"
    files.paths.append((name, commit.name, target))
    columns = [field.with_nullable(field.name not in required) for field in table.schema]
    table = pa.Table.from_arrays(table.columns, schema=pa.schema(columns))
    if request.format == "parquet":
        with unfinished(target) as part:
            pq.write_table(table, part)
    else:
        write_lines(target, ([_line(row) for row in batch.to_pylist()] for batch in table.to_batches(8_192)))
    files.files[name] = files.files.get(name, 0) + 1
    files.rows[name] = files.rows.get(name, 0) + table.num_rows


def _line(row: JsonMapping) -> bytes:
    """Format a row as a line of JSON: decimals as texts, so that no digit is lost, and no missing values."""
    return to_json({name: value for name, value in row.items() if value is not None}) + b"\n"


def _add_columns(
    fields: dict[str, dict[str, TextDict]], table: str, schema: pa.Schema, required: frozenset[str]
) -> None:
    """Add columns to the known ones of a table. Raises: StateError if a column has another type."""
    columns = fields.setdefault(table, {})
    for column in schema:
        new_column = column_of(column, required)
        old_column = columns.setdefault(column.name, new_column)
        if old_column != new_column:
            types = f"{old_column['type']} in some rows and {new_column['type']} in others"
            raise StateError(
                f"table {table}: column {column.name!r} is {types}. "
                "A table of BigQuery has one type for each column; give the newer field another name"
            )


def _loadable(table: pa.Table) -> pa.Table:
    """Convert decimals that fit NUMERIC, and integers to 64 bits. Raises: StateError if a value does not fit."""
    for index, column in enumerate(table.schema):
        type_ = column.type
        if pa.types.is_decimal(type_) and type_.scale <= NUMERIC_PLACES:
            loadable_type = pa.decimal128(NUMERIC_DIGITS + type_.scale, type_.scale)
        elif pa.types.is_integer(type_):
            loadable_type = pa.int64()
        else:
            continue
        try:
            table = table.set_column(index, column.name, table[column.name].cast(loadable_type))
        except pa.ArrowInvalid as error:
            raise StateError(f"column {column.name!r} does not fit BigQuery's type: {error}") from None
    return table


def _join(name: str, tables: Sequence[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(tables, promote_options="default")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise StateError(f"table {name}: a field has changed its type, and a table has one: {error}") from None


def _add_folder_columns(table: pa.Table, folder: str) -> pa.Table:
    """Add the columns in the name of the rows' folder: `type` or `event`, and `date`."""
    for part in folder.split("/"):
        key, is_named, value = part.partition("=")
        if is_named:
            scalar = pa.scalar(date.fromisoformat(value)) if key == "date" else pa.scalar(value)
            table = table.append_column(key, pa.array([scalar.as_py()] * table.num_rows, scalar.type))
    if "date" not in table.schema.names:
        table = table.append_column("date", pa.array([], pa.date32()))
    return table
