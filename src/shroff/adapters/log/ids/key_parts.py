"""Index of keys in the database: find the sequence numbers of a key's events by the hash of the key.

The logs in SQL use this module. A batch adds one row with all its entries. Between batches, `put_together` merges some
thousand of these rows into one part for each of the `BUCKETS`, so that a look-up of a key reads a sixty-fourth of the
index, in few rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from struct import Struct

import numpy as np

from shroff.adapters.log.connection.log_connection import LogConnection
from shroff.adapters.log.ids.entries import part_sum
from shroff.adapters.log.tables.rows import KEY_PARTS
from shroff.arrays import Array, Ints
from shroff.streams.log_columns import KeyPlaces

BUCKETS = 64
BUCKET_BITS = 48  # low bits of a row's number: the part, from 1. Bucket 0 has the rows of batches, by last seq
ROWS_MAX = 2_048  # rows of batches before a merge; a look-up reads each of them, 1.5 µs a row
BYTES_MAX = 1 << 20  # bytes in rows of batches before a merge: 65,536 entries, which take 10 ms to merge
_ENTRY = np.dtype([("hash", "<u8"), ("seq", "<i8")])  # in the row of a batch
_PACKED = Struct("<Qq")  # the same
# In a part: the high half of the hash, and the sequence number less the lowest one of the part.
_SHORT = np.dtype([("hash", "<u4"), ("seq", "<u4")])


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

        Cost: 1.5 µs for each row of a batch, and for each part of a bucket: about 100 in a million events.

        Raises: StorageError if a row is missing or has changed since it was written.
        """
        loose = self._batch_entries()  # read before the parts: rows of batches become parts, never the reverse
        seqs_by_hash = {}
        number = self._newest()
        for hashed in hashes:
            bucket = 1 + hashed % BUCKETS
            short = np.uint32(hashed >> 32)
            seqs = [loose["seq"][loose["hash"] == np.uint64(hashed)]]
            parts = self._parts_between(bucket << BUCKET_BITS, bucket + 1 << BUCKET_BITS)
            if len(parts) < number or (parts and parts[-1][0] % (1 << BUCKET_BITS) != len(parts)):
                raise self._connection.damaged_index("parts of the index of keys are missing")
            for _, data in parts:
                entries = np.frombuffer(data, _SHORT, offset=8)
                first = int.from_bytes(data[:8], "little")
                seqs.append(entries["seq"][entries["hash"] == short].astype(np.int64) + first)
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
        first = int(entries["seq"].min(initial=1 << 62)) if len(entries) else 0
        short = np.empty(len(entries), _SHORT)
        short["hash"] = entries["hash"] >> np.uint64(32)
        short["seq"] = entries["seq"] - first
        buckets = (entries["hash"] % np.uint64(BUCKETS)).astype(np.uint8)
        order = np.argsort(buckets, kind="stable")
        edges = np.searchsorted(buckets[order], np.arange(BUCKETS + 1))
        short = short[order]
        rows = []
        for bucket in range(BUCKETS):
            part = bucket + 1 << BUCKET_BITS | number
            data = first.to_bytes(8, "little") + short[edges[bucket] : edges[bucket + 1]].tobytes()
            rows.append((part, data, part_sum(part, data)))
        self._connection.put(KEY_PARTS, rows)
