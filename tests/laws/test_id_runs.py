"""Runs of ids answer as a dictionary would: replaced and sealed, undone, pruned, and with colliding digests."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, combinations
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.adapters.databases.sqlite_file import PAGE_BYTES
from shroff.adapters.log.connection import sqlite_statements as statements
from shroff.adapters.log.ids import id_index
from shroff.adapters.log.ids.entries import (
    bits_of,
    digests_of,
    entries_in,
    entries_of,
    halves_of,
    part_number,
    parts_of,
)
from shroff.adapters.log.ids.filters import FINAL, Filters, filter_of
from shroff.adapters.log.ids.id_index import IdIndex
from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.log.tables.rows import RowTable, id_digest, ids_by_type, places_by_type
from shroff.errors import StateError, StorageError
from shroff.replay.verification import verify
from shroff.runtime.values import replace
from shroff.streams.log import Batch
from shroff.worker.ingest import BATCH_SIZE
from tests.support.effort import examples
from tests.support.log_rows import payments
from tests.support.small_runs import small_runs

TYPES = ("payment", "label")
SMALL = {"FINAL": 64, "LEVEL_BITS": 2, "FILTER_WORDS": 24, "_BESIDE": 2, "_BESIDE_MAX": 4, "_PART": 2, "_AT_ONCE": 5}


class Runs:
    """Runs in a database of their own: the writer's, and a reader's."""

    def __init__(self) -> None:
        self.shell = sqlite3.connect(":memory:", isolation_level=None)
        columns = "crc, bits, size, last_seq, filter_crc, filter"
        self.shell.execute(f"CREATE TABLE id_runs (run INTEGER PRIMARY KEY, {columns})")
        self.shell.execute("CREATE TABLE id_parts (part INTEGER PRIMARY KEY, data, crc)")
        self.writer, self.reader = self.opened(is_writer=True), self.opened(is_writer=False)

    def opened(self, *, is_writer: bool) -> IdIndex:
        connection = SimpleNamespace(
            wording=statements.WORDING,
            select=self.ask,
            select_by_ids=self.with_ids,
            put=self.put,
            execute=self.ask,
            damaged_index=StorageError,
            version=lambda: None,
        )
        return IdIndex(connection, is_writer=is_writer)

    def ask(self, sql: str, values: Sequence[object] = (), shape: str = "") -> list[Any]:
        return self.shell.execute(sql, values).fetchall()

    def with_ids(self, question: statements.Statement, _shape: str, ids: Sequence[int]) -> Iterator[Any]:
        for part in statements.parts(ids):
            yield from self.ask(statements.text(question, len(part)), part)

    def put(self, table: RowTable, rows: Sequence[tuple[Any, ...]]) -> None:
        for part in statements.parts(rows):
            self.ask(statements.text(statements.put(table), len(part)), list(chain.from_iterable(part)))


def add(writer: IdIndex, first: int, count: int) -> list[str]:
    """Add a batch; gives its ids, which have their sequence numbers."""
    names = [f"p-{seq}" for seq in range(first, first + count)]
    writer.add({"payment": names}, {"payment": range(first, first + count)})
    return names


def short(length: int) -> Any:
    """Digests of which the first half has so many bytes that differ, so that many are the same."""

    def cut(type: str, ids: Sequence[str]) -> list[bytes]:
        return [digest[:length] + bytes(8 - length) + digest[8:] for digest in digests_of(type, ids)]

    return patch.object(id_index, "digests_of", cut)


steps = st.lists(
    st.tuples(st.integers(1, 30), st.sampled_from(["add", "add", "add", "undo", "prune", "open"])), max_size=20
)


def test_a_part_has_the_digests_of_its_entries_and_none_that_begins_inside_one():
    (digest, twice, other), lacking = digests_of("payment", ["a", "b", "c"]), bytes(16)
    seqs = {digest: 7, twice: 300, other: (1 << 48) - 1}
    entries = np.concatenate([entries_of(seqs), entries_of({twice: 5})])
    ((key, part, _),) = parts_of(3, 0, entries)
    inside = [part[at : at + 16] for at in range(1, len(part) - 16) if at % 22]

    assert key == 3 << 32
    assert sorted(entries_in(part, [other, lacking, twice, digest])) == sorted([*seqs.items(), (twice, 5)])
    assert [*entries_in(part, [packed[7::-1] + packed[:7:-1] for packed in inside])] == []
    assert {part_number(digest, 3, bits) & 0xFFFFFFFF for bits in (0, 1, 8)} == {0, digest[0] >> 7, digest[0]}


@settings(max_examples=examples(200))
@given(steps, st.sampled_from([0, 1, 8]), st.randoms(use_true_random=False))
def test_places_are_those_of_a_dictionary(given_, length, random):
    with small_runs(**SMALL), short(length), closing((runs := Runs()).shell):
        expected, last, pruned = dict[tuple[str, str], int](), 0, 0
        for count, what in given_:
            ids: dict[str, list[str]] = {}
            seqs: dict[str, list[int]] = {}
            for seq in range(last + 1, last + 1 + count):
                type_ = random.choice(TYPES)
                ids.setdefault(type_, []).append(f"{random.getrandbits(32)}-{seq}")
                seqs.setdefault(type_, []).append(seq)
            assert all(not runs.writer.places(type_, of_type) for type_, of_type in ids.items())
            runs.shell.execute("BEGIN")
            runs.writer.add(ids, seqs)
            if what == "undo":
                runs.shell.execute("ROLLBACK")
                runs.writer.forget()
                continue
            if what == "prune":
                pruned = random.randint(pruned, last)
                runs.writer.prune(pruned)
            runs.shell.execute("COMMIT")
            last += count
            new = {(t, id_): seq for t in ids for id_, seq in zip(ids[t], seqs[t], strict=True)}
            expected = {name: seq for name, seq in (expected | new).items() if seq > pruned}
            if what == "open":
                runs.writer = runs.opened(is_writer=True)
        for type_ in TYPES:
            wanted = [id_ for of_type, id_ in expected if of_type == type_]
            asked = [*wanted, *(f"{id_}-other" for id_ in wanted), "nobody"]
            for item in (runs.writer, runs.reader):
                found = {id_: seq for id_, seq in item.places(type_, asked).items() if seq > pruned}
                assert found == {id_: seq for (of_type, id_), seq in expected.items() if of_type == type_}
            assert len(runs.writer._recent) < 64, "it remembers no more digests"
        (recent,) = runs.shell.execute("SELECT count(*) FROM id_runs WHERE size < 64").fetchone()
        assert recent <= 9, "three of each level"


def test_an_id_is_written_once_at_each_level_and_no_batch_writes_more_than_a_sealed_run():
    with small_runs(FINAL=1 << 12, FILTER_WORDS=3 << 9), closing((runs := Runs()).shell):
        written = list[int]()
        put = runs.writer._connection.put

        def counted(table: RowTable, rows: Sequence[tuple[Any, ...]]) -> None:
            if table.name == "id_runs":
                written.extend(size for _, _, _, size, *_ in rows)
            put(table, rows)

        with patch.object(runs.writer._connection, "put", counted):
            for first in range(1, 4_097, 16):
                add(runs.writer, first, 16)
        assert runs.shell.execute("SELECT size FROM id_runs").fetchall() == [(1 << 12,)]
        assert (max(written), sum(written)) == (1 << 12, 3 * 4_096 - 2 * 256)


def test_ids_that_were_in_no_sealed_run_are_held_against_those_sealed_since_only():
    with small_runs(**SMALL), closing((runs := Runs()).shell):
        names, seqs = [[f"p-{number}-{item}" for item in range(20)] for number in range(5)], range(1, 21)
        with patch.object(runs.writer, "_look_up", wraps=runs.writer._look_up) as asked:
            runs.writer.add({"payment": names[0]}, {"payment": seqs})
            for _ in range(2):
                assert runs.writer.places("payment", names[1]) == {}
                runs.writer.add({"payment": names[2]}, {"payment": seqs})
            assert asked.call_count == 1
            runs.writer.add({"payment": names[1]}, {"payment": seqs})
            assert len(runs.writer.places("payment", names[1])) == 20
            assert runs.writer._recent == {}, "they are sealed"
            assert asked.call_count == 2


def test_each_id_that_was_added_since_a_look_up_is_found():
    """Also behind as many batches as are remembered, and more; and a reader remembers none."""
    for since, of_it, taken in ((*case, taken) for case in combinations(range(6, -1, -1), 2) for taken in (0, 3)):
        with closing((runs := Runs()).shell):
            names, others = [f"p-{item}" for item in range(4)], [f"q-{item}" for item in range(4)]
            assert runs.writer.places("payment", names) == runs.reader.places("payment", names) == {}
            for number in range(since):
                ids = [*others[:taken], names[2], *others[taken + 1 :]] if number == of_it else others
                runs.writer.add({"payment": ids}, {"payment": range(1, 5)})
            for item in (runs.writer, runs.reader):
                assert item.places("payment", names) == {names[2]: taken + 1}, (since, of_it, taken)


@pytest.mark.parametrize("fails", [True, False])
def test_what_a_pruning_that_was_undone_had_dropped_is_found(fails):
    """Whether it failed halfway or the ids were looked for meanwhile."""
    with small_runs(**SMALL), closing((runs := Runs()).shell):
        names = add(runs.writer, 1, 100) + add(runs.writer, 101, 20)
        runs.shell.execute("BEGIN")
        if fails:
            connection = runs.writer._connection
            with patch.object(connection, "execute", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
                runs.writer.prune(len(names))
        else:
            runs.writer.prune(len(names))
            assert runs.writer.places("payment", names) == {}
        runs.shell.execute("ROLLBACK")
        runs.writer.forget()
        assert len(runs.writer.places("payment", names)) == len(names)


@pytest.mark.parametrize("what", ["sealed", "pruned"])
def test_a_reader_whose_runs_are_replaced_or_pruned_while_it_asks_finds_what_is_there(what):
    with small_runs(**SMALL), closing((runs := Runs()).shell):
        names, keys, is_late = add(runs.writer, 1, 40), runs.reader._parts, False

        def late(*given: Any) -> list[int]:
            nonlocal is_late
            found = keys(*given)
            if not is_late:
                is_late = True
                add(runs.writer, 41, 30)
                if what == "pruned":
                    runs.writer.prune(70)
                    add(runs.writer, 71, 40)
            return found

        with patch.object(runs.reader, "_parts", late):
            found = runs.reader.places("payment", names)
        assert found == ({} if what == "pruned" else {name: seq for seq, name in enumerate(names, 1)})


def test_a_reader_looks_in_the_largest_runs_first_and_in_no_other_once_it_has_found_all():
    with small_runs(**SMALL), closing((runs := Runs()).shell):
        first, last = add(runs.writer, 1, 70)[:3], add(runs.writer, 71, 20)[-3:]
        with patch.object(runs.reader, "_parts", wraps=runs.reader._parts) as asked:
            for ids, times in ((first, 1), (last, 2), ([*first, *last], 2)):
                asked.reset_mock()
                assert list(runs.reader.places("payment", ids)) == ids
                assert [len(call.args[0]) for call in asked.call_args_list] == [len(ids), 3][:times]


def test_a_list_that_is_changed_is_looked_for_as_it_is_then():
    with closing((runs := Runs()).shell):
        ids = ["p-1"]
        runs.writer.add({"payment": ids}, {"payment": [1]})
        assert runs.writer.places("payment", ids) == {"p-1": 1}
        ids[0] = "p-2"
        assert runs.writer.places("payment", ids) == {}


def test_each_of_many_filters_names_its_run():
    with small_runs(FILTER_WORDS=1 << 12, _BESIDE=2):
        digests, filters = halves_of(digests_of("payment", map(str, range(15)))), Filters()
        for run in range(1, 14):
            filters.add(run, filter_of(digests[run : run + 1]))
        for run in (3, 9, 12, 99):
            filters.drop(run)
        filters.add(14, filter_of(digests[14:]))
        left = [run for run in range(1, 15) if run not in {3, 9, 12}]
        assert sorted(filters.candidates(digests)) == [(run, run) for run in left]
        assert all((filters._column_of(run) == filter_of(digests[run : run + 1])).all() for run in left)


def test_of_each_part_only_the_wanted_entries_are_kept():
    with small_runs(**SMALL), closing((runs := Runs()).shell):
        names = add(runs.writer, 1, 200)
        for item in (runs.writer, runs.reader):
            assert len(item._look_up(digests_of("payment", names[:50]))) == 50


def test_a_sequence_number_that_does_not_fit_is_refused():
    with closing((runs := Runs()).shell):
        with pytest.raises(StorageError, match="below 281474976710656"):
            runs.writer.add({"payment": ["p-1"]}, {"payment": [1 << 48]})
        runs.writer.add({"payment": ["p-1"]}, {"payment": [(1 << 48) - 1]})
        assert runs.writer.places("payment", ["p-1"]) == {"p-1": (1 << 48) - 1}


def test_what_is_undone_is_read_again_and_filters_of_pruned_runs_go():
    with small_runs(**SMALL), closing((runs := Runs()).shell):
        for first in (1, 101, 201):
            add(runs.writer, first, 100)
        runs.writer.prune(150)
        assert [run for run in runs.writer._filters.runs if run] == [2, 3]
        runs.writer.forget()
        assert runs.writer._runs is None


def test_what_is_pruned_before_it_is_sealed_is_not_remembered():
    with small_runs(**SMALL), closing((runs := Runs()).shell):
        add(runs.writer, 1, 20)
        names = add(runs.writer, 21, 20)
        runs.writer.prune(20)
        assert runs.writer.places("payment", names) == {name: seq for seq, name in enumerate(names, 21)}
        assert len(runs.writer._recent) == 20


def test_a_digest_is_the_one_that_is_kept_of_a_pruned_id():
    assert digests_of("payment", ["p-1", "é"]) == [id_digest("payment", "p-1"), id_digest("payment", "é")]


@pytest.mark.parametrize(
    "damage, words",
    [
        ("UPDATE id_parts SET data = CAST(data || zeroblob(22) AS BLOB)", r"part \d+ of the index of ids has changed"),
        ("UPDATE id_parts SET data = zeroblob(length(data))", r"part \d+ of the index of ids has changed"),
        ("DELETE FROM id_parts", "parts of the index of ids are missing"),
        ("UPDATE id_runs SET filter = zeroblob(length(filter))", "filter of run 1"),
        ("UPDATE id_runs SET bits = bits + 64", "run 1 of the index of ids has changed"),
        ("UPDATE id_runs SET bits = bits - 1", "run 1 of the index of ids has changed"),
        ("UPDATE id_runs SET size = 1", "run 1 of the index of ids has changed"),
        ("UPDATE id_runs SET last_seq = 1", "run 1 of the index of ids has changed"),
        ("UPDATE id_runs SET filter_crc = 1", "run 1 of the index of ids has changed"),
        ("UPDATE id_runs SET run = 1 << 40", "run 1099511627776 of the index of ids has changed"),
        ("DELETE FROM id_runs", "run 1 of the index of ids is missing"),
    ],
)
def test_damage_is_told(damage, words):
    names = {"payment": [f"p-{seq}" for seq in range(100)]}
    with small_runs(**SMALL), closing((runs := Runs()).shell):
        runs.writer.add(names, {"payment": range(100)})
        assert runs.opened(is_writer=True).places("payment", ["p-7"]) == {"p-7": 7}
        runs.shell.execute(damage)
        with pytest.raises(StorageError, match=words):
            runs.opened(is_writer=True).places("payment", ["p-7"])


@pytest.mark.parametrize("damage", ["DELETE FROM id_runs WHERE run = 2", "UPDATE id_runs SET size = 1 WHERE run = 2"])
def test_a_lost_or_changed_run_is_damage_of_the_log_and_no_batch_is_taken(tmp_path, damage):
    path = tmp_path / "log.db"
    with closing(SqliteLog(path)) as log:
        for first in (1, 301, 601):
            log.append(payments(first, 300))
        assert log.damage(60) == ""
    with closing(sqlite3.connect(path)) as shell:
        shell.execute(damage)
        shell.commit()
    with closing(SqliteLog(path)) as log, closing(SqliteLog(path, read_only=True)) as reader:
        assert "run 2 of the index of ids" in reader.damage(60)
        with pytest.raises(StorageError, match="run 2 of the index of ids"):
            log.append(payments(901, 1))


def swapped(table: str, column: str, first: int, second: int) -> str:
    moves = ((first, -1), (second, first), (-1, second))
    return ";".join(f"UPDATE {table} SET {column} = {new} WHERE {column} = {old}" for old, new in moves)


@pytest.mark.parametrize("size", [BATCH_SIZE, FINAL, FINAL + BATCH_SIZE])
def test_parts_fill_the_pages_that_they_are_written_on(size: int):
    """An entry has 22 bytes."""
    entries = np.random.default_rng(1).integers(0, 1 << 63, (size, 3), np.uint64) * np.array([2, 2, 0], np.uint64)
    with closing(sqlite3.connect(":memory:")) as shell:
        shell.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        shell.execute("CREATE TABLE id_parts (part INTEGER PRIMARY KEY, data, crc)")
        parts = parts_of(1, bits_of(size), entries[entries[:, 0].argsort()])
        shell.executemany("INSERT INTO id_parts VALUES (?, ?, ?)", parts)
        ((pages,),) = shell.execute("PRAGMA page_count").fetchall()

    assert (pages - 2) * PAGE_BYTES / size < 26  # but for the schema and the root


PART = 2 << 32
DAMAGE = {
    "DELETE FROM id_runs WHERE run = 2; DELETE FROM id_parts WHERE part >> 32 = 2": "of 900 ids .* has 600",
    "DELETE FROM id_runs; DELETE FROM id_parts": "of 900 ids .* has 0",
    f"DELETE FROM id_parts WHERE part = {PART}": "parts of run 2 .* are missing",
    f"UPDATE id_parts SET data = CAST(substr(data, 23) AS BLOB) WHERE part = {PART}": f"part {PART} .* has changed",
    f"UPDATE id_parts SET data = CAST(x'00' || substr(data, 2) AS BLOB) WHERE part = {PART}": f"part {PART} .* changed",
    swapped("id_parts", "part", PART, PART + 1): f"part {PART} .* has changed",
    swapped("id_runs", "run", 2, 3): "run 2 of the index of ids has changed",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_of_ids_is_told_and_made_again(tmp_path, damage):
    path = tmp_path / "log.db"
    with small_runs(_PART=32), closing(SqliteLog(path)) as log:
        for first in (1, 301, 601):
            log.append(payments(first, 300))
        log.append(payments(901, 5))
        assert [log.ids_lost(), log.ids_lost(0), log.index_again()] == ["", "", 0]
    with closing(sqlite3.connect(path)) as shell:
        shell.executescript(damage)
    with closing(SqliteLog(path)) as log, closing(SqliteLog(path, read_only=True)) as reader:
        for after in (None, 0):
            assert re.search(f"{DAMAGE[damage]}.*No event is lost. Stop the worker and run", reader.ids_lost(after))
        assert verify(reader, ()).unread == [reader.ids_lost(0)]
        if "id_runs" in damage:
            assert reader.damage(1) == reader.ids_lost()
            with pytest.raises(StorageError, match=DAMAGE[damage]):
                log.append(payments(906, 1))
        assert log.index_again() == 900
        assert [log.ids_lost(0), reader.ids_lost(0), log.index_again()] == ["", "", 0]
        for taken in ("p-1", "p-301", "p-900"):
            with pytest.raises(StateError, match=f"payment/{taken} is already in the log"):
                log.append(Batch(records=[replace(payments(906, 1).records[0], id=taken)]))
        log.append(payments(906, 300))


def test_ids_that_are_missing_behind_those_of_pruned_records_are_told(tmp_path):
    path = tmp_path / "log.db"
    with closing(SqliteLog(path)) as log, closing(SqliteLog(path, read_only=True)) as reader:
        for first in (1, 301, 601):
            log.append(payments(first, 300))
        log.append(payments(901, 256))
        assert log.prune(290) == 290
        assert reader.damage(1) == reader.ids_lost(0) == ""
        log._connection.sqlite.executescript(
            "DELETE FROM id_runs WHERE run = 4; DELETE FROM id_parts WHERE part >> 32 = 4"
        )
        assert reader.damage(1) == "", "290 ids of pruned records are in run 1"
        assert "of 866 ids of records in frames the index of ids has 610" in reader.ids_lost()
        assert log.index_again() == 866
        assert reader.ids_lost(0) == ""


def test_each_record_is_looked_for_in_the_index_of_ids(tmp_path):
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        records = payments(1, 9_000).records
        log.append(Batch(records=records))
        other = [replace(records[5_000], id="other") if record.seq == 5_001 else record for record in records]
        log._connection.transact(
            lambda: (log._index.clear(), log._index.add(ids_by_type(other), places_by_type(other)))
        )
        assert log.ids_lost() == ""
        assert "does not have the record payment/p-5001 at sequence number 5001" in log.ids_lost(0)
        assert (log.ids_lost(5_000) != "", log.ids_lost(5_001)) == (True, "")


def test_an_id_is_unique_among_frames_rows_and_the_batch_itself(tmp_path):
    """Also after a batch that was undone when its ids stood in a run already."""
    failing = False

    def step(name: str) -> None:
        if failing and name == "before commit":
            raise KeyboardInterrupt

    with closing(SqliteLog(tmp_path / "log.db", on_step=step)) as log:
        log.append(payments(1, 300))
        log.append(payments(301, 2))
        failing = True
        with pytest.raises(KeyboardInterrupt):
            log.append(payments(303, 300))
        failing = False
        assert log.find("payment", ["p-303", "p-300"]).keys() == {"p-300"}
        log.append(payments(303, 300))
        for taken, count in (("p-7", 2), ("p-7", 300), ("p-302", 300), ("p-604", 300)):
            records = payments(603, count).records
            batch = Batch(records=[*records[:-1], replace(records[-1], id=taken)])
            with pytest.raises(StateError, match=f"payment/{taken} is already in the log"):
                log.append(batch)
        assert log.last_seq() == 602
