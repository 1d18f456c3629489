"""`shroff check`: every mistake in the project's files, and the project read back in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shroff.cli import completion
from shroff.cli.failures import problem_entry
from shroff.cli.options import FORMAT
from shroff.cli.session import Session, command, many, one_line, table
from shroff.events.event import time_text
from shroff.language.values import show

if TYPE_CHECKING:
    from shroff.events.intake import Submission
    from shroff.log.ruletests import CheckReport
    from shroff.models.definitions import ModelSettings
    from shroff.project.definitions import Definitions


LINES_READ: Final = 1_000  # of a file
ROWS_SHOWN: Final = 3
REFUSALS_SHOWN: Final = 10


@command("check", "shroff check", "shroff -C mybank check --json", "shroff check --with march.csv --as payment")
@click.option(
    "--with",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    shell_complete=completion.files,
    help="Also read the first 1,000 lines of FILE; show three as events, and what would be refused.",
)
@click.option(
    "--as",
    "as_type",
    metavar="EVENT",
    shell_complete=completion.event_types,
    help="The event type of the lines of FILE, or label.  [default: the only type, or each line names its own]",
)
@FORMAT
def check(session: Session, file: Path | None, as_type: str | None, format_: str | None) -> int:
    """Check all project files, run the rules' tests, estimate feature costs, and print the rules in words."""
    if file is None and (as_type is not None or format_ is not None):
        name = "--as" if as_type is not None else "--format"
        raise click.UsageError(f"{name} is for the lines of a file: add --with FILE.")
    report = session.project.check()
    document, text, refused = _document(report), repr(report), 0
    if file is not None and report.definitions is not None and report.is_ok:
        read = session.project.taking.first_of(file, as_type, LINES_READ, format_)
        refused = sum(one.refusal is not None for one in read)
        rows = [_row(one, report.definitions) for one in read]
        kept = [row for row in rows if "fields" in row][:ROWS_SHOWN] + [row for row in rows if "reason" in row]
        skipped = sum("skipped" in row for row in rows)
        document |= {"with": {"read": len(read), "refused": refused, "skipped": skipped, "rows": kept}}
        text = f"{text}\n\n{_file_text(file, len(read), refused, skipped, kept)}"
    session.answer(document, text)
    if not report.is_ok:
        session.next("Fix the first error, then run 'shroff check' again")
    elif session.project.opened.systems.source is not None:
        session.next("shroff run")
    else:
        session.next("shroff ingest FILE --as EVENT", "shroff decide FILE --as EVENT")
    return 0 if report.is_ok and not refused else 1


def _row(one: Submission, definitions: Definitions) -> dict[str, Any]:
    """A line of a file as it was understood: its place, its type, and its fields or the reason why it is refused."""
    places, head = definitions.settings.money_places, {"place": one.place, "type": one.type}
    if one.refusal is not None:
        return head | {"reason": one.refusal}
    if one.label is not None:
        known_at = time_text(one.label.known_at_ms)
        named = f"{one.label.event_type}/{one.label.event_id}" if one.label.event_id else dict(one.label.unique)
        fields = {"event": named, "verdict": one.label.verdict, "source": one.label.source, "known_at": known_at}
        return head | {"fields": fields}
    if one.event is None:
        return head | {"skipped": True}
    typed = zip(definitions.events.types[one.type].fields, one.event.values, strict=True)
    return head | {"fields": {field.name: show(value, field.type, places) for field, value in typed}}


def _file_text(file: Path, read: int, refused: int, skipped: int, rows: list[dict[str, Any]]) -> str:
    parts = [f"{file}: {many(read, 'line')} read, {refused:,} would be refused."]
    parts += [f"{many(skipped, 'line')} skipped: no event type's 'when' accepts them."] if skipped else []
    for row in rows[: ROWS_SHOWN + REFUSALS_SHOWN]:
        found = table(row["fields"].items(), indent="    ") if "fields" in row else f"    {one_line(row['reason'])}"
        parts.append(f"  line {row['place']}, {row['type'] or 'no event type'}\n{found}")
    if len(rows) > ROWS_SHOWN + REFUSALS_SHOWN:
        parts.append(f"  … and {len(rows) - ROWS_SHOWN - REFUSALS_SHOWN:,} more; --json has them all.")
    return "\n".join(parts)


def _document(report: CheckReport) -> dict[str, Any]:
    found = report.definitions
    features = (
        [{"name": name, "type": str(one.type), "cost": one.cost} for name, one in found.features.items()]
        if found
        else []
    )
    return {
        "ok": report.is_ok,
        "errors": [problem_entry(problem) for problem in report.errors],
        "warnings": [problem_entry(problem) for problem in report.warnings],
        "features": features,
        "rules": len(found.rules) if found else 0,
        "models": [_model_entry(model) for model in found.models.values()] if found else [],
        "tests": report.tests,
    }


def _model_entry(model: ModelSettings) -> dict[str, Any]:
    return {"event": model.event, "learner": model.learner, "inputs": [input_.name for input_ in model.inputs]}
