"""Silenced rules: one list of keys for each rule, which its condition excludes until the entries expire.

`lists/silence.RULE.csv` is a list like any other: an added key becomes active by a control event, and every engine,
replay, verification and backtest obeys it. No expression can contain its name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from shroff.errors import Problem, nearest
from shroff.events.definitions import Entity
from shroff.language.expression import InList, IsMissing, Logic, Node, Not
from shroff.language.types import BOOLEAN

PREFIX = "silence."
_TRIAL = re.compile(r"(?P<of>.+)_try(?P<number>[1-9][0-9]{0,5})")


def list_of(rule: str) -> str:
    return f"{PREFIX}{rule}"


def rule_of(list_: str) -> str | None:
    """Return the rule that a list silences; None for any other list."""
    return list_.removeprefix(PREFIX) if list_.startswith(PREFIX) else None


def idle_silences(lists: Iterable[str], rules: Collection[str]) -> list[Problem]:
    """Report lists that silence a rule that does not exist."""
    return [
        Problem(f"lists/{name}.csv", 0, 0, "", "it silences a rule that does not exist.", nearest(rule, rules))
        for name in lists
        if (rule := rule_of(name)) is not None and rule not in rules
    ]


def key_of(entities: Mapping[str, Entity], by: str, on: str) -> Node | None:
    """Return the key of a rule that can be silenced, which must be a single text; else None."""
    parts = entities[by].keys.get(on, ()) if by in entities else ()
    return parts[0] if len(parts) == 1 and parts[0].type.is_text else None


def trial_of(id: str) -> str:
    """Return the rule that a trial's id is made from; empty if the id is not a trial's.

    >>> trial_of("many_payments_try2"), trial_of("many_payments")
    ('many_payments', '')
    """
    match = _TRIAL.fullmatch(id)
    return "" if match is None else match["of"]


def trial_number(id: str) -> int:
    """Return the number of a trial; 0 if the id is not a trial's."""
    match = _TRIAL.fullmatch(id)
    return 0 if match is None else int(match["number"])


def with_silence(
    when: Node, rule: str, by: str, on: str, entities: Mapping[str, Entity], lists: Collection[str]
) -> Node:
    """Restrict a condition to keys for which the rule is not silenced. Events without a key are never silenced.

    A trial is silenced with its rule, so that both can be compared on the same events.
    """
    key = key_of(entities, by, on)
    if key is None:
        return when
    for name in map(list_of, filter(None, (trial_of(rule), rule))):
        if name in lists:
            speaks = Logic(BOOLEAN, "or", IsMissing(BOOLEAN, key), Not(BOOLEAN, InList(BOOLEAN, key, name)))
            when = Logic(BOOLEAN, "and", when, speaks)
    return when


def without_silence(when: Node) -> Node:
    """Remove what `with_silence` added; no other condition can read such a list."""
    while isinstance(when, Logic) and _is_silence(when.right):
        when = when.left
    return when


def _is_silence(node: Node) -> bool:
    match node:
        case Logic(right=Not(operand=InList() as asked)):
            return asked.list.startswith(PREFIX)
        case _:
            return False
