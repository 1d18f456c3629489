"""Cases in PostgreSQL, held to the contract that SQLite keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import inspect

from shroff.adapters.log.postgresql import PostgresLog
from shroff.adapters.people.sql import SqlPeople
from shroff.cases.sql import CaseStore
from shroff.cases.sql_tables import case_tables
from shroff.streams.log import Log
from tests.contracts.test_people_servers import name_of
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

    def make_store(self, folder: Path) -> tuple[SqlPeople, CaseStore]:
        if not PostgresLog.is_there(self.url(folder)):
            PostgresLog(self.url(folder)).close()
        people = SqlPeople(self.url(folder), SEAL)
        return people, CaseStore(people)

    def make_log(self, folder: Path) -> Log:
        return PostgresLog(self.url(folder))

    def test_the_script_makes_the_tables_that_sqlalchemy_knows(self, tmp_path: Path) -> None:
        _check_tables(self.make_store(tmp_path))


def _check_tables(opened: tuple[SqlPeople, CaseStore]) -> None:
    people, store = opened
    with store.look() as look:
        look.place()
    found, known = inspect(people._database.engine), case_tables()

    for name in ("cases", *(f"case_{name}" for name in NAMES)):
        table = getattr(known, name)
        assert [item["name"] for item in found.get_columns(table.name)] == table.c.keys()
        keys = [column.name for column in table.primary_key]
        assert found.get_pk_constraint(table.name)["constrained_columns"] == keys
    people.close()
