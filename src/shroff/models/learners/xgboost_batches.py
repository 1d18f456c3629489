"""Rows as XGBoost takes them part by part: it keeps their bins, a byte for each value, and no number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import xgboost

from shroff.arrays import Floats
from shroff.models.learners.column_files import spans


class Batches(xgboost.DataIter):
    """Some rows of a matrix that is read part by part, as often as the library asks for it (four times).

    Bins do not hang on the parts: the library looks for their bounds value after value.

    Args:
        matrix: Gives some rows.
        part: Which rows are meant.
        kinds: `q` for a number, `c` for a category, for each column.
        weights: How much each row counts where bins are bounded, of all rows; alike where left out.
    """

    def __init__(
        self,
        matrix: Callable[[slice], Floats],
        part: slice,
        frauds: Floats,
        kinds: Sequence[str],
        weights: Floats | None = None,
    ) -> None:
        self._matrix, self._first, self._frauds, self._kinds = matrix, part.start, frauds[part], list(kinds)
        self._weights = None if weights is None else weights[part]
        self._parts: Iterator[slice] = iter(())
        super().__init__()

    def reset(self) -> None:
        """Restart the iteration; called by XGBoost."""
        self._parts = spans(len(self._frauds))

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Pass on the next part; called by XGBoost."""
        part = next(self._parts, None)
        if part is None:
            return False
        rows = self._matrix(slice(self._first + part.start, self._first + part.stop))
        weights = None if self._weights is None else self._weights[part]
        input_data(data=rows, label=self._frauds[part], weight=weights, feature_types=self._kinds)
        return True
