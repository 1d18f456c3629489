"""An experiment: keys for which a rule takes effect cost less or more than the others, by plain arithmetic."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from statistics import mean, variance

import msgspec
import pytest

from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.language.values import DAY_MS, in_share
from shroff.models.evaluation import exploration
from shroff.monitoring.live_metrics import Pulse
from shroff.people.store import AuditFilter
from shroff.project.definitions import load_definitions
from shroff.runtime.values import replace
from shroff.services.approvals.agreements import WaitsError
from shroff.services.approvals.operations import AnswerApproval, ShowApprovals
from shroff.services.disputes.evidence_pack import evidence_pack
from shroff.services.disputes.prior_payments import PriorEvidence
from shroff.services.experiments.operations import EndExperiment, NoExperimentError, ShowExperiment
from shroff.services.results.operations import ShowResults
from shroff.services.rules.files import ChangedMeanwhileError, NoRuleError
from shroff.services.rules.operations import ShowRule, ShowRules
from shroff.services.thresholds.cutoffs import APPLY
from tests.support.telling import FILES, NOW_MS, Bank, payment

RULES = """
- { id: large, on: payment, by: card, when: this.amount > 100, effect: EFFECT, rollout: 40% }
- { id: quiet, on: payment, by: card, when: this.amount > 1000, effect: review }
"""
POLICY = "payment: { costs: { false_decline: 15, review: 4 } }\n"
CARDS = 30
NO_EVIDENCE = PriorEvidence(eligible=False, why="there is no earlier payment")
LATE_DAYS = 10  # after which labels are there


def bank_of(folder, effect: str) -> Bank:
    """Two or three payments of each card that hit the rule, long ago and one today; every fourth card is a fraud."""
    files = {"rules/large.yaml": RULES.replace("EFFECT", effect), "policy.yaml": POLICY, "notices/customer.yaml": None}
    bank = Bank(folder, files)
    old = [
        payment(f"p-{card}-{number}", f"{150 + card}.00", card=f"c-{card}", at=NOW_MS - 90 * DAY_MS + card)
        for card in range(CARDS)
        for number in range(2 + card % 2)
    ]
    bank.pay(*old, payment("small", "5.00", card="c-1"), payment("young", "500.00", card="c-2"))
    for card in range(0, CARDS, 4):
        known = {"known_at": time_text(NOW_MS - (90 - LATE_DAYS) * DAY_MS), "source": "chargeback"}
        bank.project.label(f"payment/p-{card}-0", "fraud", **known)
    return bank


def plain(effect: str) -> tuple[dict[bool, list[Decimal]], Counter[bool]]:
    """What each card costs, by whether the rule takes effect for it; and the events."""
    costs: dict[bool, list[Decimal]] = {True: [], False: []}
    events = Counter[bool]()
    frauds = Counter[bool]()
    first = next(card for card in range(CARDS) if in_share("large", 0.4, f"c-{card}"))  # which took effect
    for card in range(first, CARDS):
        is_active = in_share("large", 0.4, f"c-{card}")
        events[is_active] += 2 + card % 2
        frauds[is_active] += card % 4 == 0
    genuine = Decimal(1) - Decimal(frauds[False]) / events[False]
    for card in range(first, CARDS):
        is_active, is_fraud = in_share("large", 0.4, f"c-{card}"), card % 4 == 0
        count = 2 + card % 2
        if not is_active:
            costs[False].append(Decimal(150 + card) * is_fraud)
        else:
            costs[True].append(Decimal(4) * count if effect == "review" else 15 * genuine * (count - is_fraud))
    return costs, events


@pytest.mark.slow
@pytest.mark.parametrize("effect", ["review", "decline"])
def test_an_experiment_is_read_out_as_plain_arithmetic_does(tmp_path, effect: str):
    found = bank_of(tmp_path, effect).project.run(ShowExperiment(rule="large"))
    costs, events = plain(effect)
    saved = mean(costs[False]) - mean(costs[True])
    half = Decimal("1.959964") * sum(variance(part) / len(part) for part in costs.values()).sqrt()

    assert [(arm.value, arm.keys, arm.events) for arm in found.arms] == [
        ("A", len(costs[False]), events[False]),
        ("B", len(costs[True]), events[True]),
    ]
    for text, value in zip((found.saved, found.low, found.high), (saved, saved - half, saved + half), strict=True):
        assert Decimal(text) == pytest.approx(value * 1_000, abs=Decimal("0.01"))
    assert found.mature_from == date(2026, 5, 28) + timedelta(LATE_DAYS)
    assert f"Arm B of large saves {found.saved} ({found.low} to {found.high}) of 1,000 keys" in found.text()
    assert found.text().partition("\n")[0].endswith("  cost per 1,000 keys")


@pytest.mark.slow
@pytest.mark.parametrize("after", ["rollout: 100%", "rollout: 80%", "rollout: 40%, shadow: true"])
def test_an_experiment_ends_where_keys_change_their_group(tmp_path, after: str):
    rules = RULES.replace("EFFECT", "decline")
    bank = Bank(tmp_path, {"rules/large.yaml": rules, "policy.yaml": POLICY, "notices/customer.yaml": None})
    active = [card for card in map("c-{}".format, range(CARDS)) if in_share("large", 0.4, card)]
    old, cards = NOW_MS - 90 * DAY_MS, sorted(map("c-{}".format, range(CARDS)), key=lambda card: card not in active)
    bank.pay(*[payment(f"p-{card}", card=card, at=old + at) for at, card in enumerate(cards)])
    bank.write({"rules/large.yaml": rules.replace("rollout: 40%", after)})
    bank.pay(*[payment(f"q-{card}", card=card, at=old + DAY_MS + at) for at, card in enumerate(cards)])
    bank.pay(payment("young"))
    arms = {arm.value: arm for arm in bank.project.run(ShowExperiment(rule="large")).arms}
    share = 0 if "shadow" in after else float(after.split()[1].rstrip("%")) / 100
    moved = next(at for at, card in enumerate(cards) if in_share("large", share, card) != (card in active))
    counted = [*cards, *cards[:moved]]
    mine, others = ([card for card in counted if (card in active) is group] for group in (True, False))

    assert (arms["B"].keys, arms["B"].events) == (len({*mine}), len(mine))
    assert (arms["A"].keys, arms["A"].events) == (len({*others}), len(others))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("larg", "Did you mean large?"),
        ("quiet", "experiment quiet has mature events of 0 keys in arm A, and needs 2: wait for labels, or give"),
    ],
)
def test_what_is_no_experiment_is_refused(tmp_path, rule: str, says: str):
    bank = Bank(tmp_path, {"rules/large.yaml": RULES.replace("EFFECT", "review"), "notices/customer.yaml": None})
    bank.pay(payment())
    with pytest.raises(UsageError) as caught:
        bank.project.run(ShowExperiment(rule=rule))

    assert says in str(caught.value)
    plain = Bank(tmp_path / "plain", {"notices/customer.yaml": None})
    with pytest.raises(NoExperimentError, match="no rule has a 'rollout'"):
        plain.project.run(ShowExperiment())


# ---- experiments on the policy

TRIALS = 20  # of equal policies, each by a hash of its own
COSTS = "  costs: { missed_fraud: payment.amount * 2, false_decline: 15, review: 4 }\n"
TRY = "  experiment: { name: stricter, share: 50%, by: card, score: { review_at: 0.5 }, rules: { large: true } }\n"
DRAFT = "- { id: large, on: payment, by: card, when: this.amount > 100, effect: review, shadow: true }\n"


def trial(folder, more: str = "", cards: int = 160, name: str = "stricter") -> Bank:
    """Payments of cards, of which every fourth is a large fraud, found by a rule that arm B alone has."""
    policy = f"payment:\n{COSTS}{TRY.replace('stricter', name)}"
    files = {"rules/large.yaml": DRAFT + more, "policy.yaml": policy, "notices/customer.yaml": None}
    bank = Bank(folder, files)
    old = NOW_MS - 90 * DAY_MS
    bank.pay(*[payment(f"p-{at}", "50.00" if at % 4 else "200.00", card=f"c-{at}", at=old + at) for at in range(cards)])
    bank.pay(payment("young", "5.00"))
    known = {"known_at": time_text(old + LATE_DAYS * DAY_MS), "source": "chargeback"}
    for at in range(0, cards, 4):
        bank.project.label(f"payment/p-{at}", "fraud", **known)
    return bank


def test_an_experiment_is_no_rule_to_people_and_its_decisions_are_found(tmp_path):
    bank = trial(tmp_path, cards=8)
    counted = bank.project.run(ShowResults(by="rule"))
    of_arms = bank.project.label_reports.decisions_with(["approve", "review"], "fraud", None, "stricter", None, None)
    with pytest.raises(UsageError) as caught:
        bank.project.run(ShowExperiment(rule="stricter", as_of=time_text(NOW_MS - 85 * DAY_MS)))

    assert "Did you mean" not in str(caught.value)
    assert {row.value for row in counted.rows} == {"large"}
    assert [rule.id for rule in bank.project.run(ShowRules()).rules] == ["large"]
    with pytest.raises(NoRuleError):
        bank.project.run(ShowRule(rule="stricter"))
    assert len(of_arms[0]) == 2


def test_evidence_and_live_give_the_reasons_of_rules_and_no_experiment(tmp_path):
    bank, pulse = trial(tmp_path, cards=8, name="before_large"), Pulse()
    with bank.project.log.reading() as log:
        while pulse.follow(log, bank.project.definitions):
            pass
        events = [record for records in log.read() for record in records if record.kind == "event"]
        packs = [evidence_pack(log, bank.project.definitions, {}, event, (), NO_EVIDENCE) for event in events]

    stopped = [pack["decision"] for pack in packs if pack["decision"]["outcome"] == "review"]
    assert {reason["code"] for decision in stopped for reason in decision["reasons"]} == {"large"}
    assert [shown.reason for shown in pulse.figures(DAY_MS, DAY_MS).newest] == [
        decision["reasons"][0]["text"] for decision in reversed(stopped)
    ]


@pytest.mark.slow
def test_a_better_policy_wins_and_equal_ones_do_not(tmp_path):
    more = "".join(
        f"- {{ id: equal_{at}, on: payment, by: card, when: true, effect: note, rollout: 50% }}\n"
        for at in range(TRIALS)
    )
    bank = trial(tmp_path, more)
    found = bank.project.run(ShowExperiment(rule="stricter"))
    arms = {arm.value: arm for arm in found.arms}
    cards = {arm: [at for at in range(160) if in_share("stricter", 0.5, f"c-{at}") is (arm == "B")] for arm in "AB"}
    frauds = {arm: sum(at % 4 == 0 for at in cards[arm]) for arm in "AB"}

    for arm in "AB":
        assert (arms[arm].keys, arms[arm].events, arms[arm].fraud.count) == (len(cards[arm]),) * 2 + (frauds[arm],)
    assert (arms["A"].missed, arms["A"].caught, arms["A"].reviewed) == (frauds["A"], 0, 0)
    assert (arms["B"].missed, arms["B"].caught, arms["B"].reviewed) == (0, frauds["B"], frauds["B"])
    assert Decimal(arms["A"].cost_per_1000) == round(Decimal(400_000 * frauds["A"]) / len(cards["A"]), 2)
    assert Decimal(arms["B"].cost_per_1000) == round(Decimal(4_000 * frauds["B"]) / len(cards["B"]), 2)
    assert Decimal(found.low) > 0
    equal = [bank.project.run(ShowExperiment(rule=f"equal_{at}")) for at in range(TRIALS)]
    assert sum(Decimal(item.low) > 0 for item in equal) <= 1
    assert sum(Decimal(item.high) < 0 for item in equal) <= 2
    assert abs(len(cards["B"]) - 80) < 20  # three standard deviations
    earlier = ShowExperiment(as_of=time_text(NOW_MS - 85 * DAY_MS))
    with pytest.raises(UsageError, match="has mature events of 0 keys in arm A"):
        bank.project.run(earlier)


@pytest.mark.slow
@pytest.mark.parametrize("promote", [False, True])
def test_an_experiment_that_ended_is_read_out_as_before(tmp_path, monkeypatch, *, promote: bool):
    night = "- { id: night, on: payment, by: card, when: this.amount < 1, effect: review }\n"
    bank = trial(tmp_path, night, cards=40)
    bank.write({"policy.yaml": f"payment:\n{COSTS}{TRY}".replace("large: true", "large: true, night: false")})
    found, both = bank.project.run(ShowExperiment()), (tmp_path / "rules" / "large.yaml").read_text()
    active = (tmp_path / "policy.yaml").read_text()
    assert bank.project.definitions.policy("payment").review_at is None
    (tmp_path / "policy.yaml").write_text(f"{active}  score: {{ review_at: 0.7 }}\n")
    with pytest.raises(ChangedMeanwhileError, match="have changes that are not active: run 'shroff apply'"):
        bank.project.run(EndExperiment(rule="stricter", promote=promote))
    bank.write({"policy.yaml": active})
    assert "large" in {rule.id for rule in bank.project.definitions.rules}
    (tmp_path / "rules" / "large.yaml").write_text(both.replace("> 100", "> 10"))
    with pytest.raises(ChangedMeanwhileError, match="have changes that are not active: run 'shroff apply'"):
        bank.project.run(EndExperiment(rule="stricter", promote=promote))
    bank.write({"rules/large.yaml": both})
    reason, arm, files = ("proven", "B", "rules/large.yaml, policy.yaml") if promote else ("", "A", "policy.yaml")
    monkeypatch.setattr(exploration, "TWO_SIDED", 1e9)  # nothing is proven
    ended = bank.project.run(EndExperiment(rule="stricter", reason=reason, promote=promote))
    words = f"Experiment stricter ended: all keys get arm {arm}. Written: {files}."
    cuts = "  score: { review_at: 0.5 }\n" if promote else ""
    switched = DRAFT.replace(", shadow: true", "") + night.replace("review }", "review, shadow: true }")
    paid = [payment(f"later-{at}", amount, card=f"c-{at}") for at, amount in enumerate(["5.00", "200.00", "0.50"])]

    assert "Arm B is better." in found.text()
    assert replace(found, low="-20.00", high="-10.00").verdict == "Arm A is better."
    warned = msgspec.to_builtins(ended).get("warning", "")
    assert ("Neither arm is proven better yet. Arm B saves " in warned) == bool(warned) == promote
    assert ended.text() == f"{words} {ended.why_not or 'All is active now.'} {warned}".rstrip()
    assert (tmp_path / "rules" / "large.yaml").read_text() == (switched if promote else both)
    assert bank.pay(*paid) == (["approve", "review", "approve"] if promote else ["approve", "approve", "review"])
    assert (tmp_path / "policy.yaml").read_text() == f"payment:\n{cuts}{COSTS}"
    assert bank.project.run(ShowExperiment(rule="stricter")).arms == found.arms
    with bank.project.people.open() as desk, desk.store.look() as look:
        (row,) = look.record(AuditFilter(action=APPLY), before=None, limit=9, is_newest_first=True)
    assert f'"reason":"stricter{": proven" * promote}"' in row.after
    assert ("large on, night off" in row.after) is promote
    with pytest.raises(NoExperimentError, match="no experiment 'stricter'"):
        bank.project.run(EndExperiment(rule="stricter"))


def test_an_approval_waits_again_while_files_are_not_active(tmp_path):
    bank = trial(tmp_path, cards=4)
    bank.write({"shroff.yaml": f"{(tmp_path / 'shroff.yaml').read_text()}second_person: [thresholds]\n"})
    who, active = bank.project.context.who, (tmp_path / "policy.yaml").read_text()
    ann, ben = (bank.project.acting_as(replace(who, kind="user", id=name, name=name)) for name in ("ann", "ben"))
    with pytest.raises(WaitsError):
        ann.run(EndExperiment(rule="stricter", reason="proven"))
    (asked,) = ben.run(ShowApprovals()).approvals
    approval = AnswerApproval(etag=asked["etag"], approve=True, note="agreed")
    assert ben.definitions.policy("payment").review_at is None
    (tmp_path / "policy.yaml").write_text(f"{active}  score: {{ review_at: 0.7 }}\n")
    with pytest.raises(ChangedMeanwhileError, match="have changes that are not active"):
        ben.run(approval)

    assert ben.run(ShowApprovals()).approvals == [asked]
    (tmp_path / "policy.yaml").write_text(active)
    ben.context.reload()
    assert ben.run(approval).says.startswith("Experiment stricter ended")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("share: 50%", "share: 100%"), "an experiment needs keys in both arms"),
        (("name: stricter", "name: large"), "Give a share such as 20%, and a name that no rule has."),
        (("name: stricter", "name: Stricter"), "'Stricter' is not a name for an experiment."),
        (("by: card", "by: cart"), "Did you mean card?"),
        (("large: true", "large: false"), "'large' is no rule on payment by card that is active for all keys."),
        (("large: true", "larg: true"), "'larg' is no rule on payment by card that is in shadow."),
        (("large: true", "large: on"), "large"),
        (("review_at: 0.5", "review_at: 5"), "review_at is a score from 0 to 1"),
        (("share: 50%, ", ""), "experiment lacks share."),
        (("share: 50%, ", "share: 50%, seed: 1, "), "experiment has no key 'seed'."),
    ],
)
def test_what_no_experiment_can_be_is_said(change: tuple[str, str], says: str):
    files = {**FILES, "rules/large.yaml": DRAFT, "policy.yaml": f"payment:\n{COSTS}{TRY}".replace(*change)}
    found = load_definitions(files)

    assert any(says in f"{problem.message} {problem.hint}" for problem in found.problems), found.problems
