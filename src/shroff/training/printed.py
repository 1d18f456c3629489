"""Text of `shroff train`: a model's metrics beside rules and baselines, its gates, and its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shroff.models.evaluation.estimates import Estimate
from shroff.models.evaluation.gates import gates_text
from shroff.models.metrics import metric_words
from shroff.models.model import IMPORTED
from shroff.runtime.texts import many, one_line, table

if TYPE_CHECKING:
    from shroff.training.train import TrainReport

SHOWN = (  # metrics shown, in this order
    "average_precision",
    "auc_roc",
    "card_precision_at_k",
    "recall_at_budget",
    "calibration_error",
    "money_saved",
    "cost_per_thousand",
)


def text(report: TrainReport) -> str:
    stored = report.stored
    folds = [fold for fold in report.evaluation.folds if not fold.why]
    learnt = f"trained on {many(report.rows, 'event')} with {many(report.fraud, 'fraud')} in {report.seconds:.1f} s"
    if (origin := stored.manifest.get(IMPORTED)) is not None:
        checked = origin["checked"]
        learnt = f"{origin['source']} from {origin['file']}, {many(checked['rows'], 'row')} of {checked['file']} "
        learnt += f"reproduced (at most {checked['worst']:.1g} off)"
    lines = [
        f"{stored.id} scores {stored.event}: {learnt}, tested on {many(len(folds), 'fold')}.",
        "",
        _metrics_text(report),
        "",
        gates_text(report.gates),
    ]
    lines += ["", *(f"  {one_line(words)}" for words in report.remarks)] if report.remarks else []
    return "\n".join([*lines, "", _state(report)])


def _state(report: TrainReport) -> str:
    """Return whether the model is active, or why not, as `shroff models promote` does."""
    if report.promoted:
        return "It is active."
    why = report.why_not.rstrip(".")
    if report.is_champion:
        return f"{report.stored.id} is the champion of {report.stored.event}. It is not active: {why}."
    return f"It is not active: {why}."


def _metrics_text(report: TrainReport) -> str:
    """Format the metrics: the model's mean and interval, then each comparison on the same rows."""
    evaluation = report.evaluation
    compared = {
        name.replace("_", " "): comparison.metrics
        for name, comparison in evaluation.compared.items()
        if comparison.metrics
    }
    if evaluation.without_give_away:
        compared = {"without give-away": evaluation.without_give_away, **compared}
    rows = []
    for name in SHOWN:
        estimate = evaluation.metrics.get(name)
        if estimate is None or estimate.mean is None:
            continue
        best = "" if estimate.best is None else f" of {_number(estimate.best)}"
        means = [_mean(metrics, name) for metrics in compared.values()]
        rows.append((metric_words(name), _number(estimate.mean) + best, _interval(estimate), *means))
    return "\n".join([table(rows, ("mean over folds", "model", "95 %", *compared)), *_best_rule_text(report)])


def _best_rule_text(report: TrainReport) -> list[str]:
    rule = report.evaluation.compared.get("best_rule")
    if rule is None:
        return []
    precision, recall = (_mean(rule.metrics, f"{name}_at_review") for name in ("precision", "recall"))
    frauds = rule.metrics.get("recall_at_review")
    if frauds is not None and frauds.mean == 0:
        return ["", "  No rule found a fraud among the tested events."]
    return [
        "",
        f"  The best rule is {one_line(rule.about).removeprefix('rule ')}: precision {precision}, recall {recall}.",
    ]


def _mean(metrics: Mapping[str, Estimate], name: str) -> str:
    estimate = metrics.get(name)
    return "-" if estimate is None or estimate.mean is None else _number(estimate.mean)


def _interval(estimate: Estimate) -> str:
    return (
        "-" if estimate.low is None or estimate.high is None else f"{_number(estimate.low)} to {_number(estimate.high)}"
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"
