"""Sign-in and sessions. Sessions are stored on the server and identified by a random token of the browser."""

from __future__ import annotations

import hashlib
import hmac

from shroff.errors import SignInError, UsageError
from shroff.people import passwords, throttle
from shroff.people.access import Right, Who
from shroff.people.audit import Act
from shroff.people.sql import Change, PeopleQueries
from shroff.people.store import Desk, User, UserSession, token_hash
from shroff.people.users import as_who, check_here, in_look, known_name, with_password
from shroff.runtime.values import FrozenStruct, replace

SEEN_EVERY_MS = 60_000  # smallest interval of recording a use
HALF_LASTS_MS = 600_000  # time for showing the second factor
DEVICE_MAX = 200  # characters
SEEN_IN_IDLE = 10  # smallest number of recordings within the idle time
ID_LENGTH = 16  # hexadecimal digits of a token's hash
NO_PASSWORDS = "passwords are off here. Sign in at your identity provider"
NOT_YOURS = "that is not your password"
WRONG = "name or password is wrong"  # does not tell which one


class SignedIn(FrozenStruct):
    """A signed-in user. `token` goes into the cookie, `csrf` into each form, which sends it back.

    `csrf` is derived from the token and does not reveal it. A half session still needs the second factor
    (`factors.prove`) and gives no access.
    """

    who: Who
    user: User
    token: str
    ends_at_ms: int
    is_half: bool = False

    @property
    def csrf(self) -> str:
        """CSRF token that each form of this session must carry."""
        return hmac.new(self.token.encode(), b"shroff csrf 1", hashlib.sha256).hexdigest()

    def is_own(self, csrf: str) -> bool:
        """Whether a form belongs to this session, in constant time."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "surrogatepass"))

    def __repr__(self) -> str:
        return f"<signed in: {self.user.name}>"  # keeps the token out of logs


def sign_in(desk: Desk, name: str, password: str, address: str, before: str = "") -> SignedIn:
    """Sign in by name and password.

    Args:
        address: Address of the client, for pauses and the audit log.
        before: Previous token of the browser. Its session ends, so that a planted session does not survive.

    Raises: PausedError; SignInError with the same message after the same time, whatever is wrong.
    """
    try:
        known_as = known_name(name)
    except UsageError:
        known_as = ""
    # Codes have separate pauses, so a right code does not end this one
    throttle.begin(desk, known_as or f"?{name[:200]}", address)
    with desk.store.look() as queries:
        user = queries.user_named(known_as) if known_as else None
    is_right = desk.passwords.is_right(password, user.password if user is not None else "")
    if not (is_right and desk.settings.has_passwords) or user is None or user.is_disabled or user.subject:
        raise SignInError(WRONG)
    renewed = desk.passwords.hash(password) if desk.passwords.is_outdated(user.password) else ""
    with desk.store.change() as change:
        current = change.find(User, user.number)
        if current is None or current.stamp != user.stamp or current.is_disabled:  # changed while the hash was computed
            raise SignInError(WRONG)
        throttle.succeed(change, known_as, address)
        return open_session(desk, change, replace(current, password=renewed or current.password), address, before)


def change_password(desk: Desk, signed: SignedIn, password: str, new: str, address: str = "") -> SignedIn:
    """Change one's own password with the current one; all sessions of the user end, and a new one is opened.

    Raises: PausedError; SignInError if the current password is wrong; UsageError if the new one is too weak, or is set
    at an OpenID provider.
    """
    check_here(signed.user, "password")
    throttle.begin(desk, signed.user.name, address)
    if not desk.passwords.is_right(password, signed.user.password):
        raise SignInError(NOT_YOURS)
    with desk.store.change() as change:
        throttle.succeed(change, signed.user.name, address)
    passwords.check(new, signed.user.name, signed.user.display_name, signed.user.email)
    hashed = desk.passwords.hash(new)
    with desk.store.change() as change:
        current = change.find(User, signed.user.number)
        if (
            current is None or current.stamp != signed.user.stamp or current.is_disabled
        ):  # changed while the hash was computed
            raise SignInError(WRONG)
        user = with_password(desk, change, signed.who, replace(current, password=hashed))
        return open_session(desk, change, user, address, is_proven=user.has_second_factor)


def open_session(
    desk: Desk,
    change: Change,
    user: User,
    address: str,
    before: str = "",
    *,
    by: str = "password",
    is_proven: bool = False,
) -> SignedIn:
    """Open a session for an authenticated user, in the same transaction.

    It is half if the user has a second factor or their role needs one, until that is proven. OpenID providers check
    their own.
    """
    if by == "password" and not (user.subject or desk.settings.has_passwords):
        raise SignInError(NO_PASSWORDS)
    now_ms = desk.now_ms()
    user = replace(user, last_login_ms=now_ms)
    change.put_user(user)
    if before:
        change.take(UserSession, token_hash(before))
    change.sweep(now_ms, now_ms - desk.settings.idle_ms, now_ms - throttle.FORGOTTEN_MS)
    token = desk.token()
    is_half = not (is_proven or user.subject) and (user.has_second_factor or user.role in desk.settings.second_factor)
    ends_at_ms = now_ms + (HALF_LASTS_MS if is_half else desk.settings.lasts_ms)
    times = now_ms, now_ms, ends_at_ms
    change.put(UserSession(token_hash(token), user.number, user.stamp, *times, address[:200], is_half))
    who = as_who(user)
    more = {"waits_for": "second factor"} if is_half else None
    change.audit(Act(who, "sign_in.by_" + ("oidc" if user.subject else by), f"user {user.name}", None, more), now_ms)
    return SignedIn(who, user, token, ends_at_ms, is_half)


def signed_in(desk: Desk, token: str, *, is_use: bool = True, device: str = "") -> SignedIn | None:
    """Return the user of a token; None if the session has ended. Cost: two queries of the store.

    Requests that a page makes automatically, such as live updates, are no use (`is_use`); otherwise a forgotten page
    would never expire. A session ends after `idle_ms` without use, at its `ends_at_ms`, or when the user's password,
    role or disabling changes.
    """
    now_ms = desk.now_ms()
    with desk.store.look() as queries:
        session_and_user = held(desk, queries, token)
    if session_and_user is None or session_and_user[0].is_half:
        return None
    session, user = session_and_user
    every_ms = min(SEEN_EVERY_MS, desk.settings.idle_ms // SEEN_IN_IDLE)
    device = device[:DEVICE_MAX] or session.device
    if is_use and (now_ms - session.seen_at_ms >= every_ms or device != session.device):
        _note_use(desk, session, now_ms, device)
    return SignedIn(replace(as_who(user), since_ms=session.made_at_ms), user, token, session.ends_at_ms)


def held(desk: Desk, queries: PeopleQueries, token: str) -> tuple[UserSession, User] | None:
    """Return the session of a token and its user, half or complete; None if it has ended."""
    session = queries.find(UserSession, token_hash(token))
    user = None if session is None else queries.find(User, session.user)
    if session is None or user is None or not _holds(desk, session, user, desk.now_ms()):
        return None
    return session, user


def _holds(desk: Desk, session: UserSession, user: User, now_ms: int) -> bool:
    is_in_time = now_ms < session.ends_at_ms and now_ms - session.seen_at_ms < desk.settings.idle_ms
    return is_in_time and session.stamp == user.stamp and not user.is_disabled


def _note_use(desk: Desk, session: UserSession, now_ms: int, device: str) -> None:
    """Record that a session is used, and by which device, unless it was ended meanwhile."""
    with desk.store.change() as change:
        current = change.find(UserSession, session.hash)
        if current is not None:
            change.put(replace(current, seen_at_ms=max(current.seen_at_ms, now_ms), device=device))


class OpenSession(FrozenStruct):
    """A valid session with its user. `ends_at_ms` is its end if nobody uses it again."""

    session: UserSession
    user: User
    idle_ms: int

    @property
    def id(self) -> str:
        """Public id, which does not reveal the token."""
        return self.session.hash.hex()[:ID_LENGTH]

    @property
    def ends_at_ms(self) -> int:
        return min(self.session.ends_at_ms, self.session.seen_at_ms + self.idle_ms)


def open_sessions(desk: Desk) -> list[OpenSession]:
    """Return the valid sessions, most recently used first."""
    now_ms = desk.now_ms()
    with desk.store.look() as queries:
        users = {user.number: user for user in queries.users()}
        sessions = [
            OpenSession(session, users[session.user], desk.settings.idle_ms)
            for session in queries.sessions()
            if session.user in users
        ]
    return [
        open_ for open_ in sessions if not open_.session.is_half and _holds(desk, open_.session, open_.user, now_ms)
    ]


def end_named(desk: Desk, who: Who, id_: str) -> OpenSession:
    """End a session by its id: one's own, or with the right to manage users anybody's.

    Raises: NotAllowedError; UsageError if there is no such session.
    """
    session = next((session for session in open_sessions(desk) if session.id == id_), None)
    is_own = session is not None and who.kind == "user" and session.user.name == who.name
    if not is_own:
        who.require(Right.MANAGE_USERS)
    if session is None:
        raise UsageError("there is no open session of this id.")
    with desk.store.change() as change:
        change.take(UserSession, session.session.hash)
        change.audit(Act(who, "session.end", f"user {session.user.name}", {"session": session.id}), desk.now_ms())
    return session


def end_all(desk: Desk, who: Who, name: str, kept: str = "") -> User:
    """End a user's sessions, one's own or with the right to manage users; the session of the token `kept` stays.

    Raises: NotAllowedError; UsageError if there is no such user.
    """
    if not (who.kind == "user" and who.name == name):
        who.require(Right.MANAGE_USERS)
    with desk.store.change() as change:
        user = in_look(change, known_name(name))
        own_session = change.find(UserSession, token_hash(kept))
        change.end_sessions(user.number)
        if own_session is not None:
            change.put(own_session)
        change.audit(Act(who, "sessions.end", f"user {user.name}"), desk.now_ms())
    return user


def sign_out(desk: Desk, token: str) -> None:
    """End a session; an ended one is ignored."""
    signed = signed_in(desk, token)
    with desk.store.change() as change:
        change.take(UserSession, token_hash(token))
        if signed is not None:
            change.audit(Act(signed.who, "sign_in.end", f"user {signed.user.name}"), desk.now_ms())
