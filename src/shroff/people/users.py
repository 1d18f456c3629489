"""Users: created, changed and removed by callers with that right, with an audit row in the same transaction."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from zoneinfo import available_timezones

from shroff.errors import NotAllowedError, UsageError, nearest
from shroff.json_types import JsonObject
from shroff.people import keys, passwords
from shroff.people.access import RIGHTS, Right, Role, Who, check_known
from shroff.people.audit import Act
from shroff.people.sql import Change, PeopleQueries
from shroff.people.store import ApiKey, Desk, User
from shroff.runtime.values import replace

PEOPLE = (Role.ADMIN, Role.ANALYST, Role.AUTHOR, Role.VIEWER, Role.MEMBER)  # roles of people; services have keys
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")
_TEXT_MAX = 200
THEMES = ("", "light", "dark")  # of pages; empty for the browser's


def known_name(text: str) -> str:
    """Normalize a name to its stored form in lower case. Raises: UsageError for an invalid one."""
    name = unicodedata.normalize("NFKC", text).strip().lower()
    if not _NAME.fullmatch(name):
        raise UsageError(
            "a user's name has small letters, digits and '.', '_', '@', '+', '-', 100 at most, as in ann@bank.org"
        )
    return name


def known_role(text: str) -> Role:
    """Parse a role of people. Raises: UsageError for an unknown one."""
    check_known("role", text, [role.value for role in PEOPLE], " for people")
    return Role(text)


def all_users(desk: Desk) -> list[User]:
    """Return all users by name."""
    with desk.store.look() as queries:
        return queries.users()


def add(
    desk: Desk, who: Who, name: str, role: Role, *, display_name: str = "", email: str = "", password: str = ""
) -> User:
    """Add a user. Without a password they sign in after using a link (`links.for_password`), or by an OpenID provider.

    Raises: NotAllowedError; UsageError if the name is taken, or the password too weak.
    """
    who.require(Right.MANAGE_USERS)
    user = new_user(desk, name, role, display_name=display_name, email=email, password=password)
    with desk.store.change() as change:
        user = change.add_user(user)
        change.audit(Act(who, "user.add", f"user {user.name}", None, shown(user)), user.made_at_ms)
    return user


def new_user(desk: Desk, name: str, role: Role, *, display_name: str, email: str = "", password: str = "") -> User:
    """Build a user without storing it. Raises: UsageError for an invalid name or text, or a weak password."""
    normalized_name = known_name(name)
    known_role(role.value)
    check_texts(display_name, email)
    if password:
        passwords.check(password, normalized_name, display_name, email)
    hashed = desk.passwords.hash(password) if password else ""
    return User(
        number=0,
        name=normalized_name,
        display_name=display_name.strip() or normalized_name,
        email=email.strip(),
        role=role,
        password=hashed,
        made_at_ms=desk.now_ms(),
    )


def check_texts(display_name: str, email: str) -> None:
    """Raise UsageError for an invalid display name or mail address. Both may be empty."""
    from shroff.people.addresses import is_address

    for text in (display_name, email):
        if len(text) > _TEXT_MAX or not text.isprintable():
            raise UsageError(f"a user's display name and e-mail have {_TEXT_MAX} characters at most, on one line.")
    if email.strip() and not is_address(email.strip()):
        raise UsageError(f"{email.strip()!r} is not a mail address, such as ann@bank.example.")


def set_role(desk: Desk, who: Who, name: str, role: Role) -> User:
    """Change a user's role. Their sessions end, and their keys and links are limited to the new rights.

    Raises: NotAllowedError; UsageError, also for the last admin.
    """
    known_role(role.value)

    def now(user: User) -> User:
        check_here(user, "role")
        return replace(user, role=role, stamp=user.stamp + 1)

    return changed(desk, who, name, "user.role", now)


def disable(desk: Desk, who: Who, name: str) -> User:
    """Disable a user; their sessions, and the keys and links that they created, end. Raises: as `set_role`."""
    return changed(desk, who, name, "user.disable", lambda user: replace(user, is_disabled=True, stamp=user.stamp + 1))


def enable(desk: Desk, who: Who, name: str) -> User:
    """Let a disabled user sign in again. Raises: NotAllowedError, UsageError."""
    return changed(desk, who, name, "user.enable", lambda user: replace(user, is_disabled=False))


def rename(desk: Desk, who: Who, name: str, *, display_name: str, email: str, new_name: str = "") -> User:
    """Change a user's texts and name; keys that they created keep their maker under the new name.

    Raises: NotAllowedError, UsageError.
    """
    check_texts(display_name, "")
    new_name = new_name or name
    shown_as = display_name.strip() or new_name

    def now(user: User) -> User:
        if email != user.email:  # the provider's address is kept as it is
            check_texts("", email)
        return replace(user, name=new_name, display_name=shown_as, email=email.strip())

    return changed(desk, who, name, "user.rename", now)


@cache
def zones() -> list[str]:
    """Return time zones by region and city, which browsers know as well."""
    return sorted(
        zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "posix", "right"))
    )


def set_screen(desk: Desk, who: Who, zone: str, theme: str) -> User:
    """Set time zone and theme of one's own pages; empty ones are those of the browser.

    Raises: UsageError for an unknown zone or theme, or a caller who is not a user.
    """
    if zone and zone != "UTC" and zone not in zones():
        raise UsageError(f"{zone!r} is not a time zone, such as Europe/Berlin.")
    if theme not in THEMES:
        raise UsageError(f"{theme!r} is not a theme; themes are {', '.join(filter(None, THEMES))}.")
    with desk.store.change() as change:
        user_before = in_look(change, who.name)
        after = replace(user_before, zone=zone, theme=theme)
        if after != user_before:
            change.put_user(after)
            old, new = ({"time zone": user.zone, "theme": user.theme} for user in (user_before, after))
            change.audit(Act(who, "user.screen", f"user {after.name}", old, new), desk.now_ms())
    return after


def set_password(desk: Desk, who: Who, name: str, password: str) -> User:
    """Set a user's password, one's own or with the right to manage users; all their sessions end.

    Raises: NotAllowedError; UsageError for a weak password.
    """
    normalized_name = known_name(name)
    if not (who.kind == "user" and who.name == normalized_name):
        who.require(Right.MANAGE_USERS)
    with desk.store.look() as queries:
        user = in_look(queries, normalized_name)
    check_here(user, "password")
    passwords.check(password, user.name, user.display_name, user.email)
    hashed = desk.passwords.hash(password)
    with desk.store.change() as change:
        updated = replace(in_look(change, normalized_name), password=hashed)
        return with_password(desk, change, who, updated)


def with_password(desk: Desk, change: Change, who: Who, user: User) -> User:
    """Store a user with a new password; sessions and links of the user end."""
    updated = replace(user, stamp=user.stamp + 1)
    change.put_user(updated)
    change.end_sessions(user.number)
    change.end_links(user_=user.number)
    change.audit(Act(who, "user.password", f"user {user.name}"), desk.now_ms())
    return updated


def delete(desk: Desk, who: Who, name: str) -> User:
    """Remove another user, with the keys and links that they created; the audit log keeps the name. Raises: as
    `set_role`.
    """
    if who.may(Right.MANAGE_USERS) and who.kind == "user" and who.name == known_name(name):
        raise UsageError("another admin has to remove you.")  # a provider would create them again, as another user
    return changed(desk, who, name, "user.delete", lambda _: None)


def check_here(user: User, subject: str) -> None:
    """Raise UsageError for a user whose role and password are managed by the OpenID provider."""
    if user.subject:
        raise UsageError(f"{user.name} signs in at the OpenID provider, and the {subject} is set there.")


def as_who(user: User) -> Who:
    return Who("user", user.id, user.name, user.role, RIGHTS[user.role], user.display_name)


def current(desk: Desk, who: Who) -> Who:
    """Return an earlier caller with the rights that they still have. Raises: NotAllowedError if they have lost
    access.
    """
    current_caller: Who | None = who
    with desk.store.look() as queries:
        if who.kind == "user":
            user = queries.find(User, int(who.id.removeprefix("user-")))
            current_caller = None if user is None or user.is_disabled else as_who(user)
        elif who.kind == "key":
            key = queries.find(ApiKey, keys.key_of(who))
            current_caller = keys.as_who(key) if key is not None and keys.is_valid(key, desk.now_ms()) else None
    if current_caller is None:
        raise NotAllowedError(f"the {who.kind} {who.name} that asked for this was disabled, removed or revoked")
    return replace(current_caller, rights=current_caller.rights & who.rights)


def shown(user: User) -> JsonObject:
    """Return the fields of a user for people and the audit log."""
    return {
        "name": user.name,
        "display_name": user.display_name,
        "email": user.email,
        "role": user.role.value,
        "disabled": user.is_disabled,
        "signs_in_by": signs_in_by(user),
        "second_factor": user.has_second_factor,
    }


def signs_in_by(user: User) -> str:
    """Return how a user signs in: `password`, `oidc` or `nothing`."""
    if user.subject:
        return "oidc"
    return "password" if user.password else "nothing"


def in_look(queries: PeopleQueries, name: str) -> User:
    """Return the user with this name, as a reader or transaction sees it. Raises: UsageError if there is none."""
    user = queries.user_named(name)
    if user is None:
        near = nearest(name, [user.name for user in queries.users()])
        raise UsageError(f"there is no user {name!r}. {near} 'shroff users list' shows all.".replace("  ", " "))
    return user


def changed(desk: Desk, who: Who, name: str, action: str, change_user: Callable[[User], User | None]) -> User:
    """Change or remove a user in one transaction, which also ends sessions that the new stamp makes invalid.

    Args:
        change_user: Returns the changed user; None to remove it.
    """
    who.require(Right.MANAGE_USERS)
    normalized_name = known_name(name)
    with desk.store.change() as change:
        user_before = in_look(change, normalized_name)
        after = change_user(user_before)
        role = None if after is None or after.is_disabled else after.role
        if role is not Role.ADMIN:
            _check_admins(change, user_before)
        if role is not user_before.role:
            keys.limit_to(role, change, who, normalized_name, desk.now_ms())
        if after is None:
            change.remove_user(user_before.number)
        else:
            change.put_user(after)
            change.rename_maker(normalized_name, after.name)
            if after.stamp != user_before.stamp:
                change.end_sessions(after.number)
        change.audit(
            Act(who, action, f"user {normalized_name}", shown(user_before), after and shown(after)), desk.now_ms()
        )
    return after or user_before


def _check_admins(change: Change, user: User) -> None:
    """Raise UsageError if nobody else could manage users."""
    other_admins = [
        other
        for other in change.users()
        if other.role is Role.ADMIN and not other.is_disabled and other.number != user.number
    ]
    if user.role is Role.ADMIN and not user.is_disabled and not other_admins:
        raise UsageError(
            f"{user.name} is the only admin. Make another one first: 'shroff users add NAME --role admin'."
        )
