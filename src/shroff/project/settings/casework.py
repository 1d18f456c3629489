"""The key `cases` of shroff.yaml: what raises alerts, the entity of cases, and due times.

None of it decides anything: like what says where things are, it is in no version, control event or receipt.
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
Matcher = Callable[["Event", float | None, Collection[str]], bool]  # of an event, its score, and the rules that hit it
# No queue may have these names: they select the cases that no queue takes, and all but those of other teams
DEFAULT = "default"
MINE = "mine"
NEXT = ("verdict", "escalate", "snooze")  # what a macro may do with a case
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
    """A rule that closes cases. `mark` names it as it is now: a changed one has another. `begins` is a day."""

    name: str
    mark: str
    after: str = "0s"
    verdict: str = ""
    sample: str = "5%"
    begins: str = ""
    at_most: str = "1%"


class CaseSettings(FrozenStruct):
    """The key `cases`; durations in milliseconds.

    `about` and `until` name entities and fields by event types, `evidence` fields by what they hold. `summaries` are
    those of events.yaml, by event types.
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
        """The rules that close cases, by their marks."""
        marks = {f"{name}@{tag_of(to_json(rule).decode())[:8]}": name for name, rule in self.auto_close.items()}
        made = [{**self.auto_close[name], "name": name, "mark": mark} for mark, name in marks.items()]
        return {rule["mark"]: msgspec.convert(rule, CloseRule) for rule in made}

    def foreign(self, user: str, *, closed: bool = False) -> tuple[str, ...]:
        """Queues of teams without this user; with `closed` those whose cases they may not answer."""
        return tuple(
            name
            for name, queue in self.queues.items()
            if (not closed or queue.get("only") == "true")
            and any(user not in self.teams.get(team, ()) for team in queue.get("teams", ()))
        )

    def checklist(self, kinds: Sequence[str], ticked: str) -> Sequence[CaseCheck]:
        """The checklist of a case by its entity, queue and rule, of which these words are ticked."""
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
    """Load the key `cases` of shroff.yaml; with events, and the names that expressions see, check those in it."""
    node = top.get(NAME_OF) if isinstance(top, yamltext.Mapping) else None
    found = load_shape(node, CASES, CaseSettings, problems, NAME_OF) or CaseSettings()
    found = replace(found, outcomes=found.outcomes or ("review",))
    if node is not None and events is not None and names is not None:
        routes = _route_mistakes("queue", found.queues, names, rules)
        closing = _route_mistakes("auto_close", found.auto_close, names, rules)
        problems += [node.problem(words) for words in (*_mistakes(found, events, rules), *routes, *closing)]
    return found


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


# ---- routes


def _conditions(text: str, names: DeclaredNames) -> dict[str, Node]:
    """A condition by the event types that have what it reads: fields and, of decided types, the score.

    Raises: ExpressionError where none has.
    """
    names = replace(names, lists=frozenset(), tables={})
    found: dict[str, Node] = {}
    wrong: ExpressionError | None = None
    for event in names.events:
        scope = Scope(names, "a condition on cases", (event,), reads_score=event in names.decided)
        try:
            found[event] = check(text, scope, BOOLEAN)
        except ExpressionError as error:
            wrong = wrong or error
    if wrong is not None and not found:
        raise wrong
    return found


def matchers(routes: Mapping[str, JsonMapping], events: Events, money_places: int) -> dict[str, Matcher]:
    """By the name of each route whether it takes an event with its score and the rules that hit it.

    A condition that the event types of this version cannot answer takes none.
    """
    names = events.names(frozenset(), money_places)
    return {name: _matcher(route, events, names) for name, route in routes.items()}


def first_match(found: Mapping[str, Matcher], event: Event, score: float | None, rules: Collection[str]) -> str:
    return next((name for name, takes in found.items() if takes(event, score, rules)), "")


def _matcher(route: JsonMapping, events: Events, names: DeclaredNames) -> Matcher:
    wanted = frozenset(route.get("rules", ()))
    reads = dict[str, Evaluate]()
    if "when" in route:
        try:
            nodes = _conditions(route["when"], names)
        except ExpressionError:
            nodes = {}
        reads = {event: _reader(node, events, event) for event, node in nodes.items() if event in events.types}

    def takes(event: Event, score: float | None, rules: Collection[str]) -> bool:
        if wanted and wanted.isdisjoint(rules):
            return False
        return "when" not in route or (event.type in reads and bool(reads[event.type]((event, score))))

    return takes


def _reader(node: Node, events: Events, event: str) -> Evaluate:
    def leaf(node: Node) -> Evaluate:
        if isinstance(node, Score):
            return itemgetter(1)
        assert isinstance(node, ThisField)
        at = events.types[event].at(node.name)
        return lambda row: row[0].values[at]

    return compile_row(node, leaf, time=lambda row: row[0].time_ms)


def _route_mistakes(
    what: str, routes: Mapping[str, JsonMapping], names: DeclaredNames, rules: Collection[str]
) -> Iterator[str]:
    for name, route in routes.items():
        for rule in route.get("rules", ()):
            if rule not in rules:
                yield f"{what} {name} names {rule!r}, which is not a rule."
        try:
            _conditions(route.get("when", "true"), names)
        except ExpressionError as error:
            yield f"{what} {name}: {error}"
