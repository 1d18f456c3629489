"""Copies of a process: what they say, and what becomes of one that fails or hangs."""

from __future__ import annotations

import fcntl
import gc
import io
import os
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import xgboost

from shroff.runtime.process_copy import CopyAnswers
from tests.support.patience import PATIENCE_S


def test_each_question_is_answered_by_a_copy_of_its_own():
    said: list[int] = []

    def add() -> bytes:
        said.append(1)
        return str(len(said)).encode() * 100_000

    found = CopyAnswers([add, add]).answers(PATIENCE_S)

    assert found == [b"1" * 100_000] * 2
    assert said == []


def _written(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
def test_one_that_fails_ends_the_row_and_one_that_hangs_is_ended_with_all_its_copies(tmp_path: Path):
    def hangs() -> bytes:
        (tmp_path / "process").write_text(str(os.getpid()))
        time.sleep(3_600)
        return b""

    assert CopyAnswers([lambda: b"a", lambda: str(1 / 0).encode(), lambda: b"c"]).answers(PATIENCE_S) == [b"a"]
    hanging, end_s = CopyAnswers([lambda: b"a", hangs]), time.monotonic() + PATIENCE_S
    while not (process := _written(tmp_path / "process")):
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert hanging.answers(0.5) == [b"a"]
    while Path(f"/proc/{process}").exists() and "Z" not in Path(f"/proc/{process}/stat").read_text().split(") ")[1][:1]:
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_copy_collects_no_garbage_whose_end_could_wait_for_threads_that_it_lacks():
    assert gc.isenabled()
    assert CopyAnswers([lambda: str(gc.isenabled()).encode()]).answers(PATIENCE_S) == [b"False"]


def test_copies_answer_where_a_library_wants_its_own_pipe_back_at_each_copy():
    read = pyarrow.csv.read_csv(io.BytesIO(b"a\n1\n"))  # from then on Arrow has a pipe for signals, and renews it

    assert read.num_rows == 1
    assert CopyAnswers([lambda: b"a", lambda: b"b"]).answers(PATIENCE_S) == [b"a", b"b"]


def test_a_copy_holds_no_file_of_the_process_that_was_open(tmp_path: Path):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        numbers = [lock.fileno(), os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)]

        def opened() -> bytes:
            return " ".join(os.path.realpath(f"/dev/fd/{number}") for number in numbers).encode()

        found = CopyAnswers([opened]).answers(PATIENCE_S)
    os.close(numbers[1])

    assert found == [b"/dev/null /dev/null"]


def test_a_process_that_has_grown_trees_has_copies_that_score_whoever_grew_them():
    rows = np.random.default_rng(1).random((200, 3))
    matrix = xgboost.DMatrix(rows, label=np.arange(200) % 2, nthread=2)
    found: list[bool] = []

    def decide() -> None:
        """In a thread that grows trees itself, so that libraries keep threads for it."""
        grown = xgboost.train({"nthread": 2, "objective": "binary:logistic"}, matrix, 3)
        expected = grown.inplace_predict(rows).tobytes()
        found.append(CopyAnswers([lambda: grown.inplace_predict(rows).tobytes()]).answers(PATIENCE_S) == [expected])

    thread = threading.Thread(target=decide)
    thread.start()
    thread.join()

    assert found == [True]
