"""The law of the batch engine: over a whole history it gives what the definition gives event by event."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.events.labels import LogEvent
from shroff.features.batch import columns as batch_columns
from shroff.features.batch import engine as batch
from shroff.features.batch import feed as batch_feed
from shroff.features.batch.engine import BatchEngine
from shroff.features.frames import Coded, Codes, ColumnFrame, Dictionary, Frame, frames_of
from shroff.features.online.group_state import Feed, GroupState
from shroff.language.columns import Column, values_of
from shroff.project.definitions import Definitions, computed_of
from shroff.replay.verification import verify
from shroff.runtime.values import replace
from tests.laws.projects import computing_project, histories, history_of, some_cases, some_texts, texts
from tests.laws.test_engines import (
    CHANGES,
    LAW,
    QUICK,
    SOME_VERSIONS,
    Change,
    Made,
    Texts,
    Values,
    Version,
    by_definition,
    by_engine,
    changed_all,
    decisions,
    shown,
    written_by,
)
from tests.support.effort import long_after

ENGINES = ("online", "batch", "naive")


def by_batch(
    definitions: Definitions,
    history: Sequence[LogEvent],
    sizes: Sequence[int] = (16,),
    *,
    change: Change | None = None,
    as_columns: bool = False,
    rows: int = 10,
    threads: int = 1,
) -> Values:
    """What the batch engine gives at each event, of what does not look since a flag; added in batches of these sizes.

    With `change` its aggregates are changed, so it is wrong on purpose.
    """
    asked = [definition for definition in computed_of(definitions) if not definition.looks_since_flag]
    computed = changed_all(asked, change)
    found: Values = [{} for _ in history]
    late_ms = definitions.settings.lateness_ms
    with closing(BatchEngine(definitions.events, computed, definitions.reference, late_ms, threads=threads)) as engine:
        for part in parts_of(history, sizes):
            frames = frames_of(part, definitions.events, definitions.reference)
            if as_columns:
                frames = {name: columns_of(frame, definitions) for name, frame in frames.items()}
            engine.add(frames, len(part))
        places: dict[str, Iterator[int]] = {}
        for frames in engine.answers(rows):
            for name, frame in frames.items():
                mine = places.setdefault(name, (at for at, event in enumerate(history) if event.type == name))
                columns = {feature: values_of(column) for feature, column in frame.computed.items()}
                for row in range(len(frame)):
                    values = {feature: listed[row] for feature, listed in columns.items()}
                    found[next(mine)] = shown(asked, name, values)
    return found


def parts_of(history: Sequence[LogEvent], sizes: Sequence[int]) -> Iterator[Sequence[LogEvent]]:
    at = turn = 0
    while at < len(history):
        part = history[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(part), turn + 1
        yield part


def columns_of(frame: Frame, definitions: Definitions) -> Frame:
    """The frame as one that came as columns: texts as codes, one dictionary for each batch."""
    if frame.type.name == "label":
        return frame
    columns: dict[str, Column | Coded] = {}
    for field in frame.type.fields:
        column = frame.field(field.name, field.type)
        if field.type.is_text:
            codes = Codes()
            found = codes.of(values_of(column))
            columns[field.name] = Coded(found.astype(np.int32), Dictionary(codes.values))
        else:
            columns[field.name] = column
    return ColumnFrame(frame.type, columns, frame.times, frame.rows, definitions.events, definitions.reference)


def without_flags(definitions: Definitions, truth: Values) -> Values:
    """The same without what looks since a flag."""
    left_out = {definition.name for definition in computed_of(definitions) if definition.looks_since_flag}
    return [{name: value for name, value in row.items() if name not in left_out} for row in truth]


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@LAW
@given(found=texts(), made=histories(), sizes=SIZES, rows=st.integers(1, 40), threads=st.sampled_from([1, 2]))
def test_batch_and_definition_agree(found: Texts, made: Made, sizes: list[int], rows: int, threads: int):
    definitions, history = computing_project(*found), history_of(*made)

    computed = by_batch(definitions, history, sizes, rows=rows, threads=threads)

    assert computed == without_flags(definitions, by_definition(definitions, history))


@LAW
@given(found=texts(), made=histories(), sizes=SIZES)
def test_events_that_come_as_columns_give_the_same(found: Texts, made: Made, sizes: list[int]):
    definitions, history = computing_project(*found), history_of(*made)

    assert by_batch(definitions, history, sizes, as_columns=True) == by_batch(definitions, history)


@QUICK
@given(found=texts(), made=histories(), held_bytes=st.sampled_from([0, 2_000, 6_000]))
def test_answers_that_go_through_a_file_are_the_same(found: Texts, made: Made, held_bytes: int):
    definitions, history = computing_project(*found), history_of(*made)
    expected = by_batch(definitions, history)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "HELD_BYTES", held_bytes)
        patch.setattr(batch_feed, "SPILL_ROWS", 7)
        assert by_batch(definitions, history) == expected


@LAW
@given(found=texts(), made=histories(), data=st.data())
def test_an_event_after_e_changes_nothing_of_e_in_any_engine(found: Texts, made: Made, data: st.DataObject):
    definitions, history = computing_project(*found), history_of(*made)
    place = data.draw(st.integers(0, len(history)))

    for compute in (by_definition, by_batch, lambda *asked: by_engine(*asked, [16])):
        assert compute(definitions, history)[:place] == compute(definitions, history[:place])


@QUICK
@given(some=SOME_VERSIONS, made=histories(), data=st.data())
def test_a_log_with_several_versions_is_proved_by_three_engines(some: list[Version], made: Made, data: st.DataObject):
    log = written_by(some, history_of(*made), data)

    found = verify(log, ENGINES)

    assert found.first_mismatch is None
    assert found.events == len(decisions(log))


def forgets_missing_values(feed: Feed) -> Feed:
    return replace(feed, kept=np.ones_like(feed.kept))


def asks_about_itself(feed: Feed) -> Feed:
    return replace(feed, asks=np.where(feed.asks >= 0, feed.inserts, -1))


def counts_whoever_asks(feed: Feed) -> Feed:
    return replace(feed, inserts=np.maximum(feed.inserts, feed.asks))


def law_of(compute: Callable[[Definitions, Sequence[LogEvent]], Values]) -> Callable[[], None]:
    def law() -> None:
        for random, history in some_cases(2_000):
            definitions = computing_project(*some_texts(random))
            truth = without_flags(definitions, by_definition(definitions, history))
            assert compute(definitions, history) == truth, "the engines differ"

    return law


@pytest.mark.parametrize("broken", long_after(1, [forgets_missing_values, asks_about_itself, counts_whoever_asks]))
def test_the_law_catches_a_feed_that_is_wrong(broken: Callable[[Feed], Feed], monkeypatch: pytest.MonkeyPatch):
    feed = GroupState.feed
    monkeypatch.setattr(GroupState, "feed", lambda self, frames, size: broken(feed(self, frames, size)))

    with pytest.raises(AssertionError, match="the engines differ"):
        law_of(by_batch)()


def test_the_law_catches_answers_that_are_one_row_late(monkeypatch: pytest.MonkeyPatch):
    answer = batch_feed.GroupFeed.answer

    def late(self: batch_feed.GroupFeed, size: int) -> Any:
        out, valid = answer(self, size)
        return np.roll(out, 1, axis=1), np.roll(valid, 1, axis=1)

    monkeypatch.setattr(batch_feed.GroupFeed, "answer", late)

    with pytest.raises(AssertionError, match="the engines differ"):
        law_of(by_batch)()


def test_the_law_catches_a_field_that_is_not_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch_columns.Keeper, "_fields_of_group", lambda self, group, event: {})

    with pytest.raises(AssertionError, match="the engines differ"):
        law_of(by_batch)()


@pytest.mark.parametrize("change", long_after(2, [item for item in CHANGES if item.id != "since flag"]))
def test_the_law_catches_a_window_that_is_wrong(change: Change):
    with pytest.raises(AssertionError, match="the engines differ"):
        law_of(lambda definitions, history: by_batch(definitions, history, change=change))()


def test_a_thousand_events_of_a_hot_key_agree():
    definitions = computing_project(
        "card:\n"
        "  n: count(payment) over 7ms\n"
        "  countries: distinct(payment.country) over 7ms\n"
        "  larger: count(payment where payment.amount > this.amount) over 7ms\n"
        "  most: max(card.n of payment) over 20ms\n"
        "  median: quantile(card.most of payment, 0.5) over last 5\n"
        "merchant:\n"
        "  here: count(payment where payment.country == this.country) over 10ms delayed 3ms\n"
        "  frauds: count(label where label.verdict == 'fraud')\n"
    )
    history = history_of(1, 1_000)
    truth = by_definition(definitions, history)

    for sizes in ([1], [4_096], [100, 1]):
        assert by_batch(definitions, history, sizes, rows=300, threads=2) == truth


def test_what_a_feature_was_at_a_label_is_missing_in_every_engine():
    definitions = computing_project(
        "card:\n"
        "  n: count(payment)\n"
        "  labels: count(label where card.n of label is missing)\n"
        "  none: last(card.n of label)\n"
        "  busy: count(payment where card.labels of payment >= 1) over 10ms\n"
    )
    history = history_of(3, 60)
    truth = by_definition(definitions, history)

    assert {row["card.none"] for row in truth if row} == {"null"}
    assert max(row["card.labels"] for row in truth if row) > "0"
    assert by_batch(definitions, history) == truth
    assert by_engine(definitions, history, [16]) == truth


def test_nothing_gives_nothing():
    definitions = computing_project("card: { n: count(payment) over 7ms }\n")

    assert by_batch(definitions, []) == []
