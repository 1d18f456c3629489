"""The short way of one event: posted as JSON by a key that is known, it is read, put in line and answered.

Most requests are of this kind, and a task, a scope and two messages for each take longer than deciding it. Whatever is
not quite so (a list, a header that asks for more, a key to be looked up, a mistake) goes the way of all requests,
`web.http.asgi`, which is also what these are answered like.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from shroff.errors import SignInError, TransientError
from shroff.people.access import Right
from shroff.runtime import traces
from shroff.runtime.logs import IDS, ids_of
from shroff.web.api.events import JSON_TYPES, READ_AT_ONCE, event_response
from shroff.web.http.asgi import problem_of, with_standing
from shroff.web.http.messages import refused
from shroff.web.http.routes import API
from shroff.worker.request_loop import AWAY, PATIENCE_S
from shroff.worker.request_queue import PendingRequest, TurnedAwayError

if TYPE_CHECKING:
    from shroff.people.access import Who
    from shroff.web.http.asgi import Application

Headers = Sequence[tuple[bytes, bytes]]
RouteDoc = Callable[[Response], None]

_ROUTE: Final = f"{API}/events/{{event}}"
_BELOW: Final = f"{API}/events/".encode()
_LONG: Final = frozenset(  # and the first two, where they stand twice
    [b"authorization", b"content-type", b"shroff-answered", b"transfer-encoding", b"expect", b"content-encoding"]
)


class ShortWay:
    """Takes requests of an application, on the thread of its event loop."""

    def __init__(self, application: Application) -> None:
        self._application, self._service = application, application.service

    def is_open(self, method: bytes, url: bytes) -> bool:
        """Whether a request might go this way, by its first line."""
        return method == b"POST" and url.startswith(_BELOW)

    def take(self, url: bytes, headers: Headers, body: bytes, told: RouteDoc) -> bool:
        """Take a whole request; False, and nothing done, where it goes the long way.

        `told` is given the answer later, on this thread.
        """
        began_s, service = time.perf_counter(), self._service
        reader, name = service.reader, url[len(_BELOW) :].decode("latin-1")
        if reader is None or name not in reader.definitions.events.types or not 0 < len(body) <= READ_AT_ONCE:
            return False
        who = self._who(headers)
        if who is None or not body.startswith(b"{"):
            return False
        one = reader.one(name, body, who.id)
        if one.event is None or service.pace.wait_s(who, 1) > 0:
            return False
        waiting = _Waiting(self._application, told, began_s, headers)
        post = PendingRequest((one,), reader, waiting.answer)
        waiting.post = post
        if traces.is_on():
            post.trace = traces.parent_in([(name.decode("latin-1"), value) for name, value in headers])
        try:
            service.queue.put(post)
        except TurnedAwayError as error:
            waiting.refuse(error)
        else:
            waiting.late = asyncio.get_running_loop().call_later(PATIENCE_S, waiting.answer)
        return True

    def _who(self, headers: Headers) -> Who | None:
        """Who sent it, where that is known and they may, and nothing in the headers asks for more than a decision."""
        key = media_type = b""
        for name, value in headers:
            if name == b"authorization" and not key:
                scheme, _, key = value.partition(b" ")
                if scheme.lower() != b"bearer":
                    return None
            elif name == b"content-type" and not media_type:
                media_type = value
            elif name in _LONG:
                return None
        if media_type.decode("latin-1") not in JSON_TYPES or not key:
            return None
        try:
            who = self._service.gate.at_hand(key.strip().decode("latin-1"))
        except SignInError:
            return None
        return who if who is not None and who.may(Right.SUBMIT_EVENTS) else None


class _Waiting:
    """A request that waits for its answer."""

    __slots__ = ("_application", "_began_s", "_headers", "_told", "late", "post")

    def __init__(self, application: Application, told: RouteDoc, began_s: float, headers: Headers) -> None:
        self._application, self._told, self._began_s, self._headers = application, told, began_s, headers
        self.late: asyncio.TimerHandle | None = None
        self.post: PendingRequest | None = None

    def answer(self) -> None:
        """Say what came of it: called when that is known, and when it was waited for long enough."""
        post, self.post = self.post, None
        if post is None:
            return
        if self.late is not None:
            self.late.cancel()
        if not post.answers:
            self.refuse(TransientError(post.failure or AWAY))
            return
        try:
            response = event_response(post.answers[0])
        except Exception as error:  # noqa: BLE001 - the outermost of a request, as in `web.http.asgi`
            self.refuse(error)
        else:
            self._say(response)

    def refuse(self, error: Exception) -> None:
        """Say why there is no decision."""
        self.post = None
        token = IDS.set(ids_of({name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers}))
        self._say(refused(problem_of(error, _ROUTE, self._application.tell)))
        IDS.reset(token)

    def _say(self, response: Response) -> None:
        seconds = time.perf_counter() - self._began_s
        self._application.service.requests.add("POST", _ROUTE, response.status_code, seconds)
        self._told(with_standing(response, seconds))


def wire(response: Response, more: Headers, *, is_kept: bool) -> bytes:
    """A whole answer as it goes over the wire.

    Args:
        more: Headers that the server itself has.
        is_kept: Whether the connection stays.
    """
    status = HTTPStatus(response.status_code)
    parts = [b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode())]
    parts += [b"%s: %s\r\n" % header for header in (*more, *response.raw_headers)]
    if not is_kept:
        parts.append(b"connection: close\r\n")
    return b"".join((*parts, b"\r\n", response.body))
