"""The line of posts: its order, its bounds, and what is told to whom."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from shroff.events.intake import Submission
from shroff.log.writer import Answer
from shroff.runtime.values import replace
from shroff.worker import request_queue
from shroff.worker.request_queue import PendingRequest, RequestQueue, TurnedAwayError

READER = object()


def submissions(*ids: str) -> list[Submission]:
    return [Submission("http", "me", bytes, id_) for id_ in ids]


def answers(count: int) -> list[Answer]:
    return [Answer("taken", id=str(number)) for number in range(count)]


class Line:
    """A line of posts whose answers are collected."""

    def __init__(self, **limits) -> None:
        self.told: list[PendingRequest] = []
        self.queue = RequestQueue(self.told.extend, **limits)
        self.queue.open(READER)

    def put(self, *ids: str) -> PendingRequest:
        post = PendingRequest(submissions(*ids), READER, lambda: None)
        self.queue.put(post)
        return post


def ids(parts) -> list[str]:
    return [submission.type for post, start, stop in parts for submission in post.submissions[start:stop]]


def test_posts_are_taken_in_their_order_and_all_that_wait_at_once():
    line = Line()
    line.put("a", "b")
    line.put("c")

    assert ids(line.queue.take(10, 0.0)) == ["a", "b", "c"]


def test_a_long_post_is_taken_in_parts_and_answered_once():
    line = Line()
    post = line.put("a", "b", "c", "d", "e")
    line.put("f")

    first = line.queue.take(3, 0.0)
    line.queue.answer(first, answers(3))

    assert ids(first) == ["a", "b", "c"]
    assert line.told == []

    second = line.queue.take(3, 0.0)
    line.queue.answer(second, answers(3))

    assert ids(second) == ["d", "e", "f"]
    assert [len(notice.answers) for notice in line.told] == [5, 1]
    assert line.told[0] is post
    assert line.queue.waiting == 0


def test_few_of_long_posts_are_taken_at_a_time_and_short_ones_between(monkeypatch):
    monkeypatch.setattr(request_queue, "LONG", 3)
    monkeypatch.setattr(request_queue, "LONG_AT_ONCE", 2)
    monkeypatch.setattr(request_queue, "LONG_BESIDE", 1)
    line = Line(waiting_max=5)
    long = line.put("a", "b", "c", "d", "e")
    with pytest.raises(TurnedAwayError):
        line.put("v", "w", "x", "y")
    short = line.put("f", "g")

    found = []
    while parts := line.queue.take(10, 0.0):
        found.append(ids(parts))
        line.queue.answer(parts, answers(len(found[-1])))

    assert found == [["a", "f", "g"], ["b", "c"], ["d", "e"]]
    assert line.told == [short, long]
    assert (len(long.answers), line.queue.waiting) == (5, 0)


def test_more_of_a_long_post_is_taken_where_it_was_refused_when_it_was_read(monkeypatch):
    monkeypatch.setattr(request_queue, "LONG", 3)
    monkeypatch.setattr(request_queue, "LONG_AT_ONCE", 2)
    monkeypatch.setattr(request_queue, "REFUSED", 4)
    line = Line()
    refused = [replace(submission, refusal="no") for submission in submissions(*"abcdefghij")]
    line.queue.put(PendingRequest([*refused, *submissions("k", "l", "m")], READER, lambda: None))

    found = []
    while parts := line.queue.take(100, 0.0):
        found.append("".join(ids(parts)))
        line.queue.answer(parts, answers(len(found[-1])))

    assert found == ["abcdefgh", "ijkl", "m"]


def test_short_posts_are_not_turned_away_for_a_long_one_that_has_waited_for_long(monkeypatch):
    monkeypatch.setattr(request_queue, "LONG", 1)
    line = Line(age_s_max=0.0)
    long = line.put("a", "b")
    long.arrived_s -= 1
    line.queue.take(1, 0.0)
    with pytest.raises(TurnedAwayError):
        line.put("c", "d")
    line.put("e")

    assert line.queue.waiting == 3


def test_what_was_taken_and_not_answered_is_taken_again():
    line = Line()
    line.put("a")
    line.queue.take(10, 0.0)
    line.put("b")

    assert ids(line.queue.take(10, 0.0)) == ["a", "b"]


def test_more_than_may_wait_is_turned_away_and_later_taken():
    line = Line(waiting_max=3)
    line.put("a", "b", "c")

    with pytest.raises(TurnedAwayError) as turned_away:
        line.put("d")

    assert turned_away.value.is_overload
    assert line.queue.turned_away == 1

    line.queue.answer(line.queue.take(10, 0.0), answers(3))

    assert line.put("d") in [post for post, _, _ in line.queue.take(10, 0.0)]


def test_a_post_that_is_longer_than_the_line_is_taken_when_nothing_waits():
    line = Line(waiting_max=3)
    line.put("a", "b", "c", "d", "e")

    assert len(ids(line.queue.take(10, 0.0))) == 5


def test_a_post_is_turned_away_where_the_first_has_waited_for_long():
    line = Line(age_s_max=0.0)
    line.put("a")
    line.queue.take(10, 0.0)

    with pytest.raises(TurnedAwayError):
        line.put("b")


def test_a_closed_line_turns_away_and_says_why():
    line = Line()
    line.put("a")
    line.queue.close("another one leads")

    with pytest.raises(TurnedAwayError, match="another one leads") as turned_away:
        line.put("b")

    assert not turned_away.value.is_overload
    assert ids(line.queue.take(10, 0.0)) == ["a"]


def test_a_pause_is_waited_for_and_a_long_one_turns_away(monkeypatch: pytest.MonkeyPatch):
    now_s = 1_000.0
    monkeypatch.setattr(request_queue, "time", SimpleNamespace(monotonic=lambda: now_s))
    line = Line(age_s_max=0.05)
    line.queue.pause("begun again")
    line.put("a")
    now_s += 0.1

    with pytest.raises(TurnedAwayError, match="begun again"):
        line.put("b")

    line.queue.open(READER)

    assert ids(line.queue.take(10, 0.0)) == ["a"]


def test_what_was_read_by_other_types_is_answered_as_failed():
    line = Line()
    post = line.put("a")
    line.queue.close("begun again")
    line.queue.open(object())

    assert line.told == [post]
    assert post.failure
    assert line.queue.take(10, 0.0) == []
    assert line.queue.waiting == 0


def test_a_wait_ends_when_it_is_woken():
    line = Line()
    line.queue.wake()

    assert line.queue.take(10, 60.0) == []


def test_what_is_in_line_at_the_end_is_answered_and_what_comes_later_turned_away():
    line = Line()
    post = line.put("a", "b")

    line.queue.end("the service is stopping")

    assert line.told == [post]
    assert post.failure == "the service is stopping; send it again with the same ids"
    assert line.queue.waiting == 0
    with pytest.raises(TurnedAwayError, match="is stopping"):
        line.put("c")
