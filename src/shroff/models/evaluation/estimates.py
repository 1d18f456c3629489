"""Metrics over folds: each value, mean, spread and interval; and the difference of two models.

Two compared models use the same resamples, so difficulties that both have with the same cards cancel out, and the
interval is that of their difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shroff.arrays import Floats
from shroff.models.evaluation.daily import best_card_precision, card_precision, key_days
from shroff.models.evaluation.intervals import Blocks, day_blocks, drawings, ends, times_for
from shroff.models.evaluation.metrics import Judged, Terms, measure, recall_in_budget, why_not
from shroff.models.metrics import metric_of
from shroff.runtime.values import FrozenStruct, replace

CARD_PRECISION = "card_precision_at_k"
BUDGET_RECALL = "recall_at_budget"


class Estimate(FrozenStruct):
    """A metric over folds.

    Args:
        mean: Mean of the folds with a value; None if there is none, with the reason in `why`.
        low, high: 95 % interval of the mean; None with too few blocks.
        spread: Standard deviation over folds; needs at least two.
        folds: Value of each fold; None if undefined.
        best: Mean that the best possible scores would reach, if below 1.
        why: Reason why it has no value in all or some folds.
    """

    mean: float | None
    low: float | None
    high: float | None
    spread: float | None
    folds: tuple[float | None, ...]
    best: float | None = None
    why: str = ""


class Estimates(FrozenStruct):
    """All metrics of one model, with the mean over folds in each resample for comparisons."""

    by_name: dict[str, Estimate]
    drawn: dict[str, Floats]
    blocks: dict[str, int]  # number of resampled blocks of each metric


class Difference(FrozenStruct):
    """Difference of two models on the same rows with its 95 % confidence interval; None if undefined."""

    mean: float | None
    low: float | None
    high: float | None


def estimate(folds: Sequence[Judged], terms: Terms, k: int | None, blocks: Blocks, seed: int) -> Estimates:
    """Compute every metric over folds.

    Args:
        k: For card precision; None without `capacity`.
        blocks: Rows that are resampled together; daily metrics are resampled by days.

    Cost: O(rows) for each of up to 200 resamples.
    """
    points = [measure(fold, terms) for fold in folds]
    reasons = [why_not(fold, terms) for fold in folds]
    names = list(points[0]) if points else []
    times = times_for(sum(len(fold.rows) for fold in folds))
    resampled = {name: np.full(times, np.nan) for name in names}
    for resample, lots in enumerate(drawings(blocks.count, seed, times) if names else ()):
        fold_metrics = [
            measure(fold, terms, weights) for fold, weights in zip(folds, blocks.weights(lots), strict=True)
        ]
        for name in names:
            resampled[name][resample] = _mean([metrics[name] for metrics in fold_metrics])
    by_name = {
        name: _estimate(
            name, [point[name] for point in points], resampled[name], blocks.count, [r.get(name, "") for r in reasons]
        )
        for name in names
    }
    estimates = Estimates(by_name, resampled, dict.fromkeys(names, blocks.count))
    _add_card_precision(estimates, folds, k, seed)
    _add_budget_recall(estimates, folds, terms.reviews_a_day, seed)
    return estimates


def difference(model: Estimates, other: Estimates, name: str) -> Difference:
    """Return ours minus theirs: the mean over folds where both are defined, and its interval from the same
    resamples.
    """
    our_estimate = model.by_name[name]
    their_estimate = other.by_name[name]
    differences = [
        a - b for a, b in zip(our_estimate.folds, their_estimate.folds, strict=True) if a is not None and b is not None
    ]
    if not differences:
        return Difference(None, None, None)
    if any((a is None) != (b is None) for a, b in zip(our_estimate.folds, their_estimate.folds, strict=True)):
        return Difference(float(np.mean(differences)), None, None)  # their resamples are means over other folds
    mean = float(np.mean(differences))
    low, high = ends(model.drawn[name] - other.drawn[name], model.blocks[name], mean)
    return Difference(mean, low, high)


def _add_card_precision(estimates: Estimates, folds: Sequence[Judged], k: int | None, seed: int) -> None:
    """Add card precision at k: the mean over the days of a fold, then over folds."""
    if k is None:
        _add_nothing(estimates, CARD_PRECISION, len(folds), "model.yaml has no capacity")
        return
    key_days_of_folds = [key_days(fold.scores, fold.rows.frauds, fold.rows.days, fold.rows.keys) for fold in folds]
    precisions = [card_precision(days, k) for days in key_days_of_folds]
    best = _mean([best_card_precision(days, k) for days in key_days_of_folds])
    reasons = ["" if len(days) else "no test row has a key" for days in precisions]
    _add_by_day(estimates, CARD_PRECISION, precisions, [np.ones(len(days)) for days in precisions], reasons, seed, best)


def _add_budget_recall(estimates: Estimates, folds: Sequence[Judged], budget: float | None, seed: int) -> None:
    """Add the share of a fold's frauds among the `reviews_a_day` highest scores of each day."""
    if budget is None:
        _add_nothing(estimates, BUDGET_RECALL, len(folds), "policy.yaml has no costs.reviews_a_day")
        return
    recalls = [recall_in_budget(fold, budget) for fold in folds]
    reasons = ["" if frauds.sum() else "no test row is a fraud" for _, frauds in recalls]
    _add_by_day(
        estimates, BUDGET_RECALL, [caught for caught, _ in recalls], [frauds for _, frauds in recalls], reasons, seed
    )


def _add_by_day(
    estimates: Estimates,
    name: str,
    above: Sequence[Floats],
    below: Sequence[Floats],
    reasons: Sequence[str],
    seed: int,
    best: float = np.nan,
) -> None:
    blocks = day_blocks([len(days) for days in above])
    resampled = np.array(
        [
            _mean(
                [
                    _ratio((w * a).sum(), (w * b).sum())
                    for w, a, b in zip(blocks.weights(lots), above, below, strict=True)
                ]
            )
            for lots in (drawings(blocks.count, seed) if blocks.count else ())
        ]
    )
    values = [_ratio(a.sum(), b.sum()) for a, b in zip(above, below, strict=True)]
    estimate = _estimate(name, values, resampled, blocks.count, reasons)
    estimates.by_name[name] = replace(estimate, best=_plain(best))
    estimates.drawn[name] = resampled
    estimates.blocks[name] = blocks.count


def _estimate(name: str, values: Sequence[float], resampled: Floats, blocks: int, reasons: Sequence[str]) -> Estimate:
    defined = [value for value in values if np.isfinite(value)]
    about = metric_of(name)
    limits = (0.0, 1.0) if about is not None and about.kind == "share" else (-np.inf, np.inf)
    low, high = ends(resampled, blocks, _mean(values), *limits) if defined else (None, None)
    spread = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return Estimate(
        _plain(_mean(values)),
        low,
        high,
        spread,
        tuple(_plain(value) for value in values),
        why=reasons_of_folds(reasons),
    )


def reasons_of_folds(reasons: Sequence[str]) -> str:
    """Join the reasons of folds, each once; without fold numbers if all have the same.

    >>> reasons_of_folds(["no rows", "no rows"]), reasons_of_folds(["no rows", "", "no rows", "too few"])
    ('no rows', 'folds 1, 3: no rows; fold 4: too few')
    """
    folds: dict[str, list[str]] = {}
    for number, reason in enumerate(reasons, 1):
        if reason:
            folds.setdefault(reason, []).append(str(number))
    if [len(fold_numbers) for fold_numbers in folds.values()] == [len(reasons)]:
        return reasons[0]
    return "; ".join(f"fold{'s' * (len(of) > 1)} {', '.join(of)}: {reason}" for reason, of in folds.items())


def _add_nothing(estimates: Estimates, name: str, folds: int, reason: str) -> None:
    estimates.by_name[name] = Estimate(None, None, None, None, (None,) * folds, why=reason)
    estimates.drawn[name] = np.zeros(0)
    estimates.blocks[name] = 0


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if np.isfinite(value)]
    return sum(defined) / len(defined) if defined else np.nan


def _ratio(above: float, below: float) -> float:
    return float(above) / float(below) if below > 0 else np.nan


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
