"""Rules that are silent for some keys until a date: lists of keys, one for each rule, that its condition asks.

`lists/silence.RULE.csv` is a list as any other, so a key that is added comes into force by a control event, and every
engine, replay, verification and backtest obeys it. Its name is one that no expression can write.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from shroff.events.definitions import Entity
from shroff.language.expression import InList, IsMissing, Logic, Node, Not
from shroff.language.types import BOOLEAN

PREFIX: Final = "silence."


def list_of(rule: str) -> str:
    """The name of the list of keys for which a rule is silent."""
    return f"{PREFIX}{rule}"


def rule_of(list_: str) -> str | None:
    """The rule that a list silences; None for any other list."""
    return list_.removeprefix(PREFIX) if list_.startswith(PREFIX) else None


def key_of(entities: Mapping[str, Entity], by: str, on: str) -> Node | None:
    """What a rule's key is, where it can be silenced: one text. None where there is none, or it has several parts."""
    parts = entities[by].keys.get(on, ()) if by in entities else ()
    return parts[0] if len(parts) == 1 and parts[0].type.is_text else None


def with_silence(
    when: Node, rule: str, by: str, on: str, entities: Mapping[str, Entity], lists: Collection[str]
) -> Node:
    """The condition, not true where the rule is silent. An event without a key is of nobody, so nothing is silent."""
    name, key = list_of(rule), key_of(entities, by, on)
    if name not in lists or key is None:
        return when
    speaks = Logic(BOOLEAN, "or", IsMissing(BOOLEAN, key), Not(BOOLEAN, InList(BOOLEAN, key, name)))
    return Logic(BOOLEAN, "and", when, speaks)
