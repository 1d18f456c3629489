"""Tables as Parquet files of a lake: their bytes, their names, and their entries in a manifest."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shroff.streams.lake import RetriedObjects, damaged, digest
from shroff.streams.lake_manifest import File

GROUP_ROWS = 32_768  # of a row group, which a reader of a few rows has to decode
LONG_TEXTS = frozenset({"id", "body", "document"})  # nearly unique, so a dictionary would cost and save nothing
_NAME = re.compile(r"(\d{12})-[0-9a-f]{16}\.parquet")


def parquet(table: pa.Table) -> bytes:
    """Encode a table as a Parquet file; deterministic for one version of Arrow.

    Integers are delta-encoded, texts except long ones dictionary-encoded, with statistics of `seq` only: that halves
    the cost of writing, and every Parquet reader knows these encodings.
    """
    integers = [field.name for field in table.schema if pa.types.is_integer(field.type)]
    coded = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name not in LONG_TEXTS]
    buffer = pa.BufferOutputStream()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        compression_level=1,
        use_dictionary=coded,
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
        write_statistics=["seq"],
        row_group_size=GROUP_ROWS,
    )
    encoded: bytes = buffer.getvalue().to_pybytes()
    return encoded


def put_table(objects: RetriedObjects, number: int, folder: str, table: pa.Table) -> File:
    """Write a table, ordered by sequence number, as a file for the manifest of this number.

    Its name has that number and a hash of its bytes. So no file is ever overwritten, and a file whose number belongs to
    a finished manifest that does not name it is garbage.
    """
    data = parquet(table)
    checksum = digest(data)
    path = f"{folder}/{number:012d}-{checksum[:16]}.parquet"
    if not objects.put(path, data):
        raise damaged(objects, path, "it has other bytes than its name says")
    seqs = table["seq"]
    # Equal for equal columns.
    columns = "\n".join(f"{field.name} {field.type}" for field in table.schema)
    return File(
        path,
        table.num_rows,
        len(data),
        checksum,
        seqs[0].as_py(),
        seqs[-1].as_py(),
        sha256(columns.encode()).hexdigest()[:12],
    )


def written_for(path: str) -> int | None:
    """Return the number of the manifest that a file was written for; None for other objects."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return int(match[1]) if match else None


def opened(objects: RetriedObjects, file: File) -> pq.ParquetFile:
    """Open a file and check its hash. Raises: StorageError if it is missing or damaged."""
    return pq.ParquetFile(arrow_reader(data_of(objects, file)))


def arrow_reader(data: bytes) -> pa.BufferReader:
    """Copy bytes into a file object whose memory Arrow owns.

    Arrow's threads may be the last to release a buffer. For one in Python's memory they need Python's lock, and taking
    it while the interpreter ends aborts the process (seen as exit status 134 after a complete answer).
    """
    buffer = pa.allocate_buffer(len(data))
    memoryview(buffer).cast("B")[:] = data
    return pa.BufferReader(buffer)


def data_of(objects: RetriedObjects, file: File) -> bytes:
    """Return the bytes of a file. Raises: StorageError if it is missing or damaged."""
    stored = objects.get(file.path)
    if stored is None:
        raise damaged(objects, file.path, "it is not there")
    if digest(stored.data) != file.sha256:
        raise damaged(objects, file.path, "its checksum does not fit")
    return stored.data


def sorted_by_place(table: pa.Table) -> pa.Table:
    """Sort rows by sequence number, and by their number within one."""
    keys: list[Any] = [("seq", "ascending")]
    if "number" in table.schema.names:
        keys.append(("number", "ascending"))
    return table.sort_by(keys)
