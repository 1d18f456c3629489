"""Users, keys, sessions and rows of the record as JSON, without a credential."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec

from shroff.events.event import TimeText, time_text
from shroff.people.audit import AuditEntry
from shroff.people.sessions import Open
from shroff.people.store import ApiKey, User
from shroff.people.users import UserShown, shown

_Value = Annotated[object, msgspec.Meta(description="The value before or after, as any JSON; null if there was none.")]


class UserDocument(UserShown):
    """A user."""

    id: str
    made_at: TimeText
    last_login_at: TimeText | None


class KeyDocument(TypedDict):
    """An API key, without its secret text."""

    id: str
    name: str
    role: str
    scopes: list[str]
    made_at: TimeText
    made_by: str
    expires_at: TimeText | None
    revoked_at: TimeText | None
    used_at: TimeText | None


class SessionDocument(TypedDict):
    """An open session."""

    id: str
    user: str
    address: str
    signed_in_at: TimeText
    used_at: TimeText
    ends_at: TimeText


AuditRow = TypedDict(
    "AuditRow",
    {
        "number": int,
        "at": TimeText,
        "who": str,
        "name": str,
        "via": str,
        "action": str,
        "subject": str,
        "from": _Value,
        "to": _Value,
        "previous": str,
        "hash": str,
    },
)


def of_user(user: User) -> UserDocument:
    """A user."""
    made_at, last = time_text(user.made_at_ms), _moment(user.last_login_ms)
    return {"id": user.id, **shown(user), "made_at": made_at, "last_login_at": last}


def of_key(key: ApiKey) -> KeyDocument:
    """A key, without its text."""
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role.value,
        "scopes": [scope.value for scope in key.scopes],
        "made_at": time_text(key.made_at_ms),
        "made_by": key.made_by,
        "expires_at": _moment(key.ends_at_ms),
        "revoked_at": _moment(key.revoked_at_ms),
        "used_at": _moment(key.used_at_ms),
    }


def of_session(one: Open) -> SessionDocument:
    """A session that is open, without its token."""
    return {
        "id": one.id,
        "user": one.user.name,
        "address": one.session.address,
        "signed_in_at": time_text(one.session.made_at_ms),
        "used_at": time_text(one.session.seen_at_ms),
        "ends_at": time_text(one.ends_at_ms),
    }


def of_row(row: AuditEntry) -> AuditRow:
    """A row of the record."""
    return {
        "number": row.number,
        "at": time_text(row.at_ms),
        "who": row.who,
        "name": row.name,
        "via": row.via,
        "action": row.action,
        "subject": row.subject,
        "from": msgspec.json.decode(row.before),
        "to": msgspec.json.decode(row.after),
        "previous": row.previous.hex(),
        "hash": row.hash.hex(),
    }


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else time_text(at_ms)
