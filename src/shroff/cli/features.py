"""`shroff features`: features of events, into a Parquet file."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import click

from shroff.cli import completion
from shroff.cli.progress import bars
from shroff.cli.session import Session, command, many
from shroff.errors import NotThereYetError, UsageError


@command(
    "features",
    "shroff features --as payment --out features.parquet",
    "shroff features --as payment march.csv --out march.parquet",
)
@click.argument("files", metavar="[FILE...]", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--as",
    "as_type",
    metavar="EVENT",
    required=True,
    shell_complete=completion.event_types,
    help="The event type whose features are wanted.",
)
@click.option(
    "--out", metavar="FILE", required=True, type=click.Path(path_type=Path), help="The Parquet file to write."
)
@click.option(
    "--engine",
    shell_complete=completion.words("batch", "online", "naive"),
    default="batch",
    show_default=True,
    help="batch: all events at once. online: as the stream does. naive: slow, by the definition itself.",
)
@click.option(
    "--backend",
    default="local",
    show_default=True,
    shell_complete=completion.words("local"),
    help="local; spark and dask are not there yet.",
)
def features(session: Session, files: tuple[Path, ...], as_type: str, out: Path, engine: str, backend: str) -> None:
    """Compute the features of one event type, of the log's events or of files, one row per event."""
    import pyarrow as pa

    from shroff.decisions.tables import Way

    pa.set_memory_pool(pa.system_memory_pool())  # the others give pages back, which the system clears anew
    if backend in {"spark", "dask"}:
        raise NotThereYetError(f"--backend {backend}")
    if backend != "local":
        raise UsageError(f"there is no backend {backend!r}; there is local.")
    with bars("reading, events", "computing, events") as (progress, computing):
        report = session.project.write_features(as_type, files, out, Way(engine, progress, computing))
    document = {
        "rows": report.rows,
        "columns": list(report.columns),
        "seconds": round(report.seconds, 3),
        "peak_bytes": peak_bytes(),
    }
    session.answer(
        document, f"{out}: {many(report.rows, 'row')} of {len(report.columns)} columns in {report.seconds:.1f} s."
    )
    session.next("shroff verify")


def peak_bytes() -> int:
    """The most memory this process has had, in bytes; the system counts kilobytes, macOS bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
