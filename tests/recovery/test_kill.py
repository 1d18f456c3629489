"""SIGKILL at every step of a commit and at random moments: nothing lost, nothing twice, the same bytes after."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from shroff.adapters.log.tables.rows import APPEND_STEPS as STEPS
from tests.support.effort import long_after, times
from tests.support.kill import KillSwitch

from .harness import Contents, contents, ingest_in_a_process, make_project, write_events

EVENTS = 1_200
STEP_KILLS = times(1, 10) * len(STEPS)  # in each round
RANDOM_KILLS = times(2, 40)
SEEDS = long_after(1, range(10, 13))


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("input") / "events.jsonl", EVENTS, seed=3)


@pytest.fixture(scope="module")
def undisturbed(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "bank")
    assert ingest_in_a_process(project, events) == 0
    found = contents(project)

    assert len(found["decisions"]) == EVENTS
    for part in ("hits", "flags", "outbox", "quarantine", "waiting"):
        assert found[part], f"the input should bring about some {part}"
    assert any("2020-01-01T" in str(row) for row in found["quarantine"]), "and labels that came too early"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_every_step_of_a_commit_change_nothing(
    events: Path, undisturbed: Contents, tmp_path: Path, seed: int
) -> None:
    project = make_project(tmp_path / "bank")
    commits = random.Random(seed)
    kills = 0
    for number in range(STEP_KILLS):
        # Every step in turn, a little further into the file each time.
        switch = KillSwitch(STEPS[number % len(STEPS)], count=1 + number // 6 + commits.randrange(3))
        if ingest_in_a_process(project, events, switch) == signal.SIGKILL:
            kills += 1
    assert ingest_in_a_process(project, events) == 0

    assert kills >= STEP_KILLS * 9 // 10, f"only {kills} switches found their commit"
    assert contents(project) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_random_moments_change_nothing(events: Path, undisturbed: Contents, tmp_path: Path, seed: int) -> None:
    started = time.monotonic()
    assert ingest_in_a_process(make_project(tmp_path / "timed"), events) == 0
    longest_s = time.monotonic() - started
    moments = random.Random(seed)
    kills = runs = 0
    project = make_project(tmp_path / "0")
    while kills < RANDOM_KILLS:
        runs += 1
        started = time.monotonic()
        if ingest_in_a_process(project, events, after_s=moments.uniform(0.002, longest_s)) == signal.SIGKILL:
            kills += 1
        else:  # it came to its end, after however many kills: hold it against the undisturbed one and begin again
            longest_s = min(longest_s, time.monotonic() - started)  # a machine that was busy then is not now
            assert contents(project) == undisturbed
            project = make_project(tmp_path / str(runs))
    assert ingest_in_a_process(project, events) == 0

    assert contents(project) == undisturbed


@pytest.mark.slow
def test_a_second_run_over_the_same_file_changes_nothing(events: Path, undisturbed: Contents, tmp_path: Path) -> None:
    project = make_project(tmp_path / "bank")
    for _ in range(2):
        assert ingest_in_a_process(project, events) == 0

    assert contents(project) == undisturbed


@pytest.mark.slow
def test_the_harness_sees_a_lost_event(events: Path, undisturbed: Contents, tmp_path: Path) -> None:
    """A comparison that cannot fail proves nothing: one line less must show."""
    project = make_project(tmp_path / "bank")
    lines = events.read_bytes().splitlines(keepends=True)
    shorter = tmp_path / events.name
    shorter.write_bytes(b"".join(lines[:-1]))
    assert ingest_in_a_process(project, shorter) == 0

    assert contents(project) != undisturbed
