"""`shroff marts`: tables that SQL of the project makes of the lake."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shroff.cli.progress import bars
from shroff.cli.session import ExampleGroup, Session, command, json_option, many, one_line, table
from shroff.events.event import SAFE_INTEGER_MAX

if TYPE_CHECKING:
    from shroff.analytics.marts.build import BuiltMart, BuiltMarts


@click.group("marts", cls=ExampleGroup, no_args_is_help=False)
@json_option
def marts() -> None:
    """Build SQL tables from the lake: each file of marts/ has one SELECT, with its tests beside it.

    A mart reads the lake's views (each event type by its name, decisions, labels, flags, hits) and other marts by
    their names. DuckDB runs the SQL inside this process, without access to other files or the network.
    """


marts.examples = ("shroff marts build", "shroff marts show payments_by_day")


@command("build", "shroff marts build", "shroff marts build --memory 4GB --full --json", group=marts)
@click.option("--memory", metavar="SIZE", help="Memory limit of queries; the rest spills to disk.  [default: 3GB]")
@click.option("--full", is_flag=True, help="Rebuild all days of marts that are built by day.")
def build(session: Session, memory: str | None, full: bool) -> int:
    """Build every mart from the lake, and run its tests. Exit status 1 if a test fails.

    The file with all tables is replaced only if every test passes; until then the last good one stays.
    """
    with bars("building, models") as (progress,):
        done = session.project.marts.build(memory=memory, is_full=full, progress=progress)
    built = done.marts
    document = {**_document(built), "upto": sum(built.upto.values()), "behind": done.behind}
    text = f"{_text(built)}\nFrom the lake up to sequence number {sum(built.upto.values()):,}."
    if done.behind:
        text += f" The log has {many(done.behind, 'newer record')}: run 'shroff lake write', then build again."
    if not built.is_passed:
        text += "\nThe last good build is kept. 'shroff marts show NAME --failed' shows the failed one."
    session.answer(document, text)
    session.next("shroff marts show", "shroff marts test")
    return 0 if built.is_passed else 1


@command("test", "shroff marts test", "shroff marts test --json", group=marts)
def test(session: Session) -> int:
    """Run the tests, as they are written now, on the last build. Exit status 1 if a test fails."""
    built = session.project.marts.test()
    session.answer(_document(built), _text(built))
    return 0 if built.is_passed else 1


@command("show", "shroff marts show", "shroff marts show customers --rows 50", group=marts)
@click.argument("name", default="")
@click.option("--rows", type=int, default=20, show_default=True, metavar="N", help="Maximum number of rows.")
@click.option("--failed", is_flag=True, help="Show the build whose tests failed.")
def show(session: Session, name: str, rows: int, failed: bool) -> None:
    """List the marts, or show the columns and first rows of one."""
    built = session.project.marts.built(failed=failed)
    if not name:
        session.answer(_document(built), _text(built))
        session.next(f"shroff marts show {built.marts[-1].name}")
        return
    mart, found = built.named(name), session.project.marts.rows(name, rows, failed=failed)
    body = [[_plain(value) for value in row] for row in found.rows]
    named = {
        **_of(mart),
        "description": mart.description,
        "columns": [
            {"name": column.name, "type": column.type, "description": column.description} for column in mart.columns
        ],
        "data": [dict(zip(found.columns, row, strict=True)) for row in body],
    }
    shown = table([[one_line("" if value is None else value) for value in row] for row in body], found.columns)
    more = f"\n{len(body):,} of {many(mart.rows, 'row')}; --rows shows more." if len(body) < mart.rows else ""
    words = f"{mart.name}: {mart.description}\n" if mart.description else ""
    session.answer({"marts": [named]}, f"{words}{shown}{more}")


@command("dbt", "shroff marts dbt --out models/sources.yml", group=marts)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Output file.  [default: standard output]")
def dbt(session: Session, out: Path | None) -> None:
    """Write a sources.yml for dbt-duckdb with the current files of the lake."""
    from shroff.runtime.whole_files import write_lines

    text = session.project.marts.sources()
    if out is None and not session.is_json:
        session.line(text.rstrip("\n"))
        return
    if out is not None:
        write_lines(out, [[text.encode()]])
    tables = text.count("\n      - name: ")
    session.answer({"file": None if out is None else str(out), "tables": tables}, f"{out}: {many(tables, 'table')}.")


def _of(mart: BuiltMart) -> dict[str, Any]:
    return {
        "name": mart.name,
        "kind": mart.kind,
        "rows": mart.rows,
        "tests": mart.tests,
        "failed": len(mart.failures),
        "failures": [{"test": test, "rows": rows, "example": example} for test, rows, example in mart.failures],
    }


def _document(built: BuiltMarts) -> dict[str, Any]:
    return {"marts": [_of(mart) for mart in built.marts]}


def _text(built: BuiltMarts) -> str:
    rows = [(mart.name, mart.kind, mart.rows, mart.tests, len(mart.failures)) for mart in built.marts]
    failed = "".join(
        f"\n  {mart.name}: {test}: {many(rows, 'row')}{example and f', such as {one_line(example)}'}"
        for mart in built.marts
        for test, rows, example in mart.failures
    )
    tests, wrong = sum(mart.tests for mart in built.marts), sum(len(mart.failures) for mart in built.marts)
    words = f"{many(len(rows), 'model')}, {many(tests, 'test')}, {wrong:,} failed{':' if failed else '.'}{failed}"
    return f"{table(rows, ('model', 'kind', 'rows', 'tests', 'failed'))}\n{words}"


def _plain(value: Any) -> Any:
    """A value as JSON has it: money as text with its places, integers beyond 2^53 as text."""
    if isinstance(value, Decimal) or (isinstance(value, int) and abs(value) > SAFE_INTEGER_MAX):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)
