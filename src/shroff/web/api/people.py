"""Users, sessions, keys and the record of who did what, for who manages them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypedDict, TypeVar

import msgspec

from shroff.language.values import named_duration
from shroff.operations.pagination import cursor_of, limit_of, next_of, parted
from shroff.people import documents, keys, links, sessions, users
from shroff.people.access import Right, Who
from shroff.people.desk import Desk
from shroff.people.store import ApiKey, AuditFilter, User
from shroff.web.http.messages import Json, Request, decoded
from shroff.web.http.routes import PAGED, api

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.people.audit import AuditEntry
    from shroff.web.service import Service

BODY_BYTES_MAX: Final = 64 * 1024

One = TypeVar("One")


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """A user to add; they set their password with a link."""

    name: str
    role: str
    display_name: str = ""
    email: str = ""


class UserChange(msgspec.Struct, forbid_unknown_fields=True):
    """The changes of a user; fields left out stay."""

    role: str | None = None
    disabled: bool | None = None
    display_name: str | None = None
    email: str | None = None


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """An API key to create."""

    name: str
    role: str
    scopes: list[str] = []
    expires: str = ""


class Users(TypedDict):
    """All users."""

    users: list[documents.UserDocument]


class UserLink(TypedDict):
    """A link to set a password: its path and its full URL."""

    link: str
    url: str


class UserAnswer(TypedDict):
    """One user."""

    user: documents.UserDocument


class NewUserAnswer(UserAnswer, UserLink):
    """A new user, and the link to set the password."""


class Sessions(TypedDict):
    """The open sessions."""

    sessions: list[documents.SessionDocument]


class SessionAnswer(TypedDict):
    """One session."""

    session: documents.SessionDocument


class Keys(TypedDict):
    """All API keys."""

    keys: list[documents.KeyDocument]


class NewKeyAnswer(documents.KeyDocument):
    """A new API key, with its secret text."""

    key: str


class AuditRows(TypedDict):
    """A page of the audit log, the newest first."""

    rows: list[documents.AuditRow]
    next: str | None


class AuditCheck(TypedDict):
    """Result of the audit log's integrity check."""

    ok: bool
    rows: int
    broken_at: int | None
    why: str | None


# ---- users


async def all_users(service: Service, request: Request) -> Json[Users]:
    """All users."""
    found = await service.in_thread(users.all_users, service.desk)
    return Json({"users": [documents.of_user(one) for one in found]})


async def add_user(service: Service, request: Request) -> Json[NewUserAnswer]:
    """A user, and the link by which they set a password."""
    given = decoded(await request.body(BODY_BYTES_MAX), NewUser)
    user, link = await service.in_thread(made_user, service.desk, request.who, given)
    return Json({"user": documents.of_user(user), "link": link, "url": service.address.of(request) + link})


async def change_user(service: Service, request: Request) -> Json[UserAnswer]:
    """Another role, another name to show, or let in no more."""
    given = decoded(await request.body(BODY_BYTES_MAX), UserChange)
    name = request.path_params["name"]
    user = await service.in_thread(changed_user, service.desk, request.who, name, given)
    return Json({"user": documents.of_user(user)})


async def delete_user(service: Service, request: Request) -> Json[UserAnswer]:
    """Remove a user."""
    user = await service.in_thread(users.delete, service.desk, request.who, request.path_params["name"])
    return Json({"user": documents.of_user(user)})


async def link_user(service: Service, request: Request) -> Json[UserLink]:
    """A link by which a user sets the password, once."""
    link = await service.in_thread(links.for_password, service.desk, request.who, request.path_params["name"])
    return Json({"link": link, "url": service.address.of(request) + link})


def made_user(desk: Desk, who: Who, given: NewUser) -> tuple[User, str]:
    """Make a user and a link. Raises: as `users.add`."""
    role = users.known_role(given.role)
    user = users.add(desk, who, given.name, role, display_name=given.display_name, email=given.email)
    return user, links.for_password(desk, who, user.name)


def changed_user(desk: Desk, who: Who, name: str, given: UserChange) -> User:
    """Change a user, each thing in a transaction of its own, what may be refused first. Raises: as `users.set_role`."""
    role = None if given.role is None else users.known_role(given.role)
    users.check_texts(given.display_name or "", given.email or "")
    with desk.store.look() as look:
        user = users.in_look(look, users.known_name(name))
    if role is not None and role != user.role:
        user = users.set_role(desk, who, name, role)
    if given.disabled is not None and given.disabled != user.is_disabled:
        user = (users.disable if given.disabled else users.enable)(desk, who, name)
    if given.display_name is not None or given.email is not None:
        shown_as = user.display_name if given.display_name is None else given.display_name
        email = user.email if given.email is None else given.email
        user = users.rename(desk, who, name, display_name=shown_as, email=email)
    return user


# ---- sessions


async def all_sessions(service: Service, request: Request) -> Json[Sessions]:
    """The sessions that are open."""
    found = await service.in_thread(sessions.open_sessions, service.desk)
    return Json({"sessions": [documents.of_session(one) for one in found]})


async def end_session(service: Service, request: Request) -> Json[SessionAnswer]:
    """End a session."""
    found = await service.in_thread(sessions.end_named, service.desk, request.who, request.path_params["id"])
    return Json({"session": documents.of_session(found)})


# ---- keys


async def all_keys(service: Service, request: Request) -> Json[Keys]:
    """All keys, those that were revoked too."""
    found = await service.in_thread(keys.all_keys, service.desk)
    return Json({"keys": [documents.of_key(one) for one in found]})


async def make_key(service: Service, request: Request) -> Json[NewKeyAnswer]:
    """A key, with its text this one time."""
    given = decoded(await request.body(BODY_BYTES_MAX), NewKey)
    key, text = await service.in_thread(made_key, service.desk, request.who, given)
    return Json({**documents.of_key(key), "key": text})


async def revoke_key(service: Service, request: Request) -> Json[documents.KeyDocument]:
    """End a key."""
    found = await service.in_thread(keys.revoke, service.desk, request.who, request.path_params["id"])
    return Json(documents.of_key(found))


def made_key(desk: Desk, who: Who, given: NewKey) -> tuple[ApiKey, str]:
    """Make a key. Raises: as `keys.create`."""
    scopes = [keys.known_scope(scope) for scope in given.scopes]
    lasts_ms = named_duration("expires", given.expires, is_positive=True) if given.expires else None
    return keys.create(desk, who, given.name, keys.known_role(given.role), scopes=scopes, lasts_ms=lasts_ms)


# ---- the record


async def audit(service: Service, request: Request) -> Json[AuditRows]:
    """Rows of the record, the newest first."""
    limit, before = limit_of(request.query_params), cursor_of(request.query_params, int)
    found = await service.in_thread(rows_of, service.desk, wanted_of(request.query_params), before, limit + 1)
    rows, last = parted(found, limit)
    cursor = None if last is None else next_of(last.number)
    return Json({"rows": [documents.of_row(row) for row in rows], "next": cursor})


async def verify_audit(service: Service, request: Request) -> Json[AuditCheck]:
    """Hold every row against the one before it, and the last one against its head."""
    found = await service.in_thread(service.project.people.verify_audit)
    broken_at, why = found.broken_at or None, found.why or None
    return Json({"ok": found.is_whole, "rows": found.rows, "broken_at": broken_at, "why": why})


def rows_of(desk: Desk, wanted: AuditFilter, before: int | None, limit: int) -> Sequence[AuditEntry]:
    """Rows of the record before a number, the newest first."""
    with desk.store.look() as look:
        return look.record(wanted, before=before, limit=limit, is_newest_first=True)


def wanted_of(query: Mapping[str, str]) -> AuditFilter:
    """Which rows are asked for. Raises: UsageError for what is no time."""
    from shroff.replay.notebook import moment_ms

    def given(name: str) -> str:
        return query.get(name, "").strip()

    action = given("action").removesuffix(".")
    times = moment_ms(given("from") or None, "from"), moment_ms(given("to") or None, "to")
    return AuditFilter(given("who"), action, given("subject"), *times)


_DONE: Final = {400: "Not found, or not allowed."}

ROUTES: Final = (
    api("GET", "/users", Right.MANAGE_USERS, all_users)("List the users.", "Users with their roles."),
    api("POST", "/users", Right.MANAGE_USERS, add_user)(
        "Add a user.", "The user, and a one-time link to set the password, valid for three days.", NewUser
    ),
    api("PATCH", "/users/{name}", Right.MANAGE_USERS, change_user)(
        "Change a user. A changed role or a disabled sign-in ends the user's sessions.", "The user.", UserChange
    ),
    api("DELETE", "/users/{name}", Right.MANAGE_USERS, delete_user)(
        "Remove a user; the audit log keeps the name.", "The removed user.", problems=_DONE
    ),
    api("POST", "/users/{name}/link", Right.MANAGE_USERS, link_user)(
        "Create a one-time link for a user to set the password, valid for three days.",
        "The link's path and full URL.",
        problems=_DONE,
    ),
    api("GET", "/sessions", Right.MANAGE_USERS, all_sessions)(
        "List open sessions.", "The sessions, most recently used first."
    ),
    api("DELETE", "/sessions/{id}", Right.MANAGE_USERS, end_session)(
        "End a session.", "The session's user.", problems=_DONE
    ),
    api("GET", "/keys", Right.MANAGE_KEYS, all_keys)("List the API keys.", "Keys without their text."),
    api("POST", "/keys", Right.MANAGE_KEYS, make_key)(
        "Create an API key; it has at most the rights of its creator.",
        "The key with its secret text, which is shown only once.",
        NewKey,
    ),
    api("DELETE", "/keys/{id}", Right.MANAGE_KEYS, revoke_key)("Revoke an API key.", "The key.", problems=_DONE),
    api("GET", "/audit", Right.READ_AUDIT, audit)(
        "List the audit log, newest first: who did what, with old and new values.",
        "A page of the audit log.",
        problems={400: ""},
        query={
            "who": "The user or program: a name, or an id such as user-3.",
            "action": "The action, such as user.role, or a prefix: user.",
            "subject": "The object, such as user ann.",
            "from": "From this time on.",
            "to": "Before this time.",
            **PAGED,
        },
    ),
    api("POST", "/audit/verify", Right.READ_AUDIT, verify_audit)(
        "Verify the hash chain of the audit log.", "The result."
    ),
)
