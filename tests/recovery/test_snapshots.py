"""SIGKILL while state is saved, and snapshots that were deleted or damaged between runs: the same bytes after."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from shroff.log.state import snapshots
from shroff.services import project as app
from shroff.services import project_log
from shroff.streams.snapshots import STEPS, Snapshots
from shroff.worker.ingest import ingest
from tests.support.kill import KillSwitch

from .harness import BATCH_SIZE, Contents, contents, in_a_process, make_project, write_events

smoke = ("test_kills_while_state_is_saved_change_nothing", "test_saved_state_is_what_a_start_goes_on_from")

EVENTS = 1_200
RUNS = 12


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file of events in parts, each named like the whole, as if somebody brought in more of it each hour."""
    folder = tmp_path_factory.mktemp("input")
    lines = write_events(folder / "whole.jsonl", EVENTS, seed=4).read_bytes().splitlines(keepends=True)
    found = []
    for number in range(RUNS):
        found.append(folder / f"{number}" / "events.jsonl")
        found[-1].parent.mkdir()
        found[-1].write_bytes(b"".join(lines[len(lines) * number // RUNS : len(lines) * (number + 1) // RUNS]))
    return found


@pytest.fixture(scope="module")
def undisturbed(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """What the log holds where no state is ever saved."""
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "bank")
    for part in parts:
        assert ingest_saving(project, part, every=10**9) == 0
    assert not (project / ".shroff" / "snapshots").exists()
    found = contents(project)

    for name in ("hits", "flags", "outbox", "quarantine", "waiting"):
        assert found[name], f"the input should bring about some {name}"
    return found


def ingest_saving(
    project: Path, events: Path, on_step: Callable[[str], None] = lambda _step: None, *, every: int = 0
) -> int:
    """Ingest in a forked process that saves state behind `every` places; gives the signal that ended it, or 0."""

    def ingest_part() -> None:
        snapshots.EVERY = every
        project_log.Snapshots = lambda folder: Snapshots(folder, on_step=on_step)
        ingest.__kwdefaults__["batch_size"] = BATCH_SIZE
        app.open(project).ingest([events])

    return in_a_process(ingest_part)


@pytest.mark.slow
def test_kills_while_state_is_saved_change_nothing(parts: list[Path], undisturbed: Contents, tmp_path: Path):
    project = make_project(tmp_path / "bank")
    saved = Snapshots(project / ".shroff" / "snapshots")
    counts = random.Random(30)
    kills = 0
    for number, part in enumerate(parts):
        step = STEPS[number % len(STEPS)]
        before = saved.files()
        switch = KillSwitch(step, counts.randrange(1, 6) if step == "half written" else 1)
        kills += ingest_saving(project, part, switch) == signal.SIGKILL

        for file in saved.files():
            assert saved.check(file) is not None, f"killed at {step!r}: a file that is not whole counts"
        if step not in {"renamed", "done"}:
            assert saved.files() == before

    assert kills == RUNS
    assert contents(project) == undisturbed


@pytest.mark.slow
def test_snapshots_deleted_or_damaged_between_runs_change_nothing(
    parts: list[Path], undisturbed: Contents, tmp_path: Path
):
    project = make_project(tmp_path / "bank")
    saved = Snapshots(project / ".shroff" / "snapshots")
    chance = random.Random(40)
    for part in parts:
        assert ingest_saving(project, part) == 0
        assert saved.check(saved.files()[0]) is not None
        for file in saved.files():
            damage(file, chance)

    assert contents(project) == undisturbed


def damage(file: Path, chance: random.Random) -> None:
    """Leave a file as it is, delete it, cut it, flip a bit of it, or put another one in its place."""
    whole = file.read_bytes()
    place = chance.randrange(len(whole))
    kind = chance.choice(["none", "delete", "cut", "flip", "newer"])
    if kind == "delete":
        file.unlink()
    elif kind == "cut":
        file.write_bytes(whole[:place])
    elif kind == "flip":
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
    elif kind == "newer":
        file.rename(file.with_name("999999999999.snapshot"))


@pytest.mark.slow
def test_saved_state_is_what_a_start_goes_on_from(parts: list[Path], undisturbed: Contents, tmp_path: Path):
    """A comparison that cannot fail proves nothing: state that is wrong inside must show."""
    project = make_project(tmp_path / "bank")
    saved = Snapshots(project / ".shroff" / "snapshots")
    for number, part in enumerate(parts):
        assert ingest_saving(project, part) == 0
        if number == RUNS // 2:
            header = saved.check(saved.files()[0])
            assert header is not None
            empty = make_project(tmp_path / "empty")
            no_events = tmp_path / "none.jsonl"
            no_events.touch()
            assert ingest_saving(empty, no_events) == 0
            nothing = Snapshots(empty / ".shroff" / "snapshots").read(first_of(empty), header.layout)
            full = saved.read(saved.files()[0], header.layout)
            assert nothing is not None
            assert full is not None
            saved.write(header, [full[1][0], *nothing[1][1:]])

    assert contents(project) != undisturbed


def first_of(project: Path) -> Path:
    return Snapshots(project / ".shroff" / "snapshots").files()[0]
