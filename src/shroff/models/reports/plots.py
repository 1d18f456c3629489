"""Charts of a model's report: quality of its scores, their cost, and the effect of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from shroff.arrays import Bools, Floats, count_true
from shroff.models.evaluation.folds import Evaluation
from shroff.models.evaluation.metrics import Bin, precision_by_recall
from shroff.models.evaluation.thresholds import Thresholds
from shroff.models.model import LOG_ODDS
from shroff.models.model_contributions import Dependence
from shroff.models.reports.pages import FRAUD, MARK, REF, ChartAxis, ChartLine, drawn, short, steps_of
from shroff.runtime.texts import cost_interval

INPUTS_SHOWN = 15
DEPENDENCES_SHOWN = 8
_CATEGORIES_SHOWN = 8
_SCORE_LEAST = 1e-5  # start of the axis of scores
_BINS = 25
_PARTS = 12  # segments of the line through the middle of the dots
_COST_SHOWN = 2.5  # largest cost shown, as a multiple of the cost without the score
_SKEWED = 20.0  # multiple of the median above which values have a logarithmic axis


def curves(evaluation: Evaluation) -> Markup:
    """Draw precision by recall, calibration, and the score distributions of frauds and genuine events."""
    tested = evaluation.tested
    points = zip(*precision_by_recall(tested.scores, tested.frauds), strict=True)
    points_of_curve = [(recall, precision) for recall, precision in points if recall]  # from the first caught fraud on
    recall = [recall for recall, _ in points_of_curve]
    precision = [precision for _, precision in points_of_curve]
    share = ChartAxis("recall", 0, 1)
    base = float(tested.frauds.mean()) if len(tested.frauds) else 0.0
    lines = [ChartLine("model", recall, precision), ChartLine("by lot", [0, 1], [base, base], REF)]
    return (
        drawn("xy", "Precision by recall", share, ChartAxis("precision", 0, 1), lines)
        + _calibration(evaluation.curve)
        + _distribution(tested.scores, tested.frauds)
    )


def cost_chart(thresholds: Thresholds | None, currency: str) -> Markup:
    """Draw the daily cost by the score from which events are reviewed; empty if costs are unknown."""
    if thresholds is None:
        return Markup("")
    points = sorted(
        (point for point in (*thresholds.curve, thresholds.best) if point.review_at),
        key=lambda point: point.review_at or 0.0,
    )
    if len(points) < 2:
        return Markup("")
    # Reviewing nearly everything costs many times more and would flatten the rest.
    highest_cost = _COST_SHOWN * max(thresholds.without.cost, thresholds.best.cost, 0.01)
    visible = [point for point in points if point.cost <= highest_cost] or points
    scores = [max(point.review_at or 0.0, _SCORE_LEAST) for point in visible]
    costs = [point.cost for point in visible]
    x = ChartAxis("reviewed from this score", min(scores), max(*scores, 2 * min(scores)), is_log=True)
    y = ChartAxis(f"{currency} a day".strip(), 0, max(*costs, thresholds.without.cost) * 1.05)
    without = [thresholds.without.cost] * 2
    lines = [
        ChartLine("with the score", scores, costs),
        ChartLine("without it", [min(scores), max(scores)], without, REF),
    ]
    under = f"Cheapest: {thresholds.best.cost:,.2f} a day"
    under += "" if thresholds.best.review_at is None else f", reviewing from {thresholds.best.review_at:.6g}"
    under += "" if thresholds.best.decline_at is None else f", declining from {thresholds.best.decline_at:.6g}"
    under = f"{under}{cost_interval(thresholds.cost_low, thresholds.cost_high)}.{_elsewhere(thresholds)}"
    return drawn("xy", "Cost of a day", x, y, lines, under)


def _elsewhere(thresholds: Thresholds) -> str:
    elsewhere = thresholds.elsewhere
    if elsewhere is None:
        reason = thresholds.why_not
        return f" Chosen on these same events, so it is optimistic. There is no out-of-fold estimate: {reason}."
    interval = cost_interval(elsewhere.low, elsewhere.high)
    cost = f"{elsewhere.cost:,.2f} a day{interval}"
    return f" Chosen on these same events, so it is optimistic. Out-of-fold estimate: {cost}."


def importance_bars(gains: Mapping[str, float], dependences: Sequence[Dependence]) -> Markup:
    parts = Markup("")
    if dependences:
        rows = [
            (dependence.name, dependence.size, f"{dependence.size:.3g}") for dependence in dependences[:INPUTS_SHOWN]
        ]
        under = f"On {len(dependences[0].values):,} test rows drawn by lot; in {dependences[0].gives}, exact TreeSHAP."
        parts += drawn("bars", "Mean size of the contribution", rows, under)
    largest = sorted(gains.items(), key=lambda gain: (-gain[1], gain[0]))[:INPUTS_SHOWN]
    by_gain = [(name, value, f"{100 * value:.1f} %") for name, value in largest]
    return parts + drawn("bars", "Share of the gain in training", by_gain) if by_gain else parts


def dependence_plots(dependences: Sequence[Dependence]) -> Markup:
    return Markup("").join(_dependence(dependence) for dependence in dependences[:DEPENDENCES_SHOWN])


def _calibration(curve: Sequence[Bin]) -> Markup:
    scores = [bin_.score for bin_ in curve]
    rates = [bin_.fraud_rate for bin_ in curve]
    top = max([*scores, *rates, 1e-6]) * 1.05
    lines = [
        ChartLine("model", scores, rates, has_dots=True),
        ChartLine("as it should be", [0.0, top], [0.0, top], REF),
    ]
    return drawn("xy", "Calibration", ChartAxis("mean score", 0, top), ChartAxis("share of frauds", 0, top), lines)


def _distribution(scores: Floats, frauds: Bools) -> Markup:
    edges = np.logspace(np.log10(_SCORE_LEAST), 0.0, _BINS + 1)
    lines = []
    top = 0.0
    for name, selected, kind in (("genuine", ~frauds, MARK), ("fraud", frauds, FRAUD)):
        counts, _ = np.histogram(np.clip(scores[selected], _SCORE_LEAST, 1.0), edges)
        shares = 100.0 * counts / max(count_true(selected), 1)
        top = max(top, float(shares.max()))
        lines.append(ChartLine(name, *steps_of(edges, shares), kind))
    y = ChartAxis("% of its kind", 0, top * 1.05 or 1.0)
    return drawn("xy", "Where scores lie", ChartAxis("score", _SCORE_LEAST, 1.0, is_log=True), y, lines)


def _dependence(dependence: Dependence) -> Markup:
    is_there = ~np.isnan(dependence.values)
    away = dependence.contributions[~is_there]
    under = ""
    if len(away):
        mean = f"{away.mean():+.{_places(dependence)}f}"
        under = f"Missing in {100 * len(away) / len(dependence.values):.3g} %: {mean} on average."
    if dependence.categories:
        return _by_category(dependence, is_there, under)
    values = dependence.values[is_there]
    moved = dependence.contributions[is_there]
    if len(values) == 0:
        return Markup("")
    order = np.argsort(values, kind="stable")
    values = values[order]
    moved = moved[order]
    low = float(values[0])
    high = float(values[-1])
    middle = float(np.median(values))
    is_skewed = low >= 0 and high > _SKEWED * max(middle, 1e-9) and high > 0
    if is_skewed:
        smallest = float(values[values > 0].min())
        x = ChartAxis("value", smallest, max(high, smallest * 10), is_log=True)
        under = f"{under} 0 stands at the left end.".strip() if low == 0 else under
    else:
        x = ChartAxis("value", low, high if high > low else low + 1)
    edge = max(0.05 if dependence.gives == LOG_ODDS else 1e-4, float(np.abs(moved).max())) * 1.1
    parts = [part for part in np.array_split(np.arange(len(values)), _PARTS) if len(part)]
    through = ChartLine(
        "mean", [float(values[part].mean()) for part in parts], [float(moved[part].mean()) for part in parts], REF
    )
    y = ChartAxis(f"adds to the {dependence.gives}", -edge, edge)
    return drawn("xy", dependence.name, x, y, [through], under, ChartLine("", values, moved))


def _places(dependence: Dependence) -> int:
    """Return the decimals of a contribution: probabilities are small if frauds are rare."""
    return 2 if dependence.gives == LOG_ODDS else 4


def _by_category(dependence: Dependence, is_there: Bools, under: str) -> Markup:
    codes = dependence.values[is_there].astype(np.int64)
    moved = dependence.contributions[is_there]
    counts = np.bincount(codes, minlength=len(dependence.categories))
    sums = np.bincount(codes, moved, len(dependence.categories))
    frequent = [code for code in np.argsort(-counts, kind="stable")[:_CATEGORIES_SHOWN].tolist() if counts[code]]
    rows = []
    for code in frequent:
        mean = float(sums[code] / counts[code])
        rows.append(
            (
                f"{dependence.categories[code]} ({short(float(counts[code]))} rows)",
                mean,
                f"{mean:+.{_places(dependence)}f}",
            )
        )
    return drawn("bars", dependence.name, rows, under)
