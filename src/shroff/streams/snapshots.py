"""Snapshots: saved state with its place in a log, one file each, the newest kept.

A file counts whole or not at all. It is written under another name, synced, renamed, and
its folder synced; its last bytes are a hash of all others. What state is made of, nobody
here knows: it comes and goes as parts, which are bytes.

    "SHROFFSN" | format, 4 bytes | header | part | part | ... | SHA-256 of all before

Header and parts stand behind their lengths, 8 bytes each; numbers begin with the low byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from shroff.config import FILE_MODE, make_folder
from shroff.errors import StateError, StorageError
from shroff.runtime.whole_files import whole_file

FORMAT: Final = 1  # of the file; readers pass over every other
KEPT: Final = 2
SUFFIX: Final = ".snapshot"
STEPS: Final = ("begin", "half written", "written", "synced", "renamed", "done")
_MAGIC: Final = b"SHROFFSN" + FORMAT.to_bytes(4, "little")
_HASH_BYTES: Final = 32
_CHUNK_BYTES: Final = 1 << 22
_DAMAGED: Final = "its checksum does not fit"
Part = bytes | memoryview


class Header(msgspec.Struct, frozen=True):
    """Header of a snapshot.

    `seq` is the last place whose event is in the state. `layout` is equal where the state
    can be taken up; `log` is equal for one and the same log up to this place.
    """

    seq: int
    layout: str
    log: str


def _no_step(_step: str) -> None:
    """Take no notice of a step."""


class Snapshots:
    """The snapshots in one folder. One process at a time may write or remove: the log's writer.

    Args:
        folder: Where they are; made with the first one.
        kept: How many are left when one is written.
        on_step: Told each of `STEPS` as a write comes to it; for crash tests.
    """

    def __init__(self, folder: Path, *, kept: int = KEPT, on_step: Callable[[str], None] = _no_step) -> None:
        self.folder, self._kept, self._on_step = folder, max(kept, 1), on_step

    def files(self) -> list[Path]:
        """The snapshots, newest place first, whole or not. Empty where there is no folder."""
        found = [path for path in self.folder.glob(f"*{SUFFIX}") if path.stem.isascii() and path.stem.isdigit()]
        return sorted(found, key=lambda path: int(path.stem), reverse=True)

    def write(self, header: Header, parts: Iterable[bytes]) -> Path:
        """Save state, durable on return, and remove all but the newest up to its place.

        Raises: StorageError where the disk is full, read-only or failing; those before it are there then.
        """
        target = self.folder / f"{header.seq:012d}{SUFFIX}"
        unfinished = target.with_suffix(".tmp")
        try:
            make_folder(self.folder)
            for leftover in self.folder.glob("*.tmp"):
                leftover.unlink()
            with whole_file(target, unfinished, mode=FILE_MODE, on_step=self._on_step) as file:
                self._on_step("begin")
                self._fill(file, header, parts)
                self._on_step("written")
        except OSError as error:
            words = "Nothing is lost; the next start reads more of the log"
            raise StorageError(f"{target} cannot be written: {error.strerror}. {words}") from error
        # What is named after a later place is of a log that lost it: it is not whole, or could not be taken up.
        beyond = [one for one in self.files() if int(one.stem) > header.seq]
        for useless in (*beyond, *self.files()[len(beyond) + self._kept :]):
            with suppress(StorageError):  # it does no harm
                self.remove(useless)
        self._on_step("done")
        return target

    def _fill(self, file: BinaryIO, header: Header, parts: Iterable[bytes]) -> None:
        digest = sha256()

        def put(data: bytes) -> None:
            digest.update(data)
            file.write(data)

        put(_MAGIC)
        for part in chain([msgspec.msgpack.encode(header)], parts):
            put(len(part).to_bytes(8, "little"))
            put(part)
            file.flush()
            self._on_step("half written")
        file.write(digest.digest())
        file.flush()

    def remove(self, path: Path) -> None:
        """Remove one, which loses nothing: a snapshot is a cache. Raises: StorageError where it stays."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{path} cannot be removed: {error.strerror}") from error

    def check(self, path: Path) -> Header | None:
        """The header of a snapshot whose bytes are as they were written; None where its format is another.

        Raises: StateError where they are not; OSError where the file cannot be read.
        Cost: reads the whole file.
        """
        found = self.read(path)
        return None if found is None else found[0]

    def read(self, path: Path, layout: str | None = None) -> tuple[Header, list[Part]] | None:
        """The same, and the parts of a snapshot of this layout, each an array of its own; no parts of another.

        Raises: as `check`. Cost: one pass; a thread hashes what was read while more is read.
        """
        with path.open("rb") as file, ThreadPoolExecutor(1, thread_name_prefix="hash") as pool:
            start = file.read(len(_MAGIC))
            if start[:8] == _MAGIC[:8] and start != _MAGIC and len(start) == len(_MAGIC):
                return None
            hashed = _Hashed(file, path.stat().st_size - _HASH_BYTES - len(start), start, pool)
            header, parts = b"", list[Part]()
            if start == _MAGIC and hashed.left > 0:
                header = bytes(hashed.part())
                is_wanted = layout is not None and _layout_of(header) == layout
                while is_wanted and hashed.left > 0:
                    parts.append(hashed.part())
            while hashed.left > 0:
                hashed.take(min(hashed.left, _CHUNK_BYTES))
            if start != _MAGIC or hashed.left != 0 or file.read() != hashed.digest():
                raise StateError(_DAMAGED)
        try:
            return msgspec.msgpack.decode(header, type=Header), parts
        except msgspec.DecodeError:
            raise StateError("its header cannot be read") from None


class _Hashed:
    """The next `left` bytes of a file; a thread hashes each piece while the one behind it is read."""

    def __init__(self, file: BufferedReader, left: int, start: bytes, pool: ThreadPoolExecutor) -> None:
        self._file, self.left, self._pool = file, left, pool
        self._digest = sha256(start)
        self._hashing: Future[None] | None = None

    def part(self) -> Part:
        """The part that begins here, without its length. Raises: StateError where it is longer than the file."""
        return self.take(int.from_bytes(self.take(8), "little"))

    def take(self, length: int) -> Part:
        """So many bytes as an array of their own. Raises: StateError where the file has fewer."""
        import numpy as np  # most commands read no snapshot

        self.left -= length
        if self.left < 0:
            raise StateError(_DAMAGED)
        if length == 0:
            return memoryview(b"")
        found = np.empty(-(-length // 8), np.int64).data.cast("B")[:length]
        for at in range(0, length, _CHUNK_BYTES):
            piece = found[at : at + _CHUNK_BYTES]
            if self._file.readinto(piece) != len(piece):
                raise StateError(_DAMAGED)
            self._wait()
            self._hashing = self._pool.submit(self._digest.update, piece)
        return found

    def digest(self) -> bytes:
        self._wait()
        return self._digest.digest()

    def _wait(self) -> None:
        if self._hashing is not None:
            self._hashing.result()


def _layout_of(header: bytes) -> str | None:
    """The layout that a header names, whose bytes may not be as they were written."""
    try:
        return msgspec.msgpack.decode(header, type=Header).layout
    except ValueError:  # of which msgspec's errors are
        return None
