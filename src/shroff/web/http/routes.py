"""Routes, each with the right that it takes, in the order of Starlette's router. What is in no `ROUTES` is refused."""

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
OPEN_BELOW = "health login confirm hooks static api/openapi.json api/docs".split()  # for anybody


class RouteDoc(FrozenStruct):
    """The OpenAPI description of a route, beside its path.

    Args:
        meaning: Of the answer where all went well.
        body: The type of what is sent, or its schema where only the project knows it; None where nothing is.
        problems: What each further status means here; empty where `openapi.COMMON` says it. All routes that take a
            right have 400, 401, 403, 500 and 503, and all with a body 408, 413 and 422.
        required: The names of the query that must be there.
        may_lack_body: Nothing has to be sent.
        status: Of the answer where all went well.
        is_many: What is sent, and the answer, may be one or a list.
        is_by_event: There is a path for each event type, with its schema.
        body_types: What the body may be where it is no JSON.
        answer: Its type, or its schema where only the project knows it. Left out, it is what the handler returns: the
            type of its `Json`, else a text of `media_type`, or of one `or` another.
        others: What each further status means that is no problem, and the type of its answer.
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
        below: Beginnings of other paths that belong to this page.
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
        template: `path` and `query` are the address of the page, and `told` the values of the route's handler.
    """

    page: str
    template: str


class Route(FrozenStruct):
    """One thing that can be asked for.

    Args:
        path: Segments in braces take any text, which may be empty.
        right: What it takes; None for what anybody may ask, below `OPEN_BELOW`, and for one's own account.
        told: For the document; None for what is no part of the API.
        is_plain: It is no part of the API, and no page either: a file, or a document for programs.
        panel: Where its form stands; its handler answers with `with_panel`.
        is_strict: A query with a name that `told` does not have is refused.
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
        """A route for people: without a session it leads to the sign-in, and problems are pages."""
        return self.told is None and not self.is_plain

    @property
    def answer(self) -> Any:
        """The type of what is answered where all goes well, or its schema; None for a text."""
        assert self.told is not None
        return _returned(self.handle) if self.told.answer is None else self.told.answer

    def check_query(self, names: Sequence[str]) -> None:
        """Raises: BadQueryError for a name that is unknown or doubled; those that begin with `_` keep caches away."""
        known = {} if self.told is None else self.told.query
        for name in (name for name in names if self.is_strict and not name.startswith("_")):
            if name in known and names.count(name) > 1:
                raise BadQueryError(f"{name} is there twice; give it once.")
            if name not in known:
                takes = f"Its names are {', '.join(known)}." if known else "This address takes no query."
                raise BadQueryError(f"{name[:40]!r} is unknown. {nearest(name, known)} {takes}".replace("  ", " "))

    @property
    def segments(self) -> list[str]:
        return self.path.split("/")[1:]


def _documented(doc: Callable[_Doc, RouteDoc]) -> Callable[[str, str, Right | None, Handle], Callable[_Doc, Route]]:
    def api(method: str, path: str, right: Right | None, handle: Handle) -> Callable[_Doc, Route]:
        """A route of the API: `api(method, path below API, right, handler)(summary, answer, ...)`, as `RouteDoc` takes.

        Args:
            right: What it takes; None for what anybody may ask, below `OPEN_BELOW`, and for one's own account.
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
    """A parameter of a path: any text, which may be empty or hold a slash, written %2F."""

    regex = "[^/]*"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


register_url_convertor("text", TextConvertor())


def by_path(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    """Routes by the path and method of each, in the order in which a router tries paths.

    Events first, which programs send all day; literal segments before parameters.
    """
    found: dict[str, dict[str, Route]] = {}
    for route in routes:
        methods = found.setdefault(route.path, {})
        assert route.method not in methods, f"{route.method} {route.path} is declared twice"
        methods[route.method] = route
    return dict(sorted(found.items(), key=lambda item: (item[0] != EVENTS, _PARAMETER.sub("~", item[0]))))


def pattern(path: str) -> str:
    return _PARAMETER.sub(r"{\1:text}", path)
