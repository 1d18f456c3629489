"""Growing pauses between attempts to sign in, by name and by address; they survive a restart.

An attempt is counted before it is checked, and taken back if it was right, so that a hundred concurrent ones count as a
hundred.
"""

from __future__ import annotations

import hashlib

from shroff.errors import PausedError
from shroff.people.access import RIGHTS, Role, Who, network_of
from shroff.people.audit import Act
from shroff.people.sql import Change
from shroff.people.store import Attempts, Desk
from shroff.runtime.values import FrozenStruct

PAUSE_MS_MAX = 15 * 60_000
FORGOTTEN_MS = 24 * 3_600_000  # time without an attempt after which earlier ones no longer count


class AttemptLimit(FrozenStruct):
    """Attempts up to `free` cause no pause; each further one doubles it, beginning with a second.

    One attempt is forgotten every `forgets_ms`; otherwise mistakes would add up over months of daily sign-ins.
    """

    kind: str
    free: int
    forgets_ms: int


BY_NAME = AttemptLimit("name", 5, 3_600_000)
BY_ADDRESS = AttemptLimit("address", 30, 6 * 60_000)  # an office has one address
_NOBODY = Who("program", "nobody", "nobody", Role.VIEWER, RIGHTS[Role.VIEWER] - RIGHTS[Role.VIEWER])


def begin(desk: Desk, name: str, address: str) -> None:
    """Count an attempt before it is checked.

    Raises: PausedError if it comes too early, in the same way for existing and unknown names.
    """
    now_ms = desk.now_ms()
    with desk.store.change() as change:
        attempts = [_count(change, limit, text, now_ms) for limit, text in _limits(name, address)]
        wait_ms = max(earlier.until_ms for _, earlier, _ in attempts) - now_ms
        if wait_ms <= 0:
            for limit, _, updated in attempts:
                change.put(updated)
                if updated.count == limit.free + 1:  # an entry for every pause would flood the audit log
                    subject = f"{limit.kind} {name if limit is BY_NAME else address}"[:200]
                    change.audit(Act(_NOBODY, "sign_in.pause", subject, None, {"attempts": updated.count}), now_ms)
    if wait_ms > 0:
        raise PausedError(-(-wait_ms // 1_000))


def succeed(change: Change, name: str, address: str) -> None:
    """Forget attempts by this name, and take the successful one back from the address."""
    for limit, text in _limits(name, address):
        hash_ = _hash(limit, text)
        attempts = change.find(Attempts, hash_)
        if attempts is None or limit is BY_NAME:
            change.take(Attempts, hash_)
        else:
            change.put(Attempts(hash_, max(attempts.count - 1, 0), attempts.last_at_ms, 0))


def pause_ms(limit: AttemptLimit, count: int) -> int:
    """Return the pause after `count` attempts."""
    over = count - limit.free
    return 0 if over < 0 else min(1_000 << min(over, 20), PAUSE_MS_MAX)


def _limits(name: str, address: str) -> list[tuple[AttemptLimit, str]]:
    """Return the limits of an attempt. Without an address, as for a signed-in user, only the name counts."""
    return [(BY_NAME, name)] + [(BY_ADDRESS, network_of(address))] * bool(address)


def _count(change: Change, limit: AttemptLimit, text: str, now_ms: int) -> tuple[AttemptLimit, Attempts, Attempts]:
    """Return the limit, the attempts so far, and the attempts with this one."""
    hash_ = _hash(limit, text)
    attempts = change.find(Attempts, hash_) or Attempts(hash_, 0, now_ms, 0)
    if now_ms - attempts.last_at_ms > FORGOTTEN_MS:
        attempts = Attempts(hash_, 0, now_ms, 0)
    forgotten = max(now_ms - attempts.last_at_ms, 0) // limit.forgets_ms
    count = max(attempts.count - forgotten, 0) + 1
    since_ms = attempts.last_at_ms + forgotten * limit.forgets_ms if count > 1 else now_ms
    return limit, attempts, Attempts(hash_, count, since_ms, now_ms + pause_ms(limit, count))


def _hash(limit: AttemptLimit, text: str) -> bytes:
    return hashlib.sha256(f"{limit.kind} {text}".encode("utf-8", "surrogatepass")).digest()
