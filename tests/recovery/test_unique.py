"""SIGKILL at every step of a commit where a field is unique: no value twice, no label lost or joined twice."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import msgspec
import pytest

from shroff.adapters.log.tables.rows import APPEND_STEPS as STEPS
from tests.support.effort import times
from tests.support.kill import KillSwitch

from .harness import Contents, contents, ingest_in_a_process, make_project, write_events

EVENTS = 800
KILLS = times(1, 5) * len(STEPS)


def with_numbers(path: Path) -> Path:
    """The same lines, payments with a number of their own, some with that of another, and labels that name it."""
    lines: list[bytes] = []
    for at, line in enumerate(path.read_bytes().splitlines()):
        try:
            ((kind, fields),) = msgspec.json.decode(line).items()
        except ValueError:
            lines.append(line)
            continue
        if kind == "payment" and "payment_id" in fields:
            number = fields["payment_id"].rpartition("-")[2]
            doubled = str(int(number) - 3) if at % 61 == 5 and number.isdigit() else number
            fields = {**fields, "arn": f"A{doubled}"}
        elif kind == "label" and at % 3:
            number = fields.pop("event").rpartition("-")[2]
            fields = {**fields, "arn": f"A{number}"}
        lines.append(msgspec.json.encode({kind: fields}))
    out = path.with_name("numbered.jsonl")
    out.write_bytes(b"\n".join(lines) + b"\n")
    return out


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_numbers(write_events(tmp_path_factory.mktemp("input") / "events.jsonl", EVENTS, seed=3))


def make(folder: Path, mark: str = "text? unique") -> Path:
    project = make_project(folder)
    text = (project / "events.yaml").read_text(encoding="utf-8")
    text = text.replace("    payment_id: text\n", f"    payment_id: text\n    arn: {mark}\n", 1)
    (project / "events.yaml").write_text(text, encoding="utf-8")
    return project


@pytest.fixture(scope="module")
def undisturbed(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    project = make(tmp_path_factory.mktemp("undisturbed") / "bank")
    assert ingest_in_a_process(project, events) == 0
    found = contents(project)

    assert len(found["unique"]) > EVENTS * 9 // 10
    assert any(row[-3] == "arn" for row in found["waiting"]), "labels should wait for a number"
    assert len(found["decisions"]) < EVENTS, "some payments should have the number of another"
    return found


@pytest.mark.slow
def test_kills_at_every_step_of_a_commit_change_nothing(events: Path, undisturbed: Contents, tmp_path: Path) -> None:
    project = make(tmp_path / "bank")
    commits = random.Random(7)
    kills = 0
    for number in range(KILLS):
        switch = KillSwitch(STEPS[number % len(STEPS)], count=1 + number // 6 + commits.randrange(3))
        kills += ingest_in_a_process(project, events, switch) == signal.SIGKILL
    assert ingest_in_a_process(project, events) == 0

    assert kills >= KILLS * 8 // 10
    assert contents(project) == undisturbed


@pytest.mark.slow
def test_kills_while_values_are_filled_in_leave_an_index_that_is_made_whole(events: Path, tmp_path: Path) -> None:
    project = make(tmp_path / "bank")
    assert ingest_in_a_process(project, events) == 0
    wanted = contents(project)["unique"]
    project = project.rename(tmp_path / "other")
    text = (project / "events.yaml").read_text(encoding="utf-8")
    (project / "events.yaml").write_text(text.replace("text? unique", "text?"), encoding="utf-8")
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    assert ingest_in_a_process(project, empty) == 0
    assert contents(project)["unique"] == []
    (project / "events.yaml").write_text(text, encoding="utf-8")
    for count in range(1, 1 + KILLS // len(STEPS)):
        for step in STEPS:
            ingest_in_a_process(project, empty, KillSwitch(step, count))
    assert ingest_in_a_process(project, empty) == 0

    assert contents(project)["unique"] == wanted
