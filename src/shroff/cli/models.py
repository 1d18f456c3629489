"""`shroff models`: the registry, and which models are in force."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from shroff.cli import completion
from shroff.cli.session import ExampleGroup, Session, argument, command, json_option, many, one_line, table
from shroff.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shroff.app.models.promotion import Deployment, ListedModel
    from shroff.models.in_force import Promotion, Waiver
    from shroff.models.registry import GateResult, Stored

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s*%")


@click.group("models", cls=ExampleGroup, invoke_without_command=True)
@json_option
@click.pass_context
def models(context: click.Context) -> None:
    """List the models of the registry, and choose which of them score.

    A model is a folder, models/ID. For each event type, models/in_force.json names the champion, the models in shadow,
    and the challenger that scores a share of the keys. A change is active at once, also in another process that
    writes, and the log records the event from which it applies.
    """
    if context.invoked_subcommand is None:
        _list(context.obj)


models.examples = ("shroff models list", "shroff models promote m-20260701-3f2a --by ann", "shroff models rollback")


@command("list", "shroff models list", group=models)
def list_models(session: Session) -> None:
    """List the models of the registry with their current state, newest first."""
    _list(session)


def _list(session: Session) -> None:
    found = session.project.models.all()
    text = f"{many(len(found), 'model')}."
    if found:
        rows = [
            (one.summary.id, _minute(one), one.summary.event, one.role, one.summary.learner, _state(one))
            for one in found
        ]
        text += "\n" + table(rows, ("model", "made", "scores", "role", "learner", "gates"))
    for one in found:
        text += f"\n  {one.summary.id}: {_redefined_words(one.redefined)}" if one.redefined else ""
        text += f"\n  {one_line(one.unused)}" if one.unused else ""
        text += "".join(f"\n  {one_line(words)}" for words in one.summary.damaged)
    entries = [
        {**asdict(one.summary), "role": one.role, "redefined": one.redefined, "unused": one.unused} for one in found
    ]
    session.answer({"models": entries}, text)
    session.next(f"shroff models show {argument(found[0].summary.id)}" if found else "shroff train")


def _minute(one: ListedModel) -> str:
    """When a model was made, to the minute of UTC."""
    return one_line(one.summary.made_at[:16].replace("T", " ")) or "-"


def _redefined_words(names: Sequence[str]) -> str:
    means = "means" if len(names) == 1 else "mean"
    return f"{one_line(', '.join(names))} {means} something else now than at training"


def _state(one: ListedModel) -> str:
    if one.summary.problem:
        return one.summary.problem
    if not one.summary.is_judged:
        return "not judged"
    if one.unwaived:
        return f"failed: {', '.join(one.unwaived)}"
    return f"waived: {', '.join(one.summary.failed)}" if one.summary.failed else "passed"


@command(
    "show", "shroff models show m-20260701-3f2a", "shroff models show m-20260701-3f2a --report model.html", group=models
)
@click.argument("model", shell_complete=completion.model_ids)
@click.option(
    "--report",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the model's report as one HTML page: metrics, curves, feature effects.",
)
def show(session: Session, model: str, page: Path | None) -> None:
    """Show one model: its origin, its metrics and its gates."""
    from shroff.training.measured import slices_told, with_money

    found = session.project.models.one(model)
    stored = found.stored
    if page is not None:
        _write_report(stored, page)
    definitions = session.project.definitions
    metrics = slices_told(definitions, stored.event, stored.metrics)
    document: dict[str, Any] = {
        "id": stored.id,
        "event": stored.event,
        "role": found.role,
        "digest": stored.digest,
        "gates": [structs.asdict(gate) for gate in stored.gates],
        "metrics": with_money(metrics, definitions.settings.money_places),
        "promotions": [_promotion(promotion) for promotion in found.promotions],
        "manifest": stored.manifest,
        "files": sorted(stored.files),
        "damaged": dict(stored.damaged),
        "redefined": found.redefined,
    }
    role = f", {found.role}" if found.role else ""
    lines = [f"{stored.id} scores {stored.event}{role}."]
    manifest = stored.manifest
    lines += [f"  {name}: {one_line(manifest[name])}" for name in ("learner", "made_at", "as_of") if name in manifest]
    if (origin := manifest.get("imported")) is not None:
        until = f", until {origin['trained_until']}" if "trained_until" in origin else ""
        lines.append(f"  trained elsewhere{until}: {one_line(origin['file'])}, {origin['source']}")
    inputs = [str(one.get("name", one)) for one in manifest.get("inputs", ())]
    lines.append(f"  reads {many(len(inputs), 'input')}: {one_line(', '.join(inputs))}")
    lines += [f"  {_redefined_words(found.redefined)}"] if found.redefined else []
    lines.append(_gates_text(stored.gates))
    lines += [_slices_text(metrics["slices"])] if metrics.get("slices") else []
    for promotion in found.promotions:
        lines.append(f"  promoted {promotion.at}{f' by {one_line(promotion.by)}' if promotion.by else ''}")
        lines += [f"    waived {one_line(f'{_waived(w)}, by {w.by}: {w.reason}')}" for w in promotion.waived]
    lines += [f"  {one_line(words)}" for words in stored.damaged.values()]
    session.answer(document, "\n".join(lines))
    can_lead = found.role != "champion" and not stored.failed
    session.next(f"shroff models promote {argument(stored.id)}" if can_lead else "shroff models list")


def _write_report(stored: Stored, page: Path) -> None:
    from shroff.models.registry import REPORT
    from shroff.runtime.whole_files import write_lines

    data = stored.file(REPORT)
    if data is None:
        raise UsageError(f"{stored.id} has no report: only models that 'shroff train' made here have one.")
    write_lines(page, [[data]])


def _waived(waiver: Waiver) -> str:
    return f"{waiver.gate} {waiver.limit}".rstrip()


def _promotion(promotion: Promotion) -> dict[str, Any]:
    waived = [{"gate": one.gate, "limit": one.limit, "reason": one.reason, "by": one.by} for one in promotion.waived]
    return {"at": promotion.at, "by": promotion.by, "waived": waived}


def _slices_text(slices: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for one in slices:
        precision = one["metrics"]["average_precision"]
        worse = "worse than the champion" if one["falls_by_more_than_noise"] else ""
        shown = "none" if precision is None else f"{precision:.4f}"
        rows.append((one_line(one["words"]), f"{one['rows']:,}", f"{one['frauds']:,}", shown, worse))
    return table(rows, ("slice", "events", "frauds", "average precision", ""))


def _gates_text(gates: Sequence[GateResult]) -> str:
    if not gates:
        return "  no gates"
    from shroff.models.evaluation.gates import value_text

    rows = [
        (
            gate.name,
            value_text(gate),
            gate.limit,
            ("passed" if gate.passed else "failed") + (f": {one_line(gate.note)}" if gate.note else ""),
        )
        for gate in gates
    ]
    return table(rows, ("gate", "value", "limit", ""))


@command(
    "import",
    "shroff models import fraud.json --check rows.csv",
    "shroff models import fraud.onnx --check rows.csv --inputs payment.amount,card.payments_1h --calibrate",
    "shroff models import fraud.txt --check rows.parquet --inputs inputs.yaml --trained-until 2026-05-01",
    group=models,
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--check",
    "rows",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Rows with input values and the model's own score or margin; each must be reproduced.",
)
@click.option(
    "--as",
    "event",
    metavar="EVENT",
    shell_complete=completion.event_types,
    help="The event type, if model.yaml has models of several.",
)
@click.option(
    "--inputs", metavar="A,B,C|FILE", help="Inputs, in the order of the model's features.  [default: as in model.yaml]"
)
@click.option(
    "--categories",
    metavar="INPUT=A,B,C",
    multiple=True,
    help="The categories of an input in the order of their codes; may be repeated.",
)
@click.option("--trained-until", metavar="TIME", help="End of its training data; earlier tests are left out.")
@click.option("--calibrate", is_flag=True, help="Fit a calibration on labeled events, as 'train' does.")
@click.option("--rounds", metavar="N", type=int, help="Number of boosting rounds to use.  [default: as in the file]")
@click.option(
    "--tolerance",
    metavar="X",
    type=float,
    help="Largest accepted difference for a row of --check.  [default: 1e-6, for margins 1e-5]",
)
@click.option("--as-of", metavar="TIME", help="Use the labels known at this time.  [default: the log's last record]")
@click.option("--promote", is_flag=True, help="Make it the champion if its gates passed.")
@click.option("--by", metavar="NAME", default="", help="Who imports it.")
def import_model(
    session: Session, file: Path, rows: Path | None, *, categories: tuple[str, ...], **options: Any
) -> int:
    """Import a model trained elsewhere: XGBoost's JSON or UBJSON, LightGBM's text, or ONNX.

    The model is checked on rows and evaluated on the same folds and gates as a model trained here. It is kept in the
    registry and becomes the champion only with --promote and if its gates passed. Pickle files are refused, because
    they run code when they are read.
    """
    from shroff.cli.progress import bars
    from shroff.cli.train import FAILED, tell
    from shroff.training.foreign.inputs import categories_in
    from shroff.training.foreign.model_import import IMPORTED
    from shroff.training.foreign.rows import SNIPPET
    from shroff.training.train import Steps

    if rows is None:
        raise UsageError(f"--check names rows with the model's own scores, to check it against, such as {SNIPPET}.")
    done = 0

    with bars("reading, events", "judging, folds") as (reading, judging):

        def fold_done(number: int, _of: int) -> None:
            nonlocal done
            judging(number - done)
            done = number

        report = session.project.training.import_model(
            file, check=rows, categories=categories_in(categories), steps=Steps(reading, fold_done), **options
        )
    origin = report.stored.manifest[IMPORTED]
    checked = origin["checked"]
    made = (
        f"{origin['source']} from {origin['file']}, {many(checked['rows'], 'row')} of {checked['file']} reproduced"
        f" (at most {checked['worst']:.1g} off)"
    )
    tell(session, report, {IMPORTED: origin}, made)
    return 0 if report.passed else FAILED


@command(
    "promote",
    "shroff models promote m-20260701-3f2a --by ann",
    "shroff models promote m-20260701-3f2a --waive 'calibration_error at most 0.02' --reason 'small sample' --by ann",
    group=models,
)
@click.argument("model", shell_complete=completion.model_ids)
@click.option(
    "--waive",
    metavar="'GATE LIMIT'",
    multiple=True,
    help="Promote although this gate failed; name it with its limit. May be repeated.",
)
@click.option("--reason", metavar="TEXT", default="", help="Why the gate is waived.")
@click.option("--by", metavar="NAME", default="", help="Who promotes it.")
def promote(session: Session, model: str, waive: tuple[str, ...], reason: str, by: str) -> int:
    """Promote a model to champion: from the next event on, its score counts.

    Its gates are checked again. A comparison with a champion that has been replaced since does not count. Gates added
    to model.yaml since training are checked against the recorded metrics. The inputs must have the same meaning as in
    training. A model that fails a gate is promoted only if you waive that gate, with a reason and a name;
    models/in_force.json records them.
    """
    found = session.project.models.promote(model, waive=waive, reason=reason, by=by, waits=session.waits)
    return _tell(session, found)


@command("rollback", "shroff models rollback", "shroff models rollback payment --by ann", group=models)
@click.argument("event", default="", shell_complete=completion.event_types)
@click.option("--by", metavar="NAME", default="", help="Who rolls it back.")
def rollback(session: Session, event: str, by: str) -> int:
    """Return to the previous champion, without checking gates. If there was none, rules alone decide.

    EVENT is optional if models of one event type are active.
    """
    return _tell(session, session.project.models.rollback(event, waits=session.waits, by=by))


@command("shadow", "shroff models shadow m-20260701-3f2a", "shroff models shadow m-20260701-3f2a --stop", group=models)
@click.argument("model", shell_complete=completion.model_ids)
@click.option("--stop", is_flag=True, help="Take it out of shadow.")
def shadow(session: Session, model: str, stop: bool) -> int:
    """Put a model in shadow: it scores every event, without effect on decisions."""
    return _tell(session, session.project.models.shadow(model, stop=stop, waits=session.waits))


@command(
    "challenge",
    "shroff models challenge m-20260701-3f2a --share 10% --of card",
    "shroff models challenge m-20260701-3f2a --stop",
    group=models,
)
@click.argument("model", shell_complete=completion.model_ids)
@click.option("--share", metavar="PERCENT", help="The share of keys that it scores, such as 10%.")
@click.option("--of", "entity", metavar="ENTITY", help="The entity whose keys are split.")
@click.option("--stop", is_flag=True, help="End the challenge; the champion scores these keys again.")
def challenge(session: Session, model: str, share: str | None, entity: str | None, stop: bool) -> int:
    """Let a model score a share of the keys instead of the champion; a hash always picks the same keys."""
    if stop:
        return _tell(session, session.project.models.unchallenge(model, waits=session.waits))
    match = _PERCENT.fullmatch(share or "")
    if match is None or entity is None:
        raise click.UsageError("a challenger needs --share PERCENT, such as 10%, and --of ENTITY, or --stop.")
    return _tell(session, session.project.models.challenge(model, float(match[1]) / 100, entity, waits=session.waits))


@command("compare", "shroff models compare", "shroff models compare m-20260701-3f2a m-20260801-77ab", group=models)
@click.argument("ids", metavar="[CHAMPION] [CHALLENGER]", nargs=-1, shell_complete=completion.model_ids)
@click.option("--as-of", metavar="TIME", help="Use the labels known at this time.  [default: the log's last record]")
def compare(session: Session, ids: tuple[str, ...], as_of: str | None) -> None:
    """Compare two models on the same events: the difference, and the smallest detectable difference.

    Champion, challengers and models in shadow are compared on the live events that both have scored. Other models are
    compared on events that are in test folds of both. Without names, the champion is compared with its challengers and
    the models in shadow.
    """
    from shroff.cli.model_comparison import answer

    answer(session, ids, as_of)


def _tell(session: Session, done: Deployment) -> int:
    """Answer what became of it; gives the exit code."""
    failed = [structs.asdict(gate) for gate in done.failed]
    document = {**asdict(done), "failed": failed}
    session.answer(document, _words(done))
    if failed:
        waived = " ".join(f"--waive {argument(gate.words)}" for gate in done.failed)
        session.next(
            f"shroff models show {argument(done.model)}",
            f"shroff models promote {argument(done.model)} {waived} --reason TEXT --by NAME",
        )
        return 1
    session.next("shroff models list", "shroff verify")
    return 0


def _words(done: Deployment) -> str:
    from shroff.app.models import promotion as promoting

    if done.what == promoting.REFUSED:
        gates = _gates_text(done.failed)
        return f"{done.model} is not promoted: it fails {many(len(done.failed), 'gate')}.\n{gates}"
    scores = f"{done.champion} scores {done.event}" if done.champion else f"rules alone decide {done.event}"
    words = {
        promoting.PROMOTED: f"{done.model} is the champion of {done.event}"
        + (f", replacing {done.before}." if done.before else "."),
        promoting.ROLLED_BACK: f"{done.before} is rolled back: {scores}.",
        promoting.IN_SHADOW: f"{done.model} is in shadow.",
        promoting.OUT_OF_SHADOW: f"{done.model} is out of shadow.",
        promoting.CHALLENGES: f"{done.model} challenges {done.champion}.",
        promoting.NO_CHALLENGER: f"{done.model} no longer challenges; {done.champion} scores all of {done.event}.",
        promoting.SAME: f"nothing changed; {done.model} already had this role.",
    }[done.what]
    if done.in_force:
        words += " It is active from the next event."
    else:
        words += f" It is not active: {done.why_not.rstrip('.')}."
    return f"{words}\n{done.unused}" if done.unused else words
