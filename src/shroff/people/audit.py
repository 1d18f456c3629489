"""The audit log: rows chained by their hashes, and a head sealed with the project's key.

Each row contains the hash of the row before it, so changing, removing, inserting or moving a row breaks the chain
there. Rows cut off at the end break no link; but the head has the number of rows, and its seal needs a key that is not
in the database (see docs/decisions/0036).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from msgspec.json import encode as to_json
from msgspec.structs import astuple

from shroff import config
from shroff.errors import StorageError, UsageError
from shroff.people.access import Who
from shroff.runtime.values import FrozenStruct

FIRST = bytes(32)  # stands for the previous hash in the first row
TEXT_MAX = 600  # characters of a name or a subject
REASON_MAX = 1_000  # characters
BREAKS_MAX = 100  # breaks listed by `verify`
VALUE_MAX = 20_000  # bytes of an old or new value as JSON; a longer one is replaced by its hash
_UNSEALED = "the head before it was not sealed with this project's key: rows were cut off or changed, or the key was"
_EXCHANGED = "it does not follow the row before it: one of the two was put in or exchanged"
_FORM = "shroff audit 1"  # part of each hash, so that no hash of another form is valid here
Seal = Callable[[int, bytes], bytes]


def checked_reason(text: str) -> str:
    """Strip the reason of an act. Raises: UsageError if it is empty or too long."""
    reason = text.strip()
    if not reason or len(reason) > REASON_MAX or not reason.isprintable():
        raise UsageError(f"say why, on one line of {REASON_MAX:,} characters at most.")
    return reason


class Action(FrozenStruct):
    """An action on a project's log, before the user is known.

    Args:
        action: Name as `object.verb`: `label.add`, `list.change`.
        subject: Target: `payment/p-1`, `list blocked_cards`.
        before: Old value, as plain values.
        after: New value, as plain values. Never personal data: the audit log is never erased.
    """

    action: str
    subject: str
    before: Any = None
    after: Any = None


class Act(FrozenStruct):
    """An action, to be recorded in the transaction that performs it.

    Args:
        action: Name as `object.verb`: `user.add`, `label.add`, `list.change`.
        subject: Target: `user ann`, `payment/p-1`, `list blocked_cards`.
        before: Old value, as plain values; None if there was none, or it does not matter.
        after: New value, as plain values. Never a secret: no password, token or key.
    """

    who: Who
    action: str
    subject: str
    before: Any = None
    after: Any = None


class AuditEntry(FrozenStruct):
    """One row. `before` and `after` are JSON; `previous` is the hash of the row before."""

    number: int
    at_ms: int
    who: str
    name: str
    via: str
    action: str
    subject: str
    before: str
    after: str
    previous: bytes
    hash: bytes


class AuditHead(FrozenStruct):
    """The end of the audit log: number and hash of its last row, sealed. An empty log has number 0."""

    number: int
    hash: bytes
    seal: bytes


class Verified(FrozenStruct):
    """Result of verifying the chain: number of rows before the first break, and each break with its reason."""

    rows: int
    breaks: Sequence[tuple[int, str]]


def row_of(act: Act, number: int, at_ms: int, previous: bytes) -> AuditEntry:
    """Build the row after one with the hash `previous`."""
    who = plain_text(act.who.id)
    name = plain_text(act.who.name)
    old_value = value_text(act.before)
    new_value = value_text(act.after)
    parts = (number, at_ms, who, name, act.who.via, act.action, plain_text(act.subject), old_value, new_value)
    return AuditEntry(*parts, previous, hash_of(*parts, previous))


def hash_of(*parts: int | str | bytes) -> bytes:
    """Hash a row's columns and the hash before it, in the order of `AuditEntry`, with SHA-256.

    The columns are encoded as a JSON list, so different rows have different bytes.
    """
    *columns, previous = parts
    assert isinstance(previous, bytes)
    return hashlib.sha256(to_json([_FORM, *columns, previous.hex()])).digest()


def broken_link(previous: bytes) -> bytes:
    """Return the previous hash for a row after a head with a wrong seal: a break that stays visible."""
    return hash_of("unsealed", previous)


def plain_text(text: str) -> str:
    """Make a text safe for databases and terminals, on one line, cut to TEXT_MAX."""
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text[:TEXT_MAX])


def value_text(value: Any) -> str:
    """Encode a value as JSON with sorted keys; a too long one as its hash and length."""
    text = to_json(value, order="deterministic")
    if len(text) > VALUE_MAX:
        short = {"sha256": hashlib.sha256(text).hexdigest(), "bytes": len(text)}
        text = to_json(short)
    return text.decode()


def sealing(key: bytes) -> Seal:
    """Return the function that seals a head with a key: HMAC-SHA-256 of its number and hash."""

    def seal(number: int, hash: bytes) -> bytes:
        return hmac.new(key, to_json([_FORM, number, hash.hex()]), hashlib.sha256).digest()

    return seal


def sealing_by(key: Callable[[], bytes]) -> Seal:
    """Like `sealing`, but read or create the key on first use, which may raise as `key`."""
    cached_sealing = cache(lambda: sealing(key()))
    return lambda number, digest: cached_sealing()(number, digest)  # noqa: PLW0108 - the key is read later


def verify(
    rows: Iterable[AuditEntry], head: AuditHead | None, seal: Seal, noted: tuple[int, bytes] | None = None
) -> Verified:
    """Compare every row with the row before it, and the last row with the head.

    Args:
        rows: All rows by number.
        head: Stored head; None if it is missing.
        noted: Number and hash of a head noted earlier elsewhere; its row must still exist.
    """
    last = 0
    previous = FIRST
    count = 0
    breaks = list[tuple[int, str]]()
    is_seen = noted is None or noted[0] == 0
    for row in rows:
        breaks += _misfits(row, last + 1, previous)
        last = row.number
        previous = row.hash  # of the stored row, also if it is wrong: the next row is compared with it
        if noted is not None and row.number == noted[0]:
            is_seen = True
            if not hmac.compare_digest(row.hash, noted[1]):
                breaks.append((last, "it is another row than was noted here before: the chain was remade"))
        del breaks[BREAKS_MAX - 1 :]  # leaves room for a break at the end
        count += not breaks
    misfit = _misfit_of_head(head, last, previous, seal)
    if not misfit and not is_seen and noted is not None:
        misfit = f"rows up to {noted[0]:,} were noted here before, and they are gone"
    return Verified(count, [*breaks, (last + 1, misfit)] if misfit else breaks)


def _misfits(row: AuditEntry, number: int, previous: bytes) -> Iterator[tuple[int, str]]:
    if row.number != number:
        yield number, f"row {number:,} is missing: the next one there is {row.number:,}"
    elif row.previous != previous:
        yield number, _UNSEALED if row.previous == broken_link(previous) else _EXCHANGED
    if hash_of(*astuple(row)[:-1]) != row.hash:
        yield row.number, "what it says is not what was recorded"


def _misfit_of_head(head: AuditHead | None, last: int, hash: bytes, seal: Seal) -> str:
    if head is None:
        return "the head of the chain is missing"
    if not hmac.compare_digest(head.seal, seal(head.number, head.hash)):
        return "the head of the chain is not sealed with this project's key: it was changed, or the key was"
    if head.number > last:
        return f"rows {last + 1:,} to {head.number:,} were cut off at the end"
    if head.number < last:
        return f"the head of the chain is that of row {head.number:,}: rows were added without it"
    if head.hash != hash:
        return "the head of the chain is not that of the last row: one of the two was changed"
    return ""


# ---- the head as this machine last verified it: a line in `.shroff/audit.head`
# An old copy of the whole database is consistent in itself; only a note outside can tell.


def noted_head(paths: config.ProjectPaths) -> tuple[int, bytes] | None:
    """Return number and hash of the noted head; None if this machine has none.

    Raises: StorageError if the note cannot be read.
    """
    try:
        number, hash = paths.audit_head.read_text(encoding="ascii").split()
        return int(number), bytes.fromhex(hash)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not hold a number and a hash"
        raise StorageError(f"{paths.audit_head} cannot be read: {reason}. Restore it from a backup") from None


def note_head(paths: config.ProjectPaths, number: int, hash: bytes) -> None:
    """Note the verified head. Raises: StorageError."""
    config.write_text(paths.audit_head, f"{number} {hash.hex()}\n")
