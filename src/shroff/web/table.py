"""The table of all routes: declared operations, `ROUTES` of `web.api` and `web.pages`, and routes of plug-ins."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import TYPE_CHECKING

from shroff.runtime.entry_points import ROUTES as ADDED
from shroff.runtime.entry_points import installed
from shroff.web import api, pages
from shroff.web.api import operations
from shroff.web.http import openapi, static
from shroff.web.http.routes import Route

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions


def gathered(package: ModuleType) -> Iterator[Route]:
    """Import all modules of a package, sorted by name, and yield their routes."""
    for name in sorted(module.name for module in walk_packages(package.__path__, f"{package.__name__}.")):
        yield from getattr(import_module(name), "ROUTES", ())


BY_HAND = (*openapi.ROUTES, *gathered(api))
ROUTES = (*operations.routes(), *BY_HAND)
PAGES = (*static.ROUTES, *gathered(pages))


def table(definitions: Definitions | None = None) -> list[Route]:
    added = (route for routes_of in installed(ADDED).values() for route in routes_of(definitions))
    return [*operations.routes(), *BY_HAND, *PAGES, *added]
