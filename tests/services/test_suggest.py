"""Suggestions from a log: a rule that is missing is found with a file that passes its test and goes into shadow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.language.values import DAY_MS
from shroff.services.drafts.operations import ShadowDraft, WriteDraft
from shroff.services.suggestions.operations import SuggestRules
from tests.support.telling import NOW_MS, Bank, payment

COUNT, DAYS = 1_200, 60
MODEL = "payment: { inputs: [payment.amount], label_delay: 3d }\n"
RULES = """
- { id: large, on: payment, by: card, when: this.amount > 150, effect: decline }
- { id: larger, on: payment, by: card, when: this.amount > 170, effect: review }
- { id: common, on: payment, by: card, when: this.merchant == 'm2', effect: review }
"""


@pytest.mark.slow
def test_a_missing_rule_is_found_with_its_test_and_goes_into_shadow_and_useless_rules_are_named(tmp_path) -> None:
    files = {
        "rules/large.yaml": RULES,
        "features.yaml": "card: { payments_7d: count(payment) over 7d }\n",
        "policy.yaml": "payment: { costs: { false_decline: 15, review: 4, reviews_a_day: 5 } }\n",
        "model.yaml": MODEL,
        "notices/customer.yaml": None,
    }
    bank = Bank(tmp_path / "bank", files)
    rows = [
        payment(f"p-{at}", f"{at * 37 % 200}.50", at=at_ms, card=f"c-{at % 90}", merchant=f"m{at * 7 % 13}")
        for at in range(COUNT)
        if (at_ms := NOW_MS - DAYS * DAY_MS + at * DAYS * DAY_MS // COUNT)
    ]
    bank.pay(*rows)
    stolen = [row for row in rows if row["merchant"] == "m5" or float(str(row["amount"])) > 150]
    labels = [(f"payment/{row['id']}", time_text(int(str(row["at"])) + 2 * DAY_MS)) for row in stolen]
    bank.project.label([{"event": event, "known_at": known_at} for event, known_at in labels], "fraud")

    found = bank.project.run(SuggestRules(as_of=time_text(NOW_MS)))

    (rule,) = found.rules
    assert (rule.text, rule.effect, rule.precision) == ("this.merchant in ['m5']", "decline", 1.0)
    assert float(rule.money_low) <= float(rule.money) <= float(rule.money_high)
    assert set(rule.overlap) <= {"large", "larger"}
    assert "masked-1" in rule.file
    assert "c-" not in rule.file
    assert "p-" not in rule.file
    assert {drop.id for drop in found.drop} == {"larger", "common"}
    assert bank.project.drafts.check(rule.id, rule.file).is_ok
    assert rule.id in found.text()
    draft = bank.project.run(WriteDraft(rule=rule.id, source=rule.file, etag=""))
    bank.project.run(ShadowDraft(rule=rule.id, etag=draft.tag))
    assert "shadow: true" in (bank.folder / "rules" / f"{rule.id}.yaml").read_text()


def labeled_bank(folder: Path, days: range, rules: str, is_fraud: Callable[[int], bool]) -> Bank:
    """A bank with ten payments a day, one of them large, so many days ago; labels come two days later, of others."""
    files = {"rules/large.yaml": rules, "model.yaml": MODEL, "notices/customer.yaml": None}
    bank = Bank(folder, {**files, "policy.yaml": "payment: { costs: { false_decline: 15, review: 4 } }\n"})
    rows = [
        payment(f"p-{day}-{at}", "200.50" if at == 0 else f"{at}.50", at=NOW_MS - day * DAY_MS + at, merchant=f"m{day}")
        for day in reversed(days)
        for at in range(10)
    ]
    bank.pay(*rows)
    labels = [(row, int(str(row["at"])) + 2 * DAY_MS) for at, row in enumerate(rows) if is_fraud(at)]
    events = [{"event": f"payment/{row['id']}", "known_at": time_text(at)} for row, at in labels if at <= NOW_MS]
    bank.project.label(events, "fraud")
    return bank


@pytest.mark.slow
def test_no_rule_is_dropped_for_hits_whose_labels_are_not_there_yet(tmp_path) -> None:
    young = labeled_bank(tmp_path / "young", range(1, 3), RULES, lambda at: at % 10 == 0)
    found = young.project.run(SuggestRules(as_of=time_text(NOW_MS)))
    assert (found.drop, found.tested_from) == ([], None)
    assert "label_delay" in found.text()

    new = "- { id: new, on: payment, by: card, when: this.merchant == 'm1', effect: review }\n"
    never = "- { id: never, on: payment, by: card, when: this.amount > 900, effect: review }\n"
    old = labeled_bank(tmp_path / "old", range(1, 30), new + never, lambda at: at % 10 == 0)
    assert [drop.id for drop in old.project.run(SuggestRules(as_of=time_text(NOW_MS))).drop] == ["never"]


@pytest.mark.slow
def test_a_decline_without_a_label_says_nothing_against_its_rule(tmp_path) -> None:
    rule = "- { id: large, on: payment, by: card, when: this.amount > 150, effect: EFFECT }\n"
    declining = labeled_bank(tmp_path / "declining", range(1, 30), rule.replace("EFFECT", "decline"), lambda _: False)
    assert declining.project.run(SuggestRules(as_of=time_text(NOW_MS))).drop == []

    passing = labeled_bank(tmp_path / "passing", range(1, 30), "[]\n", lambda _: False)
    passing.write({"rules/large.yaml": rule.replace("EFFECT", "decline")})
    (drop,) = passing.project.run(SuggestRules(as_of=time_text(NOW_MS))).drop
    assert (drop.id, drop.why) == ("large", "it costs more than it saves")


def test_too_few_events_give_no_rules_and_say_so(tmp_path) -> None:
    bank = Bank(tmp_path / "bank", {"notices/customer.yaml": None, "rules/large.yaml": "[]\n"})
    with pytest.raises(UsageError):
        bank.project.run(SuggestRules())
    bank.pay(payment("p-1"))
    with pytest.raises(UsageError, match="payment can be searched"):
        bank.project.run(SuggestRules(event="login"))

    found = bank.project.run(SuggestRules())
    assert (found.rules, found.drop, found.tried) == ([], [], 0)
    assert "too few events" in found.text()
