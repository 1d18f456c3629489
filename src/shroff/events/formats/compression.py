"""Open files that are compressed by gzip, bzip2 or Zstandard, recognized by the ending of their name."""

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
    """Return a file's name in lower case, without the ending of a compression.

    >>> bare_name("March.CSV.gz"), bare_name("march.csv")
    ('march.csv', 'march.csv')
    """
    name = name.lower()
    return name[: -len(ending)] if (ending := ending_of(name)) else name


def ending_of(name: str) -> str:
    """Return the ending of a compression in a file's name; "" if there is none."""
    return next((ending for ending in _READERS if name.lower().endswith(ending)), "")


def mark_in(first: bytes) -> str:
    """Return the name ending of the compression whose files begin with these bytes; "" for none."""
    return next((ending for mark, ending in MARKS.items() if first.startswith(mark)), "")


class _Unpacked:
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
    """Return the content of an open file with this ending. Reading raises one of `BROKEN` for damage, or OSError."""
    return cast("BinaryIO", _Unpacked(_READERS[ending](stored), stored))


def open_file(path: Path) -> tuple[BinaryIO, BinaryIO]:
    """Open a file; return its uncompressed content, and the stored file. Raises: OSError."""
    stored = path.open("rb")
    ending = ending_of(path.name)
    return (unpacked(stored, ending) if ending else stored), stored
