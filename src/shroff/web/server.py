"""Run the service in this process: open the socket, run the event loop, and end cleanly on a signal."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop

from shroff.errors import UsageError
from shroff.json_types import JsonObject
from shroff.runtime.logs import failure
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.jobs.worker import terminate_all
from shroff.web.first_run import first_run
from shroff.web.http.authentication import Gate, gate_of
from shroff.web.http.connections import limited
from shroff.web.organizations import HOME, Organizations, projects_in, working
from shroff.web.service import Limits, Service, ServiceOptions
from shroff.worker.ingest import short_turns

if TYPE_CHECKING:
    from shroff.people.store import Desk
    from shroff.services.project import Project

__all__ = ["At", "Limits", "ServiceOptions", "bound", "first_run", "gate_of", "projects_in", "serve"]
KEPT_S = 75.0  # for which a connection may be idle between requests
END_S = 20.0  # for which the end of the service waits for open responses
HAND_OVER_S = 2.0  # after a signal the log is released, though responses may still be open
STALLED_S = 30.0  # for which a client may read nothing of its response
BACKLOG = 4_096


class At(FrozenStruct):
    """Address on which the service listens; port 0 is any free port."""

    host: str = "127.0.0.1"
    port: int = 8080


class _Server(uvicorn.Server):
    """A server that leaves signals to `_serve`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bound(at: At) -> socket.socket:
    """Return a socket that is bound but does not listen yet. Raises: UsageError if the address is not available."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":  # accepted connections have the same options
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1_000 * STALLED_S))
        listener.bind(address)
    except OSError as error:
        raise UsageError(
            f"{at.host} port {at.port} is not available: {error.strerror or error}. Choose another with --port."
        ) from None
    return listener


def serve(
    project: Project,
    gate: Gate,
    desk: Desk,
    listening: socket.socket,
    options: ServiceOptions | None = None,
    *,
    tell: Callable[[str], None],
    begun: Callable[[], None],
) -> Service:
    """Serve until Ctrl-C or SIGTERM, or until the log fails; accepted requests are answered first.

    Args:
        begun: Called when the socket listens; never if the log cannot be opened.

    Returns: The ended service, with its counts.
    Raises: the error that ended the thread of the log.
    """
    with short_turns(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(project, gate, desk, listening, options or ServiceOptions(), tell=tell, begun=begun))


async def _serve(
    project: Project,
    gate: Gate,
    desk: Desk,
    listening: socket.socket,
    options: ServiceOptions,
    *,
    tell: Callable[[str], None],
    begun: Callable[[], None],
) -> Service:
    organizations = Organizations(options, tell)
    if options.projects:
        options = replace(options, organizations=organizations)
    _allow_many_files()
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # other messages contain bytes of requests
    config = uvicorn.Config(
        organizations,
        http=limited(lambda: organizations.home.settings.proxies),
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=round(KEPT_S),
        timeout_graceful_shutdown=round(END_S),
        backlog=BACKLOG,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def end() -> None:
        for service in organizations.services:
            if not service.is_ending:
                loop.call_later(HAND_OVER_S, service.hand_over)
            service.is_ending = True
        server.should_exit = True

    def report(_: asyncio.AbstractEventLoop, context: JsonObject) -> None:
        error = context.get("exception")
        tell(context["message"] if error is None else failure(context["message"], error))

    loop.set_exception_handler(report)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _ended(end))
    async with working(project, gate, desk, options, tell=tell, ended=end) as home:
        organizations.running[HOME] = home
        service = home.service
        if service.work.has_begun and not server.should_exit:
            listening.listen(BACKLOG)  # before the address is printed
            begun()
        others = asyncio.create_task(organizations.run())
        try:
            await server.serve([listening])
        finally:
            others.cancel()
            await asyncio.wait([others])
    return service


def _ended(end: Callable[[], None]) -> Callable[[], Any]:
    """Return a signal handler: the first signal calls `end`, the second exits at once.

    A thread that compiles kernels or reads the log cannot be interrupted. Exiting loses no answered event, as after a
    kill.
    """
    signals = list[bool]()

    def handle() -> None:
        if signals:
            try:
                for stream in (sys.stdout, sys.stderr):
                    with suppress(OSError, ValueError):
                        stream.flush()
                terminate_all()
            finally:
                os._exit(128 + signal.SIGINT)
        signals.append(True)
        end()

    return handle


def _allow_many_files() -> None:
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
