"""The adapters of all installed packages, ours and others' alike, found by their entry points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from shroff.errors import UsageError
from shroff.project.settings.systems import STORES

ADAPTERS: Final = "shroff.adapters"  # the group of entry points


@cache
def adapters() -> Mapping[str, EntryPoint]:
    """All of them, by contract and technology; looked for once, since that takes 20 ms."""
    return {point.name: point for point in entry_points(group=ADAPTERS)}


def load_adapter(name: str) -> Any:
    """The adapter of this name. Raises: UsageError where no installed package has it."""
    found = adapters()
    if name not in found:
        raise UsageError(f"no adapter {name!r} is installed; there is {', '.join(sorted(found)) or 'none'}.")
    return found[name].load()


def store_adapter(url: str) -> Any:
    """The adapter of a log at an address. Raises: UsageError where there is none of its kind; shows the kind alone."""
    kind = url.partition(":")[0]
    if kind not in STORES:
        raise UsageError(f"a store is {' or '.join(f'{one}://' for one in STORES)}, and this address is neither.")
    return load_adapter(f"log.{kind}")
