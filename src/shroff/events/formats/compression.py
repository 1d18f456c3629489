"""Compressed files, known by the endings of their names: gzip, bzip2 and Zstandard."""

from __future__ import annotations

import bz2
import gzip
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["BROKEN", "MARKS", "MARK_BYTES", "bare_name", "mark_in", "open_file", "unpacked", "zstd"]
BROKEN: Final = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError)
MARKS: Final = {b"\x1f\x8b": ".gz", b"BZh91AY&SY": ".bz2", b"\x28\xb5\x2f\xfd": ".zst"}
MARK_BYTES: Final = max(map(len, MARKS))
_READERS: Final[dict[str, Callable[[BinaryIO], Any]]] = {
    ".gz": lambda stored: gzip.GzipFile(fileobj=stored),
    ".bz2": bz2.BZ2File,
    ".zst": zstd.ZstdFile,
}


def bare_name(name: str) -> str:
    """A file's name in lower case, without the ending of a compression.

    >>> bare_name("March.CSV.gz"), bare_name("march.csv")
    ('march.csv', 'march.csv')
    """
    name = name.lower()
    return name[: -len(ending)] if (ending := ending_of(name)) else name


def ending_of(name: str) -> str:
    """The ending by which a file's name says that it is compressed; an empty text without one."""
    return next((ending for ending in _READERS if name.lower().endswith(ending)), "")


def mark_in(first: bytes) -> str:
    """The ending that a file should have that begins with these bytes; an empty text if it is not compressed."""
    return next((ending for mark, ending in MARKS.items() if first.startswith(mark)), "")


class _Unpacked:
    """The content of a compressed file; closing it closes the file."""

    def __init__(self, content: BinaryIO, stored: BinaryIO) -> None:
        self._both = (content, stored)
        self.readline = content.readline
        self.read = content.read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        for file in self._both:
            file.close()


def unpacked(stored: BinaryIO, ending: str) -> BinaryIO:
    """The content of an open file that has one of these endings. Reading raises one of `BROKEN`, or OSError."""
    return cast("BinaryIO", _Unpacked(_READERS[ending](stored), stored))


def open_file(path: Path) -> tuple[BinaryIO, BinaryIO]:
    """The content of a file, uncompressed, and the file as it is stored. Raises: OSError."""
    stored = path.open("rb")
    ending = ending_of(path.name)
    return (unpacked(stored, ending) if ending else stored), stored
