"""`shroff summaries`: rows of five minutes in SQL tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shroff.cli.progress import bars
from shroff.cli.session import ExampleGroup, Session, command, json_option, many
from shroff.cli.watching import ended_cleanly

if TYPE_CHECKING:
    from shroff.analytics.summary_writer import Built


@click.group("summaries", cls=ExampleGroup, no_args_is_help=False)
@json_option
def summaries() -> None:
    """Counts and sums of windows of five minutes, as rows of MariaDB, PostgreSQL or SQLite.

    'summaries:' in shroff.yaml says which event, fields, tables and database. Every window has a row, also one without
    an event.
    """


summaries.examples = ("shroff summaries build --from 2026-03-01 --to 2026-03-08", "shroff summaries run")


@command(
    "build",
    "shroff summaries build --from 2026-03-01 --to 2026-03-08",
    "shroff summaries build --json",
    group=summaries,
)
@click.option("--from", "first", metavar="T", help="The first window begins there.  [default: the log's first event]")
@click.option("--to", "last", metavar="T", help="The last window begins before.  [default: the last that has ended]")
def build(session: Session, first: str | None, last: str | None) -> None:
    """Write the summaries of a range of time, as the log has it now.

    A row that is there and says the same is left as it is; one that says something else is replaced, and its revision
    counts that.
    """
    with bars("summarizing, windows") as (progress,):
        built = session.project.summaries.build(first, last, progress)
    session.answer(document_of(built), _text(built))
    session.next("shroff summaries run")


@command(
    "run",
    "shroff summaries run",
    "shroff summaries run --from 2026-03-01",
    group=summaries,
)
@click.option(
    "--from", "first", metavar="T", help="The first window, where none was written.  [default: the first event's]"
)
@click.option("--to", "last", metavar="T", help="End when the windows before are written.  [default: at Ctrl-C]")
def run(session: Session, first: str | None, last: str | None) -> None:
    """Write each window once it is complete, until Ctrl-C; those that were missed first, in order.

    A window that gets a label or an event later is written again, and its revision counts that. Several of these may
    run at once: each row is written by one of them, and is the same.
    """
    from shroff.analytics.summary_writer import Built

    total = Built(0, 0, 0)
    with ended_cleanly() as stopped, bars("summarizing, windows") as (progress,):
        for built in session.project.summaries.run(
            first, last, progress, say=lambda words: session.say(f"shroff: {words}.")
        ):
            total = Built(*(one + other for one, other in zip(total, built, strict=True)))
            if not session.is_json and built.windows:
                session.show(_text(built))
            session.flush()
    session.answer(
        document_of(total), f"{_text(total)}{' Stopped; the next one goes on from here.' if stopped() else ''}"
    )
    session.next("shroff summaries build")


def document_of(built: Built) -> dict[str, int]:
    """What was written, as JSON."""
    return built._asdict()


def _text(built: Built) -> str:
    if not built.windows:
        return "No window has ended that is not written. A later --to also writes the one that has begun."
    rows = many(built.rows, "row")
    return f"{many(built.windows, 'window')}, {rows} in two tables; {built.changed:,} of them are new or changed."
