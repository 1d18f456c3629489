"""A process that is killed before any of its changes of files: what it changes is as before or whole, and done again.

Each writer runs in a fork, which kills itself before the first, the second, ... change of a file of its project; the
last one comes to its end. A copy of the project is cheap, and so is a fork: no interpreter starts.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from shroff import app
from shroff.decisions.lists import Entry
from shroff.errors import UsageError
from shroff.models.registry import Registry
from tests.unit.projects import FILES
from tests.unit.trained import train

HEADER = "value,note,added_by,expires_at\n"
RULE = "- { id: listed, on: payment, by: card, effect: decline, when: this.card in lists.blocked }\n"
pytestmark = pytest.mark.slow

CHANGES = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate"}
CUTS = "payment:\n  score: { review_at: 0.5, decline_at: 0.9 }\n"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
DAYS = 1


def rows(project: app.Project) -> object:
    """The rows of the list that are written; what is active of them is in the log in one transaction."""
    return [one.value for one in project.list_entries("blocked")]


def champions(project: app.Project) -> object:
    return [one.summary.id for one in project.models() if one.role == "champion"]


def places(project: app.Project) -> object:
    """What is wrong with the lake, and how many rows it has, each once, by whoever reads it."""
    with project.lake() as lake:
        found = lake.check()
        return found.problems, found.rows, found.upto


def write_lake(project: app.Project) -> object:
    with project.lake() as lake:
        return lake.write()


def compact_lake(project: app.Project) -> object:
    with project.lake() as lake:
        return lake.compact(files_min=2, grace="0s")


WRITERS: dict[str, tuple[Callable[[app.Project], object], Callable[[app.Project], object]]] = {
    "lists": (lambda project: project.list_add("blocked", Entry("c9", "again")), rows),
    "promote": (lambda project: project.promote("m-2"), champions),
    "lake compact": (compact_lake, places),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with a list, two models, a lake of small files, and payments of some days."""
    folder = tmp_path_factory.mktemp("files") / "bank"
    settings = FILES["shroff.yaml"] + "lake: ./lake\nkeep: 1d\n"
    files = {
        "shroff.yaml": settings,
        "policy.yaml": CUTS,
        "rules/listed.yaml": RULE,
        "lists/blocked.csv": f"{HEADER}c1,,,\n",
    }
    for name, text in {**FILES, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for number, id_ in enumerate(("m-1", "m-2")):
        train(Registry(folder / "models"), id_, ["payment.amount", "card.payments_1h"], seed=number)
    project = app.open(folder)
    for day in range(1, DAYS + 1):
        for part in range(3):
            own = {"id": f"p{day}{part}", "at": f"2026-03-0{day}T12:0{part}:00Z", "card": f"c{part}", "amount": "5.00"}
            project.decide([own], as_type="payment")
            write_lake(project)
    project.promote("m-1")
    return folder


def killed(folder: Path, write: Callable[[app.Project], object], before: int) -> bool:
    """Let a fork write and be killed before so many changes of files; False where there were not so many."""
    child = os.fork()
    if child == 0:
        left = before

        def heard(event: str, given: tuple[object, ...]) -> None:
            nonlocal left
            is_write = event == "open" and isinstance(given[2], int) and given[2] & WRITES
            if (is_write or event in CHANGES) and str(folder) in str(given[0]):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            project = app.open(folder)
            sys.addaudithook(heard)
            write(project)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}
    return os.waitstatus_to_exitcode(status) != 0


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_that_is_killed_before_any_change_of_a_file_leaves_it_as_it_was_or_whole(writer, made, tmp_path):
    write, look = WRITERS[writer]
    before, whole = look(app.open(made)), shutil.copytree(made, tmp_path / "whole")
    write(app.open(whole))
    after, kills = look(app.open(whole)), 0
    while killed(folder := shutil.copytree(made, tmp_path / str(kills)), write, kills + 1):
        assert look(app.open(folder)) in (before, after), kills
        with suppress(UsageError):  # it may be done already
            write(app.open(folder))
        assert look(app.open(folder)) == after, kills
        kills += 1

    assert kills >= 2
