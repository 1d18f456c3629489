"""Models of the registry as fitted classifiers of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import BaseEstimator, ClassifierMixin

from shroff.arrays import Floats, Ints
from shroff.errors import UsageError, nearest
from shroff.models.columns import CATEGORY

if TYPE_CHECKING:
    from shroff.models.model import InputColumn
    from shroff.models.registry import Registry
    from shroff.worker.answers import ArrowStream


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A trained model for scikit-learn's metrics, displays and inspection tools.

    Attributes: `classes_` is `array([0, 1])`, 1 being fraud; `feature_names_in_` are the inputs, in their order.
    """

    def __init__(self, registry: Registry, id_: str) -> None:
        self.registry, self.id_, self.model = registry, id_, registry.load(id_)
        self.classes_ = np.array([0, 1])
        self.feature_names_in_ = np.array([input_.name for input_ in self.model.inputs], dtype=object)
        self.n_features_in_ = len(self.model.inputs)

    def __sklearn_clone__(self) -> Classifier:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the model's name: unpickling reads its registry again, so `n_jobs` works and no code is stored."""
        return Classifier, (type(self.registry)(self.registry.folder), self.id_)

    def fit(self, *_: object, **__: object) -> Classifier:
        """Raises: UsageError, because a model of the registry is fixed; `Project.train` trains a new one."""
        raise UsageError(f"{self.model.id} is trained already; 'project.train' makes another model.")

    def predict_proba(self, frame: ArrowStream | Sequence[Sequence[float]]) -> Floats:
        """Compute calibrated probabilities, as they are recorded with decisions (to six decimal places).

        Args:
            frame: A pandas or Polars data frame or an Arrow table with a column for each input, such as
                `rows.parquet` of a training set; others are ignored. Or numbers in the order of `feature_names_in_`,
                of shape (n, inputs). Money is in whole units, durations are in seconds; an unknown category counts as
                missing.

        Returns: Floats of shape (n, 2): the probabilities of genuine and of fraud.
        Raises: UsageError if an input has no column, or holds something else than its kind of values.
        """
        if hasattr(frame, "__arrow_c_stream__"):
            table = pa.table(frame)
            columns = [self._column(table, input_) for input_ in self.model.inputs]
        else:
            numbers = np.asarray(frame, np.float64)
            if numbers.ndim != 2 or numbers.shape[1] != self.n_features_in_:
                what = f"expected a frame, or numbers of shape (n, {self.n_features_in_})"
                raise UsageError(f"{what}, found the shape {numbers.shape}.")
            columns = [*np.ascontiguousarray(numbers.T)]
        scores = self.model.scores(columns)
        return np.column_stack([1.0 - scores, scores])

    def predict(self, frame: ArrowStream | Sequence[Sequence[float]]) -> Ints:
        """Return 1 for each row with a probability of fraud of at least 0.5; decisions use the policy's thresholds."""
        return (self.predict_proba(frame)[:, 1] >= 0.5).astype(np.int64)

    def _column(self, table: pa.Table, input_: InputColumn) -> Any:
        """Return the values of an input as the model reads them; NaN for missing."""
        if input_.name not in table.column_names:
            hint = nearest(input_.name, table.column_names) or f"It has {', '.join(table.column_names[:8])}."
            raise UsageError(f"the frame has no column {input_.name!r}, which {self.model.id} reads. {hint}")
        column = table[input_.name]
        try:
            if input_.kind == CATEGORY:
                texts = pc.cast(column, pa.string())
                column = pc.index_in(texts, value_set=pa.array(input_.categories, pa.string()), skip_nulls=True)
            elif pa.types.is_timestamp(column.type):
                column = pc.divide(pc.cast(pc.cast(column, pa.timestamp("ms", column.type.tz)), pa.int64()), 1_000.0)
            elif pa.types.is_decimal(column.type):  # through text, which yields the nearest float
                column = pc.cast(column, pa.string())
            return pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowException as error:
            kind = "texts" if input_.kind == CATEGORY else "numbers"
            raise UsageError(f"the column {input_.name!r} should hold {kind}: {error}.") from None
