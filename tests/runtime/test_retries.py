from __future__ import annotations

from threading import Event

import pytest

from shroff.errors import TransientError
from shroff.runtime.retries import Backoff, RetriedLoop
from tests.support.patience import until


class Clock:
    def __init__(self) -> None:
        self.now_s = 10.0

    def __call__(self) -> float:
        return self.now_s


def test_pauses_double_up_to_the_longest_and_begin_anew_after_success():
    clock = Clock()
    retry = Backoff(1.0, 5.0, clock=clock)

    assert retry.is_due
    assert [retry.failed() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert retry.failures == 5
    clock.now_s += 4.9
    assert not retry.is_due
    clock.now_s += 0.1
    assert retry.is_due
    retry.worked()
    assert (retry.failures, retry.failed()) == (0, 1.0)


def test_a_pause_may_be_equal_each_time_shortened_by_chance_or_as_the_other_side_asks():
    assert [Backoff(3.0).failed() for _ in range(2)] == [3.0, 3.0]
    assert Backoff(4.0, draw=lambda: 0.0).failed() == 2.0
    assert Backoff(4.0, draw=lambda: 0.5).failed() == 3.0
    assert Backoff(1.0, 5.0).failed(least_s=30.0) == 30.0


def test_an_error_that_waiting_does_not_cure_takes_the_longest_pause_from_then_on():
    retry = Backoff(1.0, 5.0)

    assert [retry.failed(), retry.failed(is_lasting=True), retry.failed()] == [1.0, 5.0, 5.0]


def test_a_hurried_retry_is_due_and_still_one_more_in_a_row():
    retry = Backoff(1.0, 5.0)
    retry.failed()
    retry.hurry()

    assert retry.is_due
    assert (retry.failed(), retry.failures) == (2.0, 2)


@pytest.mark.parametrize("kind", [TransientError, OSError, ZeroDivisionError])
def test_a_loop_goes_on_whatever_fails_tells_it_once_and_closes_after_it(kind: type[Exception]):
    told, closed, is_well = list[str](), list[int](), Event()
    calls = list[int]()

    def step() -> float:
        calls.append(1)
        if len(calls) < 4:
            raise kind("away")
        is_well.set()
        return 60.0

    loop = RetriedLoop(
        "cases", step, told.append, Backoff(0.001), message="cases wait: {}", close=lambda: closed.append(1)
    )
    loop.start()
    until(is_well.is_set)
    loop.stop()

    assert len(closed) == 4
    (message,) = told
    assert message == "cases wait: away" or message.startswith("error ")
    assert "cases wait" in message


def test_a_loop_that_forgets_tells_the_same_failure_again():
    told = list[str]()
    loop = RetriedLoop("jobs", lambda: 0.0, told.append, Backoff(1.0))
    loop.report("away")
    loop.report("away")
    loop.forget()
    loop.report("away")

    assert told == ["away", "away"]
