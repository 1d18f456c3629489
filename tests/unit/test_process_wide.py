"""Settings of the whole process: put back when the last one that wants them is done, whatever the order of threads."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from threading import Event, Thread

import pytest

from shroff.decisions.collector import THRESHOLDS, calm_collector
from shroff.decisions.ingest import TURN_S, short_turns
from shroff.decisions.process_wide import ProcessWide


@pytest.mark.parametrize(
    "setting, now, wanted",
    [(calm_collector, gc.get_threshold, THRESHOLDS), (short_turns, sys.getswitchinterval, TURN_S)],
)
def test_who_ends_last_puts_back_what_was_before_both(setting: ProcessWide, now: Callable[[], object], wanted: object):
    before, frozen = now(), gc.get_freeze_count()
    begun, may_end = Event(), Event()

    def other() -> None:
        with setting():
            begun.set()
            may_end.wait(30)

    thread = Thread(target=other)
    with setting():
        thread.start()
        assert begun.wait(30)
        assert now() == pytest.approx(wanted)
    assert now() == pytest.approx(wanted), "the other one still works"
    may_end.set()
    thread.join()

    assert (now(), gc.get_freeze_count()) == (before, frozen)


def test_it_is_put_back_after_an_error_and_can_be_changed_again():
    told: list[str] = []

    def change() -> Callable[[], None]:
        told.append("changed")
        return lambda: told.append("back")

    setting = ProcessWide(change)
    with pytest.raises(ValueError, match="no"), setting(), setting():
        raise ValueError("no")
    with setting():
        told.append("work")

    assert told == ["changed", "back", "changed", "work", "back"]
