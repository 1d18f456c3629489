"""Restores a project from its backups into a folder of its own, as it was at a moment."""

from __future__ import annotations

import os
import shutil
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.app.backups.creating import BackupNote, pages_of, write_note
from shroff.app.backups.project_files import HASH_KEY, fingerprint
from shroff.app.backups.sqlite_pages import apply_pages
from shroff.app.backups.vault import BackedUpDatabase, BackupPoint, Vault
from shroff.errors import StorageError, UsageError
from shroff.events.event import time_text
from shroff.runtime.progress import Progress
from shroff.runtime.whole_files import sync_folder

if TYPE_CHECKING:
    from shroff.notices.store import Letter

IN_DOUBT: Final = "the project was restored from a backup: it may have been sent after that"


@dataclass(frozen=True, slots=True)
class RestoredProject:
    """What was restored. `missing` are secrets to bring; `held` are letters that may have been sent already."""

    folder: Path
    number: int
    at_ms: int
    last_seq: int
    files: int
    missing: tuple[str, ...]
    held: int


def point_at(vault: Vault, to_ms: int | None) -> int:
    """The last point at or before a moment. Raises: UsageError where there is none."""
    numbers = vault.numbers()
    if not numbers:
        raise UsageError(f"{vault.address} has no complete backup. Make one with 'shroff backup create'.")
    if to_ms is None:
        return numbers[-1]
    found = bisect_right(numbers, to_ms, key=lambda number: vault.point(number)[0].at_ms)
    if not found:
        first = time_text(vault.point(numbers[0])[0].at_ms)
        raise UsageError(f"{vault.address} has no backup at or before {time_text(to_ms)}; the first is of {first}.")
    return numbers[found - 1]


def restore(
    vault: Vault,
    folder: Path,
    *,
    to_ms: int | None = None,
    secrets: Path | None = None,
    progress: Progress = lambda _: None,
    on_step: Callable[[str], None] = lambda _: None,
) -> RestoredProject:
    """Restore a project into a folder that is empty or not there. It appears as a whole or not at all.

    Args:
        to_ms: As it was at this moment, by the last backup before it; by default the last backup.
        secrets: A folder with the files that are never in a backup, such as `.shroff/hash.key`.
        on_step: Told `begun`, each file, and `written`, so that tests can stop there.

    Raises: UsageError where the folder is not empty, there is no such backup, or a secret is the one of another
        project; StorageError where the backup is incomplete or altered. Nothing is left in each case.
    """
    label = vault.open()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty. Restore into a new folder.")
    chain = list(vault.chain(point_at(vault, to_ms)))
    last = chain[0][0]
    files = next(point.files for point, _ in chain if point.files is not None)
    given = _given(last, secrets)
    part = folder.with_name(f".{folder.name}.restoring")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True, mode=0o750)
        on_step("begun")
        for name, (mode, pieces) in files.items():
            _write(_inside(part, name), mode, (vault.get(one) for one in pieces))
            on_step(name)
        for name in last.databases:
            _write_database(
                vault, _inside(part, name), [point.databases[name] for point, _ in reversed(chain)], progress
            )
            on_step(name)
        for name, data in given.items():
            _write(_inside(part, name), 0o600, iter((data,)))
        held = _hold_letters(part) if last.databases else 0
        if HASH_KEY not in given:  # a new one would not know the values that the log has
            (part / HASH_KEY).unlink(missing_ok=True)
        _inside(part, f"{config.STATE_FOLDER}/x")  # a project without a log has the folder, too
        write_note(part / config.STATE_FOLDER, BackupNote(label.id, vault.address, last.number, last.at_ms))
        _sync(part)
        on_step("written")
        part.replace(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise StorageError(f"{folder} cannot be restored: {error.strerror or error}. Nothing is left of it") from None
    finally:
        with suppress(OSError):
            shutil.rmtree(part, ignore_errors=True)
    missing = tuple(sorted(last.secrets.keys() - given.keys()))
    seq = max((one.last_seq for one in last.databases.values()), default=0)
    return RestoredProject(folder, last.number, last.at_ms, seq, len(files), missing, held)


def _given(point: BackupPoint, folder: Path | None) -> dict[str, bytes]:
    """The secrets of a point that a folder has, under their names or their last parts."""
    found = {}
    for name, mark in point.secrets.items():
        if folder is None:
            break
        path = next((one for one in (folder / name, folder / Path(name).name) if one.is_file()), None)
        if path is not None:
            data = path.read_bytes()
            if mark and fingerprint(name, data) != mark:
                raise UsageError(f"{path} is not the {name} of this backup. Use the file of the project that was lost.")
            found[name] = data
    return found


def _inside(folder: Path, name: str) -> Path:
    """A file of a point in the folder. Raises: StorageError for a name that leads out of it."""
    path = folder / name
    if name.startswith("/") or ".." in name.split("/"):
        raise StorageError(f"the backup names a file outside the project: {name!r}. It was altered")
    path.parent.mkdir(parents=True, exist_ok=True, mode=config.FOLDER_MODE if config.is_kept(path) else 0o777)
    return path


def _write(path: Path, mode: int, pieces: object) -> None:
    with config.private(path) as file:
        file.writelines(pieces)
    path.chmod(mode)


def _write_database(vault: Vault, path: Path, points: list[BackedUpDatabase], progress: Progress) -> None:
    """Write the whole file of the full point, then the changed pages of each later one, oldest first."""
    with config.private(path) as file:
        for one in points:
            for name in one.whole or ():
                file.write(vault.get(name))
                progress(1)
            file.flush()
            for name in one.changed:
                apply_pages(file.fileno(), one.page_bytes, pages_of(vault.get(name), one.page_bytes))
                progress(1)
        file.truncate(points[-1].pages * points[-1].page_bytes)


def _hold_letters(folder: Path) -> int:
    """Hold open letters for a person to decide: whoever lost the project may have sent them after the backup."""
    from shroff.app.notice_files import NoticeFiles
    from shroff.app.project import open_exactly
    from shroff.notices.store import OPEN, UNKNOWN

    with NoticeFiles(open_exactly(folder).opened).told() as store:
        with store.look() as look:
            letters: list[Letter] = look.letters([OPEN])
        if letters:
            with store.change() as change:
                for one in letters:
                    change.put_letter(replace(one, state=UNKNOWN, reason=IN_DOUBT))
    return len(letters)


def _sync(folder: Path) -> None:
    """Make all files durable, before the folder gets its name."""
    for place, _, names in os.walk(folder):
        for name in names:
            with (Path(place) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(place))
