"""The adapters of all installed packages, ours and others' alike, found by their entry points."""

from __future__ import annotations

from typing import Any

from shroff.errors import UsageError
from shroff.project.settings.installed import adapter_point, adapters, first_schemes, kind_at


def load_adapter(name: str) -> Any:
    """The adapter of this name. Raises: UsageError where no installed package has it."""
    found = adapter_point(name)
    if found is None:
        raise UsageError(f"no adapter {name!r} is installed; there is {', '.join(sorted(adapters())) or 'none'}.")
    return found.load()


def store_adapter(url: str) -> Any:
    """The adapter of a log at an address. Raises: UsageError where there is none of its kind; shows the kind alone."""
    kind = kind_at("log", url.partition(":")[0])
    if not kind:
        raise UsageError(f"a store is {first_schemes('log')}, and this address is neither.")
    return load_adapter(f"log.{kind}")
