"""Operations on thresholds of the score: find the cheapest, compare others, and change them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.json import encode as to_json
from msgspec.structs import asdict

from shroff.errors import RefusalError, UsageError
from shroff.json_types import JsonObject
from shroff.models.registry import UnknownModelError
from shroff.operations.declaration import (
    AsEvent,
    LocalSwitch,
    LocalText,
    OperationRequest,
    Param,
    ReportAnswer,
    operation,
)
from shroff.operations.numbers import name_of
from shroff.people.audit import REASON_MAX, checked_reason
from shroff.project.definitions import Definitions
from shroff.runtime.texts import Printed, cost_interval, many, one_line, percent, table
from shroff.runtime.values import Fresh, FrozenStruct
from shroff.services.models.promotion import NoChampionError
from shroff.services.people.project_people import ProjectPeople
from shroff.services.thresholds.cutoffs import APPLY, AppliedCutoffs, CutoffsChange, ScoreCutoffs

if TYPE_CHECKING:
    from shroff.models.evaluation.cost_table import Cuts, Point
    from shroff.training.cutoffs import Cutoffs, WhatIf

BODY_BYTES_MAX = 64 * 1024
COST_MAX = 1e9
LARGEST = {
    "missed": 1_000.0,
    **dict.fromkeys(("false_decline", "review", "reviews_a_day"), COST_MAX),
    **dict.fromkeys(("review_at", "decline_at"), 1.0),
}
ROWS = 12  # printed points of the curve
TIMES_THE_BEST = 5  # costlier points are hidden: they would flatten the bars of the others
BAR = 24  # characters of the longest bar
CHOSEN_HERE = "They were chosen on these same events, so this estimate is optimistic."
MONEY = ("cost", "missed_cost", "false_declines_cost", "reviews_cost", "low", "high")
# Some kB each; sliders return to earlier values, and a computation takes seconds
_KEPT = Fresh["CheapestThresholds"](32)
Cut = Annotated[float, Meta(extra_json_schema={"minimum": 0, "maximum": 1})]


class UndecidedEventError(RefusalError):
    """No such event type is decided."""

    status, code, title = 404, "no-event", "No such event type is decided"


class Costs(msgspec.Struct, forbid_unknown_fields=True):
    """Costs to write beside the thresholds; `missed` is a percentage of what policy.yaml says now."""

    missed: float = 100
    false_decline: float | None = None
    review: float | None = None
    reviews_a_day: float | None = None


# ---- looking


class ShowThresholds(OperationRequest["CheapestThresholds"]):
    """
    Args:
        model (ID): An inactive model.
        missed (PERCENT): Cost of a missed fraud, in percent of the value in policy.yaml.
        false_decline (MONEY): Cost of a false decline.
        review (MONEY): Cost of a review.
        reviews_a_day (N): Review capacity: reviews per day.
        review_at (SCORE): A review threshold to try.
        decline_at (SCORE): A decline threshold to try.
        apply: Write the thresholds into policy.yaml and make them active.
    """

    event: Annotated[str, AsEvent("The event type, if several have a champion.")] = ""
    model: Annotated[str, Param(complete="model_ids")] = ""
    missed: float | None = None
    false_decline: float | None = None
    review: float | None = None
    reviews_a_day: float | None = None
    review_at: float | None = None
    decline_at: float | None = None
    apply: LocalSwitch = False


class CostPoint(FrozenStruct):
    """Two thresholds and their results per day."""

    review_at: float | None
    decline_at: float | None
    cost: str | None
    missed_cost: str | None
    false_declines_cost: str | None
    reviews: float
    reviews_cost: str | None
    frauds_stopped: float


class FoldThresholds(FrozenStruct):
    """The thresholds with which one fold was evaluated."""

    review_at: float | None
    decline_at: float | None
    cost: str | None


class OutOfFoldCost(FrozenStruct):
    """The out-of-fold estimate: the cost of such thresholds on events that were not used to choose them."""

    cost: str | None
    low: str | None
    high: str | None
    reviews: float
    frauds_stopped: float
    folds: list[FoldThresholds]


class CheapestThresholds(ReportAnswer["Cutoffs"], Printed):
    """Their cost, and the curve. The ETag is that of policy.yaml."""

    model: str
    event: str
    review_at: float | None
    decline_at: float | None
    expected_cost: str | None
    expected_cost_low: str | None
    expected_cost_high: str | None
    elsewhere: OutOfFoldCost | None
    elsewhere_why_not: str
    drawn: str
    cost_without_score: str | None
    review_at_interval: tuple[float | None, float | None] | None
    decline_at_interval: tuple[float | None, float | None] | None
    best: CostPoint
    now: CostPoint | None
    tried: CostPoint | None
    curve: list[CostPoint]
    reviews_a_day: float | None
    reviews_by_rules: float
    rules_beyond_people: bool
    reviews_busiest_day: int
    days_over: int
    days: int
    events: int
    frauds: int
    share: float
    chosen_on_these_events: bool = True
    in_force: bool | UnsetType = UNSET
    why_not: str | UnsetType | None = UNSET
    tag = ""

    @classmethod
    def measured(cls, report: Cutoffs, tag: str = "") -> CheapestThresholds:
        """Build the answer; `tag` is the hash of policy.yaml."""
        from shroff.training.measured import money_text

        costs, places = report.found, report.money_places
        there = costs.elsewhere

        def told(values: JsonObject) -> JsonObject:
            return {name: money_text(value, places) if name in MONEY else value for name, value in values.items()}

        def point(point: Point) -> CostPoint:
            return CostPoint(**told(asdict(point)))

        best = point(costs.best)
        elsewhere = None
        if there is not None:
            folds = [FoldThresholds(*cuts, money_text(cost, places)) for cuts, cost in there.folds]
            elsewhere = OutOfFoldCost(**told(asdict(there)) | {"folds": folds})
        answer = cls(
            model=report.model,
            event=report.event,
            review_at=best.review_at,
            decline_at=best.decline_at,
            expected_cost=best.cost,
            expected_cost_low=money_text(costs.cost_low, places),
            expected_cost_high=money_text(costs.cost_high, places),
            elsewhere=elsewhere,
            elsewhere_why_not=costs.why_not,
            drawn=costs.drawn,
            cost_without_score=money_text(costs.without.cost, places),
            review_at_interval=costs.reviews_at,
            decline_at_interval=costs.declines_at,
            best=best,
            now=None if costs.now is None else point(costs.now),
            tried=None if report.tried is None else point(report.tried),
            curve=[point(step) for step in costs.curve],
            reviews_a_day=report.terms.reviews_a_day,
            reviews_by_rules=costs.without.reviews,
            rules_beyond_people=report.is_beyond_people,
            reviews_busiest_day=costs.reviews_most,
            days_over=costs.days_over,
            days=costs.days,
            events=report.events,
            frauds=report.frauds,
            share=report.share,
        ).about(report)
        answer.tag = tag
        return answer

    def etag(self) -> str:
        return self.tag

    def text(self) -> str:
        costs, best, currency = self.report.found, self.report.found.best, self._currency
        other = "." if costs.now is None else f", with the policy as it is {costs.now.cost:,.2f}."
        cost = f"{best.cost:,.2f}{currency} a day{cost_interval(costs.cost_low, costs.cost_high)}"
        part = "" if self.share == 1 else f" ({percent(self.share, '.1')} of all, randomly sampled)"
        tested = f"{many(self.events, 'tested event')}{part} of {many(self.days, 'day')}"
        lines = [
            f"{self.model} on {tested}, {self.frauds:,} of them frauds:",
            f"  review_at   {_cut(best.review_at)}{_between(costs.reviews_at)}",
            f"  decline_at  {_cut(best.decline_at)}{_between(costs.declines_at)}",
            f"That costs {cost}; without a score it is {costs.without.cost:,.2f}{other}",
            f"{percent(best.frauds_stopped)} of the frauds are reviewed or declined; {self._reviews()}.",
            *self._notes(),
            f"Intervals resample {one_line(self.drawn)}.",
            "",
            self._curve(),
        ]
        if self.in_force is not UNSET:
            state = (
                ", and active from the next event on" if self.in_force else f". It is not active yet: {self.why_not}"
            )
            lines += ["", f"policy.yaml is written{state}."]
        return "\n".join(lines)

    def _charts(self) -> str:
        from markupsafe import Markup

        from shroff.models.reports.pages import chart_page
        from shroff.models.reports.plots import cost_chart

        chart = cost_chart(self.report.found, self.report.currency)
        narrow = Markup('<div class="charts">{}</div>').format(chart) if chart else chart
        return chart_page(f"Thresholds of {self.model}", narrow)

    def hints(self) -> Sequence[str]:
        return ["shroff thresholds --apply" if self.in_force is UNSET else "shroff doctor"]

    @property
    def _currency(self) -> str:
        return f" {self.report.currency}" if self.report.currency else ""

    def _reviews(self) -> str:
        """Describe the reviews per day: the capacity limits their mean, so the busiest day is added."""
        text = f"{self.best.reviews:.1f} reviews a day on average"
        if self.reviews_a_day is None:
            return f"{text}, {self.reviews_busiest_day:,} on the busiest day"
        text += f", of a capacity of {self.reviews_a_day:,g}; {self.reviews_busiest_day:,} on the busiest day"
        return f"{text}; {many(self.days_over, 'day')} of {self.days:,} above that" if self.days_over else text

    def _notes(self) -> list[str]:
        lines = []
        if self.rules_beyond_people:
            limit = f"{self.reviews_a_day:,g} (costs.reviews_a_day of policy.yaml)"
            lines = [
                f"NOTE: rules alone require {self.reviews_by_rules:.1f} reviews a day; the review capacity is {limit}.",
                "The score adds none. Let fewer rules send events to review, or raise reviews_a_day.",
            ]
        estimate = self.report.found.elsewhere
        if estimate is None:
            return [*lines, f"{CHOSEN_HERE} There is no out-of-fold estimate: {self.elsewhere_why_not}."]
        cost = f"{estimate.cost:,.2f}{self._currency} a day{cost_interval(estimate.low, estimate.high)}"
        what = f"{percent(estimate.frauds_stopped)} of the frauds reviewed or declined"
        what += f", {estimate.reviews:.1f} reviews a day on average"
        lines.append(CHOSEN_HERE)
        lines.append(f"Out-of-fold estimate, chosen on all folds but one and tested on that one: {cost}: {what}.")
        if estimate.cost > self.report.found.without.cost:
            few = f"{many(self.frauds, 'fraud')} may be too few to choose thresholds"
            lines.append(f"That is more than without a score: {few}.")
        return lines

    def _curve(self) -> str:
        """Format points of the curve, from high to low thresholds, with a bar for the cost; the best is marked."""
        best = self.report.found.best
        points = [point for point in self.report.found.curve if point.cost <= TIMES_THE_BEST * best.cost]
        shown = sorted({*points[:: max(1, len(points) // ROWS)], best}, key=lambda point: (-lower(point), point.cost))
        most = max(point.cost for point in shown)
        rows = [
            (
                _cut(point.review_at),
                _cut(point.decline_at),
                *(f"{amount:,.2f}" for amount in (point.cost, point.missed_cost, point.false_declines_cost)),
                f"{point.reviews:.1f}",
                percent(point.frauds_stopped),
                "▆" * round(BAR * point.cost / most if most else 0) + (" ◂ cheapest" if point == best else ""),
            )
            for point in shown
        ]
        money = f",{self._currency}" if self.report.currency else ""
        costs = (name_of(number).lower() for number in ("missed_cost", "false_declines_cost"))
        amounts = (f"{name}{money}" for name in ("cost a day", *costs))
        return table(rows, ("review at", "decline at", *amounts, "reviews a day", "stopped", ""))


def lower(point: Point, otherwise: float = 2.0) -> float:
    return min((cut for cut in (point.review_at, point.decline_at) if cut is not None), default=otherwise)


def _cut(cut: float | None) -> str:
    return "nothing" if cut is None else f"{cut:g}"


def _between(cuts: Cuts | None) -> str:
    if cuts is None or cuts == (None, None):
        return ""
    return f"  (95 %: {_cut(cuts[0])} to {_cut(cuts[1])})"


@operation(
    "thresholds",
    right="read:definitions",
    of_two="thresholds apply",
    http="GET /thresholds",
    is_shared=True,
    refusals=[UnknownModelError],
)
def show_thresholds(cutoffs: ScoreCutoffs, request: ShowThresholds) -> CheapestThresholds:
    """Choose the thresholds of the score with the lowest cost of fraud, declines and reviews, by policy.yaml.

    Costs are computed on the events of the model's test folds, with scores of models that were not trained on them.
    Outcomes that rules decline or allow stay. Reviews raised by rules count toward the review capacity, as a daily
    average (costs.reviews_a_day). The output gives the cost on these events and on folds that were not used for the
    choice. --apply changes only `score` in policy.yaml.

    Examples:
        shroff thresholds
        shroff thresholds --model m-20260701-3f2a
        shroff thresholds --apply
    """
    if request.apply:
        return _weighed(cutoffs, request)
    key = (cutoffs.folder, cutoffs.policy_tag, cutoffs.basis, to_json(request))
    return _KEPT.get(key, lambda: _weighed(cutoffs, request))


def _weighed(cutoffs: ScoreCutoffs, request: ShowThresholds) -> CheapestThresholds:
    what_if = what_if_of(request, (request.review_at, request.decline_at))
    try:
        report, applied = cutoffs.thresholds(request.event, model=request.model, apply=request.apply, what_if=what_if)
    except NoChampionError as error:
        ids = ", ".join(cutoffs.model_ids())
        cure = f"Name one of the registry, by --model ID: {ids}" if ids else "Train one first"
        raise UsageError(f"{error} {cure}.") from error
    answer = CheapestThresholds.measured(report, cutoffs.policy_tag)
    if applied is not None:
        answer.in_force, answer.why_not = applied.in_force, applied.why_not or ""
    return answer


def what_if_of(costs: ShowThresholds | Costs, cuts: Cuts = (None, None)) -> WhatIf:
    """Return other costs and thresholds to try. Raises: UsageError for a number out of bounds."""
    from shroff.training.cutoffs import WhatIf

    for name, value in msgspec.structs.asdict(costs).items():
        most = LARGEST.get(name)
        if most is not None and value is not None and not 0 <= value <= most:
            raise UsageError(f"write {name} as a number from 0 to {most:,.10g}.")
    review_at, decline_at = cuts
    if review_at is not None and decline_at is not None and review_at > decline_at:
        raise UsageError("write review_at no higher than decline_at.")
    return WhatIf(
        1.0 if costs.missed is None else costs.missed / 100,
        costs.false_decline,
        costs.review,
        costs.reviews_a_day,
        None if cuts == (None, None) else cuts,
    )


# ---- changing


class SetThresholds(OperationRequest[AppliedCutoffs]):
    """The new thresholds, null for none, the reason, and other costs to save in the same change.

    They are written where policy.yaml still has the text that `tag` stands for.

    Args:
        model: The model whose events they were chosen on.
        tag: The ETag of the version that you read.
    """

    event: str
    reason: str
    review_at: Cut | None = None
    decline_at: Cut | None = None
    costs: Costs | None = None
    model: LocalText = ""
    tag: Annotated[str, Param(is_etag=True)] = ""


@operation(
    "thresholds set",
    right="set:thresholds",
    of_two="thresholds",
    http="PUT /thresholds/{event}",
    has_command=False,
    schema="NewCutoffs",
    body_bytes_max=BODY_BYTES_MAX,
    refusals=[UndecidedEventError],
)
def set_thresholds(cutoffs: ScoreCutoffs, definitions: Definitions, request: SetThresholds) -> AppliedCutoffs:
    """Write other thresholds, and costs, of an event type into policy.yaml; with a reason, which is recorded."""
    reason, event, cuts = checked_reason(request.reason), request.event, (request.review_at, request.decline_at)
    if event not in definitions.events.decided:
        raise UndecidedEventError(f"there is no decision of {event!r}")
    if any(cut is not None and not 0 <= cut <= 1 for cut in cuts):
        raise UsageError("a threshold is a score, from 0 to 1.")
    costs = {} if request.costs is None else cutoffs.costs(event, what_if_of(request.costs))
    return cutoffs.write(event, cuts, costs, model=request.model, reason=reason, tag=request.tag)


class UndoThresholds(OperationRequest[AppliedCutoffs]):
    """The event type whose last change to undo, by the text of policy.yaml that `tag` stands for."""

    event: str
    tag: str


@operation("thresholds undo", right="set:thresholds", of_two="thresholds", has_command=False)
def undo_thresholds(
    cutoffs: ScoreCutoffs, people: ProjectPeople, definitions: Definitions, request: UndoThresholds
) -> AppliedCutoffs:
    """Undo the last change of thresholds, with its costs, where it is still active."""
    from shroff.people.store import AuditFilter

    with people.open() as desk, desk.store.look() as look:
        filters = AuditFilter(action=APPLY, subject=f"policy of {request.event}")
        rows = look.record(filters, before=None, limit=1, is_newest_first=True)
    if not rows or not (change := CutoffsChange.of(rows[0])).can_be_undone(definitions.policy(request.event)):
        raise UsageError("the last change of thresholds cannot be undone: policy.yaml has others now.")
    reason, there = f"Undo: {change.after.get('reason', '')}"[:REASON_MAX], change.before
    return cutoffs.write(request.event, change.cuts(there), change.costs(there), reason=reason, tag=request.tag)
