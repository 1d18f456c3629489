"""What is made once for all threads, and made anew after it was forgotten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from shroff.project.loader import MadeOnce

WAITS_S = 120.0


def test_it_is_made_once_for_all_who_ask_meanwhile():
    kept, made, asked = MadeOnce[object](), [], Event()

    def make() -> object:
        assert asked.wait(WAITS_S)
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(8) as threads:
        found = [threads.submit(kept.get, make) for _ in range(8)]
        asked.set()
        assert {id(item.result(WAITS_S)) for item in found} == {id(made[0])}
    assert len(made) == 1


def test_what_was_begun_before_it_was_forgotten_is_not_kept():
    kept, reads, goes_on = MadeOnce[str](), Event(), Event()

    def old() -> str:
        reads.set()
        assert goes_on.wait(WAITS_S)
        return "old"

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(kept.get, old)
        assert reads.wait(WAITS_S)
        kept.forget()
        second = threads.submit(kept.get, lambda: "new")
        goes_on.set()
        assert first.result(WAITS_S) == "old"
        assert second.result(WAITS_S) == "new"
    assert kept.get(lambda: "newer") == "new"


def test_who_forgets_it_while_others_ask_never_leaves_them_with_nothing():
    kept = MadeOnce[str]()
    with ThreadPoolExecutor(4) as threads:
        asks = [threads.submit(lambda: [kept.get(lambda: "made") for _ in range(20_000)]) for _ in range(3)]
        while not all(ask.done() for ask in asks):
            kept.forget()
        assert all(found == "made" for ask in asks for found in ask.result())


def test_a_failure_is_nobody_elses():
    kept = MadeOnce[str]()
    with pytest.raises(KeyError):
        kept.get({}.popitem)
    assert kept.get(lambda: "made") == "made"
