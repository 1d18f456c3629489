"""The models of a project: each file `marts/**/NAME.sql` is one SELECT, and `NAME.yaml` beside it has its tests.

The folder decides their kind: `marts/staging/` has views, `marts/tables/` tables for other models, and all others are
marts. A model names what it reads after FROM and JOIN; from that follows the order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath
from typing import Any, Final, Literal

from msgspec import field

from shroff.errors import DefinitionError, Problem, nearest
from shroff.json_types import JsonObject, TextDict, TextMapping
from shroff.plugins.loader import YamlMapping, read_shape
from shroff.plugins.loader import read_yaml as read
from shroff.plugins.settings import NAME_PATTERN
from shroff.plugins.values import FrozenStruct, replace
from shroff_plugins.analytics.closed_duckdb import library, stopped_by_ctrl_c
from shroff_plugins.analytics.marts.checks import CHECKS, MartTest, tests_of

FOLDER = "marts"
MODELS_MAX = 1_000
TABLE_FUNCTIONS = ("generate_series", "range", "unnest")
Kind = Literal["view", "table", "mart"]
_KINDS: Final[Mapping[str, Kind]] = {"staging": "view", "tables": "table"}
_NOT_DAILY = ("labels", "controls")  # their files are not in the folder of their event's day
_COLUMN = re.compile(r"([A-Za-z_]\w*): +(\S.*)")
_FILE = re.compile(NAME_PATTERN)


class TableRead(FrozenStruct):
    """A table that a model reads, and the line and column of its name."""

    name: str
    line: int
    column: int


class MartModel(FrozenStruct):
    """One model.

    Args:
        file: Its file, relative to the project.
        columns: Descriptions of columns, from the comments above the SELECT.
        by_day: Column with the day of each row, if it is built day by day.
        chart: Columns of its chart: labels and lengths of bars.
    """

    name: str
    kind: Kind
    file: str
    sql: str
    description: str = ""
    columns: TextMapping = field(default_factory=dict)
    reads: tuple[TableRead, ...] = ()
    tests: tuple[MartTest, ...] = ()
    by_day: str = ""
    chart: tuple[str, str] | None = None

    def problem(self, message: str, table_read: TableRead | None = None, hint: str = "") -> Problem:
        line, column = (1, 1) if table_read is None else (table_read.line, table_read.column)
        return Problem(self.file, line, column, "", message, hint)


def load_models(files: TextMapping, views: Collection[str]) -> list[MartModel]:
    """Load the models, each after those that it reads.

    Args:
        files: Texts of `.sql` and `.yaml` files, by name relative to the project.
        views: Names of the lake's views.

    Raises: DefinitionError with every mistake: more or less than one SELECT, an unknown table, a cycle.
    """
    problems: list[Problem] = []
    by_name: dict[str, MartModel] = {}
    for file in sorted(name for name in files if name.endswith(".sql")):
        model = _model(file, files[file], files.get(file.removesuffix(".sql") + ".yaml"), problems)
        if model is None:
            continue
        if model.name in views:
            problems.append(model.problem(f"the lake has a view {model.name!r} already.", hint="Rename this file."))
        elif model.name in by_name:
            problems.append(model.problem(f"{by_name[model.name].file} has this name, too.", hint="Rename one."))
        else:
            by_name[model.name] = model
    problems += _stray(files)
    if len(by_name) > MODELS_MAX:
        problems.append(Problem(FOLDER, 0, 0, "", f"{len(by_name):,} models; at most {MODELS_MAX:,} are built."))
    for model in by_name.values():
        problems += _unreadable(model, by_name, views)
    if problems:
        raise DefinitionError(problems)
    return _sort(by_name)


def _stray(files: Collection[str]) -> Iterator[Problem]:
    for file in files:
        if file.endswith(".yml"):
            yield Problem(file, 0, 0, "", "this file is not read.", "Rename it to .yaml.")
        elif file.endswith(".yaml") and f"{file[:-5]}.sql" not in files:
            yield Problem(file, 0, 0, "", f"there is no {PurePosixPath(file).stem}.sql beside these tests.")


def _model(file: str, sql: str, tests: str | None, problems: list[Problem]) -> MartModel | None:
    path = PurePosixPath(file)
    if not _FILE.fullmatch(path.stem):
        message = "its name is the table's: lower-case letters, digits and _, a letter first."
        problems.append(Problem(file, 0, 0, "", message))
        return None
    references = _references(file, sql, problems)
    description, columns = _parse_comments(sql)
    kind = _KINDS.get(path.parts[1], "mart") if len(path.parts) > 2 else "mart"
    model = MartModel(path.stem, kind, file, sql, description, columns, tuple(references))
    return model if not tests else _add_yaml(model, tests, problems)


def _add_yaml(model: MartModel, text: str, problems: list[Problem]) -> MartModel:
    node = read(text, model.file.removesuffix(".sql") + ".yaml", problems)
    if node is None or read_shape(node, CHECKS, problems, "the file") is None:
        return model
    assert isinstance(node, YamlMapping)
    by_day = node.get("by_day")
    chart = node.get("chart")
    axes = None if chart is None else (chart.get("labels").text, chart.get("values").text)  # type: ignore[union-attr]  # by its shape
    day = "" if by_day is None else by_day.text  # type: ignore[union-attr]  # the same
    if day and model.kind == "view":
        problems.append(node.problem("by_day is for tables: a view is computed at each read."))
    return replace(model, tests=tuple(tests_of(model.name, node)), by_day=day, chart=axes)


def _references(file: str, sql: str, problems: list[Problem]) -> list[TableRead]:
    """Return the tables that a SELECT names; add a problem if it is not one SELECT, or reads anything but tables."""
    with stopped_by_ctrl_c(), library().connect(":memory:") as parser:
        query = "SELECT json_serialize_sql(?::VARCHAR, skip_null := true, skip_empty := true)"
        parsed = json.loads(parser.execute(query, [sql]).fetchone()[0])
    if parsed["error"]:
        line, column = place_at(sql, int(parsed.get("position", 0)))
        message = "this is not a SELECT." if "SELECT" in parsed["error_message"] else f"{parsed['error_message']}."
        problems.append(Problem(file, line, column, "", message))
        return []
    if len(parsed["statements"]) != 1:
        problems.append(Problem(file, 1, 1, "", f"{len(parsed['statements'])} statements; a model is one SELECT."))
        return []
    reads = []
    for node in _tables(parsed["statements"][0], frozenset()):
        line, column = place_at(sql, node.get("query_location", 0))
        if node["type"] == "TABLE_FUNCTION":
            name = node["function"]["function_name"]
            if name.lower() not in TABLE_FUNCTIONS:
                message = f"{name}() cannot stand here: a model reads the lake and other models."
                problems.append(Problem(file, line, column, "", message, f"Functions: {', '.join(TABLE_FUNCTIONS)}."))
        elif node.get("schema_name") or node.get("catalog_name"):
            message = f"{node['table_name']!r} is named with a schema: models have a name alone."
            problems.append(Problem(file, line, column, "", message))
        else:
            reads.append(TableRead(node["table_name"].lower(), line, column))
    return reads


def _tables(node: Any, hidden: frozenset[str]) -> Iterator[JsonObject]:
    """Yield the tables after FROM and JOIN in DuckDB's tree of a SELECT, without those of WITH."""
    if isinstance(node, list):
        for part in node:
            yield from _tables(part, hidden)
    if not isinstance(node, dict):
        return
    kind = node.get("type")  # for a constant it is an object
    if isinstance(kind, str) and kind in {"BASE_TABLE", "TABLE_FUNCTION"}:
        is_named = kind == "BASE_TABLE" and not node.get("schema_name")
        if not is_named or node["table_name"].lower() not in hidden:
            yield node
    if kind == "RECURSIVE_CTE_NODE":
        hidden |= {node["cte_name"].lower()}
    for entry in node.get("cte_map", {}).get("map", []):
        yield from _tables(entry["value"], hidden)
        hidden |= {entry["key"].lower()}
    for key, value in node.items():
        if key != "cte_map":
            yield from _tables(value, hidden)


def place_at(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, from 1, of a byte; of the first if the parser gave no place."""
    preceding = text.encode()[: offset if offset < 2**63 else 0].decode(errors="ignore")
    return preceding.count("\n") + 1, len(preceding) - preceding.rfind("\n")


def _parse_comments(sql: str) -> tuple[str, TextDict]:
    """Parse the comments on top: a description of the model, then one of each column as `-- status: what it means`.

    An indented line continues the one above.
    """
    description: list[str] = []
    columns: TextDict = {}
    last = ""
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        text = line[2:].removeprefix(" ")
        if description and (column := _COLUMN.fullmatch(text.rstrip())) is not None:
            last = column[1]
            columns[last] = column[2]
        elif last and text.startswith(" "):
            columns[last] += f" {text.strip()}"
        else:
            last = ""
            description.append(text.strip())
    return " ".join(filter(None, description)), columns


def _unreadable(model: MartModel, models: Mapping[str, MartModel], views: Collection[str]) -> Iterator[Problem]:
    tables = [*models, *views]
    for source in model.reads:
        if source.name not in tables:
            message = f"nothing is named {source.name!r}: neither a model nor a view of the lake."
            yield model.problem(message, source, nearest(source.name, tables))
        elif model.kind == "view" and source.name in models and models[source.name].kind != "view":
            yield model.problem(
                f"a staging view reads the lake and other views, and {source.name!r} is a table.", source
            )
        elif model.by_day and source.name in models and models[source.name].kind != "view":
            yield model.problem(
                f"built by day, it reads the lake and views of it, and {source.name!r} is a table.", source
            )
    if model.by_day:
        for name in sorted(sources_of(model, models) & set(_NOT_DAILY)):
            message = f"built by day, it cannot read {name!r}, also by way of a view: these lie at days of their own."
            yield model.problem(message, hint="Leave out 'by_day'.")


def sources_of(model: MartModel, models: Mapping[str, MartModel], visited: frozenset[str] = frozenset()) -> set[str]:
    """Return the views of the lake that a model reads, also through other models."""
    names: set[str] = set()
    for source in model.reads:
        if source.name not in models:
            names.add(source.name)
        elif source.name not in visited:
            names |= sources_of(models[source.name], models, visited | {source.name})
    return names


def _sort(models: Mapping[str, MartModel]) -> list[MartModel]:
    """Sort models, each after those that it reads, else by name. Raises: DefinitionError for a cycle."""
    graph = {name: sorted({read.name for read in model.reads if read.name in models}) for name, model in models.items()}
    try:
        return [models[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        circle = error.args[1][::-1]  # in reading order
        model = models[circle[0]]
        table_read = next(read for read in model.reads if read.name == circle[1])
        raise DefinitionError(
            [model.problem(f"models read each other in a circle: {' → '.join(circle)}.", table_read)]
        ) from None
