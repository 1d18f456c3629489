"""The five rules of the savings template at their edges, event by event, through the real writer.

Every test runs the template's own files. A drawing has time from left to right; what
stands in brackets is what the rule looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import msgspec
import pytest

from shroff import config
from shroff.config import TEMPLATE_FOLDER
from shroff.events.intake import Intake
from shroff.log.writer import Writer
from shroff.project.definitions import load_definitions
from shroff.replay.compare import verify_online
from shroff.replay.verification import verify
from tests.support.log_memory import MemoryLog

TEMPLATE = TEMPLATE_FOLDER / "savings"
DEFINITIONS = load_definitions(config.read_files(TEMPLATE, [])).or_raise()
INTAKE = Intake(DEFINITIONS.events, DEFINITIONS.settings, None)

VERY_LARGE = "single_very_large_saving_event"
BENCHMARK = "saving_events_greater_than_benchmark_within_six_months"
AVERAGE = "latest_saving_event_greater_than_six_months_average"
TWO_DAYS = "withdrawals_within_two_days_of_saving_events_during_one_month"
ONE_DAY = "withdrawals_within_one_day_of_saving_events_during_one_week"


@dataclass(frozen=True)
class RouteDoc:
    """What came of one event: the rules that hit, and the savings that a withdrawal matched."""

    rules: frozenset[str]
    matched_48h: int
    matched_24h: int


def saving(at, amount, user="u1"):
    return "saving", {"saved_at": at, "amount": amount, "user": user}


def withdrawal(at, amount, user="u1"):
    return "withdrawal", {"withdrawn_at": at, "amount": amount, "user": user}


def play(*events):
    """Take the events into a new log one by one; what came of each, after the log was computed again."""
    log, numbers = MemoryLog(), count(1)
    writer = Writer(log, DEFINITIONS, lambda: 1_800_000_000_000)
    told = []
    for kind, fields in events:
        number = str(next(numbers))
        submission = INTAKE.submit(
            kind,
            {f"{kind}_id": number, **fields},
            source="test",
            place=number,
            raw=msgspec.json.encode(fields),
            is_strict=True,
        )
        (answer,) = writer.write([submission])
        assert answer.kind == "decided", answer.reason
        document = msgspec.json.decode(answer.document)
        features = document["features"]
        rules = frozenset(document["rules"])
        told.append(RouteDoc(rules, features["user.matched_savings_48h"], features["user.matched_savings_24h"]))
    assert verify_online(log).mismatches == 0
    assert verify(log, ["naive"], len(events)).mismatches == 0
    return told


def hits(rule, told):
    """At which of the events, counted from 1, a rule hit."""
    return [number for number, decision in enumerate(told, 1) if rule in decision.rules]


# ---- a withdrawal that matches a saving


@pytest.mark.parametrize(
    ("amount", "matched"),
    [
        ("949.99", 0),  # a cent below 0.95 x 1000
        ("950.00", 1),  # 0.95 x 1000 itself
        ("1000.00", 1),  # all of it
        ("1000.01", 0),  # more than was saved
    ],
)
def test_a_withdrawal_matches_from_95_percent_to_all_of_a_saving_both_ends_in(amount, matched):
    #  01-01  10:00        12:00
    #         saves 1000   takes out 0.95 x 1000 .. 1000
    told = play(saving("2026-01-01T10:00:00Z", "1000"), withdrawal("2026-01-01T12:00:00Z", amount))

    assert (told[1].matched_48h, told[1].matched_24h) == (matched, matched)


def test_95_percent_is_exact_where_it_falls_between_two_smallest_units():
    #  0.95 x 3.33 = 3.1635: 3.16 is below it, 3.17 above
    told = play(
        saving("2026-01-01T10:00:00Z", "3.33"),
        withdrawal("2026-01-01T11:00:00Z", "3.16"),
        withdrawal("2026-01-01T12:00:00Z", "3.17"),
    )

    assert [notice.matched_48h for notice in told] == [0, 0, 1]


def test_what_is_exactly_48_hours_old_is_out_and_a_millisecond_less_is_in():
    #        01-01 10:00              01-03 09:59:59.999  10:00:00.000
    #        saves 100
    #  w at  |  (----------------------------------]      one millisecond less than 48 h old: in
    #  w at  (-----------------------------------------------]    exactly 48 h old: out
    told = play(
        saving("2026-01-01T10:00:00.000Z", "100"),
        withdrawal("2026-01-03T09:59:59.999Z", "100"),
        withdrawal("2026-01-03T10:00:00.000Z", "100"),
    )

    assert [notice.matched_48h for notice in told] == [0, 1, 0]


def test_what_is_exactly_24_hours_old_is_out_of_the_day_and_still_in_the_two_days():
    #  01-01 10:00       01-02 09:59:59.999   10:00:00.000
    #  saves 100         24 h: in             24 h: out, 48 h: in
    told = play(
        saving("2026-01-01T10:00:00.000Z", "100"),
        withdrawal("2026-01-02T09:59:59.999Z", "100"),
        withdrawal("2026-01-02T10:00:00.000Z", "100"),
    )

    assert [(notice.matched_24h, notice.matched_48h) for notice in told] == [(0, 0), (1, 1), (0, 1)]


def test_a_withdrawal_before_its_saving_matches_nothing():
    #  10:00           11:00         12:00
    #  takes out 100   saves 100     takes out 100
    #  matches -                     matches the saving of 11:00
    told = play(
        withdrawal("2026-01-01T10:00:00Z", "100"),
        saving("2026-01-01T11:00:00Z", "100"),
        withdrawal("2026-01-01T12:00:00Z", "100"),
    )

    assert [notice.matched_48h for notice in told] == [0, 0, 1]


def test_a_withdrawal_of_the_same_millisecond_matches_where_the_saving_came_first():
    #  10:00:00.000   saving, withdrawal: in the order of the log
    first = play(saving("2026-01-01T10:00:00Z", "100"), withdrawal("2026-01-01T10:00:00Z", "100"))
    second = play(withdrawal("2026-01-01T10:00:00Z", "100"), saving("2026-01-01T10:00:00Z", "100"))

    assert first[1].matched_48h == 1
    assert second[0].matched_48h == 0


def test_a_withdrawal_that_arrives_late_matches_by_its_own_time():
    #  time    10:00           11:00           12:00
    #          takes out 100   saves 100       saves 100
    #  place   3               1               2            the last to arrive is the earliest
    told = play(
        saving("2026-01-01T11:00:00Z", "100"),
        saving("2026-01-01T12:00:00Z", "100"),
        withdrawal("2026-01-01T10:00:00Z", "100"),
    )

    assert told[2].matched_48h == 0


def test_a_withdrawal_that_fits_two_savings_counts_two():
    #  10:00        10:30        11:00
    #  saves 1000   saves 1040   takes out 990, which is 99 % of the one and 95.2 % of the other
    #                            sum over 7 d: 2, more than 1
    told = play(
        saving("2026-01-01T10:00:00Z", "1000"),
        saving("2026-01-01T10:30:00Z", "1040"),
        withdrawal("2026-01-01T11:00:00Z", "990"),
    )

    assert told[2].matched_48h == 2
    assert hits(ONE_DAY, told) == [3]
    assert hits(TWO_DAYS, told) == []


# ---- withdrawals of a month and of a week


def test_the_fourth_match_of_a_month_hits_and_the_count_begins_anew_after_the_flag():
    #  01-01 10   11  12  13  14     15  16  17  18
    #  saves 100  w   w   w   w      w   w   w   w
    #  sum        1   2   3   4 hit  1   2   3   4 hit
    told = play(
        saving("2026-01-01T10:00:00Z", "100"),
        *(withdrawal(f"2026-01-01T{hour}:00:00Z", "99") for hour in range(11, 19)),
    )

    assert hits(TWO_DAYS, told) == [5, 9]


def test_a_match_that_is_30_days_old_counts_no_more():
    #  01-01 12:00            01-31 11:59:59.999   12:00:00.000
    #  3 matches              4: in, hit
    #  3 matches                                   out: 1
    month_ago = [
        saving("2026-01-01T10:00:00Z", "100"),
        *(withdrawal("2026-01-01T12:00:00Z", "99") for _ in range(3)),
        saving("2026-01-31T10:00:00Z", "100"),
    ]
    just_in = play(*month_ago, withdrawal("2026-01-31T11:59:59.999Z", "99"))
    just_out = play(*month_ago, withdrawal("2026-01-31T12:00:00.000Z", "99"))

    assert hits(TWO_DAYS, just_in) == [6]
    assert hits(TWO_DAYS, just_out) == []


def test_two_quick_round_trips_of_a_week_hit_and_eight_days_apart_they_do_not():
    #  day 1            day 2             day 9
    #  +1000 -990       +500 -480: hit
    #  +1000 -990                         +500 -480: the first is more than 7 d ago
    close = play(
        saving("2026-01-01T10:00:00Z", "1000"),
        withdrawal("2026-01-01T12:00:00Z", "990"),
        saving("2026-01-02T10:00:00Z", "500"),
        withdrawal("2026-01-02T20:00:00Z", "480"),
    )
    apart = play(
        saving("2026-01-01T10:00:00Z", "1000"),
        withdrawal("2026-01-01T12:00:00Z", "990"),
        saving("2026-01-09T10:00:00Z", "500"),
        withdrawal("2026-01-09T20:00:00Z", "480"),
    )

    assert hits(ONE_DAY, close) == [4]
    assert hits(ONE_DAY, apart) == []


def test_two_users_interleaved_do_not_see_each_other():
    #  u1   +100      -99  -98          -97       its second match hits
    #  u2        +100           -99               one match
    told = play(
        saving("2026-01-01T10:00:00Z", "100", user="u1"),
        saving("2026-01-01T10:01:00Z", "100", user="u2"),
        withdrawal("2026-01-01T11:00:00Z", "99", user="u1"),
        withdrawal("2026-01-01T11:01:00Z", "99", user="u2"),
        withdrawal("2026-01-01T11:02:00Z", "98", user="u1"),
        withdrawal("2026-01-01T11:03:00Z", "97", user="u1"),
        withdrawal("2026-01-01T11:04:00Z", "98", user="u2"),
    )

    assert [notice.matched_24h for notice in told] == [0, 0, 1, 1, 1, 1, 1]
    assert hits(ONE_DAY, told) == [5, 7]


# ---- savings


def test_each_saving_above_100_000_flags_and_100_000_itself_does_not():
    #  100 000.00     100 000.01     5   250 000     after a flag only what comes later is looked at
    #  -              hit            -   hit
    told = play(
        saving("2026-01-01T10:00:00Z", "100000"),
        saving("2026-01-02T10:00:00Z", "100000.01"),
        saving("2026-01-03T10:00:00Z", "5"),
        saving("2026-01-04T10:00:00Z", "250000"),
    )

    assert hits(VERY_LARGE, told) == [2, 4]


def test_a_saving_leaves_six_months_exactly_182_and_a_half_days_later():
    #  01-01 00:00   03-01       07-02 11:59:59.999   12:00:00.000
    #  60 000        60 000      60 000: the third, hit
    #  60 000        60 000                           60 000: the first is out, two
    first, second = saving("2026-01-01T00:00:00Z", "60000"), saving("2026-03-01T00:00:00Z", "60000")
    just_in = play(first, second, saving("2026-07-02T11:59:59.999Z", "60000"))
    just_out = play(first, second, saving("2026-07-02T12:00:00.000Z", "60000"))

    assert hits(BENCHMARK, just_in) == [3]
    assert hits(BENCHMARK, just_out) == []


def test_the_second_flag_takes_three_more_savings():
    #  60k   60k   60k     60k   60k   60k     60k
    #  1     2     3 hit   1     2     3 hit   1
    told = play(*(saving(f"2026-01-0{day}T00:00:00Z", "60000") for day in range(1, 8)))

    assert hits(BENCHMARK, told) == [3, 6]


def test_a_late_saving_counts_by_its_place_after_the_flag():
    #  time    01-01  01-02  01-03      01-03 12:00  01-04  01-05
    #  place   1      2      3 flag     4 late       -      -        older than what raised the flag, yet after it
    #  count   1      2      3 hit      1            2      3 hit
    told = play(
        saving("2026-01-01T00:00:00Z", "60000"),
        saving("2026-01-02T00:00:00Z", "60000"),
        saving("2026-01-03T12:00:00Z", "60000"),
        saving("2026-01-03T00:00:00Z", "60000"),
        saving("2026-01-04T00:00:00Z", "60000"),
        saving("2026-01-05T00:00:00Z", "60000"),
    )

    assert hits(BENCHMARK, told) == [3, 6]


def test_the_mean_leaves_out_the_saving_itself_and_ten_times_it_is_not_more():
    #  saved   100    1000    5500         5500.01
    #  mean    none   100     (1100 / 2) = 550
    #  hit     -      -: 10 x 100 is not more than itself
    told = play(saving("2026-01-01T00:00:00Z", "100"), saving("2026-01-02T00:00:00Z", "1000"))
    equal = play(*_savings("100", "1000", "5500"))
    above = play(*_savings("100", "1000", "5500.01"))

    assert hits(AVERAGE, told) == []
    assert hits(AVERAGE, equal) == []
    assert hits(AVERAGE, above) == [3]


def test_the_first_saving_after_a_flag_has_no_mean_and_cannot_hit():
    #  saved   100    5000        900 000        9 000 001
    #  mean    none   100: hit    none           900 000: hit
    #                 flag |----> begins anew
    told = play(*_savings("100", "5000", "900000", "9000001"))

    assert hits(AVERAGE, told) == [2, 4]


def test_a_flag_of_one_rule_leaves_the_others_as_they_were():
    #  saved       60k   60k   200k                 60k
    #  very large  -     -     hit
    #  benchmark   1     2     3 hit, by its own count
    told = play(*_savings("60000", "60000", "200000", "60000"))

    assert hits(VERY_LARGE, told) == [3]
    assert hits(BENCHMARK, told) == [3]
    assert hits(AVERAGE, told) == []


def test_a_flag_of_one_user_leaves_the_count_of_another():
    #  u1   60k   60k        60k hit
    #  u2              60k        60k   60k hit
    told = play(
        saving("2026-01-01T00:00:00Z", "60000", user="u1"),
        saving("2026-01-02T00:00:00Z", "60000", user="u1"),
        saving("2026-01-03T00:00:00Z", "60000", user="u2"),
        saving("2026-01-04T00:00:00Z", "60000", user="u1"),
        saving("2026-01-05T00:00:00Z", "60000", user="u2"),
        saving("2026-01-06T00:00:00Z", "60000", user="u2"),
    )

    assert hits(BENCHMARK, told) == [4, 6]


def _savings(*amounts):
    """One saving a day."""
    return [saving(f"2026-01-0{day}T00:00:00Z", amount) for day, amount in enumerate(amounts, 1)]
