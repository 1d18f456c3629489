"""A lake in a folder of this machine, the default."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from shroff.errors import StorageError
from shroff.runtime.atomic_files import LOST, sync_folder
from shroff.runtime.progress import unheard
from shroff.runtime.state_folder import make_folder
from shroff.streams.lake import ListedObject, StoredObject, check_name, digest

STEPS = ("begin", "written", "synced", "named", "done")
UNFINISHED = ".unfinished"  # folder of files that are being written
UNFINISHED_S = 3_600.0  # an older file was left by a killed process, as no object takes an hour to write
LOCK = ".lock"
OPENED_MAX = 100  # tries to open a file, each of which fails if another writer removes the folder at that moment


class FolderObjects:
    """Keeps every promise of `streams.lake.Objects` in a folder, with one file for each object.

    A file is written and synced under another name. Then it gets its own name by a hard link, which fails if the name
    is taken, or by a rename under a lock of the folder, and its folder is synced. The file system must have hard links
    and locks, as those of Linux and macOS; network shares may lack them.

    Args:
        address: The folder; created with the first object.
        on_step: Called with each of `STEPS` of writing an object; for crash tests.
    """

    def __init__(self, address: str, *, on_step: Callable[[str], None] = unheard) -> None:
        self._folder = Path(address)
        self._on_step = on_step
        self._is_ready = False

    @property
    def address(self) -> str:
        return str(self._folder)

    def put(self, name: str, data: bytes) -> bool:
        target = self._folder / check_name(name)
        with self._storage_errors(name), self._unfinished(data) as part:
            make_folder(target.parent)
            try:
                os.link(part, target)
            except FileExistsError:
                return False
            self._sync_name(target)
        return True

    def replace(self, name: str, data: bytes, version: str) -> bool:
        target = self._folder / check_name(name)
        with self._storage_errors(name), self._unfinished(data) as part, self._locked():
            current = self.get(name)
            if current is None or current.version != version:
                return False
            part.replace(target)
            self._sync_name(target)
        return True

    def get(self, name: str) -> StoredObject | None:
        with self._storage_errors(name):
            try:
                data = (self._folder / check_name(name)).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return StoredObject(data, digest(data))

    def list(self, folder: str = "") -> Iterator[ListedObject]:
        start = self._folder / check_name(folder) if folder else self._folder
        listed: list[ListedObject] = []
        with self._storage_errors(folder or "the folder"):
            for folder_path, folders, files in os.walk(start, onerror=_raise_unlisted):
                folders[:] = [folder_name for folder_name in folders if not folder_name.startswith((".", LOST))]
                here = Path(folder_path)
                for file in files:
                    if not file.startswith("."):
                        with suppress(FileNotFoundError):  # removed since
                            name = (here / file).relative_to(self._folder).as_posix()
                            listed.append(ListedObject(name, (here / file).stat().st_size))
        return iter(sorted(listed, key=lambda entry: entry.name))

    def delete(self, name: str) -> None:
        target = self._folder / check_name(name)
        with self._storage_errors(name):
            if target.parent.is_dir():
                with self._locked():
                    target.unlink(missing_ok=True)
                    sync_folder(target.parent)

    def close(self) -> None:
        """Remove the folder of unfinished files if this object has used it, and it is empty."""
        if self._is_ready:
            self._is_ready = False
            with suppress(OSError):  # it has files of other writers, or is gone
                (self._folder / UNFINISHED).rmdir()

    @contextmanager
    def _unfinished(self, data: bytes) -> Iterator[Path]:
        """Write and sync a file with these bytes under a temporary name; remove it at the end."""
        part = self._folder / UNFINISHED / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            with self._open_part(part) as file:
                self._on_step("begin")
                file.write(data)
                self._on_step("written")
                file.flush()
                os.fsync(file.fileno())
            self._on_step("synced")
            yield part
        finally:
            part.unlink(missing_ok=True)
        self._on_step("done")

    def _open_part(self, part: Path) -> BinaryIO:
        for _ in range(OPENED_MAX):
            try:
                if not self._is_ready:
                    make_folder(part.parent)
                    _clear(part.parent)
                    self._is_ready = True
                return part.open("xb")
            except FileNotFoundError:
                self._is_ready = False
        raise FileNotFoundError(errno.ENOENT, "other writers keep removing its folder", str(part.parent))

    def _sync_name(self, target: Path) -> None:
        self._on_step("named")
        sync_folder(target.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder; the system releases the lock of a killed process."""
        make_folder(self._folder)
        with (self._folder / LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _storage_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"{name} in {self._folder}: {error.strerror or error}. Check free space, write permission and "
                f"support for hard links there; then run it again"
            ) from error


def _raise_unlisted(error: OSError) -> None:
    """Raise if a folder cannot be listed, which `os.walk` would treat as empty."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > UNFINISHED_S:
                path.unlink()
