"""SIGKILL while a share of would-be declines is let through: each day's count is what it was, and the bytes too."""

from __future__ import annotations

import random
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import msgspec
import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.engine.exploration import LET_THROUGH, LetThrough
from shroff.log.state import snapshots
from shroff.models.registry import Registry
from shroff.services import adapter_factory
from shroff.services import project as app
from shroff.worker import ingest
from tests.support.effort import times
from tests.support.kill import KillSwitch
from tests.support.linear import in_force, named
from tests.support.trained import train

from .harness import BATCH_SIZE, TRIED_STEPS, Contents, contents, in_a_process, make_project, write_events

EVENTS = 1_200
CAP = 3
KILLS = times(2, 4) * len(TRIED_STEPS)
POLICY = f"""
payment:
  score: {{ review_at: 0.4, decline_at: 0.5 }}
  explore:
    share: 30%
    at_most_a_day: {CAP}
    amount_at_most: 100000
    expires: 2030-01-01
    seed: nobody guesses this one
  sample: {{ share: 10%, seed: nobody guesses this either }}
"""


def exploring(folder: Path) -> Path:
    """A payments project whose model declines much, and whose policy lets some of that through."""
    project = make_project(folder)
    (project / "policy.yaml").write_text(POLICY, encoding="utf-8")
    stored = train(Registry(project / "models"), "m-1", ["payment.amount", "card.payments_1h"], seed=1)
    named_so = in_force(payment={"champion": named(stored)})
    (project / "models" / "in_force.json").write_text(named_so, encoding="utf-8")
    return project


def ingest_and_save(project: Path, events: Path, switch: KillSwitch | None = None) -> int:
    """Ingest in a forked process that saves state at its end; gives the signal that ended it, or 0."""

    def whole() -> None:
        options = {} if switch is None else {"on_step": switch}
        adapter_factory.load_entry = lambda name: partial(SqliteLog, **options)
        snapshots.EVERY = 0
        ingest.ingest.__kwdefaults__["batch_size"] = BATCH_SIZE
        app.open(project).ingest([events])

    return in_a_process(whole)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file of events in two parts of the same name, so that state is saved and taken up between them."""
    folder = tmp_path_factory.mktemp("input")
    lines = write_events(folder / "whole.jsonl", EVENTS, seed=5).read_bytes().splitlines(keepends=True)
    found = []
    for number, part in enumerate((lines[: len(lines) // 2], lines[len(lines) // 2 :])):
        found.append(folder / str(number) / "events.jsonl")
        found[-1].parent.mkdir()
        found[-1].write_bytes(b"".join(part))
    return found


@pytest.fixture(scope="module")
def undisturbed(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Contents:
    project = exploring(tmp_path_factory.mktemp("undisturbed") / "bank")
    assert [ingest_and_save(project, part) for part in parts] == [0, 0]
    found = contents(project)

    days = let_through(project)
    assert max(days.values()) == CAP, "days should be full"
    assert sum(days.values()) > 20
    assert app.open(project).verify().mismatches == 0
    return found


def let_through(project: Path) -> Counter[str]:
    """How many were let through on each day, by what the log says of their events."""
    with app.open(project).log.reading() as log:
        places = {hit.seq for hits in log.hits.after() for hit in hits if hit.rule == LET_THROUGH}
        records = (record for records in log.read() for record in records if record.seq in places)
        return Counter(msgspec.json.decode(record.body)["paid_at"][:10] for record in records)


@pytest.mark.slow
def test_kills_at_every_step_let_the_same_events_through(parts: list[Path], undisturbed: Contents, tmp_path: Path):
    project = exploring(tmp_path / "bank")
    counts, kills = random.Random(90), 0
    for part in parts:
        for number in range(KILLS // 2):
            switch = KillSwitch(TRIED_STEPS[number % len(TRIED_STEPS)], counts.randrange(1, 4))
            kills += ingest_and_save(project, part, switch) == signal.SIGKILL
        assert ingest_and_save(project, part) == 0

    assert kills > KILLS // 2
    assert contents(project) == undisturbed
    assert max(let_through(project).values()) == CAP


@pytest.mark.slow
def test_the_harness_sees_a_count_that_a_restart_forgets(
    parts: list[Path], undisturbed: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = exploring(tmp_path / "bank")
    monkeypatch.setattr(snapshots, "LetThrough", lambda _days: LetThrough())
    assert [ingest_and_save(project, part) for part in parts] == [0, 0]

    assert contents(project) != undisturbed
