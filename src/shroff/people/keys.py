"""Keys of programs: `shroff_ID_SECRET`, shown once. Secret scanners find them by that form.

The secret is stored as SHA-256. Argon2 makes guessing expensive, but nobody guesses 256 random bits, and it would cost
50 ms and 64 MiB at each request.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from shroff.errors import NotAllowedError, ShroffError, SignInError, UsageError
from shroff.json_types import JsonObject
from shroff.people.access import RIGHTS, Right, Role, Who, check_known
from shroff.people.audit import Act
from shroff.people.store import ApiKey, Desk, token_hash
from shroff.runtime.values import replace

if TYPE_CHECKING:
    from shroff.people.sql import Change, PeopleQueries
    from shroff.people.store import User

PATTERN = re.compile(r"shroff_([a-z0-9]{12})_([0-9a-f]{64})")
WRONG = "this key is not known, has expired or was revoked"
FRESH_S = 1.0  # lifetime of a cached key, and so the delay of a revocation
DUE_S = 0.5  # age from which a cached key is read again in the background
USED_EVERY_MS = 3_600_000  # interval of recording a use
UNKNOWN_MAX = 10_000  # cached ids of keys that do not exist
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_NAME_MAX = 100
_AS_WHO = "key-"  # prefix of a key's id among callers' ids


class Rotated(NamedTuple):
    """A new key and its text, and the replaced key with its end."""

    key: ApiKey
    text: str
    old: ApiKey


def create(
    desk: Desk,
    who: Who,
    name: str,
    role: Role,
    *,
    scopes: Collection[Right] = (),
    lasts_ms: int | None = None,
    made_by: str = "",
) -> tuple[ApiKey, str]:
    """Create a key; return it with its text, which cannot be shown again.

    Args:
        scopes: Rights of its role that it has; empty for all of them.
        lasts_ms: Lifetime; None for no expiry.
        made_by: User with whom the key ends: the requester, if `who` is the second person.

    Raises: NotAllowedError, also if the key would exceed the rights of its creator or requester; UsageError for a scope
    outside the role, or an invalid name.
    """
    who.require(Right.MANAGE_KEYS)
    key, text = _new(desk, who, name, role, scopes=scopes, lasts_ms=lasts_ms)
    key = replace(key, made_by=made_by or key.made_by)
    with desk.store.change() as change:
        maker_user = change.user_named(made_by) if made_by else None
        may = RIGHTS[maker_user.role] if maker_user is not None and not maker_user.is_disabled else frozenset()
        if made_by and not as_who(key).rights <= may:
            raise NotAllowedError(f"{made_by} asked for this key, and may no longer do what it can")
        _keep(change, who, "key.create", key, desk.now_ms())
    return key, text


def rotate(desk: Desk, who: Who, id_or_name: str, *, overlap_ms: int, lasts_ms: int | None = None) -> Rotated:
    """Create a successor of a key, with its name and rights; the old key stays valid for some time.

    Args:
        overlap_ms: Time for which both are valid, unless the old key expires earlier.
        lasts_ms: Lifetime of the new key; by default that of the old one.

    Raises: NotAllowedError; UsageError if there is no such key, or it is no longer valid.
    """
    who.require(Right.MANAGE_KEYS)
    with desk.store.change() as change:
        now_ms = desk.now_ms()
        old = _key_named(change.keys(), id_or_name, now_ms)
        if not is_valid(old, now_ms):
            raise UsageError(
                f"the key {old.name} ({old.id}) is not valid any more. Create one with 'shroff keys create'."
            )
        if lasts_ms is None and old.ends_at_ms is not None:
            lasts_ms = old.ends_at_ms - old.made_at_ms
        key, text = _new(desk, who, old.name, old.role, scopes=old.scopes, lasts_ms=lasts_ms)
        ends_at_ms = now_ms + overlap_ms
        ending = replace(old, ends_at_ms=min(ends_at_ms, old.ends_at_ms or ends_at_ms))
        _keep(change, who, "key.create", key, now_ms)
        _keep(change, who, "key.rotate", ending, now_ms, old)
    return Rotated(key, text, ending)


def _new(
    desk: Desk, who: Who, name: str, role: Role, *, scopes: Collection[Right], lasts_ms: int | None
) -> tuple[ApiKey, str]:
    _check(who, name, role, scopes)
    id_ = "".join(_LETTERS[byte % len(_LETTERS)] for byte in desk.bytes_of(12))
    secret = desk.token()
    now_ms = desk.now_ms()
    ends_at_ms = None if lasts_ms is None else now_ms + lasts_ms
    narrowed = tuple(sorted(set(scopes)))
    made_by = maker_of(who)
    key = ApiKey(id_, name.strip(), token_hash(secret), role, narrowed, now_ms, made_by, ends_at_ms)
    return key, f"shroff_{key.id}_{secret}"


def _check(who: Who, name: str, role: Role, scopes: Collection[Right]) -> None:
    if not name.strip() or len(name) > _NAME_MAX or not name.isprintable():
        raise UsageError(f"a key's name says what it is for, on one line, in {_NAME_MAX} characters at most.")
    foreign = sorted(set(scopes) - RIGHTS[role])
    if foreign:
        role_rights = ", ".join(sorted(RIGHTS[role]))
        raise UsageError(f"the role {role.value} does not have {', '.join(foreign)}. It has {role_rights}.")
    more = (frozenset(scopes) or RIGHTS[role]) - who.rights
    if more:
        raise NotAllowedError(
            f"{who.name} may not make a key that can do more than they can: {', '.join(sorted(more))}"
        )


def known_scope(text: str) -> Right:
    """Parse a right. Raises: UsageError for an unknown one."""
    check_known("scope", text, [right.value for right in Right])
    return Right(text)


def known_role(text: str) -> Role:
    """Parse a role. Raises: UsageError for an unknown one."""
    check_known("role", text, [role.value for role in Role])
    return Role(text)


def all_keys(desk: Desk) -> list[ApiKey]:
    """Return all keys by creation time, revoked ones included."""
    with desk.store.look() as queries:
        return queries.keys()


def revoke(desk: Desk, who: Who, id_or_name: str, *, with_made: bool = False) -> ApiKey:
    """Revoke a key by its id, name or text; `with_made` also those created with it.

    Raises: NotAllowedError, UsageError.
    """
    who.require(Right.MANAGE_KEYS)
    with desk.store.change() as change:
        key = _key_named(change.keys(), id_or_name, desk.now_ms())
        if with_made:
            limit_to(None, change, who, f"key {key.id}", desk.now_ms())
        return key if key.revoked_at_ms is not None else _revoke(change, who, key, desk.now_ms())


def limit_to(role: Role | None, change: Change, who: Who, maker: str, now_ms: int) -> None:
    """Limit the keys that somebody created, and keys created with these, to the rights of the maker's role.

    Rights of the role service stay, since the organization's programs need them. A key without rights is revoked;
    without a role all are. One-time links end if the role cannot create any.
    """
    allowed = RIGHTS[role] | RIGHTS[Role.SERVICE] if role else frozenset()
    if Right.MANAGE_USERS not in allowed:
        change.end_links(made_by=maker)
    for key in change.keys():  # noqa: SIM118 - no mapping
        if key.made_by == maker:
            rights = as_who(key).rights
            if key.revoked_at_ms is None and not rights & allowed:
                _revoke(change, who, key, now_ms)
            elif key.revoked_at_ms is None and rights - allowed:
                limited = replace(key, scopes=tuple(sorted(rights & allowed)))
                _keep(change, who, "key.limit", limited, now_ms, key)
            limit_to(role, change, who, f"key {key.id}", now_ms)


def _revoke(change: Change, who: Who, key: ApiKey, now_ms: int) -> ApiKey:
    change.end_links(made_by=f"key {key.id}")
    return _keep(change, who, "key.revoke", replace(key, revoked_at_ms=now_ms), now_ms, key)


def _keep(change: Change, who: Who, action: str, key: ApiKey, now_ms: int, old_key: ApiKey | None = None) -> ApiKey:
    change.put(key)
    change.audit(Act(who, action, f"key {key.id}", old_key and shown(old_key), shown(key)), now_ms)
    return key


def is_valid(key: ApiKey, now_ms: int) -> bool:
    """Whether a key is neither revoked nor expired."""
    return key.revoked_at_ms is None and (key.ends_at_ms is None or key.ends_at_ms > now_ms)


def _key_named(keys: list[ApiKey], text: str, now_ms: int) -> ApiKey:
    match = PATTERN.fullmatch(text)
    id_or_name = match[1] if match else text
    by_id = [key for key in keys if key.id == id_or_name]
    by_name = [key for key in keys if key.name == id_or_name and key.revoked_at_ms is None]
    matches = by_id or [key for key in by_name if is_valid(key, now_ms)] or by_name
    if not matches:
        shown_as = "this key" if match else repr(text)
        raise UsageError(f"there is no key {shown_as}. 'shroff keys list' shows all.")
    if len(matches) > 1:
        raise UsageError(
            f"{len(matches)} keys have the name {text!r}. Name one by its id: {', '.join(key.id for key in matches)}."
        )
    return matches[0]


def described(key: ApiKey) -> JsonObject:
    """Return name and rights of a key."""
    return {"id": key.id, "name": key.name, "role": key.role.value, "scopes": [scope.value for scope in key.scopes]}


def shown(key: ApiKey) -> JsonObject:
    """Return the fields of a key for people and the audit log."""
    return described(key) | {"expires_at_ms": key.ends_at_ms, "revoked_at_ms": key.revoked_at_ms}


def maker_of(who: Who) -> str:
    """Return the stored name of the maker of a key or link; no user's name has the form of a key's."""
    return f"key {key_of(who)}" if who.kind == "key" else who.name


def maker(queries: PeopleQueries, who: str) -> User | None:
    """Return the user behind a key, or behind the key that created it; `who` is a caller's id. None for other
    callers.
    """
    made_by = who.replace(_AS_WHO, "key ", 1)
    while made_by.startswith("key ") and (key := queries.find(ApiKey, made_by.removeprefix("key "))) is not None:
        made_by = key.made_by
    return None if made_by == who else queries.user_named(made_by)


def key_of(who: Who) -> str:
    """Return the id of the caller's key."""
    return who.id.removeprefix(_AS_WHO)


def as_who(key: ApiKey) -> Who:
    rights = RIGHTS[key.role]
    return Who("key", f"{_AS_WHO}{key.id}", key.name, key.role, rights & set(key.scopes) if key.scopes else rights)


class _CachedKey(Struct):
    """A cached key, and when reading it began; None if the id does not exist."""

    key: ApiKey | None
    read_s: float
    who: Who | None
    is_due: bool = False


class KeyRing:
    """Authenticates keys for thousands of requests a second with two queries of the store per second and key.

    `at_hand` never waits and suits an event loop; if it has no fresh entry, call `who` on a thread. A key in use is
    read again in the background before it becomes stale, so only its first request waits.
    """

    def __init__(self, desk: Desk, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._clock_s = clock_s
        self._known: dict[str, _CachedKey] = {}
        self._unknown: dict[str, _CachedKey] = {}  # separate, so that invented keys displace no real one
        self._beside = ThreadPoolExecutor(1, "keys")

    def at_hand(self, text: str) -> Who | None:
        """Return the caller of a key if it was read within the last second; None if `who` must be called.

        Raises: SignInError for an invalid key.
        """
        id_, secret = _parts(text)
        cached = self._known.get(id_) or self._unknown.get(id_)
        if cached is None:
            return None
        age_s = self._clock_s() - cached.read_s
        if age_s >= FRESH_S:
            return None
        who = self._who(cached, secret)
        if age_s >= DUE_S and not cached.is_due:
            cached.is_due = True
            self._beside.submit(self._read_quietly, id_)
        return who

    def who(self, text: str) -> Who:
        """Return the caller of a key; queries the store without a fresh entry.

        Raises: SignInError for an invalid key; TransientError, StorageError if the store cannot be read.
        """
        at_hand = self.at_hand(text)
        if at_hand is not None:
            return at_hand
        id_, secret = _parts(text)
        cached = self._read(id_)
        who = self._who(cached, secret)
        self._note_use(cached.key)
        return who

    def close(self) -> None:
        """Stop the background thread."""
        self._beside.shutdown(cancel_futures=True)

    def _who(self, cached: _CachedKey, secret: str) -> Who:
        """Raise SignInError for an invalid key. A hash is compared even if there is no key, to take the same time."""
        key = cached.key
        who = cached.who
        is_right = hmac.compare_digest(token_hash(secret), key.hash if key is not None else bytes(32))
        if key is None or who is None or not is_right or key.revoked_at_ms is not None:
            raise SignInError(WRONG)
        if key.ends_at_ms is not None and self._desk.now_ms() >= key.ends_at_ms:
            raise SignInError(WRONG)
        return who

    def _read(self, id_: str) -> _CachedKey:
        began_s = self._clock_s()
        with self._desk.store.look() as queries:
            key = queries.find(ApiKey, id_)
        cached = _CachedKey(key, began_s, None if key is None else as_who(key))
        if key is not None:
            self._known[id_] = cached
            return cached
        self._known.pop(id_, None)
        if len(self._unknown) >= UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[id_] = cached
        return cached

    def _read_quietly(self, id_: str) -> None:
        """Read a key in use again. An error recurs at the next request."""
        with suppress(ShroffError):
            self._note_use(self._read(id_).key)

    def _note_use(self, key: ApiKey | None) -> None:
        """Record in the background that a key is in use, if that is due."""
        if key is not None and self._desk.now_ms() - (key.used_at_ms or 0) >= USED_EVERY_MS:
            self._beside.submit(self._note_in_background, key.id)

    def _note_in_background(self, id_: str) -> None:
        with suppress(ShroffError), self._desk.store.change() as change:
            key = change.find(ApiKey, id_)
            if key is not None:
                change.put(replace(key, used_at_ms=self._desk.now_ms()))


def _parts(text: str) -> tuple[str, str]:
    """Split a key into id and secret. Raises: SignInError if it is malformed."""
    match = PATTERN.fullmatch(text)
    if match is None:
        raise SignInError(WRONG)
    return match[1], match[2]
