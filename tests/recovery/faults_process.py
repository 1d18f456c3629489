"""Processes of the program that cost 0.1 s instead of 1.5: forked from one that has it loaded, in any surroundings.

`Stable` starts that process with the library of `tools.servers.surroundings` in front of it, so that the disk and the
clock of each process that is forked from it can be made worse. A process runs the command line that a user would.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

from tests.support import forks
from tools.servers.surroundings import FILE, Surroundings, library

ROOT: Final = Path(__file__).resolve().parents[2]
SHROFF: Final = Path(sys.executable).with_name("shroff")
ENDS_WITHIN_S: Final = 120.0
BEGINS_WITHIN_S: Final = 5.0 if "_json" in sys.builtin_module_names else ENDS_WITHIN_S
_FIRST_LOADED: Final = "/_json."
_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG
_MESSAGE_BYTES: Final = 65_536


@dataclass(slots=True)
class Process:
    """A running command, and how it ended."""

    pid: int
    command: Sequence[str]
    stable: Stable | None
    status: int | None = None

    @property
    def is_running(self) -> bool:
        return self.status is None and not self._has_ended(0)

    def wait(self, within_s: float = ENDS_WITHIN_S) -> int:
        """Its exit status, or minus the signal that ended it. Raises: TimeoutError, and kills it first."""
        if self.status is None and not self._has_ended(within_s):
            self.kill()
            raise TimeoutError(f"{' '.join(self.command)} did not end within {within_s} s")
        assert self.status is not None
        return self.status

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended takes none."""
        if self.is_running:
            os.kill(self.pid, number)

    def begin(self) -> None:
        """Wait until the program itself runs, which says what Ctrl-C means: in what comes before it is Python's word.

        It is seen by a library that the program loads before all; where Python has that built in, time has to do.
        """
        until = time.monotonic() + BEGINS_WITHIN_S
        with contextlib.suppress(OSError):
            while self.is_running and time.monotonic() < until:
                if _FIRST_LOADED in Path(f"/proc/{self.pid}/maps").read_text(encoding="utf-8"):
                    return
                time.sleep(0.002)

    def kill(self) -> int:
        """End it at once, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def _has_ended(self, within_s: float) -> bool:
        if self.status is not None:
            return True
        try:
            watched = os.pidfd_open(self.pid)
        except ProcessLookupError:
            watched = -1
        if watched >= 0:
            ready, _, _ = select.select([watched], [], [], within_s)
            os.close(watched)
            if not ready:
                return False
        if self.stable is not None:
            self.status = self.stable.reap(self.pid)
        else:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return True


class Stable:
    """Where processes of the program come from. One thread uses it at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        with theirs:
            self._running = subprocess.Popen(
                [sys.executable, "-m", "tests.recovery.faults_process", str(theirs.fileno())],
                cwd=ROOT,
                env={**os.environ, "LD_PRELOAD": str(library()), FILE: ""},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        assert self._socket.recv(_MESSAGE_BYTES) == b"ready", "the process to fork from did not start"

    def start(
        self,
        command: Sequence[str],
        surroundings: Surroundings,
        *,
        stdin: int = -1,
        stdout: int = -1,
        stderr: Path,
        broken: str = "",
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Run `shroff` with these arguments. -1 is nothing to read, and nobody who reads.

        `broken` names a function of `faults_broken` that breaks the program first.
        """
        with contextlib.ExitStack() as opened:
            nothing = opened.enter_context(Path(os.devnull).open("r+b"))
            errors = opened.enter_context(stderr.open("ab"))
            files = [nothing.fileno() if item < 0 else item for item in (stdin, stdout)] + [errors.fileno()]
            asked = {
                "command": list(command),
                "surroundings": str(surroundings.file),
                "broken": broken,
                "env": dict(env or {}),
            }
            socket.send_fds(self._socket, [json.dumps(asked).encode()], files)
            return Process(int(self._socket.recv(_MESSAGE_BYTES)), ("shroff", *command), self)

    def reap(self, pid: int) -> int:
        """How a process of ours ended that has."""
        self._socket.send(json.dumps({"reap": pid}).encode())
        return int(self._socket.recv(_MESSAGE_BYTES))

    def close(self) -> None:
        """End it, and whatever still runs of it."""
        self._socket.close()
        self._running.wait(ENDS_WITHIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def started_as_users_do(
    command: Sequence[str],
    surroundings: Surroundings,
    *,
    stdin: int = -1,
    stdout: int = -1,
    stderr: Path,
    env: Mapping[str, str] | None = None,
) -> Process:
    """The same with the program started anew: what `Stable.start` leaves out is in it."""
    with Path(os.devnull).open("r+b") as nothing, stderr.open("ab") as errors:
        files = [nothing.fileno() if item < 0 else item for item in (stdin, stdout)] + [errors.fileno()]
        pid = os.posix_spawnp(
            "setpriv",
            ["setpriv", "--pdeathsig", "KILL", str(SHROFF), *command],
            {**os.environ, **surroundings.env, **(env or {})},
            file_actions=[(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)],
        )
    return Process(pid, ("shroff", *command), None)


# ---- below: the process that is forked from


def _serve(connection: socket.socket) -> None:
    _load()
    gc.freeze()
    connection.send(b"ready")
    while True:
        data, files, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 3)
        if not data:
            return
        asked = json.loads(data)
        if "PUBSUB_EMULATOR_HOST" in asked.get("env", {}):
            import_module("google.cloud.pubsub_v1")  # 2 s, once, and only where it is used
        if "reap" in asked:
            told = os.waitstatus_to_exitcode(os.waitpid(asked["reap"], 0)[1])
        else:
            told = os.fork() or _run(files, **asked)
        for file in files:
            os.close(file)
        connection.send(str(told).encode())


def _load() -> None:
    """Import what commands need, and load compiled code: the first start pays for all."""
    for name in (
        "confluent_kafka",
        "psycopg",
        "redis",
        "pymysql",
        "obstore",
        "sqlalchemy",
        "shroff.__main__",
        "shroff.cli.main",
    ):
        import_module(name)  # the last two, so that an early Ctrl-C finds the program, and not what is below
    from shroff.cli import decide, ingest, run  # noqa: F401 - it only loads
    from shroff.log.state import snapshots
    from shroff.operations import manifest
    from shroff.services import project as app

    manifest.load_all()

    from . import faults_broken  # noqa: F401 - no process imports it when Ctrl-C may come already
    from .harness import make_project, write_events

    forks.make_cheap(setattr)
    every = snapshots.EVERY
    with tempfile.TemporaryDirectory() as folder:
        project = app.open(make_project(Path(folder) / "bank"))
        snapshots.EVERY = 0
        for seed in (1, 2):  # the second takes up what the first one saved
            project.ingest([write_events(Path(folder) / "events.jsonl", 200, seed)])
        snapshots.EVERY = every
        project.verify()


def _run(
    files: Sequence[int], command: Sequence[str], surroundings: str, broken: str, env: Mapping[str, str]
) -> NoReturn:
    """In the forked process: never comes back."""
    code = 70
    try:
        library_ = ctypes.CDLL(None)
        library_.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        assert library_.surroundings(surroundings.encode()) == 0, "the surroundings are not there"
        os.setsid()
        os.environ.update(env)
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.closerange(3, 256)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.argv = ["shroff", *command]
        from shroff.__main__ import main

        if broken:
            from . import faults_broken

            getattr(faults_broken, broken)()

        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 (a forked process must not go on as the one it came from)
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        _serve(given)
