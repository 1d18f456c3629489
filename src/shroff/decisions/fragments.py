"""The JSON of whole columns of values, as `canonical_value` gives it for one.

Every decision shows all its features, so this is on the path of every event.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from shroff.events.event import SAFE_INTEGER_MAX, canonical_real, canonical_value
from shroff.language.columns import Array, Column, values_of
from shroff.language.types import Type

PLAIN_MIN: Final = 1e-4  # between these every writer of shortest digits writes them without an exponent
PLAIN_MAX: Final = 1e15
_BOOLEANS: Final = ("false", "true")


def column_json(column: Column, type_: Type, money_places: int) -> list[str]:
    """The JSON of each value, `null` where it is missing."""
    fragments = _fragments(column, type_, money_places)
    if fragments is None:
        return [canonical_value(value, type_, money_places) for value in values_of(column)]
    if column.valid.all():
        return fragments
    return [text if valid else "null" for text, valid in zip(fragments, column.valid.tolist(), strict=True)]


def _fragments(column: Column, type_: Type, money_places: int) -> list[str] | None:
    """The texts of types that have a short way; None for the others and for numbers beyond 64 bits."""
    values = column.values
    if type_.kind == "real":
        return _reals(values)
    if type_.kind == "boolean":
        return [_BOOLEANS[value] for value in values.tolist()]
    if values.dtype == object or not len(values):
        return None
    if type_.kind == "integer" and int(values.min()) >= -SAFE_INTEGER_MAX and int(values.max()) <= SAFE_INTEGER_MAX:
        return list(map(str, values.tolist()))
    if type_.kind == "money" and type_.places == money_places and money_places and int(values.min()) >= 0:
        whole, rest = np.divmod(values, 10**money_places)
        form = f'"%d.%0{money_places}d"'
        return [form % pair for pair in zip(whole.tolist(), rest.tolist(), strict=True)]
    return None


def _reals(values: Array) -> list[str]:
    """Reals as RFC 8785 has them.

    The encoder writes the shortest digits too, but whole numbers as `1.0` and with
    exponents of its own; those it would write otherwise are mended or written one by one.
    """
    texts: list[str] = msgspec.json.encode(values.tolist()).decode()[1:-1].split(",") if len(values) else []
    sizes = np.abs(values)
    is_plain = (sizes >= PLAIN_MIN) & (sizes < PLAIN_MAX)
    for at in np.flatnonzero(is_plain & (values == np.floor(values))).tolist():
        texts[at] = texts[at].removesuffix(".0")
    for at in np.flatnonzero(~is_plain).tolist():
        texts[at] = canonical_real(float(values[at]))
    return texts
