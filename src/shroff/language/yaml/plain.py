"""Fast line-by-line reader of plain YAML, which most project files are: a tenth of the parser's time.

Plain are block mappings and lists, values on one line (plain, quoted without escapes, in braces or brackets) and
comments. Of anything else, mistakes among them, nothing is said here: the careful reader reads the whole file. Of a
plain file both give the same nodes.
"""

from __future__ import annotations

import re

from shroff.language.yaml.nodes import Mapping, Node, Scalar, Sequence

_DEPTH_MAX = 20  # half of what the careful reader takes: no file that it refuses is read here
_LINE = re.compile(r"( *)(- +(?=[^ ])|-$)?(?:([A-Za-z_][\w.-]{0,99}):(?: +|$))?(.*)")
_BEGINS = re.compile(r"[^\s\[\]{},#&*!|>'\"%@`?:-]|[?:-](?=[^ ])")  # a plain value
_QUOTED = re.compile(r"\"([^\"\\]*)\"|'([^']*)'(?!')")
_COMMENT = re.compile(r"(?:( +)(#.*)| *)$")  # behind a value, to the end of its line
_FLOW_KEY = re.compile(r" *([A-Za-z_][\w.-]{0,99}): +")
_FLOW_VALUE = re.compile(r"-?[\w.](?:[\w.+/<>=*$%@?-]|\(\w*\)|:(?=\w)| +(?=[\w.+/<>=*$%@-]))*")
_FLOW_NEXT = re.compile(r" *([,}\]])")
_CLOSES = {"{": "}", "[": "]"}


class _OddError(Exception):
    """Not plain YAML; use the full parser."""


def read_plain(text: str, file: str) -> Node | None:
    """The node of a text, its lines ended by line feeds; None where it is not plain. Cost: 0.3 µs a character."""
    if "\t" in text or "\n---" in text or "\n..." in text:
        return None
    try:
        return _PlainLines(text, file).document()
    except _OddError:
        return None


class _PlainLines:
    """The lines that hold something, each as its number, indentation, dash, key, rest, and where the rest begins."""

    def __init__(self, text: str, file: str) -> None:
        self._file, self._at = file, 0
        self._lines: list[tuple[int, int, str, str, str, int]] = []
        for number, line in enumerate(text.split("\n"), 1):
            found = _LINE.match(line)
            assert found is not None, "each part of it may be empty"
            blanks, dash, key, rest = found.groups("")
            if dash or key or (rest and rest[0] != "#"):
                self._lines.append((number, len(blanks), dash, key, rest, found.start(4)))
        self._lines.append((0, -1, "", "", "", 0))

    def document(self) -> Node:
        node = self._block("", 1)
        if self._at < len(self._lines) - 1:
            raise _OddError
        return node

    def _block(self, path: str, depth: int) -> Node:
        """The mapping or list that begins with the next line."""
        number, indent, dash, _, _, _ = self._lines[self._at]
        if depth > _DEPTH_MAX:
            raise _OddError
        return self._list(indent, path, depth) if dash else self._mapping(number, indent, path, depth)

    def _list(self, indent: int, path: str, depth: int) -> Sequence:
        lines, first, items = self._lines, self._lines[self._at][0], list[Node]()
        while lines[self._at][1] == indent and lines[self._at][2]:
            number, _, dash, key, rest, at = lines[self._at]
            inner, column = f"{path}[{len(items)}]", indent + len(dash)
            if key:  # of a mapping that begins behind the dash
                lines[self._at] = number, column, "", key, rest, at
                items.append(self._mapping(number, column, inner, depth + 1))
            else:
                self._at += 1
                items.append(self._value(rest, number, at, inner, depth, is_below=lines[self._at][1] > indent))
        return Sequence(tuple(items), first, indent + 1, path, self._file)

    def _mapping(self, first: int, indent: int, path: str, depth: int) -> Mapping:
        lines, entries, seen = self._lines, list[tuple[Scalar, Node]](), set[str]()
        while lines[self._at][1] == indent and not lines[self._at][2]:
            number, _, _, key, rest, at = lines[self._at]
            if not key or key in seen:
                raise _OddError
            seen.add(key)
            self._at += 1
            inner = f"{path}.{key}" if path else key
            name = Scalar(key, number, indent + 1, inner, self._file, "plain", None, key)
            _, below, dash, _, _, _ = lines[self._at]
            is_below = below > indent or (below == indent and bool(dash) and (not rest or rest[0] == "#"))
            entries.append((name, self._value(rest, number, at, inner, depth, is_below=is_below)))
        if not entries:
            raise _OddError
        return Mapping(tuple(entries), first, indent + 1, path, self._file)

    def _value(self, rest: str, number: int, at: int, path: str, depth: int, *, is_below: bool) -> Node:
        """The value behind a dash or a key: on its line, or on those below."""
        if (not rest or rest[0] == "#") != is_below:  # empty, or on several lines
            raise _OddError
        if is_below:
            return self._block(path, depth + 1)
        if rest[0] in "{[":
            node, end = self._flow(rest, 0, number, at, path, depth + 1)
            if not _COMMENT.match(rest, end):
                raise _OddError
            return node
        if rest[0] in "\"'":
            scalar, end = self._quoted(rest, 0, number, at, path)
            if not _COMMENT.match(rest, end):
                raise _OddError
            return scalar
        comment, gap, text = None, " ", rest.rstrip(" ")
        if " #" in text:
            text = text[: text.index(" #")].rstrip(" ")
            behind = _COMMENT.match(rest, len(text))
            assert behind is not None
            gap, comment = behind[1], behind[2].rstrip()
        if not _BEGINS.match(text) or ": " in text or text[-1] == ":":
            raise _OddError
        return Scalar(text, number, at + 1, path, self._file, "plain", comment, text, gap)

    def _quoted(self, rest: str, start: int, number: int, at: int, path: str) -> tuple[Scalar, int]:
        """A text in quotes, and where it ends. All places are in `rest`, which begins at `at` of its line."""
        found = _QUOTED.match(rest, start)
        if found is None:
            raise _OddError
        style = "double" if found[1] is not None else "single"
        text = found[0][1:-1]
        return Scalar(text, number, at + start + 1, path, self._file, style, None, found[0]), found.end()

    def _flow(self, rest: str, start: int, number: int, at: int, path: str, depth: int) -> tuple[Node, int]:
        """A value in braces or brackets, and where it ends."""
        closes, entries, items = _CLOSES[rest[start]], list[tuple[Scalar, Node]](), list[Node]()
        place, sign = start + 1, ","
        if depth > _DEPTH_MAX:
            raise _OddError
        if rest[place : place + 1] == closes:
            place, sign = place + 1, closes
        while sign == ",":
            key = _FLOW_KEY.match(rest, place) if closes == "}" else None
            if key is not None and all(key[1] != key_node.text for key_node, _ in entries):
                inner = f"{path}.{key[1]}"
                name = Scalar(key[1], number, at + key.start(1) + 1, inner, self._file, "plain", None, key[1])
                value, place = self._in_flow(rest, key.end(), number, at, inner, depth)
                entries.append((name, value))
            elif closes == "]":
                value, place = self._in_flow(rest, place, number, at, f"{path}[{len(items)}]", depth)
                items.append(value)
            else:
                raise _OddError
            found = _FLOW_NEXT.match(rest, place)
            place, sign = (found.end(), found[1]) if found else (place, "")
        if sign != closes:
            raise _OddError
        behind = _COMMENT.match(rest, place)
        tail = behind[0].rstrip() if behind else ""
        own = number, at + start + 1, path, self._file, rest[start:place], tail
        return (Mapping(tuple(entries), *own) if closes == "}" else Sequence(tuple(items), *own)), place

    def _in_flow(self, rest: str, start: int, number: int, at: int, path: str, depth: int) -> tuple[Node, int]:
        """A value inside braces or brackets, and where it ends."""
        while rest[start : start + 1] == " ":
            start += 1
        sign = rest[start : start + 1]
        if sign in _CLOSES:
            return self._flow(rest, start, number, at, path, depth + 1)
        if sign in {"'", '"'}:
            return self._quoted(rest, start, number, at, path)
        found = _FLOW_VALUE.match(rest, start)
        if found is None:
            raise _OddError
        return Scalar(found[0], number, at + start + 1, path, self._file, "plain", None, found[0]), found.end()
