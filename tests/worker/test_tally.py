"""What metrics count of committed batches: equal to what the log has, bounded, and nothing personal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pytest

from shroff.events.intake import Submission
from shroff.language.values import DAY_MS
from shroff.log.columns.lines import LineForms, LineOrigin
from shroff.log.writer import Writer
from shroff.project.definitions import load_definitions
from shroff.streams.log import Refused
from shroff.worker.ingest import IngestReport
from shroff.worker.serving import counts as tally
from shroff.worker.serving.counts import AMOUNTS, OTHER, SCORES, BatchTally, Buckets, Latencies
from shroff_plugins.analytics.summaries.settings import SummarySettings
from tests.support.linear import in_force, named, put, registry
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.projects import FILES, NOW_MS, definitions, label, payment, submission, writer

SILENT = {
    "rules/large.yaml": FILES["rules/large.yaml"]
    + "\n- id: silent\n  on: payment\n  by: card\n  when: this.amount > 1000000\n  effect: review\n  shadow: true\n"
}
HASHED = {"events.yaml": FILES["events.yaml"].replace("card: text?", "card: text? hashed")}


def counted(
    batches: Sequence[Sequence[Submission]],
    named: Sequence[str] = (),
    changes: Mapping[str, str] | None = None,
    fraud: Sequence[str] = tally.FRAUD_OUTCOMES,
) -> BatchTally:
    """The counts of these batches, each committed."""
    report = IngestReport(tally=BatchTally(named, fraud))
    at_work = writer(MemoryLog(MemoryStore(), read_only=False), changes)
    assert report.tally is not None
    report.tally.follow(lambda: at_work.definitions)
    for batch in batches:
        prepared = at_work.prepare(batch)
        at_work.commit(prepared)
        report.add(prepared, len(batch))
    return report.tally


def test_hits_money_and_label_delays_are_those_of_the_log():
    payments = [payment(1), payment(2, 1, amount="150.00"), payment(3, 2, amount="101.50")]
    early = label(8, "payment/p9", "fraud", "analyst", "2026-03-04T12:00:00Z")
    told = label(4, "payment/p1", "genuine", "analyst", "2026-03-01T13:00:00Z")

    found = counted([payments, [told, early], [payment(9)]], changes=SILENT)

    assert found.all_hits() == {("large", False): 2, ("silent", True): 0}
    assert found.money == {("payment", "approve"): 10.0, ("payment", "review"): 251.5}
    assert {verdict: delays.sum for verdict, delays in found.label_s.items()} == {
        "genuine": 3_600.0,
        "fraud": 3 * DAY_MS / 1_000,
    }
    assert found.records.sum == 6  # the label that waited came into the log with its event
    assert found.decide_s.sum > 0
    assert found.commit_s.sum > 0


def test_an_experiment_has_no_hits():
    policy = "payment:\n  experiment: { name: trial, share: 50%, by: card, rules: { large: false } }\n"
    found = counted([[payment(number, amount="150.00") for number in range(8)]], changes={"policy.yaml": policy})

    assert {rule for rule, _ in found.all_hits()} == {"large"}
    assert sum(found.all_hits().values()) == 8


@pytest.mark.parametrize(
    "batch",
    [
        [payment(1), payment(1)],
        [payment(1), submission("payment", 2, {"id": "p2"})],
        [payment(1), payment(1, amount="7.00")],
        [label(3, "payment/p1", "fraud", "analyst", "2026-03-01T11:00:00Z"), payment(1)],
        [label(3, "payment/p1", "fraud", "analyst", "2026-03-02T12:00:00Z")] * 2,
    ],
    ids=["again", "invalid", "conflict", "label before its event", "label that waits"],
)
def test_whatever_comes_of_input_is_reconciled(batch):
    assert counted([batch]).unreconciled == 0


def test_an_event_that_is_lost_is_not_reconciled():
    at_work = writer(MemoryLog(MemoryStore(), read_only=False))
    report = IngestReport(tally=BatchTally())
    assert report.tally is not None
    first, second = at_work.prepare([payment(1), payment(2)]), None
    first.batch.decisions.pop()
    report.add(first, 2)

    assert report.tally.unreconciled == 1

    at_work.commit(first)
    second = at_work.prepare([submission("payment", 3, {"id": "p3"})])
    assert isinstance(second.batch.refused.pop(), Refused)
    report.add(second, 1)
    assert report.tally.unreconciled == 2


def test_earlier_names_have_bounded_labels_and_nothing_that_is_hashed(monkeypatch):
    monkeypatch.setattr(tally, "VALUES_MAX", 3)
    batch = [payment(number, number, card=f"c{number % 5}", amount="150.00") for number in range(10)]

    found = counted([batch], ("card", "none"))
    hidden = counted([batch], ("card", "amount"), HASHED)

    assert {key: sum(counts.counts) for key, counts in found.earlier.items()} == {
        ("c0", ""): 2,
        ("c1", ""): 2,
        ("c2", ""): 2,
        (OTHER, ""): 4,
    }
    assert {type_ for type_, _ in hidden.earlier} == {""}
    assert found.earlier["c0", ""].shown()[AMOUNTS.index(250)] == ("250.0", 2)


def test_earlier_names_count_as_fraud_what_summaries_do():
    batch = [payment(1, amount="150.00"), payment(2, 1, amount="10.00")]  # reviewed, approved
    names = ("none", "none")

    assert counted([batch], names).earlier["", ""].decided_as_fraud == 1
    assert counted([batch], names, fraud=["decline"]).earlier["", ""].decided_as_fraud == 0
    assert SummarySettings("url").fraud == tally.FRAUD_OUTCOMES


@pytest.mark.parametrize("size", [1, tally.FEW, 600], ids=["row by row", "by columns", "many"])
def test_scores_are_those_of_the_decisions(tmp_path, size):
    models = registry(tmp_path)
    model = named(put(models, "m-1", {"payment.amount": 0.01}))
    files = FILES | {"models/in_force.json": in_force(payment={"champion": model})}
    at_work = Writer(MemoryLog(), load_definitions(files, load_model=models.load).or_raise(), lambda: NOW_MS)
    expected, report = Buckets(SCORES), IngestReport(tally=BatchTally())
    for first in (0, size):
        batch = [payment(number, amount=f"{number}.50") for number in range(first, first + size)]
        prepared = at_work.prepare(batch)
        report.add(prepared, size)
        at_work.commit(prepared)
        for row in prepared.batch.decisions:
            expected.add(msgspec.json.decode(row.document)["score"])

    assert report.tally is not None
    found = report.tally.scores["payment"]
    assert (found.shown(), found.sum) == (expected.shown(), pytest.approx(expected.sum))
    assert sum(expected.counts) == 2 * size


def test_a_latency_histogram_says_how_many_were_within_each_bound():
    found = Latencies()
    found.add(0.004, 98)
    found.add(0.1, 2)

    assert [dict(found.shown())[bound] for bound in ("0.001", "0.01", "1.0", "+Inf")] == [0, 98, 100, 100]
    assert found.sum == pytest.approx(0.592)


def test_definitions_are_those_in_force():
    found = BatchTally()
    found.follow(definitions)

    assert found.all_hits() == {("large", False): 0}


@pytest.mark.parametrize("named", [[], ["card", "at"], ["unknown", "card"]])
def test_events_that_came_as_columns_are_counted_as_those_one_by_one(named):
    one_by_one = [payment(at, at, card="ab"[at % 2] if at % 5 else None, amount=f"{at * 7}.50") for at in range(40)]
    raws = [item.raw() for item in one_by_one]
    type_, origin = definitions().events.types["payment"], LineOrigin("x", len(raws), str)
    run = LineForms().run(type_, raws, one_by_one.__getitem__, [origin])

    assert run is not None
    columns, rows = (counted([batch], named) for batch in (run, one_by_one))
    assert (columns.money, columns.hits) == (rows.money, rows.hits)
    assert {key: counts.shown() for key, counts in columns.earlier.items()} == {
        key: counts.shown() for key, counts in rows.earlier.items()
    }
