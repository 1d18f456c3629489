"""`experiment` in policy.yaml: a share of keys is decided by other thresholds and rules.

It is a rule that is true at every event and takes effect for its share of keys. So arms are recorded, replayed,
back-tested and read out as the rollout of any rule is.
"""

from __future__ import annotations

from collections.abc import Collection

from shroff.errors import Problem, nearest
from shroff.language import loader
from shroff.language.expression import Literal
from shroff.language.keys import NAME, PERCENT, SWITCH, Required, mapping_shape, own_names
from shroff.language.types import BOOLEAN
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.rules.definitions import Rule
from shroff.rules.keys import EXPERIMENT
from shroff.runtime.values import replace


class _Experiment:
    """An experiment.

    name: An id that no rule has or had. Decisions record it.
    share: The share of keys in arm B, chosen by a hash of name and key.
    by: The entity whose keys are drawn. Events without a key are in arm A.
    rules: Rules of the same entity that differ in arm B. true: a rule in shadow acts in arm B. false: an active rule
        runs in shadow in arm B.
        Example: { many_payments: true, night: false }
    """

    name = Required(NAME)
    share = Required(PERCENT)
    by = Required(NAME)
    rules = own_names("rules and whether they act in arm B", SWITCH)


EXPERIMENT_KEYS = mapping_shape(_Experiment).keys


def load_experiment(
    node: YamlMapping, event: str, entities: Collection[str], rules: dict[str, Rule], problems: list[Problem]
) -> None:
    """Add the rule that an experiment is, and draw those that it switches with its keys; a mistake is a problem."""
    written = loader.scalar(node.get("name"), problems, "name")
    share = loader.percent(node.get("share"), problems, "share")
    name = loader.name(written, problems, "an experiment") if written else None
    by = loader.one_of(node.get("by"), entities, problems, "an entity")
    named = loader.mapping(node.get("rules"), problems, "rules")
    if share in (0, 1) or name in rules:
        hint = "Give a share such as 20%, and a name that no rule has."
        problems.append(node.problem("an experiment needs keys in both arms and a name of its own.", hint))
    if not (name and by and share):
        return
    drawn = Rule(name, event, by, Literal(BOOLEAN, value=True), EXPERIMENT, rollout=share)
    for key, value in named.entries if named else ():
        id_ = key.text
        is_b = loader.boolean(value, problems, key.text)
        rule = rules.get(id_)
        if rule and (rule.on, rule.by, rule.rollout, rule.is_shadow) == (event, by, 1.0, is_b):
            rules[id_] = replace(rule, rollout=share, drawn_as=drawn.id, is_shadow=False, is_drawn_out=not is_b)
        else:
            mode = "in shadow" if is_b else "active for all keys"
            problems.append(node.problem(f"{id_!r} is no rule on {event} by {by} that is {mode}.", nearest(id_, rules)))
    rules[drawn.id] = drawn
