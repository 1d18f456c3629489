"""The types of the language.

A value of each type, as the core holds it:

    text, choice     str
    integer          int, 64 bits where it is stored
    number           int, the value times 10**places
    money            int, smallest units: the value times 10**places
    real             float, finite
    boolean          bool
    time             int, UTC milliseconds
    duration         int, milliseconds

A missing value of any type is None. Exact types (integer, number, money) are calculated
with as integers; a real is the nearest float to the value in whole units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shroff.errors import nearest

PLACES_MAX: Final = 12
NUMBER_PLACES: Final = 6
UNITS_MAX: Final = 10**15  # largest money or number value at the door, in smallest units
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1
WIDE_MIN: Final = -(2**127)
WIDE_MAX: Final = 2**127 - 1
NAMES: Final = ("text", "integer", "number", "real", "money", "boolean", "time", "duration", "choice")


@dataclass(frozen=True, slots=True)
class Type:
    """One type. `places` is the number of decimals of a number or money value."""

    kind: str
    places: int = 0
    choices: tuple[str, ...] = ()
    is_open: bool = False  # a choice whose list ends with `...`

    @property
    def is_exact(self) -> bool:
        return self.kind in {"integer", "number", "money"}

    @property
    def is_numeric(self) -> bool:
        return self.is_exact or self.kind == "real"

    @property
    def is_text(self) -> bool:
        return self.kind in {"text", "choice"}

    def __str__(self) -> str:
        return self.kind


TEXT: Final = Type("text")
INTEGER: Final = Type("integer")
REAL: Final = Type("real")
BOOLEAN: Final = Type("boolean")
TIME: Final = Type("time")
DURATION: Final = Type("duration")
NOTHING: Final = Type("missing")  # of the literal `missing`, which stands for any type


def number(places: int = NUMBER_PLACES) -> Type:
    """The exact decimal type with this many places."""
    return Type("number", places)


def money(places: int) -> Type:
    """The money type with this many places."""
    return Type("money", places)


@dataclass(frozen=True, slots=True)
class FieldType:
    """What stands behind a field in events.yaml: a type and its marks."""

    type: Type
    is_optional: bool = False
    is_hashed: bool = False
    is_unique: bool = False
    is_personal: bool = False


class TypeTextError(ValueError):
    """The text does not name a type; the message says what would."""


MARKS: Final = ("hashed", "unique", "personal")
_LENGTH_MAX: Final = 65_536  # characters; a choice may list many texts
_FIELD_TYPE = re.compile(r"\s*([a-z_]+)\s*(?:\((.*)\))?\s*(\?)?\s*((?:[a-z]++\s*+)*+)$", re.DOTALL)


def parse_field_type(text: str, *, money_places: int) -> FieldType:
    """Read `text?`, `number(2)`, `choice(pos, web, ...)?`, `text? hashed unique`, `text personal`.

    Raises: TypeTextError with the nearest name that exists.
    """
    if len(text) > _LENGTH_MAX:
        raise TypeTextError(f"a type of {len(text)} characters is too long.")
    found = _FIELD_TYPE.match(text)
    if not found:
        raise TypeTextError(f"{text!r} is no type; types are {', '.join(NAMES)}.")
    name, inside, mark, words = found.groups()
    marks = words.split()
    for word in marks:
        if word not in MARKS:
            hint = nearest(word, MARKS) or f"Marks are {', '.join(MARKS)}."
            raise TypeTextError(f"{word!r} is no mark of a field. {hint}")
    if len(set(marks)) != len(marks):
        raise TypeTextError(f"a mark stands twice in {text!r}.")
    type_ = _named_type(name, inside, money_places)
    if "hashed" in marks and type_.kind != "text":
        raise TypeTextError(f"only text can be hashed, {name} cannot.")
    if "personal" in marks and (type_.kind != "text" or len(marks) > 1):
        raise TypeTextError("a personal field is text without another mark: text personal, or text? personal.")
    return FieldType(type_, mark is not None, "hashed" in marks, "unique" in marks, "personal" in marks)


def _named_type(name: str, inside: str | None, money_places: int) -> Type:
    if name not in NAMES:
        raise TypeTextError(f"{name!r} is no type. {nearest(name, NAMES) or 'Types are ' + ', '.join(NAMES) + '.'}")
    if name == "choice":
        return _choice(inside)
    if name == "number":
        return number(NUMBER_PLACES if inside is None else _places(inside))
    if inside is not None:
        raise TypeTextError(f"{name} takes nothing in brackets.")
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
        raise TypeTextError("a text stands twice in this choice.")
    return Type("choice", choices=tuple(values), is_open=is_open)
