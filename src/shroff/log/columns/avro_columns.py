"""Converts Avro records to JSON lines of their type, which are then read as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.events.avro.schema import Avro
from shroff.events.avro.values import divisor
from shroff.events.definitions import EventType, Field
from shroff.events.mapping import Mapper
from shroff.log.columns import record_kernel as kernel
from shroff.log.columns.read_lines import SLACK, LineForm, joined_texts

SYMBOL_BYTES_MAX = 200  # of one symbol; each line has room for it, however short its message is
SYMBOLS_BYTES_MAX = 65_536  # of all enums that are read
_CENT_PLACES = 2
_WORDS = frozenset({"int", "long"})
_SIZES = {"boolean": 1, "float": 4, "double": 8, "bytes": kernel.BY_LENGTH, "string": kernel.BY_LENGTH}
_DAY_MS = 86_400_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_BOUNDS = {  # dates and times of day, which validation converts even if no field reads them
    "date": (1 - _EPOCH_DAY, date.max.toordinal() + 1 - _EPOCH_DAY),
    "time-millis": (0, _DAY_MS),
    "time-micros": (0, _DAY_MS * 1_000),
}
_NUMERIC = frozenset({"money", "number", "integer"})


@dataclass(frozen=True, slots=True, eq=False)
class RecordForm:
    """How records of one schema are written as lines of a type: the rows of a plan, and the symbols of its enums."""

    type: EventType
    plan: Ints
    symbols: tuple[bytes, ...]
    room: int  # largest size of a line in bytes, without its names and texts


def record_form(schema: Avro, type_: EventType, mapper: Mapper) -> RecordForm | None:
    """Return the form of a schema's records; None if a value or field needs more than the kernel can do."""
    fields = dict[str, int]()
    for number, name in enumerate(field.sent for field in type_.fields):
        if not name:
            continue
        (path, *more) = mapper.paths(name) if mapper.is_column(name) else [()]
        if more or len(path) != 1 or path[0] in fields:
            return None
        fields[str(path[0])] = number
    plan = np.zeros((len(schema.parts), kernel.PLAN_COLUMNS), np.int64)
    symbols = list[bytes]()
    line_bytes = 0
    for row, name, part in zip(plan, schema.names, schema.parts, strict=True):
        number = fields.get(name, -1)
        step = _step(part, type_.fields[number] if number >= 0 else None, len(symbols))
        if step is None:
            return None
        row[:] = step
        row[kernel.FIELD] = number
        if number >= 0:
            field_symbols = [symbol.encode() for symbol in part.values[0].symbols]
            line_bytes += kernel.VALUE_BYTES + max(map(len, field_symbols), default=0)
            symbols += field_symbols
    if any(len(symbol) > SYMBOL_BYTES_MAX for symbol in symbols) or sum(map(len, symbols)) > SYMBOLS_BYTES_MAX:
        return None
    return RecordForm(type_, plan, tuple(symbols), line_bytes)


def lines_of(
    messages: Sequence[bytes], head: int, forms: Sequence[RecordForm | None], form: LineForm
) -> tuple[Bytes, Ints]:
    """Return the lines of messages, and the end of each.

    Each record starts `head` bytes into its message and is written by its form. The line is empty if there is no form
    or the record is not simple enough. Slack bytes follow the last line.
    """
    numbers = {shape: at for at, shape in enumerate(dict.fromkeys(shape for shape in forms if shape is not None))}
    plans = [shape.plan.copy() for shape in numbers]
    symbols = list[bytes]()
    for shape, plan in zip(numbers, plans, strict=True):
        plan[plan[:, kernel.KIND] == kernel.SYMBOL, kernel.FIRST : kernel.STOP + 1] += len(symbols)
        symbols += shape.symbols
    which = np.fromiter((-1 if shape is None else numbers[shape] for shape in forms), np.int64, len(forms))
    ends = np.fromiter(map(len, messages), np.int64).cumsum()
    extra_bytes = sum(shape.room + len(form.sent[0]) for shape in forms if shape is not None)
    out = np.empty(int(ends[-1]) + len(messages) + extra_bytes + len(SLACK), np.uint8)
    line_ends = np.empty(len(messages), np.int64)
    size = kernel.write_records(
        np.frombuffer(b"".join(messages) + SLACK, np.uint8),
        ends,
        head,
        which,
        np.concatenate(plans),
        np.cumsum([0, *map(len, plans)], dtype=np.int64),
        *form.sent,
        *joined_texts(symbols),
        out,
        line_ends,
    )
    text = out[: size + len(SLACK)].copy()
    text[size:] = 0
    return text, line_ends


def _step(part: Avro, field: Field | None, symbols: int) -> list[int] | None:
    """Return the plan row of a record's field; `field` is ours or None, `symbols` the number of symbols before it."""
    if part.kind == "null":
        return [kernel.UNREAD, 0, 0, -1, -1, 0, 0] if field is None else None
    if len(part.values) != 1 or (part.kind == "union" and len(part.parts) > 2):
        return None  # the kernel skips only one kind of null
    (branch,) = part.values
    branches = len(part.parts) if part.kind == "union" else 0
    null_at = next((at for at, branch in enumerate(part.parts) if branch.kind == "null"), -1) if branches else -1
    size = kernel.VARYING if branch.kind in _WORDS or branch.kind == "enum" else _SIZES.get(branch.kind, branch.size)
    if branch.kind in {"record", "array", "map", "union"}:
        return None
    value_kind = _unread(branch) if field is None else _read(field, branch, symbols)
    return None if value_kind is None else [value_kind[0], size, branches, null_at, -1, *value_kind[1:]]


def _unread(schema: Avro) -> tuple[int, int, int]:
    """Return the kind of a value that no field reads; the kernel checks it as validation would."""
    if schema.logical in _BOUNDS:
        return kernel.BOUNDED, *_BOUNDS[schema.logical]
    if schema.kind == "enum":
        return kernel.BOUNDED, 0, len(schema.symbols)
    return kernel.TEXT if schema.kind == "string" else kernel.UNREAD, 0, 0


def _read(field: Field, schema: Avro, symbols: int) -> tuple[int, int, int] | None:
    """Return the kind of a value whose JSON text means the same; None if validation treats the value specially."""
    type_ = field.type
    stored = schema.logical or schema.kind
    if stored == "string":
        return kernel.TEXT, 0, 0
    if stored == "enum" and all(symbol.isascii() and symbol.isidentifier() for symbol in schema.symbols):
        return kernel.SYMBOL, symbols, symbols + len(schema.symbols)
    if type_.kind == stored == "boolean":
        return kernel.TRUTH, 0, 0
    if type_.kind == "time" and (stored in _WORDS or "timestamp-" in stored):
        return kernel.TIME, 1 if stored in _WORDS else divisor(stored), 0
    if type_.kind in _NUMERIC:
        match stored:
            case "int" | "long":
                return kernel.INTEGER, 0, 0
            case "decimal":
                return kernel.DECIMAL, schema.scale, type_.places
            case "double":
                return kernel.DOUBLE, 0, 0
            case "float" if type_.kind == "money" and type_.places == _CENT_PLACES:
                return kernel.CENTS, 0, 0
    return None
