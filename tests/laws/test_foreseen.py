"""The law of scores: a score is the answer that a decision would have at the same place, and nothing moves for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from random import Random
from typing import Any

import pytest
from hypothesis import given

from shroff.events.event import Event
from shroff.events.intake import Submission
from shroff.events.labels import LogEvent
from shroff.features.frames import Codes
from shroff.features.online import link_state, scan_state, undo_kernel
from shroff.features.online.group_state import GroupState
from shroff.features.online.link_state import LinkState
from shroff.features.online.scan_state import ScanState
from shroff.log.writer import Writer
from shroff.models.registry import Registry
from shroff.project.definitions import Definitions
from shroff.runtime.values import replace
from tests.laws.fallback import without_programs
from tests.laws.projects import SEEDS, histories, history_of, project, some_cases, some_texts, texts
from tests.laws.test_engines import NOW_MS, QUICK, Made, Texts, everything, submission
from tests.laws.test_letting_through import Exploring
from tests.laws.test_scored_fold import LAW, MADE_OF, Seeds, _models  # noqa: F401 - the fixture `models`
from tests.support.log_memory import MemoryLog, MemoryStore

REFUSED = "the amount is no number"


def state_of(writer: Writer) -> list[bytes]:
    """All state of an engine, byte by byte, and the counts of its draws."""
    engine = writer.state.engine
    return [*map(bytes, engine.online.state()), repr(engine.let_through.days).encode()]


def asked_of(random: Random, history: Sequence[LogEvent], at: int) -> list[Submission]:
    """Events to be scored at a place: of other times and with known ids among them, new ones, and refused ones."""
    events = [event for event in history if isinstance(event, Event)]
    found = [submission(event) for event in random.sample(events, 3)]
    new = random.choice(events)
    fields = [f"new{at}", new.time_ms, *new.values[2:]]
    found.append(submission(Event(new.type, f"new{at}", new.time_ms, tuple(fields))))
    found.append(replace(found[-1], event=None, refused=found[-1].event, refusal=REFUSED))
    return found


def differences(definitions: Definitions, history: Sequence[LogEvent], random: Random) -> list[str]:
    """Compare a log with scores between its events with one without them."""
    logs = [MemoryLog(MemoryStore()) for _ in range(2)]
    scored, plain = (Writer(log, definitions, lambda: NOW_MS) for log in logs)
    found: list[str] = []
    for at, event in enumerate(history):
        sent = submission(event)
        asked = [sent] if isinstance(event, Event) else []
        answers = scored.foresee(asked + asked_of(random, history, at))
        if state_of(scored) != state_of(plain):
            found.append(f"state at {at}")
        (taken,) = plain.write([sent])
        found += differences_beside(scored, logs[0], sent, asked_of(random, history, at))
        if asked and answers[0] != taken:
            found.append(f"score of event {at}: {answers[0]}, and its answer: {taken}")
    if everything(logs[0]) != everything(logs[1]):
        found.append("logs")
    return found


def differences_beside(writer: Writer, log: MemoryLog, sent: Submission, asked: Sequence[Submission]) -> list[str]:
    """Commit an event, and compare scores while it is committed with scores behind the commit."""
    prepared = writer.prepare([sent])
    beside = writer.foresee(asked, (log, prepared))
    writer.commit(prepared)
    behind = writer.foresee(asked)
    return [f"score beside a commit: {one}, and {two}" for one, two in zip(beside, behind, strict=True) if one != two]


@QUICK
@given(found=texts(), made=histories())
def test_a_score_is_the_answer_at_its_place_and_moves_nothing(found: Texts, made: Made):
    assert differences(project(*found), history_of(*made), Random(made[0])) == []


@LAW
@given(features=MADE_OF, rules=MADE_OF, seed=SEEDS, made=histories())
def test_scores_of_models_with_exploration_are_those_of_decisions(
    models: Registry, features: Seeds, rules: Seeds, seed: int, made: Made
):
    definitions = Exploring(models, features, rules).version(seed)

    assert differences(definitions, history_of(*made), Random(seed)) == []


def keeps_all(*_arguments: object) -> None:
    """Undo nothing."""


def forgets_all(_heap: object, journal: Any, first: int) -> None:
    """Empty the journal and undo nothing."""
    journal[undo_kernel.NEXT] = first


def clears_in_a_trial(self: GroupState, key: int) -> None:
    """Empty the histories of a key at a hit of a trial."""
    if self.history is not None:
        self.history.clear(key)


@pytest.mark.slow
@pytest.mark.parametrize(
    "owner, name, replacement",
    [
        (undo_kernel, "undo", forgets_all),
        (Codes, "end_trial", keeps_all),
        (ScanState, "take_back", keeps_all),
        (LinkState, "take_back", keeps_all),
        (GroupState, "clear", clears_in_a_trial),
    ],
)
def test_the_law_catches_what_is_not_undone(owner: Any, name: str, replacement: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(owner, name, replacement)
    is_in_python = owner in {ScanState, LinkState}

    with without_programs() if is_in_python else nullcontext():
        for random, history in some_cases(60):
            if differences(project(*some_texts(random)), history[:25], random):
                return
    pytest.fail("no generated case sees it")


@pytest.mark.slow
def test_a_score_that_fails_moves_nothing_either(monkeypatch: pytest.MonkeyPatch):
    failed = 0

    def fails(*_arguments: object) -> None:
        raise ArithmeticError("a mistake of this program")

    for random, history in some_cases(24):
        with without_programs():
            writer = Writer(MemoryLog(MemoryStore()), project(*some_texts(random)), lambda: NOW_MS)
            writer.write([submission(event) for event in history])
            before = state_of(writer)
            newest = max((event for event in history if event.type == "payment"), key=lambda event: event.time_ms)
            new = Event("payment", "new", newest.time_ms, ("new", *newest.values[1:]))
            for owner in (scan_state, link_state):
                monkeypatch.setattr(owner, "evaluate", fails)
            try:
                writer.foresee([submission(new)])
            except ArithmeticError:
                failed += 1
            monkeypatch.undo()

            assert state_of(writer) == before

    assert failed > 0
