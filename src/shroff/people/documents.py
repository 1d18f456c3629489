"""Users, keys, sessions and rows of the record as JSON, with nothing that opens a door."""

from __future__ import annotations

from typing import Any

import msgspec

from shroff.events.event import time_text
from shroff.people.audit import Row
from shroff.people.sessions import Open
from shroff.people.store import Key, User
from shroff.people.users import shown


def of_user(user: User) -> dict[str, Any]:
    """A user."""
    made_at, last = time_text(user.made_at_ms), _moment(user.last_login_ms)
    return {"id": user.id, **shown(user), "made_at": made_at, "last_login_at": last}


def of_key(key: Key) -> dict[str, Any]:
    """A key, without its text."""
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role.value,
        "scopes": [one.value for one in key.scopes],
        "made_at": time_text(key.made_at_ms),
        "made_by": key.made_by,
        "expires_at": _moment(key.ends_at_ms),
        "revoked_at": _moment(key.revoked_at_ms),
        "used_at": _moment(key.used_at_ms),
    }


def of_session(one: Open) -> dict[str, Any]:
    """A session that is open, without its token."""
    return {
        "id": one.id,
        "user": one.user.name,
        "address": one.session.address,
        "signed_in_at": time_text(one.session.made_at_ms),
        "used_at": time_text(one.session.seen_at_ms),
        "ends_at": time_text(one.ends_at_ms),
    }


def of_row(row: Row) -> dict[str, Any]:
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
