"""Entries of runs: digests of ids with sequence numbers, and the parts that a run of them is cut into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Final
from zlib import crc32

import numpy as np

from shroff.adapters.log.ids.filters import Numbers

SEQS_END = 1 << 48
_PART = 512  # ids in a part at least, on average: 24 bytes each on pages of 8 KiB, where 256 take 32
_ENTRY = 22  # bytes: two halves of the digest and the first six bytes of a sequence number, the smallest first
_PACKED = np.dtype(  # `end` has two bytes of the digest and the sequence number
    {"names": ["head", "tail", "end"], "formats": ["<u8"] * 3, "offsets": [0, 8, 14], "itemsize": _ENTRY}
)


def digests_of(type: str, ids: Iterable[str]) -> list[bytes]:
    encoded = type.encode()
    head = b"%d:%s" % (len(encoded), encoded)
    return [blake2b(head + id_.encode(), digest_size=16).digest() for id_ in ids]


def halves_of(digests: Iterable[bytes]) -> Numbers:
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64).reshape(-1, 2)


def entries_of(seqs: Mapping[bytes, int]) -> Numbers:
    return np.column_stack((halves_of(seqs), np.fromiter(seqs.values(), np.uint64, len(seqs))))


def seqs_of(entries: Numbers) -> dict[bytes, int]:
    digests = np.frombuffer(entries[:, :2].astype(">u8").tobytes(), "V16").tolist()
    return dict(zip(digests, entries[:, 2].tolist(), strict=True))


def bits_of(size: int) -> int:
    return max((size // _PART).bit_length() - 1, 0)


def part_with(digest: bytes, run: int, bits: int) -> int:
    return (run << 32) + (int.from_bytes(digest[:4], "big") >> 32 - bits)


def parts_of(run: int, bits: int, entries: Numbers) -> list[tuple[int, bytes, int]]:
    """The parts of a run that has these entries, which are in order, with their sums."""
    every = np.arange((1 << bits) + 1)
    parts = entries[:, 0] >> np.uint64(32) >> np.uint64(32 - bits)
    edges = np.searchsorted(parts, every.astype(np.uint64)) * _ENTRY
    data = entries.astype("<u8").view(np.uint8).reshape(-1, 24)[:, :_ENTRY].tobytes()
    found = zip((every + (run << 32)).tolist(), pairwise(edges.tolist()), strict=False)
    return [(key, part := data[start:stop], part_sum(key, part)) for key, (start, stop) in found]


def found_in(part: bytes, digests: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Those of digests that a part has, with their sequence numbers. Cost: 1 µs each."""
    for digest in digests:
        packed = digest[7::-1] + digest[:7:-1]
        at = part.find(packed)
        while at >= 0:
            if at % _ENTRY == 0:
                yield digest, int.from_bytes(part[at + len(packed) : at + _ENTRY], "little")
            at = part.find(packed, at + 1)


def unpacked(parts: Sequence[bytes]) -> Numbers:
    found = np.frombuffer(b"".join(parts), _PACKED)
    return np.column_stack((found["head"], found["tail"], found["end"] >> np.uint64(16)))


def part_sum(key: int, data: bytes) -> int:
    """The sum of a row. Cost: 0.1 µs, and 0.3 ms a megabyte."""
    return crc32(data, crc32(b"%d" % key))


class PlaceSums:
    """Sums of the entries at places in (after, end], some thousand places each: to compare an index with its log.

    Two that were given the same entries, in any order, are the same.
    """

    _BITS: Final = 12  # of the places of one sum

    def __init__(self, after: int, end: int) -> None:
        self.after, self.end, self.count = after, end, 0
        self.sums: Numbers = np.zeros((end - after >> self._BITS) + 1, np.uint64)

    def add(self, entries: Numbers) -> None:
        """Cost: 0.03 µs an entry."""
        seqs = entries[:, 2]
        entries = entries[(seqs > self.after) & (seqs <= self.end)]
        heads, tails, seqs = entries.T
        at = (seqs - np.uint64(self.after) >> np.uint64(self._BITS)).astype(np.intp)
        np.add.at(self.sums, at, (heads ^ tails << np.uint64(1)) * (seqs << np.uint64(1) | np.uint64(1)))
        self.count += len(entries)

    def take(self, others: Iterable[PlaceSums]) -> None:
        for sums in others:
            self.sums += sums.sums
            self.count += sums.count

    def unlike(self, other: PlaceSums) -> list[tuple[int, int]]:
        first = (np.flatnonzero(self.sums != other.sums) << self._BITS) + self.after - 1
        return [(max(number, self.after), min(number + (1 << self._BITS), self.end)) for number in first.tolist()]
