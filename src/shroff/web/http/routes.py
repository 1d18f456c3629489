"""The declaration of routes: address, required right, handler, and description for OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, get_args, get_origin, get_type_hints
from urllib.parse import quote, unquote

from msgspec import field
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response

from shroff.errors import nearest
from shroff.json_types import TextMapping
from shroff.operations.pagination import BadQueryError
from shroff.people.access import Right, check_known
from shroff.runtime.values import FrozenStruct, frozen
from shroff.web.http.messages import Json, Request

if TYPE_CHECKING:
    from shroff.web.service import Service

Handle: TypeAlias = "Callable[[Service, Request], Awaitable[Response]]"

_Doc = ParamSpec("_Doc")

API = "/api/v1"
EVENTS = f"{API}/events/{{event}}"
_PARAMETER = re.compile(r"{(\w+)}")
PAGED = {"limit": "Page size, 1 to 500. Default: 50.", "cursor": "`next` of the previous page."}
OPEN_BELOW = "health login confirm hooks static api/openapi.json api/docs".split()  # for everybody, without a key


class RouteDoc(FrozenStruct):
    """The OpenAPI description of a route.

    Args:
        meaning: Description of the successful response.
        body: Type of the request's body, or its schema if that depends on the project; None if there is no body.
        problems: Meaning of each further problem status; empty to use the text of `openapi.COMMON`. Every route with a
            right has 400, 401, 403, 500 and 503, every route with a body 408, 413 and 422.
        query: Description of each query parameter.
        required: Names of the required query parameters.
        may_lack_body: The body is optional.
        status: Status of the successful response.
        is_many: Body and response may be one object or a list.
        is_by_event: Document a path for each event type, with its schema.
        body_types: Media types of a body that is not JSON.
        answer: Type of the response, or its schema if that depends on the project. None takes the type of the `Json`
            that the handler returns, else text of `media_type`, which may name two types joined by `or`.
        others: Meaning and response type of each further status that is no problem.
    """

    summary: str
    meaning: str
    body: Any = None
    problems: Mapping[int, str] = field(default_factory=dict)
    query: TextMapping = field(default_factory=dict)
    headers: TextMapping = field(default_factory=dict)
    media_type: str = "text/plain"
    is_many: bool = False
    is_by_event: bool = False
    body_types: Sequence[str] = ()
    answer: Any = None
    others: Mapping[int, tuple[str, Any]] = field(default_factory=dict)
    required: Sequence[str] = ()
    may_lack_body: bool = False
    status: int = 200


GROUPS = ("Queue", "Explore", "Policy", "Learning", "Results", "System")


@frozen
class Screen:
    """A page of a group of the top bar, for users who may read it.

    Args:
        group: One of `GROUPS`; a group opens with its first page that a user may read.
        at: Order in the group.
        below: Further path prefixes that belong to this page.
    """

    name: str
    group: str
    at: int
    below: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_known("group of screens", self.group, GROUPS)


class Panel(FrozenStruct):
    """A panel on a page of another package, for users with the right of its route.

    Args:
        page: Path of that page's route, whose template includes its panels: `/cases/{id}`.
        template: In it, `path` and `query` are the address of the page, and `told` the result of the route's handler.
    """

    page: str
    template: str


class Route(FrozenStruct):
    """A method and path with its handler.

    Args:
        path: A segment in braces is a parameter: any text, also an empty one.
        right: Required right; None for addresses below `OPEN_BELOW` and for the user's own account.
        told: Description for OpenAPI; None for a page or file.
        screen: Entry of the page in the top bar.
        is_plain: Neither part of the API nor a page, such as a static file.
        panel: The panel whose form this route handles; the handler answers with `with_panel`.
        is_strict: Refuse query parameters that `told` does not name.
    """

    method: str
    path: str
    right: Right | None
    handle: Handle
    told: RouteDoc | None = None
    screen: Screen | None = None
    is_plain: bool = False
    panel: Panel | None = None
    is_strict: bool = False

    @property
    def is_page(self) -> bool:
        """Whether the route is a page: without a session it leads to the sign-in, and problems are shown as pages."""
        return self.told is None and not self.is_plain

    @property
    def answer(self) -> Any:
        """Type or schema of the successful response; None for text."""
        assert self.told is not None
        return _returned(self.handle) if self.told.answer is None else self.told.answer

    def check_query(self, names: Sequence[str]) -> None:
        """Check the names of a query; names that begin with `_`, which bypass caches, may be anything.

        Raises: BadQueryError for an unknown or repeated name, if the route is strict.
        """
        declared = {} if self.told is None else self.told.query
        for name in (name for name in names if self.is_strict and not name.startswith("_")):
            if name in declared and names.count(name) > 1:
                raise BadQueryError(f"{name} is there twice; give it once.")
            if name not in declared:
                takes = f"Its names are {', '.join(declared)}." if declared else "This address takes no query."
                raise BadQueryError(f"{name[:40]!r} is unknown. {nearest(name, declared)} {takes}".replace("  ", " "))

    @property
    def segments(self) -> list[str]:
        return self.path.split("/")[1:]


def _documented(doc: Callable[_Doc, RouteDoc]) -> Callable[[str, str, Right | None, Handle], Callable[_Doc, Route]]:
    def api(method: str, path: str, right: Right | None, handle: Handle) -> Callable[_Doc, Route]:
        """Declare a route of the API: `api(method, path below API, right, handler)(summary, meaning, ...)`.

        The second call takes the arguments of `RouteDoc`.
        """

        def route(*args: _Doc.args, **more: _Doc.kwargs) -> Route:
            return Route(method, API + path, right, handle, doc(*args, **more), is_strict=True)

        return route

    return api


api = _documented(RouteDoc)


@cache
def _returned(handle: Handle) -> Any:
    returned = SimpleNamespace(__annotations__={"return": handle.__annotations__["return"]})
    (hint,) = get_type_hints(returned, handle.__globals__, include_extras=True).values()
    return get_args(hint)[0] if get_origin(hint) is Json else None


class TextConvertor(Convertor[str]):
    """A path parameter: any text, also an empty one, or one with a slash, written %2F."""

    regex = "[^/]*"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


register_url_convertor("text", TextConvertor())


def by_path(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    """Group routes by path and method, in the order in which the router tries the paths.

    Posted events come first because they are most frequent, then literal segments before parameters.
    """
    route_by_method: dict[str, dict[str, Route]] = {}
    for route in routes:
        methods = route_by_method.setdefault(route.path, {})
        assert route.method not in methods, f"{route.method} {route.path} is declared twice"
        methods[route.method] = route
    return dict(sorted(route_by_method.items(), key=lambda item: (item[0] != EVENTS, _PARAMETER.sub("~", item[0]))))


def pattern(path: str) -> str:
    return _PARAMETER.sub(r"{\1:text}", path)
