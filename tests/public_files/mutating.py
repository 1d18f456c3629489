"""What happens to files on their way, by a seed: other marks, encodings, orders, forms of times, holes and bad lines.

A mutation changes what stands in the cells and the dialect of the file; what the cells mean stays known.
"""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from tests.public_files.making import Kind, Made, Row, content_of


@dataclass
class Dialect:
    """How a CSV file is written, beside its cells."""

    separator: str = ","
    quote: int = csv.QUOTE_MINIMAL
    line_end: str = "\n"
    encoding: str = "utf-8"
    before: str = ""
    after: str = ""
    pad: str = ""  # around each cell
    blank_lines: bool = False
    header: Callable[[str], str] = str
    extra: dict[int, str] = field(default_factory=dict)  # lines before a row


@dataclass
class Mutant:
    """A file while it is changed; `spoiled` are rows that must not come in with the spoiled value."""

    kind: Kind
    rows: list[Row]
    rng: Random
    dialect: Dialect = field(default_factory=Dialect)
    done: list[str] = field(default_factory=list)
    spoiled: list[Row] = field(default_factory=list)

    def columns(self, *roles: str) -> list[str]:
        """Columns of these roles; of money, none that says its currency."""
        named = (name for name, column in self.kind.columns.items() if column.role in roles)
        return [name for name in named if "currenc" not in name.lower()]

    def main(self, role: str) -> str:
        return next((name for name, column in self.kind.columns.items() if column.is_main and column.role == role), "")

    def content(self) -> bytes:
        if self.kind.format != "csv":
            return content_of(self.kind, [row.raw for row in self.rows])
        dialect = self.dialect
        text = io.StringIO()
        text.write(dialect.before.format(separator=dialect.separator))
        writer = csv.writer(text, delimiter=dialect.separator, quoting=dialect.quote, lineterminator="\n")
        writer.writerow([dialect.header(self.kind.names.get(name, name)) for name in self.kind.columns])
        for number, row in enumerate(self.rows):
            text.write(dialect.extra.get(number, ""))
            cells = ["" if cell is None else f"{dialect.pad}{cell}{dialect.pad}" for cell in row.raw.values()]
            writer.writerow(cells)
            if dialect.blank_lines and number % 9 == 4:
                text.write("\n")
        text.write(dialect.after)
        return text.getvalue().replace("\n", dialect.line_end).encode(dialect.encoding, "replace")


Mutation: TypeAlias = Callable[[Mutant], None]


# ---- the file around the cells


def other_separator(file: Mutant) -> None:
    file.dialect.separator = file.rng.choice(";\t|")


def quoted(file: Mutant) -> None:
    file.dialect.quote = csv.QUOTE_ALL


def line_ends(file: Mutant) -> None:
    file.dialect.line_end = file.rng.choice(["\r\n", "\r\n", "\r"])


def encoded(file: Mutant) -> None:
    file.dialect.encoding = file.rng.choice(["utf-8-sig", "utf-16", "cp1252", "utf-16-le"])
    for name in file.columns("text", "category")[:2]:
        for row in file.rows[::3]:
            if isinstance(row.raw[name], str):
                row.raw[name] = row.values[name] = f"{row.raw[name]} Müller é"


def preamble(file: Mutant) -> None:
    lines = ["Export of 2026-02-01", "Account;DE89", "", "sep={separator}"]
    file.dialect.before = "\n".join(file.rng.sample(lines, 2)) + "\n"


def trailer(file: Mutant) -> None:
    file.dialect.after = file.rng.choice(["Total\n", "\n\n", "\x1a", "200 rows selected.\n"])


def blank_lines(file: Mutant) -> None:
    file.dialect.blank_lines = True


def padded(file: Mutant) -> None:
    file.dialect.pad = " "


def shouted(file: Mutant) -> None:
    file.dialect.header = str.upper


# ---- the order of the lines


def newest_first(file: Mutant) -> None:
    file.rows.sort(key=lambda row: row.at, reverse=True)


def shuffled(file: Mutant) -> None:
    file.rng.shuffle(file.rows)


def doubled(file: Mutant) -> None:
    file.rows[10:10] = file.rows[3:6]


# ---- the cells


def holes(file: Mutant) -> None:
    """Missing values, with a word for them."""
    word = file.rng.choice(["", "", "NULL", "N/A", "-", "nan"])
    names = file.columns("category", "text", "number", "flag", "money", "key")
    for name in file.rng.sample(names, min(3, len(names))):
        if not file.kind.columns[name].is_main:
            for row in file.rng.sample(file.rows, len(file.rows) // 6):
                row.raw[name] = word if file.kind.format == "csv" else None
                row.values[name] = None


def _each_number(file: Mutant, write: Callable[[Decimal], str]) -> None:
    for name in file.columns("money", "number"):
        for row in file.rows:
            value = row.values[name]
            if isinstance(value, Decimal) and not (isinstance(row.raw[name], str) and row.raw[name][:1] in "$£'"):
                row.raw[name] = write(value)


def decimal_comma(file: Mutant) -> None:
    file.dialect.separator = ";"
    _each_number(file, lambda value: f"{value}".replace(".", ","))


def grouped_points(file: Mutant) -> None:
    file.dialect.separator = ";"
    swapped = str.maketrans(",.", ".,")
    _each_number(file, lambda value: f"{value:,}".translate(swapped))


def grouped_commas(file: Mutant) -> None:
    _each_number(file, lambda value: f"{value:,}")


def grouped_spaces(file: Mutant) -> None:
    space = file.rng.choice(" \u00a0\u202f")
    file.dialect.separator = ";"
    _each_number(file, lambda value: f"{value:,}".replace(",", space).replace(".", ","))


def grouped_apostrophes(file: Mutant) -> None:
    _each_number(file, lambda value: f"{value:,}".replace(",", "'"))


def grouped_by_two(file: Mutant) -> None:
    """Indian groups: 12,34,567.50."""

    def write(value: Decimal) -> str:
        whole, point, rest = f"{abs(value)}".partition(".")
        head, tail = whole[:-3], whole[-3:]
        pairs = []
        while head:
            pairs.insert(0, head[-2:])
            head = head[:-2]
        return ("-" if value < 0 else "") + ",".join([*pairs, tail]) + point + rest

    _each_number(file, write)


def accounting(file: Mutant) -> None:
    """Negative amounts in brackets or with the sign behind."""
    form = file.rng.choice(["({})", "{}-"])
    name = file.main("money")
    for row in file.rows[::4]:
        value = abs(row.values[name])
        if f"{row.raw[name]}"[:1] not in "$£":
            row.values[name] = -value
            row.raw[name] = form.format(value)


def signed(file: Mutant) -> None:
    _each_number(file, lambda value: f"{value:+}")


def scientific(file: Mutant) -> None:
    """One amount as a spreadsheet shows it."""
    name = file.main("money")
    row = file.rng.choice(file.rows)
    value = row.values[name]
    row.raw[name] = f"{value:E}"


def three_places(file: Mutant) -> None:
    """Amounts with three places that look like groups: 12.501."""
    name = file.main("money")
    for row in file.rows:
        value = Decimal(f"{file.rng.uniform(1, 99):.3f}")
        row.raw[name] = f"{value}"
        row.values[name] = value


def zeros_before(file: Mutant) -> None:
    """Ids and digits that begin with zeros."""
    for name in file.columns("ref", "key")[:2]:
        for row in file.rows:
            if isinstance(row.raw[name], str):
                row.raw[name] = row.values[name] = f"00{row.number % 17:06d}"


def letters_like_missing(file: Mutant) -> None:
    """Values that are words, and mean themselves: NA is Namibia, None a name."""
    for name in file.columns("key", "category")[:1]:
        for row in file.rows[::5]:
            row.raw[name] = row.values[name] = file.rng.choice(["Nan Goldin", "Noneham", "NAN", "NA1"])


def awkward_texts(file: Mutant) -> None:
    """Separators, quotation marks and line ends within a cell."""
    texts = ['A "quoted" text', "a; b, c|d", "two\nlines", "tab\there", "=SUM(A1)", "O'Brien", "trailing\\"]
    for name in file.columns("text", "category")[:2]:
        for row in file.rows[::4]:
            if isinstance(row.raw[name], str):
                row.raw[name] = row.values[name] = file.rng.choice(texts)


_FORMS: Final = (
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%Y-%m-%d %I:%M:%S %p",
    "%d-%b-%Y %H:%M:%S",
    "%Y%m%d%H%M%S",
    "%Y-%m-%dT%H:%M:%S",
    "%d/%m/%y %H:%M",
    "%b %d, %Y, %I:%M %p",
)


def other_times(file: Mutant) -> None:
    name = file.main("time")
    form = file.rng.choice(_FORMS)
    for row in file.rows:
        at = row.at if "%S" in form else row.at.replace(second=0)
        row.raw[name] = at.strftime(form)
        row.values[name] = at.replace(microsecond=0)


def offsets(file: Mutant) -> None:
    """Times with the offset of their line."""
    name = file.main("time")
    zones = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]
    for row in file.rows:
        local = row.at.astimezone(ZoneInfo(file.rng.choice(zones)))
        row.raw[name] = local.strftime("%Y-%m-%d %H:%M:%S %z")
        row.values[name] = local


def epochs(file: Mutant) -> None:
    name = file.main("time")
    unit = file.rng.choice([1, 1_000, 1_000_000])
    for row in file.rows:
        row.raw[name] = int(row.at.timestamp() * unit)
        row.values[name] = row.at


def long_span(file: Mutant) -> None:
    """Days that go beyond the twelfth, so that a form of days and months is clear."""
    name = file.main("time")
    for number, row in enumerate(sorted(file.rows, key=lambda row: row.at)):
        row.at = datetime(2026, 1, 3, 9, 30, tzinfo=UTC) + timedelta(days=number // 3, seconds=number)
        row.raw[name] = row.at.strftime("%d/%m/%Y %H:%M:%S")
        row.values[name] = row.at


def _spoil(file: Mutant, name: str, text: str) -> None:
    row = file.rng.choice(file.rows)
    row.raw[name] = text
    row.values[name] = None
    file.spoiled.append(row)


def bad_amount(file: Mutant) -> None:
    _spoil(file, file.main("money"), file.rng.choice(["abc", "12.5O", "1,2,3", "12..50", "#REF!", "1.234.56"]))


def bad_time(file: Mutant) -> None:
    _spoil(file, file.main("time"), file.rng.choice(["yesterday", "2026-13-45 10:00:00", "0000-00-00 00:00:00"]))


def bad_line(file: Mutant) -> None:
    at = file.rng.randrange(5, len(file.rows))
    file.dialect.extra[at] = file.rng.choice(["only;one\n", "x" * 40 + "\n", ",".join("abcdefghijklm" * 9) + "\n"])


ANY: Final[Sequence[Mutation]] = (
    newest_first,
    shuffled,
    doubled,
    holes,
    zeros_before,
    letters_like_missing,
    awkward_texts,
)
TABLES: Final[Sequence[Mutation]] = (
    other_separator,
    quoted,
    line_ends,
    encoded,
    preamble,
    trailer,
    blank_lines,
    padded,
    shouted,
    decimal_comma,
    grouped_points,
    grouped_commas,
    grouped_spaces,
    grouped_apostrophes,
    grouped_by_two,
    accounting,
    signed,
    scientific,
    three_places,
    other_times,
    offsets,
    epochs,
    long_span,
    bad_amount,
    bad_time,
    bad_line,
)
OF_MONEY: Final = (accounting, scientific, three_places, bad_amount)


def mutant(made: Made, seed: int) -> Mutant:
    """The file after one to three mutations."""
    rng = Random(f"{made.kind.name} {seed}")
    dialect = Dialect(made.kind.separator, made.kind.quote, encoding=made.kind.encoding)
    file = Mutant(made.kind, copy.deepcopy(made.rows), rng, dialect)
    choices = [*ANY, *TABLES] if made.kind.format == "csv" else list(ANY)
    choices = [each for each in choices if file.main("money") or each not in OF_MONEY]
    for mutation in rng.sample(choices, rng.choice([1, 1, 2, 2, 3])):
        mutation(file)
        file.done.append(mutation.__name__)
    return file
