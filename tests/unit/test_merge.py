"""Lines of several parts, merged by event time."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.events.lines import Line
from shroff.streams.merge import AHEAD, EARLIEST, Merge

FEW = st.integers(0, 30)


def line(at: int | None, number: int = 0) -> Line:
    return Line(number, b"", None if at is None else {"at": at})


def moment(one: Line) -> Any:
    return None if one.columns is None else one.columns["at"]


def merge(**parts: list[int | None]) -> Merge:
    """Parts that have nothing more outside."""
    made = Merge(lambda _: moment)
    for part, times in parts.items():
        made.open(part, None)
        made.add(part, [line(at) for at in times])
        made.pass_by(part)
    return made


def taken(made: Merge, limit: int = 1_000) -> list[tuple[str, list[Any]]]:
    return [(part, [moment(one) for one in run]) for part, run in made.take(limit)]


@pytest.mark.parametrize(
    "parts, runs",
    [
        # one wrong clock holds nobody back, and goes where those behind it go
        (
            {"a": [1, 9_999, 2, 3], "b": [1, 2, 100]},
            [("a", [1]), ("b", [1]), ("a", [9_999, 2]), ("b", [2]), ("a", [3])],
        ),
        ({"a": [9_999, 9_998, 1, 2, 3, 4], "b": [3]}, [("a", [9_999, 9_998, 1, 2, 3]), ("b", [3]), ("a", [4])]),
        # against one line alone nobody can tell which clock is wrong: the order is that of times
        ({"a": [50, 1], "b": [2, 60]}, [("b", [2]), ("a", [50, 1]), ("b", [60])]),
        # one late line, and one that was sent again, do not pull those before them ahead
        ({"a": [80, 90, 10, 100, 110], "b": [85, 95]}, [("a", [80]), ("b", [85]), ("a", [90, 10]), ("b", [95])]),
        # as docs/explain/partitions.md draws it, in minutes
        ({"a": [600, 604, 560, 605], "b": [601, 603, 606]}, [("a", [600]), ("b", [601, 603]), ("a", [604, 560, 605])]),
        # without a time at once, with a part's order kept
        ({"a": [5, None, None, 6], "b": [4, 5, 7]}, [("b", [4]), ("a", [5, None, None]), ("b", [5]), ("a", [6])]),
        ({"a": [None] * 3, "b": [0]}, [("a", [None] * 3), ("b", [0])]),
        # at equal times by name, numbers as numbers
        ({"t/10": [7, 7], "t/9": [7, 8], "s/11": [7]}, [("s/11", [7]), ("t/9", [7]), ("t/10", [7, 7]), ("t/9", [8])]),
        # one part alone is given as it came
        ({"a": [3, 1, None, 2]}, [("a", [3, 1, None, 2])]),
    ],
)
def test_what_waits_is_merged_by_event_time(parts, runs):
    assert taken(merge(**parts))[: len(runs)] == runs


def test_labels_go_before_events_of_the_same_time():
    made = Merge(lambda _: moment)
    for part, type_name in (("a", "payment"), ("z/3", "label")):
        made.open(part, type_name)
        made.add(part, [line(7)], [1])
        made.pass_by(part)

    assert taken(made) == [("z/3", [7]), ("a", [7])]


def test_nothing_goes_while_a_part_may_have_something_earlier_outside():
    made = merge(a=[100, 101])
    made.open("b", None)

    assert (taken(made), made.waits_for) == ([], ["b"])
    made.add("b", [line(at) for at in range(95, 95 + AHEAD)])
    assert (taken(made), made.waits_for) == ([], ["b"]), "those behind it say whether its clock is right"
    made.pass_by("b")
    assert taken(made, 2) == [("b", [95, 96])]
    made.doubt()
    made.add("b", [line(110)])
    assert (taken(made), made.waits_for) == ([], ["a", "b"])
    made.pass_by("a")
    made.add("b", [line(111)] * 2)
    assert (taken(made), made.waits_for) == ([("b", [97])], ["b"])


def test_what_was_cleared_is_forgotten():
    made = merge(a=[1], b=[])
    made.take(1)
    made.clear()

    assert (taken(made), made.waits_for, made.count) == ([], [], 0)


def test_lines_that_come_after_later_ones_of_other_parts_are_counted():
    made = merge(a=[100, 200], b=[])
    made.take(10)
    for part, times in {"a": [210, 90], "b": [150, 170, 205]}.items():
        made.add(part, [line(at) for at in times])
        made.pass_by(part)

    assert taken(made) == [("b", [150, 170, 205]), ("a", [210, 90])]
    assert (made.overtaken, made.overtaken_ms) == (2, 50), "and the 90 is late in its own part"


def test_a_line_waits_for_earlier_ones_of_parts_that_have_none():
    now_s = [100.0]
    made = Merge(lambda _: moment, wait_s=2.0, clock=lambda: now_s[0])

    def come(**parts: list[int]) -> None:
        for part, times in parts.items():
            made.add(part, [line(at) for at in times])

    def after(seconds: float) -> list[tuple[str, list[Any]]]:
        now_s[0] += seconds
        for part in "ab":
            made.pass_by(part)
        return taken(made)

    for part in "ab":
        made.open(part, None)
    come(a=[10, 20])
    assert after(1.0) == []
    come(a=[30], b=[15, 25])
    assert after(0.0) == [("a", [10]), ("b", [15]), ("a", [20]), ("b", [25])], "nothing earlier can come of either"
    assert after(1.5) == []
    come(b=[29, 40])
    assert after(0.0) == [("b", [29]), ("a", [30])]
    assert (after(1.9), after(0.1)) == ([], [("b", [40])])


Sent = list[tuple[int | None, int]]  # lines of a part: when they happened, and when they were sent


def given_in_pieces(
    histories: list[Sent], drawn: Random, *, is_begun_again: bool = True
) -> tuple[list[tuple[str, int]], Merge]:
    """All lines as they are given when fetches, limits and new starts are as it is drawn."""
    sent = {f"p/{part}": [at for _, at in lines] for part, lines in enumerate(histories)}
    lines = {f"p/{part}": [line(at, n) for n, (at, _) in enumerate(times)] for part, times in enumerate(histories)}
    offsets, fetched, found = dict.fromkeys(lines, 0), dict[str, int](), list[tuple[str, int]]()
    made = Merge(lambda _: moment)
    while len(found) < sum(map(len, lines.values())):
        if not fetched or (is_begun_again and drawn.random() < 0.05):
            made.clear()
            fetched = dict(offsets)
            for part in drawn.sample(sorted(lines), len(lines)):
                made.open(part, None)
        for part in fetched:
            end = fetched[part] + drawn.randrange(2 * AHEAD)
            made.add(part, lines[part][fetched[part] : end], sent[part][fetched[part] : end])
            fetched[part] = min(end, len(lines[part]))
            if fetched[part] == len(lines[part]):
                made.pass_by(part)
        for part, run in made.take(drawn.randrange(12)):
            found += [(part, one.number) for one in run]
            offsets[part] = run[-1].number + 1
        made.doubt()
    return found, made


@given(st.lists(st.lists(st.tuples(FEW, FEW), max_size=40).map(sorted), min_size=2, max_size=4), st.integers(0, 2**32))
def test_parts_in_order_of_time_give_that_order_however_they_are_fetched(histories, seed):
    found, made = given_in_pieces(histories, Random(seed))

    want = sorted((one, part, number) for part, lines in enumerate(histories) for number, one in enumerate(lines))
    assert found == [(f"p/{part}", number) for _, part, number in want]
    assert made.overtaken == 0


@given(
    st.lists(st.tuples(st.lists(FEW, max_size=40).map(sorted), st.integers(0, 40)), min_size=2, max_size=4),
    st.integers(0, 2**32),
)
def test_a_wrong_clock_goes_to_the_same_place_however_often_it_is_begun_again(parts, seed):
    histories = [[(at, 0) for at in (*times[:n], 9_999, *times[n:])] for times, n in parts]

    assert given_in_pieces(histories, Random(seed))[0] == given_in_pieces(histories, Random(0), is_begun_again=False)[0]


def test_what_is_sent_again_pulls_nothing_before_it_ahead():
    first = list(range(0, 400, 10))
    made = merge(a=first + first[20:], b=[at + 5 for at in first + first[20:]])
    order = [at for _, times in taken(made) for at in times]

    assert list(dict.fromkeys(order)) == list(range(0, 400, 5)), "the first of each come in order"


@given(st.lists(st.lists(st.tuples(FEW | st.none(), FEW), max_size=40), min_size=2, max_size=3), st.integers(0, 2**32))
def test_parts_in_disorder_keep_it_and_add_none_however_they_are_fetched(histories, seed):
    found, made = given_in_pieces(histories, Random(seed), is_begun_again=False)

    # each goes by the latest of its part up to it, as if late ones came when those before them did
    reached = {}
    for part, lines in enumerate(histories):
        due = list(zip(due_of([at for at, _ in lines]), (sent for _, sent in lines), strict=True))
        reached |= {(f"p/{part}", n): max(due[: n + 1]) for n in range(len(due))}
    assert found == sorted(reached, key=lambda one: (reached[one], *one))
    assert made.overtaken == 0


@given(st.lists(st.lists(st.tuples(FEW | st.none(), FEW), max_size=40), min_size=2, max_size=3), st.integers(0, 2**32))
def test_parts_in_disorder_keep_their_own_order_however_often_it_is_begun_again(histories, seed):
    found, _ = given_in_pieces(histories, Random(seed))

    for part, lines in enumerate(histories):
        assert [number for name, number in found if name == f"p/{part}"] == list(range(len(lines)))


def due_of(times: list[int | None]) -> list[int]:
    """By the definition: its own time, or that of the earliest behind it where most of them are earlier.

    Not so where most of those before it are later than that earliest one.
    """
    found = []
    for n, at in enumerate(times):
        behind = [other for other in times[n + 1 : n + 1 + AHEAD] if other is not None]
        earlier = [other for other in behind if at is not None and other < at]
        is_ahead = len(earlier) > max(1, len(behind) / 2)
        before = [other for other in times[max(n - AHEAD, 0) : n] if other is not None]
        later = [other for other in before if is_ahead and other > min(earlier)]
        is_ahead = is_ahead and not len(later) > max(1, len(before) / 2)
        found.append(min(earlier) if is_ahead else EARLIEST if at is None else at)
    return found
