"""The library that speaks HTTP for the client, looked for when a client is made."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final

CONNECTIONS: Final = 100


def library() -> ModuleType:
    """`httpx2`. Raises: ImportError that says how to install it."""
    try:
        return import_module("httpx2")
    except ImportError:
        raise ImportError("the HTTP client needs httpx2: pip install 'shroff[client]'") from None
