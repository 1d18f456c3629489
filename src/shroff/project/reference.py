"""Lists and look-up tables: CSV files beside the definitions."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
import numpy as np

from shroff.errors import Problem, nearest
from shroff.language.lookups.table import CodedColumn, IntervalTable, key_interval
from shroff.language.names import TableShape
from shroff.language.row import DatedRows, Table
from shroff.language.types import TIME, Type
from shroff.language.values import (
    Value,
    parse_boolean,
    parse_duration,
    parse_integer,
    parse_money,
    parse_number,
    parse_real,
    parse_time,
)
from shroff.runtime.texts import line_edit_of

LIST_COLUMNS: Final = ("value", "note", "added_by", "expires_at")
_DAY_LENGTH: Final = len("2026-03-01")  # of a time that is a day, which begins at midnight UTC
_CELL_MAX: Final = csv.field_size_limit()
_SIGNS: Final = '"\r\0'  # where none of them is, the lines of a CSV are its rows
_REREAD_MAX: Final = 100_000  # characters of changed lines
_LONG: Final = 1 << 15  # entries: a copy of more takes longer than a millisecond
_AT_ONCE_MIN: Final = 1 << 14  # characters of a list
_CHANGED_MAX: Final = 1 << 12  # of them, until a copy is made all the same
Changes = Callable[[str], str]  # gives what stands for a value
_T = TypeVar("_T")
Answer = tuple[bool, int | None]  # whether a list has a value, and until when


class ListFile(msgspec.Struct, frozen=True):
    """A list: each value with its expiry in ms, None for ever; its text; and how many rows have a value.

    Of a plain one each line is a row: no quotation mark is in it.
    """

    name: str
    text: str
    entries: Mapping[str, int | None]
    rows: int = 0
    is_plain: bool = False

    def mapped(self, change: Callable[[str], str]) -> ListFile:
        """The list with every value changed, and of its other columns only `expires_at`: a note may repeat a value."""
        rows = list(csv.reader(io.StringIO(self.text)))
        kept = [name for name in ("value", "expires_at") if rows and name in rows[0]]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(kept)
        changed = {value: change(value) for value in self.entries}
        places = [rows[0].index(name) for name in kept]
        for row in rows[1:]:
            cells = [row[at] if at < len(row) else "" for at in places]
            if "value" in kept and cells[0]:
                writer.writerow([changed.get(cells[0]) or change(cells[0]), *cells[1:]])
        entries = _merged({}, ((changed[value], expires) for value, expires in self.entries.items()))
        return ListFile(self.name, out.getvalue(), entries, self.rows, _is_plain(out.getvalue()))


class EditedEntries(Mapping[str, int | None]):
    """Entries of a long list after a few changes. All that did not change is shared with the list before."""

    __slots__ = ("_size", "gone", "new", "rest")

    def __init__(self, rest: Mapping[str, int | None], new: dict[str, int | None], gone: frozenset[str]) -> None:
        self.rest, self.new, self.gone = rest, new, gone
        self._size = len(rest) - len(gone) + sum(value not in rest or value in gone for value in new)

    @classmethod
    def of(
        cls, before: Mapping[str, int | None], gone: Mapping[str, int | None], new: Mapping[str, int | None]
    ) -> Mapping[str, int | None]:
        """The entries without those that are gone, all of which are there, and then with the new ones."""
        was = before if isinstance(before, EditedEntries) else cls(before, {}, frozenset())
        rest, changed = was.rest, {value: expires for value, expires in was.new.items() if value not in gone}
        missing = was.gone | {value for value in gone if value in rest}
        there = {value: rest[value] for value in new if value in rest and value not in missing}
        merged = _merged({**there, **changed}, new.items())
        if len(rest) >= _LONG and len(merged) + len(missing) <= _CHANGED_MAX:
            return cls(rest, merged, missing)
        copied = dict(rest)  # at once, and not entry by entry
        for value in missing:
            del copied[value]
        copied.update(merged)
        return copied

    def __contains__(self, value: object) -> bool:
        return value in self.new or (value in self.rest and value not in self.gone)

    def __getitem__(self, value: str) -> int | None:
        if value in self.new:
            return self.new[value]
        if value in self.gone:
            raise KeyError(value)
        return self.rest[value]

    def __iter__(self) -> Iterator[str]:
        yield from (value for value in self.rest if value not in self.gone and value not in self.new)
        yield from self.new

    def __len__(self) -> int:
        return self._size


def answer_of(entries: Mapping[str, int | None], value: str) -> Answer:
    """The answer of a list for a value."""
    return value in entries, entries.get(value)


def load_list(file: str, text: str, problems: list[Problem]) -> ListFile:
    """Read lists/NAME.csv. Of two rows with one value the longer-lived holds."""
    name = file[len("lists/") : -len(".csv")]
    text = text.removeprefix("\ufeff")
    endless, left = _endless_rows(text)
    entries: dict[str, int | None] = dict.fromkeys(endless)
    header, rows = _rows(file, left, problems)
    problems += [
        Problem(file, 1, 1, "", f"a list has no column {column!r}.", nearest(column, LIST_COLUMNS))
        for column in header
        if column not in LIST_COLUMNS
    ]
    if "value" not in header:
        problems.append(Problem(file, 1, 1, "", f"a list begins with the line {','.join(LIST_COLUMNS)}"))
        return ListFile(name, text, entries)
    at, expires_at = header.index("value"), header.index("expires_at") if "expires_at" in header else len(header)
    empty = 0
    for number, row in rows:
        value = row[at] if len(row) > at else ""
        if not value:
            empty += 1
            continue
        if len(row) <= expires_at or not row[expires_at]:
            entries[value] = None
            continue
        try:
            expires = parse_time(row[expires_at])
        except ValueError as error:
            problems.append(Problem(file, number, 1, "", f"expires_at: {error}"))
            continue
        known = entries.get(value, 0)
        entries[value] = None if known is None else max(known, expires)
    return ListFile(name, text, entries, len(endless) + len(rows) - empty, _is_plain(text))


def _endless_rows(text: str) -> tuple[list[str], str]:
    """The values of rows that never expire, and the text with empty lines in their place; of a long plain list.

    Nothing of others is taken out, nor of a row that may have a mistake. Cost: 0.4 µs a row.
    """
    header, _, rows = text.partition("\n")
    names = header.split(",")
    if len(text) < _AT_ONCE_MIN or names[0] != "value" or not _is_plain(text):
        return [], text
    expires_at = names.index("expires_at") if "expires_at" in names else 0
    others = rf"(?:,[^,\n]{{0,1000}}){{0,{(expires_at or len(names)) - 1}}}{',?' if expires_at else ''}"
    row = re.compile(rf"^([^,\n]{{1,1000}}){others}$", re.MULTILINE)
    left = row.sub("", rows)
    return row.findall(rows), f"{header}\n{left if left.strip(chr(10)) else ''}"


def _merged(entries: dict[str, int | None], more: Iterable[tuple[str, int | None]]) -> dict[str, int | None]:
    """Merge more entries; of two with one value, the later expiry applies."""
    for value, expires in more:
        was = entries.get(value, 0)
        entries[value] = None if was is None or expires is None else max(was, expires)
    return entries


def _is_plain(text: str) -> bool:
    return not any(sign in text for sign in _SIGNS)


def reread(known: ListFile, text: str) -> ListFile | None:
    """A list that was read without a mistake, with another text; None where all of it is to be read.

    Cost: 2 ms a megabyte, and a copy of the entries where there are few, or many changed.
    """
    text = text.removeprefix("\ufeff")
    header = known.text.find("\n") + 1
    if text[:header] != known.text[:header]:
        return None
    edit = line_edit_of(known.text, text)
    if not (known.is_plain and 0 < header <= edit.at) or len(edit.gone) + len(edit.text) > _REREAD_MAX:
        return None
    problems: list[Problem] = []
    gone, new = (load_list("lists/.csv", text[:header] + part, problems) for part in (edit.gone, edit.text))
    if problems or not new.is_plain or (gone.entries and known.rows != len(known.entries)):
        return None  # mistakes are to be named with their lines, and a value that went may stand in another line too
    entries = EditedEntries.of(known.entries, gone.entries, new.entries)
    return ListFile(known.name, text, entries, known.rows - gone.rows + new.rows, is_plain=True)


def remapped(before: str, mapped: str, text: str, change: Callable[[str], str]) -> str | None:
    """The text of a mapped list after its own text changed from `before`; None where all of it is to be mapped.

    Rows may have gone, and others come in their place or at the end. Cost: 2 ms a megabyte.
    """
    header, head = before.find("\n") + 1, mapped.find("\n") + 1
    if text[:header] != before[:header]:
        return None
    edit = line_edit_of(before, text)
    is_plain = all(map(_is_plain, (before, mapped, edit.text)))
    if not (is_plain and head and 0 < header <= edit.at and before.endswith("\n")):
        return None
    gone, new = (load_list("lists/.csv", before[:header] + part, []) for part in (edit.gone, edit.text))
    is_inside = edit.at + len(edit.gone) < len(before)
    if (new.rows and is_inside and not gone.rows) or gone.rows != len(gone.entries):
        return None  # rows keep their order
    ending, places = "," if "," in mapped[:head] else "\n", list[int]()
    for value in gone.entries:
        line = f"\n{change(value)}{ending}"
        at = mapped.find(line) + 1
        if not at or line in mapped[at:]:
            return None
        mapped = mapped[:at] + mapped[mapped.index("\n", at) + 1 :]
        places.append(at)
    at = min(places, default=len(mapped))
    return mapped[:at] + new.mapped(change).text[head:] + mapped[at:]


def load_table(file: str, text: str, shape: TableShape, key: str, money_places: int, problems: list[Problem]) -> Table:
    """Read tables/NAME.csv by the columns that events.yaml declares."""
    header, rows = _rows(file, text.removeprefix("\ufeff"), problems)
    types = {key: shape.key, **({shape.since: TIME} if shape.since else {}), **shape.columns}
    lacking = [column for column in types if column not in header]
    if lacking:
        problems.append(Problem(file, 1, 1, "", f"the table lacks the column {', '.join(lacking)}."))
        return {}
    if shape.kind:
        by_column = {
            name: [row[at] if len(row) > at else "" for _, row in rows]
            for name, at in ((name, header.index(name)) for name in types)
        }
        numbers = [number for number, _ in rows]
        del rows  # of half a million, 200 MB
        return _interval_table(file, text, shape, numbers, by_column, money_places, problems)
    table: dict[Value, dict[str, Value]] = {}
    dated: dict[Value, dict[int, dict[str, Value]]] = {}
    lines: dict[tuple[Value, Value], int] = {}
    for number, row in rows:
        cells = dict(zip(header, row, strict=False))
        if len(cells.get(shape.since, "")) == _DAY_LENGTH:
            cells[shape.since] += "T00:00:00Z"
        try:
            values = {column: parse_cell(cells.get(column, ""), type_, money_places) for column, type_ in types.items()}
        except ValueError as error:
            problems.append(Problem(file, number, 1, "", str(error)))
            continue
        since_ms = values[shape.since] if shape.since else None
        place, empty = (values[key], since_ms), [name for name in (key, shape.since) if name and values[name] is None]
        if empty or place in lines:
            at = f" from {cells[shape.since]}" if shape.since else ""
            words = f"{cells.get(key)!r}{at} is in line {lines[place]} too." if not empty else f"{empty[0]} is empty."
            problems.append(Problem(file, number, 1, "", words, "" if empty else "Leave one of the two lines out."))
            continue
        lines[place] = number
        found = {column: values[column] for column in shape.columns}
        if isinstance(since_ms, int):
            dated.setdefault(values[key], {})[since_ms] = found
        else:
            table[values[key]] = found
    by_time = {of: sorted(rows_of.items()) for of, rows_of in dated.items()}
    return table | {of: DatedRows(*zip(*rows_of, strict=True)) for of, rows_of in by_time.items()}


def _interval_table(
    file: str,
    text: str,
    shape: TableShape,
    lines: Sequence[int],
    cells: Mapping[str, Sequence[str]],
    money_places: int,
    problems: list[Problem],
) -> IntervalTable:
    """The table of cells by column, of which the first has the keys. Cells that are equal are read once."""

    def parsed(column: str, parse: Callable[[str], _T]) -> tuple[list[_T | None], list[int]]:
        known: dict[str, int] = {}
        codes = [known.setdefault(cell, len(known)) for cell in cells[column]]
        values: list[_T | None] = []
        for cell in known:
            try:
                values.append(parse(cell))
            except ValueError as error:
                values.append(None)
                problems.append(Problem(file, lines[cells[column].index(cell)], 1, "", f"{column}: {error}."))
        return values, codes

    given = len(problems)
    keys, of_row = parsed(next(iter(cells)), partial(key_interval, shape.kind))
    times, time_of_row = parsed(shape.since, _time_or_day) if shape.since else ([0], [0] * len(lines))
    columns: dict[str, CodedColumn] = {}
    for column, type_ in shape.columns.items():
        values, codes = parsed(column, partial(parse_cell, type_=type_, money_places=money_places))
        columns[column] = CodedColumn([*values, None], np.array([*codes, -1], np.int32))
    if len(problems) > given:
        return IntervalTable("", shape.kind, (), None, {})
    own = [interval for at in of_row if (interval := keys[at]) is not None]
    since = [since_ms for at in time_of_row if (since_ms := times[at]) is not None] if shape.since else None
    digest = hashlib.sha256(f"{shape}\n{text}".encode()).hexdigest()
    table = IntervalTable(digest, shape.kind, own, since, columns)
    problems += [_twice(file, lines[second], lines[first]) for first, second in table.repeated]
    for pair in table.overlaps:
        first, second = sorted(lines[own.index(key)] for key in pair)
        problems.append(_twice(file, second, first))
    return table


def _twice(file: str, line: int, first: int) -> Problem:
    words = f"line {first} has a key that stands for the same values"
    return Problem(file, line, 1, "", f"{words}.", "Leave one of the two out, or cut its range.")


def _time_or_day(text: str) -> int:
    """A time; a day stands for its start in UTC."""
    return parse_time(f"{text}T00:00:00Z" if len(text) == _DAY_LENGTH else text)


def cells_of(file: str, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows of a table as they are written, each with its line."""
    header, rows = _rows(file, text.removeprefix("\ufeff"), [])
    return ((number, dict(zip(header, row, strict=False))) for number, row in rows)


def _rows(file: str, text: str, problems: list[Problem]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and the rows that hold something, each with its line.

    A quotation mark that does not close, or a row with more cells than there are columns,
    is a problem: what it swallows would be missing from the list unseen.
    """
    if _is_plain(text):  # as most: its lines are its rows
        lines = text.split("\n")
        header, most = lines[0].split(","), lines[0].count(",")
        if lines[0] and all(line.count(",") <= most for line in lines) and max(map(len, lines)) <= _CELL_MAX:
            return header, [
                (number, row) for number, line in enumerate(lines[1:], 2) if line and any(row := line.split(","))
            ]
    reader = csv.reader(io.StringIO(text), strict=True)
    header, rows, end = list[str](), list[tuple[int, list[str]]](), 0
    try:
        header = next(reader, [])
        end = reader.line_num
        for row in reader:
            number, end = end + 1, reader.line_num
            if len(row) > len(header):
                words = f"the line has {len(row)} cells, the header has {len(header)}."
                problems.append(Problem(file, number, 1, "", words))
            elif any(row):
                rows.append((number, row))
    except csv.Error:
        words = "a quotation mark in this line is not closed, or text follows a closing one."
        problems.append(Problem(file, end + 1, 1, "", words, "Inside quotes, write a quotation mark twice."))
    return header, rows


def parse_cell(text: str, type_: Type, money_places: int) -> Value:
    """Read a text as a value of a type; empty text is missing. Raises: ValueError."""
    if text == "":
        return None
    match type_.kind:
        case "integer":
            return parse_integer(text)
        case "number":
            return parse_number(text, type_.places)
        case "money":
            return parse_money(text, money_places)
        case "real":
            return parse_real(text)
        case "boolean":
            return parse_boolean(text)
        case "time":
            return parse_time(text)
        case "duration":
            return parse_duration(text)
        case "choice":
            if text not in type_.choices and not type_.is_open:
                raise ValueError(f"{text!r} is none of {', '.join(type_.choices)}")
            return text
        case _:
            return text
