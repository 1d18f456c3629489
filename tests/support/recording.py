"""Everything that a program does to the files of one folder, recorded in its order: SQLite's own work and Python's.

Needs `apsw`, which lets Python stand between SQLite and the operating system. While a recording runs,
`sqlite3.connect` opens such connections, and `os.fsync`, `os.replace` and `os.unlink` are watched.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any, Final
from unittest.mock import patch

import apsw

from tests.support.power import Cut, Dropped, FolderSynced, Made, Moved, Named, Operation, RouteDoc, Synced, Written

UNKEPT: Final = "-shm"  # SQLite's index of its write-ahead log lies in memory and is made anew after a start
_NEW_FOLDER_ENTRY: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class Recording:
    """The operations on the files of a folder since the recording began.

    SQLite's come one by one as it does them. Python's own writes are seen as far as they have reached the file,
    whenever one is synced, moved or removed, and at each `look`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.start = files_in(self.folder)
        self.operations: list[Operation] = []
        self._files = {path: number for number, path in enumerate(self.start)}  # by the names that they have now
        self._seen = dict(self.start)  # contents of the files that Python writes
        self._of_sqlite: set[str] = set()
        self._count = len(self._files)
        self._folders = set(_folders_in(self.folder))

    def told(self, words: str, number: int = 0) -> None:
        """Note that the program told somebody something."""
        self.operations.append(RouteDoc(words, number))

    def look(self) -> None:
        """See what Python has made and written since the last look."""
        for folder in _folders_in(self.folder):
            if folder not in self._folders:
                self._folders.add(folder)
                self.operations.append(Made(folder))
        inodes = {self._inode(path): path for path in self._files if (self.folder / path).exists()}
        for path in _paths_in(self.folder):
            if path in self._of_sqlite:
                continue
            if path not in self._files:
                other = inodes.get(self._inode(path))  # a second name of the same file, as `os.link` makes
                self.name(path, None if other is None else self._files[other])
                self._seen[path] = b"" if other is None else self._seen[other]
            now, before = (self.folder / path).read_bytes(), self._seen[path]
            if now != before:
                self._changed(self._files[path], before, now)
                self._seen[path] = now

    def _changed(self, file: int, before: bytes, now: bytes) -> None:
        same = len(before) if now.startswith(before) else 0
        if len(now) < len(before):
            self.operations.append(Cut(file, len(now)))
        if same < len(now):
            self.operations.append(Written(file, same, now[same:]))

    def _inode(self, path: str) -> int:
        return (self.folder / path).stat().st_ino

    def place(self, path: str) -> str | None:
        """The path below the folder, None for one that is elsewhere."""
        whole = Path(path).absolute()
        whole = whole.parent.resolve() / whole.name
        return str(whole.relative_to(self.folder)) if whole.is_relative_to(self.folder) else None

    def opened(self, path: str) -> int:
        """The number of a file that SQLite opens, and from now on writes."""
        self._of_sqlite.add(path)
        if path not in self._files:
            self.name(path)
        return self._files[path]

    def name(self, path: str, file: int | None = None) -> None:
        """Note a name that is new; without `file`, of a new file."""
        if file is None:
            file, self._count = self._count, self._count + 1
        self._files[path] = file
        self.operations.append(Named(path, file))

    def dropped(self, path: str) -> None:
        """Note that a name was removed."""
        self._files.pop(path, None)
        self._of_sqlite.discard(path)
        self._seen.pop(path, None)
        self.operations.append(Dropped(path))

    def moved(self, old: str, new: str) -> None:
        """Note that a file has another name now."""
        self._files[new], self._seen[new] = self._files.pop(old), self._seen.pop(old)
        self.operations.append(Moved(old, new))

    def synced(self, descriptor: int) -> None:
        """Note that Python synced a file or a folder."""
        inode = os.fstat(descriptor).st_ino
        if self.folder.stat().st_ino == inode:
            self.operations.append(FolderSynced("."))
        for path in self.folder.rglob("*"):
            if path.stat().st_ino == inode:
                inside = str(path.relative_to(self.folder))
                self.operations.append(FolderSynced(inside) if path.is_dir() else Synced(self._files[inside]))
                return


@contextmanager
def recording(folder: Path) -> Iterator[Recording]:
    """Record what is done to the files of a folder, SQLite's by a library of its own.

    One at a time, in one process. The folder must be there, and no file of it open.
    """
    kept = Recording(folder)
    fsync, replace, unlink = os.fsync, os.replace, os.unlink

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        kept.look()
        kept.synced(descriptor)

    def replaced(old: Any, new: Any) -> None:
        kept.look()
        replace(old, new)
        if (place := kept.place(os.fspath(old))) is not None:
            kept.moved(place, kept.place(os.fspath(new)) or "")

    def removed(path: Any, **options: Any) -> None:
        kept.look()
        unlink(path, **options)
        if "dir_fd" not in options and (place := kept.place(os.fspath(path))) is not None:
            kept.dropped(place)

    files = _RecordedFiles(kept)
    try:
        with (
            patch.object(os, "fsync", synced),
            patch.object(os, "replace", replaced),
            patch.object(os, "unlink", removed),
            patch.object(sqlite3, "connect", _connect),
        ):
            yield kept
        kept.look()
    finally:
        files.unregister()


def files_in(folder: Path) -> dict[str, bytes]:
    """All files below a folder that a power loss may leave, by their paths in it."""
    return {path: (folder / path).read_bytes() for path in _paths_in(folder)}


def put_files(folder: Path, files: dict[str, bytes]) -> None:
    """Make a folder hold these files and the folders that they are in, and nothing else: no folder without a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in list(folder.iterdir()):
        if path.is_dir():
            rmtree(path)
        else:
            path.unlink()
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _folders_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir())


def _paths_in(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(UNKEPT))
    return sorted(str(path.relative_to(folder)) for path in found)


# Below: SQLite's files, and a connection that has of `sqlite3` what the adapters use


class _RecordedFiles(apsw.VFS):
    """SQLite's usual files, each change noted once it was done."""

    NAME: Final = "recorded"

    def __init__(self, kept: Recording) -> None:
        self._kept = kept
        super().__init__(self.NAME, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 (SQLite's)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        place = None if path is None else self._kept.place(path)
        if place is None:
            return super().xOpen(name, flags)
        file = _RecordedFile(name, flags)
        file.kept, file.number = self._kept, self._kept.opened(place)
        may_make = flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _NEW_FOLDER_ENTRY
        file.unsynced_folder = str(Path(place).parent) if may_make else ""
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 (SQLite's)
        super().xDelete(filename, syncdir)
        if (place := self._kept.place(filename)) is not None:
            self._kept.dropped(place)
            if syncdir:
                self._kept.operations.append(FolderSynced(str(Path(place).parent)))


class _RecordedFile(apsw.VFSFile):
    """One of SQLite's files."""

    kept: Recording
    number: int
    unsynced_folder: str  # with its first sync of a journal that it may have made, SQLite syncs the folder

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 (SQLite's)
        super().xWrite(data, offset)
        self.kept.operations.append(Written(self.number, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 (SQLite's)
        super().xTruncate(newsize)
        self.kept.operations.append(Cut(self.number, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802 (SQLite's)
        super().xSync(flags)
        self.kept.operations.append(Synced(self.number))
        if self.unsynced_folder:
            self.kept.operations.append(FolderSynced(self.unsynced_folder))
            self.unsynced_folder = ""


class _Cursor:
    """The answer to one statement."""

    def __init__(self, cursor: apsw.Cursor, rowcount: int, lastrowid: int) -> None:
        self._cursor, self.rowcount, self.lastrowid = cursor, rowcount, lastrowid

    def fetchone(self) -> Any:
        with _errors():
            return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        with _errors():
            return self._cursor.fetchall()


class _Connection:
    """What the adapters use of `sqlite3.Connection`, with its errors."""

    def __init__(self, uri: str, timeout_s: float) -> None:
        how = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        with _errors():
            self._held = apsw.Connection(uri, flags=how, vfs=_RecordedFiles.NAME)
            self._held.set_busy_timeout(int(timeout_s * 1_000))

    def execute(self, sql: str, values: Sequence[Any] = ()) -> _Cursor:
        return self._run(lambda: self._held.execute(sql, tuple(values)))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> _Cursor:
        return self._run(lambda: self._held.executemany(sql, map(tuple, rows)))

    def _run(self, statement: Callable[[], apsw.Cursor]) -> _Cursor:
        with _errors():
            before = self._held.total_changes()
            cursor = statement()
            return _Cursor(cursor, self._held.total_changes() - before, self._held.last_insert_rowid())

    def executescript(self, sql: str) -> None:
        with _errors():
            self._held.execute(sql)

    @property
    def in_transaction(self) -> bool:
        return self._held.in_transaction

    def close(self) -> None:
        with _errors():
            self._held.close()


def _connect(name: str, *, timeout: float, **_options: object) -> _Connection:
    return _Connection(name, timeout)


@contextmanager
def _errors() -> Iterator[None]:
    """Raise SQLite's errors as the standard library has them."""
    try:
        yield
    except apsw.Error as error:
        kind = sqlite3.IntegrityError if isinstance(error, apsw.ConstraintError) else sqlite3.OperationalError
        raised = kind(str(error))
        raised.sqlite_errorcode = getattr(error, "extendedresult", sqlite3.SQLITE_ERROR)
        raise raised from error
