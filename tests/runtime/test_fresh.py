from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import inf
from threading import Event

import pytest

from shroff.runtime.values import Fresh


def test_a_value_is_made_anew_when_it_is_too_old_or_the_one_who_asks_wants_a_newer_one():
    now, made = [0.0], iter(range(10))
    kept = Fresh[int](clock_s=lambda: now[0])
    asked = []
    for at_s, fresh_s in ((0, 60), (59, 60), (59, 5), (63, 60), (64, 5), (124, 60), (999, inf)):
        now[0] = at_s
        asked.append(kept.get("", lambda: next(made), fresh_s))

    assert asked == [0, 0, 1, 1, 2, 3, 3]


def test_the_newest_keys_are_kept_and_others_made_again():
    kept, made = Fresh[str](2), []

    def get(key: str) -> str:
        return kept.get(key, lambda: made.append(key) or key)

    assert [get(key) for key in "aabbab" + "cb" + "a"] == list("aabbabcba")
    assert made == ["a", "b", "c", "a"]
    kept.forget()
    get("a")
    assert made == ["a", "b", "c", "a", "a"]


def test_where_making_fails_nothing_is_kept_and_what_there_was_stays():
    now = [0.0]
    kept = Fresh[int](clock_s=lambda: now[0])
    kept.get("", lambda: 1)
    now[0] = 20.0
    with pytest.raises(ZeroDivisionError):
        kept.get("", lambda: 1 // 0, 10)

    assert (kept.peek("", 30), kept.peek("", 20), kept.peek("other", 30)) == (1, None, None)
    assert kept.get("", lambda: 2, 10) == 2


def test_one_thread_makes_a_value_for_all_who_wait_and_peeking_waits_for_nobody():
    kept, began, may_end, made = Fresh[int](), Event(), Event(), []

    def make() -> int:
        began.set()
        assert may_end.wait(120)
        made.append(1)
        return len(made)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(kept.get, "", make)
        assert began.wait(120)
        others = [pool.submit(kept.get, "", make) for _ in range(3)]
        peeked = kept.peek("", 1)
        may_end.set()

        assert peeked is None
        assert [other.result(120) for other in (first, *others)] == [1, 1, 1, 1]
