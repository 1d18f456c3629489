"""Limit the memory of reading Parquet: compute how many rows of a file may be unpacked at once.

With compression and dictionaries, some kilobytes can unpack to gigabytes. Sizes in the footer may be wrong, so the page
headers are read, since Arrow allocates what they declare. The lengths of a dictionary's values are only in the
dictionary itself, which is read first if they could matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shroff.errors import UsageError
from shroff.runtime.values import FrozenStruct

PAGES_BYTES_MAX = 512 * 1024 * 1024  # of the unpacked pages, one of each column, that Arrow has in memory together
BATCH_BYTES_MAX = 64 * 1024 * 1024  # of the rows of a batch in Arrow's form
VALUE_BYTES_MAX = 1 << 20  # of one value; as for a whole event of a request
# All unpacked rows may have so many bytes, or so many times the size of the file if that is more; gzip compresses to a
# thousandth at most.
FILE_BYTES_MAX = 1 << 30
FILE_TIMES_MAX = 2_000
_ROW_BYTES = 16  # of a row without values
NESTED_VALUES_MAX = 1 << 24  # of a list column in one page, as they may all be in one row
_HEADER_BYTES = 512  # of a page header; usually less than 100, and more with long statistics
_HEADER_BYTES_MAX = 1 << 20
_FIXED_BYTES = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
# types of pages
_DATA = 0
_DICTIONARY = 2
_DATA_2 = 3
# numbers of the fields of a page's header
_TYPE = 1
_UNPACKED = 2
_PACKED = 3
_OF_TYPE = {_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}
_VALUES = 1  # of each of those
_DEPTH_MAX = 16


class _Page(FrozenStruct):
    is_dictionary: bool
    unpacked: int
    values: int


class _Demand(FrozenStruct):
    """Bytes that a column needs: `pages` for its largest page and its dictionary, `row` for one row at most."""

    pages: int
    row: int


def rows_at_once(path: Path, file: Any, rows: int, names: Collection[str] | None = None) -> int:
    """Return how many rows of an open file may be read at once, `rows` at most.

    Args:
        names: The columns to read; by default all.

    Raises: UsageError if even one row could take too much memory; OSError.
    Cost: 20 µs a page.
    """
    metadata = file.metadata
    most = rows
    unpacked = 0
    with path.open("rb") as raw:
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            at_once = min(rows, max(group.num_rows, 1))
            demands = [
                _demand(path, raw, file, number, column, at_once)
                for column in range(group.num_columns)
                if names is None or _is_of(group.column(column).path_in_schema, names)
            ]
            pages = sum(demand.pages for demand in demands)
            if pages > PAGES_BYTES_MAX:
                raise _too_large(path, number, pages, PAGES_BYTES_MAX)
            row = sum(demand.row for demand in demands)
            if row > BATCH_BYTES_MAX:
                raise _too_large(path, number, row, BATCH_BYTES_MAX, "a row")
            most = min(most, BATCH_BYTES_MAX // max(row, 1))
            unpacked += group.num_rows * (row + _ROW_BYTES)
    limit = max(FILE_BYTES_MAX, FILE_TIMES_MAX * path.stat().st_size)
    if unpacked > limit:
        words = f"{path}: its rows may take {unpacked >> 20:,} MiB unpacked; at most {limit >> 20:,} MiB are read"
        raise UsageError(f"{words}. Split the file, or leave out columns with long values.")
    return max(most, 1)


def _is_of(path: str, names: Collection[str]) -> bool:
    parts = path.split(".")
    return any(".".join(parts[: count + 1]) in names for count in range(len(parts)))


def _demand(path: Path, raw: BinaryIO, file: Any, group: int, index: int, rows: int) -> _Demand:
    chunk = file.metadata.row_group(group).column(index)
    column = file.schema.column(index)
    name = chunk.path_in_schema
    pages = list(_pages(path, raw, chunk))
    dictionary = sum(page.unpacked for page in pages if page.is_dictionary)
    data = [page for page in pages if not page.is_dictionary]
    largest = max((page.unpacked for page in data), default=0) + dictionary
    if column.max_repetition_level and any(page.values > NESTED_VALUES_MAX for page in data):
        words = f"{path}: a page of the column {name!r} has more than {NESTED_VALUES_MAX:,} values"
        raise UsageError(f"{words}. Write smaller pages or row groups.")
    if chunk.physical_type in _FIXED_BYTES:
        value = _FIXED_BYTES[chunk.physical_type]
    elif chunk.physical_type == "FIXED_LEN_BYTE_ARRAY":
        value = column.length
    else:
        value = max((page.unpacked // max(page.values, 1) for page in data), default=0)
        if "DELTA_BYTE_ARRAY" in chunk.encodings:  # a value may repeat all values before it in its page
            value = max((page.unpacked for page in data), default=0)
        if dictionary * rows > BATCH_BYTES_MAX:
            value = max(value, _longest(path, group, name, dictionary))
        elif dictionary:
            value = max(value, dictionary)
    if value > VALUE_BYTES_MAX:
        raise _too_large(path, group, value, VALUE_BYTES_MAX, f"a value of the column {name!r}")
    if column.max_repetition_level:
        values = sum(page.values for page in data)
        value *= -(-values // max(file.metadata.row_group(group).num_rows, 1))
    return _Demand(largest, value)


def _longest(path: Path, group: int, name: str, dictionary: int) -> int:
    """Return the bytes of the longest value in a column's dictionary; the dictionary's size if it cannot be read."""
    with pq.ParquetFile(path, read_dictionary=[name]) as encoded:
        batch = next(encoded.iter_batches(batch_size=1, row_groups=[group], columns=[name]))
    column = batch.column(0)
    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = column.values
    if not pa.types.is_dictionary(column.type):
        return dictionary
    return pc.max(pc.binary_length(column.dictionary)).as_py() or 0


def _too_large(path: Path, group: int, size: int, limit: int, what: str = "a page of each column") -> UsageError:
    return UsageError(
        f"{path}: in row group {group + 1}, {what} may take {size >> 20:,} MiB of memory; at most {limit >> 20:,} MiB "
        "are read. Write smaller pages or row groups, or leave out columns with long values."
    )


# ---- headers of pages, in Thrift's compact form


def _pages(path: Path, raw: BinaryIO, chunk: Any) -> Iterator[_Page]:
    """Yield the pages of a column chunk. Raises: UsageError if a header cannot be read."""
    starts = [offset for offset in (chunk.dictionary_page_offset, chunk.data_page_offset) if offset]
    if not starts:  # a row group without rows
        return
    position = min(starts)
    end = position + chunk.total_compressed_size
    while position < end:
        header, size = _header(path, raw, position)
        kind = _whole(path, header, _TYPE)
        unpacked = _whole(path, header, _UNPACKED)
        packed = _whole(path, header, _PACKED)
        if kind in _OF_TYPE:
            of_type = header.get(_OF_TYPE[kind])
            if not isinstance(of_type, dict):
                raise _damaged(path)
            yield _Page(kind == _DICTIONARY, unpacked, _whole(path, of_type, _VALUES))
        position += size + packed


def _whole(path: Path, struct: dict[int, Any], field: int) -> int:
    value = struct.get(field)
    if not isinstance(value, int) or value < 0:
        raise _damaged(path)
    return value


def _header(path: Path, raw: BinaryIO, position: int) -> tuple[dict[int, Any], int]:
    size = _HEADER_BYTES
    while size <= _HEADER_BYTES_MAX:
        raw.seek(position)
        reader = _Compact(raw.read(size))
        try:
            return reader.struct(), reader.position
        except IndexError:
            size *= 16
        except ValueError:
            break
    raise _damaged(path)


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path} is damaged: the header of a page cannot be read.")


class _Compact:
    """A reader of Thrift's compact protocol. Raises: IndexError if the data ends too early; ValueError if it is
    invalid.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEPTH_MAX:
            raise ValueError("nested too deep")
        found = dict[int, Any]()
        number = 0
        while head := self._byte():
            step = head >> 4
            number = number + step if step else self._signed()
            found[number] = self._value(head & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._unsigned())
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4
            if count == 15:
                count = self._unsigned()
            return [self._byte() if head & 15 in (1, 2) else self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"a value of the kind {kind}")

    def _byte(self) -> int:
        byte = self._data[self.position]
        self.position += 1
        return byte

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number is too long")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, count: int) -> None:
        if self.position + count > len(self._data):
            raise IndexError("the data ends within a value")
        self.position += count
