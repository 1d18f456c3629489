"""Pages of models: a comparison of versions, tests and roles of one version, training, and drift."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup
from starlette.responses import Response

from shroff.errors import DefinitionError, ShroffError, StateError, StorageError, UsageError
from shroff.json_types import JsonMapping, JsonObject
from shroff.models.in_force import InForce
from shroff.models.metrics import metric_of, metric_words
from shroff.models.registry import REPORT, UnknownModelError
from shroff.monitoring.drift_record import DriftRecord
from shroff.people.access import Right
from shroff.runtime.values import FrozenStruct
from shroff.services.drift.records import DriftRecords
from shroff.services.jobs.operations import NewJob
from shroff.services.models.operations import ChangeModel
from shroff.web.http.messages import NOTHING, Form, Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.charts.plots import Axis
from shroff.web.pages.charts.strips import Strip
from shroff.web.pages.renderer import HTML, page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.models.registry import Stored
    from shroff.services.models.deployment import ListedModel
    from shroff.web.service import Service

COMPARED = ("average_precision", "recall_at_budget", "auc_roc", "calibration_error")
BASELINES = {"approve_all": "Approve everything", "rules_only": "Rules alone"}
VERSIONS_SHOWN = 8
JOBS_LOOKED_AT = 20
DRIFT = "/drift"
DRIFT_JOB = "drift"
Facts = JsonObject
_CHARTS = re.compile(r'<h2>([^<]*)</h2>\s*<div class="charts">(.*?)</div>', re.DOTALL)


class Measured(FrozenStruct):
    """One metric with its 95 % confidence interval; `meaning` is a sentence."""

    name: str
    mean: float
    low: float | None
    high: float | None

    @property
    def says(self) -> str:
        text = metric_words(self.name)
        return f"{text[:1].upper()}{text[1:]}"

    @property
    def meaning(self) -> str:
        metric = metric_of(self.name)
        return metric.meaning.replace("`", "") if metric is not None else ""


async def show(service: Service, request: Request) -> Response:
    models = await service.in_thread(service.project.models.all)
    versions = await service.in_thread(_versions, service, models)
    jobs = await service.in_thread(service.jobs.jobs, JOBS_LOOKED_AT)
    may_train = request.who.may(Right.RUN_JOBS) and request.who.may(Right.TRAIN_MODELS)
    return await page(
        service,
        request,
        "models.html",
        models=models,
        versions=versions,
        compared=[name for name in COMPARED if any(name in version["measured"] for version in versions)],
        words=lambda name: Measured(name, 0.0, None, None),
        training=next((job for job in jobs if job.kind == "train" and job.is_open), None),
        trains=sorted(service.project.definitions.models) if may_train else [],
    )


def _versions(service: Service, models: Sequence[ListedModel]) -> list[JsonObject]:
    """Return the newest models with their metrics, and the baselines of the champion, else of the newest model.

    Of a baseline, `listed` is None. `strips` are by metric.
    """
    rows: list[tuple[str, ListedModel | None, Facts, dict[str, Measured]]] = []
    baselines: JsonMapping = {}
    for model in models[:VERSIONS_SHOWN]:
        with suppress(ShroffError):
            stored = service.project.context.registry.read(model.id)
            rows.append((stored.id, model, _facts(stored.manifest), _by_name(stored.metrics)))
            if model.role == "champion" or not baselines:
                baselines = stored.metrics.get("baselines", {})
    for name, metrics in baselines.items():
        rows.append((BASELINES.get(name, metrics.get("about", name)), None, _facts({}), _by_name(metrics)))
    strips = {name: _strips([measured.get(name) for _, _, _, measured in rows]) for name in COMPARED}
    return [
        {
            "name": name,
            "listed": listed,
            "facts": facts,
            "measured": measured,
            "strips": {metric: strips[metric][row] for metric in COMPARED},
        }
        for row, (name, listed, facts, measured) in enumerate(rows)
    ]


def _facts(manifest: JsonMapping) -> Facts:
    data = manifest.get("data", {})
    train = manifest.get("train", {})
    return {
        "start": data.get("from", ""),
        "end": data.get("to", ""),
        **{name: train.get(name) for name in ("rows", "frauds")},
    }


def _by_name(metrics: JsonMapping) -> dict[str, Measured]:
    return {measured.name: measured for measured in _measured(metrics)}


def _strips(values: Sequence[Measured | None]) -> list[Strip | None]:
    """Return a strip for each value, all on the same axis, so that intervals can be compared by eye."""
    ends = [
        (
            measured.low if measured.low is not None else measured.mean,
            measured.high if measured.high is not None else measured.mean,
        )
        for measured in values
        if measured
    ]
    if not ends:
        return [None] * len(values)
    axis = Axis(min(low for low, _ in ends), max(high for _, high in ends))
    strips: list[Strip | None] = []
    for measured in values:
        if measured is None:
            strips.append(None)
            continue
        low, high = (axis.at(measured.mean if end is None else end) for end in (measured.low, measured.high))
        strips.append(
            Strip(round(low, 2), round(max(high - low, 0.5), 2), round(axis.at(measured.mean), 2), is_far=False)
        )
    return strips


def _charts(stored: Stored) -> list[tuple[str, Markup]]:
    report = stored.files.get(REPORT, b"").decode()
    return [(title, Markup(charts)) for title, charts in _CHARTS.findall(report)]  # noqa: S704 - written by shroff, and its hash is checked


def _champion(service: Service, stored: Stored) -> str:
    champion = service.project.models.in_force().get(stored.event, InForce()).champion
    return "" if champion is None else champion.id


def _back_to(service: Service, stored: Stored) -> str:
    previous = service.project.models.in_force().get(stored.event, InForce()).previous
    return previous[-1].id if previous else ""


async def change(service: Service, request: Request) -> Response:
    form = await request.form()
    waive = tuple(text for name, text in form.items() if name.startswith("waive_"))
    try:
        champion = form.get("champion") if form["do"] == "promote" else None
        id_ = request.path_params["id"]
        operation = ChangeModel(id=id_, do=form["do"], reason=form["reason"], waive=waive, champion=champion)
        result = await service.run(request, operation)
    except UnknownModelError:
        raise
    except (UsageError, DefinitionError, StateError) as error:
        return await show_one(service, request, sentence(str(error)), form)
    if result.failed:
        return await show_one(service, request, f"Not promoted: {result.failure}.", form)
    outcome = "done" if result.in_force else "waits"
    return see_other(f"/models/{quote(request.path_params['id'], safe='')}?said={outcome}")


async def show_one(service: Service, request: Request, mistake: str = "", form: Form = NOTHING) -> Response:
    from shroff.models.evaluation.gates import value_text  # their libraries take time that lists of models need not
    from shroff.training.measured import slices_told

    found = await service.in_thread(service.project.models.one, request.path_params["id"])
    stored = found.stored
    return await page(
        service,
        request,
        "model.html",
        found=found,
        manifest=stored.manifest,
        inputs=[str(input_.get("name", input_)) for input_ in stored.manifest.get("inputs", ())],
        gates=[(gate, Measured(gate.name, 0.0, None, None), value_text(gate)) for gate in stored.gates],
        champion=await service.in_thread(_champion, service, stored),
        back_to=await service.in_thread(_back_to, service, stored) if found.role == "champion" else "",
        facts=_facts(stored.manifest),
        folds=stored.metrics.get("folds", ()),
        reviews_a_day=service.project.definitions.policy(stored.event).reviews_a_day,
        charts=_charts(stored),
        slices=slices_told(service.project.definitions, stored.event, stored.metrics).get("slices", ()),
        measured=_measured(stored.metrics),
        mistake=mistake,
        reason=form["reason"],
    )


async def card(service: Service, request: Request) -> Response:
    id_ = request.path_params["id"]
    text = await service.in_thread(service.project.models.card, id_)
    return Response(text, 200, {"content-disposition": f'attachment; filename="{id_}-card.html"'}, HTML)


def _measured(metrics: JsonMapping) -> list[Measured]:
    metric_values = metrics.get("metrics", {})
    return [
        Measured(name, figure["mean"], figure.get("low"), figure.get("high"))
        for name, figure in sorted(metric_values.items())
        if isinstance(figure, dict) and isinstance(figure.get("mean"), int | float)
    ]


async def drift(service: Service, request: Request, mistake: str = "") -> Response:
    record = DriftRecord()
    definitions = service.project.definitions
    try:
        record = await service.in_thread(service.project.part(DriftRecords).read)
    except StorageError as error:
        mistake = mistake or str(error)
    jobs = await service.in_thread(service.jobs.jobs, JOBS_LOOKED_AT)
    return await page(
        service,
        request,
        "drift.html",
        looks=sorted(record.looks.items()),
        alerts={event: record.open_alert(event) for event in record.looks},
        features=definitions.features,
        types=sorted({*definitions.models, *definitions.scoring}) or list(definitions.events.decided),
        job=next((job for job in jobs if job.kind == DRIFT_JOB), None),
        mistake=mistake,
    )


async def measure(service: Service, request: Request) -> Response:
    form = await request.form()
    try:
        await service.run(
            request, NewJob(kind=DRIFT_JOB, params={name: form[name] for name in ("event", "reference", "recent")})
        )
    except UsageError as error:
        return await drift(service, request, str(error))
    return see_other(DRIFT)


ROUTES = (
    Route("GET", DRIFT, Right.READ_DEFINITIONS, drift, screen=Screen("Drift", "Learning", 4)),
    Route("POST", DRIFT, Right.RUN_JOBS, measure),
    Route("GET", "/models", Right.READ_DEFINITIONS, show, screen=Screen("Models", "Learning", 1)),
    Route("GET", "/models/{id}", Right.READ_DEFINITIONS, show_one),
    Route("GET", "/models/{id}/card", Right.READ_DEFINITIONS, card),
    Route("POST", "/models/{id}", Right.PROMOTE_MODELS, change),
)
