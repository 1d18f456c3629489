"""The law of amounts: what an event is about in money is one field, whoever counts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from shroff.cases import case_queries
from shroff.cases.case import CaseFilter
from shroff.events.intake import Intake
from shroff.explain.hit_records import HitRecords
from shroff.language.values import DAY_MS
from shroff.log.writer import Writer
from shroff.monitoring.day_figures import figures_by_day
from shroff.monitoring.live_metrics import Pulse
from shroff.notices.definitions import load_notices
from shroff.notices.facts import Facts
from shroff.services import project as app
from shroff.services.links.operations import ShowLinks
from shroff.services.results.operations import ShowResults
from shroff.worker.ingest import IngestReport
from shroff.worker.serving.counts import BatchTally
from tests.support.log_memory import MemoryLog
from tests.support.projects import definitions
from tests.support.telling import NOW_MS, Bank, payment

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, device: text?, merchant: text?, fee: money, tax: money, amount: money,
    email: text?, zone: text? }
  summary: [merchant, amount, fee]
entities:
  card: { payment: card }
  device: { payment: device }
"""
EXPLORE = "explore: { share: 10%, at_most_a_day: 9, amount_at_most: 5, expires: 2027-01-01, seed: a b c d e f g h i j }"
TAKEN = ("60.00", "150.00", "190.00")  # the amounts; a fee of 0 stands before the first


def bank_in(folder, policy: str = "{}") -> Bank:
    """Three payments of a day, two of them reviewed, one of these a fraud."""
    bank = Bank(folder, {"events.yaml": EVENTS, "policy.yaml": f"payment: {policy}\n", "notices/customer.yaml": None})
    bank.pay(*paid())
    bank.project.label("payment/p-2", "fraud", source="analyst", known_at="2026-05-28T20:26:40Z")
    return bank


def paid() -> Iterator[dict[str, object]]:
    for number, amount in enumerate(TAKEN):
        yield payment(f"p-{number}", amount, fee=f"{number}.01", tax="7.00", device="d", card=f"c-{number}")


@pytest.mark.slow
def test_an_amount_is_the_money_that_the_summary_names_first_whoever_counts_it(tmp_path):
    bank, pulse, records = bank_in(tmp_path), Pulse(), HitRecords()
    project, known = bank.project, bank.project.definitions
    with closing(project.log.open(read_only=True)) as log, project.cases.open() as desk:
        while pulse.follow(log, known):
            pass
        records.follow(log, known)
        live = pulse.figures(DAY_MS, DAY_MS)
        (day,) = figures_by_day(log, known, [NOW_MS - DAY_MS, NOW_MS + 1])
        told = Facts(known).notice_event(log, "payment/p-2")
        cases = case_queries.listed(desk, project.context.who, CaseFilter()).cases
        backlog = case_queries.backlog(desk)
    results = project.run(ShowResults()).total
    hits = sorted(event.amount_minor for event in records.events.values())
    linked = project.run(ShowLinks(entity="card", key="c-0")).links
    balance = project.backtest(rules=tmp_path / "rules", as_of="2026-07-01").balance.old
    intake, at_work = (Intake(known.events, known.settings, None), Writer(MemoryLog(), known, lambda: NOW_MS))
    report = IngestReport(tally=BatchTally())
    report.tally.follow(lambda: known)
    sent = [
        intake.submit("payment", one, source="s", place="1", raw=msgspec.json.encode(one), is_strict=False)
        for one in paid()
    ]
    report.add(at_work.prepare(sent), len(sent))

    assert {outcome: float(sum_) for outcome, sum_ in live.money.items()} == {"approve": 60.0, "review": 340.0}
    assert report.tally.money == {("payment", outcome): float(sum_) for outcome, sum_ in live.money.items()}
    assert sorted(stopped.amount for stopped in live.newest) == ["150.00", "190.00"]
    assert (day.decided.money, day.fraud.money) == ({"approve": 6_000, "review": 34_000}, {"review": 19_000})
    assert (results.volume, results.fraud.money, results.money_saved) == ("400.00", "190.00", "190.00")
    assert (hits, [case.stake for case in cases]) == ([15_000, 19_000], [15_000])  # the label closed the other
    assert (backlog.stake, Facts(known).paid_minor(told)) == (15_000, 19_000)
    assert [(link.value, link.spent) for link in linked] == [("d", "400.00")]
    assert (balance.frauds_stopped, balance.fraud_money_stopped) == (1, "190.00")


def test_a_summary_that_alone_was_changed_says_what_new_cases_have_at_stake(tmp_path):
    bank = bank_in(tmp_path)
    path = tmp_path / "events.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("[merchant, amount, fee]", "[tax]"), encoding="utf-8")
    project = app.open(tmp_path)
    with project.cases.open() as desk:
        stakes = [case.stake for case in case_queries.listed(desk, project.context.who, CaseFilter()).cases]

    assert (bank.project.definitions.versions, stakes) == (project.definitions.versions, [700])


def test_a_summary_decides_nothing_so_what_may_be_explored_goes_by_the_first_money(tmp_path):
    plain, exploring = (
        Bank(tmp_path / name, {"events.yaml": EVENTS, "policy.yaml": f"payment: {policy}\n"}).project.definitions
        for name, policy in (("plain", "{}"), ("exploring", f"{{ score: {{ decline_at: 0.9 }}, {EXPLORE} }}"))
    )

    assert [made.missed_fraud("payment").name for made in (plain, exploring)] == ["amount", "fee"]


def test_a_mail_that_names_nothing_shows_the_amount():
    changes = {"events.yaml": EVENTS, "features.yaml": None, "rules/large.yaml": None}
    found = load_notices({"notices/team.yaml": "to: team@bank.example\n"}, definitions(changes), [], [])

    assert [(name, node.name) for name, node in found["team"].show.items()] == [("amount", "amount")]
