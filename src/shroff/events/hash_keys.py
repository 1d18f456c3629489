"""The secret key of a project: it hashes the values of hashed fields, and keys for other purposes are derived from
it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shroff.config import ProjectPaths
from shroff.errors import StorageError, os_words, refused
from shroff.runtime.atomic_files import remove_unfinished, whole_file
from shroff.runtime.state_folder import make_folder

_KEY_BYTES_MIN = 16


def hasher(places: ProjectPaths, may_make: Callable[[], None] = lambda: None) -> Callable[[str], str]:
    """Return the hash function of hashed fields: a keyed hash (HMAC-SHA-256) and the last four characters.

    The key is read at the first use. A missing key is made then, in a file that only its owner can read.

    Args:
        may_make: Called before a key is made; raises if a key was lost that must not be replaced.

    Raises, from the function: StorageError if the key cannot be read or written.
    """
    key: list[bytes] = []

    def hashed(value: str) -> str:
        if not key:
            key.append(_hash_key(places.hash_key, may_make))
        digest = hmac.new(key[0], value.encode(), hashlib.sha256).hexdigest()[:32]
        return f"hashed:{digest}:{value[-4:] if len(value) > 8 else ''}"

    return hashed


def _hash_key(path: Path, may_make: Callable[[], None]) -> bytes:
    try:
        if not path.exists():
            may_make()
            make_folder(path.parent)
            # A key that another process made meanwhile stays.
            with suppress(FileExistsError), whole_file(path, is_new=True) as file:
                file.write(secrets.token_bytes(32).hex().encode() + b"\n")
        with suppress(OSError):  # the user may have no right to write
            remove_unfinished(path, time.time())
    except OSError as error:
        raise refused(error, os_words(error, path, " cannot be written")) from None
    return read_key(path)


def read_key(path: Path) -> bytes:
    """Read the key from a file. Raises: StorageError if it has none."""
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        raise refused(error, os_words(error, path, " cannot be read")) from None
    except ValueError:
        key = b""
    if len(key) < _KEY_BYTES_MIN:
        raise StorageError(
            f"{path} holds no key. Restore it from your copy, since hashed values depend on it; "
            "remove it only if this project has taken no event in"
        )
    return key


def key_for(places: ProjectPaths, what: str, may_make: Callable[[], None] = lambda: None) -> bytes:
    """Return a key for another purpose, derived from the secret key, which cannot be computed from it.

    Raises: as `hasher`.
    """
    return hmac.new(_hash_key(places.hash_key, may_make), what.encode(), hashlib.sha256).digest()
