"""Items of arrays in JSON: the values inside of values, and a message with one item of an array alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from shroff.events.raw_values import Number
from shroff.language.expression import Path

_NESTED: Final = msgspec.json.Decoder(float_hook=Number)


def parsed(text: str) -> object:
    """The object or the array of a text that holds JSON, None for any other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return _NESTED.decode(text)
    except (ValueError, RecursionError):
        return None


def inside(value: object, key: str | int) -> object:
    """Value of an object under a name, or of an array at an index, also of a text that holds JSON; None where none is.

    >>> inside({"a": 1}, "a"), inside([5, 6], 1), inside('[5, 6]', 2), inside([5, 6], "a")
    (1, 6, None, None)
    """
    if type(value) is str:
        value = parsed(value)
    if isinstance(key, int):
        return value[key] if isinstance(value, list | tuple) and key < len(value) else None
    return value.get(key) if isinstance(value, Mapping) else None


def with_item(value: Any, array: Path, index: int) -> Any:
    """The message with one item of an array alone; all else stays.

    >>> with_item({"a": {"b": [7, 8, 9]}, "c": 1}, ("a", "b"), 1)
    {'a': {'b': [8]}, 'c': 1}
    """
    if type(value) is str:
        value = parsed(value)
    if not array:
        return [value[index]]
    key, changed = array[0], with_item(inside(value, array[0]), array[1:], index)
    if isinstance(key, int):
        return [changed if at == key else item for at, item in enumerate(value)]
    return {**value, key: changed}
