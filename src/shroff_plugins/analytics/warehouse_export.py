"""Export of an opened project's lake to a warehouse."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from shroff.errors import UsageError, nearest
from shroff.plugins.operations import OperationAnswer, many
from shroff.plugins.project import filled, read_sql, unset

if TYPE_CHECKING:
    from shroff.plugins.project import Project, ProjectContext
    from shroff_plugins.analytics.warehouse import WarehouseFiles

TIMEOUT = "10m"  # for the upload of one file
VARIABLE = "${BIGQUERY_TOKEN}"
FOLDER = "warehouse"
NO_LAKE = (
    "a warehouse export reads the lake, and this project has none. Add 'lake: ./lake' to shroff.yaml and run "
    "'shroff lake write'."
)


def export_warehouse(context: ProjectContext, out: Path, format_: str = "parquet", behind: int = 0) -> WarehouseFiles:
    """Write the lake as files for BigQuery into a folder (see `analytics.warehouse`).

    Args:
        behind: Write only commits after this manifest.

    Raises: UsageError if there is no lake or no such format; DefinitionError for a mistake in a SELECT of `warehouse/`;
    StateError if rows do not fit their table.
    """
    from shroff.plugins.lake import Lakes, empty_tables
    from shroff_plugins.analytics.marts.models import load_models
    from shroff_plugins.analytics.marts.views import ViewFiles
    from shroff_plugins.analytics.warehouse import FORMATS, WarehouseRequest, write_warehouse

    if format_ not in FORMATS:
        raise UsageError(f"there is no format {format_!r}. {nearest(format_, FORMATS) or 'Use parquet or ndjson.'}")
    if context.systems.lake is None:
        raise UsageError(NO_LAKE)
    empty = empty_tables(context.definitions)
    texts = read_sql(context.paths.folder, FOLDER)
    models = load_models(texts, ViewFiles({}, empty).views) if texts else []
    with ExitStack() as exit_stack:
        reader = exit_stack.enter_context(Lakes(context).reader())
        return write_warehouse(reader, WarehouseRequest(out, format_, behind, empty, models))


def load_warehouse(
    context: ProjectContext, files: WarehouseFiles, format_: str, target: str, endpoint: str = ""
) -> dict[str, int]:
    """Load written files into a dataset of BigQuery; return for each table how many were not loaded before.

    Args:
        target: `PROJECT.DATASET`. The access token is BIGQUERY_TOKEN of the environment.
        endpoint: Server to use instead of Google's.

    Raises: UsageError if the target is not valid or there is no token; StateError if BigQuery refuses; TransientError
    if it cannot be reached: files loaded until then remain, and are not loaded again.
    """
    from shroff.plugins.adapters import System
    from shroff.plugins.http import Calls
    from shroff_plugins.analytics.bigquery import ENDPOINT, BigQuery, LoadFile

    server = endpoint or ENDPOINT
    called = context.systems.called(System("bigquery", {"url": server, "timeout": TIMEOUT}), context.paths.folder)
    loaded: dict[str, int] = {}
    if unset(VARIABLE):
        raise UsageError("BIGQUERY_TOKEN is not set in the environment; it has the access token.")
    with closing(BigQuery(target, filled(VARIABLE, "--load"), Calls.of(called.options), endpoint=server)) as warehouse:
        for table, name, path in files.paths:
            file = LoadFile(path, table, f"{files.log[:8]}_{name}", format_, files.schemas[table])
            loaded[table] = loaded.get(table, 0) + warehouse.load(file)
    return loaded


class WarehouseExport(OperationAnswer, dict=True):
    """Result of an export: the last manifest, files and rows by table, and files loaded."""

    out: str
    format: str
    manifests: dict[str, int]
    files: dict[str, int]
    rows: dict[str, int]
    loaded: dict[str, int] | UnsetType = UNSET
    summary = ""

    def text(self) -> str:
        return self.summary


def export(
    project: Project, out: Path, format_: str, *, behind: int | None, load: str | None, endpoint: str | None
) -> WarehouseExport:
    """Write the lake for a warehouse, and load it if a dataset is given."""
    files = export_warehouse(project.context, out, format_, behind or 0)
    lines = [f"{out}: {many(len(files.schemas), 'schema')}"]
    lines += [
        f"  {name}: {many(files.rows[name], 'row')} in {many(files.files[name], 'file')}" for name in sorted(files.rows)
    ]
    answer = WarehouseExport(
        out=str(out), format=format_, manifests=files.manifests, files=files.files, rows=files.rows
    )
    if load is not None:
        answer.loaded = load_warehouse(project.context, files, format_, load, endpoint or "")
        count = sum(answer.loaded.values())
        lines.append(f"{load}: {many(count, 'file')} loaded, {len(files.paths) - count:,} loaded before.")
    answer.summary = "\n".join(lines)
    return answer
