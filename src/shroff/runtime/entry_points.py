"""Entry points that installed packages add to shroff: shroff's own first, then those of other packages.

Reading shroff's own takes 4 ms. Other packages are searched, which takes 10 to 30 ms, only for a name that shroff does
not have, or to list all names. Another package cannot take a name of shroff's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any

from shroff.errors import UsageError
from shroff.json_types import JsonMapping

PACKAGE = "shroff"
# The groups, with the form of the names and what they refer to; docs/reference/plugins.md.
ADAPTERS = "shroff.adapters"  # CONTRACT.TECHNOLOGY: the adapter
CHECKS = "shroff.checks"  # NAME: a class over an opened project, with `tries` and `values`
EXPORTERS = "shroff.exporters"  # NAME: a function that exports what `shroff export` names
FILES = "shroff.files"  # KIND of KIND.yaml: an AddedFile
IMPORTERS = "shroff.importers"  # rules.SYSTEM or model.FORMAT: a function
JOBS = "shroff.jobs"  # KIND: a JobKind
KERNELS = "shroff.kernels"  # NAME: kernels as `module:function function`
KEYS = "shroff.keys"  # KEY of shroff.yaml: an AddedKey
LEARNERS = "shroff.learners"  # NAME: a function of TrainingRows and LearningPlan
METRICS = "shroff.metrics"  # NAME: a Metric that computes
OPERATIONS = "shroff.operations"  # NAME: words with their modules and help
REPORTS = "shroff.reports"  # NAME of a mail's text: an AddedReport
ROUTES = "shroff.routes"  # NAME: a function that gives routes
SETTINGS = "shroff.settings"  # CONTRACT or CONTRACT.NAME: a mapping of technologies to declarations


@cache
def own_points() -> tuple[EntryPoint, ...]:
    """Return the entry points of shroff itself, of all groups; empty if shroff is not installed."""
    try:
        return tuple(distribution(PACKAGE).entry_points)
    except PackageNotFoundError:
        return ()


@cache
def entries(group: str = ADAPTERS) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group by name, of all packages.

    Raises: UsageError if two packages have the same name.
    """
    points = {point.name: point for point in own_points() if point.group == group}
    own_names = set(points)
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        if point.name in own_names:
            continue
        if point.name in points:
            both = " and ".join(sorted({package_of(point), package_of(points[point.name])}))
            raise UsageError(f"the packages {both} both have an adapter {point.name!r}: uninstall one of them.")
        points[point.name] = point
    return points


def entry_point(name: str, group: str = ADAPTERS) -> EntryPoint | None:
    """Return the entry point of this name; None if no installed package has it."""
    own_entry = next((point for point in own_points() if point.group == group and point.name == name), None)
    return own_entry or entries(group).get(name)


def load_entry(name: str, group: str = ADAPTERS) -> Any:
    """Load the object of an entry point. Raises: UsageError if no installed package has the name."""
    point = entry_point(name, group)
    if point is None:
        raise UsageError(f"no adapter {name!r} is installed; there is {', '.join(sorted(entries(group))) or 'none'}.")
    return point.load()


@cache
def installed(group: str) -> JsonMapping:
    """Load everything that the entry points of a group name. Raises: UsageError naming a broken package."""
    objects = {}
    for name, point in entries(group).items():
        try:
            objects[name] = point.load()
        except Exception as error:  # whatever another package's import raises
            where = f"{group} {name!r} of the package {package_of(point)}"
            raise UsageError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    return objects


def package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
