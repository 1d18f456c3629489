"""`shroff check`: every mistake in the project's files, and the project read back in words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from shroff.cli.failures import problem_entry, problem_text
from shroff.cli.session import Session, command, many, table

if TYPE_CHECKING:
    from shroff.log.ruletests import CheckReport
    from shroff.models.definitions import ModelSettings


@command("check", "shroff check", "shroff -C mybank check --json")
def check(session: Session) -> int:
    """Check all project files, run the rules' tests, estimate feature costs, and print the rules in words."""
    report = session.project.check()
    session.answer(_document(report), _text(report, session))
    if not report.is_ok:
        session.next("mend the place named first, then 'shroff check'")
    elif session.project.opened.systems.source is not None:
        session.next("shroff run")
    else:
        session.next("shroff ingest FILE --as EVENT", "shroff decide FILE --as EVENT")
    return 0 if report.is_ok else 1


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


def _text(report: CheckReport, session: Session) -> str:
    parts = []
    found = report.definitions
    if found is not None and report.is_ok:
        if found.features:
            rows = [(name, str(one.type), one.cost) for name, one in found.features.items()]
            parts.append("Features\n" + table(rows))
        if found.rules:
            parts.append("Rules\n" + "\n".join(_rule(rule.id, _sentence(rule)) for rule in found.rules))
        if found.models:
            parts.append("Models\n" + "\n".join(_model(model) for model in found.models.values()))
    if report.warnings:
        parts.append("Warnings\n" + "\n".join(problem_text(problem, session) for problem in report.warnings))
    if report.errors:
        parts.append("\n\n".join(problem_text(problem, session) for problem in report.errors))
        parts.append(f"{many(len(report.errors), 'mistake')} found.")
    elif found is not None:
        counts = many(len(found.features), "feature"), many(len(found.rules), "rule"), many(report.tests, "rule test")
        parts.append(f"All is well: {', '.join(counts[:2])}; {counts[2]} passed.")
    return "\n\n".join(parts)


def _model_entry(model: ModelSettings) -> dict[str, Any]:
    return {"event": model.event, "learner": model.learner, "inputs": [one.name for one in model.inputs]}


def _model(model: ModelSettings) -> str:
    """What a model is made from, with the inputs that its patterns found."""
    names = ", ".join(one.name for one in model.inputs)
    head = f"  {model.event}  {model.learner} on {many(len(model.inputs), 'input')}\n"
    return head + textwrap.fill(names, 110, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _sentence(rule: Any) -> str:
    from shroff.rules.wording import sentence

    return sentence(rule)


def _rule(id_: str, words: str) -> str:
    return f"  {id_}\n" + textwrap.fill(words, 110, initial_indent="    ", subsequent_indent="    ")
