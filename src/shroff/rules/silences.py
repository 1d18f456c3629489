"""Rules that are silent for some keys until a date: lists of keys, one for each rule, that its condition asks.

`lists/silence.RULE.csv` is a list as any other, so a key that is added comes into force by a control event, and every
engine, replay, verification and backtest obeys it. Its name is one that no expression can write.
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
    """The name of the list of keys for which a rule is silent."""
    return f"{PREFIX}{rule}"


def rule_of(list_: str) -> str | None:
    """The rule that a list silences; None for any other list."""
    return list_.removeprefix(PREFIX) if list_.startswith(PREFIX) else None


def idle_silences(lists: Iterable[str], rules: Collection[str]) -> list[Problem]:
    """Problems of lists that would silence rules that do not exist, by the lists' names."""
    return [
        Problem(f"lists/{name}.csv", 0, 0, "", "it silences a rule that does not exist.", nearest(rule, rules))
        for name in lists
        if (rule := rule_of(name)) is not None and rule not in rules
    ]


def key_of(entities: Mapping[str, Entity], by: str, on: str) -> Node | None:
    """Key of a rule that can be silenced: one text. None where there is none, or it has several parts."""
    parts = entities[by].keys.get(on, ()) if by in entities else ()
    return parts[0] if len(parts) == 1 and parts[0].type.is_text else None


def trial_of(id: str) -> str:
    """The rule of which this id is a trial; empty where it is none.

    >>> trial_of("many_payments_try2"), trial_of("many_payments")
    ('many_payments', '')
    """
    found = _TRIAL.fullmatch(id)
    return "" if found is None else found["of"]


def trial_number(id: str) -> int:
    """Number of a rule's trial; 0 if it is not a trial."""
    found = _TRIAL.fullmatch(id)
    return 0 if found is None else int(found["number"])


def with_silence(
    when: Node, rule: str, by: str, on: str, entities: Mapping[str, Entity], lists: Collection[str]
) -> Node:
    """The condition, not true where the rule is silent. An event without a key is of nobody, so nothing is silent.

    A trial is silent where its rule is, so that the two are held against each other on the same events.
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
    """The condition as it was before `with_silence`: no other one asks a list of such a name."""
    while isinstance(when, Logic) and when.operator == "and" and _is_silence(when.right):
        when = when.left
    return when


def _is_silence(node: Node) -> bool:
    match node:
        case Logic(right=Not(operand=InList() as asked)):
            return asked.list.startswith(PREFIX)
        case _:
            return False
