"""Tables of a log in SQL, and how the items of a batch become their rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import attrgetter
from typing import Any, TypeVar
from zlib import crc32

from msgspec.structs import astuple

from shroff.adapters.log.tables.sums import decision_sum, flag_sum, hit_sum, record_sum, summing
from shroff.runtime.values import replace
from shroff.streams.log import DecisionRow, FlagRow, HitRow, Record, Refused, Remark
from shroff.streams.log_columns import RecordColumns, by_type

# Steps of `append`, in this order, for which a log in SQL calls `on_step`
APPEND_STEPS = (
    *("begin", "events", "unique", "decisions", "flags", "refused", "offsets", "replies"),
    *("before commit", "after commit"),
)
_Row = TypeVar("_Row")
_RECORD = ("seq", "kind", "type", "id", "time_ms", "body", "decided")
_FLAG = ("seq", "rule", "entity", "key", "event", "reason", "time_ms", "accuracy")
_HIT = ("seq", "rule", "key", "shadow")
_STUCK = ("sink", "seq", "number", "kind", "event", "id", "outcome", "body", "fields", "reason", "attempts")

_of_flag = attrgetter(*_FLAG)
_of_hit = attrgetter(*_HIT)


def _record_values(record: Record) -> tuple[Any, ...]:
    row = astuple(record)
    return *row, record_sum(*row)


def _decision_values(row: DecisionRow) -> tuple[Any, ...]:
    seq, event, id_, outcome, receipt, document = astuple(row)
    return seq, outcome, receipt, document, decision_sum(seq, event, id_, outcome, receipt, document)


def _flag_values(row: tuple[FlagRow, int]) -> tuple[Any, ...]:
    return (*_of_flag(row[0]), flag_sum(row[0]), row[1])


def _hit_values(row: tuple[HitRow, int]) -> tuple[Any, ...]:
    return (*_of_hit(row[0]), hit_sum(row[0]), row[1])


_SEAL = "\x1fcrc32="
_SEAL_LENGTH = len(_SEAL) + 8


def _refused_values(row: Refused) -> tuple[Any, ...]:
    return (row.source, row.place, row.type, row.reason, row.raw, row.at_ms, refused_digest(row), _seal(row.header))


def refused_digest(row: Refused) -> bytes:
    """Return the digest that identifies a refused line, and shows whether the stored line has changed."""
    return digest(row.source.encode(), row.place.encode(), row.type.encode(), row.raw)


def refused_of(row: Sequence[Any]) -> tuple[int, Refused] | None:
    """Return number and refused line of a row in quarantine; None if it has changed since it was written."""
    number, line_digest, sealed, source, place, type_, reason, raw, at_ms = row
    header = _unseal(sealed)
    if header is None:
        return None
    refused = Refused(source, place, type_, reason, raw, at_ms, header)
    return (number, refused) if refused_digest(refused) == line_digest else None


def _seal(header: str) -> str:
    return f"{header}{_SEAL}{crc32(header.encode()):08x}" if header else ""


def _unseal(text: str) -> str | None:
    """Return the header from `_seal`; None if it has changed."""
    header = text[:-_SEAL_LENGTH]
    return header if text == _seal(header) else None


def id_digest(type_: str, id_: str) -> bytes:
    """Return the digest of an id, 16 bytes; it is kept when the record is pruned, so the id stays taken."""
    return digest(type_.encode(), id_.encode())


def ids_by_type(records: Collection[Record]) -> Mapping[str, Sequence[str]]:
    if isinstance(records, RecordColumns):
        return {**by_type(records.types, records.ids), **ids_by_type(records.others.values())}
    return by_type([record.type for record in records], [record.id for record in records])


def places_by_type(records: Collection[Record]) -> Mapping[str, Sequence[int]]:
    if isinstance(records, RecordColumns):
        return {**by_type(records.types, records.seqs), **places_by_type(records.others.values())}
    return by_type([record.type for record in records], [record.seq for record in records])


def digest(*parts: bytes) -> bytes:
    """Return the digest of texts that may be too long for an index, 16 bytes."""
    state = blake2b(digest_size=16)
    for part in parts[:-1]:
        state.update(b"%d:%s" % (len(part), part))
    state.update(parts[-1])
    return state.digest()


def last_of_each(rows: Iterable[_Row], *names: str) -> list[_Row]:
    """Return the last of the rows that have equal values in these fields, as it replaces the earlier ones."""
    return list({attrgetter(*names)(row): row for row in rows}.values())


def added_up(remarks: Iterable[Remark]) -> list[Remark]:
    """Merge the remarks with the same text and asker: add up their counts, and keep the first and last times."""
    merged: dict[Hashable, Remark] = {}
    for remark in remarks:
        key = remark.what, remark.asker
        first = merged.get(key)
        if first is not None:
            remark = replace(first, count=first.count + remark.count, last_seq=remark.last_seq, last_ms=remark.last_ms)
        merged[key] = remark
    return list(merged.values())


# Tables


@dataclass(frozen=True, slots=True, eq=False)
class RowTable:
    """A table.

    Args:
        kinds: A letter for each column, as in `LogConnection.select`.
        of: Returns the values of a row.
        key: Columns by which a row replaces an existing one.
        digest_of: Returns the digest of a row's long text. PostgreSQL has it in a column `digest`, as its indexes take
            no long texts.
    """

    name: str
    columns: tuple[str, ...]
    kinds: str
    of: Callable[[Any], tuple[Any, ...]]
    key: tuple[str, ...] = ()
    digest_of: Callable[[Any], bytes] | None = None

    def by_digest(self) -> RowTable:
        """Return the table with the column `digest`, if it has one in PostgreSQL."""
        make = self.digest_of
        of = self.of
        if make is None:
            return self
        key = ("digest",) if self.key else ()
        return RowTable(self.name, (*self.columns, "digest"), f"{self.kinds}b", lambda row: (*of(row), make(row)), key)


def _fields(name: str, columns: tuple[str, ...], kinds: str, **options: Any) -> RowTable:
    return RowTable(name, columns, kinds, attrgetter(*columns), **options)


def _checked_table(name: str, columns: tuple[str, ...], kinds: str, **options: Any) -> RowTable:
    values_of = attrgetter(*columns)
    sum_of = summing(name, kinds)

    def of(row: Any) -> tuple[Any, ...]:
        values = values_of(row)
        return *values, sum_of(values)

    return RowTable(name, (*columns, "crc"), f"{kinds}i", of, **options)


EVENTS = RowTable("events", (*_RECORD, "crc"), "itttijii", _record_values)
EVENT_FRAMES = RowTable("event_frames", ("seq", "first_seq", "labels", "controls", "crc", "data"), "iiiiib", tuple)
ID_RUNS = RowTable("id_runs", ("run", "crc", "bits", "size", "last_seq", "filter_crc", "filter"), "iiiiiib", tuple)
ID_PARTS = RowTable("id_parts", ("part", "data", "crc"), "ibi", tuple)
KEY_PARTS = RowTable("key_parts", ("part", "data", "crc"), "ibi", tuple)
DECISIONS = RowTable("decisions", ("seq", "outcome", "receipt", "document", "crc"), "itbji", _decision_values)
FRAMES = RowTable("decision_frames", ("seq", "first_seq", "outcomes", "receipts", "data", "crc"), "iibbbi", tuple)
FLAGS = RowTable("flags", (*_FLAG, "crc", "number"), "itttttitii", _flag_values)
HITS = RowTable("hits", (*_HIT, "crc", "number"), "itTiii", _hit_values)
REFUSED = RowTable(
    "quarantine",
    ("source", "place", "type", "reason", "raw", "at_ms", "digest", "header"),
    "ttttbibt",
    _refused_values,
    ("digest",),
)
WAITING = _checked_table(
    "waiting_labels",
    ("event_type", "event_id", "id", "body", "source", "place", "raw", "field", "header"),
    "tttjttbtt",
    digest_of=lambda row: digest(row.event_id.encode()),
)
UNIQUE = _checked_table(
    "unique_values", ("type", "field", "value", "seq"), "ttti", digest_of=lambda row: digest(row.value.encode())
)
INDEXED = _checked_table("unique_fields", ("type", "field", "form"), "ttt")
OUTBOX = _checked_table("outbox", ("seq", "number", "kind", "body"), "iitj")
OFFSETS = _checked_table(
    "offsets",
    ("source", "part", "offset"),
    "ttt",
    key=("source", "part"),
    digest_of=lambda row: digest(row.source.encode(), row.part.encode()),
)
REMARKS = _fields(
    "remarks",
    ("what", "asker", "count", "first_seq", "first_ms", "last_seq", "last_ms"),
    "ttiiiii",
    key=("what", "asker"),
)
STUCK = _checked_table("stuck", (*_STUCK, "at_ms", "is_due"), "tiittttjjtiii", key=_STUCK[:3])
PERSONAL = _checked_table("personal", ("type", "id", "field", "value"), "tttt")
PRUNED = RowTable("pruned_ids", ("digest", "seq"), "bi", tuple)
LATE = _checked_table("late_events", ("type", "id", "time_ms", "body", "at_ms"), "ttiji")
KEPT = (WAITING, UNIQUE, INDEXED, OUTBOX, OFFSETS, STUCK, PERSONAL, LATE)

# Columns by which rows are deleted
JOINED = RowTable("waiting_labels", ("id",), "t", lambda id_: (id_,))
DROPPED = RowTable("quarantine", ("number",), "i", lambda number: (number,))
DONE = RowTable("outbox", ("seq", "number"), "ii", tuple)
UNSTUCK = RowTable("stuck", _STUCK[:3], "tii", tuple)
ERASED = RowTable("personal", ("type", "id"), "tt", tuple)


def numbered(rows: Sequence[_Row]) -> list[tuple[_Row, int]]:
    return [(row, number) for number, row in enumerate(rows)]
