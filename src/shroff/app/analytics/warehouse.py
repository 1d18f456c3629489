"""Files for a warehouse, of an opened project."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.errors import UsageError, nearest

if TYPE_CHECKING:
    from shroff.analytics.warehouse import WarehouseFiles
    from shroff.app.opened import Opened

TIMEOUT: Final = "10m"  # of the upload of one file
VARIABLE: Final = "${BIGQUERY_TOKEN}"
FOLDER: Final = "warehouse"
NO_LAKE: Final = (
    "a warehouse export reads the lake, and this project has none. Add 'lake: ./lake' to shroff.yaml and run "
    "'shroff lake write'."
)


def export_warehouse(opened: Opened, out: Path, format_: str = "parquet", behind: int = 0) -> WarehouseFiles:
    """Write the lake as files that BigQuery loads, into a folder (see `analytics.warehouse`).

    Args:
        behind: Only commits behind this manifest of each lane.

    Raises: UsageError where there is no lake, or no such format; DefinitionError for a mistake in a SELECT of
        `warehouse/`; StateError where rows do not fit their table.
    """
    from shroff.analytics.marts.models import load_models
    from shroff.analytics.marts.views import LakeFiles
    from shroff.analytics.warehouse import FORMATS, Wanted, write_warehouse
    from shroff.app.lakes import Lakes
    from shroff.lake.rows import empty_tables

    if format_ not in FORMATS:
        raise UsageError(f"there is no format {format_!r}. {nearest(format_, FORMATS) or 'Use parquet or ndjson.'}")
    if opened.systems.lake is None:
        raise UsageError(NO_LAKE)
    empty = empty_tables(opened.definitions)
    texts = config.read_sql(opened.places.folder, FOLDER)
    models = load_models(texts, LakeFiles({}, empty).views) if texts else []
    with ExitStack() as held:
        readers = [held.enter_context(Lakes(opened).reader())]
        return write_warehouse(readers, Wanted(out, format_, behind, empty, models))


def load_warehouse(
    opened: Opened, done: WarehouseFiles, format_: str, target: str, endpoint: str = ""
) -> dict[str, int]:
    """Load files that were written into a dataset of BigQuery; how many of each table were not loaded before.

    Args:
        target: `PROJECT.DATASET`. The access token is BIGQUERY_TOKEN of the environment.
        endpoint: Another server than Google's.

    Raises: UsageError where the target is none, or there is no token; StateError where BigQuery refuses;
        TransientError where it cannot be reached: what was loaded by then stays, and is not loaded again.
    """
    from shroff.adapters.bigquery import ENDPOINT, BigQuery, LoadFile
    from shroff.adapters.http_calls import Calls
    from shroff.project.settings.system import System

    at = endpoint or ENDPOINT
    called = opened.systems.called(System("bigquery", {"url": at, "timeout": TIMEOUT}), opened.places.folder)
    loaded: dict[str, int] = {}
    if config.unset(VARIABLE):
        raise UsageError("BIGQUERY_TOKEN is not set in the environment; it has the access token.")
    with closing(
        BigQuery(target, config.filled(VARIABLE, "--load"), Calls.of(called.options), endpoint=at)
    ) as warehouse:
        for table, name, path in done.paths:
            file = LoadFile(path, table, f"{done.log[:8]}_{name}", format_, done.schemas[table])
            loaded[table] = loaded.get(table, 0) + warehouse.load(file)
    return loaded
