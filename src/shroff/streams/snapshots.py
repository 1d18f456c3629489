"""Snapshots: saved state with its sequence number in a log, one file each, the newest kept.

A file counts only if it is complete. It is written under another name, synced, renamed, and its folder synced; its last
bytes are a hash of all others. State is opaque here: it is saved and loaded as parts, which are bytes.

    "SHROFFSN" | format, 4 bytes | header | part | part | ... | hash of all before

Header and parts are preceded by their lengths, 8 bytes each; numbers are little-endian. The hash is the SHA-256 of the
SHA-256 of each 4 MiB, so threads share the work of a start.
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

from shroff.errors import StateError, StorageError, os_words
from shroff.runtime.atomic_files import whole_file
from shroff.runtime.process_wide import mapped
from shroff.runtime.progress import unheard
from shroff.runtime.state_folder import FILE_MODE, make_folder
from shroff.runtime.values import FrozenStruct

FORMAT = 2  # of the file; readers ignore all others
KEPT = 2
SUFFIX = ".snapshot"
STEPS = ("begin", "half written", "written", "synced", "renamed", "done")
_MAGIC = b"SHROFFSN" + FORMAT.to_bytes(4, "little")
_HASH_BYTES = 32
_PARTS_MAX = 1 << 16  # a file of zeros would read as empty parts of eight bytes each
_MAPPED_BYTES = 1 << 16  # smaller parts use Python's own memory
ROOM_PART = 4  # a quarter more is reserved after each part, which uses memory only once it is written to
_PIECE_BYTES = 1 << 22
_THREADS = 2  # more would wait for memory
_DAMAGED = "its checksum does not fit"
Part = bytes | memoryview


class Header(FrozenStruct):
    """Header of a snapshot.

    `seq` is the last sequence number whose event is in the state. `layout` is equal if the state can be restored; `log`
    is equal for the same log up to this sequence number. `keys` is the number of keys with state.
    """

    seq: int
    layout: str
    log: str
    keys: int = 0


class Snapshots:
    """The snapshots in one folder. One process at a time may write or remove: the log's writer.

    Args:
        folder: Created with the first snapshot.
        kept: How many snapshots remain when one is written.
        on_step: Called with each of `STEPS` as a write reaches it; for crash tests.
    """

    def __init__(self, folder: Path, *, kept: int = KEPT, on_step: Callable[[str], None] = unheard) -> None:
        self.folder = folder
        self._kept = max(kept, 1)
        self._on_step = on_step

    def files(self) -> list[Path]:
        """Return the snapshots, newest first, complete or not; empty without a folder."""
        paths = [path for path in self.folder.glob(f"*{SUFFIX}") if path.stem.isascii() and path.stem.isdigit()]
        return sorted(paths, key=lambda path: int(path.stem), reverse=True)

    def write(self, header: Header, parts: Iterable[Part]) -> Path:
        """Save state, durable on return, and remove all but the newest snapshots up to its sequence number.

        Raises: StorageError if the disk is full, read-only or failing; earlier snapshots stay then.
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
            consequence = "Nothing is lost; the next start reads more of the log"
            raise StorageError(f"{os_words(error, target, ' cannot be written')}. {consequence}") from error
        # A snapshot of a later sequence number is from a log that lost it: it is incomplete, or could not be restored.
        beyond = [file for file in self.files() if int(file.stem) > header.seq]
        for useless in (*beyond, *self.files()[len(beyond) + self._kept :]):
            with suppress(StorageError):  # leaving it is harmless
                self.remove(useless)
        self._on_step("done")
        return target

    def _fill(self, file: BinaryIO, header: Header, parts: Iterable[Part]) -> None:
        digest = sha256()
        pieces = sha256()
        piece_left = _PIECE_BYTES

        def put(data: Part) -> None:
            nonlocal digest, piece_left
            file.write(data)
            unwritten = memoryview(data)
            while len(unwritten) >= piece_left:
                digest.update(unwritten[:piece_left])
                pieces.update(digest.digest())
                unwritten = unwritten[piece_left:]
                digest = sha256()
                piece_left = _PIECE_BYTES
            digest.update(unwritten)
            piece_left -= len(unwritten)

        put(_MAGIC)
        for part in chain[Part]([msgspec.msgpack.encode(header)], parts):
            put(len(part).to_bytes(8, "little"))
            put(part)
            file.flush()
            self._on_step("half written")
        if piece_left < _PIECE_BYTES:
            pieces.update(digest.digest())
        file.write(pieces.digest())
        file.flush()

    def remove(self, path: Path) -> None:
        """Remove a snapshot; nothing is lost, since it is a cache. Raises: StorageError if it stays."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(os_words(error, path, " cannot be removed")) from error

    def check(self, path: Path) -> Header | None:
        """Return the header of an undamaged snapshot; None if its format is another.

        Raises: StateError if it is damaged; OSError if the file cannot be read.
        Cost: reads the whole file.
        """
        header_and_parts = self.read(path)
        return None if header_and_parts is None else header_and_parts[0]

    def read(self, path: Path, layout: str | None = None) -> tuple[Header, list[Part]] | None:
        """Like `check`, with the parts, each in its own memory, if the snapshot has this layout; else without parts.

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
    """The content of a file before its hash: parts are laid out first, then threads fill and hash them.

    Args:
        file: Its descriptor.
        end: Where its hash begins.
    """

    def __init__(self, file: int, end: int) -> None:
        self._file = file
        self.end = end
        self.at = 0
        self._pieces: list[list[memoryview]] = []  # memory into which each 4 MiB up to `at` is read
        self._lengths: list[tuple[Part, int]] = []
        self._reserve(len(_MAGIC))

    def part(self) -> Part:
        """Lay out the part that begins here; its bytes are filled by `read`, except those of the header.

        Raises: StateError if it is longer than the file.
        """
        length = self._reserve(8)
        self._read_into(length, self.at - 8)
        size = int.from_bytes(length, "little")
        part = self._reserve(size)
        if len(self._lengths) > _PARTS_MAX:
            raise StateError(_DAMAGED)
        if not self._lengths:
            self._read_into(part, self.at - size)
        self._lengths.append((length, size))
        return part

    def read(self) -> bytes:
        """Read everything and return its hash. Raises: StateError if the file is shorter, or lengths changed."""
        count = -(-self.end // _PIECE_BYTES)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="hash") as pool:
            file_hash = sha256(b"".join(pool.map(self._hash, range(count))))
        if any(int.from_bytes(length, "little") != size for length, size in self._lengths):
            raise StateError(_DAMAGED)
        return file_hash.digest()

    def _reserve(self, length: int) -> memoryview:
        if length > self.end - self.at:
            raise StateError(_DAMAGED)
        is_large = length >= _MAPPED_BYTES
        buffer = memoryview(mapped(length + length // ROOM_PART) if is_large else bytearray(length))[:length]
        unfilled = buffer
        while len(unfilled):
            if self.at % _PIECE_BYTES == 0:
                self._pieces.append([])
            self._pieces[-1].append(unfilled[: _PIECE_BYTES - self.at % _PIECE_BYTES])
            self.at += len(self._pieces[-1][-1])
            unfilled = unfilled[len(self._pieces[-1][-1]) :]
        return buffer

    def _hash(self, number: int) -> bytes:
        digest = sha256()
        start = number * _PIECE_BYTES
        buffer = bytearray(
            max(0, min(start + _PIECE_BYTES, self.end) - max(start, self.at))
        )  # for parts that are not wanted
        for into in (*(self._pieces[number] if number < len(self._pieces) else ()), memoryview(buffer)):
            self._read_into(into, start)
            digest.update(into)
            start += len(into)
        return digest.digest()

    def _read_into(self, into: memoryview, start: int) -> None:
        if len(into) and os.preadv(self._file, [into], start) != len(into):
            raise StateError(_DAMAGED)


def _layout_of(header: bytes) -> str | None:
    """Return the layout that a header names; its bytes may be damaged."""
    try:
        return msgspec.msgpack.decode(header, type=Header).layout
    except ValueError:  # base class of msgspec's errors
        return None
