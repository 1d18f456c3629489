"""Files made by a seed, with the meaning of each column.

A column makes the text of a cell and its value together, so a value is never parsed here: what a cell says is known
before it is written. Nothing of the product is used.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

BEGIN: Final = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@dataclass
class Row:
    """One event while it is made: its number, time, and what its columns said so far."""

    number: int
    at: datetime
    rng: Random
    raw: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


Make: TypeAlias = Callable[[Row], tuple[Any, Any]]  # what stands in the file, and what it means


@dataclass(frozen=True)
class Column:
    """What a column of a public format means.

    role: id, ref (another id, or digits that are none), key, time, part (of the time), money, number, flag, category,
        text, personal, label, leak (known only later), nothing (says nothing).
    is_main: Whether it is the event's time or amount.
    """

    role: str
    make: Make
    is_main: bool = False


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of file.

    order: "up", "down" (newest first) or "none".
    currency: The one of all lines; several: of each line, in `code`; "": the file names none, so it is asked about.
    asks: What the file cannot tell, so that the proposal must ask: "time", "money", "id", "entity".
    wrap: The document around the items, by them.
    """

    name: str
    format: str
    columns: Mapping[str, Column]
    currency: str = ""
    code: str = ""
    order: str = "up"
    asks: frozenset[str] = frozenset()
    count: int = 200
    step_s: int = 1_500
    separator: str = ","
    encoding: str = "utf-8"
    before: str = ""
    quote: int = csv.QUOTE_MINIMAL
    wrap: Callable[[list[Any]], Any] | None = None
    names: Mapping[str, str] = field(default_factory=dict)  # header names that stand for others
    extension: str = ""
    prefix: str = ""  # of every path, of a document that is read item by item

    @property
    def file_name(self) -> str:
        return f"{self.name}.{self.extension or self.format}"


@dataclass(frozen=True)
class Made:
    """The rows of a file in the order of its lines."""

    kind: Kind
    rows: list[Row]

    def content(self) -> bytes:
        return content_of(self.kind, [row.raw for row in self.rows])


def made(kind: Kind, count: int | None = None) -> Made:
    rng = Random(kind.name)
    rows = []
    at = BEGIN
    for number in range(count or kind.count):
        at += timedelta(seconds=1 + int(rng.expovariate(1 / kind.step_s)))
        row = Row(number, at, rng)
        for name, column in kind.columns.items():
            row.raw[name], row.values[name] = column.make(row)
        rows.append(row)
    if kind.order == "down":
        rows.reverse()
    elif kind.order == "none":
        rng.shuffle(rows)
    return Made(kind, rows)


def content_of(kind: Kind, rows: Sequence[Mapping[str, Any]]) -> bytes:
    if kind.format == "csv":
        text = io.StringIO()
        writer = csv.writer(text, delimiter=kind.separator, quoting=kind.quote, lineterminator="\n")
        writer.writerow([kind.names.get(name, name) for name in kind.columns])
        writer.writerows([["" if cell is None else cell for cell in row.values()] for row in rows])
        return (kind.before + text.getvalue()).encode(kind.encoding)
    documents = [_nested(row) for row in rows]
    if kind.format == "text":
        assert kind.wrap is not None
        return str(kind.wrap(list(rows))).encode(kind.encoding)
    if kind.format == "json":
        whole = kind.wrap(documents) if kind.wrap else documents
        return json.dumps(whole, indent=1, ensure_ascii=False).encode(kind.encoding)
    lines = [kind.wrap([document]) if kind.wrap else document for document in documents]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode(kind.encoding)


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for path, value in row.items():
        *parents, last = path.split(".")
        inner = document
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return document


# ---- columns


def _text(role: str, text: Callable[[Row], Any]) -> Column:
    def make(row: Row) -> tuple[Any, Any]:
        raw = text(row)
        return raw, raw

    return Column(role, make)


def _hex(row: Row, length: int = 14) -> str:
    return f"{row.number:03x}{row.rng.getrandbits(64):016x}"[:length]


def ident(prefix: str = "", length: int = 14, role: str = "id") -> Column:
    return _text(role, lambda row: prefix + _hex(row, length))


def serial(first: int, role: str = "id", prefix: str | None = None) -> Column:
    """Numbers that count up; as texts with a prefix."""
    return _text(role, lambda row: first + row.number if prefix is None else f"{prefix}{first + row.number}")


def ref(prefix: str = "", length: int = 12) -> Column:
    return ident(prefix, length, "ref")


def digits(length: int, count: int = 40, role: str = "ref") -> Column:
    """Digits that are no number: some begin with a zero."""
    return _text(role, lambda row: f"{(row.rng.randrange(count) * 7919 + 13) % 10**length:0{length}d}")


def key(prefix: str, count: int = 24, length: int = 6, role: str = "key") -> Column:
    return _text(role, lambda row: f"{prefix}{row.rng.randrange(count) + 1:0{length}d}")


def number_key(first: int, count: int = 24, role: str = "key") -> Column:
    return _text(role, lambda row: first + row.rng.randrange(count))


def category(words: str, role: str = "category") -> Column:
    choices = words.split("|") if "|" in words else words.split()
    return _text(role, lambda row: row.rng.choice(choices))


def text(words: str, role: str = "text") -> Column:
    """Free text: some words and a number."""
    return _text(role, lambda row: f"{words} {row.rng.randrange(10_000)}")


def person(role: str = "personal") -> Column:
    names = "Ada Bo Cy Dana Eli Fay Gus Hana".split()
    return _text(role, lambda row: f"{row.rng.choice(names)} Example{row.rng.randrange(60)}")


def mail(count: int = 30, role: str = "key") -> Column:
    return _text(role, lambda row: f"u{row.rng.randrange(count)}@example.test")


def address(role: str = "key") -> Column:
    return _text(role, lambda row: f"198.51.100.{row.rng.randrange(60)}")


def always(value: Any, role: str = "nothing") -> Column:
    return _text(role, lambda _: value)


def flag(true: Any = True, false: Any = False, share: float = 0.5, role: str = "flag") -> Column:
    return _text(role, lambda row: true if row.rng.random() < share else false)


def of(call: Callable[[Row], Any], role: str) -> Column:
    return _text(role, call)


def sometimes(column: Column, share: float = 0.7, missing: Any = None) -> Column:
    def make(row: Row) -> tuple[Any, Any]:
        raw, value = column.make(row)
        return (raw, value) if row.rng.random() < share else (missing, None)

    return Column(column.role, make, column.is_main)


def month(written: str, year: int, number: int) -> Column:
    """A month, which is a text or the time of its beginning."""
    return Column("month", lambda _: (written, datetime(year, number, 1, tzinfo=UTC)))


def number(low: float, high: float, places: int = 0, role: str = "number", as_text: bool = False) -> Column:
    def make(row: Row) -> tuple[Any, Any]:
        value = Decimal(f"{row.rng.uniform(low, high):.{places}f}")
        raw = f"{value}" if as_text else float(value) if places else int(value)
        return raw, value

    return Column(role, make)


def label(name_of: Mapping[str, Any], share: float = 0.08) -> Column:
    """The verdict; `name_of` has the words for fraud and genuine."""

    def make(row: Row) -> tuple[Any, Any]:
        verdict = "fraud" if row.rng.random() < share else "genuine"
        return name_of[verdict], verdict

    return Column("label", make)


BITS: Final = {"fraud": 1, "genuine": 0}


def times(
    form: str, *, main: bool = False, later_s: int = 0, zone: str = "UTC", role: str = "time", means: str = ""
) -> Column:
    """Times as texts by a form of `strftime`, on the clock of a zone.

    means: The form of all that the line says of the time, if other columns have parts of it.
    """

    def make(row: Row) -> tuple[Any, Any]:
        at = row.at + timedelta(seconds=later_s)
        if "%f" in form:
            at += timedelta(milliseconds=row.number * 37 % 1_000)
        local = at.astimezone(ZoneInfo(zone))
        written = local.strftime(form.removesuffix(":"))
        return written.replace("+0000", "+00:00") if form.endswith("%z:") else written, _cut(local, means or form)

    return Column(role, make, main)


def _cut(at: datetime, form: str) -> datetime:
    """The time that a form keeps: to the month, day, hour, minute or second."""
    if "%d" not in form and "%H" not in form:
        return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if "%H" not in form and "%I" not in form:
        return at.replace(hour=0, minute=0, second=0, microsecond=0)
    if "%M" not in form:
        return at.replace(minute=0, second=0, microsecond=0)
    if "%S" not in form:
        return at.replace(second=0, microsecond=0)
    return at if "f" in form else at.replace(microsecond=0)


def epoch(
    unit: float = 1, *, main: bool = False, later_s: int = 0, as_text: bool = False, role: str = "time"
) -> Column:
    """Times since 1970; unit: seconds of one."""

    def make(row: Row) -> tuple[Any, Any]:
        at = row.at + timedelta(seconds=later_s)
        raw = int(at.timestamp() / unit)
        return (f"{raw}" if as_text else raw), at

    return Column(role, make, main)


def iso(*, main: bool = False, later_s: int = 0, places: int = 0, zone: str = "UTC", role: str = "time") -> Column:
    """RFC 3339, with Z or an offset."""

    def make(row: Row) -> tuple[Any, Any]:
        at = row.at + timedelta(seconds=later_s, milliseconds=row.number * 37 % 1_000 if places else 0)
        written = at.astimezone(ZoneInfo(zone)).isoformat(timespec="milliseconds" if places else "seconds")
        return written.replace("+00:00", "Z"), at

    return Column(role, make, main)


def amount(
    low: float = 1,
    high: float = 900,
    *,
    main: bool = False,
    write: Callable[[Decimal], Any] = float,
    places: int = 2,
    negative: float = 0,
    role: str = "money",
) -> Column:
    """Money in units of its currency, as `write` writes it."""

    def make(row: Row) -> tuple[Any, Any]:
        value = Decimal(f"{row.rng.uniform(low, high):.{places}f}")
        value = -value if row.rng.random() < negative else value
        return write(value), value

    return Column(role, make, main)


PLACES: Final = {"jpy": 0, "kwd": 3}


def cents(
    low: float = 1, high: float = 900, *, main: bool = False, code: str = "", as_text: bool = False, role: str = "money"
) -> Column:
    """Money in whole smallest units; `code` is the column of its currency, already made."""

    def make(row: Row) -> tuple[Any, Any]:
        places = PLACES.get(str(row.raw.get(code, "")).lower(), 2)
        units = int(row.rng.uniform(low, high) * 10**places)
        return (f"{units}" if as_text else units), Decimal(units).scaleb(-places)

    return Column(role, make, main)


def plain(value: Decimal) -> str:
    return f"{value}"


def grouped(value: Decimal) -> str:
    return f"{value:,.2f}"


def german(value: Decimal) -> str:
    return f"{value:.2f}".replace(".", ",")
