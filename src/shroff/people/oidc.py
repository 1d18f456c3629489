"""Signing in at an OpenID provider: authorization code flow with PKCE, state and nonce.

What a visit needs until its end stays in the store. The browser has a random token in a cookie, and the provider sends
the state back: whoever has one of the two alone, such as somebody who was sent another's link, gets nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from shroff.errors import SignInError, UsageError
from shroff.people import directory, keys
from shroff.people.access import Role, strongest
from shroff.people.audit import Act
from shroff.people.sessions import SignedIn, open_session
from shroff.people.sql import Change
from shroff.people.store import Desk, User, Visit, token_hash
from shroff.people.users import as_who, known_name, shown
from shroff.runtime.values import FrozenStruct, replace

PATH = "/login/oidc"  # where the provider sends people back to
LASTS_MS = 10 * 60_000  # a visit, from its begin to its end
_NO_NAME = re.compile(r"[^a-z0-9._@+-]")
_BACK_LENGTH_MAX = 2_000
_BACK = re.compile(r"/(?![/\\])[\x21-\x7e]*")  # a path on this service, and no other host


class Claims(FrozenStruct):
    """Checked claims of a provider about a user: `subject` is permanent, `values` those of the claim of roles."""

    subject: str
    name: str
    display_name: str
    email: str
    values: tuple[str, ...]


class Provider(Protocol):
    """An OpenID provider: a contract."""

    @property
    def issuer(self) -> str:
        """Its address, and name."""

    @property
    def roles(self) -> Mapping[str, Role]:
        """Which role a value of the claim of roles gives."""

    def address(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """Where to send the browser. Raises: TransientError where the provider cannot be asked; UsageError."""

    def claims(self, *, code: str, redirect_uri: str, verifier: str, nonce: str) -> Claims:
        """Claims of the provider for this code, its signature, times and nonce checked.

        Raises: SignInError where it is not for this visit; TransientError where the provider cannot be asked.
        """


class Begun(FrozenStruct):
    """A visit that has begun: where to send the browser, and the token for its cookie (10 minutes, HttpOnly, Lax)."""

    url: str
    token: str


def back_of(path: str) -> str:
    """The page to show after signing in: a path of this service as it is, the first page for anything else."""
    return path if _BACK.fullmatch(path) and len(path) < _BACK_LENGTH_MAX else "/"


def begin(desk: Desk, provider: Provider, redirect_uri: str, back: str = "/") -> Begun:
    """Begin a visit.

    Args:
        redirect_uri: The whole address of `PATH` at this service, as the provider knows it.
        back: The page to show in the end: a path of this service; what is none becomes `/`.
    """
    token, state, nonce, verifier = (desk.token() for _ in range(4))
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    url = provider.address(redirect_uri=redirect_uri, state=state, nonce=nonce, challenge=challenge)
    now_ms = desk.now_ms()
    with desk.store.change() as change:
        change.sweep(now_ms)
        change.put(Visit(token_hash(token), state, nonce, verifier, back_of(back), now_ms + LASTS_MS))
    return Begun(url, token)


class ProviderAnswer(NamedTuple):
    """The provider's answer, from the address that it sent the browser to; `issuer` (`iss`) where it is sent."""

    state: str
    code: str
    issuer: str = ""


def finish(
    desk: Desk,
    provider: Provider,
    redirect_uri: str,
    token: str,
    answer: ProviderAnswer,
    address: str,
    before: str = "",
) -> tuple[SignedIn, str]:
    """End a visit: the user is signed in, made where they come for the first time; and the page to show.

    Args:
        token: From the cookie.
        address: From where, for the record.
        before: The token of the session that the browser had, which ends.

    Raises: SignInError where it is not the visit that was begun, or this person may not be here; TransientError.
    """
    with desk.store.change() as change:
        visit = change.take(Visit, token_hash(token))
    if visit is None or desk.now_ms() >= visit.ends_at_ms:
        raise SignInError("this visit has ended, or was begun in another browser. Sign in again")
    if not hmac.compare_digest(visit.state.encode(), answer.state.encode("utf-8", "surrogatepass")):
        raise SignInError("the answer is not to the question that this browser asked. Sign in again")
    if answer.issuer and answer.issuer != provider.issuer:
        raise SignInError("another provider answered than was asked. Sign in again")
    claims = provider.claims(code=answer.code, redirect_uri=redirect_uri, verifier=visit.verifier, nonce=visit.nonce)
    subject = f"{provider.issuer} {claims.subject}"
    with desk.store.change() as change:
        sent = directory.joined(change, subject, claims.name)
        if sent is not None:  # by SCIM, which says all else of them
            change.put_user(sent := replace(sent, subject=subject))
            claims = replace(claims, display_name=sent.display_name, email=sent.email)
    try:
        role = role_of(claims, provider.roles) if sent is None else sent.role
    except SignInError:
        _turn_out(desk, subject)
        raise
    with desk.store.change() as change:
        user = _synced_user(desk, change, subject, claims, role)
        return open_session(desk, change, user, address, before), visit.back


def role_of(claims: Claims, roles: Mapping[str, Role]) -> Role:
    """The role that these claims give. Raises: SignInError where they give none."""
    role = strongest(roles[value] for value in claims.values if value in roles)
    if role is None:
        raise SignInError(
            f"{claims.name or claims.subject} is known, and has no role here. Ask who looks after this service"
        )
    return role


def _synced_user(desk: Desk, change: Change, subject: str, claims: Claims, role: Role) -> User:
    """The user of these claims, made or brought up to date."""
    user = change.user_known_as(subject)
    now_ms = desk.now_ms()
    if user is None:
        user = _new(change, subject, claims, role, now_ms)
        change.audit(Act(as_who(user), "user.add", f"user {user.name}", None, {**shown(user), "by": "oidc"}), now_ms)
        return user
    if user.is_disabled:
        raise SignInError("this user may not sign in any more")
    now = replace(user, display_name=claims.display_name or user.name, email=claims.email, role=role)
    if now.role != user.role:
        now = replace(now, stamp=user.stamp + 1)
        change.end_sessions(user.number)
        keys.limit_to(role, change, as_who(now), user.name, now_ms)
    if now != user:
        change.put_user(now)
        change.audit(Act(as_who(now), "user.claims", f"user {user.name}", shown(user), shown(now)), now_ms)
    return now


def _turn_out(desk: Desk, subject: str) -> None:
    """End what is open of somebody whom the provider gives no role any more, and the keys that they made."""
    with desk.store.change() as change:
        user = change.user_known_as(subject)
        if user is not None:
            keys.limit_to(None, change, as_who(user), user.name, desk.now_ms())
            if change.end_sessions(user.number):
                change.audit(Act(as_who(user), "user.no_role", f"user {user.name}", None, None), desk.now_ms())


def _new(change: Change, subject: str, claims: Claims, role: Role, now_ms: int) -> User:
    """A new user, under a name that nobody has: who comes by OpenID never becomes a user that was here before."""
    name = wanted = _name_of(claims)
    number = 2
    while change.user_named(name) is not None:
        name = f"{wanted}-{number}"
        number = number + 1
    return change.add_user(
        User(
            number=0,
            name=name,
            display_name=claims.display_name or name,
            email=claims.email,
            role=role,
            made_at_ms=now_ms,
            subject=subject,
        )
    )


def _name_of(claims: Claims) -> str:
    """A name as users have them, near to what the provider says."""
    for text in (claims.name, claims.email, claims.subject):
        plain = unicodedata.normalize("NFKD", text).casefold()
        bare = "".join(sign for sign in plain if not unicodedata.combining(sign))
        try:
            return known_name(_NO_NAME.sub("-", bare).strip("-._+@")[:90])
        except UsageError:
            continue
    return "somebody"


def texts_of(value: Any) -> tuple[str, ...]:
    """The texts of a claim, which may be one or a list of them."""
    return tuple(text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))
