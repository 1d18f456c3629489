"""Contributions of inputs to a margin, by the libraries' exact TreeSHAP, computed on read.

Lundberg and others: From local explanations to global understanding with explainable AI for trees (2020).
A row costs about half a millisecond for a hundred trees; the library is loaded on first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from shroff.arrays import Floats
from shroff.errors import UsageError
from shroff.models.columns import CATEGORY
from shroff.models.model import InputColumn
from shroff.runtime.process_wide import threads_asleep, without_sklearn

_LARGEST = float(np.finfo(np.float32).max)


class XgboostContributions:
    """Contributions of an XGBoost model: single floats, which sum to the margin within 1e-5 of the sum of their
    sizes.
    """

    def __init__(self, data: bytes, inputs: Sequence[InputColumn], best_iteration: int | None) -> None:
        self._data = data
        self._inputs = inputs
        self._types = ["c" if input_.kind == CATEGORY else "q" for input_ in inputs]
        self._rounds = (0, 0) if best_iteration is None else (0, best_iteration + 1)  # (0, 0) means all

    @cached_property
    def _booster(self) -> Any:
        with threads_asleep(), without_sklearn():
            import xgboost

        booster = xgboost.Booster(model_file=bytearray(self._data))
        booster.set_param({"nthread": 1})
        # Names from training may differ from ours; only the order counts.
        booster.feature_names = None
        booster.feature_types = self._types
        return booster

    def of(self, columns: Floats) -> Floats:
        booster = self._booster
        import xgboost

        # XGBoost rejects infinity here, so the largest single float replaces it and everything above.
        rows = np.clip(known_only(columns, self._inputs), -_LARGEST, _LARGEST).T
        matrix = xgboost.DMatrix(rows, feature_types=self._types, enable_categorical=True, nthread=1)
        contributions = booster.predict(matrix, pred_contribs=True, iteration_range=self._rounds)
        return np.asarray(contributions, np.float64)


class LightgbmContributions:
    """Contributions of a LightGBM model, which sum to the margin within 1e-9 of the sum of their sizes."""

    def __init__(self, data: bytes, inputs: Sequence[InputColumn], best_iteration: int | None) -> None:
        self._data = data
        self._inputs = inputs
        self._rounds = -1 if best_iteration is None else best_iteration + 1  # -1 means all

    @cached_property
    def _booster(self) -> Any:
        try:
            with threads_asleep(), without_sklearn():
                import lightgbm
        except ImportError:
            raise UsageError(
                "the contributions of a LightGBM model are computed by LightGBM, which is not installed."
                " Install it with pip install 'shroff[lightgbm]'; scoring does not need it."
            ) from None
        return lightgbm.Booster(model_str=self._data.decode("utf-8"))

    def of(self, columns: Floats) -> Floats:
        rows = np.ascontiguousarray(known_only(columns, self._inputs).T)
        contributions = self._booster.predict(rows, pred_contrib=True, num_iteration=self._rounds, num_threads=1)
        return np.asarray(contributions, np.float64)


def known_only(columns: Floats, inputs: Sequence[InputColumn]) -> Floats:
    cleaned = columns.copy()
    for values, input_ in zip(cleaned, inputs, strict=True):
        if input_.kind == CATEGORY:
            values[~((values >= 0) & (values < len(input_.categories)))] = np.nan
    return cleaned
