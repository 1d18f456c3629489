"""Two hundred faults of chance on the embedded log: after each, all is settled once, and nothing is otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.effort import times

from .faults_embedded import FAULTS as ON_A_PIPE
from .faults_embedded import STORAGE, killed, killed_by_itself
from .faults_files import FAULTS as ON_FILES
from .faults_files import FileWorld
from .faults_process import Stable
from .faults_strike import Fault, planned, strike_all
from .faults_table import Row, seed, table
from .faults_world import PipeWorld, World

PIPE_WORLDS = times(1, 7)
PIPE_FAULTS = PIPE_WORLDS * len(ON_A_PIPE)
FILE_WORLDS = times(1, 2)
FILE_FAULTS = times(1, 4) * len(ON_FILES)
TRIES = 30  # of a program that breaks its promises, until it is seen

Strikes = Callable[[World, list[Fault]], None]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PIPE_WORLDS))
def test_a_worker_on_a_pipe_suffers_everything_and_loses_nothing(
    part: int, tmp_path: Path, stable: Stable, strikes: Strikes
) -> None:
    world = PipeWorld(tmp_path / "world", f"{seed()} pipe {part}", stable)
    world.begin_settled()

    strikes(world, planned(ON_A_PIPE, seed(), PIPE_FAULTS, PIPE_WORLDS)[part])
    with closing(sqlite3.connect(world.log)) as shell:
        ((frames, rows),) = shell.execute("SELECT (SELECT count(*) FROM decision_frames), count(*) FROM decisions")
    assert frames > 10, f"{rows} decisions moved into {frames} frames"


@pytest.mark.slow
@pytest.mark.parametrize("part", range(FILE_WORLDS))
def test_a_file_that_is_given_until_it_is_taken_is_taken_once(
    part: int, tmp_path: Path, stable: Stable, strikes: Strikes
) -> None:
    world = FileWorld(tmp_path / "world", f"{seed()} file {part}", stable)
    world.begin_settled()

    strikes(world, planned(ON_FILES, seed(), FILE_FAULTS, FILE_WORLDS)[part])


# ---- a harness that cannot fail proves nothing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "struck", "seen"),
    [
        # It holds the file between its commits: on a busy machine another writer gives up before anything is struck.
        pytest.param("answers_first", killed, "lost", marks=pytest.mark.long),
        ("effects_apart", killed_by_itself, "lost"),
        ("effects_again", killed, "doubled"),
        ("state_forgotten", killed, "changed"),
    ],
)
def test_a_promise_that_is_broken_is_seen(
    broken: str, struck: Callable[[PipeWorld], None], seen: str, tmp_path: Path, stable: Stable
) -> None:
    world = PipeWorld(tmp_path / "world", "broken", stable, broken)
    world.begin_settled()
    rows: list[Row] = []
    with pytest.raises(AssertionError, match=f"\n{seen}: "):
        strike_all(world, [Fault("killed", struck, frozenset({-9}))] * TRIES, rows)

    assert getattr(rows[-1], seen) > 0
    world.close()


@pytest.mark.slow
def test_decisions_that_are_gone_before_their_frame_is_there_stop_the_worker(tmp_path: Path, stable: Stable) -> None:
    world = PipeWorld(tmp_path / "world", "broken", stable, "frames_apart")
    world.begin_settled()
    missing = r"decisions? at sequence numbers? [\d to]+ (is|are) missing"
    words = rf"ended with {STORAGE} though all was well:\n.* {missing}\)"
    with pytest.raises(AssertionError, match=words):
        strike_all(world, [Fault("killed", killed_by_itself, frozenset({-9}))], [])

    world.close()


def test_the_table_adds_up_what_came_of_each_kind() -> None:
    rows = [Row("b", 1, 0, 0, 0, [0.5]), Row("a", 1, 2, 0, 1, [0.1]), Row("b", 1, 0, 3, 0, [1.5])]

    assert list(table(rows)) == [
        "| fault   | times | lost | doubled | changed | seconds to recover |",
        "| ------- | ----: | ---: | ------: | ------: | ------------------ |",
        "| a       |     1 |    2 |       0 |       1 | 0.10, at most 0.10 |",
        "| b       |     2 |    0 |       3 |       0 | 1.00, at most 1.50 |",
        "| **all** |     3 |    2 |       3 |       1 | at most 1.50       |",
    ]


def test_each_kind_of_fault_strikes_as_often_as_every_other() -> None:
    parts = planned(ON_A_PIPE, "a commit", PIPE_FAULTS, PIPE_WORLDS)
    names = [fault.name for part in parts for fault in part]

    assert [len(part) for part in parts] == [PIPE_FAULTS // PIPE_WORLDS] * PIPE_WORLDS
    assert {names.count(fault.name) for fault in ON_A_PIPE} == {PIPE_FAULTS // len(ON_A_PIPE)}
    assert parts == planned(ON_A_PIPE, "a commit", PIPE_FAULTS, PIPE_WORLDS)
    assert parts != planned(ON_A_PIPE, "the next commit", PIPE_FAULTS, PIPE_WORLDS)
