"""Index of keys in the database: find the sequence numbers of a key's events by the hash of the key.

The logs in SQL use this module. A batch adds one row with all its entries. Between batches, `put_together` merges some
thousand of these rows into one part for each of the `BUCKETS`, so that a look-up of a key reads a sixty-fourth of the
index, in few rows. A part has each of its keys once, so a key that comes often takes two bytes an event.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from struct import Struct
from typing import Any

import numpy as np

from shroff.adapters.log.connection.log_connection import NUMBER_MAX, LogConnection
from shroff.adapters.log.ids.entries import part_sum
from shroff.adapters.log.tables.rows import KEY_PARTS
from shroff.arrays import Array, Ints
from shroff.streams.log_columns import KeyPlaces

BUCKETS = 64
BUCKET_BITS = 48  # low bits of a row's number: the part, from 1. Bucket 0 has the rows of batches, by last seq
ROWS_MAX = 2_048  # rows of batches before a merge; a look-up reads each of them, 1.5 µs a row
# Bytes in rows of batches before a merge: fifteen batches of 4,096 entries, so that the sequence numbers of an entity
# that is in each event differ by less than 65,536, and two bytes are enough.
BYTES_MAX = 15 * 4_096 * 16
_ENTRY = np.dtype([("hash", "<u8"), ("seq", "<i8")])  # in the row of a batch
_PACKED = Struct("<Qq")  # the same
# A part: its lowest sequence number, number of keys, bytes of a count and of a distance. Then, for each key ascending,
# the high half of its hash; for each key the count of its entries; and for each entry, by key, the distance of its
# sequence number from the lowest one.
_HEADER = Struct("<qIBB")
_SHORT = np.dtype("<u4")
_NONE = np.empty(0, np.int64)


class KeyParts:
    """The index of keys of one log. Changes need an open transaction."""

    def __init__(self, connection: LogConnection) -> None:
        self._connection = connection
        self._wording = connection.wording
        self._rows = self._bytes = ROWS_MAX * BYTES_MAX  # of batches; unknown at first, so `is_due` counts them

    def add(self, keys: KeyPlaces, last_seq: int) -> None:
        """Add the keys of a batch that ends at `last_seq`; with 0, keys of earlier records, directly as parts."""
        if isinstance(keys.hashes, list):
            data = b"".join(map(_PACKED.pack, *keys))
        else:
            entries = np.empty(len(keys.seqs), _ENTRY)
            entries["hash"] = keys.hashes
            entries["seq"] = keys.seqs
            data = entries.tobytes()
        if last_seq:
            self._connection.put(KEY_PARTS, [(last_seq, data, part_sum(last_seq, data))])
            self._rows = self._rows + 1
            self._bytes = self._bytes + len(data)
        else:
            self._cut(np.frombuffer(data, _ENTRY))

    def is_due(self) -> bool:
        """Whether `put_together` is due, by the rows and bytes of batches."""
        if self._rows < ROWS_MAX and self._bytes < BYTES_MAX:
            return False
        ((self._rows, size),) = self._connection.select(self._wording.key_rows, (1 << BUCKET_BITS,), "iI")
        self._bytes = int(size or 0)
        return self._rows >= ROWS_MAX or self._bytes >= BYTES_MAX

    def put_together(self) -> None:
        """Merge the rows of batches into parts. Cost: 2 µs a row, and 0.1 µs an entry."""
        self._cut(self._batch_entries())
        self._connection.execute(self._wording.drop_keys, (0, 1 << BUCKET_BITS))
        self._rows = self._bytes = 0

    def places(self, hashes: Collection[int]) -> Mapping[int, Ints]:
        """Return the sequence numbers of each hash, ascending.

        Only 38 bits of a hash are compared in parts, so one of another key is among them with a chance of 2**-38.

        Cost: 1.5 µs for each row of a batch, and 8 µs for each part of a bucket: 33 in a million events with two keys.

        Raises: StorageError if a row is missing or has changed since it was written.
        """
        loose = self._batch_entries()  # read before the parts: rows of batches become parts, never the reverse
        seqs_by_hash = {}
        number = self._newest()
        for hashed in hashes:
            bucket = 1 + hashed % BUCKETS
            seqs = [loose["seq"][loose["hash"] == np.uint64(hashed)]]
            parts = self._parts_between(bucket << BUCKET_BITS, bucket + 1 << BUCKET_BITS)
            if len(parts) < number or (parts and parts[-1][0] % (1 << BUCKET_BITS) != len(parts)):
                raise self._connection.damaged_index("parts of the index of keys are missing")
            seqs += [_seqs_in(data, hashed >> 32) for _, data in parts]
            seqs_by_hash[hashed] = np.unique(np.concatenate(seqs))
        return seqs_by_hash

    def check(self) -> None:
        """Read the whole index. Raises: StorageError if a part is missing or was changed. Cost: 2 ns a byte."""
        number = self._newest()
        for bucket in range(BUCKETS + 1):
            parts = self._parts_between(bucket << BUCKET_BITS, bucket + 1 << BUCKET_BITS)
            if bucket and len(parts) < number:
                raise self._connection.damaged_index("parts of the index of keys are missing")

    def clear(self) -> None:
        """Remove the whole index. The next writer builds it again, as the log then has no end of the index."""
        self._connection.execute(self._wording.drop_keys, (0, BUCKETS + 1 << BUCKET_BITS))
        self._rows = self._bytes = 0

    def _batch_entries(self) -> Array:
        rows = self._parts_between(0, 1 << BUCKET_BITS)
        return np.frombuffer(b"".join([data for _, data in rows]), _ENTRY)

    def _parts_between(self, first: int, end: int) -> list[tuple[int, bytes]]:
        rows = self._connection.select(self._wording.keys_between, (first, end), "ibi")
        for part, data, crc in rows:
            if part_sum(part, data) != crc:
                raise self._connection.damaged_index(
                    f"part {part} of the index of keys differs from the one that was written"
                )
        return [(part, data) for part, data, _ in rows]

    def _newest(self) -> int:
        """Return the number of the newest part, which is the same in all buckets; 0 if there is none."""
        ((newest,),) = self._connection.select(self._wording.last_key_part, (BUCKETS << BUCKET_BITS,), "I")
        return (newest or 0) % (1 << BUCKET_BITS)

    def _cut(self, entries: Array) -> None:
        """Write entries as one part for each bucket, even if it is empty, so that all buckets have the same numbers."""
        number = self._newest() + 1
        first = int(entries["seq"].min(initial=NUMBER_MAX)) if len(entries) else 0
        buckets = entries["hash"] % np.uint64(BUCKETS)
        keys = buckets << np.uint64(32) | entries["hash"] >> np.uint64(32)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        distances = entries["seq"][order] - first
        starts = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))  # of each key's entries
        counts = np.diff(starts, append=len(keys))
        edges = np.searchsorted(keys, np.arange(BUCKETS + 1, dtype=np.uint64) << np.uint64(32))
        key_edges = np.searchsorted(starts, edges)
        shorts = keys[starts].astype(_SHORT)
        rows = []
        for bucket in range(BUCKETS):
            part = bucket + 1 << BUCKET_BITS | number
            of_keys = slice(*key_edges[bucket : bucket + 2])
            data = _pack(first, shorts[of_keys], counts[of_keys], distances[slice(*edges[bucket : bucket + 2])])
            rows.append((part, data, part_sum(part, data)))
        self._connection.put(KEY_PARTS, rows)


def _pack(first: int, shorts: Array, counts: Ints, distances: Ints) -> bytes:
    """Return the data of a part, with as few bytes for a count and for a distance as its largest one needs."""
    count_type, distance_type = (np.min_scalar_type(int(each.max(initial=0))) for each in (counts, distances))
    header = _HEADER.pack(first, len(shorts), count_type.itemsize, distance_type.itemsize)
    return header + shorts.tobytes() + _little(counts, count_type) + _little(distances, distance_type)


def _little(numbers: Ints, type_: np.dtype[Any]) -> bytes:
    return numbers.astype(type_.newbyteorder("<")).tobytes()


def _seqs_in(data: bytes, short: int) -> Ints:
    """Return the sequence numbers of a key in a part, by the high half of the key's hash."""
    first, keys, count_bytes, distance_bytes = _HEADER.unpack_from(data)
    shorts = np.frombuffer(data, _SHORT, keys, _HEADER.size)
    at = int(shorts.searchsorted(_SHORT.type(short)))
    if at == keys or shorts[at] != short:
        return _NONE
    counts_start = _HEADER.size + shorts.nbytes
    counts = np.frombuffer(data, f"<u{count_bytes}", keys, counts_start)
    distances = counts_start + keys * count_bytes + int(counts[:at].sum()) * distance_bytes
    seqs: Ints = np.frombuffer(data, f"<u{distance_bytes}", int(counts[at]), distances).astype(np.int64) + first
    return seqs
