"""Boosting by LightGBM, which is an extra: `pip install 'shroff[lightgbm]'`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from shroff.errors import UsageError
from shroff.json_types import JsonObject
from shroff.models.columns import CATEGORY
from shroff.models.learners.learned import Learned, LearningPlan, TrainingRows, named, weights_of

FILE = "model.txt"
_NAMES = {
    "depth": "max_depth",
    "leaves": "num_leaves",
    "learning_rate": "learning_rate",
    "min_weight": "min_sum_hessian_in_leaf",
    "min_gain": "min_gain_to_split",
    "rows": "bagging_fraction",
    "columns": "feature_fraction",
    "bins": "max_bin",
    "l1": "lambda_l1",
    "l2": "lambda_l2",
}
BOOSTED: Final[Mapping[str, float]] = {
    "leaves": 31,
    "depth": 6,
    "learning_rate": 0.05,
    "min_weight": 1,
    "rows": 0.8,
    "columns": 0.8,
    "l2": 1,
    "bins": 255,
}
TREES_MAX = 600
PATIENCE = 40
_TREES_WITHOUT_STOP = 200
# LightGBM writes its settings into the model; the number of threads is no part of what was learned.
_THREADS = re.compile(r"^\[num_threads: \d+\]\n", re.MULTILINE)


def learn(rows: TrainingRows, plan: LearningPlan) -> Learned:
    """Train trees by LightGBM. Without the parameter `trees`, trees are added while the rows from `stop` on improve.

    Raises: UsageError if LightGBM is not installed.
    """
    try:
        import lightgbm
    except ImportError:
        raise UsageError(
            "the learner lightgbm needs LightGBM, which is not installed. Install it with "
            "pip install 'shroff[lightgbm]', or write learner: xgboost in model.yaml."
        ) from None
    parameters = {**BOOSTED, **plan.parameters}
    has_later = rows.stop < len(rows.frauds)
    tree_limit = int(parameters.get("trees", TREES_MAX if has_later else _TREES_WITHOUT_STOP))
    train = _set(lightgbm, rows, slice(0, rows.stop), parameters)
    stops = has_later and "trees" not in parameters
    later = [_set(lightgbm, rows, slice(rows.stop, None), parameters, train)] if stops else []
    calls: list[Callable[..., Any]] = [lightgbm.early_stopping(PATIENCE, verbose=False)] if stops else []
    booster = lightgbm.train(_settings(plan, parameters), train, tree_limit, valid_sets=later, callbacks=calls)
    trees = booster.best_iteration if stops else booster.current_iteration()
    text = booster.model_to_string(num_iteration=trees)
    return Learned(
        "lightgbm",
        {FILE: _THREADS.sub("", text).encode()},
        np.asarray(booster.feature_importance("gain", iteration=trees), np.float64),
        trees,
        {**parameters, "trees": trees},
        {"lightgbm": lightgbm.__version__},
    )


def _settings(plan: LearningPlan, parameters: Mapping[str, float]) -> JsonObject:
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "seed": plan.seed,
        "num_threads": plan.threads,
        "deterministic": True,
        "force_row_wise": True,
        "bagging_freq": 1,
        "verbosity": -1,
        **named(parameters, _NAMES),
    }


def _set(library: Any, rows: TrainingRows, part: slice, parameters: Mapping[str, float], like: Any = None) -> Any:
    return library.Dataset(
        np.asfortranarray(rows.matrix(part)),
        rows.frauds[part],
        weight=weights_of(rows, parameters)[part],
        reference=like,
        categorical_feature=[index for index, input_ in enumerate(rows.inputs) if input_.kind == CATEGORY],
        params={"verbosity": -1, "max_bin": int(parameters["bins"]), "feature_pre_filter": False},
    )
