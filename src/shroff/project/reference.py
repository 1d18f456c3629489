"""Lists, and the rows of CSV files beside the definitions."""

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
_SIGNS = '"\r\0'  # where none of them is, the lines of a CSV are its rows
_REREAD_MAX = 100_000  # characters of changed lines
_LONG = 1 << 15  # entries: a copy of more takes longer than a millisecond
_AT_ONCE_MIN = 1 << 14  # characters of a list
_CHANGED_MAX = 1 << 12  # of them, until a copy is made all the same
Changes = Callable[[str], str]  # gives what stands for a value
Answer = tuple[bool, int | None]  # whether a list has a value, and until when


class ListFile(FrozenStruct):
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
        self.rest = rest
        self.new = new
        self.gone = gone
        self._size = len(rest) - len(gone) + sum(value not in rest or value in gone for value in new)

    @classmethod
    def of(
        cls, before: Mapping[str, int | None], gone: Mapping[str, int | None], new: Mapping[str, int | None]
    ) -> Mapping[str, int | None]:
        """The entries without those that are gone, all of which are there, and then with the new ones."""
        was = before if isinstance(before, EditedEntries) else cls(before, {}, frozenset())
        rest = was.rest
        changed = {value: expires for value, expires in was.new.items() if value not in gone}
        missing = was.gone | {value for value in gone if value in rest}
        there = {value: rest[value] for value in new if value in rest and value not in missing}
        merged = _merged(there | changed, new.items())
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
    return value in entries, entries.get(value)


def load_list(file: str, text: str, problems: list[Problem]) -> ListFile:
    """Read lists/NAME.csv. Of two rows with one value the longer-lived holds."""
    name = file[len("lists/") : -len(".csv")]
    text = text.removeprefix("\ufeff")
    endless, left = _endless_rows(text)
    entries: dict[str, int | None] = dict.fromkeys(endless)
    header, read = csv_rows(file, left, problems)
    rows = list(read)
    problems += [
        Problem(file, 1, 1, "", f"a list has no column {column!r}.", nearest(column, LIST_COLUMNS))
        for column in header
        if column not in LIST_COLUMNS
    ]
    if "value" not in header:
        problems.append(Problem(file, 1, 1, "", f"a list begins with the line {','.join(LIST_COLUMNS)}"))
        return ListFile(name, text, entries)
    at = header.index("value")
    expires_at = header.index("expires_at") if "expires_at" in header else len(header)
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
            expires = parse_file_time(row[expires_at])
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
        return None  # mistakes need their lines, and a removed value may stand in another line too
    entries = EditedEntries.of(known.entries, gone.entries, new.entries)
    return ListFile(known.name, text, entries, known.rows - gone.rows + new.rows, is_plain=True)


def remapped(before: str, mapped: str, text: str, change: Callable[[str], str]) -> str | None:
    """The text of a mapped list after its own text changed from `before`; None where all of it is to be mapped.

    Rows may have gone, and others come in their place or at the end. Cost: 2 ms a megabyte.
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
    places = list[int]()
    for value in gone.entries:
        line = f"\n{change(value)}{ending}"
        at = mapped.find(line) + 1
        if not at or line in mapped[at:]:
            return None
        mapped = mapped[:at] + mapped[mapped.index("\n", at) + 1 :]
        places.append(at)
    at = min(places, default=len(mapped))
    return mapped[:at] + new.mapped(change).text[head:] + mapped[at:]


def csv_rows(file: str, text: str, problems: list[Problem]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header and the rows that hold something, each with its line; mistakes are named as the rows are read.

    A quotation mark that does not close, or a row with more cells than there are columns,
    is a problem: what it swallows would be missing from the list unseen.
    """
    if _is_plain(text):  # as most: its lines are its rows
        lines = text.split("\n")
        header = lines[0].split(",")
        most = lines[0].count(",")
        if lines[0] and all(line.count(",") <= most for line in lines) and max(map(len, lines)) <= _CELL_MAX:
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
    """Read a decimal as the value times 10**places. Raises: ValueError if it has more places, as nothing is rounded."""
    digits, written_places = parse_decimal(text)
    surplus = written_places - places
    if surplus > 0 and digits % 10**surplus:
        cure = f"Declare number({min(surplus + places, PLACES_MAX)})" if places < PLACES_MAX else "Round it"
        raise ValueError(f"{text} has more than the {places} decimal places of number({places}). {cure}")
    return parse_number(text, places)


def parse_cell(text: str, type_: Type, money_places: int) -> Value:
    """Read a text as a value of a type; empty text is missing. Raises: ValueError."""
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
