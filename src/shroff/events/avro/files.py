"""Read Avro files, which have a header with the schema, and blocks of records.

If a block is damaged, its unreadable rest becomes one line with an error, and reading continues at the marker before
the next block. Blocks may be compressed by deflate, bzip2, xz, snappy or Zstandard.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from shroff.errors import UsageError
from shroff.events.avro.schema import as_tree, bare
from shroff.events.avro.values import DAMAGED, AvroLine, Shape
from shroff.events.formats.compression import BROKEN, zstd
from shroff.events.formats.lines import FileExtent, Line, Lines

MAGIC = b"Obj\x01"
MARKER_BYTES = 16
BLOCK_BYTES_MAX = 256 * 1024 * 1024  # uncompressed; writers make blocks of some 64 KiB
PIECE_BYTES = 1024 * 1024  # read at a time where the next block is looked for
_LONG_BYTES_MAX = 10
_CHECK_BYTES = 4
_HEADER = {"type": "record", "name": "header", "fields": [{"name": "meta", "type": {"type": "map", "values": "bytes"}}]}


def read_avro(path: Path) -> Lines:
    """Read the records of an Avro file, with one block in memory at a time.

    Raises: UsageError if it is no Avro file, its schema or compression is not supported, or fastavro is missing.
    """
    file = _Blocks(path)
    extent = FileExtent(path.stat().st_size, file.read_bytes)
    return Lines("avro", file.shape.schema.names, file.lines(), file.close, extent)


def schema_text_of(path: Path) -> str:
    """Return the schema in the header of an Avro file. Raises: UsageError as `read_avro` does."""
    file = _Blocks(path)
    file.close()
    return file.schema_text


class _Blocks:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO = path.open("rb")
        try:
            self.schema_text, self._unpack, self._marker = self._header()
            self.shape = self._shape()
        except BaseException:
            self._stream.close()
            raise
        self._size_bytes = path.stat().st_size

    def read_bytes(self) -> int:
        return self._size_bytes if self._stream.closed else self._stream.tell()

    def close(self) -> None:
        self._stream.close()

    def lines(self) -> Iterator[Line]:
        """Yield the records, and a line with an error for unreadable ones."""
        number = 0
        with self._stream:
            while (found := self._block()) is not None:
                count, packed = found
                for line in self._of_block(number, count, packed):
                    number = line.number
                    yield line

    def _shape(self) -> Shape:
        try:
            return Shape(self.schema_text)
        except ValueError as error:
            raise UsageError(f"The schema of {self._path} is not read: {error}.") from None

    def _header(self) -> tuple[str, Callable[[bytes], bytes], bytes]:
        import json

        if self._stream.read(len(MAGIC)) != MAGIC:
            raise UsageError(f"{self._path} is not an Avro file: it does not begin with {MAGIC[:3].decode()}.")
        header = Shape(json.dumps(bare(as_tree(_HEADER))))
        try:
            meta: dict[str, bytes] = header.read(self._stream)["meta"]
            codec = meta.get("avro.codec", b"null").decode()
            text = meta["avro.schema"].decode()
        except DAMAGED:
            raise UsageError(f"{self._path} cannot be read as Avro: its header is damaged.") from None
        if codec not in _CODECS:
            raise UsageError(
                f"{self._path} is compressed by {codec[:40]}; write it with one of {', '.join(_CODECS)} instead."
            )
        return text, _CODECS[codec], self._stream.read(MARKER_BYTES)

    def _block(self) -> tuple[int, bytes] | None:
        """Return the number of records and the bytes of the next block; None at the end of the file.

        Raises: UsageError if the file is damaged here, and has no further block.
        """
        start = self._stream.tell()
        count = _long(self._stream)
        if count is None:
            return None
        size = _long(self._stream) or 0
        packed = self._stream.read(size) if 0 <= size <= BLOCK_BYTES_MAX else b""
        if count < 0 or len(packed) != size or self._stream.read(MARKER_BYTES) != self._marker:
            if not self._skip_to_marker(start + 1):
                raise UsageError(f"{self._path} is damaged behind byte {start:,}, and has no whole block after that.")
            return max(count, 1), b""
        return count, packed

    def _skip_to_marker(self, start: int) -> bool:
        at = start
        before = b""
        self._stream.seek(start)
        while piece := self._stream.read(PIECE_BYTES):
            found = (before + piece).find(self._marker)
            if found >= 0:
                self._stream.seek(at - len(before) + found + MARKER_BYTES)
                return True
            before = (before + piece)[-MARKER_BYTES:]
            at = at + len(piece)
        return False

    def _of_block(self, number: int, count: int, packed: bytes) -> Iterator[Line]:
        """Yield the records of a block; after an unreadable one, the rest is one error line."""
        shape = self.shape
        at = 0
        try:
            stream = BytesIO(self._unpack(packed))
        except (*DAMAGED, *BROKEN, OSError):
            yield Line(number + 1, packed, None, f"a block of {count:,} records cannot be uncompressed")
            return
        for done in range(count):
            number = number + 1
            at = stream.tell()
            try:
                record = shape.read(stream)
            except DAMAGED:
                words = f"the block is damaged here, and the {count - done:,} records from here on in it are not read"
                yield Line(number, stream.getvalue()[at:], None, words)
                return
            yield AvroLine(number, None, *shape.columns(record), shape=shape)
        if rest := stream.read():
            yield Line(number + 1, rest, None, f"{len(rest):,} bytes follow the last record of a block")


def _long(stream: BinaryIO) -> int | None:
    """Read a zig-zag number of variable length; None at the end of the file."""
    found = shift = 0
    for _ in range(_LONG_BYTES_MAX):
        byte = stream.read(1)
        if not byte:
            return None
        found |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return (found >> 1) ^ -(found & 1)
        shift += 7
    return -1


def _unsnapped(packed: bytes) -> bytes:
    """Unpack a snappy block, and check its CRC-32. Raises: ValueError, OSError."""
    import pyarrow as pa

    content = packed[:-_CHECK_BYTES]
    check = packed[-_CHECK_BYTES:]
    size = shift = 0
    for byte in content[:_LONG_BYTES_MAX]:  # its length stands first
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if not 0 < size <= BLOCK_BYTES_MAX:
        raise ValueError("it is empty, or too large")
    found: bytes = pa.decompress(content, decompressed_size=size, codec="snappy", asbytes=True)
    if zlib.crc32(found) != int.from_bytes(check):
        raise ValueError("its checksum is wrong")
    return found


def _limited(decompressor: Any, packed: bytes) -> bytes:
    """Unpack a block. Raises: ValueError if its content is larger than `BLOCK_BYTES_MAX`, or incomplete."""
    found: bytes = decompressor.decompress(packed, BLOCK_BYTES_MAX)
    if not decompressor.eof:
        raise ValueError("it ends too early, or is too large")
    return found


_CODECS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "null": bytes,
    "deflate": lambda packed: _limited(zlib.decompressobj(-zlib.MAX_WBITS), packed),
    "bzip2": lambda packed: _limited(bz2.BZ2Decompressor(), packed),
    "xz": lambda packed: _limited(lzma.LZMADecompressor(), packed),
    "snappy": _unsnapped,
    "zstandard": lambda packed: _limited(zstd.ZstdDecompressor(), packed),
}
