"""`shroff explain`: why an event was decided as it was."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from shroff.cli import completion
from shroff.cli.progress import bars
from shroff.cli.session import Session, argument, command, one_line, table

if TYPE_CHECKING:
    from shroff.decisions.explain import Explained, FeatureLine


@command("explain", "shroff explain p-1", "shroff explain payment/p-1 --json")
@click.argument("reference", metavar="[TYPE/]ID", shell_complete=completion.references)
def explain(session: Session, reference: str) -> None:
    """Show a decision with its reasons, its features beside this entity's earlier ones, and every rule in words."""
    with bars("looking back, records") as (progress,):
        found = session.project.explain(reference, progress)
    if session.is_json:
        session.line(found.json().decode())
    else:
        session.show(_text(found))
    session.next(f"shroff replay {argument(f'{found.row.event}/{found.row.id}')}")


def _text(found: Explained) -> str:
    row, document = found.row, found.document
    parts = [f"{row.event} {one_line(row.id)}, place {row.seq:,}: {row.outcome}"]
    reasons = [(one["code"], one["effect"], one["text"]) for one in document["reasons"]]
    parts.append("Reasons\n" + (table(reasons) if reasons else "  No rule hit."))
    lines = found.explanation.features
    if lines:
        heads = ("feature", "value", "of", "earlier: lowest", "median", "highest", "decisions")
        parts.append("Features\n" + table([_feature(line) for line in lines], heads))
    rules = [
        textwrap.fill(f"{line.id} ({line.result}): {line.text}", 110, initial_indent="  ", subsequent_indent="    ")
        for line in found.explanation.rules
    ]
    if rules:
        parts.append("Rules\n" + "\n".join(rules))
    parts.append(f"receipt {document['receipt']}")
    return "\n\n".join(parts)


def _feature(line: FeatureLine) -> tuple[object, ...]:
    usual = line.earlier
    past = (
        ("", "", "", "")
        if usual is None
        else (shown(usual.lowest), shown(usual.median), shown(usual.highest), usual.count)
    )
    key = "no " + line.entity if line.key is None else f"{line.entity} {line.key}"
    return (line.name, shown(line.value), key, *past)


def shown(value: object) -> str:
    """A value of a decision for people: reals short, missing as a word."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
