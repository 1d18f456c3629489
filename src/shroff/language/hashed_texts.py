"""Hashed texts in expressions: what may be asked of a value that is known by its keyed hash alone.

Equal values have equal hashes, in every field and list, and the last characters of a value stand behind its hash.
Everything else would be false for every event, so it is refused.
"""

from __future__ import annotations

from typing import NoReturn

from shroff.language import syntax
from shroff.language.expression import Literal, Node
from shroff.language.syntax import ExpressionError, Syntax
from shroff.language.types import HASHED_END, JOINED

_CURE = (
    "Compare it with a hashed field, or write the values into a list and ask 'in lists.NAME': they are hashed there. "
    "For a part of it, such as the first six digits, declare a field of its own in events.yaml: "
    "bin: left(row.card, 6), under 'from'."
)


def check_comparison(at: Syntax, *nodes: Node, has_order: bool = False) -> None:
    """Refuse a hashed text beside one in clear, and the order of hashed ones. Raises: ExpressionError."""
    found = {node.type.hashing for node in nodes if node.type.kind != "missing"}
    if len(found) > 1:
        _fail(at, "a hashed text stands beside one in clear here, and they are never equal.")
    if has_order and found - {""}:
        _fail(at, "hashed texts have no order.")


def check_list(at: Syntax, operand: Node) -> None:
    """Refuse to look for a text made of hashed ones in a list. Raises: ExpressionError."""
    if operand.type.hashing == JOINED:
        _fail(at, "a list has the hashes of whole values, and this is made of several.")


def check_key(at: Syntax, key: Node) -> None:
    """Refuse a hashed key of a table. Raises: ExpressionError."""
    if key.type.hashing:
        _fail(at, "a table has its keys in clear, and this one is hashed.")


def hashing_of_call(call: syntax.FunctionCall, arguments: tuple[Node, ...]) -> str:
    """The hashing of what a function gives. Raises: ExpressionError where it cannot look into a hashed text."""
    found = max(node.type.hashing for node in arguments)
    if not found or call.name == "text":
        return found
    if call.name == "join":
        return JOINED
    if call.name != "ends_with" or arguments[1].type.hashing:
        _fail(call, f"{call.name} cannot look into a hashed text.")
    end = arguments[1]
    if isinstance(end, Literal) and len(str(end.value)) > HASHED_END:
        _fail(call, f"only the last {HASHED_END} characters of a hashed text are in clear.")
    return ""


def _fail(at: syntax.Span, message: str) -> NoReturn:
    raise ExpressionError(message, at.start, at.end, _CURE)
