"""Metrics of models that a gate can require, by name; `models.evaluation.metrics` computes their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from shroff.runtime.entry_points import METRICS as METRIC_ENTRIES
from shroff.runtime.entry_points import installed
from shroff.runtime.values import FrozenStruct

FAIRNESS = "fairness"


class Metric(FrozenStruct):
    """A metric, or a test, that a gate can require.

    Args:
        name: Name in model.yaml, reports and manifests.
        meaning: A sentence for the reference.
        kind: `share` (0 to 1), `money` (of the project), `duration`, `segments`, `ratio`, or `test` (passed or not).
        is_less_better: Whether smaller values are better.
        needs: Requirements: `capacity` and `slices` of model.yaml, keys of the policy, `cut_off` (either threshold of
            the policy), and `amount` (costs of a missed fraud, or a money field).
        is_also_test: Whether `required` may replace its limits.
        has_cut_off: Whether a gate names the threshold `at`.
        compute: For a metric of another package: returns its value, or NaN, from scores, frauds and weights.
    """

    name: str
    meaning: str
    kind: str = "share"
    is_less_better: bool = False
    needs: tuple[str, ...] = ()
    is_also_test: bool = False
    has_cut_off: bool = False
    compute: Callable[..., float] | None = None


METRICS = (
    Metric("auc_roc", "How often a fraud scores above a genuine event (area under the ROC curve; ties half)."),
    Metric(
        "average_precision",
        "From the highest score down, the mean precision at each fraud (area under the precision-recall curve).",
    ),
    Metric(
        "card_precision_at_k",
        "Of the k keys (cards, accounts) with the highest scores of each day, the share with fraud; mean over days. "
        "`capacity` in model.yaml names the entity and k.",
        needs=("capacity",),
    ),
    Metric(
        "recall_at_budget",
        "The share of all frauds that are among the `reviews_a_day` highest scores of each day.",
        needs=("reviews_a_day",),
    ),
    Metric(
        "precision_at_review",
        "Precision at `review_at`: the share of frauds among events with at least this score.",
        needs=("review_at",),
    ),
    Metric(
        "recall_at_review", "Recall at `review_at`: the share of frauds with at least this score.", needs=("review_at",)
    ),
    Metric(
        "precision_at_decline",
        "Precision at `decline_at`: the share of frauds among events with at least this score.",
        needs=("decline_at",),
    ),
    Metric(
        "recall_at_decline",
        "Recall at `decline_at`: the share of frauds with at least this score.",
        needs=("decline_at",),
    ),
    Metric("precision", "The share of frauds among events with a score of at least `at`.", has_cut_off=True),
    Metric("recall", "The share of frauds with a score of at least `at`.", has_cut_off=True),
    Metric(
        "f1",
        "Harmonic mean of precision and recall at the threshold `at`: 2 · precision · recall / (precision + recall).",
        has_cut_off=True,
    ),
    Metric(
        "calibration_error",
        "How far scores are from the share of frauds among events with like scores, on average over events (expected "
        "calibration error).",
        is_less_better=True,
    ),
    Metric("brier", "Brier score: the mean squared difference of score and label (1: fraud).", is_less_better=True),
    Metric(
        "money_saved",
        "Cost of reviewed or declined frauds, minus that of stopping.",
        "money",
        needs=("amount", "cut_off"),
    ),
    Metric("money_lost", "Cost of missed frauds.", "money", is_less_better=True, needs=("amount", "cut_off")),
    Metric(
        "cost_per_thousand",
        "Cost of missed frauds, false positives and reviews per thousand events.",
        "money",
        is_less_better=True,
        needs=("amount", "cut_off"),
    ),
    Metric(
        "slice_collapse",
        "The largest drop of average precision below the champion's in any slice; `required`: no drop beyond noise.",
        is_less_better=True,
        needs=("slices",),
        is_also_test=True,
    ),
    Metric(
        FAIRNESS,
        "The highest false-positive rate of the segments divided by the lowest: the lower end of its 95 % confidence "
        "interval, over segments with at least 100 genuine events.",
        "segments",
        is_less_better=True,
        needs=("cut_off",),
    ),
    Metric(
        "latency_p99",
        "Latency: the 99th percentile of the time to score one event; in JSON a number of milliseconds.",
        "duration",
        is_less_better=True,
    ),
    Metric("leak_test", "Whether the training set is free of leakage (nothing that was unknown at the time).", "test"),
)
RATIO = Metric("false_positive_ratio", "", "ratio", is_less_better=True)  # of a fairness gate
METRICS_BY_NAME: Final[Mapping[str, Metric]] = {metric.name: metric for metric in METRICS}
AT_CUT_OFF = tuple(metric.name for metric in METRICS if metric.has_cut_off)
_TITLES = {  # display names, if not the name without its underscores
    "auc_roc": "AUC ROC",
    "recall_at_budget": "recall in the alert budget",
    "brier": "Brier score",
    "latency_p99": "time of one score, 99th of a hundred",
}


def figure_text(value: float) -> str:
    """Format a value of a metric with three digits, from 100 on as an integer.

    >>> figure_text(0.00860962), figure_text(2.0), figure_text(12345.6)
    ('0.00861', '2', '12,346')
    """
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def metric_words(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " ").replace("f1 at", "F1 at"))


def at_cut_off(name: str, threshold: float) -> str:
    """Return the name of a metric at a threshold.

    >>> at_cut_off("f1", 0.30)
    'f1_at_0.3'
    """
    return f"{name}_at_{threshold:.12g}"


def metric_of(name: str) -> Metric | None:
    base = name.partition("_at_")[0]
    own = METRICS_BY_NAME.get(name) or (METRICS_BY_NAME[base] if base in AT_CUT_OFF else None)
    return own or installed(METRIC_ENTRIES).get(name)
