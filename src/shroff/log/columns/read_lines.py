"""JSON lines of one event type as typed columns, read by compiled code, and the odd lines that it leaves to others."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from msgspec.json import encode as to_json

from shroff.arrays import Array, Bools, Bytes, Ints, Ints32
from shroff.events.conversion import Conversion, converted_fields
from shroff.events.definitions import EventType, Field
from shroff.events.event import Codec, Event, by_canonical_key
from shroff.events.readers import ID_LENGTH_MAX, TEXT_BYTES_MAX
from shroff.events.validation import NEVER_SENT
from shroff.features.frames import Coded, LazyColumns
from shroff.features.kernels.native import Native
from shroff.language.columns import Column
from shroff.language.types import CODES, ORIGINAL_PLACES, places_of
from shroff.log.columns import line_kernel as kernel
from shroff.log.columns.kernel import THERE
from shroff.log.columns.text_codes import Key, TextCodes
from shroff.streams.log_columns import JoinedTexts

_LARGEST = 1 << 62
_KINDS = {
    "text": kernel.TEXT,
    "choice": kernel.CHOICE,
    "money": kernel.MONEY,
    "number": kernel.NUMBER,
    "integer": kernel.INTEGER,
    "boolean": kernel.BOOLEAN,
    "time": kernel.TIME,
    "real": kernel.REAL,
    "duration": kernel.DURATION,
}
_TEXTS = frozenset({kernel.TEXT, kernel.CHOICE})
TEXTS_BYTES_MAX = 64 << 20  # of the numbered texts of a field
KEY: Final[Key] = (np.uint64(secrets.randbits(64)), np.uint64(secrets.randbits(64)))
CODE_LENGTH = 3  # letters of a currency
LETTERS = 26
_CODE_NUMBERS = {
    code: sum((ord(letter) - ord("A")) * LETTERS**place for place, letter in enumerate(reversed(code)))
    for code in CODES
}
_CODE_UNITS = np.zeros(LETTERS**CODE_LENGTH, np.int64)  # smallest stored amount of each currency; 0: no currency
_CODE_UNITS[list(_CODE_NUMBERS.values())] = [10 ** (ORIGINAL_PLACES - places_of(code)) for code in _CODE_NUMBERS]
_MS_PLACES = 3  # of seconds
_FEW_TEXTS = 512  # up to this many texts are decoded without a copy of all lines
SLACK = bytes(32)  # texts are copied by whole vectors, beyond their end


Texts = tuple[Bytes, Ints]


class TextRoom:
    """Memory limit for the numbered texts: a fixed one for each field, or one that all fields of all types share."""

    def __init__(self, bytes_max: int | None = None) -> None:
        self._bytes_max, self.fields = bytes_max, dict[str, int]()  # of texts, of each type

    @property
    def of_field(self) -> int:
        """Bytes for one field; beyond them its numbering starts again."""
        if self._bytes_max is None:
            return TEXTS_BYTES_MAX
        return min(TEXTS_BYTES_MAX, self._bytes_max // max(sum(tuple(self.fields.values())), 1))


class LineForm:
    """How compiled code reads the lines of a type, whose fields all have types that JSON has.

    Args:
        room: None for stored bodies, in the form of today's type or an earlier one; the numbering of their texts never
            starts again.
    """

    def __init__(self, type_: EventType, room: TextRoom | None) -> None:
        self.type = type_
        self.codec = Codec(type_)
        self.is_stored = room is None
        self.kinds = [_KINDS[declared.type.kind] for declared in type_.fields]
        self.names = joined_texts([to_json(declared.name) + b":" for declared in type_.fields])
        sent = joined_texts([b'"%s":' % (declared.sent or NEVER_SENT).encode() for declared in type_.fields])
        self.sent = self.names if room is None else sent
        self.converted = () if room is None else converted_fields(type_)
        self.choices = joined_texts([choice.encode() for declared in type_.fields for choice in declared.type.choices])
        self.plan = np.zeros((len(type_.fields), kernel.PLAN_COLUMNS), np.int64)
        at = 0
        for row, field in zip(self.plan, type_.fields, strict=True):
            if room is None:
                row[:] = _stored(field, lacks=field.name not in {type_.id_field, type_.time_field})
            else:
                row[:] = _planned(field, at, is_id=field.name == type_.id_field)
            at += len(field.type.choices)
        self.order = np.array(by_canonical_key(type_), np.int64)
        order = self.order if room is None else np.arange(len(self.order))
        self.follows = np.zeros(len(order) + 1, np.int64)  # the field expected after each, and the first one
        self.follows[np.append(-1, order)] = np.append(order, 0)
        self._texts: dict[int, TextCodes] = {}
        self._is_coded = [declared.type.is_text and declared.name != type_.id_field for declared in type_.fields]
        self._room = room
        if room is not None:
            room.fields[type_.name] = sum(self._is_coded)
        numbers = sum(kind not in _TEXTS for kind in self.kinds) + len(self.converted)  # rates are texts of their own
        self.extra_bytes = len(self.names[0]) + kernel.NUMBER_BYTES * numbers

    def texts(self, number: int) -> TextCodes | None:
        """Return the numbered texts of a field; None for other fields, and for ids."""
        if not self._is_coded[number]:
            return None
        codes = self._texts.get(number)
        if codes is None or (self._room is not None and codes.size > self._room.of_field):
            codes = self._texts[number] = TextCodes()
        return codes


@dataclass(frozen=True, slots=True, eq=False)
class ReadLines:
    """Lines as the form of their type read them.

    Attributes:
        ends: End of each line in `data`; slack bytes follow the last.
        firsts: A row for each field, like `values`, `lasts` and `states`: see `line_kernel.scan_lines`.
        is_odd: Which lines were not read.
    """

    lines: Sequence[bytes]
    form: LineForm
    data: Bytes
    ends: Ints
    firsts: Ints
    lasts: Ints
    values: Ints
    states: Bytes
    is_odd: Bytes

    @classmethod
    def of(
        cls, lines: Sequence[bytes], form: LineForm, latest_ms: int | None = None, texts: Texts | None = None
    ) -> ReadLines:
        """Read lines; those with events after `latest_ms` are odd.

        Args:
            texts: The lines as JSON, if they are something else: one text with slack, and the end of each line.

        Raises: UnicodeDecodeError if they are not UTF-8.
        """
        if texts is None:
            texts = np.frombuffer(b"".join(lines) + SLACK, np.uint8), np.fromiter(map(len, lines), np.int64).cumsum()
        data, ends = texts
        str(data.data, "utf-8")
        read = cls.scanned(lines, form, data, np.append(0, ends[:-1]), ends)
        if latest_ms is not None:
            read.is_odd[:] |= read.values[form.type.at(form.type.time_field)] > latest_ms
        for field in form.converted:  # amounts without a currency, or with more decimals than it has, are odd
            units = _CODE_UNITS[read.codes(field.currency)]
            is_sent = read.states[field.original] == THERE
            read.is_odd[:] |= is_sent & ((units == 0) | (read.values[field.original] % np.maximum(units, 1) != 0))
        read.states[:, read.is_odd.view(np.bool_)] = kernel.ODD
        return read

    @classmethod
    def scanned(cls, lines: Sequence[bytes], form: LineForm, data: Bytes, begins: Ints, ends: Ints) -> ReadLines:
        """Read lines of an array; a zero or a line end must follow the last."""
        shape = len(form.plan), len(lines)
        firsts, lasts, values = (np.zeros(shape, np.int64) for _ in range(3))
        states = np.zeros(shape, np.uint8)
        odd = np.empty(len(lines), np.uint8)
        given = data, begins, ends, *form.sent, form.plan, *form.choices, form.follows, form.is_stored
        kernel.scan_lines(*given, firsts, lasts, values, states, odd)
        states[:, odd.view(np.bool_)] = kernel.ODD
        return cls(lines, form, data, ends, firsts, lasts, values, states, odd)

    def codes(self, number: int) -> Ints:
        """Return the currency code in each line as a number; 0, which is no currency, if it is not three letters."""
        firsts = self.firsts[number]
        is_code = self.states[number] == THERE
        is_code &= self.lasts[number] - firsts == CODE_LENGTH
        numbers = np.zeros(len(firsts), np.int64)
        for letter in range(CODE_LENGTH):
            letter_number = self.data[np.where(is_code, firsts + letter, 0)].astype(np.int64) - ord("A")
            is_code &= (letter_number >= 0) & (letter_number < LETTERS)
            numbers = numbers * LETTERS + letter_number
        return np.where(is_code, numbers, 0)

    def converted(self, conversion: Conversion) -> ReadLines:
        """Return the lines with their amounts converted; missing if no rate is valid."""
        firsts, lasts, values = (table.copy() for table in (self.firsts, self.lasts, self.values))
        states = self.states.copy()
        times = values[self.form.type.at(self.form.type.time_field)]
        texts = list[bytes]()
        end = int(self.ends[-1])
        currencies = np.full(len(_CODE_UNITS), -1, np.int64)
        currencies[[_CODE_NUMBERS.get(code, 0) for code in conversion.codes]] = np.arange(len(conversion.codes))
        for field in self.form.converted:
            codes = self.codes(field.currency)
            rated = conversion.rated(currencies[codes], times)
            rows = np.flatnonzero((states[field.original] == THERE) & (rated >= 0))
            rated = rated[rows]
            amounts = conversion.amounts(
                values[field.original, rows], _CODE_UNITS[codes[rows]], conversion.units[rated]
            )
            values[field.amount, rows] = amounts.values
            states[field.amount, rows] = np.where(amounts.valid, THERE, kernel.UNSEEN)
            rows, rated = rows[rated > 0], rated[rated > 0]  # but the project's own currency, which has no rate
            used = np.flatnonzero(np.bincount(rated))
            quoted = [f'"{conversion.texts[rate]}"'.encode() for rate in used.tolist()]
            ends = end + np.cumsum([0, *map(len, quoted)])
            which = np.searchsorted(used, rated)
            firsts[field.rate, rows] = ends[which] + 1
            lasts[field.rate, rows] = ends[which + 1] - 1
            states[field.rate, rows] = THERE
            texts += quoted
            end = int(ends[-1])
        data = np.concatenate([self.data[: self.ends[-1]], np.frombuffer(b"".join(texts) + SLACK, np.uint8)])
        return ReadLines(self.lines, self.form, data, self.ends, firsts, lasts, values, states, self.is_odd)

    @classmethod
    def joined(cls, reads: Sequence[ReadLines]) -> ReadLines:
        begins = np.cumsum([0, *(read.ends[-1] for read in reads)])[:-1]
        moved = list(zip(begins, reads, strict=True))
        data = [read.data[: read.ends[-1]] for read in reads]
        return cls(
            [line for read in reads for line in read.lines],
            reads[0].form,
            np.concatenate([*data, np.frombuffer(SLACK, np.uint8)]),
            np.concatenate([read.ends + begin for begin, read in moved]),
            np.concatenate([read.firsts + begin for begin, read in moved], axis=1),
            np.concatenate([read.lasts + begin for begin, read in moved], axis=1),
            np.concatenate([read.values for read in reads], axis=1),
            np.concatenate([read.states for read in reads], axis=1),
            np.concatenate([read.is_odd for read in reads]),
        )

    def part(self, first: int, stop: int) -> ReadLines:
        begin = int(self.ends[first - 1]) if first else 0
        end = int(self.ends[stop - 1])
        return ReadLines(
            self.lines[first:stop],
            self.form,
            self.data[begin : end + len(SLACK)],
            self.ends[first:stop] - begin,
            self.firsts[:, first:stop] - begin,
            self.lasts[:, first:stop] - begin,
            self.values[:, first:stop].copy(),
            self.states[:, first:stop].copy(),
            self.is_odd[first:stop],
        )

    def inserted(self, before: Sequence[int]) -> ReadLines:
        """Return the lines with empty ones, which are odd, inserted before these."""
        lines = list(self.lines)
        at = np.array(before, np.int64)
        for line in reversed(before):
            lines.insert(line, b"")
        firsts, lasts, values = (np.insert(table, at, 0, axis=1) for table in (self.firsts, self.lasts, self.values))
        states = np.insert(self.states, at, kernel.ODD, axis=1)
        is_odd = np.insert(self.is_odd, at, 1)
        ends = np.insert(self.ends, at, np.append(0, self.ends)[at])
        return ReadLines(lines, self.form, self.data, ends, firsts, lasts, values, states, is_odd)

    @property
    def odd(self) -> list[int]:
        rows: list[int] = self.is_odd.nonzero()[0].tolist()
        return rows

    def bodies(self) -> JoinedTexts:
        form = self.form
        ends = np.empty(len(self.lines), np.int64)
        out = np.empty(len(self.data) + len(self.lines) * form.extra_bytes, np.uint8)
        places = self.firsts, self.lasts, self.values, self.states, self.is_odd
        size = kernel.write_bodies(self.data, *form.names, form.plan, form.order, *places, out, ends)
        return JoinedTexts(out[:size].copy(), ends)

    def coded(self, number: int, others: Mapping[int, Any], rows: Ints | slice) -> Coded | None:
        """Return a text field as codes, with the values of `others` by row; None for other fields and ids."""
        texts = self.form.texts(number)
        if texts is None:
            return None
        valid = self.states[number][rows] == THERE
        codes = np.full(len(valid), -1, np.int32)
        present = slice(None) if valid.all() else valid.nonzero()[0]
        codes[present] = _coded(texts, self.data, self.firsts[number][rows][present], self.lasts[number][rows][present])
        sent = {row: value.encode() for row, value in others.items() if value is not None}
        if sent:
            data, begins = joined_texts(list(sent.values()))
            codes[list(sent)] = _coded(texts, data, begins[:-1], begins[1:])
        return Coded(codes, texts.dictionary)

    def column(self, number: int, others: Mapping[int, Any], rows: Ints | slice) -> Column:
        """Return a field of these lines as values, with the values of `others` by row."""
        values, valid = self._values_of(number, rows)
        for row, value in others.items():
            valid[row] = value is not None
            values[row] = ("" if values.dtype == object else 0) if value is None else value
        return Column(values, valid)

    def _values_of(self, number: int, rows: Ints | slice) -> tuple[Array, Bools]:
        kind = self.form.kinds[number]
        valid = self.states[number][rows] == THERE
        if kind not in _TEXTS and kind != kernel.REAL:
            values = np.where(valid, self.values[number][rows], 0)
            return values.astype(np.bool_) if kind == kernel.BOOLEAN else values, valid
        firsts = self.firsts[number][rows]
        lasts = self.lasts[number][rows]
        if kind == kernel.REAL:
            present = valid.nonzero()[0]
            reals = np.zeros(len(valid))
            reals[present] = list(map(float, map(bytes, _cut(self.data.data, firsts[present], lasts[present]))))
            return reals, valid
        if not valid.all():
            firsts = np.where(valid, firsts, 0)
            lasts = np.where(valid, lasts, 0)
        texts = np.empty(len(valid), object)
        if len(valid) > _FEW_TEXTS and (all_bytes := self.data.tobytes()).isascii():
            texts[:] = _cut(all_bytes.decode(), firsts, lasts)
        else:
            texts[:] = [str(text, "utf-8") for text in _cut(self.data.data, firsts, lasts)]
        return texts, valid


class LineColumns(LazyColumns):
    """The fields of the events of lines; texts as codes, except ids.

    Holds no reference to its run: in a cycle both would stay until the next garbage collection.

    Args:
        careful: The events of odd lines, by line index.
        at: Line indices of the events; None for all lines.
    """

    def __init__(self, read: ReadLines, careful: Mapping[int, Event], at: Ints | None = None) -> None:
        self._type = read.form.type
        self._read = read
        self._careful = careful
        super().__init__(self._type.field_names)
        self._rows = at

    def plain(self, name: str, rows: Ints | None = None) -> Column:
        """Return the values of a field, of all events or of these rows."""
        if rows is None:
            column = self[name]
        elif name in self._made:
            column = self[name].take(rows)
        else:
            column = self._of(name, rows if self._rows is None else self._rows[rows])
        return column.column() if isinstance(column, Coded) else column

    def but(self, rows: Ints) -> LineColumns:
        """Return the columns without some events; cached columns are kept."""
        at = np.arange(len(self._read.lines)) if self._rows is None else self._rows
        remaining = np.delete(np.arange(len(at)), rows)
        columns = LineColumns(self._read, self._careful, at[remaining])
        columns._made = {name: column.take(remaining) for name, column in self._made.items()}
        return columns

    def _make(self, name: str) -> Column | Coded:
        return self._of(name, self._rows)

    def _of(self, name: str, lines: Ints | None) -> Column | Coded:
        number = self._type.at(name)
        careful = self._careful
        if lines is not None and careful:
            careful = {row: careful[line] for row, line in enumerate(lines.tolist()) if line in careful}
        odd_values = {row: event.values[number] for row, event in careful.items()}
        rows = slice(None) if lines is None else lines
        return self._read.coded(number, odd_values, rows) or self._read.column(number, odd_values, rows)


def kernels(*, are_records: bool = True) -> Sequence[Native]:
    """Return the kernels that read lines into columns; with `are_records` also the one that converts Avro records."""
    from shroff.log.columns.ids import code_texts, hash_texts
    from shroff.log.columns.record_kernel import write_records

    return kernel.scan_lines, kernel.write_bodies, hash_texts, code_texts, *([write_records] if are_records else [])


def _planned(field: Field, choice: int, *, is_id: bool) -> list[int]:
    """Return a field's row of a plan; `choice` is the index of its first choice among those of all fields."""
    type_ = field.type
    bounds = field.shape.bounds
    kind = _KINDS[type_.kind]
    is_optional = int(field.shape.is_optional or not field.sent)
    if kind == kernel.CHOICE and not type_.is_open:
        return [kind, 0, is_optional, choice, choice + len(type_.choices)]
    if kind in _TEXTS:
        return [kernel.TEXT, ID_LENGTH_MAX if is_id else TEXT_BYTES_MAX, is_optional, 0, 0]
    least, most = (-_LARGEST, _LARGEST) if bounds is None else (bounds.least, bounds.most)
    return [kind, type_.places, is_optional, int(max(least, -_LARGEST)), int(min(most, _LARGEST))]


def _stored(field: Field, *, lacks: bool) -> list[int]:
    """Return the plan row of a field of stored bodies, whose bounds and choices may have been different."""
    kind = kernel.TEXT if field.type.is_text else _KINDS[field.type.kind]
    size = _LARGEST if kind == kernel.TEXT else _MS_PLACES if kind == kernel.DURATION else field.type.places
    return [kind, size, kernel.MAY_LACK if lacks else 0, -_LARGEST, _LARGEST]


def _coded(texts: TextCodes, data: Bytes, firsts: Ints, lasts: Ints) -> Ints32:
    from shroff.log.columns.ids import hash_texts

    hashes = np.empty((len(firsts), 2), np.uint64)
    hash_texts(data, firsts, lasts, *KEY, hashes)
    view = data.data

    def of(rows: Ints) -> list[str]:
        return [str(text, "utf-8") for text in _cut(view, firsts[rows], lasts[rows])]

    return texts.of(hashes, of)


def joined_texts(texts: Sequence[bytes]) -> tuple[Bytes, Ints]:
    """Concatenate texts, and return the start of each."""
    data = np.frombuffer(b"".join(texts) + SLACK, np.uint8)
    return data, np.cumsum([0, *map(len, texts)], dtype=np.int64)


def _cut(whole: Any, firsts: Ints, lasts: Ints) -> list[Any]:
    return [whole[first:last] for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]
