"""The second factor: codes of an authenticator app (TOTP, RFC 6238), and one-time recovery codes."""

from __future__ import annotations

import hmac
from base64 import b32decode, b32encode

from shroff.errors import SignInError, UsageError
from shroff.people import throttle
from shroff.people.access import Right, Who
from shroff.people.audit import Act
from shroff.people.sessions import NOT_YOURS, SignedIn, held, open_session
from shroff.people.sql import PeopleQueries
from shroff.people.store import Desk, User, token_hash
from shroff.people.users import changed, in_look, shown
from shroff.runtime.values import FrozenStruct, replace

STEP_MS = 30_000
AGAIN_MS = 300_000  # time after a sign-in with a passkey in which it counts as shown
AROUND = (0, -1, 1)  # tolerated time steps, for inexact clocks
RECOVERY_CODES = 10
GONE = "this sign-in has ended. Sign in again"
WRONG = "the code is wrong, has expired or was used before. Wait for the next code, or use a recovery code"


def code_at(secret: bytes, step: int) -> str:
    """Return the six-digit code of a time step: HMAC-SHA-1, as in all authenticator apps."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 15
    return f"{int.from_bytes(digest[offset : offset + 4], 'big') % 2**31 % 10**6:06}"


class FactorForm(FrozenStruct):
    """A request for a code of the user's app, or of an app that first stores this secret.

    The secret is made from the session's hash and the project's key, so neither the database nor the cookie reveals a
    code.
    """

    user: User
    seed: bytes
    is_half: bool
    secret: str


def asked(desk: Desk, token: str) -> FactorForm:
    """Return the request for a session's browser, half or complete. Raises: SignInError if the session has ended."""
    with desk.store.look() as queries:
        return _form_of_session(desk, queries, token)


def _form_of_session(desk: Desk, queries: PeopleQueries, token: str) -> FactorForm:
    session_and_user = held(desk, queries, token)
    if session_and_user is None or session_and_user[1].subject:
        raise SignInError(GONE)
    session, user = session_and_user
    return _form(desk, user, user.factor or session.hash, is_half=session.is_half)


def _form(desk: Desk, user: User, seed: bytes, *, is_half: bool = False) -> FactorForm:
    """Build the request with this seed. The negative number keeps its seal distinct from those of audit log heads."""
    return FactorForm(user, seed, is_half, b32encode(desk.store.seal(-user.number, seed)[:20]).decode())


def prove(
    desk: Desk, token: str, code: str, address: str, do: str = "", password: str = ""
) -> tuple[SignedIn, list[str]]:
    """Check a code: it completes a sign-in, sets the factor up, or with `do` = `end` removes it. Opens a new session.

    A signed-in user also needs the password for the setup, so that a stolen session cannot lock anybody out.

    Return the recovery codes of a new factor, which are shown only once. Raises: PausedError; SignInError.
    """
    form = asked(desk, token)
    hashed = form.user.password
    name = f"{form.user.name} factor"  # no user has this name, so a right password does not reset wrong codes
    throttle.begin(desk, name, address)
    if hashed and not (form.user.factor or form.is_half or desk.passwords.is_right(password, hashed)):
        raise SignInError(NOT_YOURS)
    with desk.store.change() as change:
        form = _form_of_session(desk, change, token)
        user_before = form.user
        is_new = not user_before.factor
        codes = list[str]()
        if is_new and form.is_half and user_before.has_second_factor:
            raise SignInError("you have a passkey. Sign in with it; then set up codes at /me")
        user = _use_code(desk, form, code)
        throttle.succeed(change, name, address)
        if is_new:
            codes = [b32encode(desk.bytes_of(10)).decode() for _ in range(RECOVERY_CODES)]
            recovery = " ".join(token_hash(text).hex() for text in codes)
            user = replace(user, factor=form.seed, recovery=recovery, stamp=user.stamp + 1)
        ends = do == "end" and not (is_new or form.is_half)
        if ends:
            user = replace(without(user), passkeys=user.passkeys)
        if is_new or ends:  # sessions opened without the factor end, and after its removal those opened with it
            change.end_sessions(user.number)
        signed = open_session(
            desk, change, user, address, token, by="factor", is_proven=not ends or user.has_second_factor
        )
        if is_new or ends:
            change.audit(
                Act(signed.who, "factor.change", f"user {user.name}", shown(user_before), shown(user)), desk.now_ms()
            )
        return signed, codes


def without(user: User) -> User:
    """Return the user without a second factor, and with a stamp that ends all sessions."""
    return replace(user, factor=b"", recovery="", passkeys="[]", stamp=user.stamp + 1)


def reset(desk: Desk, who: Who, name: str, code: str = "") -> User:
    """Remove the second factor of a user who lost it; their sessions end. A signed-in admin shows their own factor.

    Raises: NotAllowedError; UsageError, also for a wrong code.
    """
    who.require(Right.MANAGE_USERS)
    if who.kind == "user":
        show_again(desk, who.name, code, since_ms=who.since_ms)
    return changed(desk, who, name, "factor.reset", without)


def show_again(desk: Desk, name: str, code: str, password: str | None = None, since_ms: int = 0) -> None:
    """Require a code of a signed-in user again; without an app the password, if one is given.

    If no password is given and the user has a passkey, the sign-in must be recent. Raises: UsageError.
    """
    attempts_name = f"{name} factor"
    try:
        throttle.begin(desk, attempts_name, "")
        with desk.store.change() as change:
            user = in_look(change, name)
            if user.factor:
                change.put_user(_use_code(desk, _form(desk, user, user.factor), code))
            elif password is None:
                if user.has_second_factor and desk.now_ms() - since_ms > AGAIN_MS:
                    raise UsageError("show your passkey again: sign in with it at /login, and reset within 5 minutes.")
            elif not desk.passwords.is_right(password, user.password):
                raise UsageError(NOT_YOURS)
            throttle.succeed(change, attempts_name, "")
    except SignInError as error:
        raise UsageError(f"your own second factor is asked for: {error}.") from None


def _use_code(desk: Desk, form: FactorForm, code: str) -> User:
    """Return the user with this code used. Raises: SignInError if the code is wrong or already used."""
    user = form.user
    plain = "".join(code.split()).replace("-", "").upper()
    recovery_hashes = user.recovery.split()
    hashed = token_hash(plain).hex()
    if hashed in recovery_hashes:
        return replace(user, recovery=" ".join(other for other in recovery_hashes if other != hashed))
    for step in (desk.now_ms() // STEP_MS + around for around in AROUND):
        right = code_at(b32decode(form.secret), step).encode()
        if step > user.factor_step and hmac.compare_digest(right, plain.encode("utf-8", "surrogatepass")):
            return replace(user, factor_step=step)
    raise SignInError(WRONG)
