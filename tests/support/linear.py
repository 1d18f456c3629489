"""A small model for tests: a weight for each input, what is missing counts as nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shroff.arrays import Floats
from shroff.errors import StateError
from shroff.models.model import InputColumn, digest_of
from shroff.models.registry import GateResult, Registry, Stored

WEIGHTS = "model.json"


@dataclass(frozen=True, slots=True)
class Linear:
    """A score around 0.5, moved by each input by up to its weight."""

    id: str
    digest: str
    event: str
    inputs: tuple[InputColumn, ...]
    weights: Sequence[float]
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def margins(self, columns: Sequence[Floats]) -> Floats:
        total = np.zeros(len(columns[0]))
        for column, weight in zip(columns, self.weights, strict=True):
            total += weight * np.where(np.isnan(column), 0.0, column / (1.0 + np.abs(column)))
        return total

    def scores(self, columns: Sequence[Floats]) -> Floats:
        return np.round(0.5 + self.margins(columns) / (2.0 * len(columns)), 6)


def load_linear(manifest: bytes, files: Mapping[str, bytes]) -> Linear:
    """The model of a folder that `put` wrote."""
    found = msgspec.json.decode(manifest)
    if WEIGHTS not in files:
        raise StateError(f"it has no {WEIGHTS}")
    inputs = tuple(
        InputColumn(item["name"], item["kind"], tuple(item.get("categories", ()))) for item in found["inputs"]
    )
    weights = msgspec.json.decode(files[WEIGHTS])
    return Linear(found["id"], digest_of(manifest), found["event"], inputs, weights, found)


def registry(folder: Path) -> Registry:
    return Registry(folder, load_linear)


def put(
    models: Registry,
    id_: str,
    inputs: Mapping[str, float],
    *,
    event: str = "payment",
    categories: Mapping[str, Sequence[str]] | None = None,
    gates: Sequence[GateResult] = (),
) -> Stored:
    """Write a model of these inputs and weights; those with categories read texts."""
    shapes = [
        {"name": name, "kind": "category", "categories": list(categories[name])}
        if categories and name in categories
        else {"name": name, "kind": "number"}
        for name in inputs
    ]
    manifest = {"id": id_, "event": event, "inputs": shapes, "learner": "linear", "made_at": "2026-03-01T00:00:00Z"}
    weights = msgspec.json.encode(list(inputs.values()))
    return models.write(manifest, {WEIGHTS: weights}, metrics={"auc_roc": {"mean": 0.9}}, gates=gates)


def in_force(**events: Mapping[str, Any]) -> str:
    """The text of models/in_force.json."""
    return msgspec.json.encode(events).decode()


def named(stored: Stored, **more: object) -> dict[str, object]:
    """How in_force.json names a model."""
    return {"id": stored.id, "digest": stored.digest, **more}
