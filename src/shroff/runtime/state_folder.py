"""The folder that the program writes: private files, locks, and folders that survive a power loss."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shroff.errors import LogBusyError, StorageError, os_words
from shroff.runtime.atomic_files import sync_folder

STATE_FOLDER = ".shroff"
FILE_MODE = 0o640  # of files with keys of entities in clear
FOLDER_MODE = 0o750


@contextmanager
def lock_file(path: Path, busy: str = "") -> Iterator[None]:
    """Hold a lock at this path; the system releases it when the process ends.

    Raises: LogBusyError with the message `busy`, if another process has the lock; without a message, wait for it.
        StorageError.
    """
    try:
        make_folder(path.parent)
        file = open_private(path, "a")
    except OSError as error:
        raise StorageError(f"{os_words(error, path, ' cannot be written')}. Nothing was changed.") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise LogBusyError(busy) from None
        yield


def make_folder(path: Path) -> None:
    """Make a missing folder, durable on return. Raises: OSError."""
    if is_in_state_folder(path):
        missing = [parent for parent in (path, *path.parents) if not parent.exists()]
        for folder in reversed(missing):
            folder.mkdir(FOLDER_MODE if is_in_state_folder(folder) else 0o777, exist_ok=True)
        _restrict(path)
    path.mkdir(parents=True, exist_ok=True)
    sync_folder(path.parent)


def is_in_state_folder(path: Path) -> bool:
    return STATE_FOLDER in path.parts


def open_private(path: Path, mode: str = "wb", encoding: str | None = None) -> Any:
    """Open a file; only owner and group can read a new one. Raises: OSError."""
    return open(path, mode, encoding=encoding, opener=lambda name, flags: os.open(name, flags, FILE_MODE))


def _restrict(path: Path) -> None:
    """Remove the rights of other users from the whole state folder; a copied one may have them."""
    top = Path(*path.parts[: path.parts.index(STATE_FOLDER) + 1])
    if stat.S_IMODE(top.stat().st_mode) & 0o007:
        with suppress(OSError):  # of another user
            for inner in (*top.rglob("*"), top):  # the top last: until then the next call repeats this
                inner.chmod(stat.S_IMODE(inner.stat().st_mode) & ~0o007)
