"""Learners: from columns and verdicts to a model file, with equal bytes for equal rows, seed and library version.

Each learner writes its library's own format (logistic regression and isolation forest our own JSON). The number of
threads changes nothing: XGBoost's gradients are rounded so that their sums are exact in any order, LightGBM runs in
deterministic mode, and the rest runs on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shroff.arrays import Floats, Ints8, count_true
from shroff.errors import UsageError
from shroff.models.columns import CATEGORY
from shroff.models.definitions import learners
from shroff.models.learners.column_files import StoredColumn, Values, coded_by
from shroff.models.learners.learned import Fitted, Learned, LearningPlan, TrainingRows
from shroff.models.model import InputColumn
from shroff.models.sets import FRAUD, GENUINE, Input
from shroff.runtime.entry_points import LEARNERS, installed
from shroff.runtime.process_wide import threads_asleep

if TYPE_CHECKING:
    from shroff.models.learners.cluster import Growing

# More texts are not distinguished: LightGBM and XGBoost split a set of a thousand in reasonable time, and rarer texts
# have too few events to learn from.
CATEGORIES_MAX = 1_000
ROWS_MIN = 20
FRAUDS_MIN = 2
UNSUPERVISED = frozenset(["isolation"])


def fit(
    learner: str,
    inputs: Sequence[Input],
    verdicts: Ints8,
    weights: Floats | None,
    plan: LearningPlan,
    *,
    stop: int | None = None,
    growing: Growing | None = None,
) -> Fitted:
    """Train on rows in time order.

    Args:
        verdicts: FRAUD or GENUINE for each row; an unsupervised learner ignores them.
        weights: Weight of each row; None for equal weights.
        stop: Rows from here on only decide when to stop adding trees (boosting without `trees`), and train nothing.
        growing: Cluster that grows the trees of the learner xgboost; None for this process.

    Raises: UsageError if there is nothing to learn from, the learner's library is not installed, or the cluster does
    not support the learner.
    """
    names = learners(learner)
    if learner not in names:
        raise UsageError(f"there is no learner {learner!r}. There are {', '.join(names)}.")
    count = len(verdicts)
    stop = count if stop is None else stop
    check_rows(learner, inputs, verdicts[:stop])
    columns = tuple(known_column(input_, stop) for input_ in inputs)
    rows = TrainingRows(
        tuple(columns_for(columns, inputs)),
        columns,
        (verdicts == FRAUD).astype(np.float64),
        np.ones(count) if weights is None else weights.astype(np.float64),
        stop,
    )
    with threads_asleep():
        learned = _learn(learner, rows, plan) if growing is None else _learn_on(growing, learner, rows, plan)
    total = float(learned.gains.sum())
    shares = learned.gains / total if total > 0 else np.zeros(len(columns))
    return Fitted(
        learned.format,
        learned.files,
        columns,
        {input_.name: round(float(share), 6) for input_, share in zip(columns, shares, strict=True)},
        learned.trees,
        {"learner": learner, "seed": plan.seed, **learned.parameters},
        learned.libraries,
        (*remarks_of(inputs, columns, stop), *learned.remarks),
        gives=learned.gives,
    )


def check_rows(learner: str, inputs: Sequence[Input], verdicts: Ints8) -> None:
    """Check that a model can be trained on these rows.

    Raises: UsageError with the reason.
    """
    count = len(verdicts)
    frauds = count_true(verdicts == FRAUD)
    genuine = count_true(verdicts == GENUINE)
    if not inputs:
        raise UsageError("the model has no inputs, so there is nothing to learn from.")
    if learner not in UNSUPERVISED and frauds + genuine < count:
        raise UsageError(f"{count - frauds - genuine} of {count} rows to train on have no verdict.")
    if count < ROWS_MIN:
        raise UsageError(
            f"there are {count} rows to train on, and a model needs {ROWS_MIN} at least. "
            "Widen split.train in model.yaml, or ingest more events and labels."
        )
    if learner not in UNSUPERVISED and min(frauds, genuine) < FRAUDS_MIN:
        raise UsageError(
            f"of {count} rows to train on {frauds} are frauds and {genuine} genuine, and a model needs {FRAUDS_MIN} of "
            "each. Add labels with 'shroff label', widen split.train in model.yaml, or start without labels: "
            "learner: isolation."
        )


def known_column(input_: Input, stop: int) -> InputColumn:
    """Return an input with the categories that occur before row `stop`, at most the CATEGORIES_MAX most frequent."""
    if input_.kind != CATEGORY:
        return InputColumn(input_.name, input_.kind)
    codes = input_.values[:stop]
    counts = np.bincount(codes[np.isfinite(codes)].astype(np.int64), minlength=len(input_.categories))
    # Categories are sorted, so of equally frequent ones the first by text stays.
    frequent = np.sort(np.argsort(-counts, kind="stable")[:CATEGORIES_MAX])
    return InputColumn(
        input_.name, input_.kind, tuple(input_.categories[code] for code in frequent.tolist() if counts[code])
    )


def columns_for(model_columns: Sequence[InputColumn], inputs: Sequence[Input]) -> list[Values]:
    """Return the columns that a model reads from those of a set: categories by the model's own codes, NaN if
    unknown.
    """
    by_name = {input_.name: input_ for input_ in inputs}
    return [_column(column, by_name[column.name]) for column in model_columns]


def _column(column: InputColumn, input_: Input) -> Values:
    if column.kind != CATEGORY or column.categories == input_.categories:
        return input_.values
    code_of = {text: float(code) for code, text in enumerate(column.categories)}
    new_codes = np.array([*(code_of.get(text, np.nan) for text in input_.categories), np.nan])
    return (
        input_.values.through(new_codes)
        if isinstance(input_.values, StoredColumn)
        else coded_by(input_.values, new_codes)
    )


def remarks_of(inputs: Sequence[Input], columns: Sequence[InputColumn], stop: int) -> list[str]:
    """Return remarks about inputs for the report: always missing, constant, or truncated."""
    remarks = []
    for input_, column in zip(inputs, columns, strict=True):
        values = input_.values[:stop]
        values = values[~np.isnan(values)]
        texts = len(np.unique(values)) if input_.kind == CATEGORY else 0
        if len(values) == 0:
            remarks.append(f"{input_.name} is missing in every row to train on.")
        elif len(values) == stop and values.min() == values.max():
            remarks.append(f"{input_.name} is the same in every row to train on.")
        elif texts > len(column.categories):
            remarks.append(
                f"{input_.name} has {texts:,} texts; the model knows the {len(column.categories):,} most frequent, "
                "and treats all others as missing."
            )
    return remarks


def _learn(learner: str, rows: TrainingRows, plan: LearningPlan) -> Learned:
    # The libraries take up to two seconds to load, so each is imported only if needed.
    if learner in {"xgboost", "forest"}:
        from shroff.models.learners import xgboost as learners_xgboost

        return learners_xgboost.learn(rows, plan, is_forest=learner == "forest")
    if learner == "lightgbm":
        from shroff.models.learners import lightgbm as learners_lightgbm

        return learners_lightgbm.learn(rows, plan)
    if learner == "logistic":
        from shroff.models.learners import logistic as learners_logistic

        return learners_logistic.learn(rows, plan)
    if learner == "isolation":
        from shroff.models.learners import isolation as learners_isolation

        return learners_isolation.learn(rows, plan)
    learned: Learned = installed(LEARNERS)[learner](rows, plan)
    return learned


def _learn_on(growing: Growing, learner: str, rows: TrainingRows, plan: LearningPlan) -> Learned:
    from shroff.models.learners import cluster as learners_cluster

    check_grown(learner)
    return learners_cluster.learn(rows, plan, growing)


def check_grown(learner: str) -> None:
    if learner != "xgboost":
        raise UsageError(
            f"a cluster trains learner xgboost alone; learner {learner} is for --backend local. Write learner: xgboost "
            "in model.yaml, or leave --backend out."
        )
