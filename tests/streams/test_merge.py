"""Lines of several parts, merged by event time."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.errors import StateError
from shroff.events.formats.lines import Line
from shroff.streams.merge import AHEAD, EARLIEST, Merge

FEW = st.integers(0, 30)


def line(at: int | None, number: int = 0) -> Line:
    return Line(number, b"", None if at is None else {"at": at})


def moment(read: Line) -> Any:
    return None if read.columns is None else read.columns["at"]


def merge(**parts: list[int | None]) -> Merge:
    """Parts that have nothing more outside."""
    made = Merge(lambda _: moment)
    for part, times in parts.items():
        made.open(part, None)
        made.add(part, [line(at) for at in times])
        made.pass_by(part)
    return made


def taken(made: Merge, limit: int = 1_000) -> list[tuple[str, list[Any]]]:
    return [(part, [moment(item) for item in run]) for part, run, _ in made.take(limit)]


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


def test_a_part_that_was_passed_by_is_waited_for_again_once_it_has_lines():
    made = Merge(lambda _: moment)
    for part in "ab":
        made.open(part, None)
    made.add("a", [line(at) for at in range(30)])
    made.pass_by("b")
    assert taken(made, 3) == [("a", [0, 1, 2])]
    made.add("b", [line(9)])

    assert (taken(made), made.waits_for) == ([], ["b"])


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


@pytest.mark.parametrize(
    "before",
    [
        [90, 110, 120, 130, 140, 150, 160, 170],  # the next ones were sent again, or are late
        [0] * 4 + [50] * 4,  # half of those before are no more than half: the 60 is ahead
        [0] * 3 + [None] * 2 + [50] * 3,
        [0] * 4 + [None] + [50] * 3,
        [None] * 7 + [50],
        [None] * 9,
        [],
    ],
)
def test_the_order_is_the_same_wherever_reading_is_begun_again(before):
    parts = {"a": [*before, 180, 60, *range(10, 40, 2), 61], "b": [*before, *range(5, 70, 4), 190]}
    whole = [(part, at) for part, times in taken(merge(**parts)) for at in times]

    for count in range(len(whole)):
        made, first, kept = merge(**parts), list[tuple[str, Any]](), dict[str, str]()
        for part, run, text in made.take(count):
            first += [(part, moment(item)) for item in run]
            kept[part] = text
        made.clear()
        for part, times in parts.items():
            made.open(part, None, kept.get(part, ""))
            made.add(part, [line(at) for at in times[sum(part == name for name, _ in first) :]])
            made.pass_by(part)

        assert first + [(part, at) for part, times in taken(made) for at in times] == whole


def test_what_is_to_be_known_is_the_same_of_a_part_alone():
    alone, beside = merge(a=[1, None, -3, *range(9), 7]), merge(a=[1, None, -3, *range(9), 7], b=[])

    for limit in (2, 1, 5, 9):
        assert [run[2] for run in alone.take(limit)] == [run[2] for run in beside.take(limit)]
    assert alone.take(1) == []


def test_what_was_kept_with_an_offset_and_is_none_is_told():
    with pytest.raises(StateError, match="'1,x' is not when the last messages of a/0 happened"):
        Merge(lambda _: moment).open("a/0", None, "1,x")


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
    made = Merge(lambda _: moment, wait_s=2.0, clock=lambda: now_s[0])  # by a clock of its own

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


def stepwise(steps: list[tuple[int | None, int]]) -> Sent:
    """Lines of a part, each so much after the one before it; None has no time, and a clock that is wrong passes."""
    now, found = 0, Sent()
    for step, sent in steps:
        at = None if step is None else now + step
        found.append((at, sent))
        now = now if at is None or step == WRONG else at
    return found


WRONG = 9_999
STEPS = st.sampled_from([0, 1, 1, 2, 2, 3, -2, -8, -12, WRONG, None])
DISORDER = st.lists(st.tuples(STEPS, FEW), min_size=10, max_size=40).map(stepwise)


def given_in_pieces(histories: list[Sent], drawn: Random) -> tuple[list[tuple[str, int]], Merge]:
    """All lines as they are given when fetches, limits and new starts are as it is drawn."""
    sent = {f"p/{part}": [at for _, at in lines] for part, lines in enumerate(histories)}
    lines = {f"p/{part}": [line(at, n) for n, (at, _) in enumerate(times)] for part, times in enumerate(histories)}
    offsets, fetched, found = dict.fromkeys(lines, (0, "")), dict[str, int](), list[tuple[str, int]]()
    made = Merge(lambda _: moment)
    begun_again, limit = drawn.choice(((0.05, 12), (1.0, 3)))
    while len(found) < sum(map(len, lines.values())):
        if not fetched or drawn.random() < begun_again:
            made.clear()
            fetched = {part: at for part, (at, _) in offsets.items()}
            for part in drawn.sample(sorted(lines), len(lines)):
                made.open(part, None, offsets[part][1])
        for part in fetched:
            end = fetched[part] + drawn.randrange(2 * AHEAD)
            made.add(part, lines[part][fetched[part] : end], sent[part][fetched[part] : end])
            fetched[part] = min(end, len(lines[part]))
            if fetched[part] == len(lines[part]):
                made.pass_by(part)
        for part, run, before in made.take(drawn.randrange(limit)):
            found += [(part, item.number) for item in run]
            offsets[part] = run[-1].number + 1, before
        made.doubt()
    return found, made


@given(st.lists(st.lists(st.tuples(FEW, FEW), max_size=40).map(sorted), min_size=2, max_size=4), st.integers(0, 2**32))
def test_parts_in_order_of_time_give_that_order_however_they_are_fetched(histories, seed):
    found, made = given_in_pieces(histories, Random(seed))

    want = sorted((time, part, number) for part, lines in enumerate(histories) for number, time in enumerate(lines))
    assert found == [(f"p/{part}", number) for _, part, number in want]
    assert made.overtaken == 0


def test_what_is_sent_again_pulls_nothing_before_it_ahead():
    first = list(range(0, 400, 10))
    made = merge(a=first + first[20:], b=[at + 5 for at in first + first[20:]])
    order = [at for _, times in taken(made) for at in times]

    assert list(dict.fromkeys(order)) == list(range(0, 400, 5)), "the first of each come in order"


@pytest.mark.slow
@given(st.lists(DISORDER, min_size=2, max_size=3), st.integers(0, 2**32))
def test_parts_in_disorder_keep_it_and_add_none_however_they_are_fetched(histories, seed):
    found, made = given_in_pieces(histories, Random(seed))

    # each goes by the latest of its part up to it, as if late ones came when those before them did
    reached = {}
    for part, lines in enumerate(histories):
        due = list(zip(due_of([at for at, _ in lines]), (sent for _, sent in lines), strict=True))
        reached |= {(f"p/{part}", n): max(due[: n + 1]) for n in range(len(due))}
    assert found == sorted(reached, key=lambda place: (reached[place], *place))
    assert made.overtaken == 0


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
