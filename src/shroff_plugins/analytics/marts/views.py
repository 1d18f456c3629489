"""The lake as views: `payment` and each other event type, `decisions`, `labels`, `flags`, `hits`, `controls` and
`features_payment`. A view reads the files of the manifests, so it has each row once.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from shroff.errors import StateError, UsageError
from shroff.plugins.values import FrozenStruct
from shroff_plugins.analytics.closed_duckdb import identifier, literal

WHOLE = ("decisions", "labels", "flags", "hits", "controls")  # one view for all event types
_PARTS = {"events": "type", "decisions": "event", "features": "event"}  # key of the event type in the folders of a kind
_HIVE = {"type": "VARCHAR", "event": "VARCHAR", "date": "DATE"}


class ViewFiles(FrozenStruct):
    """The current files of a lake, on this machine.

    Args:
        paths: Path of each file, by its name in the lake.
        empty: Tables without rows, by folder, with the columns of new files: views exist before their rows.
    """

    paths: Mapping[str, Path]
    empty: Mapping[str, pa.Table]

    @property
    def views(self) -> dict[str, list[str]]:
        """Return the folders of each view; an event type with the name of another view gets a final `_`."""
        folders = {*self.empty, *(name.rpartition("/date=")[0] for name in self.paths)}
        folders_by_view: dict[str, list[str]] = {}
        for folder in sorted(folders):
            folders_by_view.setdefault(view_name(folder), []).append(folder)
        return folders_by_view

    def of(self, folder: str) -> list[str]:
        """Return the files of a folder, sorted by name."""
        return sorted(name for name in self.paths if name.startswith(f"{folder}/date="))


def view_name(folder: str) -> str:
    """Return the view of a folder.

    >>> view_name("events/type=payment"), view_name("features/event=payment"), view_name("labels")
    ('payment', 'features_payment', 'labels')
    """
    kind, _, type_name = folder.partition("/")
    name = type_name.partition("=")[2]
    if kind in WHOLE:
        return kind
    if kind == "features":
        return f"features_{name}"
    return f"{name}_" if name in WHOLE or name.startswith("features_") else name


def day_of(name: str) -> str:
    return name.rpartition("/date=")[2].partition("/")[0]


def create_tables(connection: Any, lake: ViewFiles) -> None:
    """Create the empty tables that give views their columns; they end with the connection."""
    for folder, table in lake.empty.items():
        connection.register("arrow_table", table)
        kind = folder.partition("/")[0]
        extra = f", CAST(NULL AS VARCHAR) AS {_PARTS[kind]}" if kind in _PARTS else ""
        statement = (
            f"CREATE TEMP TABLE {_empty(folder)} AS SELECT *{extra}, CAST(NULL AS DATE) AS date FROM arrow_table"
        )
        connection.execute(statement)
        connection.unregister("arrow_table")


def create_views(connection: Any, lake: ViewFiles, days: Collection[str] | None = None) -> None:
    """Create the views, or replace them for other files.

    Args:
        days: Read only files of these days; None for all.
    """
    for name, folders in lake.views.items():
        parts = []
        for folder in folders:
            if folder in lake.empty:
                parts.append(f"SELECT * FROM {_empty(folder)}")
            files = [lake.paths[file] for file in lake.of(folder) if days is None or day_of(file) in days]
            if files:
                parts.append(f"SELECT * FROM {read_parquet(folder, files)}")
        if parts:
            query = " UNION ALL BY NAME ".join(parts)
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {identifier(name)} AS {query}")


def read_parquet(folder: str, files: Collection[Path | str], *, is_typed: bool = True) -> str:
    """Return SQL that reads the files of a folder, of all versions of its columns, with columns for type and day.

    Without `is_typed` DuckDB infers the types of these two.
    """
    kind = folder.partition("/")[0]
    keys = [*([_PARTS[kind]] if kind in _PARTS else []), "date"]
    types = ", ".join(f"{literal(key)}: {_HIVE[key]}" for key in keys)
    listed = ", ".join(literal(str(file)) for file in files)
    typed = f", hive_types_autocast = false, hive_types = {{{types}}}" if is_typed else ""
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = true{typed})"


def sources_yml(project: str, address: str, lake: ViewFiles) -> str:
    """Return a `sources.yml` for dbt-duckdb, with a table for each view of the lake that has rows.

    It lists the current files: write it again after the lake was written or compacted.

    Raises: UsageError if dbt cannot read its address.
    Source: https://github.com/duckdb/dbt-duckdb, "External sources".
    """
    if "{" in address or "}" in address:
        raise UsageError(f"{address}: dbt replaces text in braces. Give the lake's folder another name.")
    lines = [
        "# Made by 'shroff marts dbt': the files of the lake that count. Make it anew before each 'dbt build'.",
        "version: 2",
        "sources:",
        "  - name: shroff",
        f"    description: {json.dumps(f'The lake of {project}', ensure_ascii=False)}",
        "    tables:",
    ]
    for name, folders in lake.views.items():
        parts = []
        for folder in folders:
            files = [f"{address.rstrip('/')}/{file}" for file in lake.of(folder)]
            if files:
                parts.append(read_parquet(folder, files, is_typed=False))
        if not parts:
            continue
        query = (
            parts[0] if len(parts) == 1 else "(" + " UNION ALL BY NAME ".join(f"FROM {part}" for part in parts) + ")"
        )
        lines += [
            f"      - name: {json.dumps(name)}",
            "        config:",
            f"          external_location: {json.dumps(query, ensure_ascii=False)}",
        ]
    return "\n".join(lines) + "\n"


def _empty(folder: str) -> str:
    """Return the name of a folder's empty table; no view and no model can have it."""
    return identifier(f"no rows of {folder}")


def check_sizes(paths: Mapping[str, Path], sizes: Mapping[str, int]) -> None:
    """Raises: StateError if a file is missing, or its size differs from the manifest."""
    for name, path in paths.items():
        if not path.is_file():
            raise StateError(f"{path} is not there. Run 'shroff lake check'; after 'shroff lake compact' build again.")
        if name in sizes and path.stat().st_size != sizes[name]:
            raise StateError(f"{path} is not as long as the lake says. Run 'shroff lake check'.")
