"""Lists as CSV, for downloads and uploads. No cell can become a formula in a spreadsheet.

Spreadsheets evaluate a cell that begins with a sign of formulas, such as =. `written` puts an apostrophe before such a
cell, and before a cell that begins with an apostrophe; `read` removes it, so a list comes back unchanged.
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
    """Return the entries of a list as CSV with a header line."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(LIST_COLUMNS)
    writer.writerows([_escaped(getattr(entry, name)) for name in LIST_COLUMNS] for entry in entries)
    return out.getvalue()


def read(text: str, added_by: str) -> list[Entry]:
    """Parse the entries of a CSV text, and set `added_by` in each. The header's most frequent separator is used.

    Rows without a value are skipped. Raises: UsageError with the line for a text that is no list, or is too long.
    """
    text = text.removeprefix("\ufeff")
    separator = max(SEPARATORS, key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    entries: list[Entry] = []
    try:
        header = [name.strip() for name in next(rows, [])]
        if "value" not in header or set(header) - set(LIST_COLUMNS):
            names = ", ".join(header) or "nothing"
            columns = ", ".join(LIST_COLUMNS)
            raise UsageError(f"line 1 names {names}; a list has the columns {columns}, and value is required.")
        for row in rows:
            if len(row) > len(header):
                raise UsageError(f"line {rows.line_num}: it has more cells than the first line.")
            cells = dict(zip(header, map(_unescaped, row), strict=False))
            if cells.get("value"):
                note = cells.get("note", "")
                expires_at = cells.get("expires_at", "")
                entries.append(Entry(cells["value"], note, added_by, expires_at))
            if len(entries) > LINES_MAX:
                raise UsageError(f"a list is sent with {LINES_MAX:,} lines at most; send it in parts.")
    except csv.Error as error:
        raise UsageError(f"line {rows.line_num}: {error}.") from None
    return entries


def _escaped(cell: str) -> str:
    return _TEXT + cell if cell.startswith(_SIGNS) else cell


def _unescaped(cell: str) -> str:
    return cell[1:] if cell.startswith(_TEXT) and cell[1:].startswith(_SIGNS) else cell
