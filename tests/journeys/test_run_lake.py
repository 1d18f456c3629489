"""A worker keeps its project's lake: while it works, and with what came last when it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import shroff
from shroff import config
from shroff.runtime.atomic_files import write_folder

ROWS = 40


@pytest.fixture
def project(tmp_path: Path) -> shroff.Project:
    folder = tmp_path / "bank"
    write_folder(folder, config.template_files("payments"))
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write(f"lake: {{ to: {tmp_path / 'lake'}, every: 1s }}\n")
    example = json.loads((folder / "examples" / "payment.json").read_text())
    with (tmp_path / "day.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(example | {"payment_id": f"p-{number}"}) + "\n" for number in range(ROWS))
    return shroff.open(folder)


def test_the_lake_has_all_that_the_log_has_when_a_worker_ends(project: shroff.Project, tmp_path: Path) -> None:
    told: list[str] = []
    with project.live.worker([tmp_path / "day.jsonl"], as_type="payment", tell=told.append) as worker:
        worker.run()

    with project.lake.open() as lake, project.log.reading() as log:
        assert lake.state.upto == log.last_seq() > ROWS
        assert lake.check().problems == []
    assert told == []


def test_a_lake_that_cannot_be_written_is_told_and_stops_no_decision(project: shroff.Project, tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file is in its place")
    told: list[str] = []
    with project.live.worker([tmp_path / "day.jsonl"], as_type="payment", tell=told.append) as worker:
        work = worker.run()

    assert work.counts.decisions == ROWS
    assert len([words for words in told if words.startswith("the lake is behind the log: ")]) == 1
