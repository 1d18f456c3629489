"""`experiment` in policy.yaml: a share of keys is decided with other thresholds and rules.

`project.policy` loads it. An experiment becomes a rule that hits every event and takes effect for its share of keys, so
its arms are recorded, replayed and back-tested like the rollout of any rule.
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
from shroff.rules.keys import EXPERIMENT, GUARD
from shroff.runtime.values import replace


class _Experiment:
    """An experiment.

    name: An id that no rule has or had. Decisions record it.
    share: The share of keys in arm B, chosen by a hash of name and key.
    by: The entity whose keys are drawn. Events without a key are in arm A.
    guard: Limits that end the experiment: above one, all keys get arm A. The false positive rate is that of arm B; the
        loss is what arm B costs more than arm A.
        Example: stop when false_positive_rate > 2% or loss > 5000
    rules: Rules of the same entity that differ in arm B. true: a rule in shadow acts in arm B. false: an active rule
        runs in shadow in arm B.
        Example: { many_payments: true, night: false }
    """

    name = Required(NAME)
    share = Required(PERCENT)
    by = Required(NAME)
    guard = GUARD
    rules = own_names("rules and whether they act in arm B", SWITCH)


EXPERIMENT_KEYS = mapping_shape(_Experiment).keys


def load_experiment(
    node: YamlMapping, event: str, entities: Collection[str], rules: dict[str, Rule], problems: list[Problem]
) -> None:
    """Add the rule of an experiment to `rules`, and let the rules that it switches use its keys.

    Each mistake becomes a problem.
    """
    name_node = loader.scalar(node.get("name"), problems, "name")
    share = loader.percent(node.get("share"), problems, "share")
    name = loader.name(name_node, problems, "an experiment") if name_node else None
    by = loader.one_of(node.get("by"), entities, problems, "an entity")
    switched = loader.mapping(node.get("rules"), problems, "rules")
    if share in (0, 1) or name in rules:
        hint = "Give a share such as 20%, and a name that no rule has."
        problems.append(node.problem("an experiment needs keys in both arms and a name of its own.", hint))
    if not (name and by and share):
        return
    experiment = Rule(name, event, by, Literal(BOOLEAN, value=True), EXPERIMENT, rollout=share)
    guard = loader.matching(node.get("guard"), GUARD, problems)
    experiment = replace(experiment, guard=guard)
    for key, value in switched.entries if switched else ():
        id_ = key.text
        acts_in_b = loader.boolean(value, problems, key.text)
        rule = rules.get(id_)
        # A rule that acts in arm B must be in shadow now, and one that does not must be active.
        if rule and (rule.on, rule.by, rule.rollout, rule.is_shadow) == (event, by, 1.0, acts_in_b):
            rules[id_] = replace(
                rule, rollout=share, drawn_as=experiment.id, is_shadow=False, is_drawn_out=not acts_in_b
            )
        else:
            mode = "in shadow" if acts_in_b else "active for all keys"
            problems.append(node.problem(f"{id_!r} is no rule on {event} by {by} that is {mode}.", nearest(id_, rules)))
    rules[experiment.id] = experiment
