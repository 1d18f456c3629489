"""How far the record of who did what was, as one machine last saw it whole: a line in `.shroff/audit.head`.

An older copy of the whole database is whole in itself, and only who remembers can tell.
"""

from __future__ import annotations

from shroff import config
from shroff.errors import StorageError


def noted_head(places: config.Places) -> tuple[int, bytes] | None:
    """The number and hash of the last row then; None where this machine never looked.

    Raises: StorageError where what was noted cannot be read.
    """
    try:
        number, hash = places.audit_head.read_text(encoding="ascii").split()
        return int(number), bytes.fromhex(hash)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else "it does not hold a number and a hash"
        raise StorageError(f"{places.audit_head} cannot be read: {words}. Restore it from a backup") from None


def note_head(places: config.Places, number: int, hash: bytes) -> None:
    """Note how far it is. Raises: StorageError."""
    config.write_text(places.audit_head, f"{number} {hash.hex()}\n")
