"""Language values in other forms: columns as 64-bit words for kernels, and values as MessagePack for snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from shroff.arrays import Bools, Ints
from shroff.features.frames import Codes, Frame
from shroff.features.value_bounds import WORD, Bounds
from shroff.language.columns import Column, column_of
from shroff.language.expression import Node
from shroff.language.types import Type

WIDE = 1  # MessagePack ends at 64 bits; wider integers are an extension with this number
_WIDE_BYTES = 17  # a product of two 64-bit integers, with its sign


def pack(values: Sequence[Any]) -> bytes:
    """Encode values as MessagePack. A value may be a key of several parts, a tuple."""
    try:
        return msgspec.msgpack.encode(values)
    except OverflowError:
        return msgspec.msgpack.encode([_narrowed(value) for value in values])


def unpack(data: bytes | memoryview) -> list[Any]:
    """Decode the result of `pack`. Raises: msgspec.DecodeError."""
    values = msgspec.msgpack.decode(data, type=list[Any], ext_hook=_widened)
    return [_as_key(value) if type(value) is list else value for value in values]


def pack_numbers(numbers: Iterable[int]) -> bytes:
    """Encode 64-bit integers, eight bytes each."""
    return np.fromiter(numbers, np.int64).tobytes()


def unpack_numbers(data: bytes) -> Ints:
    """Decode the result of `pack_numbers`. Raises: ValueError if the number of bytes is not a multiple of eight."""
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


# ---- words of kernels


def coded_texts(node: Node, frame: Frame, texts: Codes) -> tuple[Ints, Bools]:
    codes = frame.value_codes(node, texts)
    return codes, codes >= 0


def encode(column: Column, type_: Type, bounds: Bounds = WORD) -> tuple[Ints, Bools]:
    """Return the values of a column as 64-bit numbers, and which of them are present and within the bounds.

    If all present values fit, the second result is the column's own `valid`. Not for columns of texts.
    """
    if type_.kind == "real":
        return column.values.view(np.int64), column.valid
    lowest, largest = bounds
    if column.values.dtype == object:  # it has integers beyond 64 bits
        integers = column.values.tolist()
        fits = column.valid & np.array([lowest <= value <= largest for value in integers], np.bool_)
        values = np.array([value if fit else 0 for value, fit in zip(integers, fits.tolist(), strict=True)], np.int64)
        return values, column.valid if np.array_equal(fits, column.valid) else fits
    values = column.values.astype(np.int64)
    if bounds != WORD:
        inside = (values >= lowest) & (values <= largest)
        return values, column.valid if inside.all() else column.valid & inside
    return values, column.valid


def decode(words: Ints, valid: Bools, type_: Type, texts: Codes) -> Column:
    """Convert a kernel's answers, 0 for a missing value, to a column, which may share their memory."""
    if type_.kind == "real":
        return Column(np.ascontiguousarray(words).view(np.float64), valid)
    if type_.kind == "boolean":
        return Column(words.astype(np.bool_) & valid, valid)
    if type_.is_text and len(words) > len(texts.values):  # faster than one list element per answer
        return Column(np.array([*texts.values, ""], object)[np.where(valid, words, -1)], valid)
    if type_.is_text:
        pairs = zip(words.tolist(), valid.tolist(), strict=True)
        decoded = [texts.values[word] if is_present else None for word, is_present in pairs]
        return column_of(decoded, type_)
    return Column(words, valid)
