"""One server for a whole run of tests, whichever of its processes asks first.

A keeper of its own starts the server and ends it when the run's first process is gone, however it went. What the
run may know of it stands in a file: its address, or why there is none.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tools.servers.errors import ServerError, UnavailableError
from tools.servers.kafka import Kafka
from tools.servers.kinds import KINDS
from tools.servers.process import Server

ROOT: Final = Path(__file__).resolve().parents[2]
# One broker does for tests in which none fails; those in which one does start their own three.
FOR_TESTS: Final[Mapping[str, Callable[[], Server]]] = {**KINDS, Kafka.kind: partial(Kafka, n_brokers=1)}


@dataclass(frozen=True, slots=True)
class Kept:
    """A server that runs for others, as its clients need it. `why_not` says why it cannot be had here."""

    kind: str
    address: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    why_not: str = ""


def kept(kind: str, folder: Path, owner: int) -> Kept:
    """The run's server of a kind, started by who asks first.

    Args:
        kind: A name of `KINDS`.
        folder: Of the run, the same for all its processes; logs stay in it.
        owner: The process whose end ends the server.

    Raises: UnavailableError where it cannot be had; ServerError where it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = folder / f"{kind}.json"
    with (folder / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            _start_keeper(kind, told, owner)
    found = Kept(**json.loads(told.read_text(encoding="utf-8")))
    if found.why_not:
        raise UnavailableError(found.why_not)
    return found


def _start_keeper(kind: str, told: Path, owner: int) -> None:
    log = told.with_suffix(".keeper.log")
    with log.open("ab") as out:
        command = [sys.executable, "-m", "tools.servers.keep", kind, str(told), str(owner)]
        subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False)
    if not told.exists():
        raise ServerError(f"the keeper of {kind} ended:\n{log.read_text(encoding='utf-8')[-2000:]}")


def main(kind: str, told: Path, owner: int) -> None:
    """Start a keeper that outlives this process, and return when it has told how its server is."""
    ready, is_ready = os.pipe()
    if os.fork():
        os.close(is_ready)
        os.read(ready, 1)  # a byte when told, or the end of a keeper that failed
        return
    os.close(ready)
    os.setsid()
    watched = os.pidfd_open(owner)
    server = FOR_TESTS[kind]()
    try:
        found = _started(server)
        beside = told.with_suffix(".new")
        beside.write_text(json.dumps(asdict(found)), encoding="utf-8")
        beside.replace(told)
        os.close(is_ready)
        if not found.why_not:
            select.select([watched], [], [])
    finally:
        for log in server.logs():
            shutil.copy(log, told.parent / f"{kind}.{log.name}")
        server.close()


def _started(server: Server) -> Kept:
    try:
        server.start()
    except UnavailableError as error:
        return Kept(server.kind, why_not=str(error))
    return Kept(server.kind, server.address, server.details)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
