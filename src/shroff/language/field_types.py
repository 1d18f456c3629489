"""Field types of events.yaml: type, marks and bounds of a field.

Also checks of expressions that read a hashed text: what would be false for every event is refused.
"""

from __future__ import annotations

import math
import re
from typing import NoReturn

from shroff.errors import nearest
from shroff.language import syntax
from shroff.language.expression import ITEM, Literal, Node, RowValue
from shroff.language.names import Scope
from shroff.language.syntax import ExpressionError, Syntax
from shroff.language.types import (
    HASHED_END,
    INTEGER,
    JOINED,
    NAMES,
    NUMBER_PLACES,
    ORIGINAL_PLACES,
    PLACES_MAX,
    TEXT,
    Type,
    money,
    number,
)
from shroff.language.values import check_real, parse_decimal, parse_duration, parse_time, quoted, show_time
from shroff.runtime.values import FrozenStruct

_OF_HASHED = (
    "Compare it with a hashed field, or write the values into a list and ask 'in lists.NAME': they are hashed there. "
    "For a part of it, such as the first six digits, declare a field of its own in events.yaml: "
    "bin: left(row.card, 6), under 'from'."
)
MARKS = ("hashed", "unique", "personal")
BOUNDED = ("integer", "number", "real", "money", "duration", "time")  # types whose fields may have bounds
_MEANT = {  # by names that other systems have for a type
    word: meant
    for meant, words in {
        "text": "string str varchar char uuid",
        "integer": "int bigint long",
        "real": "float double",
        "number(2)": "decimal numeric",
        "boolean": "bool",
        "time": "date datetime timestamp",
        "choice(a, b)": "enum",
        **{f"text {mark}": mark for mark in MARKS},
    }.items()
    for word in words.split()
}
_LENGTH_MAX = 65_536  # characters; a choice may list many texts
_FIELD_TYPE = re.compile(
    r"\s*([a-z_]+)\s*(?:\((.*)\))?\s*(\?)?\s*((?:[a-z]++\s*+)*+)(?:(\d[0-9a-z]{0,40})\s*)?([<>].*)?$", re.DOTALL
)
_WITHIN = "unique within"
_IN = re.compile(r"^(\s*money\s*\??)\s+in\s+([A-Za-z_][A-Za-z0-9_]*)(?=\s|[<>]|$)")
_BOUND = re.compile(r"([<>]=?)\s*(\S{1,400})")
_WORDS = {">": "above {}", ">=": "at least {}", "<": "below {}", "<=": "at most {}"}
_TIME_WORDS = {">": "after {}", ">=": "not before {}", "<": "before {}", "<=": "not after {}"}


class TypeTextError(ValueError):
    """A text that is not a type; the message lists the types."""


class Bound(FrozenStruct):
    """One bound of a field, such as `> 0`: the sign, and the limit in stored units."""

    sign: str
    limit: int | float
    words: str  # the limit, for a message

    @property
    def is_strict(self) -> bool:
        """Return whether the limit itself is excluded."""
        return self.sign in {">", "<"}

    @property
    def is_lower(self) -> bool:
        return self.sign in {">", ">="}

    @property
    def nearest_inside(self) -> int | float:
        """Return the allowed value nearest to the limit."""
        if not self.is_strict:
            return self.limit
        if isinstance(self.limit, float):
            return math.nextafter(self.limit, math.inf if self.is_lower else -math.inf)
        return self.limit + (1 if self.is_lower else -1)


class Bounds(FrozenStruct):
    """Allowed values of a field, from `least` to `most`, both inclusive.

    >>> str(parse_field_type("integer >= 1 and < 5", money_places=2).bounds)
    'at least 1 and below 5'
    """

    ends: tuple[Bound, ...]
    least: int | float
    most: int | float

    def __str__(self) -> str:
        return " and ".join(end.words for end in self.ends)


class FieldType(FrozenStruct):
    """Type of a field in events.yaml, with its marks and bounds."""

    type: Type
    is_optional: bool = False
    is_hashed: bool = False
    is_unique: bool = False
    within_ms: int = 0  # of a unique field: values this far apart are compared; 0 for all
    is_personal: bool = False
    bounds: Bounds | None = None
    currency: str = ""  # of `money in FIELD`: the field with the currency of the amount


def parse_field_type(text: str, *, money_places: int) -> FieldType:
    """Read `text?`, `number(2)`, `choice(pos, web, ...)?`, `text? hashed unique`, `text personal`, `money > 0`,
    `money in currency`.

    Raises: TypeTextError with the nearest name that exists.
    """
    if len(text) > _LENGTH_MAX:
        raise TypeTextError(f"a type of {len(text)} characters is too long.")
    currency = of[2] if (of := _IN.search(text)) else ""
    text = _IN.sub(r"\1", text)
    found = _FIELD_TYPE.match(text)
    if not found:
        raise TypeTextError(f"{text!r} is not a type; types are {', '.join(NAMES)}.")
    name, inside, mark, words, duration, ends = found.groups()
    marks, within_ms = _marks(words.split(), duration)
    for word in marks:
        if word not in MARKS:
            hint = nearest(word, MARKS) or f"Marks are {', '.join(MARKS)}."
            raise TypeTextError(f"{word!r} is not a mark of a field. {hint}")
    if len(set(marks)) != len(marks):
        raise TypeTextError(f"a mark is used twice in {text!r}.")
    if currency and marks:
        raise TypeTextError(f"money in another currency takes no marks: money in {currency}.")
    type_ = _named_type(name, inside, ORIGINAL_PLACES if currency else money_places)
    if "hashed" in marks and type_.kind != "text":
        raise TypeTextError(f"only text can be hashed, {name} cannot.")
    if "personal" in marks and (type_.kind != "text" or len(marks) > 1):
        raise TypeTextError("a personal field is text without another mark: text personal, or text? personal.")
    bounds = None if ends is None else _bounds(ends, type_)
    is_unique = "unique" in marks
    is_personal = "personal" in marks
    return FieldType(type_, mark is not None, "hashed" in marks, is_unique, within_ms, is_personal, bounds, currency)


def _marks(words: list[str], duration: str | None) -> tuple[list[str], int]:
    """Return the marks of a field, and the duration after `unique within`."""
    if words[-2:] != _WITHIN.split() and duration is None:
        return words, 0
    if words[-2:] != _WITHIN.split() or duration is None:
        raise TypeTextError("a duration stands behind 'unique within', and nowhere else: text unique within 7d.")
    try:
        within_ms = parse_duration(duration)
    except ValueError as error:
        raise TypeTextError(f"{_WITHIN}: {error}.") from None
    if not within_ms:
        raise TypeTextError(f"{_WITHIN} {duration}: it takes a duration above 0.")
    return words[:-1], within_ms


def _named_type(name: str, inside: str | None, money_places: int) -> Type:
    if name not in NAMES:
        meant = f"Did you mean {_MEANT[name]}?" if name in _MEANT else nearest(name, NAMES)
        raise TypeTextError(f"{name!r} is not a type. {meant or 'Types are ' + ', '.join(NAMES) + '.'}")
    if name == "choice":
        return _choice(inside)
    if name == "number":
        return number(NUMBER_PLACES if inside is None else _places(inside))
    if inside is not None:
        raise TypeTextError(f"{name} has no options in brackets.")
    return money(money_places) if name == "money" else Type(name)


def _places(inside: str) -> int:
    if not re.fullmatch(r"\s*\d{1,2}\s*", inside) or int(inside) > PLACES_MAX:
        raise TypeTextError(f"number takes its places in brackets, 0 to {PLACES_MAX}, not {inside.strip()!r}.")
    return int(inside)


def _choice(inside: str | None) -> Type:
    values = [value.strip() for value in (inside or "").split(",")]
    is_open = bool(values) and values[-1] == "..."
    values = values[:-1] if is_open else values
    if not values or "" in values:
        raise TypeTextError("choice takes its texts in brackets, such as choice(pos, web, atm).")
    if len(set(values)) != len(values):
        raise TypeTextError("a text is used twice in this choice.")
    return Type("choice", choices=tuple(values), is_open=is_open)


def _bounds(text: str, type_: Type) -> Bounds:
    """Parse `> 0` or `>= 0 and < 100`: at most one lower and one upper bound."""
    if type_.kind not in BOUNDED:
        raise TypeTextError(f"{type_} takes no bounds; {', '.join(BOUNDED)} do.")
    ends = tuple(_bound(part.strip(), type_) for part in re.split(r"\band\b", text))
    lower, upper = ([end for end in ends if end.is_lower is is_lower] for is_lower in (True, False))
    if len(lower) > 1 or len(upper) > 1:
        raise TypeTextError(f"two lower or two upper bounds stand in {quoted(text)}.")
    least = lower[0].nearest_inside if lower else -math.inf
    most = upper[0].nearest_inside if upper else math.inf
    if least > most:
        raise TypeTextError(f"no value is {' and '.join(end.words for end in ends)}.")
    return Bounds(ends, least, most)


def _bound(text: str, type_: Type) -> Bound:
    found = _BOUND.fullmatch(text)
    if found is None:
        raise TypeTextError(f"{quoted(text)} is not a bound; write such as > 0 or >= 0 and < 100.")
    sign, written = found.groups()
    try:
        limit = _limit(written, type_)
    except (ValueError, OverflowError) as error:
        raise TypeTextError(f"the bound {sign} {quoted(written)} of a {type_}: {error}.") from None
    words = _TIME_WORDS[sign].format(show_time(int(limit))) if type_.kind == "time" else _WORDS[sign].format(written)
    return Bound(sign, limit, words)


def _limit(text: str, type_: Type) -> int | float:
    """Return the limit in stored units. Raises: ValueError."""
    if type_.kind == "duration":
        return parse_duration(text)
    if type_.kind == "time":
        return parse_time(text if "T" in text else f"{text}T00:00:00Z")
    plain = text.replace("_", "")
    digits, places = parse_decimal(plain)
    if type_.kind == "real":
        return check_real(float(plain))
    if places > type_.places and digits % 10 ** (places - type_.places):
        raise ValueError(f"it has more than {type_.places} decimal places")
    return int(digits * 10**type_.places) // int(10**places)


# ---- hashed texts in expressions: equal values have equal hashes, and each hash ends with the last characters in clear


def check_comparison(at: Syntax, *nodes: Node, has_order: bool = False) -> None:
    """Refuse to compare a hashed text with one in clear, or hashed ones by order. Raises: ExpressionError."""
    found = {node.type.hashing for node in nodes if node.type.kind != "missing"}
    if len(found) > 1:
        _refuse(at, "a hashed text stands beside one in clear here, and they are never equal.")
    if has_order and found - {""}:
        _refuse(at, "hashed texts have no order.")


def check_list(at: Syntax, operand: Node) -> None:
    """Refuse to look up a text made of hashed ones in a list. Raises: ExpressionError."""
    if operand.type.hashing == JOINED:
        _refuse(at, "a list has the hashes of whole values, and this is made of several.")


def check_key(at: Syntax, key: Node, wanted: Type) -> None:
    """Refuse a hashed key of a table with keys in clear, and the reverse. Raises: ExpressionError."""
    if key.type.hashing and not wanted.hashing:
        _refuse(at, "a table has its keys in clear, and this one is hashed.")
    if wanted.hashing and not key.type.hashing:
        _refuse(at, "the table has hashed keys, and this one is in clear.")


def hashing_of_call(call: syntax.FunctionCall, arguments: tuple[Node, ...]) -> str:
    """Return the hashing of a function's result. Raises: ExpressionError if it would need to read a hashed text."""
    found = max(node.type.hashing for node in arguments)
    if not found or call.name == "text":
        return found
    if call.name == "join":
        return JOINED
    if call.name != "ends_with" or arguments[1].type.hashing:
        _refuse(call, f"{call.name} cannot look into a hashed text.")
    end = arguments[1]
    if isinstance(end, Literal) and len(str(end.value)) > HASHED_END:
        _refuse(call, f"only the last {HASHED_END} characters of a hashed text are in clear.")
    return ""


def row_value(name: syntax.DottedName, scope: Scope) -> RowValue:
    """Return a value of the mapped line, or of its item that `each` selects. Raises: ExpressionError."""
    if not scope.reads_row:
        _refuse(name, f"'row' is the line of a file; it cannot be read in {scope.what}", "")
    path = tuple(int(part) if at in name.indices else part for at, part in enumerate(name.parts))[1:]
    if name.parts[0] == "item":
        if scope.each is None:
            hint = "Write each: row.items beside it, with the path of the array."
            _refuse(name, "'item' is an item of the array that `each` names, and there is no `each` here.", hint)
        return RowValue(TEXT, (*scope.each, ITEM, *path))
    if not path:
        _refuse(name, "name a column: row.Date or row['Amount paid']", "")
    if path == ("item",) and scope.each is not None:
        return RowValue(INTEGER, (*scope.each, ITEM))
    return RowValue(INTEGER if path == ("number",) else TEXT, path)


def _refuse(at: syntax.Span, message: str, hint: str = _OF_HASHED) -> NoReturn:
    raise ExpressionError(message, at.start, at.end, hint)
