"""The ASGI application: route (Starlette's router), then authentication and authorization, then the handler."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar
from urllib.parse import quote, unquote

from starlette import routing
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shroff.errors import ShroffError, SignInError
from shroff.people.access import Who, network_of
from shroff.people.store import TOKEN_LENGTH
from shroff.runtime import traces
from shroff.runtime.logs import IDS, failure, ids_of
from shroff.web.api import scim
from shroff.web.http.authentication import COOKIE
from shroff.web.http.concurrency_limits import SENDER, too_many
from shroff.web.http.connections import WHOLE
from shroff.web.http.messages import FORM, FORM_BYTES_MAX, Request, WrittenJson, refused
from shroff.web.http.problems import RETRY_AFTER, ProblemError, of_error
from shroff.web.http.routes import OPEN_BELOW, Route, by_path, pattern
from shroff.web.http.streaming import EVENTS
from shroff.web.pages import login
from shroff.web.pages.renderer import problem_page
from shroff.web.service import Service
from shroff.worker.request_queue import RETRY_S, TurnedAwayError

One = TypeVar("One")
PATH_LENGTH_MAX = 8_192
PART_BYTES = 256 * 1024  # of an answer, sent at once
OF_SENDER_MAX = 1_000  # requests at once, including those of clients that are gone
OF_ALL_MAX = 12_000
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LAST = re.compile(r"([^{}]*)/{(\w+)}")
CSRF = "x-csrf-token"
SIGN_IN = Route("GET", "/login", None, login.ask)
_OPEN = tuple(f"/{folder}/" for folder in OPEN_BELOW)
_UNQUOTED = "!$&'()*+,;=:@"  # what a segment may hold as it is, beside letters, digits and -._~
STANDING = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_WHOLE_LINES = b"".join(
    [
        b"content-type: %b\r\ncontent-length: %d\r\n",
        *[b"%b: %b\r\n" % line for line in STANDING],
        b"server-timing: total;dur=%.3f\r\n\r\n",
    ]
)


class Application:
    """Answers requests over ASGI: Starlette's router, with a resource at each path.

    Args:
        tell: Told of what failed without being meant to; nothing of a request stands in it.
    """

    def __init__(self, service: Service, routes: Iterable[Route], tell: Callable[[str], None]) -> None:
        self.service = service
        self.tell = tell
        self._under_way: dict[str, int] = {}  # open requests by sender
        self._count = 0  # of all
        resources = {path: Resource(self, here) for path, here in by_path(routes).items()}
        self._literal = {path: resource for path, resource in resources.items() if "{" not in path}
        self._last_parameter = {
            match[1]: (match[2], resource) for path, resource in resources.items() if (match := _LAST.fullmatch(path))
        }
        self._router = routing.Router(
            [routing.Route(pattern(path), resource) for path, resource in resources.items()],
            redirect_slashes=False,
            default=Resource(self, {}),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = _plain(scope)
        scope["path"] = path
        try:
            await self._endpoint(path, scope)(scope, receive, send)
        except Exception as error:
            self.tell(failure(scope["method"], error))
            raise

    def _endpoint(self, path: str, scope: Scope) -> ASGIApp:
        """Return the resource of a path by dictionary if it has no parameter but its last segment, else the router.

        The router tries patterns in turn, which costs a posted event 12 µs more.
        """
        literal = self._literal.get(path)
        if literal is not None:
            scope["path_params"] = {}
            return literal
        beginning, _, last = path.rpartition("/")
        name, resource = self._last_parameter.get(beginning, ("", None))
        if resource is None:
            return self._router
        scope["path_params"] = {name: unquote(last) if "%" in last else last}
        return resource

    async def answer(self, here: Mapping[str, Route], request: Request, send: Send) -> None:
        began_s = time.perf_counter()
        name = "none"
        base = self.service.options.base
        try:
            request.check_head()
            if "x-request-id" in request.headers or traces.HEADER in request.headers:
                IDS.set(ids_of(request.headers))  # of this task, which answers one request
            if traces.is_on():
                traces.PARENT.set(request.headers.get(traces.HEADER, ""))
            route = await self._allowed(here, request)
            name = route.path
            if request.scope["query_string"] and (request.method not in SAFE or route.is_strict):
                route.check_query(
                    [name for name, _ in request.query_params.multi_items()]
                )  # refused before anything is taken
            sender = SENDER.get()
            self._take(sender)
            try:
                response = await route.handle(self.service, request)
            finally:
                self._leave(sender)
        except ClientDisconnect:
            return
        except _OutsiderError:
            home, scope = request.scope["outside"]
            await home(scope, request.receive, send)
            return
        except Exception as error:  # noqa: BLE001 - the outermost of a request: the service goes on
            response = self._refused(request, problem_of(error, name, self.tell))
        if base:
            put_below(response, base)
        if request.method == "HEAD":
            response.body = b""
        seconds = time.perf_counter() - began_s
        self.service.requests.add(request.method, name, response.status_code, seconds)
        if not _is_sent_whole(response, request, seconds):
            await _sent(with_standing(response, seconds), request, send)

    def _take(self, sender: str) -> None:
        """Count a request that begins. Raises: ProblemError, 429 if its sender has too many, 503 if all have."""
        of_sender = self._under_way.get(sender, 0)
        if of_sender >= OF_SENDER_MAX:
            raise too_many(f"{OF_SENDER_MAX:,} requests of yours are not answered yet")
        if self._count >= OF_ALL_MAX:
            words = f"{OF_ALL_MAX:,} requests are not answered yet"
            raise ProblemError(503, "overload", "Too many requests at once", words, RETRY_AFTER)
        self._under_way[sender] = of_sender + 1
        self._count += 1

    def _leave(self, sender: str) -> None:
        self._count -= 1
        of_sender = self._under_way[sender]
        if of_sender > 1:
            self._under_way[sender] = of_sender - 1
        else:
            del self._under_way[sender]

    def _refused(self, request: Request, error: ProblemError) -> Response:
        if request.path.startswith(scim.PATH):
            return scim.refused(error)
        if request.signed_in is not None and request.wants_page:
            return problem_page(self.service, request, error)
        return refused(error)

    async def _allowed(self, here: Mapping[str, Route], request: Request) -> Route:
        """Return the route if the caller may use it. Raises: ProblemError, 401 before any other."""
        route = here.get("GET" if request.method == "HEAD" else request.method)
        path = request.scope["path"]
        if not (f"{path}/".startswith(FOR_ALL) or self.service.is_allowed(request)):
            words = "ask an admin to add your network to web.networks in shroff.yaml"
            raise ProblemError(403, "outside-networks", "This address is not allowed", words)
        is_for_all = is_open(path) and not (self.service.options.base and path.startswith("/api/"))
        if not is_for_all:  # what an organization's API is like is for its own people and programs
            try:
                request.who = await self._who(request)
            except ProblemError as error:
                has_key = bool(request.headers.get("authorization"))
                if error.status == 401:
                    await asyncio.sleep(self.service.unknown.wait_s_of(network_of(request.address), 1))
                if (
                    error.status == 401
                    and not has_key
                    and (route.is_page if route else not here and request.wants_page)
                ):
                    return SIGN_IN
                raise
        if route is None:
            raise _missing(here)
        SENDER.set(network_of(request.address) if route.right is None else request.who.id)
        if route.right is not None:
            request.who.require(route.right)
        if route.is_page and request.signed_in is None and not is_for_all:
            words = "use an API key only for addresses below /api"
            raise ProblemError(403, "not-a-person", "API keys cannot open pages", words)
        return route

    async def _who(self, request: Request) -> Who:
        service = self.service
        authorization = request.headers.get("authorization", "")
        if authorization:
            scheme, _, text = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise unknown("send a key as 'Authorization: Bearer KEY'")
            key = text.strip()
            try:
                at_hand = service.gate.at_hand(key)
                return at_hand if at_hand is not None else await self._looked_up(request, service.gate.who, key)
            except SignInError as error:
                raise unknown(str(error)) from None
        token = request.cookies.get(COOKIE, "")
        is_token = len(token) == TOKEN_LENGTH
        is_use = request.headers.get("accept") != EVENTS
        look = partial(service.gate.signed_in, is_use=is_use, device=request.headers.get("user-agent", ""))
        signed_in = await self._looked_up(request, look, token) if is_token else None
        if signed_in is None and "outside" in request.scope:
            raise _OutsiderError
        if signed_in is None:
            raise unknown("send a key as 'Authorization: Bearer KEY', or sign in")
        request.form_bytes_max = FORM_BYTES_MAX
        if request.method not in SAFE and not signed_in.is_own(await _csrf(request)):
            words = "a session's request that changes something needs the token of its page in X-CSRF-Token"
            raise ProblemError(403, "no-csrf", "The form was not sent from this service", words)
        request.signed_in = signed_in
        return signed_in.who

    async def _looked_up(self, request: Request, look: Callable[[str], One], shown: str) -> One:
        SENDER.set(network_of(request.address))
        return await self.service.known(look, shown)


class _OutsiderError(Exception):
    """The caller has neither an API key nor a role in this organization."""


class Resource:
    """Endpoint of a path, for Starlette's router.

    Args:
        here: The routes there by their methods; none where nothing is.
    """

    def __init__(self, application: Application, here: Mapping[str, Route]) -> None:
        self._application = application
        self._here = here

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        request = Request(scope, receive, self._application.service.settings.proxies)
        return self._application.answer(self._here, request, send)


async def _csrf(request: Request) -> str:
    """Return the token of a page's request, from a header or a form field."""
    sent = request.headers.get(CSRF, "")
    if sent or request.media_type != FORM:
        return sent
    return (await request.form())["csrf"]


def problem_of(error: Exception, name: str, tell: Callable[[str], None]) -> ProblemError:
    """Response to a request on a route that ended in an error; unexpected errors are logged."""
    match error:
        case ProblemError():
            return error
        case TurnedAwayError():
            return turned_away(error)
        case ShroffError():
            problem = of_error(error)
            if problem.status != 500:
                return problem
            words = str(error)
        case _:
            words = "an internal error occurred"
    told = failure(f"{name}: {error}" if isinstance(error, ShroffError) else name, error)
    tell(told)
    id_ = told.fields["error_id"]
    words = f"{words.rstrip('.')}; its log has more under error {id_}"
    return ProblemError(500, "broken", "The service failed", words, instance=f"urn:shroff:error:{id_}")


def _is_sent_whole(response: Response, request: Request, seconds: float) -> bool:
    if not isinstance(response, WrittenJson) or not response.is_plain or len(response.body) > PART_BYTES:
        return False
    send_whole = request.scope.get("state", {}).get(WHOLE)
    if send_whole is None or request.method == "HEAD" or request.leaves_body:
        return False
    lines = _WHOLE_LINES % (response.content_type, len(response.body), 1_000 * seconds)
    return bool(send_whole(response.status_code, lines, response.body))


async def _sent(response: Response, request: Request, send: Send) -> None:
    """Send an answer; where more of the request comes and nobody reads it, end the connection behind both."""
    if not request.leaves_body:
        body = getattr(response, "body", None)  # what streams has none
        in_parts = body is None or len(body) > PART_BYTES
        await response(request.scope, request.receive, partial(_in_parts, send) if in_parts else send)
        return
    response.headers["connection"] = "close"
    await response(request.scope, request.receive, lambda message: _in_parts(send, {**message, "more_body": True}))
    await request.discard()
    await send({"type": "http.response.body", "body": b""})


async def _in_parts(send: Send, message: Message) -> None:
    """Send a long body by and by, each part once the connection takes more: 10 MB at once hold up all others."""
    while len(body := message.get("body", b"")) > PART_BYTES:
        await send({**message, "body": body[:PART_BYTES], "more_body": True})
        message = {**message, "body": memoryview(body)[PART_BYTES:]}
        await asyncio.sleep(0)
    await send(message)


def with_standing(response: Response, seconds: float) -> Response:
    timing = (b"server-timing", b"total;dur=%.3f" % (1_000 * seconds))
    own = {name for name, _ in response.raw_headers}
    response.raw_headers += [line for line in STANDING if line[0] not in own]
    response.raw_headers.append(timing)
    return response


def put_below(response: Response, base: str) -> None:
    """Put the addresses of an answer below the path of its organization, on pages and in live updates of these."""
    linked = rb"\g<0>" + base.encode()
    if "location" in response.headers:
        response.headers["location"] = _HERE.sub(base, response.headers["location"])
    kind = response.headers.get("content-type", "")
    if isinstance(response, StreamingResponse):
        if kind == EVENTS:
            parts = response.body_iterator
            response.body_iterator = (_LINKED.sub(linked, part) async for part in parts if isinstance(part, bytes))
    elif kind.startswith("text/html"):
        response.body = _LINKED.sub(linked, response.body)
        response.headers["content-length"] = str(len(response.body))


_ELSEWHERE = r"/|(?:static|login|me|o)(?:[/?#\"\\]|$)"  # addresses of no organization
_HERE = re.compile(rf"^(?=/(?!{_ELSEWHERE}))")
_PLACES = "check|count|names|news|peek|progress|updates|why"  # data of pages that hold an address
_LINKED = re.compile(rf' (?:href|src|action|data-(?:{_PLACES}))=\\?"(?=/(?!{_ELSEWHERE}))'.encode())
FOR_ALL = ("/health/", "/confirm/", "/hooks/", "/static/")  # also outside of the networks that are set


def is_open(path: str) -> bool:
    return f"{path}/".startswith(_OPEN)


def _plain(scope: Scope) -> str:
    """The path as routes are written, for the router; empty, which is no path of ours, where it cannot be decoded.

    Each segment is decoded by itself and written anew: an id may hold a slash, written %2F.
    """
    raw: str = (scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0].decode("latin-1")
    if len(raw) > PATH_LENGTH_MAX:
        return ""
    if "%" not in raw:
        return raw
    try:
        return "/".join(quote(unquote(segment, errors="strict"), safe=_UNQUOTED) for segment in raw.split("/"))
    except UnicodeDecodeError:
        return ""


def _missing(here: Mapping[str, Route]) -> ProblemError:
    if not here:
        words = "this address does not exist; /api/docs lists the addresses of the API"
        return ProblemError(404, "not-found", "Page not found", words)
    allowed = ", ".join(sorted({*here, *(["HEAD"] if "GET" in here else [])}))
    return ProblemError(405, "wrong-method", "Method not allowed", f"there is {allowed}", {"allow": allowed})


def unknown(detail: str) -> ProblemError:
    headers = {"www-authenticate": 'Bearer realm="shroff"'}
    return ProblemError(401, "who-asks", "Sign in, or send a key", detail, headers)


def turned_away(error: TurnedAwayError) -> ProblemError:
    """Return the problem of a refused post: nothing was written, and the client may retry."""
    headers = {"retry-after": str(RETRY_S)}
    title = "The service is overloaded" if error.is_overload else "This service makes no decisions now"
    return ProblemError(503, "overload" if error.is_overload else "not-ready", title, str(error), headers)
