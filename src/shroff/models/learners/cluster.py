"""XGBoost's distributed boosting: rows are split among processes, which grow each tree together.

The processes agree on the bounds of bins from the rows that each has, and sample rows with their own generators. So the
trees differ from those of one process and of any other number of processes: scores differ on average by about as much
as with the same rows in another order (`tests/contracts/test_backends.py` checks a bound).

Rows reach the processes in files, one part for each, and no process holds more than its part. The calling process holds
some 65,000 rows at a time.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from shroff.arrays import Floats, Floats32
from shroff.errors import StateError, StorageError
from shroff.json_types import JsonMapping
from shroff.models.evaluation.metrics import log_loss
from shroff.models.learners.column_files import spans
from shroff.models.learners.learned import Learned, LearningPlan, TrainingRows, weights_of
from shroff.models.learners.xgboost import (
    BOOSTED,
    PATIENCE,
    TREES_MAX,
    TREES_WITHOUT_STOP,
    kinds_of,
    learned_of,
    settings_of,
)
from shroff.runtime.values import FrozenStruct

FRAUD = "fraud"
WEIGHT = "weight"
GREW_NOTHING = (
    "the cluster grew no trees (if one of its processes ended, usually for lack of memory: use more machines). It says"
)


class TrainingFiles(FrozenStruct):
    """Training rows in Parquet files, at most one for each process, in a folder that all processes see.

    A file has the columns `f0`, `f1`, ... as 32-bit floats, which XGBoost reads, NaN if missing; FRAUD, 1 or 0; and
    WEIGHT, the weight of the row.

    Args:
        rows: Number of rows of each file.
        kinds: `c` for each column of categories, `q` for any other.
    """

    paths: tuple[str, ...]
    rows: tuple[int, ...]
    kinds: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [f"f{index}" for index in range(len(self.kinds))]


@runtime_checkable
class TreeCluster(Protocol):
    """Processes that grow trees together; see also `features.cluster.partitioned.Backend`.

    Promises: trees are never grown in the calling process; if a process ends meanwhile, an error is raised.
    """

    name: str

    @property
    def processes(self) -> int:
        """Number of processes, each with a part of the rows."""

    def grow(self, files: TrainingFiles, settings: JsonMapping, trees: int) -> bytes:
        """Grow trees, and return them in XGBoost's JSON. `settings` have XGBoost's names. Raises: StateError."""


class Growing(FrozenStruct):
    """A cluster that grows trees, and a folder for rows that all of its processes see."""

    cluster: TreeCluster
    folder: Path


def learn(rows: TrainingRows, plan: LearningPlan, growing: Growing) -> Learned:
    """Train boosted trees like `learners.xgboost.learn`, grown by a cluster.

    If the plan has no number of trees, but there are rows from `stop` on, TREES_MAX are grown, and the first ones up to
    the best loss on these rows are kept; without such rows, TREES_WITHOUT_STOP.

    Raises: StateError if a process of the cluster ends or does not see the folder; StorageError if the rows cannot be
    written.
    """
    import xgboost

    parameters = {**BOOSTED, **plan.parameters}
    weights = weights_of(rows, parameters)
    is_stopped = "trees" not in parameters and rows.stop < len(rows.frauds)
    if "trees" in parameters:
        tree_count = int(parameters["trees"])
    else:
        tree_count = TREES_MAX if is_stopped else TREES_WITHOUT_STOP
    with tempfile.TemporaryDirectory(prefix="shroff-exchange-", dir=growing.folder) as folder:
        try:
            files = _written(Path(folder), rows, weights, growing.cluster.processes)
        except OSError as error:
            message = f"cannot write rows for the cluster into {growing.folder}"
            raise StorageError(f"{message}: {error.strerror or error}; look for room and for the right") from None
        grown = growing.cluster.grow(files, settings_of(rows, plan, parameters, is_forest=False), tree_count)
    booster = xgboost.Booster(model_file=bytearray(grown))
    trees = _best(booster, rows, weights, tree_count) if is_stopped else tree_count
    booster = booster[:trees]
    message = (
        f"Its trees were grown by processes of {growing.cluster.name} from rows in {len(files.paths)} parts, so it is "
        "near the model that one process makes, and not equal to it."
    )
    return learned_of(booster, booster.feature_names or files.names, trees, parameters, (message,))


def _written(folder: Path, rows: TrainingRows, weights: Floats, count: int) -> TrainingFiles:
    """Write the rows before `stop` into at most `count` files, in order, of equal size except the last."""
    size = max(-(-rows.stop // count), 1)
    parts = list(spans(rows.stop, size))
    paths = [folder / f"rows-{number}.parquet" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        _write(path, rows, weights, part)
    return TrainingFiles(
        tuple(str(path.absolute()) for path in paths),
        tuple(part.stop - part.start for part in parts),
        tuple(kinds_of(rows)),
    )


def _write(path: Path, rows: TrainingRows, weights: Floats, part: slice) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [*(f"f{index}" for index in range(len(rows.inputs))), FRAUD, WEIGHT]
    schema = pa.schema([(name, pa.float32()) for name in names])
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for span in spans(part.stop - part.start):
            part_rows = slice(part.start + span.start, part.start + span.stop)
            with np.errstate(over="ignore"):  # XGBoost reports infinity itself
                columns = [
                    *(column[part_rows].astype(np.float32) for column in rows.columns),
                    rows.frauds[part_rows],
                    weights[part_rows],
                ]
            file.write_table(pa.table([pa.array(column, pa.float32()) for column in columns], schema=schema))


def _best(booster: Any, rows: TrainingRows, weights: Floats, tree_count: int) -> int:
    """Return the number of trees with the best loss from `stop` on, before `PATIENCE` trees without a better one."""
    losses = np.zeros(tree_count)
    for margins, part_rows in _margins(booster, rows, tree_count):
        for index, margin in enumerate(margins):
            losses[index] += log_loss(margin, rows.frauds[part_rows], weights[part_rows]) * weights[part_rows].sum()
    best = 0
    for index in range(tree_count):
        if losses[index] < losses[best]:
            best = index
        elif index - best >= PATIENCE:
            break
    return best + 1


def _margins(booster: Any, rows: TrainingRows, tree_count: int) -> Iterator[tuple[Iterator[Any], slice]]:
    """Iterate over the rows from `stop` in parts, with their margins after the first tree, after two, and so on."""
    import xgboost

    for span in spans(len(rows.frauds) - rows.stop):
        part_rows = slice(rows.stop + span.start, rows.stop + span.stop)
        matrix = xgboost.DMatrix(
            rows.matrix(part_rows),
            feature_names=booster.feature_names,
            feature_types=kinds_of(rows),
            enable_categorical=True,
        )
        yield (
            (
                booster.predict(matrix, output_margin=True, iteration_range=(0, count))
                for count in range(1, tree_count + 1)
            ),
            part_rows,
        )


# ---- in a process of the cluster


def read_part(path: str, columns: Sequence[str]) -> Floats32:
    """Read columns of a file of rows, in row-major order.

    Raises: StateError if this process does not see the file.
    """
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise StateError(f"{socket.gethostname()} does not see {path}: put the project where every machine can read it")
    with pq.ParquetFile(path) as file:
        rows = np.empty((file.metadata.num_rows, len(columns)), np.float32)
        for index, name in enumerate(columns):
            rows[:, index] = file.read([name])[name].to_numpy()
    return rows
