"""Hits of a draft counted as one types: those of the decisions that the rule made, of the last 30 days alone."""

from __future__ import annotations

import shutil
from decimal import Decimal

import pytest

from shroff.app import project as app
from shroff.app.rules.draft_operations import CountDraft, DraftCount
from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import bank
from shroff.rules.texts import rule_texts

pytestmark = pytest.mark.slow

RULES = """- id: dear
  on: payment
  by: card
  when: this.amount > 40 and (card.payments_1h >= 1 or this.country != card.last_country)
  effect: note
- id: again
  on: payment
  by: device
  when: not (sum(payment.amount) over 7d including this in 10 .. 400) and this.card not in lists.blocked_cards
  effect: review
"""
DAY = "2025-11-01T10:00:00Z"  # long before the bank's payments


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> app.Project:
    folder = tmp_path_factory.mktemp("counts") / "bank"
    shutil.copytree(TEMPLATE_FOLDER / "payments", folder)
    (folder / "rules" / "tried.yaml").write_text(RULES, encoding="utf-8")
    found = app.open_exactly(folder)
    payments = [payment.event for payment in bank(300, seed=4)]
    found.decide([{**payments[0], "payment_id": "old", "paid_at": DAY, "amount": "9999.00"}, *payments])
    return found


def counted(project: app.Project, when: str, more: str = "") -> DraftCount:
    text = f"- id: tried\n  on: payment\n  by: card\n  when: {when}\n  effect: note\n{more}"
    return project.run(CountDraft(rule="tried", source=text))


def test_the_count_of_each_rule_is_that_of_its_decisions(project: app.Project) -> None:
    decisions = project.decisions().to_pylist()
    amounts = {event["payment_id"]: Decimal(event["amount"]) for event in project.events("payment").to_pylist()}
    checked = 0
    for path in sorted((project.context.paths.folder / "rules").glob("*.yaml")):
        for rule in rule_texts(path.read_text(encoding="utf-8")).values():
            found = project.run(CountDraft(rule=rule.id, source=rule.text))
            if found.why_not:
                continue
            hit = [
                decision["id"]
                for decision in decisions
                if rule.id in str(decision["rules"]) and decision["id"] != "old"
            ]

            assert (found.events, found.hits) == (300, len(hit)), rule.id
            assert found.money == f"{sum((amounts[id_] for id_ in hit), Decimal('0.00'))} EUR"
            checked += bool(hit)

    assert checked > 1


def test_a_changed_number_is_compared_anew_and_what_cannot_be_counted_says_why(project: app.Project) -> None:
    hits = [counted(project, f"this.amount >= {limit}").hits for limit in (0, 50, 100, 100_000)]

    assert hits[0] == 300 > hits[1] > hits[2] > hits[3] == 0
    mine, device = counted(project, "count(payment) over 30d > 3"), "by: device"
    text = f"- id: tried\n  on: payment\n  {device}\n  when: count(payment) over 30d > 3\n  effect: note\n"
    assert mine.hits != project.run(CountDraft(rule="tried", source=text)).hits
    assert counted(project, "this.amount > 0", "  expires: 2025-01-01\n").hits == 0
    assert "backtest" in counted(project, "count(payment) over 1d since flag > 3").why_not
    assert "backtest" in counted(project, "score > 0.5").why_not
    assert "errors" in counted(project, "this.amuont > 0").why_not
