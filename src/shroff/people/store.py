"""Records of people, the contract of their store, and the desk from which it is used.

Every credential is kept as a hash. Read access to the store lets nobody sign in as another user.
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

TOKEN_LENGTH = 64  # of what `Desk.token` gives


@frozen
class User:
    """Somebody who may sign in.

    Args:
        number: Given by the store, and never given again.
        password: A hash by argon2, with its parameters; empty for one who signs in elsewhere.
        stamp: Changes with password, role and disabling; what was opened under an earlier one is closed.
        subject: Who this is at the project's OpenID provider, as `ISSUER SUBJECT`; empty for one with a password.
        zone: The time zone of the pages, such as Europe/Berlin; empty for the browser's.
        theme: `light` or `dark`; empty for the browser's.
        factor: What the secret of the second factor is made of, with the project's key; empty without one.
        factor_step: The last time step whose code was used.
        recovery: Hashes of the recovery codes that are left, with spaces between them.
        passkeys: Public keys of devices that sign in, as JSON (see `people.passkeys`).
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
        """The id in the audit log."""
        return f"user-{self.number}"

    @property
    def has_second_factor(self) -> bool:
        """Whether a password alone lets nobody in."""
        return bool(self.factor) or self.passkeys != "[]"


@frozen
class UserSession:
    """A sign-in that holds. `hash` is the SHA-256 of its token; it holds until `ends_at_ms`, or while it is used.

    One that is half waits for the second factor, and lets in nowhere. `device` is what the browser says of itself.
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
    """A key of a program. `hash` is the SHA-256 of its secret; `scopes` narrow its role, none leave it whole."""

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
    """A link that works once. `user` is whose password it sets; None: it makes an admin. It ends with `made_by`."""

    hash: bytes = field(repr=False)
    user: int | None
    ends_at_ms: int
    made_by: str = ""


@frozen
class Attempts:
    """How often somebody tried in vain to sign in by a name, or from an address; `hash` stands for which."""

    hash: bytes = field(repr=False)
    count: int
    last_at_ms: int
    until_ms: int


@frozen
class Visit:
    """A sign-in that is under way at an OpenID provider. `hash` is that of what the browser remembers."""

    hash: bytes = field(repr=False)
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    back: str
    ends_at_ms: int


@frozen
class DirectoryEntry:
    """A user or group of an identity provider, as it was sent last (see `people.directory`).

    Args:
        id: Of a user the same as `User.id`.
        kind: `Users` or `Groups`.
        document: Its attributes as JSON, by SCIM's names.
        role: The role that its groups gave a user last; empty for none.
    """

    id: str
    kind: str
    document: str = field(repr=False)
    role: str


class AuditFilter(FrozenStruct):
    """Which rows of the record are asked for; times are [start, end)."""

    who: str = ""
    action: str = ""
    subject: str = ""
    start_ms: int | None = None
    end_ms: int | None = None


class KeptAnswer(FrozenStruct):
    """The outcome that was answered in the place of an event's decision; `hash` stands for the event."""

    hash: bytes
    outcome: str
    at_ms: int


Row = TypeVar("Row", User, UserSession, ApiKey, Link, Attempts, Visit, KeptAnswer, DirectoryEntry)


class PeopleStore(Protocol):
    """Where people are kept: a contract, which `tests.support.contracts.people` holds an adapter to.

    Durable when `change` has ended. Calls may come from any thread, many at a time. An adapter that cannot reach its
    database raises TransientError; one whose disk or server refuses raises StorageError; neither shows a password.
    """

    @property
    def place(self) -> str:
        """Where it is, for messages: without a password."""

    @property
    def seal(self) -> Seal:
        """The seal of the audit log's head."""

    def is_made(self) -> bool:
        """Whether its tables are there; asking makes none."""

    def look(self) -> AbstractContextManager[PeopleQueries]:
        """Questions, each answered as of its own moment."""

    def look_beside(self, part: SchemaPart | None = None) -> AbstractContextManager[Connection]:
        """Questions to other tables of the same database, which are made where they are not there."""

    def change(self, part: SchemaPart | None = None) -> AbstractContextManager[Change]:
        """A transaction; what is raised inside undoes it. Other tables that it changes are made before it begins.

        Raises: LogBusyError where another one lasts longer than 5 s.
        """

    def close(self) -> None:
        """Let go of all connections. Closing twice does nothing."""


def rows_of(store: PeopleStore, wanted: AuditFilter | None = None, size: int = 1_000) -> Iterator[AuditEntry]:
    """All rows of the record that are wanted, in order of their numbers."""
    after = 0
    while True:
        with store.look() as look:
            rows: Sequence[AuditEntry] = look.record(wanted or AuditFilter(), after=after, limit=size)
        yield from rows
        if len(rows) < size:
            return
        after = rows[-1].number


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Desk(FrozenStruct):
    """The store, a clock, randomness and the hashes of passwords: given to every function, so that tests own them.

    `bytes_of` gives so many random bytes that nobody can guess, `settings_now` what the project says of signing in.
    """

    store: PeopleStore
    now_ms: Callable[[], int] = _now_ms
    bytes_of: Callable[[int], bytes] = secrets.token_bytes
    passwords: Passwords = msgspec.field(default_factory=Passwords)
    settings_now: Callable[[], SignInSettings] = SignInSettings

    @property
    def settings(self) -> SignInSettings:
        """How people sign in, and for how long, by the settings that are active."""
        return self.settings_now()

    def token(self) -> str:
        """A new text of 256 random bits, good for an address and a cookie."""
        return self.bytes_of(TOKEN_LENGTH // 2).hex()


def token_hash(token: str) -> bytes:
    """The stored form of a token: its SHA-256. It is random, so nothing slower is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
