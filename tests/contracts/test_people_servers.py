"""People in PostgreSQL, held to the contract that SQLite keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import inspect

from shroff.adapters.log.postgresql import PostgresLog
from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.errors import StorageError, TransientError, UsageError
from shroff.people.sql import VERSION, tables
from shroff.streams.log import Log
from tests.support import forks
from tests.support.contracts.people import SEAL, PeopleContract, append
from tools.servers.keep import Kept

pytestmark = pytest.mark.slow
APPEND = """
import sys
from shroff.adapters.people.sql import SqlPeople
from tests.support.contracts.people import SEAL, append
append(SqlPeople(sys.argv[1], SEAL), sys.argv[2], 25)
"""


def name_of(folder: Path) -> str:
    return f"people_{blake2b(str(folder).encode(), digest_size=8).hexdigest()}"


class TestPostgresPeople(PeopleContract):
    smoke = (
        "test_users_are_kept_as_they_are",
        "test_a_name_and_a_subject_are_one_users",
        "test_a_change_that_fails_leaves_nothing",
        "test_of_many_who_take_a_link_one_gets_it",
        "test_the_record_is_one_chain_with_a_sealed_head",
        "test_processes_that_record_at_once_make_one_chain",
        "test_the_database_refuses_to_change_rows_of_the_record",
        "test_a_request_is_in_the_inbox_with_the_change_that_asks",
    )
    address: str

    @pytest.fixture(autouse=True)
    def _server(self, postgres: Kept, tmp_path: Path) -> Iterator[None]:
        self.address = postgres.address
        yield
        with psycopg.connect(postgres.address, autocommit=True) as shell:
            shell.execute(f"DROP SCHEMA IF EXISTS {name_of(tmp_path)} CASCADE")

    def url(self, folder: Path) -> str:
        return f"{self.address}?schema={name_of(folder)}"

    def make_store(self, folder: Path) -> SqlPeople:
        if not PostgresLog.is_there(self.url(folder)):
            PostgresLog(self.url(folder)).close()
        return SqlPeople(self.url(folder), SEAL)

    def make_log(self, folder: Path) -> Log:
        return PostgresLog(self.url(folder))

    def run_sql(self, folder: Path, sql: str) -> None:
        with psycopg.connect(self.address, autocommit=True) as shell:
            shell.execute(f"SET search_path = {name_of(folder)}")
            shell.execute(sql)

    def appending_program(self, folder: Path) -> list[str]:
        return [str(forks.PYTHON), "-c", APPEND, self.url(folder)]


@dataclass(frozen=True)
class Opened:
    """A store on one kind of database, and a way to run a statement there."""

    store: SqlPeople
    run: Callable[[str], None]


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    if request.param == "sqlite":
        SqliteLog(tmp_path / "log.db").close()
        store = SqlPeople(tmp_path / "log.db", SEAL)
        yield Opened(store, lambda sql: _in_sqlite(tmp_path / "log.db", sql))
        store.close()
        return
    suite = TestPostgresPeople()
    fixture = suite._server.__wrapped__ if hasattr(suite._server, "__wrapped__") else None
    assert fixture is not None
    held = fixture(suite, request.getfixturevalue(request.param), tmp_path)
    next(held)
    store = suite.make_store(tmp_path)
    yield Opened(store, lambda sql: suite.run_sql(tmp_path, sql))
    store.close()
    next(held, None)


def _in_sqlite(path: Path, sql: str) -> None:
    import sqlite3

    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute(sql)


def test_the_scripts_make_the_tables_that_sqlalchemy_knows(opened: Opened) -> None:
    append(opened.store, "x", 1)
    found = inspect(opened.store._database.engine)
    known = tables()

    for table in known.values():
        assert [column["name"] for column in found.get_columns(table.name)] == table.c.keys()
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [table.c[0].name]


def test_tables_of_a_newer_program_are_not_touched(opened: Opened) -> None:
    append(opened.store, "x", 1)
    opened.store.close()
    opened.run(f"UPDATE people_version SET number = {VERSION + 1}")
    opened.store._database._prepared.clear()

    with pytest.raises(StorageError, match="Install the version"):
        append(opened.store, "x", 1)


def test_a_server_that_is_away_is_told_without_its_password() -> None:
    store = SqlPeople("postgresql://ann:not-to-be-seen@127.0.0.1:9/shroff", SEAL)

    with pytest.raises(TransientError) as raised:
        append(store, "x", 1)
    assert "not-to-be-seen" not in f"{raised.value!r} {raised.value} {store.place}"


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no option"):
        SqlPeople("postgresql://h/d?shema=x", SEAL)
