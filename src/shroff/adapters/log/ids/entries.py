"""Entries of the index of ids: digests of ids with sequence numbers, and the parts into which a run is cut.

An array of entries has three columns of unsigned numbers: the first and the second half of the digest, and the sequence
number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Final
from zlib import crc32

import numpy as np

from shroff.adapters.log.ids.filters import Numbers

SEQS_END = 1 << 48
# Average number of ids in a part, at least. With 512, an id takes 24 bytes on pages of 8 KiB; with 256, 32 bytes.
_PART = 512
_ENTRY = 22  # bytes of a stored entry: two halves of the digest and six bytes of the sequence number, lowest byte first
# The field `end` overlaps `tail` by two bytes, as the sequence number alone has six bytes.
_PACKED = np.dtype(
    {"names": ["head", "tail", "end"], "formats": ["<u8"] * 3, "offsets": [0, 8, 14], "itemsize": _ENTRY}
)


def digests_of(type: str, ids: Iterable[str]) -> list[bytes]:
    encoded = type.encode()
    head = b"%d:%s" % (len(encoded), encoded)  # with its length, so that no other type and id give the same text
    return [blake2b(head + id_.encode(), digest_size=16).digest() for id_ in ids]


def halves_of(digests: Iterable[bytes]) -> Numbers:
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64).reshape(-1, 2)


def entries_of(seqs: Mapping[bytes, int]) -> Numbers:
    return np.column_stack((halves_of(seqs), np.fromiter(seqs.values(), np.uint64, len(seqs))))


def seqs_of(entries: Numbers) -> dict[bytes, int]:
    digests = np.frombuffer(entries[:, :2].astype(">u8").tobytes(), "V16").tolist()
    return dict(zip(digests, entries[:, 2].tolist(), strict=True))


def bits_of(size: int) -> int:
    """Return by how many first bits of the digests a run of this size is cut into parts."""
    return max((size // _PART).bit_length() - 1, 0)


def part_number(digest: bytes, run: int, bits: int) -> int:
    """Return the number of the part of a run that may have this digest, by the first `bits` bits of it."""
    return (run << 32) + (int.from_bytes(digest[:4], "big") >> 32 - bits)


def parts_of(run: int, bits: int, entries: Numbers) -> list[tuple[int, bytes, int]]:
    """Cut a run with these entries, ascending by digest, into parts: number, data and checksum of each."""
    indexes = np.arange((1 << bits) + 1)
    part_of_entry = entries[:, 0] >> np.uint64(32) >> np.uint64(32 - bits)
    edges = np.searchsorted(part_of_entry, indexes.astype(np.uint64)) * _ENTRY
    data = entries.astype("<u8").view(np.uint8).reshape(-1, 24)[:, :_ENTRY].tobytes()
    numbers = (indexes[:-1] + (run << 32)).tolist()
    parts = list[tuple[int, bytes, int]]()
    for number, (start, stop) in zip(numbers, pairwise(edges.tolist()), strict=True):
        part = data[start:stop]
        parts.append((number, part, part_sum(number, part)))
    return parts


def entries_in(part: bytes, digests: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield the digests that a part has, with their sequence numbers. Cost: 1 µs a digest."""
    for digest in digests:
        packed = digest[7::-1] + digest[:7:-1]  # each half with its lowest byte first, as stored
        start = part.find(packed)
        while start >= 0:
            if start % _ENTRY == 0:  # else the bytes belong to two neighboring entries
                yield digest, int.from_bytes(part[start + len(packed) : start + _ENTRY], "little")
            start = part.find(packed, start + 1)


def unpacked(parts: Sequence[bytes]) -> Numbers:
    packed = np.frombuffer(b"".join(parts), _PACKED)
    return np.column_stack((packed["head"], packed["tail"], packed["end"] >> np.uint64(16)))


def part_sum(number: int, data: bytes) -> int:
    """Return the checksum of a part. Cost: 0.1 µs, and 0.3 ms a megabyte."""
    return crc32(data, crc32(b"%d" % number))


class SeqSums:
    """Sums over the entries with sequence numbers in (after, end], by which an index is compared with its log.

    A sum covers 4,096 sequence numbers and depends on the entries, not on their order.
    """

    _BITS: Final = 12

    def __init__(self, after: int, end: int) -> None:
        self.after = after
        self.end = end
        self.count = 0
        self.sums: Numbers = np.zeros((end - after >> self._BITS) + 1, np.uint64)

    def add(self, entries: Numbers) -> None:
        """Add those of the entries that lie in (after, end]. Cost: 0.03 µs an entry."""
        seqs = entries[:, 2]
        entries = entries[(seqs > self.after) & (seqs <= self.end)]
        heads, tails, seqs = entries.T
        indexes = (seqs - np.uint64(self.after) >> np.uint64(self._BITS)).astype(np.intp)
        np.add.at(self.sums, indexes, (heads ^ tails << np.uint64(1)) * (seqs << np.uint64(1) | np.uint64(1)))
        self.count += len(entries)

    def add_all(self, others: Iterable[SeqSums]) -> None:
        for sums in others:
            self.sums += sums.sums
            self.count += sums.count

    def differing_from(self, other: SeqSums) -> list[tuple[int, int]]:
        """Return the intervals (start, stop] of sequence numbers whose sums differ, ascending."""
        starts = (np.flatnonzero(self.sums != other.sums) << self._BITS) + self.after - 1
        return [(max(start, self.after), min(start + (1 << self._BITS), self.end)) for start in starts.tolist()]
