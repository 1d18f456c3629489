"""`shroff check`: every mistake in the project's files, and the project read back in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shroff.cli import completion
from shroff.cli.options import FORMAT
from shroff.cli.session import Session, command, many, one_line, table
from shroff.events.event import time_text
from shroff.language.values import show

if TYPE_CHECKING:
    from shroff.events.intake import Submission
    from shroff.log.ruletests import CheckReport
    from shroff.log.writer import Answer
    from shroff.models.definitions import ModelSettings
    from shroff.project.definitions import Definitions


ROWS_SHOWN: Final = 3
REFUSALS_SHOWN: Final = 10


@command("check", "shroff check", "shroff -C mybank check --json", "shroff check --with march.csv --as payment")
@click.option(
    "--with",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    shell_complete=completion.files,
    help="Also read the first 10,000 lines of FILE; show three as events, and all that would go wrong with 'ingest'.",
)
@click.option(
    "--as",
    "as_type",
    metavar="EVENT",
    shell_complete=completion.event_types,
    help="The event type of the lines of FILE, or label.  [default: the only type, or each line names its own]",
)
@click.option(
    "--labels", metavar="FILE", type=click.Path(path_type=Path), help="Labels of these events, as for 'shroff ingest'."
)
@FORMAT
def check(session: Session, file: Path | None, as_type: str | None, labels: Path | None, format_: str | None) -> int:
    """Check all project files, run the rules' tests, estimate feature costs, and print the rules in words."""
    given = {"--as": as_type, "--labels": labels, "--format": format_}
    if file is None and (names := [name for name, value in given.items() if value is not None]):
        name = names[0]
        raise click.UsageError(f"{name} is for the lines of a file: add --with FILE.")
    report = session.project.check()
    document, text, refused, stops = _document(report), repr(report), 0, list[str]()
    if file is not None and report.definitions is not None and report.is_ok:
        look = session.project.taking.look_at(file, as_type, labels, format_)
        rows = [_row(row, answer, report.definitions) for row, answer in zip(look.rows, look.answers, strict=True)]
        kept = [row for row in rows if "fields" in row][:ROWS_SHOWN] + [row for row in rows if "reason" in row]
        kinds = Counter(answer.kind for answer in look.answers)
        refused, stops = (
            kinds["refused"],
            [f"{obstacle.words}{obstacle.so}. {obstacle.cure}" for obstacle in look.obstacles],
        )
        counts = {"read": len(rows), "refused": refused, "skipped": kinds["untaken"]}
        counts |= {"duplicates": kinds["duplicate"], "pending": kinds["waiting"]}
        document |= {"with": {**counts, "stops": stops, "rows": kept}}
        text = f"{text}\n\n{_file_text(file, counts, stops, kept)}"
    session.answer(document, text)
    if not report.is_ok:
        session.next("Fix the first error, then run 'shroff check' again")
    elif session.project.context.systems.source is not None:
        session.next("shroff run")
    else:
        session.next("shroff ingest FILE --as EVENT", "shroff decide FILE --as EVENT")
    return 0 if report.is_ok and not refused and not stops else 1


def _row(submission: Submission, answer: Answer, definitions: Definitions) -> dict[str, Any]:
    """A line of a file as it was understood: its place, its type, and its fields or the reason why it is refused."""
    places, head = definitions.settings.money_places, {"place": submission.place, "type": submission.type}
    if answer.reason:
        return head | {"reason": answer.reason}
    if submission.label is not None:
        known_at = time_text(submission.label.known_at_ms)
        named = (
            f"{submission.label.event_type}/{submission.label.event_id}"
            if submission.label.event_id
            else dict(submission.label.unique)
        )
        fields = {
            "event": named,
            "verdict": submission.label.verdict,
            "source": submission.label.source,
            "known_at": known_at,
        }
        return head | {"fields": fields}
    if submission.event is None:
        return head | {"skipped": True}
    typed = zip(definitions.events.types[submission.type].fields, submission.event.values, strict=True)
    return head | {"fields": {field.name: show(value, field.type, places) for field, value in typed}}


def _file_text(file: Path, counts: dict[str, int], stops: list[str], rows: list[dict[str, Any]]) -> str:
    known = f", {counts['duplicates']:,} are duplicates" if counts["duplicates"] else ""
    parts = [f"{file}: {many(counts['read'], 'line')} read, {counts['refused']:,} would be refused{known}."]
    if counts["skipped"]:
        parts.append(f"{many(counts['skipped'], 'line')} skipped: no event type's 'when' accepts them.")
    if counts["pending"]:
        parts.append(f"{many(counts['pending'], 'label')} would wait for an event that is not there.")
    parts += [f"'shroff ingest' would stop: {words}" for words in stops]
    for row in rows[: ROWS_SHOWN + REFUSALS_SHOWN]:
        found = table(row["fields"].items(), indent="    ") if "fields" in row else f"    {one_line(row['reason'])}"
        parts.append(f"  line {row['place']}, {row['type'] or 'no event type'}\n{found}")
    if len(rows) > ROWS_SHOWN + REFUSALS_SHOWN:
        parts.append(f"  … and {len(rows) - ROWS_SHOWN - REFUSALS_SHOWN:,} more; --json has them all.")
    return "\n".join(parts)


def _document(report: CheckReport) -> dict[str, Any]:
    found = report.definitions
    features = (
        [{"name": name, "type": str(feature.type), "cost": feature.cost} for name, feature in found.features.items()]
        if found
        else []
    )
    return {
        "ok": report.is_ok,
        "errors": [asdict(problem) for problem in report.errors],
        "warnings": [asdict(problem) for problem in report.warnings],
        "features": features,
        "rules": len(found.rules) if found else 0,
        "models": [_model_entry(model) for model in found.models.values()] if found else [],
        "tests": report.tests,
    }


def _model_entry(model: ModelSettings) -> dict[str, Any]:
    return {"event": model.event, "learner": model.learner, "inputs": [input_.name for input_ in model.inputs]}
