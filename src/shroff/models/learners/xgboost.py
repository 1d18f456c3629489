"""Boosting and random forests by XGBoost, with gradients whose sums do not depend on the number of threads.

XGBoost sums gradients by thread, and sums of floats depend on their order. So gradients are computed here and rounded
to multiples of 2^-20: a double holds the sum of 2^30 such numbers exactly, in any order.

Boosting minimizes the log loss. The trees of a forest are grown independently with the squared error from 0, whose best
leaf is its share of frauds and whose gain is Gini's; the margin is their mean. This is Breiman's forest as in
scikit-learn, except for bins instead of exact splits, and sampling of rows without replacement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from shroff.arrays import Floats, Floats32, count_true
from shroff.json_types import JsonMapping, JsonObject
from shroff.models.columns import CATEGORY
from shroff.models.evaluation.metrics import log_loss
from shroff.models.learners.column_files import spans
from shroff.models.learners.learned import Learned, LearningPlan, TrainingRows, named, weights_of
from shroff.models.model import LOG_ODDS, PROBABILITY

FILE = "model.json"
_STEP = 2.0**-20
_NAMES = {
    "depth": "max_depth",
    "leaves": "max_leaves",
    "learning_rate": "learning_rate",
    "min_weight": "min_child_weight",
    "min_gain": "gamma",
    "rows": "subsample",
    "bins": "max_bin",
    "l1": "reg_alpha",
    "l2": "reg_lambda",
}
# Shallow and slow: frauds are few, and deep trees memorize single cards.
BOOSTED: Final[Mapping[str, float]] = {
    "depth": 5,
    "learning_rate": 0.05,
    "min_weight": 1,
    "rows": 0.8,
    "columns": 0.8,
    "l2": 1,
    "bins": 256,
}
FOREST: Final[Mapping[str, float]] = {
    "trees": 200,
    "depth": 12,
    "min_weight": 1,  # events in a leaf
    "rows": 0.63,  # as many different rows as a bootstrap draws
    "columns": 0.5,
    "l2": 0,
    "bins": 512,
}
TREES_MAX = 600
PATIENCE = 40  # trees without a better log loss after which boosting stops
TREES_WITHOUT_STOP = 200


def learn(rows: TrainingRows, plan: LearningPlan, *, is_forest: bool) -> Learned:
    """Train trees by XGBoost. Without the parameter `trees`, boosting adds them while the rows from `stop` on
    improve.
    """
    import xgboost

    parameters = {**(FOREST if is_forest else BOOSTED), **plan.parameters}
    settings = settings_of(rows, plan, parameters, is_forest=is_forest)
    weights = weights_of(rows, parameters)
    counts = _alike(rows) if is_forest else None
    train = _matrix(rows, slice(0, rows.stop), settings, counts=counts)
    count = len(rows.frauds)
    later = _matrix(rows, slice(rows.stop, count), settings, like=train) if rows.stop < count else None
    booster = xgboost.Booster(settings, [train] if later is None else [train, later])
    if is_forest:
        booster.update(train, 0, fobj=_shares(rows, weights))
        trees = int(parameters["trees"])
    else:
        trees = _boost(booster, train, later, rows, weights, parameters)
        booster = booster[:trees]
    names = [f"f{place}" for place in range(len(rows.inputs))]
    return learned_of(booster, names, trees, parameters, gives=PROBABILITY if is_forest else LOG_ODDS)


def learned_of(
    booster: Any,
    names: Sequence[str],
    trees: int,
    parameters: Mapping[str, float],
    remarks: tuple[str, ...] = (),
    gives: str = LOG_ODDS,
) -> Learned:
    """Return a booster's trees, with the total gain of each input by these names."""
    import xgboost

    gains = booster.get_score(importance_type="total_gain")
    return Learned(
        "xgboost",
        {FILE: bytes(booster.save_raw("json"))},
        np.array([np.sum(gains.get(name, 0.0)) for name in names], np.float64),  # categories have a list
        trees,
        {**parameters, "trees": trees},
        {"xgboost": xgboost.__version__},
        remarks,
        gives,
    )


def settings_of(
    rows: TrainingRows, plan: LearningPlan, parameters: Mapping[str, float], *, is_forest: bool
) -> JsonObject:
    # Computed here, since XGBoost would sum up the weights by thread.
    weights = weights_of(rows, parameters)[: rows.stop]
    frauds = rows.frauds[: rows.stop]
    settings: JsonObject = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "base_score": float(np.clip((weights * frauds).sum() / weights.sum(), 1e-6, 1 - 1e-6)),
        "seed": plan.seed,
        "nthread": plan.threads,
        "verbosity": 0,
        **named(parameters, _NAMES),
    }
    if "leaves" in parameters:
        settings["grow_policy"] = "lossguide"
    if is_forest:
        settings |= {"objective": "reg:squarederror", "base_score": 0.0}
        settings |= {
            "learning_rate": 1.0,
            "num_parallel_tree": int(parameters["trees"]),
            "colsample_bynode": parameters["columns"],
        }
    else:
        settings["colsample_bytree"] = parameters["columns"]
    return settings


def kinds_of(rows: TrainingRows) -> list[str]:
    """Return XGBoost's names for the kinds of inputs: `c` for a category, `q` for a number."""
    return ["c" if input_.kind == CATEGORY else "q" for input_ in rows.inputs]


def _alike(rows: TrainingRows) -> Floats:
    """Return weights with which frauds and genuine rows count equally for the bounds of bins.

    Bins with equally many rows separate the few frauds badly: of the largest amounts, nearly all frauds, one bin holds
    most, together with genuine ones. Boosting corrects this tree by tree, a forest cannot.
    """
    frauds = rows.frauds > 0
    count = count_true(frauds[: rows.stop])
    return np.where(frauds, (rows.stop - count) / max(count, 1), 1.0)


def _matrix(
    rows: TrainingRows, part: slice, settings: JsonMapping, *, like: Any = None, counts: Floats | None = None
) -> Any:
    import xgboost

    from shroff.models.learners.xgboost_batches import Batches

    return xgboost.QuantileDMatrix(
        Batches(rows.matrix, part, rows.frauds, kinds_of(rows), counts),
        enable_categorical=True,
        max_bin=settings["max_bin"],
        nthread=settings["nthread"],
        ref=like,
    )


def _gradients(rows: TrainingRows, weights: Floats) -> Any:
    """Return a function of gradient and second derivative of the loss. Memory: 8 bytes for each row."""
    frauds = rows.frauds[: rows.stop]
    weight = weights[: rows.stop]

    def of(margins: Any, _: Any) -> tuple[Floats32, Floats32]:
        slopes = np.empty(len(frauds), np.float32)
        bends = np.empty(len(frauds), np.float32)
        for part in spans(len(frauds)):
            probability = 1.0 / (1.0 + np.exp(-np.asarray(margins[part], np.float64)))
            slopes[part] = np.rint(weight[part] * (probability - frauds[part]) / _STEP) * _STEP
            bend = np.rint(weight[part] * probability * (1.0 - probability) / _STEP) * _STEP
            bends[part] = np.maximum(bend, _STEP)
        return slopes, bends

    return of


def _shares(rows: TrainingRows, weights: Floats) -> Any:
    """Return a function of the derivatives of the squared error at 0: a leaf becomes its weighted share of frauds."""
    frauds = rows.frauds[: rows.stop]
    weight = weights[: rows.stop]

    def of(_: Any, __: Any) -> tuple[Floats32, Floats32]:
        bends = np.maximum(np.rint(weight / _STEP) * _STEP, _STEP)
        return (-bends * frauds).astype(np.float32), bends.astype(np.float32)

    return of


def _boost(
    booster: Any, train: Any, later: Any, rows: TrainingRows, weights: Floats, parameters: Mapping[str, float]
) -> int:
    """Add trees, and return the best number of them: all if `trees` is given or no rows can stop it."""
    if "trees" in parameters:
        tree_count = int(parameters["trees"])
    else:
        tree_count = TREES_WITHOUT_STOP if later is None else TREES_MAX
    gradients = _gradients(rows, weights)
    best = 0
    lowest_loss = np.inf
    for round_ in range(tree_count):
        booster.update(train, round_, fobj=gradients)
        if later is None or "trees" in parameters:
            best = round_ + 1
            continue
        loss = log_loss(booster.predict(later, output_margin=True), rows.frauds[rows.stop :], weights[rows.stop :])
        if loss < lowest_loss:
            best = round_ + 1
            lowest_loss = loss
        elif round_ + 1 - best >= PATIENCE:
            break
    return best
