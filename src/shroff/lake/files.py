"""Tables as Parquet files of a lake: their bytes, their names, and what a manifest says of them."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shroff.streams.lake import RetriedObjects, damaged, digest
from shroff.streams.lake_manifest import File

GROUP_ROWS = 32_768  # of a row group: what a reader of a few places has to decode
LONG_TEXTS = frozenset({"id", "body", "document"})  # hardly two are equal, so a dictionary costs and saves nothing
_NAME = re.compile(r"(\d{12})-[0-9a-f]{16}\.parquet")


def parquet(table: pa.Table) -> bytes:
    """A table as one Parquet file; the same bytes for the same table, by one version of Arrow.

    Whole numbers by their differences, texts coded but long ones, with the range of places only: that halves what
    writing costs, and every reader of Parquet has these encodings.
    """
    whole = [field.name for field in table.schema if pa.types.is_integer(field.type)]
    coded = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name not in LONG_TEXTS]
    out = pa.BufferOutputStream()
    pq.write_table(
        table,
        out,
        compression="zstd",
        compression_level=1,
        use_dictionary=coded,
        column_encoding=dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
        write_statistics=["seq"],
        row_group_size=GROUP_ROWS,
    )
    found: bytes = out.getvalue().to_pybytes()
    return found


def put_table(objects: RetriedObjects, number: int, folder: str, table: pa.Table) -> File:
    """Write a table, in the order of places, as a file for the manifest of this number.

    Its name has the number and a hash of its bytes. So nobody ever needs to write over a file, and one whose number a
    finished manifest has, without naming it, is nobody's.
    """
    data = parquet(table)
    found = digest(data)
    path = f"{folder}/{number:012d}-{found[:16]}.parquet"
    if not objects.put(path, data):
        raise damaged(objects, path, "it has other bytes than its name says")
    seqs = table["seq"]
    # Equal for equal columns
    words = "\n".join(f"{field.name} {field.type}" for field in table.schema)
    return File(
        path,
        table.num_rows,
        len(data),
        found,
        seqs[0].as_py(),
        seqs[-1].as_py(),
        sha256(words.encode()).hexdigest()[:12],
    )


def written_for(path: str) -> int | None:
    """The number of the manifest that a file was written for; None for what is no file of rows."""
    found = _NAME.fullmatch(path.rpartition("/")[2])
    return int(found[1]) if found else None


def opened(objects: RetriedObjects, file: File) -> pq.ParquetFile:
    """A file, its bytes checked. Raises: StorageError where it is gone or not as it was written."""
    return pq.ParquetFile(arrow_reader(data_of(objects, file)))


def arrow_reader(data: bytes) -> pa.BufferReader:
    """Bytes as a file that Arrow owns: a copy.

    Arrow's threads can be the last to let go of a buffer. Of one in Python's memory they need Python's lock for that,
    and taking it while the interpreter ends aborts the process (seen as exit status 134 after a whole answer).
    """
    buffer = pa.allocate_buffer(len(data))
    memoryview(buffer).cast("B")[:] = data
    return pa.BufferReader(buffer)


def data_of(objects: RetriedObjects, file: File) -> bytes:
    """The bytes of a file. Raises: StorageError where it is gone or not as it was written."""
    found = objects.get(file.path)
    if found is None:
        raise damaged(objects, file.path, "it is not there")
    if digest(found.data) != file.sha256:
        raise damaged(objects, file.path, "its checksum does not fit")
    return found.data


def sorted_by_place(table: pa.Table) -> pa.Table:
    """The rows in the order of places, and of their numbers among those of one place."""
    keys: list[Any] = [("seq", "ascending")]
    if "number" in table.schema.names:
        keys.append(("number", "ascending"))
    return table.sort_by(keys)
