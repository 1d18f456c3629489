"""`shroff features`: compute features of events into a Parquet file."""

from __future__ import annotations

import resource
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from shroff.cli.operations import FORMAT, takes
from shroff.cli.progress import bars
from shroff.cli.session import Session, command, many, table
from shroff.operations.declaration import QUARANTINED, AsEvent, OperationRequest, Param
from shroff.services.lake.operations import Cluster, Partitions

if TYPE_CHECKING:
    from shroff.log.state.feature_events import LeftOut


class FeaturesArguments(OperationRequest[Any]):
    """The events, the engine that computes their features, and the output file.

    Args:
        out (FILE): The Parquet file to write.
        engine: batch: all events at once. online: as in live operation. naive: slow, directly by the definition.
        backend: local: in this process. dask, spark: partitioned by each entity's keys, on a cluster.
    """

    files: Annotated[tuple[Path, ...], Param(metavar="[FILE...]", is_argument=True)]
    as_type: Annotated[str, AsEvent("The event type whose features to compute.")]
    out: Annotated[Path, Param(flags="--out")]
    engine: Annotated[str, Param(complete="feature_engines")] = "batch"
    format: Annotated[str | None, FORMAT] = None
    backend: Annotated[str, Param(complete="backends")] = "local"
    cluster: Cluster = None
    partitions: Partitions = None


@command("features")
@takes(FeaturesArguments)
def features(session: Session, asked: FeaturesArguments) -> int:
    """Compute the features of one event type, from the log or from files, and write one row per event.

    A line of a file may name its type, as {"login": {...}} or by the 'when' of a mapping. Other lines have the type of
    --as. Features may aggregate events of all types. Events of the log use lists and tables as of
    their arrival, events of files today's. Refused and too late lines are counted and yield no row; the exit status is
    then 4.

    Examples:
        shroff features --as payment --out features.parquet
        shroff features --as payment march.csv --out march.parquet
    """
    from shroff.log.columns.tables import Way
    from shroff.runtime.process_wide import one_heap, without_pandas

    one_heap()
    with (
        without_pandas() if asked.backend == "local" else nullcontext(),
        session.project.history.cluster(asked.backend, asked.cluster, asked.partitions) as processes,
        bars("reading, events", "computing, events") as (progress, computing),
    ):
        way = Way(asked.engine, progress, computing, cluster=processes, format=asked.format)
        report = session.project.tables.write_features(asked.as_type, asked.files, asked.out, way)
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
    text = f"{asked.out}: {many(report.rows, 'row')} of {len(report.columns)} columns in {report.seconds:.1f} s."
    session.answer(document, text + _left_out(report.left))
    session.next("shroff verify")
    return QUARANTINED if report.left.is_quarantined else 0


def _left_out(left: LeftOut) -> str:
    if not left.count:
        return ""
    counts = f"{left.refused:,} refused, {left.too_late:,} too late, {left.doubled:,} duplicates"
    rows = [(f"{row.source}:{row.place}", row.reason) for row in left.first]
    more = f"\n  … and {left.count - len(rows):,} more." if left.count > len(rows) else ""
    body = table(rows, ("line", "reason"))
    lines = many(left.count, "line gave", "lines gave")
    return f"\n{lines} no event: {counts}, {left.untaken:,} unmatched.\n{body}{more}"


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts kilobytes
