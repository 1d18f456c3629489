"""`shroff features`: features of events, into a Parquet file."""

from __future__ import annotations

import resource
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shroff.cli import completion
from shroff.cli.ingest import QUARANTINED
from shroff.cli.options import FORMAT, cluster_options, gathered
from shroff.cli.progress import bars
from shroff.cli.session import Session, command, many, table

if TYPE_CHECKING:
    from shroff.log.state.feature_events import LeftOut


@dataclass(frozen=True, slots=True)
class FeaturesArguments:
    """Options of `shroff features`."""

    as_type: str
    out: Path
    engine: str
    backend: str
    cluster: str | None
    partitions: int | None
    format_: str | None


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
    help="The event type whose features to compute.",
)
@click.option(
    "--out", metavar="FILE", required=True, type=click.Path(path_type=Path), help="The Parquet file to write."
)
@click.option(
    "--engine",
    shell_complete=completion.words("batch", "online", "naive"),
    default="batch",
    show_default=True,
    help="batch: all events at once. online: as in live operation. naive: slow, directly by the definition.",
)
@FORMAT
@cluster_options("local: in this process. dask, spark: partitioned by each entity's keys, on a cluster.")
@gathered(FeaturesArguments)
def features(session: Session, files: tuple[Path, ...], options: FeaturesArguments) -> int:
    """Compute the features of one event type, from the log or from files, and write one row per event.

    A line of a file may name its type, as {"login": {...}} or by the 'when' of a mapping. Other lines have the type of
    --as. Features see the events of all types. Refused and too late lines are counted and give no row; the exit status
    is then 4.
    """
    from shroff.log.columns.tables import Way
    from shroff.runtime.process_wide import one_heap, without_pandas

    one_heap()
    with (
        without_pandas() if options.backend == "local" else nullcontext(),
        session.project.history.cluster(options.backend, options.cluster, options.partitions) as processes,
        bars("reading, events", "computing, events") as (progress, computing),
    ):
        way = Way(options.engine, progress, computing, cluster=processes, format=options.format_)
        report = session.project.tables.write_features(options.as_type, files, options.out, way)
    document = {
        "rows": report.rows,
        "columns": list(report.columns),
        "seconds": round(report.seconds, 3),
        "peak_bytes": peak_bytes(),
        "refused": report.left.refused,
        "too_late": report.left.too_late,
        "duplicates": report.left.doubled,
        "untaken": report.left.untaken,
        "left_out": [{"file": row.source, "line": row.place, "reason": row.reason} for row in report.left.first],
    }
    text = f"{options.out}: {many(report.rows, 'row')} of {len(report.columns)} columns in {report.seconds:.1f} s."
    session.answer(document, text + _left_out(report.left))
    session.next("shroff verify")
    return QUARANTINED if report.left.is_quarantined else 0


def _left_out(left: LeftOut) -> str:
    """What files have that gave no row."""
    if not left.count:
        return ""
    counts = f"{left.refused:,} refused, {left.too_late:,} too late, {left.doubled:,} duplicates"
    rows = [(f"{row.source}:{row.place}", row.reason) for row in left.first]
    more = f"\n  … and {left.count - len(rows):,} more." if left.count > len(rows) else ""
    body = table(rows, ("line", "reason"))
    lines = many(left.count, "line gave", "lines gave")
    return f"\n{lines} no event: {counts}, {left.untaken:,} unmatched.\n{body}{more}"


def peak_bytes() -> int:
    """The most memory this process has had, in bytes; the system counts kilobytes, macOS bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
