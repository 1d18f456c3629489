"""Atomic files: each is complete under its name, or absent. Parquet files and lines that a command writes.

Also reads files of a folder that another person may have prepared, such as a clone: a file is read only if it lies in
the folder. A link out of the folder could show other files of the machine in the messages of a check.
"""

from __future__ import annotations

import csv
import glob
import io
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from msgspec.json import encode as to_json

from shroff.errors import StorageError, UsageError, os_words
from shroff.runtime.progress import unheard

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pyarrow as pa

LOST = "lost+found"  # of a volume; only root can read it
UNFINISHED = "unfinished"  # suffix of files that are being written
UNFINISHED_S = 3_600.0  # no process writes one file for an hour
GROUP_ROWS = 1 << 17  # minimum of a row group
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
_PACKED = frozenset([".gz", ".zip", ".bz2", ".xz", ".zst"])
_FOREIGN = _PACKED | {".tsv", ".avro", ".arrow", ".feather", ".orc", ".xlsx", ".xls", ".ods", ".html", ".xml"}
FORMULA = tuple("=+-@\t\r\n\uff0b\uff0d\uff1d\uff20")  # first characters of spreadsheet formulas, with wide forms
_BELOW_ZERO = re.compile(r"-\d+(?:\.\d+)?")

_SECRET_ENDINGS = (".key", ".pem", ".p12", ".pfx", ".jks")
_CURE = "Replace it by a plain file."


def out_format(out: Path, wanted: str | None, formats: Sequence[str]) -> str:
    """Return the format of a file to write: that of its suffix, else `wanted`, else the first of `formats`.

    Raises: UsageError if suffix and `wanted` differ, and for a suffix that fits none of the formats.
    """
    ending = out.suffix.lower()
    suffix_format = _ENDINGS.get(ending)
    is_text = (wanted or formats[0]) != "parquet"
    if (
        ending in _FOREIGN
        or (ending == ".txt" and not is_text)
        or (suffix_format is not None and suffix_format not in formats)
    ):
        endings = " or ".join(f".{format_}" for format_ in formats)
        packed = " (pack it afterwards)" if ending in _PACKED else ""
        problem = (
            "this is written as Parquet" if formats[0] == "parquet" else f"this is never written as {ending}{packed}"
        )
        raise UsageError(f"{out}: {problem}; name a file that ends in {endings}.")
    if wanted is not None and suffix_format is not None and wanted != suffix_format:
        raise UsageError(f"{out} ends in {ending}, and --format says {wanted}; leave out one of them.")
    return suffix_format or wanted or formats[0]


def check_out(out: Path, inputs: Iterable[Path]) -> None:
    """Raise UsageError if the file to write is one of the inputs."""
    for file in inputs:
        if out.exists() and file.exists() and out.samefile(file):
            raise UsageError(f"{out} is one of the files to read, and would be lost; write to another one.")


class UnsyncedError(OSError):
    """A file is complete under its name, but a power loss may restore what was there before."""


@contextmanager
def whole_file(
    target: Path,
    part: Path | None = None,
    *,
    mode: int = 0o666,
    is_durable: bool = True,
    is_new: bool = False,
    on_step: Callable[[str], None] = unheard,
) -> Iterator[BinaryIO]:
    """Open a file that takes the name of `target` at the end, in one step; if that fails, it is removed.

    Args:
        part: Its path meanwhile. By default a unique name, `.NAME.XXXXXXXX.unfinished`, readable by its owner only;
            `unfinished_files` finds those that a killed process left.
        mode: Permissions of a `part`, less the umask.
        is_durable: Sync content and name, so that both survive a power loss.
        is_new: Keep an existing file of that name, and raise FileExistsError.
        on_step: Called with `synced` and `renamed`, so that tests can stop between them.

    Raises: OSError, which names a file; UnsyncedError if only the name could not be synced.
    """
    if part is None:
        descriptor, name = tempfile.mkstemp(f".{UNFINISHED}", f".{target.name}.", target.parent)
        part = Path(name)
    else:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        on_step("synced")
        if is_new:
            _link(part, target)
        else:
            part.replace(target)
        on_step("renamed")
    except OSError as error:
        error.filename = error.filename or str(target)
        raise
    finally:
        with suppress(OSError):  # do not hide an earlier error
            part.unlink(missing_ok=True)
    if is_durable:
        try:
            sync_folder(target.parent)
        except OSError as error:
            raise UnsyncedError(error.errno, error.strerror, str(target)) from None


def _link(part: Path, target: Path) -> None:
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError as error:  # a file system without links: of two processes at this moment the later one wins
        if target.exists():
            raise FileExistsError(error.errno, error.strerror) from None
        part.replace(target)


def remove_unfinished(target: Path, now_s: float) -> None:
    """Remove leftovers of processes that were killed while writing this file, at least an hour ago."""
    for path in unfinished_files(target.parent, target.name):
        with suppress(OSError):  # another process has just removed it, or it belongs to another user
            if now_s - path.stat().st_mtime > UNFINISHED_S:
                path.unlink()


def unfinished_files(folder: Path, name: str = "*") -> list[Path]:
    """List files in a folder that are being written, or were when their process was killed."""
    return sorted(folder.glob(f".{glob.escape(name) if name != '*' else name}.????????.{UNFINISHED}"))


def sync_folder(path: Path) -> None:
    """Sync the names in a folder to disk. Raises: OSError."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def unfinished(out: Path) -> Iterator[Path]:
    """Provide a path beside `out` to write to; it takes the name of `out` at the end, or is removed.

    The path is unique, as that of `whole_file`. If `out` is a link, its target is replaced and the link stays.

    Raises: UsageError if `out` is a folder or device, or its folder does not exist; StorageError if it cannot be
        written.
    """
    if is_stream(out):
        raise UsageError(f"{out} is a device or a pipe; this needs a file, which is put together beside its name.")
    target = _target(out)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.{UNFINISHED}")
    try:
        remove_unfinished(target, time.time())
        with whole_file(target, part, is_durable=False):
            yield part
            if target.exists():
                shutil.copymode(target, part)
    except OSError as error:
        raise StorageError(f"{os_words(error, out, ' cannot be written')}. Nothing is left of it") from None


def is_stream(out: Path) -> bool:
    """Return whether this path is a device, a pipe or a socket, which can only be written to."""
    try:
        mode = out.stat().st_mode
    except OSError:  # it does not exist, or is not accessible
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _target(out: Path) -> Path:
    """Resolve all links of a path. Raises: UsageError if no file can be there."""
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name a file in it.")
    target = Path(os.path.realpath(out))
    if target.is_symlink():  # each other link is resolved
        raise UsageError(f"{out} is a link that leads back to itself; name a file.")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent if out.is_symlink() else out.parent} for {target.name}.")
    return target


class _Digested:
    """A writable file that passes each byte to a digest as well."""

    closed = False

    def __init__(self, file: BinaryIO, take: Callable[[bytes], object]) -> None:
        self._file = file
        self._take = take

    def write(self, data: bytes) -> int:
        self._take(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def write_tables(
    out: Path, schema: pa.Schema, tables: Iterable[pa.Table], digest: Callable[[bytes], object] | None = None
) -> int:
    """Write Arrow tables into one Parquet file, each while the next one is computed; return the number of rows.

    Small tables are combined into row groups of useful size. If a decimal64 column of the schema is decimal128 in a
    table, it becomes so in the whole file, and what was written is rewritten.

    Args:
        digest: Receives the bytes of the file as they are written, like `update` of a hash; not possible if the schema
            has a decimal64 column.
    """
    from concurrent.futures import ThreadPoolExecutor

    rows = 0
    written: Future[None] | None = None
    with unfinished(out) as part, ExitStack() as resources, ThreadPoolExecutor(1, thread_name_prefix="write") as pool:
        file = part if digest is None else _Digested(resources.enter_context(part.open("wb")), digest)
        writer = resources.enter_context(_writer(file, schema))
        for table in _gathered(tables, schema):
            rows += table.num_rows
            if written is not None:
                written.result()
            if table.schema != writer.schema:
                writer.close()
                writer = resources.enter_context(_rewritten(part, table.schema))
            written = pool.submit(writer.write_table, table)
        if written is not None:
            written.result()
    return rows


def _writer(part: Path | _Digested, schema: pa.Schema) -> Any:
    """Create a Parquet writer: integers delta-encoded, texts except ids dictionary-encoded, statistics of `seq` only.

    That halves the cost of writing, and the file is smaller; every Parquet reader knows these encodings. decimal64 is
    stored as integers too, and read as decimal128 of 18 digits.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    narrow = [field.name for field in schema if pa.types.is_decimal64(field.type)]
    integers = [field.name for field in schema if pa.types.is_int64(field.type)]
    return pq.ParquetWriter(
        part,
        schema,
        compression="snappy",
        use_dictionary=[column.name for column in schema if pa.types.is_string(column.type) and column.name != "id"],
        column_encoding=dict.fromkeys(integers + narrow, "DELTA_BINARY_PACKED"),
        write_statistics=[name for name in integers if name == "seq"],
        store_decimal_as_integer=bool(narrow),
        store_schema=not narrow,  # it would name decimal64, which not every reader knows
    )


def _rewritten(part: Path, schema: pa.Schema) -> Any:
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile(dir=part.parent) as narrow:
        with part.open("rb") as file:
            shutil.copyfileobj(file, narrow)
        before = pq.ParquetFile(narrow)
        writer = _writer(part, schema)
        for at in range(before.num_row_groups):
            writer.write_table(before.read_row_group(at).cast(schema))
    return writer


def _gathered(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows in tables of at least `GROUP_ROWS`, except the last and those before a decimal becomes wider."""
    import pyarrow as pa

    pending: list[pa.Table] = []
    for table in tables:
        wider = _wider(schema, table.schema)
        if wider != schema and pending:
            yield pa.concat_tables(pending)
            pending = []
        schema = wider
        pending.append(table if table.schema == schema else table.cast(schema))
        if sum(table.num_rows for table in pending) >= GROUP_ROWS:
            yield pa.concat_tables(pending)
            pending = []
    if pending:
        yield pa.concat_tables(pending)


def _wider(schema: pa.Schema, table_schema: pa.Schema) -> pa.Schema:
    """Return the schema with decimal128 for columns that are decimal128 in the table."""
    import pyarrow as pa

    for at, field in enumerate(schema):
        if pa.types.is_decimal64(field.type) and pa.types.is_decimal128(table_schema.field(at).type):
            schema = schema.set(at, table_schema.field(at))
    return schema


def write_lines(out: Path, batches: Iterable[Sequence[bytes]]) -> int:
    """Write lines, including their ends, into one file, or as they come to a device or pipe; return their number.

    Raises: BrokenPipeError if the reader of a pipe is gone; else as `unfinished`.
    """
    count = 0
    with _opened(out) as file:
        for batch in batches:
            file.writelines(batch)
            count += len(batch)
    return count


@contextmanager
def _opened(out: Path) -> Iterator[BinaryIO]:
    if not is_stream(out):
        with unfinished(out) as part, part.open("wb") as file:
            yield file
        return
    try:
        with out.open("wb") as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"{os_words(error, out, ' cannot be written')}. What went before is kept") from None


def csv_line(cells: Iterable[object]) -> bytes:
    """Format a CSV line that is safe to open in a spreadsheet, which would run a formula.

    A text that starts like a formula gets an apostrophe; a negative number does not. A missing value is an empty cell,
    texts of a list are separated by blanks, other values are as in JSON: a boolean is `true` or `false`.

    >>> print(csv_line(["=1+1", "-1+1", "-1.50", "a, b", "c-1", ["r1", "r2"], None, True, 2]).decode(), end="")
    '=1+1,'-1+1,-1.50,"a, b",c-1,r1 r2,,true,2
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(
        f"'{cell}" if cell.startswith(FORMULA) and not _BELOW_ZERO.fullmatch(cell) else cell
        for cell in map(_csv_cell, cells)
    )
    return out.getvalue().encode()


def _csv_cell(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return to_json(value).decode()


# ---- files that another person may have put there


def has_secret_name(parts: Sequence[str]) -> bool:
    return parts[0] == "secrets" or parts[-1].startswith(".env") or parts[-1].endswith(_SECRET_ENDINGS)


def leads_out(folder: Path, path: Path) -> bool:
    """Return whether links lead a path out of its folder, to a secret, or into a hidden folder such as .shroff."""
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ("..",)
    if ".." in parts or any(folder.joinpath(*parts[:end]).is_symlink() for end in range(1, len(parts) + 1)):
        home = Path(os.path.realpath(folder))
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(home):
            return True
        parts = real.relative_to(home).parts
    if not parts:
        return False
    is_hidden = parts[0].startswith(".") and not parts[0].startswith("..")  # `..data` is a link of Kubernetes
    return is_hidden or has_secret_name(parts)


def foreign(folder: Path, path: Path) -> tuple[str, str] | None:
    """Return why a file in a folder is not read, and what to do; None for a plain file, behind links or not."""
    if leads_out(folder, path):
        return "this link leads out of the project's folder or to a secret, and is not followed.", _CURE
    return None if path.is_file() else ("this is not a plain file, and is not read.", _CURE)


def own(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder, to read or write. Raises: UsageError if it leads elsewhere."""
    path = folder / name
    if (path.exists() or path.is_symlink()) and (problem := foreign(folder, path)) is not None:
        raise UsageError(f"{path}: {' '.join(problem)}")
    return path


def children(folder: Path) -> list[Path]:
    """List a folder, without `lost+found` of a volume's root."""
    return [path for path in folder.iterdir() if path.name != LOST]


def write_folder(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Write files into a new or empty folder; return their names.

    Raises: UsageError if the folder is not empty; StorageError if it cannot be written: nothing is left of it then.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file. Choose a new folder.")
    if folder.is_dir() and children(folder):
        raise UsageError(f"{folder} is not empty, and init overwrites nothing. Choose a new or an empty folder.")
    is_new = not folder.exists()
    try:
        for file in sorted(files):
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files[file])
    except OSError as error:
        for child in children(folder) if folder.is_dir() else ():
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        message = f"{os_words(error, folder, ' cannot be written')}. Nothing was made."
        raise StorageError(message) from None
    return sorted(files)
