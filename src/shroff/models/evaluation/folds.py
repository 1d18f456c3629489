"""Evaluation on time folds: a model is trained on a fold's past and tested on later events.

This module does not know how a model is made: `learn` takes a fold's training rows and returns a function that scores
its test rows. docs/explain/metrics.md explains each number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import field

from shroff.arrays import Bools, Floats, Ints, Ints8, count_true
from shroff.errors import UsageError
from shroff.language.values import DAY_MS
from shroff.models.definitions import ModelSettings
from shroff.models.evaluation import baselines as beside
from shroff.models.evaluation.baselines import Baseline
from shroff.models.evaluation.estimates import Difference, Estimate, Estimates, difference, estimate, reasons_of_folds
from shroff.models.evaluation.intervals import Blocks, key_blocks
from shroff.models.evaluation.metrics import DECLINE, Bin, RowsOfFold, Terms, calibration_curve, judge
from shroff.models.evaluation.slices import Pooled, Slice, columns_of, slices_of
from shroff.models.evaluation.windows import Fold, FoldRows, KnownRows, days_of, rows_of, windows_of
from shroff.models.sets import FRAUD, RecordedDecisions, TrainingSet
from shroff.runtime.texts import percent
from shroff.runtime.values import FrozenStruct, replace

Score = Callable[[TrainingSet], Floats]
Learn = Callable[[TrainingSet, KnownRows], Score]
Progress = Callable[[int, int], None]  # finished folds, and their total


class FoldReport(FrozenStruct):
    """Figures of a fold. `why` is the reason if it has no model."""

    fold: Fold
    train_rows: int
    train_frauds: int
    test_rows: int
    test_frauds: int
    immature: int
    unclear: int
    compromised: int
    declined: int  # test rows that the system itself declined
    why: str = ""


class Compared(FrozenStruct):
    """A baseline compared with the model on identical rows.

    Args:
        ours: Metrics of the model on the same rows, which exclude those that the baseline has learned from.
        differences: Model minus baseline, for each metric.
        rows: Number of these rows.
    """

    about: str
    metrics: dict[str, Estimate]
    ours: dict[str, Estimate]
    differences: dict[str, Difference]
    rows: int
    frauds: int


class Tested(FrozenStruct):
    """The test rows of all folds with a model: indexes into the set, scores, verdicts."""

    rows: Ints
    folds: Ints
    scores: Floats
    frauds: Bools


class Evaluation(FrozenStruct):
    """Complete evaluation of a model before promotion.

    Args:
        metrics: Each with its mean over folds, interval and folds.
        compared: Comparisons by name: `champion`, `rules_only`, `best_rule`, `approve_all`.
        curve: Mean score and share of frauds in bins of equally many rows, over all folds.
        without_give_away: Metrics of a model without the inputs that reveal the answer; empty if none are named.
        drawn: What was resampled for the intervals and why, in a sentence.
        remarks: Sentences that a reader must know with the numbers.
        money_places: Decimals of the project's money.
    """

    event: str
    folds: tuple[FoldReport, ...]
    metrics: dict[str, Estimate]
    compared: dict[str, Compared]
    slices: tuple[Slice, ...]
    curve: tuple[Bin, ...]
    without_give_away: dict[str, Estimate]
    give_away: tuple[str, ...]
    drawn: str
    remarks: tuple[str, ...]
    tested: Tested
    money_places: int = 2


class _ScoredFold(FrozenStruct):
    """A fold with a model: the tested rows of the set, and their scores."""

    number: int
    rows: Ints
    as_read: RowsOfFold
    scores: Floats


class _Judging(FrozenStruct):
    """The common terms by which the model and all baselines are measured."""

    settings: ModelSettings
    terms: Terms
    parts: tuple[_ScoredFold, ...]
    blocks: Blocks
    k: int | None = field(default=None)

    def estimate(self, baseline: Baseline | None = None) -> Estimates:
        """Estimate the metrics of the folds' own scores, or of a baseline."""
        judged_folds = []
        for part in self.parts:
            scores = part.scores if baseline is None else baseline.scores[part.rows]
            outcomes_given = None if baseline is None else baseline.outcomes
            outcomes = self.terms.outcomes(scores) if outcomes_given is None else outcomes_given[part.rows]
            probable = baseline is None or baseline.are_probabilities
            judged_folds.append(judge(part.as_read, scores, outcomes, are_probabilities=probable))
        return estimate(judged_folds, self.terms, self.k, self.blocks, self.settings.seed)


def evaluate(
    training_set: TrainingSet,
    settings: ModelSettings,
    terms: Terms,
    learn: Learn,
    *,
    champion: Baseline | None = None,
    rules: Baseline | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a way of learning on the folds of a set.

    Args:
        learn: Takes the set and the rows to train on; returns a function that scores the rows of a set.
        champion: The active model (`baselines.champion`); None if there is none.
        rules: The outcomes of rules alone (`baselines.rules_only`); by default the recorded outcomes.

    Raises: UsageError with the reason if no fold has a model.
    """
    windows = windows_of(settings.split, settings.label_delay_ms, training_set.as_of_ms)
    parted = [rows_of(training_set, window, settings.label_delay_ms, window.train_start_ms) for window in windows]
    parts = []
    reports = []
    for number, (fold, rows) in enumerate(zip(windows, parted, strict=True)):
        part, why = _learnt(training_set, fold, rows, number, terms, learn)
        if part is not None:
            parts.append(part)
        reports.append(_report(training_set.recorded, fold, rows, why))
        if progress is not None:
            progress(number + 1, len(windows))
    if not parts:
        reasons = reasons_of_folds([report.why.rstrip(".") for report in reports])
        raise UsageError(f"no fold of {settings.event} has a model that can be evaluated: {reasons}.")
    judging = _judging(settings, terms, parts)
    tested = _tested(parts)
    estimates = judging.estimate()
    baselines = (
        champion,
        rules or beside.rules_only(training_set.recorded.outcomes),
        beside.best_rule(training_set.recorded, tested.rows, tested.frauds),
        beside.approve_all(len(training_set)),
    )
    remarks = _remarks(training_set, tested, reports, champion)
    return Evaluation(
        settings.event,
        tuple(reports),
        estimates.by_name,
        {
            other.name: _compared(judging, other, estimates, training_set.times_ms)
            for other in baselines
            if other is not None
        },
        tuple(_slices(training_set, judging, tested, champion)),
        tuple(_curve(judging, tested)),
        _without_give_away(training_set, settings, terms, learn, parted, parts),
        settings.give_away,
        f"{judging.blocks.count} of kind {judging.blocks.kind}: {judging.blocks.why}.",
        tuple(remarks),
        tested,
        terms.money_places,
    )


def _learnt(
    training_set: TrainingSet, fold: Fold, rows: FoldRows, number: int, terms: Terms, learn: Learn
) -> tuple[_ScoredFold | None, str]:
    if len(rows.test.rows) == 0:
        return None, "there are no rows to test on"
    try:
        scores = learn(training_set, rows.train)(training_set.take(rows.test.rows))
    except UsageError as error:
        return None, str(error)
    as_read = rows_read(
        training_set, rows.test.rows, rows.test.verdicts, days_of(training_set, fold), terms.money_places
    )
    return _ScoredFold(number, rows.test.rows, as_read, scores), ""


def rows_read(training_set: TrainingSet, rows: Ints, verdicts: Ints8, days: Ints, money_places: int) -> RowsOfFold:
    """Return rows of a set with their verdicts for metrics; `days` has the day of each row of the set."""
    amounts = training_set.amounts_minor[rows] / 10.0**money_places
    return RowsOfFold(verdicts == FRAUD, amounts, days[rows], training_set.keys[rows], training_set.weights(rows))


def _report(recorded: RecordedDecisions, fold: Fold, rows: FoldRows, why: str) -> FoldReport:
    return FoldReport(
        fold,
        len(rows.train.rows),
        count_true(rows.train.verdicts == FRAUD),
        len(rows.test.rows),
        count_true(rows.test.verdicts == FRAUD),
        rows.train.immature + rows.test.immature,
        rows.train.unclear + rows.test.unclear,
        rows.compromised,
        count_true(recorded.outcomes[rows.test.rows] == DECLINE),
        why,
    )


def _judging(settings: ModelSettings, terms: Terms, parts: Sequence[_ScoredFold]) -> _Judging:
    capacity = settings.capacity
    blocks = key_blocks([part.as_read.keys for part in parts], capacity.entity if capacity else "")
    return _Judging(settings, terms, tuple(parts), blocks, capacity.k if capacity else None)


def _tested(parts: Sequence[_ScoredFold]) -> Tested:
    return Tested(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([np.full(len(part.rows), part.number) for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.as_read.frauds for part in parts]),
    )


def _compared(judging: _Judging, baseline: Baseline, model_estimates: Estimates, times_ms: Ints) -> Compared:
    """Compare a baseline and the model on rows that the baseline has not learned from."""
    if baseline.since_ms is not None and any((times_ms[part.rows] < baseline.since_ms).any() for part in judging.parts):
        since_ms = baseline.since_ms
        parts = [_cut(part, times_ms[part.rows] >= since_ms) for part in judging.parts]
        parts = [part for part in parts if len(part.rows)]
        if not parts:
            return Compared(baseline.about, {}, {}, {}, 0, 0)
        judging = _judging(judging.settings, judging.terms, parts)
        model_estimates = judging.estimate()
    baseline_estimates = judging.estimate(baseline)
    differences = {name: difference(model_estimates, baseline_estimates, name) for name in model_estimates.by_name}
    rows = sum(len(part.rows) for part in judging.parts)
    frauds = sum(count_true(part.as_read.frauds) for part in judging.parts)
    return Compared(baseline.about, baseline_estimates.by_name, model_estimates.by_name, differences, rows, frauds)


def _cut(part: _ScoredFold, selected: Bools) -> _ScoredFold:
    return _ScoredFold(part.number, part.rows[selected], part.as_read.take(selected), part.scores[selected])


def _slices(training_set: TrainingSet, judging: _Judging, tested: Tested, champion: Baseline | None) -> list[Slice]:
    columns = {
        name: column[tested.rows] for name, column in columns_of(training_set, judging.terms.money_places).items()
    }
    champion_scores = None
    if champion is not None:
        is_fair = training_set.times_ms[tested.rows] >= (champion.since_ms or 0)
        champion_scores = np.where(is_fair, champion.scores[tested.rows], np.nan)
    pooled = Pooled(
        _pooled_rows(judging.parts),
        tested.scores,
        champion_scores,
        np.concatenate(judging.blocks.of_rows),
        judging.blocks.count,
    )
    return slices_of(columns, pooled, judging.terms, judging.settings.seed)


def _curve(judging: _Judging, tested: Tested) -> list[Bin]:
    scores = tested.scores
    return calibration_curve(judge(_pooled_rows(judging.parts), scores, judging.terms.outcomes(scores)))


def _pooled_rows(parts: Sequence[_ScoredFold]) -> RowsOfFold:
    read = [part.as_read for part in parts]
    return RowsOfFold(
        np.concatenate([part.frauds for part in read]),
        np.concatenate([part.amounts for part in read]),
        np.concatenate([part.days for part in read]),
        np.concatenate([part.keys for part in read]),
        None if read[0].counts is None else np.concatenate([part.times(None) for part in read]),
    )


def _without_give_away(
    training_set: TrainingSet,
    settings: ModelSettings,
    terms: Terms,
    learn: Learn,
    parted: Sequence[FoldRows],
    parts: Sequence[_ScoredFold],
) -> dict[str, Estimate]:
    revealing = frozenset(settings.give_away)
    inputs = tuple(input_ for input_ in training_set.inputs if input_.name not in revealing)
    if not revealing or not inputs:
        return {}
    bare = replace(training_set, inputs=inputs)
    reduced = [replace(part, scores=learn(bare, parted[part.number].train)(bare.take(part.rows))) for part in parts]
    return _judging(settings, terms, reduced).estimate().by_name


def _remarks(
    training_set: TrainingSet, tested: Tested, reports: Sequence[FoldReport], champion: Baseline | None
) -> list[str]:
    remarks = [f"Fold {number} has no model: {report.why}" for number, report in enumerate(reports, 1) if report.why]
    declined = count_true(training_set.recorded.outcomes[tested.rows] == DECLINE)
    if declined:
        share = declined / len(tested.rows)
        remarks.append(
            f"{declined:,} of {len(tested.rows):,} test rows ({percent(share, '.1')}) were declined by the system "
            "itself. Their labels come from reviews only, and what would have followed is unknown: both are biased."
        )
    stands_for = training_set.recorded.stands_for
    if stands_for is not None and (stands_for[tested.rows] > 0).any():
        counts = stands_for[tested.rows][stands_for[tested.rows] > 0]
        remarks.append(
            f"{len(counts):,} test rows were drawn (declines that were explored, approved frauds that only the sample "
            f"found) and represent {counts.sum():,.0f} such events; other such declines are left out. Metrics use "
            "these weights, except those that are one number a day."
        )
    if champion is not None and champion.since_ms is not None:
        fair = count_true(training_set.times_ms[tested.rows] >= champion.since_ms)
        if fair < len(tested.rows):
            remarks.append(
                f"{len(tested.rows) - fair:,} of {len(tested.rows):,} test rows lie before the end of the champion's "
                f"training data, so the two are compared on the other {fair:,}."
            )
    days = max((report.fold.test_end_ms - report.fold.test_start_ms for report in reports), default=0) // DAY_MS
    if any(report.test_rows and not report.test_frauds for report in reports):
        remarks.append(f"Some tests of {days} days hold no fraud; metrics that need one leave those folds out.")
    return remarks
