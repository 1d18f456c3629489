"""Models in shadow: no decision follows from them; what they score is had from the log, paired with the champion."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shroff.errors import StateError
from shroff.project.scoring import Scorer
from shroff.services import project as app
from shroff.training.shadow_scores import scores_of, tried_since
from tests.services.test_models_in_force import _bank, decide  # noqa: F401 (a fixture)

EVENTS = 40


def scores(bank: Path, *ids: str, after: int = 0) -> dict[str, dict[int, float]]:
    """The scores of models of the registry by place, after they were put in shadow."""
    project = app.open(bank)
    known = {definition.id: definition for definition in project.definitions.scoring["payment"].all}
    found: dict[str, dict[int, float]] = {id_: {} for id_ in ids}
    with project.log.reading() as log:
        for part in scores_of(log, project.definitions, "payment", [known[id_] for id_ in ids], after=after):
            for id_, values in part.by_model.items():
                found[id_] |= dict(zip(part.seqs.tolist(), values.tolist(), strict=True))
    return found


def recorded(bank: Path) -> list[tuple[int, str, str, object]]:
    with app.open(bank).log.reading() as log:
        rows = [row for rows in log.decisions.after() for row in rows]
    return [(row.seq, row.id, row.outcome, row.document) for row in rows]


def test_no_decision_follows_from_a_model_in_shadow(bank: Path):
    app.open(bank).models.promote("m-1")
    app.open(bank).models.shadow("m-2")
    without = shutil.copytree(bank, bank.parent / "without")
    app.open(without).models.shadow("m-2", stop=True)
    decide(bank, 1, EVENTS)
    decide(without, 1, EVENTS)

    assert recorded(bank) == recorded(without)


def test_a_shadow_scores_what_it_would_have_scored_in_force(bank: Path):
    other = shutil.copytree(bank, bank.parent / "other")
    app.open(bank).models.promote("m-1")
    app.open(bank).models.shadow("m-2")
    app.open(other).models.promote("m-2")
    theirs = {event["seq"]: event["score"] for event in decide(other, 1, EVENTS)}
    ours = {event["seq"]: event["score"] for event in decide(bank, 1, EVENTS)}

    assert scores(bank, "m-1", "m-2") == {"m-1": ours, "m-2": theirs}
    assert ours != theirs
    assert scores(bank, "m-2", after=30)["m-2"] == {seq: score for seq, score in theirs.items() if seq > 30}


def test_events_before_the_shadow_and_those_that_were_not_decided_are_scored_too(bank: Path):
    decide(bank, 1, 3)
    line = '{"payment": {"id": "p9", "at": "2026-03-01T13:00:00Z", "card": "c1", "amount": "1.00"}}\n'
    (bank.parent / "more.jsonl").write_text(line)
    app.open(bank).ingest(bank.parent / "more.jsonl", decide=False)
    app.open(bank).models.shadow("m-2")

    assert sorted(scores(bank, "m-2")["m-2"]) == [2, 3, 4, 5]


def test_the_log_knows_since_when_a_model_is_tried(bank: Path):
    decide(bank, 1)
    project = app.open(bank)
    project.models.promote("m-1")
    decide(bank, 2)
    project.models.shadow("m-2")
    decide(bank, 3)
    project.models.promote("m-2")

    with app.open(bank).log.reading() as log:
        assert [tried_since(log, "payment", id_) for id_ in ("m-1", "m-2", "m-3")] == [None, 5, None]
        assert log.last_seq() == 7


def test_a_model_that_cannot_be_loaded_scores_nothing(bank: Path):
    decide(bank, 1)
    project = app.open(bank)
    with project.log.reading() as log, pytest.raises(StateError, match="it is not there"):
        next(scores_of(log, project.definitions, "payment", [Scorer("m-9", "0" * 64, failure="it is not there")]))
