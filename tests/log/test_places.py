"""Places of a log by times: whatever lateness it had in turn, and however its watermark was set back."""

from __future__ import annotations

import random
from itertools import count

from shroff.language.values import DAY_MS, HOUR_MS
from shroff.log.lateness import watermark_holder, watermark_reset_of
from shroff.log.later_labels import places_between
from shroff.log.writer import Writer
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, NOW_MS, definitions, label, submission


def at_work(log: MemoryLog, days: int) -> Writer:
    changes = {"shroff.yaml": FILES["shroff.yaml"] + f"lateness: {days}d\nahead: off\n"}
    return Writer(log, definitions(changes), lambda: NOW_MS + 10**13)


def paid(writer: Writer, number: int, time_ms: int) -> None:
    fields = {"id": f"p{number}", "at": time_ms, "card": "c", "amount": "1.00"}
    writer.write([submission("payment", number, fields)])


def events_of(log: MemoryLog) -> list[tuple[int, int]]:
    return [(record.seq, record.time_ms) for part in log.read(0) for record in part if record.kind == "event"]


def test_all_events_of_a_span_stand_at_its_places():
    for seed in range(30):
        rng, log, number = random.Random(seed), MemoryLog(), count()
        for _ in range(rng.randrange(1, 6)):
            days = rng.choice([1, 1, 5, 60])
            writer = at_work(log, days)
            for _ in range(rng.randrange(12)):
                watermark_ms = log.watermark_ms() or NOW_MS
                paid(writer, next(number), watermark_ms + rng.randrange(-days * DAY_MS, HOUR_MS * rng.choice([1, 30])))
            if rng.random() < 0.3 and (watermark_ms := log.watermark_ms()):
                paid(writer, next(number), watermark_ms + rng.choice([40, 900]) * DAY_MS)
                writer.set_watermark(watermark_ms - rng.randrange(2 * DAY_MS), "a mistyped year")
            writer.write([label(next(number), "p0", "fraud", "analyst", "2026-04-01T00:00:00Z")])
        events = events_of(log)
        near = [time_ms for _, time_ms in events] or [NOW_MS]
        for _ in range(60):
            start_ms = rng.choice(near) + rng.randrange(-DAY_MS, DAY_MS)
            end_ms = start_ms + rng.choice([HOUR_MS, DAY_MS, 30 * DAY_MS])
            after, upto = places_between(log, start_ms, end_ms)
            lost = [seq for seq, time_ms in events if start_ms <= time_ms < end_ms and not after < seq <= upto]
            assert not lost, (seed, start_ms, end_ms, after, upto)


def test_a_day_of_live_use_is_few_places_though_history_came_unsorted():
    log, rng = MemoryLog(), random.Random(1)
    history = at_work(log, 400)
    for number in range(60):
        paid(history, number, NOW_MS - rng.randrange(300 * DAY_MS))
    live = at_work(log, 1)
    for number in range(60, 120):
        paid(live, number, NOW_MS + (number - 60) * 6 * HOUR_MS)
    after, upto = places_between(log, NOW_MS + 10 * DAY_MS, NOW_MS + 11 * DAY_MS)
    assert (after > 90, upto - after < 20) == (True, True)
    assert not any(watermark_reset_of(control) for control in log.controls())


def test_an_event_at_a_time_does_not_lie_beyond_it():
    log = MemoryLog()
    writer = at_work(log, 1)
    paid(writer, 0, NOW_MS)
    paid(writer, 1, NOW_MS + DAY_MS)
    held = watermark_holder(log, writer.definitions, NOW_MS)

    assert watermark_holder(log, writer.definitions, NOW_MS + DAY_MS) is None
    assert held is not None
    assert (held.event, held.before_ms, held.beyond) == ("payment/p1", NOW_MS, [(NOW_MS + DAY_MS, NOW_MS + DAY_MS)])
