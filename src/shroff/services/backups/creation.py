"""Creates backups while a project's writers run: full ones, and tails with the changes since, every few seconds."""

from __future__ import annotations

import math
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

import shroff
from shroff import config
from shroff.errors import StorageError, UsageError, os_words, refused
from shroff.json_types import TextDict
from shroff.language.values import DAY_MS
from shroff.runtime import state_folder
from shroff.runtime.atomic_files import whole_file
from shroff.runtime.progress import unheard
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.backups import project_files
from shroff.services.backups.sqlite_pages import CERTAIN_NS, RESTART_FRAMES, PageChanges, PagePosition, SqlitePages
from shroff.services.backups.vault import FILE_FORMAT, BackedUpLog, BackupPoint, Vault

if TYPE_CHECKING:
    from shroff.services.context import ProjectContext

PIECE_PAGES = 512  # of a piece: 4 MB
TRIES = 3  # of a full backup
FULL_MS = DAY_MS  # age of the last full backup at which a new one is due
TAILS_BYTES = 256 * 1024 * 1024  # of tails, read in seconds; for smaller logs, too, no full backup is due before


StoredFile = tuple[int, list[str]]  # permissions and pieces


class BackupNote(FrozenStruct):
    """The last backup of this project, as this machine knows it: .shroff/backup.json."""

    id: str
    address: str = ""
    number: int = 0
    at_ms: int = 0


class StoredNow(NamedTuple):
    """State of a project at one moment, already stored; `files` includes snapshots."""

    at_ms: int
    log: BackedUpLog | None
    files: dict[str, StoredFile]
    secrets: TextDict


class BackupWriter:
    """Creates the backups of one project; only one process at a time can. Use it as a context manager."""

    format = FILE_FORMAT

    def __init__(self, context: ProjectContext, vault: Vault) -> None:
        self._context, self._vault, self._folder = context, vault, context.paths.folder
        self._pages = SqlitePages(self._folder / project_files.LOG_FILE)
        self._seen: dict[str, tuple[tuple[int, ...], StoredFile]] = {}
        self._last: tuple[BackupPoint, str] | None = None
        self._files: dict[str, StoredFile] = {}
        self._full_ms = self._number = self._tails_bytes = 0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Raises: LogBusyError while another process makes backups; UsageError as `Vault.begin`."""
        address = Path(self._vault.address)
        if address.is_absolute() and address.resolve().is_relative_to(self._folder.resolve()):
            raise UsageError(f"{address} is in the project's folder, and would be lost with it. Name another place.")
        state = self._context.paths.state
        message = "another process, such as 'shroff backup create --follow', makes backups of this project"
        self._open.enter_context(state_folder.lock_file(state / "backup.lock", message))
        try:
            note = read_note(state)
            if note is None:  # written before the vault is labeled with its id
                note = BackupNote(token_hex(16))
                write_note(state, note)
            self._id = note.id
            self._vault.begin(note.id, self._folder.name, self.format)
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
        self._pages.close()
        self._open.close()

    def create(
        self,
        *,
        is_full: bool = False,
        tail_every_s: float | None = None,
        made: Callable[[BackupPoint], object] = unheard,
    ) -> BackupPoint | None:
        """Make a backup: a tail if that is enough, else a full one. Returns None if nothing changed.

        With `is_full`, files are read again and damaged pieces are stored again.

        Args:
            tail_every_s: Interval of tails while a full backup reads the log; None for no tails.
            made: Called with each of these tails.

        Raises: StorageError, TransientError if a file or the vault cannot be read or written.
        """
        last = None if self._last is None else self._last[0]
        if is_full:
            self._seen.clear()
        self._vault.is_distrusting = is_full
        is_due = last is None or is_full or self._moment_ms() - self._full_ms >= FULL_MS or self._are_tails_long(last)
        if last is not None and not is_due:
            is_known, point = self._tail(last)
            if is_known:
                return point
        for _ in range(TRIES):
            if (full := self._full(tail_every_s, made)) is not None:
                return full
            tail_every_s = None
        raise StorageError(f"{self._folder} changes in ways that a backup cannot follow. Try again")

    def _moment_ms(self) -> int:
        """Return the time, but not before the last point."""
        now_ms = self._context.now_ms()
        return now_ms if self._last is None else max(now_ms, self._last[0].at_ms)

    def _tail(self, last: BackupPoint) -> tuple[bool, BackupPoint | None]:
        """Return whether the changes since the last point are known, and the tail; None if nothing changed."""
        before = self._vault.stored
        snapshots = {
            name: file for name, file in self._files.items() if project_files.SNAPSHOTS in name.split("/")[1:3]
        }
        now = self._since(last.log, snapshots)
        if now is None:
            return False, None
        if now.files == self._files and not (now.log and now.log.changed):
            self._write_note(last.number, self._moment_ms())
            return True, None
        return True, self._add(now, self._vault.stored - before)

    def _full(self, tail_every_s: float | None, made: Callable[[BackupPoint], object]) -> BackupPoint | None:
        """Back up each database: all of it, then the changes made meanwhile, so that it is as of the end.

        Returns None if those changes are not known.
        """
        began, tails = self._vault.stored, 0  # bytes of tails made meanwhile

        def follow() -> BackupPoint | None:
            nonlocal tail_every_s, tails
            if tail_every_s is None or self._last is None:
                return None
            is_known, tail = self._tail(self._last[0])
            if not is_known:
                tail_every_s = None
            elif tail is not None:
                made(tail)
                tails += tail.bytes
            return tail

        follow()
        found = {name: self._file(name, tail_every_s, follow) for name in project_files.snapshots(self._folder)}
        snapshots = {name: changes for name, changes in found.items() if changes is not None}
        position = log = self._logged(tail_every_s) if project_files.has_log(self._folder) else None
        whole, changed = list[str](), [] if log is None else log.changed
        if tail_every_s is not None and self._last is not None:
            position = self._last[0].log
        if log is not None:
            blocks = self._pages.file_blocks(PIECE_PAGES * log.page_bytes)
            while some := self._vault.put_all(_for_a_while(blocks, tail_every_s)):
                whole += some
                if (tail := follow()) is not None and (position := tail.log) is not None:
                    changed += position.changed
        now = self._since(position, snapshots)
        if now is None:
            return None
        if now.log is not None:
            now = now._replace(log=replace(now.log, whole=whole, changed=changed + now.log.changed))
        return self._add(now, self._vault.stored - began - tails, is_full=True)

    def _logged(self, tail_every_s: float | None) -> BackedUpLog:
        """Store the pages of the write-ahead log, which the database file may lack when it is read next."""
        is_followed = tail_every_s is not None and self._last is not None
        changes = self._pages.logged() if is_followed else self._pages.changes(None)
        if changes is None:
            raise StorageError(f"{project_files.LOG_FILE} cannot be read. Run 'shroff doctor'")
        return self._stored(changes)

    def _since(self, last: BackedUpLog | None, snapshots: dict[str, StoredFile]) -> StoredNow | None:
        """Store the files, and the log's pages changed since `last`; None if these are not known."""
        at_ms, changes = self._moment_ms(), None
        with config.editing(self._context.paths):
            if (last is not None) != project_files.has_log(self._folder):
                return None
            if last is not None:
                since = PagePosition(*last.read_to)
                change = self._pages.begin_again if since.frames > RESTART_FRAMES else self._pages.changes
                if (changes := change(since)) is None:
                    return None
            files, secrets = self._scan(snapshots)
        return StoredNow(at_ms, None if changes is None else self._stored(changes), files, secrets)

    def _are_tails_long(self, last: BackupPoint) -> bool:
        """Return whether a restore would read more from tails than from the full backup, about a quarter of the log."""
        log_bytes = last.log.pages * last.log.page_bytes if last.log else 0
        return self._tails_bytes > max(TAILS_BYTES, log_bytes // 4)

    def _stored(self, changes: PageChanges) -> BackedUpLog:
        changed = self._vault.put_all(pages_bytes(block) for block in changes.blocks(PIECE_PAGES))
        ends = ("SELECT max(seq) FROM events", "SELECT max(seq) FROM event_frames") if changes.pages else ()
        last_seq = max(map(self._pages.number, ends), default=0)
        at = (changes.at.salt, changes.at.frames, changes.at.check)
        return BackedUpLog(changes.page_bytes, changes.pages, at, None, changed, last_seq)

    def _scan(self, files: dict[str, StoredFile]) -> tuple[dict[str, StoredFile], TextDict]:
        """Store changed files; return all files, and the fingerprints of secrets."""
        stored, secret = project_files.files(self._folder, self._is_known)
        for name in stored:
            if (file := self._file(name)) is not None:
                files[name] = file
        secrets = {}
        for name in secret:
            with suppress(FileNotFoundError):
                secrets[name] = project_files.fingerprint(
                    name, (self._folder / name).read_bytes() if name == project_files.HASH_KEY else b""
                )
        return files, secrets

    def _is_known(self, name: str) -> bool:
        with suppress(OSError):
            return name in self._seen and self._seen[name][0] == _mark((self._folder / name).stat())
        return False

    def _file(
        self, name: str, pause_s: float | None = None, pause: Callable[[], object] = lambda: None
    ) -> StoredFile | None:
        """Return permissions and pieces of a file, read only if it changed; None if it is gone.

        Args:
            pause_s: Time between two calls of `pause`; None for no calls.
        """
        if self._is_known(name):
            return self._seen[name][1]
        path = self._folder / name
        try:
            with path.open("rb") as file:
                state = os.fstat(file.fileno())
                is_certain = time.time_ns() - state.st_mtime_ns > CERTAIN_NS
                blocks, pieces = iter(lambda: file.read(PIECE_PAGES * 8_192), b""), list[str]()
                while some := self._vault.put_all(_for_a_while(blocks, pause_s)):
                    pieces += some
                    pause()
                stored = stat.S_IMODE(state.st_mode), pieces
                if is_certain:  # else it may be written again, with the same times
                    self._seen[name] = _mark(state), stored
                return stored
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(os_words(error, path, " cannot be read")) from None

    def _add(self, now: StoredNow, size: int, *, is_full: bool = False) -> BackupPoint:
        """Append a point with the stored state; `size` is in bytes."""
        digest, number = "" if self._last is None else self._last[1], self._number + 1
        files = None if now.files == self._files and not is_full else now.files
        program = shroff.__version__
        point = BackupPoint(self._id, number, now.at_ms, is_full, digest, program, now.log, files, now.secrets, size)
        self._last, self._number = (point, self._vault.add(point)), number
        self._tails_bytes = 0 if is_full else self._tails_bytes + size
        self._full_ms = now.at_ms if is_full else self._full_ms
        self._files = now.files
        self._write_note(point.number, now.at_ms)
        return point

    def _write_note(self, number: int, at_ms: int) -> None:
        write_note(self._context.paths.state, BackupNote(self._id, self._vault.address, number, at_ms))


def _mark(state: os.stat_result) -> tuple[int, ...]:
    return state.st_mtime_ns, state.st_size, state.st_ino, state.st_mode


def _for_a_while(blocks: Iterator[bytes], seconds: float | None) -> Iterator[bytes]:
    """Yield at least one block, and more until `seconds` have passed; all if `seconds` is None."""
    end_s = math.inf if seconds is None else time.monotonic() + seconds
    for block in blocks:
        yield block
        if time.monotonic() >= end_s:
            return


def pages_bytes(pages: dict[int, bytes]) -> bytes:
    """Encode pages as one piece: their count, their numbers, then their bytes."""
    numbers = sorted(pages)
    return struct.pack(f"<{len(numbers) + 1}I", len(numbers), *numbers) + b"".join(pages[number] for number in numbers)


def pages_of(data: bytes, page_bytes: int) -> dict[int, bytes]:
    (count,) = struct.unpack_from("<I", data)
    numbers = struct.unpack_from(f"<{count}I", data, 4)
    start = 4 * (count + 1)
    return {number: data[start + place * page_bytes :][:page_bytes] for place, number in enumerate(numbers)}


def read_note(state: Path) -> BackupNote | None:
    path = state / project_files.NOTE
    try:
        return from_json(path.read_bytes(), type=BackupNote)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refused(error, os_words(error, path, " cannot be read")) from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} cannot be read: {error}. Remove it, and name an empty place for backups.") from None


def write_note(state: Path, note: BackupNote) -> None:
    with whole_file(state / project_files.NOTE) as file:
        file.write(to_json(note))
