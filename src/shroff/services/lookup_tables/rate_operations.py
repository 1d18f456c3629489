"""Operation on the table of rates: imports files of the European Central Bank, or of date, currency and rate."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from shroff import config
from shroff.errors import UsageError
from shroff.events.conversion import rate_column
from shroff.events.loader import load_events
from shroff.language.types import CODES, PLACES_MAX, UNITS_MAX
from shroff.language.values import parse_decimal, show_number
from shroff.language.yaml import text as yamltext
from shroff.operations.declaration import LocalSwitch, OperationAnswer, OperationRequest, Param, group, operation
from shroff.project.settings.loader import load_settings
from shroff.project.table_files import cells_of, table_file
from shroff.runtime.texts import many
from shroff.services.project import Project

if TYPE_CHECKING:
    from shroff.events.definitions import Events, Settings

_BANK = "EUR"  # the bank's rates are per unit of it
_DAYS = ("%Y-%m-%d", "%d %B %Y")  # in its history file, and in its daily file
_NAMES = ("date", "currency", "rate")  # columns of a file with a rate per line
_Row = tuple[str, str, str]  # currency, day, rate

group(
    "rates",
    """Rates of other currencies, by which amounts of the type 'money in FIELD' are converted.

    They are a table of the project that 'money' in shroff.yaml names. You can also edit it by hand; 'shroff apply' then
    makes it active.

    Examples:
        shroff rates import eurofxref.csv
    """,
)


class ImportRates(OperationRequest["ImportedRates"]):
    """
    Args:
        file (FILE): eurofxref.csv, eurofxref-hist.csv, or a CSV file with the columns date, currency and rate.
        start (DAY): Import rates of this day and later only.
        inverse: The column 'rate' is what one unit of the project's currency is in the other currency.
    """

    file: Annotated[Path, Param(is_local=True)]
    start: Annotated[str, Param(flags="--from", is_local=True)] = ""
    inverse: LocalSwitch = False


class ImportedRates(OperationAnswer):
    """What became of the rates of a file. `skipped` are currencies that ISO 4217 does not have any more.

    `latest` is one of the latest rates that were read, in words.
    """

    files: list[str]
    read: int
    added: int
    changed: int
    skipped: list[str]
    latest: str
    NEXT: ClassVar = ("shroff check", "shroff apply")

    def text(self) -> str:
        skipped = f" Skipped, since ISO 4217 has them no more: {', '.join(self.skipped)}." if self.skipped else ""
        latest = f" The latest: {self.latest}." if self.latest else ""
        counts = f"{many(self.read, 'rate')} read, {self.added:,} added, {self.changed:,} changed"
        return f"{self.files[0]}: {counts}.{latest}{skipped}"


@operation("rates import", right="edit:lists")
def import_rates(project: Project, request: ImportRates) -> ImportedRates:
    """Import rates into the table of rates: those of the European Central Bank, or a table of date, currency and rate.

    A rate is valid from the start of its day, UTC, until the next one. Rates that are there already are kept, or
    corrected; a correction changes only events that come after it. In a project whose currency is not the euro, rates
    of the bank are taken over the euro. In a table of date, currency and rate, the rate is what one unit of the
    currency is in the project's currency; with --inverse it is the other way round.

    Examples:
        shroff rates import eurofxref.csv
        shroff rates import eurofxref-hist.csv --from 2026-01-01
        shroff rates import rates.csv --inverse
    """
    folder = project.context.paths.folder
    settings, events = _declared(folder)
    name, shape = settings.rates, events.tables[settings.rates]
    columns = events.table_keys[name], shape.since, rate_column(shape)
    rate_by_key: dict[tuple[str, str], str] = {}
    files = config.read_files(folder, [], (f"tables/{name}.",))
    target = folder / table_file(name, files)
    if target.suffixes != [".csv"]:
        raise UsageError(
            f"the rates are in {target.relative_to(folder)}, which this does not write. Make it a CSV file."
        )
    if text := files.get(f"tables/{name}.csv"):
        for _, cells in cells_of(target.name, text):
            code, day, rate = (cells.get(column, "") for column in columns)
            rate_by_key[day.removesuffix("T00:00:00Z"), code] = rate
    own = settings.currency
    rates = list(_rates_of(request.file, own, shape.columns[columns[2]].places, is_inverse=request.inverse))
    read = [row for row in rates if row[0] in CODES and row[1] >= request.start]
    new = {(day, code): rate for code, day, rate in read}
    if twice := [(code, day) for code, day, rate in read if new[day, code] != rate]:
        code, day = twice[0]
        raise UsageError(
            f"{request.file.name} has two rates of {code} on {day}. Nothing was written; leave one of them."
        )
    changed = sum(rate_by_key[key] != rate for key, rate in new.items() if key in rate_by_key)
    lines = [f"{code},{day},{rate}" for (day, code), rate in sorted((rate_by_key | new).items())]
    target.parent.mkdir(exist_ok=True)
    config.write_text(target, "\n".join([",".join(columns), *lines, ""]))
    return ImportedRates(
        files=[f"tables/{name}.csv"],
        read=len(read),
        added=len(new.keys() - rate_by_key),
        changed=changed,
        skipped=sorted({code for code, _, _ in rates} - CODES),
        latest=max((f"{day}: 1 {code} = {rate} {own}" for code, day, rate in read), default=""),
    )


def _declared(folder: Path) -> tuple[Settings, Events]:
    """Return settings and types of a project whose table of rates may be missing. Raises: UsageError."""
    files = config.read_files(folder, [])
    settings = load_settings(yamltext.read(files.get(config.PROJECT_FILE, ""), config.PROJECT_FILE, []), [])
    events = load_events(yamltext.read(files.get("events.yaml", ""), "events.yaml", []), frozenset(), 2, [])
    shape = events.tables.get(settings.rates)
    if shape is None or not rate_column(shape) or len(shape.columns) > 1:
        raise UsageError(
            f"the project declares no table of rates. Write money: {{ currency: {settings.currency}, rates: fx }} in "
            "shroff.yaml, and tables: { fx: { currency: text, from: valid_from, rate: number(12) } } in events.yaml"
        )
    return settings, events


def _rates_of(path: Path, currency: str, places: int, *, is_inverse: bool) -> Iterator[_Row]:
    """Yield the value of one unit of each currency by day. Raises: UsageError for another file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = ([cell.strip() for cell in row] for row in csv.reader(file) if any(row))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    names = [cell.lower() for cell in header]
    if not set(_NAMES).difference(names):
        for number, row in enumerate(rows, 2):
            if len(row) != len(names):
                raise UsageError(f"{path.name}:{number} has {len(row)} columns, and its first line {len(names)}")
            cells = dict(zip(names, row, strict=True))
            code, value = cells["currency"].upper(), _value(cells["rate"], path, number)
            in_own = {currency: Fraction(1), code: value if is_inverse else 1 / value}
            yield from _row_rates(in_own, currency, _day(cells["date"], path, number), places)
        return
    if header[0] != "Date" or is_inverse:
        raise UsageError(
            f"{path.name} has no columns {', '.join(_NAMES)}. A file of the European Central Bank, which has another "
            "form and needs no --inverse, begins with Date, USD, …"
        )
    for number, row in enumerate(rows, 2):
        day, cells = _day(row[0], path, number), dict(zip(header[1:], row[1:], strict=False))
        in_euro = {code: _value(text, path, number) for code, text in cells.items() if code and text not in {"", "N/A"}}
        yield from _row_rates({_BANK: Fraction(1), **in_euro}, currency, day, places)


def _row_rates(in_euro: Mapping[str, Fraction], currency: str, day: str, places: int) -> Iterator[_Row]:
    for code, value in in_euro.items():
        if code != currency and currency in in_euro:
            rate = in_euro[currency] / value
            units = round(rate * 10**places)
            if code in CODES and not 0 < units <= UNITS_MAX:
                fits = next((fewer for fewer in range(PLACES_MAX, -1, -1) if round(rate * 10**fewer) <= UNITS_MAX), 0)
                cure = f"write its column as number({fits}) in events.yaml" if fits != places else "it is too small"
                raise UsageError(f"the rate of {code} on {day} does not fit number({places}): {cure}.")
            yield code, day, show_number(units, places)


def _day(text: str, path: Path, number: int) -> str:
    for form in _DAYS:
        try:
            return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007 (a day has no time zone)
        except ValueError:
            continue
    raise UsageError(f"{path.name}:{number}: {text!r} is not a day such as 2026-11-26 or 26 November 2026")


def _value(text: str, path: Path, number: int) -> Fraction:
    try:
        digits, places = parse_decimal(text)
    except ValueError as error:
        raise UsageError(f"{path.name}:{number}: {error}") from None
    if digits <= 0:
        raise UsageError(f"{path.name}:{number}: a rate is above 0, not {text}")
    return Fraction(digits, 10**places)
