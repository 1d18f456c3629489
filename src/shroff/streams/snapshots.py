"""Snapshots: saved state with its place in a log, one file each, the newest kept.

A file counts whole or not at all. It is written under another name, synced, renamed, and
its folder synced; its last bytes are a hash of all others. What state is made of, nobody
here knows: it comes and goes as parts, which are bytes.

    "SHROFFSN" | format, 4 bytes | header | part | part | ... | SHA-256 of all before

Header and parts stand behind their lengths, 8 bytes each; numbers begin with the low byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
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
_CHUNK_BYTES: Final = 1 << 20


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
        digest, left = sha256(), path.stat().st_size - _HASH_BYTES
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
            if start[:8] == _MAGIC[:8] and start != _MAGIC and len(start) == len(_MAGIC):
                return None
            file.seek(0)
            while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
                digest.update(chunk)
                left -= len(chunk)
            if start != _MAGIC or left != 0 or file.read() != digest.digest():
                raise StateError("its checksum does not fit")
        try:
            return msgspec.msgpack.decode(next(_frames(path)), type=Header)
        except (msgspec.DecodeError, StopIteration):
            raise StateError("its header cannot be read") from None

    def parts(self, path: Path) -> Iterator[bytes]:
        """The parts of a snapshot that was checked, one at a time."""
        frames = _frames(path)
        next(frames)
        return frames


def _frames(path: Path) -> Iterator[bytes]:
    """The header and the parts, without their lengths."""
    end = path.stat().st_size - _HASH_BYTES
    with path.open("rb") as file:
        file.seek(len(_MAGIC))
        while file.tell() < end:
            length = int.from_bytes(file.read(8), "little")
            part = file.read(length)
            if len(part) != length:
                raise StateError("a part ends before its length")
            yield part
