"""Files that a command writes: whole under their name, or not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shroff.errors import StorageError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa


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
    """Write Arrow tables into one Parquet file; gives the number of rows."""
    import pyarrow.parquet as pq

    rows = 0
    with unfinished(out) as part, pq.ParquetWriter(part, schema) as writer:
        for table in tables:
            rows += table.num_rows
            writer.write_table(table)
    return rows


def write_lines(out: Path, batches: Iterable[Iterable[bytes]]) -> None:
    """Write lines, which have their ends, into one file."""
    with unfinished(out) as part, part.open("wb") as file:
        for batch in batches:
            file.writelines(batch)
