"""Rules and links behind a prune: the lake is opened once a look, and one that is away is asked again later."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from threading import Lock

import pytest

from shroff.errors import StorageError, TransientError, UsageError
from shroff.explain import hit_records, links
from shroff.explain.links import newest_links
from shroff.lake.reader import LakeReader
from shroff.language.values import DAY_MS
from shroff.log.columns import stored
from shroff.runtime.values import Fresh
from shroff.services.lake.operations import WriteLake
from shroff.services.lake.project_lake import Lakes
from shroff.services.rules import overview as rule_looks
from tests.support.telling import NOW_MS, Bank, payment

OLD, YOUNG = 60, 20
FILES = {
    "notices/customer.yaml": None,
    "shroff.yaml": "shroff: 1\nname: small\nmoney: EUR\nlateness: 1h\nlake: ./lake\nkeep: 3d\n",
    "policy.yaml": None,
    "features.yaml": "card:\n  near: distinct(payment.card via payment.merchant) over 90d including this\n",
    "rules/large.yaml": "- { id: large, on: payment, by: card, when: this.amount > 1, effect: review, shadow: true }\n",
}


class LakeSpy:
    """Counts how often the lake of a project is opened; raises `failure` instead where there is one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, reader = 0, Lakes.reader
        self.failure: Exception | None = None
        self.locks: list[Lock] = []  # of which one `was_locked` when the lake was opened
        self.was_locked = False

        def opened(lakes: Lakes) -> AbstractContextManager[LakeReader]:
            self.opened += 1
            self.was_locked = any(lock.locked() for lock in self.locks)
            if self.failure is not None:
                raise self.failure
            return reader(lakes)

        monkeypatch.setattr(Lakes, "reader", opened)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory) -> Bank:
    bank = Bank(tmp_path_factory.mktemp("pruned"), FILES)
    bank.pay(*(payment(f"p{number}", "5.00", at=NOW_MS + number) for number in range(OLD)))
    bank.project.label("payment/p7", "fraud", source="chargeback")
    bank.clock_ms += 60 * DAY_MS
    bank.pay(*(payment(f"q{number}", "5.00", at=bank.clock_ms + number) for number in range(YOUNG)))
    bank.project.label("payment/p8", "fraud", source="chargeback")
    bank.project.run(WriteLake())
    assert bank.project.retention.prune().upto > OLD
    return bank


@pytest.fixture
def lake(monkeypatch) -> LakeSpy:
    monkeypatch.setattr(hit_records, "_BLOCK", 10)
    monkeypatch.setattr(rule_looks, "SLICE_S", 0.0)
    monkeypatch.setattr(links, "_KEPT", Fresh(8))
    return LakeSpy(monkeypatch)


def counted(bank: Bank) -> tuple[int, int]:
    record = bank.project.rule_looks.records.record("large", bank.project.definitions)
    return record.hits, record.frauds


def test_hits_are_counted_back_through_a_lake_that_is_opened_once(pruned, lake, monkeypatch):
    monkeypatch.setattr(hit_records, "_LAKE_BLOCK", 20)
    pruned.write({})

    assert pruned.project.rule_looks.follow(is_whole=True)
    assert (counted(pruned), lake.opened) == ((OLD + YOUNG, 2), 1)


@pytest.mark.parametrize("failure", [UsageError("there is no bucket b; make it."), StorageError("away")])
def test_without_its_lake_a_rule_has_the_hits_of_the_store(pruned, lake, failure):
    lake.failure = failure
    pruned.write({})

    assert pruned.project.rule_looks.follow(is_whole=True)
    assert pruned.project.rule_looks.follow(is_whole=False)
    assert (counted(pruned), lake.opened) == ((YOUNG, 0), 1)


def test_hits_in_a_lake_that_was_away_for_now_are_counted_by_a_look_some_seconds_later(pruned, lake, monkeypatch):
    lake.failure = TransientError("the network is away")
    pruned.write({})

    for _ in range(3):
        assert not pruned.project.rule_looks.follow(is_whole=True)
        assert (counted(pruned)[0], lake.opened) == (YOUNG, 1), "it is not asked again at once"
    looks = pruned.project.rule_looks
    now_s = time.monotonic() + hit_records.AGAIN_S
    monkeypatch.setattr(looks.records._retry, "_clock", lambda: now_s)
    lake.locks = [looks.kept.lock, looks.records._lock]
    assert not looks.follow(is_whole=True)
    assert not looks.follow(is_whole=True)
    assert (lake.opened, lake.was_locked) == (2, False), "other looks do not wait for the answer"
    lake.locks, lake.failure = [], None
    now_s += hit_records.AGAIN_S
    assert pruned.project.rule_looks.follow(is_whole=True)
    assert counted(pruned) == (OLD + YOUNG, 2), "labels in the store count for events in the lake"


@pytest.mark.parametrize("failure", [UsageError("there is no bucket b; make it."), TransientError("away")])
def test_links_are_of_the_store_until_the_lake_is_there_again(pruned, lake, failure):
    def near() -> tuple[int, int]:
        with pruned.project.log.reading() as log:
            found = newest_links(log, pruned.project.definitions, "card", payment()["card"]).members[0]
        return found.events, lake.opened

    pruned.write({})
    lake.failure = failure

    assert near() == (YOUNG, 1)
    assert near() == (YOUNG, 2), "it is asked again"
    lake.failure = None
    assert near() == (OLD + YOUNG, 3)
    assert near() == (OLD + YOUNG, 3), "what was read is kept"


def test_links_that_were_read_in_part_are_read_on(pruned, lake, monkeypatch):
    with pruned.project.log.reading() as log:
        whole, failures = links.EntityLinks(pruned.project.definitions, "card", 0), [TransientError("away")]
        whole.read(log)
        found, take = links.EntityLinks(pruned.project.definitions, "card", 0), stored.log_columns

        def columns(*given, **more):
            if failures:
                raise failures.pop()
            return take(*given, **more)

        monkeypatch.setattr(links, "log_columns", columns)
        with pytest.raises(TransientError):
            found.read(log)
        found.read(log)

    assert len(whole._decided) == OLD + YOUNG
    assert found._decided.tolist() == whole._decided.tolist()
