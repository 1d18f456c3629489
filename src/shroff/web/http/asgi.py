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
from shroff.web.api.events import READ_AT_ONCE, post_one
from shroff.web.http.authentication import COOKIE
from shroff.web.http.concurrency_limits import SENDER, too_many
from shroff.web.http.connections import HEAD, WHOLE, Sending, SendWhole
from shroff.web.http.messages import FORM, FORM_BYTES_MAX, Request, WrittenJson, refused, whole
from shroff.web.http.problems import RETRY_AFTER, ProblemError, of_error
from shroff.web.http.routes import EVENTS, OPEN_BELOW, Route, by_path, pattern
from shroff.web.http.streaming import EVENTS as EVENT_STREAM
from shroff.web.pages import login
from shroff.web.pages.renderer import problem_page
from shroff.web.service import Service
from shroff.worker.request_queue import RETRY_S, TurnedAwayError

One = TypeVar("One")
PATH_LENGTH_MAX = 8_192
PART_BYTES = 256 * 1024  # of a response, sent at once
OF_SENDER_MAX = 1_000  # open requests, including those of disconnected clients
OF_ALL_MAX = 12_000
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
HEADS_MAX = 1_000  # of posted events that are remembered
HEAD_KEPT_MAX = 4 * 1024  # bytes of each
_MORE = frozenset(b"expect shroff-answered traceparent x-request-id".split())  # headers of more than a decision
_LAST = re.compile(r"([^{}]*)/{(\w+)}")
CSRF = "x-csrf-token"
SIGN_IN = Route("GET", "/login", None, login.ask)
_OPEN = tuple(f"/{folder}/" for folder in OPEN_BELOW)
_UNQUOTED = "!$&'()*+,;=:@"  # allowed unquoted in a path segment, like letters, digits and -._~
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
    """The ASGI application of one project: it finds the route, checks the caller, and runs the handler.

    Args:
        tell: Called with the message of an unexpected failure, which contains no data of the request.
    """

    def __init__(self, service: Service, routes: Iterable[Route], tell: Callable[[str], None]) -> None:
        self.service = service
        self.tell = tell
        self._under_way: dict[str, int] = {}  # open requests by sender
        self._count = 0  # open requests of all senders
        # Event type, key, and length of the body
        self._heads: dict[bytes, tuple[Route, str, str, int]] = {}
        resources = {path: Resource(self, by_method) for path, by_method in by_path(routes).items()}
        self._literal = {path: resource for path, resource in resources.items() if "{" not in path}
        self._last_parameter: dict[str, tuple[str, Resource]] = {}
        for path, resource in resources.items():
            match = _LAST.fullmatch(path)
            if match is not None:
                self._last_parameter[match[1]] = (match[2], resource)
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

    async def answer(self, by_method: Mapping[str, Route], request: Request, send: Send) -> None:
        began_s = time.perf_counter()
        name = "none"
        base = self.service.options.base
        try:
            request.check_head()
            if "x-request-id" in request.headers or traces.HEADER in request.headers:
                IDS.set(ids_of(request.headers))  # of this task, which answers one request
            if traces.is_on():
                traces.PARENT.set(request.headers.get(traces.HEADER, ""))
            route = await self._allowed(by_method, request)
            name = route.path
            sender = SENDER.get()
            self._admit(route, sender, None if route.right is None else request.who, request)
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
        except Exception as error:  # noqa: BLE001 - a failed request must not end the service
            response = self._refused(request, problem_of(error, name, self.tell))
        if base:
            put_below(response, base)
        if request.method == "HEAD":
            response.body = b""
        seconds = time.perf_counter() - began_s
        self.service.requests.add(request.method, name, response.status_code, seconds)
        is_short = request.method != "HEAD" and not request.leaves_body
        state = request.scope.get("state", {})
        if is_short and _is_sent_whole(response, state.get(WHOLE), seconds):
            if name == EVENTS and response.status_code == 200:
                self._remember(state[HEAD], by_method["POST"], request)
        else:
            await _sent(with_standing(response, seconds), request, send)

    def _remember(self, head: bytes, route: Route, request: Request) -> None:
        """Remember the head of an answered event, if it asks for no more than a decision."""
        headers = request.headers
        _, _, key = headers.get("authorization", "").partition(" ")
        length = whole(headers.get("content-length"))
        is_plain = not request.scope["query_string"] and _MORE.isdisjoint(name for name, _ in headers.raw)
        # With a line end that ends no header line, another parser could find another body
        is_whole = head.startswith(b"POST ") and len(head) <= HEAD_KEPT_MAX and head.count(b"\n") == len(headers.raw)
        if is_whole and key and is_plain and length is not None and length <= READ_AT_ONCE:
            if len(self._heads) >= HEADS_MAX:
                del self._heads[next(iter(self._heads))]  # the oldest
            self._heads[head] = route, request.path_params["event"], key.strip(), length

    def take(self, head: bytes, body: bytes, begin: Callable[[], Sending]) -> bool:
        """Answer a posted event whose head is known, now or later. If not, return False and count nothing.

        Parser, scope and task take half of the event loop's time of a posted event.
        """
        began_s = time.perf_counter()
        service = self.service
        known = self._heads.get(head)
        if known is None or service.settings.networks is not None:
            return False
        route, event, key, length = known
        if len(body) != length or not body.startswith(b"{"):
            return False
        try:
            who = service.gate.at_hand(key)
        except Exception:  # noqa: BLE001 - `__call__` meets it again, and answers after a pause
            return False
        if who is None:
            return False
        sender = who.id
        send_whole, start = begin()
        is_admitted = False
        posted: Callable[[], Response] | None = None

        def answer(response: Response) -> None:
            if is_admitted:
                self._leave(sender)
            seconds = time.perf_counter() - began_s
            service.requests.add("POST", EVENTS, response.status_code, seconds)
            if not _is_sent_whole(response, send_whole, seconds):
                start(with_standing(response, seconds))

        def told() -> None:
            nonlocal posted
            assert posted is not None
            try:
                response = posted()
            except Exception as error:  # noqa: BLE001 - a failed request must not end the service
                response = refused(problem_of(error, EVENTS, self.tell))
            posted = None  # breaks a cycle
            answer(response)

        try:
            self._admit(route, sender, who)
            is_admitted = True
            posted = post_one(service, event, body, sender, told)
        except Exception as error:  # noqa: BLE001 - a failed request must not end the service
            answer(refused(problem_of(error, EVENTS, self.tell)))
        return True

    def _admit(self, route: Route, sender: str, who: Who | None, request: Request | None = None) -> None:
        """Check whether a known caller may use a route, and count its request as open until `_leave`.


        Args:
            request: None for a known head, which has a key and no query.

        Raises: ProblemError with 403 or 400, with 429 if the sender has too many open, with 503 if all have.
        """
        if route.right is not None:
            assert who is not None
            who.require(route.right)
        if request is not None:
            if route.is_page and request.signed_in is None and not is_open(route.path):
                remedy = "use an API key only for addresses below /api"
                raise ProblemError(403, "not-a-person", "API keys cannot open pages", remedy)
            if request.scope["query_string"] and (request.method not in SAFE or route.is_strict):
                # Check the query before the handler writes anything
                route.check_query([name for name, _ in request.query_params.multi_items()])
        of_sender = self._under_way.get(sender, 0)
        if of_sender >= OF_SENDER_MAX:
            raise too_many(f"{OF_SENDER_MAX:,} requests of yours are not answered yet")
        if self._count >= OF_ALL_MAX:
            reason = f"{OF_ALL_MAX:,} requests are not answered yet"
            raise ProblemError(503, "overload", "Too many requests at once", reason, RETRY_AFTER)
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

    async def _allowed(self, by_method: Mapping[str, Route], request: Request) -> Route:
        """Return the route, and set the caller and the sender; `_admit` says whether they may use it.

        A browser without a session gets the sign-in page. Raises: ProblemError; the caller is identified first, so
        that only known callers learn which addresses exist.
        """
        route = by_method.get("GET" if request.method == "HEAD" else request.method)
        path = request.scope["path"]
        if not (f"{path}/".startswith(FOR_ALL) or self.service.is_allowed(request)):
            remedy = "ask an admin to add your network to web.networks in shroff.yaml"
            raise ProblemError(403, "outside-networks", "This address is not allowed", remedy)
        # The API document of an organization is only for its own callers
        is_for_all = is_open(path) and not (self.service.options.base and path.startswith("/api/"))
        if not is_for_all:
            try:
                request.who = await self._who(request)
            except ProblemError as error:
                if error.status != 401:
                    raise
                await asyncio.sleep(self.service.unknown.wait_s_of(network_of(request.address), 1))
                has_key = bool(request.headers.get("authorization"))
                is_for_page = route.is_page if route else not by_method and request.wants_page
                if is_for_page and not has_key:
                    return SIGN_IN
                raise
        if route is None:
            raise _missing(by_method)
        SENDER.set(network_of(request.address) if route.right is None else request.who.id)
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
        is_use = request.headers.get("accept") != EVENT_STREAM
        identify = partial(service.gate.signed_in, is_use=is_use, device=request.headers.get("user-agent", ""))
        signed_in = await self._looked_up(request, identify, token) if is_token else None
        if signed_in is None and "outside" in request.scope:
            raise _OutsiderError
        if signed_in is None:
            raise unknown("send a key as 'Authorization: Bearer KEY', or sign in")
        request.form_bytes_max = FORM_BYTES_MAX
        if request.method not in SAFE and not signed_in.is_own(await _csrf(request)):
            remedy = "a session's request that changes something needs the token of its page in X-CSRF-Token"
            raise ProblemError(403, "no-csrf", "The form was not sent from this service", remedy)
        request.signed_in = signed_in
        return signed_in.who

    async def _looked_up(self, request: Request, identify: Callable[[str], One], secret: str) -> One:
        SENDER.set(network_of(request.address))
        return await self.service.known(identify, secret)


class _OutsiderError(Exception):
    """The caller has neither an API key nor a role in this organization."""


class Resource:
    """Endpoint of a path, for Starlette's router.

    Args:
        by_method: The path's routes; empty for an unknown path.
    """

    def __init__(self, application: Application, by_method: Mapping[str, Route]) -> None:
        self._application = application
        self._by_method = by_method

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        request = Request(scope, receive, self._application.service.settings.proxies)
        return self._application.answer(self._by_method, request, send)


async def _csrf(request: Request) -> str:
    sent = request.headers.get(CSRF, "")
    if sent or request.media_type != FORM:
        return sent
    return (await request.form())["csrf"]


def problem_of(error: Exception, name: str, tell: Callable[[str], None]) -> ProblemError:
    """Return the problem for an error of route `name`. An unexpected error is logged with the id that it shows."""
    match error:
        case ProblemError():
            return error
        case TurnedAwayError():
            return turned_away(error)
        case ShroffError():
            problem = of_error(error)
            if problem.status != 500:
                return problem
            detail = str(error)
        case _:
            detail = "an internal error occurred"
    message = failure(f"{name}: {error}" if isinstance(error, ShroffError) else name, error)
    tell(message)
    id_ = message.fields["error_id"]
    detail = f"{detail.rstrip('.')}; its log has more under error {id_}"
    return ProblemError(500, "broken", "The service failed", detail, instance=f"urn:shroff:error:{id_}")


def _is_sent_whole(response: Response, send_whole: SendWhole | None, seconds: float) -> bool:
    if send_whole is None or not isinstance(response, WrittenJson) or not response.is_plain:
        return False
    if len(response.body) > PART_BYTES:
        return False
    lines = _WHOLE_LINES % (response.content_type, len(response.body), 1_000 * seconds)
    return send_whole(response.status_code, lines, bytes(response.body))


async def _sent(response: Response, request: Request, send: Send) -> None:
    """Send a response. If a part of the request's body is unread, discard it and close the connection."""
    if not request.leaves_body:
        body = getattr(response, "body", None)  # a stream has none
        in_parts = body is None or len(body) > PART_BYTES
        await response(request.scope, request.receive, partial(_in_parts, send) if in_parts else send)
        return
    response.headers["connection"] = "close"
    await response(request.scope, request.receive, lambda message: _in_parts(send, {**message, "more_body": True}))
    await request.discard()
    await send({"type": "http.response.body", "body": b""})


async def _in_parts(send: Send, message: Message) -> None:
    """Send a long body in parts, each when the connection is ready: 10 MB at once delay all other requests."""
    body = message.get("body", b"")
    while len(body) > PART_BYTES:
        await send({**message, "body": body[:PART_BYTES], "more_body": True})
        body = memoryview(body)[PART_BYTES:]
        message = {**message, "body": body}
        await asyncio.sleep(0)
    await send(message)


def with_standing(response: Response, seconds: float) -> Response:
    timing = (b"server-timing", b"total;dur=%.3f" % (1_000 * seconds))
    own = {name for name, _ in response.raw_headers}
    response.raw_headers += [line for line in STANDING if line[0] not in own]
    response.raw_headers.append(timing)
    return response


def put_below(response: Response, base: str) -> None:
    """Prefix the addresses of a response with the path of its organization, in pages and in their live updates."""
    linked = rb"\g<0>" + base.encode()
    if "location" in response.headers:
        response.headers["location"] = _HERE.sub(base, response.headers["location"])
    kind = response.headers.get("content-type", "")
    if isinstance(response, StreamingResponse):
        if kind == EVENT_STREAM:
            parts = response.body_iterator
            response.body_iterator = (_LINKED.sub(linked, part) async for part in parts if isinstance(part, bytes))
    elif kind.startswith("text/html"):
        response.body = _LINKED.sub(linked, response.body)
        response.headers["content-length"] = str(len(response.body))


_ELSEWHERE = r"/|(?:static|login|me|o)(?:[/?#\"\\]|$)"  # addresses that get no prefix
_HERE = re.compile(rf"^(?=/(?!{_ELSEWHERE}))")
_DATA = "check|count|names|news|peek|progress|updates|why"  # data attributes that hold an address
_LINKED = re.compile(rf' (?:href|src|action|data-(?:{_DATA}))=\\?"(?=/(?!{_ELSEWHERE}))'.encode())
FOR_ALL = ("/health/", "/confirm/", "/hooks/", "/static/")  # also for callers outside the allowed networks


def is_open(path: str) -> bool:
    return f"{path}/".startswith(_OPEN)


def _plain(scope: Scope) -> str:
    """Return the path in the quoting that routes use, for the router; empty if it is too long or cannot be decoded.

    Segments are decoded and quoted one by one: an id may contain a slash, written %2F.
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


def _missing(by_method: Mapping[str, Route]) -> ProblemError:
    if not by_method:
        detail = "this address does not exist; /api/docs lists the addresses of the API"
        return ProblemError(404, "not-found", "Page not found", detail)
    allowed = ", ".join(sorted({*by_method, *(["HEAD"] if "GET" in by_method else [])}))
    return ProblemError(405, "wrong-method", "Method not allowed", f"there is {allowed}", {"allow": allowed})


def unknown(detail: str) -> ProblemError:
    headers = {"www-authenticate": 'Bearer realm="shroff"'}
    return ProblemError(401, "who-asks", "Sign in, or send a key", detail, headers)


def turned_away(error: TurnedAwayError) -> ProblemError:
    """Return the problem of a rejected post: nothing was written, and the client may retry."""
    headers = {"retry-after": str(RETRY_S)}
    title = "The service is overloaded" if error.is_overload else "This service makes no decisions now"
    return ProblemError(503, "overload" if error.is_overload else "not-ready", title, str(error), headers)
