"""Whole files: each is complete under its name, or not there. Parquet files and lines that a command writes.

And files of a folder that may come from somebody else, such as a clone: each is read only where it lies in the folder.
A link that leads out of it would show whoever reads the messages of a check what else the machine has.
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

LOST = "lost+found"  # of a volume, which only root can read
UNFINISHED = "unfinished"  # how the names of files that are being written end
UNFINISHED_S = 3_600.0  # no process writes one text for an hour
GROUP_ROWS = 1 << 17  # of a row group, at least
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
_PACKED = frozenset([".gz", ".zip", ".bz2", ".xz", ".zst"])
_FOREIGN = _PACKED | {".tsv", ".avro", ".arrow", ".feather", ".orc", ".xlsx", ".xls", ".ods", ".html", ".xml"}
FORMULA = tuple("=+-@\t\r\n\uff0b\uff0d\uff1d\uff20")  # how what a spreadsheet runs begins; the wide forms count, too
_BELOW_ZERO = re.compile(r"-\d+(?:\.\d+)?")

_SECRET_ENDINGS = (".key", ".pem", ".p12", ".pfx", ".jks")
_CURE = "Replace it by a plain file."


def out_format(out: Path, wanted: str | None, formats: Sequence[str]) -> str:
    """The format of a file to write: the one that its ending names, else the one that is wanted, else the first.

    Raises: UsageError where the two differ, and for an ending that none of the formats has.
    """
    ending = out.suffix.lower()
    named = _ENDINGS.get(ending)
    is_text = (wanted or formats[0]) != "parquet"
    if ending in _FOREIGN or (ending == ".txt" and not is_text) or (named is not None and named not in formats):
        endings = " or ".join(f".{format_}" for format_ in formats)
        packed = " (pack it afterwards)" if ending in _PACKED else ""
        words = (
            "this is written as Parquet" if formats[0] == "parquet" else f"this is never written as {ending}{packed}"
        )
        raise UsageError(f"{out}: {words}; name a file that ends in {endings}.")
    if wanted is not None and named is not None and wanted != named:
        raise UsageError(f"{out} ends in {ending}, and --format says {wanted}; leave out one of them.")
    return named or wanted or formats[0]


def check_out(out: Path, inputs: Iterable[Path]) -> None:
    """Raises: UsageError where the file to write is one of those that are read."""
    for file in inputs:
        if out.exists() and file.exists() and out.samefile(file):
            raise UsageError(f"{out} is one of the files to read, and would be lost; write to another one.")


class UnsyncedError(OSError):
    """A file is whole under its name, and after a power loss it may be what it was before."""


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
    """A file to write into, which takes the name of `target` at the end, in one step. Where that fails it goes.

    Args:
        part: Its path meanwhile; without one a name that nobody else has, `.NAME.XXXXXXXX.unfinished`, and the file is
            for its owner alone. What a killed process leaves of it is found by `unfinished_files`.
        mode: Permissions of a `part`, less the umask.
        is_durable: Bytes and name outlast a power loss; without it neither is synced.
        is_new: What has the name already stays, and the call raises FileExistsError.
        on_step: Called with `synced` and `renamed`, so that tests can stop between them.

    Raises: OSError, which names a file; UnsyncedError where only the name could not be synced.
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
        with suppress(OSError):  # what went wrong before is what to tell
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
    except OSError as error:  # a file system without links: the last of two processes wins, where both are this early
        if target.exists():
            raise FileExistsError(error.errno, error.strerror) from None
        part.replace(target)


def remove_unfinished(target: Path, now_s: float) -> None:
    """Remove what processes left that were killed while they wrote this file, an hour ago at least."""
    for path in unfinished_files(target.parent, target.name):
        with suppress(OSError):  # another process has just removed it, or it is somebody else's
            if now_s - path.stat().st_mtime > UNFINISHED_S:
                path.unlink()


def unfinished_files(folder: Path, name: str = "*") -> list[Path]:
    """Files in a folder that are being written, or were by a process that was killed."""
    return sorted(folder.glob(f".{glob.escape(name) if name != '*' else name}.????????.{UNFINISHED}"))


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Raises: OSError."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def unfinished(out: Path) -> Iterator[Path]:
    """A file beside `out` to write into; it takes the name of `out` at the end, or goes.

    The name meanwhile is one that nobody else has, as of `whole_file`. Where `out` is a link, what it leads to is
    replaced and the link stays.

    Raises: UsageError where it is no file, such as a folder or a device, or its folder is not there; StorageError
        where it cannot be written.
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


class _Digested:
    """A file to write into, each byte of which a digest takes too."""

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
    """Write Arrow tables into one Parquet file, one while the next is made; gives the number of rows.

    Small tables are gathered, so that a row group is as large as a reader wants it. A column that the schema has as
    decimal64 may be decimal128 in some table: then it is in the whole file, and what was written before is rewritten.

    Args:
        digest: Takes the bytes of the file as they are written, as `update` of a hash does; not where the schema has a
            decimal64.
    """
    from concurrent.futures import ThreadPoolExecutor

    rows = 0
    written: Future[None] | None = None
    with unfinished(out) as part, ExitStack() as opened, ThreadPoolExecutor(1, thread_name_prefix="write") as pool:
        file = part if digest is None else _Digested(opened.enter_context(part.open("wb")), digest)
        writer = opened.enter_context(_writer(file, schema))
        for table in _gathered(tables, schema):
            rows += table.num_rows
            if written is not None:
                written.result()
            if table.schema != writer.schema:
                writer.close()
                writer = opened.enter_context(_rewritten(part, table.schema))
            written = pool.submit(writer.write_table, table)
        if written is not None:
            written.result()
    return rows


def _writer(part: Path | _Digested, schema: pa.Schema) -> Any:
    """A Parquet writer: whole numbers by their differences, texts coded but ids, with the range of places only.

    That halves what writing costs, and the file is smaller; every reader of Parquet has these encodings. Decimals of 64
    bits are whole numbers too, and read as decimal128 of 18 digits.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    narrow = [field.name for field in schema if pa.types.is_decimal64(field.type)]
    whole = [field.name for field in schema if pa.types.is_int64(field.type)]
    return pq.ParquetWriter(
        part,
        schema,
        compression="snappy",
        use_dictionary=[column.name for column in schema if pa.types.is_string(column.type) and column.name != "id"],
        column_encoding=dict.fromkeys(whole + narrow, "DELTA_BINARY_PACKED"),
        write_statistics=[name for name in whole if name == "seq"],
        store_decimal_as_integer=bool(narrow),
        store_schema=not narrow,  # it would name decimal64, which not every reader knows
    )


def _rewritten(part: Path, schema: pa.Schema) -> Any:
    """A writer that has written the rows of the file anew, by a schema with wider decimals."""
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
    """The same rows in tables of at least so many, but the last and those before a decimal becomes wider."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for table in tables:
        wider = _wider(schema, table.schema)
        if wider != schema and waiting:
            yield pa.concat_tables(waiting)
            waiting = []
        schema = wider
        waiting.append(table if table.schema == schema else table.cast(schema))
        if sum(table.num_rows for table in waiting) >= GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _wider(schema: pa.Schema, found: pa.Schema) -> pa.Schema:
    """The schema with decimals of 128 bits where a table has such."""
    import pyarrow as pa

    for at, field in enumerate(schema):
        if pa.types.is_decimal64(field.type) and pa.types.is_decimal128(found.field(at).type):
            schema = schema.set(at, found.field(at))
    return schema


def write_lines(out: Path, batches: Iterable[Sequence[bytes]]) -> int:
    """Write lines, which have their ends, into one file; into a device or a pipe as they come. Gives their number.

    Raises: BrokenPipeError where nobody reads a pipe on; else as `unfinished`.
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
    """A line of a CSV that people open in a spreadsheet, which would carry out what begins as a formula does.

    Such a text gets an apostrophe before it; a number below zero is none. A missing value is an empty cell, texts of a
    list stand with blanks between them, and other values as in JSON: a boolean is `true` or `false`.

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


# ---- files that somebody else may have put there


def has_secret_name(parts: Sequence[str]) -> bool:
    """Whether a path in a project's folder has the name of a secret."""
    return parts[0] == "secrets" or parts[-1].startswith(".env") or parts[-1].endswith(_SECRET_ENDINGS)


def leads_out(folder: Path, path: Path) -> bool:
    """Whether a path in a folder leads out of it, to a secret or into a hidden folder such as .shroff, by links."""
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
    """Why a file in a folder is not read, and what to do; None where it is a plain file, behind links or not."""
    if leads_out(folder, path):
        return "this link leads out of the project's folder or to a secret, and is not followed.", _CURE
    return None if path.is_file() else ("this is not a plain file, and is not read.", _CURE)


def own(folder: Path, name: str) -> Path:
    """The path of a file in a folder, to be read or written. Raises: UsageError where it leads elsewhere."""
    path = folder / name
    if (path.exists() or path.is_symlink()) and (found := foreign(folder, path)) is not None:
        raise UsageError(f"{path}: {' '.join(found)}")
    return path


def children(folder: Path) -> list[Path]:
    """What lies in a folder, but for what the root of a volume has of itself."""
    return [path for path in folder.iterdir() if path.name != LOST]


def write_folder(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Write files into a new or empty folder; gives their names.

    Raises: UsageError where the folder holds something; StorageError where it cannot be written: nothing of it is left
        then.
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
        words = f"{os_words(error, folder, ' cannot be written')}. Nothing was made."
        raise StorageError(words) from None
    return sorted(files)
