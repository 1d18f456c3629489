"""XML files: a line for each record, as an object of JSON, read in the memory of one record.

An element is the text in it; one with attributes or elements is an object of these, its attributes with `@` before
their names and its text as `#text`. Elements of one name are a list; a single one is, too, if a mapping reads a list.
Prefixes of namespaces fall away. A record stands in the elements around it, with what stood in those before it, such as
the header of a statement: `row.Document.BkToCstmrStmt.Stmt.Ntry.Amt['#text']`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, Final
from xml.parsers import expat  # it opens nothing, and entities are refused

from shroff.errors import UsageError
from shroff.events.formats.compression import BROKEN, open_file
from shroff.events.formats.lines import LINE_BYTES_MAX, Line, Lines
from shroff.events.raw_values import DEPTH_MAX
from shroff.language.expression import ITEM
from shroff.language.expression import Path as ValuePath

RECORDS: Final = frozenset(["Ntry", "CdtTrfTxInf", "DrctDbtTxInf", "TxInf"])  # of messages of ISO 20022
TEXT: Final = "#text"
_SNIFFED: Final = 1 << 20  # bytes that tell which element is a record
_PIECE: Final = 1 << 16
_AROUND_MAX: Final = 1 << 20  # bytes kept of the elements around a record; an element counts as 1,000 at least
_ELEMENT_BYTES: Final = 1_000
_SEPARATOR: Final = " "  # between a namespace and a name
_INSTANCE: Final = "http://www.w3.org/2001/XMLSchema-instance"  # of attributes that say where the schema is
Names = tuple[str, ...]


def read_xml(path: Path) -> Lines:
    """Read an XML file.

    Raises: UsageError if it does not begin as XML; while lines are read, from where it is damaged. OSError.
    """
    search = _Reader(path.name, None)
    with closing(open_file(path)[0]) as stream:
        search.feed(_piece(stream, path.name, _SNIFFED))
    stream, _ = open_file(path)
    reader = _Reader(path.name, search.record())
    lines = Lines("jsonl", None, _lines(stream, reader), stream.close)

    lines.prepare = lambda paths: reader.prepare(search.record_for(paths), paths)
    return lines


def _piece(stream: BinaryIO, name: str, size: int) -> bytes:
    try:
        return stream.read(size)
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UsageError(f"{name} is not whole: its compressed part ends too early or is damaged.") from None


def _lines(stream: BinaryIO, reader: _Reader) -> Iterator[Line]:
    number = 0
    with stream:
        while True:
            piece = _piece(stream, reader.name, _PIECE)
            reader.feed(piece, is_last=not piece)
            for line, columns in reader.found:
                number += 1
                yield Line(number, None, columns, None, None, line)
            reader.found.clear()
            if not piece:
                return


class _Reader:
    """Collects the records of an XML document. `record` is the path of their element; None only counts elements."""

    def __init__(self, name: str, record: Names | None) -> None:
        self.name = name
        self._record = record or ()
        self._arrays: Collection[Names] = ()
        self._lists: Collection[Names] = ()
        self._is_counting = record is None
        self._has_begun = False
        self._names: list[str] = []
        self._open: list[dict[str, Any]] = []
        self._texts: list[list[str]] = []
        self._begins: list[int] = []  # byte of each open element
        self._kept: list[int] = []  # bytes kept in each open element
        self._fed = 0  # bytes; the parser's own index stays at the start of a token that is not whole
        self._since = (0, 0)  # line and byte where the record begins that is read
        self.found: list[tuple[int, dict[str, Any]]] = []
        self._counts = Counter[Names]()
        self._parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.EntityDeclHandler = self._refuse_declared
        self._parser.AttlistDeclHandler = self._refuse_declared
        self._parser.SkippedEntityHandler = self._refuse_declared
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, piece: bytes, *, is_last: bool = False) -> None:
        self._fed += len(piece)
        try:
            self._parser.Parse(piece, is_last)
        except (expat.ExpatError, ValueError, LookupError) as error:  # the last two: an encoding that is not known
            raise UsageError(f"{self.name} is not XML: {error}.") from None
        if self._fed - self._since[1] > LINE_BYTES_MAX + _PIECE and not self._is_counting:
            raise UsageError(f"{self.name}: the record of line {self._since[0]:,} is too long.")

    def record(self) -> Names:
        """The path of the element that is a record: one of ISO 20022, else the outermost that is repeated."""
        named = [path for path in self._counts if path[-1] in RECORDS]
        return self._outermost(named or self._repeated())

    def record_for(self, paths: Iterable[ValuePath]) -> Names:
        """Like `record`, for a mapping that reads these paths from within a record."""
        parents = {_names(path) if ITEM in path else _names(path)[:-1] for path in paths}
        record = self.record()
        if not RECORDS.isdisjoint(record[-1:]) or not any(path[:1] in self._counts for path in parents):
            return record
        named = [path[:at] for path in parents for at, name in enumerate(path, 1) if name in RECORDS]
        read = [path for path in self._repeated() if any(parent[: len(path)] == path for parent in parents)]
        return self._outermost(named or read)

    def prepare(self, record: Names, paths: Iterable[ValuePath]) -> None:
        """Read these records, with the lists of mappings of these paths.

        Raises: UsageError for a path that no record has, since other paths read a list in its place, or none.
        """
        self._record = record
        arrays = {_names(path) for path in paths if ITEM in path}
        self._arrays = sorted(arrays, key=lambda path: (-len(path), path))
        lists = {path[:at] for path in paths for at, key in enumerate(path) if isinstance(key, int)}
        around = {array[:at] for array in arrays for at in range(len(array))} - arrays  # their elements are merged
        own = {tuple(name for name in path if isinstance(name, str)) for path in lists}
        self._lists = sorted(own - around, key=len)
        for path in sorted(paths, key=str):
            for at in range(1, len(path)):
                names = tuple(name for name in path[:at] if isinstance(name, str))
                is_item = isinstance(path[at], int)
                if names in own and is_item != (names in self._lists) and isinstance(path[at - 1], str):
                    number = "without a number" if is_item else "with a number"
                    raise UsageError(
                        f"{self.name}: row.{'.'.join(map(str, path))} would be missing, as mappings read "
                        f"row.{'.'.join(names)} in two ways. Read it {number}."
                    )

    def _repeated(self) -> list[Names]:
        return [path for path, count in self._counts.items() if count > 1]

    def _outermost(self, paths: Collection[Names]) -> Names:
        return min(paths, key=lambda path: (len(path), -self._counts[path]), default=())

    def _refuse_declared(self, *_: object) -> None:
        raise UsageError(
            f"{self.name} declares entities or attributes, which are not read; write their texts in their places."
        )

    def _doctype(self, _: str, system_id: str | None, *__: object) -> None:
        if system_id is not None:
            self._refuse_declared()

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._names.append(name.rpartition(_SEPARATOR)[2])
        if len(self._names) > DEPTH_MAX:
            raise UsageError(f"{self.name} is nested too deep, in line {self._parser.CurrentLineNumber:,}.")
        if len(self._names) <= max(len(self._record), 1):
            self._since = (self._parser.CurrentLineNumber, self._parser.CurrentByteIndex)
        own = {key: value for key, value in attributes.items() if not key.startswith(_INSTANCE)}
        self._open.append({f"@{key.rpartition(_SEPARATOR)[2]}": value for key, value in own.items()})
        self._texts.append([])
        self._begins.append(self._parser.CurrentByteIndex)
        self._kept.append(0)

    def _text(self, text: str) -> None:
        self._texts[-1].append(text)

    def _end(self, _: str) -> None:
        path = tuple(self._names)
        name = self._names.pop()
        columns = self._open.pop()
        text = "".join(self._texts.pop()).strip()
        begin = self._begins.pop()
        self._kept.pop()
        if text and columns:
            columns[TEXT] = text
        value = columns or text
        if self._is_counting:
            self._counts[path] += bool(columns)
            if self._open:
                self._open[-1][name] = True  # so that it has an element
        elif self._is_record(path, has_columns=bool(columns)):
            self._has_begun = True
            self.found.append((self._since[0], self._around(name, value)))
        elif path != self._record[: len(path)]:
            _add(self._open[-1], name, value)
            if len(path) <= len(self._record):
                self._keep(self._parser.CurrentByteIndex - begin)

    def _keep(self, size: int) -> None:
        """Count an element around the records. Raises: UsageError if there is too much of it."""
        self._kept[-1] += max(size, _ELEMENT_BYTES)
        if sum(self._kept) > _AROUND_MAX:
            raise UsageError(
                f"{self.name} has too much around its records, in line {self._parser.CurrentLineNumber:,}."
            )

    def _is_record(self, path: Names, *, has_columns: bool) -> bool:
        """Whether an element is a record: all behind the first one are that stand beside it, but in ISO 20022."""
        if path == self._record or not (self._record or self._open):
            return True
        is_beside = self._has_begun and path[:-1] == self._record[:-1]
        return is_beside and has_columns and self._record[-1] not in RECORDS

    def _around(self, name: str, value: object) -> dict[str, Any]:
        found: dict[str, Any] = {name: value}
        for outer, own in zip(reversed(self._names), reversed(self._open), strict=True):
            before = {key: list(value) if isinstance(value, list) else value for key, value in own.items()}
            found = {outer: {**before, **found}}
        for path, elements in [(path, _elements(found, path)) for path in self._arrays]:
            if elements:
                found = _with(found, path, elements)
        for path in self._lists:
            found = _with_list(found, path)
        return found


def _add(element: dict[str, Any], name: str, value: object) -> None:
    if value == "":
        return
    if name not in element:
        element[name] = value
    elif isinstance(element[name], list):
        element[name].append(value)
    else:
        element[name] = [element[name], value]


def _names(path: ValuePath) -> Names:
    return tuple(takewhile(lambda name: isinstance(name, str), path))  # type: ignore[arg-type]  # texts


def _elements(value: Any, path: Names) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    for name in path[:1]:
        inner = [item[name] for item in items if isinstance(item, dict) and name in item]
        return [element for part in inner for element in _elements(part, path[1:])]
    return items


def _with(value: Any, path: Names, elements: list[Any]) -> Any:
    """The value with these elements as the list at a path, in the first of repeated elements on the way."""
    if not path:
        return elements
    items = value if isinstance(value, list) else [value]
    inner = items[0] if items and isinstance(items[0], dict) else {}
    return {**inner, path[0]: _with(inner.get(path[0]), path[1:], elements)}


def _with_list(value: Any, path: Names) -> Any:
    if isinstance(value, list):
        return [_with_list(item, path) for item in value] if path else value
    if not path:
        return [value]
    if not isinstance(value, dict) or path[0] not in value:
        return value
    return {**value, path[0]: _with_list(value[path[0]], path[1:])}
