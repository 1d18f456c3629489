"""Connections of uvicorn with limits on what arrives before a request is complete.

The parser has no limits of its own: without these, a header that never ends keeps the event loop busy for seconds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from msgspec.json import encode as to_json
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from shroff.people.access import network_of
from shroff.web.http.messages import HEAD_BYTES_MAX, PROBLEM
from shroff.web.http.problems import ProblemError, problem
from shroff.web.http.proxies import Proxies

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from shroff.web.http.asgi import Application

OF_ADDRESS_MAX = 2_000  # connections at once
FIRST_S = 10.0  # for which a new connection may be silent
HEAD_S = 10.0  # from the first byte of a request's head to its last
# A body may take FRAMING_RATIO bytes on the wire for each of its own (a chunk of one byte takes six), and beyond these
# FRAMING_BYTES_MAX for chunk sizes, chunk extensions and trailers.
FRAMING_BYTES_MAX = 64 * 1024
FRAMING_RATIO = 16
# A refused client may send for so long and so much before the connection closes, so that it reads its response.
LINGER_S = 2.0
LINGER_BYTES_MAX = 1024 * 1024
# Keys in the state of a request: the function that writes a whole response, and the bytes of the head
WHOLE = "send_whole"
HEAD = "head"
SendWhole: TypeAlias = Callable[[int, bytes, bytes], bool]  # status, header lines, body; False: not sent
Sending: TypeAlias = "tuple[SendWhole, Callable[[ASGIApp], object]]"  # at once, or by a task


class Connection(HttpToolsProtocol):
    """A connection of uvicorn with limits; each network may have `OF_ADDRESS_MAX` of them.

    A head that is too long is answered with 431 and one that arrives too slowly with 408, at the latest one read beyond
    the limit. Trailers are ignored: with a trailer, a client could override the address that a proxy wrote.

    Args:
        proxies: Returns the currently trusted proxies. They may open any number of connections.
        open_connections: Count of the server's open connections by network.
    """

    def __init__(
        self, *args: Any, proxies: Callable[[], Proxies], open_connections: Counter[str], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._proxies = proxies
        self._open_connections = open_connections
        self._head = b""  # of a request that begins now
        self._network = ""
        self._is_head_open = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._wire_bytes = 0  # of the current body, with its framing
        self._body_bytes = 0  # of the current body, without its framing
        self._is_refused = False
        self._discarded_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        self._network = network_of(address)
        self._open_connections[self._network] += 1
        if self._open_connections[self._network] > OF_ADDRESS_MAX and not self._proxies().has(address):
            transport.abort()
        self.timeout_keep_alive_task = self.loop.call_later(FIRST_S, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_head_timer()
        self._open_connections[self._network] -= 1
        if not self._open_connections[self._network]:
            del self._open_connections[self._network]

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            self._discard(len(data))
            return
        cycle = self.cycle
        is_first = cycle is None
        is_idle = is_first or (cycle.response_complete and not cycle.more_body)
        if is_idle and not self._is_head_open:
            self._head, _, body = data.partition(b"\r\n\r\n")
            # A taken request has the scope of the one before, and uvicorn sends no body after a HEAD request
            may_take = not is_first and cycle.scope["method"] != "HEAD"
            if may_take and cast("Application", self.app).take(self._head, body, self._begin_taken):
                return
        was_head_open = self._is_head_open
        if was_head_open:
            self._head_bytes += len(data)
        else:
            self._wire_bytes += len(data)
        super().data_received(data)
        self._head = b""
        if self._is_head_open:
            self._check_head()
        elif was_head_open:
            self._stop_head_timer()
        elif self._wire_bytes > FRAMING_BYTES_MAX + FRAMING_RATIO * self._body_bytes:
            self._refuse_framing()

    def _begin_taken(self) -> Sending:
        self._unset_keepalive_if_required()
        cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=self.cycle.message_event,
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        self.cycle = cycle
        return partial(self._send_whole, cycle), partial(self._start_asgi_task, cycle)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_head_open = True
        self._head_bytes = 0
        self._wire_bytes = 0
        self._body_bytes = 0

    def on_headers_complete(self) -> None:
        self._is_head_open = False
        super().on_headers_complete()
        self.headers = []  # of trailers, which uvicorn would add to the headers of the request
        self.scope["state"] |= {WHOLE: partial(self._send_whole, self.cycle), HEAD: self._head}
        self._head = b""

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def _send_whole(self, cycle: RequestResponseCycle, status: int, lines: bytes, body: bytes) -> bool:
        """Write a response at once: status, header lines with their final empty line, and body.

        Returns: False if nothing was written and the response must be sent as ASGI messages, because the connection
            closes after it or the client is not reading.
        """
        if self.flow.write_paused or not cycle.keep_alive or cycle.response_started:
            return False
        if cycle.disconnected or self.transport.is_closing():
            return True
        cycle.response_started = True
        cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.write(b"".join((STATUS_LINE[status], lines, body)))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def _check_head(self) -> None:
        """Refuse a head that is too long; otherwise start the timer that ends a slow head."""
        if self.transport.is_closing():
            return
        if self._head_bytes > HEAD_BYTES_MAX:
            detail = f"the head of a request has at most {HEAD_BYTES_MAX:,} bytes"
            self._refuse(ProblemError(431, "head-too-long", "The head of the request is too long", detail))
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._end_slow_head)

    def _end_slow_head(self) -> None:
        detail = f"the head of the request did not arrive within {HEAD_S:g} s"
        self._refuse(ProblemError(408, "too-slow", "The request came too slowly", detail))

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse_framing(self) -> None:
        """Answer a request whose body is mostly framing; its handler sees a disconnected client."""
        if self.pipeline or self.cycle.response_started:
            self.transport.abort()
            return
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        detail = f"chunk sizes, chunk extensions and trailers have at most {FRAMING_BYTES_MAX:,} bytes"
        self._refuse(ProblemError(413, "too-much-framing", "The body has too much framing", detail))

    def _refuse(self, error: ProblemError) -> None:
        """Answer an incomplete request and close; discard data that still arrives until `LINGER_S`."""
        self._stop_head_timer()
        self._is_refused = True
        is_answering = bool(self.cycle) and not (self.cycle.response_complete or self.cycle.disconnected)
        if is_answering or self.transport.is_closing():  # the problem would be written into an earlier response
            self.transport.abort()
            return
        body = to_json(problem(error.status, error.code, error.title, error.detail))
        lines = f"content-type: {PROBLEM}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[error.status], lines.encode(), body)))
        self.transport.write_eof()
        self.timeout_keep_alive_task = self.loop.call_later(LINGER_S, self.transport.abort)

    def _discard(self, size: int) -> None:
        self._discarded_bytes += size
        if self._discarded_bytes > LINGER_BYTES_MAX:
            self.transport.abort()


def limited(proxies: Callable[[], Proxies]) -> type[asyncio.Protocol]:
    """Return the connection factory of one server, for uvicorn's option `http`."""
    return cast("type[asyncio.Protocol]", partial(Connection, proxies=proxies, open_connections=Counter()))
