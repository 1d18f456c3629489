"""Hand-overs are delayed where the environment asks for it, by its seed, and nowhere else."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import pytest

from shroff.worker import request_queue
from tests.support import delays

SEED = "7"


def waits_of(monkeypatch: pytest.MonkeyPatch, seed: str) -> list[float]:
    """What is waited for where threads hand over, in seconds, drawn by this seed."""
    waited: list[float] = []
    turn_s = sys.getswitchinterval()
    with monkeypatch.context() as patched:
        patched.setenv(delays.ASKED, seed)
        patched.setattr(delays, "_sleep", waited.append)
        delays.begin(patched.setattr)
        assert not seed or delays._chance.getstate() == random.Random(seed).getstate()
        try:
            given, done = request_queue.SimpleQueue(), Event()
            given.put(1)
            assert waited == []  # nobody is there to take it
            thread = Thread(target=done.wait)
            thread.start()
            for _ in range(20):
                given.put(1)
            done.set()
            with ThreadPoolExecutor(1) as threads:
                assert threads.submit(given.get).result(120) == 1
            thread.join()
        finally:
            sys.setswitchinterval(turn_s)
    return waited


def test_hand_overs_wait_by_a_seed_and_only_where_that_is_asked_for(monkeypatch):
    start, submit = Thread.start, ThreadPoolExecutor.submit
    monkeypatch.setattr(delays, "_chance", random.Random())
    monkeypatch.setattr(delays, "_spared", set())
    waited = waits_of(monkeypatch, SEED)

    assert waits_of(monkeypatch, "") == []
    assert len(waits_of(monkeypatch, "8")) <= 10  # those of the two threads beside this one
    assert 5 <= len(waited) <= 34  # some of 20 puts and 14 others, where two threads draw in an order of their own
    assert set(map(type, waited)) == {float}
    assert all(0.0 <= seconds <= delays.LONG_S for seconds in waited)
    assert (Thread.start, ThreadPoolExecutor.submit) == (start, submit)
