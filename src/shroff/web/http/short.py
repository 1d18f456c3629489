"""The short way of one event: posted as JSON by a key that is known, it is read, put in line and answered.

Most requests are of this kind, and a task, a scope and two messages for each take longer than deciding it. Whatever is
not quite so (a list, a header that asks for more, a key to be looked up, a mistake) goes the way of all requests,
`web.http.asgi`, which is also what these are answered like.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

from starlette.responses import Response

from shroff.errors import SignInError, TransientError
from shroff.people.access import Right
from shroff.runtime import traces
from shroff.runtime.logs import IDS, ids_of
from shroff.web.api.events import JSON_TYPES, READ_AT_ONCE, event_response
from shroff.web.http.asgi import STANDING, problem_of, with_standing
from shroff.web.http.messages import refused
from shroff.web.http.routes import API
from shroff.worker.request_loop import AWAY, PATIENCE_S
from shroff.worker.request_queue import PendingRequest, TurnedAwayError

if TYPE_CHECKING:
    from shroff.people.access import Who
    from shroff.web.http.asgi import Application

Headers = Sequence[tuple[bytes, bytes]]

_ROUTE: Final = f"{API}/events/{{event}}"
_BELOW: Final = f"{API}/events/".encode()
_LONG: Final = frozenset(  # and the first two, where they stand twice
    [b"authorization", b"content-type", b"shroff-answered", b"transfer-encoding", b"expect", b"content-encoding"]
)


_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]{1,6})\r\n", re.IGNORECASE)
_DIGITS_MAX: Final = 6


class AnswerTo(Protocol):
    """Writes the answer to a request."""

    def answer(self, response: Response) -> None:
        """Write this one."""

    def decided(self, document: bytes, seconds: float) -> None:
        """Write a decision that took so long."""


class KnownHead(NamedTuple):
    """The head of a request that went this way, but for the digits of its length.

    A program sends the same head again and again on one connection. It need not be parsed again.
    """

    before: bytes
    behind: bytes
    name: str  # of the event type
    key: str
    headers: Headers

    @classmethod
    def of(cls, data: bytes, body_bytes: int, name: str, key: str, headers: Headers) -> Self | None:
        """The head of a whole request; None for one of an unusual form."""
        stop = data.find(b"\r\n\r\n") + 4
        found = _LENGTH.search(data, 0, stop)
        if found is None or stop + body_bytes != len(data) or int(found[1]) != body_bytes:
            return None
        return cls(data[: found.start(1)], data[found.end(1) : stop], name, key, headers)

    def body_of(self, data: bytes) -> bytes:
        """The body, where this is a whole request with this head and nothing behind it; else nothing."""
        before, behind = self.before, self.behind
        if not data.startswith(before):
            return b""
        start = len(before)
        stop = data.find(b"\r", start, start + _DIGITS_MAX + 1)
        digits = data[start:stop]
        if stop < 0 or not digits.isdigit() or not data.startswith(behind, stop):
            return b""
        at = stop + len(behind)
        return data[at:] if len(data) - at == int(digits) else b""


class ShortWay:
    """Takes requests of one connection, on the thread of its event loop. One at a time is under way."""

    def __init__(self, application: Application) -> None:
        self._application, self._service = application, application.service
        self._waiting: _Waiting | None = None
        self._late: asyncio.TimerHandle | None = None  # goes on from one request to the next
        self.taken: tuple[str, str] | None = None  # event type and key of the request that was taken last

    def is_open(self, method: bytes, url: bytes) -> bool:
        """Whether a request might go this way, by its first line."""
        return method == b"POST" and url.startswith(_BELOW)

    def take(self, url: bytes, headers: Headers, body: bytes, told: AnswerTo) -> bool:
        """Take a whole request; False, and nothing done, where it goes the long way.

        `told` is given the answer later, on this thread.
        """
        name, key = url[len(_BELOW) :].decode("latin-1"), _key_in(headers)
        if key is None or not self.take_known(name, key, headers, body, told):
            return False
        self.taken = name, key
        return True

    def take_known(self, name: str, key: str, headers: Headers, body: bytes, told: AnswerTo) -> bool:
        """The same of a request whose event type and key were read."""
        began_s, service = time.perf_counter(), self._service
        reader = service.reader
        if reader is None or name not in reader.definitions.events.types or not 0 < len(body) <= READ_AT_ONCE:
            return False
        who = self._who(key)
        if who is None or not body.startswith(b"{"):
            return False
        try:
            one = reader.one(name, body, who.id)
        except Exception:  # noqa: BLE001 - the long way meets it again, answers and tells of it
            return False
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
            self._waiting = waiting
            if self._late is None:
                self._late = asyncio.get_running_loop().call_later(PATIENCE_S, self._look)
        return True

    def end(self) -> None:
        """The connection is closed."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _look(self) -> None:
        """Answer a request that has waited for long enough."""
        self._late, post = None, self._waiting.post if self._waiting is not None else None
        if self._waiting is None or post is None:
            return
        left_s = post.arrived_s + PATIENCE_S - time.monotonic()
        if left_s > 0:
            self._late = asyncio.get_running_loop().call_later(left_s, self._look)
        else:
            self._waiting.answer()

    def _who(self, key: str) -> Who | None:
        """The caller, where that is known and they may send events."""
        try:
            who = self._service.gate.at_hand(key)
        except SignInError:
            return None
        return who if who is not None and who.may(Right.SUBMIT_EVENTS) else None


def _key_in(headers: Headers) -> str | None:
    """The key in the headers; None where there is none, or something in them asks for more than a decision."""
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
    return key.strip().decode("latin-1")


class _Waiting:
    """A request that waits for its answer."""

    __slots__ = ("_application", "_began_s", "_headers", "_told", "post")

    def __init__(self, application: Application, told: AnswerTo, began_s: float, headers: Headers) -> None:
        self._application, self._told, self._began_s, self._headers = application, told, began_s, headers
        self.post: PendingRequest | None = None

    def answer(self) -> None:
        """Say what came of it: called when that is known, and when it was waited for long enough."""
        post, self.post = self.post, None
        if post is None:
            return
        if not post.answers:
            self.refuse(TransientError(post.failure or AWAY))
            return
        answer = post.answers[0]
        if answer.document is not None:
            self._told.decided(answer.document, self._counted(200))
            return
        try:
            response = event_response(answer)
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
        self._told.answer(with_standing(response, self._counted(response.status_code)))

    def _counted(self, status: int) -> float:
        """How long it took, which is counted."""
        seconds = time.perf_counter() - self._began_s
        self._application.service.requests.add("POST", _ROUTE, status, seconds)
        return seconds


_STANDING: Final = b"".join(b"%s: %s\r\n" % one for one in STANDING)


def decision(document: bytes, seconds: float, more: Headers, *, is_kept: bool) -> bytes:
    """A decision as it goes over the wire: as `wire` writes it with the headers that all answers have."""
    head = b"".join([b"HTTP/1.1 200 OK\r\n", *[b"%s: %s\r\n" % header for header in more]])
    end = b"\r\n" if is_kept else b"connection: close\r\n\r\n"
    return b"%scontent-length: %d\r\ncontent-type: application/json\r\n%sserver-timing: total;dur=%.3f\r\n%s%s" % (
        head,
        len(document),
        _STANDING,
        1_000 * seconds,
        end,
        document,
    )


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
