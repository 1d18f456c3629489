"""The law of the lake as the older part of a log: whatever was pruned, and when, nobody can tell but by size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import chain
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.adapters.log.sqlite import SqliteLog
from shroff.backtest.run import first_place
from shroff.cases.alert_rules import AlertRules
from shroff.errors import StateError
from shroff.events.event import Event
from shroff.events.labels import LogEvent
from shroff.explain.entities import EntityLook
from shroff.explain.explanation import explain
from shroff.lake import whole_log
from shroff.lake.reader import LakeReader
from shroff.lake.whole_log import WholeLog
from shroff.lake.writer import LakeWriter
from shroff.log import later_labels
from shroff.log.writer import Answer, Writer
from shroff.project.settings.casework import CaseSettings
from shroff.replay import exports
from shroff.replay.compare import verify_online
from shroff.replay.verifying_batch import verify_batch
from shroff.services.retention.log_retention import compare
from shroff.streams.lake import RetriedObjects
from shroff.streams.log import Log
from shroff.streams.snapshots import Snapshots
from tests.laws.projects import LATENESS_MS, START_MS, histories, history_of, project, versions
from tests.laws.test_engines import NOW_MS, Made, Version, submission
from tests.laws.test_lake import LAKE
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.objects import MemoryObjects

RULES = "- { id: r0, on: payment, by: card, when: 'payment.amount > 3', effect: review, notify: analysts }\n"

# So many submissions; then nothing, or the lake is written and some of it pruned, behind a snapshot or without one.
STEPS = st.lists(
    st.tuples(st.integers(1, 20), st.integers(0, 40), st.integers(1, 9), st.sampled_from(["", "start", "snapshot"])),
    min_size=2,
    max_size=6,
)


@contextmanager
def lake_of(objects: MemoryObjects) -> Iterator[LakeReader]:
    yield LakeReader(RetriedObjects(objects, lambda _s: None))


def write_lake(objects: MemoryObjects, log: Log) -> None:
    LakeWriter(RetriedObjects(objects, lambda _s: None), log, lambda: NOW_MS, places_max=11).write()


def prune(objects: MemoryObjects, log: Log, upto: int, places: int) -> None:
    """Up to a place, if there is one, in parts; the last one may be left out, as by a kill."""
    write_lake(objects, log)
    upto = min(upto, log.last_seq() - 1)
    if upto <= log.pruned_to():
        return
    with lake_of(objects) as reader:
        compare(log, reader, log.pruned_to(), upto)
    for _ in range(places):
        log.prune(upto, places)


def rows_of(log: Log) -> list[Any]:
    """All that reading in order gives."""
    names = ("read", "labels_after", "decisions.after", "flags.after", "hits.after")
    rows = [list(chain.from_iterable(attrgetter(name)(log)(size=5))) for name in names]
    return [*rows, b"".join(log.lines(size=7)), b"".join(log.decisions.outcome_lines(size=7)), log.controls()]


def again(events: Sequence[LogEvent], data: st.DataObject) -> list[LogEvent]:
    """Some of these events once more."""
    return [data.draw(st.sampled_from(events)) for _ in range(data.draw(st.integers(0, 6)))] if events else []


def history_with_doubles(made: Made, steps: Sequence[Any], data: st.DataObject) -> list[list[LogEvent]]:
    """What comes at each step: new events and labels, and old ones again."""
    history, at, found = history_of(*made), 0, []
    for count, *_ in steps:
        found.append([*history[at : at + count], *again(history[: at + count], data)])
        at += count
    return found


def run(log: Log, version: Version, events: Sequence[LogEvent], snapshots: Snapshots) -> tuple[Writer, list[Answer]]:
    writer = Writer(log, project(*version), lambda: NOW_MS, snapshots=snapshots)
    return writer, writer.write([submission(event) for event in events])


@LAKE
@given(some=st.lists(versions(), min_size=1, max_size=2), made=histories(), steps=STEPS, data=st.data())
def test_a_pruned_log_is_the_log_that_never_was(some: list[Version], made: Made, steps: Any, data: st.DataObject):
    coming = history_with_doubles(made, steps, data)
    with TemporaryDirectory() as folder:
        store, objects, undisturbed = MemoryStore(), MemoryObjects(), MemoryLog()
        kept, never = Snapshots(Path(folder) / "pruned"), Snapshots(Path(folder) / "never")
        for turn, ((_, upto, places, saves), events) in enumerate(zip(steps, coming, strict=True)):
            version = some[turn % len(some)]
            log = WholeLog(MemoryLog(store), lambda: lake_of(objects))
            writer, answers = run(log, version, events, kept)

            assert answers == run(undisturbed, version, events, never)[1]
            assert not [warning for warning in writer.warnings if "no longer the champion" not in warning]
            if saves == "snapshot":
                writer.snapshot()
            if saves:
                prune(objects, log, upto, places)
            assert rows_of(log) == rows_of(undisturbed)
            assert rows_of(log) == rows_of(WholeLog(MemoryLog(store, read_only=True), lambda: lake_of(objects)))
            log.close()

    log = WholeLog(MemoryLog(store), lambda: lake_of(objects))
    assert verify_online(log).first_mismatch is None
    assert verify_batch(log).first_mismatch is None
    assert_found_alike(log, undisturbed)


def assert_found_alike(log: Log, undisturbed: Log) -> None:
    records = list(chain.from_iterable(undisturbed.read()))
    assert log.records_at(range(len(records) + 5)) == {record.seq: record for record in records}
    for type_ in {record.type for record in records}:
        ids = [record.id for record in records if record.type == type_] + ["never there"]
        assert log.find(type_, ids) == undisturbed.find(type_, ids)
        assert log.decisions.of(type_, ids) == undisturbed.decisions.of(type_, ids)


@LAKE
@given(version=versions(), made=histories(), upto=st.integers(1, 60), data=st.data())
def test_a_lake_over_a_file_answers_old_events_and_takes_labels_for_them(
    version: Version, made: Made, upto: int, data: st.DataObject
):
    history = history_of(*made)
    with TemporaryDirectory() as folder, ExitStack() as held:
        undisturbed, objects = MemoryLog(), MemoryObjects()
        whole = WholeLog(held.enter_context(closing(SqliteLog(Path(folder) / "log.db"))), lambda: lake_of(objects))
        writers = [Writer(item, project(*version), lambda: NOW_MS) for item in (whole, undisturbed)]
        late = [event for event in history if not isinstance(event, Event)]  # labels come when all else is there
        first = [event for event in history if isinstance(event, Event)]
        for part in (first, [*late, *again(first, data)]):
            answers = [writer.write([submission(event) for event in part]) for writer in writers]

            assert answers[0] == answers[1]
            prune(objects, whole, upto, 9)
        assert rows_of(whole) == rows_of(undisturbed)


TOLD: Version = ("card:\n  spent: sum(payment.amount) over 1s\nmerchant:\n  f: count(label) over 1s\n", RULES, 0)


def told(log: Log) -> list[Any]:
    """What people see of a log: explanations, pages of keys, what a search finds, alerts, exports."""
    definitions = project(*TOLD)
    look, found = EntityLook(log, definitions), list[Any]()
    for row in list(chain.from_iterable(log.decisions.after()))[-2:]:
        found.append(explain(log, row))
    for entity, key in (("card", "a"), ("merchant", "nobody")):
        before: int | None = None
        while before != 1:
            page = look.timeline(entity, key, before=before, limit=9)
            found.append(page)
            before = page.looked_to + 1
        found += [look.links(entity, key, look.timeline(entity, key)), look.entities_with(key)]
    found.append(AlertRules(log, CaseSettings(), 2).alerts(0, log.last_seq()))
    return [*found, *(list(chain.from_iterable(exports.lines(log, kind, "jsonl"))) for kind in exports.KINDS.values())]


def test_people_are_told_the_same_of_a_log_that_was_pruned():
    undisturbed, pruned, objects = MemoryLog(), MemoryLog(), MemoryObjects()
    whole = WholeLog(pruned, lambda: lake_of(objects))
    for log in (undisturbed, whole):
        run(log, TOLD, history_of(7, 40), Snapshots(Path("/nowhere")))
    truth = told(undisturbed)
    for upto in (25, 37):
        prune(objects, whole, upto, 40)

        assert pruned.pruned_to() == upto
        assert told(whole) == truth
        for moment_ms in range(START_MS, whole.watermark_ms() + 50, 9):  # of a report, which looks for its day
            floor = later_labels.floor_of(whole, moment_ms, whole.last_seq())
            early = [record for records in undisturbed.read(0, floor) for record in records if record.kind == "event"]
            assert all(item.time_ms < moment_ms + LATENESS_MS for item in early)


def test_a_page_ends_at_the_lake_where_that_cannot_be_reached():
    log, objects = MemoryLog(), MemoryObjects()
    run(log, TOLD, history_of(7, 60), Snapshots(Path("/nowhere")))
    young = [record.seq for records in log.read(30) for record in records]
    moments, last = range(START_MS, log.watermark_ms() + 50, 9), log.last_seq()
    firsts = {moment_ms: first_place(log, moment_ms, LATENESS_MS, last) for moment_ms in moments}
    prune(objects, log, 30, 9)
    whole = whole_log.whole(log, None)
    page = EntityLook(whole, project(*TOLD)).timeline("card", "a")
    begins = {
        moment_ms: first_place(whole, moment_ms, LATENESS_MS, last)
        for moment_ms in moments
        if later_labels.floor_of(whole, moment_ms - LATENESS_MS, last)  # the store begins before it
    }

    assert begins
    assert begins == {moment_ms: firsts[moment_ms] for moment_ms in begins}

    assert page.looked_to == 30
    assert page.is_cut
    assert {event.record.seq for event in page.events} < set(young)


def test_the_law_catches_a_lake_that_forgets_a_place(monkeypatch: pytest.MonkeyPatch):
    class Forgetful(LakeReader):
        def records_at(self, places: Any) -> Any:
            return {seq: record for seq, record in super().records_at(places).items() if seq % 2}

    log, objects, history = MemoryLog(), MemoryObjects(), history_of(7, 40)
    whole = WholeLog(log, lambda: lake_of(objects))
    _, answers = run(whole, ("", "", 0), history, Snapshots(Path("/nowhere")))
    prune(objects, whole, 30, 30)
    monkeypatch.setattr("tests.laws.test_pruning.LakeReader", Forgetful)

    assert answers
    with pytest.raises(StateError, match="another record"):
        assert_found_alike(whole, whole)
