"""The process: a socket, the event loop and the service, from the start to a clean end."""

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
KEPT_S = 75.0  # idle time of a connection between requests
END_S = 20.0  # wait for answers at the end
HAND_OVER_S = 2.0  # after which the log is let go of, though somebody may still be sending or listening
STALLED_S = 30.0  # for which a client may read nothing of its answer
BACKLOG = 4_096


class At(FrozenStruct):
    """Where the service listens; port 0: any that is free."""

    host: str = "127.0.0.1"
    port: int = 8080


class _Server(uvicorn.Server):
    """A server whose signals are ours."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bound(at: At) -> socket.socket:
    """The socket, which listens as soon as the server takes it. Raises: UsageError where it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":  # accepted connections have the same options
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1_000 * STALLED_S))
        found.bind(address)
    except OSError as error:
        raise UsageError(
            f"{at.host} port {at.port} is not available: {error.strerror or error}. Choose another with --port."
        ) from None
    return found


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
    """Serve until somebody ends it by Ctrl-C or SIGTERM; what was taken is answered first. Gives what was done.

    Args:
        begun: Told when requests are answered; not where the log cannot be had, which ends this.

    Raises: whatever ended the work by itself.
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
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # its messages contain bytes of requests
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

    def told(_: asyncio.AbstractEventLoop, context: JsonObject) -> None:
        error = context.get("exception")
        tell(context["message"] if error is None else failure(context["message"], error))

    loop.set_exception_handler(told)
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
    """The first signal ends cleanly, the second at once: what was answered is stored, as after a kill.

    A thread that compiles kernels or reads the log cannot be told to end.
    """
    came = list[bool]()

    def handle() -> None:
        if came:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(128 + signal.SIGINT)
        came.append(True)
        end()

    return handle


def _allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
