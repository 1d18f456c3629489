"""Lines of several parts in order of time, as far as it matters."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shroff.events.lines import Line
from shroff.streams.merge import Merge

SLACK_MS = 10


def line(at: int | None, number: int = 0) -> Line:
    return Line(number, b"", None if at is None else {"at": at})


def moment(one: Line) -> Any:
    return None if one.columns is None else one.columns["at"]


def merge(slack_ms: int = SLACK_MS, **parts: list[int | None]) -> Merge:
    made = Merge(slack_ms, lambda _: moment)
    for part, times in parts.items():
        made.open(part, None)
        made.add(part, [line(at) for at in times])
    return made


def taken(made: Merge, limit: int = 1_000) -> list[tuple[str, list[Any]]]:
    return [(part, [moment(one) for one in run]) for part, run in made.take(limit)]


def test_parts_go_in_runs_that_are_no_more_than_the_slack_ahead():
    #  a   0  5  10 11 50
    #  b   1        12    60
    #  0..11 of a is within 10 of the 1 of b; then b up to 50 + 10, and so on
    made = merge(a=[0, 5, 10, 11, 50], b=[1, 12, 60])

    assert taken(made) == [("a", [0, 5, 10, 11]), ("b", [1, 12, 60]), ("a", [50])][:2]
    assert made.waits_for == ["b"]
    made.pass_by("b")
    assert taken(made) == [("a", [50])]
    assert (made.waits_for, made.count) == ([], 0)


def test_a_part_without_lines_holds_back_what_is_ahead_of_it_by_more_than_the_slack():
    made = merge(a=[100, 110, 111], b=[100])

    assert taken(made) == [("a", [100, 110]), ("b", [100])]
    assert made.waits_for == ["b"]
    assert taken(made) == []
    made.add("b", [line(105)])
    assert taken(made) == [("b", [105]), ("a", [111])]


def test_a_part_that_never_had_a_line_holds_back_all_others():
    made = merge(a=[1], b=[])

    assert taken(made) == []
    assert made.waits_for == ["b"]
    made.pass_by("b")
    assert taken(made) == [("a", [1])]


def test_who_is_passed_by_is_waited_for_again_after_a_doubt_from_there_on():
    made = merge(a=[100, 105, 111, 200], b=[])
    made.pass_by("b")

    assert taken(made, 1) == [("a", [100])]
    made.doubt()
    assert taken(made) == [("a", [105])]
    assert made.waits_for == ["b"]
    made.pass_by("b")
    assert taken(made) == [("a", [111, 200])]


def test_lines_end_the_passing_by():
    made = merge(a=[100], b=[])
    made.pass_by("b")
    made.add("b", [line(50)])

    assert taken(made) == [("b", [50])]
    assert made.waits_for == ["b"]


def test_one_wrong_clock_does_not_hold_back_those_behind_it():
    made = merge(a=[9_999, 1, 2, 3], b=[100, 101])

    assert taken(made, 4) == [("a", [9_999, 1, 2, 3])]


def test_one_wrong_clock_on_the_way_goes_with_its_neighbours():
    made = merge(a=[1, 9_999, 2, 3], b=[1, 100])

    assert taken(made, 3) == [("a", [1]), ("b", [1]), ("a", [9_999])]
    assert taken(made) == [("a", [2, 3])]


def test_lines_that_were_sent_again_do_not_push_those_before_them_ahead():
    #  a   80 90 100 110 120 150 | 10 20       sent again from here on
    #  b        95 100 105 125 140
    made = merge(a=[80, 90, 100, 110, 120, 150, 10, 20], b=[95, 100, 105, 125, 140])
    found = [at for _, run in taken(made) for at in run]

    assert found == [80, 90, 100, 95, 100, 105, 110, 120, 125, 140]
    assert made.waits_for == ["b"]


def test_lines_without_a_time_go_at_once():
    made = merge(a=[None] * 5, b=[])

    assert taken(made) == [("a", [None] * 5)]
    made.add("a", [line(5)])
    assert taken(made) == []


def test_parts_at_the_same_time_take_turns():
    made = merge(slack_ms=0, a=[7] * 6, b=[7] * 6)

    assert [part for part, _ in (made.take(2) + made.take(2) + made.take(2))] == ["a", "b", "a"]


def test_one_part_alone_is_given_as_it_came():
    made = merge(a=[3, 1, 2])

    assert taken(made, 2) == [("a", [3, 1])]
    assert taken(made) == [("a", [2])]


def test_what_was_cleared_is_forgotten():
    made = merge(a=[1], b=[])
    made.take(1)
    made.clear()

    assert (taken(made), made.waits_for, made.count) == ([], [], 0)


@given(
    st.lists(st.lists(st.integers(0, 400), max_size=40).map(sorted), min_size=1, max_size=4),
    st.integers(0, 100),
    st.data(),
)
def test_nothing_is_lost_parts_keep_their_order_and_time_goes_back_by_no_more_than_the_slack(histories, slack_ms, data):
    made = Merge(slack_ms, lambda _: moment)
    left = {str(part): [line(at, number) for number, at in enumerate(times)] for part, times in enumerate(histories)}
    want = {part: list(range(len(lines))) for part, lines in left.items()}
    for part in left:
        made.open(part, None)
    found: list[tuple[str, Line]] = []
    while made.count or any(left.values()):
        made.doubt()
        part = data.draw(st.sampled_from(sorted(left)))
        count = data.draw(st.integers(1, 10))
        made.add(part, left[part][:count])
        left[part] = left[part][count:]
        while True:
            found += [(name, one) for name, run in made.take(data.draw(st.integers(1, 12))) for one in run]
            at_end = [name for name in made.waits_for if not left[name]]
            if not at_end:
                break
            for name in at_end:
                made.pass_by(name)

    assert {part: [one.number for name, one in found if name == part] for part in left} == want
    newest_ms = -1
    for _, one in found:
        assert newest_ms - moment(one) <= slack_ms
        newest_ms = max(newest_ms, moment(one))
