"""Large files of a project, each stored once beside the log by the hash of its content.

A short text replaces such a content wherever the text of a file would be: in a version, in a control event. A version
then never contains half a million rows, and a later reader of the log finds the content by that text, even after the
file has changed or is gone.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import StorageError, UsageError, os_words
from shroff.runtime.atomic_files import remove_unfinished, sync_folder, whole_file

MARK = "stored sha256 "  # a file that starts with this itself is stored, too
STORED_BYTES_MIN = 1 << 19  # smaller text files are part of versions
BYTES_MAX = 256 * 1024 * 1024
PACKED = "packed"  # subfolder of cached forms of contents, which can be recreated
_NAMED = re.compile(f"{MARK}([0-9a-f]{{64}})")
_UNNAMED_S = 7 * 86_400.0
_STAMPS = "stamps.json"
_SETTLED_NS = 2_000_000_000  # coarsest timestamp resolution of file systems in use
_MODE = 0o640
_STORES: Final[dict[Path, None]] = {}  # stores that this process searches
_UNSTORED: Final[dict[str, Path]] = {}  # files by hash, whose store is read-only


def is_stored(text: str) -> bool:
    return text.startswith(MARK)


def known_store(store: Path) -> Path:
    """Search this folder for contents too, for the rest of the process."""
    _STORES[store] = None
    return store


def table_text(folder: Path, name: str, store: Path, plain: Callable[[], str]) -> str:
    """Return the text of a project's table, or the reference to its content if it is large or no CSV.

    Args:
        plain: Reads the file's own text.

    Raises: as `text_for`.
    """
    path = folder / name
    try:
        if path.suffix == ".csv" and path.stat().st_size < STORED_BYTES_MIN and not is_stored(text := plain()):
            return text
    except OSError as error:
        raise UsageError(os_words(error, path, " cannot be read")) from None
    return text_for(path, name, store)


def text_for(path: Path, name: str, store: Path) -> str:
    """Store a file's content, if it is not stored yet, and return the text that refers to it.

    Cost: a check of the file's size and times if it was seen before; else a pass over it, and a copy.

    Raises: UsageError if the file cannot be read, or is larger than 256 MiB.
    """
    known_store(store)
    try:
        status = path.stat()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        now_ns = time.time_ns()
        earlier = _seen(store).get(name)
        if earlier is not None and earlier[1:] == stamp and (store / str(earlier[0])).exists():
            return _text(str(earlier[0]), stamp[1])
        if stamp[1] > BYTES_MAX:
            raise UsageError(f"{path} is larger than {BYTES_MAX >> 20} MiB")
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(os_words(error, path, " cannot be read")) from None
    try:
        _keep(path, store, digest)
        if max(stamp[2:]) < now_ns - _SETTLED_NS:
            _note(store, name, (digest, *stamp))
    except OSError:  # a read-only folder is enough for a check; activating a version needs the store
        _UNSTORED[digest] = path
    return _text(digest, stamp[1])


def path_of(text: str) -> Path:
    """Return the file with a referenced content. Raises: StorageError if it is missing or damaged."""
    digest = digest_of(text)
    for path in (*(store / digest for store in _STORES), *filter(None, [_UNSTORED.get(digest)])):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() == digest:
                return path
            raise StorageError(f"{path} is damaged: its SHA-256 is not {digest[:12]}…. Restore it from a backup.")
    raise _missing(digest)


def content_of(text: str) -> bytes:
    return path_of(text).read_bytes()


def check_stored(texts: Iterable[str]) -> None:
    """Check that the content behind each reference is stored. Raises: StorageError if one is missing."""
    for digest in map(digest_of, filter(is_stored, texts)):
        if not any((store / digest).exists() for store in _STORES):
            raise _missing(digest)


def is_damaged(path: Path) -> bool:
    """Return whether a stored file does not match its name. Raises: OSError. Cost: 1.3 ms a megabyte."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest() != path.name


def named_in(texts: Iterable[str]) -> set[str]:
    """Return the hashes of the contents that bodies of control events refer to."""
    return {digest for text in texts for digest in _NAMED.findall(text)}


def remove_unnamed(store: Path, texts: Iterable[str]) -> None:
    """Remove contents older than a week that no version refers to, left by a killed process or a check.

    Args:
        texts: Bodies of all control events, and the project's files, which may become the next version.
    """
    used = named_in(texts)
    for path in store.glob("[0-9a-f]" * 64):
        with suppress(OSError):
            if path.name not in used and time.time() - path.stat().st_mtime > _UNNAMED_S:
                path.unlink()


def packed_path(text: str, form: str) -> Path | None:
    """Return the path for a cached form of a content, which may vanish at any time; None if there is no store."""
    digest = digest_of(text)
    store = next((store for store in _STORES if (store / digest).exists()), None)
    return None if store is None else store / PACKED / f"{digest[:32]}-{form[:16]}"


def digest_of(text: str) -> str:
    return text.removeprefix(MARK).split(" ")[0]


def _text(digest: str, size: int) -> str:
    return f"{MARK}{digest} {size}\n"


def _missing(digest: str) -> StorageError:
    where = next(iter(_STORES), Path(".shroff/tables"))
    return StorageError(
        f"{where / digest} is missing, a table that an active or earlier version reads. Restore it from a backup, or "
        "put the file with this SHA-256 there."
    )


def _keep(path: Path, store: Path, digest: str) -> None:
    """Copy a content into the store, atomic and durable, if it is not there. Raises: OSError."""
    target = store / digest
    if target.exists():
        return
    if not store.parent.exists():
        store.parent.mkdir(0o750)
    store.mkdir(0o750, exist_ok=True)
    sync_folder(store.parent)
    remove_unfinished(target, time.time())
    data = path.read_bytes()
    if sha256(data).hexdigest() != digest:
        raise UsageError(f"{path} was changed while it was read. Try again.")
    with whole_file(target) as file:
        os.fchmod(file.fileno(), _MODE)
        file.write(data)


def _seen(store: Path) -> dict[str, tuple[str, int, int, int, int]]:
    with suppress(OSError, ValueError):
        return from_json((store / _STAMPS).read_bytes(), type=dict[str, tuple[str, int, int, int, int]])
    return {}


def _note(store: Path, name: str, seen: tuple[str | int, ...]) -> None:
    with whole_file(store / _STAMPS, is_durable=False) as file:
        os.fchmod(file.fileno(), _MODE)
        file.write(to_json({**_seen(store), name: seen}))
