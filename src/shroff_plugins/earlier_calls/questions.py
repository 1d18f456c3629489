"""Calls of calls.yaml that query data: a request becomes an analytics query, and its result a response.

Such a call writes nothing. Queries and results are those of the API, under the call's own names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Annotated, Final, Literal

import msgspec

from shroff.errors import Problem, nearest
from shroff.json_types import JsonObject, TextDict
from shroff.plugins import loader as loading
from shroff.plugins.language import DeclaredNames, Node, RowValue, Scope, walk
from shroff.plugins.loader import FileContext, YamlMapping, YamlNode
from shroff.plugins.loader import YamlScalar as Scalar
from shroff.plugins.loader import YamlSequence as Sequence
from shroff.plugins.settings import ANY, EXPRESSION, Either, Key, Many, Required, choice, mapping_shape, own_names
from shroff.plugins.values import FrozenStruct

REQUEST = "request"  # an answer reads the request as row.request.NAME
ITEMS_MAX = 20  # queries in one request
ROWS_MAX = 500  # of one answer
RECIPIENTS_MAX = 50
METHODS = ("get", "post")
_MAIL = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+")
Limit = Annotated[int, msgspec.Meta(ge=1, le=ROWS_MAX)]


class CountsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query for event counts by type. With `by`, it counts for each value of that field, or for those in `values`.

    `where` maps fields to values, and only events with all of these values count.
    """

    event_types: list[str] = []
    start_date: date | None = None
    end_date: date | None = None
    by: str | None = None
    values: list[str] | None = None
    zone: str = "UTC"
    where: TextDict = {}


class FactsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query for the features of a key at a time. Events before `since` do not count, for all features or by feature."""

    entity: str
    key: str
    as_of: str | None = None
    features: list[str] = []
    since: str | TextDict | None = None


class FlagsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query for the flags of a key, newest first. With `fields`, only flags whose event has these values count."""

    entity: str
    key: str
    limit: Limit = 50
    fields: JsonObject = {}


class FunnelQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query for drop-off and recovery at a step of a funnel (default: the first step) on the last day of a range."""

    funnel: str
    step: str | None = None
    start_date: date | None = None
    end_date: date | None = None
    zone: str = "UTC"


class EventsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query for the events of a key, newest first. A key `c-*` finds all keys with that start in the newest events."""

    entity: str
    key: str
    limit: Limit = 50


class MailRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Request to send a mail to some of the recipients that the call allows."""

    kind: Literal["mail"]
    to: Annotated[list[str], msgspec.Meta(min_length=1, max_length=RECIPIENTS_MAX)]
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]


CallQuery = CountsQuery | FactsQuery | FlagsQuery | FunnelQuery | EventsQuery | MailRequest


class CallKind(FrozenStruct):
    """A kind of question that a call can ask.

    Args:
        question: Class of the query.
        names: Names of the result that an `answer` may read, after `row`.
        rows: Name of the result's list whose items `each` writes; empty if there is none.
        of_row: Names of an item that `each` may read.
    """

    question: type[CallQuery]
    names: Collection[str]
    rows: str = ""
    of_row: Collection[str] = ()


READS: Final[Mapping[str, CallKind]] = {
    "counts": CallKind(CountsQuery, ("rows", "total"), "rows", ("type", "value", "count")),
    "facts": CallKind(FactsQuery, ("entity", "key", "as_of", "events", "features", "left_out")),
    "flags": CallKind(
        FlagsQuery,
        ("flags",),
        "flags",
        ("id", "seq", "rule", "entity", "key", "event", "reason", "accuracy", "created", "time", "updated", "fields"),
    ),
    "funnels": CallKind(
        FunnelQuery, ("funnel", "day", "step", "dropped_off", "dropped_off_before", "recovered", "still_out")
    ),
    "events": CallKind(
        EventsQuery,
        ("events",),
        "events",
        ("event", "id", "seq", "time", "fields", "outcome", "score", "rules", "features"),
    ),
}
SENDS: Final[Mapping[str, CallKind]] = {"mail": CallKind(MailRequest, ("sent",))}
KINDS: Final[Mapping[str, CallKind]] = {**READS, **SENDS}
_ANY_NAME = r"^\S(.{0,98}\S)?$"
_OBJECT = own_names("expressions by name", EXPRESSION, pattern=_ANY_NAME)
_ANSWER = own_names("names of the answer", Either((EXPRESSION, _OBJECT)), pattern=_ANY_NAME)


class _QueryCall:
    """A call that reads.

    reads: What the call reads: `counts` of events, `facts` (features of a key at a point in time), `flags` of a key,
        drop-off and recovery of `funnels`, or `events` of a key. Nothing is written. The call needs the permission
        `read:decisions`.
        Example: counts
    method: The HTTP method: `post` with a JSON body, or `get` with query parameters, whose values are all texts.
        Default: post
        Example: get
    unread: Names in a request that are ignored. Any other unknown name is refused, with its path.
        Example: [accountId]
    """

    reads = Required(choice(*READS))
    method = choice(*METHODS)
    many = Key(
        "many",
        f"The list in the body, of 1 to {ITEMS_MAX} objects, each one a query; the answer is then a list, too.",
        ANY,
        examples=("eventsAndDatesList",),
    )
    default = Key(
        "default",
        "With `many`: the list for a request without one, as JSON. Otherwise such a request is refused.",
        ANY,
        examples=("""'[{"events": {"stepBeforeDropOff": "A", "nextStepList": ["B"]}}]'""",),
    )
    unread = Many("names", ANY)
    ask = Key(
        "ask",
        "The parameters of the query, each an expression over `row`, the request; a plain `row.x` passes lists "
        "and objects unchanged. "
        + " ".join(
            f"`{name}` takes {', '.join(f'`{key.encode_name}`' for key in msgspec.structs.fields(reads.question))}."
            for name, reads in READS.items()
        )
        + " Missing values are left out.",
        own_names("the query by its names", Either((EXPRESSION, Many("a list of expressions", EXPRESSION), _OBJECT))),
        is_required=True,
        examples=("{ entity: \"'user'\", key: row.userId }",),
    )
    each = Key(
        "each",
        "The items of a list response: for each row found, names with an expression over `row`, and over the "
        "request as `row.request`. "
        + " ".join(
            f"A row of `{name}` has {', '.join(f'`{column}`' for column in reads.of_row)}."
            for name, reads in READS.items()
            if reads.rows
        ),
        _ANSWER,
        examples=("{ event_type: row.type, event_count: row.count }",),
    )
    answer = Key(
        "answer",
        "Instead of `each`: names, each with an expression or an object of expressions; or one expression for the "
        "whole response. "
        + " ".join(
            f"`{name}` has {', '.join(f'`{column}`' for column in reads.names)}." for name, reads in READS.items()
        ),
        Either((EXPRESSION, _ANSWER)),
        examples=("{ matched: row.features['user.matched_48h'] }",),
    )


QUESTION = mapping_shape(_QueryCall)

_BY_NAME = {key.name: key for key in QUESTION.keys}


class _MailCall:
    """A call that sends a mail.

    sends: What the call sends: a `mail`. The call needs the right `send:notices`. With a header `Idempotency-Key`, a
        repeated request sends nothing.
        Example: mail
    ask: The mail's parts, each an expression over `row`, the request: `kind`, which is `mail`, `to`, a list of
        addresses, `subject` and `text`.
        Example: { kind: "'mail'", to: row.contacts, subject: row.subject, text: row.message }
    answer: The response after the mail server has accepted the mail: one expression, or names with expressions, over
        `row.sent` (number of recipients) and `row.request`.
        Example: { sent: row.sent }
    """

    sends = Required(choice(*SENDS))
    recipients = Key(
        "recipients",
        f"The allowed recipients, 1 to {RECIPIENTS_MAX} addresses. A request with any other is refused, and "
        "nothing is sent.",
        Many("addresses", ANY),
        is_required=True,
        examples=("[analysts@bank.example]",),
    )
    unread = _BY_NAME["unread"]
    ask = Required(_BY_NAME["ask"].shape)
    answer = Required(_BY_NAME["answer"].shape)


SENDING = mapping_shape(_MailCall)

Part = Node | tuple["Part", ...] | Mapping[str, "Part"]


class AskingCall(FrozenStruct):
    """A call that queries data.

    Args:
        many: The list in the body, each item of which is a query; empty if the body is one query.
        default: The list for a request without one; empty if the request must have one.
        unread: Further names that a request may have.
        recipients: Allowed recipients of a call that sends; empty for a query.
        ask: The parameters of the query by name.
        part: The response, of the result or of each of its rows.
    """

    path: str
    reads: str
    method: str
    many: str
    unread: tuple[str, ...]
    ask: Mapping[str, Part]
    part: Part
    is_of_rows: bool = False
    recipients: tuple[str, ...] = ()
    default: tuple[JsonObject, ...] = ()


def load_question(path: str, tree: YamlMapping, context: FileContext, problems: list[Problem]) -> AskingCall | None:
    subject = f"the call {path}"
    loading.check_keys(tree, QUESTION, problems, subject)
    reads = loading.one_of(tree.get("reads"), READS, problems, "reads")
    method = loading.one_of(tree.get("method"), METHODS, problems, "method")
    many = loading.scalar(tree.get("many"), problems, "many")
    row_node = tree.get("each")
    answer = tree.get("answer")
    if reads is None:
        return None
    kind = READS[reads]
    loader = _QuestionLoader(kind, context.features if reads == "facts" else None, context.names.money_places, problems)
    ask = loader.ask(tree.get("ask"))
    if (row_node is None) == (answer is None):
        tree.report(problems, f"{subject} needs either each or answer.", "each is for a list, answer for all else.")
        return None
    if row_node is not None and not kind.rows:
        row_node.report(problems, f"{reads} has no rows: write answer.")
        return None
    if method == "get" and many is not None:
        many.report(problems, "a query has no list: many goes with method: post.")
    default = _default_items(tree.get("default"), problems)
    if default and many is None:
        tree.report(problems, f"{subject} has a default, but no list.", "Name the list of the request: many: LIST.")
    parts = loader.part(answer, kind.names) if row_node is None else loader.part(row_node, kind.of_row)
    part = {} if parts is None else parts
    unread = _names(tree.get("unread"), problems)
    return AskingCall(
        path, reads, method or "post", many.text if many else "", unread, ask, part, row_node is not None, (), default
    )


def load_sending(path: str, tree: YamlMapping, context: FileContext, problems: list[Problem]) -> AskingCall | None:
    loading.check_keys(tree, SENDING, problems, f"the call {path}")
    sends = loading.one_of(tree.get("sends"), SENDS, problems, "sends")
    if sends is None:
        return None
    loader = _QuestionLoader(SENDS[sends], None, context.names.money_places, problems)
    ask = loader.ask(tree.get("ask"))
    part = loader.part(tree.get("answer"), SENDS[sends].names)
    node = tree.get("recipients")
    recipients = _names(node, problems, "recipients")
    wrong = [recipient for recipient in recipients if not _MAIL.fullmatch(recipient)]
    if node is not None and (wrong or not 0 < len(recipients) <= RECIPIENTS_MAX):
        message = f"{wrong[0]!r} is not an address." if wrong else f"recipients are 1 to {RECIPIENTS_MAX} addresses."
        node.report(problems, message, "Write such as [analysts@bank.example].")
    unread = _names(tree.get("unread"), problems)
    return AskingCall(path, sends, "post", "", unread, ask, {} if part is None else part, recipients=recipients)


def _default_items(node: YamlNode | None, problems: list[Problem]) -> tuple[JsonObject, ...]:
    text = loading.scalar(node, problems, "default")
    if text is None:
        return ()
    try:
        items = msgspec.json.decode(text.text, type=list[JsonObject])
    except ValueError as error:
        text.report(problems, f"default is no JSON list of objects: {error}.")
        return ()
    if not 0 < len(items) <= ITEMS_MAX:
        text.report(problems, f"default has {len(items)} objects; it may have 1 to {ITEMS_MAX}.")
    return tuple(items)


def _names(node: YamlNode | None, problems: list[Problem], key_name: str = "unread") -> tuple[str, ...]:
    listed = loading.sequence(node, problems, key_name)
    scalars = (loading.scalar(item, problems, "a name") for item in (listed.items if listed else ()))
    return tuple(scalar.text for scalar in scalars if scalar is not None)


class _QuestionLoader:
    def __init__(
        self, kind: CallKind, features: Collection[str] | None, money_places: int, problems: list[Problem]
    ) -> None:
        self._kind = kind
        self._features = features
        self._problems = problems
        self._scope = Scope(DeclaredNames(money_places=money_places), what="a call", reads_row=True)

    def ask(self, node: YamlNode | None) -> dict[str, Part]:
        field_names = [field.encode_name for field in msgspec.structs.fields(self._kind.question)]
        required = [field.encode_name for field in msgspec.structs.fields(self._kind.question) if field.required]
        ask_node = loading.mapping(node, self._problems, "ask")
        parts: dict[str, Part] = {}
        for key, value in ask_node.entries if ask_node else ():
            if key.text not in field_names:
                hint = nearest(key.text, field_names) or f"It has {', '.join(field_names)}."
                key.report(self._problems, f"the question has no {key.text!r}.", hint)
                continue
            part = self.part(value)
            if part is not None:
                parts[key.text] = part
        missing = [name for name in required if ask_node is not None and ask_node.get(name) is None]
        if ask_node is not None and missing:
            ask_node.report(self._problems, f"the question lacks {', '.join(missing)}.")
        return parts

    def part(self, node: YamlNode | None, names: Collection[str] | None = None) -> Part | None:
        """Load an expression, or a list or object of expressions. `names` restricts what they may read."""
        if isinstance(node, YamlMapping):
            parts = {key.text: self.part(value, names) for key, value in node.entries}
            return {name: part for name, part in parts.items() if part is not None}
        if isinstance(node, Sequence):
            members = [self.part(item, names) for item in node.items]
            return tuple(member for member in members if member is not None)
        if not isinstance(node, Scalar):
            return None
        expression = loading.expression(node, self._scope, self._problems)
        if expression is None:
            return None
        for path in paths_of(expression):
            self._check(node, path, names)
        return expression

    def _check(self, node: Scalar, path: tuple[str, ...], names: Collection[str] | None) -> None:
        if path in {("file",), ("number",)}:
            node.report(self._problems, "row.file and row.number exist for lines of files only, not in a call.")
        elif names is not None and path[0] not in {*names, REQUEST}:
            hint = nearest(path[0], names) or f"There is {', '.join(names)} and {REQUEST}."
            node.report(self._problems, f"the result has nothing named {path[0]!r}.", hint)
        elif names is not None and path[0] == "features" and self._features is not None:
            for name in set(path[1:2]).difference(self._features):
                node.report(self._problems, f"{name!r} is not a feature.", nearest(name, self._features))


def paths_of(part: Part) -> Iterator[tuple[str, ...]]:
    """Return the paths, after `row`, that the expressions of a part read."""
    if isinstance(part, Mapping):
        for member in part.values():
            yield from paths_of(member)
    elif isinstance(part, tuple):
        for member in part:
            yield from paths_of(member)
    else:
        yield from (tuple(map(str, value.path)) for value in walk(part) if isinstance(value, RowValue))
