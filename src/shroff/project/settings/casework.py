"""The key `cases` of shroff.yaml: which outcomes raise alerts, the entity of cases, queues, checklists and due times.

`cases` and `services.cases` use these settings. They affect no decision, so no version, control event or receipt
contains them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec
from msgspec.json import encode as to_json

from shroff.errors import nearest
from shroff.json_types import JsonMapping, TextMapping
from shroff.language.checker import check
from shroff.language.expression import Node, Score, ThisField
from shroff.language.keys import (
    ANY,
    DURATION,
    EXPRESSION,
    NAME,
    PERCENT,
    SWITCH,
    Many,
    One,
    Required,
    choice,
    mapping_shape,
    own_names,
)
from shroff.language.names import DeclaredNames, Scope
from shroff.language.row import Evaluate, compile_row
from shroff.language.shapes import load_shape
from shroff.language.syntax import ExpressionError
from shroff.language.types import BOOLEAN
from shroff.language.values import DAY_MS, parse_share
from shroff.language.yaml import text as yamltext
from shroff.rules.texts import tag_of
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.errors import Problem
    from shroff.events.definitions import Events
    from shroff.events.event import Event

NAME_OF = "cases"
RAISING = ("challenge", "review", "decline")
LOCK_MS = 15 * 60_000
SECOND_LOOK = 0.05
Matcher = Callable[["Event", float | None, Collection[str]], bool]  # from an event, its score, and the rules that hit
# No queue may have these names: as filters they select cases without a queue, and cases that other teams do not claim.
DEFAULT = "default"
MINE = "mine"
NEXT = ("verdict", "escalate", "snooze")  # keys of a macro that exclude each other
TAG = One("a tag", "^[a-z0-9][a-z0-9_.:-]{0,39}$")


class _ChecklistItem:
    """An item of a checklist.

    text: What the analyst ticks.
    required: A case closes only once this is ticked.
        Default: false
    """

    text = Required(ANY)
    required = SWITCH


class _Macro:
    """A macro: one of verdict, escalate and snooze, or none of them.

    verdict: The answer.
    escalate: The reason with which the case is escalated.
    snooze: How long the case is snoozed.
        Example: 1d
    note: A note to add.
    tags: Tags to add.
        Example: [stolen]
    """

    verdict = choice("fraud", "genuine", "unclear")
    escalate = ANY
    snooze = DURATION
    note = ANY
    tags = Many("tags", TAG)


class _CaseQueue:
    """A queue of cases.

    when: A condition on fields and score of the event that opens the case.
        Example: this.amount > 1000 and score > 0.5
    rules: Takes the case only if one of these rules hit the event.
        Example: [card_testing]
    teams: Who claims its cases first: users in all of these teams. Default: everybody.
        Example: [senior, french]
    only: Nobody else answers its cases, except admins and those to whom one is assigned.
        Default: false
    due: Time limit of its alerts, in place of `within`.
        Example: 1h
    """

    when = EXPRESSION
    rules = Many("rules", NAME)
    teams = Many("teams", NAME)
    only = SWITCH
    due = DURATION


class _Rule:
    """A rule that closes cases.

    when: A condition on fields and score, which holds for every event of the case.
        Example: score < 0.2 and this.amount < 20
    rules: One of these rules hit every event of the case.
        Example: [first_payment]
    after: How long nobody has touched the case, since its newest event.
        Default: 0s
        Example: 2h
    verdict: The verdict of the case. No label is written for it. By default, there is none.
    sample: Share of these cases that stays open for people.
        Default: 5%
        Example: 10%
    from: The first day on which the rule acts.
        Example: 2026-12-01
    at_most: The rule acts only where the 95 % confidence interval of fraud among such cases is below this.
        Default: 1%
        Example: 0.5%
    """

    when = Required(EXPRESSION)
    rules = Many("rules", NAME)
    after = DURATION
    verdict = choice("genuine", "unclear")
    sample = PERCENT
    from_ = One("a day such as 2026-12-01", "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")
    at_most = PERCENT


class _EvidenceFields:
    """Fields of evidence.

    card: The field with the card.
    device: The field with the device.
    ip: The field with the IP address.
    address: The field with the parcel address.
    login: The field with the login or account.
    """

    card = NAME
    device = NAME
    ip = NAME
    address = NAME
    login = NAME


class _CaseSettings:
    """Case settings.

    outcomes: Outcomes that raise an alert, in addition to rules with `notify: analysts`.
        Default: [review]
        Example: [review, decline]
    about: The entity of cases, by event type. By default, it is the entity of the first rule that asked for the
        outcome; without such a rule, the first entity of events.yaml with a key in the event.
        Example: { payment: card }
    until: The time field with the deadline for an answer, by event type, such as the time when goods ship.
        Example: { order: ships_at }
    within: Time limit for alerts, from their event, without `until`.
        Default: 1d
        Example: 4h
    lock: How long a claimed case is locked for its owner.
        Default: 15m
        Example: 30m
    second_look: Share of closed cases that another analyst decides again without seeing the first answer (quality
        check).
        Default: 5%
        Example: 10%
    checklists: What is to be done before a case is closed, by its entity, its queue, or the rule of its top reason. A
        case has the items of all three.
        Example: { card: { called: { text: Customer called, required: true } } }
    macros: Named answers, each done by one button.
        Example: { stolen: { verdict: fraud, note: Reported stolen., tags: [stolen] } }
    queues: Queues, in their order: a case goes to the first that takes the event that opens it, else to the queue
        `default`.
        Example: { large: { when: this.amount > 1000, teams: [senior], due: 1h } }
    teams: Users by team or skill, for queues.
        Example: { senior: [ann, ben], french: [ben] }
    auto_close: Rules that close cases, in their order. Each acts once it was shown on past cases and approved:
        `shroff cases auto-close`.
        Example: { small: { when: score < 0.2 and this.amount < 20, after: 2h } }
    evidence: Fields of the evidence on disputes, where their names do not say what they are.
        Example: { device: fp, address: drop_off }
    """

    outcomes = Many("outcomes", choice(*RAISING))
    about = own_names("event types with an entity", NAME)
    until = own_names("event types with a field of them", NAME)
    within = DURATION
    lock = DURATION
    second_look = PERCENT
    checklists = own_names(
        "entities, queues and rules with a checklist", own_names("items of a checklist", mapping_shape(_ChecklistItem))
    )
    macros = own_names("macros", mapping_shape(_Macro))
    queues = own_names("queues", mapping_shape(_CaseQueue), reserved=(DEFAULT, MINE))
    teams = own_names("teams", Many("user names", ANY))
    auto_close = own_names("rules that close cases", mapping_shape(_Rule))
    evidence = mapping_shape(_EvidenceFields)


CASES = mapping_shape(_CaseSettings)


class CaseCheck(FrozenStruct):
    """An item of the checklist of a case, and whether it is ticked."""

    item: str
    text: str
    required: bool
    done: bool


class CloseRule(FrozenStruct, rename={"begins": "from"}):
    """A rule that closes cases. `mark` is its name with a hash of its settings; `begins` is its first day."""

    name: str
    mark: str
    after: str = "0s"
    verdict: str = ""
    sample: str = "5%"
    begins: str = ""
    at_most: str = "1%"


class CaseSettings(FrozenStruct):
    """The loaded key `cases`; durations in milliseconds.

    `about` has entities by event type, `until` and `summaries` (from events.yaml) fields by event type, and `evidence`
    fields by their content, such as `card`.
    """

    outcomes: tuple[str, ...] = ("review",)
    about: TextMapping = msgspec.field(default_factory=dict)
    until: TextMapping = msgspec.field(default_factory=dict)
    within_ms: int = DAY_MS
    lock_ms: int = LOCK_MS
    second_look: float = SECOND_LOOK
    evidence: TextMapping = msgspec.field(default_factory=dict)
    checklists: Mapping[str, Mapping[str, TextMapping]] = msgspec.field(default_factory=dict)
    macros: Mapping[str, JsonMapping] = msgspec.field(default_factory=dict)
    queues: Mapping[str, JsonMapping] = msgspec.field(default_factory=dict)
    teams: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    auto_close: Mapping[str, JsonMapping] = msgspec.field(default_factory=dict)
    summaries: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)

    @property
    def close_rules(self) -> dict[str, CloseRule]:
        rules: dict[str, CloseRule] = {}
        for name, settings in self.auto_close.items():
            mark = f"{name}@{tag_of(to_json(settings).decode())[:8]}"
            rules[mark] = msgspec.convert({**settings, "name": name, "mark": mark}, CloseRule)
        return rules

    def foreign(self, user: str, *, closed: bool = False) -> tuple[str, ...]:
        """Return the queues of teams that the user is not in; with `closed` only queues with `only: true`."""
        return tuple(
            name
            for name, queue in self.queues.items()
            if (not closed or queue.get("only") == "true")
            and any(user not in self.teams.get(team, ()) for team in queue.get("teams", ()))
        )

    def checklist(self, kinds: Sequence[str], ticked: str) -> Sequence[CaseCheck]:
        """Return the checklist of a case.

        Args:
            kinds: The case's entity, queue and rule.
            ticked: The ids of the ticked items, with spaces between them.
        """
        items = {item: check for kind in kinds for item, check in self.checklists.get(kind, {}).items()}
        return [
            CaseCheck(item, check["text"], check.get("required") == "true", item in ticked.split())
            for item, check in items.items()
        ]


def load_case_settings(
    top: yamltext.Node | None,
    problems: list[Problem],
    events: Events | None = None,
    names: DeclaredNames | None = None,
    rules: Collection[str] = (),
) -> CaseSettings:
    """Load the key `cases` of shroff.yaml; with `events` and `names`, also check the names and conditions in it."""
    node = top.get(NAME_OF) if isinstance(top, yamltext.Mapping) else None
    settings = load_shape(node, CASES, CaseSettings, problems, NAME_OF) or CaseSettings()
    settings = replace(settings, outcomes=settings.outcomes or ("review",))
    if node is not None and events is not None and names is not None:
        queues = _condition_mistakes("queue", settings.queues, names, rules)
        closing = _condition_mistakes("auto_close", settings.auto_close, names, rules)
        problems += [node.problem(message) for message in (*_mistakes(settings, events, rules), *queues, *closing)]
    return settings


def _mistakes(found: CaseSettings, events: Events, rules: Collection[str]) -> list[str]:
    named = {**found.about, **found.until}
    words = [f"cases: {event!r} is not an event type." for event in named if event not in events.types]
    for event, entity in found.about.items():
        if event in events.types and (entity not in events.entities or event not in events.entities[entity].keys):
            words.append(f"cases: events.yaml gives no key of {entity!r} for {event}.")
    for event, name in found.until.items():
        type_ = events.types.get(event)
        if type_ is None:
            continue
        if not any(field.name == name and field.type.kind == "time" for field in type_.fields):
            words.append(f"cases: {event} has no field {name!r} of type time.")
    words += [
        f"cases: a macro has one of {', '.join(NEXT)}, and {name} has more."
        for name, macro in found.macros.items()
        if len(macro.keys() & {*NEXT}) > 1
    ]
    words += [
        f"queue {name} names {team!r}, which is none of teams."
        for name, queue in found.queues.items()
        for team in queue.get("teams", ())
        if team not in found.teams
    ]
    kinds = {*events.entities, *found.queues, DEFAULT, *rules}
    words += [
        f"cases: {kind!r} has a checklist and is not an entity, queue or rule. {nearest(kind, kinds)}".rstrip()
        for kind in found.checklists
        if kind not in kinds
    ]
    words += [
        f"auto_close {rule.name} has no sample that people check; write a share above 0%."
        for rule in found.close_rules.values()
        if not parse_share(rule.sample)
    ]
    known = {field.name for type_ in events.types.values() for field in type_.fields}
    words += [f"cases: no event type has a field {name!r}." for name in {*found.evidence.values()} - known]
    return words


# ---- conditions of queues and of rules that close cases


def _conditions(text: str, names: DeclaredNames) -> dict[str, Node]:
    """Type-check a condition for each event type that has all it reads: fields and, for decided types, the score.

    Raises: ExpressionError if no event type has.
    """
    names = replace(names, lists=frozenset(), tables={})
    nodes: dict[str, Node] = {}
    first_error: ExpressionError | None = None
    for event in names.events:
        scope = Scope(names, "a condition on cases", (event,), reads_score=event in names.decided)
        try:
            nodes[event] = check(text, scope, BOOLEAN)
        except ExpressionError as error:
            first_error = first_error or error
    if first_error is not None and not nodes:
        raise first_error
    return nodes


def matchers(routes: Mapping[str, JsonMapping], events: Events, money_places: int) -> dict[str, Matcher]:
    """Return a matcher for each queue, or each rule that closes cases, by its name.

    If no event type of this version has the fields of a condition, its matcher is always false.
    """
    names = events.names(frozenset(), money_places)
    return {name: _matcher(route, events, names) for name, route in routes.items()}


def first_match(routes: Mapping[str, Matcher], event: Event, score: float | None, rules: Collection[str]) -> str:
    return next((name for name, matches in routes.items() if matches(event, score, rules)), "")


def _matcher(route: JsonMapping, events: Events, names: DeclaredNames) -> Matcher:
    required_rules = frozenset(route.get("rules", ()))
    conditions = dict[str, Evaluate]()
    if "when" in route:
        try:
            nodes = _conditions(route["when"], names)
        except ExpressionError:
            nodes = {}
        conditions = {
            event: _compile_condition(node, events, event) for event, node in nodes.items() if event in events.types
        }

    def matches(event: Event, score: float | None, rules: Collection[str]) -> bool:
        if required_rules and required_rules.isdisjoint(rules):
            return False
        if "when" not in route:
            return True
        return event.type in conditions and bool(conditions[event.type]((event, score)))

    return matches


def _compile_condition(node: Node, events: Events, event: str) -> Evaluate:
    def leaf(node: Node) -> Evaluate:
        if isinstance(node, Score):
            return itemgetter(1)
        assert isinstance(node, ThisField)
        at = events.types[event].at(node.name)
        return lambda row: row[0].values[at]

    return compile_row(node, leaf, time=lambda row: row[0].time_ms)


def _condition_mistakes(
    kind: str, routes: Mapping[str, JsonMapping], names: DeclaredNames, rules: Collection[str]
) -> Iterator[str]:
    for name, route in routes.items():
        for rule in route.get("rules", ()):
            if rule not in rules:
                yield f"{kind} {name} names {rule!r}, which is not a rule."
        try:
            _conditions(route.get("when", "true"), names)
        except ExpressionError as error:
            yield f"{kind} {name}: {error}"
