"""A server as a child that dies with us: started, waited for, stopped, killed, paused."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tools.servers.errors import ServerError
from tools.servers.ports import Port
from tools.servers.web import listens

DATA: Final = "SHROFF_SERVERS_DATA"  # the folder for their data, where it is not that of temporary files
READY_WITHIN_S: Final = 300.0  # all kinds begin at once, beside the tests
STOPS_WITHIN_S: Final = 120.0
DIES_WITH_PARENT: Final = ("setpriv", "--pdeathsig", "KILL")  # the kernel ends the child, however its parent went


class Child:
    """One process of a server, with its log."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        self.name, self.command, self.log = name, command, log
        self._env, self._user = env or {}, user
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._running is not None, "start it first"
        return self._running.pid

    @property
    def is_running(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def start(self, is_ready: Callable[[], bool]) -> None:
        """Start it and wait until it answers. Raises: ServerError with the last lines of its log."""
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                [*DIES_WITH_PARENT, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._env},
                user=self._user,
                group=self._user,
                cwd=self.log.parent,
                start_new_session=True,
            )
        wait_until(is_ready, self._why_not)

    def _why_not(self) -> str:
        """Why waiting for it makes no sense any more; empty while it does."""
        return "" if self.is_running else f"{self.name} ended by itself:\n{self.last_lines()}"

    def stop(self) -> None:
        """End it in order, and with force where that takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would: it gets to do nothing more."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it in its tracks; its connections stay open and silent."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def _end(self, by: signal.Signals) -> None:
        if self._running is None or self._running.poll() is not None:
            return
        os.killpg(self.pid, by)
        os.killpg(self.pid, signal.SIGCONT)
        try:
            self._running.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._running.wait(STOPS_WITHIN_S)

    def last_lines(self, n: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-n:])


class Started(ABC):
    """What is started for a block, and closed at its end or where it does not start."""

    @abstractmethod
    def start(self) -> None:
        """Start it, or start it again on the data it has. Raises: UnavailableError, ServerError."""

    @abstractmethod
    def close(self) -> None:
        """Stop it and remove its data."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Server(Started):
    """A kind of server with its data in a folder of its own, which goes when it is closed.

    `address` is what a client connects to; `details` has further things that it needs.
    """

    kind: str

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"shroff-{self.kind}-", dir=os.environ.get(DATA)))
        self.folder.chmod(0o711)  # servers that run as another user get through
        self._ports: list[Port] = []

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it answers."""

    @property
    def details(self) -> Mapping[str, str]:
        """What clients need beside the address."""
        return {}

    @abstractmethod
    def children(self) -> Sequence[Child]:
        """Its processes."""

    def port(self) -> int:
        """A port that is ours until this server is closed."""
        port = Port()
        self._ports.append(port)
        return port.number

    def close(self) -> None:
        """Stop it and remove its data."""
        try:
            for child in self.children():
                child.kill()
        finally:
            for port in self._ports:
                port.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> Sequence[Path]:
        """The files to look at when something failed."""
        return [child.log for child in self.children() if child.log.exists()]


class OneProcess(Server):
    """A server of one process at one port, with a password for its kinds that ask for one."""

    def __init__(self) -> None:
        super().__init__()
        self.password = secrets.token_urlsafe(16)
        self._port = self.port()
        self._child: Child | None = None

    def children(self) -> Sequence[Child]:
        return [] if self._child is None else [self._child]

    def start(self) -> None:
        if self._child is None:
            self._child = self._made()
        self._child.start(self._is_ready)

    @abstractmethod
    def _made(self) -> Child:
        """The process, its data and settings prepared. Raises: UnavailableError, ServerError."""

    def _is_ready(self) -> bool:
        return listens(self._port)


def wait_until(
    is_ready: Callable[[], bool], why_not: Callable[[], str] = lambda: "", within_s: float = READY_WITHIN_S
) -> None:
    """Wait until something holds. Raises: ServerError when it does not in time, or cannot any more."""
    until = time.monotonic() + within_s
    while not is_ready():
        if told := why_not():
            raise ServerError(told)
        if time.monotonic() > until:
            raise ServerError(f"not ready after {within_s:.0f} s.")
        time.sleep(0.1)
