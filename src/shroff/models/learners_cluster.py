"""Boosting by XGBoost's own distributed training: rows are parted among processes, which grow each tree together.

The processes agree on the bounds of bins from what each has seen, and draw rows by
generators of their own. So the trees are not those of one process, nor those of another
number of processes: a score differs in the mean by about as much as where the same rows
come in another order (`tests/contracts/test_cluster_training.py` holds it to a bound).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from shroff.models.columns import CATEGORY
from shroff.models.learners import Learned, Plan, Rows
from shroff.models.learners_xgboost import (
    BOOSTED,
    FILE,
    PATIENCE,
    TREES_MAX,
    TREES_WITHOUT_STOP,
    log_loss,
    number_of,
    settings_of,
    weights_of,
)
from shroff.models.sets import Floats


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """The rows to train on: a column for each input, what came true, how much each row counts.

    `kinds` has `c` for an input whose numbers are categories, and `q` for any other.
    """

    columns: Floats
    frauds: Floats
    weights: Floats
    kinds: tuple[str, ...]


class TreeCluster(Protocol):
    """Processes that grow trees together; `features.partitioned.Backend` has what else they do."""

    def grow(self, rows: TrainingRows, settings: Mapping[str, Any], trees: int) -> bytes:
        """So many trees as XGBoost writes them in JSON, by its own names of settings; never grown in this process."""


def learn(rows: Rows, plan: Plan, cluster: TreeCluster) -> Learned:
    """Boosted trees as `learners_xgboost.learn` makes them, grown by a cluster.

    Where nothing says how many, all that there may be are grown, and those stay that tell the rows from `stop` on best.
    """
    import xgboost

    told = {**BOOSTED, **plan.parameters}
    weights = weights_of(rows, told)
    kinds = tuple("c" if one.kind == CATEGORY else "q" for one in rows.inputs)
    part = slice(0, rows.stop)
    is_stopped = "trees" not in told and rows.stop < len(rows.frauds)
    wanted = int(told["trees"]) if "trees" in told else TREES_MAX if is_stopped else TREES_WITHOUT_STOP
    given = TrainingRows(rows.columns[part], rows.frauds[part], weights[part], kinds)
    booster = xgboost.Booster(
        model_file=bytearray(cluster.grow(given, settings_of(rows, plan, told, is_forest=False), wanted))
    )
    trees = _best(booster, rows, weights, kinds, wanted) if is_stopped else wanted
    booster = booster[:trees]
    gains = booster.get_score(importance_type="total_gain")
    names = booster.feature_names or [f"f{place}" for place in range(len(rows.inputs))]
    return Learned(
        "xgboost",
        {FILE: bytes(booster.save_raw("json"))},
        np.array([number_of(gains.get(name, 0.0)) for name in names]),
        trees,
        {**told, "trees": trees},
        {"xgboost": xgboost.__version__},
    )


def _best(booster: Any, rows: Rows, weights: Floats, kinds: tuple[str, ...], wanted: int) -> int:
    """How many of the trees tell the later rows best, before there were `PATIENCE` without a better loss."""
    import xgboost

    part = slice(rows.stop, None)
    later = xgboost.DMatrix(
        rows.columns[part],
        feature_names=booster.feature_names,
        feature_types=list(kinds),
        enable_categorical=True,
    )
    best, least = 1, np.inf
    for count in range(1, wanted + 1):
        margins = booster.predict(later, output_margin=True, iteration_range=(0, count))
        loss = log_loss(margins, rows.frauds[part], weights[part])
        if loss < least:
            best, least = count, loss
        elif count - best >= PATIENCE:
            break
    return best
