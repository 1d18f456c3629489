"""What people are told of values that are too large: which, how often, where first and last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from itertools import product
from typing import Any

import pytest

from shroff.engine.step import Engine, SequencedEvent
from shroff.events.event import Event
from shroff.features.batch.engine import BatchEngine as ByColumns
from shroff.features.batch.remarks import LEFT_OUT, SUM_OUTSIDE
from shroff.features.frames import frames_of
from shroff.features.key_texts import Hits
from shroff.features.naive import Naive
from shroff.features.online import engine as online
from shroff.features.online.engine import Online
from shroff.features.programs import compiler
from shroff.language.aggregates import AGGREGATES
from shroff.language.columns import values_of
from shroff.language.types import INTEGER_MAX, INTEGER_MIN
from shroff.monitoring.doctor import NOTE, OK, look_at_inbox, look_at_remarks
from shroff.project.definitions import Definitions, computed_of
from shroff.streams.log import Batch, InboxRequest, Record, Remark
from tests.laws.fallback import without_programs
from tests.support.effort import long_after, long_but
from tests.support.log_memory import MemoryLog
from tests.support.projects import NOW_MS, definitions, payment, writer

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, kind: text, points: integer?, limit: integer? }
sale:
  id: id
  time: at
  fields: { id: text, at: time, card: text?, points: integer }
entities:
  card: { payment: card, sale: card }
"""
HUGE = 2 * 10**15
FULL = 10**15  # 9,223 of these fit 64 bits
WAYS = pytest.mark.parametrize("way", [nullcontext, without_programs], ids=["kernel", "python"])
Found = dict[tuple[str, str], tuple[int, int, int]]


@pytest.fixture(autouse=True, params=[0, online.FEW], ids=["by columns", "one by one"])
def _few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "FEW", request.param)


def project(features: str = "", rule: str = "") -> Definitions:
    rules = f"- id: r\n  on: payment\n  by: card\n  when: {rule}\n  effect: note\n" if rule else None
    return definitions({"events.yaml": EVENTS, "features.yaml": features, "rules/large.yaml": rules})


def event(found: Definitions, type_: str, number: int, **fields: Any) -> Event:
    given = {"id": f"{type_}-{number}", "at": NOW_MS + number * 1000, "kind": "x", "card": "c"} | fields
    return Event(type_, given["id"], given["at"], tuple(map(given.get, found.events.types[type_].field_names)))


def payments(found: Definitions, rows: Iterable[tuple[str | None, str, int | None]]) -> list[Event]:
    return [
        event(found, "payment", number, card=card, kind=kind, points=points, limit=HUGE + 1)
        for number, (card, kind, points) in enumerate(rows)
    ]


def remarked(found: Definitions, events: Sequence[Event], size: int, past: Hits | None = None) -> Found:
    """The remarks of a run in batches of one size, added up as a log does."""
    engine, log = Engine(found), MemoryLog()
    placed = [SequencedEvent(seq, event, b"{}", past) for seq, event in enumerate(events, start=1)]
    for start in range(0, len(placed), size):
        part = placed[start : start + size]
        records = [Record(item.seq, "event", item.event.type, item.event.id, 0, b"{}", decided=True) for item in part]
        log.append(Batch(records=records, remarks=engine.step(part).remarks))
    return {(remark.what, remark.asker): (remark.count, remark.first_seq, remark.last_seq) for remark in log.remarks()}


#  place    card  kind  points     left out by
ROWS = [
    ("c", "x", HUGE),  #   1    total, of_x, squares
    ("c", "y", HUGE),  #   2    total, squares
    (None, "x", HUGE),  #  3    (nobody's)
    ("c", "x", None),  #   4
    ("c", "x", 5),  #      5
    ("c", "x", 4 * 10**7),  # 6  squares
]
FEATURES = """
card:
  total: sum(payment.points) over 1h
  of_x: mean(payment.points where payment.kind == 'x') over 1h
  squares: sum(payment.points * payment.points) over 1h / mean(payment.points * payment.points) over 2h
  largest: max(payment.points) over 1h
"""


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_values_that_are_left_out_are_remarked_once_for_each_feature(size):
    found = project(FEATURES)

    assert remarked(found, payments(found, ROWS), size) == {
        (LEFT_OUT, "card.of_x"): (1, 1, 1),
        (LEFT_OUT, "card.squares"): (3, 1, 6),
        (LEFT_OUT, "card.total"): (2, 1, 2),
    }


KEEPING = [row for row in AGGREGATES.values() if row.takes is not None and not row.is_summed]
CONDITIONS = {
    "": (1, 3, 4, 7),  # the places at which a square is beyond 64 bits and comes to the aggregate
    " where payment.kind == 'x'": (1, 4, 7),
    " where payment.kind == this.kind": (1, 3, 4, 7),
    " where payment.points < this.limit": (1, 3, 4, 7),
}


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7])
def test_every_aggregate_that_keeps_a_value_leaves_one_beyond_64_bits_out_and_is_remarked(size):
    """Squares of whole numbers, in a window, among the last three, with the event itself: as the definition says."""
    told = {
        f"f{number}": (
            f"{row.name}(payment.points * payment.points{', 1' if row.has_rank else ''}{where}){window}",
            places,
        )
        for number, (row, (where, places), window) in enumerate(
            product(KEEPING, CONDITIONS.items(), (" over 1h", " over 1h including this", " over last 3"))
        )
        if not (row.scans and "last" in window)
    }
    found = project("card:\n" + "".join(f"  {name}: {text}\n" for name, (text, _) in told.items()))
    points = [("x", 2**40), ("x", 3), ("y", 2**40), ("x", 2**40), ("x", 5), ("y", 7), ("x", -(2**62))]
    events = payments(found, [("c", kind, value) for kind, value in points])
    read = found.events, computed_of(found), found.reference
    naive, engine = Naive(*read), Online(*read, found.settings.lateness_ms)
    wanted = [naive.add(item) for item in events]
    by_batches = [engine.compute(events[at : at + size])["payment"] for at in range(0, len(events), size)]
    with closing(ByColumns(*read, found.settings.lateness_ms, threads=1)) as batch:
        batch.add(frames_of(events, found.events, found.reference), len(events))
        by_columns = [frames["payment"] for frames in batch.answers(len(events))]

    remarks = remarked(found, events, size)
    assert {asker: kept for (_, asker), kept in remarks.items()} == {
        f"card.{name}": (len(places), places[0], places[-1]) for name, (_, places) in told.items()
    }
    for name, (text, _) in told.items():
        for frames in (by_batches, by_columns):
            values = [value for frame in frames for value in values_of(frame.computed[f"card.{name}"])]
            assert values == [item[f"card.{name}"] for item in wanted], text


@WAYS
@pytest.mark.parametrize("size", [1, 4, 6])
def test_a_look_remarks_what_its_condition_may_take(way, size):
    told = "sum(payment.points where payment.kind == 'x' and payment.points < this.limit) over 1h"
    with way():
        found = project(f"card:\n  looked: {told}\n")
        remarks = remarked(found, payments(found, ROWS), size)

    assert remarks == {(LEFT_OUT, "card.looked"): (1, 1, 1)}


@pytest.mark.parametrize("size", [1, 2])
def test_a_number_that_a_plan_took_for_smaller_stops_nothing_and_is_remarked(size, monkeypatch):
    monkeypatch.setattr(compiler, "surely_fits", lambda *_: True)
    found = project(
        "card:\n"
        "  of_seen: count(payment where -payment.points < this.limit) over 1h\n"
        "  of_this: count(payment where payment.limit > 0 - this.points) over 1h\n"
    )

    assert remarked(found, payments(found, [("c", "x", INTEGER_MIN), ("c", "x", 5)]), size) == {
        (LEFT_OUT, "card.of_seen"): (1, 1, 1),
        (LEFT_OUT, "card.of_this"): (1, 1, 1),
    }


def test_an_event_is_not_counted_where_its_condition_cannot_be_carried_out(monkeypatch):
    """The answer of the event before it still stands in the registers."""
    monkeypatch.setattr(compiler, "surely_fits", lambda *_: True)
    found = project("card:\n  added: count(payment where payment.points + this.points > 0) over 1h\n")
    online = Online(found.events, computed_of(found), found.reference, found.settings.lateness_ms)
    rows = [("c", "x", 0), ("c", "x", 5), ("c", "x", INTEGER_MAX)]
    column = online.compute(payments(found, rows))["payment"].computed["card.added"]

    assert column.values.tolist() == [0, 1, 1]


@WAYS
@pytest.mark.parametrize("pair", ["", " and payment.kind == this.kind"], ids=["key", "pair"])
@pytest.mark.parametrize("size", [1, 4, 6])
def test_a_rule_since_its_flag_is_named_by_its_id(way, pair, size):
    with way():
        found = project(rule=f"sum(payment.points where payment.kind == 'x'{pair}) over 1h since flag > 1")
        remarks = remarked(found, payments(found, ROWS), size)

    assert remarks == {(LEFT_OUT, "rule r"): (1, 1, 1)}


SUMS = {
    "key": "sum(sale.points)",
    "look": "sum(sale.points where sale.points > 5 or sale.points < this.limit) over 30d",
    "since flag": "sum(sale.points) since flag",
    "look since flag": "sum(sale.points where sale.points > 5 or sale.points < this.limit) over 30d since flag",
}


@pytest.mark.slow
@WAYS
@pytest.mark.parametrize("told", long_but(SUMS.values(), SUMS["key"], SUMS["look since flag"]), ids=SUMS.keys())
@pytest.mark.parametrize("size", long_after(1, [20_000, 12, 4096]))
def test_sums_outside_64_bits_are_remarked_where_they_are_asked(way, told, size):
    #  place            1 .. 9,223   9,224   9,225   9,226   9,227 (no card)   9,228   9,229 (no limit)
    #  type             sale         pay     sale    pay     pay               pay     pay
    #  sum outside                   no              yes                       yes     yes, but for looks
    is_rule, is_look = "since flag" in told, "this" in told
    with way():
        found = project(rule=f"{told} > 9 or false") if is_rule else project(f"card:\n  ever: {told}\n")
        events = [event(found, "sale", number, points=FULL) for number in range(1, 9_224)]
        events.append(event(found, "payment", 9_224, limit=HUGE, card="d" if is_rule else "c"))  # a hit empties all
        events.append(event(found, "sale", 9_225, points=FULL))
        events.append(event(found, "payment", 9_226, limit=HUGE))
        events.append(event(found, "payment", 9_227, limit=HUGE, card=None))
        events.append(event(found, "payment", 9_228, limit=HUGE))
        events.append(event(found, "payment", 9_229, limit=None))
        remarks = remarked(found, events, size)
        undecided = remarked(found, events, size, past={})

    expected = (2, 9_226, 9_228) if is_look else (3, 9_226, 9_229)
    assert remarks == {(SUM_OUTSIDE, "rule r" if is_rule else "card.ever"): expected}
    assert undecided == {}


def test_a_rule_that_has_expired_asks_for_nothing():
    rule = "- id: r\n  on: payment\n  by: card\n  when: sum(sale.points) > 9\n  effect: note\n  expires: 2026-05-01\n"
    found = definitions({"events.yaml": EVENTS, "features.yaml": "", "rules/large.yaml": rule})
    events = [event(found, "sale", number, points=FULL) for number in range(9_224)]
    events.append(event(found, "payment", 9_224))
    assert NOW_MS > 1_777_593_600_000, "it has expired"

    assert remarked(found, events, 4096) == {}


def test_a_writer_commits_remarks_with_the_batch_that_brought_them():
    log = MemoryLog()
    scaled = {"features.yaml": "card:\n  scaled: sum(payment.amount * 10000000) over 1h\n"}
    wrote = writer(log, scaled)
    wrote.write([payment(1, amount="5.00"), payment(2, 1, amount="9999999.00")])
    wrote.write([payment(3, 2, amount="9999999.00")], decide=False)
    (remark,) = log.remarks()
    log.close()

    assert (remark.what, remark.asker, remark.count, remark.first_seq, remark.last_seq) == (
        LEFT_OUT,
        "card.scaled",
        2,
        3,
        4,
    )
    assert remark.last_ms - remark.first_ms == 60_000
    again = MemoryLog(log.store)
    writer(again, scaled)
    assert again.remarks() == [remark], "what is folded was remarked before"


def test_doctor_says_what_was_left_out_since_when_and_what_to_do():
    (none,) = look_at_remarks([])
    first, second = look_at_remarks(
        [
            Remark(SUM_OUTSIDE, "rule many_small", 1_200, 5, NOW_MS, 9_000, NOW_MS + 60_000),
            Remark(LEFT_OUT, "card.squares", 1, 5, NOW_MS, 5, NOW_MS),
        ]
    )

    assert (none.state, first.state, second.state) == (OK, NOTE, NOTE)
    assert first.words == (
        "rule many_small: at 1,200 events its sum exceeded 64 bits and was missing, since sequence number 5 "
        "(2026-05-28T20:26:40Z), last at sequence number 9,000 (2026-05-28T20:27:40Z)"
    )
    assert second.words == (
        "card.squares: 1 event had a value that is too large and was ignored, since sequence number 5 "
        "(2026-05-28T20:26:40Z)"
    )
    assert "shorter window" in first.cure
    assert "number(2)" in second.cure


def test_doctor_says_what_waits_in_the_inbox_and_for_how_long():
    waiting = [InboxRequest(3, "labels", b"[]", NOW_MS - 3_723_400), InboxRequest(4, "drop", b"[]", NOW_MS)]
    waiting.append(InboxRequest(5, "labels", b"[]", NOW_MS))

    assert look_at_inbox([], NOW_MS).state == OK
    found = look_at_inbox(waiting, NOW_MS)
    assert found.state == NOTE
    assert found.words == ("3 requests (labels: 2, drop: 1) waiting for the active writer; the oldest is 1h2m3s old")
    assert "'shroff ingest'" in found.cure
