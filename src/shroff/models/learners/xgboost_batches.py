"""Rows for XGBoost in parts: it keeps their bins, one byte a value, instead of the numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import xgboost

from shroff.arrays import Floats
from shroff.models.learners.column_files import spans


class Batches(xgboost.DataIter):
    """Some rows of a matrix, read part by part as often as the library asks for them (four times).

    The bins do not depend on the parts, because the library computes their bounds value by value.

    Args:
        matrix: Returns rows.
        part: Range of the rows.
        kinds: For each column `q` for a number or `c` for a category.
        weights: Weight of each row for the bounds of bins; equal by default.
    """

    def __init__(
        self,
        matrix: Callable[[slice], Floats],
        part: slice,
        frauds: Floats,
        kinds: Sequence[str],
        weights: Floats | None = None,
    ) -> None:
        self._matrix = matrix
        self._first = part.start
        self._frauds = frauds[part]
        self._kinds = list(kinds)
        self._weights = None if weights is None else weights[part]
        self._parts: Iterator[slice] = iter(())
        super().__init__()

    def reset(self) -> None:
        """Restart the iteration; called by XGBoost."""
        self._parts = spans(len(self._frauds))

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Pass on the next part; called by XGBoost. Return False at the end."""
        part = next(self._parts, None)
        if part is None:
            return False
        rows = self._matrix(slice(self._first + part.start, self._first + part.stop))
        weights = None if self._weights is None else self._weights[part]
        input_data(data=rows, label=self._frauds[part], weight=weights, feature_types=self._kinds)
        return True
