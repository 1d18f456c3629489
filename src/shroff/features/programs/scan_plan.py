"""Scan plan: conditions that compare with `this` as programs, if a kernel can run them.

The condition of an aggregate becomes a program. What it reads only of the aggregated event is a series, computed once
when that event arrives. What it reads of the asking event is an operand, computed once for that event. Only expressions
of both are evaluated for each pair.
"""

from __future__ import annotations

from shroff.events.definitions import EventType
from shroff.features.online.window_state import HistoryPlan, Look, Series
from shroff.features.plan import Group, KernelPlan, SeriesKey, query_of, whole_series_of
from shroff.features.programs.compiler import look_program
from shroff.language.aggregates import AGGREGATES
from shroff.language.expression import Aggregate, Compare, ItemField, Node, conjuncts, reads_item


def scan_plan(group: Group, of: EventType | None) -> KernelPlan | None:
    """Return the kernel's plan for a group that reads each event, of this type; None if a condition has no program."""
    series: dict[SeriesKey, int] = {}
    operands: dict[Node, int] = {}
    looks: list[Look] = []
    for aggregate in group.aggregates:
        look = _look(group, aggregate, series, operands, of)
        if look is None:
            return None
        looks.append(look)
    series_kinds = [
        Series(scale=1 if key.argument is None else int(10**key.argument.type.places), real=_is_real(key))
        for key in series
    ]
    via = group.key.via
    of_links = [Series()] * 3 if via else []
    plan = HistoryPlan((*series_kinds, *of_links), (), tuple(looks), via.up_to if via else 0)
    return KernelPlan(plan, tuple(series), tuple(operands))


def _look(
    group: Group, aggregate: Aggregate, series: dict[SeriesKey, int], operands: dict[Node, int], of: EventType | None
) -> Look | None:
    compiled = look_program(aggregate, group.bounds)
    if compiled is None:
        return None
    program, nodes = compiled
    sources = []
    for node in nodes:
        if reads_item(node):
            sources.append(series.setdefault(SeriesKey(node, None, is_operand=True), len(series)))
        else:
            sources.append(~operands.setdefault(node, len(operands)))
    number = -1
    if aggregate.argument is not None:
        number = series.setdefault(whole_series_of(aggregate), len(series))
    is_of_all = AGGREGATES[aggregate.function].state == "events"
    times = [] if of is None or is_of_all else _times_before(aggregate.condition, of.time_field)
    since = next((nodes.index(node) for node in times if node in nodes), -1)
    return Look(query_of(aggregate, number), program, tuple(sources), since)


def _times_before(condition: Node | None, time_field: str) -> list[Node]:
    """Return lower bounds for the time of an event, if a condition is to be true."""
    compared = [part for part in conjuncts(condition) if isinstance(part, Compare) and part.operator[0] in "<>"]
    sides = [(part.right, part.left) if part.operator[0] == "<" else (part.left, part.right) for part in compared]
    times = [right for left, right in sides if isinstance(left, ItemField) and left.name == time_field]
    return [node for node in times if not reads_item(node)]  # the same for all events


def _is_real(key: SeriesKey) -> bool:
    return key.argument is not None and key.argument.type.kind == "real"
