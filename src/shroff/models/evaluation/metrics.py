"""Metrics of scores on rows with known labels: one number each, NaN if undefined.

Rows of equal score are treated alike, so no metric depends on the order of rows: a ranking has one step for them, and
if only some fit into a day's budget, a fraction of each is counted. Products of columns are summed without linear
algebra, whose sums depend on the number of threads. docs/explain/metrics.md explains each metric and its origin.
"""

from __future__ import annotations

import numpy as np

from shroff.arrays import Bools, Floats, Ints, Ints8, count_true
from shroff.json_types import TextDict
from shroff.models.evaluation.daily import found_in_budget
from shroff.models.metrics import at_cut_off
from shroff.runtime.entry_points import METRICS, installed
from shroff.runtime.values import FrozenStruct

# Codes of outcomes: their indexes in `project.policy.OUTCOMES`
REVIEW = 2
DECLINE = 3
BINS = 10  # of the calibration error, each with equally many rows


class Terms(FrozenStruct):
    """Terms of the policy: thresholds of the score, and costs in whole units of the project's money.

    For rules and outcomes, which are no scores, reviewed and declined events count as called fraud at each of
    `cut_offs`.
    """

    review_at: float | None = None
    decline_at: float | None = None
    false_decline: float | None = None
    review: float | None = None
    reviews_a_day: float | None = None
    money_places: int = 2
    cut_offs: tuple[float, ...] = ()  # other thresholds, for gates

    def outcomes(self, scores: Floats) -> Ints8:
        """Return the outcomes of these thresholds at each score, without rules."""
        outcomes = np.zeros(len(scores), np.int8)
        if self.review_at is not None:
            outcomes[scores >= self.review_at] = REVIEW
        if self.decline_at is not None:
            outcomes[scores >= self.decline_at] = DECLINE
        return outcomes


class RowsOfFold(FrozenStruct):
    """Test rows of a fold for metrics.

    Args:
        frauds: Whether the verdict is fraud; all others are genuine.
        amounts: Cost of missing each row, in whole units of money.
        days: Days since the start of the test.
        keys: Codes of the entity in `capacity`, -1 for none.
        counts: Number of events that each row represents (`sets.RecordedDecisions.stands_for`); None for one each.
    """

    frauds: Bools
    amounts: Floats
    days: Ints
    keys: Ints
    counts: Floats | None = None

    def take(self, rows: Ints | Bools) -> RowsOfFold:
        counts = None if self.counts is None else self.counts[rows]
        return RowsOfFold(self.frauds[rows], self.amounts[rows], self.days[rows], self.keys[rows], counts)

    def times(self, weights: Floats | None) -> Floats:
        """Return how often each row counts under resampling weights."""
        resampled = np.ones(len(self)) if weights is None else weights
        return resampled if self.counts is None else resampled * self.counts

    def __len__(self) -> int:
        return len(self.frauds)


class Judged(FrozenStruct):
    """Scores of rows, sorted once for any number of weightings.

    Args:
        order: Rows by falling score.
        ends: End of the rows of each score in `order`.
        outcomes: Outcome of each row.
        are_probabilities: Whether the scores are probabilities; those of rules and outcomes only rank.
    """

    rows: RowsOfFold
    scores: Floats
    outcomes: Ints8
    order: Ints
    ends: Ints
    are_probabilities: bool


class Bin(FrozenStruct):
    """One bin of the calibration curve: mean score, share of frauds, and number of rows."""

    score: float
    fraud_rate: float
    count: float


def judge(rows: RowsOfFold, scores: Floats, outcomes: Ints8, *, are_probabilities: bool = True) -> Judged:
    """Sort scores for `measure`. Cost: O(n log n)."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(ordered)) if len(ordered) else order
    return Judged(rows, scores, outcomes, order, ends, are_probabilities)


def measure(judged: Judged, terms: Terms, weights: Floats | None = None) -> dict[str, float]:
    """Compute every metric that is a sum over rows, by its name in model.yaml; NaN if undefined (`why_not`).

    Args:
        weights: Resampling weight of each row; None for one each.
    """
    frauds = judged.rows.frauds
    weight = judged.rows.times(weights)
    caught, alarms = _running(judged, weight)
    total = float(weight.sum())
    frauds_total = float(weight[frauds].sum())
    metrics = {"auc_roc": _auc(caught, alarms), "average_precision": _average_precision(caught, alarms)}
    for name, outcome, threshold in (("review", REVIEW, terms.review_at), ("decline", DECLINE, terms.decline_at)):
        is_out = judged.outcomes >= outcome
        both = float(weight[frauds & is_out].sum())
        out = float(weight[is_out].sum())
        says = threshold is not None or not judged.are_probabilities
        metrics[f"precision_at_{name}"] = _ratio(both, out) if says else np.nan
        metrics[f"recall_at_{name}"] = _ratio(both, frauds_total) if says else np.nan
    for threshold in terms.cut_offs:
        is_called = _called(judged, threshold)
        both = float(weight[frauds & is_called].sum())
        out = float(weight[is_called].sum())
        metrics[at_cut_off("precision", threshold)] = _ratio(both, out)
        metrics[at_cut_off("recall", threshold)] = _ratio(both, frauds_total)
        metrics[at_cut_off("f1", threshold)] = _ratio(2 * both, out + frauds_total) if frauds_total else np.nan
    if judged.are_probabilities:
        metrics["calibration_error"] = calibration_error(judged, weights)
        metrics["brier"] = _ratio(float((weight * (judged.scores - frauds) ** 2).sum()), total)
    else:
        metrics["calibration_error"] = metrics["brier"] = np.nan
    for name, metric in installed(METRICS).items():
        metrics[name] = metric.compute(judged.scores, frauds, weight)
    return metrics | _money(judged, terms, weight)


def why_not(judged: Judged, terms: Terms) -> TextDict:
    """Return the reason for each metric that `measure` cannot compute."""
    count = len(judged.rows)
    frauds = count_true(judged.rows.frauds)
    no_rows = "no test row has a verdict" if count == 0 else ""
    no_fraud = no_rows or ("no test row is a fraud" if frauds == 0 else "")
    no_genuine = no_rows or ("no test row is genuine" if frauds == count else "")
    reasons = {"auc_roc": no_fraud or no_genuine, "average_precision": no_fraud}
    for name, outcome, threshold in (("review", REVIEW, terms.review_at), ("decline", DECLINE, terms.decline_at)):
        no_cut = f"policy.yaml has no {name}_at" if threshold is None and judged.are_probabilities else ""
        nobody = "" if (judged.outcomes >= outcome).any() else f"no test row has the outcome {name}"
        reasons[f"precision_at_{name}"] = no_rows or no_cut or nobody
        reasons[f"recall_at_{name}"] = no_fraud or no_cut
    for threshold in terms.cut_offs:
        nobody = "" if _called(judged, threshold).any() else f"no test row has a score from {threshold:g} on"
        reasons[at_cut_off("precision", threshold)] = no_rows or nobody
        reasons[at_cut_off("recall", threshold)] = reasons[at_cut_off("f1", threshold)] = no_fraud
    no_score = "" if judged.are_probabilities else "an outcome is not a probability"
    reasons["calibration_error"] = reasons["brier"] = no_score or no_rows
    no_money = "" if judged.rows.amounts.any() else "no test row has an amount"
    no_outcome = "policy.yaml has neither review_at nor decline_at" if _has_no_cut(judged, terms) else ""
    for name in ("money_saved", "money_lost", "cost_per_thousand"):
        reasons[name] = no_rows or no_outcome or no_money
    return {name: why for name, why in reasons.items() if why}


def _called(judged: Judged, at: float) -> Bools:
    return judged.scores >= at if judged.are_probabilities else judged.outcomes >= REVIEW


def average_precision(scores: Floats, frauds: Bools) -> float:
    """Return the area under precision by recall, by steps of equal scores. NaN without a fraud."""
    return _average_precision(*_running_of(scores, frauds))


def precision_by_recall(scores: Floats, frauds: Bools) -> tuple[list[float], list[float]]:
    """Return recall and precision down to each score, from the highest; empty without a fraud."""
    caught, alarms = _running_of(scores, frauds)
    if len(caught) == 0 or caught[-1] == 0:
        return [], []
    return (caught / caught[-1]).tolist(), (caught / (caught + alarms)).tolist()


def calibration_curve(judged: Judged) -> list[Bin]:
    """Return mean score and share of frauds in bins of equally many rows, by rising score.

    Rows of equal score share the bin of their middle row, so there may be fewer bins, down to one if all scores are
    equal.
    """
    counts, scores, frauds = _binned(judged, judged.rows.times(None), BINS)
    return [
        Bin(float(score / count), float(fraud / count), float(count))
        for count, score, fraud in zip(counts, scores, frauds, strict=True)
        if count > 0
    ]


def calibration_error(judged: Judged, weights: Floats | None, bins: int = BINS) -> float:
    """Return the mean distance of scores from the share of frauds over the bins of the curve, weighted by rows."""
    weight = judged.rows.times(weights)
    _, scores, frauds = _binned(judged, weight, bins)
    return _ratio(float(np.abs(scores - frauds).sum()), float(weight.sum()))


def log_loss(margins: Floats, frauds: Floats | Bools, weights: Floats) -> float:
    """Return the weighted mean of -ln of the probability of each verdict, from log odds."""
    wide = np.asarray(margins, np.float64)
    losses = np.logaddexp(0.0, np.where(frauds > 0, -wide, wide))
    return float((losses * weights).sum() / weights.sum())


def recall_in_budget(judged: Judged, budget: float) -> tuple[Floats, Floats]:
    """Return frauds found and all frauds of each day, if the `budget` highest scores of a day are reviewed."""
    return found_in_budget(judged.scores, judged.rows.frauds, judged.rows.days, budget)


def _running(judged: Judged, weights: Floats) -> tuple[Floats, Floats]:
    """Return cumulative weights of frauds and of genuine rows down to each score, from the highest."""
    weight = weights[judged.order]
    fraud = np.where(judged.rows.frauds[judged.order], weight, 0.0)
    last = judged.ends - 1
    caught = np.cumsum(fraud)[last]
    return caught, np.cumsum(weight)[last] - caught


def _running_of(scores: Floats, frauds: Bools) -> tuple[Floats, Floats]:
    nothing = np.zeros(len(scores), np.int64)
    judged = judge(RowsOfFold(frauds, nothing.astype(np.float64), nothing, nothing), scores, nothing.astype(np.int8))
    return _running(judged, np.ones(len(scores)))


def _auc(caught: Floats, alarms: Floats) -> float:
    if len(caught) == 0:
        return np.nan
    above = np.append(0.0, caught[:-1])
    wins = (np.diff(alarms, prepend=0.0) * ((above + caught) / 2)).sum()
    return _ratio(float(wins), float(caught[-1] * alarms[-1]))


def _average_precision(caught: Floats, alarms: Floats) -> float:
    if len(caught) == 0:
        return np.nan
    looked = caught + alarms
    precision = np.divide(caught, looked, out=np.zeros_like(caught), where=looked > 0)
    return _ratio(float((np.diff(caught, prepend=0.0) * precision).sum()), float(caught[-1]))


def _binned(judged: Judged, weights: Floats, bins: int) -> tuple[Floats, Floats, Floats]:
    """Return weights, sums of scores and sums of frauds of each bin of the calibration curve."""
    rising = judged.order[::-1]
    weight = weights[rising]
    ends = len(rising) - np.append(0, judged.ends[:-1])[::-1]  # the same ties, from the lowest score
    starts = np.append(0, ends[:-1]).astype(np.int64)[: len(ends)]
    if len(rising) == 0 or weight.sum() == 0:
        return np.zeros(bins), np.zeros(bins), np.zeros(bins)
    count = np.add.reduceat(weight, starts)
    fraud = np.add.reduceat(np.where(judged.rows.frauds[rising], weight, 0.0), starts)
    middle = np.cumsum(count) - count / 2
    bin_of = np.minimum((middle * bins / count.sum()).astype(np.int64), bins - 1)
    score = count * judged.scores[rising[starts]]
    sums = [np.bincount(bin_of, weights=column, minlength=bins).astype(np.float64) for column in (count, score, fraud)]
    return sums[0], sums[1], sums[2]


def _money(judged: Judged, terms: Terms, weights: Floats) -> dict[str, float]:
    """Return savings and costs of outcomes in whole units. A challenge counts as stopped without cost, because its cost
    is unknown.
    """
    rows = judged.rows
    if len(rows) == 0 or _has_no_cut(judged, terms) or not rows.amounts.any():
        return dict.fromkeys(("money_saved", "money_lost", "cost_per_thousand"), np.nan)
    is_stopped = judged.outcomes >= REVIEW
    amount = np.where(rows.frauds, rows.amounts, 0.0) * weights
    lost = float(amount[~is_stopped].sum())
    stopping = (terms.review or 0.0) * float(weights[judged.outcomes == REVIEW].sum())
    stopping += (terms.false_decline or 0.0) * float(weights[(judged.outcomes == DECLINE) & ~rows.frauds].sum())
    return {
        "money_saved": float(amount[is_stopped].sum()) - stopping,
        "money_lost": lost,
        "cost_per_thousand": _ratio(1_000 * (lost + stopping), float(weights.sum())),
    }


def _has_no_cut(judged: Judged, terms: Terms) -> bool:
    return judged.are_probabilities and terms.review_at is None and terms.decline_at is None


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else np.nan
