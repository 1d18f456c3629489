"""Authentication: by a key in the header, or by a session's cookie. All other callers are refused."""

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
    """The gate of a project: knows its keys and sessions.

    `at_hand` gives the caller of a key if known without a query, for the event loop; `who` may wait for a store. Both
    raise SignInError for an unknown key, and `who` what the store raises.
    """

    def __init__(self, desk: Desk, ring: KeyRing) -> None:
        self._desk = desk
        self.at_hand = ring.at_hand
        self.who = ring.who

    def user(self, name: str) -> User | None:
        with self._desk.store.look() as look:
            found = look.user_named(name)
        return None if found is None or found.is_disabled else found

    def signed_in(self, token: str, *, is_use: bool = True, device: str = "") -> SignedIn | None:
        """User of this token; None where it has expired. May wait for a store.

        What a page asks for by itself is no use: a session that nobody uses ends, though a page of it stays open.
        """
        return signed_in(self._desk, token, is_use=is_use, device=device)


@contextmanager
def gate_of(desk: Desk) -> Iterator[Gate]:
    with closing(KeyRing(desk)) as ring:
        yield Gate(desk, ring)


class _Bucket(Struct):
    """Remaining allowance of one sender."""

    left: float
    at_s: float


class Pace:
    """How much each sender may still send. For one thread.

    Args:
        rate: Events a second, of which those of two seconds may come at once; a request that is larger passes where
            nothing was sent for so long.
        waits_s_max: Whoever has to wait for no longer is taken to send then, and the next one waits behind.
    """

    def __init__(self, rate: float, clock_s: Callable[[], float] = time.monotonic, *, waits_s_max: float = 0.0) -> None:
        self._rate = rate
        self._clock_s = clock_s
        self._waits_s_max = waits_s_max
        self._buckets: dict[str, _Bucket] = {}

    def wait_s_of(self, sender: str, events: int) -> float:
        """Take so many events from what a sender may send; gives for how long they wait, 0 for not."""
        now_s = self._clock_s()
        full = 2 * self._rate
        bucket = self._buckets.pop(sender, None) or _Bucket(full, now_s)
        if len(self._buckets) >= SENDERS_MAX:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[sender] = bucket  # last: the first has been silent for longest
        bucket.left = min(full, bucket.left + (now_s - bucket.at_s) * self._rate)
        bucket.at_s = now_s
        wait_s = max(0.0, min(events, full) - bucket.left) / self._rate
        if wait_s <= self._waits_s_max:
            bucket.left -= events
        return wait_s
