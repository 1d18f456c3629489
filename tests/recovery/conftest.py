"""What all tests of recovery share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import astuple

import pytest

from shroff.log.state import snapshots
from shroff.services import project as app

from .faults_process import Stable
from .faults_spark import SparkWorld
from .faults_strike import Fault, strike_all
from .faults_table import SEED, Row, seed
from .faults_world import World
from .harness import make_project, write_events


@pytest.fixture(scope="session", autouse=True)
def _kernels_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled code is loaded once here instead of in each forked process: 0.1 s a run instead of 1.5.

    So is what learns: half of a process that trains three models imported it.
    """
    importlib.import_module("sklearn.linear_model")
    folder = tmp_path_factory.mktemp("kernels")
    project = app.open(make_project(folder / "bank"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(snapshots, "EVERY", 0)
        for seed in (1, 2):  # the second start takes up what the first one saved
            project.ingest([write_events(folder / "events.jsonl", 200, seed)])


@pytest.fixture(scope="session")
def stable() -> Iterator[Stable]:
    """Where processes of the program come from in 0.1 s."""
    with Stable() as made:
        yield made


@pytest.fixture
def strikes(record_property: Callable[[str, object], None]) -> Callable[[World | SparkWorld, list[Fault]], None]:
    """Let faults strike, and put what came of them into the table at the end of the run."""

    def strike_and_note(world: World | SparkWorld, faults: list[Fault]) -> None:
        rows: list[Row] = []
        try:
            strike_all(world, faults, rows)
        except AssertionError as error:
            raise AssertionError(f"{SEED}={seed()} repeats it: {error}") from error
        finally:
            record_property("faults", [astuple(row) for row in rows])
            world.close()

    return strike_and_note
