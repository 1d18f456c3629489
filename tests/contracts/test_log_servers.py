"""What logs on servers do beyond the contract: cut connections, kills at any step, tables, words and secrets."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, product
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import psycopg
import pytest

from shroff.adapters.databases import deadline, postgres_session
from shroff.adapters.log.connection import lease as log_lease
from shroff.adapters.log.connection.log_connection import NUMBER_MAX
from shroff.adapters.log.frames import event_frames
from shroff.adapters.log.frames.event_frames import EventFrame
from shroff.adapters.log.ids import record_ids
from shroff.adapters.log.ids.id_index import IdIndex, IdRun
from shroff.adapters.log.postgresql import PostgresLog
from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.log.tables.rows import APPEND_STEPS as STEPS
from shroff.adapters.log.tables.rows import EVENT_FRAMES
from shroff.adapters.log.writing import row_framing
from shroff.errors import LogBusyError, OvertakenError, ShroffError, StateError, StorageError, TransientError
from shroff.runtime.values import replace
from shroff.streams.log import Batch, HitRow
from shroff.testing.contracts.promises import ODD_IDS
from tests.contracts.cutting import Wire
from tests.support import forks
from tests.support.effort import long
from tests.support.log_memory_parts import quarantined
from tests.support.log_rows import contents, decision, everything, payments, record
from tests.support.next_version import use_version_2
from tests.support.patience import PATIENCE_S
from tests.support.small_runs import small_runs
from tools.servers.proxy import Proxy

pytestmark = pytest.mark.slow
smoke = (
    "test_what_goes_wrong_before_the_commit_leaves_nothing",
    "test_a_kill_at_any_step_loses_nothing_that_was_acknowledged",
    "test_a_commit_whose_answer_is_lost_is_in_doubt_until_the_log_is_opened_again",
    "test_of_two_that_begin_a_new_log_at_once_one_leads_and_the_other_is_told_so",
    "test_a_process_that_renews_too_late_goes_on_unless_another_one_leads",
    "test_numbers_and_bytes_of_any_size_are_written_as_they_are",
    "test_older_tables_are_brought_up_to_date_by_a_writer_and_newer_ones_are_refused",
    "test_a_server_that_cannot_be_used_is_named_without_the_password",
    "test_a_log_shows_its_place_and_no_secret",
)
LEASE_S = 0.6
SECRET = "not-for-anybody"
APPEND_AND_DIE = """
import sys
from shroff.adapters.log.postgresql import PostgresLog
from shroff.adapters.log.tables.rows import APPEND_STEPS as STEPS
from tests.support.log_rows import everything
from tests.support.kill import kill_at
from tests.support.log_memory_parts import quarantined
log = PostgresLog(sys.argv[1], on_step=kill_at(sys.argv[2], STEPS), lease_s=0.6)
for first in (1, 4, 7):
    log.append(everything(first))
    print(log.last_seq(), flush=True)
"""


@dataclass
class Place:
    """A log of its own on a server."""

    address: str
    name: str

    def url(self, **changes: Any) -> str:
        """Its address; with another port, user or password where that is asked for."""
        parts = urlsplit(self.address)
        told = {"port": parts.port, "user": parts.username, "password": parts.password, "database": parts.path[1:]}
        told |= changes
        login = f"{told['user']}:{told['password']}"
        return f"{parts.scheme}://{login}@127.0.0.1:{told['port']}/{told['database']}?schema={self.name}"

    def open(self, url: str = "", lease_s: float = LEASE_S, **options: Any) -> PostgresLog:
        return PostgresLog(url or self.url(), lease_s=lease_s, **options)

    def ends_ms(self) -> int:
        """When the lease ends that somebody holds."""
        ((ends_ms,),) = self.run("SELECT expires_ms FROM T:lease")
        return int(ends_ms)

    def run(self, *statements: str) -> list[Any]:
        """Run statements by hand, `T:` standing ahead of the log's tables; gives the rows of the last one."""
        rows: list[Any] = []
        with closing(psycopg.connect(self.address, autocommit=True)) as shell:
            cursor = shell.cursor()
            for sql in statements:
                cursor.execute(sql.replace("T:", f"{self.name}."))
                rows = list(cursor.fetchall()) if cursor.description else []
        return rows

    def tables(self) -> list[str]:
        """All columns of its tables, as the server tells them."""
        rows = self.run(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
            f"WHERE table_schema = '{self.name}' ORDER BY 1, 2"
        )
        return [" ".join(map(str, row)) for row in rows]

    def drop(self) -> None:
        self.run(f"DROP SCHEMA IF EXISTS {self.name} CASCADE")


@pytest.fixture
def place(postgres) -> Iterator[Place]:
    made = Place(postgres.address, f"t{uuid4().hex[:12]}")
    yield made
    made.drop()


def opened_within(place: Place, within_s: float = 120) -> PostgresLog:
    deadline = time.monotonic() + within_s
    while True:
        try:
            return place.open()
        except LogBusyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


# Steps, kills and cuts


@pytest.mark.parametrize("trouble", [RuntimeError, pytest.param(KeyboardInterrupt, marks=pytest.mark.long)])
def test_what_goes_wrong_before_the_commit_leaves_nothing(place, trouble):
    told, wrong = [], ""

    def stumble(step):
        told.append(step)
        if step == wrong:
            raise trouble

    with closing(place.open(on_step=stumble)) as log:
        log.append(everything(1))
        assert tuple(told) == STEPS
        before = contents(log)
        for wrong, batch in product(STEPS[:-1], (everything(4), payments(4, 300))):  # noqa: B007 - `stumble` reads it
            with pytest.raises(trouble):
                log.append(batch)
            assert contents(log) == before

        wrong = ""
        log.append(everything(4))
        assert log.last_seq() == 6


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_loses_nothing_that_was_acknowledged(place, step):
    #  commits   1 .. 3     4 .. 6                    7 .. 9
    #  kill                 at a step of this one
    command = [str(forks.PYTHON), "-c", APPEND_AND_DIE, place.url(), f"{step}:2"]
    died = subprocess.run(command, capture_output=True, check=False)
    assert (died.returncode, died.stdout, died.stderr) == (-signal.SIGKILL, b"3\n", b"")

    with closing(opened_within(place)) as log:
        last = 6 if step == "after commit" else 3
        assert log.last_seq() == last
        log.append(everything(last + 1))
        assert [len(part) for part in log.read()] == [last + 3]
        assert len(quarantined(log)) == len(log.outbox.rows()) == last // 3 + 1


@pytest.mark.parametrize(("how", "last"), [("before", 3), ("behind", 6)])
def test_a_commit_whose_answer_is_lost_is_in_doubt_until_the_log_is_opened_again(place, how, last):
    with Wire("127.0.0.1", urlsplit(place.address).port, how=how) as wire:
        with closing(place.open(place.url(port=wire.own_port))) as log:
            log.append(everything(1))
            wire.cut_at = b"COMMIT"
            with pytest.raises(StorageError, match="Whether the last batch is stored shows when the log is opened ag"):
                log.append(everything(4))
            assert wire.cuts == 1
            for ask in (log.last_seq, log.outbox.rows, lambda: log.append(everything(4))):
                with pytest.raises(StorageError, match="opened again"):
                    ask()

        with closing(opened_within(place)) as log:
            assert log.last_seq() == last
            log.append(everything(last + 1))


def test_who_was_overtaken_within_a_commit_is_told_both(place):
    successors = []
    with Wire("127.0.0.1", urlsplit(place.address).port, how="behind") as wire:
        with closing(place.open(place.url(port=wire.own_port))) as log:
            connect = log._connection.connect

            def after_the_takeover():
                if not successors:
                    place.run("UPDATE T:lease SET expires_ms = 0, epoch = 0")
                    successors.append(place.open())
                return connect()

            log._connection.connect = after_the_takeover
            wire.cut_at = b"COMMIT"
            words = (
                "Whether the last batch is stored shows when the log is opened again. Another process has taken over"
            )
            for _ in range(2):
                with pytest.raises(OvertakenError, match=words):
                    log.append(everything(1))

        with closing(successors[0]) as successor:
            successor.append(everything(successor.last_seq() + 1))
            assert successor.last_seq() == 6


def test_a_connection_that_is_cut_before_the_commit_undoes_the_batch_and_the_log_goes_on(place):
    with (
        Wire("127.0.0.1", urlsplit(place.address).port) as wire,
        closing(place.open(place.url(port=wire.own_port))) as log,
    ):
        log.append(everything(1))
        before = contents(log)
        wire.cut_at = b"late-4"
        with pytest.raises(
            TransientError, match=r"cannot be reached, or closed the connection.*No stored data is lost"
        ):
            log.append(everything(4))
        assert wire.cuts == 1
        assert contents(log) == before

        log.append(everything(4))
        assert log.last_seq() == 6


def test_a_connection_that_is_lost_while_a_run_of_ids_is_sealed_undoes_the_batch_and_all_goes_on(place, monkeypatch):
    with small_runs(**SMALL), closing(place.open()) as log:
        read, is_lost = IdIndex._entries_of, False

        def losing(ids: IdIndex, run: int, entry: IdRun) -> Any:
            nonlocal is_lost
            if not is_lost:
                is_lost = True
                log._connection.session.close()
            return read(ids, run, entry)

        for first in range(1, 900, 300):
            log.append(payments(first, 300))
        monkeypatch.setattr(IdIndex, "_entries_of", losing)
        with pytest.raises(TransientError, match="cannot be reached, or closed the connection"):
            log.append(payments(901, 300))
        assert is_lost
        assert (log.last_seq(), log.damage(1)) == (900, "")

        log.append(payments(901, 300))
        with pytest.raises(StateError, match="payment/p-7 is already in the log"):
            log.append(named("p-7", payments(1_201, 300)))


def test_a_pruned_id_is_not_taken_again_where_the_answer_to_the_prune_was_lost(place):
    with (
        Wire("127.0.0.1", urlsplit(place.address).port, how="behind") as wire,
        closing(place.open(place.url(port=wire.own_port))) as log,
    ):
        log.append(payments(1, 5))
        wire.cut_at = b"COMMIT"
        with pytest.raises(TransientError):
            log.prune(3)
        for _ in range(2):
            with pytest.raises(StateError, match="payment/p-2 stood at sequence number 2 of the log"):
                log.append(named("p-2", payments(6, 1)))
        assert log.pruned_to() == 3


def cut_off(place: Place, proxy: Proxy) -> None:
    """Open a log whose lease would hold for a minute, lose the way to the server, and close it."""
    log = PostgresLog(place.url(port=proxy.port), lease_s=60)
    log.append(everything(1))
    proxy.refuse()
    proxy.cut()
    log.close()
    proxy.heal()


def test_who_was_cut_off_and_closed_the_log_leads_it_again_at_once(place):
    with Proxy(urlsplit(place.address).port) as proxy:
        cut_off(place, proxy)
        assert place.run("SELECT expires_ms > 0 FROM T:lease") == [(1,)]
        with closing(place.open(place.url(port=proxy.port))) as log:
            assert (log.epoch, log.last_seq()) == (2, 3)
            log.append(everything(4))


@pytest.mark.parametrize("whose", ["owner = 'process 1 on another machine'", "epoch = 7"])
def test_who_was_cut_off_does_not_take_the_place_of_another_who_leads_since(place, whose):
    with Proxy(urlsplit(place.address).port) as proxy:
        cut_off(place, proxy)
        place.run(f"UPDATE T:lease SET {whose}")
        with pytest.raises(LogBusyError):
            place.open(place.url(port=proxy.port))


def test_who_was_cut_off_and_holds_the_log_still_leads_it(place):
    with Proxy(urlsplit(place.address).port) as proxy:
        url = place.url(port=proxy.port)
        with closing(PostgresLog(url, lease_s=60)) as log:
            log.append(everything(1))
            proxy.cut()
            with pytest.raises(LogBusyError, match="is being written by"):
                place.open(url)


def test_of_two_that_begin_a_new_log_at_once_one_leads_and_the_other_is_told_so(place):
    for _ in range(5):
        begin, outcomes = threading.Barrier(2), []

        def start(begin: threading.Barrier = begin, outcomes: list[object] = outcomes) -> None:
            begin.wait()
            try:
                outcomes.append(place.open())
            except ShroffError as error:
                outcomes.append(error)

        both = [threading.Thread(target=start) for _ in range(2)]
        for item in both:
            item.start()
        for item in both:
            item.join()
        logs = [outcome for outcome in outcomes if isinstance(outcome, PostgresLog)]
        assert [type(outcome) for outcome in outcomes if outcome not in logs] == [LogBusyError]
        logs[0].close()
        place.drop()


def test_a_server_that_takes_everything_and_says_nothing_is_given_up_and_the_log_goes_on(place, monkeypatch):
    with (
        Wire("127.0.0.1", urlsplit(place.address).port, how="mute") as wire,
        closing(place.open(place.url(port=wire.own_port))) as log,
    ):
        log.append(everything(1))
        monkeypatch.setattr(deadline, "ANSWER_S", 2.0)
        wire.cut_at = b"late-4"
        began_s = time.monotonic()
        with pytest.raises((TransientError, StorageError)):
            log.append(everything(4))
        assert wire.cuts == 1
        assert time.monotonic() - began_s < PATIENCE_S


def test_a_connection_that_was_lost_while_idle_is_made_again(place):
    with closing(place.open()) as log, closing(place.open(read_only=True)) as reader:
        log.append(everything(1))
        before = contents(reader)
        end_session(place, reader)
        end_session(place, log)

        assert contents(reader) == before
        log.append(everything(4))
        end_session(place, log)
        log.outbox.done(["1-0"])
        assert [row.key for row in log.outbox.rows()] == ["4-0"]


def end_session(place: Place, log: PostgresLog) -> None:
    """End the connection that a log asks and writes by, as an administrator would."""
    name = log._connection.session.name()
    place.run(f"SELECT pg_terminate_backend({name.split()[0]}, 5000)")


# Leases


@pytest.fixture
def long_lease_s(monkeypatch: pytest.MonkeyPatch) -> float:
    """A lease that no busy machine loses, and which is renewed ten times a second all the same."""
    monkeypatch.setattr(log_lease, "BEATS", 10 * 60)
    return 60.0


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_renewed(place: Place) -> None:
    ended_ms = place.ends_ms()
    wait_until(lambda: place.ends_ms() > ended_ms)


def test_a_lease_is_held_for_as_long_as_the_log_is_open_and_given_back_at_its_end(place, long_lease_s):
    with closing(place.open(lease_s=long_lease_s)) as log:
        wait_until_renewed(place)
        wait_until_renewed(place)
        with pytest.raises(LogBusyError, match="is being written by process"):
            place.open()
        log.append(payments(1, 1))

    place.open().close()


def test_a_lease_is_renewed_again_when_the_server_is_back(place, long_lease_s):
    with (
        Wire("127.0.0.1", urlsplit(place.address).port) as wire,
        closing(place.open(place.url(port=wire.own_port), long_lease_s)),
    ):
        wire.cut_at = b"expires_ms"
        wait_until(lambda: wire.cuts == 1)
        wait_until_renewed(place)

        with pytest.raises(LogBusyError):
            place.open()


def test_a_process_that_renews_too_late_goes_on_unless_another_one_leads(place, monkeypatch):
    monkeypatch.setattr(log_lease, "BEATS", 0.01)
    with closing(place.open()) as slow:
        slow.append(payments(1, 1))
        time.sleep(1.5 * LEASE_S)
        slow.append(payments(2, 1))
        with closing(place.open()) as log:
            for _ in range(2):
                with pytest.raises(OvertakenError, match="as number 1, and number 2 leads it"):
                    slow.append(payments(3, 1))

            log.append(payments(3, 1))
            assert slow.last_seq() == 3


# Sizes


def test_a_batch_beyond_one_statement_is_one_transaction(place, monkeypatch):
    monkeypatch.setattr(postgres_session, "_PIECE_BYTES", 5_000)
    batch = payments(1, 200)
    batch.records = [replace(item, body=b'{"a":"%s"}' % (b"\\\\'" * 50 * (item.seq % 3))) for item in batch.records]
    with closing(place.open()) as log:
        log.append(batch)

        assert [item for part in log.read(size=77) for item in part] == batch.records
        assert [item for part in log.decisions.after() for item in part] == batch.decisions
        again = payments(201, 300)
        again.records = [*again.records[:-1], record(500, "p-1")]
        again.decisions.clear()
        with pytest.raises(ShroffError, match="payment/p-1 is already in the log at sequence number 1"):
            log.append(again)
        assert log.last_seq() == 200
        log.append(payments(201, 700))
        assert [item for part in log.read(200) for item in part] == payments(201, 700).records


def test_numbers_and_bytes_of_any_size_are_written_as_they_are(place):
    sizes = enumerate((0, 1, 250, 251, 65_535, 65_536, 70_000), 1)
    frames = [EventFrame(seq, -seq, 0, 2**40, 2**32, b"'" * size) for seq, size in sizes]
    with closing(place.open()) as log:
        session = log._connection.begin()
        session.put(EVENT_FRAMES, frames)
        session.put(EVENT_FRAMES, [])
        session.flush()
        session.commit()
        assert log._event_frames.between(log._connection.wording.event_frames, 0, NUMBER_MAX) == frames


def test_odd_texts_stay_as_they_are_in_batches_of_any_size(place):
    odd = [f"{id_}{number}" for number in range(60) for id_ in ODD_IDS]
    records = [replace(record(seq, id_), body=msgspec.json.encode({"id": id_})) for seq, id_ in enumerate(odd, 1)]
    hits = [HitRow(each.seq, "r", each.id if each.seq % 2 else None, shadow=False) for each in records]
    batch = Batch(records=records, decisions=[decision(each) for each in records], hits=hits)
    with closing(place.open()) as log:
        log.append(batch)

        assert [item for part in log.read() for item in part] == records
        assert [item for part in log.hits.after() for item in part] == hits
        assert log.find("payment", odd) == {item.id: item for item in records}
        assert b"".join(log.lines()) == b"".join(b"e1payment %s\n" % item.body for item in records)


def test_a_document_of_megabytes_is_kept(place):
    body = b'{"a":"%s"}' % (b"x" * 6_000_000)
    with closing(place.open()) as log:
        log.append(Batch(records=[replace(record(seq), body=body) for seq in (1, 2)]))

        assert [len(item.body) for part in log.read() for item in part] == [len(body)] * 2
        assert [len(text) for text in log.lines(size=1)] == [len(body) + 11] * 2


def test_ids_are_looked_for_by_the_index_in_a_log_that_grew_by_small_batches(place):
    with closing(place.open()) as log:
        for first in range(1, 2_000, 250):
            log.find("payment", ["p-0"])
            log.append(Batch(records=payments(first, 250).records))
        log.find("payment", ["p-0"])
        prepared = log._connection.select(
            "SELECT name FROM pg_prepared_statements WHERE statement ~ '^SELECT id, seq .* events'"
        )
        plan = "".join(
            line for (line,) in log._connection.select(f"EXPLAIN EXECUTE {prepared[0][0]} ('{{a,b}}', 'payment')")
        )
        assert re.search(r"Index Cond: \(\(type = \$2\) AND \(id = \(?wanted.wanted", plan), plan


# Tables


def test_making_tables_gives_the_same_ones_whatever_was_there_of_them(place):
    assert not PostgresLog.is_there(place.url())
    place.open().close()
    assert PostgresLog.is_there(place.url())
    whole = place.tables()
    assert len(whole) > 80


def test_older_tables_are_brought_up_to_date_by_a_writer_and_newer_ones_are_refused(place, monkeypatch, tmp_path):
    with closing(place.open()) as log:
        log.append(everything(1))
        before = contents(log)
    with monkeypatch.context() as newer:
        use_version_2(newer, tmp_path / "scripts")
        with pytest.raises(StorageError, match=r"tables of version 1, and this needs 2: .* 'shroff migrate --apply'"):
            place.open(read_only=True)
        with closing(place.open()) as log:
            assert contents(log) == before
        assert place.run("SELECT DISTINCT note FROM T:remarks") == [(None,)]

    for read_only in (False, True):
        with pytest.raises(StorageError, match=r"tables are version 2, and this program supports up to 1\. Install"):
            place.open(read_only=read_only)


def named(id_: str, batch: Batch) -> Batch:
    """The records of a batch, the last of them with this id."""
    return Batch(records=[*batch.records[:-1], replace(batch.records[-1], id=id_)])


SMALL = {"FINAL": 1_024, "LEVEL_BITS": 2, "FILTER_WORDS": 384, "_PART": 32}


def test_ids_of_large_batches_are_unique_in_runs_that_are_sealed_and_undone(place):
    failing = False

    def step(name: str) -> None:
        if failing and name == "before commit":
            raise KeyboardInterrupt

    with small_runs(**SMALL):
        with closing(place.open(on_step=step)) as log:
            for first in range(1, 3_000, 300):
                log.append(payments(first, 300))
            log.append(payments(3_001, 2))
            failing = True
            with pytest.raises(KeyboardInterrupt):
                log.append(payments(3_003, 300))
            failing = False
            others = [record(seq, f"q-{seq}") for seq in range(3_003, 3_303)]
            log.append(Batch(records=others))
            sizes = place.run("SELECT size FROM T:id_runs ORDER BY run")
            assert [size for (size,) in sizes] == [1_200, 1_200, 300, 300, 300]
            for taken, count in (("p-7", 1), ("p-2999", 300), ("p-3002", 300), ("q-3003", 300), ("p-3303", 300)):
                with pytest.raises(StateError, match=f"payment/{taken} is already in the log"):
                    log.append(named(taken, payments(3_303, count)))
            assert log.prune(2_400, 2_400) == 2_400
            assert place.run("SELECT count(*) FROM T:id_runs") == [(3,)]
        wanted = [f"p-{seq}" for seq in range(4_000)]
        with closing(place.open()) as log, closing(place.open(read_only=True)) as reader:
            log.append(payments(3_303, 300))
            for item in (log, reader):
                assert {item.find("payment", [id_])[id_].seq for id_ in ("p-2401", "q-3302")} == {2_401, 3_302}
                assert len(item.find("payment", wanted)) == 3_002 - 2_400 + 300
                assert item.ids_lost(0) == ""
            place.run("UPDATE T:id_runs SET size = size + 1")
            assert "index of ids has changed" in reader.damage(1)
            place.run("DELETE FROM T:id_runs")
            assert "of the index of ids is missing" in log.damage(1)
            place.run("DELETE FROM T:id_parts")
            assert "of 1,200 ids of records in frames the index of ids has 0" in log.damage(1)
            assert (log.index_again(), reader.ids_lost(0)) == (1_200, "")
            assert len(reader.find("payment", wanted)) == 3_002 - 2_400 + 300


@pytest.mark.parametrize("killed", [range(7, 8), long(range(12))], ids=["of one batch", "of all"])
def test_a_kill_at_any_statement_about_runs_leaves_each_id_once_and_sealing_goes_on(
    place, monkeypatch, tmp_path, killed
):
    #  batches   0 .. 11, of which every fourth seals; each of some is undone at its first statement about runs, then at
    #  its second, and so on; whether the ones before had reached the server or not
    left = 0
    for module in (event_frames, record_ids):
        monkeypatch.setattr(module, "FRAME_ROWS", 16)

    def opened() -> PostgresLog:
        log = place.open()
        calls = ("select", "select_by_ids", "put", "execute")
        log._index._connection = SimpleNamespace(
            **{name: partial(dying, getattr(log._connection, name)) for name in calls}
        )
        return log

    def dying(whole: Callable[..., Any], *given: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            if at % 2:
                log._connection.session.flush()
            log._connection.session.close()
            raise KeyboardInterrupt
        return whole(*given, **options)

    def batch(number: int) -> Batch:
        return Batch(records=payments(16 * number + 1, 16).records)

    with small_runs(FINAL=64, LEVEL_BITS=2, FILTER_WORDS=24, _PART=2, _BESIDE=2):
        with closing(SqliteLog(tmp_path / "log.db")) as wanted:
            for number in range(12):
                wanted.append(batch(number))
        log, kills = opened(), 0
        for number, at in ((each, at) for each in range(12) for at in range(int(each in killed), 99)):
            if log.last_seq() == 16 * number + 16:
                continue
            left = at
            try:
                log.append(batch(number))
            except KeyboardInterrupt:
                log.close()
                log, kills = opened(), kills + 1
                assert (log.last_seq(), log.ids_lost(0)) == (16 * number, "")
                assert place.run("SELECT sum(size) FROM T:id_runs")[0][0] == (16 * number or None)
            left = 0
        log.close()
        assert kills > 5
    with closing(sqlite3.connect(tmp_path / "log.db")) as shell:
        for sql in ("SELECT run, crc FROM id_runs ORDER BY run", "SELECT part, crc FROM id_parts ORDER BY part"):
            assert place.run(sql.replace("id_", "T:id_")) == shell.execute(sql).fetchall()


def test_rows_of_small_batches_move_into_frames_but_for_the_newest(place, monkeypatch, tmp_path):
    monkeypatch.setattr(row_framing, "FRAME_ROWS", 16)
    monkeypatch.setattr(row_framing, "ROWS_KEPT", 20)
    count = "SELECT (SELECT count(*) FROM T:events), (SELECT count(*) FROM T:decisions)"
    with (
        closing(place.open()) as log,
        closing(place.open(read_only=True)) as reader,
        closing(SqliteLog(tmp_path / "log.db")) as wanted,
    ):
        for first in range(1, 100, 3):
            for each in (log, wanted):
                each.append(everything(first))
            if first == 61:
                with monkeypatch.context() as patched:
                    patched.setattr(IdIndex, "add", Mock(side_effect=KeyboardInterrupt))
                    before, rows = contents(log), log._framing._event_rows
                    log._framing._event_rows = 99
                    with pytest.raises(KeyboardInterrupt):
                        log.maintain()
                    log._framing._event_rows = rows
                    assert contents(log) == contents(reader) == before
            log.maintain()
        assert all(20 <= rows < 52 for rows in place.run(count)[0])
        assert contents(log) == contents(reader) == contents(wanted)
        assert b"".join(reader.lines()) == b"".join(wanted.lines())
        assert reader.ids_lost(0) == ""
        with pytest.raises(StateError, match="payment/p-4 is already in the log"):
            log.append(named("p-4", payments(100, 1)))
        for each in (log, wanted):
            assert each.prune(50) == 50
            each.append(everything(100))
        assert list(chain.from_iterable(reader.read(50))) == list(chain.from_iterable(wanted.read(50)))


def test_a_frame_that_is_being_made_is_dropped_where_its_rows_are_pruned(place, monkeypatch):
    monkeypatch.setattr(row_framing, "FRAME_ROWS", 16)
    monkeypatch.setattr(row_framing, "ROWS_KEPT", 20)
    with closing(place.open()) as log:
        log.append(payments(1, 40))
        log.maintain()
        assert log._framing._moving is not None
        log.prune(10)
        for first in range(41, 61):
            log.append(payments(first, 1))
            log.maintain()
        for table in ("event_frames", "decision_frames"):
            assert place.run(f"SELECT min(first_seq) FROM T:{table}") == [(11,)]
        assert list(chain.from_iterable(log.read(10))) == payments(11, 50).records


def test_a_frame_of_events_that_changed_or_is_gone_is_named(place):
    with closing(place.open()) as log:
        log.append(payments(1, 300))
        log.append(payments(301, 2))
        place.run("UPDATE T:event_frames SET first_seq = 2")
        for read in (log.read, log.lines):
            with pytest.raises(StorageError, match=r"the record at sequence number 1 is missing|are missing after seq"):
                list(read())
            with pytest.raises(StorageError, match="records at sequence numbers 2 to 300 differ from those that were"):
                list(read(1))
        place.run("DELETE FROM T:event_frames")
        with pytest.raises(StorageError, match="the record at sequence number 2 is missing"):
            list(log.read(1))


def test_a_tail_that_is_cut_off_from_every_table_is_told_at_each_opening(place):
    with closing(place.open()) as log:
        log.append(payments(1, 300))
        log.append(payments(301, 20))
    tables = ("events", "event_frames", "batches", "decisions", "decision_frames", "flags", "hits", "outbox")
    place.run(*(f"DELETE FROM T:{table} WHERE seq > 310" for table in tables))
    for is_reader in (True, False):
        with pytest.raises(StorageError, match="sequence numbers 311 to 320 are missing: commits end at 320"):
            place.open(read_only=is_reader)
    place.run("UPDATE T:watermark SET last_seq = 310")
    with closing(place.open()) as log:
        assert log.last_seq() == 310


def test_tables_of_another_program_are_left_alone(place):
    place.run(f"CREATE SCHEMA {place.name}")
    place.run("CREATE TABLE T:recipes (name varchar(9))")
    with pytest.raises(StorageError, match=r"not a log of shroff"):
        place.open()

    assert len(place.tables()) == 1


def test_a_reader_of_no_log_is_told_what_makes_one(place):
    with pytest.raises(StorageError, match=r"there is no log at .*shroff ingest"):
        place.open(read_only=True)
    assert place.tables() == []


def test_tables_are_read_by_people(place):
    with closing(place.open()) as log:
        log.append(everything(1))
    assert place.run("SELECT kind, type, body::json->>'amount' FROM T:events ORDER BY seq")[0] == (
        "event",
        "payment",
        "1",
    )


# Words and secrets


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"password": SECRET}, StorageError, "rejects the sign-in of user shroff"),
        ({"user": "nobody", "password": SECRET}, StorageError, "rejects the sign-in of user nobody"),
        ({"password": SECRET, "port": 1}, TransientError, "cannot be reached"),
        ({"database": "nowhere"}, StorageError, "there is no such database|rejects the sign-in|lacks a permission"),
    ],
)
def test_a_server_that_cannot_be_used_is_named_without_the_password(place, changes, error, words):
    with pytest.raises(error, match=words) as raised:
        place.open(place.url(**changes))

    told = [str(raised.value), repr(raised.value), str(raised.value.__cause__)]
    assert not any(SECRET in notice or str(urlsplit(place.address).password) in notice for notice in told)
    assert "127.0.0.1" in told[0]


def test_a_log_shows_its_place_and_no_secret(place):
    with closing(place.open()) as log:
        shown = [
            log.place,
            repr(log),
            repr(log._connection.session),
            repr(vars(log)),
            repr(vars(log._connection.session)),
        ]

    assert not any(str(urlsplit(place.address).password) in item for item in shown)
    assert log.place.startswith(place.address.partition("://")[0])


def test_a_server_that_cannot_show_a_certificate_is_refused_where_one_is_asked_for(place):
    with pytest.raises(StorageError, match=r"cannot be secured as asked|does not encrypt"):
        place.open(f"{place.url()}&sslmode=verify-full")
