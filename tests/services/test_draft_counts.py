"""Hits of a draft counted as one types: those of the decisions that the rule made, of the last 30 days alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import pytest

from shroff.adapters.log.records.records import SqlRecords
from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import bank
from shroff.log.columns.stored import LINES
from shroff.rules.texts import rule_texts
from shroff.services import project as app
from shroff.services.backtest import operations as backtest_operations
from shroff.services.drafts.operations import CountDraft, DraftCount
from shroff.services.lake.operations import WriteLake

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
WHENS = {  # and how many of the 300 places a first count of the newest 20 reads: their windows, and the lateness before
    "this.amount > 40": 20,
    "sum(payment.amount) over 8h including this in 10 .. 400": 120,
    "card.payments_1h >= 1 and count(payment) over 7h delayed 1h >= 1": 120,
    "this.country != card.last_country": 301,
}
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


def test_the_count_of_a_text_is_that_of_its_back_test_over_the_same_days(project: app.Project, tmp_path: Path) -> None:
    for when in WHENS:
        text = f"- id: tried\n  on: payment\n  by: card\n  when: {when}\n  effect: note\n"
        (tmp_path / "tried.yaml").write_text(text, encoding="utf-8")
        count = project.run(CountDraft(rule="tried", source=text))
        report = project.backtest(rules=tmp_path, start=count.since)
        (rule,) = [rule for rule in report.rules if rule.id == "tried"]

        assert count.complete
        assert count.hits > 0
        assert (count.events, count.hits, count.money) == (report.events, rule.hits, f"{rule.money} EUR"), when


def test_the_count_of_a_window_without_an_end_reads_what_was_pruned(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    shutil.copytree(TEMPLATE_FOLDER / "payments", folder)
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as settings:
        settings.write("lake: ./lake\nkeep: 60d\n")
    when = "count(payment) >= 1"
    project, events = app.open_exactly(folder), [payment.event for payment in bank(40, seed=4)]
    earlier = [{**event, "payment_id": f"old-{at}", "paid_at": DAY, "country": "SE"} for at, event in enumerate(events)]
    project.decide([*earlier, *events])
    project.run(WriteLake())
    found = counted(project, when)
    assert not found.why_not

    assert project.retention.prune().upto > 40
    assert counted(app.open_exactly(folder), when) == found
    assert found.hits > 0


def test_a_first_count_reads_the_newest_events_and_their_windows_and_later_ones_come_to_all(
    project: app.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[range]()

    def lines(log: SqlRecords, after: int = 0, upto: int | None = None, size: int = 0) -> Iterator[bytes]:
        if size == LINES:  # as columns; looks for a time are at some places
            read.append(range(after, log._ends.last_seq() if upto is None else upto))
        return whole(log, after, upto, size)

    whole = SqlRecords.lines
    wanted = {when: counted(project, when) for when in WHENS}
    monkeypatch.setattr(SqlRecords, "lines", lines)
    monkeypatch.setattr(backtest_operations, "COUNTED_FIRST", 20)
    monkeypatch.setattr(backtest_operations, "COUNT_KEPT_MS", 2**60)  # so that no turn ends meanwhile
    for when, places in WHENS.items():
        monkeypatch.setattr(
            backtest_operations, "_counted", lru_cache(backtest_operations.__dict__["_counted"].__wrapped__)
        )
        read.clear()
        found = [counted(project, when)]
        looked_at = set().union(*read)
        while not found[-1].complete:
            read.clear()
            found.append(counted(project, when))

        assert (found[-1], len(found)) == (wanted[when], 3), when
        assert 20 <= len(looked_at) <= places, when
        assert [count.events for count in found] == [20, 100, 300]
        assert found[0].since > found[1].since > found[2].since
    read.clear()

    assert (counted(project, when), read) == (found[-1], [])
