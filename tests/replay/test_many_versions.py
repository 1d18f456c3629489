"""A log of many versions: what they share is read once, and those whose past is the same are one pass of `verify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import pytest

from shroff.language.yaml import text as yamltext
from shroff.log.activation import check_change
from shroff.log.history import has_hashed, types_of
from shroff.log.state import fold
from shroff.log.state.fold import Progress, lateness_of
from shroff.replay.compare import Verification, verify_naive, verify_online
from shroff.replay.verifying_batch import AT_ONCE, verify_batch
from shroff.runtime.values import replace
from shroff.streams.log import Log
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, definitions, label, payment, writer

pytestmark = pytest.mark.slow  # each test verifies a log of many versions

Verify = Callable[[Log, Progress | None], Verification]
CARDS: Final = tuple("abcdef")
BLOCKED: Final = "- { id: blocked, on: payment, by: card, when: this.card in lists.blocked, effect: decline }\n"
ASKED: Final = """
card:
  payments_1h: count(payment) over 1h
  is_listed: this.card in lists.blocked
"""
COUNTED: Final = ASKED + "  listed_before: count(payment where payment.card in lists.blocked)\n"
ENGINES: Final[Mapping[str, Verify]] = {
    "online": verify_online,
    "batch": verify_batch,
    "naive": lambda log, progress: verify_naive(log, lambda _: True, progress),
}


def with_list(*blocked: str, **more: str) -> dict[str, str | None]:
    """The small project with a rule and a feature about a list."""
    return {
        "features.yaml": ASKED,
        "rules/blocked.yaml": BLOCKED,
        "lists/blocked.csv": "value\n" + "".join(f"{item}\n" for item in blocked),
        **more,
    }


def grown(versions: int, **more: str) -> MemoryLog:
    """A log in whose every version another card is blocked, with seven payments in each but every fifth; one label."""
    log, number = MemoryLog(), 0
    for version in range(versions):
        deciding = writer(log, with_list(f"n-{version}", CARDS[version % len(CARDS)], **more))
        for _ in range(0 if version % 5 == 4 else 7):
            number += 1
            card = CARDS[number % len(CARDS)]
            deciding.write([payment(number, number, card=card, amount=f"{(number * 37) % 140}.00")])
        if version == 1:
            deciding.write([label(1, "payment/p3", "fraud", "chargeback", "2026-03-01T12:30:00Z")])
    return log


def looked_at(log: Log, verify: Verify) -> tuple[Verification, int]:
    """What came of it, and how many events it looked at."""
    counts: list[int] = []
    return verify(log, counts.append), sum(counts)


def ruined(log: MemoryLog, at: int, before: bytes, after: bytes) -> int:
    """Change the document of one decision that has these bytes, the first behind a place; gives its place."""
    seq = next(seq for seq, row in log.store.decisions.items() if seq > at and before in row.document)
    row = log.store.decisions[seq]
    log.store.decisions[seq] = replace(row, document=row.document.replace(before, after, 1))
    return seq


@pytest.mark.parametrize("engine", ENGINES)
def test_versions_that_differ_in_what_rules_ask_are_one_pass(engine):
    log = grown(12)
    events = sum(record.kind != "control" for records in log.read() for record in records)

    found, looked = looked_at(log, ENGINES[engine])

    assert (found.mismatches, found.events) == (0, len(log.store.decisions))
    assert looked == events
    assert {row.rule for row in log.store.hits} == {"blocked", "large"}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_list_that_is_counted_by_is_another_past(engine):
    log = grown(6, **{"features.yaml": COUNTED})
    events = sum(record.kind != "control" for records in log.read() for record in records)

    found, looked = looked_at(log, ENGINES[engine])

    assert (found.mismatches, found.events) == (0, len(log.store.decisions))
    assert looked > 2 * events


@pytest.mark.parametrize("engine", ENGINES)
def test_one_wrong_decision_is_found_and_those_behind_it_are_compared(engine):
    log = grown(9)
    first = ruined(log, 12, b'"card.payments_1h":1}', b'"card.payments_1h":7}')
    second = ruined(log, 40, b'"card.payments_1h":', b'"card.payments_1h":9')

    found, _ = looked_at(log, ENGINES[engine])

    assert found.mismatches == 2
    assert found.first_mismatch is not None
    assert found.first_mismatch.seq == first < second
    assert found.events == len(log.store.decisions)


@pytest.mark.parametrize("engine", ["online", "batch"])
def test_a_hit_by_the_list_of_another_version_is_found(engine):
    log = grown(9)
    at, hit = next((at, hit) for at, hit in enumerate(log.store.hits) if hit.rule == "blocked" and hit.seq > 20)
    beside = next(
        seq for seq in log.store.decisions if seq > hit.seq and seq not in {record.seq for record in log.store.hits}
    )
    log.store.hits[at] = replace(hit, seq=beside)
    log.store.hits.sort(key=lambda hit: hit.seq)

    found, _ = looked_at(log, ENGINES[engine])

    assert found.mismatches == 2  # one that is gone, one too many


def test_a_wrong_past_is_not_gone_on_with():
    log = grown(4)
    wanted = next(hit for hit in log.store.hits if hit.rule == "large")
    log.store.hits.remove(wanted)

    found, looked = looked_at(log, verify_online)

    assert found.mismatches == 1
    assert looked > sum(record.kind != "control" for records in log.read() for record in records)


def test_so_many_versions_that_lists_fill_memory_are_several_passes():
    log = grown(AT_ONCE + 12)
    found, looked = looked_at(log, verify_batch)
    events = sum(record.kind != "control" for records in log.read() for record in records)

    assert (found.mismatches, found.events) == (0, len(log.store.decisions))
    assert events < looked < 2 * events


def test_the_last_version_may_have_one_event_or_none():
    for versions, more in ((5, 0), (5, 1)):
        log = grown(versions)
        deciding = writer(log, with_list("z"))
        if more:
            deciding.write([payment(99, 99, card="z")])

        for verify in ENGINES.values():
            found, _ = looked_at(log, verify)
            assert (found.mismatches, found.events) == (0, len(log.store.decisions))
        assert [row.rule for row in log.store.hits if row.seq == log.last_seq()] == ["blocked"] * more


# ---- what versions share


def test_a_file_that_versions_share_is_read_once(monkeypatch):
    log, read, texts = grown(30), yamltext.read, list[str]()
    now = definitions(with_list("another", **{"features.yaml": COUNTED}))
    monkeypatch.setattr(yamltext, "read", lambda text, *more: texts.append(text) or read(text, *more))
    monkeypatch.setattr(fold, "written_lateness_ms", fold.written_lateness_ms.__wrapped__)

    assert types_of(log) == {"payment": True}
    assert lateness_of(log, now) == now.settings.lateness_ms
    check_change(log, now)

    assert texts == [FILES["events.yaml"], FILES["shroff.yaml"], FILES["events.yaml"]]


def test_what_one_version_said_counts_for_all_that_come_behind_it():
    log = grown(2)
    late = FILES["shroff.yaml"] + "lateness: 48h\n"
    hashed = FILES["events.yaml"].replace("card: text?", "card: text?, mail: text? hashed")
    login = FILES["events.yaml"] + "login: { id: id, time: at, fields: { id: text, at: time } }\n"
    for changes in ({"shroff.yaml": late}, {"events.yaml": login}):
        writer(log, changes)
    assert not has_hashed(log)
    writer(log, {"events.yaml": hashed})
    now = definitions()
    writer(log)

    assert lateness_of(log, now) == 2 * 86_400_000 > now.settings.lateness_ms
    assert types_of(log) == {"payment": True, "login": False}
    assert has_hashed(log)
