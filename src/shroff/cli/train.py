"""`shroff train`: a model from the labels so far, judged on folds of time and held against its gates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from msgspec import structs

from shroff.cli.ingest import QUARANTINED
from shroff.cli.options import cluster_options, gathered, source_options
from shroff.cli.session import Session, argument, command
from shroff.cli.stages import stages
from shroff.errors import UsageError
from shroff.events.event import time_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shroff.training.train import TrainReport

FAILED: Final = 1


@dataclass(frozen=True, slots=True)
class TrainArguments:
    """Options of `shroff train`."""

    event: str | None
    labels: Path | None
    order: str
    as_of: str | None
    promote: bool
    by: str
    watch: str | None
    once: bool
    file: str | None
    settled: str | None
    markers: bool
    poll: str | None
    labels_inside: bool
    no_decide: bool
    backend: str
    cluster: str | None
    partitions: int | None


@command(
    "train",
    "shroff train",
    "shroff train --as-of 2026-06-30 --promote --by ann",
    "shroff train payments.csv --labels chargebacks.csv --order time",
    "shroff train --watch incoming/ --promote --by nightly",
    "shroff train --watch core --once",
    "shroff train --backend dask",
)
@source_options
@click.option("--promote", is_flag=True, help="Make it the champion if its gates passed.")
@click.option("--by", metavar="NAME", default="", help="Who promotes it.")
@click.option(
    "--watch",
    metavar="DIR|URL|SOURCE",
    help="Watch a folder, a file list behind a URL, or a pulled source of shroff.yaml, such as a table; take each "
    "complete new file or range of rows and train again.",
)
@click.option("--once", is_flag=True, help="With --watch: exit when all present files are taken.")
@click.option(
    "--file",
    metavar="NAME",
    help="With --once: the exit status is about this file, also if an earlier run ingested it.",
)
@click.option(
    "--settled", metavar="LENGTH", help="With --watch: a file is complete if unchanged for this time.  [default: 2s]"
)
@click.option("--markers", is_flag=True, help="With --watch: a file is complete if FILE.done or _SUCCESS is there.")
@click.option("--poll", metavar="LENGTH", help="With --watch: polling interval.  [default: 5s]")
@click.option(
    "--labels-inside",
    is_flag=True,
    help="With --watch: each file also has labels of its events, read by `from` of `label` in events.yaml.",
)
@click.option("--no-decide", is_flag=True, help="With --watch: do not decide the new events.")
@cluster_options("local: in this process. dask, spark: features and trees on a cluster, for learner xgboost.")
@gathered(TrainArguments)
def train(session: Session, files: tuple[Path, ...], options: TrainArguments) -> int:
    """Train a model on the log or on FILEs, evaluate it on time folds, and store it in the registry.

    model.yaml sets the inputs, learner and gates. Each fold trains on the labels known at the start of its test
    period, and is tested on later events. The model itself is trained on the newest window. It is stored whether or
    not its gates pass, and becomes the champion only with --promote and if they passed.

    With --watch, files are appended to the log when they are complete, in the order of their names, and each one
    trains a model. A file with "labels" in its name has labels. If another process writes the log, such as `shroff
    serve`, it appends the lines between its own batches. Ctrl-C stops the command; nothing is taken twice. Exit
    status 5: files came, and no model was made of them; the output says why.
    """
    from shroff.training.train import Steps

    if options.watch is not None:
        from shroff.cli.training_watch import watching, watching_options

        if files or options.labels is not None or options.as_of is not None or options.order != "file":
            what = "FILEs, --labels, --order and --as-of"
            raise UsageError(
                f"--watch takes its files from where it watches: leave out {what}. Labels come as files with the word "
                "labels in their names, or in the files themselves with --labels-inside."
            )
        if options.file and not options.once:
            raise UsageError("--file goes with --once: without it, the command has no end.")
        watched = watching_options(
            options.event, options.settled, options.poll, promote=options.promote, by=options.by, once=options.once
        )
        with session.project.history.cluster(options.backend, options.cluster, options.partitions) as processes:
            watched = replace(
                watched,
                has_markers=options.markers,
                labels_inside=options.labels_inside,
                file=options.file or "",
                decide=not options.no_decide,
                cluster=processes,
            )
            return watching(session, options.watch, watched)
    go_with_watch = options.once, options.file, options.settled, options.markers, options.poll, options.labels_inside
    if any(go_with_watch) or options.no_decide:
        names = "--once, --file, --settled, --markers, --poll, --labels-inside and --no-decide"
        raise UsageError(f"{names} go with --watch.")
    with (
        session.project.history.cluster(options.backend, options.cluster, options.partitions) as processes,
        stages() as shown,
    ):
        report = session.project.train(
            options.event,
            as_of=options.as_of,
            files=files,
            labels=options.labels,
            order=options.order,
            promote=options.promote,
            by=options.by,
            steps=Steps(shown.count, trials=lambda _trial: shown.count(1), stage=shown.begin),
            cluster=processes,
        )
    tell(session, report)
    return FAILED if not report.passed else QUARANTINED if report.is_incomplete else 0


def tell(session: Session, report: TrainReport, document: Mapping[str, Any] | None = None, made: str = "") -> None:
    """Answer with a model and all that is known of it, and what to do next.

    Args:
        document: What JSON has of it beside.
        made: How it came about; how it was trained, where left out.
    """
    session.answer({**document_of(report), **(document or {})}, report.printed(made))
    _hint(session, report)


def document_of(report: TrainReport) -> dict[str, Any]:
    """The answer as JSON: what INTERFACES names first, then the rest of what was measured."""
    from shroff.training.measured import metrics_document, plain, with_money

    measured = with_money(metrics_document(report.evaluation, report.leak), report.evaluation.money_places)
    document = {
        "model": report.stored.id,
        "event": report.stored.event,
        "as_of": time_text(report.as_of_ms),
        "rows": report.rows,
        "fraud": report.fraud,
        "immature": report.immature,
        "metrics": measured.pop("metrics"),
        "baselines": measured.pop("baselines"),
        "gates": [structs.asdict(gate) for gate in report.gates],
        "promoted": report.promoted,
        "why_not": report.why_not,
        "seconds": round(report.seconds, 3),
        **measured,
        "remarks": list(report.remarks),
    }
    found: dict[str, Any] = plain(document)
    return found


def _hint(session: Session, report: TrainReport) -> None:
    id_ = argument(report.stored.id)
    if report.promoted:
        session.next("shroff thresholds", "shroff models list")
    elif report.is_champion:
        session.next("shroff models list")
    elif report.passed:
        session.next(f"shroff models promote {id_}", f"shroff models shadow {id_}")
    else:
        session.next(f"shroff models show {id_}", f"shroff models shadow {id_}")
