"""Operations on models: registry, active models, imports, comparisons; long because they are one group of commands."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec.structs import asdict, astuple

from shroff.errors import UsageError
from shroff.json_types import JsonObject, TextDict
from shroff.language.values import parse_share
from shroff.models.in_force import Promotion
from shroff.models.registry import REPORT, GateResult, UnknownModelError
from shroff.operations.declaration import (
    AsEvent,
    LocalPath,
    OperationAnswer,
    OperationRequest,
    Param,
    ProgressSteps,
    Record,
    ReportAnswer,
    group,
    operation,
)
from shroff.people.access import Who
from shroff.people.audit import checked_reason
from shroff.project.definitions import Definitions
from shroff.runtime.texts import argument, many, one_line, percent, table
from shroff.services.models.deployment import Deployment, ListedModel
from shroff.services.models.frames import table_of
from shroff.services.models.promotion import Promotions
from shroff.services.training.operations import TrainedModel
from shroff.services.training.trainings import Training

if TYPE_CHECKING:
    from shroff.training.comparison import Comparison

BODY_BYTES_MAX = 64 * 1024
_PERCENT = re.compile(r"\d{1,3}(\.\d{1,4})?\s*%")
Id = Annotated[str, Param("The model.", metavar="MODEL", complete="model_ids")]
AsOf = Annotated[
    str | None,
    Param("Use the labels known at this time.  [default: the log's last record]", flags="--as-of", metavar="TIME"),
]

group(
    "models",
    """List the models of the registry, and choose which of them score.

    A model is a folder, models/ID. For each event type, models/in_force.json names the champion, the models in shadow,
    and the challenger that scores a share of the keys. A change is active at once, also in another process that
    writes, and the log records the event from which it applies.

    Examples:
        shroff models list
        shroff models promote m-20260701-3f2a --by ann
        shroff models rollback
    """,
)


# ---- looking


class ShowModels(OperationRequest["Models"]):
    pass


class Models(OperationAnswer):
    """The models of the registry with their current state, newest first."""

    models: list[ListedModel]

    def text(self) -> str:
        text = f"{many(len(self.models), 'model')}."
        if self.models:
            text += "\n" + table_of(self.models)
        for model in self.models:
            redefined = [f"{model.id}: {_redefined(model.redefined)}"] if model.redefined else []
            lines = (*redefined, *([model.unused] if model.unused else []), *model.damaged)
            text += "".join(f"\n  {one_line(line)}" for line in lines)
        return text

    def hints(self) -> Sequence[str]:
        return [f"shroff models show {argument(self.models[0].id)}" if self.models else "shroff train"]


def _redefined(names: Sequence[str]) -> str:
    means = "means" if len(names) == 1 else "mean"
    return f"{one_line(', '.join(names))} {means} something else now than at training"


@operation("models list", right="read:definitions", http="GET /models")
def show_models(models: Promotions, request: ShowModels) -> Models:
    """List the models of the registry with their current state, newest first.

    Examples:
        shroff models list
    """
    return Models(models=models.all())


class ShowModel(OperationRequest["Model"]):
    """
    Args:
        report (FILE): Write the model's report as one HTML page: metrics, curves, feature effects.
        card (FILE): Write the model's card as one HTML page: purpose, data, metrics, gates, segments, limits,
            approvals.
    """

    id: Id
    report: LocalPath = None
    card: LocalPath = None


class PromotionRecord(Promotion, frozen=True, omit_defaults=False):
    """A promotion to champion: when, by whom, and the waived gates."""


class Model(OperationAnswer):
    """One model with all its details."""

    id: str
    event: str
    role: str
    digest: str
    gates: list[GateResult]
    metrics: Annotated[
        JsonObject, msgspec.Meta(description="`metrics.json`, see the reference of metrics. Slices have `words`.")
    ]
    promotions: list[PromotionRecord]
    manifest: Annotated[JsonObject, msgspec.Meta(description="`manifest.json`: how the model was made.")]
    files: list[str]
    damaged: TextDict
    redefined: tuple[str, ...]

    def text(self) -> str:
        from shroff.models.evaluation.gates import gates_text

        role = f", {self.role}" if self.role else ""
        lines = [f"{self.id} scores {self.event}{role}."]
        manifest = self.manifest
        lines += [f"  {key}: {one_line(manifest[key])}" for key in ("learner", "made_at", "as_of") if key in manifest]
        origin = manifest.get("imported")
        if origin is not None:
            until = f", until {origin['trained_until']}" if "trained_until" in origin else ""
            lines.append(f"  trained elsewhere{until}: {one_line(origin['file'])}, {origin['source']}")
        inputs = [str(item.get("name", item)) for item in manifest.get("inputs", ())]
        lines.append(f"  reads {many(len(inputs), 'input')}: {one_line(', '.join(inputs))}")
        lines += [f"  {_redefined(self.redefined)}"] if self.redefined else []
        lines.append(gates_text(self.gates))
        lines += [_slices_text(self.metrics["slices"])] if self.metrics.get("slices") else []
        for promotion in self.promotions:
            lines.append(f"  promoted {promotion.at}{f' by {one_line(promotion.by)}' if promotion.by else ''}")
            waivers = (f"{f'{w.gate} {w.limit}'.rstrip()}, by {w.by}: {w.reason}" for w in promotion.waived)
            lines += [f"    waived {one_line(words)}" for words in waivers]
        return "\n".join([*lines, *(f"  {one_line(words)}" for words in self.damaged.values())])

    def hints(self) -> Sequence[str]:
        can_lead = self.role != "champion" and all(gate.passed for gate in self.gates)
        return [f"shroff models promote {argument(self.id)}" if can_lead else "shroff models list"]


def _slices_text(slices: Sequence[JsonObject]) -> str:
    rows = []
    for part in slices:
        precision = part["metrics"]["average_precision"]
        worse = "worse than the champion" if part["falls_by_more_than_noise"] else ""
        shown = "none" if precision is None else f"{precision:.4f}"
        rates = [_rate_text(part.get(name)) for name in ("false_positive_rate", "decline_rate")]
        rows.append((one_line(part["words"]), f"{part['rows']:,}", f"{part['frauds']:,}", shown, *rates, worse))
    return table(rows, "slice|events|frauds|average precision|false positives|declined|".split("|"))


def _rate_text(rate: dict[str, float] | None) -> str:
    return (
        "-"
        if rate is None
        else "{} ({} to {})".format(*(percent(rate[name], ".2") for name in ("mean", "low", "high")))
    )


@operation("models show", right="read:definitions", http="GET /models/{id}", refusals=[UnknownModelError])
def show_model(models: Promotions, definitions: Definitions, request: ShowModel) -> Model:
    """Show one model: its origin, its metrics and its gates.

    Examples:
        shroff models show m-20260701-3f2a
        shroff models show m-20260701-3f2a --report model.html --card card.html
    """
    from shroff.runtime.atomic_files import write_lines
    from shroff.training.measured import slices_told, with_money

    details = models.one(request.id)
    stored = details.stored
    if request.report is not None:
        if (page := stored.file(REPORT)) is None:
            raise UsageError(f"{stored.id} has no report: only models that 'shroff train' made here have one.")
        write_lines(request.report, [[page]])
    if request.card is not None:
        write_lines(request.card, [[models.card(request.id).encode()]])
    metrics = slices_told(definitions, stored.event, stored.metrics)
    return Model(
        id=stored.id,
        event=stored.event,
        role=details.role,
        digest=stored.digest,
        gates=stored.gates,
        metrics=with_money(metrics, definitions.settings.money_places),
        promotions=[PromotionRecord(*astuple(promotion)) for promotion in details.promotions],
        manifest=stored.manifest,
        files=sorted(stored.files),
        damaged=dict(stored.damaged),
        redefined=details.redefined,
    )


class CompareModels(OperationRequest["ComparedModels"]):
    """
    Args:
        ids ([CHAMPION] [CHALLENGER]): The models.
    """

    ids: Annotated[tuple[str, ...], Param(complete="model_ids", is_argument=True)] = ()
    as_of: AsOf = None


class ComparedModels(ReportAnswer["Comparison"]):
    """Two models on the same events: each metric of both, with the paired difference."""

    event: str
    champion: str
    challenger: str
    on: str
    since_seq: int
    events: int
    rows: int
    frauds: int
    immature: int
    unclear: int
    needs: str
    drawn: str
    metrics: list[JsonObject]

    @classmethod
    def measured(cls, report: Comparison) -> ComparedModels:
        from shroff.training.measured import plain, with_money

        document = dataclasses.asdict(report)
        places = document.pop("money_places")
        document["metrics"] = [
            with_money({pair.name: asdict(pair)}, places)[pair.name]
            | {"frauds_wanted": pair.frauds_wanted, "verdict": pair.verdict}
            for pair in report.found
        ]
        del document["found"]
        return cls(**plain(document)).about(report)

    def hints(self) -> Sequence[str]:
        is_better = any(metric["verdict"] == "better" for metric in self.metrics)
        return [f"shroff models {'promote' if is_better else 'show'} {argument(self.challenger)}"]


@operation("models compare", right="read:definitions")
def compare_models(models: Promotions, progress: ProgressSteps, request: CompareModels) -> ComparedModels:
    """Compare two models on the same events: the difference, and the smallest detectable difference.

    Champion, challengers and models in shadow are compared on the live events that both have scored. Other models are
    compared on events that are in test folds of both. Without names, the champion is compared with its challengers and
    the models in shadow.

    Examples:
        shroff models compare
        shroff models compare m-20260701-3f2a m-20260801-77ab
    """
    return ComparedModels.measured(
        models.compare(*request.ids, as_of=request.as_of, reading=progress.counting("reading events"))
    )


# ---- models of others


class ImportModel(OperationRequest[TrainedModel]):
    """
    Args:
        file: The model.
        check (FILE): Rows with input values and the model's own score or margin; each must be reproduced.
        inputs (A,B,C|FILE): Inputs, in the order of the model's features.  [default: as in model.yaml]
        categories (INPUT=A,B,C): The categories of an input in the order of their codes; may be repeated.
        trained_until (TIME): End of its training data; folds whose test begins earlier are left out.
        calibrate: Fit a calibration on labeled events, as 'train' does.
        rounds (N): Number of boosting rounds to use.  [default: as in the file]
        tolerance (X): Largest accepted difference for a row of --check.  [default: 1e-6, for
            margins a relative 1e-5]
        promote: Make it the champion if its gates passed.
        by (NAME): Who imports it.
    """

    file: Path
    check: Path | None = None
    event: Annotated[str | None, AsEvent("The event type, if model.yaml has models of several.")] = None
    inputs: str | None = None
    categories: tuple[str, ...] = ()
    trained_until: str | None = None
    calibrate: bool = False
    rounds: int | None = None
    tolerance: float | None = None
    as_of: AsOf = None
    promote: bool = False
    by: str = ""


@operation("models import", right="train:models")
def import_model(training: Training, progress: ProgressSteps, request: ImportModel) -> TrainedModel:
    """Import a model trained elsewhere: XGBoost's JSON or UBJSON, LightGBM's text, or ONNX.

    The model is checked on rows and evaluated on the same folds and gates as a model trained here. It is kept in the
    registry and becomes the champion only with --promote and if its gates passed. Pickle files are refused, because
    they run code when they are read.

    Examples:
        shroff models import fraud.json --check rows.csv
        shroff models import fraud.onnx --check rows.csv --inputs payment.amount,card.payments_1h --calibrate
        shroff models import fraud.txt --check rows.parquet --inputs inputs.yaml --trained-until 2026-05-01
    """
    from shroff.training.foreign.inputs import categories_in
    from shroff.training.foreign.rows import SNIPPET
    from shroff.training.train import Steps

    options = msgspec.structs.asdict(request)
    if request.check is None:
        raise UsageError(f"--check names rows with the model's own scores, to check it against, such as {SNIPPET}.")
    options["categories"] = categories_in(request.categories)
    judging = progress.counting("judging folds")
    steps = Steps(progress.counting("reading events"), lambda _number, _of: judging(1))
    return TrainedModel.measured(training.import_model(**options, steps=steps))


# ---- changing


class PromoteModel(OperationRequest[Deployment]):
    """
    Args:
        waive ('GATE LIMIT'): Promote although this gate failed; name it with its limit. May be repeated.
        reason (TEXT): Why the gate is waived.
        by (NAME): Who promotes it.
        champion (ID): The champion that you compared it with. If another one is active now, nothing changes.
    """

    id: Id
    waive: tuple[str, ...] = ()
    reason: str = ""
    by: str = ""
    champion: str | None = None


@operation("models promote", right="promote:models", of_two="models", refusals=[UnknownModelError])
def promote_model(models: Promotions, request: PromoteModel) -> Deployment:
    """Promote a model to champion: from the next event on, its score counts.

    Its gates are checked again. A comparison with a champion that has been replaced since does not count. Gates added
    to model.yaml since training are checked against the recorded metrics. The inputs must have the same meaning as in
    training. A model that fails a gate is promoted only if you waive that gate, with a reason and a name;
    models/in_force.json records them.

    Examples:
        shroff models promote m-20260701-3f2a --by ann
        shroff models promote m-20260701-3f2a --waive 'brier at most 0.02' --reason 'small sample' --by ann
    """
    return models.promote(
        request.id, waive=request.waive, reason=request.reason, by=request.by, champion=request.champion
    )


class RollBackModel(OperationRequest[Deployment]):
    """
    Args:
        event: The event type.
        by (NAME): Who rolls it back.
    """

    event: Annotated[str, Param(complete="event_types", is_argument=True)] = ""
    by: str = ""


@operation("models rollback", right="promote:models", of_two="models")
def roll_back_model(models: Promotions, request: RollBackModel) -> Deployment:
    """Return to the previous champion, without checking gates. If there was none, rules alone decide.

    EVENT is optional if models of one event type are active.

    Examples:
        shroff models rollback
        shroff models rollback payment --by ann
    """
    return models.rollback(request.event, by=request.by)


class ShadowModel(OperationRequest[Deployment]):
    """
    Args:
        stop: Take it out of shadow.
    """

    id: Id
    stop: bool = False


@operation("models shadow", right="promote:models", refusals=[UnknownModelError])
def shadow_model(models: Promotions, request: ShadowModel) -> Deployment:
    """Put a model in shadow: it scores every event, without effect on decisions.

    Examples:
        shroff models shadow m-20260701-3f2a
        shroff models shadow m-20260701-3f2a --stop
    """
    return models.shadow(request.id, stop=request.stop)


class ChallengeWithModel(OperationRequest[Deployment]):
    """
    Args:
        share (PERCENT): The share of keys that it scores, such as 10%.
        entity (ENTITY): The entity whose keys are split.
        stop: End the challenge; the champion scores these keys again.
    """

    id: Id
    share: str = ""
    entity: Annotated[str, Param(flags="--of")] = ""
    stop: bool = False


@operation("models challenge", right="promote:models", of_two="models", refusals=[UnknownModelError])
def challenge_with_model(models: Promotions, request: ChallengeWithModel) -> Deployment:
    """Let a model score a share of the keys instead of the champion; a hash always picks the same keys.

    Examples:
        shroff models challenge m-20260701-3f2a --share 10% --of card
        shroff models challenge m-20260701-3f2a --stop
    """
    if request.stop:
        return models.unchallenge(request.id)
    if not _PERCENT.fullmatch(request.share) or not request.entity:
        raise UsageError("a challenger needs --share PERCENT, such as 10%, and --of ENTITY, or --stop.")
    return models.challenge(request.id, parse_share(request.share), request.entity)


class ChangeModel(OperationRequest[Deployment]):
    """A change of a model: `promote`, `shadow`, `unshadow` or `rollback`, and the reason. `waive` lists gates to waive,
    each by metric and limit. With `champion`, empty for none, a model is promoted only if that is still the champion.
    """

    id: str
    do: str
    reason: str
    waive: tuple[str, ...] = ()
    champion: str | None = None

    @property
    def deploys(self) -> bool:
        return self.do in {"promote", "rollback"}


@operation(
    "models change",
    right="promote:models",
    of_two="models deploys",
    http="POST /models/{id}",
    has_command=False,
    schema="ModelChange",
    body_bytes_max=BODY_BYTES_MAX,
    audit="model.ask",
    refusals=[UnknownModelError],
    conflict="The model fails gates that are not waived; the problem names them.",
)
def change_model(models: Promotions, who: Who, record: Record, request: ChangeModel) -> Deployment:
    """Promote a model, roll it back, put it in shadow or take it out; with a reason, which is recorded."""
    id_, reason = request.id, checked_reason(request.reason)
    details = models.one(id_)
    if request.do not in {"promote", "shadow", "unshadow", "rollback"}:
        raise UsageError("do: it is promote, shadow, unshadow or rollback.")
    record(f"model {id_}", after={"do": request.do, "reason": reason})
    if request.do == "promote":
        waived = reason if request.waive else ""
        return models.promote(id_, waive=request.waive, reason=waived, by=who.name, champion=request.champion)
    if request.do == "rollback":
        return models.rollback(details.stored.event, champion=id_)
    return models.shadow(id_, stop=request.do == "unshadow")
