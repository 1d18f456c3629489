"""First reasons: a page waits for few of them, and has the others at its next visit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from shroff.errors import StorageError
from shroff.explain.model import ModelReason
from shroff.web.work import reasons
from shroff.web.work.reasons import FirstReason, FirstReasons

NAMES = [("payment", f"p-{number}") for number in range(4)]


class Teller:
    """Tells reasons, each when it may."""

    def __init__(self) -> None:
        self.may, self.told = Event(), Counter[str]()

    def first_reason(self, _event: str, id_: str) -> Any:
        assert self.may.wait(120)
        self.told[id_] += 1
        if id_ == "p-3":
            raise StorageError("the disk is away")
        return None if id_ == "p-2" else ModelReason("r", "", 0.0, kind="rule", fact=f"rule of {id_}")


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def first_reasons(teller: Teller) -> Iterator[FirstReasons]:
    found = FirstReasons(SimpleNamespace(history=teller))
    yield found
    teller.may.set()
    found.end()


def test_what_there_is_no_time_for_is_told_meanwhile_and_once(first_reasons: FirstReasons, teller: Teller):
    before = [first_reasons.of(NAMES, 0.01), first_reasons.of(NAMES[:2], 0.01)]
    teller.may.set()
    after = first_reasons.of(NAMES, 20)
    again = first_reasons.of([*NAMES[2::-1], NAMES[0]], 0)

    assert before == [{}, {}]
    assert after == {
        NAMES[0]: FirstReason("rule of p-0", "", "r"),
        NAMES[1]: FirstReason("rule of p-1", "", "r"),
        NAMES[2]: None,
        NAMES[3]: None,
    }
    assert list(again) == NAMES[2::-1]
    assert teller.told == {"p-0": 1, "p-1": 1, "p-2": 1, "p-3": 1}


def test_what_could_not_be_told_is_tried_again_a_minute_later(teller: Teller):
    teller.may.set()
    now_s, times = [0.0], list[int]()
    found = FirstReasons(SimpleNamespace(history=teller), lambda: now_s[0])
    for at_s, within_s in ((0, 20), (59, 0), (59, None), (61, 20), (119, 20)):
        now_s[0] = at_s
        assert found.of(NAMES[3:], within_s) == {NAMES[3]: None}
        times.append(teller.told["p-3"])
    found.end()

    assert times == [1, 1, 1, 2, 2]


def test_who_waits_however_long_it_takes_is_told_before_what_others_asked_for(
    first_reasons: FirstReasons, teller: Teller
):
    first_reasons.of(NAMES, 0)
    teller.may.set()

    assert first_reasons.of(NAMES[1:2], None) == {NAMES[1]: FirstReason("rule of p-1", "", "r")}


def test_behind_the_end_nothing_more_is_told(first_reasons: FirstReasons, teller: Teller):
    teller.may.set()
    first_reasons.end()

    assert first_reasons.of(NAMES, 20) == {}


def test_few_wait_at_once(first_reasons: FirstReasons, teller: Teller, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reasons, "WAITING_MAX", 2)
    first_reasons.of(NAMES, 0)
    teller.may.set()

    assert list(first_reasons.of(NAMES[:2], 20)) == NAMES[:2]
    assert teller.told == {"p-0": 1, "p-1": 1}


def test_an_explanation_is_made_once_a_minute():
    asked, now_s = list[str](), [0.0]
    project = SimpleNamespace(history=None, explain=lambda name: asked.append(name) or name)
    found = FirstReasons(project, lambda: now_s[0])
    seen = []
    for at_s, id_ in ((0, "p-1"), (59, "p-1"), (59, "p-2"), (61, "p-1")):
        now_s[0] = at_s
        seen.append(found.explained("payment", id_))
    found.end()

    assert seen == ["payment/p-1", "payment/p-1", "payment/p-2", "payment/p-1"]
    assert asked == ["payment/p-1", "payment/p-2", "payment/p-1"]
