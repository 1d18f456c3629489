"""Texts: terminal output, tables, counts, problems, notebook output, differences of texts, escapes for PostgreSQL."""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from inspect import cleandoc
from typing import Any, TypeAlias
from urllib.parse import quote

from shroff.errors import Problem, covered
from shroff.runtime.values import FrozenStruct

Column: TypeAlias = str | tuple[str, str] | Callable[[Any], object]
DOT_SEGMENTS = frozenset({".", ".."})


class Printed:
    """An object whose `repr` is the output of its command, in a notebook as well, there with its charts."""

    __slots__ = ()

    def _charts(self) -> str:
        """Return an HTML page with its charts; empty if it has none."""
        return ""

    def _repr_html_(self) -> str:
        """HTML for a notebook: the escaped text, and the page in a frame, which keeps the styles of both apart."""
        page = escape(self._charts())
        frame = f'<iframe srcdoc="{page}" width="100%" height="450"></iframe>' if page else ""
        return f"<pre>{escape(repr(self))}</pre>{frame}"


def harmless(text: str) -> str:
    r"""Escape what would control a terminal (`\x1b`); line ends stay.

    Ids and other texts of events may contain any character. All output for people passes through here; an event's text
    within a line passes through `one_line` first, so that it cannot end that line.
    """
    return text.translate(_WRITTEN_OUT) if not text.isprintable() else text


def one_line(text: object) -> str:
    r"""Return the text on one line, with line ends escaped too (`\n`)."""
    return harmless(str(text)).replace("\n", "\\n")


def cut(text: object, most: int) -> str:
    """Return the text on one line, of at most `most` characters, ending in an ellipsis if cut."""
    line = one_line(text)
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _written_out() -> dict[int, str]:
    """Map control characters (C0, DEL, C1), line and paragraph separators, and direction marks to their escapes."""
    steering = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    forms = {ord("\t"): "\\t", ord("\r"): "\\r", ord("\n"): "\n"}
    return {code: forms.get(code, f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}") for code in steering}


_WRITTEN_OUT = _written_out()
_PIECE = 1 << 16  # characters compared at once: larger copies leave the processor's caches


def table(rows: Iterable[Sequence[object]], heads: Sequence[str] = (), indent: str = "  ") -> str:
    """Format rows in columns; numbers are aligned right, everything else left."""
    body = [[_cell(value) for value in row] for row in rows]
    lines = [list(heads), *body] if heads else body
    if not lines:
        return ""
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    right = [bool(body) and all(_is_number(row[at]) for row in body) for at in range(len(widths))]
    rendered = []
    for line in lines:
        cells = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ]
        rendered.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(rendered)


def headed(text: str, rows: Sequence[Sequence[object]], heads: Sequence[str]) -> str:
    return f"{text}\n{table(rows, heads)}" if rows else text


class TextTable(FrozenStruct):
    """Columns of a terminal table, and the rows of an answer that they show.

    A column is a heading with what it shows: a field of the row, with dots for a field of its value; a pair of a field
    and the word for an empty value; or a function of the row. Lists are joined by commas, and None is empty.

    Args:
        columns: The columns, by their headings.
        rows: Field of the answer with the rows.
        noun, plural: Name of a row, for the line above the table that counts them; without one there is no such line.
        head: That line, with `count`, and `answer` for its fields.
        empty: The text without rows and without such a line.
    """

    columns: Mapping[str, Column]
    rows: str = ""
    noun: str = ""
    plural: str = ""
    head: str = "{count}."
    empty: str = ""

    def text(self, rows: Iterable[object]) -> str:
        cells = [[_shown(row, column) for column in self.columns.values()] for row in rows]
        return table(cells, list(self.columns)) if cells else ""

    def headed(self, head: str, rows: Iterable[object]) -> str:
        return "\n".join(part for part in (head, self.text(rows)) if part)

    def of(self, answer: object) -> str:
        rows = getattr(answer, self.rows)
        if not self.noun:
            return self.text(rows) or self.empty
        count = many(len(rows), self.noun, self.plural)
        return self.headed(self.head.format(count=count, answer=answer), rows)


def _shown(row: object, column: Column) -> object:
    empty = ""
    value: Any = row
    if callable(column):
        value = column(row)
    else:
        path, empty = (column, "") if isinstance(column, str) else column
        for name in path.split("."):
            value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return empty if value is None or value == "" else value


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return one_line(value)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").removeprefix("-").isdigit() or text in {"", "-"}


def section(docstring: str | None, head: str) -> tuple[str, str]:
    """Return a docstring before its section of this name, and the lines of the section."""
    words, _, lines = f"\n\n{cleandoc(docstring or '')}".partition(f"\n\n{head}:\n")
    return words.strip(), lines


def help_of(docstring: str | None) -> tuple[str, Sequence[str]]:
    words, lines = section(docstring, "Examples")
    return words, cleandoc(lines).splitlines()


def many(count: int, singular: str, more: str = "") -> str:
    """Format a count: `1 event`, `2 events`, `1,200 entries`."""
    return f"{count:,} {singular if count == 1 else more or singular + 's'}"


def percent(share: float, form: str = ".0") -> str:
    """Format a share as `10 %`, as on pages; `form` is a number's format, such as `+.1`."""
    return f"{share:{form}%}".replace("%", " %")


def shown(value: object) -> str:
    """Format a value of a decision for people: short floats, and `missing` for None."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def path_segment(text: str) -> str:
    """Percent-encode a text as one segment of a URL path.

    Raises: ValueError for `.` and `..`: clients, browsers and proxies resolve them even if they are percent-encoded, so
    the request would reach another route.
    """
    if text in DOT_SEGMENTS:
        raise ValueError(f"{text!r} cannot be a segment of a URL path")
    return quote(text, safe="")


def argument(text: object) -> str:
    """Quote a text as one argument of a shell command, for hints."""
    return shlex.quote(str(text))


def problem_text(problem: Problem, source: str) -> str:
    """Format a problem: location, message, the line with a mark under the location, and the hint."""
    location = problem.file if problem.line == 0 else f"{problem.file}:{problem.line}:{problem.column}"
    lines = [f"{location}{' ' if problem.path else ''}{problem.path}: {problem.message}"]
    if source.strip():
        plain = covered(one_line(source.expandtabs(4)))
        indent_size = len(one_line(source[: max(problem.column - 1, 0)].expandtabs(4)))
        lines += [f"    {plain}", f"    {' ' * indent_size}^"]
    if problem.hint:
        lines.append(problem.hint)
    return "\n".join(lines)


class TextEdit(FrozenStruct):
    """A change of a text: from `at` on, `gone` is replaced by `text`."""

    at: int
    gone: str
    text: str


_LAST_EDITS = deque[tuple[str, str, TextEdit]](maxlen=2)  # of long texts, since several callers ask for each


def edit_of(before: str, after: str) -> TextEdit:
    """Return the change between two texts, from the first differing character to the last. Cost: 1 ms a megabyte."""
    cached = next((edit for was, now, edit in tuple(_LAST_EDITS) if was is before and now is after), None)
    return cached or _kept(before, after, _edit_of(before, after))


def grown(text: str, more: str) -> str:
    """Append to a text, and note the change so that `edit_of` need not compare."""
    after = text + more
    _kept(text, after, TextEdit(len(text), "", more))
    return after


def _kept(before: str, after: str, edit: TextEdit) -> TextEdit:
    if len(before) > _PIECE and len(edit.gone) + len(edit.text) < _PIECE:
        _LAST_EDITS.appendleft((before, after, edit))
    return edit


def _edit_of(before: str, after: str) -> TextEdit:
    most = min(len(before), len(after))
    start = most if after.startswith(before) else _same(before, after, most)
    end = _same(before, after, most - start, from_end=True)
    return TextEdit(start, before[start : len(before) - end], after[start : len(after) - end])


def line_edit_of(before: str, after: str) -> TextEdit:
    r"""Like `edit_of`, but in whole lines with their `\n` (except a last line without one). Cost: as `edit_of`."""
    edit = edit_of(before, after)
    start = before.rfind("\n", 0, edit.at) + 1
    end = edit.at + len(edit.gone)
    new_end = edit.at + len(edit.text)
    while end < len(before) and not (_ends_line(before, start, end) and _ends_line(after, start, new_end)):
        more = before.find("\n", end) + 1 - end
        more = more if more > 0 else len(before) - end
        end = end + more
        new_end = new_end + more
    return TextEdit(start, before[start:end], after[start:new_end])


def _ends_line(text: str, start: int, end: int) -> bool:
    return end == start or text[end - 1] == "\n"


def _same(text: str, other: str, most: int, *, from_end: bool = False) -> int:
    """Return the length of the common prefix or suffix of two texts, up to `most` characters."""

    def is_same(low: int, high: int) -> bool:
        start, end = (-high, -low or None) if from_end else (low, high)
        return text.startswith(other[start:end], start)

    low = 0
    while low + _PIECE <= most and is_same(low, low + _PIECE):
        low += _PIECE
    high = min(low + _PIECE, most)
    while low < high:
        middle = (low + high + 1) // 2
        if is_same(low, middle):
            low = middle
        else:
            high = middle - 1
    return low


def bytes_text(count: int) -> str:
    """Format a size for people, in powers of 1024."""
    size = float(count)
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:,.0f} {units[0]}" if units[0] == "bytes" else f"{size:,.1f} {units[0]}"


# ---- escapes for characters that PostgreSQL cannot store

# PostgreSQL texts cannot contain NUL; the escape character is escaped as well, so that no text is lost.
ESCAPE = "\x1a"
_NUL = f"{ESCAPE}0"
_ESCAPE_ITSELF = f"{ESCAPE}S"


def escaped(text: str) -> str:
    if "\0" in text or ESCAPE in text:
        return text.replace(ESCAPE, _ESCAPE_ITSELF).replace("\0", _NUL)
    return text


def unescaped(text: str) -> str:
    if ESCAPE not in text:
        return text
    return "".join(
        part if number == 0 else {"0": "\0", "S": ESCAPE}[part[0]] + part[1:]
        for number, part in enumerate(text.split(ESCAPE))
    )


def cost_interval(low: float | None, high: float | None) -> str:
    """Format the 95 % interval of a cost, to append to it; empty if there is none."""
    return "" if low is None or high is None else f" (95 %: {low:,.2f} to {high:,.2f})"
