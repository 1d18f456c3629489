"""Planner: from typed expressions to histories of the online engine, and the order of computation.

Aggregates over the same events of the same key share one history. An aggregate that reads `f of E` waits for feature f
of the same event, so histories have stages. A rule with `since flag` has its own history, since a hit empties it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from itertools import chain

from shroff.features.computed import Computed, score_name
from shroff.features.online.window_state import HistoryPlan, Query, Series
from shroff.features.programs.compiler import look_program
from shroff.features.value_bounds import Bounds, bounds_of, value_bounds
from shroff.language.aggregates import AGGREGATES, COUNT
from shroff.language.expression import (
    Aggregate,
    Arithmetic,
    Compare,
    FeatureValue,
    ItemFeature,
    Logic,
    Node,
    Score,
    Via,
    aggregates,
    conjuncts,
    is_pair,
    reads_this,
    rewritten,
    walk,
)
from shroff.language.types import BOOLEAN, INTEGER, REAL
from shroff.runtime.values import FrozenStruct, frozen, replace


class Parts(FrozenStruct):
    """The parts of a condition: on the event alone, equalities that can be part of the key, and the rest."""

    where: Node | None
    pairs: tuple[tuple[Node, Node], ...]  # the aggregated event's side, the side of `this`
    look: Node | None


def split(condition: Node | None) -> Parts:
    parts = conjuncts(condition)
    pairs = [part for part in parts if is_pair(part)]
    sides: list[tuple[Node, Node]] = []
    for pair in pairs:
        assert isinstance(pair, Compare)
        sides.append((pair.right, pair.left) if reads_this(pair.left) else (pair.left, pair.right))
    return Parts(
        _joined(part for part in parts if not reads_this(part)),
        tuple(sides),
        _joined(part for part in parts if reads_this(part) and not is_pair(part)),
    )


def _joined(parts: Iterable[Node]) -> Node | None:
    joined: Node | None = None
    for part in parts:
        joined = part if joined is None else Logic(BOOLEAN, "and", joined, part)
    return joined


class SeriesKey(FrozenStruct):
    """One argument under one condition. If limited, values beyond 10^15 are ignored, as in sums.

    An operand is read by a program, which needs all its values.
    """

    argument: Node | None
    where: Node | None
    is_limited: bool = False
    is_operand: bool = False


class GroupKey(FrozenStruct):
    """Properties that aggregates must share to share window state."""

    entity: str
    event: str
    matching: str | None
    pairs: tuple[tuple[Node, Node], ...]
    stage: int
    rule: str | None
    is_look: bool
    each_source: bool = False
    via: Via | None = None


@frozen
class Group:
    """Aggregates over one history.

    Args:
        asked_at: Event types at which they are computed.
        bounds: Bounds of exact features; None for one without bounds.
        askers: For each aggregate the features and rules that use it.
    """

    key: GroupKey
    aggregates: tuple[Aggregate, ...]
    asked_at: frozenset[str]
    bounds: Mapping[str, Bounds | None] = field(default_factory=dict, compare=False, repr=False)
    askers: Mapping[Aggregate, list[Computed]] = field(default_factory=dict, compare=False, repr=False)


class Plan(FrozenStruct):
    """Groups by stage, and the values computed after each stage, in order."""

    groups: tuple[Group, ...]
    computed: tuple[tuple[int, Computed], ...]
    stages: int


def make_plan(computed: Sequence[Computed]) -> Plan:
    """Plan the computation of some expressions, each after the features that it reads."""
    stages: dict[str, int] = {}
    asked: dict[GroupKey, dict[Aggregate, list[Computed]]] = {}
    placed: list[tuple[int, Computed]] = []
    bounds: dict[str, Bounds | None] = {}
    for feature in computed:
        stage, wanted, found = _placed(feature, stages)
        for key, aggregate in found:
            asked.setdefault(key, {}).setdefault(aggregate, []).append(wanted)
        stages[wanted.name] = max(stage, stages.get(wanted.name, 0))  # several versions have a score with this name
        bounds[wanted.name] = bounds_of(wanted.node, lambda leaf: value_bounds(leaf, bounds))
        placed.append((stage, wanted))
    parted: dict[tuple[GroupKey, bool], dict[Aggregate, list[Computed]]] = {}
    for key, row in asked.items():  # a condition without a program does not slow down the others
        for aggregate, askers in row.items():
            is_slow = key.is_look and not look_program(aggregate, bounds)
            parted.setdefault((key, is_slow), {})[aggregate] = askers
    groups = tuple(
        Group(
            key,
            tuple(row),
            frozenset(event for feature in chain.from_iterable(row.values()) for event in feature.events),
            bounds,
            row,
        )
        for (key, _), row in parted.items()
    )
    return _plan(groups, placed)


def _plan(groups: tuple[Group, ...], placed: Sequence[tuple[int, Computed]]) -> Plan:
    return Plan(groups, tuple(placed), max((stage for stage, _ in placed), default=0) + 1)


def _placed(feature: Computed, stages: Mapping[str, int]) -> tuple[int, Computed, list[tuple[GroupKey, Aggregate]]]:
    """Return the stage of a value, its expression, and its aggregates in order, given the stages of earlier values."""
    if any(AGGREGATES[part.function].state == "events" for part in aggregates(feature.node)):
        feature = replace(feature, node=_shares_as_quotients(feature.node))
    read = [part.name for part in walk(feature.node) if isinstance(part, FeatureValue)]
    if any(isinstance(part, Score) for part in walk(feature.node)):
        read += [score_name(event) for event in feature.events]
    own = [(_stage(aggregate, stages), aggregate) for aggregate in aggregates(feature.node)]
    found = [(group_key(each, at, feature.rule if each.since_flag else None), each) for at, each in own]
    return max([*(stages.get(name, 0) for name in read), *(at for at, _ in own)], default=0), feature, found


def with_rules(plan: Plan, rules: Mapping[str, Sequence[Computed] | None]) -> Plan | None:
    """Return the plan with other rules over the same groups; None if a rule needs other state than before.

    The groups of the given plan are changed, so it must not be used any more.

    Args:
        rules: Values of each rule, by its id, in order; None for an unchanged rule.
    """
    before: dict[str | None, list[tuple[int, Computed]]] = {}
    for at, feature in plan.computed:
        before.setdefault(feature.rule, []).append((at, feature))
    asking = {rules.rule for group in plan.groups for asker in group.askers.values() for rules in asker}
    if [rule for rule in before if rule and rule in asking] != [rule for rule in rules if rule in asking]:
        return None
    placed = before.get(None, [])
    stages = {feature.name: at for at, feature in placed}
    changed = dict[str, Computed]()
    for rule, new in rules.items():
        if new is None:
            placed += before[rule]
            continue
        made = [_placed(feature, stages) for feature in new]
        if rule in asking:
            was = [_placed(computed, stages) for _, computed in before[rule]]
            if list(map(_asking, was)) != list(map(_asking, made)) or any(
                each.since_flag for _, _, feature in made for _, each in feature
            ):
                return None
            changed |= {feature.name: feature for _, feature, _ in made}
        elif any(feature for _, _, feature in made):
            return None
        placed += [(at, askers) for at, askers, _ in made]
    for askers in (asker for group in plan.groups for asker in group.askers.values() if changed):
        askers[:] = [changed.get(feature.name, feature) for feature in askers]
    return _plan(plan.groups, placed)


def _asking(placed: tuple[int, Computed, list[tuple[GroupKey, Aggregate]]]) -> tuple[object, ...]:
    _, feature, found = placed
    return feature.name, feature.entity, feature.events, found


def _stage(aggregate: Aggregate, stages: Mapping[str, int]) -> int:
    if aggregate.event == "label":
        return 0  # a label has no features: what is read of it is missing
    read = [part.name for part in walk(aggregate) if isinstance(part, FeatureValue | ItemFeature)]
    return max((stages.get(name, -1) + 1 for name in read), default=0)  # a feature that is not computed is missing


def _shares_as_quotients(node: Node) -> Node:
    """Replace each share with a pair key by a quotient of counts.

    The history of the pair has only its own events, but a share is relative to all events.
    """
    quotients = dict[Node, Node]()
    for share in aggregates(node):
        if AGGREGATES[share.function].state == "events" and split(share.condition).pairs and not _is_look(share):
            part = replace(share, type=INTEGER, function=COUNT)
            quotients[share] = Arithmetic(REAL, "/", part, replace(part, condition=None))
    return rewritten(node, quotients)


def _is_look(aggregate: Aggregate) -> bool:
    """Return whether each event of the window is read; a pair key does not help `over last n`, which counts all
    events.
    """
    parts = split(aggregate.condition)
    is_asked = AGGREGATES[aggregate.function].state == "looks"
    is_asked = is_asked or aggregate.via is not None
    return is_asked or parts.look is not None or (bool(parts.pairs) and aggregate.last_n is not None)


def group_key(aggregate: Aggregate, stage: int, rule: str | None) -> GroupKey:
    parts = split(aggregate.condition)
    is_look = _is_look(aggregate)
    pairs = () if is_look else parts.pairs
    where = aggregate.entity, aggregate.event, aggregate.matching
    return GroupKey(*where, pairs, stage, rule, is_look, aggregate.each_source, aggregate.via)


class KeptValues(FrozenStruct):
    """Values of events that are computed only because state depends on them.

    Args:
        names: Features that aggregates read of the aggregated events.
        asked: For each group whether it is asked all the same: those features depend on it, or it releases cells only
            when asked, such as a count of distinct values since the log began.
    """

    names: frozenset[str]
    asked: tuple[bool, ...]


def stored_files_of(plan: Plan) -> KeptValues:
    """Return the part of a plan that state depends on."""
    taken = chain.from_iterable(group.aggregates for group in plan.groups)
    names = {part.name for aggregate in taken for part in walk(aggregate) if isinstance(part, ItemFeature)}
    answers: set[Aggregate] = set()
    for _, feature in reversed(plan.computed):  # each comes after the features that it reads
        if feature.name in names:
            names |= {part.name for part in walk(feature.node) if isinstance(part, FeatureValue)}
            answers |= set(aggregates(feature.node))
    asked = (
        any(aggregate in answers or _is_ever_distinct(aggregate) for aggregate in group.aggregates)
        for group in plan.groups
    )
    return KeptValues(frozenset(names), tuple(asked))


def _is_ever_distinct(aggregate: Aggregate) -> bool:
    query = query_of(aggregate, 0)
    return query.state == "values" and query.is_ever


class KernelPlan(FrozenStruct):
    """A group as numbers: the kernel's plan, and the series whose columns it gets, in order.

    After these it gets `operands`, expressions over the asking event for looks.
    """

    plan: HistoryPlan
    series: tuple[SeriesKey, ...]
    operands: tuple[Node, ...] = ()


def kernel_plan(group: Group) -> KernelPlan:
    """Convert the aggregates of a group to queries over as few series as possible."""
    numbers: dict[SeriesKey, int] = {}
    queries: list[Query] = []
    for aggregate in group.aggregates:
        series = series_of(aggregate)
        number = -1
        if series is not None:
            number = numbers.setdefault(series, len(numbers))
        queries.append(query_of(aggregate, number))
    return KernelPlan(HistoryPlan(tuple(map(_series, numbers)), tuple(queries)), tuple(numbers))


def series_of(aggregate: Aggregate) -> SeriesKey | None:
    """Return the series that an aggregate reads; None for a count of all events."""
    where = split(aggregate.condition).where
    if aggregate.argument is None:
        return None if where is None else SeriesKey(None, where)
    return replace(whole_series_of(aggregate), where=where)


def whole_series_of(aggregate: Aggregate) -> SeriesKey:
    """Return the argument of an aggregate at every event, whatever its condition."""
    return SeriesKey(aggregate.argument, None, AGGREGATES[aggregate.function].is_summed)


def _series(key: SeriesKey) -> Series:
    type_ = key.argument.type if key.argument is not None else BOOLEAN
    return Series(sums=key.is_limited, scale=10**type_.places, real=type_.kind == "real")


def query_of(aggregate: Aggregate, series: int) -> Query:
    over, under = aggregate.rank or (0, 1)
    return Query(
        aggregate.function,
        series,
        aggregate.over_ms,
        aggregate.delay_ms,
        aggregate.last_n,
        aggregate.including,
        over,
        under,
    )
