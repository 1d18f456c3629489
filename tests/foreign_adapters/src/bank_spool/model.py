"""A learner that gives every event the share of frauds, and a metric: how much higher frauds score in the mean."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from shroff.plugins.models import Learned, LearningPlan, Metric, TrainingRows


def learn(rows: TrainingRows, plan: LearningPlan) -> Learned:
    frauds = rows.frauds[: rows.stop]
    share = float(np.average(frauds, weights=rows.weights[: rows.stop]))
    told = {"l2": 1.0, **plan.parameters}
    inputs = [_input(column) for column in rows.inputs]
    document = {"format": "logistic", "version": 1, "start": float(np.log(share / (1 - share))), "inputs": inputs}
    files = {"logistic.json": json.dumps(document).encode()}
    return Learned("logistic", files, np.zeros(len(inputs)), 0, {"l2": told["l2"]}, {"numpy": np.__version__})


def _input(column: Any) -> dict[str, object]:
    if column.kind == "category":
        return {"kind": "category", "weights": [0.0] * len(column.categories), "missing": 0.0}
    return {"kind": "number", "mean": 0.0, "scale": 1.0, "weight": 0.0, "missing": 0.0}


def lift(scores: Any, frauds: Any, weights: Any) -> float:
    if not weights[frauds].sum() or not weights[~frauds].sum():
        return float("nan")
    return float(
        np.average(scores[frauds], weights=weights[frauds]) - np.average(scores[~frauds], weights=weights[~frauds])
    )


LIFT = Metric("spool_lift", "How much higher frauds score than genuine events, in the mean.", compute=lift)
