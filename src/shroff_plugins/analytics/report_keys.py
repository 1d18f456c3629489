"""Figures of a daily report: counts of events, facts, and expressions over other figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from shroff.errors import Problem, ShroffError, nearest
from shroff.json_types import JsonObject
from shroff.plugins import loader
from shroff.plugins.events import FEW_VALUES, Events
from shroff.plugins.language import BOOLEAN, INTEGER, DeclaredNames, FeatureValue, Node, Scope, Type, Value, walk
from shroff.plugins.loader import YamlMapping, YamlNode, YamlScalar, YamlSequence
from shroff.plugins.settings import (
    ANY,
    EXPRESSION,
    NAME,
    SWITCH,
    WHOLE,
    Either,
    Key,
    Many,
    choice,
    mapping_shape,
    own_names,
)
from shroff.plugins.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.plugins.project import Definitions

SHOWN = 7  # days of a figure, the last being that of the report
BEFORE = 3  # days that a drop-off is compared with
FIGURES_MAX = 50
DAYS_MAX = 366
AS = ("number", "percent", "money")
_SCOPE = "figures"  # prefix of the name of a figure, in an expression
_EVENTS = Either((NAME, Many("event types", NAME)))
_WHERE = Key(
    "where", "Only events with this condition, an expression over `this`.", EXPRESSION, examples=("this.amount >= 100",)
)


class _SameUsers:
    """Events of the same users.

    event: The event types.
    """

    event = _EVENTS
    where = _WHERE


class _Figure:
    """A figure.

    label: The label of the figure in the mail.
        Default: its name
        Example: Money saved
    event: The event type, or several. Without other keys, the figure counts their events of the day.
        Example: saving
        Example: [app_event, saving]
    distinct: Counts distinct users instead of events: an entity with a key in all of these event types, or a field of
        all.
        Example: user
    also: With `distinct`: only users who also had such an event within the same days.
        Example: saving
        Example: { event: app_event, where: this.name == 'OPENED' }
    sum: Sums an amount or number instead of counting.
        Example: this.amount
    fact: A feature of one key at the end of the day.
        Example: shop.balance
    key: With `fact`: the key; a key of several parts as a JSON list.
        Example: s-1
    value: An expression over figures above it. A division by 0 gives a missing value, shown as a dash.
        Example: figures.opened_and_saved / figures.opened
    as: Format; `percent` shows 0.25 as 25 %.
        Default: money for amounts, else number
    hidden: true: not shown; for use in other figures.
        Default: false
    """

    label = ANY
    event = _EVENTS
    where = _WHERE
    distinct = NAME
    also = Either((NAME, mapping_shape(_SameUsers)))
    sum = EXPRESSION
    days = Key(
        "days",
        f"Number of days, up to {DAYS_MAX}; the last is the day of the report.",
        WHOLE,
        default="1",
        examples=("7",),
    )
    fact = ANY
    key = ANY
    value = EXPRESSION
    as_ = choice(*AS)
    hidden = SWITCH


FIGURE = mapping_shape(_Figure)
FIGURES = own_names("figures by name", FIGURE)


class CountedEvents(FrozenStruct):
    """Events of these types that fulfil the condition."""

    events: tuple[str, ...]
    where: Node | None = None


class FigureValues(FrozenStruct):
    """A figure on the last days, the requested day last; None for a missing value, such as a/0.

    `why` is the reason if the figure is not available; then it has no values.
    """

    values: tuple[Value, ...]
    why: str = ""


class Figure(FrozenStruct):
    """One figure: a count of events, a fact, or an expression over other figures.

    Args:
        of: Events to count; None for a fact or a value.
        distinct: Entity or field to count instead of events; empty to count events.
        days: Number of days up to that of the report.
        fact: Feature of `key`, as `entity.name`.
        reads: Figures that `value` names.
    """

    name: str
    type: Type
    label: str = ""
    of: CountedEvents | None = None
    distinct: str = ""
    also: CountedEvents | None = None
    sum: Node | None = None
    days: int = 1
    fact: str = ""
    key: str = ""
    value: Node | None = None
    reads: tuple[str, ...] = ()
    form: str = ""
    is_hidden: bool = False

    @property
    def events(self) -> tuple[str, ...]:
        return tuple(name for figure in (self.of, self.also) if figure is not None for name in figure.events)


def figure_of(name: str) -> str:
    return f"{_SCOPE}.{name}"


def why_not(error: Exception) -> str:
    return str(error) if isinstance(error, ShroffError) else f"a mistake in the program ({type(error).__name__})."


def load_figures(node: YamlNode | None, definitions: Definitions, problems: list[Problem]) -> dict[str, Figure]:
    """Load figures of the shape `FIGURES` by name; leave out faulty ones, with a problem for each mistake."""
    figures: dict[str, Figure] = {}
    entries = node.entries if isinstance(node, YamlMapping) else ()
    if len(entries) > FIGURES_MAX and node is not None:
        node.report(problems, f"a report has at most {FIGURES_MAX} figures, not {len(entries)}.")
        return {}
    for key, value in entries:
        if isinstance(value, YamlMapping):
            figure = _FigureLoader(definitions, figures, problems).load(key.text, value)
            if figure is not None:
                figures[key.text] = figure
    return figures


class _FigureLoader:
    def __init__(self, definitions: Definitions, earlier: Mapping[str, Figure], problems: list[Problem]) -> None:
        self._definitions = definitions
        self._events = definitions.events
        self._known = earlier
        self._problems = problems
        self._names = definitions.names

    def load(self, name: str, tree: YamlMapping) -> Figure | None:
        problem_count = len(self._problems)
        for message in _misfits(tree):
            tree.report(self._problems, f"{name}: {message}")
        if len(self._problems) > problem_count:
            return None
        if tree.get("event") is not None:
            figure = self._load_count(name, tree)
        else:
            figure = self._load_fact(name, tree) if tree.get("fact") is not None else self._load_expression(name, tree)
        return figure if len(self._problems) == problem_count else None

    def _load_count(self, name: str, tree: YamlMapping) -> Figure | None:
        counted = self._load_events(tree.get("event"), tree.get("where"))
        distinct = _text(tree, "distinct")
        sum_node = tree.get("sum")
        also = self._also(tree.get("also"))
        total = None if sum_node is None else self._expression(sum_node, counted.events, "the sum of a figure")
        type_ = INTEGER if total is None else total.type
        if not type_.is_exact and sum_node is not None:
            sum_node.report(self._problems, f"a sum is of money, an integer or a number, not of {type_}.")
        if distinct:
            self._check_user(tree, distinct, (*counted.events, *(() if also is None else also.events)))
        days = int(float(_text(tree, "days") or "1"))
        if not 1 <= days <= DAYS_MAX:
            tree.report(self._problems, f"{name}: days is 1 to {DAYS_MAX}.")
        return Figure(
            name, type_, of=counted, distinct=distinct, also=also, sum=total, days=days, **_display_settings(tree)
        )

    def _load_fact(self, name: str, tree: YamlMapping) -> Figure | None:
        fact = _text(tree, "fact")
        features = self._definitions.features
        if fact not in features:
            hint = nearest(fact, features) or f"There is {', '.join(features) or 'none'}."
            tree.report(self._problems, f"{name}: there is no feature {fact!r}.", hint)
            return None
        type_ = features[fact].node.type
        return Figure(name, type_, fact=fact, key=_text(tree, "key"), **_display_settings(tree))

    def _load_expression(self, name: str, tree: YamlMapping) -> Figure | None:
        types = {figure_of(figure.name): figure.type for figure in self._known.values()}
        names = DeclaredNames(entities={_SCOPE: frozenset()}, money_places=self._names.money_places)
        scope = Scope(names, what="the value of a figure", feature=types.get, feature_names=lambda: list(types))
        value_node = tree.get("value")
        node = None if value_node is None else loader.expression(value_node, scope, self._problems, None)
        if node is None or value_node is None:
            return None
        if not node.type.is_numeric:
            value_node.report(self._problems, f"the value of a figure is a number, not {node.type}.")
        reads = tuple(
            figure
            for figure in self._known
            if figure_of(figure) in {part.name for part in walk(node) if isinstance(part, FeatureValue)}
        )
        return Figure(name, node.type, value=node, reads=reads, **_display_settings(tree))

    # ---- parts

    def _load_events(self, events: YamlNode | None, where: YamlNode | None) -> CountedEvents:
        items: Sequence[YamlNode] = [] if events is None else [events]
        if isinstance(events, YamlSequence):
            items = events.items
        types = dict[str, None]()
        for item in items:
            text = item.text if isinstance(item, YamlScalar) else ""
            if text in self._events.types:
                types[text] = None
            else:
                hint = nearest(text, self._events.types) or f"There is {', '.join(self._events.types) or 'none'}."
                item.report(self._problems, f"{text!r} is not an event type.", hint)
        type_names = tuple(types)
        if where is None or not type_names:
            return CountedEvents(type_names)
        return CountedEvents(type_names, self._expression(where, type_names, "the condition of a figure", BOOLEAN))

    def _also(self, node: YamlNode | None) -> CountedEvents | None:
        if isinstance(node, YamlMapping):
            return self._load_events(node.get("event"), node.get("where"))
        return None if node is None else self._load_events(node, None)

    def _expression(
        self, node: YamlNode, types: tuple[str, ...], subject: str, result_type: Type | None = None
    ) -> Node | None:
        return loader.expression(node, Scope(self._names, what=subject, this=types), self._problems, result_type)

    def _check_user(self, tree: YamlMapping, user: str, types: Sequence[str]) -> None:
        """Report a user that is neither an entity with a key in all types nor a field of all."""
        location = tree.get("distinct") or tree
        entity = self._events.entities.get(user)
        types_with_user = (
            entity.keys
            if entity is not None
            else [name for name in types if user in self._events.types[name].field_names]
        )
        missing = [name for name in types if name not in types_with_user]
        if missing:
            candidates = [*self._events.entities, *self._events.types[missing[0]].field_names]
            message = f"{missing[0]} has no {'key of' if entity else 'entity or field'} {user!r} to count."
            location.report(self._problems, message, nearest(user, candidates))
        elif entity is None and (problem := split_mistake(self._events, types, user)):
            location.report(self._problems, problem.replace("split by", "distinct is"))


def _misfits(tree: YamlMapping) -> list[str]:
    kinds = [name for name in ("event", "fact", "value") if tree.get(name) is not None]
    if len(kinds) != 1:
        return ["a figure has one of 'event', 'fact' and 'value'."]
    messages = [
        f"{name!r} is for a figure with {required!r}."
        for name, required in _BELONGS.items()
        if tree.get(name) is not None and tree.get(required) is None
    ]
    if tree.get("distinct") is not None and tree.get("sum") is not None:
        messages.append("it counts with 'distinct' or adds with 'sum', not both.")
    if kinds == ["fact"] and tree.get("key") is None:
        messages.append("a fact needs 'key', the key whose feature it reads.")
    return messages


_BELONGS = {"where": "event", "distinct": "event", "sum": "event", "days": "event", "also": "distinct", "key": "fact"}


def _display_settings(tree: YamlMapping) -> JsonObject:
    return {"label": _text(tree, "label"), "form": _text(tree, "as"), "is_hidden": _text(tree, "hidden") == "true"}


def _text(tree: YamlMapping, name: str) -> str:
    node = tree.get(name)
    return node.text if isinstance(node, YamlScalar) else ""


def split_mistake(events: Events, types: Sequence[str], field: str) -> str:
    """Return why numbers cannot be split by a field; empty if they can."""
    declarations = [declared for name in types for declared in events.types[name].fields if declared.name == field]
    if types and not declarations:
        every = sorted({name for type_ in types for name in events.types[type_].field_names})
        return f"no event type of the steps has a field {field!r}. {nearest(field, every)}".rstrip()
    unsuitable = [declared for declared in declarations if declared.type.kind not in FEW_VALUES]
    if unsuitable:
        return f"{field} is of type {unsuitable[0].type}: split by a text, choice, boolean or integer."
    kinds = {"text" if declared.type.is_text else declared.type.kind for declared in declarations}
    return f"{field} is of several types: {' and '.join(sorted(kinds))}." if len(kinds) > 1 else ""
