"""Positions of a rule's parts in its text, and values as YAML writes them.

Offsets count characters from 0; lines and columns of nodes count from 1.
"""

from __future__ import annotations

from itertools import accumulate

from shroff.errors import Problem, UsageError
from shroff.language.yaml.slips import in_quotes
from shroff.language.yaml.text import Mapping, Node, Scalar, Sequence, read


def only_rule(text: str) -> Mapping:
    """Parse a text that holds one rule. Raises: UsageError if it does not."""
    root = read(text, "", [])
    rule = root.items[0] if isinstance(root, Sequence) and len(root.items) == 1 and not root.source else None
    if not isinstance(rule, Mapping):
        raise UsageError("the text is not one rule. Begin it with '- id: ...'")
    return rule


def scalar_of(rule: Node, name: str) -> Scalar | None:
    """Return the value of a key; None if it is not a scalar."""
    value = rule.get(name) if isinstance(rule, Mapping) else None
    return value if isinstance(value, Scalar) else None


def first_line(lines: list[str], item: Node, column: int) -> int:
    """Return the first line of a list item: that of its dash, or of the comments directly above."""
    line = item.line
    while line > 1 and not lines[line - 1][column - 1 :].startswith("-"):
        line -= 1
    while line > 1 and lines[line - 2].lstrip().startswith("#"):
        line -= 1
    return line


def line_begins(text: str) -> list[int]:
    """Return the offset of each line, and one past the end."""
    return list(accumulate((len(line) + 1 for line in text.split("\n")), initial=0))


def offset_of(text: str, line: int, column: int) -> int:
    return line_begins(text)[line - 1] + column - 1


def end_of(text: str, scalar: Scalar) -> int:
    return offset_of(text, scalar.line, scalar.column) + len((scalar.source or scalar.text).rstrip())


def written(value: str, rule: Mapping) -> str:
    """Format a value for YAML as a person would: quoted if YAML would misread it, several lines as a block."""
    if "\n" in value and not rule.source:
        return "|\n" + "\n".join(" " * (rule.column + 1) + line for line in value.split("\n"))
    problems: list[Problem] = []
    parsed = read(f"- {{ k: {value}, x: y }}" if rule.source else f"- k: {value}", "", problems)
    reread = scalar_of(parsed.items[0], "k") if isinstance(parsed, Sequence) and parsed.items else None
    is_same = not problems and reread is not None and reread.text == value and reread.comment is None
    return value if is_same and value else in_quotes(value)
