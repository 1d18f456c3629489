"""Models and training data in notebooks: lists as tables, labeled rows as pandas frames, fitted models as files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shroff.errors import UsageError
from shroff.runtime.texts import Printed, many, one_line, table

if TYPE_CHECKING:
    from shroff.services.models.deployment import ListedModel

CHECKED_ROWS = 1_000  # rows on which a fitted model is checked
SINGLE_TOLERANCE = 1e-5  # for scores of ONNX, which computes in single precision
NO_PANDAS = "this needs pandas: pip install 'shroff[frames]'"
CURE = "Pass the path of its file in XGBoost's, LightGBM's or ONNX format"


class ModelList(Printed, list["ListedModel"]):
    """Models of a registry, shown as a table."""

    def __repr__(self) -> str:
        return table_of(self) if self else "no models: project.train() makes one"


def table_of(models: Sequence[ListedModel]) -> str:
    """Format models as a table; times are UTC, to the minute."""
    rows = [
        (
            model.id,
            one_line(model.made_at[:16].replace("T", " ")) or "-",
            model.event,
            model.role,
            model.learner,
            _state(model),
        )
        for model in models
    ]
    return table(rows, "model made scores role learner gates".split())


def _state(model: ListedModel) -> str:
    if model.problem or not model.is_judged:
        return model.problem or "not judged"
    if model.unwaived:
        return f"failed: {', '.join(model.unwaived)}"
    return f"waived: {', '.join(model.failed)}" if model.failed else "passed"


class TrainingFrame(Printed):
    """Labeled rows of a training set, for pandas and scikit-learn: `X, y = frame`.

    Attributes:
        X: The inputs: numbers are float64 with NaN for missing, amounts in whole units; texts are categories.
        y: 1 for fraud, 0 for genuine.
        rows: `id`, `seq`, `time`, `key`, `amount`, `verdict`, `known_at`, `role`, `weight` and slices of each row, and
            its recorded `outcome`, `score` and `rules`. The index is that of X.
    """

    def __init__(self, x: Any, y: Any, rows: Any) -> None:
        self.X, self.y, self.rows = x, y, rows

    def __iter__(self) -> Iterator[Any]:
        return iter((self.X, self.y))

    def __len__(self) -> int:
        return len(self.y)

    @property
    def train(self) -> TrainingFrame:
        return self._of("train")

    @property
    def test(self) -> TrainingFrame:
        """Rows that test it, all later than those of `train`."""
        return self._of("test")

    def _of(self, role: str) -> TrainingFrame:
        chosen = self.rows.role == role
        return TrainingFrame(self.X[chosen], self.y[chosen], self.rows[chosen])

    def __repr__(self) -> str:
        roles = ", ".join(f"{count:,} {role}" for role, count in self.rows.role.value_counts().items())
        head = f"{many(len(self), 'row')} with {many(self.X.shape[1], 'input')}, {int(self.y.sum()):,} fraud; {roles}"
        return f"{head}\n{self.X.head()}"

    @classmethod
    def read(cls, folder: Path, inputs: Sequence[str], money_places: int) -> TrainingFrame:
        """Read a training set from its folder. Raises: UsageError if pandas is not installed."""
        try:
            import pandas as pd
        except ImportError:
            raise UsageError(NO_PANDAS) from None
        import pyarrow.parquet as pq

        table = pq.read_table(folder / "rows.parquet").to_pandas()
        table = table[table["label"].notna() & table["role"].notna()].reset_index(drop=True)
        x = table[list(inputs)]
        texts = [name for name in inputs if not pd.api.types.is_numeric_dtype(x[name])]
        x = x.astype(dict.fromkeys(texts, "category"))
        rows = table.drop(columns=[*inputs, "label"])
        rows.insert(4, "amount", rows.pop("amount_minor") / 10**money_places)
        return cls(x, table["label"].astype("int64"), rows)


class WrittenModel(NamedTuple):
    """Files of a fitted model: the model, rows with its scores, its inputs, and the category texts.

    `tolerance` is the largest allowed difference of scores; None for the default.
    """

    model: Path
    rows: Path
    inputs: list[str] | dict[str, str]
    categories: dict[str, list[str]]
    tolerance: float | None


def written_model(fitted: Any, check: Any, inputs: Sequence[str] | None, folder: Path) -> WrittenModel:
    """Write a fitted model in its library's own format, with rows and their scores.

    Args:
        fitted: A classifier of XGBoost or LightGBM, or one that skl2onnx converts.
        check: A pandas frame with a column for each input, as the model reads it.
        inputs: Expressions of the inputs, in the order of the columns of `check`; by default the column names.

    Raises: UsageError if the frame does not fit, or the model cannot be written without running code.
    """
    if not hasattr(check, "columns"):
        raise UsageError("a fitted model is checked on a data frame: check=X, with a column for each input.")
    names = [str(name) for name in check.columns] if inputs is None else list(inputs)
    if len(names) != check.shape[1]:
        raise UsageError(f"check has {many(check.shape[1], 'column')}, and inputs names {len(names)}.")
    some = check.head(CHECKED_ROWS)
    some.columns = names
    categories = {name: [*some[name].cat.categories] for name in names if hasattr(some[name], "cat")}
    path, rows = _write(fitted, some, folder), folder / "rows.parquet"
    scores = fitted.predict_proba(check.head(CHECKED_ROWS))[:, 1].astype("float64")
    some.assign(score=scores).to_parquet(rows, index=False)
    theirs = getattr(fitted, "feature_name_", None)  # LightGBM replaces spaces in names
    mapped = names if theirs is None else dict(zip(theirs, names, strict=True))
    return WrittenModel(path, rows, mapped, categories, SINGLE_TOLERANCE if path.suffix == ".onnx" else None)


def _write(fitted: Any, some: Any, folder: Path) -> Path:
    name, library = type(fitted).__name__, type(fitted).__module__.partition(".")[0]
    if not hasattr(fitted, "predict_proba"):
        raise UsageError(f"{name} is no fitted classifier: it has no predict_proba. {CURE}.")
    if library == "xgboost":
        path = folder / f"{name}.json"
        fitted.save_model(path)
    elif library == "lightgbm":
        path = folder / f"{name}.txt"
        fitted.booster_.save_model(path)
    elif library == "sklearn":
        path = folder / f"{name}.onnx"
        path.write_bytes(_onnx_of(fitted, some))
    else:
        raise UsageError(f"{name} of {library} cannot be written without running code. {CURE}.")
    return path


def _onnx_of(fitted: Any, some: Any) -> bytes:
    try:
        to_onnx = import_module("skl2onnx").to_onnx
    except ImportError:
        raise UsageError("a model of scikit-learn needs skl2onnx: pip install 'shroff[onnx]' skl2onnx") from None
    try:
        numbers = some.to_numpy("float32")
        converted = to_onnx(fitted, numbers[:1], options={"zipmap": False})
    except Exception as error:  # noqa: BLE001 - errors of pandas and skl2onnx have no common class
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UsageError(f"skl2onnx cannot convert the {type(fitted).__name__}: {reason}. {CURE}.") from None
    data: bytes = converted.SerializeToString()
    return data
