"""Restores a project from backups into a new folder, as it was at a given time."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from shroff.errors import StorageError, UsageError, os_words
from shroff.events.event import time_text
from shroff.notices.store import OPEN, UNKNOWN
from shroff.runtime import state_folder
from shroff.runtime.atomic_files import sync_folder
from shroff.runtime.entry_points import load_entry
from shroff.runtime.progress import Progress, Tell, unheard
from shroff.runtime.values import FrozenStruct
from shroff.services.backups.creation import BackupNote, pages_of, write_note
from shroff.services.backups.project_files import LOG_FILE, fingerprint, unreadable
from shroff.services.backups.server_logs import restore_log, restored_tool
from shroff.services.backups.sqlite_pages import apply_pages
from shroff.services.backups.vault import SERVER_FORMAT, BackedUpLog, BackupPoint, Vault, points_of
from shroff.streams.log import Log

CHECK_S = 600.0  # for a backup's log: the database's own check, and the same again for rows
IN_DOUBT = "the project was restored from a backup: it may have been sent after that"


class ServerTarget(FrozenStruct):
    """Target database for a log, and the folder of its tools; by default as in the backed-up settings.

    With `again`, tables that an interrupted restore left are removed first.
    """

    url: str | None = None
    tools: Path | None = None
    again: bool = False


BY_SETTINGS = ServerTarget()


class RestoredProject(FrozenStruct):
    """Result of a restore. `missing` are secrets to supply; `held` counts letters that may have been sent already.

    `damaged` are unreadable backups that may be closer to the requested time than the one restored.
    """

    folder: Path
    number: int
    at_ms: int
    last_seq: int
    files: int
    missing: tuple[str, ...]
    held: int
    bytes: int
    damaged: tuple[int, ...] = ()


def point_at(vault: Vault, to_ms: int | None) -> tuple[int, tuple[int, ...]]:
    """Return the last readable point at or before a time, and the damaged points after it.

    The damaged ones may be closer to that time: their times are unknown. Without a time it is the last point.

    Raises: UsageError if there is none.
    """
    numbers = points_of(vault)
    if to_ms is None:
        return numbers[-1], ()

    def readable(index: int) -> BackupPoint | None:
        for number in reversed(numbers[: index + 1]):
            with suppress(StorageError):
                return vault.point(number)[0]
        return None

    def at_ms(index: int) -> int:
        point = readable(index)
        return -1 if point is None else point.at_ms

    stop = bisect_right(range(len(numbers)), to_ms, key=at_ms)
    last = readable(stop - 1) if stop else None
    if last is None:
        first = next(filter(None, map(readable, range(len(numbers)))), None)
        reason = "none can be read" if first is None else f"the first is of {time_text(first.at_ms)}"
        raise UsageError(f"{vault.address} has no backup at or before {time_text(to_ms)}; {reason}.")
    return last.number, tuple(number for number in numbers[:stop] if number > last.number)


def restore(
    vault: Vault,
    folder: Path,
    *,
    to_ms: int | None = None,
    secrets: Path | None = None,
    into: ServerTarget = BY_SETTINGS,
    progress: Progress = unheard,
    on_step: Tell = unheard,
) -> RestoredProject:
    """Restore a project into a folder that is empty or does not exist. It appears as a whole or not at all.

    Args:
        to_ms: Restore the last backup at or before this time; by default the last backup.
        secrets: A folder with the files that are never in a backup, such as `.shroff/hash.key`.
        into: The empty database for a log in a server.
        on_step: Called with `begun`, each file name, and `written`, so that tests can stop there.

    Raises: UsageError if the folder is not empty, there is no such backup, or a secret belongs to another project;
        StorageError if the backup is incomplete or altered. Nothing is left in each case.
    """
    label = vault.open()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty. Restore into a new folder.")
    number, damaged = point_at(vault, to_ms)
    chain = list(vault.chain(number))
    last = chain[0][0]
    files = next(point.files for point, _ in chain if point.files is not None)
    secret_files = _given(last, secrets)
    letters, left = 0, "Nothing is left of it"
    try:
        with ExitStack() as stack, _unnamed(folder) as part:
            on_step("begun")
            for name, (mode, pieces) in files.items():
                _write(_inside(part, name), mode & 0o777, vault.contents(pieces))
                on_step(name)
            tool = None
            if label.shroff_backup == SERVER_FORMAT or into.url is not None:
                tool = restored_tool(last, part, into.url, into.tools)
                stack.enter_context(tool.emptied(again=into.again))
            if tool is not None and last.log is not None:
                letters = restore_log(tool, vault, last.log, IN_DOUBT, progress)
                left = f"Its log is in {tool.place}: try again with --again, which removes it first"
                on_step("log")
            elif last.log is not None:
                path = _inside(part, LOG_FILE)
                _write_log(vault, path, [point.log for point, _ in reversed(chain) if point.log], progress)
                letters = _hold_letters(path)
                on_step(LOG_FILE)
            for name, data in secret_files.items():
                _write(_inside(part, name), 0o600, (data,))
            _inside(part, f"{state_folder.STATE_FOLDER}/x")  # a project without a log has the folder, too
            write_note(part / state_folder.STATE_FOLDER, BackupNote(label.id, vault.address, last.number, last.at_ms))
            size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
            _sync(part)
            on_step("written")
            if tool is not None:
                tool.finish()
            part.replace(folder)
            sync_folder(folder.parent)
    except OSError as error:
        raise StorageError(f"{os_words(error, folder, ' cannot be restored')}. {left}") from None
    missing = tuple(sorted(last.secrets.keys() - secret_files.keys()))
    return RestoredProject(folder, last.number, last.at_ms, last.last_seq, len(files), missing, letters, size, damaged)


@contextmanager
def _unnamed(folder: Path) -> Iterator[Path]:
    """Create a temporary folder beside `folder` and remove it at the end, with those of killed processes."""
    prefix = f".{folder.name}.restoring-"
    folder.parent.mkdir(parents=True, exist_ok=True)
    for path in folder.parent.iterdir():
        if path.name.startswith(prefix):
            with suppress(OSError), _locked(path):
                shutil.rmtree(path)
    part = Path(mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        with _locked(part):
            part.chmod(state_folder.FOLDER_MODE)
            yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder; the lock ends with the process. Raises: OSError if another process holds it."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)


def _given(point: BackupPoint, folder: Path | None) -> dict[str, bytes]:
    """Read a point's secrets from a folder, by full name, or by file name if that is unique."""
    secret_files = {}
    last_parts = Counter(Path(name).name for name in point.secrets)
    for name, mark in point.secrets.items():
        if folder is None:
            break
        short = Path(name).name
        named = (folder / name, folder / short) if last_parts[short] == 1 else (folder / name,)
        path = next((candidate for candidate in named if candidate.is_file()), None)
        if path is not None:
            data = path.read_bytes()
            if mark and fingerprint(name, data) != mark:
                raise UsageError(f"{path} is not the {name} of this backup. Use the file of the project that was lost.")
            secret_files[name] = data
    return secret_files


def _inside(folder: Path, name: str) -> Path:
    """Return a point's path in the folder. Raises: StorageError for a name that leads out of it."""
    path = folder / name
    if name.startswith("/") or ".." in name.split("/"):
        raise StorageError(f"the backup names a file outside the project: {name!r}. It was altered")
    path.parent.mkdir(
        parents=True, exist_ok=True, mode=state_folder.FOLDER_MODE if state_folder.is_in_state_folder(path) else 0o777
    )
    return path


def _write(path: Path, mode: int, pieces: Iterable[bytes]) -> None:
    with state_folder.open_private(path) as file:
        file.writelines(pieces)
    path.chmod(mode)


def _write_log(vault: Vault, path: Path, points: list[BackedUpLog], progress: Progress) -> None:
    """Write the full point's file, then the changed pages of each later point, oldest first."""
    page_bytes = points[-1].page_bytes
    with state_folder.open_private(path) as file:
        for data in vault.contents(points[0].whole or ()):
            file.write(data)
            progress(1)
        file.flush()
        for data in vault.contents(name for point in points for name in point.changed):
            apply_pages(file.fileno(), page_bytes, pages_of(data, page_bytes))
            progress(1)
        file.truncate(points[-1].pages * page_bytes)


def damage_of(opened: Callable[[], AbstractContextManager[Log]], within_s: float = 1.0) -> str:
    from shroff.monitoring.doctor import WRONG, look_at_rows

    try:
        with opened() as log:
            finding = look_at_rows(log, 0, within_s)
            return finding.words if finding.state == WRONG else ""
    except StorageError as error:
        return str(error)


def log_damage(vault: Vault, number: int) -> str:
    """Return the damage of a backup's log, whose pieces are sound; it checks a temporary copy.

    Logs of an older version, which only `shroff migrate` reads, are not checked.
    """
    from shroff.adapters.log.connection.sqlite import VERSION

    logs = [point.log for point, _ in reversed(list(vault.chain(number))) if point.log]
    if not logs or logs[-1].dump:
        return ""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        _write_log(vault, path, logs, unheard)
        with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as connection:
            if 0 < connection.execute("PRAGMA user_version").fetchone()[0] < VERSION:
                return ""
        damage = damage_of(lambda: closing(load_entry("log.sqlite")(path, read_only=True)), CHECK_S)
        return damage.replace(str(path), LOG_FILE)


def _hold_letters(database: Path) -> int:
    """Hold open letters for a person to decide: they may have been sent after the backup. Returns their number."""
    with closing(sqlite3.connect(database)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'notice_letters'").fetchone():
            return 0
        hold = "UPDATE notice_letters SET state = ?, reason = ?, claimed_ms = 0 WHERE state = ?"
        return connection.execute(hold, (UNKNOWN, IN_DOUBT, OPEN)).rowcount


def _sync(folder: Path) -> None:
    for place, _, names in os.walk(folder, onerror=unreadable):
        for name in names:
            with (Path(place) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(place))
