"""Scan plan: conditions that compare with `this` as programs, as far as a kernel can run them.

The condition of an aggregate becomes a program. What it reads of the aggregated event alone
is a series: worked out once, when the event comes in. What it reads of the event that asks
is an operand, worked out once for that event. Only what mixes both is asked for each pair.
"""

from __future__ import annotations

from shroff.events.definitions import EventType
from shroff.features.online.window_state import HistoryPlan, Look, Series
from shroff.features.plan import Group, KernelPlan, SeriesKey, query_of, value_bounds, whole_series_of
from shroff.features.programs.compiler import NoProgramError, compile_program, surely_fits
from shroff.features.value_bounds import Bounds
from shroff.language.aggregates import AGGREGATES
from shroff.language.expression import (
    Aggregate,
    Compare,
    ItemField,
    Literal,
    Node,
    conjuncts,
    reads_item,
    reads_this,
)
from shroff.language.types import BOOLEAN


def scan_plan(group: Group, of: EventType | None) -> KernelPlan | None:
    """The kernel's plan for a group that looks at each event, of this type; None where a condition has no program.

    A program has no way out in the middle of a window, so what might leave 64 bits has none.
    """
    series: dict[SeriesKey, int] = {}
    operands: dict[Node, int] = {}
    looks: list[Look] = []
    for aggregate in group.aggregates:
        look = look_of(group, aggregate, series, operands, of)
        if look is None:
            return None
        looks.append(look)
    kept = [Series(ends=True, scale=_scale(key), real=_is_real(key)) for key in series]
    via = group.key.via
    of_links = [Series(ends=True)] * 3 if via else []
    plan = HistoryPlan((*kept, *of_links), (), tuple(looks), via.up_to if via else 0)
    return KernelPlan(plan, tuple(series), tuple(operands))


def look_of(
    group: Group, aggregate: Aggregate, series: dict[SeriesKey, int], operands: dict[Node, int], of: EventType | None
) -> Look | None:
    """How the kernel looks at each event for an aggregate; None where its condition has no program."""
    if aggregate.over_ms is None and aggregate.last_n is None:
        return None
    condition = aggregate.condition or Literal(BOOLEAN, value=True)
    if not surely_fits(condition, _is_operand, lambda leaf: _bounds(leaf, group)):
        return None
    try:
        program, read = compile_program(condition, _is_operand)
    except NoProgramError:
        return None
    sources = []
    for node in read:
        if reads_item(node):
            sources.append(series.setdefault(SeriesKey(node, None, is_operand=True), len(series)))
        else:
            sources.append(~operands.setdefault(node, len(operands)))
    number = -1
    if aggregate.argument is not None:
        number = series.setdefault(whole_series_of(aggregate), len(series))
    is_of_all = AGGREGATES[aggregate.function].state == "events"
    times = [] if of is None or is_of_all else _times_before(condition, of.time_field)
    since = next((read.index(node) for node in times if node in read), -1)
    return Look(query_of(aggregate, number), program, tuple(sources), since)


def _times_before(condition: Node, time_field: str) -> list[Node]:
    """What the time of an event must be after or at, so that a condition can be true."""
    compared = [part for part in conjuncts(condition) if isinstance(part, Compare) and part.operator[0] in "<>"]
    sides = [(part.right, part.left) if part.operator[0] == "<" else (part.left, part.right) for part in compared]
    times = [right for left, right in sides if isinstance(left, ItemField) and left.name == time_field]
    return [node for node in times if not reads_item(node)]  # one time for all events


def _is_operand(node: Node) -> bool:
    """Whether a part can be known before the window is looked at; numbers that are written out are in the program."""
    return not (reads_item(node) and reads_this(node)) and not (isinstance(node, Literal) and not node.type.is_text)


def _bounds(leaf: Node, group: Group) -> Bounds | None:
    """None for the amount of a label, which is converted to the current decimal places when read."""
    if group.key.event == "label" and isinstance(leaf, ItemField) and leaf.name == "amount":
        return None
    return value_bounds(leaf, group.bounds)


def _scale(key: SeriesKey) -> int:
    return 1 if key.argument is None else int(10**key.argument.type.places)


def _is_real(key: SeriesKey) -> bool:
    return key.argument is not None and key.argument.type.kind == "real"
