"""Users and groups sent by an identity provider (SCIM 2.0, RFC 7643 and 7644), and their local users.

The sent data is stored. Users are changed through `people.users`, as by an admin, in the same transaction. Groups
determine the role; a user who is inactive, or in no group with a role, is disabled.
"""

from __future__ import annotations

import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Annotated, Any, cast

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import RefusalError, ShroffError
from shroff.events.raw_values import REQUEST_DEPTH_MAX, is_deep
from shroff.json_types import JsonMapping, JsonObject, TextDict
from shroff.people import users
from shroff.people.access import Right, Role, Who, strongest
from shroff.people.audit import Act
from shroff.people.sql import Change, PeopleQueries
from shroff.people.store import Desk, DirectoryEntry, PeopleStore, User
from shroff.runtime.values import replace

USERS = "Users"
GROUPS = "Groups"
ENTRIES_MAX = 20_000  # per kind
OPERATIONS_MAX = 1_000  # per PATCH
_PATH = re.compile(r'(?:urn:[\w:.-]+:)?(\w+)(?:\[(\w+) eq "?([^"\]]*)"?\])?(?:\.(\w+))?')
_TEXT = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_WORD = re.compile(rf"({_TEXT}|[()\[\]]|[\w.:$-]+)\s*")  # token of a filter
_FILTER_MAX = 2_000
_BRACKETS_MAX = 50
_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "eq": operator.eq,
    "ne": operator.eq,  # negated by the caller
    "co": operator.contains,
    "sw": str.startswith,
    "ew": str.endswith,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_LINKS = ("and", "or", ")", "]")
_LAST = chr(0x10FFFF)
_STARTING = Who("program", "shroff", "shroff", Role.SERVICE, frozenset({Right.MANAGE_USERS}))
Test = Callable[[JsonMapping], bool]
Text = Annotated[str, msgspec.Meta(max_length=500)]
Item = dict[Text, Text | bool | None]


class ScimError(RefusalError):
    """A refused request of an identity provider; the code is SCIM's `scimType`."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status  # type: ignore[misc]  # constants of the base class


class Sent(msgspec.Struct, rename="camel", omit_defaults=True):
    """A user or group at the provider, with the attributes that are stored. All others are dropped."""

    user_name: Text = ""
    display_name: Text = ""
    external_id: Text = ""
    active: bool | None = None
    name: Item = {}
    emails: Annotated[list[Item], msgspec.Meta(max_length=20)] = []
    members: Annotated[list[Item], msgspec.Meta(max_length=ENTRIES_MAX)] = []

    @property
    def unique_name(self) -> str:
        """Unique name among users, or among groups."""
        return (self.user_name or self.display_name).casefold()

    @property
    def shown(self) -> TextDict:
        """Display name and mail address for the local user."""
        email = max(self.emails, key=lambda email: str(email.get("primary")).lower() == "true", default={})
        shown_as = self.display_name or self.name.get("formatted") or self.user_name
        return {"display_name": str(shown_as), "email": str(email.get("value") or "")}


_NAMES = {name.lower(): name for name in (*Sent.__struct_encode_fields__, "id")}
_PARTS = {name.lower(): name for name in "familyName givenName middleName honorificPrefix honorificSuffix".split()}


def _part(name: str) -> str:
    """Return the name of a sub-attribute, such as `value`, in RFC 7643's spelling: providers use any case."""
    return _PARTS.get(name.lower(), name.lower())


def _with_parts(value: Any) -> Any:
    """Rename the sub-attributes of a value to RFC 7643's spelling."""
    if isinstance(value, list):
        return [_with_parts(item) for item in value]
    return {_part(name): part for name, part in value.items()} if isinstance(value, dict) else value


def find(queries: PeopleQueries, kind: str, id_: str) -> DirectoryEntry:
    """Return a user or group. Raises: ScimError with 404 if there is none."""
    entry = queries.find(DirectoryEntry, id_)
    if entry is None or entry.kind != kind:
        raise ScimError("not-found", f"{kind} has no {id_[:100]!r}", 404)
    return entry


def search(entries: Iterable[JsonObject], text: str) -> list[JsonObject]:
    """Return the entries that match a filter by RFC 7644, 3.4.2.2. Raises: ScimError."""
    tokens = _WORD.findall(text.strip()[:_FILTER_MAX])[::-1]
    try:
        if len(text) > _FILTER_MAX or tokens.count("(") > _BRACKETS_MAX or _WORD.sub("", text.strip()):
            raise ValueError(text)  # noqa: TRY301 - as all others
        fits = _parse_linked(tokens) if tokens else None
        if tokens:
            raise ValueError(tokens)  # noqa: TRY301 - as above
    except (IndexError, KeyError, ValueError, RecursionError, msgspec.DecodeError):
        words_ = f'a filter compares attributes that are kept, such as userName eq "ann@bank.org"; not {text[:100]!r}'
        raise ScimError("invalidFilter", words_) from None
    return [entry for entry in entries if fits is None or fits(entry)]


def in_order(entries: Iterable[JsonObject], path: str, *, is_down: bool) -> list[JsonObject]:
    """Sort entries by an attribute, those without it last; `is_down` reverses the whole order. Raises: ScimError."""
    try:
        name, part = _attribute(path)
    except KeyError:
        raise ScimError("invalidPath", f"sortBy: {path[:100]!r} is no attribute that is kept") from None
    return sorted(entries, key=lambda entry: (*_values(entry, name, part), _LAST)[0].casefold(), reverse=is_down)


def _attribute(path: str) -> tuple[str, str]:
    """Split a path into attribute and sub-attribute. Raises: KeyError for one that is not stored."""
    name, _, part = path.rpartition(":")[2].partition(".")
    return _NAMES[name.lower()], _part(part)


def _parse_linked(tokens: list[str], *, link: str = "or", is_item: bool = False) -> Test:
    if link == "and":
        read_term = partial(_term, tokens, is_item=is_item)
        holds = all
    else:
        read_term = partial(_parse_linked, tokens, link="and", is_item=is_item)
        holds = any
    tests = [read_term()]
    while tokens and tokens[-1].lower() == link:
        tokens.pop()
        tests.append(read_term())
    return tests[0] if len(tests) == 1 else lambda entry: holds(test(entry) for test in tests)


def _term(tokens: list[str], *, is_item: bool) -> Test:
    item_test = None
    word = tokens.pop()
    if word.lower() == "not":
        test = _within(tokens, "()", is_item=is_item)
        return lambda entry: not test(entry)
    if word == "(":
        tokens.append(word)
        return _within(tokens, "()", is_item=is_item)
    name, part = (_part(word), "") if is_item else _attribute(word)
    if tokens[-1:] == ["["]:
        if is_item or name not in {"name", "emails", "members"}:
            raise ValueError(word)
        item_test = _within(tokens, "[]", is_item=True)
        part = _part(tokens.pop()[1:]) if tokens[-1:] and tokens[-1].startswith(".") else part
    verb = "pr" if item_test and (not tokens or tokens[-1].lower() in _LINKS) else tokens.pop().lower()
    if verb == "pr":
        return lambda entry: bool(
            _values(entry, name, part, item_test) or (entry.get(name) and not (item_test or part))
        )
    literal = tokens.pop()
    expected = from_json(literal if literal[0] == '"' else literal.lower())
    compare = _COMPARISONS[verb]
    if not isinstance(expected, str) and verb not in {"eq", "ne"}:
        raise ValueError(literal)
    fold = str if name in {"id", "externalId"} else str.casefold

    def fits(entry: JsonMapping) -> bool:
        values = _values(entry, name, part, item_test)
        return not values if expected is None else any(compare(fold(value), fold(str(expected))) for value in values)

    return fits if verb != "ne" else lambda entry: not fits(entry)


def _within(tokens: list[str], brackets: str, *, is_item: bool) -> Test:
    """Parse an expression in brackets. Raises: ValueError without them."""
    begin = tokens.pop()
    test = _parse_linked(tokens, is_item=is_item)
    if begin + tokens.pop() != brackets:
        raise ValueError(brackets)
    return test


def _values(entry: JsonMapping, name: str, part: str, item_test: Test | None = None) -> list[str]:
    """Return the values of an attribute, or of a sub-attribute of the items that pass a test; by default the items'
    `value`.
    """
    value = entry.get(name)
    items = [
        item for item in (value if isinstance(value, list) else [value]) if item_test is None or item_test(item or {})
    ]
    texts = [item.get(part or "value") if isinstance(item, dict) else item for item in items]
    return [str(value) for value in texts if value is not None and value != ""]


def _same(item: JsonObject, key: str, expected: str) -> bool:
    return str(item.get(key, "")).casefold() == expected.casefold()


def patched(document: JsonObject, body: JsonObject) -> JsonObject:
    """Apply the operations of a PATCH; one without a path has attributes as its value. Raises: ScimError."""
    operation = None
    try:
        if len(body["Operations"]) > OPERATIONS_MAX:
            raise ValueError  # noqa: TRY301 - as all others
        for operation in body["Operations"]:
            path = operation.get("path")
            value = operation.get("value")
            for name, new_value in ({path: value} if path else value).items():
                _apply(document, operation["op"].lower(), name, new_value)
    except (AttributeError, KeyError, TypeError, ValueError):
        message = f"{OPERATIONS_MAX:,} Operations at most are applied, and this one cannot be: {str(operation)[:200]}"
        raise ScimError("invalidPath", message) from None
    return document


def _apply(document: JsonObject, verb: str, path: str, new_value: Any) -> None:
    match = _PATH.fullmatch(path)
    is_gone = verb == "remove"
    if match is None or verb not in {"add", "replace", "remove"}:
        raise ValueError(path)
    attribute, key, expected, part = match.groups("")
    key = _part(key)
    part = _part(part)
    new_value = _with_parts(new_value)
    name = _NAMES.get(attribute.lower())
    if name in {"emails", "members"}:
        items = document.get(name) or []
        if key:
            hits = [item for item in items if _same(item, key, expected)]
            new = {part: None if is_gone else new_value} if part else new_value
            new_value = [] if is_gone and not part else [hit | new for hit in hits or [{key: expected}]]
        else:
            new_value = new_value if isinstance(new_value, list) else [new_value] * bool(new_value)
            values = {item["value"] for item in new_value}
            hits = [item for item in items if verb == "replace" or not new_value or item["value"] in values]
            new_value = new_value * (not is_gone)
        removed_ids = {*map(id, hits)}  # ids are hashed: comparing 20,000 members with each other would be slow
        document[name] = [item for item in items if id(item) not in removed_ids] + new_value
    elif name:
        new_value = None if is_gone else new_value
        new_value = {part: new_value} if part else new_value
        document[name] = (document.get(name) or {}) | new_value if isinstance(new_value, dict) else new_value


def write(desk: Desk, who: Who, method: str, kind: str, id_: str, raw: bytes) -> DirectoryEntry:
    """Add (POST), replace (PUT), change (PATCH) or remove (DELETE) a user or group; return the entry.

    Raises: ScimError; UsageError as `people.users`, also if nobody could manage users any more.
    """
    who = replace(who, rights=who.rights | {Right.MANAGE_USERS})
    with _changing_desk(desk) as (joint, change):
        entry = find(change, kind, id_) if id_ else DirectoryEntry("", kind, "{}", "")
        document = from_json(entry.document)
        after = None
        if method == "DELETE":
            if kind == USERS:
                users.delete(joint, who, _user(change, entry).name)
            change.take(DirectoryEntry, id_)
        else:
            entry = _put(joint, who, change, entry, _decode_body(method, raw, dict(document)))
            after = from_json(entry.document)
        if kind == GROUPS:
            change.audit(Act(who, "group.change", f"group {entry.id}", document, after), desk.now_ms())
        sync(joint, change, who)
    return entry


@contextmanager
def _changing_desk(desk: Desk) -> Iterator[tuple[Desk, Change]]:
    with desk.store.change() as change:
        within = partial(nullcontext, change)
        yield replace(desk, store=cast("PeopleStore", SimpleNamespace(change=within, look=within))), change


def _shallow(raw: bytes) -> JsonObject:
    """Decode a body. Raises: ScimError if it is nested too deep; msgspec.DecodeError."""
    nested = ScimError("invalidValue", f"it has more than {REQUEST_DEPTH_MAX} nested lists and objects")
    try:
        body = from_json(raw, type=JsonObject)
    except RecursionError:
        raise nested from None
    if is_deep(raw, body, REQUEST_DEPTH_MAX):
        raise nested
    return body


def _decode_body(method: str, raw: bytes, document: JsonObject) -> Sent:
    """Decode the attributes of a body; those of a PATCH are applied to the stored ones. Raises: ScimError."""
    active = document.get("active")
    try:
        body = _shallow(raw)
        body = patched(document, body) if method == "PATCH" else body
        known_values = {
            _NAMES.get(name.lower(), ""): _with_parts(value) for name, value in body.items() if value is not None
        }
        return msgspec.convert({"active": active, **known_values}, Sent, strict=False)  # Entra ID sends "False"
    except msgspec.DecodeError as error:
        raise ScimError("invalidValue", str(error)) from None


def _put(desk: Desk, who: Who, change: Change, old: DirectoryEntry, sent: Sent) -> DirectoryEntry:
    """Store an entry and its local user. Raises: ScimError."""
    entries = change.directory(old.kind)
    if not (sent.user_name if old.kind == USERS else sent.display_name) or len(entries) > ENTRIES_MAX:
        raise ScimError("invalidValue", f"a user has a userName, a group a displayName; {ENTRIES_MAX:,} at most")
    if any(other.id != old.id and _decode_entry(other).unique_name == sent.unique_name for other in entries):
        raise ScimError("uniqueness", f"{old.kind} has {sent.unique_name!r} already", 409)
    if old.kind == GROUPS:
        user_ids = {user.id for user in change.directory(USERS)}
        sent.members = [member for member in sent.members if member.get("value") in user_ids]
        id_ = f"group-{desk.token()[:16]}"
        role = ""
    else:
        sent.active = sent.active is not False
        user = _user(change, old) if old.id else _new(desk, who, change, sent)
        id_ = user.id
        role = "" if user.is_disabled else user.role
        name = users.known_name(sent.user_name)
        if name != user.name and change.user_named(name):
            raise _name_taken(name)
        if {"name": name, **sent.shown} != {name: getattr(user, name) for name in ("name", "display_name", "email")}:
            users.rename(desk, who, user.name, new_name=name, **sent.shown)
    entry = replace(old if old.id else replace(old, id=id_, role=role), document=to_json(sent).decode())
    change.put(entry)
    return entry


def _new(desk: Desk, who: Who, change: Change, sent: Sent) -> User:
    """Return the local user of a new entry: a new one, or one of this name who signs in at the provider. Raises:
    ScimError.
    """
    user = change.user_named(users.known_name(sent.user_name))
    if user is None:
        return users.add(desk, who, sent.user_name, Role.VIEWER, **sent.shown)
    if not user.subject or change.find(DirectoryEntry, user.id) is not None:
        raise _name_taken(user.name)
    return user


def _name_taken(name: str) -> ScimError:
    return ScimError("uniqueness", f"another user is called {name!r} here: see 'shroff users list'", 409)


def _user(queries: PeopleQueries, entry: DirectoryEntry) -> User:
    # Entry and user are created and removed together
    return cast("User", queries.find(User, int(entry.id.partition("-")[2])))


def _decode_entry(entry: DirectoryEntry) -> Sent:
    return from_json(entry.document, type=Sent)


def sync(desk: Desk, change: Change, who: Who) -> None:
    """Apply the groups' roles to users whose groups changed; otherwise an admin's change stays."""
    roles_by_user = defaultdict[Any, set[Role]](set)
    for group in map(_decode_entry, change.directory(GROUPS)):
        if role := desk.settings.group_roles.get(group.display_name):
            for member in group.members:
                roles_by_user[member["value"]].add(Role(role))
    for entry in change.directory(USERS):
        granted = strongest(roles_by_user[entry.id]) if _decode_entry(entry).active else None
        name = _user(change, entry).name
        if (granted or "") != entry.role:
            users.changed(
                desk,
                who,
                name,
                "user.role" if granted else "user.disable",
                partial(_role_for, granted, is_new=not entry.role),
            )
            change.put(replace(entry, role=granted or ""))


def sync_roles(desk: Desk, report: Callable[[str], None]) -> None:
    """Apply the current role settings of SCIM, which may have changed since the provider last sent data.

    A refused change, such as disabling all admins, is reported by `report` and has no effect.
    """
    try:
        if desk.settings.group_roles:
            with _changing_desk(desk) as (joint, change):
                sync(joint, change, _STARTING)
    except ShroffError as error:
        report(f"sign_in.scim.roles is not applied: {error}")


def _role_for(role: Role | None, user: User, *, is_new: bool) -> User:
    is_disabled = not role or (user.is_disabled and not is_new)
    return replace(user, role=role or user.role, is_disabled=is_disabled, stamp=user.stamp + 1)


def joined(change: Change, subject: str, name: str) -> User | None:
    """Return the user sent by the provider, by subject, or by name if they have never signed in."""
    known_user = change.user_known_as(subject)
    for entry in change.directory(USERS):
        user = _user(change, entry)
        is_new = (
            not (known_user or user.subject or user.password) and _decode_entry(entry).unique_name == name.casefold()
        )
        if user == known_user or is_new:
            return user
    return None
