"""The law of the engines: naive and online give equal values, in batches of any size.

And of what stands on them: later events change nothing, a replay equals the first run, a
restored writer goes on as if nothing had been.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import groupby, pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from shroff.events.event import Event, canonical_value
from shroff.events.intake import Submission
from shroff.events.labels import LabelEvent, LogEvent
from shroff.events.validation import LabelInput
from shroff.features import naive
from shroff.features.computed import Computed
from shroff.features.kernels import rules as kernel_rule
from shroff.features.kernels.operations import BELOW, OR
from shroff.features.naive import Key, Naive, aggregate_values
from shroff.features.online import row_engine, row_groups
from shroff.features.online.engine import FEW, Online
from shroff.features.online.group_state import GroupState
from shroff.features.online.row_groups import RowGroup
from shroff.features.online.since_flag_kernel import RuleByKernel
from shroff.features.online.window_state import Query
from shroff.features.plan import query_of
from shroff.features.programs import compiler as program_compiler
from shroff.features.programs import scan_plan
from shroff.language.aggregates import AGGREGATES
from shroff.language.columns import values_of
from shroff.language.expression import Aggregate, Node
from shroff.language.row import Evaluate
from shroff.language.values import key_text
from shroff.log.history import Records
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, computed_of
from shroff.replay.compare import verify_naive, verify_online
from shroff.replay.decision_replay import replay
from shroff.runtime.values import replace
from tests.laws.fallback import without_programs
from tests.laws.projects import (
    START_MS,
    computing_project,
    histories,
    history_of,
    project,
    some_cases,
    some_texts,
    texts,
    versions,
)
from tests.support.effort import examples, long_after
from tests.support.log_memory import MemoryLog, MemoryStore

NOW_MS = START_MS + 1
BATCHES = (1, FEW, FEW + 1, 4_096)  # one by one, as many as go so, and more, which go by columns
SIZES = st.lists(st.integers(1, FEW + 2), min_size=1, max_size=4)
LAW = settings(max_examples=examples(400))
# Without shrinking, which takes minutes where each example opens logs; the numbers that are printed say it again.
QUICK = settings(max_examples=examples(100, usual=8), phases=[Phase.explicit, Phase.reuse, Phase.generate])
Texts = tuple[str, str]
Version = tuple[str, str, int]
Made = tuple[int, int]
Values = list[dict[str, str]]
Change = Callable[[Aggregate], Aggregate]
Compute = Callable[[Definitions, Sequence[LogEvent]], Values]


def by_definition(definitions: Definitions, history: Sequence[LogEvent], change: Change | None = None) -> Values:
    """What the naive engine gives at each event, as canonical JSON; with `change`, one broken on purpose."""
    asked = computed_of(definitions)
    truth = Naive(definitions.events, changed_all(asked, change), definitions.reference)
    return [shown(asked, event.type, truth.add(event)) for event in history]


def by_engine(
    definitions: Definitions, history: Sequence[LogEvent], sizes: Sequence[int], change: Change | None = None
) -> Values:
    """What the online engine gives, in batches of these sizes in turn; with `change`, one broken on purpose."""
    asked = computed_of(definitions)
    computed = changed_all(asked, change)
    online = Online(definitions.events, computed, definitions.reference, definitions.settings.lateness_ms)
    found: Values = []
    at = turn = 0
    while at < len(history):
        batch = history[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(batch), turn + 1
        found += one_by_one(online, asked, batch) if online.takes_rows(batch) else by_columns(online, asked, batch)
    return found


def one_by_one(online: Online, asked: Sequence[Computed], batch: Sequence[LogEvent]) -> Values:
    places = [{path.name: online.reads(event.type).read(path.name) for path in asked} for event in batch]
    return [
        shown(asked, event.type, {name: read(row) for name, read in reads.items()})
        for event, reads, row in zip(batch, places, online.few(batch), strict=True)
    ]


def by_columns(online: Online, asked: Sequence[Computed], batch: Sequence[LogEvent]) -> Values:
    rows: Values = [{} for _ in batch]
    for name, frame in online.compute(batch).items():
        columns = {feature: values_of(column) for feature, column in frame.computed.items()}
        for mine, row in enumerate(frame.rows.tolist()):
            rows[row] = shown(asked, name, {feature: values[mine] for feature, values in columns.items()})
    return rows


def shown(computed: Sequence[Computed], event: str, values: dict[str, Any]) -> dict[str, str]:
    return {
        path.name: canonical_value(values[path.name], path.node.type, 2) for path in computed if event in path.events
    }


def changed_all(computed: Sequence[Computed], change: Change | None) -> Sequence[Computed]:
    """The same with every aggregate changed."""
    return computed if change is None else [replace(item, node=changed(item.node, change)) for item in computed]


def changed(node: Any, change: Change) -> Any:
    """The node with every aggregate in it changed."""
    if isinstance(node, tuple):
        return tuple(changed(part, change) for part in node)
    if not isinstance(node, Node):
        return node
    whole = type(node)(**{name: changed(getattr(node, name), change) for name in node.__struct_fields__})
    return change(whole) if isinstance(whole, Aggregate) else whole


@LAW
@given(found=texts(), made=histories(), sizes=SIZES)
def test_naive_and_online_agree_in_batches_of_any_size(found: Texts, made: Made, sizes: list[int]):
    definitions, history = computing_project(*found), history_of(*made)
    truth = by_definition(definitions, history)

    for split in (*([size] for size in BATCHES), sizes):
        assert by_engine(definitions, history, split) == truth, f"batches of {split}"
    with without_programs():
        assert by_engine(definitions, history, sizes) == truth, "without programs"


@QUICK
@given(version=versions(), made=histories(), sizes=SIZES)
def test_batches_of_any_size_write_equal_bytes(version: Version, made: Made, sizes: list[int]):
    definitions, history = project(*version), in_disorder(history_of(*made), Random(made[0]))
    whole = everything(written(definitions, history))

    for split in (*([size] for size in BATCHES[:-1]), sizes):
        assert everything(written(definitions, history, split)) == whole, f"batches of {split}"


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


SOME_VERSIONS = st.lists(versions(), min_size=2, max_size=3)


@QUICK
@given(some=SOME_VERSIONS, made=histories(), data=st.data())
def test_a_new_version_counts_the_whole_log_and_keeps_the_hits(some: list[Version], made: Made, data: st.DataObject):
    log = written_by(some, history_of(*made), data)

    assert verify_online(log).first_mismatch is None
    assert verify_naive(log, lambda place: True).first_mismatch is None
    assert hits_of(log) == hits_by_definition(log, [project(*version) for version, _ in groupby(some)])


@QUICK
@given(some=SOME_VERSIONS, made=histories(), data=st.data())
def test_any_decision_computed_again_has_its_receipt(some: list[Version], made: Made, data: st.DataObject):
    log = written_by(some, history_of(*made), data)
    recorded = decisions(log)
    if recorded:
        row = data.draw(st.sampled_from(recorded))

        assert replay(log, row.seq) == row


CHANGES = [
    pytest.param(
        lambda aggregate: aggregate if aggregate.over_ms is None else replace(aggregate, over_ms=aggregate.over_ms + 1),
        id="left",
    ),
    pytest.param(lambda aggregate: replace(aggregate, delay_ms=max(aggregate.delay_ms - 1, 0)), id="right edge"),
    pytest.param(lambda aggregate: replace(aggregate, including=False), id="including this"),
    pytest.param(lambda aggregate: replace(aggregate, since_flag=False), id="since flag"),
    pytest.param(lambda aggregate: replace(aggregate, matching=None), id="matching"),
    pytest.param(lambda aggregate: replace(aggregate, each_source=False), id="of each source"),
    pytest.param(
        lambda aggregate: aggregate if aggregate.last_n is None else replace(aggregate, last_n=aggregate.last_n + 1),
        id="last n",
    ),
    pytest.param(
        lambda aggregate: (
            aggregate if AGGREGATES[aggregate.function].needs_where else replace(aggregate, condition=None)
        ),
        id="where",
    ),
]


@pytest.mark.parametrize("change", long_after(2, CHANGES))
def test_the_law_catches_an_engine_that_is_wrong(change: Change):
    must_be_caught(lambda definitions, history: by_engine(definitions, history, [4_096], change))


@pytest.mark.parametrize("change", long_after(2, CHANGES))
def test_the_law_catches_a_definition_that_is_wrong(change: Change):
    must_be_caught(
        lambda definitions, history: by_engine(definitions, history, [4_096]),
        lambda definitions, history: by_definition(definitions, history, change),
    )


@pytest.mark.parametrize(
    "name, replacement",
    long_after(
        1,
        [
            pytest.param(
                "append", lambda append: lambda self, event: append(self, seen(event)), id="every label is seen"
            ),
            pytest.param("key", lambda key: lambda self, *asked: key(self, *asked) or ("",), id="nobody is somebody"),
            pytest.param(
                "item",
                lambda item: lambda self, node, *asked: something(item(self, node, *asked), node),
                id="missing is nothing",
            ),
        ],
    ),
)
def test_the_law_catches_a_definition_that_sees_wrong(name: str, replacement: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Naive, name, replacement(getattr(Naive, name)))

    must_be_caught(lambda definitions, history: by_engine(definitions, history, [4_096]))


def test_the_law_catches_a_definition_that_takes_ties_the_other_way_round(monkeypatch: pytest.MonkeyPatch):
    """Of equal times `first`, `last` and `last n` would take the other."""
    monkeypatch.setattr(
        naive, "aggregate_values", lambda node, values, events: aggregate_values(node, values[::-1], events)
    )

    must_be_caught(lambda definitions, history: by_engine(definitions, history, [4_096]))


def something(evaluate: Evaluate, node: Node) -> Evaluate:
    """The same, which is empty or 0 where it would be missing."""
    return lambda at: evaluate(at) or ("" if node.type.is_text else 0)


def seen(event: LogEvent) -> LogEvent:
    return replace(event, changes=True) if isinstance(event, LabelEvent) else event


def must_be_caught(compute: Compute, truth: Compute = by_definition) -> None:
    def law() -> None:
        for random, history in some_cases(3_000):
            definitions = computing_project(*some_texts(random))
            is_equal = compute(definitions, history) == truth(definitions, history)
            assert is_equal, "the engines differ"

    with pytest.raises(AssertionError, match="the engines differ"):
        law()


def no_fill(self: RowGroup, *asked: Any) -> Any:
    return lambda row: None


@pytest.mark.parametrize(
    "owner, name, replacement",
    long_after(
        2,
        [
            pytest.param(
                row_groups, "_asking", lambda this, reads: reads.evaluate(this), id="nobody is the equal of none"
            ),
            pytest.param(RowGroup, "_hide_unasked", lambda *asked: None, id="a look of nothing is an answer"),
            pytest.param(RowGroup, "_series_fill", no_fill, id="no value comes in"),
            pytest.param(RowGroup, "_words_fill", no_fill, id="nothing is told to a look"),
            pytest.param(row_engine, "_with_key", lambda evaluate, key: evaluate, id="nobody has features"),
            pytest.param(row_engine, "_before", lambda evaluate, time, expires_ms: evaluate, id="nothing expires"),
            pytest.param(GroupState, "clear", lambda self, key: None, id="a hit empties nothing"),
        ],
    ),
)
def test_the_law_catches_rows_that_are_wrong(owner: Any, name: str, replacement: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(owner, name, replacement)

    must_be_caught(lambda definitions, history: by_engine(definitions, history, [1]))


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


def test_where_only_a_look_up_of_this_is_missing_nothing_is_counted():
    """Not the aggregate is missing: the field that it reads is there."""
    definitions = computing_project(
        "card:\n"
        "  n: count(payment where tables.places[payment.country].zone == tables.places[this.country].zone)\n"
        "  part: share(payment where part(payment.country, 'x', 2) == part(this.country, 'x', 2)) including this\n"
    )
    history = [event for event in history_of(4, 60) if event.type == "payment"]
    truth = by_definition(definitions, history)
    unknown = [row for row, event in zip(truth, history, strict=True) if event.values[2] and event.values[4] == "y"]

    assert {(row["card.n"], row["card.part"]) for row in unknown} == {("0", "0")}
    assert by_engine(definitions, history, [16]) == truth


def written(definitions: Definitions, history: Sequence[LogEvent], sizes: Sequence[int] = BATCHES[-1:]) -> MemoryLog:
    """The log after a writer took the history in batches of these sizes in turn."""
    log = MemoryLog()
    writer = Writer(log, definitions, lambda: NOW_MS)
    at = turn = 0
    while at < len(history):
        batch = history[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(batch), turn + 1
        writer.write([submission(event) for event in batch])
    return log


def in_disorder(history: Sequence[LogEvent], random: Random) -> list[LogEvent]:
    """The history as it may come: some of it twice, or changed, or too late, and labels before their event."""
    found: list[LogEvent] = []
    for event in history:
        is_early = isinstance(event, LabelEvent) and random.random() < 0.3
        found.insert(random.randint(0, len(found)) if is_early else len(found), event)
        chance = random.random()
        if chance < 0.05:
            found.append(event)
        elif chance < 0.1 and not isinstance(event, LabelEvent):
            late_ms = random.choice([0, 40, 3_000])
            id_ = event.id if late_ms == 0 else f"{event.id} late"
            time_ms = event.time_ms - late_ms - random.randint(0, 1)
            found.append(Event(event.type, id_, time_ms, (id_, time_ms, *event.values[2:])))
    return found


def written_by(some: Sequence[Version], history: Sequence[LogEvent], data: st.DataObject) -> MemoryLog:
    """The log to which a writer of each version added a part of the history."""
    inner = data.draw(st.lists(st.integers(0, len(history)), min_size=len(some) - 1, max_size=len(some) - 1))
    cuts = [0, *sorted(inner), len(history)]
    store = MemoryStore()
    for version, (start, end) in zip(some, pairwise(cuts), strict=True):
        with closing(MemoryLog(store)) as log:
            Writer(log, project(*version), lambda: NOW_MS).write([submission(event) for event in history[start:end]])
    return MemoryLog(store, read_only=True)


def submission(event: LogEvent) -> Submission:
    """The event as it came through validation."""
    if not isinstance(event, LabelEvent):
        return Submission("law", event.id, lambda: b"", event.type, event)
    named, verdict, source, known_at_ms, reason, amount = event.values
    type_, _, id_ = str(named).partition("/")
    label = LabelInput(type_, id_, str(verdict), str(source), int(known_at_ms or 0), reason, amount)
    return Submission("law", event.id, lambda: b"", "label", label=label)


def hits_of(log: MemoryLog) -> set[tuple[int, str]]:
    return {(row.seq, row.rule) for rows in log.hits.after() for row in rows}


def hits_by_definition(log: MemoryLog, versions: Sequence[Definitions]) -> set[tuple[int, str]]:
    """Which rules hit where, by the naive engine: under each version from its control event on, the past as it was."""
    found: dict[int, dict[str, str | None]] = defaultdict(dict)
    records = [record for batch in log.read() for record in batch]
    starts = [record.seq for record in records if record.kind == "control"]
    for number, start in enumerate(starts):
        definitions = versions[number]
        truth = Naive(definitions.events, computed_of(definitions), definitions.reference)
        reading = Records(definitions.events, definitions.settings.money_places)
        end = starts[number + 1] if number + 1 < len(starts) else len(records) + 1
        for record in records[: end - 1]:
            event = reading.decode(record)
            if event is None:
                continue
            if record.seq < start:
                truth.take(event, found[record.seq], is_asked=False)
                continue
            values = truth.add(event)
            hit = [rule for rule in definitions.rules if values.get(rule.computed.name) is True]
            found[record.seq] = {rule.id: shown_key(truth.key(rule.by, event)) for rule in hit}
    return {(seq, rule) for seq, rules in found.items() for rule in rules}


def shown_key(key: Key | None) -> str | None:
    return None if key is None else key_text(key[0] if len(key) == 1 else key)


def decisions(log: MemoryLog) -> list[Any]:
    return [row for rows in log.decisions.after() for row in rows]


def everything(log: MemoryLog) -> list[Any]:
    """Records, decisions, hits and flags of a log."""
    readings = (log.read(), log.decisions.after(), log.hits.after(), log.flags.after())
    return [[row for rows in reading for row in rows] for reading in readings]


def test_generated_projects_ask_kernels_and_python():
    asked: Counter[str] = Counter()

    random = Random(1)
    for _ in range(250):
        definitions = computing_project(*some_texts(random))
        computed = computed_of(definitions)
        online = Online(definitions.events, computed, definitions.reference, definitions.settings.lateness_ms)
        for group in online.groups:
            kind = "link" if group.key.via is not None else "look" if group.key.is_look else "other"
            asked[f"{kind} of a kernel" if group.look is None else kind] += 1
        asked.update("rule of a kernel" if isinstance(rule.rule, RuleByKernel) else "rule" for rule in online.rules)

    assert asked["look of a kernel"] > asked["look"] > 20
    assert asked["link of a kernel"] > asked["link"] > 0
    assert asked["rule of a kernel"] > asked["rule"] > 20


def never_empties(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel of rules that is told no key to empty."""

    def run_rule(*arguments: Any) -> int:
        *others, keys, answers = arguments
        return int(kernel(*others, np.full_like(keys, -1), answers))

    return run_rule


def one_too_long(aggregate: Aggregate, series: int) -> Query:
    query = query_of(aggregate, series)
    return replace(query, length_ms=None if query.length_ms is None else query.length_ms + 1)


@pytest.mark.parametrize(
    "module, name, replacement",
    long_after(
        1,
        [
            pytest.param(kernel_rule, "run_rule", never_empties(kernel_rule.run_rule), id="a hit empties nothing"),
            pytest.param(
                program_compiler, "_COMPARE", dict.fromkeys(program_compiler._COMPARE, BELOW), id="only below"
            ),
            pytest.param(program_compiler, "_LOGIC", {"and": OR, "or": OR}, id="and is or"),
            pytest.param(scan_plan, "query_of", one_too_long, id="a window too long"),
        ],
    ),
)
def test_the_law_catches_a_kernel_that_is_told_wrong(module: Any, name: str, replacement: Any, monkeypatch):
    monkeypatch.setattr(module, name, replacement)

    must_be_caught(lambda definitions, history: by_engine(definitions, history, [4_096]))
