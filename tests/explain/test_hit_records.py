"""What rules did, as their pages count it: no more is read and kept than a bound, however long nobody looked."""

from __future__ import annotations

from contextlib import closing

import pytest

from shroff.events.event import time_text
from shroff.explain import hit_records
from shroff.explain.hit_records import HitRecords
from shroff.language.values import DAY_MS
from shroff.monitoring.live_metrics import Pulse
from tests.support.telling import NOW_MS, Bank, payment

pytestmark = pytest.mark.slow


def pay(bank: Bank, first: int, count: int) -> None:
    for number in range(first, first + count):
        bank.pay(payment(f"p-{number}"))


def ids_of(records: HitRecords) -> list[str]:
    return sorted(event.id for event in records.events.values())


def test_who_looks_after_long_is_shown_what_is_near_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(hit_records, "LOOK_BACK", 5)
    bank, records = Bank(tmp_path), HitRecords()
    pay(bank, 1, 2)
    with closing(bank.project.log.open(read_only=True)) as log:
        records.follow(log, bank.project.definitions)
        assert ids_of(records) == ["p-1", "p-2"]

        pay(bank, 3, 4)
        records.follow(log, bank.project.definitions)
        assert ids_of(records) == ["p-1", "p-2", "p-3", "p-4", "p-5", "p-6"]

        pay(bank, 11, 9)
        records.follow(log, bank.project.definitions)
        assert ids_of(records) == ["p-15", "p-16", "p-17", "p-18", "p-19"]
        assert len(records.newest(next(iter(records.by_rule)), None, 100)) == 5


def test_no_more_is_kept_than_there_is_room_for_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(hit_records, "EVENTS_KEPT", 3)
    monkeypatch.setattr(hit_records, "_SLACK", 1)
    monkeypatch.setattr(hit_records, "_BLOCK", 2)
    most = 0

    class Watched(HitRecords):
        def _add(self, *given, **more):
            nonlocal most
            super()._add(*given, **more)
            most = max(most, len(self.events))

    bank, records = Bank(tmp_path), Watched()
    pay(bank, 1, 9)
    with closing(bank.project.log.open(read_only=True)) as log:
        records.follow(log, bank.project.definitions)

    assert most <= 6
    assert ids_of(records)[-3:] == ["p-7", "p-8", "p-9"]


def test_no_precision_is_shown_before_all_hits_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(hit_records, "_BLOCK", 2)
    bank, records = Bank(tmp_path), HitRecords()
    pay(bank, 1, 9)
    bank.clock_ms += 200 * DAY_MS
    bank.project.label("payment/p-9", "fraud")
    with closing(bank.project.log.open(read_only=True)) as log:
        records.follow(log, bank.project.definitions, 0.0)
        rule = next(iter(records.by_rule))
        newest = records.record(rule, bank.project.definitions)
        records.follow(log, bank.project.definitions)
        counted = records.record(rule, bank.project.definitions)

    assert (newest.hits < counted.hits, newest.precision["precision"]) == (True, None)
    assert counted.precision["precision"] == 1 / counted.hits


def test_without_any_label_of_its_type_nobody_knows_the_precision_of_a_rule(tmp_path):
    bank, records = Bank(tmp_path), HitRecords()
    bank.pay(payment("p-1", at=NOW_MS - 60 * DAY_MS), payment("p-2"))
    with closing(bank.project.log.open(read_only=True)) as log:
        records.follow(log, bank.project.definitions)
        rule = next(iter(records.by_rule))
        without = records.record(rule, bank.project.definitions)
    bank.clock_ms += 200 * DAY_MS
    bank.project.label("payment/p-2", "genuine")
    with closing(bank.project.log.open(read_only=True)) as log:
        records.follow(log, bank.project.definitions)
        labeled = records.record(rule, bank.project.definitions)

    assert (without.older_none, without.immature, without.precision["precision"]) == (1, without.hits - 1, None)
    assert (labeled.presumed_genuine, labeled.immature, labeled.precision["precision"]) == (labeled.hits, 0, 0.0)


def test_a_label_of_the_future_makes_no_event_old_enough_to_judge(tmp_path):
    bank, records = Bank(tmp_path), HitRecords()
    pay(bank, 1, 1)
    label = {"event": "payment/p-1", "verdict": "genuine", "known_at": "2999-01-01T00:00:00Z"}
    assert bank.project.labelling.add_rows([label], "labels.jsonl").labels.appended == 1
    with closing(bank.project.log.open(read_only=True)) as log:
        records.follow(log, bank.project.definitions, clock_ms=bank.clock_ms)
        (event,) = records.events.values()

        assert records.now_ms == records.last_ms
        assert records.is_immature(event, bank.project.definitions)


def test_a_label_of_the_future_counts_from_the_moment_in_which_it_is_known(tmp_path):
    bank, records = Bank(tmp_path), HitRecords()
    pay(bank, 1, 2)
    later_ms = bank.clock_ms + DAY_MS
    bank.project.label("payment/p-1", "genuine", source="analyst", known_at=time_text(bank.clock_ms))
    bank.project.label("payment/p-1", "fraud", source="chargeback", known_at=time_text(later_ms))
    seen = []
    with closing(bank.project.log.open(read_only=True)) as log:
        for clock_ms in (bank.clock_ms, later_ms - 1, later_ms):
            records.follow(log, bank.project.definitions, clock_ms=clock_ms)
            seen.append([event.verdict for event in records.events.values()])

    assert seen == [["genuine", ""], ["genuine", ""], ["fraud", ""]]


def test_the_amount_of_a_hit_is_the_one_that_the_summary_of_its_event_names(tmp_path):
    bank = Bank(tmp_path, {"notices/customer.yaml": None})
    events = (tmp_path / "events.yaml").read_text("utf-8")
    events = events.replace("amount: money", "fee: money?, amount: money").replace(
        "  id: id", "  id: id\n  summary: [amount]"
    )
    (tmp_path / "events.yaml").write_text(events, "utf-8")
    bank.pay(payment("p-1", "150.00", fee="1.00"))
    records = HitRecords()
    with closing(bank.project.log.open(read_only=True)) as log:
        records.follow(log, bank.project.definitions)

    assert [event.amount_minor for event in records.events.values()] == [15_000]


class _Leapt:
    """A log whose watermark is another."""

    def __init__(self, log, by_ms):
        self._log, self._by_ms = log, by_ms

    def watermark_ms(self):
        return self._log.watermark_ms() + self._by_ms

    def __getattr__(self, name):
        return getattr(self._log, name)


def test_after_a_watermark_is_set_back_figures_are_of_the_time_that_it_is_set_to(tmp_path):
    bank, records, pulse = Bank(tmp_path), HitRecords(), Pulse()
    pay(bank, 1, 1)
    seen = []
    with closing(bank.project.log.open(read_only=True)) as log:
        for number, by_ms in enumerate((0, 1_500 * DAY_MS, 0), start=2):
            pay(bank, number, 1)
            leapt = _Leapt(log, by_ms)
            records.follow(leapt, bank.project.definitions)
            while pulse.follow(leapt, bank.project.definitions):
                pass
            seen.append((records.now_ms - log.watermark_ms(), pulse.figures(DAY_MS, DAY_MS).decided))

    assert seen == [(0, 2), (1_500 * DAY_MS, 0), (0, 4)]
    assert ids_of(records) == ["p-1", "p-2", "p-3", "p-4"]
