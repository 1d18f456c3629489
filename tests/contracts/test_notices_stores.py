"""Stores of notices on all databases held to their contract, and proof that it rejects stores that break it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import delete, update

from shroff.adapters.log.postgresql import PostgresLog
from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.notices.sql import PART, NoticeChange, NoticeStore
from shroff.notices.store import Due, OutgoingMessage, Question
from shroff.streams.log import Log
from tests.contracts.broken_stores import changing, closing_all
from tests.contracts.test_people_servers import TestPostgresPeople as PostgresPlaces
from tests.contracts.test_people_servers import name_of
from tests.support.contracts.notices import NoticesContract
from tests.support.contracts.people import SEAL
from tools.servers.keep import Kept


class TestSqliteNotices(NoticesContract):
    kind: type[NoticeStore] = NoticeStore

    def make_people(self, folder: Path) -> SqlPeople:
        if not (folder / "log.db").exists():
            SqliteLog(folder / "log.db").close()
        return SqlPeople(folder / "log.db", SEAL)

    def make_store(self, folder: Path) -> NoticeStore:
        return self.kind(self.make_people(folder))

    def make_log(self, folder: Path) -> Log:
        return SqliteLog(folder / "log.db")


@pytest.mark.slow
class TestPostgresNotices(NoticesContract):
    smoke = (
        "test_what_is_kept_is_there_for_another_opening",
        "test_a_due_whose_key_is_known_is_not_taken_twice",
        "test_a_change_that_fails_leaves_nothing_of_it_nor_of_people",
        "test_an_answer_its_record_and_what_it_asks_of_the_log_are_one",
    )

    @pytest.fixture(autouse=True)
    def _server(self, postgres: Kept, tmp_path: Path) -> Iterator[None]:
        self.places = PostgresPlaces()
        self.places.address = postgres.address
        yield
        with psycopg.connect(postgres.address, autocommit=True) as shell:
            shell.execute(f"DROP SCHEMA IF EXISTS {name_of(tmp_path)} CASCADE")

    def make_people(self, folder: Path) -> SqlPeople:
        return self.places.make_store(folder)

    def make_store(self, folder: Path) -> NoticeStore:
        return NoticeStore(self.make_people(folder))

    def make_log(self, folder: Path) -> Log:
        return PostgresLog(self.places.url(folder))


# ---- the contract rejects what breaks it


class Broken(NoticeStore):
    """A store whose changes are made by another class."""

    changing: type[NoticeChange] = NoticeChange

    @contextmanager
    def change(self) -> Iterator[NoticeChange]:
        with self._people.change(PART) as people:
            yield self.changing(people)


@changing(Broken)
class TakesTwice(NoticeChange):
    def add_due(self, due: Due) -> bool:
        self._connection.execute(delete(self._dues).where(self._dues.c.key_ == due.key))
        return super().add_due(due)


@changing(Broken)
class HoldsWhatIsTold(NoticeChange):
    def hold(self, keys: Sequence[str], due_ms: int) -> None:
        held = self._dues.c.key_.in_(keys)
        self._connection.execute(update(self._dues).where(held).values(due_ms=due_ms, is_held=1))


@changing(Broken)
class TakesTheFirstHundred(NoticeChange):
    def take(self, keys: Sequence[str], letter: str) -> None:
        super().take(keys[:100], letter)


@changing(Broken)
class ForgetsClaims(NoticeChange):
    def put_letter(self, letter: OutgoingMessage) -> None:
        super().put_letter(letter)
        self._connection.execute(update(self._letters).values(claimed_ms=0))


@changing(Broken)
class AddsQuestions(NoticeChange):
    def put_question(self, question: Question) -> None:
        if self.question(question.id) is None:
            super().put_question(question)


@changing(Broken)
class SweepsAll(NoticeChange):
    def sweep(self, before_ms: int) -> None:
        self._connection.execute(delete(self._dues).where(self._dues.c.at_ms < before_ms))


@changing(Broken)
class CommitsAtOnce(NoticeChange):
    def put_question(self, question: Question) -> None:
        super().put_question(question)
        driver = self._connection.connection.driver_connection
        assert driver is not None
        driver.commit()
        self._connection.exec_driver_sql("BEGIN IMMEDIATE")


BROKEN = {
    TakesTwice: "test_a_due_whose_key_is_known_is_not_taken_twice",
    HoldsWhatIsTold: "test_what_is_held_waits_and_says_so",
    TakesTheFirstHundred: "test_many_keys_are_taken_at_once",
    ForgetsClaims: "test_open_letters_are_those_that_nobody_is_sending",
    AddsQuestions: "test_questions_are_found_by_their_event_and_by_their_answers",
    SweepsAll: "test_what_is_old_and_done_is_let_go_of",
    CommitsAtOnce: "test_a_change_that_fails_leaves_nothing_of_it_nor_of_people",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_the_contract_rejects_a_broken_store(kind: type[NoticeStore], tmp_path: Path) -> None:
    suite = TestSqliteNotices()
    suite.kind = kind
    test: Callable[..., None] = inspect.unwrap(getattr(suite, BROKEN[kind]).__func__)

    with closing_all(), pytest.raises(AssertionError):
        test(suite, tmp_path)
