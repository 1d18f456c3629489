"""Values that YAML misreads in plain text, and the same values in double quotes.

People write `'large' when p else 'small'`, `[large] at once`, `Large: {x}` and, inside braces, `join(a, ':', b)`; YAML
reads them as something else or not at all. These functions find such a value in the raw text; `yaml.text.read` tries
whether quotes correct the file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

from shroff.runtime.values import FrozenStruct

# Signs that cannot start a plain value; `-`, `?` and `:` are missing because only a space after them forbids it.
_INDICATORS = "'\"[{>|!*&%@`,]}#"
# Nobody writes longer lines; the limit keeps patterns cheap.
_LINE_MAX = 10_000
_DEPTH_MAX = 40
_TEXT = re.compile(r"(?<!\w)'[^'\n]*'")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""", re.DOTALL)
_BLANK = re.compile(r"\s*(?:#[^\n]*\s*)*")
_FLOW_KEY = re.compile(
    r"""(?:(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*')[ ]*:"""
    r"""|[^\s,\[\]{}'"#&*!|>%@`:][^,\[\]{}'"\n:]{0,200}:(?=[\s,\[\]{}]))"""
)
_BLOCK_LINE = re.compile(
    r"""(?P<lead>[ ]*(?:-[ ]+)*)"""
    r"""(?P<key>(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s'"\[\]{}#&*!|>%@`,:-][^:]{0,200})[ ]*:[ ]+)?"""
    r"""(?P<value>\S.*)$"""
)


class Slip(FrozenStruct):
    """A plain stretch [start, end) of a text that needs double quotes; `in_flow`: inside braces."""

    start: int
    end: int
    in_flow: bool


def in_quotes(raw: str) -> str:
    """Return a value in double quotes, on one line."""
    one_line = re.sub(r"[ \t]*\n\s*", " ", raw)
    return f'"{escaped(one_line)}"'


def escaped(raw: str) -> str:
    """Return the characters for inside double quotes; line ends stay, since YAML folds them."""
    return raw.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")


def is_whole(expression: str) -> bool:
    """Return whether no text and no bracket is left open."""
    outside = re.sub(r"'[^']*'", "", expression)
    return "'" not in outside and _open_brackets(outside) == 0


def is_cut(plain: str) -> bool:
    """Return whether a comma inside a plain value in braces ended it: a bracket or a text is left open.

    An apostrophe inside a word (`o'brien`) opens nothing.
    """
    outside = _TEXT.sub("", plain)
    return _open_brackets(outside) > 0 or re.search(r"(?<!\w)'", outside) is not None


def why_misread(raw: str, *, in_flow: bool) -> str:
    """Explain how YAML reads the value."""
    first = raw[0]
    if first in "[{":
        if _open_brackets(_TEXT.sub("", raw)) > 0:
            return f"{first!r} is opened here and not closed"
        return f"a value that starts with {first!r} is a {'list' if first == '[' else 'mapping'} to YAML"
    if first in "'\"":
        return "a value that starts with a quote ends at the next one"
    if _starts_with_a_sign(raw):
        return f"a plain value cannot start with {first!r}"
    if in_flow and re.search(r"[,\[\]{}]", raw):
        return "inside braces and brackets a plain value ends at a comma or a bracket"
    return "a plain value cannot have ': ' in it" if re.search(r":(?:\s|$)", raw) else "a plain value ends at ' #'"


def value_of_line(text: str, line: int) -> Slip | None:
    """Return the value of `key: value` or `- value` on a line (from 0), with the deeper lines that continue it.

    A comment after it is left out if the value before it is whole, except in a `reason`, which may contain ` #`. Return
    None without a value, or if it is correctly in quotes, braces or brackets.
    """
    lines = text.split("\n")
    match = _BLOCK_LINE.match(lines[line]) if len(lines[line]) <= _LINE_MAX else None
    if match is None or (match["key"] is None and "-" not in match["lead"]):
        return None
    start = sum(len(each) + 1 for each in lines[:line]) + match.start("value")
    value = match["value"].rstrip()
    value_text = value if (match["key"] or "").startswith("reason") else _without_comment(value)
    end = start + len(value_text)
    if value_text == value:
        indent = match.start("key") if match["key"] else match["lead"].rfind("-")
        end += _length_of_more(lines, line, indent)
    if end <= start + len(value) and _stands_well(value_text):
        return None
    return Slip(start, end, in_flow=False)


def values_in_flow(text: str, start: int) -> tuple[int, list[Slip]] | None:
    """Return the end of the `{...}` or `[...]` that starts here and the values in it that need quotes; None if open.

    Commas and brackets within the brackets and texts of an expression belong to the expression. An entry without a key
    makes the whole `{...}` one value.
    """
    return _Flow(text).collection(start, depth=1)


class Edit(FrozenStruct):
    """A stretch [start, end) of a file, the text read in its place, and the message for its author."""

    start: int
    end: int
    text: str
    message: str


class EditedText:
    """A file with some stretches replaced, as YAML reads it; places map back to the original file.

    No edit adds or removes a line end, so lines are the same in both.
    """

    def __init__(self, written: str, edits: Iterable[Edit] = ()) -> None:
        self.written = written
        self.edits = tuple(sorted(edits, key=lambda edit: edit.start))
        # Start and end of each edit's replacement in `text`.
        self.starts: list[int] = []
        self.ends: list[int] = []
        pieces: list[str] = []
        done = length = 0
        for edit in self.edits:
            pieces += [written[done : edit.start], edit.text]
            self.starts.append(length + edit.start - done)
            length = self.starts[-1] + len(edit.text)
            self.ends.append(length)
            done = edit.end
        self.text = "".join([*pieces, written[done:]])
        self.line_starts = [0, *accumulate(len(line) + 1 for line in written.split("\n"))]

    def back(self, index: int) -> int:
        """Return the place in the original file of one in `text`; within a replacement, the start of the edit."""
        number = bisect_right(self.starts, index) - 1
        if number < 0:
            return index
        edit = self.edits[number]
        return edit.start if index < self.ends[number] else edit.end + index - self.ends[number]

    def edit_at(self, index: int) -> Edit | None:
        """Return the edit whose replacement starts at this place of `text`."""
        number = bisect_right(self.starts, index) - 1
        return self.edits[number] if number >= 0 and self.starts[number] == index else None

    def line_and_column(self, written_index: int) -> tuple[int, int]:
        """Return line and column, from 1, of a place in the original file."""
        line = bisect_right(self.line_starts, written_index) - 1
        return line + 1, written_index - self.line_starts[line] + 1

    def line_of(self, index: int) -> int:
        """Return the line (from 0) of a place of `text`; the first line for -1."""
        return self.text.count("\n", 0, max(index, 0))

    def quoted(self, slips: Iterable[Slip]) -> EditedText:
        """Return the file with double quotes around these stretches; edits inside them go, and stretches inside
        edits.
        """
        more = []
        for slip in slips:
            if self._is_inside(slip.start) or self._is_inside(slip.end):
                continue
            start = self.back(slip.start)
            end = self.back(slip.end)
            raw = self.written[start:end]
            message = f"{why_misread(raw, in_flow=slip.in_flow)}; write it in double quotes: {in_quotes(raw)}"
            more.append(Edit(start, end, f'"{escaped(raw)}"', message))
        kept = (edit for edit in self.edits if not any(new.start <= edit.start < new.end for new in more))
        return EditedText(self.written, (*kept, *more))

    def _is_inside(self, index: int) -> bool:
        """Return whether an index of `text` is within a replacement, not at its ends."""
        number = bisect_right(self.starts, index) - 1
        return number >= 0 and self.starts[number] < index < self.ends[number]


class _Flow:
    """Parser of one flow collection."""

    def __init__(self, text: str) -> None:
        self.text = text

    def collection(self, start: int, *, depth: int) -> tuple[int, list[Slip]] | None:
        text, closer = self.text, "]" if self.text[start] == "[" else "}"
        slips: list[Slip] = []
        has_stray = False
        place = self.after_blank(start + 1)
        while place < len(text):
            if text[place] in "]}":
                if text[place] != closer:
                    return None
                whole = [Slip(start, place + 1, in_flow=depth > 1)]
                return place + 1, whole if has_stray and slips else slips
            if text[place] == ",":
                place = self.after_blank(place + 1)
                continue
            key = _FLOW_KEY.match(text, place)
            has_stray = has_stray or (key is None and closer == "}")
            if key is not None:
                place = self.after_blank(key.end())
            if place < len(text) and text[place] not in ",]}":
                after = self.value(place, slips, depth=depth)
                if after is None:
                    return None
                place = self.after_blank(after)
        return None

    def value(self, start: int, slips: list[Slip], *, depth: int) -> int | None:
        """Return the position after the value that starts here; add to `slips`."""
        text = self.text
        if text[start] in "[{" and depth < _DEPTH_MAX:
            inner = self.collection(start, depth=depth + 1)
            if inner is not None and self.ends_entry(inner[0]):
                slips.extend(inner[1])
                return inner[0]
        quoted = _QUOTED.match(text, start) if text[start] in "'\"" else None
        if quoted is not None and self.ends_entry(quoted.end()):
            return quoted.end()
        end = self.raw_end(start)
        if end is None:
            return None
        raw = text[start:end].rstrip()
        if raw and _needs_quotes(raw):
            slips.append(Slip(start, start + len(raw), in_flow=True))
        return end

    def raw_end(self, start: int) -> int | None:
        """Return the intended end of a value: a comma, bracket or comment outside its own brackets."""
        text = self.text
        place = start
        opened = []
        while place < len(text):
            letter = text[place]
            if letter == "'" and (found := _TEXT.match(text, place)) is not None:
                place = found.end()
                continue
            if letter in "([{":
                opened.append(letter)
            elif letter in ")]}":
                if opened and opened[-1] + letter in ("()", "[]", "{}"):
                    opened.pop()
                elif letter != ")":
                    return place
            elif not opened and (letter == "," or (letter == "#" and text[place - 1].isspace())):
                return place
            place += 1
        return None

    def ends_entry(self, place: int) -> bool:
        return self.text.startswith((",", "]", "}"), self.after_blank(place))

    def after_blank(self, place: int) -> int:
        found = _BLANK.match(self.text, place)
        return found.end() if found else place


def _needs_quotes(raw: str) -> bool:
    return _starts_with_a_sign(raw) or re.search(r"[,\[\]{}]|:(?:\s|$)|\s#", raw) is not None


def _starts_with_a_sign(raw: str) -> bool:
    return raw[0] in _INDICATORS or re.match(r"[-?:](?:\s|$)", raw) is not None


def _stands_well(value: str) -> bool:
    """Return whether a value is entirely one quoted text, or one correct collection in braces or brackets."""
    if _QUOTED.fullmatch(value):
        return True
    inside = values_in_flow(value, 0) if value[0] in "[{" else None
    return inside == (len(value), [])


def _without_comment(value: str) -> str:
    """Return the shortest whole part before a ` #`, else the whole value."""
    ends = (match.start() for match in re.finditer(r"[ \t]+#", value))
    return next((value[:end] for end in ends if is_whole(value[:end])), value)


def _length_of_more(lines: list[str], line: int, indent: int) -> int:
    """Return the number of characters by which deeper lines continue a value beyond its own line.

    A blank line ends it, and so does a line with `: `, which is probably indented wrongly.
    """
    length = passed = 0
    before = len(lines[line]) - len(lines[line].rstrip())
    for each in lines[line + 1 :]:
        depth = len(each) - len(each.lstrip(" "))
        if not each.strip() or depth <= indent or re.search(r":(?:\s|$)", each):
            break
        length = before + passed + 1 + len(each.rstrip())
        passed += 1 + len(each)
    return length


def _open_brackets(text: str) -> int:
    open_count = 0
    for letter in text:
        if letter in "([{":
            open_count += 1
        elif letter in ")]}":
            open_count -= 1
    return open_count
