"""Live decisions of a cluster: the log that one process would have written, whichever process is killed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.lake.folder import FolderObjects
from shroff.adapters.log.sqlite import SqliteLog
from shroff.app import project as app
from shroff.app.live import worker_runs
from shroff.engine.step import Effects
from shroff.errors import StateError
from shroff.events.intake import Submission
from shroff.features.cluster.partitioned import Cluster
from shroff.lake import cluster_replay_files
from shroff.lake.cluster_replay_files import PARTS, decide_live, undecided, write_part
from shroff.lake.compaction import FILES_MIN
from shroff.lake.reader import LakeReader
from shroff.lake.writer import LakeWriter
from shroff.log.writer import Writer
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import Layout
from shroff.streams.log import Batch, Log
from tests.laws.projects import history_of, project
from tests.laws.test_cluster_replay import FEATURES, RULES
from tests.laws.test_engines import NOW_MS, submission
from tests.recovery.harness import make_project, write_events
from tests.support.folding import FoldingBackend
from tests.support.log_memory import MemoryLog

OTHER_RULES = RULES.replace("decline", "review")


class Bank:
    """A sequencer with its lake, one process that decides the same input, and the log that a cluster decides into."""

    def __init__(self, folder: Path, history: Sequence[Submission]) -> None:
        self.folder, self.history = folder, history
        self.ordered, self.alone, self.log = MemoryLog(), MemoryLog(), MemoryLog()
        self.objects = RetriedObjects(FolderObjects(str(folder / "lake")))

    def take(self, rules: str, count: int, *, written: bool = True) -> None:
        """Put so many more in order, and decide them in one process."""
        some, self.history = self.history[:count], self.history[count:]
        version = project(FEATURES, rules)
        sequencer = Writer(self.ordered, undecided(version), lambda: NOW_MS)
        sequencer.decides = False
        sequencer.write([*some, *some[:3]])  # repeats get no place
        Writer(self.alone, version, lambda: NOW_MS).write(some)
        if written:
            LakeWriter(self.objects, self.ordered, lambda: NOW_MS, places_max=25).write(Layout())

    def decide(self, backend: Any, goes_on: Any = None) -> None:
        opened = partial(FolderObjects, str(self.folder / "lake"))
        asked = goes_on or (lambda: self.log.last_seq() < self.ordered.last_seq())
        cluster, out = Cluster(backend, 2), self.folder / "out"
        decide_live(opened, self.folder, cluster, out, self.log, lambda: NOW_MS, asked)


def content(log: Log) -> tuple[list[Any], ...]:
    rows = log.read(), log.decisions_after(), log.hits_after(), log.flags_after()
    return tuple([row for some in pieces for row in some] for pieces in rows)


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    monkeypatch.setattr(cluster_replay_files, "PLACES", 7)
    monkeypatch.setattr(cluster_replay_files, "LOOK_S", 0.0)
    return Bank(tmp_path, [submission(event) for event in history_of(7, 60)])


def test_the_log_is_the_one_of_one_process_while_versions_change(bank: Bank):
    bank.take(RULES, 20)
    more = [(RULES, 15), (OTHER_RULES, 15)]

    def goes_on() -> bool:
        if bank.log.last_seq() == bank.ordered.last_seq():
            if not more:
                return False
            bank.take(*more.pop(0))
        return True

    bank.decide(FoldingBackend(), goes_on)

    assert content(bank.log) == content(bank.alone)
    assert content(bank.ordered)[1] == []
    assert list((bank.folder / "out" / PARTS).iterdir()) == []


class _Killed(Exception):  # noqa: N818 (it stands for kill -9)
    pass


class _Mortal(FoldingBackend):
    """Is killed at a step of its own: before or after a part is written, or its stretch is noted as done."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise _Killed

    def save(self, *told: Any) -> None:
        self.step()
        super().save(*told)
        self.step()

    def stream(self, spread: Any, checkpoint: Path, places: int, write: Any, done: Any, goes_on: Any) -> None:
        def mortal(after: int, upto: int, effects: Effects) -> None:
            write(after, upto, effects)
            self.step()

        super().stream(spread, checkpoint, places, mortal, done, goes_on)


class _Torn(MemoryLog):
    """Is killed behind the commit of each second batch, before anybody knows of it."""

    count = 0

    def append(self, batch: Batch) -> None:
        super().append(batch)
        self.count += 1
        if self.count % 2 and batch.records:
            raise _Killed


def test_a_driver_that_is_killed_anywhere_loses_and_doubles_nothing(bank: Bank):
    bank.log = _Torn()
    bank.take(RULES, 16)
    deaths = 0
    while bank.log.last_seq() < bank.ordered.last_seq():
        try:
            bank.decide(_Mortal(1 + deaths % 4))
        except _Killed:
            deaths += 1
        assert deaths < 20

    assert deaths >= 4
    assert content(bank.log) == content(bank.alone)


def test_a_log_that_lost_its_end_is_named_and_not_waited_for(bank: Bank):
    bank.take(RULES, 8)
    bank.decide(FoldingBackend())
    bank.log = MemoryLog()
    bank.take(RULES, 8)

    with pytest.raises(StateError, match=r"the log ends at sequence number 0, and the cluster has decided up to"):
        bank.decide(FoldingBackend())


def test_a_part_is_written_again_to_the_byte(tmp_path: Path):
    write_part(tmp_path, 0, 9, Effects())
    (first,) = (path.read_bytes() for path in tmp_path.iterdir())
    write_part(tmp_path, 0, 9, Effects())

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [first]


def test_the_lake_of_a_sequencer_puts_its_small_files_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_runs, "COMPACTED_EVERY", 1)
    made, file = app.open(make_project(tmp_path / "bank")), tmp_path / "events.jsonl"
    own = made.context.paths.state / worker_runs.SEQUENCER
    lines = write_events(file, 24, 1).read_bytes().splitlines(keepends=True)
    for first in range(0, 24, 4):
        file.write_bytes(b"".join(lines[first : first + 4]))
        with made.live.worker([file], sequences=True) as worker:
            worker.run()

    lake = LakeReader(RetriedObjects(FolderObjects(str(own / "lake"))))
    with closing(SqliteLog(own / "log.db", read_only=True)) as log:
        assert [row for rows in lake.records() for row in rows] == [row for rows in log.read() for row in rows]
    assert len(lake.state.replaced) >= FILES_MIN
