"""A real `shroff serve` in a process of its own, with a key for each role, and a client that speaks to it."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from shroff.people import keys
from shroff.people.access import Right, Role, Who
from shroff.services import project as app
from tests.support import forks

SHROFF = forks.SHROFF
ME = Who("command", "os-test", "a test", Role.ADMIN, frozenset(Right))
STARTS_S = 600.0  # for long where no kernel is on the disk yet: the first test compiles them
ENDS_S = 120.0
PATIENT = "shroff.web.work.operation_processes.CHECK_S_MAX=120"  # 15 s are few where many work
# One for all clients: what is served is plain HTTP, and to read the system's certificates takes 0.07 s each time.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_ADDRESS = re.compile(r"at (http://\S+)")


def key_of(folder: Path, role: Role = Role.ADMIN, name: str = "test") -> str:
    """A new key of this project."""
    with app.open_exactly(folder).people.open() as desk:
        return keys.create(desk, ME, name, role)[1]


@dataclass(slots=True)
class Served:
    """A service that runs, and its project."""

    folder: Path
    process: subprocess.Popen[str]
    url: str
    key: str
    said: list[str] = field(default_factory=list)

    def client(self, key: str | None = None, **more: Any) -> httpx2.Client:
        """A client with the key of an admin, or another, or with none for an empty one."""
        chosen = self.key if key is None else key
        headers = {"authorization": f"Bearer {chosen}"} if chosen else {}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=120.0, verify=NO_TLS, **more)

    def is_ready(self) -> bool:
        try:
            return bool(httpx2.get(f"{self.url}/health/ready", timeout=ENDS_S, verify=NO_TLS).status_code == 200)
        except httpx2.TransportError:
            return False

    def wait(self) -> None:
        """Wait until it takes posts."""
        end_s = time.monotonic() + STARTS_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end_s:
                self.process.kill()
                raise AssertionError(f"it did not start: {self.said} {self.process.communicate()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, with no chance to finish anything."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate(timeout=ENDS_S)

    def stop(self) -> dict[str, Any]:
        """End it cleanly; gives what it told of its work."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        out, errors = self.process.communicate(timeout=ENDS_S)
        assert self.process.returncode == 0, (self.process.returncode, self.said, out, errors)
        self.said += errors.splitlines()
        found: dict[str, Any] = json.loads(out)
        return found


def started(folder: Path, *options: str, key: str = "", is_waited_for: bool = True) -> Served:
    """Start a service at any port; `key` is one that was made before."""
    command = [str(SHROFF), "-C", str(folder), "serve", "--port", "0", "--json", *options]
    key = key or key_of(folder)
    patient = {**os.environ, forks.SET: f"{PATIENT} {os.environ.get(forks.SET, '')}"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=patient)
    said: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line.rstrip("\n"))
        found = _ADDRESS.search(line)
        if found:
            service = Served(folder, process, found[1], key, said)
            if is_waited_for:
                service.wait()
            return service
    raise AssertionError(f"it did not start: {said}, status {process.wait(ENDS_S)}")


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Served]:
    """A service for as long as it is needed."""
    service = started(folder, *options)
    try:
        yield service
    finally:
        service.kill()
