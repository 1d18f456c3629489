"""Find the declared settings of adapters in all installed packages, by entry points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from shroff.errors import StateError, UsageError
from shroff.runtime.entry_points import SETTINGS, entries, own_points, package_of
from shroff.streams.settings import AdapterSettings

STALE = "shroff's code is newer than its installation: run 'pip install --no-deps -e .' in its folder."


def kinds(contract: str, named: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return the technologies of a contract: shroff's own in their order, then those of other packages by name.

    Other packages are not searched if shroff has all that are `named`.
    """
    own = tuple(own_settings(contract))
    if named is not None and set(named) <= set(own):
        return own
    head = f"{contract}."
    others = (name.removeprefix(head) for name in entries() if name.startswith(head))
    return (*own, *(kind for kind in others if kind not in own))


@cache
def own_settings(contract: str) -> Mapping[str, AdapterSettings]:
    """Return the declarations of shroff's own adapters by technology, in the order of the reference.

    Raises: StateError if shroff's installation is older than its code.
    """
    declared: dict[str, AdapterSettings] = {}
    for point in own_points():
        if _declares(point, contract):
            declared |= point.load()
    if own_points() and not any(point.group == SETTINGS for point in own_points()):
        raise StateError(STALE)
    return declared


@cache
def settings_of(contract: str, kind: str) -> AdapterSettings:
    """Return the declaration of an adapter. Raises: UsageError if it is not installed or cannot be loaded."""
    own = own_settings(contract)
    if kind in own:
        return own[kind]
    point = entries().get(f"{contract}.{kind}")
    if point is None:
        available = ", ".join(kinds(contract)) or "none"
        raise UsageError(f"no installed package has the adapter '{contract}.{kind}'; available: {available}.")
    name = f"the adapter {point.name!r} of the package {package_of(point)}"
    try:
        declared = _declared(point, contract, kind)
    except Exception as error:  # the import of another package may raise anything
        raise UsageError(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(declared, AdapterSettings):
        raise UsageError(f"{name} does not declare its settings: its class needs 'settings', an AdapterSettings.")
    return declared


def each_settings(contract: str) -> Iterator[tuple[str, AdapterSettings]]:
    """Yield the settings of all adapters of a contract; broken declarations are left out."""
    for kind in kinds(contract):
        try:
            yield kind, settings_of(contract, kind)
        except UsageError:
            continue


def kind_at(contract: str, scheme: str) -> str:
    """Return the technology whose addresses have this URL scheme; empty if there is none.

    Raises: UsageError if there is none, but the declaration of an installed package is broken.
    """
    for kind, setting in own_settings(contract).items():
        if scheme in setting.schemes:
            return kind
    broken: UsageError | None = None
    for kind in kinds(contract):
        try:
            if scheme in settings_of(contract, kind).schemes:
                return kind
        except UsageError as error:
            broken = error
    if broken is not None:
        raise broken
    return ""


def first_schemes(contract: str) -> str:
    """Join the first URL scheme of each technology of a contract, for messages."""
    return _listed(
        [f"{next(iter(settings.schemes))}://" for _, settings in each_settings(contract) if settings.schemes]
    )


def online_mistake(scheme: str) -> str:
    """Return the message for an address of online features whose scheme no adapter has."""
    schemes = [f"{scheme}://" for _, settings in each_settings("features") for scheme in settings.schemes]
    return f"online features are in {_listed(schemes)}, not {scheme}://."


def _listed(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _declared(point: EntryPoint, contract: str, kind: str) -> object:
    for entry_point in entry_points(group=SETTINGS):
        is_same = _declares(entry_point, contract) and package_of(entry_point) == package_of(point)
        if is_same:
            declarations = entry_point.load()
            if kind in declarations:
                return declarations[kind]
    return getattr(point.load(), "settings", None)


def _declares(point: EntryPoint, contract: str) -> bool:
    return point.group == SETTINGS and point.name.partition(".")[0] == contract
