"""Stores that break their contract: each is made of the class that makes its changes, which breaks one promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Store = TypeVar("Store")


def changing(store: type[Store]) -> Callable[[type[Any]], type[Store]]:
    """Decorates a class of changes, and gives a store of this kind, by the same name, whose `changing` it is."""
    return lambda changes: type(changes.__name__, (store,), {"changing": changes})
