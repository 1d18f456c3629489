"""A lake as tables of Delta and of Iceberg: whatever is written, compacted and killed, a reader sees each row once."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import load_catalog

from shroff.adapters.lake.iceberg import CatalogSettings, IcebergTables, location_of, settings_in
from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.events.intake import Intake
from shroff.lake.delta_schema import schema_of
from shroff.lake.publication import TableChange, TableFormat, publish, stopped_tables, table_of
from shroff.lake.reader import LakeReader
from shroff.lake.writer import LakeWriter
from shroff.log.writer import Writer
from shroff.monitoring.doctor import WRONG
from shroff.monitoring.doctor_systems import look_at_lake
from shroff.services import project as app
from shroff.streams.lake_manifest import read_state
from tests.lake.test_lake import small_log
from tests.support import projects
from tests.support.effort import long_but
from tests.support.lake_tables import FORMATS, KilledError, Killing, Published, patient
from tests.support.log_memory import MemoryLog
from tests.support.objects import MemoryObjects
from tests.support.projects import NOW_MS, label, submission


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Published]]:
    """Makes the tables of a lake in memory, in a format."""
    with ExitStack() as held:

        def make(kind: str) -> Published:
            return held.enter_context(closing(FORMATS[kind](Killing(), tmp_path)))

        yield make


@pytest.fixture(params=FORMATS)
def published(request: pytest.FixtureRequest, made: Callable[..., Published]) -> Published:
    return made(request.param)


def lake_writer(objects: Any, log: MemoryLog, tables: TableFormat | None = None) -> LakeWriter:
    found = patient(objects)
    hook = {} if tables is None else {"publish": lambda state: expect_none(publish(found, state, tables).problems)}
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
    writer.write([submission("payment", 100 + first + n, field) for n, field in enumerate(fields)])
    writer.write([label(100 + first, f"payment/n{first}", "fraud", "chargeback", "2026-03-20T00:00:00Z")])


def pay_with(log: MemoryLog, field: str, id_: str) -> None:
    """A payment by events.yaml with one more field."""
    changed = projects.FILES["events.yaml"].replace("card: text?", f"card: text?, {field}")
    project = projects.definitions({"events.yaml": changed})
    fields = {"id": id_, "at": "2026-03-02T10:00:00Z", "card": "c", "amount": "1.00"}
    raw = json.dumps(fields).encode()
    intake = Intake(project.events, project.settings, None)
    submission = intake.submit("payment", fields, source="test", place=id_, raw=raw, is_strict=False)
    Writer(log, project, lambda: NOW_MS).write([submission])


def seqs(objects: MemoryObjects, paths: Any) -> Counter[tuple[str, int, int]]:
    """How often each row is there: by its table, place and number."""
    found: Counter[tuple[str, int, int]] = Counter()
    for path in paths:
        found += rows_of(table_of(path), pq.read_table(pa.BufferReader(objects.objects[path][0])))
    return found


def rows_of(name: str, table: pa.Table) -> Counter[tuple[str, int, int]]:
    numbers = table["number"].to_pylist() if "number" in table.schema.names else [0] * table.num_rows
    return Counter(zip([name] * table.num_rows, table["seq"].to_pylist(), numbers, strict=True))


smoke_of = {
    "iceberg": (
        "test_a_reader_sees_each_row_once_whatever_is_written_compacted_and_killed",
        "test_a_commit_says_the_manifest_as_its_transaction_and_is_made_once",
        "test_a_commit_behind_a_head_that_is_no_longer_the_last_is_not_made",
        "test_a_version_of_another_program_is_refused_until_the_table_is_removed",
        "test_a_column_of_another_type_stops_its_table_alone_and_new_columns_are_added",
        "test_the_setting_publishes_each_commit_and_the_command_catches_up",
    )
}
PUBLISHED = [*(("delta", seed) for seed in range(5)), *(("iceberg", seed) for seed in range(9))]


@pytest.mark.slow
# Seeds of two formats.
@pytest.mark.parametrize(("kind", "seed"), long_but(PUBLISHED, ("delta", 0), ("iceberg", 0)))
def test_a_reader_sees_each_row_once_whatever_is_written_compacted_and_killed(
    kind: str, seed: int, made: Callable[..., Published], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shroff.lake.delta.CHECKPOINT_EVERY", 2 + seed % 2)
    monkeypatch.setattr("shroff.adapters.lake.iceberg.SNAPSHOTS_KEPT", 2)
    published, chance, log = made(kind), Random(seed), small_log(6)
    objects, tables = published.objects, published.tables()
    paid, is_always = 0, seed % 2 == 0  # a writer that does not publish may remove files that the tables still name
    for _ in range(7):
        objects.left, objects.is_done = chance.choice([chance.randint(1, 25), 1 << 30]), chance.random() < 0.5
        writer = lake_writer(objects, log, tables if is_always or chance.random() < 0.7 else None)
        with suppress(KilledError):
            match chance.choice(["pay", "write", "write", "compact", "publish"]):
                case "pay":
                    pay(log, paid := paid + 9, 9)
                case "write":
                    writer.write()
                case "compact":
                    compact(writer)
                case "publish":
                    state, is_thorough = writer.state(), chance.random() < 0.5
                    expect_none(publish(patient(objects), state, tables, is_thorough=is_thorough).problems)
        objects.left = 1 << 30
        named = {path for paths in published.active().values() for path in paths}
        is_there = named & objects.objects.keys()
        assert is_there == named or not is_always
        assert max(seqs(objects, is_there).values(), default=1) == 1
    state = read_state(patient(objects))
    if state.planned is not None:
        lake_writer(objects, log, tables).write()
        state = read_state(patient(objects))
    expect_none(publish(patient(objects), state, tables).problems)

    assert {path for paths in published.active().values() for path in paths} == set(state.files)
    counted = seqs(objects, state.files)
    assert set(counted.values()) <= {1}
    there = published.active()
    only_behind_checkpoints(objects)
    read = {table: published.read(table) for table in there}
    assert sum((rows_of(table, rows) for table, rows in read.items()), Counter()) == counted


def only_behind_checkpoints(objects: MemoryObjects) -> None:
    """Remove the commits that checkpoints have, so that a reader must take those."""
    for name in [name for name in objects.objects if name.endswith("/_last_checkpoint")]:
        log, last = name.rpartition("/")[0], json.loads(objects.objects[name][0])["version"]
        for version in range(last + 1):
            objects.objects.pop(f"{log}/{version:020d}.json")


# ---- one commit


@pytest.mark.slow
def test_a_commit_says_the_manifest_as_its_transaction_and_is_made_once(published: Published):
    objects, log, tables = published.objects, small_log(), published.tables()
    lake_writer(objects, log, tables).write()
    state = read_state(patient(objects))
    before, versions = dict(objects.objects), publish(patient(objects), state, tables, is_thorough=True).versions

    assert publish(patient(objects), state, published.tables(), is_thorough=True).commits == {}
    assert objects.objects == before
    assert publish(patient(objects), state, tables, is_thorough=True).versions == versions
    name = f"shroff-lake-{state.log}"
    assert published.transactions("events/type=payment") == {name: state.number, f"{name}-seq": state.upto}


@pytest.mark.slow
def test_one_that_was_behind_keeps_new_rows_and_compactions_apart(published: Published):
    objects, log, tables = published.objects, small_log(6), published.tables()
    lake_writer(objects, log, tables).write()
    quiet = lake_writer(objects, log)
    for first in (0, 9):
        pay(log, first, 9)
        quiet.write()
    quiet.compact(files_min=2, target_bytes=1 << 20, grace_ms=1 << 40)
    state = read_state(patient(objects))

    assert publish(patient(objects), state, tables).commits["events/type=payment"] == 2
    assert {path for paths in published.active().values() for path in paths} == set(state.files)
    assert published.streamed() == sum(file.rows for file in state.files.values())


def test_of_two_publishers_the_second_finds_what_the_first_did(published: Published):
    objects, log = published.objects, small_log()
    lake_writer(objects, log).write()
    early = read_state(patient(objects))
    compact(lake_writer(objects, log))
    late = read_state(patient(objects))

    publish(patient(objects), late, published.tables())
    publish(patient(objects), early, published.tables(), is_thorough=True)

    assert {path for paths in published.active().values() for path in paths} == set(late.files)


@pytest.mark.slow
def test_a_commit_behind_a_head_that_is_no_longer_the_last_is_not_made(published: Published):
    objects, log, table = published.objects, small_log(), "events/type=payment"
    lake_writer(objects, log).write()
    for _ in range(2):  # a table that is made, and one that is there
        slow, state = published.tables(), read_state(patient(objects))
        head = slow.head(table, -1)
        publish(patient(objects), state, published.tables())
        before = published.active()

        change = TableChange(
            state.number,
            NOW_MS,
            state.upto,
            {file.path: file for file in state.files.values() if table_of(file.path) == table},
        )
        assert slow.commit(state, table, head, change) is None
        assert published.active() == before
        assert slow.head(table, head.version).version > head.version
        pay(log, 9 * state.number, 9)
        lake_writer(objects, log).write()


def test_a_version_of_another_program_is_refused_until_the_table_is_removed(published: Published):
    objects, log, tables = published.objects, small_log(), published.tables()
    lake_writer(objects, log).write()
    state = read_state(patient(objects))
    publish(patient(objects), state, tables)
    published.spoil("labels")

    [problem] = publish(patient(objects), state, tables, is_thorough=True).problems
    assert stopped_tables(patient(objects), [tables.name]) == [problem]
    reader, found = LakeReader(patient(objects)), nullcontext([tables])
    assert look_at_lake(lambda: nullcontext(reader), lambda _: found, 0).state == WRONG
    assert problem.startswith("labels: ")
    assert "by another program" in problem
    published.remove("labels")
    assert publish(patient(objects), state, tables, is_thorough=True).commits == {"labels": 1}


def test_a_column_of_another_type_stops_its_table_alone_and_new_columns_are_added(published: Published):
    objects, log, tables = published.objects, small_log(3), published.tables()
    lake_writer(objects, log, tables).write()
    pay_with(log, "note: text?", "x1")
    lake_writer(objects, log, tables).write()
    assert published.read("events/type=payment")["note"].to_pylist() == [None] * 4

    pay_with(log, "note: integer?", "x2")
    lake_writer(objects, log).write()
    done = publish(patient(objects), read_state(patient(objects)), tables)
    [problem] = done.problems
    assert problem.startswith("events/type=payment: ")
    assert "note" in problem
    assert "string" in problem
    assert done.commits["decisions/event=payment"] == 1
    assert publish(patient(objects), read_state(patient(objects)), tables, is_thorough=True).problems == [problem]


# ---- Delta alone


@pytest.mark.slow
def test_a_checkpoint_has_what_the_commits_come_to_and_the_next_one_goes_on_from_it(
    made: Callable[..., Published], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shroff.lake.delta.CHECKPOINT_EVERY", 2)
    published, log = made("delta"), small_log(6)
    objects, tables = published.objects, published.tables()
    for first in range(0, 45, 9):
        lake_writer(objects, log, tables).write()
        pay(log, first, 9)
    compact(lake_writer(objects, log, tables))
    labels = [name.rpartition("/")[2] for name in objects.objects if name.startswith("labels/_delta_log/")]
    rows = sum(seqs(objects, read_state(patient(objects)).files).values())

    assert {"_last_checkpoint", f"{2:020d}.checkpoint.parquet", f"{4:020d}.checkpoint.parquet"} <= set(labels)
    there = published.active()
    only_behind_checkpoints(objects)
    assert sum(published.read(table).num_rows for table in there) == rows
    table = deltalake.DeltaTable(str(published.folder / "labels"))
    assert table.transaction_version(f"shroff-lake-{read_state(patient(objects)).log}-seq") > 0


@pytest.mark.parametrize(
    ("type_", "partition", "words"),
    [(pa.uint8(), (), "column 'a' has the type uint8"), (pa.int32(), ("a",), "'a' is in the files and in the names")],
)
def test_a_column_that_delta_cannot_have_is_named(type_: pa.DataType, partition: tuple[str, ...], words: str):
    with pytest.raises(ValueError, match=words):
        schema_of(pa.schema([("a", type_)]), partition)


# ---- the command and the setting


CATALOG = "catalog: {{ name: test, properties: {{ type: sql, uri: 'sqlite:///{uri}' }} }}"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    folder = tmp_path / "bank"
    for name, text in projects.FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    set_lake(folder, "")
    ingest(folder, "p")
    return folder


def set_lake(bank: Path, more: str) -> None:
    (bank / "shroff.yaml").write_text(f"{projects.FILES['shroff.yaml']}lake: {{ to: ./lake, {more} }}\n")


def ingest(bank: Path, letter: str) -> None:
    lines = [
        {"payment": {"id": f"{letter}{n}", "at": f"2026-03-01T12:{n:02d}:00Z", "card": "c", "amount": "5.00"}}
        for n in range(9)
    ]
    (bank.parent / "events.jsonl").write_text("\n".join(map(json.dumps, lines)))
    app.open(bank).ingest(bank.parent / "events.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_the_setting_publishes_each_commit_and_the_command_catches_up(
    kind: str, bank: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def command(*words: str) -> Any:
        capsys.readouterr()
        assert run(["-C", str(bank), "lake", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    command("write")
    assert not (bank / "lake/labels/_delta_log").exists()
    set_lake(bank, "" if kind == "delta" else CATALOG.format(uri="catalog.db"))
    [told] = command("publish")["formats"]
    assert (told["manifest"], told["commits"]["events/type=payment"], told["problems"]) == (1, 1, [])

    set_lake(bank, "delta: true" if kind == "delta" else CATALOG.format(uri="catalog.db"))
    ingest(bank, "q")
    command("write")
    command("compact", "--least", "2", "--grace", "0s")

    assert command("publish")["formats"][0]["commits"] == {}
    table, frame, files = delta_readers(bank) if kind == "delta" else iceberg_readers(bank, monkeypatch)
    assert (table.num_rows, frame["id"].n_unique(), len(files)) == (18, 18, 1)
    named = ", ".join(f"'{file}'" for file in files)
    assert duckdb.sql(f"SELECT count(*), sum(amount)::DOUBLE FROM read_parquet([{named}])").fetchall() == [(18, 90.0)]


def delta_readers(bank: Path) -> tuple[pa.Table, pl.DataFrame, list[str]]:
    """A table by the format's own reader, by Polars, and its files."""
    at = str(bank / "lake/events/type=payment")
    found = deltalake.DeltaTable(at)
    return found.to_pyarrow_table(), pl.read_delta(at), found.file_uris()


def iceberg_readers(bank: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[pa.Table, pl.DataFrame, list[str]]:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    with closing(load_catalog("test", type="sql", uri=f"sqlite:///{bank}/catalog.db")) as catalog:
        found = catalog.load_table("shroff.events_payment")
        frame = pl.scan_iceberg(found).filter(pl.col("time") < datetime(2026, 3, 2, tzinfo=UTC)).collect()
        day = "time >= '2026-03-01T00:00:00+00:00' and seq < 100"
        assert not list(found.scan(day.replace("-01T", "-02T")).plan_files())
        assert not list(found.scan(day.replace("100", "1")).plan_files())
        assert list(found.scan(day.replace("< 100", "> 10")).plan_files())
        files = [task.file.file_path.removeprefix("file://") for task in found.scan(day).plan_files()]
        return found.scan(day, selected_fields=("id",)).to_arrow(), frame, files


def test_a_catalog_that_is_away_stops_compactions_and_publications_and_not_the_lake(
    bank: Path, capsys: pytest.CaptureFixture[str]
):
    set_lake(bank, CATALOG.format(uri="/none/secret/catalog.db"))
    assert run(["-C", str(bank), "lake", "write"]) == 0
    said = capsys.readouterr().err
    assert "Iceberg tables of test.shroff cannot be reached or written: OperationalError" in said
    assert said.count("cannot be reached") == 1
    assert "secret" not in said
    assert run(["-C", str(bank), "lake", "check"]) == 0
    for words in ("publish", "compact"):
        assert run(["-C", str(bank), "lake", words]) == 3
    capsys.readouterr()
    assert run(["-C", str(bank), "doctor"]) == 1
    assert "Iceberg tables of test.shroff cannot be reached" in capsys.readouterr().out


def test_a_missing_extra_is_named(bank: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyiceberg.catalog", None)
    set_lake(bank, CATALOG.format(uri="catalog.db"))
    assert run(["-C", str(bank), "lake", "write"]) == 0
    assert "Iceberg tables of test.shroff need pyiceberg: pip install 'shroff[iceberg]'" in capsys.readouterr().err
    assert run(["-C", str(bank), "lake", "publish"]) == 2


def test_a_missing_library_of_a_catalog_is_an_error_of_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith("pyiceberg.catalog.sql")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    settings = CatalogSettings("a", "b", {"type": "sql", "uri": f"sqlite:///{tmp_path}/a.db"})
    with pytest.raises(UsageError, match="NotInstalledError"):
        IcebergTables(patient(MemoryObjects()), settings, "file:///l").head("events", 0)


def test_tables_of_another_lake_and_settings_of_no_catalog_are_refused(bank: Path, capsys: pytest.CaptureFixture[str]):
    set_lake(bank, CATALOG.format(uri="catalog.db"))
    assert run(["-C", str(bank), "lake", "write"]) == 0
    shutil.copytree(bank / "lake", bank / "moved")
    (bank / "shroff.yaml").write_text((bank / "shroff.yaml").read_text().replace("./lake", "./moved"))
    capsys.readouterr()
    assert run(["-C", str(bank), "lake", "publish"]) == 1
    assert (
        f"shroff.events_payment has the files of file://{bank}/lake. Drop shroff.events_payment"
        in capsys.readouterr().out
    )
    shutil.rmtree(bank / "lake")
    assert run(["-C", str(bank), "lake", "publish"]) == 1
    assert "the metadata of shroff.events_payment is not there. Drop shroff.events_payment" in capsys.readouterr().out
    assert run(["-C", str(bank), "lake", "publish", "--to", str(bank / "moved")]) == 0
    assert "Delta tables are at" in capsys.readouterr().out

    set_lake(bank, "catalog: { properties: { type: none } }")
    assert run(["-C", str(bank), "lake", "write"]) == 0
    assert "'none' is not a valid CatalogType" in capsys.readouterr().err
    assert run(["-C", str(bank), "lake", "publish"]) == 2
    assert "lake: catalog: ValueError: 'none' is not a valid CatalogType" in capsys.readouterr().err


def test_settings_of_a_catalog_are_completed_by_those_of_the_lake(tmp_path: Path):
    properties = {"uri": "sqlite:///a.db", "s3.region": "eu-west-1"}
    found = settings_in({"properties": properties}, tmp_path, {"endpoint": "http://localhost:9000", "region": "us"})
    assert (found.catalog, found.namespace) == ("shroff", "shroff")
    assert found.properties == {
        "uri": f"sqlite:///{tmp_path}/a.db",
        "s3.region": "eu-west-1",
        "s3.endpoint": "http://localhost:9000",
    }
    uri = "postgresql+psycopg://me:hush%21hush@db/x"
    tables = IcebergTables(
        patient(MemoryObjects()), CatalogSettings("a", "b", {"type": "sql", "uri": uri}), "file:///l"
    )
    assert tables._first_line(ValueError(f"no hush!hush at {uri} here\nfor me")) == "ValueError: no ... at ... here"
    assert location_of("s3://bucket/prefix/", "") == "s3://bucket/prefix"
    assert location_of("az://box/lake", "bank") == "abfss://box@bank.dfs.core.windows.net/lake"
    with pytest.raises(UsageError, match="needs the account"):
        location_of("az://box/lake", "")
