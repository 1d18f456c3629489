"""Stores that break their contract: each is made of the class that makes its changes, which breaks one promise."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

Store = TypeVar("Store")


def changing(store: type[Store]) -> Callable[[type[Any]], type[Store]]:
    """Decorates a class of changes, and gives a store of this kind, by the same name, whose `changing` it is."""
    return lambda changes: type(changes.__name__, (store,), {"changing": changes})


@contextmanager
def closing_all() -> Iterator[None]:
    """Close the connections to SQLite that were opened within: a contract that fails leaves its stores open.

    Python 3.13 warns of one that nobody closed, in whatever test the garbage is collected.
    """
    opened, connect = list[sqlite3.Connection](), sqlite3.connect

    def connected(*given: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connect(*given, **options))
        return opened[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sqlite3, "connect", connected)
        try:
            yield
        finally:
            for connection in opened:
                connection.close()
