"""Ports on loopback that nobody else takes while they are held."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import IO, Final

from tools.servers.errors import ServerError
from tools.servers.fetching import cache

FIRST: Final = 21_000  # below the ports that systems hand out by themselves
LAST: Final = 31_000


class Port:
    """A port of our own: a locked file keeps other runs off until it is let go."""

    number: int

    def __init__(self) -> None:
        folder = cache() / "ports"
        folder.mkdir(parents=True, exist_ok=True)
        start = FIRST + (os.getpid() * 37) % (LAST - FIRST)
        for number in (*range(start, LAST), *range(FIRST, start)):
            held = (folder / str(number)).open("w")
            if _is_locked(held) and _is_free(number):
                self.number, self._held = number, held
                return
            held.close()
        raise ServerError(f"no port between {FIRST} and {LAST} is free.")

    def close(self) -> None:
        """Let others have it."""
        self._held.close()


def _is_locked(held: IO[str]) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_free(number: int) -> bool:
    """Whether any program may listen there; a connection that ended keeps its port from those without address reuse."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True
