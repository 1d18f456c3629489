"""funnels.yaml: steps that users take in order, whose drop-off and recovery `shroff funnel` counts.

A funnel has no effect on decisions, so it is part of no version and no control event; the file is read at each query.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shroff.errors import Problem, nearest
from shroff.plugins import loader
from shroff.plugins.language import BOOLEAN, Node, Scope
from shroff.plugins.loader import AddedFile, FileContext, YamlMapping, YamlNode, YamlSequence
from shroff.plugins.loader import YamlScalar as Scalar
from shroff.plugins.settings import DURATION, EXPRESSION, NAME, Either, Many, Required, choice, mapping_shape, own_names
from shroff.plugins.values import FrozenStruct
from shroff_plugins.analytics.report_keys import split_mistake

FILE = "funnels.yaml"
STEPS = (2, 20)  # number of steps of a funnel
FUNNELS_MAX = 200
AFTER = "after"
EVER = "ever"


class _FunnelStep:
    """A step.

    name: The step's name. By default its event types.
        Example: logged_in
    event: The event type, or several; an event of any of them completes the step.
        Example: app_event
        Example: [login, payment]
    where: Only events with this condition, an expression over `this`.
        Example: this.name == 'USER_LOGGED_IN'
    """

    name = NAME
    event = Required(Either((NAME, Many("event types", NAME))))
    where = EXPRESSION


STEP = mapping_shape(_FunnelStep)


class _Funnel:
    """A funnel.

    user: The user: an entity with a key in all event types of the steps, or a field of all.
        Example: customer
    merged: A field that names another user. From an event with it on, both are one: all events of the other user count
        for the user of this event. Only events on the days of the question merge users. `user` has to be a field then.
        Example: merged_amplitude_id
    steps: The steps in order, 2 to 20: event types, or mappings with `event`, `where` and `name`.
        Example: [signed_up, { event: payment, where: this.amount > 100 }]
    within: Maximum time between a step and the next.
        Example: 7d
    next: Which next step prevents a drop-off: `after`, one that comes later; `ever`, one at any time before the end of
        the last day.
        Default: after
    split: Splits all numbers by the values of this field.
        Example: channel
    """

    user = Required(NAME)
    merged = NAME
    steps = Required(Many("steps", Either((NAME, STEP))))
    within = DURATION
    next = choice(AFTER, EVER)
    split = NAME


FUNNEL = mapping_shape(_Funnel)
FUNNELS = own_names("funnels by name", FUNNEL)


class FunnelStep(FrozenStruct):
    """An event of one of these types that fulfils the condition."""

    name: str
    events: tuple[str, ...]
    where: Node | None = None


class Funnel(FrozenStruct):
    """Steps that users take in this order. `is_ever`: see `next` of `FUNNEL`. `merged`: empty if users never merge."""

    name: str
    user: str
    steps: tuple[FunnelStep, ...]
    within_ms: int | None = None
    is_ever: bool = False
    split: str = ""
    merged: str = ""

    @property
    def events(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for step in self.steps for name in step.events))


def load_funnels(node: YamlNode | None, context: FileContext, problems: list[Problem]) -> dict[str, Funnel]:
    """Load funnels.yaml: each funnel by name. What cannot be loaded is left out, with a problem for each mistake."""
    return loader.by_name(node, FILE, FUNNELS_MAX, FUNNEL, _FunnelLoader(context, problems).load, problems)


FUNNELS_FILE = AddedFile(
    "funnels", FILE, "User funnels: steps, drop-off, recovery and time taken.", FUNNELS, load_funnels
)


class _FunnelLoader:
    def __init__(self, context: FileContext, problems: list[Problem]) -> None:
        self._events = context.events
        self._names = context.names
        self._problems = problems

    def load(self, name: str, tree: YamlMapping) -> Funnel:
        steps = self._steps(tree.get("steps"))
        user = loader.scalar(tree.get("user"), self._problems, "user")
        split = loader.scalar(tree.get("split"), self._problems, "split")
        types = tuple(dict.fromkeys(event for step in steps for event in step.events))
        if user is not None:
            self._check_user(user, types)
        if split is not None and (problem := split_mistake(self._events, types, split.text)):
            split.report(self._problems, problem)
        merged = loader.scalar(tree.get("merged"), self._problems, "merged")
        if merged is not None and user is not None:
            self._check_merged(merged, user.text, types)
        within_ms = loader.duration_ms(tree.get("within"), self._problems, "within")
        word = loader.one_of(tree.get("next"), (AFTER, EVER), self._problems, "next")
        user_name = "" if user is None else user.text
        split_field = "" if split is None else split.text
        merged_field = "" if merged is None else merged.text
        return Funnel(name, user_name, tuple(steps), within_ms, word == EVER, split_field, merged_field)

    def _steps(self, node: YamlNode | None) -> list[FunnelStep]:
        listed = loader.sequence(node, self._problems, "steps")
        if listed is None:
            return []
        if not STEPS[0] <= len(listed.items) <= STEPS[1]:
            message = f"a funnel has {STEPS[0]} to {STEPS[1]} steps, not {len(listed.items)}."
            listed.report(self._problems, message)
        steps = list[FunnelStep]()
        for item in listed.items:
            step = self._step(item)
            if step is None:
                continue
            if step.name in {known_step.name for known_step in steps}:
                hint = "Give one of them another name: { name: again, event: login }."
                item.report(self._problems, f"the step {step.name!r} is used twice.", hint)
            steps.append(step)
        return steps

    def _step(self, item: YamlNode) -> FunnelStep | None:
        if isinstance(item, Scalar):
            types = self._types(item)
            return FunnelStep(item.text, types) if types else None
        tree = loader.mapping(item, self._problems, "a step", STEP)
        if tree is None:
            return None
        types = self._types(tree.get("event"))
        name_node = tree.get("name")
        name = loader.scalar(name_node, self._problems, "the name of a step")
        if name is not None and loader.name(name, self._problems, "a step") is None:
            return None
        if not types:
            return None
        scope = Scope(self._names, what="a step", this=types)
        condition = tree.get("where")
        where = None if condition is None else loader.expression(condition, scope, self._problems, BOOLEAN)
        return FunnelStep("_or_".join(types) if name is None else name.text, types, where)

    def _types(self, node: YamlNode | None) -> tuple[str, ...]:
        items: Sequence[YamlNode] = () if node is None else (node,)
        if isinstance(node, YamlSequence):
            items = node.items
        types = dict[str, None]()
        for item in items:
            type_ = loader.scalar(item, self._problems, "an event type of a step")
            if type_ is not None and type_.text not in self._events.types:
                hint = nearest(type_.text, self._events.types) or f"There is {', '.join(self._events.types) or 'none'}."
                type_.report(self._problems, f"{type_.text!r} is not an event type.", hint)
            elif type_ is not None:
                types[type_.text] = None
        if isinstance(node, YamlSequence) and not node.items:
            node.report(self._problems, "a step has at least one event type.")
        return tuple(types)

    def _check_user(self, user: Scalar, types: Sequence[str]) -> None:
        """Report a user that is neither an entity with a key in all types nor a field of all."""
        entity = self._events.entities.get(user.text)
        types_with_user: Collection[str] = set() if entity is None else entity.keys
        if entity is None:
            types_with_user = {name for name in types if user.text in self._events.types[name].field_names}
            if types and not types_with_user:
                candidates = [*self._events.entities, *(self._events.types[types[0]].field_names)]
                message = f"{user.text!r} is not an entity, and no field of {', '.join(types)}."
                user.report(self._problems, message, nearest(user.text, candidates))
                return
        missing = [name for name in types if name not in types_with_user]
        if missing:
            noun = f"no key of {user.text}" if entity else f"no field {user.text!r}"
            hint = f"Add {missing[0]} to {user.text} under entities in events.yaml." if entity else ""
            user.report(self._problems, f"{missing[0]} has {noun}, so its users are not known.", hint)
        elif entity is None and (problem := split_mistake(self._events, types, user.text)):
            user.report(self._problems, problem.replace("split by", "a user is"))

    def _check_merged(self, merged: Scalar, user: str, types: Sequence[str]) -> None:
        """Report a field that no event type of the steps has, that is not a text, or that is used with an entity."""
        if user in self._events.entities:
            hint = "Write the field that is the key: user: FIELD."
            merged.report(self._problems, f"merged needs a field as user, and {user} is an entity.", hint)
            return
        declared = [self._events.types[name] for name in types]
        types_with_field = [type_ for type_ in declared if merged.text in type_.field_names]
        if types and not types_with_field:
            hint = nearest(merged.text, declared[0].field_names)
            merged.report(self._problems, f"{merged.text!r} is not a field of {', '.join(types)}.", hint)
        for type_ in types_with_field:
            if not type_.fields[type_.at(merged.text)].type.is_text:
                merged.report(self._problems, f"merged has to be a text, and {type_.name}.{merged.text} is none.")
