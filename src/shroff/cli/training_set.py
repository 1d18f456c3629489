"""`shroff training-set`: what a model would learn from, as Parquet, for whoever learns elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shroff.cli.ingest import QUARANTINED
from shroff.cli.options import gathered, source_options
from shroff.cli.progress import bars
from shroff.cli.session import Session, argument, command, many, one_line, table
from shroff.errors import UsageError

if TYPE_CHECKING:
    from shroff.app.models.training_sets import SetAgain, SetReport
    from shroff.training.sets.manifest import SetManifest

OTHERWISE: Final = 1  # it was made again, and is not what it was


@dataclass(frozen=True, slots=True)
class TrainingSetArguments:
    """Options of `shroff training-set`."""

    event: str | None
    labels: Path | None
    order: str
    as_of: str | None
    fold: str | None
    out: Path | None
    again: Path | None


@command(
    "training-set",
    "shroff training-set --out march",
    "shroff training-set --as-of 2026-03-31 --out march",
    "shroff training-set payments.csv --labels chargebacks.csv --out march",
    "shroff training-set --again march",
)
@source_options
@click.option(
    "--fold",
    metavar="N|final",
    help="The fold of model.yaml's split for role, label and weight: 1 is the oldest; final is the window of the "
    "registry's model.  [default: the newest]",
)
@click.option("--out", metavar="FOLDER", type=click.Path(path_type=Path), help="The new folder to write.")
@click.option(
    "--again",
    metavar="SET",
    type=click.Path(path_type=Path),
    help="Build a set again from its folder or manifest.json, and compare the bytes.",
)
@gathered(TrainingSetArguments)
def training_set(session: Session, files: tuple[Path, ...], options: TrainingSetArguments) -> int:
    """Write the training data of 'train' to a folder, from the log or from FILEs.

    The folder gets rows.parquet, labels.parquet and manifest.json.

    A row is an event at a point in time: the model's inputs, its verdict and when it became known, and the
    decision. For one fold, the row also has its role (train, delay or test), its label (1 is fraud) and its weight.
    The weight is null for rows that are left out, such as events whose label cannot be known yet. The manifest records
    all inputs, so the same bytes can be built again: --again does so and compares. Without --out, it keeps nothing.
    """
    from shroff.log.columns.tables import Way
    from shroff.runtime.process_wide import one_heap, without_pandas

    one_heap()
    with without_pandas(), bars("reading, events", "computing, events") as (reading, computing):
        way = Way(reading=reading, computing=computing)
        if options.again is not None:
            if options.order != "file" or any(one is not None for one in (options.event, options.as_of, options.fold)):
                raise UsageError("--again takes event, order, moment and fold from the manifest: leave them out.")
            found = session.project.training_sets.again(
                options.again, files=files, labels=options.labels, out=options.out, way=way
            )
            return _answer_again(session, options.again, found)
        if options.out is None:
            raise UsageError("a training set needs a folder: add --out FOLDER.")
        make = partial(
            session.project.training_sets.write,
            options.out,
            options.event,
            as_of=options.as_of,
            fold=options.fold,
            way=way,
        )
        report = make(files=files, labels=options.labels, order=options.order)
    session.answer(document_of(report), _text(report))
    session.next(f"shroff training-set --again {argument(str(options.out))}")
    return QUARANTINED if report.left.is_quarantined or report.remarks else 0


def document_of(report: SetReport) -> dict[str, Any]:
    """The answer as JSON: the manifest, and what became of the lines of files."""
    import msgspec

    manifest: dict[str, Any] = msgspec.to_builtins(report.manifest)
    left = report.left
    return {
        "folder": str(report.folder),
        "seconds": round(report.seconds, 3),
        "left_out": {
            "refused": left.refused,
            "too_late": left.too_late,
            "duplicates": left.doubled,
            "untaken": left.untaken,
            "first": [{"file": one.source, "line": one.place, "reason": one.reason} for one in left.first],
        },
        "remarks": list(report.remarks),
        "manifest": manifest,
    }


def _text(report: SetReport) -> str:
    manifest, fold = report.manifest, report.manifest.fold
    inputs = many(len(manifest.inputs), "input")
    made = f"{many(manifest.rows, manifest.event)} as of {manifest.as_of}, {inputs}, in {report.seconds:.1f} s"
    rows = [
        ("labels", _counts(manifest)),
        ("train", f"{_some(fold.train_rows, fold.train_fraud)}, from {fold.train[0]} to {fold.train[1]}"),
        ("test", f"{_some(fold.test_rows, fold.test_fraud)}, from {fold.test[0]} to {fold.test[1]}"),
    ]
    if fold.is_final:
        del rows[-1]
    lines = [f"{report.folder}: {made}.", table(rows)]
    if report.left.count:
        lines.append(f"  {report.left}.")
    return "\n".join([*lines, *(f"  {one_line(words)}" for words in report.remarks)])


def _counts(manifest: SetManifest) -> str:
    counts = {
        "fraud": manifest.fraud,
        "genuine": manifest.genuine,
        "unclear": manifest.unclear,
        "none": manifest.unlabelled,
        "none, and too young to tell": manifest.immature,
    }
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _some(rows: int, frauds: int) -> str:
    return f"{many(rows, 'row')} with {many(frauds, 'fraud')}"


def _answer_again(session: Session, asked: Path, found: SetAgain) -> int:
    document = {"equal": found.is_equal, "differing": list(found.differing), "why": list(found.why)}
    if found.is_equal:
        text = f"{asked}: identical bytes, rebuilt in {found.report.seconds:.1f} s."
    else:
        why = [f"  {one_line(words)}" for words in found.why] or ["  its input has not changed"]
        text = "\n".join([f"{asked}: different bytes in {', '.join(found.differing)}.", *why])
    session.answer(document | document_of(found.report), text)
    return 0 if found.is_equal else OTHERWISE
