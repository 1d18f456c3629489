"""Decision tables and scorecards: each row or band becomes a rule when `rules.definitions` reads the file.

A table has a line of columns and then its rows, with bars between the cells. The first row whose cells are all true
hits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce

from shroff.errors import Problem
from shroff.language import loader
from shroff.language.expression import Arithmetic, Else, FeatureValue, Literal, Logic, Node, Not, rewritten
from shroff.language.names import Scope
from shroff.language.printer import text_of
from shroff.language.types import BOOLEAN, INTEGER
from shroff.language.yaml.text import Mapping, Scalar
from shroff.language.yaml.text import Node as YamlNode
from shroff.rules.gaps import SETS_MAX, ConditionColumn, search
from shroff.runtime.texts import many
from shroff.runtime.values import FrozenStruct, replace

ROW = "row"  # column of row names
POINTS = "points"
OWN = (ROW, "effect", "reason", "notify", "shadow", "expires", "rollout")  # columns that hold no condition
PARTS = ("table", "scorecard", "bands")
# Lookahead: outside of texts in quotes
_OUTSIDE = r"(?=(?:[^']*'[^']*')*[^']*$)"
_BAR = re.compile(rf"\|{_OUTSIDE}")
_SIGN = re.compile(r"[<>=!]|(?:in|not|is)\b")
_AND = re.compile(rf"\s+and\s+(?={_SIGN.pattern}){_OUTSIDE}")
_WHOLE = re.compile(r"-?\d{1,9}")
_NAME = re.compile("(?!(?:true|false)$)[a-z0-9_]{1,100}")


class Row(FrozenStruct):
    """A rule as written, or a row of its table as a rule.

    Args:
        own: Condition of the row's cells; `when` also requires that no overlapping row above hits.
        hits: Values allowed under `hits` in tests; `hit` stands for a hit of this row.
    """

    id: str | None
    keys: Mapping
    own: Node | None = None
    when: Node | None = None
    reason: tuple[str | Node, ...] = ()
    hit: str = "true"
    hits: Sequence[str] = ("true", "false")


def lines_of(block: YamlNode | None, problems: list[Problem]) -> list[list[Scalar]]:
    """Split a table into cells, line by line, each with its position in the file."""
    text = loader.scalar(block, problems, "a table")
    lines = list[list[Scalar]]()
    if text is not None:
        offset = 0
        for cells in text.text.split("\n"):
            row = replace(text, line=text.place(offset)[0], column=1, style="plain", source=" ")
            lines += [[replace(row, text=cell.strip()) for cell in _BAR.split(cells)]] if cells.strip() else []
            offset += len(cells) + 1
    problems += [
        cells[0].problem(f"the line has {many(len(cells), 'cell')}, and the first one {len(lines[0])}.")
        for cells in lines
        if len(cells) != len(lines[0])
    ]
    return lines


def rows_of(rule: Mapping, id_: str, scope: Scope, problems: list[Problem], warnings: list[Problem]) -> list[Row]:
    """Return the rows of a rule's table, or the bands of its scorecard; empty after a problem.

    Warns about gaps and overlaps of a table, and about rows that never hit.
    """
    problems_before = len(problems)
    card = rule.get("scorecard")
    total, sums, reason = _points(card, scope, problems)
    head, *body = lines_of(rule.get("bands" if card else "table"), problems) or [[]]
    names = [str(at) for at, _ in enumerate(body, 1)]
    columns = list[ConditionColumn]()
    conditions_by_row = [list[Node]() for _ in body]
    for cell, *cells in zip(head, *body, strict=False):
        if cell.text == ROW:
            names = [cell.text or name for cell, name in zip(cells, names, strict=True)]
        if cell.text in OWN:
            continue
        is_total = card is not None and cell.text == POINTS
        operand = total if is_total else loader.expression(cell, scope, problems)
        if operand is not None:
            cell_value = FeatureValue(operand.type, f"{scope.entity}._cell")  # a name that no file can declare
            conditions = [_condition(cell, cell_value, scope, problems) for cell in cells]
            columns.append(ConditionColumn(cell.text, cell_value, conditions, sums if is_total else ()))
            for of_row, condition in zip(conditions_by_row, conditions, strict=True):
                if condition:
                    of_row.append(rewritten(condition, {cell_value: operand}))
            if not card:
                reason += [f"{', ' if reason else ''}{cell.text} ", operand]
    own_columns = [cell.text for cell in head if cell.text in OWN]
    if len(set(own_columns)) < len(own_columns):
        head[0].report(problems, f"each of {', '.join(OWN)} is a column once.")
    for name, cells in zip(names, body, strict=True):
        if not _NAME.fullmatch(name) or names.count(name) > 1:
            cells[0].report(problems, f"a row has a name of its own, of a to z, digits and _, not {name!r}.")
    if len(problems) == problems_before and (
        not (columns and body) or rule.get("when") or (card is None) is (rule.get("table") is None)
    ):
        words = "a rule has a table with conditions and rows, or a scorecard with bands, and then no 'when'."
        rule.report(problems, words)
    if len(problems) > problems_before:
        return []
    result = search(columns, len(body), scope.names.money_places)
    rows = list[Row]()
    row_conditions = [_joined("and", conditions) for conditions in conditions_by_row]
    for row, (name, cells) in enumerate(zip(names, body, strict=True)):
        condition = row_conditions[row]
        overlapping = [other for other in range(row) if result.over[row] >> other & 1]
        any_above = _joined("or", [row_conditions[other] for other in overlapping])
        none_above = Not(BOOLEAN, Else(BOOLEAN, any_above, Literal(BOOLEAN, value=False)))
        text = replace(cells[0], text=text_of(condition))
        entries = {key.text: (key, value) for key, value in rule.entries if key.text not in PARTS}
        entries |= {
            key.text: (key, cell) for key, cell in zip(head, cells, strict=True) if key.text in OWN and cell.text
        }
        keys = replace(rule, entries=(*entries.values(), (replace(text, text="when"), text)), line=text.line)
        start = "" if card else f"{id_.replace('_', ' ')}, row {name.replace('_', ' ')}: "
        when = _joined("and", [condition, none_above] if overlapping else [condition])
        rows.append(Row(f"{id_}.{name}", keys, condition, when, (start, *reason), name, (*names, "false")))
        if row not in result.first:
            why = "rows above it take all its events" if result.over[row] else "its conditions exclude each other"
            text.report(warnings, f"row {name} of {id_} never hits: {why}.")
        elif overlapping and conditions_by_row[row] and not card:
            pairs = ", ".join(names[other] for other in overlapping)
            text.report(warnings, f"row {name} of {id_} overlaps {pairs}, which hits first.")
    if result.gaps and not card:
        words = f"no row of {id_} hits {'; nor '.join(result.gaps)}."
        rule.report(warnings, words, "A last row without conditions takes all that the others leave.")
    return rows


def _points(card: YamlNode | None, scope: Scope, problems: list[Problem]) -> tuple[Node, list[int], list[str | Node]]:
    """Return the sum of a scorecard's points as an expression, the possible sums, and the text of its reason."""
    total: Node = Literal(INTEGER, 0)
    sums = {0}
    reason_parts = list[str | Node]()
    head, *lines = lines_of(card, problems) or [[]]
    if head and [cell.text for cell in head] != [POINTS, "when"]:
        head[0].report(problems, "the first line of a scorecard is 'points | when'.")
    for points, conditions in (cells for cells in lines if len(cells) == 2):
        text = f"{points.text} when ({conditions.text}) else 0"
        if not _WHOLE.fullmatch(points.text):
            points.report(problems, f"points are a whole number, not {points.text!r}.")
            continue
        part = loader.expression(replace(conditions, text=text, source=" "), scope, problems, INTEGER)
        if part:
            total = Arithmetic(INTEGER, "+", total, part) if reason_parts else part
            sums |= {lower + int(points.text) for lower in sums if len(sums) < SETS_MAX}
            reason_parts += [", " if reason_parts else " points: ", part, f" for {conditions.text}"]
    return total, sorted(sums) if len(sums) < SETS_MAX else [], [total, *reason_parts] if reason_parts else []


def _condition(cell: Scalar, cell_value: FeatureValue, scope: Scope, problems: list[Problem]) -> Node | None:
    """Return the condition of a cell: comparisons joined by `and`, or one value; None for an empty cell."""
    parts = [
        f"{cell_value.name} {'' if _SIGN.match(part) else '== '}{part}"
        for part in _AND.split(cell.text)
        if part not in {"", "-"}
    ]
    own = replace(
        scope,
        feature=lambda name: cell_value.type if name == cell_value.name else scope.feature and scope.feature(name),
    )
    text = replace(cell, text=" and ".join(parts), source=" ")
    return loader.expression(text, own, problems, BOOLEAN) if parts else None


def _joined(operator: str, parts: Sequence[Node]) -> Node:
    true = Literal(BOOLEAN, value=True)
    return reduce(lambda left, right: Logic(BOOLEAN, operator, left, right), parts) if parts else true
