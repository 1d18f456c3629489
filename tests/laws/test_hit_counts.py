"""The law of counted hits: counted back from the end in any steps, they are those that are counted from the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.events.definitions import SOURCES
from shroff.events.event import time_text
from shroff.events.labels import VerdictInForce
from shroff.explain import hit_records
from shroff.explain.hit_records import HitRecords
from shroff.streams.log import Batch, HitRow, Record
from tests.support.effort import examples
from tests.support.log_memory import MemoryLog
from tests.support.projects import NOW_MS, definitions

RULES = ("large", "again", "quick")
DEFINITIONS = definitions()


@dataclass(frozen=True, slots=True)
class Step:
    """A payment with its hits, or a label about an earlier place; and whether somebody looks behind it."""

    hits: Sequence[tuple[str, bool]]
    about: int | None
    said: VerdictInForce
    is_looked_at: bool


steps = st.builds(
    Step,
    st.dictionaries(st.sampled_from(RULES), st.booleans()).map(lambda found: list(found.items())),
    st.sampled_from([None, 1, 2, 3, 8]),
    st.builds(
        VerdictInForce,
        st.sampled_from(["fraud", "genuine", "unclear"]),
        st.sampled_from(SOURCES),
        st.sampled_from([NOW_MS, NOW_MS + 1_000, NOW_MS + 2_000]),
    ),
    st.sampled_from([False, False, True]),
)


def appended(log: MemoryLog, step: Step) -> None:
    """The step as the next place of a log."""
    seq = log.last_seq() + 1
    if step.about is not None and step.about < seq:
        said = step.said
        fields = {
            "event": f"payment/p-{step.about}",
            "known_at": time_text(said.known_at_ms),
            "source": said.source,
            "verdict": said.verdict,
        }
        body = msgspec.json.encode(fields, order="sorted")
        record = Record(seq, "label", "label", f"payment/p-{step.about}#{seq}", said.known_at_ms, body, decided=False)
        log.append(Batch([record]))
        return
    body = msgspec.json.encode({"amount": f"{seq}.00"})
    record = Record(seq, "event", "payment", f"p-{seq}", NOW_MS + seq * 1_000, body, decided=False)
    log.append(Batch([record], hits=[HitRow(seq, rule, None, is_shadow) for rule, is_shadow in step.hits]))


def naive(log: MemoryLog, after: int) -> dict[int, tuple[dict[str, bool], str]]:
    """The events behind a place at which rules hit, with their verdicts: straight from the definition."""
    rules = {seq: dict[str, bool]() for seq in range(after + 1, log.last_seq() + 1)}
    for hits in log.hits.after(after):
        for hit in hits:
            rules[hit.seq][hit.rule] = hit.shadow
    said: dict[str, list[VerdictInForce]] = {}
    for records in log.labels_after(after):
        for record in records:
            label = msgspec.json.decode(record.body)
            said.setdefault(label["event"], []).append(
                VerdictInForce(label["verdict"], label["source"], record.time_ms)
            )
    there = {}
    for seq, hit_by in rules.items():
        heard = reversed(said.get(f"payment/p-{seq}", []))  # of equally strong ones the last is in force
        held = max(heard, key=lambda label: label.strength, default=None)
        if hit_by:
            there[seq] = hit_by, "" if held is None else held.verdict
    return there


def found(records: HitRecords) -> dict[int, tuple[dict[str, bool], str]]:
    """The same, as it was counted."""
    return {seq: (event.rules, event.verdict) for seq, event in records.events.items()}


def shown(records: HitRecords) -> object:
    return [(rule, records.newest(rule, None, 100), records.record(rule, DEFINITIONS)) for rule in RULES]


@settings(deadline=None, max_examples=examples(400))
@given(st.lists(steps, min_size=6, max_size=40), st.integers(1, 4), st.integers(3, 50), st.integers(1, 50))
def test_hits_counted_back_are_those_counted_from_the_start(history, block, look_back, afresh):
    #  looks that count one block back each, while the log goes on, against one from the first place on
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hit_records, "_BLOCK", block)
        log, along, back, once = MemoryLog(), HitRecords(), HitRecords(), HitRecords()
        along.follow(log, DEFINITIONS)
        for step in history:
            appended(log, step)
            along.follow(log, DEFINITIONS)
        assert found(along) == naive(log, 0)

        log = MemoryLog()
        patch.setattr(hit_records, "LOOK_BACK", look_back)
        patch.setattr(hit_records, "AFRESH", afresh)
        for step in history:
            appended(log, step)
            if step.is_looked_at:
                back.follow(log, DEFINITIONS, 0.0)
                assert found(back) == naive(log, back.from_seq)
        back.follow(log, DEFINITIONS)
        once.follow(log, DEFINITIONS)

        assert found(back) == naive(log, back.from_seq)
        assert found(once) == naive(log, once.from_seq)
        assert once.from_seq == max(0, log.last_seq() - look_back)
        if once.from_seq == 0:
            assert shown(once) == shown(along)
            assert once.now_ms == along.now_ms


def test_one_look_counts_no_more_than_a_block_where_there_is_no_time(monkeypatch):
    monkeypatch.setattr(hit_records, "_BLOCK", 10)
    log, records = MemoryLog(), HitRecords()
    for _ in range(35):
        appended(log, Step([("large", False)], None, VerdictInForce("fraud", SOURCES[0], NOW_MS), is_looked_at=False))

    counted = []
    while not records.is_whole:
        records.follow(log, DEFINITIONS, 0.0)
        counted.append(records.record("large", DEFINITIONS).hits)
        assert records.since_ms == NOW_MS + (records.from_seq + 1) * 1_000
    assert counted == [10, 20, 30, 35]
