"""What every store of notices must keep, as tests."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import closing
from pathlib import Path

import pytest

from shroff.notices.sql import NoticeStore
from shroff.notices.store import (
    DROPPED,
    NO_ONE,
    OPEN,
    PASSED,
    REFUSED,
    SENT,
    Due,
    OutgoingMessage,
    Question,
    QuestionCounts,
)
from shroff.people.access import Role, Who
from shroff.people.audit import Act
from shroff.people.store import PeopleStore
from shroff.runtime.values import replace
from shroff.streams.log import Log
from shroff.testing.contracts.promises import Contract

WHO = Who("program", "customer", "a customer", Role.VIEWER, frozenset())


def due(key: str, at_ms: int = 1_000, *, notice: str = "customer", due_ms: int | None = None) -> Due:
    """Something to be told."""
    return Due(
        key, notice, "flag", "payment/p-1", "large", '{"reason":"é"}', at_ms, at_ms if due_ms is None else due_ms
    )


def letter(id: str, made_ms: int = 1_000, *, rule: str = "large", who: bytes = bytes(32)) -> OutgoingMessage:
    """A letter on its way."""
    return OutgoingMessage(id, "customer", rule, who, made_ms, made_ms, '["customer/1-0"]', shown="a…@bank.example")


def question(id: str, letter: str = "l-1", event: str = "payment/p-1") -> Question:
    """A question that nobody has answered."""
    return Question(id, letter, "customer", event, "sha256:00", bytes(range(32)), 1_000, 90_000)


class NoticesContract(Contract):
    """Bind it by a subclass. Each store of one folder is another opening of the same database, with a log in it."""

    @abstractmethod
    def make_store(self, folder: Path) -> NoticeStore:
        """A store in this folder, which is made where it is not there."""

    @abstractmethod
    def make_people(self, folder: Path) -> PeopleStore:
        """People in the same database."""

    @abstractmethod
    def make_log(self, folder: Path) -> Log:
        """The log in the same database."""

    def test_a_new_store_has_nothing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.look() as look:
            found = look.dues(10**15), look.open_letters(10**15), look.letters(), look.question("q"), look.letter("l")
            assert found == ([], [], [], None, None)
            assert (look.count_waiting(), look.last_made_ms("customer"), look.find(Due, "d")) == (0, 0, None)
        store.close()

    def test_what_is_kept_is_there_for_another_opening(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            assert change.add_due(due("customer/1-0"))
            change.put_letter(letter("l-1"))
            change.put_question(question("q-1"))
        store.close()

        again = self.make_store(tmp_path)
        with again.look() as look:
            assert look.find(Due, "customer/1-0") == due("customer/1-0")
            assert look.letter("l-1") == letter("l-1")
            assert look.question("q-1") == question("q-1")
        again.close()

    def test_a_due_whose_key_is_known_is_not_taken_twice(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            assert change.add_due(due("customer/1-0"))
            change.take(["customer/1-0"], "l-1")
        with store.change() as change:
            assert not change.add_due(due("customer/1-0", 5_000))
        with store.look() as look:
            found = look.find(Due, "customer/1-0")
            assert look.dues(10**15) == []
        store.close()

        assert found == replace(due("customer/1-0"), letter="l-1")

    def test_dues_come_when_they_are_due_the_longest_waiting_first(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            for at_ms in (3_000, 1_000, 2_000):
                change.add_due(due(f"customer/{at_ms}", at_ms))
            change.add_due(due("other/1", 500, notice="other", due_ms=9_000))
        with store.look() as look:
            early, all_, waiting = look.dues(2_000), look.dues(10_000), look.waiting("other")
            count = look.count_waiting()
        store.close()

        assert [item.at_ms for item in early] == [1_000, 2_000]
        assert [item.due_ms for item in all_] == [1_000, 2_000, 3_000, 9_000]
        assert [item.key for item in waiting] == ["other/1"]
        assert count == 4

    def test_what_is_kept_beside_a_change_of_people_ends_with_it(self, tmp_path: Path) -> None:
        store, people = self.make_store(tmp_path), self.make_people(tmp_path)
        with store.look():
            pass

        def fail() -> None:
            with people.change() as change:
                store.beside(change).add_due(due("customer/1-0"))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        with store.look() as look:
            assert look.find(Due, "customer/1-0") is None
        with people.change() as change:
            change.audit(Act(WHO, "case.open", "case 1"), 1_000)
            assert store.beside(change).add_due(due("customer/1-0"))
        with store.look() as look, people.look() as head:
            assert look.find(Due, "customer/1-0") == due("customer/1-0")
            assert head.head() is not None
        people.close()
        store.close()

    def test_what_is_held_waits_and_says_so(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            change.add_due(due("customer/1-0"))
            change.add_due(due("customer/2-0"))
            change.take(["customer/2-0"], PASSED)
            change.hold(["customer/1-0", "customer/2-0"], 50_000)
        with store.look() as look:
            found, passed = look.find(Due, "customer/1-0"), look.find(Due, "customer/2-0")
            assert look.dues(49_999) == []
            assert [item.key for item in look.dues(50_000)] == ["customer/1-0"]
        store.close()

        assert found is not None
        assert (found.due_ms, found.is_held) == (50_000, True)
        assert passed is not None
        assert (passed.due_ms, passed.is_held) == (1_000, False)

    def test_many_keys_are_taken_at_once(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        keys = [f"customer/{number}" for number in range(501)]
        with store.change() as change:
            for key in keys:
                change.add_due(due(key))
            change.take(keys, "l-1")
        with store.look() as look:
            count = look.count_waiting()
        store.close()

        assert count == 0

    def test_open_letters_are_those_that_nobody_is_sending(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            change.put_letter(letter("l-1"))
            change.put_letter(replace(letter("l-2"), claimed_ms=5_000))
            change.put_letter(replace(letter("l-3"), state=SENT))
            change.put_letter(replace(letter("l-4"), due_ms=9_000))
            change.put_letter(replace(letter("l-5"), notice="team"))
        with store.look() as look:
            assert look.count_letters(["open", "sent", "refused"]) == {"open": 4, "sent": 1}
            assert look.count_letters(["refused"]) == {}
            now, later = look.open_letters(4_999, without=["team"]), look.open_letters(9_000, without=["team", "none"])
            others, nobodys = look.open_letters(4_999), look.open_letters(9_000, without=["team", "customer"])
        store.close()

        assert [item.id for item in now] == ["l-1"]
        assert [other.id for other in others] == ["l-1", "l-5"]
        assert nobodys == []
        assert [item.id for item in later] == ["l-1", "l-2", "l-4"]

    def test_letters_come_newest_first_in_parts(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            for number in range(5):
                change.put_letter(letter(f"l-{number}", 1_000 * (number // 2)))
            change.put_letter(replace(letter("l-0", 0), state=REFUSED, reason="550 é", done_ms=7, attempts=3))
        with store.look() as look:
            first = look.letters(limit=3)
            rest = look.letters(before=(first[-1].made_ms, first[-1].id))
            refused, many = look.letters([REFUSED]), look.letters([OPEN, REFUSED])
        store.close()

        assert [item.id for item in (*first, *rest)] == ["l-4", "l-3", "l-2", "l-1", "l-0"]
        assert [(item.id, item.reason, item.attempts) for item in refused] == [("l-0", "550 é", 3)]
        assert len(many) == 5

    def test_what_one_recipient_was_sent_is_known_by_rule(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        ann, bob = bytes(31) + b"a", bytes(31) + b"b"
        with store.change() as change:
            for number, (who, rule) in enumerate([(ann, "large"), (bob, "large"), (ann, "small"), (ann, "large")]):
                change.put_letter(letter(f"l-{number}", 1_000 + number, rule=rule, who=who))
            change.put_letter(replace(letter("l-4", 1_002, rule="large", who=ann), state=DROPPED))
        with store.look() as look:
            found = look.sent_since("customer", "large", ann, 0)
            later = look.sent_since("customer", "large", ann, 1_000)
            last = look.last_made_ms("customer")
        store.close()

        assert (found, later, last) == ([1_000, 1_003], [1_003], 1_003)

    def test_questions_are_found_by_their_event_and_by_their_answers(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        answered = replace(question("q-2"), answer="no", answered_ms=5_000, is_released=True)
        with store.change() as change:
            change.put_question(question("q-1"))
            change.put_question(question("q-2"))
            change.put_question(question("q-3", event="payment/p-2"))
            change.put_question(answered)
        with store.look() as look:
            found = look.questions_about(["payment/p-1"])
            many = [f"payment/p-{number}" for number in range(700)]
            assert [item.id for item in look.questions_about(many)] == ["q-1", "q-2", "q-3"]
            assert look.questions_about(["payment/p-9"]) == look.questions_about([]) == []
        store.close()

        assert found == [question("q-1"), answered]

    def test_of_events_that_are_forgotten_nobody_is_known(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            for key, event in (("a", "payment/p-1"), ("b", "payment/p-2"), ("c", "payment/p-1"), ("d", "payment/p-1")):
                change.add_due(replace(due(key, 1_000), event=event))
            change.take(["a", "b"], "l-1")  # a mail of both
            change.take(["c"], PASSED)
            for id_ in ("l-1", "l-2"):
                change.put_letter(replace(letter(id_), who=b"\1" * 32, shown="a***@x.example", reason="550 no"))
            for id_, event in (("q-1", "payment/p-1"), ("q-2", "payment/p-2")):
                change.put_question(replace(question(id_, event=event), who=b"\1" * 32))
        with store.look() as look:
            found = [item.id for item in look.letters_about([f"payment/p-{number}" for number in range(700)])]
            none = look.letters_about(["payment/p-9"])
        with store.change() as change:
            change.forget(found, ["payment/p-1"])
        with store.look() as look:
            letters = {item.id: (item.who, item.shown, item.reason) for item in look.letters()}
            asked = {text.id: text.who for text in look.questions_about(["payment/p-1", "payment/p-2"])}
        store.close()

        assert (found, none) == (["l-1"], [])
        assert letters == {"l-1": (NO_ONE, "", ""), "l-2": (b"\1" * 32, "a***@x.example", "550 no")}
        assert asked == {"q-1": NO_ONE, "q-2": b"\1" * 32}

    def test_what_came_of_questions_is_counted_by_when_they_were_asked(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        said = {"q-1": "yes", "q-2": "no", "q-3": "no", "q-4": "", "q-5": "", "q-6": "yes"}
        with store.change() as change:
            for at, (id_, answer) in enumerate(said.items()):
                ends_ms = 9_000 if id_ == "q-5" else 5_000
                change.put_question(replace(question(id_), made_ms=1_000 + at, ends_ms=ends_ms, answer=answer))
        with store.look() as look:
            found, none = look.asked_between(1_000, 1_005, 5_000), look.asked_between(0, 1_000, 5_000)
        store.close()

        assert found == QuestionCounts(yes=1, no=2, ended=1, open=1)
        assert (found.count, none.count) == (5, 0)

    def test_a_change_that_fails_leaves_nothing_of_it_nor_of_people(self, tmp_path: Path) -> None:
        store, people = self.make_store(tmp_path), self.make_people(tmp_path)

        def fail() -> None:
            with store.change() as change:
                change.put_question(replace(question("q-1"), answer="no"))
                change.people.audit(Act(WHO, "confirmation.answer", "payment/p-1"), 1_000)
                change.people.ask("labels", b"[]", 1_000)
                raise RuntimeError("killed here")

        with pytest.raises(RuntimeError):
            fail()
        with store.look() as look, people.look() as others:
            head = others.head()
            assert look.question("q-1") is None
            assert head is not None
            assert head.number == 0
        with closing(self.make_log(tmp_path)) as log:
            assert log.inbox.pending() == []
        store.close()
        people.close()

    def test_an_answer_its_record_and_what_it_asks_of_the_log_are_one(self, tmp_path: Path) -> None:
        store, people = self.make_store(tmp_path), self.make_people(tmp_path)
        with store.change() as change:
            change.put_question(replace(question("q-1"), answer="no"))
            change.people.audit(Act(WHO, "confirmation.answer", "payment/p-1"), 1_000)
            change.people.ask("labels", b"[]", 1_000)
        with people.look() as others:
            head = others.head()
        with closing(self.make_log(tmp_path)) as log:
            asked = [(record.kind, record.body) for record in log.inbox.pending()]
        store.close()
        people.close()

        assert head is not None
        assert head.number == 1
        assert asked == [("labels", b"[]")]

    def test_what_is_old_and_done_is_let_go_of(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.change() as change:
            for key, at_ms in (("old", 1_000), ("waiting", 1_000), ("new", 9_000)):
                change.add_due(due(key, at_ms))
            change.take(["old", "new"], "l-1")
            change.put_letter(replace(letter("l-old"), state=SENT))
            change.put_letter(letter("l-open"))
            change.put_question(question("q-old"))
            change.sweep(9_000)
            change.put_question(question("q-new"))
        with store.look() as look:
            dues = [text for text in ("old", "waiting", "new") if look.find(Due, text) is not None]
            letters, old = [item.id for item in look.letters()], look.question("q-old")
        with store.change() as change:
            change.sweep(100_000)
            gone = change.question("q-old"), change.question("q-new")
        store.close()

        assert dues == ["waiting", "new"]
        assert letters == ["l-open"]
        assert old is not None
        assert gone == (None, None)
