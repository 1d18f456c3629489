"""People desk: the store, clock, randomness and password hashing that all calls on people share."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from shroff.people.passwords import Passwords
from shroff.people.store import PeopleStore
from shroff.project.settings.systems import SessionTimes

TOKEN_LENGTH: Final = 64  # of what `Desk.token` gives


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Desk:
    """The store, a clock, randomness and the hashes of passwords: given to every function, so that tests own them.

    `bytes_of` gives so many random bytes that nobody can guess, `times_now` how long sessions last by now.
    """

    store: PeopleStore
    now_ms: Callable[[], int] = _now_ms
    bytes_of: Callable[[int], bytes] = secrets.token_bytes
    passwords: Passwords = field(default_factory=Passwords)
    times_now: Callable[[], SessionTimes] = SessionTimes

    @property
    def times(self) -> SessionTimes:
        """How long somebody stays signed in, by the settings that are active."""
        return self.times_now()

    def token(self) -> str:
        """A new text of 256 random bits, good for an address and a cookie."""
        return self.bytes_of(TOKEN_LENGTH // 2).hex()


def token_hash(token: str) -> bytes:
    """The stored form of a token: its SHA-256. It is random, so nothing slower is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
