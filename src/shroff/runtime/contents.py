"""Large files of a project, each stored once beside the log by the hash of its content.

A short text stands for such a content wherever the text of a file would stand: in a version, in a control event. So a
version never carries half a million rows, and whoever reads the log later finds the content by that text, also after
the file has changed or is gone.
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

MARK = "stored sha256 "  # a file that begins so itself is stored, too
STORED_BYTES_MIN = 1 << 19  # smaller files of text stand in versions as they are
BYTES_MAX = 256 * 1024 * 1024
PACKED = "packed"  # a folder beside the contents, of forms that are made again
_NAMED = re.compile(f"{MARK}([0-9a-f]{{64}})")
_UNNAMED_S = 7 * 86_400.0
_STAMPS = "stamps.json"
_SETTLED_NS = 2_000_000_000  # the coarsest times of file systems in use
_MODE = 0o640
_STORES: Final[dict[Path, None]] = {}  # where this process looks for contents
_UNSTORED: Final[dict[str, Path]] = {}  # contents whose store cannot be written, by their hash


def is_stored(text: str) -> bool:
    """Whether a text stands for a stored content."""
    return text.startswith(MARK)


def known_store(store: Path) -> Path:
    """Look for contents in this folder too, from now on and in this process."""
    _STORES[store] = None
    return store


def table_text(folder: Path, name: str, store: Path, plain: Callable[[], str]) -> str:
    """The text of a project's table, or the one that stands for its content where it is large or no CSV.

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
    """The text that stands for a file's content, which is in the store then.

    Cost: a look at the file's size and times where it was seen before; else a pass over it, and a copy.

    Raises: UsageError where the file cannot be read, or is larger than 256 MiB.
    """
    known_store(store)
    try:
        found = path.stat()
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        now_ns = time.time_ns()
        seen = _seen(store).get(name)
        if seen is not None and seen[1:] == stamp and (store / str(seen[0])).exists():
            return _text(str(seen[0]), stamp[1])
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
    except OSError:  # a folder that nobody may write: a version that is put in force needs it, no check does
        _UNSTORED[digest] = path
    return _text(digest, stamp[1])


def path_of(text: str) -> Path:
    """The file with the content that a text stands for. Raises: StorageError where it is missing, or is damaged."""
    digest = digest_of(text)
    for path in (*(store / digest for store in _STORES), *filter(None, [_UNSTORED.get(digest)])):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() == digest:
                return path
            raise StorageError(f"{path} is damaged: its SHA-256 is not {digest[:12]}…. Restore it from a backup.")
    raise _missing(digest)


def content_of(text: str) -> bytes:
    """The content that a text stands for. Raises: as `path_of`."""
    return path_of(text).read_bytes()


def check_stored(texts: Iterable[str]) -> None:
    """Raises: StorageError where one stands for a content that is in no store, so that no version may name it."""
    for digest in map(digest_of, filter(is_stored, texts)):
        if not any((store / digest).exists() for store in _STORES):
            raise _missing(digest)


def is_damaged(path: Path) -> bool:
    """Whether a file of a store has another content than its name says. Raises: OSError. Cost: 1.3 ms a megabyte."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest() != path.name


def named_in(texts: Iterable[str]) -> set[str]:
    """The hashes of the contents that bodies of control events name."""
    return {digest for text in texts for digest in _NAMED.findall(text)}


def remove_unnamed(store: Path, texts: Iterable[str]) -> None:
    """Remove what has been in a store for a week and no version names: of a process that was killed, or of a check.

    Args:
        texts: Bodies of all control events, and the project's files, which may become the next version.
    """
    named = named_in(texts)
    for path in store.glob("[0-9a-f]" * 64):
        with suppress(OSError):
            if path.name not in named and time.time() - path.stat().st_mtime > _UNNAMED_S:
                path.unlink()


def packed_path(text: str, form: str) -> Path | None:
    """Where a form that is made of a content is kept, which may be removed at any time; None where nothing is."""
    digest = digest_of(text)
    store = next((store for store in _STORES if (store / digest).exists()), None)
    return None if store is None else store / PACKED / f"{digest[:32]}-{form[:16]}"


def digest_of(text: str) -> str:
    """SHA-256 of the content that a text stands for."""
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
    """Copy a content into the store, whole and durable, where it is not there yet. Raises: OSError."""
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
    """Keep of which size and times a file has this content."""
    with whole_file(store / _STAMPS, is_durable=False) as file:
        os.fchmod(file.fileno(), _MODE)
        file.write(to_json({**_seen(store), name: seen}))
