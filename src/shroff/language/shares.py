"""Shares of keys: the same keys whenever they are asked, by a hash."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from shroff.language.values import Value

_STEPS: Final = 1 << 32


def key_text(key: Value | tuple[Value, ...]) -> str:
    """An entity's key for people and tables: a single text as it is, all else as JSON."""
    if isinstance(key, str):
        return key
    return msgspec.json.encode(key).decode()


def in_share(name: str, share: float, key: str | None) -> bool:
    """Whether a key, as text, is in the share of this name; each name has other keys in it. Without a key: false.

    >>> [in_share("m-1", 0.5, key) for key in ("c-1", "c-2", "c-3", "c-4", None)]
    [True, True, False, True, False]
    """
    if key is None:
        return False
    digest = sha256(f"{name}\x00{key}".encode()).digest()
    return int.from_bytes(digest[:4]) < share * _STEPS
