"""Files that a command writes: whole under their name, or not there."""

from __future__ import annotations

import csv
import io
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shroff.errors import StorageError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS: Final = 1 << 17  # of a row group, at least
OTHER_ENDINGS: Final = frozenset(
    [".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".avro", ".arrow", ".feather", ".xlsx", ".html"]
)
_FORMULA: Final = re.compile(r"[=+@\t\r\n\uff0b\uff0d\uff1d\uff20]|-(?!\d+(?:\.\d+)?$)")  # the wide forms count, too


def check_parquet(out: Path) -> None:
    """Raises: UsageError where a Parquet file would have the ending of another format."""
    ending = Path(out.name.lower().removesuffix(".gz")).suffix
    if ending in OTHER_ENDINGS or out.name.lower().endswith(".gz"):
        raise UsageError(f"{out}: features are written as Parquet; name a file that ends in .parquet.")


def check_out(out: Path, inputs: Iterable[Path]) -> None:
    """Raises: UsageError where the file to write is one of those that are read."""
    for file in inputs:
        if out.exists() and file.exists() and out.samefile(file):
            raise UsageError(f"{out} is one of the files to read, and would be lost; write to another one.")


@contextmanager
def unfinished(out: Path) -> Iterator[Path]:
    """A file beside `out` to write into; it takes the name of `out` at the end, or goes.

    Where `out` is a link, what it leads to is replaced and the link stays.

    Raises: UsageError where it is no file, such as a folder or a device, or its folder is not there; StorageError
        where it cannot be written.
    """
    if is_stream(out):
        raise UsageError(f"{out} is a device or a pipe; this needs a file, which is put together beside its name.")
    target = _target(out)
    part = target.with_name(target.name + ".part")
    try:
        yield part
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except OSError as error:
        raise _unwritten(out, error, "Nothing is left of it") from None
    finally:
        part.unlink(missing_ok=True)


def is_stream(out: Path) -> bool:
    """Whether this name stands for what can only be written into, such as a device, a pipe or a socket."""
    try:
        mode = out.stat().st_mode
    except OSError:  # nothing is there, or not for us
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _target(out: Path) -> Path:
    """The file that is meant by a name, behind all links. Raises: UsageError where there can be none."""
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name a file in it.")
    try:
        target = out.resolve()
    except RuntimeError:
        raise UsageError(f"{out} is a link that leads back to itself; name a file.") from None
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent if out.is_symlink() else out.parent} for {target.name}.")
    return target


def _unwritten(out: Path, error: OSError, rest: str) -> StorageError:
    cure = "look for room and for the right to write there"
    return StorageError(f"{out} cannot be written: {error.strerror or error}. {rest}; {cure}")


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
    """Write lines, which have their ends, into one file; into a device or a pipe as they come.

    Raises: BrokenPipeError where nobody reads a pipe on; else as `unfinished`.
    """
    if is_stream(out):
        _write_into(out, batches)
        return
    with unfinished(out) as part, part.open("wb") as file:
        for batch in batches:
            file.writelines(batch)


def _write_into(out: Path, batches: Iterable[Iterable[bytes]]) -> None:
    try:
        with out.open("wb") as stream:
            for batch in batches:
                stream.writelines(batch)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritten(out, error, "What went before stays written") from None


def csv_line(cells: Iterable[str]) -> bytes:
    """A line of a CSV that people open in a spreadsheet, which would carry out what begins as a formula does.

    Such a text gets an apostrophe before it; a number below zero is none.

    >>> print(csv_line(["=1+1", "-1+1", "-1.50", "a, b", "c-1"]).decode(), end="")
    '=1+1,'-1+1,-1.50,"a, b",c-1
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(f"'{cell}" if _FORMULA.match(cell) else cell for cell in cells)
    return out.getvalue().encode()
