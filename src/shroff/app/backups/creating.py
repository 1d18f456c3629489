"""Makes backups beside a project's writers: full ones, and every few seconds what changed since (the tail)."""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

import shroff
from shroff import config
from shroff.app.backups import project_files
from shroff.app.backups.sqlite_pages import CERTAIN_NS, RESTART_FRAMES, PageChanges, PagePosition, SqlitePages
from shroff.app.backups.vault import BackedUpDatabase, BackupPoint, Vault, new_id
from shroff.errors import StorageError, UsageError
from shroff.language.values import DAY_MS
from shroff.runtime.whole_files import whole_file

if TYPE_CHECKING:
    from shroff.app.opened import Opened

PIECE_PAGES: Final = 512  # of a piece: 4 MB
FULL_MS: Final = DAY_MS  # after which the next backup is a full one
TAILS_BYTES: Final = 256 * 1024 * 1024  # which are read in seconds, however small the log is


class BackupNote(msgspec.Struct, frozen=True):
    """The last backup of this project, as this machine knows it: .shroff/backup.json."""

    id: str
    address: str = ""
    number: int = 0
    at_ms: int = 0


class BackupWriter:
    """Makes the backups of one project, one process at a time. Use it as a context manager."""

    def __init__(self, opened: Opened, vault: Vault) -> None:
        self._opened, self._vault, self._folder = opened, vault, opened.places.folder
        self._pages: dict[str, SqlitePages] = {}
        self._seen: dict[str, tuple[tuple[int, ...], tuple[int, list[str]]]] = {}
        self._last: tuple[BackupPoint, str] | None = None
        self._files: dict[str, tuple[int, list[str]]] = {}
        self._full_ms = self._number = self._tails_bytes = 0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Raises: LogBusyError where another process makes backups; UsageError as `Vault.begin`."""
        address = Path(self._vault.address)
        if address.is_absolute() and address.resolve().is_relative_to(self._folder.resolve()):
            raise UsageError(f"{address} is in the project's folder, and would be lost with it. Name another place.")
        if self._opened.systems.store is not None:
            raise UsageError(
                "the log of this project is in a database server, which 'shroff backup' does not copy. Use its "
                "own tools, pg_dump or mariadb-dump, and copy the project's folder beside."
            )
        state = self._opened.places.state
        words = "another process, such as 'shroff backup create --follow', makes backups of this project"
        self._open.enter_context(config.alone(state / "backup.lock", words))
        try:
            if (note := read_note(state)) is None:  # known before the place is marked with it
                write_note(state, note := BackupNote(new_id()))
            self._id = note.id
            self._vault.begin(note.id, self._folder.name)
            if numbers := self._vault.numbers():
                self._number = numbers[-1]
                with suppress(StorageError):  # a tail cannot follow what is damaged: the next backup is a full one
                    chain = list(self._vault.chain(self._number))
                    self._files = next(point.files for point, _ in chain if point.files is not None)
                    self._tails_bytes = sum(point.bytes for point, _ in chain[:-1])
                    self._full_ms, self._last = chain[-1][0].at_ms, chain[0]
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._pages.values():
            one.close()
        self._open.close()

    def create(self, *, is_full: bool = False) -> BackupPoint | None:
        """Make a backup: the tail where that is enough, else a full one. None where nothing changed.

        A full one that is asked for trusts nothing: files are read again, and damaged pieces are stored anew.

        Raises: StorageError, TransientError where a file or the place cannot be read or written.
        """
        now_ms = self._opened.now_ms()
        last = None if self._last is None else self._last[0]
        at_ms = now_ms if last is None else max(now_ms, last.at_ms)
        if is_full:
            self._seen.clear()
        self._vault.is_distrusting = is_full
        if last is None or is_full or at_ms - self._full_ms >= FULL_MS or self._are_tails_long(last):
            return self._full(at_ms)
        before = self._vault.stored
        with config.editing(self._opened.places):
            changes = self._tail_of(last)
            found, secrets = self._scan({name: one for name, one in self._files.items() if _is_snapshot(name)})
        if changes is None or changes.keys() != set(project_files.databases(self._folder)):
            return self._full(at_ms)
        if found == self._files and not any(one.changed for one in changes.values()):
            self._write_note(last.number, at_ms)
            return None
        kept = {
            name: self._stored(name, one, None, self._written(one.blocks(PIECE_PAGES))) for name, one in changes.items()
        }
        return self._add(at_ms, kept, None if found == self._files else found, secrets, before)

    def _full(self, at_ms: int) -> BackupPoint:
        before = self._vault.stored
        saved = {name: self._file(name) for name in project_files.snapshots(self._folder)}
        with config.editing(self._opened.places):
            names = project_files.databases(self._folder)
            changes = {name: self._reader(name).changes(None) for name in names}
            found, secrets = self._scan({name: one for name, one in saved.items() if one is not None})
        kept = {}
        for name, one in changes.items():
            if one is None:
                raise StorageError(f"{name} cannot be read. Run 'shroff doctor'")
            blocks = self._reader(name).file_blocks(PIECE_PAGES * one.page_bytes)
            whole = self._vault.put_all(blocks)
            kept[name] = self._stored(name, one, whole, self._written(one.blocks(PIECE_PAGES)))
        self._full_ms = at_ms
        return self._add(at_ms, kept, found, secrets, before, is_full=True)

    def _tail_of(self, last: BackupPoint) -> dict[str, PageChanges] | None:
        """What each database changed since a point; None where one has to be read as a whole."""
        found = {}
        for name, one in last.databases.items():
            if not (self._folder / name).is_file():
                return None
            since, reader = PagePosition(*one.read_to), self._reader(name)
            changes = reader.begin_again(since) if since.frames > RESTART_FRAMES else reader.changes(since)
            if changes is None:
                return None
            found[name] = changes
        return found

    def _are_tails_long(self, last: BackupPoint) -> bool:
        """Whether a restore would read more of tails than of the full backup, which is about a quarter of the log."""
        log_bytes = sum(one.pages * one.page_bytes for one in last.databases.values())
        return self._tails_bytes > max(TAILS_BYTES, log_bytes // 4)

    def _reader(self, name: str) -> SqlitePages:
        if name not in self._pages:
            self._pages[name] = SqlitePages(self._folder / name)
        return self._pages[name]

    def _stored(self, name: str, one: PageChanges, whole: list[str] | None, changed: list[str]) -> BackedUpDatabase:
        last_seq = self._reader(name).number("SELECT max(seq) FROM events") if one.pages else 0
        at = (one.at.salt, one.at.frames, one.at.check)
        return BackedUpDatabase(one.page_bytes, one.pages, at, whole, changed, last_seq)

    def _written(self, blocks: Iterator[dict[int, bytes]]) -> list[str]:
        return [self._vault.put(pages_bytes(block)) for block in blocks]

    def _scan(self, found: dict[str, tuple[int, list[str]]]) -> tuple[dict[str, tuple[int, list[str]]], dict[str, str]]:
        """The project's files, of which those that changed are stored; and the fingerprints of secrets."""
        stored, secret = project_files.files(self._folder)
        for name in stored:
            if (kept := self._file(name)) is not None:
                found[name] = kept
        secrets = {}
        for name in secret:
            with suppress(FileNotFoundError):
                secrets[name] = project_files.fingerprint(name, (self._folder / name).read_bytes())
        return found, secrets

    def _file(self, name: str) -> tuple[int, list[str]] | None:
        """A file's permissions and pieces; None where it is gone. Read only where it is another one than before."""
        path = self._folder / name
        try:
            with path.open("rb") as file:
                state = os.fstat(file.fileno())
                mark = (state.st_mtime_ns, state.st_size, state.st_ino, state.st_mode)
                if name in self._seen and self._seen[name][0] == mark:
                    return self._seen[name][1]
                is_certain = time.time_ns() - state.st_mtime_ns > CERTAIN_NS
                pieces = [self._vault.put(data) for data in iter(lambda: file.read(PIECE_PAGES * 8_192), b"")]
                found = stat.S_IMODE(state.st_mode), pieces
                if is_certain:  # else it may be written again, with the same times
                    self._seen[name] = mark, found
                return found
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from None

    def _add(
        self,
        at_ms: int,
        kept: dict[str, BackedUpDatabase],
        found: dict[str, tuple[int, list[str]]] | None,
        secrets: dict[str, str],
        before: int,
        *,
        is_full: bool = False,
    ) -> BackupPoint:
        digest, size = "" if self._last is None else self._last[1], self._vault.stored - before
        number = self._number + 1
        point = BackupPoint(self._id, number, at_ms, is_full, digest, shroff.__version__, kept, found, secrets, size)
        self._last, self._number = (point, self._vault.add(point)), number
        self._tails_bytes = 0 if is_full else self._tails_bytes + size
        self._files = self._files if found is None else found
        self._write_note(point.number, at_ms)
        return point

    def _write_note(self, number: int, at_ms: int) -> None:
        write_note(self._opened.places.state, BackupNote(self._id, self._vault.address, number, at_ms))


def pages_bytes(pages: dict[int, bytes]) -> bytes:
    """Pages as one piece: how many, their numbers, and then each."""
    numbers = sorted(pages)
    return struct.pack(f"<{len(numbers) + 1}I", len(numbers), *numbers) + b"".join(pages[one] for one in numbers)


def pages_of(data: bytes, page_bytes: int) -> dict[int, bytes]:
    """The pages of a piece."""
    (count,) = struct.unpack_from("<I", data)
    numbers = struct.unpack_from(f"<{count}I", data, 4)
    start = 4 * (count + 1)
    return {one: data[start + place * page_bytes :][:page_bytes] for place, one in enumerate(numbers)}


def read_note(state: Path) -> BackupNote | None:
    """The last backup that this machine made; None where it made none."""
    try:
        return msgspec.json.decode((state / project_files.NOTE).read_bytes(), type=BackupNote)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(
            f"{state / project_files.NOTE} cannot be read: {error}. Remove it, and name an empty place for backups."
        ) from None


def write_note(state: Path, note: BackupNote) -> None:
    with whole_file(state / project_files.NOTE) as file:
        file.write(msgspec.json.encode(note))


def _is_snapshot(name: str) -> bool:
    return project_files.SNAPSHOTS in name.split("/")[1:3]
