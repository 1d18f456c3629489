"""The law of the engines: naive and online give equal values, in batches of any size.

And of what stands on them: later events change nothing, a replay equals the first run, a
restored writer goes on as if nothing had been.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shroff.adapters.log_memory import MemoryLog, MemoryStore
from shroff.decisions.definitions import Definitions, computed_of
from shroff.decisions.history import Records
from shroff.decisions.replay import verify_naive, verify_online
from shroff.decisions.writer import Writer
from shroff.events.door import LabelInput
from shroff.events.event import canonical_value
from shroff.events.intake import Submission
from shroff.events.labels import LabelEvent, LogEvent
from shroff.features.computed import Computed
from shroff.features.naive import Naive
from shroff.features.online import Online
from shroff.language.columns import values_of
from shroff.language.expression import Aggregate, Node
from tests.laws.projects import START_MS, computing_project, histories, history_of, project, texts

NOW_MS = START_MS + 1
BATCHES = (1, 16, 4_096)
LAW = settings(max_examples=max(400, settings.default.max_examples))
# Without shrinking, which takes minutes where each example opens logs; the numbers that are printed say it again.
QUICK = settings(
    max_examples=max(100, settings.default.max_examples // 10), phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
Texts = tuple[str, str]
Made = tuple[int, int]
Values = list[dict[str, str]]
Change = Callable[[Aggregate], Aggregate]


def by_definition(definitions: Definitions, history: Sequence[LogEvent]) -> Values:
    """What the naive engine gives at each event, as canonical JSON."""
    computed = computed_of(definitions)
    naive = Naive(definitions.events, computed, definitions.reference)
    return [shown(computed, event.type, naive.add(event)) for event in history]


def by_engine(
    definitions: Definitions, history: Sequence[LogEvent], sizes: Sequence[int], change: Change | None = None
) -> Values:
    """What the online engine gives, in batches of these sizes in turn; with `change`, one broken on purpose."""
    asked = computed_of(definitions)
    computed = asked if change is None else [replace(one, node=changed(one.node, change)) for one in asked]
    online = Online(definitions.events, computed, definitions.reference, definitions.settings.lateness_ms)
    found: Values = []
    at = turn = 0
    while at < len(history):
        batch = history[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(batch), turn + 1
        rows: Values = [{} for _ in batch]
        for name, frame in online.compute(batch).items():
            columns = {one: values_of(column) for one, column in frame.computed.items()}
            for mine, row in enumerate(frame.rows.tolist()):
                rows[row] = shown(asked, name, {one: values[mine] for one, values in columns.items()})
        found += rows
    return found


def shown(computed: Sequence[Computed], event: str, values: dict[str, Any]) -> dict[str, str]:
    return {one.name: canonical_value(values[one.name], one.node.type, 2) for one in computed if event in one.events}


def changed(node: Any, change: Change) -> Any:
    """The node with every aggregate in it changed."""
    if isinstance(node, tuple):
        return tuple(changed(part, change) for part in node)
    if not isinstance(node, Node):
        return node
    whole = type(node)(**{one.name: changed(getattr(node, one.name), change) for one in fields(node)})
    return change(whole) if isinstance(whole, Aggregate) else whole


@LAW
@given(found=texts(), made=histories(), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_naive_and_online_agree_in_batches_of_any_size(found: Texts, made: Made, sizes: list[int]):
    definitions, history = computing_project(*found), history_of(*made)
    truth = by_definition(definitions, history)

    for split in (*([size] for size in BATCHES), sizes):
        assert by_engine(definitions, history, split) == truth, f"batches of {split}"


@QUICK
@given(found=texts(), made=histories(), data=st.data())
def test_an_event_after_e_changes_nothing_of_e(found: Texts, made: Made, data: st.DataObject):
    definitions, history = project(*found), history_of(*made)
    place = data.draw(st.integers(0, len(history)))
    log = written(definitions, history)

    before = written(definitions, history[:place])

    assert decisions(log)[: len(decisions(before))] == decisions(before)
    assert everything(log)[0][: before.last_seq()] == everything(before)[0]


@QUICK
@given(found=texts(), made=histories())
def test_a_replay_equals_the_first_run(found: Texts, made: Made):
    definitions, history = project(*found), history_of(*made)
    log = written(definitions, history)

    assert verify_online(log).first_mismatch is None
    assert verify_naive(log, lambda place: True).first_mismatch is None
    assert verify_online(log).events == len(decisions(log))


@QUICK
@given(found=texts(), made=histories(), data=st.data())
def test_a_restored_writer_goes_on_with_equal_bytes(found: Texts, made: Made, data: st.DataObject):
    definitions, history = project(*found), history_of(*made)
    place = data.draw(st.integers(0, len(history)))
    undisturbed = written(definitions, history)

    store = MemoryStore()
    for part in (history[:place], history[place:]):
        log = MemoryLog(store)
        Writer(log, definitions, lambda: NOW_MS).write([submission(event) for event in part])
        log.close()
    restored = MemoryLog(store, read_only=True)

    assert everything(restored) == everything(undisturbed)


@QUICK
@given(old=texts(), new=texts(), made=histories(), data=st.data())
def test_a_new_version_counts_the_whole_log_and_keeps_the_hits(old: Texts, new: Texts, made: Made, data: st.DataObject):
    history = history_of(*made)
    place = data.draw(st.integers(1, len(history)))
    store = MemoryStore()
    for found, part in ((old, history[:place]), (new, history[place:])):
        with closing(MemoryLog(store)) as log:
            Writer(log, project(*found), lambda: NOW_MS).write([submission(event) for event in part])
    log = MemoryLog(store, read_only=True)

    assert verify_online(log).first_mismatch is None
    assert verify_naive(log, lambda place: True).first_mismatch is None
    assert hits_of(log) == hits_by_definition(log, [project(*old), project(*new)])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda one: one if one.over_ms is None else replace(one, over_ms=one.over_ms + 1), id="left edge"),
        pytest.param(lambda one: replace(one, delay_ms=max(one.delay_ms - 1, 0)), id="right edge"),
        pytest.param(lambda one: replace(one, including=False), id="including this"),
        pytest.param(lambda one: replace(one, since_flag=False), id="since flag"),
        pytest.param(lambda one: replace(one, matching=None), id="matching"),
        pytest.param(lambda one: one if one.last_n is None else replace(one, last_n=one.last_n + 1), id="last n"),
    ],
)
def test_the_law_catches_an_engine_that_is_wrong(change: Change):
    @settings(
        max_examples=2_000,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(found=texts(), made=histories())
    def law(found: Texts, made: Made) -> None:
        definitions, history = computing_project(*found), history_of(*made)
        is_equal = by_engine(definitions, history, [4_096], change) == by_definition(definitions, history)
        assert is_equal, "the engines differ"

    with pytest.raises(AssertionError, match="the engines differ"):
        law()


def test_a_thousand_events_agree_while_histories_are_trimmed():
    definitions = computing_project(
        "card:\n"
        "  n: count(payment) over 7ms\n"
        "  low: min(payment.amount) over 10ms including this\n"
        "  countries: distinct(payment.country) over 7ms\n"
        "  larger: count(payment where payment.amount > this.amount) over 7ms\n"
        "  last: last(payment.amount)\n"
        "  mean: mean(payment.points) over last 3\n"
        "merchant:\n"
        "  here: count(payment where payment.country == this.country) over 10ms delayed 3ms\n",
        "- { id: r, on: payment, by: card, effect: review,"
        " when: count(payment) over 10ms since flag including this >= 3 }\n",
    )
    history = history_of(1, 1_000)

    truth = by_definition(definitions, history)

    for size in BATCHES:
        assert by_engine(definitions, history, [size]) == truth


def written(definitions: Definitions, history: Sequence[LogEvent]) -> MemoryLog:
    """The log after a writer took the history as one batch."""
    log = MemoryLog()
    Writer(log, definitions, lambda: NOW_MS).write([submission(event) for event in history])
    return log


def submission(event: LogEvent) -> Submission:
    """The event as it came through the door."""
    if not isinstance(event, LabelEvent):
        return Submission("law", event.id, lambda: b"", event.type, event)
    named, verdict, source, known_at_ms, reason, amount = event.values
    type_, _, id_ = str(named).partition("/")
    label = LabelInput(type_, id_, str(verdict), str(source), int(known_at_ms or 0), reason, amount)  # type: ignore[arg-type]
    return Submission("law", event.id, lambda: b"", "label", label=label)


def hits_of(log: MemoryLog) -> set[tuple[int, str]]:
    return {(row.seq, row.rule) for rows in log.hits_after() for row in rows}


def hits_by_definition(log: MemoryLog, versions: Sequence[Definitions]) -> set[tuple[int, str]]:
    """Which rules hit where, by the naive engine: under each version from its control event on, the past as it was."""
    found: dict[int, set[str]] = defaultdict(set)
    records = [record for batch in log.read() for record in batch]
    starts = [record.seq for record in records if record.kind == "control"]
    for number, start in enumerate(starts):
        definitions = versions[number]
        naive = Naive(definitions.events, computed_of(definitions), definitions.reference)
        reading = Records(definitions.events, definitions.settings.money_places)
        end = starts[number + 1] if number + 1 < len(starts) else len(records) + 1
        for record in records[: end - 1]:
            event = reading.decode(record)
            if event is None:
                continue
            if record.seq < start:
                naive.take(event, frozenset(found[record.seq]), is_asked=False)
                continue
            values = naive.add(event)
            found[record.seq] = {rule.id for rule in definitions.rules if values.get(rule.computed.name) is True}
    return {(seq, rule) for seq, rules in found.items() for rule in rules}


def decisions(log: MemoryLog) -> list[Any]:
    return [row for rows in log.decisions_after() for row in rows]


def everything(log: MemoryLog) -> list[Any]:
    """Records, decisions, hits and flags of a log."""
    readings = (log.read(), log.decisions_after(), log.hits_after(), log.flags_after())
    return [[row for rows in reading for row in rows] for reading in readings]
