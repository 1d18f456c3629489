"""The queue of scores: one request that fails harms no other, and a full queue turns away."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import nullcontext
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from shroff.errors import StorageError
from shroff.features.online import trial, undo_kernel
from shroff.log.prepared import DECIDED, DUPLICATE, Answer
from shroff.worker import writer_tasks
from shroff.worker.request_queue import PendingRequest, TurnedAwayError
from shroff.worker.writer_tasks import AT_ONCE, ScoreQueue
from tests.support.patience import PATIENCE_S, until


class Scores:
    """A queue over a writer that answers each event by its name, or raises what is named after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **errors: Exception) -> None:
        monkeypatch.setattr(writer_tasks, "is_ready_to_foresee", lambda: True)
        self.errors, self.answered, self.batches = errors, list[PendingRequest](), list[list[str]]()
        self.beside, self.kinds = list[object](), dict[str, str]()
        self.said, self.wakes = list[str](), 0
        self.queue = ScoreQueue(
            self.answered.extend, self._wake, self.said.append, nullcontext, waiting_max=100, age_s_max=60.0
        )
        self.queue.line.open(self)

    def _wake(self) -> None:
        self.wakes += 1

    def foresee(self, names: list[str], beside: object = None) -> list[Answer]:
        self.batches.append(names)
        self.beside.append(beside)
        for name in names:
            if name in self.errors:
                raise self.errors[name]
        return [Answer(self.kinds.get(name, DECIDED), id=name) for name in names]

    def put(self, *names: Any) -> PendingRequest:
        request = PendingRequest(names, self, lambda: None)
        self.queue.put(request)
        return request

    def attend(self) -> None:
        writer: Any = self
        self.queue.attend(writer, writer)


def test_all_that_wait_are_answered_at_one_place(monkeypatch: pytest.MonkeyPatch):
    scores = Scores(monkeypatch)
    requests = [scores.put("a"), scores.put("b", "c")]
    scores.attend()

    assert scores.batches == [["a", "b", "c"]]
    assert [[answer.id for answer in request.answers] for request in requests] == [["a"], ["b", "c"]]


def test_an_event_that_cannot_be_scored_fails_its_own_request(monkeypatch: pytest.MonkeyPatch):
    scores = Scores(monkeypatch, bad=ValueError("a mistake"), away=StorageError("the log is away"))
    good, bad, away = scores.put("good"), scores.put("x", "bad"), scores.put("away")
    scores.attend()

    assert [answer.id for answer in good.answers] == ["good"]
    assert "internal error" in bad.failure
    assert away.failure == "the log is away"
    assert len(scores.said) == 1
    assert scores.queue.line.waiting == 0


def test_many_are_answered_by_and_by_so_that_events_wait_for_few(monkeypatch: pytest.MonkeyPatch):
    scores = Scores(monkeypatch)
    for number in range(AT_ONCE + 1):
        scores.put(f"e{number}")
    wakes = scores.wakes
    scores.attend()

    assert scores.queue.line.waiting == 1
    assert scores.wakes == wakes + 1


def test_a_full_queue_turns_away(monkeypatch: pytest.MonkeyPatch):
    scores = Scores(monkeypatch)
    scores.put(*map(str, range(100)))

    with pytest.raises(TurnedAwayError) as turned_away:
        scores.put("one more")
    assert turned_away.value.is_overload


def test_code_that_was_at_hand_is_looked_for_no_more(monkeypatch: pytest.MonkeyPatch):
    looks: list[str] = []

    class Kernel:
        path = None

        @property
        def is_at_hand(self) -> bool:
            looks.append("look")
            return True

    monkeypatch.setattr(trial, "_seen_ready", Event())
    monkeypatch.setattr(undo_kernel, "KERNELS", (Kernel(),))

    assert [trial.is_ready() for _ in range(3)] == [True] * 3
    assert looks == ["look"]


def test_code_that_no_folder_keeps_is_not_compiled_by_another_process(monkeypatch: pytest.MonkeyPatch):
    kernel = SimpleNamespace(path=None, is_at_hand=False)
    monkeypatch.setattr(trial, "_seen_ready", Event())
    monkeypatch.setattr(trial, "_compilers", [])
    monkeypatch.setattr(trial, "_compile", lambda: None)
    monkeypatch.setattr(undo_kernel, "KERNELS", (kernel,))

    assert trial.is_ready()
    assert trial._compilers == []


def test_scores_that_come_while_a_batch_is_committed_are_answered_at_once(monkeypatch: pytest.MonkeyPatch):
    scores, flushed = Scores(monkeypatch), Future[None]()
    beside: Any = ("reader", "batch")
    writer: Any = scores
    thread = Thread(target=scores.queue.attend_beside, args=(writer, beside, flushed))
    thread.start()
    early = scores.put("early")
    until(lambda: len(early.answers) == 1)
    flushed.set_result(None)
    thread.join(PATIENCE_S)
    scores.put("late")

    assert not thread.is_alive()
    assert scores.batches == [["early"]]
    assert scores.beside == [beside]


@pytest.mark.parametrize("kind", [DUPLICATE, "an error"])
def test_an_answer_about_the_batch_itself_waits_until_it_is_durable(kind: str, monkeypatch: pytest.MonkeyPatch):
    scores = Scores(monkeypatch)
    scores.errors = {"again": ValueError("a mistake")} if kind != DUPLICATE else {}
    scores.kinds = {"again": DUPLICATE}
    again = scores.put("again")
    writer: Any = scores
    beside: Any = ("reader", "batch")
    scores.queue.attend_beside(writer, beside, Future())

    assert again.answers == []
    assert not again.failure
    assert scores.queue.line.waiting == 1


def test_scores_are_wanted_while_some_wait_and_a_while_longer(monkeypatch: pytest.MonkeyPatch):
    scores = Scores(monkeypatch)
    before = scores.queue.are_wanted
    scores.put("one")
    scores.attend()
    soon = scores.queue.are_wanted
    monkeypatch.setattr(writer_tasks, "WANTED_S", 0.0)

    assert [before, soon, scores.queue.are_wanted] == [False, True, False]
