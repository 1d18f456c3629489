"""Operations of marts: build the tables that the project's SQL makes of the lake, test and show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from shroff.errors import StateError
from shroff.json_types import JsonMapping, JsonObject
from shroff.plugins.events import SAFE_INTEGER_MAX
from shroff.plugins.operations import (
    JobKind,
    JobParams,
    OperationAnswer,
    OperationRequest,
    Param,
    ProgressSteps,
    group,
    many,
    one_line,
    operation,
    table,
)
from shroff.plugins.project import Project
from shroff_plugins.analytics.marts.project_marts import Marts

if TYPE_CHECKING:
    from shroff.plugins.operations import JobRun
    from shroff_plugins.analytics.marts.build import BuiltMart, BuiltMarts

group(
    "marts",
    """Build SQL tables from the lake: each file of marts/ has one SELECT, with its tests beside it.

    A mart reads the lake's views (each event type by its name, decisions, labels, flags, hits) and other marts by
    their names. DuckDB runs the SQL inside this process, without access to other files or the network.

    Examples:
        shroff marts build
        shroff marts show payments_by_day
    """,
)


class MartFailure(msgspec.Struct):
    """A failed test: how many rows fail it, and an example."""

    test: str
    rows: int
    example: str


class MartColumn(msgspec.Struct):
    """A column of a mart."""

    name: str
    type: str
    description: str


class MartEntry(msgspec.Struct, kw_only=True):
    """A mart with the results of its tests; of one that is shown, its columns and first rows."""

    name: str
    kind: str
    rows: int
    tests: int
    failed: int
    failures: list[MartFailure]
    description: str | UnsetType = UNSET
    columns: list[MartColumn] | UnsetType = UNSET
    data: list[JsonObject] | UnsetType = UNSET


def _entry(mart: BuiltMart, **more: Any) -> MartEntry:
    return MartEntry(
        name=mart.name,
        kind=mart.kind,
        rows=mart.rows,
        tests=mart.tests,
        failed=len(mart.failures),
        failures=[MartFailure(*failure) for failure in mart.failures],
        **more,
    )


class MartList(OperationAnswer):
    """Marts, with the results of their tests."""

    marts: list[MartEntry]

    def text(self) -> str:
        if self.marts and self.marts[0].data is not UNSET:
            return _rows_text(self.marts[0])
        rows = [(mart.name, mart.kind, mart.rows, mart.tests, mart.failed) for mart in self.marts]
        failures = "".join(
            f"\n  {mart.name}: {failure.test}: {many(failure.rows, 'row')}"
            f"{failure.example and f', such as {one_line(failure.example)}'}"
            for mart in self.marts
            for failure in mart.failures
        )
        tests = sum(mart.tests for mart in self.marts)
        failed = sum(mart.failed for mart in self.marts)
        heading = (
            f"{many(len(rows), 'model')}, {many(tests, 'test')}, {failed:,} failed{':' if failures else '.'}{failures}"
        )
        return f"{table(rows, ('model', 'kind', 'rows', 'tests', 'failed'))}\n{heading}"

    def exit_status(self) -> int:
        return int(any(mart.failed for mart in self.marts))


def _rows_text(mart: MartEntry) -> str:
    assert mart.data is not UNSET
    assert mart.columns is not UNSET
    body = [[one_line("" if value is None else value) for value in row.values()] for row in mart.data]
    more = f"\n{len(body):,} of {many(mart.rows, 'row')}; --rows shows more." if len(body) < mart.rows else ""
    heading = f"{mart.name}: {mart.description}\n" if mart.description else ""
    return f"{heading}{table(body, [column.name for column in mart.columns])}{more}"


def _entries(built: BuiltMarts) -> list[MartEntry]:
    return [_entry(mart) for mart in built.marts]


class BuildMarts(OperationRequest["MartsBuilt"]):
    """
    Args:
        memory (SIZE): Memory limit of queries; the rest spills to disk.  [default: 3GB]
        full: Rebuild all days of marts that are built by day.
    """

    memory: str | None = None
    full: bool = False


class MartsBuilt(MartList):
    """A build: its marts, the last place of the log that the lake had, and how many the log had beyond it."""

    upto: int
    behind: int
    NEXT: ClassVar = ("shroff marts show", "shroff marts test")

    def text(self) -> str:
        text = f"{super().text()}\nFrom the lake up to sequence number {self.upto:,}."
        if self.behind:
            text += f" The log has {many(self.behind, 'newer record')}: run 'shroff lake write', then build again."
        if self.exit_status():
            text += "\nThe last good build is kept. 'shroff marts show NAME --failed' shows the failed one."
        return text


@operation("marts build", right="run:jobs")
def build_marts(project: Project, progress: ProgressSteps, request: BuildMarts) -> MartsBuilt:
    """Build every mart from the lake, and run its tests. Exit status 1 if a test fails.

    The file with all tables is replaced only if every test passes; until then the last good one stays.

    Examples:
        shroff marts build
        shroff marts build --memory 4GB --full --json
    """
    built = Marts(project.context).build(
        memory=request.memory, is_full=request.full, progress=progress.counting("building, models")
    )
    return MartsBuilt(marts=_entries(built.marts), upto=sum(built.marts.upto.values()), behind=built.behind)


class RunMartTests(OperationRequest[MartList]):
    pass


@operation("marts test", right="read:decisions")
def run_mart_tests(project: Project, request: RunMartTests) -> MartList:
    """Run the tests, as they are written now, on the last build. Exit status 1 if a test fails.

    Examples:
        shroff marts test
        shroff marts test --json
    """
    return MartList(marts=_entries(Marts(project.context).test()))


class ShowMarts(OperationRequest["MartsShown"]):
    """
    Args:
        name: The mart.
        rows (N): Maximum number of rows.  [default: 20]
        failed: Show the build whose tests failed.
    """

    name: Annotated[str, Param(is_argument=True)] = ""
    rows: int = 20
    failed: bool = False


class MartsShown(MartList):
    """Marts as the last build made them."""

    def hints(self) -> Sequence[str]:
        return [f"shroff marts show {mart.name}" for mart in self.marts[-1:] if mart.data is UNSET]

    def exit_status(self) -> int:
        return 0


@operation("marts show", right="read:decisions")
def show_marts(project: Project, request: ShowMarts) -> MartsShown:
    """List the marts, or show the columns and first rows of one.

    Examples:
        shroff marts show
        shroff marts show customers --rows 50
    """
    marts = Marts(project.context)
    built = marts.built(failed=request.failed)
    if not request.name:
        return MartsShown(marts=_entries(built))
    mart = built.named(request.name)
    rows = marts.rows(request.name, request.rows, failed=request.failed)
    columns = [MartColumn(column.name, column.type, column.description) for column in mart.columns]
    data = [dict(zip(rows.columns, map(_plain, row), strict=True)) for row in rows.rows]
    return MartsShown(marts=[_entry(mart, description=mart.description, columns=columns, data=data)])


def _plain(value: Any) -> Any:
    """Convert a value for JSON: money to text with its places, integers beyond 2^53 to text."""
    if isinstance(value, Decimal) or (isinstance(value, int) and abs(value) > SAFE_INTEGER_MAX):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


class WriteDbtSources(OperationRequest["DbtSources"]):
    """Where to write.

    Args:
        out (FILE): Output file.  [default: standard output]
    """

    out: Path | None = None


class DbtSources(OperationAnswer, dict=True):
    """The file that was written, and how many tables it names."""

    file: str | None
    tables: int

    def text(self) -> str:
        return f"{self.file}: {many(self.tables, 'table')}." if self.file else vars(self)["yaml"]


@operation("marts dbt", right="read:decisions")
def write_dbt_sources(project: Project, request: WriteDbtSources) -> DbtSources:
    """Write a sources.yml for dbt-duckdb with the current files of the lake.

    Examples:
        shroff marts dbt --out models/sources.yml
    """
    from shroff.plugins.project import write_lines

    text = Marts(project.context).sources()
    path = request.out
    if path is not None:
        write_lines(path, [[text.encode()]])
    answer = DbtSources(file=None if path is None else str(path), tables=text.count("\n      - name: "))
    vars(answer)["yaml"] = text.rstrip("\n")  # for standard output; not part of the JSON
    return answer


# ---- as a job


class MartsParams(JobParams, frozen=True):
    """Build all marts; with `full` rebuild all days of those built by day. `memory` is a limit such as 4GB."""

    full: bool = False
    memory: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,6}(MB|GB)$")] | None = None


def run_mart_job(project: Project, params: MartsParams, run: JobRun) -> JsonMapping:
    """Run `shroff marts build` as a job. Raises: StateError if a test failed; the last good build then remains."""
    progress = run.counting("building models")
    built = Marts(project.context).build(memory=params.memory, is_full=params.full, progress=progress)
    failed = [f"{mart.name}: {test}" for mart in built.marts.marts for test, _, _ in mart.failures]
    if failed:
        raise StateError(f"tests failed, so the last good build is kept: {'; '.join(failed[:5])}")
    return {"marts": {mart.name: mart.rows for mart in built.marts.marts}, "behind": built.behind}


MARTS = JobKind("marts", MartsParams, f"{__name__}:run_mart_job", "Build marts")
