"""People in SQLite held to the contract, and proof that the contract rejects stores that break it."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.errors import ShroffError
from shroff.people.access import Role
from shroff.people.audit import FIRST, Act, AuditEntry, Seal, row_of
from shroff.people.sql import Change
from shroff.people.store import Row, User
from shroff.runtime.values import replace
from tests.contracts.broken_stores import changing, closing_all
from tests.support import forks
from tests.support.contracts.people import SEAL, PeopleContract
from tests.support.effort import long_after

APPEND = """
import pathlib, sys
from shroff.adapters.people.sql import SqlPeople
from tests.support.contracts.people import SEAL, append
append(SqlPeople(pathlib.Path(sys.argv[1]), SEAL), sys.argv[2], 25)
"""


class TestSqlitePeople(PeopleContract):
    kind: type[SqlPeople] = SqlPeople

    def make_store(self, folder: Path) -> SqlPeople:
        path = folder / "log.db"
        if not path.exists():
            SqliteLog(path).close()
        return self.kind(path, SEAL)

    def make_log(self, folder: Path) -> SqliteLog:
        return SqliteLog(folder / "log.db")

    def run_sql(self, folder: Path, sql: str) -> None:
        with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as shell:
            shell.execute(sql)

    def appending_program(self, folder: Path) -> list[str]:
        return [str(forks.PYTHON), "-c", APPEND, str(folder / "log.db")]


class Broken(SqlPeople):
    """A store whose changes are made by another class."""

    changing: type[Change] = Change

    @contextmanager
    def change(self) -> Iterator[Change]:
        with self._database.transaction(is_change=True) as connection:
            made = self.changing(connection, self.seal, self.place)
            made.hold()
            yield made


@changing(Broken)
class CommitsAtOnce(Change):
    def add_user(self, user: User) -> User:
        made = super().add_user(user)
        self._connection.connection.driver_connection.commit()
        self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        return made


class HoldsNothing(SqlPeople):
    @contextmanager
    def change(self) -> Iterator[Change]:
        with self._database.transaction(is_change=False) as connection:
            yield Change(connection, self.seal, self.place)


@changing(Broken)
class LeavesLinks(Change):
    def take(self, kind: type[Row], key: object) -> Row | None:
        return self.find(kind, key)


@changing(Broken)
class ForgetsTheRowBefore(Change):
    def audit(self, act: Act, at_ms: int) -> AuditEntry:
        row = super().audit(act, at_ms)
        alone = row_of(act, row.number, at_ms, FIRST)
        sql = "UPDATE audit_head SET hash = ?"
        self._connection.exec_driver_sql(sql, (alone.hash,))
        return row


@changing(Broken)
class TrustsTheHead(Change):
    def audit(self, act: Act, at_ms: int) -> AuditEntry:
        head = self.head()
        sql = "UPDATE audit_head SET seal = ?"
        self._connection.exec_driver_sql(sql, (self._seal(head.number, head.hash),))
        return super().audit(act, at_ms)


class SealsNothing(Broken):
    def __init__(self, place: Path, seal: Seal) -> None:
        super().__init__(place, lambda *_: bytes(32))


@changing(Broken)
class TakesTheLowestNumber(Change):
    def add_user(self, user: User) -> User:
        self._connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'users'")
        return super().add_user(user)


@changing(Broken)
class KeepsSessions(Change):
    def end_sessions(self, user: int) -> int:
        return 0


@changing(Broken)
class KeepsTheRole(Change):
    def put_user(self, user: User) -> None:
        super().put_user(User(user.number, user.name, *(getattr(user, name) for name in User.__slots__[2:])))
        self._connection.exec_driver_sql("UPDATE users SET role = ?", (Role.VIEWER.value,))


@changing(Broken)
class SharesNames(Change):
    def _check_free(self, user: User, own: int | None) -> None:
        return


@changing(Broken)
class AsksNobody(Change):
    def ask(self, kind: str, body: bytes, at_ms: int) -> int:
        return 2


@changing(Broken)
class NeverForgets(Change):
    def put(self, row: Row) -> None:
        if self.find(type(row), row.hash) is None:
            super().put(row)


@changing(Broken)
class AnswersForAll(Change):
    def put(self, row: Row) -> None:
        super().put(replace(row, hash=bytes(32)))


BROKEN = {
    AnswersForAll: "test_what_was_answered_in_the_place_of_a_decision_is_kept_by_its_event",
    CommitsAtOnce: "test_a_change_that_fails_leaves_nothing",
    HoldsNothing: "test_changes_follow_each_other",
    LeavesLinks: "test_of_many_who_take_a_link_one_gets_it",
    ForgetsTheRowBefore: "test_the_record_is_one_chain_with_a_sealed_head",
    TrustsTheHead: "test_a_head_that_was_set_without_the_key_leaves_a_break_that_stays",
    SealsNothing: "test_the_record_is_one_chain_with_a_sealed_head",
    TakesTheLowestNumber: "test_the_number_of_a_removed_user_never_comes_again",
    KeepsSessions: "test_sessions_are_kept_changed_and_ended",
    KeepsTheRole: "test_a_changed_user_is_another_one_in_all_columns",
    SharesNames: "test_a_name_and_a_subject_are_one_users",
    AsksNobody: "test_a_request_is_in_the_inbox_with_the_change_that_asks",
    NeverForgets: "test_attempts_are_kept_and_forgotten",
}


# They try the contract, not the program.
@pytest.mark.parametrize("kind", long_after(5, BROKEN), ids=lambda kind: kind.__name__)
def test_the_contract_rejects_a_broken_store(kind: type[SqlPeople], tmp_path: Path) -> None:
    suite = TestSqlitePeople()
    suite.kind = kind
    test = inspect.unwrap(getattr(suite, BROKEN[kind]).__func__)

    with (
        closing_all(),
        pytest.raises((AssertionError, ShroffError)),
    ):  # what is not free, or not held, the database says itself
        test(suite, tmp_path)
