"""A disk and a clock that somebody else's process believes in, made worse on purpose: no root, no mount, no container.

A library that goes in front of the C library (`surroundings.c`, by LD_PRELOAD) delays and fails what the process
writes below one folder, and shifts the time that it is told. It is steered through a file, while the process runs.
Programs that do not go through the C library (Go's) notice nothing.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tools.servers.errors import ServerError
from tools.servers.fetching import compiler, made

SOURCE: Final = Path(__file__).with_name("surroundings.c")
FILE: Final = "SHROFF_SURROUNDINGS"
NO_LIMIT: Final = -1
_MAPPED_BYTES: Final = 4_096
_FIELDS: Final = (
    "clock_ms",
    "room_bytes",
    "sync_us",
    "write_us",
    "sync_fails",
    "step_kills",
    "n_refused",
    "n_slowed",
    "n_failed",
    "n_shifted",
)


class Surroundings:
    """What the processes that have its `env` believe of their disk below `folder`, and of their clock.

    Set a fault and take it back with `heal`; the counts say whether it was felt. A fault that nobody felt proves
    nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="shroff-surroundings-"))
        self._place.chmod(0o755)  # a server may run as another user
        self.file = self._place / "asked"
        with self.file.open("w+b") as file:
            file.truncate(_MAPPED_BYTES)
            self._mapped = mmap.mmap(file.fileno(), _MAPPED_BYTES)
        self.file.chmod(0o666)
        below = f"{folder.resolve()}/".encode() if str(folder) else b""
        self._mapped[8 * len(_FIELDS) : 8 * len(_FIELDS) + len(below)] = below
        self.heal()

    @property
    def env(self) -> Mapping[str, str]:
        """With this in its environment a process starts in these surroundings. Raises: UnavailableError."""
        found = self._place / "surroundings.so"
        if not found.exists():
            shutil.copy(library(), found)
        return {"LD_PRELOAD": str(found), FILE: str(self.file)}

    # ---- faults

    def full(self, room_bytes: int = 0) -> None:
        """The disk takes so many bytes more, and then refuses whatever makes a file longer (ENOSPC)."""
        self._set("room_bytes", room_bytes)

    def slow(self, *, sync_ms: float = 0.0, write_ms: float = 0.0) -> None:
        """Each sync and each write takes so much longer."""
        self._set("sync_us", round(sync_ms * 1_000))
        self._set("write_us", round(write_ms * 1_000))

    def fail_sync(self, number: int = 1) -> None:
        """One sync fails as on a disk that breaks (EIO): the next one, or a later one by its number."""
        self._set("sync_fails", number)

    def kill_at_step(self, number: int = 1) -> None:
        """The process is killed before a write or sync: the next one, or a later one by its number."""
        self._set("step_kills", number)

    def shift_clock(self, ms: int) -> None:
        """The wall clock is so far ahead of the real one, or behind it; clocks that only measure go on."""
        self._set("clock_ms", ms)

    def heal(self) -> None:
        """All is well again; the counts begin anew."""
        for name in _FIELDS:
            self._set(name, NO_LIMIT if name == "room_bytes" else 0)

    # ---- what was felt of them

    @property
    def n_refused(self) -> int:
        return self._get("n_refused")

    @property
    def n_slowed(self) -> int:
        return self._get("n_slowed")

    @property
    def n_failed(self) -> int:
        return self._get("n_failed")

    @property
    def n_shifted(self) -> int:
        return self._get("n_shifted")

    def close(self) -> None:
        """Remove what steers it. Processes that still run in these surroundings keep the last ones."""
        self._mapped.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set(self, name: str, value: int) -> None:
        struct.pack_into("q", self._mapped, 8 * _FIELDS.index(name), value)

    def _get(self, name: str) -> int:
        found: int = struct.unpack_from("q", self._mapped, 8 * _FIELDS.index(name))[0]
        return found


def library() -> Path:
    """The compiled library; made once. Raises: UnavailableError where there is no compiler and none can be fetched."""
    source = SOURCE.read_bytes()
    with made(f"surroundings-{sha256(source).hexdigest()[:16]}") as (folder, is_there):
        found = folder / "surroundings.so"
        if not is_there:
            folder.mkdir(parents=True)
            command, env = compiler()
            # Without the C library: the process that it goes into has one.
            options = ["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-nostdlib"]
            done = subprocess.run(
                [*command, *options, "-o", str(found), str(SOURCE)],
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise ServerError(f"{SOURCE.name} was not compiled: {done.stderr[-800:]}")
    return found
