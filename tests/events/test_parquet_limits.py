"""What Parquet may unpack to: a small file that stands for gigabytes is refused, and none is read into much memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.errors import UsageError
from shroff.events.formats import parquet_limits
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.parquet import open_parquet, read_batches
from shroff.events.formats.parquet_limits import rows_at_once

PLAIN = {"use_dictionary": False}
DELTA = {**PLAIN, "column_encoding": {"id": "DELTA_BYTE_ARRAY"}}


def written(folder: Path, table: pa.Table, **how: object) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(table, path, compression="zstd", **how)
    return path


def rows(path: Path, most: int = 8_192) -> int:
    with open_parquet(path) as file:
        return rows_at_once(path, file, most)


def repeated(size: int, count: int) -> pa.Array:
    """One long value many times, in little memory."""
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int8), ["c" * size])


TOO_LARGE = {
    "dictionary": (lambda: {"id": repeated(3 << 20, 20)}, {}, "a value of the column 'id' may take 3 MiB"),
    "plain": (lambda: {"id": ["c" * (3 << 20)] * 2}, PLAIN, "a value of the column 'id' may take 3 MiB"),
    "delta": (lambda: {"id": ["c" * (3 << 20)] * 2}, DELTA, "a value of the column 'id' may take 3 MiB"),
    "list": (lambda: {"id": [["c" * (3 << 20)]] * 2}, {}, "a value of the column 'id.list.element' may take 3 MiB"),
    "dots": (lambda: {"a.b": repeated(3 << 20, 20)}, {}, "a value of the column 'a.b' may take 3 MiB"),
    "one row": (lambda: {"id": [["c" * 100_000] * 100]}, {}, "a row may take 9 MiB"),
    "many columns": (lambda: {f"c{at}": repeated(1_000_000, 9) for at in range(10)}, {}, "a row may take 9 MiB"),
    "many rows": (lambda: {"id": repeated(1_000_000, 2_000)}, {}, "its rows may take 1,907 MiB unpacked"),
    "nulls": (lambda: {"id": pa.nulls(70_000_000)}, {}, "its rows may take 1,335 MiB unpacked"),
}


@pytest.mark.parametrize(("columns", "how", "words"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_file_that_may_unpack_to_too_much_is_refused_before_it_is_unpacked(
    tmp_path, monkeypatch, columns, how, words
):
    monkeypatch.setattr(parquet_limits, "BATCH_BYTES_MAX", 8 << 20)
    table = pa.table(columns())
    path = written(tmp_path, table, **how, store_schema=False)
    assert path.stat().st_size < 200_000
    allocated = pa.total_allocated_bytes()

    with pytest.raises(UsageError, match="at most") as refused:
        read_lines(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)
    # Unpacked it is above 8 MiB; the file itself may stay until Python collects garbage.
    assert pa.total_allocated_bytes() - allocated < 1 << 20
    with pytest.raises(UsageError, match="at most"):
        list(read_batches(open_parquet(path), path, 8_192, table.schema.names))


def test_a_page_of_too_many_values_in_lists_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_limits, "NESTED_VALUES_MAX", 1_000)
    path = written(tmp_path, pa.table({"id": [["c"] * 2_000]}))

    with pytest.raises(UsageError, match=r"a page of the column 'id\.list\.element' has more than 1,000 values"):
        rows(path)


def test_a_page_that_declares_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_limits, "PAGES_BYTES_MAX", 1 << 20)
    path = written(
        tmp_path, pa.table({"id": range(500_000)}), **PLAIN, data_page_size=8 << 20, max_rows_per_page=1 << 20
    )

    with pytest.raises(UsageError, match="a page of each column may take 3 MiB"):
        rows(path)


@pytest.mark.parametrize("how", [{}, PLAIN, DELTA], ids=["dictionary", "plain", "delta"])
@pytest.mark.parametrize("length", [20, 500, 5_000])
def test_a_batch_takes_no_more_than_the_limit(tmp_path, monkeypatch, how, length):
    monkeypatch.setattr(parquet_limits, "BATCH_BYTES_MAX", 1 << 20)
    table = pa.table({"id": [f"{at % 50:0{length}}" for at in range(400)], "amount": range(400)})
    path = written(tmp_path, table, **how)

    batches = list(read_batches(open_parquet(path), path, 8_192))
    assert pa.Table.from_batches(batches) == table
    assert max(batch.nbytes for batch in batches) <= parquet_limits.BATCH_BYTES_MAX
    assert len(batches) == 1 if length < 5_000 else len(batches) > 1


def test_a_column_name_that_is_no_utf8_is_an_error_of_the_file(tmp_path):
    path = written(tmp_path, pa.table({"näme": ["x"]}), store_schema=False)
    path.write_bytes(path.read_bytes().replace("näme".encode(), "näme".encode("latin-1") + b"e"))

    with pytest.raises(UsageError, match="a column whose name is no UTF-8"):
        read_lines(path)


def test_a_file_without_rows_is_read(tmp_path):
    path = written(tmp_path, pa.table({"id": pa.array([], pa.string())}))

    assert rows(path) == 8_192


@given(data=st.data())
def test_a_header_that_is_damaged_is_an_error_of_the_file(tmp_path_factory, data):
    path = written(
        tmp_path_factory.mktemp("rows"), pa.table({"id": [f"p-{at}" for at in range(50)], "l": [["x"]] * 50})
    )
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(4, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)

    with suppress(UsageError), read_lines(path) as lines:
        list(lines)
