"""Reading files line by line: CSV, JSON lines, Parquet and Avro, the first two compressed by gzip or not.

A line that cannot be read is a line with an error; the others go on. Whatever keeps a
file from being read at all is a `UsageError` before the first line, or, where a
compressed file ends too early, after the last that could be read. A `.json` file may also
be one list or object over several lines, up to 64 MiB.

Text is UTF-8, with or without a byte order mark. The first line of a CSV file that is not
plain ASCII decides for the file: if it is not UTF-8, the file is Latin-1. In a file that
has shown to be UTF-8, a later line that is not is an error of that line.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, cast

import msgspec

from shroff.errors import UsageError, nearest
from shroff.events.formats.csv_records import CsvRecords
from shroff.events.formats.lines import LINE_BYTES_MAX, LOST, FileExtent, Line, Lines
from shroff.events.formats.plain import doubled_key, may_double
from shroff.events.raw_values import Number, canonical_json, shown

FORMATS: Final = ("csv", "jsonl", "parquet", "avro")
DOCUMENT_BYTES_MAX: Final = 64 * 1024 * 1024  # of a list or an object over several lines, which is read as a whole
_SUFFIXES: Final = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".avro": "avro",
}
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_GZIP_MARK: Final = b"\x1f\x8b"
_decode: Final = msgspec.json.Decoder(float_hook=Number).decode
_BROKEN_GZIP: Final = (EOFError, gzip.BadGzipFile, zlib.error)


def file_format(path: Path, format: str | None = None) -> str:
    """Give the format of a file: the one named, else what its name ends in, `.gz` aside.

    Raises: UsageError for a name that is no format, or an ending that says nothing.
    """
    if format is not None:
        if format not in FORMATS:
            raise UsageError(f"{format!r} is no format. {nearest(format, FORMATS) or _formats()}")
        return format
    found = format_by_name(path.name)
    if found is None:
        endings = ", ".join(_SUFFIXES)
        raise UsageError(f"{path} does not end in {endings}, with or without .gz; say what it is with --format.")
    return found


def format_by_name(name: str) -> str | None:
    """The format that a file's name ends in, `.gz` aside; None where it ends in no format's.

    >>> format_by_name("march.CSV.gz"), format_by_name("march.txt")
    ('csv', None)
    """
    return _SUFFIXES.get(Path(name.lower().removesuffix(".gz")).suffix)


def read_lines(path: Path, format: str | None = None) -> Lines:
    """Open a file and give its lines.

    Args:
        format: One of FORMATS; by the name's ending where it is None.

    Returns: An iterator over the lines, to be used in a `with`; `columns` names the columns, but of JSON lines.
    Raises: UsageError where the file is not there, cannot be read or is not of its format.
    """
    wanted = file_format(path, format)
    if not path.exists():
        raise UsageError(f"There is no file {path}.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name the files in it.")
    if wanted == "parquet":
        from shroff.events.formats.parquet import read_parquet

        return read_parquet(path)
    if wanted == "avro":
        from shroff.events.avro.files import read_avro

        return read_avro(path)
    try:
        stream, extent = _open(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    if wanted == "jsonl" and path.name.lower().removesuffix(".gz").endswith(".json"):
        lines = Lines("jsonl", None, _document_lines(_physical_lines(stream, path.name)), stream.close)
    else:
        lines = read_stream(stream, wanted, name=path.name)
    lines.extent = extent
    return lines


def _open(path: Path) -> tuple[BinaryIO, FileExtent]:
    """A file's bytes, uncompressed, and how much of the file they are."""
    size_bytes = path.stat().st_size

    def read_bytes() -> int:
        return size_bytes if stored.closed else stored.tell()

    if not path.name.lower().endswith(".gz"):
        stored = path.open("rb")
        return stored, FileExtent(size_bytes, read_bytes)
    compressed = gzip.GzipFile(path)
    stored = cast("BufferedReader", compressed.fileobj)
    return cast("BinaryIO", compressed), FileExtent(size_bytes, read_bytes)


def read_stream(stream: BinaryIO, format: str, *, name: str = "-") -> Lines:
    """Give the lines of an open stream, each as soon as it is there. Closes it at the end.

    Args:
        format: `csv` or `jsonl`; Parquet and Avro are read from files.

    Raises: UsageError for a format that cannot be read so, and for a CSV stream without a header.
    """
    if format in {"parquet", "avro"}:
        raise UsageError(f"{format.capitalize()} cannot be read from a stream; write it into a file first.")
    if format not in FORMATS:
        raise UsageError(f"{format!r} is no format. {nearest(format, FORMATS) or _formats()}")
    physical = _physical_lines(stream, name)
    try:
        if format == "csv":
            records = CsvRecords(physical, name)
            columns, separator = records.header.columns, records.header.separator
            lines = Lines("csv", columns, records, stream.close, separator=separator)
            lines.records = records
            return lines
        return Lines("jsonl", None, _decoded_lines(physical), stream.close, physical=physical)
    except BaseException:
        stream.close()
        raise


def _formats() -> str:
    return f"Formats are {', '.join(FORMATS)}."


def _physical_lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """The bytes of each line with its end, the byte order mark taken off; too long ones are cut at the limit + 1."""
    read = cast("Callable[[], bytes]", partial(stream.readline, LINE_BYTES_MAX + 1))
    with stream:
        try:
            line = read()
            if line.startswith(_UTF16_MARKS):
                raise UsageError(f"{name} is UTF-16; save it as UTF-8.")
            if line.startswith(_GZIP_MARK):
                raise UsageError(f"{name} is compressed by gzip; give it a name that ends in .gz.")
            line = line.removeprefix(_UTF8_MARK)
            while line:
                yield line
                if len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
                    while (rest := read()) and not rest.endswith(b"\n"):
                        pass
                line = read()
        except _BROKEN_GZIP:
            raise UsageError(f"{name} is not whole: its compressed part ends too early or is damaged.") from None
        except OSError as error:
            raise UsageError(f"{name} cannot be read: {error.strerror}.") from None


# ---- JSON lines


def _decoded_lines(physical: Iterator[bytes]) -> Iterator[Line]:
    number = 0
    for line, raw in enumerate(physical, start=1):
        if raw.isspace() or not raw:
            continue
        number += 1
        yield Line(number, raw, None, None, json_columns, line)


def json_columns(raw: bytes) -> tuple[dict[str, object] | None, str | None]:
    """The columns of a line, or why it has none."""
    try:
        columns = _decode(raw)
    except (ValueError, RecursionError) as error:
        return None, _json_words(raw, error)
    if type(columns) is not dict:
        return None, f"expected a JSON object, found {_kind(columns)}"
    if may_double(raw, columns) and (doubled := doubled_key(raw)) is not None:
        return None, _doubled_words(doubled)
    return columns, None


def _document_lines(physical: Iterator[bytes]) -> Iterator[Line]:
    """The lines of a `.json` file: JSON lines, or one object or list over several lines, as people save them."""
    taken: list[bytes] = []
    size = 0
    for raw in physical:
        taken.append(raw)
        size += len(raw)
        if size > DOCUMENT_BYTES_MAX or _is_object(taken[0]):
            break
    else:
        content = b"".join(taken)
        document = _document(content)
        if document is not None:
            yield from _elements(content, document)
            return
    yield from _decoded_lines(chain(taken, physical))


def _is_object(raw: bytes) -> bool:
    found = _document(raw)
    return found is not None and raw.lstrip().startswith(b"{")


def _document(content: bytes) -> list[object] | None:
    """The elements of a JSON list, or an object as the only one; None for what is neither."""
    try:
        found = msgspec.json.Decoder(float_hook=Number).decode(content)
    except (ValueError, RecursionError):
        return None
    return found if type(found) is list else [found] if type(found) is dict else None


def _elements(content: bytes, document: list[object]) -> Iterator[Line]:
    if not may_double(content, document):
        yield from (_element(number, None, element) for number, element in enumerate(document, 1))
        return
    is_list = content.lstrip().startswith(b"[")
    pieces = msgspec.json.decode(content, type=list[msgspec.Raw]) if is_list else [content]
    for number, (piece, element) in enumerate(zip(pieces, document, strict=True), 1):
        yield _element(number, bytes(piece), element)


def _element(number: int, raw: bytes | None, element: object) -> Line:
    """One element of a document; `raw` are its bytes where it may have a key twice."""
    if type(element) is not dict:
        made = canonical_json(element).encode()
        return Line(number, made, None, f"expected a JSON object, found {_kind(element)}")
    if raw is not None and may_double(raw, element) and (doubled := doubled_key(raw)) is not None:
        return Line(number, raw, None, _doubled_words(doubled))
    return Line(number, None, element)


def _kind(value: object) -> str:
    """What stands on a line in place of an object, without its content, which may be somebody's card."""
    if isinstance(value, Number | int | float) and not isinstance(value, bool):
        return "a number"
    return "a text" if isinstance(value, str) else "null" if value is None else shown(value)


def _doubled_words(key: str) -> str:
    return f"the key {shown(key)} is used twice in one object; leave one"


def _json_words(raw: bytes, error: Exception) -> str:
    if raw.startswith(LOST):
        return raw.removeprefix(LOST).decode("utf-8", "replace").strip()
    if len(raw) > LINE_BYTES_MAX:
        return f"the line is longer than {LINE_BYTES_MAX:,} bytes"
    if isinstance(error, RecursionError):
        return "the line is nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return "the line is not UTF-8"
    return f"the line is not JSON: {error}"
