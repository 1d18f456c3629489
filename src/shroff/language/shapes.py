"""Reads values of project files by their declared shapes, where no loader is needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from shroff.errors import Problem, UsageError, nearest
from shroff.language.keys import DECIMAL, DURATION, PERCENT, WHOLE, Either, Late, Many, MappingShape, One, Shape
from shroff.language.types import UNITS_MAX
from shroff.language.values import parse_decimal, parse_duration, parse_share, quoted
from shroff.language.yaml.text import Mapping, Node, Scalar, Sequence

Plain = str | list["Plain"] | dict[str, "Plain"]
_T = TypeVar("_T")


def read_shape(node: Node, shape: Shape, problems: list[Problem], what: str) -> Plain | None:
    """Return a node as texts, lists and mappings; None, after adding a problem, if it does not fit the shape."""
    match shape:
        case Either():
            return _either(node, shape, problems, what)
        case One():
            return _one(node, shape, problems, what)
        case Many():
            return _many(node, shape, problems, what)
        case MappingShape():
            return _keys(node, shape, problems, what)
        case Late():
            try:
                made = shape.make()
            except UsageError as error:
                node.report(problems, str(error))
                return None
            return read_shape(node, made, problems, what)


def load_shape(
    node: Node | None, shape: MappingShape, made: Callable[..., _T], problems: list[Problem], what: str
) -> _T | None:
    """Read a mapping by its shape and pass its values to `made`; None without a node or after adding a problem.

    A duration becomes milliseconds and its argument's name ends in `_ms`; a share becomes a fraction, a list a tuple.
    """
    before = len(problems)
    read = None if node is None else read_shape(node, shape, problems, what)
    if not isinstance(read, dict) or len(problems) > before:
        return None
    values: dict[str, object] = dict(read)
    for key in shape.keys:
        match read.get(key.name), key.shape:
            case str(text), One() if key.shape is DURATION:
                del values[key.name]
                values[f"{key.name}_ms"] = parse_duration(text)
            case str(text), One() if key.shape is PERCENT:
                values[key.name] = parse_share(text)
            case list(items), _:
                values[key.name] = tuple(items)
    return made(**values)


def _either(node: Node, shape: Either, problems: list[Problem], what: str) -> Plain | None:
    """Read a node by the first shape of its kind that fits; if none does, add the problems of the first."""
    kind = One if isinstance(node, Scalar) else Many if isinstance(node, Sequence) else MappingShape
    first_problems: list[Problem] | None = None
    for unit in (other for other in shape.shapes if isinstance(other, kind)):
        unit_problems: list[Problem] = []
        value = read_shape(node, unit, unit_problems, what)
        if not unit_problems:
            return value
        first_problems = unit_problems if first_problems is None else first_problems
    problems += first_problems or [node.problem(f"{what} is {shape.what}.")]
    return None


def _one(node: Node, shape: One, problems: list[Problem], what: str) -> str | None:
    if not isinstance(node, Scalar) or (not node.text.strip() and not shape.may_be_empty):
        node.report(problems, f"{what} is {shape.what}.")
    elif shape.options and node.text not in shape.options:
        node.report(problems, f"{what} is {shape.what}.", nearest(node.text, shape.options))
    elif shape.pattern and not re.search(shape.pattern, node.text):
        node.report(problems, f"{what} is {shape.what}.")
    elif words := _excess(shape, node.text):
        node.report(problems, f"{what}: {words}.")
    else:
        return node.text
    return None


def _excess(shape: One, text: str) -> str:
    """Return why a well-formed duration or number is too large; empty if it is not."""
    try:
        if shape == DURATION:
            parse_duration(text)
        elif shape in {WHOLE, DECIMAL}:
            digits, places = parse_decimal(text)
            if abs(digits) > UNITS_MAX * 10**places:
                return f"the number {quoted(text)} is too large"
    except ValueError as error:
        return str(error)
    return ""


def _many(node: Node, shape: Many, problems: list[Problem], what: str) -> list[Plain] | None:
    if not isinstance(node, Sequence):
        node.report(problems, f"{what} is {shape.what}.")
        return None
    read = [read_shape(item, shape.item, problems, what) for item in node.items]
    return [part for part in read if part is not None]


def _keys(node: Node, shape: MappingShape, problems: list[Problem], what: str) -> dict[str, Plain] | None:
    if not isinstance(node, Mapping):
        node.report(problems, f"{what} is {shape.what}.")
        return None
    values: dict[str, Plain] = {}
    shapes = {key.name: key.shape for key in shape.keys}
    for key, value in node.entries:
        value_shape = shapes.get(key.text)
        if value_shape is None and shape.named is not None and key.text not in shape.reserved:
            value_shape = shape.named if re.search(shape.pattern, key.text) else None
        if value_shape is None:
            hint = nearest(key.text, shape.names) or (f"It takes {', '.join(shape.names)}." if shape.names else "")
            key.report(problems, f"{what} has no key {key.text!r}.", hint)
            continue
        read = read_shape(value, value_shape, problems, key.text)
        if read is not None:
            values[key.text] = read
    lacking = [name for name in shape.required if node.get(name) is None]
    if lacking:
        node.report(problems, f"{what} lacks {', '.join(lacking)}.")
    if shape.is_single and len(node.entries) != 1:
        node.report(problems, f"{what} names one of {', '.join(shape.names)}.")
    return values
