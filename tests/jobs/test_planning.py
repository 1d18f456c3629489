"""Due times of schedules, against a definition that looks at each minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.jobs.due_times import AT_ONCE, next_due_ms, plan
from shroff.project.schedules import ALL, LAST, SKIP, Schedule

MINUTE = 60_000
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def naive(schedule: Schedule, after_ms: int, end_ms: int) -> list[int]:
    """Minute by minute in UTC: those whose minute and hour on that clock are meant. Not where clocks change."""
    minute, hour = schedule.cron.split()[:2]
    found = []
    at_ms = (after_ms // MINUTE + 1) * MINUTE
    while at_ms <= end_ms:
        at = datetime.fromtimestamp(at_ms / 1_000, ZoneInfo(schedule.zone))
        if all(part == "*" or int(part) == value for part, value in ((minute, at.minute), (hour, at.hour))):
            found.append(at_ms)
        at_ms += MINUTE
    return found


def due(schedule: Schedule, after_ms: int, end_ms: int) -> list[int]:
    found = []
    while (at_ms := next_due_ms(schedule, after_ms)) is not None and at_ms <= end_ms:
        found.append(at_ms)
        after_ms = at_ms
    return found


@settings(max_examples=40)
@given(
    st.sampled_from(["30 *", "0 5", "59 23", "* 3", "15 0"]),
    st.sampled_from(ZONES),
    st.integers(0, 40 * 24 * 60),
    st.integers(1, 1_500),
    st.integers(0, MINUTE - 1),
)
def test_due_times_are_those_of_the_clock_on_the_wall(cron, zone, start, minutes, offset):
    # May and June: no clock changes
    after_ms = ms("2026-05-01T00:00:00+00:00") + start * MINUTE + offset
    schedule = Schedule("s", "k", f"{cron} * * *", zone)
    assert due(schedule, after_ms, after_ms + minutes * MINUTE) == naive(
        schedule, after_ms, after_ms + minutes * MINUTE
    )


@pytest.mark.parametrize(
    ("cron", "day", "times"),
    [
        # 02:00 ──┐ 03:00: the hour is left out
        ("30 2 * * *", "2026-03-29", ["01:00"]),  # at 03:00 of the new time
        ("0 * * * *", "2026-03-29", ["23:00-", "00:00", "01:00", "02:00"]),
        # 03:00 ──┘ 02:00: the hour comes twice
        ("30 2 * * *", "2026-10-25", ["00:30"]),
        ("30 * * * *", "2026-10-25", ["22:30-", "23:30-", "00:30", "01:30", "02:30"]),
    ],
)
def test_where_clocks_change_a_time_runs_once_and_each_hour_runs(cron, day, times):
    schedule = Schedule("s", "k", cron, "Europe/Berlin")
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    end_ms = ms(f"{day}T03:00:00+00:00") - 1
    before = (datetime.fromisoformat(day) - timedelta(1)).date().isoformat()
    meant = [ms(f"{before if time[-1] == '-' else day}T{time.rstrip('-')}:00+00:00") for time in times]
    start_ms = round(start.astimezone(UTC).timestamp() * 1_000)
    assert due(schedule, start_ms - 1, end_ms) == meant
    for cut in range(start_ms, end_ms, 7 * MINUTE):  # from wherever one looks, the rest is the same
        assert due(schedule, cut, end_ms) == [item for item in meant if item > cut]


HOURLY = "0 * * * *"


@pytest.mark.parametrize(
    ("catch_up", "seen", "now", "run", "missed"),
    [
        (SKIP, "10:59:59", "11:00:01", ["11:00"], None),  # on time
        (SKIP, "08:30:00", "11:00:30", ["11:00"], None),
        (SKIP, "08:30:00", "11:30:00", [], "11:00"),
        (LAST, "08:30:00", "11:30:00", ["11:00"], None),
        (LAST, "08:30:00", "11:00:30", ["11:00"], None),
        (ALL, "08:30:00", "11:30:00", ["09:00", "10:00", "11:00"], None),
        (LAST, "11:00:00", "11:30:00", [], None),  # seen to
    ],
)
def test_catch_up_says_which_due_times_run(catch_up, seen, now, run, missed):
    found = plan(Schedule("s", "k", HOURLY, catch_up=catch_up), at(seen), at(now))
    assert list(found.run) == [at(f"{item}:00") for item in run]
    assert found.missed == (None if missed is None else at(f"{missed}:00"))
    assert found.seen_ms == at(now)


def test_many_due_times_are_seen_to_in_parts_or_by_the_newest():
    end_ms = at("00:00:30") + 365 * 86_400_000
    for catch_up in (LAST, SKIP):
        assert plan(Schedule("s", "k", "* * * * *", catch_up=catch_up), at("00:00:00"), end_ms).run == (
            end_ms - 30_000,
        )
    yearly = plan(Schedule("s", "k", "0 0 1 1 *"), at("00:00:00"), end_ms)
    assert yearly.run == (ms("2027-01-01T00:00:00+00:00"),)
    seen_ms, found = at("00:00:00"), []
    every = Schedule("s", "k", "* * * * *", catch_up=ALL)
    while seen_ms < at("05:00:00"):
        part = plan(every, seen_ms, at("05:00:00"))
        assert len(part.run) <= AT_ONCE
        found += part.run
        seen_ms = part.seen_ms
    assert found == naive(every, at("00:00:00"), at("05:00:00"))


def at(text: str) -> int:
    return ms(f"2026-06-01T{text}+00:00")
