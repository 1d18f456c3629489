"""Sessions, keys, attempts and questions about the record, as tests: a part of the contract in `contracts.people`."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import closing
from pathlib import Path

import pytest

from shroff.people.access import RIGHTS, Right, Role, Who, local
from shroff.people.audit import Act
from shroff.people.store import ApiKey, Attempts, AuditFilter, KeptAnswer, Link, PeopleStore, UserSession, Visit
from shroff.runtime.values import replace
from shroff.testing.contracts.promises import Contract, promise
from tests.support.log_rows import NOW_MS

_BEN = Who("user", "user-2", "ben", Role.VIEWER, RIGHTS[Role.VIEWER])


def _hash(text: str) -> bytes:
    return text.encode().ljust(32, b"\x00")


class PeopleRowsContract(Contract):
    """What stores keep besides users and the chain."""

    @abstractmethod
    def make_store(self, folder: Path) -> PeopleStore:
        """A store of this folder, whose log has its tables."""

    @abstractmethod
    def run_sql(self, folder: Path, sql: str) -> None:
        """Run a statement on the database of this folder, as somebody with a shell would; `audit` is the table."""

    def test_sessions_are_kept_changed_and_ended(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        user_session = UserSession(_hash("1"), 1, 3, NOW_MS, NOW_MS, NOW_MS + 5, "1.2.3.4")
        two, other = replace(user_session, hash=_hash("2")), replace(user_session, hash=_hash("3"), user=2)
        seen = replace(user_session, seen_at_ms=NOW_MS + 4)
        with store.change() as change:
            for session in (user_session, two, other, seen):
                change.put(session)
        with store.look() as look:
            assert [look.find(UserSession, _hash(name)) for name in "1234"] == [seen, two, other, None]
        with store.change() as change:
            assert change.end_sessions(1) == 2
            change.take(UserSession, _hash("3"))
            change.take(UserSession, _hash("3"))

        with store.look() as look:
            assert [look.find(UserSession, _hash(name)) for name in "123"] == [None] * 3
        store.close()

    def test_keys_are_kept_and_changed(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        key = ApiKey("k2", "till 1", _hash("a"), Role.SERVICE, (Right.SCORE, Right.SUBMIT_EVENTS), NOW_MS, "ann")
        later = ApiKey("k1", "till 1", _hash("b"), Role.ADMIN, (), NOW_MS + 1, "ann", NOW_MS + 9, None, NOW_MS + 2)
        revoked = replace(key, revoked_at_ms=NOW_MS + 3)
        with store.change() as change:
            for item in (later, key, revoked):
                change.put(item)

        with store.look() as look:
            assert look.keys() == [revoked, later]
            assert [look.find(ApiKey, id_) for id_ in ("k1", "k2", "K1", "k1 ")] == [later, revoked, None, None]
        store.close()

    def test_attempts_are_kept_and_forgotten(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        attempts, two = Attempts(_hash("1"), 1, NOW_MS, 0), Attempts(_hash("2"), 2, NOW_MS, NOW_MS + 9)
        more = replace(attempts, count=2, until_ms=NOW_MS + 1)
        with store.change() as change:
            for found in (attempts, two, more):
                change.put(found)
            change.take(Attempts, two.hash)
            change.take(Attempts, two.hash)

        with store.look() as look:
            assert [look.find(Attempts, attempts.hash), look.find(Attempts, two.hash)] == [more, None]
        store.close()

    def test_what_was_answered_in_the_place_of_a_decision_is_kept_by_its_event(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            change.put(KeptAnswer(_hash("1"), "review", NOW_MS))
            change.put(KeptAnswer(_hash("2"), "approve", NOW_MS))
            assert change.find(KeptAnswer, _hash("1")) == KeptAnswer(_hash("1"), "review", NOW_MS)

        with store.look() as look:
            kept = [look.find(KeptAnswer, _hash(name)) for name in "123"]
            assert [None if answer is None else answer.outcome for answer in kept] == ["review", "approve", None]
        store.close()

    def test_sweeping_takes_what_has_ended_and_leaves_the_rest(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        ended = UserSession(_hash("ended"), 1, 1, 0, NOW_MS, NOW_MS, "")
        unseen = replace(ended, hash=_hash("unseen"), seen_at_ms=NOW_MS - 10, ends_at_ms=NOW_MS + 1)
        held = replace(ended, hash=_hash("held"), seen_at_ms=NOW_MS - 9, ends_at_ms=NOW_MS + 1)
        with store.change() as change:
            for session in (ended, unseen, held):
                change.put(session)
            for name, ends_at_ms in (("old", NOW_MS), ("new", NOW_MS + 1)):
                change.put(Link(_hash(name), None, ends_at_ms))
                change.put(Visit(_hash(name), "", "", "", "", ends_at_ms))
            change.put(Attempts(_hash("old"), 1, NOW_MS - 20, 0))
            change.put(Attempts(_hash("new"), 1, NOW_MS - 19, 0))
            change.sweep(NOW_MS, NOW_MS - 10, NOW_MS - 20)

            assert [change.find(UserSession, _hash(name)) for name in ("ended", "unseen", "held")] == [None, None, held]
            assert [change.find(Link, _hash(name)) is None for name in ("old", "new")] == [True, False]
            assert [change.find(Attempts, _hash(name)) is None for name in ("old", "new")] == [True, False]
            assert [change.take(Visit, _hash(name)) is None for name in ("old", "new")] == [True, False]
        store.close()

    def test_the_record_answers_who_did_what_and_when(self, tmp_path: Path) -> None:
        store, ann = self.make_store(tmp_path), local("ann", "command")
        acts = [
            (Act(ann, "user.add", "user ben"), NOW_MS),
            (Act(_BEN, "user.role", "user ben"), NOW_MS + 1),
            (Act(_BEN, "user_x.add", "user ben%"), NOW_MS + 2),
            (Act(ann, "sign_in", "user ann"), NOW_MS + 3),
        ]
        with store.change() as change:
            for act, at_ms in acts:
                change.audit(act, at_ms)

        def numbers(wanted: AuditFilter, **more: int) -> list[int]:
            with store.look() as look:
                return [row.number for row in look.record(wanted, **more)]  # by name

        assert numbers(AuditFilter()) == [1, 2, 3, 4]
        assert numbers(AuditFilter(who="os-ann")) == numbers(AuditFilter(who="ann")) == [1, 4]
        assert numbers(AuditFilter(who="ben", action="user")) == [2]
        assert numbers(AuditFilter(action="user.add")) == [1]
        assert numbers(AuditFilter(action="sign_in")) == [4]
        assert numbers(AuditFilter(subject="user ben")) == [1, 2]
        assert numbers(AuditFilter(start_ms=NOW_MS + 1, end_ms=NOW_MS + 3)) == [2, 3]
        assert numbers(AuditFilter(), after=1, limit=2) == [2, 3]
        assert numbers(AuditFilter(), before=4, limit=2, is_newest_first=True) == [3, 2]
        store.close()

    @promise("rows of the record stay")
    def test_the_database_refuses_to_change_rows_of_the_record(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            change.audit(Act(_BEN, "user.add", "user ann"), NOW_MS)
        store.close()

        for sql in ("UPDATE audit SET subject = 'user eve'", "DELETE FROM audit"):
            with pytest.raises(Exception, match="stay as they are"):
                self.run_sql(tmp_path, sql)
        with closing(self.make_store(tmp_path)) as again, again.look() as look:
            assert [row.subject for row in look.record(AuditFilter())] == ["user ann"]
