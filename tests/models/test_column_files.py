"""Columns in a file: what is asked for is what was written, models of them are those of columns in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xgboost

from shroff.models.evaluation.calibration import Calibration
from shroff.models.learners import column_files
from shroff.models.learners.column_files import ColumnsFile, StoredColumn, spans
from shroff.models.learners.learned import LearningPlan
from shroff.models.learners.learner import columns_for, fit
from shroff.models.learners.training import loaded
from shroff.models.learners.xgboost_batches import Batches
from shroff.models.sets import Input
from tests.support.effort import long_after

ROWS = 1_500
TEXTS = ("AT", "DE", "FR", "NL")


def written(folder: Path, values: np.ndarray, places: np.ndarray | None = None) -> StoredColumn:
    """A column in a file, its numbers written in three pieces, between two others."""
    file = ColumnsFile(folder, len(values))
    for column, numbers in enumerate((values + 1, values, values + 2)):
        for part in spans(len(values), 1 + len(values) // 3):
            file.write(column, part.start, numbers[part])
    return file.column(1, places)


@pytest.mark.parametrize("count", [0, 1, 7, 5_000])
def test_a_column_in_a_file_is_read_as_it_was_written(tmp_path, count):
    values = np.random.default_rng(1).normal(size=count)
    values[::5] = np.nan
    column = written(tmp_path, values)
    rows = np.random.default_rng(2).permutation(count)[: count // 2]

    assert np.array_equal(column[:], values, equal_nan=True)
    assert np.array_equal(np.asarray(column), values, equal_nan=True)
    assert np.array_equal(column[2:5], values[2:5], equal_nan=True)
    assert np.array_equal(column[rows], values[rows], equal_nan=True)
    assert np.array_equal(column.take(rows)[1:4], values[rows][1:4], equal_nan=True)
    assert np.array_equal(column.take(rows).take(np.arange(len(rows))[::-1])[:], values[rows][::-1], equal_nan=True)
    assert np.array_equal(column[np.isnan(column)], values[np.isnan(values)], equal_nan=True)
    assert len(column.take(rows)) == len(rows)
    if count:
        assert np.array_equal(column[-1], values[-1], equal_nan=True)
        with pytest.raises(IndexError):
            column[count]
    assert not list(tmp_path.iterdir()), "the file has no name, so that nothing is left of it"


def test_codes_stand_for_what_is_laid_over_them(tmp_path):
    column = written(tmp_path, np.array([0.0, 2.0, -1.0, 1.0]), np.array([7.0, 8.0, 9.0, np.nan]))

    assert np.array_equal(column[:], [7.0, 9.0, np.nan, 8.0], equal_nan=True)
    inverted = written(tmp_path, np.array([0.0, 2.0, -1.0, 1.0]), np.array([1.0, 0.0, 2.0, np.nan]))
    again = inverted.through(np.array([50.0, 51.0, np.nan, np.nan]))
    assert np.array_equal(again[:], [51.0, np.nan, np.nan, 50.0], equal_nan=True)


def test_what_there_is_no_room_for_is_an_error(tmp_path):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    file = ColumnsFile(tmp_path, 3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(column_files.os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            file.write(0, 0, np.zeros(3))


@pytest.mark.slow
@pytest.mark.parametrize("threads", long_after(1, [2, 1]))
@pytest.mark.parametrize(
    "learner, told",
    [
        ("xgboost", {}),
        ("xgboost", {"trees": "12", "positive_weight": "3"}),
        ("forest", {"trees": "9"}),
        ("lightgbm", {"trees": "9"}),
        ("logistic", {}),
        ("isolation", {"trees": "9"}),
    ],
)
def test_a_model_of_columns_in_a_file_has_the_same_bytes(tmp_path, monkeypatch, learner, told, threads):
    """Also where rows are handed over in parts: XGBoost's bins do not hang on them."""
    inputs, verdicts = rows_to_learn_from()
    here = fit(learner, inputs, verdicts, None, LearningPlan.of(told, 3, threads), stop=1_200)
    monkeypatch.setattr(column_files.spans, "__defaults__", (170,))
    there = [Input(path.name, path.kind, in_file(tmp_path, path), path.categories) for path in inputs]

    found = fit(learner, there, verdicts, None, LearningPlan.of(told, 3, threads), stop=1_200)

    assert found.files == here.files
    assert found == here


@pytest.mark.parametrize("first", [0, 700])
def test_parts_are_the_rows_that_are_meant(monkeypatch, first):
    """By the library itself: bounds, bins and labels are those of one array."""
    inputs, verdicts = rows_to_learn_from()
    whole, kinds = np.column_stack([item.values for item in inputs]), ["q", "q", "q", "c"]
    told = {"feature_types": kinds, "enable_categorical": True, "max_bin": 16}
    like = xgboost.QuantileDMatrix(whole[first:1_300], verdicts[first:1_300].astype(float), **told)
    monkeypatch.setattr(column_files.spans, "__defaults__", (90,))

    batches = Batches(lambda part: whole[part], slice(first, 1_300), verdicts.astype(float), kinds)
    found = xgboost.QuantileDMatrix(batches, enable_categorical=True, max_bin=16)

    assert np.array_equal(found.get_label(), like.get_label())
    assert (found.get_data() != like.get_data()).nnz == 0
    for ours, theirs in zip(found.get_quantile_cut(), like.get_quantile_cut(), strict=True):
        assert np.array_equal(ours, theirs)


def test_scores_of_columns_in_a_file_are_the_same_whatever_the_parts(tmp_path, monkeypatch):
    inputs, verdicts = rows_to_learn_from()
    model = loaded(fit("xgboost", inputs, verdicts, None, LearningPlan.of({"trees": "12"}, 3)), Calibration(), 0.5)
    whole = model.scores(columns_for(model.inputs, inputs))
    monkeypatch.setattr("shroff.models.loaded.ROWS_TOGETHER", 100)
    monkeypatch.setattr(column_files.spans, "__defaults__", (100,))

    parted = model.scores(columns_for(model.inputs, inputs))
    there = model.scores(
        columns_for(
            model.inputs, [Input(path.name, path.kind, in_file(tmp_path, path), path.categories) for path in inputs]
        )
    )

    assert np.array_equal(parted, whole)
    assert np.array_equal(there, whole)


# A program that learns from a set in a file where the system gives it no more than so much memory of its own.
PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from shroff.models.learners.column_files import ColumnsFile, spans
from shroff.models.learners.learned import LearningPlan
from shroff.models.learners.learner import fit
from shroff.models.sets import Input

ROWS, WIDTH = 1_000_000, 40
rows = [Input("x", "number", np.arange(100.0))]
fit("xgboost", rows, (np.arange(100) % 2).astype(np.int8), None, LearningPlan.of({"trees": "1"}, 1))
held = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (held + int(sys.argv[2]), held + int(sys.argv[2])))
random, verdicts = np.random.default_rng(1), np.zeros(ROWS, np.int8)
verdicts[::20] = 1
file = ColumnsFile(Path(sys.argv[1]), ROWS)
for column in range(WIDTH):
    for part in spans(ROWS):
        file.write(column, part.start, random.normal(size=part.stop - part.start) + verdicts[part] * (column == 0))
inputs = [Input(f"n{column}", "number", file.column(column)) for column in range(WIDTH)]
if sys.argv[3] == "held":
    inputs = [Input(one.name, one.kind, one.values[:]) for one in inputs]
print(fit("xgboost", inputs, verdicts, None, LearningPlan.of({"trees": "3", "depth": "3"}, 1)).trees)
"""
SET_BYTES = 1_000_000 * 40 * 8


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a program to its memory")
def test_a_set_is_learnt_from_in_less_memory_than_it_has(tmp_path):
    def learnt(room: int, how: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", PROGRAM, str(tmp_path), str(room), how]
        return subprocess.run(program, capture_output=True, text=True, check=False)

    room = int(SET_BYTES * 0.85)

    assert learnt(room, "in a file").stdout == "3\n"
    assert learnt(room, "held").returncode != 0, "the limit holds"


def in_file(folder: Path, given: Input) -> StoredColumn:
    """The same numbers in a file; of a category as a set has them: codes as they came, and what they stand for."""
    if not given.categories:
        return written(folder, given.values[:])
    order = np.random.default_rng(4).permutation(len(given.categories))
    came = np.empty(len(order) + 1)
    came[order], came[-1] = np.arange(len(order)), -1
    codes = came[np.where(np.isnan(given.values), len(order), given.values).astype(np.int64)]
    return written(folder, codes, np.array([*order.astype(np.float64), np.nan]))


def rows_to_learn_from() -> tuple[list[Input], np.ndarray]:
    random = np.random.default_rng(5)
    numbers = [np.where(random.random(ROWS) < 0.1, np.nan, random.lognormal(size=ROWS)) for _ in range(3)]
    country = np.where(random.random(ROWS) < 0.05, np.nan, random.integers(0, 4, ROWS).astype(np.float64))
    margin = np.nan_to_num(numbers[0]) + 2 * (country == 2) - 3
    verdicts = (random.random(ROWS) < 1 / (1 + np.exp(-margin))).astype(np.int8)
    inputs = [Input(f"n{place}", "number", values) for place, values in enumerate(numbers)]
    return [*inputs, Input("country", "category", country, TEXTS)], verdicts
