"""Runs of hashed keys: files that say at which places of a log a key stands, each sorted, none ever changed.

A run covers the places behind `after` up to `upto`. It holds a hash for each key at each of them, sorted, and the
places beside. Runs follow each other; several are put together to one, so that a question asks few files. All of it is
made of the log, and may be removed at any time.

    "SHROFFKR" | format, 4 bytes | crc32 of all behind it, 4 | mark of the log, 32 | count, 8 | hashes, 8 each | places
    behind `after`, 4 each

Numbers begin with the low byte.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shroff.config import FILE_MODE, make_folder
from shroff.errors import StorageError
from shroff.runtime.whole_files import whole_file

FORMAT: Final = 1
SUFFIX: Final = ".keys"
MARK_BYTES: Final = 32
_MAGIC: Final = b"SHROFFKR" + FORMAT.to_bytes(4, "little")
_HEAD_BYTES: Final = len(_MAGIC) + 4 + MARK_BYTES + 8
_CHUNK_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The keys of a stretch of a log; `hashes` are sorted, `places` ascend within equal ones, counted from `after`."""

    after: int
    upto: int
    mark: bytes
    hashes: NDArray[np.uint64]
    places: NDArray[np.uint32]

    @property
    def size(self) -> int:
        """How many places it covers."""
        return self.upto - self.after

    def of(self, hashed: int) -> NDArray[np.uint32]:
        """Where a key of this hash stands, counted from `after`. Cost: some 25 looks into the file."""
        wanted = np.uint64(hashed)
        first, last = (int(np.searchsorted(self.hashes, wanted, side)) for side in ("left", "right"))
        return self.places[first:last]


class KeyRuns:
    """The runs in one folder. Any number of processes may read; one that writes beside another writes the same.

    Args:
        folder: Where they are; made with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[tuple[str, int], Run | None] = {}

    def cover(self) -> list[Run]:
        """Runs that follow each other from the first place that there is, the largest ones. Damaged ones count not."""
        named = sorted(self._named(), key=lambda run: (run[0], -run[1]))
        found: list[Run] = []
        for after, upto, path in named:
            is_next = after == found[-1].upto if found else True
            run = self._run(after, upto, path) if is_next else None
            if run is not None:
                found.append(run)
        return found

    def write(self, after: int, upto: int, mark: bytes, hashes: NDArray[np.uint64], places: NDArray[np.uint32]) -> None:
        """Sort and keep the keys of a stretch; whole or not at all.

        Raises: StorageError where the disk is full, read-only or failing.
        """
        order = np.lexsort((places, hashes))
        parts = (mark, len(hashes).to_bytes(8, "little"), hashes[order].tobytes(), places[order].tobytes())
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        target = self.folder / f"{after:012d}-{upto:012d}{SUFFIX}"
        unfinished = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        try:
            make_folder(self.folder)
            with whole_file(target, unfinished, mode=FILE_MODE) as file:
                file.writelines((_MAGIC, checksum.to_bytes(4, "little"), *parts))
        except OSError as error:
            words = "Nothing is lost; questions read more of the log"
            raise StorageError(f"{target} cannot be written: {error.strerror}. {words}") from error

    def put_together(self, runs: Sequence[Run]) -> None:
        """Make one of runs that follow each other; those go. Raises: StorageError as `write`."""
        first, last = runs[0], runs[-1]
        places = [run.places + np.uint32(run.after - first.after) for run in runs]
        self.write(
            first.after, last.upto, last.mark, np.concatenate([run.hashes for run in runs]), np.concatenate(places)
        )
        self.remove((run.after, run.upto) for run in runs)

    def remove(self, stretches: Iterable[tuple[int, int]] | None = None) -> None:
        """Remove runs; all, where none are named. One that cannot be removed does no harm."""
        wanted = None if stretches is None else set(stretches)
        for after, upto, path in list(self._named()):
            if wanted is None or (after, upto) in wanted:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _named(self) -> Iterable[tuple[int, int, Path]]:
        for path in self.folder.glob(f"*{SUFFIX}"):
            first, _, last = path.stem.partition("-")
            if first.isdecimal() and last.isdecimal() and int(first) < int(last):
                yield int(first), int(last), path

    def _run(self, after: int, upto: int, path: Path) -> Run | None:
        """A run whose bytes are as they were written, None for any other; each is looked through once."""
        try:
            known_as = path.name, path.stat().st_mtime_ns
            if known_as not in self._open:
                self._open[known_as] = _read(after, upto, path)
        except OSError:  # it was put together with others meanwhile, or cannot be read
            return None
        return self._open[known_as]


def _read(after: int, upto: int, path: Path) -> Run | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES or not head.startswith(_MAGIC):
            return None
        checksum = zlib.crc32(head[len(_MAGIC) + 4 :])
        while chunk := file.read(_CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    stated = int.from_bytes(head[len(_MAGIC) : len(_MAGIC) + 4], "little")
    mark, count = head[-MARK_BYTES - 8 : -8], int.from_bytes(head[-8:], "little")
    if checksum != stated or size != _HEAD_BYTES + 12 * count:
        return None
    return Run(after, upto, mark, *_columns(path, count))


def _columns(path: Path, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    if count == 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.uint32)
    hashes = np.memmap(path, np.dtype("<u8"), "r", _HEAD_BYTES, (count,))
    return hashes, np.memmap(path, np.dtype("<u4"), "r", _HEAD_BYTES + 8 * count, (count,))
