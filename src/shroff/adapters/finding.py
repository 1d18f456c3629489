"""The adapters of all installed packages, ours and others' alike, found by their entry points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from shroff.errors import UsageError

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
