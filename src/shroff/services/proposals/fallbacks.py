"""Constants that mapped values fall back to, as in `'fraud' when row.Class == '1' else 'genuine'`.

A missing column and an unknown value take such a constant in silence. `check` refuses it for a verdict, from which
models learn, and warns of it in any other mapped value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from shroff.errors import Problem
from shroff.events.keys import FROM
from shroff.events.mapping import LABEL
from shroff.language import syntax
from shroff.language.parser import parse
from shroff.language.syntax import Binary, DottedName, Syntax, TableLookup, TextLiteral, WordLiteral
from shroff.language.yaml.text import Mapping, Node, Scalar

_VERDICT = "verdict"
_DISPUTES = "disputes"
_NOT_TYPES = frozenset(["entities", "tables"])
_PAIRS = (
    ("1", "0"),
    ("1.0", "0.0"),
    ("true", "false"),
    ("t", "f"),
    ("yes", "no"),
    ("y", "n"),
    ("fraud", "genuine"),
    ("fraudulent", "legitimate"),
    ("bad", "good"),
)
OPPOSITES = {
    form(value): form(opposite)
    for pair in _PAIRS
    for value, opposite in (pair, pair[::-1])
    for form in (str.lower, str.capitalize, str.upper)
}
_UNKNOWN = "VALUE"  # stands in a hint for a value that the file alone can tell
_UNCLEAR = "'unclear'"


class Fallback(NamedTuple):
    otherwise: Binary
    is_result: bool


def fallback_problems(tree: Node | None) -> tuple[list[Problem], list[Problem]]:
    """Errors and warnings for the constant fallbacks of all mappings of events.yaml.

    An expression that cannot be parsed is skipped: the loader reports it.
    """
    errors: list[Problem] = []
    warnings: list[Problem] = []
    for event, name, node in _mapped_values(tree):
        for fallback in fallbacks(node.text):
            if name == _VERDICT and event == LABEL and fallback.is_result:
                errors.append(_verdict_error(node, fallback.otherwise))
            else:
                warnings.append(_warning(node, event, name, fallback.otherwise))
    return errors, warnings


def fallbacks(text: str) -> Iterator[Fallback]:
    """The constants that an expression falls back to if a column of the line is missing or has an unknown value."""
    try:
        tree = parse(text)
    except syntax.ExpressionError:
        return
    yield from _fallbacks_in(tree, is_result=True)


def _fallbacks_in(tree: Syntax, *, is_result: bool) -> Iterator[Fallback]:
    match tree:
        case Binary(operator="else"):
            if _is_constant(tree.right) and _reads_line(tree.left):
                yield Fallback(tree, is_result)
            yield from _fallbacks_in(tree.left, is_result=is_result)
            yield from _fallbacks_in(tree.right, is_result=is_result)
        case Binary(operator="when"):
            yield from _fallbacks_in(tree.left, is_result=is_result)
            yield from _fallbacks_in(tree.right, is_result=False)
        case _:
            is_function = isinstance(tree, syntax.FunctionCall)
            for part in syntax.parts_of(tree):
                yield from _fallbacks_in(part, is_result=is_result and is_function)


def _is_constant(tree: Syntax) -> bool:
    if isinstance(tree, WordLiteral):
        return tree.word != "missing"
    if isinstance(tree, TextLiteral):
        return tree.value != ""
    if isinstance(tree, DottedName | TableLookup):
        return False
    parts = list(syntax.parts_of(tree))
    return all(_is_constant(part) for part in parts)


def _reads_line(tree: Syntax) -> bool:
    if isinstance(tree, DottedName):
        return tree.parts[0] in {"row", "item"}
    return any(_reads_line(part) for part in syntax.parts_of(tree))


def _verdict_error(node: Scalar, otherwise: Binary) -> Problem:
    constant = node.text[otherwise.right.start : otherwise.right.end]
    words = f"a verdict names both of its values: a missing column and an unknown value would be {constant}, too."
    return node.problem(words, _verdict_hint(node, otherwise), otherwise.right.start)


def _verdict_hint(node: Scalar, otherwise: Binary) -> str:
    text = node.text
    condition = _last_condition(otherwise.left)
    if condition is None:  # a plain value, such as row.verdict
        corrected = text[: otherwise.left.end] + text[otherwise.right.end :]
        return f"Write {_line(corrected)}."
    constant = text[otherwise.right.start : otherwise.right.end]
    opposite = _negated(condition, text) if constant == _UNCLEAR else _opposite(condition, text)
    corrected = f"{text[: otherwise.right.end]} when {opposite}{text[otherwise.right.end :]}"
    if _UNKNOWN not in opposite:
        return f"Write {_line(corrected)}."
    return f"Write {_line(corrected)}, with the file's value for {constant} in the place of {_UNKNOWN}."


def _line(expression: str) -> str:
    joined = " ".join(expression.split())
    needs_quotes = joined.startswith(("'", '"', "[", "{", "!", ">", "&", "*")) or ": " in joined or " #" in joined
    return f"{_VERDICT}: {json.dumps(joined, ensure_ascii=False) if needs_quotes else joined}"


def _last_condition(tree: Syntax) -> Syntax | None:
    while isinstance(tree, Binary) and tree.operator == "else":
        tree = tree.right
    return tree.right if isinstance(tree, Binary) and tree.operator == "when" else None


def _negated(condition: Syntax, text: str) -> str:
    match condition:
        case Binary(operator="==", left=left, right=right):
            return f"{text[left.start : left.end]} != {text[right.start : right.end]}"
        case syntax.Within(negated=False, operand=column, values=values) if values:
            _, _, listed = text[column.end : condition.end].partition("in")
            return f"{text[column.start : column.end]} not in {listed.strip()}"
        case _:
            return f"not ({text[condition.start : condition.end]})"


def _opposite(condition: Syntax, text: str) -> str:
    match condition:
        case Binary(operator="==", left=column, right=value) if not _is_constant(column) and _is_constant(value):
            return f"{text[column.start : column.end]} == {_opposite_value(value, text)}"
        case syntax.Within(negated=False, operand=column, values=values) if values:
            others = [_opposite_value(value, text) for value in values]
            if repr(_UNKNOWN) not in others:
                return f"{text[column.start : column.end]} in [{', '.join(others)}]"
            return f"{text[column.start : column.end]} == '{_UNKNOWN}'"
        case DottedName():
            return f"{text[condition.start : condition.end]} == false"
        case _:
            return f"{_first_column(condition, text)} == '{_UNKNOWN}'"


def _opposite_value(value: Syntax, text: str) -> str:
    if isinstance(value, TextLiteral):
        return repr(OPPOSITES.get(value.value, _UNKNOWN))
    return OPPOSITES.get(text[value.start : value.end], repr(_UNKNOWN))


def _first_column(tree: Syntax, text: str) -> str:
    if isinstance(tree, DottedName):
        return text[tree.start : tree.end]
    return next(filter(None, (_first_column(part, text) for part in syntax.parts_of(tree))), "")


def _warning(node: Scalar, event: str, name: str, otherwise: Binary) -> Problem:
    constant = node.text[otherwise.right.start : otherwise.right.end]
    words = f"{event}.{name}: a missing column and an unknown value are {constant} without a word."
    column = _first_column(otherwise.left, node.text)
    hint = f"Name what stands for it, as in {constant} when {column} == '…', or leave the 'else' out."
    return node.problem(words, hint, otherwise.right.start)


def _mapped_values(tree: Node | None) -> Iterator[tuple[str, str, Scalar]]:
    for key, value in tree.entries if isinstance(tree, Mapping) else ():
        if key.text in _NOT_TYPES or not isinstance(value, Mapping):
            continue
        yield from _of_formats(key.text, value.get("from"))
        if key.text == LABEL:
            yield from _of_formats(LABEL, value.get(_DISPUTES))


def _of_formats(event: str, node: Node | None) -> Iterator[tuple[str, str, Scalar]]:
    for key, mapping in node.entries if isinstance(node, Mapping) else ():
        if key.text not in FROM.names or not isinstance(mapping, Mapping):
            continue
        for name, value in mapping.entries:
            if isinstance(value, Scalar):
                yield event, name.text, value
