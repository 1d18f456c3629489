"""Small models that XGBoost made, in the registry of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from shroff.models.learners.learned import Fitted, LearningPlan
from shroff.models.learners.learner import fit
from shroff.models.registry import GateResult, Registry, Stored
from shroff.models.sets import Input

ROWS = 300


def train(
    models: Registry,
    id_: str,
    inputs: Sequence[str] = ("payment.amount", "card.payments_1h"),
    *,
    categories: Mapping[str, tuple[str, ...]] | None = None,
    event: str = "payment",
    seed: int = 1,
    gates: Sequence[GateResult] = (),
    metrics: Mapping[str, Any] | None = None,
    **more: object,
) -> Stored:
    """Put a model that was fitted to made-up rows into a registry; another seed is another model.

    What is given beside stands in its manifest.
    """
    known = dict(categories or {})
    fitted = fitted_to(tuple((name, known.get(name, ())) for name in inputs), seed)
    shapes: list[dict[str, Any]] = [
        {"name": path.name, "kind": path.kind, "categories": list(path.categories)} for path in fitted.inputs
    ]
    manifest = {"id": id_, "event": event, "format": fitted.format, "learner": "xgboost", "inputs": shapes, **more}
    return models.write(manifest, fitted.files, metrics=metrics or {"auc_roc": {"mean": 0.9}}, gates=gates)


@cache
def fitted_to(shapes: tuple[tuple[str, tuple[str, ...]], ...], seed: int) -> Fitted:
    random = np.random.default_rng(seed)
    columns: list[Input] = []
    total = random.normal(0, 0.5, ROWS)
    for name, categories in shapes:
        kind = "category" if categories else "number"
        values = random.integers(0, len(categories), ROWS) * 1.0 if categories else random.lognormal(2, 2, ROWS)
        total += values / (1 + np.abs(values))
        values[:: random.integers(5, 20)] = np.nan
        columns.append(Input(name, kind, values, categories))
    verdicts = (total > np.median(total)).astype(np.int8)
    return fit("xgboost", columns, verdicts, None, LearningPlan.of({"trees": "20"}, seed))
