"""The sample of approvals: which are drawn, and that nothing else of a decision changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from shroff.engine.exploration import SAMPLED
from shroff.errors import DefinitionError
from shroff.explain.explanation import explain
from shroff.language.values import in_share
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.replay.compare import verify_online
from shroff.streams.log import DecisionRow
from tests.support.linear import in_force, named, put, registry
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, NOW_MS, payment

SEED = "a seed that nobody guesses"
SCORE = "score: { review_at: 0.99 }"
RULE = "- { id: looks, on: payment, by: card, when: this.amount == 88, effect: review }\n"


def policy(**sample: str) -> str:
    """A policy with a sample of these keys."""
    inside = ", ".join(f"{name}: {value}" for name, value in {"share": "20%", "seed": SEED, **sample}.items())
    return f"payment:\n  {SCORE}\n  sample: {{ {inside} }}\n"


@pytest.fixture(name="load")
def _load(tmp_path: Path):
    models = registry(tmp_path / "models")
    model = put(models, "m-1", {"payment.amount": 1.0})
    files = {**FILES, "rules/large.yaml": RULE, "models/in_force.json": in_force(payment={"champion": named(model)})}

    def load(text: str) -> Definitions:
        return load_definitions({**files, "policy.yaml": text}, load_model=models.load).or_raise()

    return load


def decided(definitions: Definitions, at_once: int = 100) -> tuple[MemoryLog, list[DecisionRow]]:
    """A hundred payments, written so many at once: scores rise with amounts, those of 88.00 are reviewed."""
    log = MemoryLog()
    paid = [payment(at, at, amount=("88.00", "0.10", "2.00", "3.00")[at % 4]) for at in range(100)]
    writer = Writer(log, definitions, lambda: NOW_MS)
    for start in range(0, len(paid), at_once):
        writer.write(paid[start : start + at_once])
    return log, [row for rows in log.decisions.after() for row in rows]


def drawn(rows: Sequence[DecisionRow]) -> dict[str, float]:
    """The propensity of each drawn event."""
    documents = {row.id: msgspec.json.decode(row.document) for row in rows}
    found = {id_: document["exploration"] for id_, document in documents.items() if "exploration" in document}
    assert all((draw["explored"], draw["would_be"]) == (True, "approve") for draw in found.values())
    return {id_: draw["propensity"] for id_, draw in found.items()}


def test_a_share_of_approvals_is_drawn_by_seed_and_id_alone_and_uncertain_ones_by_theirs(load):
    log, rows = decided(load(policy(uncertain_share="60%", uncertain_from="0.6")))
    scores = {row.id: msgspec.json.decode(row.document)["score"] for row in rows if row.outcome == "approve"}
    shares = {id_: 0.6 if score >= 0.6 else 0.2 for id_, score in scores.items()}

    assert len(scores) == 75
    assert set(shares.values()) == {0.2, 0.6}
    assert drawn(rows) == {id_: share for id_, share in shares.items() if in_share(f"{SEED}\x00payment", share, id_)}
    assert {hit.seq for hits in log.hits.after() for hit in hits if hit.rule == SAMPLED} == {
        row.seq for row in rows if row.id in drawn(rows)
    }


def test_one_by_one_the_same_are_drawn_and_a_replay_finds_them_again(load, tmp_path: Path):
    text = policy(uncertain_share="60%", uncertain_from="0.6")
    log, rows = decided(load(text), at_once=1)

    assert [row.document for row in rows] == [row.document for row in decided(load(text))[1]]
    assert verify_online(log, load_model=registry(tmp_path / "models").load).mismatches == 0


def test_nothing_else_of_a_decision_changes(load):
    def bare(rows: Sequence[DecisionRow]) -> list[dict[str, object]]:
        told = [msgspec.json.decode(row.document) for row in rows]
        return [
            {name: notice[name] for name in notice if name not in {"exploration", "versions", "receipt"}}
            for notice in told
        ]

    with_sample, without = decided(load(policy()))[1], decided(load(f"payment: {{ {SCORE} }}\n"))[1]

    assert bare(with_sample) == bare(without)
    assert drawn(without) == {}
    assert 5 < len(drawn(with_sample)) < 30


def test_explain_says_that_it_was_drawn_and_no_answer_has_the_seed(load, tmp_path: Path):
    definitions = load(policy(share="99.5%"))
    log, rows = decided(definitions)
    row = next(row for row in rows if row.id in drawn(rows))
    explained = explain(log, row, load_model=registry(tmp_path / "models").load)

    assert explained.explanation.model is not None
    text = explained.explanation.model.policy.text
    assert text.endswith(" It was drawn for the sample of approvals, as 99.5 % of such approvals are.")
    assert SEED not in f"{explained.json()!r} {definitions.policies!r}"


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        ({"share": "0%"}, "a share of 0% draws nothing."),
        ({"uncertain_share": "5%"}, "uncertain_share, above 0%, and uncertain_from belong together."),
        (
            {"uncertain_share": "0%", "uncertain_from": "0.3"},
            "uncertain_share, above 0%, and uncertain_from belong together.",
        ),
        ({"uncertain_from": "0.3"}, "uncertain_share, above 0%, and uncertain_from belong together."),
        ({"uncertain_from": "3", "uncertain_share": "5%"}, "uncertain_from is a score from 0 to 1, not '3'."),
        ({"seed": "short"}, "seed has fewer than 16 characters."),
    ],
)
def test_a_sample_that_cannot_be_is_refused(load, sample: dict[str, str], says: str):
    with pytest.raises(DefinitionError) as caught:
        load(policy(**sample))

    assert says in [problem.message for problem in caught.value.problems]
