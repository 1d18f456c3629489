"""`shroff export`: what the log holds, as lines or as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from shroff.cli import completion
from shroff.cli.session import Session, command, many
from shroff.errors import UsageError, nearest

WAREHOUSE: Final = "warehouse"
KINDS: Final = ("decisions", "events", "late", "flags", "labels", WAREHOUSE)


@command(
    "export",
    "shroff export decisions > decisions.jsonl",
    "shroff export decisions --format parquet --out decisions.parquet",
    "shroff export events | shroff -C copy decide -",
    "shroff export warehouse --out bigquery",
)
@click.argument("what", metavar="|".join(KINDS), shell_complete=completion.words(*KINDS))
@click.option(
    "--format",
    "format_",
    metavar="FORMAT",
    shell_complete=completion.words("jsonl", "csv", "parquet", "ndjson"),
    help="jsonl, csv or parquet; of a warehouse parquet or ndjson. The first one without it.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A file instead of standard output; of a warehouse a folder.",
)
@click.option(
    "--as-of", metavar="TIME", help="Only what happened, or of labels was known, by then; a day is its start."
)
@click.option("--personal", metavar="FIELD,...", help="Of events: these of their personal fields as well.")
@click.option("--behind", metavar="MANIFEST", type=click.IntRange(0), help="Of a warehouse: only later commits.")
@click.option("--load", metavar="PROJECT.DATASET", help="Of a warehouse: load the files into BigQuery.")
@click.option("--endpoint", metavar="URL", help="Of --load: another server than Google's.")
def export(
    session: Session,
    what: str,
    format_: str | None,
    out: Path | None,
    as_of: str | None,
    personal: str | None,
    **warehouse: Any,
) -> None:
    """Give decisions, events, flags or labels in log order, beside a writer too; or events kept that came too late.

    Personal fields (`email: text? personal`) are shown to who names them, and to nobody else. JSON lines of
    decisions are the documents byte for byte; those of events are as `ingest` takes them, those of
    labels as `label` does. Flags have the fields of their event (`fields`), and the accuracy that follows
    from the verdict in force of it, and since when. In CSV a text that a spreadsheet would carry out as a formula has
    an apostrophe before it. A Parquet file is put together beside its name; lines go into a pipe or a device as well.

    A warehouse is the lake as files that BigQuery loads, one for each table and commit of the lake, and the schemas of
    the tables. Personal fields are in it as the lake has them. --load sends each file as a load job of BigQuery, with
    the access token of BIGQUERY_TOKEN; its id is made of table and commit, so that a retry loads nothing twice.
    """
    if what == WAREHOUSE:
        if out is None or as_of is not None or personal is not None:
            raise UsageError("a warehouse takes --out FOLDER, and neither --as-of nor --personal.")
        _warehouse(session, out, format_ or "parquet", **warehouse)
        return
    if any(value is not None for value in warehouse.values()):
        raise UsageError("--behind, --load and --endpoint are for a warehouse.")
    format_ = format_ or "jsonl"
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


def _warehouse(
    session: Session, out: Path, format_: str, *, behind: int | None, load: str | None, endpoint: str | None
) -> None:
    """Write the lake for a warehouse, and load it where a dataset is named."""
    from shroff.app.analytics.warehouse import export_warehouse, load_warehouse

    opened = session.project.opened
    done = export_warehouse(opened, out, format_, behind or 0)
    document = {"out": str(out), "format": format_, "manifests": done.manifests, "files": done.files, "rows": done.rows}
    lines = [f"{out}: {many(len(done.schemas), 'schema')}"]
    lines += [
        f"  {name}: {many(done.rows[name], 'row')} in {many(done.files[name], 'file')}" for name in sorted(done.rows)
    ]
    if load is not None:
        loaded = load_warehouse(opened, done, format_, load, endpoint or "")
        before = len(done.paths) - sum(loaded.values())
        lines.append(f"{load}: {many(sum(loaded.values()), 'file')} loaded, {before:,} loaded before.")
        document["loaded"] = loaded
    session.answer(document, "\n".join(lines))
