"""Readers of values in project files; each adds a problem if it cannot read its value.

They return None after adding a problem, so that a loader can continue and report every mistake of a project at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from shroff.errors import Problem, nearest
from shroff.language.checker import check
from shroff.language.expression import Node as Expression
from shroff.language.keys import MappingShape, One
from shroff.language.names import Scope
from shroff.language.syntax import ExpressionError, SpoiledError
from shroff.language.types import UNITS_MAX, Type
from shroff.language.values import DAY_MS, is_zone, parse_decimal, parse_duration, parse_share, quoted, to_real
from shroff.language.yaml.text import Mapping, Node, Scalar, Sequence, whole_text

NAME = re.compile(r"[a-z][a-z0-9_]*")
NAME_LENGTH_MAX = 100
_T = TypeVar("_T")


def expression(
    node: Node,
    scope: Scope,
    problems: list[Problem],
    wanted: Type | None = None,
    *,
    offset: int = 0,
    end: int | None = None,
) -> Expression | None:
    """Read an expression from a scalar, or from its part [offset, end)."""
    if not isinstance(node, Scalar):
        node.report(problems, f"{scope.what} must be one expression, not a {_shape(node)}")
        return None
    if end is None and not whole_text(node, problems, what="expression"):
        return None
    text = node.text[offset:end]
    if not text.strip():
        node.report(problems, f"{scope.what} is empty")
        return None
    try:
        return check(text, scope, wanted)
    except SpoiledError:
        return None
    except ExpressionError as error:
        node.report(problems, error.message, error.hint, offset + error.start)
        return None


def _shape(node: Node) -> str:
    return "list" if isinstance(node, Sequence) else "mapping" if isinstance(node, Mapping) else "value"


def mapping(node: Node | None, problems: list[Problem], what: str, keys: MappingShape | None = None) -> Mapping | None:
    """Return the node as a mapping; with `keys`, add a problem for each unknown and each missing key."""
    if isinstance(node, Mapping) and keys:
        check_keys(node, keys, problems, what)
    if node is None or isinstance(node, Mapping):
        return node
    node.report(problems, f"{what} must be a mapping of names to values, not a {_shape(node)}")
    return None


def sequence(node: Node | None, problems: list[Problem], what: str) -> Sequence | None:
    """Return the node as a list."""
    if node is None or isinstance(node, Sequence):
        return node
    node.report(problems, f"{what} must be a list, not a {_shape(node)}")
    return None


def scalar(node: Node | None, problems: list[Problem], what: str) -> Scalar | None:
    """Return the node as one non-empty value."""
    if node is None:
        return None
    if not isinstance(node, Scalar):
        node.report(problems, f"{what} must be one value, not a {_shape(node)}")
        return None
    if not node.text.strip():
        node.report(problems, f"{what} is empty")
        return None
    return node


def by_name(
    node: Node | None,
    file: str,
    most: int,
    keys: MappingShape,
    load: Callable[[str, Mapping], _T],
    problems: list[Problem],
) -> dict[str, _T]:
    """Load the mappings of a file by name; one with a mistake is left out after its problems are added.

    Args:
        most: Largest number of mappings.
        keys: Keys of each mapping; their `what` is a noun such as `a funnel`.
        load: Loads one from its name and mapping, and adds a problem for each mistake.
    """
    top = mapping(node, problems, file)
    noun = keys.what.removeprefix("a ")
    found: dict[str, _T] = {}
    if top is not None and len(top.entries) > most:
        top.report(problems, f"a project has at most {most} {noun}s, not {len(top.entries)}.")
        return {}
    for key, value in top.entries if top else ():
        named = name(key, problems, keys.what)
        what = f"the {noun} {key.text}"
        tree = mapping(value, problems, what)
        if named is None or tree is None:
            continue
        before = len(problems)
        check_keys(tree, keys, problems, what)
        loaded = load(named, tree)
        if len(problems) == before:
            found[named] = loaded
    return found


def check_keys(found: Mapping, keys: MappingShape, problems: list[Problem], what: str) -> None:
    """Add problems for unknown keys and missing required ones."""
    known = keys.names
    for key, _ in found.entries:
        if key.text not in known:
            hint = nearest(key.text, known) or f"It takes {', '.join(known)}."
            key.report(problems, f"{what} has no key {key.text!r}.", hint)
    lacking = [name for name in keys.required if found.get(name) is None]
    if lacking:
        found.report(problems, f"{what} lacks {', '.join(lacking)}.")


def name(key: Scalar, problems: list[Problem], what: str, reserved: Collection[str] = ()) -> str | None:
    """Read a name: lower-case letters, digits and underscores, but no reserved word."""
    if not NAME.fullmatch(key.text) or len(key.text) > NAME_LENGTH_MAX:
        key.report(
            problems,
            f"{key.text!r} is not a name for {what}.",
            "Names are lower-case letters, digits and _, and begin with a letter.",
        )
        return None
    if key.text in reserved:
        key.report(problems, f"{key.text!r} is a word of the language and cannot name {what}.")
        return None
    return key.text


def one_of(node: Node | None, options: Collection[str], problems: list[Problem], what: str) -> str | None:
    """Read one of some words."""
    found = scalar(node, problems, what)
    if found is None:
        return None
    if found.text not in options:
        hint = nearest(found.text, options)
        found.report(problems, f"{what} is {' or '.join(options)}, not {found.text!r}.", hint)
        return None
    return found.text


def boolean(node: Node | None, problems: list[Problem], what: str) -> bool | None:
    """Read `true` or `false`."""
    word = one_of(node, ("true", "false"), problems, what)
    return None if word is None else word == "true"


def duration_ms(node: Node | None, problems: list[Problem], what: str) -> int | None:
    """Read a duration such as 7d."""
    found = scalar(node, problems, what)
    if found is None:
        return None
    try:
        return parse_duration(found.text)
    except ValueError as error:
        named = found.path.rpartition(".")[2] == what  # the place contains the name already
        found.report(problems, f"{error}." if named else f"{what}: {error}.")
        return None


def zone(node: Node | None, problems: list[Problem]) -> str | None:
    """Read a time zone such as Europe/Berlin."""
    found = scalar(node, problems, "zone")
    if found is None:
        return None
    if not is_zone(found.text):
        found.report(problems, f"{found.text!r} is not a time zone.", "Write one as Europe/Berlin.")
        return None
    return found.text


def expiry_ms(node: Node | None, problems: list[Problem]) -> int | None:
    """Read a day `2027-12-31`; return the first instant after it, UTC."""
    found = scalar(node, problems, "expires")
    if found is None:
        return None
    try:
        day = datetime.strptime(found.text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        found.report(problems, f"expires is a day such as 2027-12-31, not {found.text!r}.")
        return None
    return round(day.timestamp()) * 1_000 + DAY_MS


def percent(node: Node | None, problems: list[Problem], what: str) -> float | None:
    """Read a share in percent, `25%`, as a number in [0, 1]."""
    found = scalar(node, problems, what)
    if found is None:
        return None
    if re.fullmatch(r"\d{1,3}(\.\d{1,4})?\s*%", found.text) and (share := parse_share(found.text)) <= 1:
        return share
    found.report(problems, f"{what} is a share such as 25%, not {found.text!r}.")
    return None


def matching(node: Node | None, shape: One, problems: list[Problem]) -> str:
    """Read a text with the pattern of a shape; empty without one."""
    found = scalar(node, problems, shape.what)
    if found is None or re.fullmatch(shape.pattern, found.text):
        return found.text if found else ""
    found.report(problems, f"expected {shape.what}, found {found.text!r}.")
    return ""


def score(node: Node | None, problems: list[Problem], what: str) -> float | None:
    """Read a score from 0 to 1."""
    found = scalar(node, problems, what)
    if found is None:
        return None
    try:
        digits, places = parse_decimal(found.text)
    except ValueError:
        digits, places = -1, 0
    if not 0 <= digits <= 10**places:
        found.report(problems, f"{what} is a score from 0 to 1, not {found.text!r}.")
        return None
    return to_real(digits, places)


def decimal(
    node: Node | None,
    problems: list[Problem],
    what: str,
    low: int = 0,
    high: int | None = None,
    *,
    is_above: bool = False,
    is_whole: bool = False,
) -> Decimal | None:
    """Read a number exactly, from `low` (with `is_above`, above it) to `high`, inclusive; possibly a whole one."""
    found = scalar(node, problems, what)
    if found is None:
        return None
    try:
        parse_decimal(found.text)
        value = Decimal(found.text.strip())
        is_in = (value > low if is_above else value >= low) and (high is None or value <= high)
    except ValueError:
        value, is_in = Decimal(0), False
    if not is_in or (is_whole and value != value.to_integral_value()):
        kind = "a whole number" if is_whole else "a number"
        start = f"above {low}" if is_above else f"from {low}"
        end = ("" if is_above else " on") if high is None else f" and at most {high}" if is_above else f" to {high}"
        found.report(problems, f"{what} is {kind} {start}{end}, not {quoted(found.text)}.")
        return None
    return value


def minor_units(node: Node | None, places: int, problems: list[Problem], what: str) -> int | None:
    """Read an amount of the project's money, in minor units."""
    found = decimal(node, problems, what, 0, UNITS_MAX // 10**places)
    if found is None or node is None:
        return None
    minor = Fraction(found) * 10**places
    if minor.denominator != 1:
        node.report(problems, f"{what} has more than the {places} places of the project's money.")
        return None
    return int(minor)
