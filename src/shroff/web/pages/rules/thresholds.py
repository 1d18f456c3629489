"""The page of thresholds: their cost in money and reviews, trials with sliders, and their application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import log10
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode

from starlette.responses import Response

from shroff.errors import DefinitionError, UsageError
from shroff.json_types import JsonObject, TextMapping
from shroff.operations.declaration import OperationRequest
from shroff.people.access import Right
from shroff.people.audit import AuditEntry
from shroff.people.store import AuditFilter
from shroff.runtime.values import Fresh, replace
from shroff.services.models.promotion import NoChampionError
from shroff.services.thresholds.cutoffs import APPLY, CUTS, AppliedCutoffs, CutoffsChange
from shroff.services.thresholds.operations import (
    CheapestThresholds,
    Costs,
    SetThresholds,
    ShowThresholds,
    UndecidedEventError,
    UndoThresholds,
    lower,
    show_thresholds,
    what_if_of,
)
from shroff.training.measured import money_text
from shroff.web.http.messages import NOTHING, Form, Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.charts.plots import SCALES, Axis, Plot, nice, plot_of
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.rules.diffs import diff
from shroff.web.pages.words import money, odds, score_of, sentence

if TYPE_CHECKING:
    from shroff.models.evaluation.cost_table import Cuts, Point
    from shroff.models.evaluation.metrics import Terms
    from shroff.training.cutoffs import Cutoffs
    from shroff.web.service import Service

HEIGHT = 220
REVIEWS_HEIGHT = 80
TIMES_THE_BEST = 3  # points that cost more times the lowest cost are left out, as they would flatten the curve
LEAST_SCORE = 1e-4  # lower end of the axis, which is logarithmic as most scores are small
LEAST_SHORT = 1e-3  # smaller thresholds have six decimals rather than four
CHANGES_SHOWN = 6
CHANGES_FRESH_S = 60.0  # for which rows of the audit log are reused
_CHANGES = Fresh[Sequence[AuditEntry]](32)
COSTS = ("missed", "false_decline", "review", "reviews_a_day")
WHICH = ("event", "model")
_STEPS = 200  # aimed at for a slider
Shown = JsonObject


async def show(service: Service, request: Request) -> Response:
    return await _page(service, request, request.query_params)


async def apply(service: Service, request: Request) -> Response:
    form = await request.form()
    event = form["event"]
    tag = form["tag"]
    which = {name: form[name] for name in WHICH if form.get(name)}
    costs = {name: form[name] for name in COSTS if form.get(name)}
    operation: OperationRequest[AppliedCutoffs]
    try:
        if form.get("undo"):
            operation = UndoThresholds(event=event, tag=tag)
        else:
            thresholds = {name: _threshold(form, name) for name in CUTS}
            new_costs = Costs(**{name: float(text) for name, text in costs.items()}) if form.get("costs") else None
            reason = form["reason"]
            model = form["model"]
            operation = SetThresholds(event=event, reason=reason, costs=new_costs, model=model, tag=tag, **thresholds)
        result = await service.run(request, operation)
    except UndecidedEventError:
        raise
    except (UsageError, DefinitionError, ValueError) as error:
        tried = {**which, **costs, **{name: form[name] for name in CUTS}, "use": "1"}
        with suppress(UsageError):
            _trial(tried)
            which = tried
        return await _page(service, request, which, sentence(str(error)), form)
    _CHANGES.forget()
    state = "undone" if form.get("undo") else "done"
    return see_other(f"/thresholds?{urlencode(which | {'said': state if result.in_force else 'waits'})}")


def _trial(query: TextMapping) -> ShowThresholds:
    texts = {field.name: query[field.wire] for field in show_thresholds.fields_in("query") if query.get(field.wire)}
    for name in CUTS:
        if " in " in texts.get(name, ""):
            with suppress(ValueError, ArithmeticError):
                texts[name] = str(score_of(texts[name]))
    trial = cast("ShowThresholds", show_thresholds.read(texts))
    what_if_of(trial, (trial.review_at, trial.decline_at))  # raises UsageError for values that cannot be tried
    return trial


async def _page(
    service: Service, request: Request, query: TextMapping, mistake: str = "", typed: TextMapping = NOTHING
) -> Response:
    why_not = ""
    shown = None
    others = list[str]()
    proposal = None
    cutoffs = service.project.cutoffs
    trial = _trial(query)
    try:
        answer = await service.run(request, trial)
        which = {name: query[name] for name in WHICH if query.get(name)}
        shown = shown_of(answer, trial, which, is_calibrated=service.project.definitions.is_calibrated)
        proposal = await service.in_thread(_proposal, service, shown) if query.get("use") else None
    except UsageError as error:
        why_not = str(error.__cause__ or error)
        others = await service.in_thread(cutoffs.model_ids) if isinstance(error.__cause__, NoChampionError) else []
    return await page(
        service,
        request,
        "thresholds.html",
        shown=shown,
        proposal=proposal,
        applied=[] if shown is None else await service.in_thread(_applied, service, shown),
        why_not=sentence(why_not),
        others=others,
        types=await service.in_thread(_scored, service),
        mistake=mistake,
        typed=typed,
        amount=_amount(service),
    )


def _proposal(service: Service, shown: Shown) -> JsonObject:
    """Return tried thresholds to apply: their changes of policy.yaml, and warnings. Raises: UsageError."""
    cutoffs = service.project.cutoffs
    tried = shown["found"].tried
    event = shown["found"].event
    thresholds = (tried.review_at, tried.decline_at) if tried is not None else (None, None)
    costs = cutoffs.costs(event, what_if_of(Costs(**shown["moved"])))
    warnings = [
        f"No {event} will be {outcome} by its score."
        for outcome, active, new in zip(("reviewed", "declined"), shown["active"], thresholds, strict=True)
        if active is not None and new is None
    ]
    changes = diff(*cutoffs.proposed(event, thresholds, costs))
    return {"cuts": thresholds, "changed": changes, "costs": costs, "warnings": warnings}


def _amount(service: Service) -> Callable[..., str]:
    settings = service.project.definitions.settings

    def amount(value: float, *, is_named: bool = False) -> str:
        return money(money_text(value, settings.money_places), settings.currency if is_named else "")

    return amount


def _scored(service: Service) -> list[str]:
    return sorted({model.event for model in service.project.models.all() if model.role == "champion"})


def _applied(service: Service, shown: Shown) -> list[JsonObject]:
    """Return the last applied thresholds of the audit log, newest first; `path` shows them as a trial.

    Cached for a minute at most, until policy.yaml changes: the search reads the whole audit log.
    """
    event = shown["found"].event
    store = service.desk.store

    def read() -> Sequence[AuditEntry]:
        applied = AuditFilter(action=APPLY, subject=f"policy of {event}")
        with store.look() as reader:
            return reader.record(applied, before=None, limit=CHANGES_SHOWN, is_newest_first=True)

    changes = list[JsonObject]()
    policy = service.project.definitions.policy(event)
    for row in _CHANGES.get((service.project.cutoffs.folder, event, shown["tag"]), read, CHANGES_FRESH_S):
        change = CutoffsChange.of(row)
        thresholds = change.cuts(change.after)
        path = _use_path(shown["which"], thresholds) if any(value is not None for value in thresholds) else ""
        can_be_undone = not changes and change.can_be_undone(policy)
        details = {"at_ms": row.at_ms, "by": row.name, "reason": change.after.get("reason", "")}
        changes.append({**details, "cuts": thresholds, "path": path, "can_be_undone": can_be_undone})
    return changes


def _use_path(query: Mapping[str, object], thresholds: Cuts) -> str:
    by_name = {name: short(value) for name, value in zip(CUTS, thresholds, strict=True) if value is not None}
    return f"/thresholds?{urlencode({**query, **by_name, 'use': 1})}#apply"


def short(cut: float) -> float:
    """Round a threshold to four decimals, or to six if it is below 0.001.

    >>> short(0.017918), short(0.000123)
    (0.0179, 0.000123)
    """
    return round(cut, 4 if cut >= LEAST_SHORT else 6)


def _threshold(form: Form, name: str) -> float | None:
    """Return a threshold of the form, None if it is empty. Raises: UsageError for a text that is no number."""
    text = form[name].strip()
    if not text:
        return None
    try:
        return round(float(text), 6)
    except ValueError:
        raise UsageError(f"{name}: a threshold is a score such as 0.62, and empty for none.") from None


# ---- content of the page


def shown_of(answer: CheapestThresholds, trial: ShowThresholds, which: TextMapping, *, is_calibrated: bool) -> Shown:
    """Collect the content of the page.

    `which` has the event and model of the query, `moved` the costs that differ from those of policy.yaml.
    """
    found = answer.report
    missed = 100.0 if trial.missed is None else trial.missed
    best = found.found.best
    active = in_force(found)
    tried = found.tried
    declared = _declared(found)
    sliders = sliders_of(found, declared, found.terms, missed)
    rows = [("rules alone", found.found.without) if active is None else ("active", active), ("recommended", best)]
    points = _near(found)
    chosen = tried or best
    moved = {slider["name"]: slider["value"] for slider in sliders if slider["value"] != slider["declared"]}
    saves = None
    if active is not None:
        is_unchanged = tried is None and _is_written(best, declared)
        saves = 0.0 if is_unchanged else active.cost - chosen.cost
    costs, reviews = _charts(found, points, is_calibrated=is_calibrated)
    return {
        "found": found,
        "which": which,
        "tag": answer.etag(),
        "sliders": sliders,
        "rows": [*rows, *([("tried", tried)] if tried is not None else [])],
        "costs": costs,
        "reviews": reviews,
        "curve": points,
        "active": (declared.review_at, declared.decline_at),
        "use_path": _use_path({**which, **moved}, (chosen.review_at, chosen.decline_at)),
        "is_tried": tried is not None,
        "saves": saves,
        "moved": moved,
    }


def _is_written(point: Point, declared: Terms) -> bool:
    pairs = (point.review_at, declared.review_at), (point.decline_at, declared.decline_at)
    return all(own == other or (own and other and short(own) == short(other)) for own, other in pairs)


def in_force(found: Cutoffs) -> Point | None:
    """Return the totals of policy.yaml's thresholds, with the thresholds as written; None if it has none.

    The totals are those of the next scores at or above them.
    """
    active = found.found.now
    declared = _declared(found)
    return None if active is None else replace(active, review_at=declared.review_at, decline_at=declared.decline_at)


def _declared(found: Cutoffs) -> Terms:
    return found.declared or found.terms


def sliders_of(found: Cutoffs, declared: Terms, terms: Terms, missed: float) -> list[JsonObject]:
    """Return a slider for each cost and for the limit of reviews, which without a declared limit ends at all events."""
    decimals = found.money_places
    currency = found.currency
    all_a_day = max(1.0, found.events / found.share / max(1, found.found.days))
    limit = declared.reviews_a_day
    reviews_max = all_a_day if limit is None else 0.0
    return [
        _slider("missed", "Missed fraud, of its amount", "%", 100.0, missed, 0),
        _slider(
            "false_decline", "False decline", currency, declared.false_decline or 0.0, terms.false_decline, decimals
        ),
        _slider("review", "Review", currency, declared.review or 0.0, terms.review, decimals),
        _slider("reviews_a_day", "Reviews, at most", "a day", limit, terms.reviews_a_day, 0, reviews_max),
    ]


def _slider(
    name: str, says: str, unit: str, declared: float | None, value: float | None, decimals: int, end_min: float = 0.0
) -> JsonObject:
    """Return a slider from 0 to at least twice the declared value. Its round steps meet the declared and current value.

    A browser rounds to the nearest step, so any other step would change the value.
    """
    end = nice(max(end_min, 2 * (declared or 0.0), 1.0 if value is None else 1.25 * value, 1.0))
    declared = end if declared is None else declared
    value = declared if value is None else value
    least = 10.0**-decimals
    step = next(
        (
            round_step
            for round_step in _round_steps(end, least)
            if _is_whole(declared / round_step) and _is_whole(value / round_step)
        ),
        least,
    )
    values = {"value": value, "declared": declared, "most": end, "step": step}
    return {"name": name, "says": says, "unit": unit, **values}


def _round_steps(end: float, least: float) -> list[float]:
    steps = list[float]()
    size = nice(end / _STEPS)
    while size > least:
        steps.append(size)
        size = nice(size / 2.5)
    return steps


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-9


def _near(found: Cutoffs) -> list[Point]:
    best = found.found.best
    points = {point for point in found.found.curve if point.cost <= TIMES_THE_BEST * best.cost} | {best}
    return sorted(points, key=lambda point: (place_of(point), -point.cost))


def place_of(point: Point) -> float:
    """Return a point's score on the axis: its lower threshold, or 1 without thresholds."""
    return lower(point, 1.0)


def _charts(found: Cutoffs, points: Sequence[Point], *, is_calibrated: bool) -> tuple[Plot, Plot]:
    """Return two charts over the lower threshold: cost, and reviews with their limit.

    Calibrated scores are labeled as odds, such as 1 in 50.
    """
    best = found.found.best
    active = in_force(found)
    tried = found.tried
    marked = _marked([("dot-ref", "active", active), ("dot-now", "recommended", best), ("dot-warn", "tried", tried)])
    all_points = [*points, *(point for _, _, point in marked)]
    ends = min(map(place_of, all_points)), max(map(place_of, all_points))
    x = Axis(_along(ends[0]), _along(ends[1]))
    limit = found.terms.reviews_a_day
    lines = {"now": [(_along(place_of(point)), point.reviews) for point in points]}
    if limit is not None:
        lines["warn-line dash"] = [(x.low, limit), (x.high, limit)]
    costs = plot_of(
        {"now": [(_along(place_of(point)), point.cost) for point in points]},
        x=x,
        y=Axis(0.0, nice(max(point.cost for point in all_points))),
        height=HEIGHT,
        spots=[((_along(place_of(point)), point.cost), kind, says) for kind, says, point in marked],
        is_valley=True,
    )
    reviews = plot_of(
        lines,
        x=x,
        y=Axis(0.0, nice(max(1.0, limit or 0.0, *(point.reviews for point in all_points)))),
        height=REVIEWS_HEIGHT,
        spots=[((_along(place_of(point)), point.reviews), kind, "") for kind, _, point in marked],
        below=[(_along(score), odds(score) if is_calibrated else f"{score:.2g}") for score in _marks(*ends)],
    )
    return costs, reviews


def _marked(named: Iterable[tuple[str, str, Point | None]]) -> list[tuple[str, str, Point]]:
    by_position: dict[tuple[float, float], tuple[str, str, Point]] = {}
    for kind, says, point in named:
        if point is not None:
            position = round(place_of(point), 3), round(point.cost)
            earlier = by_position.get(position)
            by_position[position] = kind, says if earlier is None else f"{earlier[1]}, {says}", point
    return list(by_position.values())


def _along(score: float) -> float:
    return log10(max(score, LEAST_SCORE))


def _marks(low: float, high: float) -> list[float]:
    distance = (_along(high) - _along(low)) / 6  # of round scores from the ends, so that labels do not overlap
    exponents = range(int(log10(LEAST_SCORE)), 1)
    scales = (1,) if high > 100 * max(low, LEAST_SCORE) else SCALES
    scores = [float(f"{scale}e{exponent}") for exponent in exponents for scale in scales]
    return [low, *(score for score in scores if _along(low) + distance < _along(score) < _along(high) - distance), high]


ROUTES = (
    Route("GET", "/thresholds", Right.READ_DEFINITIONS, show, screen=Screen("Thresholds", "Policy", 5)),
    Route("POST", "/thresholds", Right.SET_THRESHOLDS, apply),
)
