"""`shroff export`: write decisions, events, flags or labels of the log as lines or a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from shroff.cli import completion
from shroff.cli.operations import tell
from shroff.cli.session import Session, command
from shroff.errors import UsageError, nearest
from shroff.runtime.texts import many

WAREHOUSE = "warehouse"
KINDS = ("decisions", "events", "late", "flags", "labels", WAREHOUSE)


@command("export")
@click.argument("what", metavar="|".join(KINDS), shell_complete=completion.words(*KINDS))
@click.option(
    "--format",
    "format_",
    metavar="FORMAT",
    shell_complete=completion.words("jsonl", "csv", "parquet", "ndjson"),
    help="jsonl, csv or parquet; for a warehouse parquet or ndjson.  [default: by the extension of --out, else the "
    "first one]",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to a file instead of standard output; for a warehouse, a folder.",
)
@click.option(
    "--as-of",
    metavar="TIME",
    help="Only records up to this time; for labels, when they became known. A day is its start.",
)
@click.option("--personal", metavar="FIELD,...", help="For events: include these personal fields.")
@click.option("--behind", metavar="MANIFEST", type=click.IntRange(0), help="For a warehouse: only later commits.")
@click.option("--load", metavar="PROJECT.DATASET", help="For a warehouse: load the files into BigQuery.")
@click.option("--endpoint", metavar="URL", help="For --load: another server than Google's.")
def export(
    session: Session,
    what: str,
    format_: str | None,
    out: Path | None,
    as_of: str | None,
    personal: str | None,
    **warehouse: Any,
) -> None:
    """Export decisions, events, flags or labels in log order, or the stored events that came too late.

    The export also works beside a running writer. Personal fields (`email: text? personal`) are exported only if
    --personal names them. In CSV, a text that a spreadsheet would run as a formula gets an apostrophe before it. A
    Parquet file is written under a temporary name first; JSON lines and CSV can also go to a pipe or device.

    Decisions as JSON lines are the original documents, byte for byte. Events as JSON lines have the form that `ingest`
    reads, labels the form that `label` reads. Flags include the fields of their event (`fields`), the accuracy by its
    current verdict, and since when that holds.

    A warehouse is the lake as files for BigQuery: one for each table and commit of the lake, and the schemas of the
    tables. It has the same personal fields as the lake. --load sends each file as a BigQuery load job, with the access
    token in BIGQUERY_TOKEN. The job id is made from table and commit, so a retry loads nothing twice.

    Examples:
        shroff export decisions > decisions.jsonl
        shroff export decisions --out decisions.parquet
        shroff export events | shroff -C copy decide -
        shroff export warehouse --out bigquery
    """
    if what == WAREHOUSE:
        if out is None or as_of is not None or personal is not None:
            raise UsageError("a warehouse takes --out FOLDER, and neither --as-of nor --personal.")
        from shroff.runtime.entry_points import EXPORTERS, load_entry

        tell(session, load_entry(what, EXPORTERS)(session.project, out, format_ or "parquet", **warehouse))
        return
    if any(value is not None for value in warehouse.values()):
        raise UsageError("--behind, --load and --endpoint are for a warehouse.")
    from shroff.replay import exports
    from shroff.replay.notebook import moment_ms
    from shroff.runtime.atomic_files import out_format, write_lines, write_tables

    names = [name.strip() for name in personal.split(",")] if personal else []
    events = session.project.definitions.events
    kind = exports.with_personal(exports.with_amounts(exports.kind_of(what), events), events, names)
    kind = exports.known_by(kind, moment_ms(as_of), session.project.context.now_ms())
    if format_ is not None and format_ not in exports.FORMATS:
        hint = nearest(format_, exports.FORMATS) or "Formats are jsonl, csv and parquet."
        raise UsageError(f"there is no format {format_!r}. {hint}")
    format_ = (format_ or "jsonl") if out is None else out_format(out, format_, exports.FORMATS)
    if format_ == "parquet" and out is None:
        raise UsageError("a Parquet file needs a name: add --out FILE.")
    rows = 0
    began_s = time.perf_counter()
    with session.project.log.reading() as log:
        if out is None:
            for batch in exports.lines(log, kind, format_):
                session.write(b"".join(batch))
        elif format_ == "parquet":
            rows = write_tables(out, exports.schema(kind), exports.tables(log, kind))
        else:
            rows = write_lines(out, exports.lines(log, kind, format_)) - (format_ == "csv")  # its header
    if out is not None:
        seconds = time.perf_counter() - began_s
        document = {"file": str(out), "rows": rows, "seconds": round(seconds, 3)}
        session.answer(document, f"{out}: {many(rows, 'row')} in {seconds:.1f} s.")
    session.flush()
    session.next("shroff explain ID" if what == "decisions" else "shroff export decisions")
