"""Read files line by line: CSV, JSON lines and XML, compressed or not (`compression`), Parquet and Avro.

A line that cannot be read has an error, and reading goes on. A file that cannot be read raises a `UsageError` before
the first line; a compressed file that ends too early raises it after the last readable line. A `.json` file may also be
one list or object over several lines, up to 64 MiB. An element of it that cannot be read is a line with an error.

Text is UTF-8, with or without a byte order mark. The first line of a CSV file that is not plain ASCII decides for the
file: if it is not UTF-8, the file is windows-1252. In a UTF-8 file, a later line that is not UTF-8 has an error.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from msgspec.json import decode as from_json

from shroff.errors import UsageError, nearest, os_words
from shroff.events.formats.compression import BROKEN, MARK_BYTES, MARKS, bare_name, mark_in, open_file, unpacked
from shroff.events.formats.csv_records import CsvRecords
from shroff.events.formats.lines import LINE_BYTES_MAX, LOST, CsvHeader, FileExtent, Line, Lines, Read
from shroff.events.raw_values import DEPTH_MAX, Number, canonical_json, is_deep, shown
from shroff.runtime.progress import Tell, unheard

FORMATS = ("csv", "jsonl", "parquet", "avro", "xml")
SNIFFED = 4_096  # first bytes that are read if the name does not show the format
DOCUMENT_BYTES_MAX = 64 * 1024 * 1024  # of a list or an object over several lines, which is read into memory
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".avro": "avro",
    ".xml": "xml",
}
_DATA = frozenset({".txt", ".dat", ".tab", ".psv"})
_TEXTS = _DATA | {"", ".log"}  # endings of text files whose content shows the format
_SHEET = "a spreadsheet; save the sheet as CSV (File, Save as, CSV UTF-8)"
# Endings of files that cannot be read: what the file is, and what to do
_UNREAD = {
    **dict.fromkeys(".xlsx .xls .xlsm .xlsb .ods .numbers".split(), _SHEET),
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar", ".tgz"), "an archive; unpack it, and name the files in it"),
    **dict.fromkeys(".lz4 .br .z".split(), "compressed; unpack it, or compress it by gzip"),
    **dict.fromkeys(
        ".orc .feather .arrow .pkl .sas7bdat .dta".split(),
        "of no format that is read; write it as CSV, JSON lines or Parquet",
    ),
}
_STATEMENT = re.compile(rb"(?P<MT940>\{1:F\d\d|:20:)|(?P<OFX>OFXHEADER:|<\?OFX)|(?P<QIF>!(Type|Account|Option|Clear):)")
_LIBRARIES = {"MT940": "mt-940", "OFX": "ofxtools", "QIF": "quiffen"}
# A text ends on its line, so that a stray quotation mark changes nothing on later lines.
_MARK = re.compile(rb'"(?:[^"\\\n]++|\\.)*+"|[][{},:]')
_TOO_DEEP = "the line is nested too deep"
_OPEN_LIST = (
    "this list has no end on its line. A list over several lines is read from a whole file that ends in .json, "
    f"of at most {DOCUMENT_BYTES_MAX >> 20} MiB; otherwise write one object on each line"
)
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_ZIP_MARKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # first bytes of Excel files, new and old, and of archives
_BINARY_MARKS = {b"PAR1": "parquet", b"Obj\x01": "avro"}
_BLANKS = b" \t\r\n"
_END_OF_KEY = b'":'
_decode = msgspec.json.Decoder(float_hook=Number).decode


def file_format(path: Path, format: str | None = None) -> str:
    """Give the format of a file: the one named, else what its name ends in, `.gz` aside, else what its content shows.

    Raises: UsageError for a name that is no format, and where neither says anything.
    """
    if format is not None:
        if format not in FORMATS:
            raise UsageError(f"{format!r} is no format. {nearest(format, FORMATS) or _formats()}")
        return format
    found = format_by_name(path.name)
    if found is None and not path.exists():
        raise UsageError(f"There is no file {path}.")
    if found is None and path.is_dir():
        raise UsageError(f"{path} is a folder; name the files in it.")
    if found is None:
        suffix = _ending(path.name)
        if suffix in _UNREAD:
            raise UsageError(f"{path} is {_UNREAD[suffix]}.")
        found = _format_by_content(path, is_text=suffix in _TEXTS) if path.is_file() else None
    if found is None:
        raise UsageError(
            f"{path} does not end in {', '.join(_SUFFIXES)}, with or without {', '.join(MARKS.values())}, and its "
            "content does not show what it is; name it so. The commands ingest, produce, check, score and features "
            "also take --format."
        )
    return found


def _format_by_content(path: Path, *, is_text: bool) -> str | None:
    """Return the format that the first bytes of a file show; other text is CSV if `is_text`.

    Raises: UsageError for a bank statement.
    """
    try:
        with path.open("rb") as stored:
            packed_as = mark_in(stored.read(MARK_BYTES))
            stored.seek(0)
            first = (unpacked(stored, packed_as) if packed_as else stored).read(SNIFFED)
    except (OSError, *BROKEN):
        return "csv" if is_text and path.suffix else None  # reading the file then reports the problem
    if first[:4] in _BINARY_MARKS:
        return _BINARY_MARKS[first[:4]]
    text = first.removeprefix(_UTF8_MARK).lstrip()
    if (statement := _STATEMENT.match(text)) is not None:
        form = statement.lastgroup or ""
        raise UsageError(
            f"{path} is a bank statement of the form {form}. Turn it into JSON lines: pip install {_LIBRARIES[form]}, "
            f"and the command for {form} in docs/howto/map-a-csv.md, Bank statements."
        )
    if text[:1] in {b"{", b"["}:
        return "jsonl"
    return "csv" if is_text and text and (b"\0" not in text or _is_utf16(first)) else None


def _is_utf16(first: bytes) -> bool:
    """Whether a text begins with the mark of UTF-16, or has zeros as UTF-16 has them: only at even or odd places."""
    some, others = sorted((first[::2].count(0), first[1::2].count(0)))
    is_wide = 4 * others > len(first) > 2
    if others and set(first).isdisjoint(range(1, 9)):  # letters other than Latin
        is_wide |= "\ufffd" in first.decode("utf-8", "replace")
    return first.startswith(_UTF16_MARKS) or (some == 0 and is_wide)


def _ending(name: str) -> str:
    return Path(bare_name(name)).suffix


def format_by_name(name: str) -> str | None:
    """Return the format by the ending of a file's name, before `.gz` and the like; None if it is no format's.

    >>> format_by_name("march.CSV.gz"), format_by_name("march.txt")
    ('csv', None)
    """
    return _SUFFIXES.get(_ending(name))


def is_text_name(name: str) -> bool:
    """Whether a file's name, before `.gz` and the like, has an ending of text whose content shows the format.

    >>> is_text_name("march.txt.gz"), is_text_name("march"), is_text_name("march.csv")
    (True, False, False)
    """
    return _ending(name) in _DATA


def read_lines(path: Path, format: str | None = None, tell: Tell = unheard) -> Lines:
    """Open a file, and return an iterator over its lines, to be used in a `with`.

    Args:
        format: One of FORMATS; by default that of the name's ending, or of the content.
        tell: Called with notes for users, such as that the file is windows-1252.

    Raises: UsageError if the file does not exist, cannot be read or is not of its format.
    """
    wanted = file_format(path, format)
    if not path.exists():
        raise UsageError(f"There is no file {path}.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name the files in it.")
    lines = _lines_of(path, wanted, tell)
    if path.is_file():  # a pipe has each line once
        lines.again = partial(_lines_of, path, wanted, unheard)
    lines.tell = tell
    return lines


def _lines_of(path: Path, wanted: str, tell: Tell) -> Lines:
    if wanted == "parquet":
        from shroff.events.formats.parquet import read_parquet

        return read_parquet(path)
    if wanted == "avro":
        from shroff.events.avro.files import read_avro

        return read_avro(path)
    try:
        if wanted == "xml":
            from shroff.events.formats.xml import read_xml

            return read_xml(path)
        stream, extent = _open(path)
    except OSError as error:
        raise UsageError(f"{os_words(error, path, ' cannot be read')}.") from None
    if wanted == "jsonl" and not bare_name(path.name).endswith((".jsonl", ".ndjson")):
        physical = _physical_lines(stream, path.name, DOCUMENT_BYTES_MAX)
        lines = Lines("jsonl", None, _document_lines(physical), stream.close)
    else:
        lines = read_stream(stream, wanted, name=path.name, tell=tell)
    lines.extent = extent
    return lines


def _open(path: Path) -> tuple[BinaryIO, FileExtent]:
    size_bytes = path.stat().st_size

    def read_bytes() -> int:
        return size_bytes if stored.closed else stored.tell()

    stream, stored = open_file(path)
    return stream, FileExtent(size_bytes, read_bytes)


def read_stream(
    stream: BinaryIO, format: str, *, name: str = "-", header: CsvHeader | None = None, tell: Tell = unheard
) -> Lines:
    """Return the lines of an open stream, each as soon as it arrives. Closes the stream at its end.

    Args:
        format: `csv` or `jsonl`; other formats are read from files only.
        header: The header of CSV, if the stream has none.
        tell: As for `read_lines`.

    Raises: UsageError for another format.
    """
    if format in {"parquet", "avro", "xml"}:
        raise UsageError(f"{format.capitalize()} cannot be read from a stream; write it into a file first.")
    if format not in FORMATS:
        raise UsageError(f"{format!r} is no format. {nearest(format, FORMATS) or _formats()}")
    physical = _physical_lines(stream, name, LINE_BYTES_MAX)
    if format == "csv":
        records = CsvRecords(physical, name, header, tell)
        lines = Lines("csv", None, records, stream.close)
        lines.records = records
        return lines
    return Lines("jsonl", None, _decoded_lines(physical, line_columns), stream.close, physical=physical)


def _formats() -> str:
    return f"Formats are {', '.join(FORMATS)}."


def _physical_lines(stream: BinaryIO, name: str, bytes_max: int) -> Iterator[bytes]:
    """Yield the bytes of each line with its end, without a byte order mark; lines are cut after `bytes_max` + 1 bytes.

    Raises: UsageError if the stream is UTF-16, compressed, an archive, damaged, or cannot be read.
    """
    read = cast("Callable[[], bytes]", partial(stream.readline, bytes_max + 1))
    with stream:
        try:
            line = read()
            if ending := mark_in(line):
                raise UsageError(f"{name} is compressed; give it a name that ends in {ending}.")
            if line.startswith(_ZIP_MARKS):
                raise UsageError(f"{name} is {_SHEET}. If it is an archive, unpack it first.")
            if _is_utf16(line):
                raise UsageError(f"{name} is UTF-16; save it as UTF-8.")
            line = line.removeprefix(_UTF8_MARK)
            while line:
                yield line
                if len(line) > bytes_max and not line.endswith(b"\n"):
                    while (rest := read()) and not rest.endswith(b"\n"):
                        pass
                line = read()
        except BROKEN:
            raise UsageError(f"{name} is not whole: its compressed part ends too early or is damaged.") from None
        except OSError as error:
            raise UsageError(f"{os_words(error, name, ' cannot be read')}.") from None


# ---- JSON lines


def _decoded_lines(physical: Iterator[bytes], read: Read) -> Iterator[Line]:
    number = 0
    for line, raw in enumerate(physical, start=1):
        if raw.isspace() or not raw:
            continue
        number += 1
        yield Line(number, raw, None, None, read, line)


def json_columns(raw: bytes, depth_max: int = DEPTH_MAX) -> tuple[dict[str, object] | None, str | None]:
    """Return the columns of a JSON object, or why it cannot be read."""
    try:
        columns = _decode(raw)
    except RecursionError:
        return None, _TOO_DEEP
    except ValueError as error:
        return None, _json_words(raw, error)
    if is_deep(raw, columns, depth_max):
        return None, _TOO_DEEP
    if type(columns) is not dict:
        return None, f"expected a JSON object, found {_kind(columns)}"
    if may_double(raw, columns) and (doubled := doubled_key(raw)) is not None:
        return None, _doubled_words(doubled)
    return columns, None


def line_columns(raw: bytes) -> tuple[dict[str, object] | None, str | None]:
    """Read a line of a file as `json_columns` does; a list that goes on in later lines is an error."""
    columns, words = json_columns(raw)
    if words is not None and raw.lstrip().startswith(b"["):
        is_open = words.endswith("Input data was truncated") or len(raw) > LINE_BYTES_MAX
        return None, _OPEN_LIST if is_open else words
    return columns, words


def _document_lines(physical: Iterator[bytes]) -> Iterator[Line]:
    """Yield the lines of a `.json` file: JSON lines, or the elements of one list or object over several lines."""
    taken = [first := next(physical, b"")]
    if not _is_object(first):
        size = len(first)
        while size <= DOCUMENT_BYTES_MAX and (raw := next(physical, b"")):
            taken.append(raw)
            size += len(raw)
        content = b"".join(taken)
        if size <= DOCUMENT_BYTES_MAX:
            document = _document(content)
            if document is not None:
                yield from _elements(content, document)
                return
            if content.lstrip().startswith(b"["):
                for number, piece in enumerate(_whole_pieces(content) or _pieces(content), 1):
                    yield Line(number, piece, *json_columns(piece))
                return
    rest = (raw[: LINE_BYTES_MAX + 1] for raw in chain(taken, physical))
    yield from _decoded_lines(rest, line_columns)


def _is_object(raw: bytes) -> bool:
    return _document(raw) is not None and raw.lstrip().startswith(b"{")


def _document(content: bytes) -> list[object] | None:
    try:
        content_value = msgspec.json.Decoder(float_hook=Number).decode(content)
    except (ValueError, RecursionError):
        return None
    if type(content_value) is dict:
        return [content_value]
    return content_value if type(content_value) is list else None


def _whole_pieces(content: bytes) -> list[bytes] | None:
    """Return the elements of a list, of which some lack a closing bracket; None if other brackets are wrong, too.

    An object that follows no colon within another one shows that the outer one lacks its end.
    """
    pieces: list[bytes] = []
    opened = bytearray()
    begin = 0
    last = b""
    for mark in _MARK.finditer(content):
        sign = mark[0][:1]
        if sign == b"{" and opened.endswith(b"{") and last != b":":
            del opened[opened.rfind(b"[") + 1 :]
            if len(opened) == 1:
                pieces.append(content[begin : mark.start()].rstrip().removesuffix(b",").strip())
                begin = mark.start()
        if sign in b"[{":
            opened += sign
        elif sign in b"]}":
            at = opened.rfind(b"[" if sign == b"]" else b"{")
            if at <= 0:
                is_end = at == 0 and not content[mark.end() :].strip()
                return [*pieces, content[begin : mark.start()].strip()] if is_end else None
            del opened[at:]
        if len(opened) == 1 and sign in b",[":
            pieces += [content[begin : mark.start()].strip()] if begin else []
            begin = mark.end()
        last = sign
    return None


def _pieces(content: bytes) -> Iterator[bytes]:
    """Yield the elements of a list that is not JSON, split by its brackets, and any text behind its end."""
    depth = begin = 0
    for mark in _MARK.finditer(content):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(mark[0], 0)
        if depth == 0:
            yield content[begin : mark.start()].strip()
            begin = mark.end()
            break
        if depth == 1 and mark[0] in b",[":
            if begin:
                yield content[begin : mark.start()].strip()
            begin = mark.end()
    rest = content[begin:].strip()
    if rest:
        yield rest
    if depth == 1:  # the end of the list is missing
        yield b""


def _elements(content: bytes, document: list[object]) -> Iterator[Line]:
    if not (may_double(content, document) or is_deep(content, document, DEPTH_MAX + 1)):
        yield from (_element(number, None, element) for number, element in enumerate(document, 1))
        return
    is_list = content.lstrip().startswith(b"[")
    pieces = from_json(content, type=list[msgspec.Raw]) if is_list else [content]
    for number, (piece, element) in enumerate(zip(pieces, document, strict=True), 1):
        yield _element(number, bytes(piece), element)


def _element(number: int, raw: bytes | None, element: object) -> Line:
    """Return a line for an element; `raw` are its bytes if it may have a key twice, or be nested too deep."""
    if raw is not None and is_deep(raw, element):
        return Line(number, raw, None, _TOO_DEEP)
    if type(element) is not dict:
        made = canonical_json(element).encode()
        return Line(number, made, None, f"expected a JSON object, found {_kind(element)}")
    if raw is not None and may_double(raw, element) and (doubled := doubled_key(raw)) is not None:
        return Line(number, raw, None, _doubled_words(doubled))
    return Line(number, None, element)


def _kind(value: object) -> str:
    """Describe a value that is no object, without its content, which may be a card number."""
    if isinstance(value, Number | int | float) and not isinstance(value, bool):
        return "a number"
    return "a text" if isinstance(value, str) else "null" if value is None else shown(value)


# ---- keys that are used twice in one object. The decoder would keep the last value, which may not be the right one.
#
# Each key ends in `":`, apart from blanks; a string contains these characters only after an escaped quotation mark. So
# a text with as many of them as its decoded form has keys has no key twice; a text with more of them is read again.


def may_double(raw: bytes, decoded: object) -> bool:
    """Whether an object in a JSON text may have a key twice; if False, none has.

    Cost: 0.3 us for a flat object of 150 bytes; a microsecond more for a nested one.
    """
    # At least the number of keys in the text, as strings may look like keys
    keys = raw.translate(None, _BLANKS).count(_END_OF_KEY)
    return not (type(decoded) is dict and keys == len(decoded)) and keys != _keys_in(decoded)


def doubled_key(raw: bytes) -> str | None:
    """Return a key that is used twice in one object of a JSON text, nested ones included. Cost: some 10 us."""
    doubled: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        if len(pairs) > 1:
            doubled.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)

    # Numbers stay texts, as one that is too long for Python is not reported here.
    json.loads(raw.decode(), object_pairs_hook=look, parse_int=str, parse_float=str, strict=False)
    return doubled[0] if doubled else None


def _keys_in(value: object) -> int:
    count = 0
    ahead = [value]
    while ahead:
        item = ahead.pop()
        if type(item) is dict:
            count += len(item)
            ahead.extend(item.values())
        elif type(item) is list:
            ahead.extend(item)
    return count


def _doubled_words(key: str) -> str:
    return f"the key {shown(key)} is used twice in one object; leave one"


def _json_words(raw: bytes, error: Exception) -> str:
    if raw.startswith(LOST):
        return raw.removeprefix(LOST).decode("utf-8", "replace").strip()
    if len(raw) > LINE_BYTES_MAX:
        return f"the line is longer than {LINE_BYTES_MAX:,} bytes"
    if isinstance(error, UnicodeDecodeError):
        return "the line is not UTF-8"
    return f"the line is not JSON: {error}"
