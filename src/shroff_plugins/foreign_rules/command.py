"""The command `shroff import-rules`, which imports rules of Radar and Fraud Detector."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from shroff.errors import StorageError, UsageError, os_words
from shroff.json_types import JsonObject
from shroff.plugins.commands import Session, argument, command, cut, event_types, many, one_line, table
from shroff.plugins.project import write_text
from shroff_plugins.foreign_rules.importer import Imported
from shroff_plugins.foreign_rules.rule_import import RefusedRule

SHOWN_MAX = 100  # characters of a rule in a table
NAMED_MAX = 5  # files


@command("import-rules")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for the draft: rules, and the features that they need.  [default: nothing is written]",
)
@click.option("--as", "event", metavar="EVENT", shell_complete=event_types, help="The event type.")
@click.option(
    "--by", metavar="ENTITY", help="The entity to flag.  [default: the entity by which the rules count, or the first]"
)
@click.option(
    "--map",
    "mapping",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A file that maps attributes, entities, lists and past charges to this project.",
)
@click.option("--shadow", is_flag=True, help="Import the rules in shadow: recorded, without effect.")
def import_rules(
    session: Session,
    file: Path,
    out: Path | None,
    event: str | None,
    by: str | None,
    mapping: Path | None,
    shadow: bool,
) -> int:
    """Import the rules of FILE for this project's event types: of Stripe Radar, a rule on each line, or of Amazon Fraud
    Detector, as 'aws frauddetector get-rules' prints them.

    Each becomes a rule with the same hits, or is refused with the missing attribute and what to add. The result loads
    with the project and is a draft for 'shroff backtest --rules DIR'. With the project's folder 'drafts' as --out,
    each rule gets a file of its own, as on the page of rules. Exit status 1 if a rule was refused.

    Examples:
        shroff import-rules radar.txt --out drafts
        shroff import-rules radar.txt --map radar.yaml --out drafts --shadow
        shroff import-rules detector.json --out drafts
    """
    project = session.project
    if out is not None:
        project.drafts.refuse_rules_in(out)
    apart = out is not None and project.drafts.has_drafts_in(out)  # each rule gets a file of its own
    imported = project.rules.import_rules(
        file, event=event or "", by=by or "", mapping=mapping, shadow=shadow, apart=apart
    )
    files = _write(imported, out) if out is not None else []
    session.answer(_document(imported, files), _text(imported, files, apart=apart))
    if files:
        session.next(f"shroff backtest --rules {argument(out)}")
    elif imported.files:
        session.next(f"shroff import-rules {argument(file)} --out drafts")
    return 1 if imported.outcome.refused else 0


def _write(imported: Imported, out: Path) -> list[Path]:
    """Write the files of the draft. Raises: UsageError if one exists already; StorageError."""
    paths = [out / name for name in imported.files]
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} exists already and is not overwritten. Choose another folder with --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(os_words(error, out, " cannot be made")) from None
    for path, text in zip(paths, imported.files.values(), strict=True):
        write_text(path, text)
    return paths


def _file_names(files: list[Path]) -> str:
    if len(files) <= NAMED_MAX:
        return ", ".join(str(path) for path in files)
    return f"{len(files)} files in {files[0].parent}"


def _document(imported: Imported, files: list[Path]) -> JsonObject:
    outcome = imported.outcome
    return {
        "event": imported.event,
        "carried": [
            {
                "id": rule.id,
                "line": rule.source.place.line,
                "by": rule.by,
                "when": rule.when,
                "effect": rule.effect,
                "rule": rule.source.text,
            }
            for rule in outcome.carried
        ],
        "refused": [_refused_document(rule) for rule in outcome.refused],
        "missing": dict(_missing(imported)),
        "features": {f"{attribute.entity}.{attribute.name}": attribute.text for attribute in outcome.added},
        "notes": outcome.notes,
        "files": [str(path) for path in files],
    }


def _refused_document(refused: RefusedRule) -> JsonObject:
    problem = refused.problem
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "attribute": refused.attribute,
        "message": problem.message,
        "hint": problem.hint,
        "rule": refused.text,
    }


def _missing(imported: Imported) -> list[tuple[str, int]]:
    return Counter(rule.attribute for rule in imported.outcome.refused if rule.attribute).most_common()


def _text(imported: Imported, files: list[Path], *, apart: bool) -> str:
    outcome = imported.outcome
    parts = []
    if outcome.carried:
        rows = [
            (rule.source.place.line, rule.effect, rule.id, cut(rule.source.text, SHOWN_MAX)) for rule in outcome.carried
        ]
        parts.append("Carried over\n" + table(rows, ("line", "effect", "rule", "from")))
    if outcome.added:
        rows_of_features = [(f"{attribute.entity}.{attribute.name}", attribute.text) for attribute in outcome.added]
        parts.append("Features that they need\n" + table(rows_of_features))
    if outcome.refused:
        parts.append(
            "Refused\n" + "\n".join(f"  {rule.problem}\n    {one_line(rule.text)}" for rule in outcome.refused)
        )
    if missing := _missing(imported):
        parts.append("Missing\n" + table(missing, ("", "rules")))
    parts += [f"Note: {note}" for note in outcome.notes]
    total = len(outcome.carried) + len(outcome.refused)
    parts.append(f"{len(outcome.carried):,} of {many(total, 'rule')} carried over, {len(outcome.refused):,} refused.")
    parts += [f"Written: {_file_names(files)}."] if files else []
    if apart and outcome.added:
        parts.append(
            "The drafts need features that features.yaml does not declare yet; they are written beside the drafts."
        )
    return "\n\n".join(parts)
