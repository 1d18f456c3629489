"""The law of cases: whatever analysts and customers do in any order, and whenever the service is killed, each case is
what a plain model of it says, and each answer that nobody undid is one label for each of its events, once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shroff.cases import case_actions, dispositions
from shroff.cases.case_history import DENIED
from shroff.cases.case_service import CaseChangedError, NoCaseError, TooLateError
from shroff.cases.sql import CaseChange, CaseStore
from shroff.cases.timers import carry_out
from shroff.errors import UsageError
from shroff.people.access import Who
from shroff.runtime.values import replace
from tests.support.cased import ANN, BEN, NoticeServices, alert, denial, services
from tests.support.effort import examples
from tests.support.log_rows import NOW_MS

LOCK_MS, UNDO_MS = 60_000, 8_000
WHO = st.sampled_from([ANN, BEN])
NUMBERS = st.integers(1, 5)
VERDICTS = st.sampled_from(["fraud", "genuine", "unclear"])
KEYS = st.sampled_from(["a", "b", "c"])


class KilledError(Exception):
    """The process ended before its transaction did."""


class Mortal(CaseStore):
    """A store of a process that is killed at the end of its next transaction, where `is_doomed` says so."""

    is_doomed = False

    @contextmanager
    def change(self) -> Iterator[CaseChange]:
        with super().change() as change:
            yield change
            if self.is_doomed:
                raise KilledError


@dataclass(slots=True)
class Plain:
    """What a case is, as plainly as it can be said. `answers` are those of its events, empty where there is none;
    `denied` the events that a customer denies, and `told` how often that was news to whoever works on it. `free` is
    the state, and `given` to whom it is assigned, while nobody has claimed it.
    """

    key: str
    state: str = "open"
    who: str = ""
    until_ms: int = 0
    version: int = 1
    verdict: str = ""
    answers: dict[int, str] = field(default_factory=dict)
    denied: set[int] = field(default_factory=set)
    told: int = 0
    free: str = "open"
    given: str = ""


@dataclass(slots=True)
class Promise:
    """Something that can be undone until `due_ms`: for each case its version since, what it was, and its events."""

    kind: str
    who: str
    at_ms: int
    due_ms: int
    verdict: str
    cases: list[tuple[int, int, Plain, list[int]]]


class Cases(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.held = ExitStack()
        self.folder = Path(self.held.enter_context(tempfile.TemporaryDirectory()))
        self.opened = ExitStack()
        self.cases: dict[int, Plain] = {}
        self.promises: dict[int, Promise] = {}
        self.labels: list[tuple[str, str, str, int]] = []
        self.seq, self.now_ms = 0, NOW_MS

    @initialize()
    def begin(self) -> None:
        self.at: NoticeServices = self.opened.enter_context(services(self.folder, lock_ms=LOCK_MS))
        self.at.desk = replace(self.at.desk, store=Mortal(self.at.people))
        self.at.now_ms = self.now_ms

    def teardown(self) -> None:
        self.opened.close()
        self.held.close()

    # ---- what the world does

    @rule(key=KEYS)
    def an_alert_comes(self, key: str) -> None:
        self.seq += 1
        self.at.raised(alert(self.seq, key))
        self._raised(key)

    @rule(key=KEYS)
    def a_customer_denies_what_nobody_looked_at(self, key: str) -> None:
        self.seq += 1
        self.at.heard(alert(self.seq, key), labels=[denial(self.seq, self.seq, self.now_ms)])
        case = self._raised(key)
        case.denied.add(self.seq)
        case.told += 1

    @rule(data=st.data())
    def a_customer_denies_an_event_of_a_case(self, data: st.DataObject) -> None:
        """It wants an answer, if it was not answered as fraud; what is closed opens, what is snoozed wakes."""
        if not self.cases:
            return
        number = data.draw(st.sampled_from(sorted(self.cases)))
        case = self.cases[number]
        event = data.draw(st.sampled_from(sorted(case.answers)))
        self.seq += 1
        opened = self.at.denied(self.seq, event, self.now_ms)
        assert [found.case for found in opened] == (
            [number] if case.state == "closed" and not self._is_fraud(event) else []
        )
        case.denied.add(event)
        if not self._is_fraud(event):
            case.answers[event] = ""
            case.told += 1
            if case.state == "closed":
                self._change(number, state="open", who="", verdict="")
            else:
                self._change(number, state=case.free if case.state == "snoozed" else case.state)

    def _is_fraud(self, event: int) -> bool:
        return any(case.answers.get(event) == "fraud" for case in self.cases.values())

    def _raised(self, key: str) -> Plain:
        """The case that has the alert of this place now."""
        open_ones = [number for number, case in self.cases.items() if case.key == key and case.state != "closed"]
        number = open_ones[-1] if open_ones else len(self.cases) + 1
        case = self.cases.setdefault(number, Plain(key))
        case.answers[self.seq] = ""
        if case.state == "snoozed":
            case.state = case.free
        return case

    @rule(ms=st.sampled_from([1, 3_000, 7_999, 8_000, 60_000]))
    def time_goes_by(self, ms: int) -> None:
        self.now_ms += ms
        self.at.now_ms = self.now_ms

    @rule()
    def the_clock_is_looked_at(self) -> None:
        carry_out(self.at.desk)
        for number, promise in sorted(self.promises.items()):
            if promise.due_ms <= self.now_ms:
                del self.promises[number]
                self._write(promise)
        self._lapse()

    @rule(data=st.data())
    def the_service_is_killed_while_it_writes(self, data: st.DataObject) -> None:
        """Nothing of what was under way is there, and a new process goes on with the rest."""
        store = self.at.desk.store
        assert isinstance(store, Mortal)
        store.is_doomed = True
        for call in (
            lambda: carry_out(self.at.desk),
            lambda: case_actions.claim_next(self.at.desk, ANN),
            lambda: dispositions.decide(self.at.desk, BEN, data.draw(NUMBERS), "fraud"),
            lambda: self.at.denied(self.seq + 1, data.draw(st.integers(1, self.seq + 1))),
            lambda: self.at.heard(alert(self.seq + 1, "a"), labels=[denial(self.seq + 1, self.seq + 1)]),
        ):
            try:
                call()
            except (KilledError, UsageError):
                continue
        self.opened.close()
        self.begin()

    # ---- what analysts do

    @rule(who=WHO)
    def next_is_claimed(self, who: Who) -> None:
        found = case_actions.claim_next(self.at.desk, who)
        self._lapse()
        free = [number for number, case in self.cases.items() if case.state == "open" and case.who in {"", who.id}]
        expected = min(free, key=lambda number: (min(self._waiting(number)), number), default=None)
        assert (found and found.number) == expected
        if expected is not None:
            self._take(expected, who)

    @rule(who=WHO, number=NUMBERS)
    def one_is_claimed(self, who: Who, number: int) -> None:
        if self._does(number, who, lambda: case_actions.claim(self.at.desk, who, number)):
            self._take(number, who)

    @rule(who=WHO, number=NUMBERS, to=st.sampled_from([ANN, BEN, None]))
    def one_is_assigned(self, who: Who, number: int, to: Who | None) -> None:
        def assign() -> None:
            case_actions.assign(self.at.desk, who, number, to.name.lower() if to else "")

        case = self.cases.get(number)
        if case is None or case.state == "closed":
            self._fails(NoCaseError if case is None else CaseChangedError, assign)
            return
        assign()
        state, given = case.free if case.state == "claimed" else case.state, to.id if to else ""
        self._change(number, state=state, who=given, given=given)

    @rule(who=WHO, number=NUMBERS)
    def one_is_released(self, who: Who, number: int) -> None:
        def release() -> None:
            case_actions.release(self.at.desk, who, number)

        case = self.cases.get(number)
        if case is not None and case.state in {"open", "snoozed", "escalated"}:
            self._fails(UsageError, release)
        elif self._does(number, who, release):
            given = "" if self.cases[number].given == who.id else self.cases[number].given
            self._change(number, state=self.cases[number].free, who=given, given=given)

    @rule(who=WHO, number=NUMBERS)
    def one_is_escalated(self, who: Who, number: int) -> None:
        if self._does(number, who, lambda: case_actions.escalate(self.at.desk, who, number, "hard")):
            self._change(number, state="escalated", who="", free="escalated", given="")

    @rule(who=WHO, number=NUMBERS, verdict=VERDICTS, is_stale=st.booleans())
    def one_is_answered(self, who: Who, number: int, verdict: str, is_stale: bool) -> None:
        case = self.cases.get(number)
        tag = f"{case.version - is_stale}.{self.seq}" if case is not None else ""

        def decide() -> dispositions.CaseAction:
            return dispositions.decide(self.at.desk, who, number, verdict, tag=tag)

        if case is not None and is_stale:
            self._fails(CaseChangedError, decide)
        else:
            self._answer(number, who, verdict, decide, None)

    @rule(who=WHO, number=NUMBERS, verdict=VERDICTS, data=st.data())
    def one_event_is_answered(self, who: Who, number: int, verdict: str, data: st.DataObject) -> None:
        waiting = [seq for seq, answer in self.cases[number].answers.items() if not answer] if self._is(number) else []
        if not waiting:
            return
        seq = data.draw(st.sampled_from(waiting))
        event = f"payment/p-{seq}"
        self._answer(
            number, who, verdict, lambda: dispositions.decide(self.at.desk, who, number, verdict, event=event), seq
        )

    @rule(who=WHO, number=NUMBERS, ms=st.sampled_from([1, 5_000, 100_000]))
    def one_is_snoozed(self, who: Who, number: int, ms: int) -> None:
        until_ms = self.now_ms + ms
        found = self._does(number, who, lambda: dispositions.snooze(self.at.desk, who, number, until_ms))
        if found:
            before = self._copy(number)
            self._change(number, state="snoozed", who="", until_ms=until_ms, given="")
            self._promise(found, "snooze", who, "", [(number, self.cases[number].version, before, [])])

    @rule(who=WHO, number=NUMBERS)
    def one_is_opened_again(self, who: Who, number: int) -> None:
        def reopen() -> None:
            case_actions.reopen(self.at.desk, who, number, "again")

        case = self.cases.get(number)
        if case is None or case.state != "closed":
            self._fails(NoCaseError if case is None else UsageError, reopen)
            return
        reopen()
        for kept, promise in list(self.promises.items()):
            if promise.kind == "decide":
                promise.cases = [each for each in promise.cases if each[0] != number]
                if not promise.cases:
                    del self.promises[kept]
        case.answers = dict.fromkeys(case.answers, "")
        self._change(number, state="open", who="", verdict="")

    @rule(who=WHO, verdict=VERDICTS)
    def many_are_answered(self, who: Who, verdict: str) -> None:
        numbers = dict.fromkeys(range(1, 6), "")
        done, failed = dispositions.bulk(self.at.desk, who, numbers, "decide", verdict=verdict)
        able = [number for number in numbers if self._may(number, who) is None]
        assert [item.case for item in failed] == [number for number in numbers if number not in able]
        assert [case.number for case in (done.cases if done else ())] == able
        if done:
            self._promise(done, "decide", who, verdict, [self._answered(number, verdict, None) for number in able])

    @rule(who=WHO, data=st.data())
    def something_is_undone(self, who: Who, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, max(self.promises, default=1)))
        promise = self.promises.get(number)
        if promise is None or promise.who != who.id:
            self._fails(TooLateError, lambda: dispositions.undo(self.at.desk, who, number))
            return
        undone = dispositions.undo(self.at.desk, who, number)
        del self.promises[number]
        left = [row for row in promise.cases if self.cases[row[0]].version != row[1]]
        assert [case.number for case in undone.changed] == sorted(item[0] for item in left)
        for case, version, before, events in promise.cases:
            if case not in {item[0] for item in left}:
                now = self.cases[case]
                answers = {seq: "" if seq in events else answer for seq, answer in now.answers.items()}
                self.cases[case] = replace(
                    before, answers=answers, denied=now.denied, told=now.told, version=now.version + 1
                )
                for other in self.promises.values():
                    if other.who == who.id:
                        other.cases = [
                            (case, now.version + 1, *more) if (at, seen) == (case, version - 1) else (at, seen, *more)
                            for at, seen, *more in other.cases
                        ]
        if left and promise.kind == "decide":
            with self.at.desk.store.look() as look:
                (kept,) = (item for item in look.due(2**60) if item.number not in self.promises)
            self.promises[kept.number] = replace(promise, cases=left)

    # ---- what must hold

    @invariant()
    def cases_are_what_the_model_says(self) -> None:
        if not hasattr(self, "at"):
            return
        found = self.at.cases()
        assert {case.number: (case.key, case.state, case.assignee, case.version, case.verdict) for case in found} == {
            number: (case.key, case.state, case.who, case.version, case.verdict) for number, case in self.cases.items()
        }
        for case in found:
            plain = self.cases[case.number]
            assert {alert.seq: alert.verdict for alert in self.at.alerts(case.number)} == plain.answers
            assert case.alerts == len(plain.answers)
            assert case.stake == (1_000 * len(self._waiting(case.number)) or None)
            assert case.customer == ("fraud" if plain.denied else "")
            with self.at.desk.store.look() as look:
                assert sum(row.what == DENIED for row in look.history(case.number)) == plain.told

    @invariant()
    def labels_are_written_once(self) -> None:
        if hasattr(self, "at"):
            assert self.at.labels() == self.labels

    # ---- the model

    def _is(self, number: int) -> bool:
        return number in self.cases

    def _waiting(self, number: int) -> list[int]:
        return [seq for seq, answer in self.cases[number].answers.items() if not answer]

    def _copy(self, number: int) -> Plain:
        case = self.cases[number]
        return replace(case, answers=dict(case.answers), denied=set(case.denied))

    def _may(self, number: int, who: Who) -> type[UsageError] | None:
        """What somebody is told who would change an open case; None where they may."""
        case = self.cases.get(number)
        if case is None:
            return NoCaseError
        is_anothers = case.state == "claimed" and case.who != who.id and case.until_ms > self.now_ms
        return CaseChangedError if case.state == "closed" or is_anothers else None

    def _does(self, number: int, who: Who, call: Callable[[], Any]) -> Any:
        """Do it where the model says that it can be done, else see it refused."""
        why = self._may(number, who)
        if why is None:
            return call() or True
        self._fails(why, call)
        return None

    def _fails(self, why: type[UsageError], call: Callable[[], Any]) -> None:
        try:
            call()
        except why:
            return
        raise AssertionError(f"it should have been refused: {why.__name__}")

    def _change(self, number: int, **changes: Any) -> None:
        self.cases[number] = replace(self.cases[number], version=self.cases[number].version + 1, **changes)

    def _take(self, number: int, who: Who) -> None:
        case, until_ms = self.cases[number], self.now_ms + LOCK_MS
        if case.state == "claimed" and case.who == who.id:
            case.until_ms = until_ms
        else:
            self._change(number, state="claimed", who=who.id, until_ms=until_ms)

    def _lapse(self) -> None:
        for number, case in self.cases.items():
            if case.state in {"claimed", "snoozed"} and case.until_ms <= self.now_ms:
                self.cases[number] = replace(case, state=case.free, who=case.given)

    def _answer(self, number: int, who: Who, verdict: str, call: Callable[[], Any], seq: int | None) -> None:
        done = self._does(number, who, call)
        if done:
            self._promise(done, "decide", who, verdict, [self._answered(number, verdict, seq)])

    def _answered(self, number: int, verdict: str, seq: int | None) -> tuple[int, int, Plain, list[int]]:
        before, events = self._copy(number), self._waiting(number) if seq is None else [seq]
        case = self.cases[number]
        case.answers |= dict.fromkeys(events, verdict)
        if self._waiting(number):
            self._change(number)
        else:
            worst = next(name for name in ("fraud", "unclear", "genuine") if name in case.answers.values())
            verdict = verdict if seq is None else worst
            self._change(number, state="closed", who="", verdict=verdict, free="open", given="")
        return number, self.cases[number].version, before, events

    def _promise(self, done: dispositions.CaseAction, kind: str, who: Who, verdict: str, cases: list[Any]) -> None:
        self.promises[done.undo] = Promise(kind, who.id, self.now_ms, self.now_ms + UNDO_MS, verdict, cases)

    def _write(self, promise: Promise) -> None:
        if promise.kind == "decide":
            events = sorted(seq for _, _, _, seqs in promise.cases for seq in seqs)
            self.labels += [(f"payment/p-{seq}", promise.verdict, "analyst", promise.at_ms) for seq in events]


TestCases = Cases.TestCase
TestCases.settings = settings(max_examples=examples(40, usual=6), stateful_step_count=50, deadline=None)
