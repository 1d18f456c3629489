"""Index of keys as rows: the sequence numbers of each key's events, by hashes, cut by the first bits of those.

A batch adds one row, its whole entries as they come. Some thousand of such rows are put together between batches: into
one part for each of `BUCKETS`, so that a question about a key reads a sixty-fourth of the index, in few rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from shroff.adapters.log.ids.entries import part_sum
from shroff.adapters.log.rows import KEY_PARTS, RowTable
from shroff.adapters.log.sql_text import SqlWording
from shroff.arrays import Array, Ints
from shroff.errors import StorageError
from shroff.streams.log_columns import KeyPlaces

BUCKETS = 64
BUCKET_BITS = 48  # below a bucket, from 1: the number of a part. In bucket 0 are the rows of batches
ROWS_MAX = 2_048  # of batches, until they are put together: a question reads each of them, 1.5 µs a row
BYTES_MAX = 1 << 20  # likewise: 65,536 entries, which take 10 ms to put together
_ENTRY = np.dtype([("hash", "<u8"), ("seq", "<i8")])  # of a batch
_SHORT = np.dtype([("hash", "<u4"), ("seq", "<u4")])  # of a part: other bits of the hash, places from its first


class KeyParts:
    """The index of one log; changed within an open transaction.

    Args:
        ask: Asks the log's connection a question; `put` writes rows into a table, `do` carries out a statement.
    """

    def __init__(
        self,
        wording: SqlWording,
        ask: Callable[..., list[Any]],
        put: Callable[[RowTable, Sequence[Any]], None],
        do: Callable[[str, Sequence[object]], None],
        damaged: Callable[[str], StorageError],
    ) -> None:
        self._wording = wording
        self._ask = ask
        self._put = put
        self._do = do
        self._damaged = damaged
        self._rows = self._bytes = ROWS_MAX * BYTES_MAX  # of batches: unknown at first, so they are counted

    def add(self, keys: KeyPlaces, last_seq: int) -> None:
        """Add the keys of a batch, by its last place; those of places before it at once into parts."""
        entries = np.empty(len(keys.seqs), _ENTRY)
        entries["hash"] = keys.hashes
        entries["seq"] = keys.seqs
        if last_seq:
            data = entries.tobytes()
            self._put(KEY_PARTS, [(last_seq, data, part_sum(last_seq, data))])
            self._rows = self._rows + 1
            self._bytes = self._bytes + len(data)
        else:
            self._cut(entries)

    def is_due(self) -> bool:
        if self._rows < ROWS_MAX and self._bytes < BYTES_MAX:
            return False
        ((self._rows, size),) = self._ask(self._wording.key_rows, (1 << BUCKET_BITS,), "iI")
        self._bytes = int(size or 0)
        return self._rows >= ROWS_MAX or self._bytes >= BYTES_MAX

    def put_together(self) -> None:
        """Put the rows of batches together. Cost: 2 µs a row, and 0.1 µs an entry."""
        self._cut(self._of_batches())
        self._do(self._wording.drop_keys, (0, 1 << BUCKET_BITS))
        self._rows = self._bytes = 0

    def places(self, hashes: Collection[int]) -> Mapping[int, Ints]:
        """The places of each hash, ascending; one of another hash may be among them, with a chance of 2**-38.

        Raises: StorageError where a row is not as it was written. Cost: 1.5 µs for each row of batches, and for each
            part of a bucket, of which there are about 100 in a million events.
        """
        loose = self._of_batches()  # first: they may become parts meanwhile, and never the other way round
        found = {}
        number = self._newest()
        for hashed in hashes:
            bucket = 1 + hashed % BUCKETS
            short = np.uint32(hashed >> 32)
            seqs = [loose["seq"][loose["hash"] == np.uint64(hashed)]]
            parts = self._between(bucket << BUCKET_BITS, bucket + 1 << BUCKET_BITS)
            if len(parts) < number or (parts and parts[-1][0] % (1 << BUCKET_BITS) != len(parts)):
                raise self._damaged("parts of the index of keys are missing")
            for _, data in parts:
                entries = np.frombuffer(data, _SHORT, offset=8)
                first = int.from_bytes(data[:8], "little")
                seqs.append(entries["seq"][entries["hash"] == short].astype(np.int64) + first)
            found[hashed] = np.unique(np.concatenate(seqs))
        return found

    def check(self) -> None:
        """Read the whole index. Raises: StorageError if a part is missing or was changed. Cost: 2 ns a byte."""
        number = self._newest()
        for bucket in range(BUCKETS + 1):
            parts = self._between(bucket << BUCKET_BITS, bucket + 1 << BUCKET_BITS)
            if bucket and len(parts) < number:
                raise self._damaged("parts of the index of keys are missing")

    def clear(self) -> None:
        """Remove the whole index; a writer builds it again once the log does not say how far it goes."""
        self._do(self._wording.drop_keys, (0, BUCKETS + 1 << BUCKET_BITS))
        self._rows = self._bytes = 0

    def _of_batches(self) -> Array:
        rows = self._between(0, 1 << BUCKET_BITS)
        return np.frombuffer(b"".join([data for _, data in rows]), _ENTRY)

    def _between(self, first: int, end: int) -> list[tuple[int, bytes]]:
        rows = self._ask(self._wording.keys_between, (first, end), "ibi")
        for part, data, crc in rows:
            if part_sum(part, data) != crc:
                raise self._damaged(f"part {part} of the index of keys differs from the one that was written")
        return [(part, data) for part, data, _ in rows]

    def _newest(self) -> int:
        """The number of the newest part, which each bucket has; 0 where there is none."""
        ((newest,),) = self._ask(self._wording.last_key_part, (BUCKETS << BUCKET_BITS,), "I")
        return (newest or 0) % (1 << BUCKET_BITS)

    def _cut(self, entries: Array) -> None:
        """Write entries as one part a bucket, empty ones too, so that the newest of one bucket tells the number."""
        number = self._newest() + 1
        first = int(entries["seq"].min(initial=1 << 62)) if len(entries) else 0
        short = np.empty(len(entries), _SHORT)
        short["hash"], short["seq"] = entries["hash"] >> np.uint64(32), entries["seq"] - first
        buckets = (entries["hash"] % np.uint64(BUCKETS)).astype(np.uint8)
        order = np.argsort(buckets, kind="stable")
        edges = np.searchsorted(buckets[order], np.arange(BUCKETS + 1))
        short = short[order]
        rows = []
        for bucket in range(BUCKETS):
            part = bucket + 1 << BUCKET_BITS | number
            data = first.to_bytes(8, "little") + short[edges[bucket] : edges[bucket + 1]].tobytes()
            rows.append((part, data, part_sum(part, data)))
        self._put(KEY_PARTS, rows)
