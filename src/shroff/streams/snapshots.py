"""Snapshots: saved state with its place in a log, one file each, the newest kept.

A file counts whole or not at all. It is written under another name, synced, renamed, and
its folder synced; its last bytes are a hash of all others. What state is made of, nobody
here knows: it comes and goes as parts, which are bytes.

    "SHROFFSN" | format, 4 bytes | header | part | part | ... | hash of all before

Header and parts stand behind their lengths, 8 bytes each; numbers begin with the low byte. The hash is the SHA-256 of
the SHA-256 of each 4 MiB, so threads share the work of a start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import msgspec

from shroff.config import FILE_MODE, make_folder
from shroff.errors import StateError, StorageError, os_words
from shroff.runtime.atomic_files import whole_file
from shroff.runtime.process_wide import mapped
from shroff.runtime.progress import unheard
from shroff.runtime.values import FrozenStruct

FORMAT = 2  # of the file; readers pass over every other
KEPT = 2
SUFFIX = ".snapshot"
STEPS = ("begin", "half written", "written", "synced", "renamed", "done")
_MAGIC = b"SHROFFSN" + FORMAT.to_bytes(4, "little")
_HASH_BYTES = 32
_PARTS_MAX = 1 << 16  # zeros read as lengths are empty parts, eight bytes each
_MAPPED_BYTES = 1 << 16  # smaller parts are in memory of Python's own
ROOM_PART = 4  # behind what is taken over there is a quarter more, which takes memory once it is written to
_PIECE_BYTES = 1 << 22
_THREADS = 2  # more would wait for memory
_DAMAGED = "its checksum does not fit"
Part = bytes | memoryview


class Header(FrozenStruct):
    """Header of a snapshot.

    `seq` is the last place whose event is in the state. `layout` is equal where the state
    can be taken up; `log` is equal for one and the same log up to this place.
    """

    seq: int
    layout: str
    log: str


class Snapshots:
    """The snapshots in one folder. One process at a time may write or remove: the log's writer.

    Args:
        folder: Where they are; made with the first one.
        kept: How many are left when one is written.
        on_step: Told each of `STEPS` as a write comes to it; for crash tests.
    """

    def __init__(self, folder: Path, *, kept: int = KEPT, on_step: Callable[[str], None] = unheard) -> None:
        self.folder = folder
        self._kept = max(kept, 1)
        self._on_step = on_step

    def files(self) -> list[Path]:
        """The snapshots, newest place first, whole or not. Empty where there is no folder."""
        found = [path for path in self.folder.glob(f"*{SUFFIX}") if path.stem.isascii() and path.stem.isdigit()]
        return sorted(found, key=lambda path: int(path.stem), reverse=True)

    def write(self, header: Header, parts: Iterable[Part]) -> Path:
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
            raise StorageError(f"{os_words(error, target, ' cannot be written')}. {words}") from error
        # What is named after a later place is of a log that lost it: it is not whole, or could not be taken up.
        beyond = [file for file in self.files() if int(file.stem) > header.seq]
        for useless in (*beyond, *self.files()[len(beyond) + self._kept :]):
            with suppress(StorageError):  # it does no harm
                self.remove(useless)
        self._on_step("done")
        return target

    def _fill(self, file: BinaryIO, header: Header, parts: Iterable[Part]) -> None:
        digest = sha256()
        pieces = sha256()
        left = _PIECE_BYTES

        def put(data: Part) -> None:
            nonlocal digest, left
            file.write(data)
            rest = memoryview(data)
            while len(rest) >= left:
                digest.update(rest[:left])
                pieces.update(digest.digest())
                rest = rest[left:]
                digest = sha256()
                left = _PIECE_BYTES
            digest.update(rest)
            left -= len(rest)

        put(_MAGIC)
        for part in chain[Part]([msgspec.msgpack.encode(header)], parts):
            put(len(part).to_bytes(8, "little"))
            put(part)
            file.flush()
            self._on_step("half written")
        if left < _PIECE_BYTES:
            pieces.update(digest.digest())
        file.write(pieces.digest())
        file.flush()

    def remove(self, path: Path) -> None:
        """Remove one, which loses nothing: a snapshot is a cache. Raises: StorageError where it stays."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(os_words(error, path, " cannot be removed")) from error

    def check(self, path: Path) -> Header | None:
        """The header of a snapshot whose bytes are as they were written; None where its format is another.

        Raises: StateError where they are not; OSError where the file cannot be read.
        Cost: reads the whole file.
        """
        found = self.read(path)
        return None if found is None else found[0]

    def read(self, path: Path, layout: str | None = None) -> tuple[Header, list[Part]] | None:
        """The same, and the parts of a snapshot of this layout, each in memory of its own; no parts of another.

        Raises: as `check`. Cost: one pass, by two threads.
        """
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
            if start[:8] == _MAGIC[:8] and start != _MAGIC and len(start) == len(_MAGIC):
                return None
            if start != _MAGIC:
                raise StateError(_DAMAGED)
            body = _SnapshotBody(file.fileno(), path.stat().st_size - _HASH_BYTES)
            header = body.part()
            parts = list[Part]()
            is_wanted = layout is not None and _layout_of(bytes(header)) == layout
            while is_wanted and body.at < body.end:
                parts.append(body.part())
            file.seek(body.end)
            if body.read() != file.read():
                raise StateError(_DAMAGED)
        try:
            return msgspec.msgpack.decode(header, type=Header), parts
        except msgspec.DecodeError:
            raise StateError("its header cannot be read") from None


class _SnapshotBody:
    """All of a file up to its hash: parts are laid out first, then threads fill and hash them.

    Args:
        file: Its descriptor.
        end: Where its hash begins.
    """

    def __init__(self, file: int, end: int) -> None:
        self._file = file
        self.end = end
        self.at = 0
        self._pieces: list[list[memoryview]] = []  # where what stands up to `at` is read into
        self._lengths: list[tuple[Part, int]] = []
        self._lay_out(len(_MAGIC))

    def part(self) -> Part:
        """The part that begins here, without its length; all but the header's bytes come with `read`.

        Raises: StateError where it is longer than the file.
        """
        length = self._lay_out(8)
        self._read(length, self.at - 8)
        size = int.from_bytes(length, "little")
        part = self._lay_out(size)
        if len(self._lengths) > _PARTS_MAX:
            raise StateError(_DAMAGED)
        if not self._lengths:
            self._read(part, self.at - size)
        self._lengths.append((length, size))
        return part

    def read(self) -> bytes:
        """Read all, and give its hash. Raises: StateError where the file has less, or other lengths than before."""
        count = -(-self.end // _PIECE_BYTES)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="hash") as pool:
            found = sha256(b"".join(pool.map(self._hash, range(count))))
        if any(int.from_bytes(length, "little") != size for length, size in self._lengths):
            raise StateError(_DAMAGED)
        return found.digest()

    def _lay_out(self, length: int) -> memoryview:
        """Room for the next bytes, at the start of memory of their own: mapped, where they are many."""
        if length > self.end - self.at:
            raise StateError(_DAMAGED)
        is_large = length >= _MAPPED_BYTES
        room = memoryview(mapped(length + length // ROOM_PART) if is_large else bytearray(length))[:length]
        rest = room
        while len(rest):
            if self.at % _PIECE_BYTES == 0:
                self._pieces.append([])
            self._pieces[-1].append(rest[: _PIECE_BYTES - self.at % _PIECE_BYTES])
            self.at += len(self._pieces[-1][-1])
            rest = rest[len(self._pieces[-1][-1]) :]
        return room

    def _hash(self, number: int) -> bytes:
        digest = sha256()
        at = number * _PIECE_BYTES
        rest = bytearray(max(0, min(at + _PIECE_BYTES, self.end) - max(at, self.at)))  # of parts that nobody wants
        for into in (*(self._pieces[number] if number < len(self._pieces) else ()), memoryview(rest)):
            self._read(into, at)
            digest.update(into)
            at += len(into)
        return digest.digest()

    def _read(self, into: memoryview, at: int) -> None:
        if len(into) and os.preadv(self._file, [into], at) != len(into):
            raise StateError(_DAMAGED)


def _layout_of(header: bytes) -> str | None:
    """The layout that a header names, whose bytes may not be as they were written."""
    try:
        return msgspec.msgpack.decode(header, type=Header).layout
    except ValueError:  # of which msgspec's errors are
        return None
