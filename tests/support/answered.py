"""Holds every answer of the API that a test gets against the schema that the OpenAPI document has for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import msgspec
from starlette import routing

from shroff.web.http.messages import LINES
from shroff.web.http.openapi import event_schema, openapi
from shroff.web.http.routes import Route, by_path, pattern

if TYPE_CHECKING:
    from shroff.events.definitions import Events
    from shroff.project.definitions import Definitions
    from tests.support.webs import Answered

JSON = "application/json"
SERVICES_KEPT = 64


class Paths:
    """Finds routes as Starlette's router does."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._resources = [(routing.Route(pattern(path), here.get), here) for path, here in by_path(routes).items()]

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str]]:
        """The route and its parameters; None where there is none."""
        scope = {"type": "http", "method": method, "path": path}
        for resource, here in self._resources:
            match, child = resource.matches(scope)
            if match is not routing.Match.NONE:
                return here.get(method), child["path_params"]
        return None, {}


class Schemas:
    """The schemas of one service's answers, in which what no schema names is a mistake, too."""

    def __init__(self, routes: Sequence[Route], definitions: Definitions) -> None:
        self._routes, self._definitions = routes, definitions
        self._paths = _paths_once(routes)
        self._document: dict[str, Any] = {}
        self._judges: dict[bytes, Any] = {}

    def check(self, method: str, path: str, answered: Answered) -> None:
        """Raises: AssertionError where an answer is not what the document says of its operation and status."""
        route, params = self._paths.find(method, path)
        if route is None or answered.status == 204:
            return
        operation = self._operation(route, params)
        kind = answered.headers["content-type"].partition(";")[0]
        if operation is None or method == "HEAD" or kind == "text/html":  # a problem as a page for people
            return
        what = f"{method} {route.path} {answered.status}"
        told = operation["responses"].get(str(answered.status))
        assert told is not None, f"{what}: the document has no such status"
        are_lines = kind == LINES
        content = told["content"].get(JSON if are_lines else kind)
        if content is None:  # bytes of any kind, such as a file of a case
            assert "application/octet-stream" in told["content"], f"{what}: the document does not know {kind}"
        elif "json" in kind:
            judge = self._judge(content["schema"])
            for line in answered.body.splitlines() if are_lines else [answered.body]:
                wrong = [error.message for error in judge.iter_errors(msgspec.json.decode(line))]
                assert not wrong, f"{what}: {wrong} in {line[:1_000]!r}"

    def _operation(self, route: Route, params: dict[str, str]) -> Any:
        if route.told is None:
            return None
        if not self._document:
            self._document, self._judges = _made_once(self._routes, self._definitions.events)
        path = route.path.replace("{event}", params["event"]) if route.told.is_by_event else route.path
        return (
            self._document["paths"].get(path, {}).get(route.method.lower())
        )  # None of an event type that is not there

    def _judge(self, schema: dict[str, Any]) -> Any:
        key = msgspec.json.encode(schema)
        if key not in self._judges:
            self._judges[key] = jsonschema_rs.validator_for({**schema, "components": self._document["components"]})
        return self._judges[key]


_PATHS: dict[tuple[int, ...], tuple[Sequence[Route], Paths]] = {}


def _paths_once(routes: Sequence[Route]) -> Paths:
    """The paths of these routes, which are kept, so that no other has their ids: services of tests share them."""
    key = (*map(id, routes),)
    if key not in _PATHS:
        _PATHS[key] = routes, Paths(routes)
        if len(_PATHS) > SERVICES_KEPT:
            del _PATHS[next(iter(_PATHS))]
    return _PATHS[key][1]


_MADE: dict[tuple[object, ...], tuple[list[Route], tuple[dict[str, Any], dict[bytes, Any]]]] = {}


def _made_once(routes: Sequence[Route], events: Events) -> tuple[dict[str, Any], dict[bytes, Any]]:
    """What `_read_once` gives of the document of these routes, which are kept, so that no other has their ids."""
    told = [route for route in routes if route.told is not None]
    types = msgspec.json.encode({name: event_schema(type_) for name, type_ in events.types.items()})
    key = *map(id, told), types
    if key not in _MADE:
        _MADE[key] = told, _read_once(msgspec.json.encode(openapi(routes, events)))
        if len(_MADE) > SERVICES_KEPT:
            del _MADE[next(iter(_MADE))]
    return _MADE[key][1]


@lru_cache(maxsize=SERVICES_KEPT)
def _read_once(document: bytes) -> tuple[dict[str, Any], dict[bytes, Any]]:
    """A document whose objects are closed, and what judges by its schemas: services of tests share a few."""
    return closed(msgspec.json.decode(document)), {}


def closed(schema: Any) -> Any:
    """The same, in which objects have no other properties than those that are named."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    is_open = schema.get("type") == "object" and "properties" in schema
    return ({"additionalProperties": False} if is_open else {}) | {name: closed(part) for name, part in schema.items()}
