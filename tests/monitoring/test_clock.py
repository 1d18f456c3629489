"""The clock of the machine, beside the log and beside itself at an earlier check."""

from __future__ import annotations

import ctypes
import time
from types import SimpleNamespace

import pytest

from shroff.language.values import HOUR_MS, MINUTE_MS
from shroff.monitoring import doctor_clock
from shroff.monitoring.doctor_clock import OFF_MS, TIME_ERROR, ClockSteps, clock_words, is_unset
from shroff.streams.log import Batch, Record
from tests.support.log_memory import MemoryLog
from tests.support.projects import NOW_MS


@pytest.fixture
def machine_ms(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The milliseconds since the machine started; a test changes them."""
    since = [1_000_000]
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: since[0] * 1_000_000)
    return since


def log_of(*times_ms: tuple[int, int]) -> MemoryLog:
    """A log of events, each by its own time and that of its arrival."""
    log = MemoryLog()
    for seq, (time_ms, at_ms) in enumerate(times_ms, 1):
        record = Record(seq, "event", "payment", f"p-{seq}", time_ms, b"{}", decided=False)
        log.append(Batch([record], at_ms=at_ms))
    return log


@pytest.mark.parametrize(
    ("step_ms", "words"),
    [(HOUR_MS, "set ahead by 1h"), (-HOUR_MS, "set back by 1h"), (OFF_MS, ""), (-OFF_MS, ""), (0, "")],
)
def test_a_step_of_the_clock_is_told_for_an_hour(machine_ms, step_ms, words):
    steps, now_ms = ClockSteps(), NOW_MS
    assert steps.words(now_ms) == ""
    machine_ms[0] += MINUTE_MS
    now_ms += MINUTE_MS + step_ms
    said = steps.words(now_ms)
    assert words in said
    assert bool(words) == bool(said)

    machine_ms[0] += HOUR_MS
    assert steps.words(now_ms + HOUR_MS) == ""


def test_a_clock_behind_the_newest_record_is_wrong():
    log = log_of((NOW_MS, NOW_MS))

    assert [clock_words(log, NOW_MS + off_ms, ClockSteps())[0] for off_ms in (HOUR_MS, 0, -OFF_MS, -OFF_MS - 1)] == [
        False,
        False,
        False,
        True,
    ]


def test_the_kernel_says_whether_a_time_service_sets_the_clock(monkeypatch):
    asked = SimpleNamespace(adjtimex=lambda _: TIME_ERROR)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: asked)

    assert is_unset()
    asked.adjtimex = lambda _: 0
    assert not is_unset()
    del asked.adjtimex
    assert not is_unset(), "another system"


@pytest.mark.parametrize("shift_ms", [HOUR_MS, -HOUR_MS])
def test_live_events_that_are_all_off_by_as_much_are_remarked(shift_ms, monkeypatch):
    monkeypatch.setattr(doctor_clock, "is_unset", lambda: False)

    def remark(count: int, every_ms: int, jitter_ms: int = 0) -> str:
        arrivals = [NOW_MS + number * every_ms for number in range(count)]
        times = [at_ms - shift_ms - number % 7 * jitter_ms for number, at_ms in enumerate(arrivals)]
        is_wrong, _, cure = clock_words(log_of(*zip(times, arrivals, strict=True)), arrivals[-1], ClockSteps())
        assert not is_wrong
        return cure

    assert remark(20, MINUTE_MS)
    assert remark(20, MINUTE_MS, jitter_ms=10_000)
    assert not remark(19, MINUTE_MS), "too few"
    assert not remark(20, 0), "a file, which came at once"
    assert not remark(20, MINUTE_MS, jitter_ms=10 * MINUTE_MS), "a source with delays of its own"
