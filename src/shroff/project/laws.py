"""Laws about the policy, in `laws/*.yaml`, which `shroff prove` proves or refutes.

A law has no effect on decisions, so it is part of no version and no control event.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter

from shroff.errors import Problem
from shroff.json_types import TextMapping
from shroff.language import loader
from shroff.language.expression import Node
from shroff.language.keys import EXPRESSION, NAME, SWITCH, Many, One, Required, choice, mapping_shape, own_names
from shroff.language.names import Scope
from shroff.language.shapes import load_shape
from shroff.language.types import BOOLEAN
from shroff.language.yaml.text import Mapping, Scalar, read
from shroff.project.definitions import Definitions
from shroff.project.policy import OUTCOMES
from shroff.runtime.values import FrozenStruct, replace

FOLDER = "laws/"
LOOSENS_NOTHING = "loosens_nothing"
RULE = One("a rule", r"^[a-z][a-z0-9_.]*$")


class _Law:
    """A law with one claim: `never`, `hits` or `draft`.

    sentence: The law in words.
        Example: A payment above 10,000 from a new card is never approved.
    on: The event type that the law is about.
        Example: payment
    when: The events that the claim is about; by default all.
        Example: this.amount > 10_000
    rule: Only events that this rule hits.
        Example: blocked_card
    never: Outcomes that no such event gets; with all four, there is no such event.
        Example: [approve, challenge]
    hits: A rule that hits each such event.
        Example: many_payments
    draft: What a draft may change of the active policy. With loosens_nothing, no such event gets a weaker outcome; with
        differs_only_here, all other events keep their outcomes.
        Example: loosens_nothing
    required: Whether `shroff apply` refuses files for which the law is not proved.
        Default: false
        Example: true
    """

    sentence = Required(One("a sentence"))
    on = Required(NAME)
    when = EXPRESSION
    rule = RULE
    never = Many("outcomes", choice(*OUTCOMES))
    hits = RULE
    draft = choice(LOOSENS_NOTHING, "differs_only_here")
    required = SWITCH


LAW = mapping_shape(_Law)
LAWS = own_names("laws by id", LAW)


class Law(FrozenStruct):
    """A law; exactly one of `never`, `hits` and `draft` is set."""

    place: Scalar
    sentence: str
    on: str
    when: Node | None = None
    rule: str = ""
    never: tuple[str, ...] = ()
    hits: str = ""
    draft: str = ""
    required: str = "false"

    @property
    def id(self) -> str:
        return self.place.text

    @property
    def is_required(self) -> bool:
        return self.required == "true"


def load_laws(files: TextMapping, definitions: Definitions, problems: list[Problem]) -> dict[str, Law]:
    laws: dict[str, Law] = {}
    for name in sorted(name for name in files if name.startswith(FOLDER)):
        top = loader.mapping(read(files[name], name, problems), problems, name)
        for key, node in top.entries if top else ():
            law = load_shape(node, LAW, partial(Law, key), problems, f"law {key.text}")
            if law is None or not isinstance(node, Mapping):
                continue
            if law.id in laws:
                key.report(problems, f"{laws[law.id].place.file} has a law {law.id!r} too.")
            laws[law.id] = _checked(law, node, definitions, problems)
    return laws


def _checked(law: Law, node: Mapping, definitions: Definitions, problems: list[Problem]) -> Law:
    if len([*filter(None, attrgetter("never", "hits", "draft")(law))]) != 1:
        law.place.report(problems, f"law {law.id} must have one claim: never, hits or draft.")
    rules = [rule.id for rule in definitions.rules if rule.on == law.on]
    for key, allowed in (("on", definitions.events.decided), ("rule", rules), ("hits", rules)):
        loader.one_of(node.get(key), allowed, problems, key)
    when = node.get("when")
    if when is None or law.on not in definitions.events.decided:
        return replace(law, when=None)
    types = {name: feature.type for name, feature in definitions.features.items()}
    names = definitions.names
    scope = Scope(
        names, what="a law", this=(law.on,), feature=types.get, feature_names=lambda: list(types), reads_score=True
    )
    return replace(law, when=loader.expression(when, scope, problems, BOOLEAN))
