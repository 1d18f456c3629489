"""Arguments and result of a learner."""

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

WHOLE = frozenset(["depth", "leaves", "bins"])  # parameters that are integers


class TrainingRows(FrozenStruct):
    """Input of a learner: a row for each event, by time, and a column for each input.

    Args:
        columns: A column for each input, in memory or in a file.
        stop: Rows from here on do not train; they only decide when to stop adding trees. Equal to the number of rows if
            there are none.
    """

    columns: tuple[Values, ...]
    inputs: tuple[InputColumn, ...]
    frauds: Floats
    weights: Floats
    stop: int

    def matrix(self, part: slice) -> Floats:
        """Return some rows with all columns, in memory, in row-major order."""
        return np.column_stack([column[part] for column in self.columns])


class LearningPlan(FrozenStruct):
    """Parameters of a learner as numbers, by their names in model.yaml."""

    parameters: Mapping[str, float]
    seed: int
    threads: int = 1

    @classmethod
    def of(cls, parameters: TextMapping, seed: int, threads: int = 1) -> Self:
        return cls({name: float(text) for name, text in parameters.items()}, seed, threads)


def weights_of(rows: TrainingRows, parameters: Mapping[str, float]) -> Floats:
    """Return the weight of each row, with the parameter `positive_weight` for frauds."""
    return rows.weights * np.where(rows.frauds > 0, parameters.get("positive_weight", 1.0), 1.0)


def named(parameters: Mapping[str, float], names: TextMapping) -> dict[str, float]:
    return {
        name: int(parameters[own_name]) if own_name in WHOLE else parameters[own_name]
        for own_name, name in names.items()
        if own_name in parameters
    }


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
    """A trained model.

    Args:
        format: Format for `models.loaded`: `xgboost`, `lightgbm`, `logistic` or `isolation`.
        inputs: Its inputs, with the categories that it knows.
        importance: Share of each input in the total gain, by name; they sum to 1, or to 0 if nothing was learned.
        trees: Number of trees; 0 for none.
        parameters: All parameters of the training, ours and the library's.
        remarks: Sentences about what was left out or changed.
        best_iteration: Last boosting round to use, from 0; None for all.
        gives: Meaning of its margins, as named in `models.model`.
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
