"""Rows of numbers and bytes for MariaDB, as statements whose values stand apart from their text.

The server copies such a value. Within a statement it reads each of its bytes twice, 8 ms for a megabyte. PyMySQL has no
call for this, so it is done by its packets: https://mariadb.com/kb/en/com_stmt_execute/.
"""

# ruff: noqa: SLF001, S608 - the packets of PyMySQL have no public name; the names put into SQL are this package's own

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any, Final

from pymysql.constants import COMMAND

from shroff.adapters.log.rows import RowTable

KINDS: Final = frozenset("iIb")  # of columns, as `log_questions` has them
_AT_ONCE: Final = 64  # rows: a statement is prepared for each power of two up to this
_PREPARED: Final = Struct("<xIHH")  # its number, columns of its answer, and values that it takes
_HEAD: Final = Struct("<IBI")  # number of a statement, no cursor, once
_WHOLE: Final = Struct("<q")
_TYPES: Final = {"i": b"\x08\x00", "I": b"\x08\x00", "b": b"\xfc\x00"}  # LONGLONG and BLOB


class PreparedRows:
    """The statements that a connection has prepared to write rows."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._numbers: dict[tuple[str, int], int] = {}

    def put(self, prefix: str, table: RowTable, rows: Sequence[tuple[Any, ...]], most_bytes: int) -> None:
        """Write rows, of which no column is a text, at once."""
        for part in _parts(rows, most_bytes):
            name, count = f"{prefix}{table.name}", len(part)
            if (name, count) not in self._numbers:
                columns = ", ".join(f"`{column}`" for column in table.columns)
                marks = ", ".join([f"({', '.join('?' * len(table.columns))})"] * count)
                self._numbers[name, count] = self._prepare(f"INSERT INTO `{name}` ({columns}) VALUES {marks}")
            self._execute(self._numbers[name, count], table.kinds, part)

    def _prepare(self, sql: str) -> int:
        self._connection._execute_command(COMMAND.COM_STMT_PREPARE, sql)
        number, _, values = _PREPARED.unpack_from(self._connection._read_packet().get_all_data())
        for _ in range(values + bool(values)):  # each is described, and an end follows
            self._connection._read_packet()
        return int(number)

    def _execute(self, number: int, kinds: str, rows: Sequence[tuple[Any, ...]]) -> None:
        values = [value for row in rows for value in row]
        nulls = sum(1 << place for place, value in enumerate(values) if value is None)
        head = _HEAD.pack(number, 0, 1) + nulls.to_bytes((len(values) + 7) // 8, "little")
        types = b"".join([_TYPES[kind] for kind in kinds]) * len(rows)
        cells = [cell for value in values if value is not None for cell in _cells(value)]
        self._connection._execute_command(COMMAND.COM_STMT_EXECUTE, b"".join([head, b"\x01", types, *cells]))
        self._connection._read_packet()


def _parts(rows: Sequence[tuple[Any, ...]], most_bytes: int) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The rows in pieces of powers of two, so that few statements are prepared; several weigh so much at most."""
    start = 0
    while start < len(rows):
        count = min(_AT_ONCE, 1 << (len(rows) - start).bit_length() - 1)
        while count > 1 and sum(map(_weight, rows[start : start + count])) > most_bytes:
            count //= 2
        yield rows[start : start + count]
        start += count


def _weight(row: tuple[Any, ...]) -> int:
    return sum(len(value) for value in row if isinstance(value, bytes))


def _cells(value: int | bytes) -> tuple[bytes, ...]:
    if isinstance(value, int):
        return (_WHOLE.pack(value),)
    size = len(value)
    if size < 251:
        return bytes([size]), value
    width = 2 if size < 1 << 16 else 3 if size < 1 << 24 else 8
    return bytes([{2: 0xFC, 3: 0xFD, 8: 0xFE}[width]]), size.to_bytes(width, "little"), value
