"""Read look-up tables from CSV, gzipped CSV, Parquet and MaxMind databases, with a packed form on disk."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import time
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec.json import encode as to_json

from shroff import config
from shroff.errors import Problem, UsageError
from shroff.events.raw_values import canonical_json, text_of
from shroff.json_types import TextMapping
from shroff.language.lookups.intervals import IntervalIndex, range_interval
from shroff.language.lookups.table import (
    NO_ROWS,
    CodedColumn,
    EqualIndex,
    Interval,
    KeyColumn,
    LookUpTable,
    PackedValues,
    RowKeys,
    dated_rows,
    key_interval,
)
from shroff.language.names import TableShape
from shroff.language.values import Value, parse_file_time
from shroff.project.reference import csv_rows, parse_cell
from shroff.runtime import contents, state_folder
from shroff.runtime.atomic_files import whole_file

FOLDER = "tables/"
PATH_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")  # of `country.iso_code` and `subdivisions[0].iso_code`
_FORM = 4  # version of the packed form
UNPACKED_MAX = 1 << 30  # bytes
_TOO_LARGE = f"it holds more than {UNPACKED_MAX >> 20} MiB."
_NODE_OF_28_BITS = 7  # bytes
_PATHS_OF_NODE = 16  # on average, at most; several forms of an IPv6 address lead to the nodes of IPv4
_MISTAKES_MAX = 1_000  # problems of one table that are reported
_PACKED_S = 7 * 86_400.0  # after which an unused packed table is removed


class _Rows(NamedTuple):
    """Columns and rows of a file, each row with its line number, or its row number if the file has no lines."""

    header: Sequence[str]
    rows: Iterable[tuple[int, Sequence[str]]]


_NOTHING = _Rows((), ())
_FROM_CONTENT = ContextVar("tables are read from their contents", default=False)


def is_table(name: str) -> bool:
    return name.startswith(FOLDER) and name.endswith(config.TABLE_ENDINGS)


def table_name(file: str) -> str:
    """Return the name of a file's table: `ip` for `tables/ip.csv.gz`."""
    return file.removeprefix(FOLDER).partition(".")[0]


def table_file(name: str, files: Iterable[str]) -> str:
    return next((file for file in files if is_table(file) and table_name(file) == name), f"{FOLDER}{name}.csv")


def cells_of(file: str, text: str) -> Iterator[tuple[int, TextMapping]]:
    """Return the rows of a table as text, with line numbers. Rows with errors may be missing. Raises: StorageError."""
    header, rows = _rows_of(file, text, None, "", [])
    return ((number, dict(zip(header, row, strict=False))) for number, row in rows)


def row_texts(file: str, text: str) -> list[str]:
    """Return the rows of a table as lines of CSV, to compare versions. Raises: StorageError."""
    return [",".join(row) for _, row in _rows_of(file, text, None, "", [])[1]] if text else []


def load_table(
    file: str, text: str, shape: TableShape, key: str, money_places: int, problems: list[Problem]
) -> LookUpTable:
    """Read a table by the columns that events.yaml declares; report errors in `problems`.

    A stored content is parsed once and packed into a file, which later calls map into memory if its checksum and digest
    match. Inside `tables_from_content` the content is always parsed.

    Raises: StorageError.
    Cost: 1 to 4 s for each million rows, or 0.8 ms for each packed megabyte.
    """
    digest = hashlib.sha256(f"{_FORM} {money_places} {key} {shape}\n{Path(file).suffixes}\n{text}".encode()).hexdigest()
    path = contents.packed_path(text, digest) if contents.is_stored(text) and not _FROM_CONTENT.get() else None
    if path is not None:
        with suppress(OSError, ValueError):
            return _mapped(path, digest)
    problem_count = len(problems)
    header, rows = _rows_of(file, text, shape, key, problems)
    columns = [name for name in (key, shape.high, shape.since, *shape.columns) if name]
    missing = [column for column in columns if column not in header]
    if missing and len(problems) == problem_count:
        message = f"the table lacks the column {', '.join(missing)}."
        problems.append(Problem(file, 1, 1, "", message, f"Its first line names the columns: {','.join(columns)}"))
    if missing:
        return NO_ROWS
    table = _table(file, digest, shape, key, _Rows(header, rows), money_places, problems)
    if path is not None and len(problems) == problem_count:
        with suppress(OSError, ValueError):  # the packed form only saves time and memory
            _pack(table, path)
            return _mapped(path, digest)
    return table


@contextmanager
def tables_from_content() -> Iterator[None]:
    """While the block runs, parse look-up tables of this thread from their contents rather than trust packed forms."""
    token = _FROM_CONTENT.set(True)
    try:
        yield
    finally:
        _FROM_CONTENT.reset(token)


def _mapped(path: Path, digest: str) -> LookUpTable:
    """Map a packed table and mark it as used today. Raises: as `LookUpTable.mapped`."""
    table = LookUpTable.mapped(str(path), digest)
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _PACKED_S / 7:
            os.utime(path)
    return table


def _pack(table: LookUpTable, path: Path) -> None:
    """Write the packed form of a table, and delete packed forms unused for a week. Raises: OSError."""
    state_folder.make_folder(path.parent)
    with whole_file(path) as file:
        os.fchmod(file.fileno(), state_folder.FILE_MODE)
        table.write(file)
    for old in path.parent.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > _PACKED_S:
                old.unlink()


def _rows_of(file: str, text: str, shape: TableShape | None, key: str, problems: list[Problem]) -> _Rows:
    """Read the rows of a file by its ending. Raises: StorageError if its content is missing or damaged."""
    if not contents.is_stored(text):
        return _Rows(*csv_rows(file, text.removeprefix("\ufeff"), problems))
    if file.endswith(".csv"):
        return _csv(file, contents.content_of(text), problems)
    if file.endswith(".csv.gz"):
        return _csv(file, _unpacked(file, contents.content_of(text), problems), problems)
    if file.endswith(".parquet"):
        return _parquet(file, contents.path_of(text), problems)
    return _mmdb(file, contents.path_of(text), shape, key, problems)


def _csv(file: str, data: bytes, problems: list[Problem]) -> _Rows:
    return _Rows(*csv_rows(file, config.text_of(data, file, problems).removeprefix("\ufeff"), problems))


def _unpacked(file: str, data: bytes, problems: list[Problem]) -> bytes:
    message = "it is no whole file of gzip."
    with suppress(OSError, EOFError, zlib.error), gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        content = packed.read(UNPACKED_MAX + 1)
        if 0 < len(content) <= UNPACKED_MAX:
            return content
        if content:
            message = _TOO_LARGE
    problems.append(Problem(file, 0, 0, "", message))
    return b""


def _parquet(file: str, path: Path, problems: list[Problem]) -> _Rows:
    from shroff.events.formats.parquet import read_parquet

    def report(error: UsageError) -> None:
        problems.append(Problem(file, 0, 0, "", str(error).replace(str(path), "the file")))

    try:
        lines = read_parquet(path)
    except UsageError as error:
        report(error)
        return _NOTHING
    header = lines.columns or ()

    def rows() -> Iterator[tuple[int, list[str]]]:
        size = 0
        try:
            for line in lines:
                cells = [_cell((line.columns or {}).get(name)) for name in header]
                size += sum(map(len, cells))
                if size > UNPACKED_MAX:
                    problems.append(Problem(file, line.number, 0, "", _TOO_LARGE))
                    return
                yield line.number, cells
        except UsageError as error:
            report(error)

    return _Rows(header, rows())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return text_of(value) or ""


def _mmdb(file: str, path: Path, shape: TableShape | None, key: str, problems: list[Problem]) -> _Rows:
    try:
        import maxminddb
    except ImportError:
        message = "a MaxMind database needs the extra 'geo'. Install it: pip install 'shroff[geo]'"
        problems.append(Problem(file, 0, 0, "", message))
        return _NOTHING
    if shape is not None and (shape.kind != "network" or shape.since or shape.high):
        message = (
            "a MaxMind database has networks without times: one column of the type network, first, without 'from'."
        )
        problems.append(Problem(file, 0, 0, "", message))
        return _NOTHING
    columns = () if shape is None else shape.columns
    # Names and indexes of each path, such as `subdivisions[0].iso_code`
    paths = (
        []
        if shape is None
        else [
            [int(at) if at else name for at, name in PATH_STEP.findall(shape.paths.get(column, column))]
            for column in columns
        ]
    )

    def rows() -> Iterator[tuple[int, list[str]]]:
        try:
            with maxminddb.open_database(path) as reader:
                _check_tree(path, reader.metadata())
                size = 0
                for number, (network, record) in enumerate(reader, 1):
                    cells = [_cell(_at(record, steps)) for steps in paths] if columns else [canonical_json(record)]
                    size += sum(map(len, cells))
                    if size > UNPACKED_MAX:
                        problems.append(Problem(file, number, 0, "", _TOO_LARGE))
                        return
                    yield number, [str(network), *cells]
        except (maxminddb.InvalidDatabaseError, OSError, ValueError, RecursionError):
            problems.append(Problem(file, 0, 0, "", "this is no whole MaxMind database.", "Get the file again."))

    return _Rows((key, *columns), rows())


def _check_tree(path: Path, about: Any) -> None:
    """Check the search tree of a database: reading a tree with loops or shared nodes might never end.

    Raises: ValueError if the tree is deeper than an address, or has far more paths than nodes.
    """
    width = about.record_size // 4  # bytes of a node
    data = np.fromfile(path, np.uint8, about.node_count * width).reshape(about.node_count, width).astype(np.uint32)
    halves = [data[:, : width // 2], data[:, -(width // 2) :]]
    left, right = (sum(half[:, at] << 8 * (width // 2 - 1 - at) for at in range(width // 2)) for half in halves)
    if width == _NODE_OF_28_BITS:
        left = left | (data[:, 3] >> 4) << 24
        right = right | (data[:, 3] & 15) << 24
    nodes = np.zeros(1, np.uint32)
    paths = 0
    for _ in range(128 if about.ip_version == 6 else 32):
        children = np.concatenate((left[nodes], right[nodes]))
        nodes = children[children < about.node_count]
        paths += len(nodes)
        if paths > _PATHS_OF_NODE * about.node_count:
            break
    if len(nodes):
        raise ValueError("a tree that loops")


def _at(value: Any, steps: Sequence[str | int]) -> Any:
    for step in steps:
        if isinstance(value, Mapping):
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step] if step < len(value) else None
        else:
            return None
    return None if isinstance(value, Mapping | list) else value


class _ParsedCells:
    """A column that is being built; equal cells are parsed once."""

    def __init__(self, parse: Callable[[str], Value]) -> None:
        self.values = list[Value]()
        self.codes = array("i")
        self._parse = parse
        self._known = dict[str, int]()

    def add(self, cell: str) -> None:
        """Add a cell. Raises: ValueError if it cannot be parsed, only at the first of equal cells."""
        code = self._known.setdefault(cell, len(self._known))
        if code == len(self.values):
            self.values.append(None)
            self.codes.append(code)
            self.values[code] = self._parse(cell)
        else:
            self.codes.append(code)

    def column(self) -> CodedColumn:
        self.codes.append(-1)
        return CodedColumn([*self.values, None], np.frombuffer(self.codes, np.int32))


def _table(
    file: str, digest: str, shape: TableShape, key: str, read: _Rows, money_places: int, problems: list[Problem]
) -> LookUpTable:
    """Build a table row by row, which needs little memory. After errors, reported in `problems`, it is incomplete.

    `numbers` has each row's key number, the same for equal keys; intervals without times are numbered by row, as the
    index finds equal ones.
    """
    columns = {
        name: _ParsedCells(partial(parse_cell, type_=type_, money_places=money_places))
        for name, type_ in shape.columns.items()
    }
    times = _ParsedCells(_start_ms)
    indexed_columns = [(name, read.header.index(name), columns[name]) for name in shape.columns]
    indexed_columns += [(shape.since, read.header.index(shape.since), times)] if shape.since else []
    key_index = read.header.index(key)
    keys = KeyColumn()
    problem_count = len(problems)
    high_index = read.header.index(shape.high) if shape.high else -1
    lines = array("I")
    numbers = array("q")
    number_of_key = dict[Interval | Value, int]()
    texts = bytearray()
    ends = array("q", [0])
    for line, row in read.rows:
        text, high = (row[at] if -1 < at < len(row) else "" for at in (key_index, high_index))
        shown_key: Value = text
        try:
            row_key, shown_key = _key(shape, text, high, money_places)
            is_new = shape.kind and not shape.since
            numbers.append(len(numbers) if is_new else number_of_key.setdefault(row_key, len(number_of_key)))
            if isinstance(row_key, Interval) and numbers[-1] == len(keys):
                keys.add(row_key)
        except ValueError as error:
            problems.append(Problem(file, line, 1, "", f"{key}: {error}."))
        for name, at, coded in indexed_columns:
            try:
                coded.add(row[at] if len(row) > at else "")
            except ValueError as error:
                column = 1 + sum(len(cell) + 1 for cell in row[:at])  # right for a line without quotation marks
                problems.append(Problem(file, line, column, "", f"{name}: {error}."))
        if len(problems) - problem_count > _MISTAKES_MAX:
            break
        lines.append(line)
        texts += to_json(shown_key) + b"\n"
        ends.append(len(texts))
    if len(problems) > problem_count:
        keys = KeyColumn()
        numbers = array("q")
    index, overlaps = IntervalIndex.of(shape.kind, keys)
    first = {number: row for row, number in reversed(list(enumerate(numbers)))} if shape.since and overlaps else {}
    pairs = [(first.get(key, key), first.get(other, other)) for key, other in overlaps]
    since = np.array([0 if value is None else value for value in times.values] or [0], np.int64)
    codes = np.frombuffer(times.codes, np.int32) if shape.since and len(numbers) else np.zeros(len(numbers), np.int32)
    dated, same_times = dated_rows(np.array(numbers, np.int64), since[codes])
    pairs += same_times
    row_keys = RowKeys(
        PackedValues(np.frombuffer(bytes(texts) or b" ", np.uint8), np.frombuffer(ends, np.int64)),
        np.array(lines, np.uint32),
    )
    problems += [_twice(file, shape, row_keys, *sorted(pair)) for pair in pairs[:_MISTAKES_MAX]]
    coded_columns = {name: coded.column() for name, coded in columns.items()}
    by_key = index if shape.kind else EqualIndex(row_keys.texts)
    return LookUpTable(digest, by_key, coded_columns, row_keys, dated if shape.since and len(numbers) else None)


def _key(shape: TableShape, text: str, high: str, money_places: int) -> tuple[Interval | Value, Value]:
    """Return the key of a row, and its text for people. Raises: ValueError."""
    if shape.high:
        low = text.strip()
        high = high.strip()
        return range_interval(shape.kind, low, high), f"{low}-{high}"
    if shape.kind:
        return key_interval(shape.kind, text), text
    found = parse_cell(text, shape.key, money_places)
    if found is None:
        raise ValueError("the key is empty")
    return found, found


def _start_ms(text: str) -> int:
    if not text:
        raise ValueError("the cell is empty")
    return parse_file_time(text)


def _twice(file: str, shape: TableShape, keys: RowKeys, first: int, row: int) -> Problem:
    line = int(keys.lines[row])
    other = int(keys.lines[first])
    if shape.kind:
        message = f"line {other} has a key that stands for the same values."
        return Problem(file, line, 1, "", message, "Leave one of the two out, or cut its range.")
    message = f"{keys.texts[row]!r} is in line {other} too{', from the same time' if shape.since else ''}."
    return Problem(file, line, 1, "", message, "Leave one of the two lines out.")
