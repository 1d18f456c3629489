"""Declared settings of the adapters of all installed packages, found by entry points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from shroff.errors import StateError, UsageError
from shroff.runtime.entry_points import SETTINGS, entries, own_points, package_of
from shroff.streams.settings import AdapterSettings

STALE = "shroff's code is newer than its installation: run 'pip install --no-deps -e .' in its folder."


def kinds(contract: str, named: Iterable[str] | None = None) -> tuple[str, ...]:
    """The technologies of a contract that have settings: shroff's own in their order, then others by name.

    Of those that are `named` in a file, where shroff has all, other packages are not searched.
    """
    own = tuple(own_settings(contract))
    if named is not None and set(named) <= set(own):
        return own
    head = f"{contract}."
    others = (name.removeprefix(head) for name in entries() if name.startswith(head))
    return (*own, *(kind for kind in others if kind not in own))


@cache
def own_settings(contract: str) -> Mapping[str, AdapterSettings]:
    """Declarations of shroff's own adapters of a contract, in the order of the reference."""
    declared: dict[str, AdapterSettings] = {}
    for adapter in own_points():
        if _declares(adapter, contract):
            declared |= adapter.load()
    if own_points() and not declared:
        raise StateError(STALE)
    return declared


@cache
def settings_of(contract: str, kind: str) -> AdapterSettings:
    """Declaration of an adapter. Raises: UsageError where none is installed, or its declaration cannot be read."""
    if kind in (own := own_settings(contract)):
        return own[kind]
    found = entries().get(f"{contract}.{kind}")
    if found is None:
        there = ", ".join(kinds(contract))
        raise UsageError(f"no installed package has the adapter '{contract}.{kind}'; available: {there or 'none'}.")
    where = f"the adapter {found.name!r} of the package {package_of(found)}"
    try:
        declared = _declared(found, contract, kind)
    except Exception as error:  # whatever another package's import raises
        raise UsageError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(declared, AdapterSettings):
        raise UsageError(f"{where} does not declare its settings: its class needs 'settings', an AdapterSettings.")
    return declared


def each_settings(contract: str) -> Iterator[tuple[str, AdapterSettings]]:
    """Settings of all adapters of a contract; packages with broken declarations are left out."""
    for kind in kinds(contract):
        try:
            yield kind, settings_of(contract, kind)
        except UsageError:
            continue


def kind_at(contract: str, scheme: str) -> str:
    """The technology whose addresses begin with this scheme; empty where there is none.

    Raises: UsageError where there is none, and an installed package that might have it is broken.
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
    """URL schemes of a contract, for messages: one for each technology."""
    return _listed(
        [f"{next(iter(settings.schemes))}://" for _, settings in each_settings(contract) if settings.schemes]
    )


def online_mistake(scheme: str) -> str:
    """Why online features cannot be at an address that begins so."""
    schemes = [f"{scheme}://" for _, settings in each_settings("features") for scheme in settings.schemes]
    return f"online features are in {_listed(schemes)}, not {scheme}://."


def _listed(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _declared(point: EntryPoint, contract: str, kind: str) -> object:
    for entry_point in entry_points(group=SETTINGS):
        is_same = _declares(entry_point, contract) and package_of(entry_point) == package_of(point)
        if is_same and kind in (several := entry_point.load()):
            return several[kind]
    return getattr(point.load(), "settings", None)


def _declares(point: EntryPoint, contract: str) -> bool:
    return point.group == SETTINGS and point.name.partition(".")[0] == contract
