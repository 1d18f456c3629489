"""`shroff summaries`: rows of five minutes in SQL tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shroff.plugins.commands import ExampleGroup, Session, bars, command, json_option, many
from shroff.plugins.operations import ended_cleanly
from shroff_plugins.analytics.summaries.project_summaries import Summaries

if TYPE_CHECKING:
    from shroff_plugins.analytics.summaries.summary_writer import Built


@click.group("summaries", cls=ExampleGroup, no_args_is_help=False)
@json_option
def summaries() -> None:
    """Write counts and sums of five-minute windows into tables of MariaDB, PostgreSQL or SQLite.

    'summaries:' in shroff.yaml sets the event, fields, tables and database. Every window has a row, also a window
    without events.
    """


summaries.examples = ("shroff summaries build --from 2026-03-01 --to 2026-03-08", "shroff summaries run")


@command("build", group=summaries)
@click.option("--from", "first", metavar="T", help="Start of the first window.  [default: the log's first event]")
@click.option(
    "--to", "last", metavar="T", help="The last window starts before this time.  [default: the last complete]"
)
def build(session: Session, first: str | None, last: str | None) -> None:
    """Write the summaries of a time range from the current log.

    Rows with the same content stay unchanged. Rows that differ are replaced, and their revision increases by one.

    Examples:
        shroff summaries build --from 2026-03-01 --to 2026-03-08
        shroff summaries build --json
    """
    with bars("summarizing, windows") as (progress,):
        built = Summaries(session.project.context).build(first, last, progress)
    session.answer(document_of(built), _text(built))
    session.next("shroff summaries run")


@command("run", group=summaries)
@click.option(
    "--from",
    "first",
    metavar="T",
    help="The first window, if none was written yet.  [default: that of the first event]",
)
@click.option("--to", "last", metavar="T", help="Stop after the windows before this time.  [default: at Ctrl-C]")
def run(session: Session, first: str | None, last: str | None) -> None:
    """Write each window once it is complete, until Ctrl-C; missed windows first, in order.

    If a window gets a later event or label, its row is written again and its revision increases. Several processes may
    run at once: each row is written by one of them, with the same content.

    Examples:
        shroff summaries run
        shroff summaries run --from 2026-03-01
    """
    from shroff_plugins.analytics.summaries.summary_writer import Built

    total = Built(0, 0, 0)
    with ended_cleanly() as stopped, bars("summarizing, windows") as (progress,):
        for built in Summaries(session.project.context).run(
            first, last, progress, say=lambda message: session.say(f"shroff: {message}.")
        ):
            total = total.plus(built)
            if not session.is_json and built.windows:
                session.show(_text(built))
            session.flush()
    session.answer(
        document_of(total), f"{_text(total)}{' Stopped; the next run continues from here.' if stopped() else ''}"
    )
    session.next("shroff summaries build")


def document_of(built: Built) -> dict[str, int]:
    return built._asdict()


def _text(built: Built) -> str:
    if not built.windows:
        return "All complete windows are written. A later --to also writes the current one."
    rows = many(built.rows, "row")
    return f"{many(built.windows, 'window')}, {rows} in two tables; {built.changed:,} of them are new or changed."
