"""Arrow tables of an opened project: the calls of `shroff.open(...)` that notebooks use most."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from shroff.errors import UsageError
from shroff.events.formats.encodings import read_lines
from shroff.runtime.keywords import warn_caller
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.parts import ProjectPart

if TYPE_CHECKING:
    import pyarrow as pa

    from shroff.log.columns.tables import Way
    from shroff.log.state.feature_events import LeftOut
    from shroff.replay.notebook import Moment
    from shroff.worker.answers import Events

Files = str | Path | Sequence[str | Path]


class FeatureReport(FrozenStruct):
    """Result of `features`."""

    rows: int
    columns: tuple[str, ...]
    seconds: float
    left: LeftOut


def paths(files: Files) -> list[Path]:
    return [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFiles:
    """Input files that are read in place of the log.

    Args:
        files: One file, or several in their order; nothing of them is appended to the log.
        labels: Labels of their events, merged in by the time they became known.
        order: `file`, or `time` to sort by event time first.
    """

    files: Files = ()
    labels: str | Path | None = None
    order: str = "file"

    @property
    def paths(self) -> list[Path]:
        return paths(self.files)

    def check(self) -> None:
        """Raises: UsageError if labels or an order are given without files."""
        if self.labels is not None and not self.paths:
            raise UsageError("labels are for files; the log has its own labels, added by 'shroff label FILE'.")
        if self.order != "file" and not self.paths:
            raise UsageError("an order by time is for files; the log keeps its own order.")


@contextmanager
def as_file(events: Events) -> Iterator[Path]:
    """Write a program's events to a temporary file: JSON lines, or Parquet for a data frame.

    Raises: UsageError as `json_lines` and `table_of`.
    """
    from shroff.worker.answers import json_lines, table_of

    table = table_of(events)
    with TemporaryDirectory(prefix="shroff-") as folder:
        file = Path(folder) / ("frame.jsonl" if table is None else "frame.parquet")
        if table is None:
            with file.open("wb") as out:
                out.writelines(json_lines(events))
        else:
            import pyarrow.parquet as pq

            pq.write_table(table, file, compression="none")
        yield file


class ArrowTables(ProjectPart):
    """Tables of a project. Each call reads the current log."""

    def features(
        self,
        event: str,
        events: Events | None = None,
        *,
        as_of: Moment | None = None,
        files: Files = (),
        engine: str = "batch",
        floats: bool = False,
    ) -> pa.Table:
        """Compute the features of one type's events (see `Project.features`).

        A warning counts the rows that give no event, with the reason for the first.

        Raises: UsageError if there is no such type, or both events and files are given.
        """
        from shroff.log.columns.tables import Way, feature_schema
        from shroff.replay.notebook import moment_ms, whole

        if events is not None and files:
            raise UsageError("name either events or files.")
        left = self._left_out()
        with nullcontext(files) if events is None else as_file(events) as of:
            tables = self.feature_parts(event, paths(of), Way(engine), as_of_ms=moment_ms(as_of), left=left)
            table = whole(feature_schema(self._definitions, event), tables)
        if left.count:
            warn_caller(f"{left}.")
        return with_floats(table) if floats else table

    def write_features(self, event: str, files: Files, out: str | Path, way: Way | None = None) -> FeatureReport:
        """Write the features of the log's or the files' events as Parquet, by default with the batch engine."""
        from shroff.log.columns.tables import Way, feature_schema
        from shroff.runtime.atomic_files import check_out, out_format, write_tables
        from shroff.runtime.process_wide import calm_collector

        out, given, left = Path(out), paths(files), self._left_out()
        check_out(out, given)
        out_format(out, None, ["parquet"])
        started = time.monotonic()
        schema = feature_schema(self._definitions, event, is_narrow=True)
        way = replace(way or Way(), spill=out.parent, is_narrow=True)
        with calm_collector():
            rows = write_tables(out, schema, self.feature_parts(event, given, way, left=left))
        return FeatureReport(rows, tuple(schema.names), time.monotonic() - started, left)

    def events(self, event: str | None = None, *, as_of: Moment | None = None, floats: bool = False) -> pa.Table:
        """Get the events of one type, or of all (see `Project.events`)."""
        if event is None:
            return self._exported("events", as_of)
        from shroff.replay.notebook import events_table

        with self._log.reading() as log:
            table = events_table(log, self._definitions, event, as_of)
        return with_floats(table) if floats else table

    def labels(self, *, as_of: Moment | None = None) -> pa.Table:
        """Get one row for each event with a label at `as_of` (see `Project.labels`)."""
        from shroff.replay.notebook import labels_table

        with self._log.reading() as log:
            return labels_table(log, self._definitions, as_of)

    def decisions(self) -> pa.Table:
        """Get all decisions, as in `shroff export decisions --format parquet`."""
        return self._exported("decisions")

    def flags(self) -> pa.Table:
        """Get all flags, as in `shroff export flags --format parquet`.

        `accuracy` follows from the active verdict of the flag's event, known at `updated`; `fields` are that
        event's fields as JSON, its account for example.
        """
        return self._exported("flags")

    def _exported(self, name: str, as_of: Moment | None = None) -> pa.Table:
        from shroff.replay.notebook import exported

        with self._log.reading() as log:
            return exported(log, self._definitions.events, name, as_of, self._now_ms())

    def _left_out(self) -> LeftOut:
        from shroff.log.state.feature_events import LeftOut

        return LeftOut(tell=self._context.warnings.once, now_ms=self._now_ms())

    def feature_parts(
        self, event: str, files: Sequence[Path], way: Way, *, as_of_ms: int | None = None, left: LeftOut | None = None
    ) -> Iterator[pa.Table]:
        """Compute the features of one type as consecutive Arrow tables, in log order or file order.

        `left` counts the lines that yield no event.
        """
        from shroff.log.columns.tables import feature_tables, tables_of
        from shroff.log.state.feature_events import file_batches, known_by
        from shroff.training.sets.log_features import log_features

        left = self._left_out() if left is None else left
        definitions = self._definitions
        if files and way.engine in {"batch", "online"}:
            from shroff.log.columns.files import file_columns

            columns = file_columns(files, definitions, self._log.hasher, event, as_of_ms, left, format=way.format)
            yield from tables_of(definitions, event, columns, definitions.settings.lateness_ms, way)
        elif files:
            lines = ((path.name, read_lines(path, way.format, left.tell)) for path in files)
            batches = known_by(file_batches(lines, definitions, self._log.hasher, event, left), as_of_ms)
            yield from feature_tables(definitions, event, batches, definitions.settings.lateness_ms, way)
        else:
            with self._log.reading() as log:
                yield from log_features(log, definitions, event, way, as_of_ms)


def with_floats(table: pa.Table) -> pa.Table:
    """Return a table whose decimals are the nearest 64-bit floats, for libraries that compute with numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def column(name: str) -> pa.ChunkedArray:
        found = table[name]
        # through text, which yields the nearest float
        return pc.cast(pc.cast(found, pa.string()), pa.float64()) if pa.types.is_decimal(found.type) else found

    return pa.table({name: column(name) for name in table.column_names})
