"""Signing in at an OpenID provider: authorization code flow with PKCE, state and nonce.

The store keeps the data of a sign-in until its end. The browser has a random token in a cookie, and the provider
returns the state; both are needed, so a link sent to somebody else is useless.
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

PATH = "/login/oidc"  # path to which the provider sends the browser back
LASTS_MS = 10 * 60_000  # duration of a sign-in
_NO_NAME = re.compile(r"[^a-z0-9._@+-]")
_BACK_LENGTH_MAX = 2_000
_BACK = re.compile(r"/(?![/\\])[\x21-\x7e]*")  # a path of this service, without another host


class Claims(FrozenStruct):
    """Checked claims of a provider about a user: `subject` is permanent, `values` are those of the role claim."""

    subject: str
    name: str
    display_name: str
    email: str
    values: tuple[str, ...]


class Provider(Protocol):
    """Contract of an OpenID provider."""

    @property
    def issuer(self) -> str:
        """Address and name of the provider."""

    @property
    def roles(self) -> Mapping[str, Role]:
        """Roles by the values of the role claim."""

    def address(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """Return the address for the browser. Raises: TransientError if the provider is unreachable; UsageError."""

    def claims(self, *, code: str, redirect_uri: str, verifier: str, nonce: str) -> Claims:
        """Return the claims for a code, after checking signature, times and nonce.

        Raises: SignInError if they do not belong to this sign-in; TransientError if the provider is unreachable.
        """


class StartedSignIn(FrozenStruct):
    """A started sign-in: address for the browser, and token for its cookie (10 minutes, HttpOnly, Lax)."""

    url: str
    token: str


def back_of(path: str) -> str:
    """Return the page to show after signing in: a path of this service, or the first page."""
    return path if _BACK.fullmatch(path) and len(path) < _BACK_LENGTH_MAX else "/"


def begin(desk: Desk, provider: Provider, redirect_uri: str, back: str = "/") -> StartedSignIn:
    """Start a sign-in.

    Args:
        redirect_uri: Complete address of `PATH` at this service, as registered at the provider.
        back: Page to show in the end: a path of this service; anything else becomes `/`.
    """
    token, state, nonce, verifier = (desk.token() for _ in range(4))
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    url = provider.address(redirect_uri=redirect_uri, state=state, nonce=nonce, challenge=challenge)
    now_ms = desk.now_ms()
    with desk.store.change() as change:
        change.sweep(now_ms)
        change.put(Visit(token_hash(token), state, nonce, verifier, back_of(back), now_ms + LASTS_MS))
    return StartedSignIn(url, token)


class ProviderAnswer(NamedTuple):
    """The provider's answer in the address of the browser's request; `issuer` (`iss`) is optional."""

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
    """Finish a sign-in; return the session and the page to show. A new person becomes a user.

    Args:
        token: Token from the cookie.
        address: Address of the client, for the audit log.
        before: Token of the browser's previous session, which ends.

    Raises: SignInError if it is another sign-in, or the person has no access; TransientError.
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
        scim_user = directory.joined(change, subject, claims.name)
        if scim_user is not None:  # SCIM provides their other attributes
            change.put_user(scim_user := replace(scim_user, subject=subject))
            claims = replace(claims, display_name=scim_user.display_name, email=scim_user.email)
    try:
        role = role_of(claims, provider.roles) if scim_user is None else scim_user.role
    except SignInError:
        _turn_out(desk, subject)
        raise
    with desk.store.change() as change:
        user = _sync_user(desk, change, subject, claims, role)
        return open_session(desk, change, user, address, before), visit.back


def role_of(claims: Claims, roles: Mapping[str, Role]) -> Role:
    """Return the strongest role of these claims. Raises: SignInError if they have none."""
    role = strongest(roles[value] for value in claims.values if value in roles)
    if role is None:
        raise SignInError(
            f"{claims.name or claims.subject} is known, and has no role here. Ask who looks after this service"
        )
    return role


def _sync_user(desk: Desk, change: Change, subject: str, claims: Claims, role: Role) -> User:
    user = change.user_known_as(subject)
    now_ms = desk.now_ms()
    if user is None:
        user = _new(change, subject, claims, role, now_ms)
        change.audit(Act(as_who(user), "user.add", f"user {user.name}", None, {**shown(user), "by": "oidc"}), now_ms)
        return user
    if user.is_disabled:
        raise SignInError("this user may not sign in any more")
    updated = replace(user, display_name=claims.display_name or user.name, email=claims.email, role=role)
    if updated.role != user.role:
        updated = replace(updated, stamp=user.stamp + 1)
        change.end_sessions(user.number)
        keys.limit_to(role, change, as_who(updated), user.name, now_ms)
    if updated != user:
        change.put_user(updated)
        change.audit(Act(as_who(updated), "user.claims", f"user {user.name}", shown(user), shown(updated)), now_ms)
    return updated


def _turn_out(desk: Desk, subject: str) -> None:
    """End the sessions of a person without a role at the provider, and the keys that they created."""
    with desk.store.change() as change:
        user = change.user_known_as(subject)
        if user is not None:
            keys.limit_to(None, change, as_who(user), user.name, desk.now_ms())
            if change.end_sessions(user.number):
                change.audit(Act(as_who(user), "user.no_role", f"user {user.name}", None, None), desk.now_ms())


def _new(change: Change, subject: str, claims: Claims, role: Role, now_ms: int) -> User:
    """Create a user with an unused name: a person from OpenID never becomes an existing local user."""
    name = wanted_name = _name_of(claims)
    number = 2
    while change.user_named(name) is not None:
        name = f"{wanted_name}-{number}"
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
    for text in (claims.name, claims.email, claims.subject):
        plain = unicodedata.normalize("NFKD", text).casefold()
        bare = "".join(sign for sign in plain if not unicodedata.combining(sign))
        try:
            return known_name(_NO_NAME.sub("-", bare).strip("-._+@")[:90])
        except UsageError:
            continue
    return "somebody"


def texts_of(value: Any) -> tuple[str, ...]:
    """Return the texts of a claim, which may be one text or a list."""
    return tuple(text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))
