"""A rule's text as a form, and back: rows of operand, comparison and value, and the keys beside the condition.

The text stays the only source. What a form changes is replaced in it; all else, comments too, stays as written. What
the form cannot take apart is a row without a comparison, which holds the expression as text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from shroff.errors import UsageError
from shroff.language.parser import Token, tokens
from shroff.language.syntax import ExpressionError
from shroff.rules.texts import values_of, with_value

KEYS: Final = ("description", "on", "by", "effect", "reason", "notify", "expires", "rollout")
TRUE: Final = "is true"
FALSE: Final = "is false"
_OTHER: Final = {"and": "or", "or": "and"}
_COMPARED: Final = frozenset(["==", "!=", "<", "<=", ">", ">=", "in", "is"])
_CLAUSES: Final = ("else", "when")


class FormRow(msgspec.Struct, frozen=True):
    """A condition. Without a comparison the operand is an expression that is shown as text."""

    operand: str
    comparison: str = ""
    value: str = ""


class RuleForm(msgspec.Struct, frozen=True):
    """A rule as a form.

    Args:
        keys: The values of KEYS; empty where the rule has none.
        joined: `and` or `or`, which joins the groups; the other word joins the rows of a group.
        groups: Rows by group; most groups have one.
    """

    keys: dict[str, str]
    joined: str
    groups: list[list[FormRow]]


def form_of(text: str) -> RuleForm | None:
    """The form of a rule's text; None if the text is not one rule."""
    try:
        found = values_of(text)
    except UsageError:
        return None
    return RuleForm({key: found.get(key, "") for key in KEYS}, *rows_of(found.get("when", "")))


def with_form(text: str, form: RuleForm) -> str:
    """The rule's text with what differs in a form. Raises: UsageError where the text is not one rule."""
    old = form_of(text)
    if old is None or (form.joined, form.groups) != (old.joined, old.groups):
        text = with_value(text, "when", condition_of(form.joined, form.groups))
    for key in KEYS:
        value = form.keys.get(key, "")
        if old is not None and value != old.keys[key]:
            text = with_value(text, key, value)
    return text


def rows_of(when: str) -> tuple[str, list[list[FormRow]]]:
    """What joins the groups of a condition, and their rows.

    >>> rows_of("a > 1 and (b in lists.x or not c)")[1][1]
    [FormRow(operand='b', comparison='in', value='lists.x'), FormRow(operand='c', comparison='is false', value='')]
    """
    try:
        whole = _bare(tokens(when)[:-1])
    except ExpressionError:
        whole = []
    if not whole or _has(whole, _CLAUSES):
        return "and", [[FormRow(when)]] if when.strip() else []
    joined = "or" if _has(whole, ["or"]) else "and"
    groups = []
    for part in _parts(whole, [joined]):
        bare = _bare(part)
        is_group = not _has(bare, [joined, *_CLAUSES])
        groups.append([_row(when, row) for row in (_parts(bare, [_OTHER[joined]]) if is_group else [part])])
    return joined, groups


def condition_of(joined: str, groups: Sequence[Sequence[FormRow]]) -> str:
    """The condition that these rows make; rows without an operand are left out."""
    there = [[row for row in rows if row.operand.strip()] for rows in groups]
    there = [rows for rows in there if rows]
    is_alone, found = sum(map(len, there)) == 1, []
    for rows in there:
        text = f" {_OTHER[joined]} ".join(
            row.operand.strip() if is_alone and not row.comparison else _said(row) for row in rows
        )
        found.append(f"({text})" if len(rows) > 1 and joined == "and" and len(there) > 1 else text)
    return f" {joined} ".join(found)


def _said(row: FormRow) -> str:
    operand, value = row.operand.strip(), row.value.strip()
    if row.comparison in {TRUE, FALSE}:
        return operand if row.comparison == TRUE else f"not {operand}"
    text = f"{operand} {row.comparison} {value}".strip()
    try:
        return f"({text})" if not row.comparison and _has(tokens(text), ["and", "or", *_CLAUSES]) else text
    except ExpressionError:
        return text


def _row(when: str, part: Sequence[Token]) -> FormRow:
    bare = _bare(part)
    at = next((at for at, token in _outer(bare) if token.text in _COMPARED and token.kind != "text"), 0)
    if _has(bare, ["and", "or", *_CLAUSES]) or (bare[:1] and bare[0].text == "not" and at):
        return FormRow(_cut(when, part))
    if not at:
        name = bare[1:] if bare[0].text == "not" else bare
        is_name = all(token.kind == "name" or token.text == "." for token in name)
        return FormRow(_cut(when, name), TRUE if name == bare else FALSE) if is_name else FormRow(_cut(when, part))
    first, end = at - (bare[at - 1].text == "not"), at + 1
    if bare[at].text == "is":
        return FormRow(_cut(when, bare[:first]), " ".join(token.text for token in bare[first:]))
    sign = " ".join(token.text for token in bare[first:end])
    return FormRow(_cut(when, bare[:first]), sign, _cut(when, bare[end:]))


def _cut(when: str, part: Sequence[Token]) -> str:
    return when[part[0].start : part[-1].end] if part else ""


def _outer(part: Sequence[Token]) -> list[tuple[int, Token]]:
    """The tokens outside of all brackets, with their places."""
    depth, found = 0, []
    for at, token in enumerate(part):
        depth -= token.kind == "sign" and token.text in {")", "]"}
        found += [(at, token)] if depth == 0 else []
        depth += token.kind == "sign" and token.text in {"(", "["}
    return found


def _has(part: Sequence[Token], words: Collection[str]) -> bool:
    return any(token.kind == "word" and token.text in words for _, token in _outer(part))


def _parts(part: Sequence[Token], words: Collection[str]) -> list[Sequence[Token]]:
    ends = [at for at, token in _outer(part) if token.kind == "word" and token.text in words]
    return [part[start + 1 : end] for start, end in zip([-1, *ends], [*ends, len(part)], strict=True)]


def _bare(part: Sequence[Token]) -> Sequence[Token]:
    """Without the brackets around all of it."""
    while part and part[0].text == "(" and [at for at, _ in _outer(part)] == [0, len(part) - 1]:
        part = part[1:-1]
    return part
