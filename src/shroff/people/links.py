"""One-time links: to create the first admin, to set a password, and to sign in."""

from __future__ import annotations

from shroff.errors import SignInError
from shroff.people import passwords, users
from shroff.people.access import Right, Role, Who
from shroff.people.audit import Act
from shroff.people.keys import maker_of
from shroff.people.sessions import SignedIn, open_session
from shroff.people.sql import PeopleQueries
from shroff.people.store import Desk, Link, User, token_hash
from shroff.runtime.values import replace

FIRST_LASTS_MS = 3_600_000
PASSWORD_LASTS_MS = 3 * 24 * 3_600_000
ONCE_LASTS_MS = 3_600_000  # a guest comes at once; later 'shroff users link' makes a new one
PATH = "/login/link/"  # path of a link; the token follows
ONCE = "/login/once/"  # path of a sign-in link, whose tokens are invalid under PATH and the other way round
GONE = "this link was used, has expired or is unknown. Ask an administrator for a new one: 'shroff users link'"


def first(desk: Desk, who: Who) -> str | None:
    """Return the path of a link that creates the first admin; None if there are users. For a starting service."""
    with desk.store.look() as queries:
        return None if queries.users() else for_admin(desk, who)


def for_admin(desk: Desk, who: Who) -> str:
    """Return the path of a link that creates an admin, once and within an hour. Raises: NotAllowedError."""
    return _make(desk, who, None, "admin", FIRST_LASTS_MS)


def for_password(desk: Desk, who: Who, name: str, lasts_ms: int = PASSWORD_LASTS_MS, path: str = PATH) -> str:
    """Return the path of a link by which a user sets the password, once and by default within three days.

    Raises: NotAllowedError; UsageError if there is no such user.
    """
    user_name = users.known_name(name)
    with desk.store.look() as queries:
        user = users.in_look(queries, user_name)
    users.check_here(user, "password")
    return _make(desk, who, user.number, f"user {user_name}", lasts_ms, path)


def for_signing_in(desk: Desk, who: Who, name: str) -> str:
    """Return the path of a link that signs a user in without a password, once and within an hour, as for a guest.

    Raises: as `for_password`.
    """
    return for_password(desk, who, name, ONCE_LASTS_MS, ONCE)


def _make(desk: Desk, who: Who, user: int | None, subject: str, lasts_ms: int, path: str = PATH) -> str:
    who.require(Right.MANAGE_USERS)
    token = desk.token()
    now_ms = desk.now_ms()
    details = {"hours": lasts_ms // 3_600_000, "signs_in": path == ONCE}
    with desk.store.change() as change:
        if user is not None:
            change.end_links(
                user_=user
            )  # the newest alone works; one that makes an admin ends no other, as of a first run
        change.put(Link(_token_digest(path, token), user, now_ms + lasts_ms, maker_of(who)))
        change.audit(Act(who, "link.make", subject, None, details), now_ms)
    return path + token


def _token_digest(path: str, token: str) -> bytes:
    """Return the stored hash of a token. It depends on the purpose of the link, and is the hash of no other text."""
    digest = token_hash(token)
    return digest if path == PATH else digest[::-1]


def asks_for(desk: Desk, token: str, path: str = PATH) -> User | None:
    """Return the user of a link; None if it creates an admin.

    Changes nothing, because mail scanners open links too. Raises: SignInError if the link is invalid.
    """
    with desk.store.look() as queries:
        return _owner(queries, queries.find(Link, _token_digest(path, token)), desk.now_ms())


def use(
    desk: Desk,
    token: str,
    password: str,
    *,
    name: str = "",
    display_name: str = "",
    address: str = "",
    before: str = "",
) -> SignedIn:
    """Use a link: set the password of its user, or create an admin with this name; and sign them in.

    Raises: SignInError if the link is invalid; UsageError for an invalid name or weak password, and the link stays
    valid.
    """
    # Hashing takes long, so it is done before the transaction
    new = _new(desk, asks_for(desk, token), password, name, display_name)
    with desk.store.change() as change:
        user = _owner(change, change.take(Link, token_hash(token)), desk.now_ms())
        if user is None:
            user = change.add_user(new)
            details = {**users.shown(user), "by": "admin link"}
            change.audit(Act(users.as_who(user), "user.add", f"user {user.name}", None, details), user.made_at_ms)
        else:
            user = users.with_password(desk, change, users.as_who(user), replace(user, password=new.password))
        return open_session(desk, change, user, address, before)


def sign_in(desk: Desk, token: str, address: str, before: str = "") -> SignedIn:
    """Use a sign-in link; the user's password stays. Raises: SignInError if the link is invalid."""
    with desk.store.change() as change:
        user = _owner(change, change.take(Link, _token_digest(ONCE, token)), desk.now_ms())
        assert user is not None, "a link that signs in has a user"
        return open_session(desk, change, user, address, before, by="link")


def _new(desk: Desk, existing: User | None, password: str, name: str, display_name: str) -> User:
    """Return the user of a link with the new password. Raises: UsageError for an invalid name or weak password."""
    if existing is not None:
        passwords.check(password, existing.name, existing.display_name, existing.email)
        return replace(existing, password=desk.passwords.hash(password))
    passwords.check(password, name, display_name)
    return users.new_user(desk, name, Role.ADMIN, display_name=display_name, password=password)


def _owner(queries: PeopleQueries, link: Link | None, now_ms: int) -> User | None:
    """Return the user of a link; None if it creates an admin. Raises: SignInError if the link is invalid."""
    user = None if link is None or link.user is None else queries.find(User, link.user)
    is_gone = link is not None and link.user is not None and (user is None or user.is_disabled)
    if link is None or is_gone or now_ms >= link.ends_at_ms:
        raise SignInError(GONE)
    return user
