"""Cases in SQLite held to the contract, and proof that the contract rejects stores that break it."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.cases import sql
from shroff.cases.case import Alert, Attached, Case, CaseActivity, CaseFilter, Cursor, Happened, Pending, View
from shroff.cases.sql import CaseChange, CaseStore
from shroff.cases.sql_reader import CaseReader
from shroff.cases.sql_tables import case_tables
from shroff.errors import ShroffError
from shroff.people.sql import Change
from tests.contracts.broken_stores import changing, closing_all
from tests.support.contracts.cases import SEAL, CaseContract
from tests.support.effort import long_after


class TestSqliteCases(CaseContract):
    kind: type[CaseStore] = CaseStore

    def make_store(self, folder: Path) -> tuple[SqlPeople, CaseStore]:
        path = folder / "log.db"
        if not path.exists():
            SqliteLog(path).close()
        people = SqlPeople(path, SEAL)
        return people, self.kind(people)

    def make_log(self, folder: Path) -> SqliteLog:
        return SqliteLog(folder / "log.db")


class Broken(CaseStore):
    """A store whose questions and changes are those of another class."""

    changing: type[CaseChange] = CaseChange

    @contextmanager
    def look(self) -> Iterator[CaseReader]:
        with self._people.change() as people:
            yield self.changing(people.connection, self._tables, people)

    @contextmanager
    def change(self) -> Iterator[CaseChange]:
        with self._people.change() as people:
            yield self.changing(people.connection, self._tables, people)


@changing(Broken)
class CommitsAtOnce(CaseChange):
    def add_cases(self, cases: Sequence[Case]) -> None:
        super().add_cases(cases)
        self._connection.connection.driver_connection.commit()
        self._connection.exec_driver_sql("BEGIN IMMEDIATE")


class HoldsNothing(CaseStore):
    @contextmanager
    def change(self) -> Iterator[CaseChange]:
        with self._people.look_beside() as connection:
            people = Change(connection, SEAL, "here")
            yield CaseChange(connection, self._tables, people)


@changing(Broken)
class KeepsTheState(CaseChange):
    def put_cases(self, cases: Sequence[Case]) -> None:
        super().put_cases(cases)
        self._connection.exec_driver_sql("UPDATE cases SET state = 'open'")


@changing(Broken)
class ChangesReasons(CaseChange):
    def put_alerts(self, alerts: Sequence[Alert]) -> None:
        super().put_alerts(alerts)
        for alert in alerts:
            self._connection.exec_driver_sql(
                "UPDATE case_alerts SET reason = ? WHERE seq = ?", (alert.reason, alert.seq)
            )


@changing(Broken)
class SkipsEqualOnes(CaseChange):
    def queue(self, wanted: CaseFilter, order: str = "due", after: Cursor | None = None, limit: int = 50) -> list[Case]:
        return super().queue(wanted, order, after and (after[0], 2**60), limit)


@changing(Broken)
class TakesSignsForWildcards(CaseChange):
    def queue(self, wanted: CaseFilter, order: str = "due", after: Cursor | None = None, limit: int = 50) -> list[Case]:
        found = super().queue(wanted, order, after, limit)
        return found or super().queue(CaseFilter(), order, after, limit) if wanted.text == "'" else found


@changing(Broken)
class FindsClosedOnes(CaseChange):
    def open_about(self, abouts: Collection[bytes]) -> dict[bytes, Case]:
        rows = self._connection.exec_driver_sql("SELECT * FROM cases").fetchall()
        return {row[1]: Case(*row) for row in rows if row[1] in abouts}


@changing(Broken)
class KeepsWhatWas(CaseChange):
    def put_pending(self, pending: Pending) -> None:
        return


@changing(Broken)
class ForgetsNobody(CaseChange):
    def end_pending(self, number: int) -> None:
        return


@changing(Broken)
class WakesTooEarly(CaseChange):
    def lapsed(self, now_ms: int, limit: int = 100) -> list[Case]:
        return super().lapsed(now_ms + 1, limit)


@changing(Broken)
class IsDueTooLate(CaseChange):
    def due(self, now_ms: int, limit: int = 100) -> list[Pending]:
        return super().due(now_ms - 1, limit)


@changing(Broken)
class TellsTheOldest(CaseChange):
    def history(self, case: int, limit: int = 1_000) -> list[Happened]:
        return super().history(case)[:limit]


@changing(Broken)
class CutsFiles(CaseChange):
    def attach(self, attached: Attached, content: bytes) -> Attached:
        return super().attach(attached, content.rstrip(b"\0"))


@changing(Broken)
class SharesAll(CaseChange):
    def put_view(self, view: View) -> None:
        super().put_view(view)
        self._connection.exec_driver_sql("UPDATE case_views SET is_shared = 1")


@changing(Broken)
class CountsWhatLabelsClosed(CaseChange):
    def done_since(self, start_ms: int, who: str = "") -> CaseActivity:
        found = super().done_since(start_ms, who)
        return CaseActivity(found.answered, found.closed + 1, found.opened)


@changing(Broken)
class TakesOneForAll(CaseChange):
    def done_since(self, start_ms: int, who: str = "") -> CaseActivity:
        return super().done_since(start_ms)


BROKEN = {
    CommitsAtOnce: "test_a_change_that_fails_leaves_nothing",
    HoldsNothing: "test_of_many_who_claim_next_no_two_get_the_same",
    KeepsTheState: "test_a_changed_case_is_another_one_in_all_columns",
    ChangesReasons: "test_alerts_are_kept_and_answered",
    SkipsEqualOnes: "test_parts_of_a_queue_make_the_whole",
    TakesSignsForWildcards: "test_a_filter_finds_what_it_names",
    FindsClosedOnes: "test_of_cases_about_one_key_the_newest_that_is_not_closed_is_found",
    KeepsWhatWas: "test_what_can_be_undone_is_kept_until_it_ends",
    ForgetsNobody: "test_what_can_be_undone_is_kept_until_it_ends",
    WakesTooEarly: "test_what_lapsed_is_found",
    IsDueTooLate: "test_what_can_be_undone_is_kept_until_it_ends",
    TellsTheOldest: "test_what_was_done_is_told_in_its_order",
    CutsFiles: "test_files_are_kept_byte_for_byte",
    SharesAll: "test_views_are_ones_own_and_those_that_are_shared",
    CountsWhatLabelsClosed: "test_what_was_done_is_counted",
    TakesOneForAll: "test_who_answered_since_a_moment_is_known",
}


# They try the contract, not the program.
@pytest.mark.parametrize("kind", long_after(6, BROKEN), ids=lambda kind: kind.__name__)
def test_the_contract_rejects_a_broken_store(kind: type[CaseStore], tmp_path: Path) -> None:
    suite = TestSqliteCases()
    suite.kind = kind
    test = inspect.unwrap(getattr(suite, BROKEN[kind]).__func__)
    arguments = (tmp_path, "due") if "order" in inspect.signature(test).parameters else (tmp_path,)

    with (
        closing_all(),
        pytest.raises((AssertionError, ShroffError)),
    ):  # of what holds nothing the database says so itself
        test(suite, *arguments)


def test_statements_of_databases_that_were_opened_before_are_not_kept_for_ever():
    statement = sql._adding(case_tables().case_views)
    for _ in range(70):
        sql._driven(statement, SQLiteDialect_pysqlite())

    assert sql._driven.cache_info().currsize <= 64
