"""SQL marts of an opened project: building, testing and reading them."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroff.errors import StateError, UsageError
from shroff.plugins.operations import threads
from shroff.plugins.project import alone, read_sql
from shroff.plugins.values import FrozenStruct
from shroff_plugins.analytics.counts import history_of

if TYPE_CHECKING:
    from shroff.plugins.lake import LakeReader
    from shroff.plugins.log import Log
    from shroff.plugins.operations import Progress
    from shroff.plugins.project import ProjectContext
    from shroff_plugins.analytics.marts.build import BuiltMarts, MartFiles
    from shroff_plugins.analytics.marts.models import MartModel
    from shroff_plugins.analytics.marts.views import ViewFiles

ROWS = 20  # shown by default
ROWS_MAX = 100_000
NO_LAKE = (
    "marts read the lake, and this project has none. Add 'lake: ./lake' to shroff.yaml and run 'shroff lake write'."
)
NOT_WRITTEN = "marts read the lake, and this one has no events yet. Run 'shroff lake write'."
BUILDING = "another 'shroff marts build' runs for this project; wait until it ends"
NO_MODELS = (
    "there are no marts. Write one SELECT as marts/payments_by_day.sql, such as: "
    "SELECT date, count(*) AS payments FROM payment GROUP BY date"
)


class MartBuild(FrozenStruct):
    """A build: its marts, and the number of the log's places that the lake lacked."""

    marts: BuiltMarts
    behind: int


class MartRows(FrozenStruct):
    """Some rows of a mart."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class Marts:
    """SQL tables built from the lake; one process builds them, while any number can read them."""

    def __init__(self, context: ProjectContext) -> None:
        self._context = context

    @property
    def _state(self) -> Path:
        """Folder of the built marts; it may be removed at any time."""
        return self._context.paths.state / "marts"

    @property
    def _files(self) -> MartFiles:
        from shroff_plugins.analytics.marts.build import MartFiles

        return MartFiles(self._state)

    def build(self, *, memory: str | None = None, is_full: bool = False, progress: Progress | None = None) -> MartBuild:
        """Build every mart from the lake and run its tests (see `analytics.marts.build`).

        Args:
            memory: Memory limit of queries, as `4GB`; more data is spilled to disk.
            is_full: Whether to rebuild all days of models that are built by day.

        Raises: UsageError if there is no lake, no model or no DuckDB; DefinitionError for a mistake in a model.
        """
        from shroff_plugins.analytics.closed_duckdb import MEMORY, QueryLimits, library
        from shroff_plugins.analytics.marts.build import Origin, build

        library()
        limits = QueryLimits(memory or MEMORY, threads())
        with ExitStack() as exit_stack:
            log, reader = self._history(exit_stack)
            exit_stack.enter_context(alone(self._state / "build.lock", BUILDING))
            shutil.rmtree(self._files.work, ignore_errors=True)
            (self._files.work / "spill").mkdir(parents=True)
            exit_stack.callback(shutil.rmtree, self._files.work, ignore_errors=True)
            lake = self._local(reader)
            models = self.models(lake)
            origin = Origin(lake, {"0": reader.last_seq}, self._context.now_ms())
            built = build(models, origin, self._files, limits, is_full=is_full, progress=progress)
            return MartBuild(built, log.last_seq() - reader.last_seq)

    def models(self, lake: ViewFiles | None = None) -> list[MartModel]:
        """List the marts in build order. Raises: as `build`."""
        from shroff_plugins.analytics.marts.models import load_models

        lake = lake or self._files_of_build([])
        texts = read_sql(self._context.paths.folder, "marts")
        if not any(name.endswith(".sql") for name in texts):
            raise UsageError(NO_MODELS)
        return load_models(texts, lake.views)

    def test(self) -> BuiltMarts:
        """Run the tests, as they are written now, on the last build.

        Raises: UsageError if there is none, or it was not made of these models; StateError where files of the lake
            are gone that it was made of.
        """
        from shroff_plugins.analytics.closed_duckdb import QueryLimits
        from shroff_plugins.analytics.marts.build import described_build, reading
        from shroff_plugins.analytics.marts.views import check_sizes

        built = self.built()
        lake = self._files_of_build(built.files)
        check_sizes(lake.paths, {})
        models = self.models(lake)
        limits = QueryLimits(threads=threads())
        with reading(self._files.current, limits, [*lake.paths.values()]) as connection:
            return described_build(connection, models, built, lake)

    def built(self, *, failed: bool = False) -> BuiltMarts:
        """Get the last build with passed tests, or a later one with failed tests. Raises: UsageError without one."""
        built = self._files.built(failed=failed)
        if built is None and failed:
            raise UsageError("no build since the last good one has failed tests.")
        if built is None:
            raise UsageError("the marts are not built yet. Run 'shroff marts build'.")
        return built

    def rows(self, name: str, limit: int = ROWS, *, failed: bool = False) -> MartRows:
        """Get the first rows of a mart. Raises: UsageError if there is no such mart, or it is a view."""
        from shroff_plugins.analytics.marts.build import rows_of

        if self.built(failed=failed).named(name).kind == "view":
            raise UsageError(f"{name} is a view, so it has no stored rows. Read a table or mart built from it.")
        if not 1 <= limit <= ROWS_MAX:
            raise UsageError(f"rows must be from 1 to {ROWS_MAX:,}, not {limit:,}.")
        return MartRows(*rows_of(self._files.failed if failed else self._files.current, name, limit))

    def sources(self) -> str:
        """Get the lake as sources for dbt-duckdb: the text of a `sources.yml`."""
        from shroff_plugins.analytics.marts.views import sources_yml

        with ExitStack() as exit_stack:
            _, lake = self._history(exit_stack)
            names = sorted(lake.state.files)
            address = lake.objects.address
        return sources_yml(self._context.definitions.settings.name, address, self._files_of_build(names))

    def _history(self, exit_stack: ExitStack) -> tuple[Log, LakeReader]:
        """Return the log and its lake. Raises: UsageError if there is no lake."""
        log, lake = history_of(self._context, exit_stack)
        if lake is None:
            raise UsageError(NO_LAKE if self._context.systems.lake is None else NOT_WRITTEN)
        return log, lake

    def _local(self, lake: LakeReader) -> ViewFiles:
        """Return the files of the lake on this machine; copy each file of a bucket once."""
        from shroff.plugins.lake import data_of
        from shroff_plugins.analytics.marts.views import check_sizes

        files = lake.state.files
        local_files = self._files_of_build(sorted(files))
        if self._copies is not None:
            for path in [copy for copy in self._copies.rglob("*.parquet") if copy not in local_files.paths.values()]:
                path.unlink()
            for name, path in local_files.paths.items():
                if not path.is_file():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    part = self._files.work / "part"
                    part.write_bytes(data_of(lake.objects, files[name]))
                    part.replace(path)
        check_sizes(local_files.paths, {name: file.bytes for name, file in files.items()})
        return local_files

    @property
    def _copies(self) -> Path | None:
        """Return the folder of copies of a bucket's files; None for a lake in a folder."""
        return None if self._folder is not None else self._state / "lake"

    @property
    def _folder(self) -> Path | None:
        from shroff.plugins.lake import Lakes

        if self._context.systems.lake is None:
            raise UsageError(NO_LAKE)
        return Lakes(self._context).folder

    def _files_of_build(self, names: list[str]) -> ViewFiles:
        from shroff.plugins.lake import empty_tables
        from shroff_plugins.analytics.marts.views import ViewFiles

        folder = self._folder or self._copies
        if folder is None:
            raise StateError("a lake is in a folder or a bucket")
        return ViewFiles({name: folder / name for name in names}, empty_tables(self._context.definitions))
