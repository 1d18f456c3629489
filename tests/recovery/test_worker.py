"""SIGKILL of a worker at every step of a commit, while it saves state, at random moments: the log is as undisturbed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.log.tables.rows import APPEND_STEPS as STEPS
from shroff.runtime.values import replace
from shroff.services import adapter_factory
from shroff.services import project as app
from shroff.services.writer.worker_runs import WorkerRuns
from shroff.streams import snapshots
from tests.support.effort import long_after, times
from tests.support.kill import KillSwitch

from .harness import Contents, contents, in_a_process, ingest_in_a_process, is_told, make_project, write_events

smoke = (
    "test_a_worker_over_a_file_gives_what_ingest_gives",
    "test_kills_at_every_step_of_commits_and_snapshots_change_nothing",
)

EVENTS = 1_200
BATCH_SIZE = 64
SNAPSHOT_PLACES = 60
SEEDS = long_after(1, [20, 21])


def work_in_a_process(
    project: Path, events: Path, on_step: Callable[[str], None] | None = None, *, after_s: float | None = None
) -> int:
    """Run a worker over a file in a forked process; gives the signal that ended it, 0 where it came to the end."""

    def work() -> None:
        options = {} if on_step is None else {"on_step": on_step}
        adapter_factory.load_entry = lambda name: partial(SqliteLog, **options)
        before, snapshots_of = WorkerRuns._options, WorkerRuns._prepared
        WorkerRuns._options = lambda self, *rest: replace(
            before(self, *rest), batch_size=BATCH_SIZE, snapshot_places=SNAPSHOT_PLACES
        )

        def watched(self: WorkerRuns, tell: Callable[[str], None]) -> snapshots.Snapshots:
            found = snapshots_of(self, tell)
            found._on_step = lambda step: on_step(f"snapshot {step}") if on_step is not None else None
            return found

        WorkerRuns._prepared = watched
        app.open(project).live.run([events])

    return in_a_process(work, after_s=after_s)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("input") / "events.jsonl", EVENTS, seed=5)


@pytest.fixture(scope="module")
def undisturbed(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "bank")
    assert work_in_a_process(project, events) == 0
    return told_apart(contents(project))


def told_apart(found: Contents) -> Contents:
    """What a log holds but for what waits to be told: a worker tells it beside its work, so how much is left varies."""
    return {name: rows for name, rows in found.items() if name != "outbox"}


@pytest.fixture(scope="module")
def news(events: Path, tmp_path_factory: pytest.TempPathFactory) -> set[tuple[object, ...]]:
    """All that there is to be told: nobody takes it out where events are ingested."""
    project = make_project(tmp_path_factory.mktemp("ingested") / "bank")
    assert ingest_in_a_process(project, events) == 0
    return set(contents(project)["outbox"])


def all_told(project: Path, news: set[tuple[object, ...]]) -> bool:
    """Whether each piece of news waits in the log or is in the store of notices, and nothing else waits."""
    left = set(contents(project)["outbox"])
    with app.open(project).notice_files.told() as notices:
        return left <= news and all(is_told(row, notices) for row in news - left)


@pytest.mark.slow
def test_a_worker_over_a_file_gives_what_ingest_gives(events: Path, undisturbed: Contents, tmp_path: Path) -> None:
    project = make_project(tmp_path / "bank")
    assert ingest_in_a_process(project, events) == 0

    assert told_apart(contents(project)) == undisturbed
    assert len(undisturbed["decisions"]) == EVENTS


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_every_step_of_commits_and_snapshots_change_nothing(
    events: Path, undisturbed: Contents, news: set[tuple[object, ...]], tmp_path: Path, seed: int
) -> None:
    project, drawn = make_project(tmp_path / "bank"), random.Random(seed)
    kills = 0
    for step in drawn.sample(STEPS, len(STEPS)):
        switch = KillSwitch(step, count=1 + drawn.randrange(2))
        saving = KillSwitch(f"snapshot {drawn.choice(snapshots.STEPS)}")  # in the process that saves state beside

        def at(step: str, switch: KillSwitch = switch, saving: KillSwitch = saving) -> None:
            switch(step)
            saving(step)

        kills += work_in_a_process(project, events, at) == signal.SIGKILL
    assert work_in_a_process(project, events) == 0

    assert kills >= len(STEPS) * 3 // 4, f"only {kills} switches found their step"
    assert told_apart(contents(project)) == undisturbed
    assert all_told(project, news)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_random_moments_change_nothing(
    events: Path, undisturbed: Contents, news: set[tuple[object, ...]], tmp_path: Path, seed: int
) -> None:
    started = time.monotonic()
    assert work_in_a_process(make_project(tmp_path / "timed"), events) == 0
    longest_s = time.monotonic() - started
    project, moments = make_project(tmp_path / "bank"), random.Random(seed)
    for _ in range(times(2, 12)):
        work_in_a_process(project, events, after_s=moments.uniform(0.002, longest_s))
    assert work_in_a_process(project, events) == 0

    assert told_apart(contents(project)) == undisturbed
    assert all_told(project, news)
