"""Scoring with XGBoost's trees: microseconds a row, one at a time and in batches, beside what others use for it.

A model of depth 6 is learned from made-up rows of which every tenth value is missing, stored, and loaded by each way.
All take turns in one process, on one thread; medians and the least of all rounds are told. Margins are compared first:
XGBoost's to the bit. onnxruntime takes part where it and onnxmltools are installed. scikit-learn has a model of its
own, of as many trees of this depth. How a whole service answers, beside FastAPI with scikit-learn: `bench.predict`.

    python -m bench.scoring [--rounds 15]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from bench.machine import describe, write_result
from shroff.models.loaded import FILES, XGBOOST, LoadedModel, load_model

INPUTS = 30
LEARNED = 20_000
DEPTH = 6
TREES = (100, 500)
BATCHES = (1, 256, 4_096)
WAYS = ("margins", "columns", "scores", "xgboost", "onnx", "sklearn")
CALLS = {1: 400, 256: 8, 4_096: 1}  # of a round: some milliseconds

Way = Callable[[], Any]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=15)
    chosen = arguments.parse_args()
    with threadpool_limits(1):
        rows = [line for trees in TREES for line in measured(trees, chosen.rounds)]
    text = report(rows)
    sys.stdout.write(text)
    write_result("scoring", text)
    return 0


def measured(trees: int, rounds: int) -> list[str]:
    """A line of the table for each size of batch."""
    columns, data = learned(trees)
    model, booster, session = loaded(data), stored(data), onnx(data)
    forest = sklearn_model(columns, trees)
    expected = booster.inplace_predict(columns.T, predict_type="margin")
    assert np.array_equal(model.margins(columns), expected), "margins differ from XGBoost's"
    lines = []
    for size in BATCHES:
        ways = ways_of(model, booster, session, columns[:, :size]) | sklearn_way(forest, columns[:, :size])
        times = in_turns(ways, CALLS[size], rounds)
        lines.append(line_of(trees, size, {name: [item / size for item in found] for name, found in times.items()}))
    return lines


def learned(trees: int) -> tuple[Any, bytes]:
    """Columns, every tenth value missing, and a stored model of them."""
    random = np.random.default_rng(1)
    columns = random.normal(size=(INPUTS, LEARNED)).astype(np.float32).astype(np.float64)
    columns[random.random(columns.shape) < 0.1] = np.nan
    drawn = random.normal(size=10) @ np.nan_to_num(columns[:10]) + random.normal(size=LEARNED)
    matrix = xgboost.DMatrix(columns.T, (drawn > 2).astype(int))
    told = {"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 1, "seed": 1}
    return columns, bytes(xgboost.train(told, matrix, trees).save_raw("json"))


def loaded(data: bytes) -> LoadedModel:
    name = FILES[XGBOOST]
    inputs = [{"name": f"f{at}", "kind": "number"} for at in range(INPUTS)]
    manifest = {"id": "m-1", "event": "payment", "format": XGBOOST, "inputs": inputs}
    return load_model(json.dumps({**manifest, "files": {name: sha256(data).hexdigest()}}).encode(), {name: data})


def stored(data: bytes) -> Any:
    booster = xgboost.Booster(model_file=bytearray(data))
    booster.set_param({"nthread": 1})
    return booster


def onnx(data: bytes) -> Any:
    """The model in onnxruntime, on one thread; None where it is not installed."""
    try:
        import onnxmltools
        import onnxruntime
        from onnxmltools.convert.common.data_types import FloatTensorType
    except ImportError:
        return None
    made = onnxmltools.convert_xgboost(stored(data), initial_types=[("x", FloatTensorType([None, INPUTS]))])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])


def sklearn_model(columns: Any, trees: int) -> HistGradientBoostingClassifier:
    """A model that takes missing values, of as many trees."""
    labels = np.nan_to_num(columns[0]) > 1
    model = HistGradientBoostingClassifier(max_iter=trees, max_depth=DEPTH, max_leaf_nodes=None, early_stopping=False)
    return model.fit(columns.T, labels)


def sklearn_way(model: HistGradientBoostingClassifier, columns: Any) -> dict[str, Way]:
    rows = np.ascontiguousarray(columns.T)
    return {"sklearn": lambda: model.predict_proba(rows)}


def ways_of(model: LoadedModel, booster: Any, session: Any, columns: Any) -> dict[str, Way]:
    """Each way with its input as it likes it best: ours as an array and, as the engine has it, as separate columns."""
    together: Any = np.ascontiguousarray(columns)  # rows of an array are columns as well
    apart = [column.copy() for column in columns]
    rows = np.ascontiguousarray(columns.T, np.float32)
    ways: dict[str, Way] = {
        "margins": lambda: model.margins(together),
        "columns": lambda: model.margins(apart),
        "scores": lambda: model.scores(apart),
        "xgboost": lambda: booster.inplace_predict(rows, predict_type="margin"),
    }
    if session is not None:
        ways["onnx"] = lambda: session.run(None, {"x": rows})
    return ways


def in_turns(ways: dict[str, Way], calls: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds of a call, for each way and round; of single rows each call is measured."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            found = []
            for _ in range(calls):
                began = perf_counter()
                way()
                found.append((perf_counter() - began) * 1e6)
            times[name].append(median(found))
    return times


def line_of(trees: int, size: int, times: dict[str, list[float]]) -> str:
    cells = [f"{median(times[name]):.2f} ({min(times[name]):.2f})" if name in times else "" for name in WAYS]
    ratio = min(times["xgboost"]) / min(times["margins"])
    return f"| {trees} | {size:,} | {' | '.join(cells)} | {ratio:.1f} |"


def report(rows: list[str]) -> str:
    return (
        "# Scoring\n\n"
        f"{describe()}, XGBoost {version_of('xgboost-cpu')}, onnxruntime {version_of('onnxruntime')}, scikit-learn"
        f" {version_of('scikit-learn')}, a machine shared with other work. `python -m bench.scoring`\n\n"
        f"Trees of depth {DEPTH} over {INPUTS} inputs, every tenth value missing; one thread. Microseconds a row around"
        " the Python call: the median of all rounds, and the least. Margins are XGBoost's to the bit.\n\n"
        "| trees | rows a call | margins, one array | margins, a column for each input | scores, the same"
        " | XGBoost `inplace_predict` | onnxruntime | scikit-learn `predict_proba`"
        " | XGBoost / ours, one array, least |\n"
        "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
