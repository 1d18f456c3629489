"""Gaps, overlaps and rows that never hit in a decision table.

The search is exact over all values that the constants of a column distinguish. Columns count as independent; a cell
that reads more than its column counts as true or false. Values below 0 are tried if a constant is negative, missing
values if a cell tests for them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

from shroff.language.expression import (
    Aggregate,
    FeatureValue,
    InList,
    IsMissing,
    Literal,
    Lookup,
    Node,
    Not,
    Score,
    ThisField,
    walk,
)
from shroff.language.printer import text_of
from shroff.language.row import compile_row
from shroff.language.types import Type
from shroff.language.values import Value, show
from shroff.runtime.values import FrozenStruct

GAPS_NAMED = 3
SETS_MAX = 2_000  # states, which are sets of rows that are true together; larger tables are not searched
OTHER = "another text"
_READS = (ThisField, FeatureValue, Aggregate, InList, Lookup, Score)


class ConditionColumn(FrozenStruct):
    """A column of conditions.

    Args:
        head: Expression in the header, as written.
        cell_value: Stand-in for that expression in the conditions of cells.
        conditions: Condition of each row's cell; None for an empty cell.
        values: All possible values; empty to derive them from the constants.
    """

    head: str
    cell_value: FeatureValue
    conditions: Sequence[Node | None]
    values: Sequence[Value]


class TableGaps(FrozenStruct):
    """Result of a search.

    Args:
        gaps: Examples of values for which no row hits.
        over: For each row a bit mask of the rows that can be true together with it.
        first: The rows that can hit.
    """

    gaps: Sequence[str]
    over: Sequence[int]
    first: Collection[int]


def search(columns: Sequence[ConditionColumn], rows: int, places: int) -> TableGaps:
    """Search a table. If it has too many states, every row may overlap every other one."""
    states: dict[int, Sequence[str]] = {(1 << rows) - 1: [""]}
    for column in columns:
        next_states: defaultdict[int, list[str]] = defaultdict(list)
        for bits, example_text in _sets(column, places).items():
            for state, examples in states.items():
                next_states[state & bits] += [f"{example}{', ' * bool(example)}{example_text}" for example in examples]
        states = {state: examples[:GAPS_NAMED] for state, examples in next_states.items()}
        if len(states) > SETS_MAX:
            return TableGaps(["an unknown rest: the table is too large to search"], [-1] * rows, range(rows))
    over = [0] * rows
    for state in states:
        over = [bits | state * (state >> row & 1) for row, bits in enumerate(over)]
    return TableGaps(states.get(0, ()), over, {(state & -state).bit_length() - 1 for state in states})


def _sets(column: ConditionColumn, places: int) -> dict[int, str]:
    """Return the sets of rows whose cells can be true together, as bit masks, each with an example value."""
    always = 0
    tests = []
    literals = set[Literal]()
    missing = False
    # Bit masks of the rows that need the condition, and of those that need its negation
    unknown: defaultdict[Node, list[int]] = defaultdict(lambda: [0, 0])
    for row, condition in enumerate(column.conditions):
        parts = [] if condition is None else [*walk(condition)]
        if condition is None:
            always |= 1 << row
        elif any(isinstance(part, _READS) and part != column.cell_value for part in parts):
            is_negated = isinstance(condition, Not)
            unknown[condition.operand if isinstance(condition, Not) else condition][is_negated] |= 1 << row
        else:
            tests.append((compile_row(condition, lambda _: lambda value: value), 1 << row))
            literals |= {part for part in parts if isinstance(part, Literal) and part.value is not None}
            missing |= any(isinstance(part, IsMissing) for part in parts)
    sets: dict[int, str] = {}
    for value in (*(column.values or _values(column.cell_value.type, literals)), *[None] * missing):
        rows = always + sum(bit for test, bit in tests if test(value))
        sets.setdefault(rows, f"{column.head} {show(value, column.cell_value.type, places)}")
    for node, bits_of_both in unknown.items():
        text = text_of(node).replace(column.cell_value.name, column.head)
        sets = {
            rows | bits: f"{example}, {word}{text}"
            for rows, example in sets.items()
            for bits, word in zip(bits_of_both, ("", "not "), strict=True)
        }
    return sets


def _values(type_: Type, literals: set[Literal]) -> Sequence[Value]:
    """Return the constants of a column and a value from each interval between them."""
    if type_.kind == "boolean":
        return False, True
    if type_.is_text:
        texts = () if type_.choices and not type_.is_open else (*(literal.value for literal in literals), OTHER)
        return *type_.choices, *texts
    exact = {Fraction(literal.value or 0) / 10**literal.type.places * 10**type_.places for literal in literals} or {0}
    is_real = type_.kind == "real"
    edges = sorted(map(float, exact) if is_real else {edge(value) for value in exact for edge in (floor, ceil)})
    between = [(low + high) / 2 if is_real else (low + high) // 2 for low, high in pairwise(edges)]
    values = sorted({0, edges[0] - 1, *edges, *between, edges[-1] + 1})
    return [value for value in values if value >= 0 or edges[0] < 0]
