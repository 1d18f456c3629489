"""What every store of cases must keep, as tests: whole cases, one change after the other, queues that lose nothing."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shroff.cases.case import (
    CLAIMED,
    CLOSED,
    ORDERS,
    SNOOZED,
    STATES,
    UNCLOSED,
    Agreement,
    Alert,
    Attached,
    Case,
    CaseActivity,
    CaseFilter,
    Cursor,
    Happened,
    Pending,
    Totals,
    View,
    about_of,
    urgency,
)
from shroff.cases.case_actions import claim_next
from shroff.cases.case_service import CaseService
from shroff.cases.sql import CaseChange, CaseStore
from shroff.cases.sql_reader import CaseReader
from shroff.people import store as people_store
from shroff.people.access import local
from shroff.people.audit import Act, sealing
from shroff.people.store import PeopleStore
from shroff.runtime.values import replace
from shroff.streams.log import Log
from shroff.testing.contracts.promises import Contract
from tests.support.log_rows import NOW_MS

SEAL = sealing(b"a key that only this project has")
ANN = local("ann", "command")
ALONE_S = 0.5  # for so long the first of several waits whether a second one comes in beside it
TEXTS = ("", "a'b", 'a"b', "a%b_", "A ", "é", "e\u0301", "\U0001f4b6", "{name}", "nul \0 and \x1a", "x" * 5_000)


def case(number: int, **more: Any) -> Case:
    """A case of which nothing is known but its number."""
    key = str(more.pop("key", f"c-{number}"))
    made = Case(number, about_of("card", key), "card", key, NOW_MS, NOW_MS + number)
    return replace(made, **more)


def alert(seq: int, **more: Any) -> Alert:
    """An alert of which nothing is known but its place."""
    return replace(Alert(seq, "card", "c-1", "payment", f"p-{seq}", NOW_MS, NOW_MS + seq), **more)


def pending(**more: Any) -> Pending:
    """Something that can be undone."""
    return replace(Pending(0, "decide", "u-1", "Ann", "user", "analyst", NOW_MS, NOW_MS + 8, b"{}"), **more)


class CaseContract(Contract):
    """Bind it by a subclass. Stores of one folder have one database, in which a log lies too; its seal is `SEAL`."""

    @abstractmethod
    def make_store(self, folder: Path) -> tuple[PeopleStore, CaseStore]:
        """A store of this folder, whose log has its tables; closing people's closes both."""

    @abstractmethod
    def make_log(self, folder: Path) -> Log:
        """The log of this folder, for writing."""

    @contextmanager
    def opened(self, folder: Path) -> Iterator[CaseStore]:
        """A store for as long as it is needed."""
        people, store = self.make_store(folder)
        with closing(people):
            yield store

    # ---- what is kept

    def test_a_new_store_has_read_nothing(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as store, store.look() as look:
            assert look.place() == (0, 0)
            assert look.totals(CaseFilter(states=STATES)) == Totals(0, None)
            assert look.case(1) is None

    def test_cases_are_kept_as_they_are(self, tmp_path: Path) -> None:
        given = [
            case(number + 1, key=text, reason=text, assignee_name=text, closed_name=text, changed_name=text)
            for number, text in enumerate(TEXTS)
        ]
        with self.opened(tmp_path) as store, store.change() as change:
            change.add_cases(given)
            change.put_place(2**40, len(given))

        with self.opened(tmp_path) as store, store.look() as look:
            assert look.place() == (2**40, len(given))
            assert [look.case(row.number) for row in given] == given
            assert look.cases([2, 1, 99]) == {1: given[0], 2: given[1]}
            for row in given:
                assert look.queue(CaseFilter(key=row.key)) == ([row] if row.key else given[:50])

    def test_a_changed_case_is_another_one_in_all_columns(self, tmp_path: Path) -> None:
        parts: tuple[Any, ...] = (
            *(1, about_of("device", "d"), "device", "d", NOW_MS + 1, NOW_MS + 2, CLAIMED, "u-1", "Ann", NOW_MS + 3),
            *(NOW_MS + 4, "review", 731_200, "burst", "9 payments", -5, 3, 77, 4, "fraud", NOW_MS + 5, "u-2", "Ben"),
            *("u-3", "Cy", NOW_MS + 6, 2, "u-4", "genuine", "unclear", " a b ", " c ", "large", "small@1"),
        )
        now = Case(*parts)
        with self.opened(tmp_path) as store:
            with store.change() as change:
                change.add_cases([case(1), case(2)])
            with store.change() as change:
                change.put_cases([now])

            with store.look() as look:
                assert look.cases([1, 2]) == {1: now, 2: case(2)}
                assert look.queue(CaseFilter(queues=("large",))) == [now]
                assert (
                    look.queue(CaseFilter(queues=("",))) == look.queue(CaseFilter(not_queues=("large",))) == [case(2)]
                )
                assert look.queue(CaseFilter(not_queues=("large", "other"), not_for="u-1")) == [now, case(2)]

    def test_alerts_are_kept_and_answered(self, tmp_path: Path) -> None:
        given = [
            alert(
                seq + 1,
                case=1,
                id=text,
                queue=text,
                auto_close=text,
                reason=text,
                score=seq,
                stake=seq,
                rule="a_b",
                rules=("a_b", "c"),
            )
            for seq, text in enumerate(TEXTS)
        ]
        beside = replace(given[0], entity="device", key="d", case=2, outcome="review", rules=())
        answered = replace(given[1], case=2, verdict="fraud", decided_ms=NOW_MS, decided_by="u-1", customer="genuine")
        labelled = replace(given[2], label="fraud", label_source="chargeback", label_ms=NOW_MS + 1)
        with self.opened(tmp_path) as store:
            with store.change() as change:
                change.add_alerts([*given, beside])
                change.put_alerts([replace(answered, reason="other"), labelled])

            with store.look() as look:
                assert look.alerts(1) == [given[0], labelled, *given[3:]]
                assert look.alerts(2) == [beside, answered]
                assert look.alerts(1, 2) == given[-2:]
                assert look.alerts_of([("payment", ""), ("payment", "a%b_"), ("login", "A ")]) == [
                    given[0],
                    beside,
                    given[3],
                ]

    def test_a_change_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        people, store = self.make_store(tmp_path)
        with store.change() as change:
            change.add_cases([case(1)])
        with pytest.raises(ZeroDivisionError):
            self._fail_half_way(store)

        with store.look() as look:
            assert look.queue(CaseFilter(states=STATES)) == [case(1)]
            assert look.place() == (0, 0)
            assert (look.alerts(2), look.history(2), look.due(2**60)) == ([], [], [])
        with people.look() as rows:
            assert rows.record(people_store.AuditFilter()) == []
        people.close()
        with closing(self.make_log(tmp_path)) as log:
            assert log.inbox.pending() == []

    def _fail_half_way(self, store: CaseStore) -> None:
        with store.change() as change:
            change.put_cases([case(1, state=CLOSED)])
            change.add_cases([case(2)])
            change.add_alerts([alert(1, case=2)])
            change.add_pending(pending())
            change.add_history([Happened(0, 2, NOW_MS, "u-1", "Ann", "note", "x")])
            change.put_place(5, 2)
            change.people.audit(Act(ANN, "case.test", "case 1"), NOW_MS)
            change.people.ask("labels", b"[]", NOW_MS)
            raise ZeroDivisionError

    def test_a_request_is_in_the_inbox_with_the_change_that_asks(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as store, store.change() as change:
            change.end_pending(change.add_pending(pending()))
            change.people.ask("labels", b"[1]", NOW_MS)

        with closing(self.make_log(tmp_path)) as log:
            assert [(record.kind, record.body) for record in log.inbox.pending()] == [("labels", b"[1]")]

    # ---- queues

    @pytest.mark.parametrize("order", ORDERS)
    def test_parts_of_a_queue_make_the_whole(self, tmp_path: Path, order: str) -> None:
        given = [
            case(
                number,
                due_ms=NOW_MS + number % 3,
                stake=10**15 if number == 23 else (number % 4) * 100 or None,
                score=(number % 5) * 250_000 or None,
                customer="fraud" if number % 7 == 0 else "",
            )
            for number in range(1, 24)
        ]
        every = CaseFilter(soon_ms=NOW_MS + 1)
        with self.opened(tmp_path) as store:
            with store.change() as change:
                change.add_cases(given)
            with store.look() as look:
                whole = look.queue(every, order, limit=100)
                parts: list[Case] = []
                while part := look.queue(every, order, _cursor(parts[-1], order) if parts else None, 5):
                    parts += part

        assert parts == whole
        assert whole == sorted(given, key=lambda case: _sorted_by(case, order))

    def test_a_filter_finds_what_it_names(self, tmp_path: Path) -> None:
        given = [
            case(1, assignee="u-1", state=CLAIMED, stake=100),
            case(2, entity="device", about=about_of("device", "c-2"), stake=250, reason="50%_off/"),
            case(3, state=SNOOZED, customer="fraud"),
            case(4, state=CLOSED, stake=900),
            case(5, key="Ab_C", look=1, first_by="u-1", stake=300),
        ]
        alerts = [
            alert(1, case=1, rules=("burst", "far")),
            alert(2, case=2, rules=("burst_more",), id="Order-77"),
            alert(3, case=5, rules=("burst",)),
        ]
        wanted = {
            CaseFilter(): [1, 2, 3, 5],
            CaseFilter(states=(CLOSED,)): [4],
            CaseFilter(states=(CLAIMED, SNOOZED)): [1, 3],
            CaseFilter(entity="device"): [2],
            CaseFilter(key="c-1"): [1],
            CaseFilter(assignees=("u-1",)): [1],
            CaseFilter(assignees=("", "u-2")): [2, 3, 5],
            CaseFilter(rule="burst"): [1, 5],
            CaseFilter(stake_from=250): [2, 5],
            CaseFilter(due_before_ms=NOW_MS + 3): [1, 2],
            CaseFilter(text="b_c"): [5],
            CaseFilter(text="order-7"): [2],
            CaseFilter(text="50%_OFF/"): [2],
            CaseFilter(text="%"): [2],
            CaseFilter(text="'"): [],
            CaseFilter(customer="fraud"): [3],
            CaseFilter(not_for="u-1"): [1, 2, 3],
            CaseFilter(after=2): [3, 5],
            CaseFilter(entity="card", rule="burst", stake_from=200): [5],
        }
        with self.opened(tmp_path) as store:
            with store.change() as change:
                change.add_cases(given)
                change.add_alerts(alerts)

            with store.look() as look:
                for query, numbers in wanted.items():
                    assert [found.number for found in look.queue(query)] == numbers, query
                    stakes = [given[number - 1].stake for number in numbers]
                    there = [stake for stake in stakes if stake is not None]
                    oldest_ms = min((given[number - 1].opened_ms for number in numbers), default=None)
                    assert look.totals(query) == Totals(len(numbers), sum(there) if there else None, oldest_ms), query
                    assert look.count(query) == len(numbers), query
            assert store.changes == 1

    def test_of_cases_about_one_key_the_newest_that_is_not_closed_is_found(self, tmp_path: Path) -> None:
        given = [case(number, key=key, state=state) for number, key, state in _ABOUT]
        with self.opened(tmp_path) as store, store.change() as change:
            change.add_cases(given)
            found = change.open_about([about_of("card", key) for key in "abcd"] * 400)

            assert {about: case.number for about, case in found.items()} == {
                about_of("card", "a"): 2,
                about_of("card", "b"): 4,
            }

    def test_of_many_who_claim_next_no_two_get_the_same(self, tmp_path: Path) -> None:
        people, store = self.make_store(tmp_path)
        with store.change() as change:
            change.add_cases([case(number) for number in range(1, 9)])
        two = threading.Barrier(2)

        def work(name: str) -> list[int]:
            desk, who = CaseService(_Meeting(store, two), people, lambda: NOW_MS), local(name, "command")
            return [found.number for _ in range(4) if (found := claim_next(desk, who)) is not None]

        with ThreadPoolExecutor(3) as threads:
            got = [number for numbers in threads.map(work, ("ann", "ben", "cy")) for number in numbers]

        assert sorted(got) == list(range(1, 9))
        people.close()

    # ---- what is due, and what was done

    def test_what_lapsed_is_found(self, tmp_path: Path) -> None:
        given = [
            case(1, state=CLAIMED, lock_ms=NOW_MS),
            case(2, state=CLAIMED, lock_ms=NOW_MS + 1),
            case(3, state=SNOOZED, snoozed_ms=NOW_MS - 5),
            case(4, state=SNOOZED, snoozed_ms=NOW_MS + 5),
            case(5, state=CLOSED, lock_ms=NOW_MS - 9, snoozed_ms=NOW_MS - 9),
        ]
        with self.opened(tmp_path) as store, store.change() as change:
            change.add_cases(given)

            assert change.lapsed(NOW_MS) == [given[0], given[2]]
            assert change.lapsed(NOW_MS, 1) == [given[0]]

    def test_what_a_rule_may_close_is_found_and_what_it_closed_is_counted(self, tmp_path: Path) -> None:
        mark, closed = "small@1", {"state": CLOSED, "closed_ms": NOW_MS}
        cases = [case(number, auto_close=mark) for number in range(1, 6)]
        cases += [case(6), case(7, auto_close=mark, state=SNOOZED), case(8, auto_close="small@2")]
        cases += [case(number, auto_close=mark, **closed, closed_name="rule small") for number in (9, 10)]
        cases += [case(11, auto_close=mark, **closed, closed_name="Ann", verdict="fraud")]
        cases += [case(12, auto_close=f"{mark}+sample"), case(13, auto_close=f"{mark}+sample", **closed)]
        cases += [case(14, auto_close=f"{mark}+sample", **closed, verdict="genuine"), case(15, auto_close="small_1")]
        alerts = [alert(row.number, case=row.number) for row in cases]
        changes: dict[int, dict[str, Any]] = {
            2: {"time_ms": NOW_MS + 1}, 3: {"label": "unclear"}, 4: {"verdict": "genuine"},
            10: {"label": "fraud"}, 13: {"verdict": "fraud"},
        }  # fmt: skip
        alerts = [replace(row, **changes.get(row.case, {})) for row in alerts]
        with self.opened(tmp_path) as store:
            with store.change() as change:
                change.add_cases(cases)
                change.add_alerts([*alerts, alert(20, case=1)])
                change.add_history([Happened(0, 5, NOW_MS, "u-1", "Ann", "note"), Happened(0, 1, 9, "", "", "sampled")])

            with store.look() as look:
                assert look.untouched(mark, NOW_MS) == []
                assert look.closings(mark, "rule small", NOW_MS) == {False: (2, 1, 1, 10), True: (3, 2, 1, 13)}
                assert look.closings(mark, "rule small", NOW_MS + 1) == {True: (1, 0, 0, 0)}
                found, touched = look.since(NOW_MS)
                assert [row.seq for row in found] == [*range(1, 16), 20]
                assert touched == {5: NOW_MS}
                assert look.since(NOW_MS + 1) == ([], {})
            with store.change() as change:
                change.add_cases([case(number, auto_close=mark) for number in (16, 17, 18)])
                change.add_alerts([alert(number, case=number) for number in (30, 16, 17, 18)])
            with store.look() as look:
                assert [row.number for row in look.untouched(mark, NOW_MS, 2)] == [16, 17]
                assert look.untouched(mark, NOW_MS - 1) == []

    def test_what_can_be_undone_is_kept_until_it_ends(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as store:
            with store.change() as change:
                late = change.add_pending(pending(due_ms=NOW_MS + 9, body='{"a":"é"}'.encode()))
                soon = change.add_pending(pending(kind="snooze", due_ms=NOW_MS + 7))
            with store.look() as look:
                assert look.due(NOW_MS + 6) == []
                assert [item.number for item in look.due(NOW_MS + 7)] == [soon]
                assert [item.number for item in look.due(NOW_MS + 9)] == [late, soon]
                assert look.pending(late) == pending(number=late, due_ms=NOW_MS + 9, body='{"a":"é"}'.encode())
            with store.change() as change:
                change.put_pending(pending(number=late, due_ms=NOW_MS + 10, body=b'{"b":2}'))
            with store.look() as look:
                assert look.due(2**60) == [
                    pending(number=late, due_ms=NOW_MS + 10, body=b'{"b":2}'),
                    pending(number=soon, kind="snooze", due_ms=NOW_MS + 7),
                ]
            with store.change() as change:
                change.end_pending(soon)
                change.end_pending(soon)

            with store.change() as change:
                assert change.pending(soon) is None
                assert [item.number for item in change.due(2**60)] == [late]
                assert change.add_pending(pending()) > soon

    def test_what_was_done_is_told_in_its_order(self, tmp_path: Path) -> None:
        rows = [Happened(0, 1, NOW_MS - n, "u-1", text, "note", text, '{"n":1}') for n, text in enumerate(TEXTS)]
        with self.opened(tmp_path) as store:
            with store.change() as change:
                change.add_history(rows[:5])
                change.add_history([replace(rows[0], case=2), *rows[5:]])

            with store.look() as look:
                assert [replace(row, number=0) for row in look.history(1)] == rows
                assert [replace(row, number=0) for row in look.history(1, 3)] == rows[-3:]

    def test_files_are_kept_byte_for_byte(self, tmp_path: Path) -> None:
        content = bytes(range(256)) * 4_000
        made = Attached(0, 1, "a é.pdf", "application/pdf", len(content), b"h" * 32, "u-1", "Ann", NOW_MS)
        with self.opened(tmp_path) as store:
            with store.change() as change:
                kept = [change.attach(made, content), change.attach(replace(made, case=2), b"\0")]

            with store.look() as look:
                assert look.attached(1) == [replace(made, number=kept[0].number)]
                assert look.file(kept[0].number) == (kept[0], content)
                assert look.file(kept[1].number) == (kept[1], b"\0")
                assert look.file(2**40) is None

    def test_views_are_ones_own_and_those_that_are_shared(self, tmp_path: Path) -> None:
        mine = View("u-1", "Ann", "b", is_shared=False, query="state=open", changed_ms=NOW_MS)
        hers = View("u-2", "Ben", "a", is_shared=True, query="", changed_ms=NOW_MS)
        hidden = View("u-2", "Ben", "b", is_shared=False, query="", changed_ms=NOW_MS)
        changed = replace(mine, query="key=é", is_shared=True)
        with self.opened(tmp_path) as store, store.change() as change:
            for view in (mine, hers, hidden, changed):
                change.put_view(view)

            assert change.views("u-1") == [hers, changed]
            assert change.views("u-2") == [hers, changed, hidden]
            assert change.remove_view("u-1", "b")
            assert not change.remove_view("u-1", "b")
            assert change.views("u-3") == [hers]

    def test_what_was_done_is_counted(self, tmp_path: Path) -> None:
        cases = [
            case(1, state=CLOSED, closed_ms=NOW_MS, closed_by="u-1", verdict="fraud", look=2, first_verdict="fraud"),
            case(2, state=CLOSED, closed_ms=NOW_MS, closed_by="u-1", verdict="fraud", look=2, first_verdict="unclear"),
            case(3, state=CLOSED, closed_ms=NOW_MS, closed_by="", verdict="fraud"),
            case(4, look=1, first_verdict="fraud", opened_ms=NOW_MS - 1),
        ]
        alerts = [alert(seq, decided_ms=NOW_MS - seq, case=1) for seq in range(3)] + [alert(9, case=4)]
        with self.opened(tmp_path) as store, store.change() as change:
            change.add_cases(cases)
            change.add_alerts(alerts)

            assert change.done_since(NOW_MS) == CaseActivity(answered=1, closed=2, opened=3)
            assert change.done_since(NOW_MS - 1) == CaseActivity(answered=2, closed=2, opened=4)
            assert change.agreement() == Agreement(waiting=1, decided=2, agreed=1)

    def test_who_answered_since_a_moment_is_known(self, tmp_path: Path) -> None:
        alerts = [alert(1, decided_ms=NOW_MS, decided_by="u-1"), alert(2, decided_ms=NOW_MS - 1, decided_by="u-2")]
        with self.opened(tmp_path) as store, store.change() as change:
            change.add_cases([case(1)])
            change.add_alerts([*alerts, alert(3)])

            assert change.done_since(NOW_MS, "u-1").answered
            assert not change.done_since(NOW_MS + 1, "u-1").answered
            assert not change.done_since(NOW_MS, "u-2").answered
            assert change.done_since(NOW_MS - 1, "u-2").answered


_ABOUT = (
    *((1, "a", UNCLOSED[0]), (2, "a", UNCLOSED[1]), (3, "a", CLOSED), (4, "b", UNCLOSED[2])),
    *((5, "c", CLOSED), (6, "e", UNCLOSED[3])),
)


def _cursor(case: Case, order: str) -> Cursor:
    """Where a part ended: the value as it is, of a missing one -1."""
    value = _sorted_by(case, order)[0]
    return value if order in ("due", "urgent") else -value, case.number


def _sorted_by(case: Case, order: str) -> tuple[int, int]:
    if order == "newest":
        return -case.number, 0
    if order == "due":
        return case.due_ms, case.number
    if order == "urgent":
        return urgency(case, NOW_MS + 1), case.number
    value = case.stake if order == "stake" else case.score
    return -(-1 if value is None else value), case.number


@dataclass
class _Meeting:
    """A store whose first reader of the queue waits for a second one; in vain, where changes exclude each other."""

    store: CaseStore
    two: threading.Barrier

    def look(self) -> AbstractContextManager[CaseReader]:
        return self.store.look()

    @contextmanager
    def change(self) -> Iterator[CaseChange]:
        with self.store.change() as change:
            queue = change.queue

            def met(*asked: Any, **more: Any) -> list[Case]:
                found = queue(*asked, **more)
                with suppress(threading.BrokenBarrierError):
                    self.two.wait(ALONE_S)
                return found

            change.queue = met  # for this change alone
            yield change
