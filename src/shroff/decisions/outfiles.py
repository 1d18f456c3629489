"""Files that a command writes: whole under their name, or not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shroff.errors import StorageError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS: Final = 1 << 17  # of a row group, at least


@dataclass(frozen=True, slots=True)
class FeatureReport:
    """What `features` wrote."""

    rows: int
    columns: tuple[str, ...]
    seconds: float


def check_out(out: Path, inputs: Iterable[Path]) -> None:
    """Raises: UsageError where the file to write is one of those that are read."""
    for file in inputs:
        if out.exists() and file.exists() and out.samefile(file):
            raise UsageError(f"{out} is one of the files to read, and would be lost; write to another one.")


@contextmanager
def unfinished(out: Path) -> Iterator[Path]:
    """A file beside `out` to write into; it takes the name of `out` at the end, or goes.

    Raises: UsageError where it is a folder or its folder is not there; StorageError where it cannot be written.
    """
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name a file in it.")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent} for {out.name}.")
    part = out.with_name(out.name + ".part")
    try:
        yield part
        part.replace(out)
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error.strerror or error}. Nothing is left of it; "
            "look for room and for the right to write there"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def write_tables(out: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write Arrow tables into one Parquet file, one while the next is made; gives the number of rows.

    Small tables are gathered, so that a row group is as large as a reader wants it.
    """
    import pyarrow.parquet as pq

    rows = 0
    written: Future[None] | None = None
    with (
        unfinished(out) as part,
        pq.ParquetWriter(part, schema, **_layout(schema)) as writer,
        ThreadPoolExecutor(1, thread_name_prefix="write") as pool,
    ):
        for table in _gathered(tables):
            rows += table.num_rows
            if written is not None:
                written.result()
            written = pool.submit(writer.write_table, table)
        if written is not None:
            written.result()
    return rows


def _layout(schema: pa.Schema) -> dict[str, Any]:
    """How columns are written: whole numbers by their differences, texts coded but ids, with the range of places only.

    That halves what writing costs, and the file is smaller; every reader of Parquet has these encodings.
    """
    import pyarrow as pa

    whole = [field.name for field in schema if pa.types.is_int64(field.type)]
    return {
        "compression": "snappy",
        "use_dictionary": [one.name for one in schema if pa.types.is_string(one.type) and one.name != "id"],
        "column_encoding": dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
        "write_statistics": [one for one in whole if one == "seq"],
    }


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of at least so many, but the last."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def write_lines(out: Path, batches: Iterable[Iterable[bytes]]) -> None:
    """Write lines, which have their ends, into one file."""
    with unfinished(out) as part, part.open("wb") as file:
        for batch in batches:
            file.writelines(batch)
