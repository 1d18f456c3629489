"""A watermark that is set back: every engine gives what the definition says, as if no event had leapt."""

from __future__ import annotations

import random
from threading import Event, Thread
from typing import Final

import msgspec
import pytest

from shroff.errors import UsageError
from shroff.features.online.engine import Lateness
from shroff.language.values import HOUR_MS
from shroff.log import lateness
from shroff.log.state import fold as folding
from shroff.log.writer import Writer
from shroff.replay.compare import verify_naive, verify_online
from shroff.replay.verifying_batch import verify_batch
from shroff.streams.log import Log
from shroff.streams.snapshots import Snapshots
from shroff.worker import standby
from shroff.worker.standby import Standby
from tests.support.effort import times
from tests.support.log_memory import MemoryLog
from tests.support.patience import until
from tests.support.projects import FILES, NOW_MS, definitions, submission

CHANGES: Final = {
    "shroff.yaml": FILES["shroff.yaml"] + "lateness: 2h\nahead: off\n",
    "features.yaml": FILES["features.yaml"]
    + "  last_3: sum(payment.amount) over last 3\n  most_1d: max(payment.amount) over 1d\n"
    + "  same_1d: count(payment where payment.amount == this.amount) over 1d\n",
}
LEAP_MS: Final = 36 * 365 * 24 * HOUR_MS


def payment(number: int, time_ms: int, rng: random.Random):
    fields = {"id": f"p{number}", "at": time_ms, "card": f"c{rng.randrange(3)}", "amount": f"{rng.randrange(1, 4)}.00"}
    return submission("payment", number, fields)


def made(log: Log, snapshots: Snapshots | None = None) -> Writer:
    return Writer(log, definitions(CHANGES), lambda: NOW_MS + 10**13, snapshots=snapshots)


def poisoned(log: Log, rng: random.Random, snapshots: Snapshots | None = None, size: int = 60) -> int:
    """Events of two days, and behind them some of 2062; gives the newest time before those."""
    writer, newest_ms = made(log, snapshots), NOW_MS
    for number in range(size):
        newest_ms += rng.randrange(24 * 2 * HOUR_MS // size)
        writer.write([payment(number, newest_ms - rng.randrange(2 * HOUR_MS), rng)])
    before_ms = writer.state.watermark_ms
    for number in range(size, size + 30):  # long enough for state to be let go of
        writer.write([payment(number, newest_ms + LEAP_MS + number, rng)])
    if snapshots is not None:
        writer.snapshot()
    assert before_ms is not None
    assert [answer.kind for answer in writer.write([payment(9_000, newest_ms, rng)])] == ["refused"]
    return before_ms


def goes_on(writer: Writer, at_ms: int, rng: random.Random, first: int = 1_000, size: int = 20) -> None:
    """Events from there on, up to two hours late, one by one and in batches that are computed by columns."""
    number = first
    while number < first + size:
        batch = rng.choice([1, 1, 3, 30])
        rows = [
            payment(number + at, at_ms + (number + at - first) * 60_000 - rng.randrange(HOUR_MS), rng)
            for at in range(batch)
        ]
        assert {answer.kind for answer in writer.write(rows)} == {"decided"}
        number += batch


def mismatches(log: Log) -> int:
    found = [verify_online(log), verify_batch(log), verify_naive(log, lambda _: True)]
    assert all(item.events for item in found)
    return sum(item.mismatches for item in found)


@pytest.mark.slow
@pytest.mark.parametrize("by_columns", [False, True])
def test_every_engine_gives_what_the_definition_says_behind_it(tmp_path, monkeypatch, by_columns):
    for seed in range(times(1, 40)):
        rng = random.Random(seed)
        if by_columns:
            monkeypatch.setattr(folding, "BY_COLUMNS", 1)
        log, snapshots = MemoryLog(), Snapshots(tmp_path / f"{seed}")
        at_ms = poisoned(log, rng, snapshots)
        writer = made(log, snapshots)  # from a snapshot that was taken behind the leap
        back_ms = at_ms - rng.choice([0, HOUR_MS])
        set_back = writer.set_watermark(back_ms, "a mistyped year")
        goes_on(writer, back_ms, rng)
        again = made(log, snapshots)  # that snapshot is of no use any more
        goes_on(again, back_ms + 3 * HOUR_MS, rng, first=2_000)
        again.snapshot()
        goes_on(made(log, snapshots), back_ms + 6 * HOUR_MS, rng, first=3_000)

        assert set_back.was > set_back.at
        assert log.watermark_ms() == made(log).state.watermark_ms
        assert mismatches(log) == 0


@pytest.mark.slow
def test_the_law_sees_state_that_was_let_go_of(monkeypatch):
    def forgetful(usual_ms: int, _controls: object) -> Lateness:
        return Lateness(usual_ms)

    rng, log = random.Random(1), MemoryLog()
    at_ms = poisoned(log, rng)
    writer = made(log)
    writer.set_watermark(at_ms, "a mistyped year")
    goes_on(writer, at_ms, rng)
    assert mismatches(log) == 0
    monkeypatch.setattr(folding, "lateness_after_resets", forgetful)
    assert mismatches(log) > 0


def test_it_holds_in_the_log_and_at_the_door_from_its_place_on():
    rng, log = random.Random(2), MemoryLog()
    at_ms = poisoned(log, rng, size=20)
    writer = made(log)
    writer.set_watermark(at_ms, "a mistyped year")
    kinds = [case.kind for case in writer.write([payment(1, at_ms - 3 * HOUR_MS, rng), payment(500, at_ms + 1, rng)])]

    assert kinds == ["refused", "decided"]
    assert log.watermark_ms() == at_ms + 1
    assert made(log).state.watermark_ms == at_ms + 1
    (record,) = [control for control in log.controls() if lateness.watermark_reset_of(control) is not None]
    assert msgspec.json.decode(record.body)["watermark"]["because"] == "a mistyped year"


@pytest.mark.parametrize(("at_ms", "words"), [(NOW_MS + 2 * LEAP_MS, "set back only"), (None, "no event")])
def test_it_goes_back_only(at_ms, words):
    log = MemoryLog()
    if at_ms is not None:
        poisoned(log, random.Random(3), size=5)
    with pytest.raises(UsageError, match=words):
        made(log).set_watermark(at_ms or NOW_MS, "no reason")


@pytest.mark.slow
def test_a_standby_that_folded_along_the_leap_makes_its_state_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(standby, "TRY_S", 0.03)
    rng, log = random.Random(4), MemoryLog()
    at_ms = poisoned(log, rng, size=40)

    class Place:
        snapshots = Snapshots(tmp_path)
        is_led, follow = True, staticmethod(lambda _log: "")
        definitions = staticmethod(lambda: definitions(CHANGES))

        def open_log(self, *, read_only: bool) -> Log:
            if not read_only and self.is_led:
                raise standby.LogBusyError("another writes", "another")
            return MemoryLog(log.store, read_only=True)

    place, stop, found = Place(), Event(), []
    follower = Standby(place, stop)
    thread = Thread(target=lambda: found.append(follower.lead()))
    thread.start()
    until(lambda: follower.seq >= log.last_seq())
    made(log).set_watermark(at_ms, "a mistyped year")
    until(lambda: follower.seq >= log.last_seq())
    place.is_led = False
    thread.join(120)

    ((_, start),) = found
    assert start is None
