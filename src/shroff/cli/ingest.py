"""`shroff ingest`: append files of events to the log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from shroff.cli.operations import FORMAT, HASHED, takes
from shroff.cli.progress import bars
from shroff.cli.session import Session, command, many
from shroff.errors import UsageError
from shroff.operations.declaration import NOT_READ, QUARANTINED, AsEvent, OperationRequest, Param

if TYPE_CHECKING:
    from shroff.events.mapping import Unmatched
    from shroff.log.writer import Answer
    from shroff.worker.ingest import IngestReport

ORDER = (
    "time: sort by event time first. file: keep the order of the lines, however many are too late.  [default: file, "
    "but stop before writing if many are too late]"
)


class IngestArguments(OperationRequest[Any]):
    """The files to append, and how they are read.

    Args:
        labels (FILE): Labels, merged by when they became known.
        decide: Decide events of decided types, or just store.  [default: decide]
    """

    files: Annotated[tuple[Path, ...], Param(metavar="FILE...")]
    as_type: Annotated[
        str | None,
        AsEvent(
            "The event type of every line.  [default: the only type, or each line names its own]",
            complete="event_types_and_labels",
        ),
    ] = None
    labels: Path | None = None
    order: Annotated[Literal["file", "time"] | None, Param(ORDER)] = None
    format: Annotated[str | None, FORMAT] = None
    decide: Annotated[bool, Param(flags="--decide/--no-decide")] = True
    is_hashed: Annotated[bool, HASHED] = False


@command("ingest")
@takes(IngestArguments)
def ingest(session: Session, asked: IngestArguments) -> int:
    """Append the events of files to the log and decide them, in the order of the files.

    Ingest is idempotent: an event that the log already has is skipped. Refused lines go to quarantine, and the rest
    continues.

    Exit status 3: a file changed while it was read, and is named; run the command again. Exit status 4: lines were
    quarantined, or no event type accepts a line of a file.

    Examples:
        shroff ingest payments.csv --as payment
        shroff ingest paysim.csv --as payment --labels paysim.csv
        shroff ingest mixed.jsonl
    """
    taken = 0

    def on_batch(answers: Sequence[Answer]) -> None:
        nonlocal taken
        taken += len(answers)
        session.stopped = f"{many(taken, 'line is', 'lines are')} stored; run the same command again to continue."

    from shroff.events.formats.lines import Meter

    paths = [*asked.files, *([asked.labels] if asked.labels else ())]
    if any(str(path) == "-" and not path.exists() for path in paths):
        raise UsageError("'shroff ingest' takes files; 'shroff decide -' takes lines from standard input.")
    session.stopped = "No line was processed yet."
    meter = Meter()
    phases = "restoring state, events", ("sorting, lines", meter.share), ("reading, lines", meter.share)
    with bars(*phases) as (restoring, sorting, progress):
        report = session.project.taking.ingest(
            **msgspec.structs.asdict(asked),
            progress=progress,
            sorting=sorting,
            meter=meter,
            restoring=restoring,
            on_batch=on_batch,
        )
    session.answer({**report.document(), "changed_files": report.changed}, text_of(report))
    refused = report.events.quarantined + report.labels.quarantined
    session.next(*(next_steps(refused, report) or ["shroff export decisions", "shroff verify"]))
    if report.changed:
        return NOT_READ
    return QUARANTINED if refused or report.unmatched else 0


def text_of(report: IngestReport) -> str:
    events = report.events
    pace = f", {events.read / report.seconds:,.0f} a second" if report.seconds > 0 and events.read else ""
    lines = [f"{many(events.read, 'event')} read in {report.seconds:.1f} s{pace}: {events.words}."]
    if report.by_outcome:
        order = ("approve", "challenge", "review", "decline")
        shares = [f"{name} {report.by_outcome[name]:,}" for name in order if name in report.by_outcome]
        lines.append(f"{many(report.decisions, 'decision')}: {', '.join(shares)}.")
    lines += report.labels_text() if report.labels.read else []
    lines += [
        f"{name}: {many(count, 'event')} already in the log came with another value, which was dropped."
        for name, count in report.personal_changes.items()
    ]
    skipped = report.untaken - sum(unmatched.lines for unmatched in report.unmatched)
    if skipped:
        lines.append(f"{many(skipped, 'line')} skipped: no event type's 'when' accepts them.")
    return "\n".join([*lines, *unmatched_text(report.unmatched)])


def next_steps(refused: int, report: IngestReport) -> list[str]:
    return [*(["shroff quarantine list"] if refused else []), *(["shroff check"] if report.unmatched else [])]


def unmatched_text(found: Sequence[Unmatched]) -> list[str]:
    """Return lines that tell what each `when` expects and what the first line of the file has."""
    lines: list[str] = []
    for unmatched in found:
        lines.append(f"{unmatched.source}: no event type accepts any of its {many(unmatched.lines, 'line')}:")
        lines += [
            f"  {asked.event}: when {asked.when}; in line {unmatched.line}, {asked.found}"
            for asked in unmatched.asked()
        ]
    if found:
        lines.append("Correct 'when' in events.yaml. If such files are expected, set 'untaken: skip' in shroff.yaml.")
    return lines
