"""A lake as Delta tables: whatever is written, compacted and killed, a reader of Delta sees each row once."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path
from random import Random
from typing import Any

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.adapters.log.memory import MemoryLog
from shroff.app import project as app
from shroff.cli.main import run
from shroff.events.intake import Intake
from shroff.lake.delta import publish, stopped_tables, table_of
from shroff.lake.delta_schema import schema_of
from shroff.lake.reader import LakeReader
from shroff.lake.writer import LakeWriter
from shroff.log.writer import Writer
from shroff.monitoring.doctor import WRONG, look_at_lake
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import read_state
from tests.lake.test_lake import small_log
from tests.support import projects
from tests.support.objects import FaultyObjects, MemoryObjects
from tests.support.projects import NOW_MS, label, submission

HISTORIES = 5


class KilledError(Exception):
    """What ends a program in the middle."""


class Killing(FaultyObjects):
    """Objects whose program is killed at the n-th change, before or after it is done."""

    left, is_done = 1 << 30, False

    def _counted(self, work: Any) -> Any:
        self.left -= 1
        answer = work() if self.left or self.is_done else None
        if self.left == 0:
            raise KilledError
        return answer

    def put(self, name: str, data: bytes) -> bool:
        return self._counted(lambda: MemoryObjects.put(self, name, data))

    def replace(self, name: str, data: bytes, version: str) -> bool:
        return self._counted(lambda: MemoryObjects.replace(self, name, data, version))

    def delete(self, name: str) -> None:
        self._counted(lambda: MemoryObjects.delete(self, name))


def patient(objects: Any) -> RetriedObjects:
    return RetriedObjects(objects, lambda _s: None)


def lake_writer(objects: Any, log: MemoryLog, *, is_delta: bool = True) -> LakeWriter:
    found = patient(objects)
    hook = {"publish": lambda state: expect_none(publish(found, state).problems)} if is_delta else {}
    return LakeWriter(found, log, lambda: NOW_MS, places_max=6, **hook)


def expect_none(problems: list[str]) -> None:
    assert problems == []


def compact(writer: LakeWriter) -> None:
    writer.compact(files_min=2, target_bytes=1 << 20, grace_ms=0)


def pay(log: MemoryLog, first: int, count: int) -> None:
    fields = [
        {"id": f"n{n}", "at": f"2026-03-{3 + n // 9:02d}T10:{n:02d}:00Z", "card": "c", "amount": f"{n}.00"}
        for n in range(first, first + count)
    ]
    writer = projects.writer(log)
    writer.write([submission("payment", 100 + first + n, one) for n, one in enumerate(fields)])
    writer.write([label(100 + first, f"payment/n{first}", "fraud", "chargeback", "2026-03-20T00:00:00Z")])


def pay_with(log: MemoryLog, field: str, id_: str) -> None:
    """A payment by events.yaml with one more field."""
    changed = projects.FILES["events.yaml"].replace("card: text?", f"card: text?, {field}")
    project = projects.definitions({"events.yaml": changed})
    fields = {"id": id_, "at": "2026-03-02T10:00:00Z", "card": "c", "amount": "1.00"}
    raw = json.dumps(fields).encode()
    intake = Intake(project.events, project.settings, None)
    one = intake.submit("payment", fields, source="test", place=id_, raw=raw, is_strict=False)
    Writer(log, project, lambda: NOW_MS).write([one])


# ---- what a table is, by the words of the protocol


def active(objects: MemoryObjects) -> dict[str, set[str]]:
    """The files of each table: those of `add`, less those of `remove`, version by version."""
    found: dict[str, set[str]] = {}
    for name in sorted(name for name in objects.objects if "/_delta_log/" in name and name.endswith(".json")):
        table = name.partition("/_delta_log/")[0]
        files = found.setdefault(table, set())
        for action in map(json.loads, objects.objects[name][0].splitlines()):
            if "remove" in action:
                files.remove(f"{table}/{action['remove']['path']}")
            if "add" in action:
                assert f"{table}/{action['add']['path']}" not in files
                files.add(f"{table}/{action['add']['path']}")
    return found


def seqs(objects: MemoryObjects, paths: Any) -> Counter[tuple[str, int, int]]:
    """How often each row is there: by its table, place and number."""
    found: Counter[tuple[str, int, int]] = Counter()
    for path in paths:
        table = pq.read_table(pa.BufferReader(objects.objects[path][0]))
        numbers = table["number"].to_pylist() if "number" in table.schema.names else [0] * table.num_rows
        found.update(zip([table_of(path)] * table.num_rows, table["seq"].to_pylist(), numbers, strict=True))
    return found


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_a_reader_of_delta_sees_each_row_once_whatever_is_written_compacted_and_killed(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shroff.lake.delta.CHECKPOINT_EVERY", 2 + seed % 2)
    chance, objects, log = Random(seed), Killing(), small_log(6)
    paid, is_always = 0, seed % 2 == 0  # a writer that does not publish may remove files that Delta still names
    for _ in range(7):
        objects.left, objects.is_done = chance.choice([chance.randint(1, 25), 1 << 30]), chance.random() < 0.5
        writer = lake_writer(objects, log, is_delta=is_always or chance.random() < 0.7)
        with suppress(KilledError):
            match chance.choice(["pay", "write", "write", "compact", "publish"]):
                case "pay":
                    pay(log, paid := paid + 9, 9)
                case "write":
                    writer.write()
                case "compact":
                    compact(writer)
                case "publish":
                    expect_none(publish(patient(objects), writer.state(), is_thorough=chance.random() < 0.5).problems)
        objects.left = 1 << 30
        in_delta = {path for paths in active(objects).values() for path in paths}
        is_there = in_delta & objects.objects.keys()
        assert is_there == in_delta or not is_always
        assert max(seqs(objects, is_there).values(), default=1) == 1
    state = read_state(patient(objects))
    if state.planned is not None:
        lake_writer(objects, log).write()
        state = read_state(patient(objects))
    expect_none(publish(patient(objects), state).problems)

    assert {path for paths in active(objects).values() for path in paths} == set(state.files)
    counted = seqs(objects, state.files)
    assert set(counted.values()) <= {1}
    if is_always:
        assert streamed(objects) == sum(counted.values())
    only_behind_checkpoints(objects)
    assert read_by_deltalake(objects, tmp_path) == Counter(table for table, *_ in counted)


def streamed(objects: MemoryObjects) -> int:
    """The rows that a stream of each table gets: files that are added as data. None is ever removed as data."""
    logs = [data for name, (data, _) in objects.objects.items() if "/_delta_log/" in name and name.endswith(".json")]
    actions = [json.loads(line) for data in logs for line in data.splitlines()]
    assert not any(one["remove"]["dataChange"] for one in actions if "remove" in one)
    return sum(json.loads(one["add"]["stats"])["numRecords"] for one in actions if one.get("add", {}).get("dataChange"))


def only_behind_checkpoints(objects: MemoryObjects) -> None:
    """Remove the commits that checkpoints have, so that a reader must take those."""
    for name in [name for name in objects.objects if name.endswith("/_last_checkpoint")]:
        log, last = name.rpartition("/")[0], json.loads(objects.objects[name][0])["version"]
        for version in range(last + 1):
            objects.objects.pop(f"{log}/{version:020d}.json")


def read_by_deltalake(objects: MemoryObjects, folder: Path) -> Counter[str]:
    for name, (data, _) in objects.objects.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    tables = {str(log.parent.relative_to(folder)) for log in folder.rglob("_delta_log")}
    return Counter({table: opened(folder, table).to_pyarrow_table().num_rows for table in tables})


def opened(folder: Path, table: str) -> Any:
    return deltalake.DeltaTable(str(folder / table))


# ---- one commit


def test_a_commit_says_the_manifest_as_its_transaction_and_is_put_once():
    objects, log = MemoryObjects(), small_log()
    lake_writer(objects, log).write()
    state = read_state(patient(objects))
    before = dict(objects.objects)

    assert publish(patient(objects), state, is_thorough=True).commits == {}
    assert objects.objects == before
    last = max(name for name in before if name.startswith("events/type=payment/_delta_log/"))
    actions = [json.loads(line) for line in before[last][0].splitlines()]
    told = {one["txn"]["appId"]: one["txn"]["version"] for one in actions if "txn" in one}
    name = f"shroff-lake-{state.log}-0"
    assert told == {name: state.number, f"{name}-seq": state.upto}


def test_one_that_was_behind_keeps_new_rows_and_compactions_apart():
    objects, log = MemoryObjects(), small_log(6)
    lake_writer(objects, log).write()
    quiet = lake_writer(objects, log, is_delta=False)
    for first in (0, 9):
        pay(log, first, 9)
        quiet.write()
    quiet.compact(files_min=2, target_bytes=1 << 20, grace_ms=1 << 40)
    state = read_state(patient(objects))

    assert publish(patient(objects), state).commits["events/type=payment"] == 2
    assert {path for paths in active(objects).values() for path in paths} == set(state.files)
    assert streamed(objects) == sum(file.rows for file in state.files.values())


def test_a_checkpoint_has_what_the_commits_come_to_and_the_next_one_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shroff.lake.delta.CHECKPOINT_EVERY", 2)
    objects, log = MemoryObjects(), small_log(6)
    for first in range(0, 45, 9):
        lake_writer(objects, log).write()
        pay(log, first, 9)
    compact(lake_writer(objects, log))
    labels = [name.rpartition("/")[2] for name in objects.objects if name.startswith("labels/_delta_log/")]
    rows = sum(seqs(objects, read_state(patient(objects)).files).values())

    assert {"_last_checkpoint", f"{2:020d}.checkpoint.parquet", f"{4:020d}.checkpoint.parquet"} <= set(labels)
    only_behind_checkpoints(objects)
    assert read_by_deltalake(objects, tmp_path).total() == rows
    table = opened(tmp_path, "labels")
    assert table.transaction_version(f"shroff-lake-{read_state(patient(objects)).log}-0-seq") > 0


def test_of_two_publishers_the_second_finds_what_the_first_did():
    objects, log = MemoryObjects(), small_log()
    lake_writer(objects, log, is_delta=False).write()
    early = read_state(patient(objects))
    compact(lake_writer(objects, log, is_delta=False))
    late = read_state(patient(objects))

    publish(patient(objects), late)
    publish(patient(objects), early, is_thorough=True)

    assert {path for paths in active(objects).values() for path in paths} == set(late.files)


def test_lanes_share_a_table_and_each_has_its_own_transaction():
    objects = MemoryObjects()
    for lane in (0, 1):
        found = patient(objects)
        LakeWriter(
            found,
            small_log(6 + lane),
            lambda: NOW_MS,
            lane=lane,
            publish=lambda state, found=found: publish(found, state),
        ).write()

    states = [read_state(patient(objects), lane) for lane in (0, 1)]
    assert active(objects)["events/type=payment"] == {
        path for state in states for path in state.files if path.startswith("events/")
    }
    last = max(name for name in objects.objects if name.startswith("events/type=payment/_delta_log/"))
    told = [one["txn"]["version"] for one in map(json.loads, objects.objects[last][0].splitlines()) if "txn" in one]
    assert told == [number for state in states for number in (state.number, state.upto)]


def test_a_version_of_another_program_is_refused_until_its_log_is_removed():
    objects, log = MemoryObjects(), small_log()
    lake_writer(objects, log, is_delta=False).write()
    state = read_state(patient(objects))
    publish(patient(objects), state)
    foreign = b'{"commitInfo":{"engineInfo":"Apache-Spark/4.0","operation":"OPTIMIZE"}}\n'
    objects.put(f"labels/_delta_log/{1:020d}.json", foreign)

    [problem] = publish(patient(objects), state, is_thorough=True).problems
    assert stopped_tables(patient(objects), 0) == [problem]
    assert look_at_lake(lambda: nullcontext(LakeReader(patient(objects))), None).state == WRONG
    assert problem.startswith("labels: version 1 of its Delta table was written by another program (Apache-Spark/4.0)")
    for name in [name for name in objects.objects if name.startswith("labels/_delta_log/")]:
        objects.delete(name)
    assert publish(patient(objects), state, is_thorough=True).commits == {"labels": 1}


def test_a_column_of_another_type_stops_its_table_alone_and_new_columns_are_added(tmp_path: Path):
    objects, log = MemoryObjects(), small_log(3)
    lake_writer(objects, log).write()
    pay_with(log, "note: text?", "x1")
    lake_writer(objects, log).write()
    read_by_deltalake(objects, tmp_path)
    assert opened(tmp_path, "events/type=payment").to_pyarrow_table()["note"].to_pylist() == [None] * 4

    pay_with(log, "note: integer?", "x2")
    lake_writer(objects, log, is_delta=False).write()
    published = publish(patient(objects), read_state(patient(objects)))
    [problem] = published.problems
    assert "events/type=payment: column 'note' was string and is long now." in problem
    assert published.commits["decisions/event=payment"] == 1
    assert publish(patient(objects), read_state(patient(objects)), is_thorough=True).problems == [problem]


@pytest.mark.parametrize(
    ("type_", "partition", "words"),
    [(pa.uint8(), (), "column 'a' has the type uint8"), (pa.int32(), ("a",), "'a' is in the files and in the names")],
)
def test_a_column_that_delta_cannot_have_is_named(type_: pa.DataType, partition: tuple[str, ...], words: str):
    with pytest.raises(ValueError, match=words):
        schema_of(pa.schema([("a", type_)]), partition)


# ---- the command and the setting


def test_the_setting_publishes_each_commit_and_the_command_catches_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    bank = tmp_path / "bank"
    for name, text in projects.FILES.items():
        (bank / name).parent.mkdir(parents=True, exist_ok=True)
        (bank / name).write_text(text)
    settings = projects.FILES["shroff.yaml"]
    (bank / "shroff.yaml").write_text(f"{settings}lake: ./lake\n")
    events = tmp_path / "events.jsonl"
    lines = [{"id": f"p{n}", "at": f"2026-03-01T12:{n:02d}:00Z", "card": "c", "amount": "5.00"} for n in range(9)]
    events.write_text("\n".join(json.dumps({"payment": one}) for one in lines))
    app.open(bank).ingest(events)

    def command(*words: str) -> Any:
        capsys.readouterr()
        assert run(["-C", str(bank), "lake", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    command("write")
    assert not (bank / "lake/labels/_delta_log").exists()
    told = command("publish")
    assert (told["manifest"], told["commits"]["events/type=payment"], told["problems"]) == (1, 1, [])

    (bank / "shroff.yaml").write_text(f"{settings}lake: {{ to: ./lake, delta: true }}\n")
    more = [one | {"id": f"q{n}"} for n, one in enumerate(lines)]
    events.write_text("\n".join(json.dumps({"payment": one}) for one in more))
    app.open(bank).ingest(events)
    command("write")
    command("compact", "--least", "2", "--grace", "0s")

    assert command("publish")["commits"] == {}
    found = opened(bank / "lake", "events/type=payment")
    assert [found.to_pyarrow_table().num_rows, len(found.file_uris())] == [18, 1]
    assert pl.read_delta(str(bank / "lake/events/type=payment"))["id"].n_unique() == 18
    arrow = found.to_pyarrow_dataset()
    assert duckdb.sql("SELECT count(*), sum(amount)::DOUBLE FROM arrow").fetchall() == [(18, 90.0)]
    assert arrow
