"""Load calls.yaml: calls of earlier services, which map a request body to an event, and its decision to a response.

A call affects no decision: it is another way to post an event, to get the decision it would have, or to query the
analytics (`shroff_plugins.earlier_calls.questions`). So it is part of no version and no control event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from shroff.errors import Problem, nearest
from shroff.plugins import loader
from shroff.plugins.events import Events, EventType, FileMapping
from shroff.plugins.language import INTEGER, TEXT, DeclaredNames, Node, RowValue, Scope, Type, walk
from shroff.plugins.loader import AddedFile, FileContext, YamlMapping, YamlNode
from shroff.plugins.loader import YamlScalar as Scalar
from shroff.plugins.loader import YamlSequence as Sequence
from shroff.plugins.project import OUTCOMES
from shroff.plugins.settings import ANY, EXPRESSION, NAME, SWITCH, Either, Many, Required, mapping_shape, own_names
from shroff.plugins.values import FrozenStruct, replace
from shroff_plugins.earlier_calls.questions import QUESTION, SENDING, AskingCall, load_question, load_sending

FILE = "calls.yaml"
PATH_PATTERN = r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,99}){1,8}/?$"
# First parts of paths that the service itself uses, such as its pages; see API_TAKEN for /api
TAKEN = (
    r"analytics|approvals|assistant|audit|backtest|backtests|cases|changes|checks|confirm|decisions|disputes|drift|"
    r"entities|entity|experiments|features|find|health|home|hooks|jobs|labels|links|lists|laws|live|login|logout|mail|mails|marts|me|metrics|models|"
    r"notices|queue|results|rules|scim|settings|sources|static|suggestions|tables|team|thresholds|users"
)
# The same below /api/v1
API_TAKEN = (
    r"analytics|approvals|assistant|audit|auto-close|backtests|capacity|cases|changes|decisions|disputes|drafts|entities|events|"
    r"experiments|features|flags|guards|health|jobs|keys|labels|laws|lists|live|mailbox|models|names|notices|outbox|quarantine|records|"
    r"results|rules|schedules|score|sessions|tables|thresholds|users|views"
)
_OURS = (
    rf"/({TAKEN}|api(/docs|/openapi\.json|/v1(/({API_TAKEN}))?)?(?=/?$)"
    rf"|api/(docs|openapi\.json|v1/({API_TAKEN})))(/|$)"
)
UNREAD = "_"  # in a list: a value that nothing reads
PLACES_MAX = 1_000
OF_DECISION = "decision"
DECISION_TYPES: Final[Mapping[str, Type]] = {
    "outcome": Type("choice", choices=OUTCOMES),
    "id": TEXT,
    "seq": INTEGER,
    "receipt": TEXT,
}
_ANY_NAME = r"^\S(.{0,98}\S)?$"


class _EventCall:
    """A call about an event.

    event: The event type of the body, a decided type.
        Example: payment
    write: true: the event is stored in the log like a posted event; the body must have its id and time. false: the
        answer is the decision that the event would get, and nothing is stored; a missing id or time is generated.
        Default: false
        Example: true
    lists: The lists of the body, with a name for each value in order; `_` for a value that is not used. `v1?`: the
        value may be null. A body with more or fewer values, or null elsewhere, is refused.
        Example: { features: [time, v1, v2, amount] }
    fields: Maps the body to fields, as `from` does in events.yaml: `row` is the body, with the values of its lists by
        name. A field without an expression takes the value of the same name.
        Example: { amount: money(row.Amount) }
    answer: The response: names, each with an expression over `score`, `decision.outcome`, `decision.id`,
        `decision.seq`, `decision.receipt`, `this` and the features of the decision. A list of features, such as
        `card.*` for all of an entity, gives an object.
        Example: { prediction: 1 when decision.outcome != 'approve' else 0 }
    """

    event = Required(NAME)
    write = SWITCH
    lists = own_names("lists with the names of their values", Many("names", ANY), pattern=_ANY_NAME)
    fields = own_names("expressions by field", EXPRESSION)
    answer = Required(own_names("names of the answer", Either((EXPRESSION, Many("features", ANY))), pattern=_ANY_NAME))


CALL = mapping_shape(_EventCall)
CALLS = own_names(
    "paths with their calls", Either((CALL, QUESTION, SENDING)), pattern=PATH_PATTERN.replace("^", f"^(?!{_OURS})", 1)
)
_PATH = re.compile(PATH_PATTERN)

Answered = Node | tuple[str, ...]  # a value, or the features of an object


class MappedCall(FrozenStruct):
    """A call that maps a request body to an event.

    Args:
        mapping: Maps the body's values to fields of `event`; other fields take the value of the same name.
        lists: For each list of the body the names of its values.
        may_lack: Names in `lists` whose value may be null or empty text.
        answer: The parts of the response, in order.
    """

    path: str
    event: str
    writes: bool
    lists: Mapping[str, tuple[str, ...]]
    mapping: FileMapping
    answer: Mapping[str, Answered]
    may_lack: frozenset[str]


Call = MappedCall | AskingCall


# Loaders of calls that do not post an event, by a key that only such calls have
_ASKING = {
    "sends": load_sending,
    "recipients": load_sending,
    "reads": load_question,
    "ask": load_question,
    "each": load_question,
}


def load_calls(node: YamlNode | None, context: FileContext, problems: list[Problem]) -> dict[str, Call]:
    root = loader.mapping(node, problems, FILE)
    calls: dict[str, Call] = {}
    for key, value in root.entries if root else ():
        if not _is_path(key, calls, problems):
            continue
        subject = f"the call {key.text}"
        call_node = loader.mapping(value, problems, subject)
        if call_node is None:
            continue
        load = (
            None
            if call_node.get("event")
            else next((load for name, load in _ASKING.items() if call_node.get(name)), None)
        )
        if load is not None:
            asking = load(key.text, call_node, context, problems)
            if asking is not None:
                calls[key.text] = asking
            continue
        loader.check_keys(call_node, CALL, problems, subject)
        event = _event(call_node.get("event"), context.events, problems)
        if event is not None:
            calls[key.text] = _CallLoader(event, context, problems).load(key.text, call_node)
    return calls


def answered(calls: Mapping[str, Call], event: str) -> Iterator[Node]:
    for call in calls.values():
        if isinstance(call, MappedCall) and call.event == event:
            yield from (node for node in call.answer.values() if not isinstance(node, tuple))


CALLS_FILE = AddedFile(
    "calls", FILE, "Calls of earlier services: their requests and responses.", CALLS, load_calls, answered, is_kept=True
)


def _is_path(key: Scalar, calls: Mapping[str, Call], problems: list[Problem]) -> bool:
    path = key.text
    if not _PATH.fullmatch(path):
        hint = "It begins with / and has letters, digits and - . _ ~ between, such as /predict/."
        key.report(problems, f"{path!r} is not a path of a call.", hint)
        return False
    reserved = re.match(_OURS, path)
    if reserved is not None:
        message = f"paths below {reserved[0].rstrip('/')} are reserved for the service."
        key.report(problems, message, "Choose another path; /api/v2 and other names below /api are free.")
        return False
    same = next((call for call in calls if call.rstrip("/") == path.rstrip("/")), None)
    if same is not None:
        key.report(problems, f"{path} is answered as {same} already: a trailing slash makes no difference.")
    return same is None


def _event(node: YamlNode | None, events: Events, problems: list[Problem]) -> EventType | None:
    name_node = loader.scalar(node, problems, "event")
    if name_node is None:
        return None
    event = events.types.get(name_node.text)
    if event is None:
        name_node.report(problems, f"{name_node.text!r} is not an event type.", nearest(name_node.text, events.types))
    elif not event.is_decided:
        hint = f"Write 'decide: true' under {event.name} in events.yaml."
        name_node.report(problems, f"{event.name} is not decided, so it has no answer.", hint)
        return None
    return event


class _CallLoader:
    def __init__(self, event: EventType, context: FileContext, problems: list[Problem]) -> None:
        self._event = event
        self._problems = problems
        self._has_mistake = False
        self._may_lack: set[str] = set()
        keyed = {name for name, entity in context.events.entities.items() if event.name in entity.keys}
        self._shown = {name: type_ for name, type_ in context.features.items() if name.partition(".")[0] in keyed}
        self._names = replace(
            context.names,
            entities={**context.names.entities, OF_DECISION: frozenset([event.name])},
            lists=frozenset(),
            tables={},
        )

    def load(self, path: str, tree: YamlMapping) -> MappedCall:
        writes = loader.boolean(tree.get("write"), self._problems, "write")
        expressions = self._fields(tree.get("fields"))
        lists = self._lists(tree.get("lists"), expressions)
        answer = self._answer(tree.get("answer"))
        mapping = FileMapping(None, expressions)
        may_lack = frozenset(self._may_lack)
        return MappedCall(path, self._event.name, bool(writes), lists, mapping, answer, may_lack)

    # ---- what comes in

    def _fields(self, node: YamlNode | None) -> dict[str, Node]:
        fields_node = loader.mapping(node, self._problems, "fields")
        scope = Scope(DeclaredNames(money_places=self._names.money_places), what="a call", reads_row=True)
        field_names = [field.name for field in self._event.declared]
        expressions: dict[str, Node] = {}
        for key, value in fields_node.entries if fields_node else ():
            if key.text not in field_names:
                message = f"{self._event.name} has no field {key.text!r}."
                key.report(self._problems, message, nearest(key.text, field_names))
                continue
            expression = loader.expression(value, scope, self._problems)
            if expression is not None and not {("file",), ("number",)}.isdisjoint(_paths(expression)):
                message = "row.file and row.number exist for lines of files only, not in a call."
                value.report(self._problems, message)
            self._has_mistake = self._has_mistake or expression is None  # then it is unknown which values are read
            if expression is not None:
                expressions[key.text] = expression
        return expressions

    def _lists(self, node: YamlNode | None, expressions: Mapping[str, Node]) -> dict[str, tuple[str, ...]]:
        lists_node = loader.mapping(node, self._problems, "lists")
        plain = {field.name for field in self._event.declared if field.name not in expressions}
        read_names = plain | {path[0] for expression in expressions.values() for path in _paths(expression)}
        lists: dict[str, tuple[str, ...]] = {}
        visited: set[str] = set()
        for key, value in lists_node.entries if lists_node else ():
            listed = loader.sequence(value, self._problems, f"the list {key.text}")
            if listed is not None:
                lists[key.text] = tuple(self._value_names(listed, read_names, visited))
        return lists

    def _value_names(self, listed: Sequence, read_names: set[str], visited: set[str]) -> Iterator[str]:
        """Yield the names of a list's values; report names that nothing reads, or that were `visited` before."""
        if not 0 < len(listed.items) <= PLACES_MAX:
            listed.report(self._problems, f"a list has 1 to {PLACES_MAX:,} values, not {len(listed.items):,}.")
            return
        for item in listed.items:
            name_node = loader.scalar(item, self._problems, "the name of a value")
            if name_node is None:
                continue
            name = name_node.text.removesuffix("?")
            if name != UNREAD and name in visited:
                name_node.report(self._problems, f"the name {name!r} is used twice.")
            elif name != UNREAD and name not in read_names and not self._has_mistake:
                hint = nearest(name, read_names) or f"Write {UNREAD} for a value that is not read."
                name_node.report(self._problems, f"nothing reads {name!r}.", hint)
            visited.add(name)
            if name != name_node.text:
                self._may_lack.add(name)
            yield name

    # ---- responses

    def _answer(self, node: YamlNode | None) -> dict[str, Answered]:
        answer_node = loader.mapping(node, self._problems, "answer")
        answer: dict[str, Answered] = {}
        for key, value in answer_node.entries if answer_node else ():
            if isinstance(value, Sequence):
                answer[key.text] = tuple(
                    dict.fromkeys(feature for item in value.items for feature in self._features(item))
                )
                continue
            scope = Scope(
                self._names,
                what="an answer",
                this=(self._event.name,),
                feature=self._type_of,
                feature_names=self._feature_names,
                reads_score=True,
            )
            expression = loader.expression(value, scope, self._problems)
            if expression is not None:
                answer[key.text] = expression
        if answer_node is not None and not answer_node.entries:
            answer_node.report(self._problems, "the answer is empty.", "Write, for example, { score: score }.")
        return answer

    def _features(self, item: YamlNode) -> list[str]:
        feature_node = loader.scalar(item, self._problems, "a feature of the answer")
        if feature_node is None:
            return []
        owner, _, suffix = feature_node.text.partition(".")
        of_all = f"{owner}." if suffix == "*" else feature_node.text
        matching = sorted(
            feature
            for feature in self._shown
            if feature == feature_node.text or (suffix == "*" and feature.startswith(of_all))
        )
        if not matching:
            hint = (
                nearest(feature_node.text, self._shown) or f"There is {', '.join(sorted(self._shown)[:5]) or 'none'}."
            )
            message = f"{feature_node.text!r} is not a feature that a decision of {self._event.name} shows."
            feature_node.report(self._problems, message, hint)
        return matching

    def _type_of(self, name: str) -> Type | None:
        owner, _, feature_name = name.partition(".")
        return DECISION_TYPES.get(feature_name) if owner == OF_DECISION else self._shown.get(name)

    def _feature_names(self) -> list[str]:
        return [*self._shown, *(f"{OF_DECISION}.{name}" for name in DECISION_TYPES)]


def _paths(expression: Node) -> Iterator[tuple[str, ...]]:
    return (tuple(map(str, part.path)) for part in walk(expression) if isinstance(part, RowValue))
