"""`shroff export`: what the log holds, as lines or as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from shroff.cli import completion
from shroff.cli.session import Session, command
from shroff.errors import UsageError, nearest

KINDS: Final = ("decisions", "events", "late", "flags", "labels")


@command(
    "export",
    "shroff export decisions > decisions.jsonl",
    "shroff export decisions --format parquet --out decisions.parquet",
    "shroff export events | shroff -C copy decide -",
)
@click.argument("what", metavar="|".join(KINDS), shell_complete=completion.words(*KINDS))
@click.option(
    "--format",
    "format_",
    metavar="FORMAT",
    default="jsonl",
    show_default=True,
    shell_complete=completion.words("jsonl", "csv", "parquet"),
    help="jsonl, csv or parquet.",
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="A file instead of standard output.")
@click.option(
    "--as-of", metavar="TIME", help="Only what happened, or of labels was known, by then; a day is its start."
)
@click.option("--personal", metavar="FIELD,...", help="Of events: these of their personal fields as well.")
def export(
    session: Session, what: str, format_: str, out: Path | None, as_of: str | None, personal: str | None
) -> None:
    """Give decisions, events, flags or labels in log order, beside a writer too; or events kept that came too late.

    Personal fields (`email: text? personal`) are shown to who names them, and to nobody else. JSON lines of
    decisions are the documents byte for byte; those of events are as `ingest` takes them, those of
    labels as `label` does. Flags have the fields of their event (`fields`), and the accuracy that follows
    from the verdict in force of it, and since when. In CSV a text that a spreadsheet would carry out as a formula has
    an apostrophe before it. A Parquet file is put together beside its name; lines go into a pipe or a device as well.
    """
    from shroff.replay import exports
    from shroff.replay.notebook import moment_ms
    from shroff.runtime.whole_files import write_lines, write_tables

    names = [name.strip() for name in personal.split(",")] if personal else []
    kind = exports.kind_of(what)
    if names:
        kind = exports.with_personal(kind, session.project.definitions.events, names)
    kind = exports.known_by(kind, moment_ms(as_of))
    if format_ not in exports.FORMATS:
        hint = nearest(format_, exports.FORMATS) or "Formats are jsonl, csv and parquet."
        raise UsageError(f"there is no format {format_!r}. {hint}")
    if format_ == "parquet" and out is None:
        raise UsageError("a Parquet file needs a name: add --out FILE.")
    with session.project.opened.reading() as log:
        if out is None:
            for batch in exports.lines(log, kind, format_):
                session.write(b"".join(batch))
        elif format_ == "parquet":
            write_tables(out, exports.schema(kind), exports.tables(log, kind))
        else:
            write_lines(out, exports.lines(log, kind, format_))
    session.flush()
    session.next("shroff explain ID" if what == "decisions" else "shroff export decisions")
