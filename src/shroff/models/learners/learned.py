"""What the module of a learner gets, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from shroff.models.learners.filed import Values
from shroff.models.model import LOG_ODDS, InputColumn
from shroff.models.sets import Floats


@dataclass(frozen=True, slots=True)
class Rows:
    """What a learner gets: a row for each event, a column for each input, by time.

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


@dataclass(frozen=True, slots=True)
class Plan:
    """How a learner is to learn; parameters are numbers by their names in model.yaml."""

    parameters: Mapping[str, float]
    seed: int
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Learned:
    """What the module of a learner gives back; `gains` has a number for each input."""

    format: str
    files: dict[str, bytes]
    gains: Floats
    trees: int
    parameters: dict[str, object]
    libraries: dict[str, str]
    remarks: tuple[str, ...] = field(default=())
    gives: str = LOG_ODDS
