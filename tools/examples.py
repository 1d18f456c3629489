"""What examples with servers share: the servers, a copy of the project, and commands that are shown as they run."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from tools.servers.errors import ServerError, UnavailableError
from tools.servers.kinds import KINDS

PROGRAM = (sys.executable, "-m", "shroff")
CLONE = Path(__file__).resolve().parents[1]
STARTS_S = 300.0  # of a service: on a new machine it compiles first, half a minute where nothing else runs
TOLD_EVERY_S = 15.0  # while a service starts
COMPILES = "on a new machine it first compiles its kernels, half a minute or several where much else runs"
HTTP_OK = 200
INTERRUPTED = 130  # as shells have it


class FailedError(Exception):
    """A step of an example did not end as it should."""


class Stage:
    """A copy of a project's files, and the environment in which its commands run.

    Args:
        folder: The copy; commands run in it.
        environment: What the project's `${NAME}` stand for.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def shroff(self, *words: str, statuses: Sequence[int] = (0,)) -> None:
        """Show a command and run it; what it prints is seen. Raises: FailedError at another status than these."""
        self._run(f"shroff {shlex.join(words)}", [*PROGRAM, *words], self.folder, self.variables(), statuses)

    def run(
        self, *command: str, folder: Path | None = None, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Show another program's command and run it. Paths into the clone are shown relative to it.

        Args:
            folder: Where it runs; without one, in the copy of the project.
            environment: Further variables for this command.

        Raises: FailedError unless it ends with status 0.
        """
        shown = shlex.join(command).replace(f"{CLONE}/", "")
        self._run(shown, command, folder or self.folder, {**self.variables(), **environment}, (0,))

    def _run(
        self, shown: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], statuses: Sequence[int]
    ) -> None:
        print(f"\n$ {shown}", flush=True)
        # Of a session of its own, so that Ctrl-C reaches it once, by way of us.
        process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
        status = _ended(process)
        if status not in statuses:
            raise FailedError(f"'{shown}' ended with status {status}.")

    @contextmanager
    def beside(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A process that runs as long as this; its output can be read. It gets SIGTERM at the end."""
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.variables(), stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()

    def variables(self) -> Mapping[str, str]:
        """The environment of its commands."""
        return {**os.environ, **self.environment}


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for its end, and pass Ctrl-C on: what it has begun it may finish."""
    is_interrupted = False
    while process.poll() is None:
        try:
            process.wait()
        except KeyboardInterrupt:
            is_interrupted = True
            process.send_signal(signal.SIGINT)
    if is_interrupted:
        raise KeyboardInterrupt
    return int(process.returncode)


def ready(service: subprocess.Popen[str], port: int) -> None:
    """Wait until a service of this machine takes events. Raises: FailedError where it does not come to that."""
    begun_s = time.monotonic()
    told_s, waits_for = begun_s, "it does not answer yet"
    while time.monotonic() < begun_s + STARTS_S:
        if service.poll() is not None:
            raise FailedError(f"the service ended with status {service.returncode}.")
        with suppress(OSError, ValueError):  # a proxy's page is no JSON
            answer, waits_for = readiness(port)
            if answer == HTTP_OK:
                return
        if time.monotonic() - told_s >= TOLD_EVERY_S:
            told_s = time.monotonic()
            print(f"waiting for the service for {told_s - begun_s:.0f} s: {waits_for}; {COMPILES}", flush=True)
        time.sleep(0.1)
    raise FailedError(f"the service was not ready after {STARTS_S:.0f} s: {waits_for}; {COMPILES}.")


def readiness(port: int) -> tuple[int, str]:
    """Return the status of a service's readiness, and what the service does instead of accepting events.

    Raises: OSError if it does not answer.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=10)  # it is asked again
    with closing(connection):
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        state = json.loads(response.read()).get("state", "unknown")
    return response.status, f"its state is {state}"


def play(project: Path, servers: Mapping[str, str], folder: Path | None, steps: Callable[[Stage], None]) -> int:
    """Start servers, copy a project, take its steps, and leave nothing behind; gives an exit status.

    Args:
        project: The folder of the example; its Python files are copied, too.
        servers: The kind of server whose `HOST:PORT` a variable of the environment has, with Redis its whole URL.
            Where a variable is set already, that server is taken and none is started.
        folder: Where the copy goes and stays; without it into a temporary one, which is removed.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if folder is not None and folder.exists():
        print(f"{folder} is there already; name a folder that is not.", file=sys.stderr)
        return 2
    with ExitStack() as opened:
        try:
            environment = {name: _address(kind, name, opened) for name, kind in servers.items()}
            temporary = None if folder else opened.enter_context(tempfile.TemporaryDirectory(prefix="shroff-example-"))
            copy = (folder or Path(str(temporary))).resolve() / ("" if folder else project.name)
            shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".shroff", "__pycache__"))
            steps(Stage(copy, environment))
        except (UnavailableError, ServerError, FailedError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nstopping ...", file=sys.stderr)
            return INTERRUPTED
        if folder is None:
            script = f"examples/{project.name}/run.py"
            print(f"\nThe project was temporary and is gone. To keep one: .venv/bin/python {script} --folder DIR")
        else:
            print(f"\nAll of it is in {copy}.")
    return 0


def _address(kind: str, variable: str, opened: ExitStack) -> str:
    """Where a server answers, as `HOST:PORT`, one after a comma for each of several."""
    if there := os.environ.get(variable):
        return there
    print(f"{kind}: starting ...", file=sys.stderr, flush=True)
    address = opened.enter_context(KINDS[kind]()).address
    is_whole = kind == "redis" or "://" not in address
    found = address if is_whole else urlsplit(address).netloc.rpartition("@")[2]
    print(f"{kind}: {found}", file=sys.stderr, flush=True)
    return found
