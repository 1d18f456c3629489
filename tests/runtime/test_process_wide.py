"""Settings of the whole process: put back when the last one that wants them is done, whatever the order of threads."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from shroff.runtime import process_wide as collector
from shroff.runtime.process_wide import SHORT, THRESHOLDS, ProcessWide, calm_collector, short_collector, threads_asleep
from shroff.worker.ingest import TURN_S, short_turns


@pytest.fixture(autouse=True)
def _own_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The collector as in the program: in other tests it thaws nothing."""
    monkeypatch.setattr(collector, "gc", gc)
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.mark.parametrize(
    "setting, now, wanted",
    [
        (calm_collector, gc.get_threshold, THRESHOLDS),
        (short_collector, gc.get_threshold, SHORT),
        (short_turns, sys.getswitchinterval, TURN_S),
    ],
)
def test_who_ends_last_puts_back_what_was_before_both(
    setting: Callable[[], AbstractContextManager[None]], now: Callable[[], object], wanted: object
):
    before, frozen = now(), gc.get_freeze_count()
    begun, may_end = Event(), Event()

    def other() -> None:
        with setting():
            begun.set()
            may_end.wait(120)

    thread = Thread(target=other)
    with setting():
        thread.start()
        assert begun.wait(120)
        assert now() == pytest.approx(wanted)
    assert now() == pytest.approx(wanted), "the other one still works"
    may_end.set()
    thread.join()

    assert (now(), gc.get_freeze_count()) == (before, frozen)


@pytest.mark.slow
def test_of_two_that_calm_the_collector_the_shorter_passes_hold_in_whatever_order_they_end():
    before = gc.get_threshold()
    with ExitStack() as service, ExitStack() as work:
        work.enter_context(calm_collector())
        service.enter_context(short_collector())
        assert gc.get_threshold() == SHORT
        work.close()
        assert gc.get_threshold() == SHORT
        assert gc.get_freeze_count() > 0
        work.enter_context(calm_collector())
        service.close()
        assert gc.get_threshold() == THRESHOLDS

    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_it_is_put_back_after_an_error_and_can_be_changed_again():
    told: list[str] = []

    def change() -> Callable[[], None]:
        told.append("changed")
        return lambda: told.append("back")

    setting = ProcessWide(change)
    with pytest.raises(ValueError, match="no"), setting(), setting():
        raise ValueError("no")
    with setting():
        told.append("work")

    assert told == ["changed", "back", "changed", "work", "back"]


def test_what_a_library_is_told_as_it_is_loaded_is_gone_afterwards(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with threads_asleep():
        assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert "OMP_WAIT_POLICY" not in os.environ


def test_what_a_user_has_told_libraries_stays(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    with threads_asleep():
        assert os.environ["OMP_WAIT_POLICY"] == "active"
    assert os.environ["OMP_WAIT_POLICY"] == "active"


LEARNS = """
import os, sys
from importlib.abc import MetaPathFinder

class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "xgboost":
            print("loaded as", os.environ.get("OMP_WAIT_POLICY"))

sys.meta_path.insert(0, Watch())
import numpy as np
from shroff.models.learners.learned import LearningPlan
from shroff.models.learners.learner import fit
from shroff.models.sets import Input

verdicts = np.array([0, 1] * 20, np.int8)
fit("xgboost", [Input("x", "number", np.arange(40.0), ())], verdicts, None, LearningPlan.of({"trees": "1"}, 1))
print("then", os.environ.get("OMP_WAIT_POLICY"), os.environ.get("OPENBLAS_NUM_THREADS"))
"""


@pytest.mark.slow
def test_learning_in_a_program_of_ones_own_lets_idle_threads_sleep_and_changes_nothing_else():
    environment = {
        name: value for name, value in os.environ.items() if name not in {"OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS"}
    }
    done = subprocess.run(
        [sys.executable, "-c", LEARNS], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )

    assert done.stdout.splitlines() == ["loaded as passive", "then None None"]


LOADED_WITHOUT = """
import sys
from shroff.runtime import process_wide
if {is_program}:
    process_wide.is_program.set()
with process_wide.without_sklearn():
    import xgboost
print("sklearn" in sys.modules, sys.meta_path[0].__class__.__name__ == "_Absent", bool(__import__("sklearn")))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("is_program", "told"), [(True, "False False True"), (False, "True False True")])
def test_the_program_loads_xgboost_without_scikit_learn_and_a_notebook_with_it(is_program, told):
    code = LOADED_WITHOUT.format(is_program=is_program)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ran.stdout.strip(), ran.stderr) == (told, "")


def test_a_module_is_hidden_from_one_thread_alone(monkeypatch):
    monkeypatch.setattr(collector, "is_program", Event())
    collector.is_program.set()
    seen = []
    with collector.without_sklearn():
        thread = Thread(target=lambda: seen.append(importlib.util.find_spec("sklearn") is not None))
        thread.start()
        thread.join()
        with pytest.raises(ModuleNotFoundError, match="sklearn is not wanted here"):
            sys.meta_path[0].find_spec("sklearn")

    assert seen == [True]


_FREES = """
import resource, sys
from shroff.runtime.process_wide import is_program, keep_freed_memory, one_heap
if sys.argv[1] == "keeps":
    keep_freed_memory()
elif sys.argv[1] == "one heap":
    is_program.set()
    one_heap()
else:
    one_heap()  # of no effect outside the program
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(int(sys.argv[3])):
    blocks = [bytearray(int(sys.argv[2])) for _ in range(6)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_is_kept_and_not_asked_for_again():
    def pages(way: str, size: int = 100_000, rounds: int = 100) -> int:
        command = [sys.executable, "-c", _FREES, way, str(size), str(rounds)]
        limits_of_nobody = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        done = subprocess.run(command, env=limits_of_nobody, stdout=subprocess.PIPE, text=True, check=True)
        return int(done.stdout)

    assert pages("keeps") < 500
    assert 1.5 * pages("one heap", 8_000_000, 3) < pages("keeps", 8_000_000, 3)
    # Blocks as large as these: the C library keeps twice what it gave back at once before, such as text of an import.
    assert pages("gives back", 1_000_000, 20) > 5_000 > 2 * pages("keeps", 1_000_000, 20)


def test_a_c_library_that_refuses_large_thresholds_has_the_largest_that_it_takes(monkeypatch):
    taken = {}

    def mallopt(name, value):  # as glibc before 2.35
        if name != -3 or value <= 32 << 20:
            taken[name] = value

    monkeypatch.setattr(collector.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    monkeypatch.setattr("pyarrow.set_memory_pool", lambda _: None)
    collector.one_heap()
    assert not taken  # outside the program
    monkeypatch.setattr(collector, "is_program", SimpleNamespace(is_set=lambda: True))
    collector.one_heap()

    assert taken == {-1: (1 << 31) - 1, -2: 32 << 20, -3: 32 << 20, -8: 1}
