"""Cases in PostgreSQL and MariaDB, held to the contract that SQLite keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import inspect

from shroff.adapters.cases.schema import case_tables
from shroff.adapters.cases.sql import SqlCases
from shroff.adapters.log.mariadb import MariadbLog
from shroff.adapters.log.postgresql import PostgresLog
from shroff.adapters.people.sql import SqlPeople
from shroff.streams.log import Log
from tests.contracts.test_people_servers import in_mariadb, name_of
from tests.support.contracts.cases import SEAL, CaseContract
from tools.servers.keep import Kept

pytestmark = pytest.mark.slow
NAMES = ("place", "alerts", "history", "pending", "files", "views")


class TestPostgresCases(CaseContract):
    address: str

    @pytest.fixture(autouse=True)
    def _server(self, postgres: Kept, tmp_path: Path) -> Iterator[None]:
        self.address = postgres.address
        yield
        with psycopg.connect(postgres.address, autocommit=True) as shell:
            shell.execute(f"DROP SCHEMA IF EXISTS {name_of(tmp_path)} CASCADE")

    def url(self, folder: Path) -> str:
        return f"{self.address}?schema={name_of(folder)}"

    def make_store(self, folder: Path) -> tuple[SqlPeople, SqlCases]:
        if not PostgresLog.is_there(self.url(folder)):
            PostgresLog(self.url(folder)).close()
        people = SqlPeople(self.url(folder), SEAL)
        return people, SqlCases(people)

    def make_log(self, folder: Path) -> Log:
        return PostgresLog(self.url(folder))

    def test_the_script_makes_the_tables_that_sqlalchemy_knows(self, tmp_path: Path) -> None:
        _check_tables(self.make_store(tmp_path), "")


class TestMariadbCases(CaseContract):
    smoke = (  # PostgreSQL and SQLite keep the whole contract in `make test`
        "test_cases_are_kept_as_they_are",
        "test_a_change_that_fails_leaves_nothing",
        "test_a_filter_finds_what_it_names",
        "test_of_many_who_claim_next_no_two_get_the_same",
        "test_files_are_kept_byte_for_byte",
        "test_the_script_makes_the_tables_that_sqlalchemy_knows",
    )
    address: str

    @pytest.fixture(autouse=True)
    def _server(self, mariadb: Kept, tmp_path: Path) -> Iterator[None]:
        self.address = mariadb.address
        yield
        prefix = f"{name_of(tmp_path)}_"
        sql = f"SELECT table_name FROM information_schema.tables WHERE left(table_name, {len(prefix)}) = '{prefix}'"
        drop = [f"DROP TABLE {name}" for (name,) in in_mariadb(self.address, sql)]
        in_mariadb(self.address, *drop, "SELECT 1")

    def url(self, folder: Path) -> str:
        return f"{self.address}?prefix={name_of(folder)}_"

    def make_store(self, folder: Path) -> tuple[SqlPeople, SqlCases]:
        if not MariadbLog.is_there(self.url(folder)):
            MariadbLog(self.url(folder)).close()
        people = SqlPeople(self.url(folder), SEAL)
        return people, SqlCases(people)

    def make_log(self, folder: Path) -> Log:
        return MariadbLog(self.url(folder))

    def test_the_script_makes_the_tables_that_sqlalchemy_knows(self, tmp_path: Path) -> None:
        _check_tables(self.make_store(tmp_path), f"{name_of(tmp_path)}_")


def _check_tables(opened: tuple[SqlPeople, SqlCases], prefix: str) -> None:
    people, store = opened
    with store.look() as look:
        look.place()
    found, known = inspect(people._database.engine), case_tables(prefix)

    for name in ("cases", *(f"case_{name}" for name in NAMES)):
        table = getattr(known, name)
        assert [one["name"] for one in found.get_columns(table.name)] == table.c.keys()
        keys = [column.name for column in table.primary_key]
        assert found.get_pk_constraint(table.name)["constrained_columns"] == keys
    people.close()
