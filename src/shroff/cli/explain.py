"""`shroff explain`: print a decision with its reasons, features and rules."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from shroff.cli import completion
from shroff.cli.progress import bars
from shroff.cli.session import Session, argument, command, one_line, table
from shroff.language.values import show_duration
from shroff.runtime.texts import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shroff.explain.explanation import Explained, FeatureLine
    from shroff.explain.model import ModelPart, ModelReason

_REASONS_SHOWN = 8
_CHANGES_SHOWN = 5
_WIDTH = 110  # characters


@command("explain")
@click.argument("reference", metavar="[TYPE/]ID", shell_complete=completion.references)
def explain(session: Session, reference: str) -> None:
    """Show a decision with its reasons, its features beside the entity's earlier values, and all rules.

    If a model scored the event, the output also shows how much each feature added to the score, the entity's typical
    range, and how the policy reached the outcome. For each feature, it shows the nearest value that would give another
    outcome.

    Examples:
        shroff explain p-1
        shroff explain payment/p-1 --json
    """
    with bars("reading history, records") as (progress,):
        found = session.project.explain(reference, progress)
    if session.is_json:
        session.line(found.json().decode())
    else:
        features = session.project.definitions.features
        session.show(_text(found, {name for name, feature in features.items() if feature.type.kind == "duration"}))
    session.next(f"shroff replay {argument(f'{found.row.event}/{found.row.id}')}")


def _text(found: Explained, durations: Collection[str]) -> str:
    row = found.row
    document = found.document
    parts = [f"{row.event} {one_line(row.id)}, sequence number {row.seq:,}: {row.outcome}"]
    if document.get("rate") or document.get("remark"):
        rate = f" at {document['rate']}" if document["rate"] else ""
        amount = f"{shown(document['amount'])} from {document['original']} {one_line(document['currency'])}{rate}"
        parts.append(f"Amount\n  {amount}" + (f": {one_line(document['remark'])}" if document["remark"] else ""))
    model = found.explanation.model
    head = "Reasons" if model is None else "Reasons of rules"
    parts.append(f"{head}\n{table(found.rule_reasons) if found.rule_reasons else '  No rule hit.'}")
    if model is not None:
        parts += [_model(model, found.reasons), _policy(model)]
    lines = found.explanation.features
    if lines:
        heads = "feature|value|of|earlier: lowest|median|highest|decisions".split("|")
        parts.append("Features\n" + table([_feature(line, line.name in durations) for line in lines], heads))
    rules = [
        f"{_filled(f'{line.id} ({line.result}): {line.text}')}\n{_filled(line.condition, '    ')}"
        for line in found.explanation.rules
    ]
    if rules:
        parts.append("Rules\n" + "\n".join(rules))
    arms = [f"  arm {line.arm} of {line.name}" for line in found.explanation.experiments]
    if arms:
        parts.append("Experiments\n" + "\n".join(arms))
    parts.append(f"receipt {document['receipt']}")
    return "\n\n".join(parts)


def _model(model: ModelPart, reasons: Sequence[ModelReason]) -> str:
    head = f"Reasons of the model {one_line(model.model)}: score {shown(model.score)}"
    problem = f"  {one_line(model.problem).rstrip('.')}." if model.problem else ""
    from shroff.models.model import LOG_ODDS

    if model.margin is None:
        return f"{head}\n{problem}"
    places = 2 if model.gives == LOG_ODDS else 4  # a probability is small where frauds are few
    rows = [(f"{reason.contribution:+.{places}f}", reason.code, reason.text) for reason in reasons[:_REASONS_SHOWN]]
    rest = sum(reason.contribution for reason in reasons[_REASONS_SHOWN:])
    if len(reasons) > _REASONS_SHOWN:
        rows.append((f"{rest:+.{places}f}", f"{len(reasons) - _REASONS_SHOWN} more", "in --json"))
    rows.append((f"{model.base:+.{places}f}", "", "what every event begins with"))
    total = f"  {model.margin:+.{places}f} in total, in {model.gives} before calibration"
    return "\n".join(part for part in (head, table(rows), total, problem) if part)


def _policy(model: ModelPart) -> str:
    lines = [f"Policy\n{_filled(model.policy.text)}"]
    if model.changes:
        lines.append("What would have changed the outcome")
        lines += [_filled(one_line(f"{change.text}.")) for change in model.changes[:_CHANGES_SHOWN]]
        if len(model.changes) > _CHANGES_SHOWN:
            lines.append(f"  and {len(model.changes) - _CHANGES_SHOWN} more in --json.")
    else:
        lines.append("No single feature or field would have changed the outcome.")
    return "\n".join([*lines, _filled(model.note)])


def _filled(text: str, indent: str = "  ") -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent="    ")


def _feature(line: FeatureLine, is_duration: bool) -> tuple[object, ...]:
    usual = line.earlier
    show = _length if is_duration else shown
    past = (
        ("", "", "", "")
        if usual is None
        else (show(usual.lowest), show(usual.median), show(usual.highest), usual.count)
    )
    key = "no " + line.entity if line.key is None else f"{line.entity} {line.key}"
    return (line.name, show(line.value), key, *past)


def _length(value: object) -> str:
    if value is None:
        return shown(value)
    seconds = float(str(value))
    return show_duration(1_000 * round(seconds) if abs(seconds) >= 1 else round(1_000 * seconds))
