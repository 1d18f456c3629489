"""Nodes of a YAML text: scalars, mappings and lists, each with its position in the file.

Positions of a scalar's characters follow from its raw text: plain and quoted scalars fold their lines and count an
escape as one character, block scalars lose their indentation. Places are (line, column), from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from functools import lru_cache
from typing import Any

from shroff.errors import Problem
from shroff.json_types import TextDict
from shroff.runtime.values import frozen

Place = tuple[int, int]

# A run of spaces is read once: from its first one, or behind an escaped one.
_FOLD = r"(?:(?<![ \t])|(?<=\\[ \t]))[ \t]*+(?P<fold>\n(?:[ \t]*\n)*)[ \t]*"
_PIECES = {
    "plain": re.compile(_FOLD + r"|(?s:.)"),
    "single": re.compile(_FOLD + r"|''|(?s:.)"),
    "double": re.compile(
        _FOLD
        + r"|\\(?P<joined>\n(?:[ \t]*\n)*)[ \t]*|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\\(?s:.)|(?s:.)"
    ),
}


class Located:
    """A part of a file, with its position."""

    __slots__ = ()
    line: int
    column: int
    path: str
    file: str

    def place(self, offset: int) -> Place:
        """Return line and column in the file."""
        return self.line, self.column

    def problem(self, message: str, hint: str = "", offset: int = 0) -> Problem:
        return Problem(self.file, *self.place(offset), self.path, message, hint)

    def report(self, problems: list[Problem], message: str, hint: str = "", offset: int = 0) -> None:
        """Add a problem at this place."""
        problems.append(self.problem(message, hint, offset))


@frozen
class Scalar(Located):
    """A scalar; `comment` is the comment after ` #` on the line where a plain scalar ends."""

    text: str
    line: int
    column: int
    path: str
    file: str
    style: str
    comment: str | None
    # Raw text, for positions; empty if equal to `text`.
    source: str = field(default="", repr=False, compare=False)
    # Space before the comment.
    gap: str = field(default=" ", repr=False, compare=False)

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column of the character of `text` at `offset`, or of the end."""
        if offset <= 0 and self.style == "plain":
            return self.line, self.column
        places = _places_of(self.text, self.source or self.text, self.style, (self.line, self.column))
        return places[max(0, min(offset, len(self.text)))]


@frozen
class Mapping(Located):
    """Keys with their nodes, in file order; no key occurs twice."""

    entries: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int
    path: str
    file: str
    # Raw text if written in braces, else empty; and the comment behind it, with the space before it.
    source: str = field(default="", repr=False, compare=False)
    tail: str = field(default="", repr=False, compare=False)

    def get(self, key: str) -> Node | None:
        return next((node for name, node in self.entries if name.text == key), None)

    def keys(self) -> tuple[str, ...]:
        return tuple(name.text for name, _ in self.entries)

    def texts(self) -> TextDict:
        """Return the values that are texts, by key."""
        return {key.text: value.text for key, value in self.entries if isinstance(value, Scalar)}


@frozen
class Sequence(Located):
    """A list of nodes."""

    items: tuple[Node, ...]
    line: int
    column: int
    path: str
    file: str
    # As for a mapping, for brackets.
    source: str = field(default="", repr=False, compare=False)
    tail: str = field(default="", repr=False, compare=False)


Node = Scalar | Mapping | Sequence


def plain_of(node: Node) -> Any:
    """Return a node as plain values: texts, lists and mappings."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Mapping):
        return {key.text: plain_of(value) for key, value in node.entries}
    return [plain_of(item) for item in node.items]


@lru_cache(maxsize=4)  # several parts of a long expression ask for the places of the same scalar
def _places_of(text: str, source: str, style: str, start: Place) -> list[Place]:
    """Return the position of each character of `text`, then that after its end.

    Args:
        text: Value of the scalar.
        source: Its raw text, with quotes or block header.
        style: plain, single, double, literal or folded.
        start: Position of `source`.

    Cost: O(length of the scalar).
    """
    if style in _PIECES:
        places = list(_flow_places(source, style, start))
    elif style == "literal":
        places = list(_literal_places(text, source, start[0]))
    else:
        places = list(_folded_places(text, source, start[0]))
    # One place for each character and one for the end, or the raw text does not belong to this scalar.
    return places if len(places) == len(text) + 1 else [start] * (len(text) + 1)


def _flow_places(source: str, style: str, start: Place) -> Iterator[Place]:
    line, column = start
    if style != "plain":
        source = source[1:-1]
        column = column + 1
    for piece in _PIECES[style].finditer(source):
        groups = piece.groupdict()
        line_ends = groups["fold"] or groups.get("joined") or ""
        if not line_ends:
            yield line, column
            column += len(piece[0])
            continue
        # A single line end is a space, or nothing after a backslash. Of several, the first vanishes and each further
        # one is a line end of the text.
        breaks = line_ends.count("\n")
        for number in range(1 if breaks == 1 and groups["fold"] else breaks - 1):
            yield (line, column) if number == 0 else (line + number, 1)
        line += breaks
        column = len(piece[0]) - piece[0].rfind("\n")
    yield line, column


def _literal_places(text: str, source: str, line: int) -> Iterator[Place]:
    written = source.split("\n")[1:]
    lines = text.split("\n")
    for number, each in enumerate(lines):
        raw = written[number] if number < len(written) else ""
        indent = max(0, len(raw) - len(each))
        for offset in range(len(each) + 1):
            yield line + 1 + number, indent + offset + 1


def _folded_places(text: str, source: str, line: int) -> Iterator[Place]:
    place = 0
    indent = -1
    last_place = (line + 1, 1)
    for number, raw in enumerate(source.split("\n")[1:], start=line + 1):
        if indent < 0 and raw.strip():
            unindented = text.lstrip("\n")
            indent = len(raw) - len(raw.lstrip(" ")) - (len(unindented) - len(unindented.lstrip(" ")))
        content = raw[indent:] if indent >= 0 else ""
        if not content:
            continue
        # Folding leaves one space, or line ends, of the line ends before this line.
        while text.startswith("\n", place) or (text.startswith(" ", place) and not text.startswith(content, place)):
            yield last_place
            place += 1
        for offset in range(len(content)):
            yield number, indent + offset + 1
        place += len(content)
        last_place = (number, indent + len(content) + 1)
    for _ in range(len(text) - place + 1):
        yield last_place
