"""Serialization of language values for snapshots, besides arrays of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

WIDE: Final = 1  # MessagePack ends at 64 bits; a wider integer is an extension of this number
_WIDE_BYTES: Final = 17  # a product of two 64-bit integers, and its sign


def pack(values: Sequence[Any]) -> bytes:
    """Values, and keys made of several, as MessagePack."""
    try:
        return msgspec.msgpack.encode(values)
    except OverflowError:
        return msgspec.msgpack.encode([_narrowed(value) for value in values])


def unpack(data: bytes | memoryview) -> list[Any]:
    """The same values; a key of several parts is a tuple again. Raises: msgspec.DecodeError."""
    found = msgspec.msgpack.decode(data, type=list[Any], ext_hook=_widened)
    return [_as_key(value) if type(value) is list else value for value in found]


def pack_numbers(numbers: Iterable[int]) -> bytes:
    """64-bit integers, eight bytes each."""
    return np.fromiter(numbers, np.int64).tobytes()


def unpack_numbers(data: bytes) -> NDArray[np.int64]:
    """The same integers. Raises: ValueError where the bytes are no whole number of them."""
    return np.frombuffer(data, np.int64)


def _as_key(parts: list[Any]) -> tuple[Any, ...]:
    return tuple(_as_key(part) if type(part) is list else part for part in parts)


def _narrowed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_narrowed(part) for part in value]
    if type(value) is int and not -(2**63) <= value < 2**63:
        return msgspec.msgpack.Ext(WIDE, value.to_bytes(_WIDE_BYTES, signed=True))
    return value


def _widened(code: int, data: memoryview) -> int:
    if code != WIDE:
        raise ValueError(f"extension {code} is none of ours")
    return int.from_bytes(data, signed=True)
