"""Arguments and result of a learner's module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
from msgspec import field

from shroff.arrays import Floats
from shroff.json_types import TextDict, TextMapping
from shroff.models.learners.column_files import Values
from shroff.models.model import LOG_ODDS, InputColumn
from shroff.runtime.values import FrozenStruct

WHOLE = frozenset(["depth", "leaves", "bins"])  # parameters that are whole numbers


class TrainingRows(FrozenStruct):
    """Input of a learner: a row for each event, a column for each input, by time.

    Args:
        columns: A column for each input, in memory or in a file.
        stop: Where the rows begin that train nothing and only say when there are trees enough; their number for none.
    """

    columns: tuple[Values, ...]
    inputs: tuple[InputColumn, ...]
    frauds: Floats
    weights: Floats
    stop: int

    def matrix(self, part: slice) -> Floats:
        """Some rows with all their columns, in memory, row after row."""
        return np.column_stack([column[part] for column in self.columns])


class LearningPlan(FrozenStruct):
    """Parameters of a learner, as numbers by their names in model.yaml."""

    parameters: Mapping[str, float]
    seed: int
    threads: int = 1

    @classmethod
    def of(cls, parameters: TextMapping, seed: int, threads: int = 1) -> Self:
        """The plan with parameters as model.yaml has them."""
        return cls({name: float(text) for name, text in parameters.items()}, seed, threads)


def weights_of(rows: TrainingRows, told: Mapping[str, float]) -> Floats:
    """Weight of each row; frauds have their own weight."""
    return rows.weights * np.where(rows.frauds > 0, told.get("positive_weight", 1.0), 1.0)


def named(told: Mapping[str, float], names: TextMapping) -> dict[str, float]:
    """Parameters by the names that a library has for them."""
    return {name: int(told[ours]) if ours in WHOLE else told[ours] for ours, name in names.items() if ours in told}


class Learned(FrozenStruct):
    """Result of a learner; `gains` has a number for each input."""

    format: str
    files: dict[str, bytes]
    gains: Floats
    trees: int
    parameters: dict[str, object]
    libraries: TextDict
    remarks: tuple[str, ...] = field(default=())
    gives: str = LOG_ODDS


class Fitted(FrozenStruct):
    """A model as a learner made it.

    Args:
        format: What `models.loaded` reads it by: `xgboost`, `lightgbm`, `logistic` or `isolation`.
        files: Its files by name.
        inputs: What it reads, with the categories that it knows.
        importance: The share of each input in what was gained, by name; all together 1, or 0 where nothing was learned.
        trees: How many it has; 0 for none.
        parameters: All that the learner was told, ours and its own.
        libraries: Versions of the libraries that made it.
        remarks: What was left out or changed, in sentences.
        best_iteration: The last round of boosting that counts, from 0; None for all.
        gives: What its margins mean, as `models.model` names it.
    """

    format: str
    files: dict[str, bytes]
    inputs: tuple[InputColumn, ...]
    importance: dict[str, float]
    trees: int
    parameters: dict[str, object]
    libraries: TextDict
    remarks: tuple[str, ...] = ()
    best_iteration: int | None = None
    gives: str = LOG_ODDS
