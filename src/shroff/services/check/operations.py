"""Operation of `shroff check`: all errors in the project's files, and the rules in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, UnsetType

from shroff.errors import Problem, UsageError
from shroff.events.event import time_text
from shroff.events.mapping import LABEL
from shroff.json_types import JsonObject
from shroff.language.values import show
from shroff.operations.declaration import AsEvent, OperationRequest, Param, ReportAnswer, operation
from shroff.project.settings.systems import Systems
from shroff.runtime.texts import many, one_line, table
from shroff.runtime.values import replace
from shroff.services.project import Project

if TYPE_CHECKING:
    from shroff.events.intake import Submission
    from shroff.log.writer import Answer
    from shroff.project.definitions import Definitions

Document = JsonObject
ROWS_SHOWN = 3
REFUSALS_SHOWN = 10


class CheckProject(OperationRequest["ProjectChecked"]):
    """The project's files, and a file whose lines are looked at.

    Args:
        file (FILE): Also read the first 10,000 lines of FILE; show three as events, and all that would go wrong with
            'ingest'.
        labels (FILE): Labels of these events, as for 'shroff ingest'.
        prove: Also prove the laws in laws/*.yaml; each that is not proved is an error.
        format (FORMAT): csv, jsonl, parquet, avro or xml.  [default: by the file's extension, else by its content]
    """

    prove: bool = False
    file: Annotated[Path | None, Param(flags="--with", complete="files")] = None
    as_type: Annotated[
        str | None,
        AsEvent("The event type of the lines of FILE, or label.  [default: the only type, or each line names its own]"),
    ] = None
    labels: Path | None = None
    format: Annotated[str | None, Param(complete="formats")] = None

    def __post_init__(self) -> None:
        of_lines = {"--as": self.as_type, "--labels": self.labels, "--format": self.format}
        if self.file is None and (name := next((name for name, value in of_lines.items() if value is not None), "")):
            raise UsageError(f"{name} is for the lines of a file: add --with FILE.")


class ProjectChecked(ReportAnswer[tuple[str, Sequence[str]]], rename={"lines": "with"}):
    """The mistakes in a project's files, and what it has; the lines of a file as they would be ingested.

    `report` is the answer in words, with the commands that come next.
    """

    ok: bool
    errors: Sequence[Problem]
    warnings: Sequence[Problem]
    features: list[Document]
    rules: int
    models: list[Document]
    tests: int
    lines: Document | UnsetType = UNSET

    def text(self) -> str:
        return self.report[0]

    def hints(self) -> Sequence[str]:
        return self.report[1]

    def exit_status(self) -> int:
        return 0 if self.ok and not (self.lines and (self.lines["refused"] or self.lines["stops"])) else 1


@operation("check", right="read:definitions")
def check_project(project: Project, systems: Systems, request: CheckProject) -> ProjectChecked:
    """Check all project files, run the rules' tests, estimate feature costs, and print the rules in words.

    Examples:
        shroff check
        shroff -C mybank check --json
        shroff check --with march.csv --as payment
    """
    file = request.file
    report = project.check()
    if request.prove and report.is_ok:
        from shroff.services.laws.proofs import LawProofs

        report = replace(report, errors=tuple(project.part(LawProofs).unproved()))
    text, lines, definitions = repr(report), None, report.definitions
    if file is not None and definitions is not None and report.is_ok:
        lines = rows_of_file(project, definitions, file, request.as_type, request.labels, request.format)
        text = f"{text}\n\n{_file_text(file, lines)}"
    following = ["shroff ingest FILE --as EVENT", "shroff decide FILE --as EVENT"]
    if not report.is_ok:
        following = ["Fix the first error, then run 'shroff check' again"]
    elif systems.source is not None:
        following = ["shroff run"]
    features = definitions.features if definitions else {}
    return ProjectChecked(
        ok=report.is_ok,
        errors=report.errors,
        warnings=report.warnings,
        features=[
            {"name": name, "type": str(feature.type), "cost": feature.cost} for name, feature in features.items()
        ],
        rules=len(definitions.rules) if definitions else 0,
        models=[
            {"event": model.event, "learner": model.learner, "inputs": [input_.name for input_ in model.inputs]}
            for model in (definitions.models.values() if definitions else ())
        ],
        tests=report.tests,
        lines=lines or UNSET,
    ).about((text, following))


def rows_of_file(
    project: Project,
    definitions: Definitions,
    file: Path,
    as_type: str | None = None,
    labels: Path | None = None,
    format: str | None = None,
    shown: int = ROWS_SHOWN,
) -> Document:
    """Preview the ingestion of a file's first lines: counts, obstacles, `shown` rows, and all refusals.

    Raises: UsageError if the file cannot be read.
    """
    look = project.taking.look_at(file, as_type, labels, format)
    rows = [_row(row, answer, definitions) for row, answer in zip(look.rows, look.answers, strict=True)]
    kinds = Counter(answer.kind for answer in look.answers)
    unmatched = kinds["waiting"]
    return {
        "read": len(rows),
        "labels": sum(submission.type == LABEL for submission in look.rows),
        "refused": kinds["refused"],
        "skipped": kinds["untaken"],
        "duplicates": kinds["duplicate"],
        "pending": 0 if look.has_more else unmatched,
        "not_looked_up": unmatched if look.has_more else 0,
        "stops": [f"{obstacle.words}{obstacle.so}. {obstacle.cure}" for obstacle in look.obstacles],
        "rows": [row for row in rows if "fields" in row][:shown] + [row for row in rows if "reason" in row],
    }


def _row(submission: Submission, answer: Answer, definitions: Definitions) -> Document:
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
    event = definitions.conversion.event(submission.event)
    typed = zip(definitions.events.types[submission.type].fields, event.values, strict=True)
    return head | {"fields": {field.name: show(value, field.type, places) for field, value in typed}}


def _file_text(file: Path, counts: Document) -> str:
    rows = counts["rows"]
    duplicates = f", {counts['duplicates']:,} are duplicates" if counts["duplicates"] else ""
    labels = f" and {many(counts['labels'], 'label')}" if counts["labels"] else ""
    lines = f"{many(counts['read'] - counts['labels'], 'line')}{labels} read"
    parts = [f"{file}: {lines}, {counts['refused']:,} would be refused{duplicates}."]
    if counts["skipped"]:
        parts.append(f"{many(counts['skipped'], 'line')} skipped: no event type's 'when' accepts them.")
    if counts["pending"]:
        parts.append(
            f"{many(counts['pending'], 'label')} would wait for an event that is not in the log or in these lines."
        )
    if counts["not_looked_up"]:
        labels = many(counts["not_looked_up"], "label names", "labels name")
        parts.append(f"{labels} an event that is not among these lines. It may be in the rest of the file.")
    parts += [f"'shroff ingest' would stop: {words}" for words in counts["stops"]]
    for row in rows[: ROWS_SHOWN + REFUSALS_SHOWN]:
        details = table(row["fields"].items(), indent="    ") if "fields" in row else f"    {one_line(row['reason'])}"
        parts.append(f"  line {row['place']}, {row['type'] or 'no event type'}\n{details}")
    if len(rows) > ROWS_SHOWN + REFUSALS_SHOWN:
        parts.append(f"  … and {len(rows) - ROWS_SHOWN - REFUSALS_SHOWN:,} more; --json has them all.")
    return "\n".join(parts)
