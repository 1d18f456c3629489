"""Selects the files of a project folder that a backup stores, and those that it only names.

A project is its definitions, its models, and the folder .shroff with the log. Secrets are named with a fingerprint and
never stored. Files that the program can recreate are left out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from shroff.errors import StorageError, os_words
from shroff.runtime.atomic_files import LOST, UNFINISHED, has_secret_name, leads_out
from shroff.runtime.state_folder import STATE_FOLDER

LOG = "log.db"
LOG_FILE = f"{STATE_FOLDER}/{LOG}"
HASH_KEY = f"{STATE_FOLDER}/hash.key"
NOTE = "backup.json"  # of the last backup, in .shroff
SNAPSHOTS = "snapshots"  # saved state: with full backups only, since it is large and only saves time
_MADE_AGAIN = frozenset({"checked.json", "downloads", "marts", "keys", "mail", "audit.head", NOTE, SNAPSHOTS})
_MARK = b"PRIVATE KEY-----"
_MARK_WITHIN = 65_536  # bytes of a file in which a private key is looked for


def has_log(folder: Path) -> bool:
    return (folder / LOG_FILE).is_file()


def files(folder: Path, is_known: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Return the names of files to store, then those of secrets and of links out of the project, as
    `rules/velocity.yaml`.

    Args:
        is_known: Returns whether a file was stored unchanged; it is then no secret and is not opened.
    """
    stored, secret = list[str](), list[str]()
    for name in _walk(folder):
        parts = name.split("/")
        is_made_again = parts[0] == STATE_FOLDER and (_is_made_again(parts) or parts[-1].startswith(LOG))
        if is_made_again or name.endswith(f".{UNFINISHED}"):
            continue
        home = folder / STATE_FOLDER if parts[0] == STATE_FOLDER else folder
        path = folder / name
        named = not is_known(name) and (_is_link_away(home, path) or _is_secret(path, parts))
        (secret if named else stored).append(name)
    return stored, secret


def snapshots(folder: Path) -> list[str]:
    return [
        path
        for path in _walk(folder)
        if path.startswith(f"{STATE_FOLDER}/") and SNAPSHOTS in path.split("/")[1:3] and not _is_passing(path)
    ]


def fingerprint(name: str, data: bytes) -> str:
    """Identify the hash key without revealing it; empty for other secrets, which somebody could guess."""
    return hashlib.sha256(b"shroff backup\n" + data.strip()).hexdigest()[:16] if name == HASH_KEY else ""


def _walk(folder: Path) -> Iterator[str]:
    """Yield the files of a folder. Links are followed within the folder; one that leads out of it is yielded as a file.

    Raises: StorageError if a folder in it cannot be read.
    """
    seen, state = set[Path](), folder / STATE_FOLDER
    for place, folders, names in os.walk(folder, followlinks=True, onerror=unreadable):
        here = Path(place)
        if (real := here.resolve()) in seen:  # a link to a folder around it
            folders.clear()
            continue
        seen.add(real)
        is_top = here == folder
        folders[:] = sorted(
            name
            for name in folders
            if (is_top and name == STATE_FOLDER) or not name.startswith((".", "__pycache__", LOST))
        )
        links = [name for name in folders if (here / name).is_symlink() and here / name != state]
        away = {link for link in links if leads_out(folder, here / link)}
        folders[:] = [name for name in folders if name not in away]
        for name in sorted({*names, *away}):
            if name in away or (here / name).is_file():  # also behind a link; no pipe or socket
                yield (here / name).relative_to(folder).as_posix()


def unreadable(error: OSError) -> None:
    """Raises: StorageError if a folder cannot be listed, unless it was removed meanwhile."""
    if not isinstance(error, FileNotFoundError):
        raise StorageError(os_words(error, failed=" cannot be read")) from None


def _is_made_again(parts: list[str]) -> bool:
    is_packed = parts[1:3] in (["tables", "packed"], ["tables", "stamps.json"])
    return is_packed or parts[1] in _MADE_AGAIN or _is_passing(parts[-1])


def _is_passing(name: str) -> bool:
    return name.endswith((".lock", ".unfinished")) or name.rpartition("/")[2].startswith(".")


def _is_link_away(home: Path, path: Path) -> bool:
    """Return whether links on the path lead out of `home`. Hidden files of the folder itself, as .gitignore, do not."""
    is_plain = path.resolve() == home.resolve() / path.relative_to(home)
    return not is_plain and leads_out(home, path)


def _is_secret(path: Path, parts: Sequence[str]) -> bool:
    if has_secret_name(parts):
        return True
    try:
        with path.open("rb") as file:
            return _MARK in file.read(_MARK_WITHIN)
    except OSError:  # deleted meanwhile, or unreadable: storing it reports that
        return False
