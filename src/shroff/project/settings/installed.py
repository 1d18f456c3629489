"""Adapters of all installed packages with their declared settings, found by entry points.

A lookup begins with shroff's own adapters, which takes 4 ms. Packages beside it are searched only for a technology
that shroff has not, for the schema and for the reference, which takes 10 to 30 ms. A name of shroff's own adapters
cannot be taken by another package.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any, Final

from shroff.errors import StateError, UsageError
from shroff.streams.settings import AdapterSettings

PACKAGE: Final = "shroff"
ADAPTERS: Final = "shroff.adapters"  # entry points CONTRACT.TECHNOLOGY: the adapter
IMPORTERS: Final = "shroff.importers"  # entry points rules.SYSTEM or model.FORMAT: a function
FILES: Final = "shroff.files"  # entry points KIND: an AddedFile
CHECKS: Final = "shroff.checks"  # entry points NAME: a class over an opened project, with `tries` and `values`
EXPORTERS: Final = "shroff.exporters"  # entry points NAME: a function that exports what `shroff export` names
FIGURES: Final = "shroff.figures"  # entry point `counted`: what counts the figures of reports
KERNELS: Final = "shroff.kernels"  # entry points NAME: kernels as `module:function function`
JOBS: Final = "shroff.jobs"  # entry points KIND: a JobKind
ROUTES: Final = "shroff.routes"  # entry points NAME: a function that gives routes
STALE: Final = "shroff's code is newer than its installation: run 'pip install --no-deps -e .' in its folder."
SETTINGS: Final = "shroff.settings"  # entry points CONTRACT or CONTRACT.NAME: a mapping of technologies to declarations


@cache
def _own() -> tuple[EntryPoint, ...]:
    try:
        return tuple(distribution(PACKAGE).entry_points)
    except PackageNotFoundError:
        return ()


@cache
def adapters(group: str = ADAPTERS) -> Mapping[str, EntryPoint]:
    """All adapters, or importers, by contract and technology.

    Raises: UsageError where two packages have one of the same name.
    """
    found = {adapter.name: adapter for adapter in _own() if adapter.group == group}
    own = set(found)
    for entry_point in sorted(entry_points(group=group), key=lambda point: point.name):
        if entry_point.name in own:
            continue
        if entry_point.name in found:
            both = " and ".join(sorted({_package(entry_point), _package(found[entry_point.name])}))
            raise UsageError(f"the packages {both} both have an adapter {entry_point.name!r}: uninstall one of them.")
        found[entry_point.name] = entry_point
    return found


def adapter_point(name: str, group: str = ADAPTERS) -> EntryPoint | None:
    """The entry point of an adapter; None where no installed package has it."""
    own = next((adapter for adapter in _own() if adapter.group == group and adapter.name == name), None)
    return own or adapters(group).get(name)


@cache
def installed(group: str) -> Mapping[str, Any]:
    """Everything that the entry points of a group name, loaded. Raises: UsageError naming a package that is broken."""
    found = {}
    for name, point in adapters(group).items():
        try:
            found[name] = point.load()
        except Exception as error:  # whatever another package's import raises
            words = f"{type(error).__name__}: {error}"
            raise UsageError(f"{group} {name!r} of the package {_package(point)} cannot be loaded: {words}") from error
    return found


def kinds(contract: str, named: Iterable[str] | None = None) -> tuple[str, ...]:
    """The technologies of a contract that have settings: shroff's own in their order, then others by name.

    Of those that are `named` in a file, where shroff has all, other packages are not searched.
    """
    own = tuple(own_settings(contract))
    if named is not None and set(named) <= set(own):
        return own
    head = f"{contract}."
    others = (name.removeprefix(head) for name in adapters() if name.startswith(head))
    return (*own, *(kind for kind in others if kind not in own))


@cache
def own_settings(contract: str) -> Mapping[str, AdapterSettings]:
    """Declarations of shroff's own adapters of a contract, in the order of the reference."""
    declared: dict[str, AdapterSettings] = {}
    for adapter in _own():
        if _declares(adapter, contract):
            declared |= adapter.load()
    if _own() and not declared:
        raise StateError(STALE)
    return declared


@cache
def settings_of(contract: str, kind: str) -> AdapterSettings:
    """Declaration of an adapter. Raises: UsageError where none is installed, or its declaration cannot be read."""
    if kind in (own := own_settings(contract)):
        return own[kind]
    found = adapters().get(f"{contract}.{kind}")
    if found is None:
        there = ", ".join(kinds(contract))
        raise UsageError(f"no installed package has the adapter '{contract}.{kind}'; available: {there or 'none'}.")
    where = f"the adapter {found.name!r} of the package {_package(found)}"
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
        is_same = _declares(entry_point, contract) and _package(entry_point) == _package(point)
        if is_same and kind in (several := entry_point.load()):
            return several[kind]
    return getattr(point.load(), "settings", None)


def _declares(point: EntryPoint, contract: str) -> bool:
    return point.group == SETTINGS and point.name.partition(".")[0] == contract


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
