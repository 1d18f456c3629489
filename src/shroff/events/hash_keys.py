"""The secret key of a project: what stands for hashed values, and keys for other purposes that are made from it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shroff.config import ProjectPaths, make_folder
from shroff.errors import StorageError, os_words, refused
from shroff.runtime.atomic_files import remove_unfinished, whole_file

_KEY_BYTES_MIN = 16


def hasher(places: ProjectPaths, may_make: Callable[[], None] = lambda: None) -> Callable[[str], str]:
    """Hash function of hashed fields: a keyed hash (HMAC-SHA-256) and the last four characters.

    The key is made on first use, readable by its owner only, and read once.

    Args:
        may_make: Asked before a key is made; raises where there was one that must not be replaced.
    """
    key: list[bytes] = []

    def hashed(value: str) -> str:
        if not key:
            key.append(_hash_key(places.hash_key, may_make))
        digest = hmac.new(key[0], value.encode(), hashlib.sha256).hexdigest()[:32]
        return f"hashed:{digest}:{value[-4:] if len(value) > 8 else ''}"

    return hashed


def _hash_key(path: Path, may_make: Callable[[], None]) -> bytes:
    """The key, which is made where there is none. Raises: StorageError."""
    try:
        if not path.exists():
            may_make()
            make_folder(path.parent)
            # Write a new key as a whole or not at all; one that another process made meanwhile stays
            with suppress(FileExistsError), whole_file(path, is_new=True) as file:  # readable by its owner only
                file.write(secrets.token_bytes(32).hex().encode() + b"\n")
        with suppress(OSError):  # of somebody who may only read
            remove_unfinished(path, time.time())
    except OSError as error:
        raise refused(error, os_words(error, path, " cannot be written")) from None
    return read_key(path)


def read_key(path: Path) -> bytes:
    """The key that a file holds. Raises: StorageError where it holds none."""
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
    """A key for one purpose, made from that of hashed fields and not leading back to it. Raises: as `hasher`."""
    return hmac.new(_hash_key(places.hash_key, may_make), what.encode(), hashlib.sha256).digest()
