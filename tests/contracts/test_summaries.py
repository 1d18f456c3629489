"""What tables of summaries promise, in each database: the same rows, and several writers that do no harm."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.databases.sql_database import SqlDatabase
from shroff.errors import UsageError
from shroff.runtime.values import replace
from shroff_plugins.analytics.summaries.project_summaries import Summaries
from shroff_plugins.analytics.summaries.settings import SummarySettings
from shroff_plugins.analytics.summaries.summaries import SummaryRow, WindowSummary
from shroff_plugins.analytics.summaries.summary_tables import SqlSummaries
from shroff_plugins.analytics.summaries.summary_writer import Built
from tests.support.summarized import bank_in, by_definition, rows_of, summarized, week

START_MS = 1_780_000_200_000
EVERY_MS = 300_000


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/s.db"
    return str(request.getfixturevalue(request.param).address)


@pytest.fixture
def settings() -> SummarySettings:
    table = f"s{uuid.uuid4().hex[:12]}"
    return SummarySettings("", "payment", {"land": "country", "order": "kind"}, table=table, fraud_table=f"{table}_f")


def opened(address: str, settings: SummarySettings, now_ms: int = START_MS) -> Any:
    return closing(SqlSummaries(address, settings, ("GBP", 2), lambda: now_ms))


def window(number: int, count: int = 2, confirmed: int = 0) -> WindowSummary:
    lands = {"DE": count, "ä \"'%": 1} if count else {}
    average = Decimal("10.0350") if count else None
    all_ = SummaryRow(
        {"land": lands, "order": {}}, count, Decimal(count) * Decimal("10.035") + Decimal("0.00"), average, 0
    )
    fraud = SummaryRow({"land": {}, "order": {}}, 0, Decimal("0.00"), None, confirmed)
    return WindowSummary(START_MS + number * EVERY_MS, START_MS + (number + 1) * EVERY_MS, all_, fraud)


def test_rows_and_views_are_the_same_in_every_database(address: str, settings: SummarySettings):
    with opened(address, settings) as store:
        store.begin(7)

        assert store.write([window(0), window(1, 0, 3)], 7, START_MS + 2 * EVERY_MS) == 4
        assert store.write([window(0), window(1, 0, 3)], 7) == 0
        assert store.written([START_MS, START_MS + EVERY_MS, START_MS + 2 * EVERY_MS]) == [
            START_MS,
            START_MS + EVERY_MS,
        ]
        assert store.counts([START_MS, START_MS + EVERY_MS, START_MS + 2 * EVERY_MS]) == {
            START_MS: 2,
            START_MS + EVERY_MS: 0,
        }
        assert store.followed() == (7, START_MS + 2 * EVERY_MS)
    first, none = rows_of(address, settings.table)
    assert first == {
        "window_start": START_MS,
        "window_end": START_MS + EVERY_MS,
        "revision": 0,
        "created_at": START_MS,
        "land": '{"DE": 2, "ä \\"\'%": 1}',
        "order": "{}",
        "transaction_count": 2,
        "amount_sum": Decimal("20.07"),
        "average_amount": Decimal("10.0350"),
        "currency": "GBP",
        "fraud_count": 0,
        "confirmed_fraud_count": 0,
    }
    assert (none["land"], none["amount_sum"], none["average_amount"]) == ("{}", 0, None)
    assert [row["confirmed_fraud_count"] for row in rows_of(address, settings.fraud_table)] == [0, 3]
    shown = rows_of(address, f"{settings.table}_text")
    assert [(row["amount_sum"], row["average_amount"]) for row in shown] == [("£20.07", "£10.04"), ("£0.00", None)]


SHAPES = {
    "sqlite": "window_start TEXT NO, window_end TEXT NO, revision INTEGER NO, created_at TEXT NO, land TEXT NO, "
    "order TEXT NO, transaction_count INTEGER NO, amount_sum DECIMAL(20,2) NO, average_amount DECIMAL(20,4) YES, "
    "currency CHAR(3) NO, fraud_count INTEGER NO, confirmed_fraud_count INTEGER NO",
    "postgresql": "window_start timestamp with time zone NO, window_end timestamp with time zone NO, "
    "revision integer NO, created_at timestamp with time zone NO, land json NO, order json NO, "
    "transaction_count bigint NO, amount_sum numeric NO, average_amount numeric YES, currency character NO, "
    "fraud_count bigint NO, confirmed_fraud_count bigint NO",
    "mariadb": "window_start datetime(3) NO, window_end datetime(3) NO, revision int(11) NO, "
    "created_at datetime(3) NO, land longtext NO, order longtext NO, transaction_count bigint(20) NO, "
    "amount_sum decimal(20,2) NO, "
    "average_amount decimal(20,4) YES, currency char(3) NO, fraud_count bigint(20) NO, "
    "confirmed_fraud_count bigint(20) NO",
}


def test_a_new_table_has_the_columns_that_it_always_had(address: str, settings: SummarySettings):
    with opened(address, settings) as store:
        store.begin(1)

    kind, table = address.partition(":")[0], settings.table
    type_ = "data_type" if kind == "postgresql" else "column_type"
    sql = f"SELECT column_name, {type_}, is_nullable FROM information_schema.columns WHERE table_name = '{table}' "
    if kind == "sqlite":
        sql = f"SELECT name, type, CASE WHEN \"notnull\" THEN 'NO' ELSE 'YES' END FROM pragma_table_info('{table}') "
    database = SqlDatabase(address, "a test")
    with closing(database), database.begun() as connection:
        rows = connection.exec_driver_sql(sql + ("" if kind == "sqlite" else "ORDER BY ordinal_position")).fetchall()
    assert ", ".join(" ".join(row) for row in rows) == SHAPES[kind]


def test_an_older_row_never_takes_the_place_of_a_newer_one(address: str, settings: SummarySettings):
    with opened(address, settings) as writer, opened(address, settings, START_MS + 1) as other:
        assert writer.begin(5) == other.begin(16) == (5, None)

        assert other.write([window(0, 3)], 16) == 2
        assert writer.write([window(0, 2)], 5) is None
        assert writer.write([window(0, 2)], 9) is None
        assert writer.write([window(0, 4)], 17) == 1
        assert [writer.settle(17, ()), other.settle(16, ())] == [True, True]
        assert other.followed() == (17, None)
    (row,) = rows_of(address, settings.table)
    assert (row["revision"], row["created_at"], row["transaction_count"]) == (1, START_MS, 4)


def test_a_window_of_an_older_position_never_comes_behind_a_settled_one(address: str, settings: SummarySettings):
    with opened(address, settings) as writer, opened(address, settings) as other:
        writer.begin(5)

        assert other.write([window(0)], 5) == 2
        assert writer.settle(6, [START_MS, START_MS + EVERY_MS]) is False, "another one wrote it, as of 5"
        assert writer.followed() == (5, None)
        assert writer.settle(6, [START_MS + EVERY_MS]) is True
        assert other.write([window(1)], 5) is None, "what the log has from 5 to 6 would never be in it"
        assert other.write([window(1)], 6) == 2


def test_a_window_that_another_process_writes_while_one_corrects_is_corrected(address: str, tmp_path: Path):
    bank = bank_in(tmp_path / "bank", address, f"transaction_{uuid.uuid4().hex[:12]}")
    batches, unseen, written = week(7, 30), list[int](), SqlSummaries.written

    def just_before(self: SqlSummaries, starts: Any) -> list[int]:
        found = written(self, starts)
        if len(found) > 1 and len(unseen) < 9 and found[0] not in unseen:
            unseen.append(found.pop(0))
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SqlSummaries, "written", just_before)
        for begin in range(0, len(batches), 8):
            bank.write(batches[begin : begin + 8])
            next(Summaries(bank.project.context).run(wait=lambda _: None))

    found = summarized(bank)
    assert unseen
    assert found == by_definition(bank, found[0][0], found[-1][0] + EVERY_MS)


def test_tables_of_other_settings_are_refused_with_what_differs(address: str, settings: SummarySettings):
    with opened(address, settings) as store:
        store.begin(9)
    settings = replace(settings, every_ms=60_000, amount="x")
    with (
        opened(address, settings) as store,
        pytest.raises(UsageError, match=r"\(amount, every_ms differ\).*Name other"),
    ):
        store.begin(9)


def test_a_table_of_mariadb_whose_unique_key_lets_windows_overwrite_each_other_is_refused(mariadb, settings):
    with opened(mariadb.address, settings) as store:
        store.begin(7)
        with store._database.begun() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {settings.table} ADD UNIQUE (transaction_count)")
    with opened(mariadb.address, settings) as store, pytest.raises(UsageError, match="overwrite another"):
        store.begin(7)


def test_two_runners_beside_a_log_that_grows_write_each_row_right(address: str, tmp_path: Path):
    bank = bank_in(tmp_path / "bank", address, f"transaction_{uuid.uuid4().hex[:12]}")
    batches, is_over, said = week(7, 30), threading.Event(), list[str]()
    bank.write(batches[:3])

    def run() -> list[Built]:
        project, found = bank.project, []
        while not is_over.is_set():
            found += islice(
                Summaries(project.context).run(say=said.append, wait=lambda _: None), 2
            )  # a new process after two rounds, without waiting
        return [*found, *islice(Summaries(project.context).run(say=said.append, wait=lambda _: None), 1)]

    with ThreadPoolExecutor(2) as pool:
        runners = [pool.submit(run) for _ in range(2)]
        for begin in range(3, len(batches), 3):
            bank.write(batches[begin : begin + 3])
        is_over.set()
        assert all(runner.result() for runner in runners)

    found = summarized(bank)
    assert found == by_definition(bank, found[0][0], found[-1][0] + EVERY_MS)
    assert sum(row[1][1] for row in found) > 50
