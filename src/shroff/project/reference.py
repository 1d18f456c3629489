"""Parse list files and the rows of other CSV files of a project, also incrementally after an edit."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from shroff.errors import Problem, nearest
from shroff.language.types import PLACES_MAX, Type
from shroff.language.values import (
    Value,
    parse_boolean,
    parse_decimal,
    parse_duration,
    parse_file_time,
    parse_integer,
    parse_money,
    parse_number,
    parse_real,
)
from shroff.runtime.texts import line_edit_of
from shroff.runtime.values import FrozenStruct

LIST_COLUMNS = ("value", "note", "added_by", "expires_at")
_CELL_MAX = csv.field_size_limit()
_SIGNS = '"\r\0'  # without these characters, each line of a CSV is a row
_REREAD_MAX = 100_000  # characters of changed lines; above, the list is parsed again
_LONG = 1 << 15  # entries of a list whose copy takes longer than a millisecond
_AT_ONCE_MIN = 1 << 14  # characters of a list that is parsed by one regular expression
_CHANGED_MAX = 1 << 12  # changes of a long list before it is copied
Changes = Callable[[str], str]  # returns the stored form of a value
Answer = tuple[bool, int | None]  # whether a list has a value, and its expiry in ms


class ListFile(FrozenStruct):
    """A list: expiry of each value in ms, None for never; its text; and the number of rows with a value.

    With `is_plain` each line is a row, as the text has no quotation mark.
    """

    name: str
    text: str
    entries: Mapping[str, int | None]
    rows: int = 0
    is_plain: bool = False

    def mapped(self, change: Callable[[str], str]) -> ListFile:
        """Return the list with every value changed; only `expires_at` of its other columns stays."""
        rows = list(csv.reader(io.StringIO(self.text)))
        columns = [name for name in ("value", "expires_at") if rows and name in rows[0]]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        changed = {value: change(value) for value in self.entries}
        indexes = [rows[0].index(name) for name in columns]
        for row in rows[1:]:
            cells = [row[index] if index < len(row) else "" for index in indexes]
            if "value" in columns and cells[0]:
                writer.writerow([changed.get(cells[0]) or change(cells[0]), *cells[1:]])
        entries = _merged({}, ((changed[value], expires) for value, expires in self.entries.items()))
        return ListFile(self.name, out.getvalue(), entries, self.rows, _is_plain(out.getvalue()))


class EditedEntries(Mapping[str, int | None]):
    """Entries of a long list after a few changes; unchanged ones are shared with the previous version."""

    __slots__ = ("_size", "gone", "new", "rest")

    def __init__(self, rest: Mapping[str, int | None], new: dict[str, int | None], gone: frozenset[str]) -> None:
        self.rest = rest
        self.new = new
        self.gone = gone
        self._size = len(rest) - len(gone) + sum(value not in rest or value in gone for value in new)

    @classmethod
    def of(
        cls, before: Mapping[str, int | None], gone: Mapping[str, int | None], new: Mapping[str, int | None]
    ) -> Mapping[str, int | None]:
        """Return the entries of `before` without `gone`, which it must have, and then with `new`."""
        edited = before if isinstance(before, EditedEntries) else cls(before, {}, frozenset())
        rest = edited.rest
        changed = {value: expires for value, expires in edited.new.items() if value not in gone}
        missing = edited.gone | {value for value in gone if value in rest}
        present = {value: rest[value] for value in new if value in rest and value not in missing}
        merged = _merged(present | changed, new.items())
        if len(rest) >= _LONG and len(merged) + len(missing) <= _CHANGED_MAX:
            return cls(rest, merged, missing)
        copied = dict(rest)
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
    return value in entries, entries.get(value)


def load_list(file: str, text: str, problems: list[Problem]) -> ListFile:
    """Parse lists/NAME.csv. Of rows with the same value the latest expiry counts."""
    name = file[len("lists/") : -len(".csv")]
    text = text.removeprefix("\ufeff")
    endless, remaining_text = _endless_rows(text)
    entries: dict[str, int | None] = dict.fromkeys(endless)
    header, numbered_rows = csv_rows(file, remaining_text, problems)
    rows = list(numbered_rows)
    problems += [
        Problem(file, 1, 1, "", f"a list has no column {column!r}.", nearest(column, LIST_COLUMNS))
        for column in header
        if column not in LIST_COLUMNS
    ]
    if "value" not in header:
        problems.append(Problem(file, 1, 1, "", f"a list begins with the line {','.join(LIST_COLUMNS)}"))
        return ListFile(name, text, entries)
    value_index = header.index("value")
    expires_at = header.index("expires_at") if "expires_at" in header else len(header)
    empty = 0
    for number, row in rows:
        value = row[value_index] if len(row) > value_index else ""
        if not value:
            empty += 1
            continue
        if len(row) <= expires_at or not row[expires_at]:
            entries[value] = None
            continue
        try:
            expires = parse_file_time(row[expires_at])
        except ValueError as error:
            problems.append(Problem(file, number, 1, "", f"expires_at: {error}"))
            continue
        earlier = entries.get(value, 0)
        entries[value] = None if earlier is None else max(earlier, expires)
    return ListFile(name, text, entries, len(endless) + len(rows) - empty, _is_plain(text))


def _endless_rows(text: str) -> tuple[list[str], str]:
    """Split a long plain list into the values of rows that never expire, and the text with empty lines in their place.

    Rows that may have errors stay in the text, and so do all rows of other lists. Cost: 0.4 µs a row.
    """
    header, _, rows = text.partition("\n")
    names = header.split(",")
    if len(text) < _AT_ONCE_MIN or names[0] != "value" or not _is_plain(text):
        return [], text
    expires_at = names.index("expires_at") if "expires_at" in names else 0
    others = rf"(?:,[^,\n]{{0,1000}}){{0,{(expires_at or len(names)) - 1}}}{',?' if expires_at else ''}"
    row = re.compile(rf"^([^,\n]{{1,1000}}){others}$", re.MULTILINE)
    remaining = row.sub("", rows)
    return row.findall(rows), f"{header}\n{remaining if remaining.strip(chr(10)) else ''}"


def _merged(entries: dict[str, int | None], more: Iterable[tuple[str, int | None]]) -> dict[str, int | None]:
    """Merge more entries; of two with one value, the later expiry applies."""
    for value, expires in more:
        was = entries.get(value, 0)
        entries[value] = None if was is None or expires is None else max(was, expires)
    return entries


def _is_plain(text: str) -> bool:
    return not any(sign in text for sign in _SIGNS)


def reread(known: ListFile, text: str) -> ListFile | None:
    """Return a list with a changed text; None if all of it must be parsed. `known` must have no errors.

    Cost: 2 ms per megabyte, and a copy of the entries if the list is short or many entries changed.
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
        return None  # errors need line numbers, and a removed value may be in another line too
    entries = EditedEntries.of(known.entries, gone.entries, new.entries)
    return ListFile(known.name, text, entries, known.rows - gone.rows + new.rows, is_plain=True)


def remapped(before: str, mapped: str, text: str, change: Callable[[str], str]) -> str | None:
    """Return the text of a mapped list after its source changed from `before` to `text`; None if that is not possible.

    Rows may have been removed, and others added in their place or at the end. Cost: 2 ms per megabyte.
    """
    header = before.find("\n") + 1
    head = mapped.find("\n") + 1
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
    ending = "," if "," in mapped[:head] else "\n"
    positions = list[int]()
    for value in gone.entries:
        line = f"\n{change(value)}{ending}"
        at = mapped.find(line) + 1
        if not at or line in mapped[at:]:
            return None
        mapped = mapped[:at] + mapped[mapped.index("\n", at) + 1 :]
        positions.append(at)
    at = min(positions, default=len(mapped))
    return mapped[:at] + new.mapped(change).text[head:] + mapped[at:]


def csv_rows(file: str, text: str, problems: list[Problem]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the header, and an iterator of nonempty rows with their line numbers, which reports problems as it goes.

    An unclosed quotation mark and a row with too many cells are problems, since rows would be lost unnoticed.
    """
    if _is_plain(text):  # the usual case, in which each line is a row
        lines = text.split("\n")
        header = lines[0].split(",")
        commas_max = lines[0].count(",")
        if lines[0] and all(line.count(",") <= commas_max for line in lines) and max(map(len, lines)) <= _CELL_MAX:
            plain = ((number, line.split(",")) for number, line in enumerate(lines[1:], 2) if line)
            return header, ((number, row) for number, row in plain if any(row))
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = next(reader, [])
    except csv.Error:
        problems.append(_unclosed(file, 1))
        return [], iter(())

    def rows() -> Iterator[tuple[int, list[str]]]:
        end = reader.line_num
        try:
            for row in reader:
                number = end + 1
                end = reader.line_num
                if len(row) > len(header):
                    words = f"the line has {len(row)} cells, the header has {len(header)}."
                    problems.append(Problem(file, number, 1, "", words))
                elif any(row):
                    yield number, row
        except csv.Error:
            problems.append(_unclosed(file, end + 1))

    return header, rows()


def _unclosed(file: str, line: int) -> Problem:
    words = "a quotation mark in this line is not closed, or text follows a closing one."
    return Problem(file, line, 1, "", words, "Inside quotes, write a quotation mark twice.")


def _parse_exact(text: str, places: int) -> int:
    """Parse a decimal as its value times 10**places. Raises: ValueError if it has more decimals: nothing is rounded."""
    digits, written_places = parse_decimal(text)
    surplus = written_places - places
    if surplus > 0 and digits % 10**surplus:
        cure = f"Declare number({min(surplus + places, PLACES_MAX)})" if places < PLACES_MAX else "Round it"
        raise ValueError(f"{text} has more than the {places} decimal places of number({places}). {cure}")
    return parse_number(text, places)


def parse_cell(text: str, type_: Type, money_places: int) -> Value:
    """Parse a text as a value of a type; None for empty text. Raises: ValueError."""
    if text == "":
        return None
    match type_.kind:
        case "integer":
            return parse_integer(text)
        case "number":
            return _parse_exact(text, type_.places)
        case "money":
            return parse_money(text, money_places)
        case "real":
            return parse_real(text)
        case "boolean":
            return parse_boolean(text)
        case "time":
            return parse_file_time(text)
        case "duration":
            return parse_duration(text)
        case "choice":
            if text not in type_.choices and not type_.is_open:
                raise ValueError(f"{text!r} is none of {', '.join(type_.choices)}")
            return text
        case _:
            return text
