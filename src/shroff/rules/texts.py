"""Text edits of one rule in a rule file: cut out, replace, remove. The rest of the file stays unchanged.

The text of a rule is its lines and the comments right above it, outdented. In a file that is one list in brackets it is
the rule's braces behind a dash; text between two rules stays in the file.

A rule can also be edited as a form: rows of operand, comparison and value, and its other keys. The text remains the
only source: the form replaces only what it changed, and a part that it cannot split is a row of text.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from hashlib import sha256

from shroff.errors import Problem, UsageError
from shroff.json_types import TextDict
from shroff.language.parser import Token, tokens
from shroff.language.syntax import ExpressionError
from shroff.language.yaml.text import Mapping, Scalar, Sequence, read
from shroff.rules.keys import RULE
from shroff.rules.rule_tests import RuleTestForm, tests_of, with_tests
from shroff.rules.tables import PARTS
from shroff.rules.text_positions import end_of, first_line, line_begins, offset_of, only_rule, scalar_of, written
from shroff.runtime.values import FrozenStruct

IN_LIST = "is one list in brackets, and takes a rule in braces alone: '- { id: ..., effect: ... }'"
NO_LIST = "the text is not a list of rules. Begin each of them with '- id: ...'"
FILES_KEPT = 256  # cached files: reading YAML takes 10 ms a file
RULES_KEPT = 4_096
_DASH = "- "
_COMMA = re.compile(r"\s*,[ \t]*")
_LINE_ENDS = re.compile(r"\s*\n\s*")
KEYS = ("description", "on", "by", "effect", "reason", "notify", "expires", "rollout", *PARTS)
TRUE = "is true"
FALSE = "is false"
_OTHER = {"and": "or", "or": "and"}
_COMPARED = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "is"})
_CLAUSES = ("else", "when")
# The rest of a line after an item that is not the last
_END_OF_LINE = re.compile(r"[ \t]*,(?:[ \t]*#[^\n]*)?(?=\n)")


class RuleText(FrozenStruct):
    """Position of a rule in a file: the range [start, end), indented by `indent` spaces."""

    id: str
    start: int
    end: int
    indent: int
    text: str
    in_brackets: bool = False


def rule_texts(file_text: str) -> dict[str, RuleText]:
    """Return the rules of a file by id; empty if the file cannot be read or split."""
    return dict(_rule_texts(file_text))


@lru_cache(FILES_KEPT)
def _rule_texts(file_text: str) -> dict[str, RuleText]:
    root = read(file_text, "", [])
    if not isinstance(root, Sequence):
        return {}
    if root.source:
        return _in_brackets(file_text, root)
    lines = file_text.split("\n")
    begins = line_begins(file_text)
    starts = [first_line(lines, item, root.column) for item in root.items]
    rules: dict[str, RuleText] = {}
    for item, start, following in zip(root.items, starts, [*starts[1:], len(lines) + 1], strict=True):
        id_ = scalar_of(item, "id")
        last = following - 1
        while last > start and not lines[last - 1].strip():
            last -= 1
        if id_ is not None and id_.text not in rules:
            indent = root.column - 1
            text = "\n".join(_indent(line, -indent) for line in lines[start - 1 : last])
            end = begins[last - 1] + len(lines[last - 1])
            rules[id_.text] = RuleText(id_.text, begins[start - 1], end, indent, f"{text}\n")
    return rules


def _in_brackets(file_text: str, top: Sequence) -> dict[str, RuleText]:
    rules: dict[str, RuleText] = {}
    begins = line_begins(file_text)
    for item in top.items:
        id_ = scalar_of(item, "id")
        if id_ is not None and isinstance(item, Mapping) and id_.text not in rules:
            start = begins[item.line - 1] + item.column - 1
            text = _DASH + _all_moved(item.source, len(_DASH))
            rules[id_.text] = RuleText(id_.text, start, start + len(item.source), 0, f"{text}\n", in_brackets=True)
    return rules


def with_rule(file_text: str, id: str, text: str) -> str:
    """Return the file with a rule's text replaced, or appended if the file lacks the rule.

    Raises: UsageError if the file's rules cannot be separated.
    """
    existing = rule_texts(file_text)
    old = existing.get(id)
    if old is not None:
        return file_text[: old.start] + _own(old, text) + file_text[old.end :]
    root = read(file_text, "", [])
    if isinstance(root, Sequence) and root.source and existing:
        return beside_rule(file_text, list(existing)[-1], text)
    if root is not None and (not isinstance(root, Sequence) or root.source):
        raise UsageError(NO_LIST)
    head = file_text.rstrip("\n")
    indent = 0 if root is None else root.column - 1
    new_text = _indented(text, indent)
    return f"{head}\n\n{new_text}\n" if head else f"{new_text}\n"


def _own(rule_text: RuleText, text: str) -> str:
    """Indent a rule's text for its position in the file. Raises: UsageError if it does not fit there."""
    if not rule_text.in_brackets:
        return _indented(text, rule_text.indent)
    rule = only_rule(text)
    if text.strip() != f"{_DASH}{rule.source}":
        raise UsageError(f"the file of this rule {IN_LIST}")
    return _all_moved(rule.source, -len(_DASH))


def beside_rule(file_text: str, id: str, text: str) -> str:
    """Insert a rule's text directly after an existing rule. Raises: UsageError as `with_rule`."""
    neighbor = rule_texts(file_text)[id]
    inserted = _own(neighbor, text)
    before = file_text[: neighbor.end]
    after = file_text[neighbor.end :]
    if not neighbor.in_brackets:
        is_close = after.startswith("\n") and bool(after[1:].partition("\n")[0].strip())
        return before + ("\n" if is_close else "\n\n") + inserted + after
    margin = file_text[: neighbor.start].rpartition("\n")[2]
    if margin.strip():
        return f"{before}, {inserted}{after}"
    line = _END_OF_LINE.match(after)
    if line is None:
        return f"{before},\n{margin}{inserted}{after}"
    return f"{before}{line[0]}\n{margin}{inserted},{after[line.end() :]}"


def without_rule(file_text: str, id: str) -> str:
    """Return the file without a rule; empty if it was the last one."""
    old = rule_texts(file_text).get(id)
    if old is None:
        return file_text
    before = file_text[: old.start]
    after = file_text[old.end :]
    if old.in_brackets:
        return "" if len(rule_texts(file_text)) == 1 else _closed_up(before, after)
    after = after.lstrip("\n") if before else after
    return f"{before}{after}".rstrip("\n") + "\n" if f"{before}{after}".strip() else ""


def _closed_up(before: str, after: str) -> str:
    """Close the gap in a bracketed list: remove the comma, and the line if it is empty."""
    comma = _COMMA.match(after)
    if comma is None:
        return before.rstrip().removesuffix(",") + after
    rest = after[comma.end() :]
    lines, _, last = before.rpartition("\n")
    return f"{lines}{rest}" if rest.startswith("\n") and lines and not last.strip() else f"{before}{rest}"


def in_shadow(text: str, *, shadow: bool) -> str:
    """Set or remove `shadow: true` in a rule's text.

    Raises: UsageError if the text is not one rule, or has no effect.
    """
    rule = only_rule(text)
    if shadow and not {"effect", *PARTS} & {*rule.keys()}:
        raise UsageError("the rule has no effect yet")
    kept = with_value(text, "shadow", "")
    return with_value(kept, "shadow", "true") if shadow else kept


def values_of(text: str) -> TextDict:
    """Return the values of the rule's keys that are texts; `description` is the comment after its id.

    Raises: UsageError if the text is not one rule.
    """
    rule = only_rule(text)
    values = rule.texts()
    id_ = scalar_of(rule, "id")
    return values | ({"description": id_.comment[1:].strip()} if id_ is not None and id_.comment else {})


def with_value(text: str, name: str, value: str) -> str:
    """Replace the value of a key in its place; an empty value removes the key.

    A new key follows the keys that precede it in the reference. `description` is the comment after the id.
    Raises: UsageError if the text is not one rule, or the key cannot be edited as text.
    """
    rule = only_rule(text)
    value = value.strip() if name in PARTS else _LINE_ENDS.sub(" ", value.strip())
    if name == "description":
        return _described(text, rule, value)
    key = next((key for key, _ in rule.entries if key.text == name), None)
    old = rule.get(name)
    if key is not None and not isinstance(old, Scalar):
        raise UsageError(f"{name} is not one value; change it in the text")
    if key is None and value:
        names = [other.name for other in RULE.keys]
        before = names[: names.index(name)]
        ends = [end_of(text, node) for known, node in rule.entries if known.text in before and isinstance(node, Scalar)]
        if not ends:
            raise UsageError("the rule has no id")
        at = max(ends)
        added = f"{name}: {written(value, rule)}"
        if rule.source:
            return f"{text[:at]}, {added}{text[at:]}"
        line_end = (text + "\n").index("\n", at)
        return f"{text[:line_end]}\n{' ' * (rule.column - 1)}{added}{text[line_end:]}"
    if key is None or not isinstance(old, Scalar) or old.text == value:
        return text
    if value or (not rule.source and key is rule.entries[0][0]):
        start = offset_of(text, old.line, old.column)
        blank = "" if text[start - 1 : start].isspace() else " "
        return f"{text[:start]}{blank}{written(value, rule)}{text[end_of(text, old) :]}"
    start = offset_of(text, key.line, key.column)
    end = end_of(text, old)
    if not rule.source:
        return text[: start - key.column + 1] + text[(text + "\n").index("\n", end) + 1 :]
    head = text[:start]
    rest = text[end:]
    if head.rstrip().endswith(","):
        return head.rstrip()[:-1] + rest
    comma = _COMMA.match(rest)
    return head + (rest[comma.end() :] if comma else rest)


def _described(text: str, rule: Mapping, value: str) -> str:
    id_ = scalar_of(rule, "id")
    if id_ is None or rule.source or id_.style != "plain":
        raise UsageError("the description stands as a comment behind a plain id on a line of its own")
    end = end_of(text, id_)
    comment = f"{id_.gap if id_.comment else '  '}# {value}" if value else ""
    return text[:end] + comment + text[(text + "\n").index("\n", end) :]


@lru_cache(RULES_KEPT)
def is_in_shadow(text: str) -> bool:
    root = read(text, "", [])
    rule = root.items[0] if isinstance(root, Sequence) and root.items else None
    value = None if rule is None else scalar_of(rule, "shadow")
    return value is not None and value.text == "true"


def renamed(text: str, id: str) -> str:
    """Replace the id of a rule. Raises: UsageError if the text is not one rule, or has no id."""
    id_value = scalar_of(only_rule(text), "id")
    if id_value is None:
        raise UsageError("the rule has no id")
    return text[: offset_of(text, id_value.line, id_value.column)] + id + text[end_of(text, id_value) :]


def not_one_rule(text: str, id: str, file: str) -> list[Problem]:
    """Return the problems of a readable text that is not the single rule of this id."""
    root = read(text, file, [])
    if root is None:
        return []
    if not isinstance(root, Sequence) or len(root.items) != 1 or root.source:
        return [root.problem(f"a draft is one rule. Begin it with '- id: {id}'.")]
    id_value = scalar_of(root.items[0], "id")
    if id_value is None or id_value.text == id:
        return []
    return [id_value.problem(f"this is the draft of rule {id!r}, not of {id_value.text!r}.", f"Write 'id: {id}'.")]


def _indented(text: str, by: int) -> str:
    return "\n".join(_indent(line, by) for line in text.strip("\n").split("\n"))


def _all_moved(text: str, by: int) -> str:
    first, *others = text.split("\n")
    return "\n".join([first, *(_indent(line, by) for line in others)])


def _indent(line: str, by: int) -> str:
    if by >= 0:
        return " " * by + line if line.strip() else line
    return line[min(-by, len(line) - len(line.lstrip(" "))) :]


def tag_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]


# ---- the form


class FormRow(FrozenStruct):
    """A condition. Without a comparison the operand is an expression shown as text."""

    operand: str
    comparison: str = ""
    value: str = ""


class RuleForm(FrozenStruct):
    """A rule as a form.

    Args:
        keys: Values of KEYS; empty for keys that the rule lacks.
        joined: `and` or `or` between the groups; the other word joins the rows of a group.
        groups: Rows by group; most groups have one.
        tests: Tests; None leaves them unchanged, as for a rule in braces.
    """

    keys: TextDict
    joined: str
    groups: list[list[FormRow]]
    tests: list[RuleTestForm] | None = None


def form_of(text: str) -> RuleForm | None:
    """Parse a rule's text into a form; None if the text is not one rule."""
    try:
        values = values_of(text)
    except UsageError:
        return None
    return RuleForm({key: values.get(key, "") for key in KEYS}, *rows_of(values.get("when", "")), tests_of(text))


def with_form(text: str, form: RuleForm) -> str:
    """Apply the differences of a form to the rule's text. Raises: UsageError if the text is not one rule."""
    old = form_of(text)
    if old is None or (form.joined, form.groups) != (old.joined, old.groups):
        text = with_value(text, "when", condition_of(form.joined, form.groups))
    for key in KEYS:
        value = form.keys.get(key, "")
        if old is not None and value != old.keys[key]:
            text = with_value(text, key, value)
    return text if form.tests is None else with_tests(text, form.tests)


def rows_of(when: str) -> tuple[str, list[list[FormRow]]]:
    """Split a condition into the word that joins its groups, and their rows.

    >>> rows_of("a > 1 and (b in lists.x or not c)")[1][1]
    [FormRow(operand='b', comparison='in', value='lists.x'), FormRow(operand='c', comparison='is false', value='')]
    """
    condition = _bare(_tokens(when))
    if not condition or _has(condition, _CLAUSES):
        return "and", [[FormRow(when)]] if when.strip() else []
    joined = "or" if _has(condition, ["or"]) else "and"
    groups = []
    for part in _parts(condition, [joined]):
        bare = _bare(part)
        is_group = not _has(bare, [joined, *_CLAUSES])
        rows = _parts(bare, [_OTHER[joined]]) if is_group else [part]
        if not all(_bare(row) for row in rows):  # half typed, such as `a > 1 and`
            return "and", [[FormRow(when)]]
        groups.append([_row(when, row) for row in rows])
    return joined, groups


def condition_of(joined: str, groups: list[list[FormRow]]) -> str:
    """Join rows into a condition; rows without an operand are left out.

    Raises: UsageError for a row that would merge with its neighbors.
    """
    filled = [[row for row in rows if row.operand.strip()] for rows in groups]
    filled = [rows for rows in filled if rows]
    is_alone = sum(map(len, filled)) == 1
    clauses = []
    for rows in filled:
        text = f" {_OTHER[joined]} ".join(
            row.operand.strip() if is_alone and not row.comparison else _said(row) for row in rows
        )
        clauses.append(f"({text})" if len(rows) > 1 and joined == "and" and len(filled) > 1 else text)
    return f" {joined} ".join(clauses)


def _said(row: FormRow) -> str:
    operand = row.operand.strip()
    value = row.value.strip()
    for part in (operand, value) if row.comparison else ():
        _hold_apart(part)
    if row.comparison in {TRUE, FALSE}:
        return operand if row.comparison == TRUE else f"not {operand}"
    text = f"{operand} {row.comparison} {value}".strip()
    return f"({text})" if not row.comparison and _has(_tokens(text), ["and", "or", *_CLAUSES]) else text


def _hold_apart(part: str) -> None:
    part_tokens = _tokens(f"({part})")
    is_whole = [at for at, _ in _outer(part_tokens)] == [0, len(part_tokens) - 1]
    if not is_whole or _has(part_tokens[1:-1], ["and", "or", *_CLAUSES]):
        raise UsageError(f"{part} is not one value: a text needs quotes, and 'and' or 'or' another condition")


def _tokens(text: str) -> list[Token]:
    try:
        return tokens(text)[:-1]
    except ExpressionError:
        return []


def _row(when: str, part: list[Token]) -> FormRow:
    bare = _bare(part)
    at = next((at for at, token in _outer(bare) if token.text in _COMPARED and token.kind != "text"), 0)
    if _has(bare, ["and", "or", *_CLAUSES]) or (bare[:1] and bare[0].text == "not" and at):
        return FormRow(_cut(when, part))
    if not at:
        name = bare[1:] if bare[0].text == "not" else bare
        is_name = all(token.kind == "name" or token.text == "." for token in name)
        return FormRow(_cut(when, name), TRUE if name == bare else FALSE) if is_name else FormRow(_cut(when, part))
    first = at - (bare[at - 1].text == "not")
    end = at + 1
    if bare[at].text == "is":
        return FormRow(_cut(when, bare[:first]), " ".join(token.text for token in bare[first:]))
    sign = " ".join(token.text for token in bare[first:end])
    return FormRow(_cut(when, bare[:first]), sign, _cut(when, bare[end:]))


def _cut(when: str, part: list[Token]) -> str:
    return when[part[0].start : part[-1].end] if part else ""


def _outer(part: list[Token]) -> list[tuple[int, Token]]:
    depth = 0
    outer = []
    for at, token in enumerate(part):
        depth -= token.text in {")", "]"}
        outer += [(at, token)] if depth == 0 else []
        depth += token.text in {"(", "["}
    return outer


def _has(part: list[Token], words: Collection[str]) -> bool:
    return any(token.kind == "word" and token.text in words for _, token in _outer(part))


def _parts(part: list[Token], words: Collection[str]) -> list[list[Token]]:
    ends = [at for at, token in _outer(part) if token.kind == "word" and token.text in words]
    return [part[start + 1 : end] for start, end in zip([-1, *ends], [*ends, len(part)], strict=True)]


def _bare(part: list[Token]) -> list[Token]:
    open_brackets = list[int]()
    ends = dict[int, int]()
    at = 0
    for place, token in enumerate(part):
        if token.text in {"(", "["}:
            open_brackets.append(place)
        elif token.text in {")", "]"} and open_brackets:
            ends[open_brackets.pop()] = place
    while ends.get(at) == len(part) - 1 - at and part[at].text == "(":
        at += 1
    return part[at : len(part) - at]
