"""A recorded log decided by a cluster: the receipts of one process, however often the run is stopped."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from shroff.adapters.lake.folder import FolderObjects
from shroff.config import TEMPLATE_FOLDER
from shroff.engine.step import Effects
from shroff.errors import LogBusyError, StateError, StorageError, UsageError
from shroff.examples.bank import bank
from shroff.features.cluster.partition_state import Answered
from shroff.features.cluster.partitioned import Cluster
from shroff.lake import cluster_replay_files
from shroff.lake.cluster_replay_files import (
    ReplayRun,
    decide_on_cluster,
    decide_slice,
    fold_partition,
    split_rows,
    write_decisions,
)
from shroff.lake.writer import LakeWriter
from shroff.log.writer import Writer
from shroff.runtime.state_folder import lock_file
from shroff.services import project as app
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import Layout
from shroff.streams.log import DecisionRow
from shroff_plugins.cluster.dask import DaskBackend
from tests.contracts.test_backends import spark_here, started
from tests.journeys.test_same_bytes import HEAD, PAYSIM, in_order_of_time, made_up
from tests.laws.projects import history_of, project
from tests.laws.test_cluster_replay import FEATURES, MANY, RULES
from tests.laws.test_engines import NOW_MS, submission
from tests.support.backends import HereBackend, ProcessBackend
from tests.support.effort import long_after
from tests.support.log_memory import MemoryLog
from tests.support.recorded_lake import Recorded

Rows = list[tuple[Any, ...]]


MADE = {"processes": ProcessBackend, "dask": partial(DaskBackend, workers=2), "spark": spark_here}


@pytest.fixture(scope="module", params=long_after(1, list(MADE)))
def backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from started(MADE[request.param])


def rows_of(decisions: Sequence[DecisionRow]) -> Rows:
    return [(row.seq, row.event, row.id, row.outcome, row.receipt, row.document.decode()) for row in decisions]


def written(out: Path) -> Rows:
    """All decisions in a folder, whose files must follow each other without a gap."""
    files = sorted((out / "decisions").glob("*.parquet"))
    ends = [tuple(map(int, file.stem.split("-"))) for file in files]
    assert ends[0][0] == 1
    assert all(later[0] == before[1] + 1 for before, later in pairwise(ends)), ends
    names = ("seq", "event", "id", "outcome", "receipt", "document")
    return [
        row for file in files for row in zip(*(pq.read_table(file)[name].to_pylist() for name in names), strict=True)
    ]


def recorded(found: app.Project) -> Rows:
    with found.log.reading() as log:
        return rows_of([row for rows in log.decisions.after() for row in rows])


def paysim(folder: Path, lines: Sequence[str]) -> app.Project:
    """PaySim's project with a log of these lines, and its lake."""
    (folder / "payments.csv").write_text("\n".join([HEAD, *lines, ""]), encoding="utf-8")
    return made_of(folder, folder / "payments.csv", "paysim")


def made_of(folder: Path, file: Path, template: str) -> app.Project:
    """A project of a template with a log of a file, and its lake."""
    shutil.copytree(TEMPLATE_FOLDER / template, folder / "project")
    with (folder / "project" / "shroff.yaml").open("a", encoding="utf-8") as settings:
        settings.write(f"\nahead: 3650d\nlake: {json.dumps(str(folder / 'lake'))}\n")
    made = app.open(folder / "project")
    made.ingest(file, as_type="payment")
    with made.lake.open() as lake:
        lake.write()
    return made


def decide(made: app.Project, backend: Any, out: Path, partitions: int, places: int) -> ReplayRun:
    with made.lake.open() as lake:
        return lake.decide(out, Cluster(backend, partitions), places=places)


@pytest.mark.slow
@pytest.mark.parametrize(("partitions", "places"), [(3, 700), (1, 5_000)])
def test_receipts_are_those_of_one_process(backend: Any, tmp_path: Path, partitions: int, places: int):
    made = paysim(tmp_path, list(made_up(1_500)))

    run = decide(made, backend, tmp_path / "out", partitions, places)

    assert (run.after, run.upto, run.decisions, run.differing) == (0, 1_501, 1_500, 0)
    assert written(tmp_path / "out") == recorded(made)


@pytest.mark.long
@pytest.mark.slow
def test_all_payments_of_the_sample_get_the_receipts_of_one_process(backend: Any, tmp_path: Path, data: Path):
    made = paysim(tmp_path, list(in_order_of_time(data / PAYSIM)))

    run = decide(made, backend, tmp_path / "out", 4, 20_000)

    assert (run.decisions, run.differing) == (51_392, 0)
    assert written(tmp_path / "out") == recorded(made)


def made_up_lake(folder: Path, log: MemoryLog) -> RetriedObjects:
    objects = RetriedObjects(FolderObjects(str(folder)))
    LakeWriter(objects, log, lambda: NOW_MS, places_max=25).write(Layout())
    return objects


@pytest.mark.slow
def test_a_log_that_grew_is_decided_on_and_a_version_with_other_features_is_refused(backend: Any, tmp_path: Path):
    log, history = MemoryLog(), [submission(event) for event in history_of(7, 80)]
    opening = partial(FolderObjects, str(tmp_path / "lake"))
    run = partial(decide_on_cluster, opened=opening, models=tmp_path, cluster=Cluster(backend, 2), out=tmp_path / "out")

    Writer(log, project(FEATURES, RULES), lambda: NOW_MS).write(history[:50])
    first = run(made_up_lake(tmp_path / "lake", log), places=20)
    Writer(log, project(FEATURES, RULES.replace("decline", "review")), lambda: NOW_MS).write(history[50:])
    more = run(made_up_lake(tmp_path / "lake", log), places=20)
    again = run(made_up_lake(tmp_path / "lake", log), places=20)
    Writer(log, project(FEATURES, MANY), lambda: NOW_MS).write([])

    assert (first.after, more.after, again.after) == (0, first.upto, more.upto)
    assert (first.differing, more.differing, again.decisions) == (0, 0, 0)
    assert written(tmp_path / "out") == rows_of([row for rows in log.decisions.after() for row in rows])
    with pytest.raises(UsageError, match="a version with other features or lateness became active"):
        run(made_up_lake(tmp_path / "lake", log), places=20)


@pytest.mark.long
@pytest.mark.slow
def test_the_made_up_bank_with_late_payments_gets_the_receipts_of_one_process(backend: Any, tmp_path: Path):
    with (tmp_path / "payments.jsonl").open("wb") as file:
        file.writelines(msgspec.json.encode(item.event) + b"\n" for item in bank(6_000, seed=3))
    made = made_of(tmp_path, tmp_path / "payments.jsonl", "payments")

    run = decide(made, backend, tmp_path / "out", 3, 2_500)

    assert (run.decisions, run.differing) == (6_000, 0)
    assert written(tmp_path / "out") == recorded(made)


@pytest.mark.slow
def test_what_a_process_cannot_do_is_told_in_its_words(backend: Any, tmp_path: Path):
    made = paysim(tmp_path, list(made_up(50)))
    (events,) = (tmp_path / "lake" / "events").rglob("*.parquet")
    events.write_bytes(b"x")

    with pytest.raises(StateError, match=r"^events/.* is damaged \(its checksum does not fit\)"):
        decide(made, backend, tmp_path / "out", 1, 100)


# ---- without processes


class Stopping(HereBackend):
    """Fails at one call of one kind of work, before it or after it."""

    def __init__(self, work: Callable[..., Any], at: int, *, is_done_first: bool) -> None:
        self.work = work
        self.left = at
        self.is_done_first = is_done_first

    def run(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        for item in items:
            self.left -= function is self.work
            fails = self.left == 0 and function is self.work
            result = function(item) if not fails or self.is_done_first else None
            if fails:
                raise StateError("a process is gone")
            yield result


@pytest.mark.slow
@pytest.mark.parametrize("is_done_first", long_after(1, [True, False]))
@pytest.mark.parametrize("work", [split_rows, fold_partition, decide_slice])
def test_a_run_that_was_stopped_goes_on_where_it_was(
    work: Callable[..., Any], is_done_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The log grows meanwhile, and the next run has another size of batches: what was begun keeps its ends."""
    monkeypatch.setattr(cluster_replay_files, "SLICE", 30)
    recorded_lake = Recorded(tmp_path)
    recorded_lake.grow(400)
    made = recorded_lake.project

    for at in (1, 14, 5):
        with pytest.raises(StateError, match="a process is gone"):
            decide(made, Stopping(work, at, is_done_first=is_done_first), tmp_path / "out", 3, 70)
    recorded_lake.grow(120)
    run = decide(made, HereBackend(), tmp_path / "out", 3, 300)
    files = sorted((tmp_path / "out" / "decisions").iterdir())
    again = decide(made, HereBackend(), tmp_path / "out", 3, 70)

    assert run.after > 0
    assert (run.differing, again.decisions, again.after) == (0, 0, run.upto)
    assert written(tmp_path / "out") == recorded(made)
    assert sorted((tmp_path / "out" / "decisions").iterdir()) == files
    assert not list((tmp_path / "out" / "exchange").iterdir())


def test_two_commands_never_decide_into_one_folder(tmp_path: Path):
    made = paysim(tmp_path, list(made_up(20)))

    with (
        lock_file(tmp_path / "out" / "run.lock"),
        pytest.raises(LogBusyError, match="another command is deciding into"),
    ):
        decide(made, HereBackend(), tmp_path / "out", 1, 100)


class Blind(HereBackend):
    """Its processes do not see the folder."""

    def run(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        yield from super().run(function, items)
        for path in items[0][0].out.glob("exchange/*"):
            path.unlink()


def test_a_folder_that_a_process_does_not_see_is_named(tmp_path: Path):
    made = paysim(tmp_path, list(made_up(20)))

    with pytest.raises(StorageError, match=r"cannot read .*write --out to a folder that every machine sees"):
        decide(made, Blind(), tmp_path / "out", 1, 100)


def test_a_file_of_decisions_is_written_again_to_the_byte(tmp_path: Path):
    rows = [DecisionRow(2, "payment", "a", "approve", b"r" * 32, msgspec.json.encode({"id": "a"}))]
    write_decisions(tmp_path, 0, 9, Effects(rows))
    (first,) = (path.read_bytes() for path in tmp_path.iterdir())
    write_decisions(tmp_path, 0, 9, Effects(rows))

    assert [path.name for path in tmp_path.iterdir()] == ["000000000001-000000000009.parquet"]
    assert (tmp_path / "000000000001-000000000009.parquet").read_bytes() == first


def begun(folder: Path, partitions: int = 2, seed: int = 7, out: str = "out") -> ReplayRun:
    log = MemoryLog()
    Writer(log, project(FEATURES, RULES), lambda: NOW_MS).write([submission(event) for event in history_of(seed, 30)])
    lake = folder / f"lake-{seed}"
    cluster = Cluster(HereBackend(), partitions)
    return decide_on_cluster(made_up_lake(lake, log), partial(FolderObjects, str(lake)), folder, cluster, folder / out)


def test_a_folder_goes_on_only_with_what_it_was_begun_with(tmp_path: Path):
    begun(tmp_path)
    begun(tmp_path)

    with pytest.raises(UsageError, match=r"was started with --partitions 2, and keys cannot move"):
        begun(tmp_path, partitions=3)
    (tmp_path / "out" / "run.json").write_text("{")
    with pytest.raises(StateError, match="Begin again with another --out"):
        begun(tmp_path)


def test_decisions_of_another_log_are_refused(tmp_path: Path):
    begun(tmp_path)
    plan = json.loads((tmp_path / "out" / "run.json").read_text())
    (tmp_path / "out" / "run.json").write_text(json.dumps(plan | {"log": "another"}))

    with pytest.raises(UsageError, match="has the decisions of another log"):
        begun(tmp_path)


def test_a_batch_without_places_is_refused(tmp_path: Path):
    made = paysim(tmp_path, list(made_up(20)))

    with pytest.raises(UsageError, match="a batch has at least 1 record, not 0"):
        decide(made, HereBackend(), tmp_path / "out", 1, 0)


class Threads(HereBackend):
    """Computes in threads of one process, as a worker of Dask that has several cores."""

    def run(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        with ThreadPoolExecutor(4) as pool:
            yield from pool.map(function, items)


def test_threads_of_one_process_get_the_receipts_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster_replay_files, "SLICE", 50)
    compute = Answered.compute

    def compute_later(*given: Any) -> Any:
        time.sleep(0.02)  # meanwhile other threads set the answers to their events
        return compute(*given)

    monkeypatch.setattr(Answered, "compute", compute_later)
    made = paysim(tmp_path, list(made_up(400)))

    run = decide(made, Threads(), tmp_path / "out", 2, 401)

    assert run.differing == 0
    assert written(tmp_path / "out") == recorded(made)


def test_two_threads_write_one_file_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = cluster_replay_files.whole_file

    @contextmanager
    def overtaken(path: Path, *rest: Any, **options: Any) -> Iterator[Any]:
        with whole(path, *rest, **options) as file:
            yield file
            monkeypatch.setattr(cluster_replay_files, "whole_file", whole)
            write_decisions(tmp_path, 0, 9, Effects())

    monkeypatch.setattr(cluster_replay_files, "whole_file", overtaken)
    write_decisions(tmp_path, 0, 9, Effects())

    assert [path.name for path in tmp_path.iterdir()] == ["000000000001-000000000009.parquet"]


def test_processes_that_stay_take_the_plan_of_a_new_run(tmp_path: Path):
    begun(tmp_path, partitions=3)
    shutil.rmtree(tmp_path / "out")

    assert begun(tmp_path, partitions=2).differing == 0


def test_states_and_decisions_survive_a_power_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda handle: synced.add(os.fstat(handle).st_ino))

    begun(tmp_path)

    folders = [tmp_path / "out" / "states", tmp_path / "out" / "decisions"]
    files = [path for folder in folders for path in folder.iterdir()]
    assert len(files) > 2
    assert {path.stat().st_ino for path in [*folders, *files]} <= synced


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path):
    begun(tmp_path)
    before = sorted((tmp_path / "out").rglob("*"))
    for name in ("exchange/rows-0-0-0", "states/0-0-0", "decisions/.1-9.parquet.01234567.unfinished"):
        (tmp_path / "out" / name).write_bytes(b"")

    begun(tmp_path)

    assert sorted((tmp_path / "out").rglob("*")) == before


@pytest.mark.parametrize("has_plan", [True, False])
def test_decisions_of_an_unknown_number_are_refused(tmp_path: Path, has_plan: bool):
    """As in a folder of Spark's structured streaming, whose plan has no `done`."""
    begun(tmp_path)
    path = tmp_path / "out" / "run.json"
    plan = json.loads(path.read_text())
    path.unlink()
    if has_plan:
        path.write_text(json.dumps({name: plan[name] for name in plan if name not in {"done", "begun"}}))

    with pytest.raises((StateError, UsageError), match="another --out"):
        begun(tmp_path)


def test_a_command_that_another_one_overtook_decides_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log, history = MemoryLog(), [submission(event) for event in history_of(7, 60)]
    lake = tmp_path / "lake"

    def run(folder: Path) -> ReplayRun:
        objects = RetriedObjects(FolderObjects(str(folder)))
        opening = partial(FolderObjects, str(folder))
        return decide_on_cluster(objects, opening, tmp_path, Cluster(HereBackend(), 2), tmp_path / "out")

    @contextmanager
    def overtaken(*path: Any) -> Iterator[None]:
        monkeypatch.setattr(cluster_replay_files, "lock_file", lock_file)
        Writer(log, project(FEATURES, RULES), lambda: NOW_MS).write(history[30:])
        made_up_lake(lake, log)
        run(lake)
        with lock_file(*path):
            yield

    Writer(log, project(FEATURES, RULES), lambda: NOW_MS).write(history[:30])
    made_up_lake(lake, log)
    shutil.copytree(lake, tmp_path / "earlier")
    monkeypatch.setattr(cluster_replay_files, "lock_file", overtaken)

    for folder in (lake, tmp_path / "earlier"):
        overtaken_run = run(folder)
        assert (overtaken_run.after, overtaken_run.upto) == (log.last_seq(), log.last_seq())
