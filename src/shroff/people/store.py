"""Records of users and keys, the contract of their store, and the services that use it.

Every credential is stored as a hash, so read access to the store lets nobody sign in as another user.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from shroff.people.access import Right, Role
from shroff.people.audit import AuditEntry, Seal
from shroff.people.passwords import Passwords
from shroff.project.settings.systems import SignInSettings
from shroff.runtime.values import FrozenStruct, frozen

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from shroff.people.sql import Change, PeopleQueries, SchemaPart

TOKEN_LENGTH = 64  # characters of a token from `Desk.token`


@frozen
class User:
    """A person who may sign in.

    Args:
        number: Assigned by the store, never reused.
        password: Hash by argon2 with its parameters; empty for users who sign in elsewhere.
        stamp: Changes with password, role and disabling; sessions with an earlier stamp are invalid.
        subject: Identity at the project's OpenID provider, as `ISSUER SUBJECT`; empty for users with a password.
        zone: Time zone of the pages, such as Europe/Berlin; empty for the browser's.
        theme: `light` or `dark`; empty for the browser's.
        factor: Seed of the second factor's secret, to be combined with the project's key; empty without one.
        factor_step: Time step of the last used code.
        recovery: Hashes of the unused recovery codes, separated by spaces.
        passkeys: Public keys of devices, as JSON (see `people.passkeys`).
    """

    number: int
    name: str
    display_name: str
    email: str
    role: Role
    password: str = field(default="", repr=False)
    stamp: int = 1
    is_disabled: bool = False
    made_at_ms: int = 0
    last_login_ms: int | None = None
    subject: str = ""
    zone: str = ""
    theme: str = ""
    factor: bytes = field(default=b"", repr=False)
    factor_step: int = 0
    recovery: str = field(default="", repr=False)
    passkeys: str = field(default="[]", repr=False)

    @property
    def id(self) -> str:
        """Id in the audit log."""
        return f"user-{self.number}"

    @property
    def has_second_factor(self) -> bool:
        """Whether a password alone is not enough."""
        return bool(self.factor) or self.passkeys != "[]"


@frozen
class UserSession:
    """A session. `hash` is the SHA-256 of its token; it is valid until `ends_at_ms`, as long as it is used.

    A half session waits for the second factor and gives no access. `device` is what the browser says of itself.
    """

    hash: bytes = field(repr=False)
    user: int
    stamp: int
    made_at_ms: int
    seen_at_ms: int
    ends_at_ms: int
    address: str
    is_half: bool = False
    device: str = ""


@frozen
class ApiKey:
    """A key of a program. `hash` is the SHA-256 of its secret; `scopes` restrict its role, or are empty for all
    rights.
    """

    id: str
    name: str
    hash: bytes = field(repr=False)
    role: Role
    scopes: tuple[Right, ...]
    made_at_ms: int
    made_by: str
    ends_at_ms: int | None = None
    revoked_at_ms: int | None = None
    used_at_ms: int | None = None


@frozen
class Link:
    """A one-time link. `user` is the user whose password it sets; None if it creates an admin. It becomes invalid with
    its maker.
    """

    hash: bytes = field(repr=False)
    user: int | None
    ends_at_ms: int
    made_by: str = ""


@frozen
class Attempts:
    """Failed attempts to sign in by a name or from an address, whose hash is `hash`."""

    hash: bytes = field(repr=False)
    count: int
    last_at_ms: int
    until_ms: int


@frozen
class Visit:
    """A sign-in in progress at an OpenID provider. `hash` is that of the browser's token."""

    hash: bytes = field(repr=False)
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    back: str
    ends_at_ms: int


@frozen
class DirectoryEntry:
    """A user or group of an identity provider, as sent last (see `people.directory`).

    Args:
        id: For a user equal to `User.id`.
        kind: `Users` or `Groups`.
        document: Attributes as JSON, with SCIM's names.
        role: Role that the groups last gave a user; empty for none.
    """

    id: str
    kind: str
    document: str = field(repr=False)
    role: str


class AuditFilter(FrozenStruct):
    """Filter for rows of the audit log; times are [start, end)."""

    who: str = ""
    action: str = ""
    subject: str = ""
    start_ms: int | None = None
    end_ms: int | None = None


class KeptAnswer(FrozenStruct):
    """Outcome that was returned before the decision was available; `hash` identifies the event."""

    hash: bytes
    outcome: str
    at_ms: int


Row = TypeVar("Row", User, UserSession, ApiKey, Link, Attempts, Visit, KeptAnswer, DirectoryEntry)


class PeopleStore(Protocol):
    """Contract of the store of users and keys; `tests.support.contracts.people` tests adapters against it.

    Changes are durable when `change` ends. Any number of threads may call. An adapter raises TransientError if its
    database is unreachable, and StorageError if its disk or server fails; no message shows a password.
    """

    @property
    def place(self) -> str:
        """Location for messages, without a password."""

    @property
    def seal(self) -> Seal:
        """Seal of the audit log's head."""

    def is_made(self, part: SchemaPart | None = None) -> bool:
        """Return whether its tables exist, or those of a part beside them; does not create them."""

    def look(self) -> AbstractContextManager[PeopleQueries]:
        """Open a reader; each query sees the state of its own moment."""

    def look_beside(self, part: SchemaPart | None = None) -> AbstractContextManager[Connection]:
        """Open a connection to other tables of the database, which are created if missing."""

    def change(self, part: SchemaPart | None = None) -> AbstractContextManager[Change]:
        """Start a transaction; an exception inside rolls it back. Tables of `part` are created before it starts.

        Raises: LogBusyError if another transaction takes longer than 5 s.
        """

    def close(self) -> None:
        """Close all connections. A second call does nothing."""


def rows_of(store: PeopleStore, audit_filter: AuditFilter | None = None, size: int = 1_000) -> Iterator[AuditEntry]:
    """Iterate over the matching rows of the audit log by number."""
    after = 0
    while True:
        with store.look() as queries:
            rows: Sequence[AuditEntry] = queries.record(audit_filter or AuditFilter(), after=after, limit=size)
        yield from rows
        if len(rows) < size:
            return
        after = rows[-1].number


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Desk(FrozenStruct):
    """The store, a clock, randomness and password hashes. Every function gets them as an argument, so tests can supply
    their own.

    `bytes_of` returns random bytes that nobody can guess, `settings_now` the active sign-in settings.
    """

    store: PeopleStore
    now_ms: Callable[[], int] = _now_ms
    bytes_of: Callable[[int], bytes] = secrets.token_bytes
    passwords: Passwords = msgspec.field(default_factory=Passwords)
    settings_now: Callable[[], SignInSettings] = SignInSettings

    @property
    def settings(self) -> SignInSettings:
        """Active sign-in settings."""
        return self.settings_now()

    def token(self) -> str:
        """Return a new token of 256 random bits, safe in addresses and cookies."""
        return self.bytes_of(TOKEN_LENGTH // 2).hex()


def token_hash(token: str) -> bytes:
    """Return the stored form of a token, its SHA-256. Tokens are random, so no slower hash is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
