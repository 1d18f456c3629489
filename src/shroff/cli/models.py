"""`shroff models`: the registry, and which models are in force."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shroff.cli import completion
from shroff.cli.session import ExampleGroup, Session, argument, command, json_option, many, one_line, table
from shroff.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.decisions.promoting import Deployment, Listed
    from shroff.models.registry import GateResult, Stored

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s*%")


@click.group("models", cls=ExampleGroup, invoke_without_command=True)
@json_option
@click.pass_context
def models(context: click.Context) -> None:
    """List the models of the registry, and say which of them score.

    A model is a folder, models/ID; models/in_force.json says which of them is the champion of an event type, which is
    in shadow, and which challenges the champion for a share of the keys. A change is in force at once, beside a
    process that writes too, and the log knows from which event on.
    """
    if context.invoked_subcommand is None:
        _list(context.obj)


models.examples = (
    "shroff models list",
    "shroff models promote m-20260701-3f2a --by ann",
    "shroff models rollback",
)


@command("list", "shroff models list", group=models)
def list_models(session: Session) -> None:
    """List the models of the registry with what each is now."""
    _list(session)


def _list(session: Session) -> None:
    found = session.project.models()
    text = f"{many(len(found), 'model')}."
    if found:
        rows = [(one.summary.id, one.summary.event, one.role, one.summary.learner, _state(one)) for one in found]
        text += "\n" + table(rows, ("model", "scores", "role", "learner", "gates"))
    session.answer({"models": [{**asdict(one.summary), "role": one.role} for one in found]}, text)
    session.next(f"shroff models show {argument(found[0].summary.id)}" if found else "shroff train")


def _state(one: Listed) -> str:
    if one.summary.problem:
        return one.summary.problem
    return f"failed: {', '.join(one.summary.failed)}" if one.summary.failed else "passed"


@command(
    "show",
    "shroff models show m-20260701-3f2a",
    "shroff models show m-20260701-3f2a --report model.html",
    group=models,
)
@click.argument("model", shell_complete=completion.model_ids)
@click.option(
    "--report",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write its report as one HTML page: figures, curves, what moves the score.",
)
def show(session: Session, model: str, page: Path | None) -> None:
    """Show what is known of one model: where it comes from, what was measured, its gates."""
    found = session.project.model(model)
    stored = found.stored
    if page is not None:
        _write_report(stored, page)
    document: dict[str, Any] = {
        "id": stored.id,
        "event": stored.event,
        "role": found.role,
        "digest": stored.digest,
        "gates": [gate_of(gate) for gate in stored.gates],
        "metrics": stored.metrics,
        "promotions": [_promotion(one) for one in found.promotions],
        "manifest": stored.manifest,
        "files": sorted(stored.files),
    }
    role = f", {found.role}" if found.role else ""
    lines = [f"{stored.id} scores {stored.event}{role}."]
    manifest = stored.manifest
    lines += [f"  {name}: {one_line(manifest[name])}" for name in ("learner", "made_at", "as_of") if name in manifest]
    inputs = [str(one.get("name", one)) for one in manifest.get("inputs", ())]
    lines.append(f"  reads {many(len(inputs), 'input')}: {one_line(', '.join(inputs))}")
    lines.append(_gates_text(stored.gates))
    for one in found.promotions:
        lines.append(f"  promoted {one.at}{f' by {one_line(one.by)}' if one.by else ''}")
        lines += [f"    waived {one_line(f'{w.gate}, by {w.by}: {w.reason}')}" for w in one.waived]
    session.answer(document, "\n".join(lines))
    session.next(f"shroff models promote {argument(stored.id)}" if found.role != "champion" else "shroff models list")


def _write_report(stored: Stored, page: Path) -> None:
    from shroff.decisions.outfiles import write_lines
    from shroff.models.report import REPORT

    data = stored.files.get(REPORT)
    if data is None:
        raise UsageError(f"{stored.id} has no report: only models that 'shroff train' made here have one.")
    write_lines(page, [[data]])


def _promotion(promotion: Any) -> dict[str, Any]:
    waived = [{"gate": one.gate, "reason": one.reason, "by": one.by} for one in promotion.waived]
    return {"at": promotion.at, "by": promotion.by, "waived": waived}


def gate_of(gate: GateResult) -> dict[str, Any]:
    """A gate as JSON."""
    return {"name": gate.name, "value": gate.value, "limit": gate.limit, "passed": gate.passed, "note": gate.note}


def _gates_text(gates: Sequence[GateResult]) -> str:
    if not gates:
        return "  no gates"
    rows = [
        (one.name, "-" if one.value is None else f"{one.value:g}", one.limit, "passed" if one.passed else "failed")
        for one in gates
    ]
    return table(rows, ("gate", "value", "limit", ""))


@command(
    "promote",
    "shroff models promote m-20260701-3f2a --by ann",
    "shroff models promote m-20260701-3f2a --waive calibration_error --reason 'small sample' --by ann",
    group=models,
)
@click.argument("model", shell_complete=completion.model_ids)
@click.option(
    "--waive", metavar="GATE", multiple=True, help="Promote though this gate failed; it may stand repeatedly."
)
@click.option("--reason", metavar="TEXT", default="", help="Why a gate is waived.")
@click.option("--by", metavar="NAME", default="", help="Who promotes it.")
def promote(session: Session, model: str, waive: tuple[str, ...], reason: str, by: str) -> int:
    """Make a model the champion: from the next event on its score counts.

    A model that failed a gate is promoted only where that gate is waived, with a reason and a name, which
    models/in_force.json keeps.
    """
    found = session.project.promote(model, waive=waive, reason=reason, by=by, waits=session.waits)
    return _tell(session, found)


@command("rollback", "shroff models rollback", "shroff models rollback payment", group=models)
@click.argument("event", default="", shell_complete=completion.event_types)
def rollback(session: Session, event: str) -> int:
    """Go back to the champion before; where there was none, rules alone decide.

    EVENT may be left out where models of one event type are in force.
    """
    return _tell(session, session.project.rollback(event, waits=session.waits))


@command("shadow", "shroff models shadow m-20260701-3f2a", "shroff models shadow m-20260701-3f2a --stop", group=models)
@click.argument("model", shell_complete=completion.model_ids)
@click.option("--stop", is_flag=True, help="Take it out of shadow.")
def shadow(session: Session, model: str, stop: bool) -> int:
    """Put a model in shadow: it scores every event, and nothing follows from it."""
    return _tell(session, session.project.shadow(model, stop=stop, waits=session.waits))


@command(
    "challenge",
    "shroff models challenge m-20260701-3f2a --share 10% --of card",
    "shroff models challenge m-20260701-3f2a --stop",
    group=models,
)
@click.argument("model", shell_complete=completion.model_ids)
@click.option("--share", metavar="PERCENT", help="The share of keys that it scores, such as 10%.")
@click.option("--of", "entity", metavar="ENTITY", help="The entity whose keys these are.")
@click.option("--stop", is_flag=True, help="Give its keys back to the champion.")
def challenge(session: Session, model: str, share: str | None, entity: str | None, stop: bool) -> int:
    """Let a model score a share of the keys in the champion's place, always the same keys, by a hash."""
    if stop:
        return _tell(session, session.project.unchallenge(model, waits=session.waits))
    match = _PERCENT.fullmatch(share or "")
    if match is None or entity is None:
        raise click.UsageError("a challenger needs --share PERCENT, such as 10%, and --of ENTITY, or --stop.")
    return _tell(session, session.project.challenge(model, float(match[1]) / 100, entity, waits=session.waits))


@command(
    "compare",
    "shroff models compare",
    "shroff models compare m-20260701-3f2a m-20260801-77ab",
    group=models,
)
@click.argument("ids", metavar="[CHAMPION] [CHALLENGER]", nargs=-1, shell_complete=completion.model_ids)
@click.option("--as-of", metavar="TIME", help="Labels that were known then count.  [default: the log's last record]")
def compare(session: Session, ids: tuple[str, ...], as_of: str | None) -> None:
    """Compare two models on the same events: the difference so far, and how small a one could be seen.

    Models in force or in shadow are compared on the events that both have scored since, others on events on which
    folds of both were tested. Without names it is the champion and what is tried beside it.
    """
    from shroff.cli.comparing import answer

    answer(session, ids, as_of)


def _tell(session: Session, done: Deployment) -> int:
    """Answer what became of it; gives the exit code."""
    failed = [gate_of(gate) for gate in done.failed]
    document = {**asdict(done), "failed": failed}
    session.answer(document, _words(done))
    if failed:
        gate = argument(done.failed[0].name)
        session.next(
            f"shroff models show {argument(done.model)}",
            f"shroff models promote {argument(done.model)} --waive {gate} --reason TEXT --by NAME",
        )
        return 1
    session.next("shroff models list", "shroff verify")
    return 0


def _words(done: Deployment) -> str:
    from shroff.decisions import promoting

    if done.what == promoting.REFUSED:
        gates = _gates_text(done.failed)
        return f"{done.model} is not promoted: it failed {many(len(done.failed), 'gate')}.\n{gates}"
    scores = f"{done.champion} scores {done.event}" if done.champion else f"rules alone decide {done.event}"
    words = {
        promoting.PROMOTED: f"{done.model} is the champion of {done.event}"
        + (f", in the place of {done.before}." if done.before else "."),
        promoting.ROLLED_BACK: f"{done.before} is rolled back: {scores}.",
        promoting.IN_SHADOW: f"{done.model} is in shadow.",
        promoting.OUT_OF_SHADOW: f"{done.model} is out of shadow.",
        promoting.CHALLENGES: f"{done.model} challenges {done.champion}.",
        promoting.NO_CHALLENGER: f"{done.model} challenges no more; {done.champion} scores all of {done.event}.",
        promoting.SAME: f"nothing is changed; {done.model} was that already.",
    }[done.what]
    if done.in_force:
        return f"{words} That is in force from the next event on."
    return f"{words} It is not in force yet: {done.why_not.rstrip('.')}."
