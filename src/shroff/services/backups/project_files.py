"""Which files of a project folder a backup has, and which it names only.

A project is its definitions, its models, and the folder .shroff with the log. Secrets are named with a fingerprint and
never stored. Files that the program makes again by itself are left out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from shroff.config import STATE_FOLDER
from shroff.errors import StorageError, os_words
from shroff.runtime.atomic_files import LOST, UNFINISHED, has_secret_name, leads_out

LOG = "log.db"
LOG_FILE = f"{STATE_FOLDER}/{LOG}"
HASH_KEY = f"{STATE_FOLDER}/hash.key"
NOTE = "backup.json"  # of the last backup, in .shroff
SNAPSHOTS = "snapshots"  # saved state: with full backups only, since it is large and only saves time
_MADE_AGAIN = frozenset({"checked.json", "downloads", "marts", "keys", "mail", "audit.head", NOTE, SNAPSHOTS})
_MARK = b"PRIVATE KEY-----"
_MARK_WITHIN = 65_536  # bytes of a file in which a private key is looked for


def has_log(folder: Path) -> bool:
    """Whether a project has a log in a file."""
    return (folder / LOG_FILE).is_file()


def files(folder: Path, is_known: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """The files to store, and the secrets and links out of the project. Names are as `rules/velocity.yaml`.

    Args:
        is_known: Whether a file was stored as it is, so that it is no secret and need not be opened.
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
    """Files of saved state."""
    return [
        path
        for path in _walk(folder)
        if path.startswith(f"{STATE_FOLDER}/") and SNAPSHOTS in path.split("/")[1:3] and not _is_passing(path)
    ]


def fingerprint(name: str, data: bytes) -> str:
    """What tells the right key from another one; nothing for a secret that somebody could guess."""
    return hashlib.sha256(b"shroff backup\n" + data.strip()).hexdigest()[:16] if name == HASH_KEY else ""


def _walk(folder: Path) -> Iterator[str]:
    """The files of a folder, also behind links; a folder that is a link out of it is one itself.

    Raises: StorageError where a folder in it cannot be read.
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
    """Raises: StorageError where a folder cannot be listed; one that was removed since is fine."""
    if not isinstance(error, FileNotFoundError):  # removed since
        raise StorageError(os_words(error, failed=" cannot be read")) from None


def _is_made_again(parts: list[str]) -> bool:
    is_packed = parts[1:3] in (["tables", "packed"], ["tables", "stamps.json"])
    return is_packed or parts[1] in _MADE_AGAIN or _is_passing(parts[-1])


def _is_passing(name: str) -> bool:
    """Whether it is a lock, or a file that is being written."""
    return name.endswith((".lock", ".unfinished")) or name.rpartition("/")[2].startswith(".")


def _is_link_away(home: Path, path: Path) -> bool:
    """Whether links on the way lead elsewhere. A hidden file of the folder itself, as .gitignore, is the project's."""
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
