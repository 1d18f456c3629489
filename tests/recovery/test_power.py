"""Power fails at any moment of an `ingest`: what was answered is there, and the rest comes out as if nothing had been.

The files are those that the disk may hold then: as they stood at the last sync, or with some
of what came after it, sectors torn apart and out of order (`tests.support.power`).
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import ShroffError
from shroff.monitoring.doctor import WRONG
from shroff.services import project as app
from tests.support.effort import long_after, times
from tests.support.power import Named, Written
from tests.support.recording import Recording

from .blackout import Files, Moment, Run, finished, loss, record
from .harness import Contents, make_project, write_events

smoke = (
    "test_a_recorded_run_comes_out_as_any_other",
    "test_the_programs_own_library_is_told_to_sync_each_commit",
    "test_the_files_as_they_stood_at_any_sync_lose_nothing",
    "test_files_with_some_of_the_unsynced_sectors_lose_nothing",
    "test_without_a_sync_in_each_commit_answered_batches_are_missing",
)

EVENTS = 300
PARTS = 4
TORN_SEEDS = long_after(1, range(50, 53))
TORN_IMAGES = times(10, 50)  # for each seed
STEP = times(12, 2)  # images from one that is tried to the next, in each half
SECOND_LOSSES = times(1, 6)
SECOND_IMAGES = 8  # for each of those
Image = tuple[str, Moment, Files]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The input in parts of one name, as if somebody brought in more of a file each hour."""
    folder = tmp_path_factory.mktemp("input")
    lines = write_events(folder / "whole.jsonl", EVENTS, seed=3).read_bytes().splitlines(keepends=True)
    found = []
    for number in range(PARTS):
        found.append(folder / f"{number}" / "events.jsonl")
        found[-1].parent.mkdir()
        found[-1].write_bytes(b"".join(lines[len(lines) * number // PARTS : len(lines) * (number + 1) // PARTS]))
    return found


@pytest.fixture(scope="module")
def undisturbed(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Contents:
    found = finished(new_project(tmp_path_factory.mktemp("undisturbed")), parts)

    assert len(found["decisions"]) == EVENTS
    for part in ("hits", "flags", "outbox", "quarantine", "waiting"):
        assert found[part], f"the input should bring about some {part}"
    return found


@pytest.fixture(scope="module")
def run(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return record(new_project(tmp_path_factory.mktemp("recorded")), parts)


@pytest.fixture
def project(tmp_path: Path) -> app.Project:
    """Where the power comes back: a project whose definitions are read once for all images."""
    return new_project(tmp_path)


def new_project(folder: Path) -> app.Project:
    return app.open(make_project(folder / "bank"))


def synced_images(run: Run) -> Iterator[Image]:
    """Every state of the disk in which all that was on its way is lost, and all in which only names came."""
    seen = set()
    for moment in run.moments():
        for kind, image in (("safe", moment.disk.safe()), ("named", moment.disk.named())):
            key = (moment.stored, moment.saved, hash(tuple(sorted(image.items()))))
            if key not in seen:
                seen.add(key)
                yield f"{kind} files before operation {moment.number}", moment, image


def seldom(run: Run) -> list[Image]:
    """Every third one: a program that breaks its promises does so at many."""
    return list(synced_images(run))[::3]


def torn_images(run: Run, seed: int, count: int) -> Iterator[Image]:
    """Random moments at which something was on its way, and random parts of it that came."""
    choice = Random(seed)
    busy = [moment.number for moment in run.moments() if moment.disk.safe() != moment.disk.whole()]
    chosen = set(choice.sample(busy, count))
    for moment in run.moments():
        if moment.number in chosen:
            image = moment.disk.torn(Random(f"{seed} {moment.number}"))
            yield f"torn files before operation {moment.number}, seed {seed}", moment, image


def losses(project: app.Project, run: Run, images: Iterable[Image]) -> list[str]:
    """What is wrong with the images, one line each."""
    found = ((name, loss(project, run, moment, image)) for name, moment, image in images)
    return [f"{name}: {words}" for name, words in found if words]


def wrong(
    project: app.Project, run: Run, images: Iterable[Image], parts: list[Path], undisturbed: Contents
) -> tuple[int, list[str]]:
    """How many images there were, and what is wrong with them or with what came out of the input given once more."""
    count, found = 0, []
    for name, moment, image in images:
        count += 1
        words = loss(project, run, moment, image)
        try:
            if not words and finished(project, parts) != undisturbed:
                words = "the rest came out differently"
        except ShroffError as error:
            words = f"the rest could not be taken: {error}"
        if not words and count % 10 == 1:
            words = "; ".join(
                item.words for item in project.health.doctor() if item.state == WRONG and item.subject != "labels"
            )
        found += [f"{name}: {words}"] if words else []
    return count, found


@pytest.mark.slow
def test_the_recording_has_every_byte_that_is_in_the_files(run: Run) -> None:
    *_, end = run.moments()

    assert end.disk.whole() == run.end
    assert end.stored == len(run.states) - 1
    logs = {
        operation.file for operation in run.operations if isinstance(operation, Named) and operation.path == "log.db"
    }
    assert sum(isinstance(operation, Written) and operation.file in logs for operation in run.operations) > 100, (
        "no checkpoint was recorded"
    )


@pytest.mark.slow
def test_a_recorded_run_comes_out_as_any_other(
    run: Run, project: app.Project, parts: list[Path], undisturbed: Contents
) -> None:
    """The recording uses another library than the program: both must do the same."""
    *_, end = run.moments()

    assert loss(project, run, end, run.end) == ""
    assert finished(project, parts) == undisturbed


def test_the_programs_own_library_is_told_to_sync_each_commit(tmp_path: Path) -> None:
    """What the recorded library is told, and does: write-ahead log, synchronous=FULL."""
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        assert log._connection.sqlite.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert log._connection.sqlite.execute("PRAGMA synchronous").fetchone() == (2,)
        assert isinstance(log._connection.sqlite, sqlite3.Connection)


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_the_files_as_they_stood_at_any_sync_lose_nothing(
    run: Run, project: app.Project, parts: list[Path], undisturbed: Contents, half: int
) -> None:
    images = list(synced_images(run))[half::STEP]
    count, found = wrong(project, run, images, parts, undisturbed)

    assert found == []
    assert count >= 100 // STEP


@pytest.mark.slow
@pytest.mark.parametrize("seed", TORN_SEEDS)
def test_files_with_some_of_the_unsynced_sectors_lose_nothing(
    run: Run, project: app.Project, parts: list[Path], undisturbed: Contents, seed: int
) -> None:
    count, found = wrong(project, run, torn_images(run, seed, TORN_IMAGES), parts, undisturbed)

    assert found == []
    assert count == TORN_IMAGES


@pytest.mark.slow
def test_power_that_fails_again_while_the_log_is_mended_loses_nothing(
    run: Run, project: app.Project, parts: list[Path], undisturbed: Contents
) -> None:
    for number, (name, moment, image) in enumerate(torn_images(run, 60, SECOND_LOSSES)):
        assert loss(project, run, moment, image) == "", name
        again = record(project, parts)
        count, found = wrong(project, again, torn_images(again, 70 + number, SECOND_IMAGES), parts, undisturbed)

        assert [f"after {name}, {words}" for words in found] == []
        assert count == SECOND_IMAGES


@pytest.mark.slow
@pytest.mark.parametrize("synchronous", long_after(1, ["NORMAL", "OFF"]))
def test_without_a_sync_in_each_commit_answered_batches_are_missing(
    parts: list[Path], project: app.Project, synchronous: str, tmp_path: Path
) -> None:
    """A harness that cannot fail proves nothing."""
    careless = record(new_project(tmp_path / "careless"), parts, synchronous=synchronous)
    found = losses(project, careless, seldom(careless))

    assert len(found) > 6
    assert any("batches were answered, and the log has" in words for words in found)


@pytest.mark.slow
def test_an_answer_before_the_commit_is_found(parts: list[Path], project: app.Project, tmp_path: Path) -> None:
    hasty = record(new_project(tmp_path / "hasty"), parts, answered="before commit")

    assert len(losses(project, hasty, seldom(hasty))) > 6


@pytest.mark.slow
def test_a_batch_in_two_transactions_is_found(parts: list[Path], project: app.Project, tmp_path: Path) -> None:
    halved = record(new_project(tmp_path / "halved"), parts, split="events")
    found = losses(project, halved, seldom(halved))

    # The log itself misses what belongs to the events that it has.
    words = re.compile(r": the log cannot be read: .* decisions? at sequence numbers? .* missing\)\.")
    assert sum(bool(words.search(item)) for item in found) > 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "careless",
    long_after(
        1,
        [
            pytest.param(lambda: patch.object(Recording, "synced", lambda *_: None), id="no file synced"),
            pytest.param(lambda: patch("shroff.runtime.atomic_files.sync_folder", bool), id="no folder synced"),
            pytest.param(lambda: patch("shroff.runtime.state_folder.sync_folder", bool), id="no new folder synced"),
        ],
    ),
)
def test_a_snapshot_that_was_not_synced_is_missed_and_harms_nothing(
    parts: list[Path], project: app.Project, undisturbed: Contents, careless: Callable[[], patch], tmp_path: Path
) -> None:
    with careless():
        run = record(new_project(tmp_path / "careless"), parts[:2])
    missing = 0
    for name, moment, image in torn_images(run, 80, 15):
        words = loss(project, run, moment, image)
        missing += "snapshot" in words

        assert words == "" or "snapshot" in words, name
        assert finished(project, parts) == undisturbed, name
    assert missing > 0


def test_the_folder_of_a_log_is_safe_before_the_log_is_made(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    synced: list[tuple[int, bool]] = []

    def sync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, project.context.paths.log.exists()))

    with patch.object(os, "fsync", sync), project.log.writing():
        assert (project.context.paths.folder.stat().st_ino, False) in synced


@pytest.mark.slow
def test_where_there_is_a_log_there_is_the_key_of_what_was_hashed(parts: list[Path], tmp_path: Path) -> None:
    folder = make_project(tmp_path / "bank")
    events = folder / "events.yaml"
    clear = events.read_text(encoding="utf-8")
    hashed = clear.replace("card: text ", "card: text hashed ")
    assert hashed != clear
    events.write_text(hashed, encoding="utf-8")
    run = record(app.open(folder), parts[:1])
    logs = 0
    for moment in run.moments():
        for image in (moment.disk.safe(), moment.disk.named(), moment.disk.torn(Random(moment.number))):
            if "log.db" in image:
                logs += 1

                assert image["hash.key"] == run.end["hash.key"], f"before operation {moment.number}"
    assert logs > 300
