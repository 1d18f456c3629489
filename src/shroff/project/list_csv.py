"""Lists as CSV, to and from a spreadsheet: no cell of it is taken for a formula there, and what comes back is the same.

A cell that begins with a sign by which spreadsheets know formulas is sent with an apostrophe before it, which they take
for "this is text"; one that begins with an apostrophe gets another. On the way in the first one is taken off again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from shroff.errors import UsageError
from shroff.events.formats.csv_records import SEPARATORS
from shroff.project.lists import Entry
from shroff.project.reference import LIST_COLUMNS
from shroff.runtime.atomic_files import FORMULA

_TEXT = "'"
_SIGNS = (*FORMULA, _TEXT)
LINES_MAX = 50_000


def written(entries: Iterable[Entry]) -> str:
    """The entries of a list, with a first line of names."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(LIST_COLUMNS)
    writer.writerows([_sent(getattr(entry, name)) for name in LIST_COLUMNS] for entry in entries)
    return out.getvalue()


def read(text: str, added_by: str) -> list[Entry]:
    """The entries of a text, all of them added by who sends it. The first line's most frequent separator counts.

    Raises: UsageError, with the line, for what is no list.
    """
    text = text.removeprefix("\ufeff")
    separator = max(SEPARATORS, key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    found: list[Entry] = []
    try:
        header = [name.strip() for name in next(rows, [])]
        if "value" not in header or set(header) - set(LIST_COLUMNS):
            named = ", ".join(header) or "nothing"
            columns = ", ".join(LIST_COLUMNS)
            raise UsageError(f"line 1 names {named}; a list has the columns {columns}, and value is required.")
        for row in rows:
            if len(row) > len(header):
                raise UsageError(f"line {rows.line_num}: it has more cells than the first line.")
            cells = dict(zip(header, map(_received, row), strict=False))
            if cells.get("value"):
                note = cells.get("note", "")
                expires_at = cells.get("expires_at", "")
                found.append(Entry(cells["value"], note, added_by, expires_at))
            if len(found) > LINES_MAX:
                raise UsageError(f"a list is sent with {LINES_MAX:,} lines at most; send it in parts.")
    except csv.Error as error:
        raise UsageError(f"line {rows.line_num}: {error}.") from None
    return found


def _sent(cell: str) -> str:
    return _TEXT + cell if cell.startswith(_SIGNS) else cell


def _received(cell: str) -> str:
    return cell[1:] if cell.startswith(_TEXT) and cell[1:].startswith(_SIGNS) else cell
