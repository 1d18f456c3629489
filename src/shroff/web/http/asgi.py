"""The application: who asks is settled first, then what is asked, then whether they may, and only then is it done."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar
from urllib.parse import unquote

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from shroff.errors import ShroffError, SignInError
from shroff.people.access import Who
from shroff.people.desk import TOKEN_LENGTH
from shroff.people.throttle import network_of
from shroff.runtime import traces
from shroff.runtime.logs import IDS, failure, ids_of
from shroff.web.http.connections import Connections
from shroff.web.http.gate import COOKIE
from shroff.web.http.messages import FORM, FORM_BYTES_MAX, Request, refused
from shroff.web.http.problems import ProblemError, of_error
from shroff.web.http.routes import OPEN_BELOW, Route, Table
from shroff.web.http.streaming import EVENTS
from shroff.web.http.turns import SENDER, too_many
from shroff.web.pages import signing
from shroff.web.pages.rendering import problem_page
from shroff.web.service import Service
from shroff.worker.request_queue import RETRY_S, TurnedAwayError

One = TypeVar("One")
PATH_LENGTH_MAX: Final = 8_192
PART_BYTES: Final = 256 * 1024  # of an answer, sent at once
OF_SENDER_MAX: Final = 1_000  # requests at once, also of clients that are gone: they are answered all the same
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF: Final = "x-csrf-token"
SIGN_IN: Final = Route("GET", "/login", None, signing.ask, is_page=True)
_OPEN: Final = [one.split("/") for one in OPEN_BELOW]
STANDING: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class Application:
    """Answers requests over ASGI.

    Args:
        tell: Told of what failed without being meant to; nothing of a request stands in it.
    """

    def __init__(self, service: Service, table: Table, tell: Callable[[str], None]) -> None:
        self.service, self.tell = service, tell
        self.connections = Connections()
        self._under_way: Counter[str] = Counter()  # requests that are not answered yet, by their senders
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._answer(scope, receive, send)
        except Exception as error:
            self.tell(failure(scope["method"], error))
            raise

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = time.perf_counter()
        request = Request(scope, receive, self.service.proxies)
        name = "none"
        IDS.set(ids_of(request.headers))  # of this task, which answers one request
        if traces.is_on():
            traces.PARENT.set(request.headers.get(traces.HEADER, ""))
        try:
            route = await self._route(request)
            name = route.path
            if request.method not in SAFE:
                _ = request.query_params  # one that cannot be read is refused before anything is taken
            with self._counted(SENDER.get()):
                response = await route.handle(self.service, request)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - the outermost of a request: the service goes on
            response = self._refused(request, problem_of(error, name, self.tell))
        if request.leaves_body:
            response.headers["connection"] = "close"
        if request.method == "HEAD":
            response.body = b""
        seconds = time.perf_counter() - began_s
        self.service.requests.add(request.method, name, response.status_code, seconds)
        await with_standing(response, seconds)(scope, receive, partial(_in_parts, send))

    @contextmanager
    def _counted(self, sender: str) -> Iterator[None]:
        """Count a request while it is answered. Raises: ProblemError with 429 where its sender has too many."""
        if self._under_way[sender] >= OF_SENDER_MAX:
            raise too_many(f"{OF_SENDER_MAX:,} requests of yours are not answered yet")
        self._under_way[sender] += 1
        try:
            yield
        finally:
            self._under_way[sender] -= 1
            if not self._under_way[sender]:
                del self._under_way[sender]

    def _refused(self, request: Request, error: ProblemError) -> Response:
        """A problem, as a page for whoever looks at pages."""
        if request.signed_in is not None and request.wants_page:
            return problem_page(self.service, request, error)
        return refused(error)

    async def _route(self, request: Request) -> Route:
        """What is to be done, by somebody who may. Raises: ProblemError, 401 before anything else is looked at."""
        segments = _segments(request.path)
        if not is_open(segments):
            try:
                request.who = await self._who(request)
            except ProblemError as error:
                has_key = bool(request.headers.get("authorization"))
                if error.status == 401:
                    await asyncio.sleep(self.service.unknown.wait_s_of(network_of(request.address), 1))
                if error.status == 401 and not has_key and self._table.is_page(request.method, segments):
                    return SIGN_IN
                raise
        route, request.scope["path_params"] = self._table.find(request.method, segments)
        SENDER.set(network_of(request.address) if route.right is None else request.who.id)
        if route.right is not None:
            request.who.require(route.right)
            if route.is_page and request.signed_in is None:
                raise ProblemError(
                    403, "not-a-person", "API keys cannot open pages", "use an API key only for addresses below /api"
                )
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
        is_token, is_use = len(token) == TOKEN_LENGTH, request.headers.get("accept") != EVENTS
        look = partial(service.gate.signed_in, is_use=is_use)
        signed_in = await self._looked_up(request, look, token) if is_token else None
        if signed_in is None:
            raise unknown("send a key as 'Authorization: Bearer KEY', or sign in")
        request.form_bytes_max = FORM_BYTES_MAX
        if request.method not in SAFE and not signed_in.is_own(await _csrf(request)):
            words = "a session's request that changes something needs the token of its page in X-CSRF-Token"
            raise ProblemError(403, "no-csrf", "The form was not sent from this service", words)
        request.signed_in = signed_in
        return signed_in.who

    async def _looked_up(self, request: Request, look: Callable[[str], One], shown: str) -> One:
        """What the gate says of a key or token, one question of a network at a time."""
        SENDER.set(network_of(request.address))
        return await self.service.known(look, shown)


async def _csrf(request: Request) -> str:
    """The token that a page sends along: in a header, or in a field of a form."""
    sent = request.headers.get(CSRF, "")
    if sent or request.media_type != FORM:
        return sent
    return (await request.form()).get("csrf", "")


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


async def _in_parts(send: Send, message: Message) -> None:
    """Send a long body by and by, each part once the connection takes more: 10 MB at once hold up all others."""
    while len(body := message.get("body", b"")) > PART_BYTES:
        await send({**message, "body": body[:PART_BYTES], "more_body": True})
        message = {**message, "body": memoryview(body)[PART_BYTES:]}
        await asyncio.sleep(0)
    await send(message)


def with_standing(response: Response, seconds: float) -> Response:
    """The answer with the headers that all have, and how long it took."""
    timing = (b"server-timing", b"total;dur=%.3f" % (1_000 * seconds))
    own = {name for name, _ in response.raw_headers}
    response.raw_headers += [*(one for one in STANDING if one[0] not in own), timing]
    return response


def is_open(segments: Sequence[str]) -> bool:
    """Whether anybody may ask for what is there."""
    return any(list(segments[: len(one)]) == one for one in _OPEN)


def _segments(path: str) -> list[str]:
    """The parts of a path, each decoded by itself: an id may hold a slash, written %2F.

    What cannot be decoded is no path of ours.
    """
    if len(path) > PATH_LENGTH_MAX:
        return ["", "too long"]
    try:
        return [unquote(one, errors="strict") for one in path.split("/")[1:]]
    except UnicodeDecodeError:
        return ["", "not UTF-8"]


def unknown(detail: str) -> ProblemError:
    """The problem of a request of which nobody knows whose it is."""
    headers = {"www-authenticate": 'Bearer realm="shroff"'}
    return ProblemError(401, "who-asks", "Sign in, or send a key", detail, headers)


def turned_away(error: TurnedAwayError) -> ProblemError:
    """The problem of a post that was not taken: nothing of it was written, and it may come again."""
    headers = {"retry-after": str(RETRY_S)}
    title = "The service is overloaded" if error.is_overload else "This service makes no decisions now"
    return ProblemError(503, "overload" if error.is_overload else "not-ready", title, str(error), headers)
