"""Letting a share of would-be declines through: who is, what a decision shows of it, and what nobody is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np
import pytest

from shroff.backtest.document import BacktestReport
from shroff.backtest.report import explorations, page
from shroff.backtest.run import JudgedPeriod, backtest
from shroff.engine.decision import Decision, DrawnDecision
from shroff.engine.exploration import LET_THROUGH, would_be_declines
from shroff.engine.receipts import DecidedBatch, DocumentWriter
from shroff.errors import DefinitionError, StorageError
from shroff.events.event import read_time
from shroff.events.intake import Submission
from shroff.explain.explanation import explain
from shroff.features.frames import Frame
from shroff.log.state.fold import fold
from shroff.log.state.snapshots import restore, save
from shroff.log.writer import Writer
from shroff.monitoring.doctor import look_at_exploration
from shroff.monitoring.doctor_rows import read_rows
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.policy import OUTCOMES
from shroff.replay import exports
from shroff.replay.compare import verify_online
from shroff.replay.decision_replay import replay
from shroff.runtime.values import replace
from shroff.streams.log import DecisionRow
from shroff.streams.snapshots import Snapshots
from shroff.worker.answers import answer_value
from tests.support.linear import in_force, named, put, registry
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.projects import FILES, NOW_MS, label, payment, submission

SEED = "a seed that nobody guesses"
EXPLORE = {"share": "100%", "at_most_a_day": "1000", "amount_at_most": "1000", "expires": "2027-12-31", "seed": SEED}
RULES = """
- { id: never, on: payment, by: card, when: this.amount == 66, effect: decline }
- { id: steps_up, on: payment, by: card, when: this.amount == 77, effect: challenge }
- { id: looks, on: payment, by: card, when: this.amount == 88, effect: review }
"""


def policy(decline_at: str | None = "0.50", **changes: str | None) -> str:
    """A policy that lets through, some of its keys changed or left out."""
    said = {name: value for name, value in {**EXPLORE, **changes}.items() if value is not None}
    inside = ", ".join(f"{name}: {value}" for name, value in said.items())
    cuts = "{ review_at: 0.2 }" if decline_at is None else f"{{ review_at: 0.2, decline_at: {decline_at} }}"
    return f"payment:\n  score: {cuts}\n  explore: {{ {inside} }}\n"


@pytest.fixture(name="files")
def _files(tmp_path: Path) -> dict[str, str]:
    """The small project with a model whose score rises with the amount: 0.75 at 1, towards 1."""
    model = put(registry(tmp_path / "models"), "m-1", {"payment.amount": 1.0})
    return FILES | {"rules/large.yaml": RULES, "models/in_force.json": in_force(payment={"champion": named(model)})}


@pytest.fixture(name="load")
def _load(files: dict[str, str], tmp_path: Path):
    models = registry(tmp_path / "models")

    def load(text: str) -> Definitions:
        return load_definitions({**files, "policy.yaml": text}, load_model=models.load).or_raise()

    return load


def decide(log: MemoryLog, definitions: Definitions, paid: Sequence[Submission]) -> list[dict[str, object]]:
    answers = Writer(log, definitions, lambda: NOW_MS).write(paid)
    return [msgspec.json.decode(answer.document) for answer in answers if answer.document]


def rows_of(log: MemoryLog) -> list[DecisionRow]:
    return [row for rows in log.decisions.after() for row in rows]


def outcomes(decided: Sequence[dict[str, object]]) -> list[object]:
    return [decision["outcome"] for decision in decided]


def many(count: int, **of: str) -> list[Submission]:
    return [payment(at, at, **of) for at in range(count)]


# ---- who


def test_what_the_score_declines_is_let_through_and_says_so(load):
    (decision,) = decide(MemoryLog(), load(policy()), [payment(1)])

    assert decision["outcome"] == "approve"
    assert decision["exploration"] == {"explored": True, "propensity": 1, "would_be": "decline"}


def test_without_explore_no_byte_of_a_decision_tells_of_it(load):
    plain = "payment:\n  score: { review_at: 0.2, decline_at: 0.50 }\n"
    log = MemoryLog()
    (decision,) = decide(log, load(plain), [payment(1)])

    assert decision["outcome"] == "decline"
    assert b"explor" not in rows_of(log)[0].document
    assert list(decision)[-1] == "receipt"


def test_who_is_let_through_depends_on_seed_and_id_alone(load):
    paid = many(40)
    half = load(policy(share="50%"))
    found = outcomes(decide(MemoryLog(), half, paid))
    again = outcomes(decide(MemoryLog(), half, paid[::-1]))
    other = outcomes(decide(MemoryLog(), load(policy(share="50%", seed="another that nobody guesses")), paid))

    assert 10 < found.count("approve") < 30
    assert again[::-1] == found
    assert other != found


def test_a_rules_decline_stands_and_what_rules_ask_besides_still_holds(load):
    paid = [payment(at, at, amount=amount) for at, amount in enumerate(["66.00", "77.00", "88.00", "5.00"])]

    assert outcomes(decide(MemoryLog(), load(policy()), paid)) == ["decline", "challenge", "review", "approve"]
    instead = outcomes(decide(MemoryLog(), load(policy(instead="challenge")), paid))
    assert instead == ["decline", "challenge", "review", "challenge"]


@pytest.mark.parametrize("amount, expected", [("9.99", "approve"), ("10.00", "approve"), ("10.01", "decline")])
def test_the_amount_limit_is_within(load, amount: str, expected: str):
    (decision,) = decide(MemoryLog(), load(policy(amount_at_most="10")), [payment(1, amount=amount)])

    assert decision["outcome"] == expected
    assert ("exploration" in decision) == (expected == "approve")


def test_the_amount_is_what_a_missed_fraud_costs_and_one_that_is_missing_is_not_small(load):
    costs = "  costs: { missed_fraud: payment.amount / 2 when payment.amount > 1, false_decline: 1, review: 1 }\n"
    paid = [payment(at, at, amount=amount) for at, amount in enumerate(["20.00", "20.02", "1.00"])]

    assert outcomes(decide(MemoryLog(), load(policy(amount_at_most="10") + costs), paid)) == [
        "approve",
        "decline",
        "decline",
    ]


def test_declines_that_no_draw_is_made_of_share_one_verdict(load, monkeypatch: pytest.MonkeyPatch):
    given: list[int] = []
    write_all = DocumentWriter.write_all

    def counted(self: DocumentWriter, frame: Frame, decided: DecidedBatch):
        given.append(len(decided.verdicts))
        return write_all(self, frame, decided)

    monkeypatch.setattr(DocumentWriter, "write_all", counted)
    paid = many(200, amount="20.00")

    assert outcomes(decide(MemoryLog(), load(policy(amount_at_most="10")), paid)) == ["decline"] * 200
    assert given == [3]  # below, between and from the thresholds on


def test_it_ends_with_its_last_day_by_event_time(load):
    #  the payment is of 2026-03-01, the machine's clock of later
    for day, expected in [("2026-02-28", "decline"), ("2026-03-01", "approve")]:
        (decision,) = decide(MemoryLog(), load(policy(expires=day)), [payment(1)])

        assert decision["outcome"] == expected


def test_no_more_than_the_cap_are_let_through_a_day_and_late_ones_count_on_theirs(load):
    #                                        |                late
    hours = ["01T22", "01T23", "02T00", "02T01", "01T23", "02T02"]
    expected = ["approve", "approve", "approve", "approve", "decline", "decline"]
    paid = [payment_at(number, f"2026-03-{hour}:30:00Z") for number, hour in enumerate(hours)]
    decided = decide(MemoryLog(), load(policy(at_most_a_day="2")), paid)

    assert outcomes(decided) == expected
    assert [decision["exploration"]["propensity"] for decision in decided] == [1, 1, 1, 1, 0, 0]


def payment_at(number: int, at: str) -> Submission:
    return submission("payment", number, {"id": f"p{number}", "at": at, "card": "c", "amount": "5.00"})


def test_the_days_count_goes_on_behind_a_restart_a_snapshot_and_a_change_of_the_policy(load, tmp_path: Path):
    log, snapshots = MemoryLog(MemoryStore()), Snapshots(tmp_path / "snapshots")
    three, five = load(policy(at_most_a_day="3")), load(policy(at_most_a_day="5"))
    decide(log, three, many(2))
    folded = fold(log, three)
    save(snapshots, log, folded)
    taken, seq, warnings = restore(snapshots, log, three)

    assert (seq, warnings) == (log.last_seq(), [])
    assert taken.engine.let_through.days == folded.engine.let_through.days != {}
    assert outcomes(decide(log, three, [payment(at, at) for at in (2, 3)])) == ["approve", "decline"]
    plain = load("payment: { score: { decline_at: 0.5 } }")
    assert outcomes(decide(log, plain, [payment(4, 4)])) == ["decline"]
    assert outcomes(decide(log, five, [payment(at, at) for at in (5, 6, 7)])) == ["approve", "approve", "decline"]


def test_a_snapshot_of_before_is_taken_up(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from shroff.log.state import snapshots as module

    class Head(msgspec.Struct, array_like=True):
        files: dict[str, str]
        versions: dict[str, str]
        watermark_ms: int | None
        standings: list[tuple[str, str, str, int]]

    log, snapshots = MemoryLog(MemoryStore()), Snapshots(tmp_path / "snapshots")
    definitions = load("payment: { score: { decline_at: 0.5 } }")
    decide(log, definitions, many(2))
    with monkeypatch.context() as patch:
        patch.setattr(
            module, "_Head", lambda files, versions, mark, standings, _: Head(files, versions, mark, standings)
        )
        save(snapshots, log, fold(log, definitions))
    taken, seq, warnings = restore(snapshots, log, definitions)

    assert (seq, warnings) == (log.last_seq(), [])
    assert taken.engine.let_through.days == {}


# ---- what is shown


@pytest.mark.slow
def test_a_replay_gives_the_same_bytes_and_verify_finds_one_that_was_let_through_by_hand(load, tmp_path: Path):
    store = MemoryStore()
    log = MemoryLog(store)
    models = registry(tmp_path / "models")
    decide(log, load(policy(share="50%")), many(20))
    rows = rows_of(log)

    assert all(replay(log, row.seq, models.load) == row for row in rows)
    assert verify_online(log, load_model=models.load).mismatches == 0
    store.hits = [hit for hit in store.hits if hit.rule != LET_THROUGH]
    assert verify_online(MemoryLog(store, read_only=True), load_model=models.load).mismatches > 5


def test_the_receipt_seals_what_the_draw_came_to(load):
    document = rows_of(_with(load(policy())))[0].document
    decision = msgspec.json.decode(document)

    assert document.endswith(b',"exploration":{"explored":true,"propensity":1,"would_be":"decline"}}')
    assert decision["receipt"] != msgspec.json.decode(rows_of(_with(load(policy(share="99%"))))[0].document)["receipt"]


def _with(definitions: Definitions) -> MemoryLog:
    log = MemoryLog()
    decide(log, definitions, [payment(1)])
    return log


def test_a_decision_as_a_value_is_its_document(load):
    for text in (policy(share="99%"), "payment: { score: { decline_at: 0.5 } }"):
        (answer,) = Writer(MemoryLog(), load(text), lambda: NOW_MS).write([payment(1)])
        found = answer_value(answer, 1)

        assert isinstance(found, Decision)
        assert isinstance(found, DrawnDecision) == (found.exploration is not None) == ("explore" in text)
        assert msgspec.json.encode(asdict(found)) == answer.document


def test_tables_of_decisions_have_it_in_a_late_column(load):
    log = MemoryLog()
    decide(log, load(policy(share="50%", amount_at_most="10")), [payment(1), payment(2, 1, amount="20.00")])
    (table,) = exports.tables(log, exports.kind_of("decisions"))

    assert table.column_names[-2] == "exploration"
    drawn, undrawn = table["exploration"].to_pylist()
    assert json.loads(drawn)["propensity"] == 0.5
    assert undrawn is None


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, "It was approved for exploration, as 100 % of such declines are: approve."),
        ({"share": "0.0001%"}, "It was drawn for exploration and not chosen."),
        ({"at_most_a_day": "1"}, "It was not explored: the daily limit was reached."),
    ],
)
def test_explain_says_what_the_draw_came_to(load, tmp_path: Path, changes: dict[str, str], words: str):
    log = MemoryLog()
    decide(log, load(policy(**changes)), many(2))
    explained = explain(log, rows_of(log)[-1], load_model=registry(tmp_path / "models").load)

    assert explained.explanation.model is not None
    policy_line = explained.explanation.model.policy
    assert policy_line.text.endswith(words)
    assert (policy_line.by_score, "Together: decline" in policy_line.text) == ("decline", True)
    assert "exploration" in json.loads(explained.json())


def test_the_seed_is_in_no_answer(load, tmp_path: Path):
    log = MemoryLog()
    definitions = load(policy(share="50%"))
    decided = decide(log, definitions, many(20))
    told = [explain(log, row, load_model=registry(tmp_path / "models").load).json() for row in rows_of(log)]
    found = [*map(repr, decided), *map(repr, told), repr(definitions.policies)]
    report = report_of(log, definitions)
    found += [repr(report.brief()), page(report)]
    found += [record.words for record in look_at_exploration(log, definitions, NOW_MS)]

    assert [text for text in found if SEED in text] == []


# ---- policy.yaml


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"share": None}, "explore lacks share."),
        ({"at_most_a_day": None, "expires": None}, "explore lacks at_most_a_day, expires."),
        ({"amount_at_most": None}, "explore lacks amount_at_most."),
        ({"seed": None}, "explore lacks seed."),
        ({"share": "0%"}, "a share of 0% draws nothing."),
        ({"share": "2"}, "share is a share such as 25%, not '2'."),
        ({"at_most_a_day": "0"}, "at_most_a_day is a whole number above 0 and at most"),
        ({"at_most_a_day": "2.5"}, "at_most_a_day is a whole number above 0 and at most"),
        ({"amount_at_most": "1.005"}, "amount_at_most has more than the 2 places of the project's money."),
        ({"amount_at_most": "-1"}, "amount_at_most is a number from 0 to"),
        ({"expires": "soon"}, "expires is a day such as 2027-12-31, not 'soon'."),
        ({"seed": "too short"}, "seed has fewer than 16 characters."),
        ({"instead": "decline"}, "instead is approve or challenge or review, not 'decline'."),
        ({"until": "2027-12-31"}, "explore has no key 'until'."),
    ],
)
def test_a_mistake_in_explore_is_named(load, changes: dict[str, str | None], words: str):
    with pytest.raises(DefinitionError) as caught:
        load(policy(**changes))

    messages = [problem.message for problem in caught.value.problems]
    assert any(message.startswith(words) for message in messages), messages
    assert not any(
        SEED in f"{problem.message}{problem.hint}" or "too short" in problem.message
        for problem in caught.value.problems
    )


def test_explore_needs_something_that_the_score_declines_and_an_amount(load, files: dict[str, str]):
    with pytest.raises(DefinitionError, match="there is no decline_at"):
        load(policy(decline_at=None))
    events = files["events.yaml"].replace("amount: money", "amount: real")
    without = {**files, "events.yaml": events, "features.yaml": "", "policy.yaml": policy()}
    said = policy() + "  costs: { missed_fraud: 50 }\n"

    assert any("payment has no money field" in problem.message for problem in load_definitions(without).problems)
    assert not any(
        "money field" in problem.message for problem in load_definitions({**without, "policy.yaml": said}).problems
    )
    undecided = {**files, "events.yaml": files["events.yaml"].replace("decide: true", "decide: false")}
    undecided |= {"policy.yaml": policy()}
    assert any("payment is not decided" in problem.message for problem in load_definitions(undecided).problems)


def test_another_seed_is_another_version_of_the_policy(load):
    versions = [load(policy(seed=seed)).versions for seed in (SEED, "another that nobody guesses")]

    assert versions[0].policy != versions[1].policy
    assert versions[0].definitions == versions[1].definitions


# ---- what they say and cost


def report_of(log: MemoryLog, definitions: Definitions, as_of: str = "2026-06-01T00:00:00Z") -> BacktestReport:
    return backtest(log, definitions, period=JudgedPeriod(read_time(as_of)))


def known(number: int, verdict: str) -> Submission:
    return label(100 + number, f"payment/p{number}", verdict, "chargeback", "2026-03-05T00:00:00Z")


def test_a_backtest_says_what_they_say_of_declines_and_what_they_cost(load):
    log, all_of_them = MemoryLog(), load(policy(instead="approve"))
    decide(log, all_of_them, many(10, amount="30.00"))
    decide(log, all_of_them, [known(0, "fraud"), known(1, "fraud"), known(2, "unclear"), known(3, "genuine")])
    (entry,) = report_of(log, all_of_them).brief()["exploration"]

    assert (entry["event"], entry["explored"], entry["known"]) == ("payment", 10, 9)
    assert (entry["frauds"], entry["unclear"]) == (2, 1)
    assert (entry["precision"], entry["declines"], entry["frauds_declined"]) == (2 / 9, 9, 2)
    assert 0 < entry["low"] < 2 / 9 < entry["high"] < 1
    assert entry["cost"] == "60.00"
    report = report_of(log, all_of_them)
    (said,) = explorations(report)
    assert said == (
        "payment: 10 events that the score would have declined were explored (approved); 9 have labels by now, "
        "2 are frauds. So about "
        "22.2 % of such declines are right (95 % confidence interval "
        f"{100 * entry['low']:.1f} to {100 * entry['high']:.1f} %): "
        "2 frauds of 9. Approving them has cost 60.00 EUR by the labels so far."
    )
    assert "2 frauds of 9" in page(report)


def test_young_ones_say_nothing_yet_and_cost_what_is_known(load):
    log, all_of_them = MemoryLog(), load(policy())
    decide(log, all_of_them, many(4, amount="30.00"))
    decide(log, all_of_them, [known(0, "fraud")])
    (entry,) = report_of(log, all_of_them, "2026-03-06T00:00:00Z").brief()["exploration"]

    assert (entry["explored"], entry["immature"], entry["known"], entry["precision"]) == (4, 4, 0, None)
    assert entry["cost"] == "30.00"


def test_a_fraud_that_was_reviewed_first_costs_nothing(load):
    log, looked_at = MemoryLog(), load(policy(instead="review"))
    decide(log, looked_at, many(4))
    decide(log, looked_at, [known(0, "fraud")])
    (entry,) = report_of(log, looked_at).brief()["exploration"]

    assert (entry["reviewed"], entry["frauds"], entry["cost"]) == (4, 1, "0.00")


def test_without_any_a_backtest_says_nothing_of_it(load):
    log = MemoryLog()
    plain = load("payment: { score: { decline_at: 0.5 } }")
    decide(log, plain, many(3))

    report = report_of(log, plain)
    assert report.brief()["exploration"] == []
    assert "let through" not in page(report)


@pytest.mark.slow
def test_each_stands_for_as_many_as_its_own_share_says(load):
    log = MemoryLog()
    rare, often = load(policy(share="10%")), load(policy(share="100%"))
    paid = many(200)
    decide(log, rare, paid[:150])
    decide(log, often, paid[150:])
    decide(log, often, [known(number, "fraud") for number in range(150, 200)])
    (entry,) = report_of(log, often).brief()["exploration"]

    first = entry["explored"] - 50
    assert 5 < first < 30
    assert entry["declines"] == 10 * first + 50
    assert entry["precision"] == 50 / (10 * first + 50)


def test_a_decision_that_lost_its_propensity_is_damage(load):
    store = MemoryStore()
    log = MemoryLog(store)
    definitions = load(policy())
    decide(log, definitions, many(1))
    store.decisions = {
        place: replace(row, document=row.document.replace(b'"propensity":1', b'"propensity":0'))
        for place, row in store.decisions.items()
    }

    with pytest.raises(StorageError, match="was explored and has no propensity"):
        report_of(MemoryLog(store, read_only=True), definitions)


def test_doctor_counts_them_and_says_when_it_ends(load):
    log, two = MemoryLog(), load(policy(at_most_a_day="2"))
    decide(log, two, many(4))
    (found,) = look_at_exploration(log, two, read_time("2026-03-02T00:00:00Z"))
    (ended,) = look_at_exploration(log, two, read_time("2028-01-01T00:00:00Z"))

    assert found.state == "ok"
    assert ("2 of the score's declines explored (approved) on 1 day, at most 2 a day, reached on 1 day") in found.words
    assert ended.state == "note"
    assert ended.words.endswith("it ended on 2027-12-31")
    assert list(look_at_exploration(log, load("payment: { score: { decline_at: 0.5 } }"), 0)) == []
    assert read_rows(log, seed=1).damage == ""  # those decisions have a part that others lack


def test_only_events_that_the_score_alone_declines_are_drawn_for():
    approve, review, decline = (OUTCOMES.index(name) for name in ("approve", "review", "decline"))
    outcomes = np.array([decline, decline, decline, decline, review], np.int8)
    by_rules = np.array([approve, review, decline, approve, approve], np.int8)
    may_be = np.array([True, True, True, False, True])

    assert would_be_declines(outcomes, by_rules, may_be).tolist() == [0, 1]
