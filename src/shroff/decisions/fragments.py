"""The JSON of whole columns of values, as `canonical_value` gives it for one.

Every decision shows all its features, so this is on the path of every event.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from shroff.events.event import SAFE_INTEGER_MAX, canonical_real, canonical_value
from shroff.language.columns import Column, values_of
from shroff.language.types import Type

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
        return [canonical_real(value) for value in values.tolist()]
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
