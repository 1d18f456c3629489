"""SIGKILL while a lake is written or compacted, at every step of both and of the folder below: each row once after."""

from __future__ import annotations

import random
import signal
import subprocess
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.lake import folder as lake_folder
from shroff.adapters.lake.folder import FolderObjects
from shroff.adapters.log.sqlite import SqliteLog
from shroff.lake import writer as lake_writer
from shroff.lake.check import check
from shroff.lake.reader import LakeReader
from shroff.lake.writer import LakeWriter
from shroff.services import project as app
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import DocumentFolder, Layout, read_state
from tests.support import forks

from .harness import make_project, write_events

pytestmark = pytest.mark.slow
EVENTS = 1_600
PLACES = 60  # of a commit
FOLDERS = {"transaction": DocumentFolder("payment"), "decided": DocumentFolder("decisions", lines=25)}
PROGRAM = f"""
import sys
from pathlib import Path
from shroff.adapters.lake.folder import STEPS as FOLDER_STEPS, FolderObjects
from shroff.adapters.log.sqlite import SqliteLog
from shroff.lake.writer import STEPS, LakeWriter
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import DocumentFolder, Layout
from tests.support.kill import kill_at

log, lake, work, below, switch = sys.argv[1:]
silent = lambda _step: None
above = silent if below == "folder" else kill_at(switch, STEPS)
objects = FolderObjects(lake, on_step=kill_at(switch, FOLDER_STEPS) if below == "folder" else silent)
source = SqliteLog(Path(log), read_only=True)
writer = LakeWriter(RetriedObjects(objects), source, lambda: 1, on_step=above, places_max={PLACES})
if work == "write":
    folders = {{"transaction": DocumentFolder("payment"), "decided": DocumentFolder("decisions", lines=25)}}
    writer.write(Layout(documents=folders))
else:
    writer.compact(files_min=2, target_bytes=1 << 20, grace_ms=0)
"""
KILLS = [
    *(("write", "writer", step) for step in lake_writer.STEPS if step != "done"),
    *(("write", "folder", step) for step in lake_folder.STEPS),
    *(("compact", "writer", step) for step in ("planned", "file", "before finish", "finished")),
    *(("compact", "folder", step) for step in ("written", "named")),
]


def test_a_lake_whose_writers_are_killed_has_each_row_once(tmp_path: Path):
    chance = random.Random(11)
    project = make_project(tmp_path / "bank")
    lines = write_events(tmp_path / "all.jsonl", EVENTS, seed=3).read_bytes().splitlines(keepends=True)
    log, lake = project / ".shroff" / "log.db", tmp_path / "lake"
    ended = []
    for number, (work, below, step) in enumerate(KILLS):
        part = tmp_path / f"{number}.jsonl"
        part.write_bytes(b"".join(lines[len(lines) * number // len(KILLS) : len(lines) * (number + 1) // len(KILLS)]))
        app.open(project).ingest([part])
        count = 1 if step in {"planned", "before finish", "finished", "checkpoint"} else chance.randint(1, 6)
        command = [forks.PYTHON, "-c", PROGRAM, str(log), str(lake), work, below, f"{step}:{count}"]
        ended.append(subprocess.run(command, check=False, capture_output=True).returncode)
    assert ended == [-signal.SIGKILL] * len(KILLS)

    with closing(SqliteLog(log, read_only=True)) as source:
        objects = RetriedObjects(FolderObjects(str(lake)))
        writer = LakeWriter(objects, source, lambda: 1, places_max=PLACES)
        writer.write(Layout(documents=FOLDERS))
        assert_is_the_log(objects, source)
        writer.compact(files_min=2, target_bytes=1 << 20, grace_ms=0)
        assert_is_the_log(objects, source)
    state = read_state(objects)
    assert {path.name for path in objects.list() if path.name.endswith(".parquet")} == set(state.files)


def assert_is_the_log(objects: RetriedObjects, log: SqliteLog) -> None:
    assert check(objects, read_state(objects)).problems == []
    reader = LakeReader(objects)
    records, decisions = rows(log.read()), rows(log.decisions.after())
    assert rows(reader.records()) == records
    assert rows(reader.decisions()) == decisions
    assert rows(reader.flags()) == rows(log.flags.after())
    assert rows(reader.hits()) == rows(log.hits.after())
    payments = [record for record in records if record.kind == "event"]
    assert len(list(objects.list("transaction"))) == len(payments)
    for payment in chance_of(payments):
        found = objects.get(f"transaction/{payment.id}.json")
        assert found is not None
        assert found.data == payment.body + b"\n"
    lines = [line for letter in objects.list("decided") for line in objects.get(letter.name).data.splitlines()]
    assert lines == [decision.document for decision in decisions]


def rows(batches: Any) -> list[Any]:
    return list(chain.from_iterable(batches))


def chance_of(some: list[Any]) -> list[Any]:
    return random.Random(5).sample(some, 40)
