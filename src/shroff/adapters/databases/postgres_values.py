"""Many rows for PostgreSQL, as columns: arrays in binary form, all of which one statement takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any, Final

from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.pq import Format

from shroff.runtime.texts import ESCAPE, escaped
from shroff.runtime.values import FrozenStruct

# Numbers of types in PostgreSQL's catalogue (pg_type.dat): of an element, and of an array of it.
_TEXT = (25, 1009)
_BYTEA = (17, 1001)
_BIGINT = (20, 1016)
_HEAD = Struct(">iiIii")  # dimensions, whether NULLs are among them, type of an element, length, first index
_LENGTH = Struct(">i")
_WHOLE = Struct(">q")
_NULL = _LENGTH.pack(-1)


class ArrayColumn(FrozenStruct):
    """An array in PostgreSQL's binary form."""

    data: bytes


class TextColumn(ArrayColumn):
    """An array of texts."""


class BytesColumn(ArrayColumn):
    """An array of bytes."""


class WholeColumn(ArrayColumn):
    """An array of integers of 64 bits."""


class _TextDumper(Dumper):  # type: ignore[misc, unused-ignore]  # psycopg need not be installed
    format = Format.BINARY
    oid = _TEXT[1]

    def dump(self, obj: ArrayColumn) -> bytes:
        return obj.data


class _BytesDumper(_TextDumper):
    oid = _BYTEA[1]


class _WholeDumper(_TextDumper):
    oid = _BIGINT[1]


def register(connection: Connection[Any]) -> None:
    for kind, dumper in ((TextColumn, _TextDumper), (BytesColumn, _BytesDumper), (WholeColumn, _WholeDumper)):
        connection.adapters.register_dumper(kind, dumper)


def column(kind: str, values: Sequence[Any]) -> ArrayColumn:
    return _MAKERS[kind](values)


def _texts(values: Sequence[str | None]) -> TextColumn:
    joined = "".join([value for value in values if value])
    if "\0" in joined or ESCAPE in joined:
        values = [None if value is None else escaped(value) for value in values]
    return TextColumn(_array(_TEXT[0], [None if value is None else value.encode() for value in values]))


def _wholes(values: Sequence[int | None]) -> WholeColumn:
    return WholeColumn(_array(_BIGINT[0], [None if value is None else _WHOLE.pack(value) for value in values]))


def _array(element: int, values: Iterable[bytes | None]) -> bytes:
    items: list[bytes] = []
    count = 0
    pack = _LENGTH.pack
    for value in values:
        count += 1
        if value is None:
            items.append(_NULL)
        else:
            items += (pack(len(value)), value)
    return _HEAD.pack(1, 1, element, count, 1) + b"".join(items)


_MAKERS: Final[dict[str, Callable[[Sequence[Any]], ArrayColumn]]] = {
    "i": _wholes,
    "I": _wholes,
    "t": _texts,
    "T": _texts,
    "b": lambda values: BytesColumn(_array(_BYTEA[0], values)),
    "j": lambda values: TextColumn(_array(_TEXT[0], values)),
}
