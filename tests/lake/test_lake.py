"""The lake: what it has, what it refuses, how small files become large ones, and what plain tools see of it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.adapters.lake.folder import FolderObjects
from shroff.errors import StateError, StorageError, TransientError
from shroff.events.intake import Intake
from shroff.lake.check import LakeCheck, _SeqCounts, check
from shroff.lake.compaction import Compaction
from shroff.lake.documents import file_name
from shroff.lake.reader import LakeReader
from shroff.lake.rows import field_columns
from shroff.lake.writer import LakeReport, LakeWriter
from shroff.log.writer import Writer
from shroff.streams.lake import PART_BYTES_MAX, WAITS_S, RetriedObjects, check_name
from shroff.streams.lake_manifest import CHECKPOINT_EVERY, DocumentFolder, Layout, manifest_name, read_state
from shroff.streams.log import Batch, Log
from tests.support import projects
from tests.support.log_memory import MemoryLog
from tests.support.log_rows import everything, payments, record
from tests.support.objects import FaultyObjects, MemoryObjects
from tests.support.projects import NOW_MS, label, payment, submission

HOUR_MS = 3_600_000


def write(
    objects: Any, log: Log, layout: Layout | None = None, *, at_ms: int = NOW_MS, places: int = 1 << 15
) -> LakeReport:
    return LakeWriter(patient(objects), log, lambda: at_ms, places_max=places).write(layout)


def compact(objects: Any, log: Log, *, at_ms: int = NOW_MS, least: int = 2, grace_ms: int = HOUR_MS) -> Compaction:
    writer = LakeWriter(patient(objects), log, lambda: at_ms)
    return writer.compact(files_min=least, target_bytes=1 << 20, grace_ms=grace_ms)


def patient(objects: Any) -> RetriedObjects:
    return RetriedObjects(objects, lambda _s: None)


def small_log(count: int = 20) -> MemoryLog:
    """Payments of two days, one of them flagged, and labels."""
    log = MemoryLog()
    writer = projects.writer(log)
    for n in range(1, count + 1):
        at = f"2026-03-{1 + n // 12:02d}T12:{n:02d}:00Z"
        amount = "500.00" if n == 3 else f"{n}.25"
        writer.write([submission("payment", n, {"id": f"p{n}", "at": at, "card": f"c{n % 3}", "amount": amount})])
    writer.write([label(1, "payment/p3", "fraud", "chargeback", "2026-03-02T00:00:00Z")])
    writer.write([label(2, "payment/p4", "genuine", "customer", "2026-03-02T00:00:01Z")])
    return log


def problems(objects: Any) -> list[str]:
    return check(patient(objects), read_state(patient(objects))).problems


def records(source: Any) -> list[Any]:
    return list(chain.from_iterable(source.records() if isinstance(source, LakeReader) else source.read()))


# ---- what it has


def test_every_row_of_the_log_is_in_the_folder_of_its_kind_type_and_day():
    objects = MemoryObjects()
    written = write(objects, small_log())

    folders = {name.rpartition("/")[0] for name in objects.objects}
    assert folders == {
        "manifest",
        "controls/date=2026-05-28",
        "events/type=payment/date=2026-03-01",
        "events/type=payment/date=2026-03-02",
        "decisions/event=payment/date=2026-03-01",
        "decisions/event=payment/date=2026-03-02",
        "features/event=payment/date=2026-03-01",
        "features/event=payment/date=2026-03-02",
        "labels/date=2026-03-02",
        "flags/date=2026-03-01",
        "hits/date=2026-03-01",
    }
    assert written.rows == {
        "controls": 1, "events": 20, "decisions": 20, "features": 20, "labels": 2, "flags": 1, "hits": 1
    }  # fmt: skip
    assert problems(objects) == []


@pytest.mark.parametrize("kind", ["records", "features", "flags", "hits"])
@pytest.mark.parametrize("seqs", [[0, 1], [5, 6]])
def test_rows_of_each_kind_beyond_the_ends_of_the_lake_are_told(kind, seqs):
    counts = _SeqCounts(5)

    words = counts.add(kind if kind != "records" else "events", np.array(seqs), pa.table({"number": [0, 1]}))

    assert words == "it has sequence numbers beyond the end of the lake"
    assert counts.problems()[0].startswith("sequence number 1 of the log is missing")


def test_a_second_run_writes_what_came_since_and_a_third_nothing():
    objects, log = MemoryObjects(), small_log()
    write(objects, log)
    fields = {"id": "p99", "at": "2026-03-02T13:00:00Z", "card": "c", "amount": "1.00"}
    projects.writer(log).write([submission("payment", 99, fields)])

    assert write(objects, log).rows == {"events": 1, "decisions": 1, "features": 1}
    before = dict(objects.objects)
    assert (write(objects, log).commits, objects.objects) == (0, before)


def test_plain_tools_read_the_files(tmp_path: Path):
    write(FolderObjects(str(tmp_path)), small_log())
    events = f"'{tmp_path}/events/type=payment/**/*.parquet'"
    query = f"SELECT sum(amount), count(*), min(type), count(DISTINCT date) FROM {events}"
    joined = f"""
        SELECT d.outcome, f."card.payments_1h", e.body::JSON->>'card'
        FROM '{tmp_path}/decisions/**/*.parquet' d
        JOIN '{tmp_path}/features/**/*.parquet' f USING (seq) JOIN {events} e USING (seq)
        WHERE len(d.rules) > 0
    """

    assert str(duckdb.sql(query).fetchall()[0][0]) == "711.75"
    assert duckdb.sql(query).fetchall()[0][1:] == (20, "payment", 2)
    assert duckdb.sql(joined).fetchall() == [("review", 0, "c0")]
    table = ds.dataset(tmp_path / "events", partitioning="hive").to_table(columns=["seq", "amount", "at", "type"])
    assert table.schema.field("amount").type == pa.decimal128(38, 2)
    assert table.schema.field("at").type == pa.timestamp("ms", tz="UTC")
    assert sorted(table["seq"].to_pylist()) == list(range(2, 22))


def test_features_are_typed_as_the_command_features_types_them():
    from shroff.log.columns.tables import Way, feature_tables
    from shroff.log.state.feature_events import log_batches

    objects, log = MemoryObjects(), small_log()
    write(objects, log)
    definitions = projects.definitions()
    wanted = pa.concat_tables(feature_tables(definitions, "payment", log_batches(log, definitions), 0, Way()))
    files = [file for name, file in sorted(objects.objects.items()) if name.startswith("features/")]
    found = pa.concat_tables(pq.ParquetFile(pa.BufferReader(data)).read() for data, _ in files).sort_by("seq")

    assert found.select(wanted.column_names).equals(wanted)


def test_a_field_whose_name_a_column_has_gets_an_underscore():
    events = """
payment:
  id: id
  time: time
  fields: { id: text, time: time, body: text?, seq: integer?, seq_: integer? }
"""
    type_ = projects.definitions({"events.yaml": events, "features.yaml": None, "rules/large.yaml": None}).events

    assert field_columns(type_.types["payment"]) == {"body": "body_", "seq": "seq__", "seq_": "seq_"}


def test_where_a_type_changes_files_have_other_columns_and_are_not_put_together():
    objects, log = MemoryObjects(), MemoryLog()
    projects.writer(log).write([payment(1)])
    wider = projects.FILES["events.yaml"].replace("amount: money", "amount: money, shop: text?")
    project = projects.definitions({"events.yaml": wider})
    intake = Intake(project.events, project.settings, None)
    for number in (2, 3):
        fields = {"id": f"p{number}", "at": "2026-03-01T12:00:00Z", "amount": "1.00", "shop": "s"}
        event = intake.submit("payment", fields, source="test", place="1", raw=b"", is_strict=False)
        projects.writer(log, {"events.yaml": wider}).write([event])
    write(objects, log)

    names = [name for name in objects.objects if name.startswith("events/")]
    columns = sorted("shop" in pq.read_schema(pa.BufferReader(objects.objects[name][0])).names for name in names)
    assert columns == [False, True]
    compact(objects, log)
    assert len([path for path in read_state(patient(objects)).files if path.startswith("events/")]) == 2
    assert records(LakeReader(patient(objects))) == records(log)


def test_rows_of_a_log_that_has_no_version_are_whole_too():
    objects, log = MemoryObjects(), MemoryLog()
    log.append(everything(1))
    log.append(everything(4))
    write(objects, log)

    reader = LakeReader(patient(objects))
    assert records(reader) == records(log)
    for mine, theirs in (("decisions", log.decisions.after), ("flags", log.flags.after), ("hits", log.hits.after)):
        assert list(chain(*getattr(reader, mine)())) == list(chain(*theirs()))


# ---- checkpoints


@pytest.mark.slow
def test_a_reader_needs_a_checkpoint_and_the_manifests_behind_it():
    class Counting(MemoryObjects):
        """Counts what is read."""

        __slots__ = ("reads",)

        def get(self, name: str) -> Any:
            self.reads = [*getattr(self, "reads", ()), name]
            return MemoryObjects.get(self, name)

    objects, log = Counting(), MemoryLog()
    log.append(payments(1, 3 * CHECKPOINT_EVERY + 5))
    write(objects, log, places=1)
    objects.reads = []
    state = read_state(patient(objects))

    assert (state.upto, state.number, state.checkpoint) == (101, 101, 96)
    assert objects.reads == [f"checkpoint/{96:012d}.json", *(manifest_name(n) for n in range(97, 103))]
    for name in [text for text in objects.objects if text.startswith("checkpoint/")]:
        objects.delete(name)
    again = read_state(patient(objects))
    assert (again.files, again.upto, again.tip) == (state.files, state.upto, state.tip)


@pytest.mark.slow
def test_old_checkpoints_go_and_the_newest_stay():
    objects, log = MemoryObjects(), MemoryLog()
    log.append(payments(1, 4 * CHECKPOINT_EVERY))
    write(objects, log, places=1)
    compact(objects, log, least=10**6)

    assert [name[-8:] for name in objects.objects if name.startswith("checkpoint/")] == ["096.json", "128.json"]
    assert problems(objects) == []


# ---- what is refused


def test_a_lake_of_another_log_is_refused():
    objects = MemoryObjects()
    write(objects, small_log(20))
    before = dict(objects.objects)

    with pytest.raises(StateError, match="memory was written from another log"):
        write(objects, small_log(23))
    with pytest.raises(
        StateError, match=r"has the log up to sequence number 23, or plans to, but the log ends at 8: it was truncated"
    ):
        write(objects, small_log(5))
    assert objects.objects == before


def test_a_log_that_was_pruned_behind_its_lake_goes_on_in_it():
    objects, log = MemoryObjects(), small_log()
    write(objects, log)
    whole = records(log)
    fields = {"id": "p99", "at": "2026-03-02T13:00:00Z", "card": "c", "amount": "1.00"}
    projects.writer(log).write([submission("payment", 99, fields)])
    whole += list(chain(*log.read(len(whole))))
    while log.prune(len(whole) - 1) < len(whole) - 1:
        pass

    assert write(objects, log).rows["events"] == 1
    assert records(LakeReader(patient(objects))) == whole


def test_a_plan_of_another_log_is_refused():
    objects, log = MemoryObjects(), small_log(20)

    def kill(step: str) -> None:
        if step == "planned":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        LakeWriter(patient(objects), log, lambda: NOW_MS, on_step=kill).write()
    other = MemoryLog()
    Writer(other, projects.definitions(), lambda: NOW_MS + 1).write([payment(n) for n in range(30)])

    with pytest.raises(StateError, match="memory was written from another log"):
        write(objects, other)
    with pytest.raises(StateError, match="or plans to, but the log ends at 8"):
        write(objects, small_log(5))
    write(objects, log)
    assert problems(objects) == []


def test_a_damaged_manifest_is_named():
    objects = MemoryObjects()
    write(objects, small_log())
    objects.objects[manifest_name(1)] = b'{"format":1,', 1

    with pytest.raises(StorageError, match=r"manifest/000000000001\.json in memory is damaged"):
        read_state(patient(objects))


def test_a_manifest_of_a_later_version_is_refused():
    objects = MemoryObjects()
    write(objects, small_log())
    name = manifest_name(1)
    objects.objects[name] = objects.objects[name][0].replace(b'"format":1', b'"format":2'), 1

    with pytest.raises(StateError, match="is of another version of shroff"):
        read_state(patient(objects))


def test_where_no_lake_is_none_is_read():
    with pytest.raises(StateError, match="there is no lake in memory; 'shroff lake write' makes one"):
        LakeReader(patient(MemoryObjects()))


@pytest.mark.parametrize("spoiled", ["missing", "doubled"])
def test_a_reader_stops_at_a_place_that_is_missing_or_doubled(spoiled: str):
    objects, log = MemoryObjects(), MemoryLog()
    log.append(payments(1, 9))
    write(objects, log, places=3)
    name = manifest_name(2)
    manifest = msgspec.json.decode(objects.objects[name][0])
    first = msgspec.json.decode(objects.objects[manifest_name(1)][0])
    events = [row for row in manifest["added"] if row["path"].startswith("events/")]
    manifest["added"].remove(events[0])
    if spoiled == "doubled":
        extra = next(row for row in first["added"] if row["path"].startswith("events/"))
        objects.objects["events/type=payment/date=2023-11-14/000000000002-x.parquet"] = objects.objects[extra["path"]]
        manifest["added"] += [events[0], extra | {"path": "events/type=payment/date=2023-11-14/000000000002-x.parquet"}]
    objects.objects[name] = msgspec.json.encode(manifest), 1

    words = "place 4 is missing" if spoiled == "missing" else "a sequence number is duplicated"
    with pytest.raises(StorageError, match=words):
        records(LakeReader(patient(objects)))
    assert any(("missing" if spoiled == "missing" else "twice") in problem for problem in problems(objects))


# ---- compaction


def days_of(objects: MemoryObjects) -> list[int]:
    """How many files each folder of events has."""
    folders = [file.folder for file in read_state(patient(objects)).files.values() if file.kind == "events"]
    return [folders.count(folder) for folder in sorted(set(folders))]


def test_small_files_of_a_day_become_one_and_the_old_ones_stay_for_a_time_of_grace():
    objects, log = MemoryObjects(), small_log()
    write(objects, log, places=2)
    before = set(read_state(patient(objects)).files)
    assert min(days_of(objects)) > 3

    done = compact(objects, log, at_ms=NOW_MS)
    assert (days_of(objects), done.removed) == ([1, 1], 0)
    assert before < set(objects.objects)
    assert records(LakeReader(patient(objects))) == records(log)

    compact(objects, log, at_ms=NOW_MS + HOUR_MS - 1)
    assert before < set(objects.objects)
    gone = compact(objects, log, at_ms=NOW_MS + HOUR_MS)
    assert gone.removed == done.merged
    assert {name for name in objects.objects if name.endswith(".parquet")} == set(read_state(patient(objects)).files)
    assert problems(objects) == []


def test_a_reader_that_looks_again_goes_on_behind_a_compaction():
    objects, log = MemoryObjects(), small_log()
    write(objects, log, places=2)
    reader = LakeReader(patient(objects))
    assert records(reader) == records(log)
    compact(objects, log, grace_ms=0)
    compact(objects, log, grace_ms=0)
    reader.refresh()

    assert records(reader) == records(log)


def test_few_files_stay_as_they_are():
    objects, log = MemoryObjects(), small_log()
    write(objects, log, places=12)

    assert compact(objects, log, least=4).made == 0


def test_a_damaged_file_is_left_named_and_everything_else_put_together():
    objects, log = MemoryObjects(), small_log()
    write(objects, log, places=2)
    bad = min(path for path in objects.objects if path.startswith("events/"))
    objects.objects[bad] = b"x", 1
    done = compact(objects, log)

    assert set(done.damaged) == {bad}
    assert days_of(objects) == [2, 1]
    assert bad in objects.objects


def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays():
    objects, log = MemoryObjects(), small_log()
    write(objects, log)
    left = "events/type=payment/date=2026-03-01/000000000001-0123456789abcdef.parquet"
    coming = left.replace("/000000000001", "/000000000002")
    foreign = "events/readme.txt"
    for name in (left, coming, foreign):
        objects.put(name, b"x")

    assert compact(objects, log, least=10**6).removed == 1
    assert left not in objects.objects
    assert {coming, foreign} < set(objects.objects)


# ---- documents


FOLDERS = {
    "transaction": DocumentFolder("payment"),
    "lines": DocumentFolder("payment", lines=8),
    "fraud_confirmation": DocumentFolder("labels", sources=("chargeback",)),
    "email_confirmation": DocumentFolder("labels", sources=("customer",)),
    "decided": DocumentFolder("decisions"),
    "flagged": DocumentFolder("flags", lines=100),
}


def test_documents_lie_in_the_folders_that_were_asked_for():
    objects, log = MemoryObjects(), small_log()
    written = write(objects, log, Layout(parquet=False, documents=FOLDERS))
    found = {name: data for name, (data, _) in objects.objects.items() if not name.startswith("manifest/")}

    assert written.documents == {
        "transaction": 20, "lines": 20, "fraud_confirmation": 1, "email_confirmation": 1, "decided": 20, "flagged": 1
    }  # fmt: skip
    assert found["transaction/p3.json"] == next(item.body for item in records(log) if item.id == "p3") + b"\n"
    names = sorted(name for name in found if name.startswith("lines/"))
    assert [(name, found[name].count(b"\n")) for name in names] == [
        ("lines/000000000002-000000000009.jsonl", 8),
        ("lines/000000000010-000000000017.jsonl", 8),
        ("lines/000000000018-000000000021.jsonl", 4),
    ]
    assert msgspec.json.decode(found["decided/payment/p3.json"])["outcome"] == "review"
    (confirmed,) = [name for name in found if name.startswith("fraud_confirmation/")]
    assert confirmed.startswith("fraud_confirmation/payment=2Fp3=23")
    assert msgspec.json.decode(found[confirmed])["verdict"] == "fraud"
    with pytest.raises(StateError, match="has JSON documents only"):
        LakeReader(patient(objects))


@pytest.mark.parametrize("parquet", [True, False])
@pytest.mark.parametrize("places", [5, 1 << 15])
def test_a_check_finds_each_document_that_is_gone_or_changed(parquet: bool, places: int):
    objects, log = MemoryObjects(), small_log()
    write(objects, log, Layout(parquet, FOLDERS), places=places)
    right = check_of(objects, log)
    (lines,) = [name for name in objects.objects if name.startswith("lines/000000000002-")]
    spoilt = {
        "transaction/p3.json": "the document is not there",
        "decided/payment/p7.json": "the document is not as it was written",
        lines: "the document is not as it was written",
    }
    for name, words in spoilt.items():
        data = objects.objects[name][0]
        objects.delete(name)
        if "not as" in words:
            objects.put(name, data.replace(b"c", b"d", 1))
    found = check_of(objects, log)

    assert (right.documents, right.documents_unchecked, right.problems) == (63, 0, [])
    assert sorted(found.problems) == sorted(f"{name}: {words}" for name, words in spoilt.items())


def test_documents_of_places_that_nobody_has_any_more_are_counted_as_unchecked():
    objects, log = MemoryObjects(), small_log()
    write(objects, log, Layout(parquet=False, documents=FOLDERS))
    objects.delete("transaction/p3.json")

    assert (check_of(objects, None).documents_unchecked, check_of(objects, None).problems) == (63, [])


def check_of(objects: Any, log: Log | None) -> LakeCheck:
    return check(patient(objects), read_state(patient(objects)), log=log)


def test_a_document_that_is_there_with_other_content_stops_the_writer():
    objects = MemoryObjects()
    objects.put("transaction/p3.json", b"{}")

    with pytest.raises(StateError, match=r"transaction/p3\.json in memory exists with other content"):
        write(objects, small_log(), Layout(documents=FOLDERS))


@given(ids=st.lists(st.text(max_size=300), min_size=2, max_size=6, unique=True))
def test_different_ids_have_different_safe_names(ids: list[str]):
    names = [file_name(item) for item in ids]

    assert len(set(names)) == len(ids)
    assert all(len(f"{check_name(f'x/{name}.json')}") <= PART_BYTES_MAX for name in names)


@pytest.mark.parametrize("id_", ["", ".", "..", "../x", "a/b", "\x00", "a\nb", "=2E", "é" * 300, "x" * 5_000])
def test_an_id_cannot_leave_its_folder(tmp_path: Path, id_: str):
    objects, log = FolderObjects(str(tmp_path / "lake")), MemoryLog()
    log.append(Batch(records=[record(1, id_)]))
    write(objects, log, Layout(documents={"transaction": DocumentFolder("payment")}))

    (found,) = (tmp_path / "lake" / "transaction").iterdir()
    assert found.name == f"{file_name(id_)}.json"
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


# ---- a network that fails


def test_what_fails_is_tried_again_for_a_while_and_then_told():
    waits: list[float] = []
    objects = FaultyObjects(fails=lambda _call: "before")

    with pytest.raises(TransientError, match="put was lost"):
        RetriedObjects(objects, waits.append).put("a", b"1")
    assert waits == list(WAITS_S)


def test_a_put_whose_answer_was_lost_is_ours_where_the_bytes_are():
    faults = iter(["after", "", ""])
    objects = FaultyObjects(fails=lambda _call: next(faults))

    assert RetriedObjects(objects, lambda _s: None).put("a", b"1") is True
    objects.fails = lambda _call: ""
    assert patient(objects).put("a", b"1") is True
    assert patient(objects).put("a", b"2") is False


def test_a_replace_whose_answer_was_lost_is_ours_where_the_bytes_are():
    objects = FaultyObjects()
    objects.put("a", b"1")
    version = objects.get("a").version
    faults = iter(["after", "", ""])
    objects.fails = lambda _call: next(faults)

    assert patient(objects).replace("a", b"2", version) is True
    objects.fails = lambda _call: ""
    assert patient(objects).replace("a", b"3", version) is False
