"""Passkeys (WebAuthn, by py_webauthn): a key of the user's device, which counts as both factors.

A challenge belongs to one browser and session, is valid for five minutes, and is used once.
"""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlsplit

import msgspec

from shroff.errors import SignInError, UsageError
from shroff.json_types import JsonObject, TextMapping
from shroff.people import throttle
from shroff.people.audit import Act
from shroff.people.factors import GONE, show_again
from shroff.people.sessions import SignedIn, held, open_session
from shroff.people.sql import Change, PeopleQueries
from shroff.people.store import Desk, User, Visit, token_hash
from shroff.people.users import as_who, check_here
from shroff.runtime.values import replace

LASTS_MS = 300_000
KEYS_MAX = 10
WRONG = "this passkey was not accepted. Try again, or sign in another way"


class Passkey(msgspec.Struct, frozen=True):
    """A passkey of a user: its id in base64url, its public key, and the use count reported by the device."""

    id: str
    name: str
    key: bytes
    count: int
    used_at_ms: int


def has_library() -> bool:
    return find_spec("webauthn") is not None


def of(user: User) -> list[Passkey]:
    """Decode the passkeys of a user."""
    return msgspec.json.decode(user.passkeys, type=list[Passkey])


def take(
    desk: Desk, origin: str, session: str, token: str, form: TextMapping, address: str
) -> SignedIn | tuple[str, str, User | None]:
    """Handle a browser's form: add or remove one's own passkey, or sign in. Success opens a new session.

    The first step returns a challenge: its token, its text, and the user for whom a passkey is created.

    Args:
        origin: Address of the service in the form of browsers.
        token: Token of the answered challenge.
        form: `credential`, the browser's answer to a challenge; or the `name` of a passkey to create or the `id` of
            one to remove, both with `code` or `password`; empty to sign in.

    Raises: PausedError; SignInError; UsageError.
    """
    if not has_library():
        raise UsageError("passkeys need the extra 'passkeys': pip install 'shroff[passkeys]'.")
    if credential := form["credential"]:
        return _finish(desk, origin, token, session, credential, address)
    user = None
    id_ = form["id"]
    name = form["name"]
    if id_ or name:
        with desk.store.look() as queries:
            user = _mine(desk, queries, session)
        if id_ and len(_other_keys(user, id_)) == len(of(user)):
            raise UsageError("there is no such passkey any more. Look at the list again.")
        show_again(desk, user.name, form["code"], form["password"])
        if not id_ and len(of(user)) >= KEYS_MAX:
            raise UsageError(f"a user has {KEYS_MAX} passkeys at most. Remove one.")
    with desk.store.change() as change:
        if id_:
            user = _mine(desk, change, session)
            return _open_session(desk, change, user, _other_keys(user, id_), session, address, "passkey.remove")
        token = desk.token()
        text = desk.token()
        state = token_hash(session).hex()
        now_ms = desk.now_ms()
        change.sweep(now_ms)
        change.put(Visit(token_hash(token), state, text, "", name[:100], now_ms + LASTS_MS))
    return token, text, user


def _finish(desk: Desk, origin: str, token: str, session: str, credential: str, address: str) -> SignedIn:
    import webauthn
    from webauthn.helpers import bytes_to_base64url, exceptions, parse_authentication_credential_json

    with desk.store.change() as change:
        visit = change.take(Visit, token_hash(token))
    if visit is None or desk.now_ms() >= visit.ends_at_ms or visit.state != token_hash(session).hex():
        raise SignInError(GONE)
    attempts_name = f"?passkey {address}"
    throttle.begin(desk, attempts_name, address)
    verification: JsonObject = {
        "credential": credential,
        "expected_challenge": visit.nonce.encode(),
        "expected_rp_id": urlsplit(origin).hostname,
        "expected_origin": origin,
        "require_user_verification": True,
    }
    with desk.store.change() as change:
        try:
            if visit.back:
                user = _mine(desk, change, session)
                now_ms = desk.now_ms()
                verified = webauthn.verify_registration_response(**verification)
                id_ = bytes_to_base64url(verified.credential_id)
                if any(key.id == id_ for other in change.users() for key in of(other)):
                    raise SignInError(WRONG)
                new = Passkey(id_, visit.back, verified.credential_public_key, verified.sign_count, now_ms)
            else:
                user, old = _owner(change, parse_authentication_credential_json(credential).id)
                verification |= {"credential_public_key": old.key, "credential_current_sign_count": old.count}
                count = webauthn.verify_authentication_response(**verification).new_sign_count
                new = replace(old, count=count, used_at_ms=desk.now_ms())
        except (exceptions.WebAuthnException, LookupError, RecursionError, ValueError):
            raise SignInError(WRONG) from None
        throttle.succeed(change, attempts_name, address)
        return _open_session(
            desk, change, user, [*_other_keys(user, new.id), new], session, address, "passkey.add" if visit.back else ""
        )


def _mine(desk: Desk, queries: PeopleQueries, session: str) -> User:
    """Return the signed-in user. Raises: SignInError; UsageError for a user of the OpenID provider."""
    session_and_user = held(desk, queries, session)
    if session_and_user is None or session_and_user[0].is_half:
        raise SignInError(GONE)
    check_here(session_and_user[1], "passkey")
    return session_and_user[1]


def _other_keys(user: User, id: str) -> list[Passkey]:
    return [key for key in of(user) if key.id != id]


def _owner(change: Change, id: str) -> tuple[User, Passkey]:
    """Return the user of a passkey, and the passkey. Raises: SignInError."""
    for user in change.users():
        for key in of(user):
            if key.id == id and not user.is_disabled:
                return user, key
    raise SignInError(WRONG)


def _open_session(
    desk: Desk, change: Change, user_before: User, keys: list[Passkey], session: str, address: str, action: str
) -> SignedIn:
    """Open a session for a user with these passkeys. With an action, all earlier sessions end."""
    user = replace(user_before, passkeys=msgspec.json.encode(keys).decode())
    if action:
        user = replace(user, stamp=user.stamp + 1)
        change.end_sessions(user.number)
        names = ([key.name for key in of(user_state)] for user_state in (user_before, user))
        change.audit(Act(as_who(user), action, f"user {user.name}", *names), desk.now_ms())
    return open_session(desk, change, user, address, session, by="passkey", is_proven=user.has_second_factor)
