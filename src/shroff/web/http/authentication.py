"""Authentication by an API key or a session's cookie, and rate limits per sender."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from msgspec import Struct

from shroff.people.keys import KeyRing
from shroff.people.sessions import SignedIn, signed_in
from shroff.people.store import Desk, User

COOKIE = "shroff_session"
SENDERS_MAX = 10_000  # with a remembered rate


class Gate:
    """The keys and sessions of a project.

    `at_hand` returns the caller of a key from memory, else None, and may run in the event loop. `who` may wait for the
    store, and raises its errors. Both raise SignInError for an unknown key.
    """

    def __init__(self, desk: Desk, ring: KeyRing) -> None:
        self._desk = desk
        self.at_hand = ring.at_hand
        self.who = ring.who

    def user(self, name: str) -> User | None:
        with self._desk.store.look() as reader:
            user = reader.user_named(name)
        return None if user is None or user.is_disabled else user

    def signed_in(self, token: str, *, is_use: bool = True, device: str = "") -> SignedIn | None:
        """Return the user of this session token; None if it has expired. May wait for the store.

        `is_use` prolongs the session. Requests that an open page sends automatically must not set it.
        """
        return signed_in(self._desk, token, is_use=is_use, device=device)


@contextmanager
def gate_of(desk: Desk) -> Iterator[Gate]:
    with closing(KeyRing(desk)) as ring:
        yield Gate(desk, ring)


class _Bucket(Struct):
    """Events that one sender may still send, as of a time."""

    left: float
    at_s: float


class Pace:
    """Rate limit per sender, as a token bucket of two seconds. For one thread.

    Args:
        rate: Events a second. A request with more events than two seconds allow passes if the bucket is full.
        waits_s_max: A request that has to wait no longer than this is counted at once, so that the next one waits
            longer. A request that would wait longer is not counted.
    """

    def __init__(self, rate: float, clock_s: Callable[[], float] = time.monotonic, *, waits_s_max: float = 0.0) -> None:
        self._rate = rate
        self._clock_s = clock_s
        self._waits_s_max = waits_s_max
        self._buckets: dict[str, _Bucket] = {}

    def wait_s_of(self, sender: str, events: int) -> float:
        """Count the events of a request; return the seconds it has to wait, 0 for none."""
        now_s = self._clock_s()
        full = 2 * self._rate
        bucket = self._buckets.pop(sender, None) or _Bucket(full, now_s)
        if len(self._buckets) >= SENDERS_MAX:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[sender] = bucket  # moved to the end, so the first bucket is unused for longest
        bucket.left = min(full, bucket.left + (now_s - bucket.at_s) * self._rate)
        bucket.at_s = now_s
        wait_s = max(0.0, min(events, full) - bucket.left) / self._rate
        if wait_s <= self._waits_s_max:
            bucket.left -= events
        return wait_s
