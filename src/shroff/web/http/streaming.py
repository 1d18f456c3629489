"""Server-sent events: responses that stay open until the listener leaves, with limits per session."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from msgspec.json import encode as to_json
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from shroff.errors import ShroffError
from shroff.web.http.authentication import COOKIE
from shroff.web.http.messages import Request
from shroff.web.http.problems import ProblemError

if TYPE_CHECKING:
    from shroff.web.service import Service

EVENTS = "text/event-stream"
OF_SESSION_MAX = 4  # browsers open six connections to a host at most, and pages need some
OF_ALL_MAX = 500
STILL_HERE_S = 15.0  # between keep-alives, for proxies
CHECKED_EVERY_S = 3.0  # between checks of the listener's rights
LASTS_S = 3_600.0
STUCK_S = 30.0  # for which a listener may read nothing


class Streams:
    """Open event streams of one event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def take(self, token: str) -> None:
        """Count a stream that opens. Raises: ProblemError with 429 if the session has too many, 503 if all have."""
        if self._open[token] >= OF_SESSION_MAX:
            detail = f"{OF_SESSION_MAX} live pages of this session are open; close one of them"
            raise ProblemError(429, "too-many-streams", "Too many live pages", detail)
        if self._open.total() >= OF_ALL_MAX:
            detail = "too many live pages are open; this one shows its state at page load"
            raise ProblemError(503, "too-many-streams", "Too many live pages", detail)
        self._open[token] += 1

    def let_go(self, token: str) -> None:
        self._open[token] -= 1
        if not self._open[token]:
            del self._open[token]

    @property
    def count(self) -> int:
        return self._open.total()


class Stream(StreamingResponse):
    """A response that sends each part as it comes.

    It ends if the log cannot be read, and browsers then reconnect, or if the listener reads nothing for `STUCK_S`.

    Raises: ProblemError on construction if too many streams are open.
    """

    def __init__(self, service: Service, request: Request, parts: AsyncIterator[bytes]) -> None:
        super().__init__(_readable(parts), headers={"content-type": EVENTS, "x-accel-buffering": "no"})
        self._streams = service.streams
        self._token = request.cookies.get(COOKIE, "")
        self._streams.take(self._token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STUCK_S):
                await send(message)

        try:
            if scope["method"] == "HEAD":
                await Response.__call__(self, scope, receive, send)
            else:
                with suppress(TimeoutError):
                    await super().__call__(scope, receive, send_in_time)
        finally:
            self._streams.let_go(self._token)


async def _readable(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with suppress(ShroffError):
        async for part in parts:
            yield part


async def updates(
    service: Service, request: Request, changed: Callable[[], Awaitable[bytes | None]], every_s: float
) -> AsyncIterator[bytes]:
    """Yield the events of a stream: call `changed` every `every_s` seconds, and send its result unless it is None.

    The stream ends with the service, after an hour, and within `CHECKED_EVERY_S` after the session ends, its user's
    rights change, or its address is no longer allowed. The browser then reconnects with its current rights.
    """
    began_s = time.monotonic()
    checked_s = began_s
    sent_s = began_s
    yield b"retry: 3000\n\n"
    while not service.is_ending and time.monotonic() - began_s < LASTS_S:
        part = await changed()
        now_s = time.monotonic()
        if now_s - checked_s >= CHECKED_EVERY_S:
            checked_s = now_s
            if not await _is_still_allowed(service, request):
                return
        if part is not None:
            sent_s = now_s
            yield part
        elif now_s - sent_s >= STILL_HERE_S:
            sent_s = now_s
            yield b": still here\n\n"
        await asyncio.sleep(every_s)


async def _is_still_allowed(service: Service, request: Request) -> bool:
    """Return whether the session has its rights from the start of the stream, and its network is allowed."""
    if not service.is_allowed(request):
        return False
    token = request.cookies.get(COOKIE, "")
    signed_in = await service.known(partial(service.gate.signed_in, token, is_use=False))
    return signed_in is not None and signed_in.who == request.who


def told(name: str, content: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), to_json(content))
