"""What each aggregate makes of the values that it sees: the definitions, one line each.

The fast engines keep running answers instead; this is what these must equal.
"""

from __future__ import annotations

import math
from typing import Any

from shroff.language.expression import Aggregate
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, UNITS_MAX
from shroff.language.values import Value


def aggregate_values(node: Aggregate, values: list[Any]) -> Value:
    """What an aggregate makes of the values that are there, in the order (time, place)."""
    function = node.function
    if function in {"sum", "mean", "std"}:
        return _sums(node, [value for value in values if -UNITS_MAX <= value <= UNITS_MAX])
    values = [value for value in values if not isinstance(value, int) or INTEGER_MIN <= value <= INTEGER_MAX]
    if function == "distinct":
        return len(set(values))
    if not values:
        return None
    if function == "quantile":
        over, under = node.rank or (0, 1)
        return sorted(values)[max(-(-over * len(values) // under), 1) - 1]  # type: ignore[no-any-return]  # sorted forgets the type
    if function in {"first", "last"}:
        return values[0 if function == "first" else -1]  # type: ignore[no-any-return]  # values of one type, the aggregate's
    return min(values) if function == "min" else max(values)  # type: ignore[no-any-return]  # as above


def _sums(node: Aggregate, values: list[int]) -> Value:
    count, total = len(values), sum(values)
    places = node.argument.type.places if node.argument is not None else 0
    if node.function != "std" and not INTEGER_MIN <= total <= INTEGER_MAX:
        return None
    if node.function == "sum":
        return total
    if node.function == "mean":
        return float(total) / float(count * 10**places) if count else None
    if count < 2:
        return None
    squares = sum(value * value for value in values)
    spread = float(count * squares - total * total) / float(count * (count - 1) * 10 ** (2 * places))
    return math.sqrt(spread)
