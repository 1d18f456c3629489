"""Rules as declared: conditions over events and features, their effects, their tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field

from shroff.errors import Problem, nearest
from shroff.events.definitions import Events
from shroff.events.event import time_text
from shroff.features.computed import Computed
from shroff.features.definitions import FeatureTypes
from shroff.json_types import TextDict, TextMapping
from shroff.language import loader
from shroff.language.aggregates import AGGREGATES
from shroff.language.expression import (
    Aggregate,
    Arithmetic,
    Compare,
    FeatureValue,
    Literal,
    Node,
    beside_literals,
    unconverted,
    walk,
)
from shroff.language.names import DeclaredNames, Scope
from shroff.language.printer import text_of
from shroff.language.types import BOOLEAN, INTEGER
from shroff.language.values import DAY_MS
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.text import Scalar, whole_text
from shroff.rules.keys import EFFECTS, GUARD, RULE, TEST, TOLD
from shroff.rules.silences import with_silence
from shroff.rules.tables import PARTS, Row
from shroff.rules.tables import rows_of as table_rows
from shroff.runtime.values import FrozenStruct, frozen, replace

EXPIRES_SOON_MS = 30 * DAY_MS
_POWERS = frozenset(1 << bits for bits in range(31))
_RULE_ID = re.compile(r"[a-z][a-z0-9_]{0,199}")


@frozen
class RuleTest:
    """Events of a rule test, and for each event of the rule's type whether the rule hits. `places` are the events'
    positions in the file.
    """

    name: str
    events: tuple[tuple[str, TextMapping], ...]
    hits: tuple[bool, ...]
    place: Scalar = field(compare=False, repr=False)
    places: tuple[Scalar, ...] = field(default=(), compare=False, repr=False)


@frozen
class Rule:
    """A rule. `reason` alternates texts and expressions; without a reason, people see the id in words.

    A rollout draws keys by the rule's id, or by `drawn_as`, the name of an experiment; with `is_drawn_out` the rule is
    active for all other keys.
    """

    id: str
    on: str
    by: str
    when: Node
    effect: str
    reason: tuple[str | Node, ...] = ()
    notify: str | None = None
    is_shadow: bool = False
    expires_ms: int | None = None
    rollout: float = 1.0
    tests: tuple[RuleTest, ...] = ()
    place: Scalar | None = field(default=None, compare=False, repr=False)
    drawn_as: str = ""
    is_drawn_out: bool = False
    guard: str = field(default="", compare=False)

    @property
    def computed(self) -> Computed:
        return Computed(
            f"rule {self.id}",
            self.when,
            self.by,
            frozenset([self.on]),
            needs_key=False,
            rule=self.id,
            expires_ms=self.expires_ms,
        )

    def is_of(self, id: str) -> bool:
        """Whether this is the rule with an id, or a row of its table."""
        return id in {self.id, self.id.partition(".")[0]}

    def reason_computed(self) -> list[Computed]:
        """Return the reason's expressions with aggregates, for which an engine must keep state."""
        return [
            Computed(
                f"rule {self.id} reason {at}",
                part,
                self.by,
                frozenset([self.on]),
                needs_key=False,
                rule=self.id,
                is_reason=True,
            )
            for at, part in enumerate(self.reason)
            if not isinstance(part, str) and any(isinstance(node, Aggregate) for node in walk(part))
        ]


def expiring(rules: Iterable[Rule], now_ms: int) -> list[str]:
    """Describe the rules that have expired or will within 30 days, by the clock."""
    messages = []
    for rule in rules:
        if rule.expires_ms is not None and rule.expires_ms <= now_ms + EXPIRES_SOON_MS:
            is_over = rule.expires_ms <= now_ms
            last = time_text(rule.expires_ms - DAY_MS)[:10]
            messages.append(f"rule {rule.id} {'expired on' if is_over else 'expires after'} {last}")
    return messages


class LoadedFile(FrozenStruct):
    """A rule file that was read without problems: its rules, their ids as written, and warnings."""

    node: yamltext.Node
    rules: tuple[Rule, ...]
    ids: Mapping[str, Scalar]
    warnings: tuple[Problem, ...]


class RuleLoader:
    """Reads rule files; ids are unique across them. A file in `kept` is not read again if its parsed text is the
    same.
    """

    def __init__(
        self,
        events: Events,
        names: DeclaredNames,
        features: FeatureTypes,
        problems: list[Problem],
        warnings: list[Problem],
        notices: Iterable[str] = (),
        kept: dict[str, LoadedFile] | None = None,
    ) -> None:
        self._events = events
        self._names = names
        self._features = features
        self._problems = problems
        self._warnings = warnings
        self._told = tuple(dict.fromkeys((*TOLD, *notices)))
        self._seen: dict[str, Scalar] = {}
        self._ids: dict[str, Scalar] = {}  # ids of the file being read
        self._kept = {} if kept is None else kept

    def load(self, node: yamltext.Node | None) -> tuple[Rule, ...]:
        cached = self._kept.get(node.file) if node is not None else None
        is_same = cached is not None and cached.node is node and not cached.ids.keys() & self._seen.keys()
        if cached and is_same and all(rule.notify in self._told for rule in cached.rules if rule.notify):
            self._seen.update(cached.ids)
            self._warnings += cached.warnings
            return cached.rules
        problems = len(self._problems)
        warnings = len(self._warnings)
        self._ids = {}
        items = loader.sequence(node, self._problems, "a rule file")
        rules = tuple(rule for item in (items.items if items else ()) for rule in self._rules(item))
        # The rows of a table share keys, and so problems
        self._problems[problems:] = dict.fromkeys(self._problems[problems:])
        self._warnings[warnings:] = dict.fromkeys(self._warnings[warnings:])
        if node is not None and len(self._problems) == problems:
            self._kept[node.file] = LoadedFile(node, rules, self._ids, tuple(self._warnings[warnings:]))
        return rules

    def _rules(self, node: yamltext.Node) -> Iterator[Rule]:
        found = loader.mapping(node, self._problems, "a rule", RULE)
        if found is None:
            return
        id_ = self._id(found.get("id"))
        on = self._known(found.get("on"), self._events.types, "event type")
        by = self._known(found.get("by"), self._events.entities, "entity")
        rows = [Row(id_, found)]
        if set(PARTS) & {*found.keys()}:
            if on is None or by is None:
                return
            scope = self._scope(f"table {id_}", on, by)
            rows = table_rows(found, id_ or "", scope, self._problems, self._warnings)
        yield from filter(None, [self._rule(row, on, by) for row in rows])

    def _rule(self, row: Row, on: str | None, by: str | None) -> Rule | None:
        mapping = row.keys
        id_ = row.id
        problems_before = len(self._problems)
        missing = [name for name in ("when", "effect") if mapping.get(name) is None]
        if missing:
            mapping.report(self._problems, f"a rule lacks {', '.join(missing)}.")
        effect = loader.one_of(mapping.get("effect"), EFFECTS, self._problems, "an effect")
        shadow = loader.boolean(mapping.get("shadow"), self._problems, "shadow")
        expires = loader.expiry_ms(mapping.get("expires"), self._problems)
        rollout = loader.percent(mapping.get("rollout"), self._problems, "rollout")
        notify = self._notify(mapping.get("notify"))
        guard = loader.matching(mapping.get("guard"), GUARD, self._problems)
        if guard and rollout in (None, 1):
            mapping.report(self._problems, "a guard stops a rollout: give the rule a 'rollout' below 100%.")
        items = loader.sequence(mapping.get("tests"), self._problems, "tests")
        results = [self._test(item, row) for item in (items.items if items else ())]
        tests = tuple(test for test in results if test is not None)
        if on is None or by is None:
            return None
        when = self._when(mapping.get("when"), row, on, by)
        reason = self._reason(mapping.get("reason"), id_ or "", on, by) or row.reason
        if len(self._problems) > problems_before or id_ is None or when is None or effect is None:
            return None
        written = mapping.get("when")
        return Rule(
            id_,
            on,
            by,
            when,
            effect,
            reason,
            notify,
            bool(shadow),
            expires,
            1.0 if rollout is None else rollout,
            tests,
            written if isinstance(written, Scalar) else None,
            guard=guard,
        )

    def _id(self, node: yamltext.Node | None) -> str | None:
        found = loader.scalar(node, self._problems, "id")
        if found is None:
            return None
        if not _RULE_ID.fullmatch(found.text):
            found.report(
                self._problems, f"{found.text!r} is not a rule id.", "Ids are lower-case letters, digits and _."
            )
            return None
        first = self._seen.setdefault(found.text, found)
        self._ids[found.text] = found
        if first is not found:
            found.report(self._problems, f"rule {found.text!r} is declared twice, first in {first.file}:{first.line}.")
        return found.text

    def _known(self, node: yamltext.Node | None, known: Iterable[str], what: str) -> str | None:
        found = loader.scalar(node, self._problems, f"the {what}")
        if found is None:
            return None
        if found.text not in known:
            options = list(known)
            hint = nearest(found.text, options) or (
                f"There is {', '.join(options)}." if options else f"No {what} is declared."
            )
            found.report(self._problems, f"{found.text!r} is not {'an' if what[0] in 'aeiou' else 'a'} {what}.", hint)
            return None
        return found.text

    def _notify(self, node: yamltext.Node | None) -> str | None:
        found = loader.scalar(node, self._problems, "notify")
        if found is None or found.text in self._told:
            return found.text if found else None
        hint = nearest(found.text, self._told) or f"Notify {', '.join(self._told)}, or add notices/{found.text}.yaml."
        found.report(self._problems, f"{found.text!r} is nobody to tell and no notice.", hint)
        return None

    def _scope(self, what: str, on: str, by: str) -> Scope:
        return Scope(
            self._names,
            what=what,
            this=(on,),
            entity=by,
            feature=self._features.type_of,
            feature_names=self._features.names,
            reads_score=True,
            since_flag=True,
        )

    def _when(self, node: yamltext.Node | None, row: Row, on: str, by: str) -> Node | None:
        if node is None:
            return None
        id_ = row.id or ""
        scope = self._scope(f"the condition of rule {id_}", on, by)
        condition = row.own or loader.expression(node, scope, self._problems, BOOLEAN)
        if condition is not None and isinstance(node, Scalar):
            self._warn_without_this(node, condition, id_, on)
            for words, hint in dict.fromkeys(
                filter(None, (_inexact(part, self._features) for part in walk(condition)))
            ):
                node.report(self._warnings, f"rule {id_} {words}", hint)
        when = row.when or condition
        return None if when is None else with_silence(when, id_, by, on, self._events.entities, self._names.lists)

    def _warn_without_this(self, node: Scalar, when: Node, id_: str, on: str) -> None:
        for _, side, _ in beside_literals(when):
            if isinstance(side, Aggregate) and _leaves_out_this(side, on):
                words = f"rule {id_} compares a {side.function} with a threshold and does not count the event itself."
                node.report(self._warnings, words, "Write 'including this' behind it, if it should.")

    def _reason(self, node: yamltext.Node | None, id_: str, on: str, by: str) -> tuple[str | Node, ...]:
        """Split `A saving of {this.amount}` into texts and expressions."""
        reason = loader.scalar(node, self._problems, "a reason")
        if reason is None or not whole_text(reason, self._problems, what="reason"):
            return ()
        scope = self._scope(f"the reason of rule {id_}", on, by)
        parts: list[str | Node] = []
        position = 0
        while (start := reason.text.find("{", position)) >= 0:
            end = reason.text.find("}", start)
            if end < 0:
                reason.report(self._problems, "a brace opens here and does not close", offset=start)
                return ()
            parts.append(reason.text[position:start])
            part = loader.expression(reason, scope, self._problems, offset=start + 1, end=end)
            if part is not None:
                parts.append(part)
            position = end + 1
        parts.append(reason.text[position:])
        return tuple(part for part in parts if part != "")

    # ---- tests of rules

    def _test(self, node: yamltext.Node, row: Row) -> RuleTest | None:
        found = loader.mapping(node, self._problems, "a rule test", TEST)
        if found is None:
            return None
        name = loader.scalar(found.get("name"), self._problems, "the name of a rule test")
        events = loader.sequence(found.get("events"), self._problems, "the events of a rule test")
        hits = loader.sequence(found.get("hits"), self._problems, "the hits of a rule test")
        if name is None or events is None or hits is None:
            return None
        results = [self._test_event(item) for item in events.items]
        parsed = [event for event in results if event is not None]
        expected = [loader.one_of(item, row.hits, self._problems, "a hit") for item in hits.items]
        return RuleTest(
            name.text,
            tuple((type_name.text, fields) for type_name, fields in parsed),
            tuple(hit == row.hit for hit in expected),
            name,
            tuple(type_name for type_name, _ in parsed),
        )

    def _test_event(self, node: yamltext.Node) -> tuple[Scalar, TextMapping] | None:
        found = loader.mapping(node, self._problems, "an event of a rule test")
        if found is None or len(found.entries) != 1:
            if found is not None:
                found.report(
                    self._problems, "an event of a rule test is one type with its fields: '- payment: { amount: 5.00 }'"
                )
            return None
        key, value = found.entries[0]
        if key.text not in self._events.types and key.text != "label":
            key.report(self._problems, f"{key.text!r} is not an event type.", nearest(key.text, self._events.types))
            return None
        fields = loader.mapping(value, self._problems, f"the fields of {key.text}")
        field_names = (*self._events.types[key.text].field_names, "at") if key.text != "label" else ()
        values: TextDict = {}
        for name, written in fields.entries if fields else ():
            if field_names and name.text not in field_names:
                name.report(self._problems, f"{key.text} has no field {name.text!r}.", nearest(name.text, field_names))
            elif isinstance(written, Scalar):
                values[name.text] = written.text
            else:
                written.report(self._problems, f"{name.text} is one value")
        return key, values


def _inexact(part: Node, features: FeatureTypes) -> tuple[str, str] | None:
    """Return the problem and the exact form if money is compared with a multiple of a mean or std; else None.

    Multiples by a power of two are exact in floating point.
    """

    def defined(node: Node) -> Node:
        node = unconverted(node)
        feature = features.feature(node.name) if isinstance(node, FeatureValue) else None
        return node if feature is None else unconverted(feature.node)

    sides = (part.left, part.right) if isinstance(part, Compare) else ()
    for at, side in enumerate(sides):
        product = defined(side)
        if not isinstance(product, Arithmetic) or product.operator not in {"*", "/"}:
            continue
        is_ratio = product.operator == "/"
        other = sides[1 - at]
        for mean, factor in ((product.right, product.left), (product.left, product.right))[: 1 if is_ratio else 2]:
            found = defined(mean)
            (amount, times) = (factor, other) if is_ratio else (other, factor)
            noun, sum_and_count = _float_of(found, defined)
            if not noun:
                continue
            number = unconverted(times)
            is_exact = unconverted(amount).type.kind in {"money", "number"}
            if not is_exact or (isinstance(number, Literal) and number.value in _POWERS):
                continue
            words = f"compares {text_of(unconverted(amount))} with a multiple of a {noun}, which is a float: "
            words += "equal amounts can differ in their last digit."
            if sum_and_count is None:
                return words, "Leave a margin where equal amounts matter: a std has no exact form."
            total, count = sum_and_count
            exact = [f"{text_of(unconverted(amount))} * {text_of(count)}", f"{text_of(number)} * {text_of(total)}"]
            operator = f" {part.operator} " if isinstance(part, Compare) else ""
            is_left = is_ratio == (at == 0)  # the amount stands before the operator
            return words, f"Write {operator.join(exact if is_left else exact[::-1])}: it is exact."
    return None


def _float_of(node: Node, defined: Callable[[Node], Node]) -> tuple[str, tuple[Node, Node] | None]:
    """Return the noun for a float computed from exact values, with its sum and count; an empty text for anything else.

    Args:
        defined: Returns the expression of a feature.
    """
    if isinstance(node, Aggregate) and node.argument is not None:
        if node.function == "std":
            return "std", None
        if node.function == "mean":
            tally = replace(node, type=INTEGER, function="count", argument=None)
            return "mean", (replace(node, type=node.argument.type, function="sum"), tally)
    if isinstance(node, Arithmetic) and node.operator == "/":
        total = defined(node.left)
        count = defined(node.right)
        is_sum = isinstance(total, Aggregate) and total.function == "sum"
        if is_sum and isinstance(count, Aggregate) and count.function == "count":
            return "quotient of a sum and a count", (unconverted(node.left), unconverted(node.right))
    return "", None


def _leaves_out_this(side: Aggregate, on: str) -> bool:
    return (
        AGGREGATES[side.function].is_tally
        and side.event == on
        and not side.including
        and not side.delay_ms
        and side.matching is None
    )
