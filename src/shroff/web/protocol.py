"""HTTP/1.1 as uvicorn speaks it, whose requests must begin in time, with a short way for most of them."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shroff.web.asgi import Application
from shroff.web.http import Response
from shroff.web.short import ShortWay, wire

HEAD_S_MAX: Final = 10.0  # for the head of a request to arrive, and for a connection to say anything at all


class Patient(HttpToolsProtocol):
    """HTTP/1.1, whose requests must begin, and be said up to the end of their head, in time.

    A request that `short.ShortWay` might take, and that came as a whole, is offered to it; all others go on as uvicorn
    has them.
    """

    _late: asyncio.TimerHandle | None = None
    _is_in_head = False
    _held: bytes | None = None  # the body so far of a request that may go the short way
    _short: ShortWay

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of TCP
        super().connection_made(transport)
        application = self.config.app
        assert isinstance(application, Application)
        self._short = ShortWay(application)
        self._late = self.loop.call_later(HEAD_S_MAX, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._held is not None and not self.transport.is_closing():
            self._go_the_long_way()
        if self._is_in_head and self._late is None:
            self._late = self.loop.call_later(HEAD_S_MAX, self._give_up)

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._in_time()
        if self._may_be_short():
            self._held = b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body

    def on_message_complete(self) -> None:
        if self._held is None:
            super().on_message_complete()
            return
        waiting = _Waiting(self)
        before, self.cycle = self.cycle, waiting  # type: ignore[assignment]  # all that uvicorn asks of one is there
        if self._short.take(self.url, self.headers, self._held, waiting.answer):
            self._held = None
        else:
            self.cycle = before
            self._go_the_long_way()
            super().on_message_complete()

    # ---- the short way

    def _may_be_short(self) -> bool:
        """Whether nothing is under way on this connection, and the request is of the usual form so far."""
        before = self.cycle
        is_free = before is None or before.response_complete  # type: ignore[redundant-expr]  # None at first
        parser = self.parser
        return (
            is_free
            and not self.flow.write_paused
            and self._short.is_open(parser.get_method(), self.url)
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
            and bool(parser.should_keep_alive())
        )

    def _go_the_long_way(self) -> None:
        """Begin a request as uvicorn would have, with what came of its body."""
        body, self._held = self._held, None
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def say(self, response: Response, *, is_kept: bool) -> None:
        """Write an answer, and go on with the connection."""
        self.transport.write(wire(response, self.server_state.default_headers, is_kept=is_kept))
        if not is_kept:
            self.transport.close()
        self.on_response_complete()

    # ---- in time

    def _in_time(self) -> None:
        late, self._late = self._late, None
        if late is not None:
            late.cancel()

    def _give_up(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()


class _Never:
    """What nobody waits for."""

    def set(self) -> None:
        """Do nothing."""


class _Waiting:
    """A request that is answered the short way, as far as uvicorn asks for it: so that the next one waits."""

    __slots__ = ("_protocol", "disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, protocol: Patient) -> None:
        self._protocol = protocol
        self.response_complete = self.disconnected = False
        self.keep_alive = True
        self.message_event = _Never()

    def answer(self, response: Response) -> None:
        """Say the answer, if somebody is still there."""
        self.response_complete = True
        if not self.disconnected:
            self._protocol.say(response, is_kept=self.keep_alive)
