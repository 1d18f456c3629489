"""What thresholds of the score cost, in money and people's time; tried by sliders, applied with a reason."""

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
TIMES_THE_BEST = 3  # higher costs would flatten the rest of the curve
LEAST_SCORE = 1e-4  # on the axis, which goes by factors: most scores are small
LEAST_SHORT = 1e-3
CHANGES_SHOWN = 6
CHANGES_FRESH_S = 60.0
_CHANGES = Fresh[Sequence[AuditEntry]](32)
COSTS = ("missed", "false_decline", "review", "reviews_a_day")
WHICH = ("event", "model")
_STEPS = 200  # of a slider, at most
Shown = JsonObject


async def show(service: Service, request: Request) -> Response:
    return await _page(service, request, request.query_params)


async def apply(service: Service, request: Request) -> Response:
    form = await request.form()
    event = form["event"]
    tag = form["tag"]
    which = {name: form[name] for name in WHICH if form.get(name)}
    costs = {name: form[name] for name in COSTS if form.get(name)}
    wanted: OperationRequest[AppliedCutoffs]
    try:
        if form.get("undo"):
            wanted = UndoThresholds(event=event, tag=tag)
        else:
            cuts = {name: _cut(form, name) for name in CUTS}
            more = Costs(**{name: float(text) for name, text in costs.items()}) if form.get("costs") else None
            reason = form["reason"]
            model = form["model"]
            wanted = SetThresholds(event=event, reason=reason, costs=more, model=model, tag=tag, **cuts)
        done = await service.run(request, wanted)
    except UndecidedEventError:
        raise
    except (UsageError, DefinitionError, ValueError) as error:
        asked = {**which, **costs, **{name: form[name] for name in CUTS}, "use": "1"}
        with suppress(UsageError):
            _wanted(asked)
            which = asked
        return await _page(service, request, which, sentence(str(error)), form)
    _CHANGES.forget()
    said = "waits" if not done.in_force else "undone" if form.get("undo") else "done"
    return see_other(f"/thresholds?{urlencode(which | {'said': said})}")


def _wanted(query: TextMapping) -> ShowThresholds:
    given = {field.name: query[field.wire] for field in show_thresholds.fields_in("query") if query.get(field.wire)}
    for name in CUTS:
        if " in " in given.get(name, ""):
            with suppress(ValueError, ArithmeticError):
                given[name] = str(score_of(given[name]))
    wanted = cast("ShowThresholds", show_thresholds.read(given))
    what_if_of(wanted, (wanted.review_at, wanted.decline_at))
    return wanted


async def _page(
    service: Service, request: Request, query: TextMapping, mistake: str = "", typed: TextMapping = NOTHING
) -> Response:
    why_not = ""
    shown = None
    others = list[str]()
    proposal = None
    event = query.get("event", "")
    cutoffs = service.project.cutoffs
    wanted = _wanted(query)
    try:
        answer = await service.run(request, wanted)
        which = {name: query[name] for name in WHICH if query.get(name)}
        shown = shown_of(answer, wanted, which, is_calibrated=service.project.definitions.is_calibrated)
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
        asked=event,
        types=await service.in_thread(_scored, service),
        mistake=mistake,
        typed=typed,
        amount=_amount(service),
    )


def _proposal(service: Service, shown: Shown) -> JsonObject:
    """The thresholds that somebody wants to use: what they make of policy.yaml, and warnings. Raises: UsageError."""
    cutoffs = service.project.cutoffs
    tried = shown["found"].tried
    event = shown["found"].event
    cuts = (tried.review_at, tried.decline_at) if tried is not None else (None, None)
    costs = cutoffs.costs(event, what_if_of(Costs(**shown["moved"])))
    warnings = [
        f"No {event} will be {done} by its score."
        for done, now, new in zip(("reviewed", "declined"), shown["active"], cuts, strict=True)
        if now is not None and new is None
    ]
    return {"cuts": cuts, "changed": diff(*cutoffs.proposed(event, cuts, costs)), "costs": costs, "warnings": warnings}


def _amount(service: Service) -> Callable[..., str]:
    settings = service.project.definitions.settings

    def amount(value: float, *, is_named: bool = False) -> str:
        return money(money_text(value, settings.money_places), settings.currency if is_named else "")

    return amount


def _scored(service: Service) -> list[str]:
    return sorted({model.event for model in service.project.models.all() if model.role == "champion"})


def _applied(service: Service, shown: Shown) -> list[JsonObject]:
    """The thresholds that were applied last, as the audit log has them, newest first; `path` weighs them again.

    The rows are kept for a minute of the same policy.yaml: the audit log is asked by an act, and so read as a whole.
    """
    event = shown["found"].event
    store = service.desk.store

    def recorded() -> Sequence[AuditEntry]:
        wanted = AuditFilter(action=APPLY, subject=f"policy of {event}")
        with store.look() as look:
            return look.record(wanted, before=None, limit=CHANGES_SHOWN, is_newest_first=True)

    found = list[JsonObject]()
    policy = service.project.definitions.policy(event)
    for row in _CHANGES.get((service.project.cutoffs.folder, event, shown["tag"]), recorded, CHANGES_FRESH_S):
        change = CutoffsChange.of(row)
        cuts = change.cuts(change.after)
        path = _use_path(shown["which"], cuts) if any(cut is not None for cut in cuts) else ""
        is_last = not found and change.can_be_undone(policy)
        told = {"at_ms": row.at_ms, "by": row.name, "reason": change.after.get("reason", "")}
        found.append({**told, "cuts": cuts, "path": path, "can_be_undone": is_last})
    return found


def _use_path(query: Mapping[str, object], cuts: Cuts) -> str:
    named = {name: short(cut) for name, cut in zip(CUTS, cuts, strict=True) if cut is not None}
    return f"/thresholds?{urlencode({**query, **named, 'use': 1})}#apply"


def short(cut: float) -> float:
    """A threshold as people read and apply it: with four places, and six where that would leave little of it.

    >>> short(0.017918), short(0.000123)
    (0.0179, 0.000123)
    """
    return round(cut, 4 if cut >= LEAST_SHORT else 6)


def _cut(form: Form, name: str) -> float | None:
    """A threshold of the form, None where it was left empty. Raises: UsageError."""
    text = form[name].strip()
    if not text:
        return None
    try:
        return round(float(text), 6)
    except ValueError:
        raise UsageError(f"{name}: a threshold is a score such as 0.62, and empty for none.") from None


# ---- what is shown


def shown_of(answer: CheapestThresholds, wanted: ShowThresholds, which: TextMapping, *, is_calibrated: bool) -> Shown:
    """What the page shows of thresholds.

    `which` is what a query must name so that the same is weighed, `moved` the costs that are not those of policy.yaml.
    """
    found = answer.report
    missed = 100.0 if wanted.missed is None else wanted.missed
    best = found.found.best
    now = in_force(found)
    tried = found.tried
    declared = _declared(found)
    sliders = sliders_of(found, declared, found.terms, missed)
    rows = [("rules alone", found.found.without) if now is None else ("active", now), ("recommended", best)]
    points = _near(found)
    chosen = tried or best
    moved = {slider["name"]: slider["value"] for slider in sliders if slider["value"] != slider["declared"]}
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
        "saves": None
        if now is None
        else 0.0
        if tried is None and _is_written(best, declared)
        else now.cost - chosen.cost,
        "moved": moved,
    }


def _is_written(point: Point, declared: Terms) -> bool:
    pairs = (point.review_at, declared.review_at), (point.decline_at, declared.decline_at)
    return all(own == other or (own and other and short(own) == short(other)) for own, other in pairs)


def in_force(found: Cutoffs) -> Point | None:
    """Totals of policy.yaml's thresholds, as they are written there: the next scores at or above are used."""
    now = found.found.now
    declared = _declared(found)
    return None if now is None else replace(now, review_at=declared.review_at, decline_at=declared.decline_at)


def _declared(found: Cutoffs) -> Terms:
    return found.declared or found.terms


def sliders_of(found: Cutoffs, declared: Terms, now: Terms, missed: float) -> list[JsonObject]:
    """One for each cost, and for people's time; where policy.yaml sets no limit, its end is as much as can come."""
    places = found.money_places
    currency = found.currency
    all_a_day = max(1.0, found.events / found.share / max(1, found.found.days))
    limit = declared.reviews_a_day
    most = all_a_day if limit is None else 0.0
    return [
        _slider("missed", "Missed fraud, of its amount", "%", 100.0, missed, 0),
        _slider("false_decline", "False decline", currency, declared.false_decline or 0.0, now.false_decline, places),
        _slider("review", "Review", currency, declared.review or 0.0, now.review, places),
        _slider("reviews_a_day", "Reviews, at most", "a day", limit, now.reviews_a_day, 0, most),
    ]


def _slider(
    name: str, says: str, unit: str, declared: float | None, value: float | None, places: int, most: float = 0.0
) -> JsonObject:
    """A slider from 0 to at least twice what is declared; its steps are round, and meet what is declared and set.

    A browser rounds what lies between two steps, so a step that missed the value would change it unasked.
    """
    end = nice(max(most, 2 * (declared or 0.0), 1.0 if value is None else 1.25 * value, 1.0))
    declared = end if declared is None else declared
    value = declared if value is None else value
    least = 10.0**-places
    step = next(
        (
            round_step
            for round_step in _round_steps(end, least)
            if _is_whole(declared / round_step) and _is_whole(value / round_step)
        ),
        least,
    )
    moved = {"value": value, "declared": declared, "most": end, "step": step}
    return {"name": name, "says": says, "unit": unit, **moved}


def _round_steps(end: float, least: float) -> list[float]:
    found = list[float]()
    size = nice(end / _STEPS)
    while size > least:
        found.append(size)
        size = nice(size / 2.5)
    return found


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-9


def _near(found: Cutoffs) -> list[Point]:
    best = found.found.best
    points = {point for point in found.found.curve if point.cost <= TIMES_THE_BEST * best.cost} | {best}
    return sorted(points, key=lambda point: (place_of(point), -point.cost))


def place_of(point: Point) -> float:
    """Where a point stands on the curve: at its lower threshold; where there is none, at the end."""
    return lower(point, 1.0)


def _charts(found: Cutoffs, points: Sequence[Point], *, is_calibrated: bool) -> tuple[Plot, Plot]:
    """Cost over the lower threshold, and the reviews that go with it beside the most that people have time for.

    The axis below has calibrated scores as odds, such as 1 in 50.
    """
    best = found.found.best
    now = in_force(found)
    tried = found.tried
    marked = _marked([("dot-ref", "active", now), ("dot-now", "recommended", best), ("dot-warn", "tried", tried)])
    every = [*points, *(point for _, _, point in marked)]
    ends = min(map(place_of, every)), max(map(place_of, every))
    x = Axis(_along(ends[0]), _along(ends[1]))
    limit = found.terms.reviews_a_day
    lines = {"now": [(_along(place_of(point)), point.reviews) for point in points]}
    if limit is not None:
        lines["warn-line dash"] = [(x.low, limit), (x.high, limit)]
    costs = plot_of(
        {"now": [(_along(place_of(point)), point.cost) for point in points]},
        x=x,
        y=Axis(0.0, nice(max(point.cost for point in every))),
        height=HEIGHT,
        spots=[((_along(place_of(point)), point.cost), kind, says) for kind, says, point in marked],
        is_valley=True,
    )
    reviews = plot_of(
        lines,
        x=x,
        y=Axis(0.0, nice(max(1.0, limit or 0.0, *(point.reviews for point in every)))),
        height=REVIEWS_HEIGHT,
        spots=[((_along(place_of(point)), point.reviews), kind, "") for kind, _, point in marked],
        below=[(_along(score), odds(score) if is_calibrated else f"{score:.2g}") for score in _marks(*ends)],
    )
    return costs, reviews


def _marked(named: Iterable[tuple[str, str, Point | None]]) -> list[tuple[str, str, Point]]:
    found: dict[tuple[float, float], tuple[str, str, Point]] = {}
    for kind, says, point in named:
        if point is not None:
            place = round(place_of(point), 3), round(point.cost)
            before = found.get(place)
            found[place] = kind, says if before is None else f"{before[1]}, {says}", point
    return list(found.values())


def _along(score: float) -> float:
    return log10(max(score, LEAST_SCORE))


def _marks(low: float, high: float) -> list[float]:
    room = (_along(high) - _along(low)) / 6
    tens = range(int(log10(LEAST_SCORE)), 1)
    scales = (1,) if high > 100 * max(low, LEAST_SCORE) else SCALES
    round_ones = [float(f"{scale}e{ten}") for ten in tens for scale in scales]
    return [
        low,
        *(round_one for round_one in round_ones if _along(low) + room < _along(round_one) < _along(high) - room),
        high,
    ]


ROUTES = (
    Route("GET", "/thresholds", Right.READ_DEFINITIONS, show, screen=Screen("Thresholds", "Policy", 5)),
    Route("POST", "/thresholds", Right.SET_THRESHOLDS, apply),
)
