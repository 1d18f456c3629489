"""Commands that are killed before any of their writes: what they change is as before or whole, and done again.

Each writer runs in a fork of this process, in a copy of one project: no interpreter starts. After a kill everything is
as before or as an undisturbed twin has it; the same command comes to its end; then log, lists, models, lake and
snapshots are the twin's, `verify` and `doctor` find nothing, the next payments are decided as the twin decides them,
and what the killed process left behind is gone with a later command.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from shroff.monitoring.doctor import NOTE, OK
from shroff.project.lists import Entry
from shroff.runtime.atomic_files import UNFINISHED
from shroff.services import project as app
from shroff.streams.snapshots import Snapshots
from tests.support import learnable
from tests.support.effort import IS_LONG, long_but

from .harness import contents_of
from .struck import struck

pytestmark = pytest.mark.slow

RULE = "- { id: listed, on: payment, by: card, effect: decline, when: this.card in lists.blocked }\n"
MODEL = learnable.FILES["model.yaml"].replace("train: 8d, delay: 1d, test: 2d", "train: 3d, delay: 1d, test: 1d")
DAYS, A_DAY, PARTS = 7, 50, 4  # of payments; a day's; files that bring them, each of which the lake has by itself
EARLIER, LATER = "2026-03-07T12:00:00Z", "2026-03-08T00:00:00Z"  # as of which the first and the second model are made
KILLS = 1  # of each writer where a change is tried
TWO_DAYS_S = 2 * 86_400


def write_lake(project: app.Project) -> None:
    with project.lake.open() as lake:
        lake.write()


def compact_lake(project: app.Project) -> None:
    with project.lake.open() as lake:
        lake.compact(files_min=2, grace="0s")


def train(project: app.Project) -> None:
    assert project.train(as_of=LATER, promote=True, by="ann").promoted


def promote(project: app.Project) -> None:
    later = max(model.id for model in project.models.all())  # ids have the day
    assert project.models.promote(later, by="ann").in_force


def promote_earlier(project: app.Project) -> None:
    assert project.models.promote(min(model.id for model in project.models.all())).in_force


def block(*values: str) -> Callable[[app.Project], None]:
    def write(project: app.Project) -> None:
        for value in values:
            assert project.lists.add("blocked", Entry(value, "again")).in_force

    return write


def decide(number: int) -> Callable[[app.Project], None]:
    def write(project: app.Project) -> None:
        project.decide(payments(number), as_type="payment")

    return write


@dataclass(frozen=True, slots=True)
class Writer:
    """A command that writes: what it needs before, what it does, and what comes later and clears up behind it."""

    write: Callable[[app.Project], object]
    later: Callable[[app.Project], object]
    before: Callable[[app.Project], object] = lambda _project: None


def lake_later(project: app.Project) -> None:
    decide(70)(project)
    write_lake(project)


def snapshot_later(project: app.Project) -> None:
    decide(70)(project)
    project.retention.snapshot()


def train_later(project: app.Project) -> None:
    assert project.train(as_of=EARLIER.replace("12:", "18:"), promote=True).promoted


def prune_later(project: app.Project) -> None:
    snapshot_later(project)
    write_lake(project)


WRITERS = {
    "train": Writer(train, train_later),
    "promote": Writer(promote, promote_earlier, lambda project: project.train(as_of=LATER)),
    "lists": Writer(block("c9"), block("c10")),
    "lake write": Writer(write_lake, lake_later, decide(60)),
    "lake compact": Writer(compact_lake, lake_later),
    "prune": Writer(lambda project: project.retention.prune(), prune_later),
    "snapshot": Writer(lambda project: project.retention.snapshot(), snapshot_later),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with a list, a model in force, and a lake of small files."""
    folder = tmp_path_factory.mktemp("writes")
    settings = learnable.FILES["shroff.yaml"] + "lake: ./lake\nkeep: 3d\n"
    bank = learnable.make_project(folder / "bank", shroff=settings, model=MODEL)
    files = {"lists/blocked.csv": "value,note,added_by,expires_at\nc1,,,\n", "rules/listed.yaml": RULE}
    for name, text in files.items():
        (bank / name).parent.mkdir()
        (bank / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(learnable, "A_DAY", A_DAY)
        lines = learnable.write_days(folder / "days.jsonl", range(DAYS)).read_bytes().splitlines(keepends=True)
    for part in range(PARTS):
        begin, end = (len(lines) * number // PARTS for number in (part, part + 1))
        (file := folder / f"{part}.jsonl").write_bytes(b"".join(lines[begin:end]))
        app.open(bank).ingest([file])
        write_lake(app.open(bank))
    assert app.open(bank).train(as_of=EARLIER, promote=True).promoted
    return bank


def payments(number: int) -> list[dict[str, object]]:
    """Of cards of which one is blocked, one is to be, and one has a past."""
    own = {"at": f"2026-03-09T00:{number % 60:02d}:00Z", "amount": "120.00", "channel": "web"}
    return [{"id": f"n{number}-{card}", "card": card, **own} for card in ("c1", "c9", "c3")]


def seen(folder: Path) -> dict[str, object]:
    """What the project has, whoever did it and when. Each part of it is whole wherever a process was killed."""
    project = app.open(folder)
    champion = next(model for model in project.models.all() if model.role == "champion")
    snapshots = Snapshots(folder / ".shroff" / "snapshots")
    with project.log.reading() as log, project.lake.open() as lake:
        kept, checked = contents_of(log), lake.check()
        assert checked.problems == []
        return {
            **{name: kept[name] for name in ("decisions", "hits", "flags", "waiting", "outbox", "quarantine")},
            "records": [record for record in kept["records"] if "control" not in record],
            "versions": len(log.controls()),
            "pruned": log.pruned_to(),
            "rows": [entry.value for entry in project.lists.entries("blocked")],
            "model": project.context.registry.read(champion.id).files["logistic.json"],
            "lake": (checked.rows, checked.upto),
            "files": checked.files,  # of which compaction makes fewer, day by day
            "snapshots": [(file.name, snapshots.check(file) is not None) for file in snapshots.files()],
        }


def answers(folder: Path) -> list[tuple[object, ...]]:
    """How the next payments are decided."""
    found = app.open(folder).decide(payments(50), as_type="payment")
    return [(item.seq, item.outcome, item.score, item.features, item.rules) for item in found]


def litter(folder: Path) -> list[str]:
    """What a process leaves that is killed while it writes."""
    names = (path.relative_to(folder) for path in folder.rglob("*"))
    return sorted(
        str(name)
        for name in names
        if name.name.endswith((UNFINISHED, ".tmp")) or name.name.startswith((".m-", ".in_force"))
    )


def look(folder: Path) -> None:
    """Raises: AssertionError where something is not well."""
    assert [item for item in app.open(folder).health.doctor() if item.state not in (OK, NOTE)] == []
    assert app.open(folder).verify().mismatches == 0


def points(writes: list[str]) -> list[tuple[int, bool]]:
    """Before which writes a command is killed, and where half of a file is left: all, or some from first to last."""
    every = [
        (at, torn) for at, write in enumerate(writes, 1) for torn in (False, True)[: 1 + write.startswith("sync /")]
    ]
    return every if IS_LONG else [every[len(every) * (2 * number + 1) // (2 * KILLS)] for number in range(KILLS)]


# Of `train`, which promotes as well, and of commits of a log, others try what kills a `promote`.
# All write by the same few functions.
@pytest.mark.parametrize("name", long_but(WRITERS, "lists", "prune"))
def test_a_command_that_is_killed_before_any_of_its_writes_is_done_whole_by_the_next_run(name, made, tmp_path):
    writer = WRITERS[name]
    start = shutil.copytree(made, tmp_path / "start")
    writer.before(app.open(start))
    before, whole = seen(start), shutil.copytree(start, tmp_path / "whole")
    writes = struck(whole, lambda: writer.write(app.open(whole)))
    after, decided = seen(whole), answers(whole)
    assert after != before
    for at, torn in points(writes):
        folder = shutil.copytree(start, tmp_path / f"{at}{torn}")
        came_to = struck(folder, lambda folder=folder: writer.write(app.open(folder)), at, torn=torn)
        told = f"{name}: killed at {at}, {came_to[-1]}, torn: {torn}"
        halfway = seen(folder)
        assert {part for part in after if halfway[part] not in (before[part], after[part])} <= {"files"}, told
        if halfway != after:  # it was killed before its answer alone
            writer.write(app.open(folder))

        assert seen(folder) == after, told
        look(folder)
        assert answers(folder) == decided, told
        for path in folder.rglob("*"):
            os.utime(path, (time.time() - TWO_DAYS_S,) * 2)
        writer.later(app.open(folder))
        assert litter(folder) == [], told
        with app.open(folder).log.reading() as log:
            assert log.inbox.pending() == [], told
