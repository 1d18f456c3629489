"""One rule as a text of its own inside a file of rules: cut out, put back, taken away, all else left as it is written.

A rule's text is its lines with the comments right above it, as far left as they can stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shroff.errors import Problem, UsageError
from shroff.language.yamltext import Mapping, Node, Scalar, Sequence, read

BRACED: Final = "is written in braces or brackets. Write it line by line, as '- id: ...' with one key a line"


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule where it stands in a file: from `first` to `last`, counted from 1, moved in by `indent` spaces."""

    id: str
    first: int
    last: int
    indent: int
    text: str


def rule_texts(file_text: str) -> dict[str, RuleText]:
    """The rules of a file by their ids, those that can be told apart; of a file that cannot be read none."""
    top = read(file_text, "", [])
    if not isinstance(top, Sequence) or top.source:
        return {}
    lines = file_text.split("\n")
    starts = [_first_line(lines, item, top.column) for item in top.items]
    found: dict[str, RuleText] = {}
    for item, start, following in zip(top.items, starts, [*starts[1:], len(lines) + 1], strict=True):
        id_, last = _value(item, "id"), following - 1
        while last > start and not lines[last - 1].strip():
            last -= 1
        if id_ is not None and id_.text not in found:
            indent = top.column - 1
            text = "\n".join(_moved(line, -indent) for line in lines[start - 1 : last])
            found[id_.text] = RuleText(id_.text, start, last, indent, f"{text}\n")
    return found


def with_rule(file_text: str, id: str, text: str) -> str:
    """The file with this text in the place of a rule, or behind all others where it has no such rule.

    Raises: UsageError where its rules cannot be told apart.
    """
    found = rule_texts(file_text).get(id)
    own = text.strip("\n").split("\n")
    if found is None:
        _require_lines(file_text)
        kept = file_text.rstrip("\n")
        indent = _indent(file_text)
        added = "\n".join(_moved(line, indent) for line in own)
        return f"{kept}\n\n{added}\n" if kept else f"{added}\n"
    lines = file_text.split("\n")
    return "\n".join([*lines[: found.first - 1], *(_moved(line, found.indent) for line in own), *lines[found.last :]])


def beside_rule(file_text: str, id: str, text: str) -> str:
    """The file with another rule's text right behind a rule that it has."""
    found = rule_texts(file_text)[id]
    lines = file_text.split("\n")
    own = [_moved(line, found.indent) for line in text.strip("\n").split("\n")]
    return "\n".join([*lines[: found.last], "", *own, *lines[found.last :]])


def without_rule(file_text: str, id: str) -> str:
    """The file without a rule; empty where it was the last."""
    found = rule_texts(file_text).get(id)
    if found is None:
        return file_text
    lines = file_text.split("\n")
    before, after = lines[: found.first - 1], lines[found.last :]
    while before and after and not after[0].strip():
        after = after[1:]
    if not before and not "".join(after).strip():
        return ""
    return "\n".join([*before, *after]).rstrip("\n") + "\n"


def in_shadow(text: str, *, shadow: bool) -> str:
    """The same rule in shadow, or with effect: one line more or less. Raises: UsageError for one in braces."""
    rule = _only(text)
    lines = text.split("\n")
    key = _key(rule, "shadow")
    if key is not None:
        kept = lines[: key.line - 1] + lines[key.line :]
        return in_shadow("\n".join(kept), shadow=True) if shadow else "\n".join(kept)
    if not shadow:
        return text
    effect, value = _key(rule, "effect"), _value(rule, "effect")
    if effect is None or value is None:
        raise UsageError("the rule has no effect yet")
    at = value.line
    return "\n".join([*lines[:at], f"{' ' * (effect.column - 1)}shadow: true", *lines[at:]])


def is_in_shadow(text: str) -> bool:
    """Whether a rule's text says that it is in shadow."""
    top = read(text, "", [])
    rule = top.items[0] if isinstance(top, Sequence) and top.items else None
    found = None if rule is None else _value(rule, "shadow")
    return found is not None and found.text == "true"


def renamed(text: str, id: str) -> str:
    """The same rule by another id. Raises: UsageError for one in braces, or without an id."""
    found = _value(_only(text), "id")
    if found is None:
        raise UsageError("the rule has no id")
    lines = text.split("\n")
    line, start = lines[found.line - 1], found.column - 1
    lines[found.line - 1] = line[:start] + id + line[start + len(found.source or found.text) :]
    return "\n".join(lines)


def id_in(text: str) -> str | None:
    """The id of the one rule of a text; None where that is not one rule with an id."""
    top = read(text, "", [])
    if not isinstance(top, Sequence) or len(top.items) != 1:
        return None
    found = _value(top.items[0], "id")
    return None if found is None else found.text


def not_one_rule(text: str, id: str, file: str) -> list[Problem]:
    """What keeps a text, that can be read, from being the one rule of this id."""
    top = read(text, file, [])
    if top is None:
        return []
    if not isinstance(top, Sequence) or len(top.items) != 1:
        return [top.problem(f"a draft is one rule. Begin it with '- id: {id}'.")]
    found = _value(top.items[0], "id")
    if found is None or found.text == id:
        return []
    return [found.problem(f"this is the draft of rule {id!r}, not of {found.text!r}.", f"Write 'id: {id}'.")]


def _only(text: str) -> Mapping:
    top = read(text, "", [])
    rule = top.items[0] if isinstance(top, Sequence) and len(top.items) == 1 else None
    if not isinstance(rule, Mapping):
        raise UsageError("the text is not one rule")
    if rule.source or (isinstance(top, Sequence) and top.source):
        raise UsageError(f"the rule {BRACED}")
    return rule


def _key(rule: Node, name: str) -> Scalar | None:
    keys: Iterator[Scalar] = (key for key, _ in rule.entries) if isinstance(rule, Mapping) else iter(())
    return next((key for key in keys if key.text == name), None)


def _value(rule: Node, name: str) -> Scalar | None:
    found = rule.get(name) if isinstance(rule, Mapping) else None
    return found if isinstance(found, Scalar) else None


def _first_line(lines: list[str], item: Node, column: int) -> int:
    """Where an item begins: its dash, and the comments right above that."""
    line = item.line
    while line > 1 and not lines[line - 1][column - 1 :].startswith("-"):
        line -= 1
    while line > 1 and lines[line - 2].lstrip().startswith("#"):
        line -= 1
    return line


def _require_lines(file_text: str) -> None:
    top = read(file_text, "", [])
    if top is not None and (not isinstance(top, Sequence) or top.source):
        raise UsageError(f"the file {BRACED}")


def _indent(file_text: str) -> int:
    top = read(file_text, "", [])
    return 0 if top is None else top.column - 1


def _moved(line: str, by: int) -> str:
    """A line moved in or, as far as it has spaces, out."""
    if by >= 0:
        return " " * by + line if line.strip() else line
    return line[min(-by, len(line) - len(line.lstrip(" "))) :]
