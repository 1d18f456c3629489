"""What every store of people must keep, as tests: all of a change or nothing, one change after the other, one chain."""

from __future__ import annotations

import subprocess
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from shroff.errors import UsageError
from shroff.people import audit
from shroff.people.access import Role, Who, local
from shroff.people.audit import Act, sealing
from shroff.people.sql import Change
from shroff.people.store import Attempts, Link, PeopleStore, User, UserSession, Visit, rows_of
from shroff.runtime.values import replace
from shroff.streams.log import Log
from tests.support.contracts.people_rows import PeopleRowsContract
from tests.support.log_rows import NOW_MS, payments

SEAL = sealing(b"a key that only this project has")
ANN = local("ann", "command")
ALONE_S = 0.5  # for so long the first of several waits whether a second one comes in beside it
TEXTS = ("", "a'b", 'a"b', "a%b_", "A ", "é", "e\u0301", "\U0001f4b6", "{name}", "x" * 5_000)


def user(name: str, **more: object) -> User:
    """A user whom nothing is known of but the name."""
    made = User(0, name, "", "", Role.VIEWER, "", 1, is_disabled=False, made_at_ms=NOW_MS)
    return replace(made, **more)  # fields by name


def hash_of(text: str) -> bytes:
    """32 bytes that stand for a token."""
    return text.encode().ljust(32, b".")


def act(subject: str, *, who: Who = ANN, action: str = "test.do", after: object = None) -> Act:
    """An act of ann's."""
    return Act(who, action, subject, None, after)


def append(store: PeopleStore, name: str, count: int) -> None:
    """Record so many acts, each in a change of its own."""
    for number in range(count):
        with store.change() as change:
            change.audit(act(f"{name} {number}"), NOW_MS)


class PeopleContract(PeopleRowsContract):
    """Bind it by a subclass. Stores of one folder have one database, in which a log lies too; its seal is `SEAL`."""

    @abstractmethod
    def make_store(self, folder: Path) -> PeopleStore:
        """A store of this folder, whose log has its tables."""

    @abstractmethod
    def make_log(self, folder: Path) -> Log:
        """The log of this folder, for writing."""

    @abstractmethod
    def appending_program(self, folder: Path) -> list[str]:
        """A command that opens a store of this folder and calls `append(store, ARGUMENT, 25)`."""

    @contextmanager
    def changing(self, folder: Path) -> Iterator[Change]:
        """One change of a store that is opened for it."""
        with closing(self.make_store(folder)) as store, store.change() as change:
            yield change

    # ---- what is kept

    def test_users_are_kept_as_they_are(self, tmp_path: Path) -> None:
        given = [
            user(f"ann{number}", display_name=text, email=text, password=text, subject=text and f"issuer {text[:500]}")
            for number, text in enumerate(TEXTS)
        ]
        with self.changing(tmp_path) as change:
            kept = [change.add_user(row) for row in given]
            seen = [change.find(User, item.number) for item in kept]

        with closing(self.make_store(tmp_path)) as store, store.look() as look:
            assert seen == kept
            assert [replace(item, number=0) for item in kept] == given
            assert look.users() == sorted(kept, key=lambda user: user.name)
            assert [look.user_named(item.name) for item in kept] == kept
            assert [look.user_known_as(item.subject) for item in kept if item.subject] == [k for k in kept if k.subject]
            assert look.user_named("nobody") is None
            assert look.user_known_as("") is None

    def test_a_changed_user_is_another_one_in_all_columns(self, tmp_path: Path) -> None:
        with self.changing(tmp_path) as change:
            first, other = change.add_user(user("ann")), change.add_user(user("ben"))
            now = replace(
                first,
                name="anna",
                display_name="Anna",
                email="a@b.org",
                role=Role.ADMIN,
                password="hash",
                stamp=7,
                is_disabled=True,
                last_login_ms=NOW_MS,
                subject="i s",
                zone="Europe/Berlin",
                theme="dark",
            )
            change.put_user(now)

        with closing(self.make_store(tmp_path)) as store, store.look() as look:
            assert look.users() == [now, other]

    def test_a_name_and_a_subject_are_one_users(self, tmp_path: Path) -> None:
        with self.changing(tmp_path) as change:
            ann = change.add_user(user("ann", subject="issuer 1"))
            ben = change.add_user(user("ben"))
            for item in (user("ann"), user("cy", subject="issuer 1")):
                with pytest.raises(UsageError):
                    change.add_user(item)
            with pytest.raises(UsageError):
                change.put_user(replace(ben, name="ann"))
            names = ["Ann", "ann ", "añn"]
            others = [change.add_user(user(name)) for name in names]

            assert [change.user_named(name) for name in ("ann", *names)] == [ann, *others]

    def test_the_number_of_a_removed_user_never_comes_again(self, tmp_path: Path) -> None:
        with self.changing(tmp_path) as change:
            first = change.add_user(user("ann"))
            change.put(UserSession(hash_of("s"), first.number, 1, NOW_MS, NOW_MS, NOW_MS, ""))
            change.put(Link(hash_of("l"), first.number, NOW_MS))
            change.remove_user(first.number)
        with self.changing(tmp_path) as change:
            second = change.add_user(user("ann"))

            assert second.number > first.number
            assert change.find(User, first.number) is None
            assert change.find(UserSession, hash_of("s")) is None
            assert change.find(Link, hash_of("l")) is None

    def test_sessions_are_those_that_were_put_the_one_used_last_first(self, tmp_path: Path) -> None:
        with self.changing(tmp_path) as change:
            ann = change.add_user(user("ann")).number
            first = UserSession(hash_of("a"), ann, 1, NOW_MS, NOW_MS + 5, NOW_MS + 9, "here")
            second = UserSession(hash_of("b"), ann, 1, NOW_MS, NOW_MS + 7, NOW_MS + 9, "there")
            for item in (first, second):
                change.put(item)
        with self.changing(tmp_path) as change:
            assert change.sessions() == [second, first]
            change.put(replace(first, seen_at_ms=NOW_MS + 8))
            change.take(UserSession, second.hash)

            assert [session.hash for session in change.sessions()] == [first.hash]

    # ---- one change after the other

    def test_a_change_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            kept = change.add_user(user("kept"))

        def fail() -> None:
            with store.change() as change:
                change.add_user(user("ann"))
                change.put_user(replace(kept, display_name="other"))
                change.put(Link(hash_of("l"), None, NOW_MS))
                change.audit(act("ann"), NOW_MS)
                change.ask("labels", b"[]", NOW_MS)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        with store.look() as look:
            assert look.users() == [kept]
            assert look.find(Link, hash_of("l")) is None
        assert list(rows_of(store)) == []
        store.close()
        with closing(self.make_log(tmp_path)) as log:
            assert log.inbox.pending() == []

    def test_changes_follow_each_other(self, tmp_path: Path) -> None:
        hash_, stores = hash_of("counted"), [self.make_store(tmp_path) for _ in range(3)]
        two = threading.Barrier(2)

        def count(store: PeopleStore) -> None:
            for _ in range(15):
                with store.change() as change:
                    found = change.find(Attempts, hash_)
                    with suppress(threading.BrokenBarrierError):  # once the first has waited for a second one in vain
                        two.wait(ALONE_S)
                    change.put(Attempts(hash_, 1 if found is None else found.count + 1, NOW_MS, 0))

        _at_once([lambda store=store: count(store) for store in stores])  # a lambda
        with stores[0].look() as look:
            assert look.find(Attempts, hash_) == Attempts(hash_, 45, NOW_MS, 0)
        for store in stores:
            store.close()

    def test_of_many_who_take_a_link_one_gets_it(self, tmp_path: Path) -> None:
        link, visit = Link(hash_of("link"), None, NOW_MS), Visit(hash_of("visit"), "s", "n", "v", "/", NOW_MS)
        with self.changing(tmp_path) as change:
            change.put(link)
            change.put(visit)
        store, taken = self.make_store(tmp_path), []

        def take() -> None:
            with store.change() as change:
                taken.append((change.take(Link, link.hash), change.take(Visit, visit.hash)))

        _at_once([take] * 6)
        store.close()
        assert taken.count((None, None)) == 5
        assert (link, visit) in taken

    # ---- the record

    def test_the_record_is_one_chain_with_a_sealed_head(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        assert not audit.verify(rows_of(store), _head(store), SEAL).breaks
        given = [
            act(f"s {text}\x00\u2028\ud800"[:500], after={"text": text, "list": [1, None, True]}) for text in TEXTS
        ]
        with store.change() as change:
            rows = [change.audit(act, NOW_MS + number) for number, act in enumerate(given)]
        store.close()
        again = self.make_store(tmp_path)

        assert list(rows_of(again)) == rows
        assert list(rows_of(again, size=3)) == rows
        assert [row.number for row in rows] == list(range(1, len(rows) + 1))
        assert audit.verify(rows_of(again), _head(again), SEAL) == audit.Verified(len(rows), [])
        again.close()

    def test_a_head_that_was_set_without_the_key_leaves_a_break_that_stays(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        append(store, "ann", 1)
        self.run_sql(tmp_path, "UPDATE audit_head SET seal = hash")
        append(store, "ben", 2)
        checked = audit.verify(rows_of(store), _head(store), SEAL)
        store.close()

        assert (checked.rows, [at for at, _ in checked.breaks]) == (1, [2])
        assert "the head before it was not sealed" in checked.breaks[0][1]

    def test_threads_that_record_at_once_make_one_chain(self, tmp_path: Path) -> None:
        stores = [self.make_store(tmp_path) for _ in range(3)]
        _at_once([lambda at=at: append(stores[at], f"thread {at}", 10) for at in range(3)])  # a lambda

        self._check_whole(stores[0], 30)
        for store in stores:
            store.close()

    def test_processes_that_record_at_once_make_one_chain(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        append(store, "before", 1)
        command = self.appending_program(tmp_path)
        others = [subprocess.Popen([*command, name]) for name in ("one", "two")]
        append(store, "here", 10)

        assert [other.wait(120) for other in others] == [0, 0]
        self._check_whole(store, 61)
        store.close()

    def _check_whole(self, store: PeopleStore, rows: int) -> None:
        assert audit.verify(rows_of(store), _head(store), SEAL) == audit.Verified(rows, [])
        subjects = [row.subject for row in rows_of(store)]
        assert len(set(subjects)) == rows
        for name in {subject.rpartition(" ")[0] for subject in subjects}:
            own = [subject for subject in subjects if subject.startswith(f"{name} ")]
            assert own == [f"{name} {number}" for number in range(len(own))]

    # ---- beside the log

    def test_a_request_is_in_the_inbox_with_the_change_that_asks(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with closing(self.make_log(tmp_path)) as log:
            first = log.inbox.ask("labels", b"[1]", NOW_MS)
            with store.change() as change:
                second = change.ask("erase", '["café"]'.encode(), NOW_MS + 1)
                change.audit(act("asked"), NOW_MS)
            third = log.inbox.ask("labels", b"[3]", NOW_MS + 2)

            assert [(record.number, record.kind, record.body, record.at_ms) for record in log.inbox.pending()] == [
                (first, "labels", b"[1]", NOW_MS),
                (second, "erase", '["café"]'.encode(), NOW_MS + 1),
                (third, "labels", b"[3]", NOW_MS + 2),
            ]
            assert first < second < third
        store.close()

    def test_the_log_and_people_are_written_side_by_side(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with closing(self.make_log(tmp_path)) as log:
            thread = threading.Thread(target=append, args=(store, "beside", 20))
            thread.start()
            seq = 0
            while thread.is_alive() or seq < 50:
                log.append(payments(seq + 1, 1))
                seq += 1
            thread.join()

            assert log.last_seq() == seq
        self._check_whole(store, 20)
        store.close()

    def test_closing_twice_does_nothing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        append(store, "x", 1)
        store.close()
        store.close()


def _head(store: PeopleStore) -> audit.AuditHead | None:
    with store.look() as look:
        return look.head()


def _at_once(calls: list[Callable[[], None]]) -> None:
    """Make all calls, each on a thread of its own. Raises: what one of them raised."""
    wrong: list[BaseException] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
