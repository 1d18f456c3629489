"""Logistic regression: the baseline that trees must beat, and a model that fits on a page of JSON.

    {"format": "logistic", "version": 1, "start": -4.2, "inputs": [
      {"kind": "number", "mean": 10.0, "scale": 3.0, "weight": 0.7, "missing": -0.1},
      {"kind": "category", "weights": [0.2, -0.3], "missing": 0.0}]}

The margin is `start`, plus for each input in order: `missing` if it is missing, else `weight * ((value - mean) /
scale)`, or for a category the weight of its code; added from left to right.
"""

from __future__ import annotations

import warnings

import numpy as np
from msgspec.json import encode as to_json

from shroff.arrays import Floats
from shroff.json_types import JsonObject
from shroff.models.columns import CATEGORY
from shroff.models.learners.learned import Learned, LearningPlan, TrainingRows, weights_of

FILE = "logistic.json"
L2 = 1.0
# Rarer categories share the middle, 0: their weights would mean nothing.
CATEGORIES_MAX = 100
_STEPS_MAX = 100


def learn(rows: TrainingRows, plan: LearningPlan) -> Learned:
    """Train weights of standardized numbers and of frequent categories, with separate weights for missing values."""
    import sklearn
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    parameters = {"l2": L2, **plan.parameters}
    columns = [column[: rows.stop] for column in rows.columns]
    parts = [
        _category(column, len(input_.categories)) if input_.kind == CATEGORY else _number(column)
        for column, input_ in zip(columns, rows.inputs, strict=True)
    ]
    design = np.column_stack([part["design"] for part in parts])
    frauds = rows.frauds[: rows.stop]
    weights = weights_of(rows, parameters)[: rows.stop]
    model = LogisticRegression(C=1.0 / max(parameters["l2"], 1e-9), solver="lbfgs", max_iter=_STEPS_MAX)
    # Sums in linear algebra depend on the number of threads. If the solver stops early, the weights are good enough for
    # a baseline.
    with threadpool_limits(limits=1), warnings.catch_warnings():  # noqa: TID251 (trainings have a process of their own)
        warnings.simplefilter("ignore")
        model.fit(design, frauds, sample_weight=weights)
    coefficients = model.coef_[0]
    inputs = []
    gains = []
    start = 0
    for part in parts:
        input_weights = coefficients[start : start + part["design"].shape[1]]
        start += part["design"].shape[1]
        inputs.append(_written(part, input_weights))
        gains.append(float((np.abs(input_weights) * part["design"].std(axis=0)).sum()))
    document = {"format": "logistic", "version": 1, "start": float(model.intercept_[0]), "inputs": inputs}
    return Learned(
        "logistic",
        {FILE: to_json(document)},
        np.array(gains),
        0,
        {name: value for name, value in parameters.items() if name in {"l2", "positive_weight"}},
        {"scikit-learn": sklearn.__version__},
    )


def _number(values: Floats) -> JsonObject:
    """Standardize a number; missing values get the median and an indicator column."""
    is_missing = np.isnan(values)
    present = values[~is_missing]
    fill = float(np.median(present)) if len(present) else 0.0
    filled = np.where(is_missing, fill, values)
    mean = float(filled.mean())
    spread = float(filled.std())
    scale = spread if spread > 0 else 1.0
    standard = (filled - mean) / scale
    design = np.column_stack([standard, is_missing]) if is_missing.any() else standard[:, None]
    return {"kind": "number", "mean": mean, "scale": scale, "fill": fill, "design": design}


def _category(codes: Floats, count: int) -> JsonObject:
    columns = np.where(np.isnan(codes), count, codes).astype(np.int64)
    often = np.bincount(columns, minlength=count + 1)
    frequent = np.sort(np.argsort(-often[:count], kind="stable")[:CATEGORIES_MAX])
    column = np.full(count + 1, len(frequent) + 1)
    column[frequent], column[count] = np.arange(len(frequent)), len(frequent)
    design = np.zeros((len(codes), len(frequent) + 2))
    design[np.arange(len(codes)), column[columns]] = 1.0
    return {"kind": "category", "count": count, "kept": frequent, "design": design[:, : len(frequent) + 1]}


def _written(part: JsonObject, coefficients: Floats) -> JsonObject:
    if part["kind"] == "category":
        weights = np.zeros(part["count"])
        weights[part["kept"]] = coefficients[:-1]
        return {"kind": "category", "weights": weights.tolist(), "missing": float(coefficients[-1])}
    at_fill = float(coefficients[0]) * ((part["fill"] - part["mean"]) / part["scale"])
    missing = at_fill + (float(coefficients[1]) if len(coefficients) > 1 else 0.0)
    return {
        "kind": "number",
        "mean": part["mean"],
        "scale": part["scale"],
        "weight": float(coefficients[0]),
        "missing": missing,
    }
