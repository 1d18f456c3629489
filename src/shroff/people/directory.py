"""Users and groups that an identity provider sends (SCIM 2.0, RFC 7643 and 7644), and the users that they stand for.

What was sent is kept. Users are changed by `people.users`, as by an admin, in the same transaction. A role comes from
groups; a user who is not active, or in no group with a role, is disabled.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Annotated, Any, cast

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import RefusalError
from shroff.json_types import JsonObject
from shroff.people import users
from shroff.people.access import Right, Role, Who, strongest
from shroff.people.audit import Act
from shroff.people.sql import Change, PeopleQueries
from shroff.people.store import Desk, DirectoryEntry, PeopleStore, User

USERS = "Users"
GROUPS = "Groups"
ENTRIES_MAX = 20_000  # of each kind
OPERATIONS_MAX = 1_000  # of a PATCH
_PATH = re.compile(r'(?:urn:[\w:.-]+:)?(\w+)(?:\[(\w+) eq "?([^"\]]*)"?\])?(?:\.(\w+))?')
_TEXT = r'("(?:[^"\\\x00-\x1f]|\\["\\/])*")'
_CLAUSE = re.compile(  # of a filter: a path, with or without a condition in brackets, and what it equals
    rf"(?:urn:[\w:.-]+:)?(\w+)(?:\[(\w+) eq {_TEXT}\])?(?:\.(\w+))?(?: eq (?:{_TEXT}|(true|false)))?(?: and (?=\S)|$)",
    re.IGNORECASE,
)
Text = Annotated[str, msgspec.Meta(max_length=500)]
Item = dict[Text, Text | bool | None]


class ScimError(RefusalError):
    """A refused request of an identity provider; the code is SCIM's `scimType`."""

    def __init__(self, code: str, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.code, self.status = code, status  # type: ignore[misc]  # of this one


class Sent(msgspec.Struct, rename="camel", omit_defaults=True):
    """A user or group at the provider: the attributes that are kept. All others are dropped."""

    user_name: Text = ""
    display_name: Text = ""
    external_id: Text = ""
    active: bool | None = None
    name: Item = {}
    emails: Annotated[list[Item], msgspec.Meta(max_length=20)] = []
    members: Annotated[list[Item], msgspec.Meta(max_length=ENTRIES_MAX)] = []

    @property
    def unique_name(self) -> str:
        """The name that no other user, or group, has."""
        return (self.user_name or self.display_name).casefold()

    @property
    def shown(self) -> dict[str, str]:
        """Display name and mail address, as users have them."""
        email = max(self.emails, key=lambda email: str(email.get("primary")).lower() == "true", default={})
        shown_as = self.display_name or self.name.get("formatted") or self.user_name
        return {"display_name": str(shown_as), "email": str(email.get("value") or "")}


_NAMES = {name.lower(): name for name in (*Sent.__struct_encode_fields__, "id")}


def find(look: PeopleQueries, kind: str, id_: str) -> DirectoryEntry:
    """A user or group by its id. Raises: ScimError with 404."""
    entry = look.find(DirectoryEntry, id_)
    if entry is None or entry.kind != kind:
        raise ScimError("not-found", f"{kind} has no {id_[:100]!r}", 404)
    return entry


def search(entries: Iterable[JsonObject], text: str) -> list[JsonObject]:
    """The entries that fit a filter of comparisons `eq`, with `and` between. Raises: ScimError."""
    clauses = _CLAUSE.findall(text)
    if _CLAUSE.sub("", text) or not all(
        name.lower() in _NAMES and (key or any(wanted)) for name, key, _, _, *wanted in clauses
    ):
        raise ScimError("invalidFilter", 'a filter is a comparison with eq such as userName eq "ann@bank.org"')
    return [entry for entry in entries if all(_fits(entry, *clause) for clause in clauses)]


def _fits(entry: JsonObject, name: str, key: str, having: str, part: str, text: str, truth: str) -> bool:
    """Whether an attribute, or an item of it that has what the brackets say, equals what is wanted."""
    name = _NAMES[name.lower()]
    found = entry.get(name)
    if not (key or part or isinstance(found, list)):
        return _same(entry, name, from_json(text) if text else truth)
    items = [item for item in (found if isinstance(found, list) else [found or {}]) if isinstance(item, dict)]
    items = [item for item in items if not key or _same(item, key, from_json(having))]
    wanted = from_json(text) if text else truth
    return any(not wanted or _same(item, part or "value", wanted) for item in items)


def _same(item: JsonObject, key: str, wanted: str) -> bool:
    found = str(item.get(key, ""))
    return found == wanted or (key not in {"id", "externalId"} and found.casefold() == wanted.casefold())


def patched(before: JsonObject, body: JsonObject) -> JsonObject:
    """Attributes after the operations of a PATCH; one without a path has attributes as its value. Raises: ScimError."""
    operation = None
    try:
        if len(body["Operations"]) > OPERATIONS_MAX:
            raise ValueError  # noqa: TRY301 - as all others
        for operation in body["Operations"]:
            path, value = operation.get("path"), operation.get("value")
            for name, given in ({path: value} if path else value).items():
                _apply(before, operation["op"].lower(), name, given)
    except (AttributeError, KeyError, TypeError, ValueError):
        words = f"{OPERATIONS_MAX:,} Operations at most are applied, and this one cannot be: {str(operation)[:200]}"
        raise ScimError("invalidPath", words) from None
    return before


def _apply(before: JsonObject, verb: str, path: str, given: Any) -> None:
    found, is_gone = _PATH.fullmatch(path), verb == "remove"
    if found is None or verb not in {"add", "replace", "remove"}:
        raise ValueError(path)
    name, key, wanted, part = found.groups()
    name = _NAMES.get(name.lower())
    if name in {"emails", "members"}:
        items = before.get(name) or []
        if key:
            hits = [item for item in items if _same(item, key, wanted)]
            new = {part: None if is_gone else given} if part else given
            given = [] if is_gone and not part else [{**hit, **new} for hit in hits or [{key: wanted}]]
        else:
            given = given if isinstance(given, list) else [given] * bool(given)
            values = [item["value"] for item in given]
            hits = [item for item in items if verb == "replace" or not given or item["value"] in values]
            given = given * (not is_gone)
        before[name] = [item for item in items if item not in hits] + given
    elif name:
        given = None if is_gone else given
        given = {part: given} if part else given
        before[name] = (before.get(name) or {}) | given if isinstance(given, dict) else given


def write(desk: Desk, who: Who, method: str, kind: str, id_: str, raw: bytes) -> DirectoryEntry:
    """Add (POST), replace (PUT), change (PATCH) or remove (DELETE) a user or group; gives it.

    Raises: ScimError; UsageError as `people.users`, also where nobody could manage users any more.
    """
    who = replace(who, rights=who.rights | {Right.MANAGE_USERS})
    with desk.store.change() as change:
        within = partial(nullcontext, change)
        desk = replace(desk, store=cast("PeopleStore", SimpleNamespace(change=within, look=within)))
        entry = find(change, kind, id_) if id_ else DirectoryEntry("", kind, "{}", "")
        before, after = from_json(entry.document), None
        if method == "DELETE":
            if kind == USERS:
                users.delete(desk, who, _user(change, entry).name)
            change.take(DirectoryEntry, id_)
        else:
            entry = _put(desk, who, change, entry, _sent(method, raw, dict(before)))
            after = from_json(entry.document)
        if kind == GROUPS:
            change.audit(Act(who, "group.change", f"group {entry.id}", before, after), desk.now_ms())
        sync(desk, change, who)
    return entry


def _sent(method: str, raw: bytes, before: JsonObject) -> Sent:
    """What a body says, laid over what was sent before where it is a PATCH. Raises: ScimError."""
    active = before.get("active")
    try:
        body = from_json(raw, type=JsonObject)
        body = patched(before, body) if method == "PATCH" else body
        kept = {_NAMES.get(name.lower(), ""): value for name, value in body.items() if value is not None}
        return msgspec.convert({"active": active, **kept}, Sent, strict=False)  # Entra ID sends "False"
    except msgspec.DecodeError as error:
        raise ScimError("invalidValue", str(error)) from None


def _put(desk: Desk, who: Who, change: Change, old: DirectoryEntry, sent: Sent) -> DirectoryEntry:
    """Keep what was sent, and the user that it stands for. Raises: ScimError."""
    entries = change.directory(old.kind)
    if not (sent.user_name if old.kind == USERS else sent.display_name) or len(entries) > ENTRIES_MAX:
        raise ScimError("invalidValue", f"a user has a userName, a group a displayName; {ENTRIES_MAX:,} at most")
    if any(other.id != old.id and _read(other).unique_name == sent.unique_name for other in entries):
        raise ScimError("uniqueness", f"{old.kind} has {sent.unique_name!r} already", 409)
    if old.kind == GROUPS:
        known = {user.id for user in change.directory(USERS)}
        sent.members = [member for member in sent.members if member.get("value") in known]
        id_, role = f"group-{desk.token()[:16]}", ""
    else:
        sent.active = sent.active is not False
        user = _user(change, old) if old.id else _new(desk, who, change, sent)
        id_, role = user.id, "" if user.is_disabled else user.role
        name = users.known_name(sent.user_name)
        if name != user.name and change.user_named(name):
            raise _taken(name)
        if {"name": name, **sent.shown} != {name: getattr(user, name) for name in ("name", "display_name", "email")}:
            users.rename(desk, who, user.name, new_name=name, **sent.shown)
    entry = replace(old if old.id else replace(old, id=id_, role=role), document=to_json(sent).decode())
    change.put(entry)
    return entry


def _new(desk: Desk, who: Who, change: Change, sent: Sent) -> User:
    """The user of a new entry: made, or one of this name who signs in at the provider. Raises: ScimError."""
    user = change.user_named(users.known_name(sent.user_name))
    if user is None:
        return users.add(desk, who, sent.user_name, Role.VIEWER, **sent.shown)
    if not user.subject or change.find(DirectoryEntry, user.id):
        raise _taken(user.name)
    return user


def _taken(name: str) -> ScimError:
    return ScimError("uniqueness", f"another user is called {name!r} here: see 'shroff users list'", 409)


def _user(look: PeopleQueries, entry: DirectoryEntry) -> User:
    return cast("User", look.find(User, int(entry.id.partition("-")[2])))  # both go together


def _read(entry: DirectoryEntry) -> Sent:
    return from_json(entry.document, type=Sent)


def sync(desk: Desk, change: Change, who: Who) -> None:
    """Give each user what the groups say now, where they said something else before; else what an admin did stays."""
    given = defaultdict[Any, set[Role]](set)
    for group in map(_read, change.directory(GROUPS)):
        if role := desk.settings.group_roles.get(group.display_name):
            for member in group.members:
                given[member["value"]].add(Role(role))
    for entry in change.directory(USERS):
        now, name = strongest(given[entry.id]) if _read(entry).active else None, _user(change, entry).name
        if (now or "") != entry.role:
            users.changed(
                desk, who, name, "user.role" if now else "user.disable", partial(_as_given, now, is_new=not entry.role)
            )
            change.put(replace(entry, role=now or ""))


def _as_given(role: Role | None, user: User, *, is_new: bool) -> User:
    is_disabled = not role or (user.is_disabled and not is_new)
    return replace(user, role=role or user.role, is_disabled=is_disabled, stamp=user.stamp + 1)


def joined(change: Change, subject: str, name: str) -> User | None:
    """The user whom the provider sent, by their subject, or by their name where they never signed in."""
    known = change.user_known_as(subject)
    for entry in change.directory(USERS):
        user = _user(change, entry)
        is_new = not (known or user.subject or user.password) and _read(entry).unique_name == name.casefold()
        if user == known or is_new:
            return user
    return None
