"""Building marts: SQL over the lake into one DuckDB file, which replaces the last one completely or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import DefinitionError, Problem, UsageError, nearest
from shroff.json_types import TextDict, TextMapping
from shroff.plugins.operations import Progress
from shroff.plugins.project import sync_folder
from shroff.plugins.values import FrozenStruct
from shroff_plugins.analytics.closed_duckdb import QueryLimits, closed_duckdb, identifier, library
from shroff_plugins.analytics.marts.checks import check_columns, run_test
from shroff_plugins.analytics.marts.models import MartModel
from shroff_plugins.analytics.marts.views import ViewFiles, create_tables, create_views, day_of

ABOUT = "shroff_build"  # table that tells how the file was made
_LINE = re.compile(r"LINE (\d+):")


class BuiltColumn(FrozenStruct):
    """A column: its type in SQL, and its description from the SQL's comments."""

    name: str
    type: str
    description: str = ""


class BuiltMart(msgspec.Struct, frozen=True):
    """A model as built.

    Args:
        signature: Equal if its SQL, that of its views and the columns of the lake are equal.
        failures: The failed tests, with the number of rows and an example.
    """

    name: str
    kind: str
    file: str
    rows: int
    columns: list[BuiltColumn]
    description: str = ""
    signature: str = ""
    by_day: str = ""
    chart: tuple[str, str] | None = None
    tests: int = 0
    failures: list[tuple[str, int, str]] = []


class BuiltMarts(FrozenStruct):
    """All models, and what they were built from.

    Args:
        upto: Last sequence number that the lake had, under "0".
        files: Files of the lake that were read.
    """

    built_at_ms: int
    upto: dict[str, int]
    files: list[str]
    marts: list[BuiltMart]

    @property
    def is_passed(self) -> bool:
        return not any(mart.failures for mart in self.marts)

    def named(self, name: str) -> BuiltMart:
        """Return a mart by its name. Raises: UsageError if there is none."""
        for mart in self.marts:
            if mart.name == name:
                return mart
        names = [mart.name for mart in self.marts]
        raise UsageError(f"there is no mart {name!r}. {nearest(name, names) or 'There are: ' + ', '.join(names) + '.'}")


class MartFiles(FrozenStruct):
    """Paths of built marts."""

    folder: Path

    @property
    def current(self) -> Path:
        """Path of the last build whose tests all passed."""
        return self.folder / "marts.duckdb"

    @property
    def failed(self) -> Path:
        """Path of a later build with failed tests."""
        return self.folder / "marts.failed.duckdb"

    @property
    def work(self) -> Path:
        """Folder for unfinished files; the next build removes those of a killed process."""
        return self.folder / "work"

    def built(self, *, failed: bool = False) -> BuiltMarts | None:
        """Read how the file was made; None if there is none, or another version of DuckDB wrote it."""
        path = self.failed if failed else self.current
        if not path.is_file():
            return None
        try:
            with reading(path) as connection:
                document = connection.execute(f"SELECT document FROM {ABOUT}").fetchone()[0]
                return from_json(document, type=BuiltMarts)
        except library().Error:
            return None


@contextmanager
def reading(path: Path, limits: QueryLimits | None = None, files: Collection[Path] = ()) -> Iterator[Any]:
    """Open a build for reading."""
    small = limits or QueryLimits("500MB", 1)
    with closed_duckdb(path, files, spill=path.parent / "spill", limits=small, is_read_only=True) as connection:
        yield connection


def rows_of(path: Path, name: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    with reading(path) as connection:
        result = connection.execute(f"SELECT * FROM {identifier(name)} LIMIT {limit:d}")
        return [column[0] for column in result.description], result.fetchall()


class Origin(FrozenStruct):
    """Input of a build: the lake up to a sequence number of its log, and the time."""

    lake: ViewFiles
    upto: Mapping[str, int]
    at_ms: int


def build(
    models: Sequence[MartModel],
    origin: Origin,
    files: MartFiles,
    limits: QueryLimits,
    *,
    is_full: bool = False,
    progress: Progress | None = None,
) -> BuiltMarts:
    """Build all models, run their tests, and put the file in place.

    If tests fail, the new file is stored beside the last good build, which remains. The caller prevents concurrent
    builds.

    Args:
        is_full: Whether to rebuild all days of models that are built by day.
        progress: Called for each model.

    Raises: DefinitionError, with the line, if DuckDB cannot run a model.
    """
    old = None if is_full else files.built()
    new_file = files.work / "marts.duckdb"
    attached = {} if old is None else {"old": files.current}
    with closed_duckdb(
        new_file, [*origin.lake.paths.values()], spill=files.work / "spill", limits=limits, attached=attached
    ) as connection:
        built = _Build(connection, models, origin).run(old, progress or (lambda _: None))
        connection.execute(f"CREATE TABLE {ABOUT} AS SELECT ? AS document", [to_json(built).decode()])
        connection.execute("CHECKPOINT")
    _put(new_file, files.current if built.is_passed else files.failed)
    if built.is_passed:
        files.failed.unlink(missing_ok=True)
    return built


def _put(new_file: Path, target: Path) -> None:
    with new_file.open("rb") as file:
        os.fsync(file.fileno())
    new_file.chmod(0o640)
    new_file.replace(target)
    sync_folder(target.parent)


class _Build:
    def __init__(self, connection: Any, models: Sequence[MartModel], origin: Origin) -> None:
        self._connection = connection
        self._models = models
        self._origin = origin
        self._signatures = _signatures(models, origin.lake)
        create_tables(connection, origin.lake)

    def run(self, old: BuiltMarts | None, progress: Progress) -> BuiltMarts:
        built_names = set() if old is None else self._build_by_day(old, progress)
        create_views(self._connection, self._origin.lake)
        for model in self._models:
            if model.name not in built_names:
                run_model(self._connection, model, _create_statement(model))
                progress(1)
                if model.by_day:
                    self._check_days(model)
        marts = described(self._connection, self._models, self._signatures, self._origin.lake.views)
        return BuiltMarts(self._origin.at_ms, dict(self._origin.upto), sorted(self._origin.lake.paths), marts)

    def _build_by_day(self, old: BuiltMarts, progress: Progress) -> set[str]:
        """Build only changed days of unchanged models that are built by day, and copy the others; return their
        names.
        """
        old_marts = {mart.name: mart for mart in old.marts if mart.by_day}
        same = [
            model
            for model in self._models
            if model.by_day
            and model.name in old_marts
            and old_marts[model.name].signature == self._signatures[model.name]
        ]
        if not same:
            return set()
        days = sorted({day_of(name) for name in set(old.files) ^ set(self._origin.lake.paths)})
        create_views(self._connection, self._origin.lake, days)
        for model in (view for view in self._models if view.kind == "view"):
            run_model(self._connection, model, _create_statement(model))
        for model in same:
            run_model(self._connection, model, _create_statement(model))
            self._check_days(model, days)
            self._join_days(model, days)
            progress(1)
        return {model.name for model in same}

    def _check_days(self, model: MartModel, days: Sequence[str] | None = None) -> None:
        """Raises: DefinitionError if a row has no day, or a day whose files the model was not given."""
        types = {column.name: column.type for column in _columns(self._connection, model.name)}
        if types.get(model.by_day) != "DATE":
            message = f"by_day: {model.by_day!r} is {types.get(model.by_day, 'not a column')}, and has to be a DATE."
            raise DefinitionError([model.problem(message, hint=f"Write CAST(time AS DATE) AS {model.by_day}.")])
        name = identifier(model.name)
        day = identifier(model.by_day)
        is_other = "" if days is None else f" OR NOT list_contains(?, CAST({day} AS VARCHAR))"
        query = f"SELECT count(*), min(CAST({day} AS VARCHAR)) FROM {name} WHERE {day} IS NULL{is_other}"
        count, example = self._connection.execute(query, [] if days is None else [days]).fetchone()
        if count:
            message = f"built by day, it gives rows of {example or 'no day'}, whose files it was not given."
            raise DefinitionError([model.problem(message, hint="Leave out 'by_day'.")])

    def _join_days(self, model: MartModel, days: Sequence[str]) -> None:
        name = identifier(model.name)
        day = identifier(model.by_day)
        unchanged_days = f"SELECT * FROM old.main.{name} WHERE NOT list_contains(?, CAST({day} AS VARCHAR))"
        self._connection.execute(f"INSERT INTO {name} BY NAME {unchanged_days}", [days])


def _create_statement(model: MartModel) -> str:
    kind = "OR REPLACE TEMP VIEW" if model.kind == "view" else "TABLE"
    return f"CREATE {kind} {identifier(model.name)} AS "


def run_model(connection: Any, model: MartModel, begin: str) -> None:
    """Create a model's table or view.

    Raises: DefinitionError with DuckDB's message and the line; UsageError if it needs more memory.
    """
    try:
        connection.execute(begin + model.sql)
    except library().OutOfMemoryException:
        raise UsageError(f"{model.file} needs more memory or disk than it may use. Give it more by --memory.") from None
    except library().Error as error:
        first, _, details = str(error).partition("\n")
        line = int(match[1]) if (match := _LINE.search(details)) else 1
        raise DefinitionError([Problem(model.file, line, 1, "", first)]) from None


def described(
    connection: Any, models: Sequence[MartModel], signatures: TextMapping, views: Collection[str]
) -> list[BuiltMart]:
    """Describe the models of a connection: columns, rows and tests.

    Raises: DefinitionError if tests, comments or a chart name a column that does not exist.
    """
    columns: dict[str, list[BuiltColumn]] = {}
    for model in models:  # a column without a description gets that of the column of this name in what the model reads
        read_columns = [column for read_model in model.reads for column in columns.get(read_model.name, ())]
        descriptions = {column.name: column.description for column in reversed(read_columns)} | dict(model.columns)
        columns[model.name] = _columns(connection, model.name, descriptions)
    tested = {model for tested_model in models for test in tested_model.tests for model, _, _ in test.columns}
    names = {name: [field.name for field in column] for name, column in columns.items()}
    names |= {name: [column.name for column in _columns(connection, name)] for name in tested & set(views)}
    problems: list[Problem] = []
    for model in models:
        problems += [check_column for test in model.tests for check_column in check_columns(test, names)]
        for name in [*model.columns, *(model.chart or ())]:
            if name not in names[model.name]:
                hint = nearest(name, names[model.name])
                problems.append(
                    model.problem(f"{name!r} is described, and is not a column of {model.name}.", hint=hint)
                )
    if problems:
        raise DefinitionError(problems)
    return [_describe(connection, model, columns[model.name], signatures.get(model.name, "")) for model in models]


def described_build(connection: Any, models: Sequence[MartModel], built: BuiltMarts, lake: ViewFiles) -> BuiltMarts:
    """Run the current tests on an existing build, over the files that it was made of.

    Raises: UsageError if the models have changed since.
    """
    old_signatures = {mart.name: mart.signature for mart in built.marts}
    if old_signatures != (signatures := _signatures(models, lake)):
        changed = [name for name in old_signatures | signatures if old_signatures.get(name) != signatures.get(name)]
        raise UsageError(f"{', '.join(sorted(changed)[:5])} changed since the last build. Run 'shroff marts build'.")
    create_tables(connection, lake)
    create_views(connection, lake)
    for model in (view for view in models if view.kind == "view"):
        run_model(connection, model, _create_statement(model))
    marts = described(connection, models, old_signatures, lake.views)
    return BuiltMarts(built.built_at_ms, built.upto, built.files, marts)


def _describe(connection: Any, model: MartModel, columns: list[BuiltColumn], signature: str) -> BuiltMart:
    results = [run_test(connection, test) for test in model.tests]
    return BuiltMart(
        model.name,
        model.kind,
        model.file,
        connection.execute(f"SELECT count(*) FROM {identifier(model.name)}").fetchone()[0],
        columns,
        model.description,
        signature,
        model.by_day,
        model.chart,
        len(results),
        [(result.test, result.failed, result.example) for result in results if result.failed],
    )


def _columns(connection: Any, name: str, comments: TextMapping | None = None) -> list[BuiltColumn]:
    rows = connection.execute(f"DESCRIBE {identifier(name)}").fetchall()
    return [BuiltColumn(row[0], row[1], (comments or {}).get(row[0], "")) for row in rows]


def _signatures(models: Sequence[MartModel], lake: ViewFiles) -> TextDict:
    """Return for each model a hash of its SQL, of what it reads, and of the columns of the lake."""
    lakes = {folder: [f"{field.name} {field.type}" for field in table.schema] for folder, table in lake.empty.items()}
    digests: TextDict = {}
    for model in models:
        parts = [lakes, model.sql, model.by_day, [digests.get(read_model.name, "") for read_model in model.reads]]
        digests[model.name] = sha256(json.dumps(parts).encode()).hexdigest()
    return digests
