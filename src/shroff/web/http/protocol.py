"""HTTP/1.1 as uvicorn speaks it, with limits on what one connection may send, and a short way for most requests.

httptools itself has no limits: it keeps a header that never ends, and joins its pieces anew with each that arrives. So
what the parser is fed is counted here, before the application sees any of it. All limits: docs/reference/limits.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shroff.people.throttle import network_of
from shroff.web.http.asgi import Application
from shroff.web.http.messages import BODY_S_MAX, refused
from shroff.web.http.problems import ProblemError
from shroff.web.http.short import KnownHead, ShortWay, decision, wire

HEAD_S_MAX: Final = 10.0  # for the head of a request to arrive, and for a new connection to send anything
HEAD_BYTES_MAX: Final = 64 * 1024  # the address, and the names and values of all header lines
HEADERS_MAX: Final = 100
URL_BYTES_MAX: Final = 16 * 1024
FRAMING_BYTES_MAX: Final = 64 * 1024  # chunk sizes, chunk extensions and trailers, beyond one byte for each of the body
UNREAD_S_MAX: Final = BODY_S_MAX + 5.0  # for a body that the application does not read; it answers 408 before
STALLED_S: Final = 30.0  # for which a client may take nothing of an answer that waits for it
LINGER_S: Final = 10.0  # for which the rest of a refused request is discarded, so that the client reads its answer,
LINGER_BYTES_MAX: Final = 64 * 1024 * 1024  # and how much of it,
LINGER_PAUSE_S: Final = 0.02  # with a pause after each piece, of 64 to 256 KiB: others have their turn
_TAKEN_BYTES_MIN: Final = 32 * 1024  # of an answer, in `STALLED_S`
_FED_BYTES: Final = 8 * 1024  # to the parser at a time: so much may pass before a limit is looked at
_FED_AT_ONCE: Final = 16 * 1024  # before other connections have their turn

_NONE, _HEAD, _BODY = range(3)  # the part of a message that is arriving


class Patient(HttpToolsProtocol):
    """HTTP/1.1 within limits of size and time.

    A request that `short.ShortWay` might take, and that came as a whole, is offered to it; all others go on as uvicorn
    has them.
    """

    _late: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _watched = 0, _NONE  # the message and its part that `_late` is for
    _message = 0  # how many have begun
    _part = _NONE
    _head_bytes = 0  # of complete header lines and the address
    _unfed = b""  # what arrived and the parser was not given yet
    _raw_bytes = 0  # that arrived of a head that is not complete
    _body_bytes = 0
    _framing_bytes = 0
    _refusal: ProblemError | None = None
    _left: int | None = None  # bytes that are discarded yet, once a message is refused or the connection ends
    network = ""  # from which it comes; empty for a proxy, which brings requests of many
    is_ended = False  # whether the last answer is written
    _held: bytes | None = None  # the body so far of a request that may go the short way
    _known: KnownHead | None = None  # of the last request that went it
    _keeper: asyncio.TimerHandle | None = None  # looks from time to time for how long the connection has been idle
    _idle_s = 0.0  # since when, where `timeout_keep_alive_task` is set
    flow: _Flow
    _raw: asyncio.Transport
    _application: Application
    _short: ShortWay

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of TCP
        super().connection_made(transport)
        application = self.config.app
        assert isinstance(application, Application)
        self._application, self._short = application, ShortWay(application)
        self._raw, self.transport = transport, _Heard(transport, self)  # type: ignore[assignment]  # all that is asked
        self.flow = _Flow(transport, lambda: self.loop.call_soon(self._feed_on))
        self._watch()
        peer = self.client[0] if self.client else ""
        self.network = "" if application.service.proxies.has(peer) else network_of(peer)
        if full := application.connections.add(self):
            self.refuse(ProblemError(503, "overload", "There are too many connections", full))

    def connection_lost(self, exc: Exception | None) -> None:
        self._application.connections.remove(self)
        self._set_late(None)
        self._set_stalled(None)
        if self._keeper is not None:
            self._keeper.cancel()
        self._short.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_discarding():
            self._discard(len(data))
        elif self._unfed or self._known is None or not self._take_known(self._known, data):
            self._unfed += data
            self._feed_on()

    def _feed_on(self) -> None:
        """Feed the parser, a little at a time: others have their turn, and what is queued behind a request waits."""
        if self._raw.is_closing() or self._is_discarding():
            return
        data, at = self._unfed, 0
        while at < min(len(data), _FED_AT_ONCE) and self._is_wanted():
            self._feed(data if len(data) <= _FED_BYTES else data[at : at + _FED_BYTES])
            at += _FED_BYTES
            if self._is_discarding():
                self._unfed = b""
                self._discard(max(0, len(data) - at))
                return
        self._unfed = data[at:]
        self.flow.hold(is_held=bool(self._unfed))
        if self._unfed and self._is_wanted():
            self.loop.call_soon(self._feed_on)
        if not self.transport.is_closing():
            self._watch()

    def _is_wanted(self) -> bool:
        return self.flow.is_wanted and not self.pipeline

    def _feed(self, data: bytes) -> None:
        message, part, body_bytes = self._message, self._part, self._body_bytes
        super().data_received(data)
        if (taken := self._short.taken) is not None:
            self._short.taken = None
            is_whole = (message + 1, part) == (self._message, _NONE)
            self._known = KnownHead.of(data, self._body_bytes, *taken, self.headers) if is_whole else None
        if self._held is not None and not self.transport.is_closing():
            self._go_the_long_way()
        if (message, part) != (self._message, self._part) or self._is_discarding():
            return
        if part == _HEAD:
            self._raw_bytes += len(data)
            if self._raw_bytes > HEAD_BYTES_MAX:
                self.refuse(_head_too_long())
        elif part == _BODY:
            self._framing_bytes += len(data) - (self._body_bytes - body_bytes)
            if self._framing_bytes > FRAMING_BYTES_MAX + self._body_bytes:
                self.refuse(_framing_too_long())

    # ---- what the parser tells

    def on_message_begin(self) -> None:
        self._message += 1
        self._part = _HEAD
        self._head_bytes = self._raw_bytes = self._body_bytes = self._framing_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > URL_BYTES_MAX:
            words = f"an address has at most {URL_BYTES_MAX:,} bytes"
            self._stop(ProblemError(414, "address-too-long", "The address is too long", words))
        self._head_bytes = len(self.url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._part != _HEAD:
            return  # a trailer: it comes behind the body, when who sent the request is settled
        self._head_bytes += len(name) + len(value)
        super().on_header(name, value)
        if len(self.headers) > HEADERS_MAX or self._head_bytes > HEAD_BYTES_MAX:
            self._stop(_head_too_long())

    def on_headers_complete(self) -> None:
        self._part = _BODY
        self._application.connections.work(self)
        if self._may_be_short():
            self._held = b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body

    def on_message_complete(self) -> None:
        self._part = _NONE
        if self._held is None:
            super().on_message_complete()
            return
        waiting = _Waiting(self)
        before, self.cycle = self.cycle, waiting  # type: ignore[assignment]  # all that uvicorn asks of one is there
        if self._short.take(self.url, self.headers, self._held, waiting):
            self._held = None
        else:
            self.cycle = before
            self._go_the_long_way()
            super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:  # as there, but with one timer for many requests
            self.server_state.total_requests += 1
            self.flow.resume_reading()
            self._idle_s = self.loop.time()
            self._keep(self.timeout_keep_alive)
        if not self.transport.is_closing() and self._is_free():
            self._application.connections.wait(self)

    def _unset_keepalive_if_required(self) -> None:
        self.timeout_keep_alive_task = None  # the timer goes on, and sees it

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, if it has been idle for so long."""
        self._keeper = None
        left_s = self._idle_s + self.timeout_keep_alive - self.loop.time()
        if self.timeout_keep_alive_task is None:
            return
        if left_s > 0:
            self._keep(left_s)
        else:
            super().timeout_keep_alive_handler()

    def _keep(self, seconds: float) -> None:
        if self._keeper is None:
            self._keeper = self.loop.call_later(seconds, self.timeout_keep_alive_handler)
        self.timeout_keep_alive_task = self._keeper

    def _is_free(self) -> bool:
        """Whether no request is being answered."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete  # type: ignore[redundant-expr]  # None at first

    # ---- the short way

    def _take_known(self, head: KnownHead, data: bytes) -> bool:
        """Take a request whose head is the last one's; False, and nothing done, for any other."""
        if self._part != _NONE or not self._is_free() or self.flow.write_paused or not self._is_wanted():
            return False
        body = head.body_of(data) if len(data) <= _FED_BYTES else b""
        if not body or self.transport.is_closing():
            return False
        self._unset_keepalive_if_required()
        self._message += 1
        self._application.connections.work(self)
        waiting = _Waiting(self)
        before, self.cycle = self.cycle, waiting  # type: ignore[assignment]  # as in `on_message_complete`
        if not self._short.take_known(head.name, head.key, head.headers, body, waiting):
            self.cycle = before
            return False
        self._watch()
        return True

    def _may_be_short(self) -> bool:
        """Whether nothing is under way on this connection, and the request is of the usual form so far."""
        parser = self.parser
        return (
            self._is_free()
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

    def say(self, answer: bytes, *, is_kept: bool) -> None:
        """Write an answer, and go on with the connection."""
        self.transport.write(answer)
        if not is_kept:
            self.transport.close()
        self.on_response_complete()

    # ---- refusing, and closing so that the answer is read

    def _stop(self, refusal: ProblemError) -> None:
        """Refuse from inside of the parser, which stops at an error. Raises: it."""
        self._refusal = refusal
        raise refusal

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser stopped at; uvicorn calls this."""
        self.refuse(self._refusal or ProblemError(400, "bad-request", "This is not HTTP/1.1", msg))

    def refuse(self, problem: ProblemError) -> None:
        """Answer a message that is not read to its end, and end the connection.

        Where an earlier request is still being answered, its client gets that answer alone: this one would be taken
        for it.
        """
        self._left = LINGER_BYTES_MAX
        cycle = self.cycle
        if not self._is_free() and self._part != _BODY:
            cycle.keep_alive = False
            return
        if self.pipeline:
            self.close()
            return
        if self._is_free() and self._part == _BODY and self._held is None:  # it is answered already
            self.end()
            return
        has_begun = False
        if not self._is_free():  # of this very message: whoever reads its body is told that there is no more of it
            has_begun, cycle.disconnected = cycle.response_started, True
            cycle.message_event.set()
        if not has_begun:
            self._application.service.requests.add("other", "none", problem.status, 0.0)
            self._raw.write(wire(refused(problem), self.server_state.default_headers, is_kept=False))
        self.end()

    def end(self) -> None:
        """End the connection behind an answer; in the middle of a message only after its client could read that.

        A socket that is closed with something unread resets the connection, and the answer is lost on its way.
        """
        if self.transport.is_closing():
            return
        self.is_ended = True
        if self._part == _NONE and not self._is_discarding():
            self.close()
            return
        self._left = LINGER_BYTES_MAX
        self._set_late(self.loop.call_later(LINGER_S, self.close))
        self._raw.write_eof()
        self.flow.hold(is_held=False)
        self.flow.resume_reading()

    def close(self) -> None:
        """Close the connection at once; what was written has some time to be taken."""
        self._raw.close()
        if self._raw.get_write_buffer_size():
            self._set_stalled(self.loop.call_later(STALLED_S, self._raw.abort))

    def shutdown(self) -> None:
        if self._is_free():
            self.close()
        else:
            self.cycle.keep_alive = False

    def _is_discarding(self) -> bool:
        return self._left is not None

    def _discard(self, size: int) -> None:
        assert self._left is not None
        self._left -= size
        if self._left < 0:
            self.close()
        elif not self._raw.is_closing():
            self._raw.pause_reading()
            self.loop.call_later(LINGER_PAUSE_S, self._discard_on)

    def _discard_on(self) -> None:
        if not self._raw.is_closing():
            self._raw.resume_reading()

    # ---- in time

    def _watch(self) -> None:
        """See to it that what is arriving arrives in time."""
        part = self._part
        if part == _NONE and self._is_free() and self.timeout_keep_alive_task is None:
            part = _HEAD  # a new connection, or something came that is no request yet
        if (self._message, part) == self._watched:
            return
        self._watched = self._message, part
        if part == _NONE:
            self._set_late(None)
        else:
            self._set_late(self.loop.call_later(HEAD_S_MAX if part == _HEAD else UNREAD_S_MAX, self._give_up))

    def _give_up(self) -> None:
        if self.flow.read_paused:  # it waits for us
            self._set_late(self.loop.call_later(UNREAD_S_MAX, self._give_up))
        else:
            self.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        self._set_stalled(None)
        super().resume_writing()

    def _look_again(self) -> None:
        """See to it that the client takes some of what waits for it."""
        left = self._raw.get_write_buffer_size() - _TAKEN_BYTES_MIN

        def look() -> None:
            if self._raw.get_write_buffer_size() > left:
                self._raw.abort()
            else:
                self._look_again()

        self._set_stalled(self.loop.call_later(STALLED_S, look))

    def _set_late(self, timer: asyncio.TimerHandle | None) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = timer

    def _set_stalled(self, timer: asyncio.TimerHandle | None) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
        self._stalled = timer


def _head_too_long() -> ProblemError:
    words = f"the head of a request has at most {HEADERS_MAX} lines and {HEAD_BYTES_MAX:,} bytes"
    return ProblemError(431, "head-too-long", "The head of the request is too long", words)


def _framing_too_long() -> ProblemError:
    words = "send larger chunks, and no chunk extensions or trailers: they are ignored"
    return ProblemError(413, "framing-too-long", "The request has too much overhead", words)


class _Flow(FlowControl):
    """Flow control that also reads nothing while some of what arrived is not fed to the parser.

    Args:
        wanted: Told when more may be fed.
    """

    def __init__(self, transport: asyncio.Transport, wanted: Callable[[], object]) -> None:
        super().__init__(transport)
        self._tell, self._is_held, self.is_wanted = wanted, False, True

    def hold(self, *, is_held: bool) -> None:
        """Read nothing, or go on where that is wanted."""
        self._is_held = is_held
        if is_held:
            super().pause_reading()
        elif self.is_wanted:
            super().resume_reading()

    def pause_reading(self) -> None:
        self.is_wanted = False
        super().pause_reading()

    def resume_reading(self) -> None:
        self.is_wanted = True
        if self._is_held:
            self._tell()
        else:
            super().resume_reading()


class _Heard:
    """The transport of a connection as uvicorn uses it, closed so that the last answer is read."""

    __slots__ = ("_protocol", "_raw", "write")

    def __init__(self, raw: asyncio.Transport, protocol: Patient) -> None:
        self._raw, self._protocol, self.write = raw, protocol, raw.write

    def close(self) -> None:
        self._protocol.end()

    def is_closing(self) -> bool:
        return self._protocol.is_ended or self._raw.is_closing()


class _Never:
    """An awaitable that is never awaited."""

    def set(self) -> None:
        """Do nothing."""


class _Waiting:
    """A request that is answered the short way, as far as uvicorn asks for it: so that the next one waits."""

    __slots__ = ("_protocol", "disconnected", "keep_alive", "message_event", "response_complete", "response_started")

    def __init__(self, protocol: Patient) -> None:
        self._protocol = protocol
        self.response_complete = self.response_started = self.disconnected = False
        self.keep_alive = True
        self.message_event = _Never()

    def answer(self, response: Response) -> None:
        """Say the answer, if somebody is still there."""
        self.response_complete = True
        if not self.disconnected:
            is_kept = self.keep_alive
            self._protocol.say(
                wire(response, self._protocol.server_state.default_headers, is_kept=is_kept), is_kept=is_kept
            )

    def decided(self, document: bytes, seconds: float) -> None:
        """The same of a decision."""
        self.response_complete = True
        if not self.disconnected:
            is_kept, more = self.keep_alive, self._protocol.server_state.default_headers
            self._protocol.say(decision(document, seconds, more, is_kept=is_kept), is_kept=is_kept)
