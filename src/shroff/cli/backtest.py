"""`shroff backtest`: a draft against the project without it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from shroff.cli import completion
from shroff.cli.options import gathered
from shroff.cli.progress import bars
from shroff.cli.session import Session, argument, command
from shroff.errors import UsageError

_FILE = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class BacktestArguments:
    """Options of `shroff backtest`."""

    rules: Path | None
    policy: Path | None
    model: str | None
    start: str | None
    end: str | None
    as_of: str | None
    as_type: str | None
    labels: Path | None
    order: str
    page: Path | None
    out: Path | None
    rows: int


@command(
    "backtest",
    "shroff backtest --rules drafts/",
    "shroff backtest --rules drafts/ --from 2026-04-01 --report backtest.html --out changed.csv",
    "shroff backtest march.csv --as payment --labels labels.csv --rules drafts/",
)
@click.argument("files", metavar="[FILE...]", nargs=-1, type=_FILE)
@click.option(
    "--rules",
    metavar="DIR",
    type=_FILE,
    help="A folder of draft rules; each replaces the rule with the same id. It may have features.yaml too.",
)
@click.option(
    "--policy", metavar="FILE", type=_FILE, help="A draft policy; it replaces that of the same name in policy.yaml."
)
@click.option("--model", metavar="ID", help="A model of the registry, used instead of the champion.")
@click.option("--from", "start", metavar="T", help="Apply the draft from this time on.  [default: the beginning]")
@click.option("--to", "end", metavar="T", help="Compare events before this time.  [default: the end]")
@click.option("--as-of", metavar="T", help="Use the labels known at this time.  [default: the log's last record]")
@click.option(
    "--as",
    "as_type",
    metavar="EVENT",
    shell_complete=completion.event_types,
    help="The event type of every line of FILEs.",
)
@click.option("--labels", metavar="FILE", type=_FILE, help="Labels of the events of FILEs.")
@click.option(
    "--order", type=click.Choice(["file", "time"]), default="file", show_default=True, help="time: sort by event time."
)
@click.option("--report", "page", metavar="FILE", type=_FILE, help="Write the report as one HTML page.")
@click.option("--out", metavar="FILE", type=_FILE, help="Write all events whose decision changes, as .csv or .parquet.")
@click.option(
    "--rows", type=click.IntRange(min=0), default=20, show_default=True, help="How many changed events to show."
)
@gathered(BacktestArguments)
def backtest(session: Session, files: tuple[Path, ...], options: BacktestArguments) -> None:
    """Compare a draft of rules, policy or model with the project without it, over the log's events.

    Both decide each event anew, with lists, tables and models as of its place in the log. Without a draft, the
    project's files are compared with the active version. With FILEs, only their events are used, not the log.
    """
    from shroff.backtest.report import page as written
    from shroff.backtest.report import text
    from shroff.backtest.report_builder import write_changed
    from shroff.runtime.whole_files import write_lines

    if not files and (options.as_type or options.labels or options.order != "file"):
        raise UsageError("--as, --labels and --order are for FILEs; without them the events of the log are judged.")
    if options.page is not None and options.page.suffix != ".html":
        raise UsageError(f"{options.page} should end with .html.")
    with bars("reading, records", "computing, events") as (reading, computing):
        report = session.project.backtest(
            rules=options.rules,
            policy=options.policy,
            model=options.model,
            start=options.start,
            end=options.end,
            as_of=options.as_of,
            files=files,
            as_type=options.as_type,
            labels=options.labels,
            order=options.order,
            reading=reading,
            computing=computing,
        )
    if options.page is not None:
        write_lines(options.page, [[written(report).encode()]])
    if options.out is not None:
        write_changed(report, options.out)
    session.answer(report.document(options.rows), text(report, options.rows))
    if options.page is None:
        draft = {"--rules": options.rules, "--policy": options.policy, "--model": options.model}
        span: dict[str, object] = {"--from": options.start, "--to": options.end, "--as-of": options.as_of}
        span |= {"--as": options.as_type, "--labels": options.labels}
        span["--order"] = options.order if options.order != "file" else None
        given = [word for item in (draft | span).items() if item[1] is not None for word in item]
        session.next(" ".join(["shroff backtest", *map(argument, (*files, *given)), "--report backtest.html"]))
