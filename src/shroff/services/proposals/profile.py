"""Profile of a file: what kind of values each of its columns has, by a sample of its lines."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from statistics import mode
from typing import Any, TypeVar

from shroff.errors import UsageError
from shroff.events.definitions import CsvLayout
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.lines import Line
from shroff.events.keys import SEPARATORS
from shroff.events.raw_values import Instant, RawDuration, text_of
from shroff.json_types import JsonMapping
from shroff.language.calls import formatted_time
from shroff.language.expression import ITEM, RowValue
from shroff.language.expression import Path as ColumnPath
from shroff.language.printer import text_of as expression_text
from shroff.language.types import TEXT
from shroff.language.values import is_naive, parse_decimal, parse_time, quoted, with_point

TEXT_OF_ELEMENT = "#text"  # beside the attributes of an element of XML
_TYPE_KEY = re.compile(r"\$\w+|[SNB]|BOOL")  # around a value, in exports of MongoDB and DynamoDB
_CONTROL = re.compile("[\x80-\x9f]")  # what windows-1252 makes of letters in another encoding
FIRST_LINES = 10_000  # all of which are sampled
LATER_LINES = 10_000  # sampled at equal distances behind them
READ_LINES_MAX = 2_000_000  # of the file, for the sample; about 6 s of processor
COLUMNS_MAX = 500
Item = TypeVar("Item")
MISSING = r"NULL null NaN nan N/A n/a NA None \N - -- ? #N/A".split()
_HEADER_LINES = 60  # among which the header is
_TRIED = 300  # different values of a column that tell its kind
_SOME = 0.6  # share of a column's values that tell how decimals are written
_SURE = 0.9  # share of a column's values that must be of a kind; the others are mistakes
_SELDOM = 0.001  # share of the lines that may lack the id, or have a wrong code of a currency
_WHOLE = re.compile(r"\s*-?(0|[1-9]\d*)\s*", re.ASCII)
_SIGNED = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)  # milliseconds since 1970 for `parse_time`, but more often numbers
_ABROAD = re.compile(r"\s*\+[1-9]\d[\d ()/-]{5,18}\s*", re.ASCII)  # a phone number with the code of its country
_CLOCK = re.compile(r"\s*\d{1,2}:\d\d(:\d\d([.,]\d{1,6})?)?\s*", re.ASCII)
_DATED = re.compile(r"(?=.*\d).*[-/.: ].*|\d{8}(\d{6})?|\d{1,2}[A-Za-z]{3}\d{2,4}.*", re.DOTALL)
_DAYS = (
    "%Y-%m-%d|%Y/%m/%d|%Y.%m.%d|%d.%m.%Y|%d/%m/%Y|%m/%d/%Y|%d-%m-%Y|%m-%d-%Y|%d.%m.%y|%d/%m/%y|%m/%d/%y|"
    "%d-%b-%y|%d-%b-%Y|%d %b %Y|%d %B %Y|%b %d, %Y|%B %d, %Y|%b %d %Y|%d%b%Y|%d%b%y|%Y%m%d|"
    "%b-%Y|%b-%y|%b %Y|%B %Y|%Y-%m|%Y/%m|%m/%Y"
).split("|")
_CLOCKS = (
    "| %H:%M:%S| %H:%M| %I:%M:%S %p| %I:%M %p| %H:%M:%S.%f| %H:%M:%S UTC| %H:%M:%S.%f UTC| %H:%M:%S %z| %H:%M:%S %Z|"
    " %H:%M:%S.%f %z| %H:%M:%S,%f| %H:%M:%S,%f %z|T%H:%M:%S,%f|T%H:%M:%S,%f%z|"
    "T%H:%M|, %H:%M:%S|, %H:%M|, %I:%M %p|:%H:%M:%S|%H%M%S"
).split("|")
TIME_FORMS = (
    *(f"{day}{clock}" for clock in _CLOCKS for day in _DAYS if "%d" in day or not clock),
    "%a %b %d %H:%M:%S %Z %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %Z",
)


@dataclass(eq=False)
class FileColumn:
    """One column: its path in a line, the texts of its values (empty where missing), and what they are.

    `is_instant`, `is_duration`, `is_float` and `has_other` say that the file gives its values a type other than text.
    `forms` are those of `strptime` that read its times, where they need one; `numbers` are digits and places of its
    numbers.
    """

    path: tuple[str, ...]
    texts: list[str]
    row: str  # the expression that reads it
    is_instant: bool = False
    is_duration: bool = False
    is_float: bool = False
    has_other: bool = False
    values: Sequence[str] = ()
    distinct: Sequence[str] = ()
    numbers: Sequence[tuple[int, int]] = ()
    forms: Sequence[str] = ()
    is_full: bool = False
    is_unique: bool = False
    is_time: bool = False
    has_naive: bool = False
    is_clock: bool = False
    is_number: bool = False
    is_whole: bool = False
    is_percent: bool = False
    is_phone: bool = False
    is_boolean: bool = False
    codes: frozenset[str] = frozenset()  # the values in upper case, where they are few; without those of few lines
    places: int = 0
    most: float = 0.0
    number: str = ""  # of ISO 8583

    @property
    def name(self) -> str:
        """Its path in a line with dots."""
        return ".".join(filter(None, self.path))

    @cached_property
    def zeros(self) -> set[str]:
        """Texts of its values that are 0."""
        return {text for text in self.distinct if not text.strip("0.,-+ ")}

    @property
    def example(self) -> str:
        return quoted(next(iter(self.distinct), ""))

    def measure(self, mark: str) -> None:
        """Tell what the values are, by the decimal mark of the file, where it has one."""
        self.values = [text for text in self.texts if text]
        self.distinct = list(dict.fromkeys(self.values))
        self.is_full = len(self.values) == len(self.texts)
        if not self.values:
            return
        tried = [text.strip() for text in spread(self.distinct, _TRIED)]
        times = [
            text for text in tried if not _SIGNED.fullmatch(text) and _is_read(partial(parse_time, zone="UTC"), text)
        ]
        self.is_time = self.is_instant or len(times) >= _SURE * len(tried)
        self.is_phone = sum(map(bool, map(_ABROAD.fullmatch, tried))) > len(tried) / 2
        self.is_percent = all(text.endswith("%") for text in tried)
        codes = Counter(text.strip().upper() for text in self.values if len(self.distinct) < _TRIED)
        self.codes = frozenset(text for text, count in codes.items() if count >= _SELDOM * len(self.values))
        self.has_naive = any(map(is_naive, times))
        self.is_clock = all(map(_CLOCK.fullmatch, self.distinct))
        self.is_boolean = {text.lower() for text in tried} <= {"true", "false"}
        written = partial(with_point, mark=mark) if mark else str
        whole = all(_WHOLE.fullmatch(text) or _is_whole_of_script(text) for text in self.distinct)
        numbers: list[tuple[int, int]] = []
        self.numbers = numbers
        for text in self.distinct:
            with suppress(ValueError):
                numbers.append(parse_decimal(written(text.strip().removesuffix("%") if self.is_percent else text)))
        mistakes = len(self.distinct) - len(self.numbers)
        is_code = not self.is_float and any(re.fullmatch(r"0\d+", text) for text in self.distinct)
        few = mistakes <= max(1, len(self.distinct) // 10) and 2 * mistakes <= len(self.numbers)
        self.is_number = few and not is_code and not self.is_duration and not self.is_phone and bool(self.numbers)
        self.is_whole = whole and not is_code
        self.most = max((abs(digits) / 10**places for digits, places in self.numbers), default=0.0)
        ended = ((places, str(digits)) for digits, places in self.numbers)
        self.places = max((places - len(text) + len(text.rstrip("0")) for places, text in ended), default=0)
        if self.is_time or not any(map(_DATED.fullmatch, tried[:3])) or (whole and len(tried[0]) not in {8, 14}):
            return
        forms = [
            form for form in TIME_FORMS if any(_is_read(formatted_time, text, form, "UTC") for text in spread(tried, 3))
        ]
        counts = {form: sum(_is_read(formatted_time, text, form, "UTC") for text in tried) for form in forms}
        most = max(counts.values(), default=0)
        self.forms = [form for form in forms if counts[form] == most >= _SURE * len(tried)]


@dataclass(eq=False)
class FileProfile:
    """The columns of a file, and how a CSV begins. `beginning` says what was seen there, in words.

    `each` reads the array whose items are the events; empty where each line is one.
    """

    format: str
    columns: list[FileColumn]
    layout: CsvLayout
    mark: str
    beginning: str
    line_count: int
    each: str = ""


def profile_of(path: Path) -> FileProfile:
    """Profile a file by its first 10,000 lines and as many from the rest of its first two million.

    Raises: UsageError if it cannot be read, or has no lines.
    """
    layout, beginning = CsvLayout(), ""
    notes: list[str] = []
    with read_lines(path, tell=notes.append) as lines:
        if lines.records is not None:
            layout, beginning = _beginning(path, lines.records.first_lines(_HEADER_LINES))
            lines.lay_out(layout)
            lines.columns  # noqa: B018 (it is read)
        rows, line_count = _sampled(lines)
    if notes:
        is_odd = f"{notes[0].rstrip('.')}; save it as UTF-8 if letters are wrong"
        beginning = f"{beginning}; {is_odd}" if beginning else is_odd
    each = _array_of(rows)
    events = [event for row in rows for event in _events(row, each)]
    places = dict.fromkeys(place for event in events for place, value in event.items() if not isinstance(value, list))
    siblings = Counter(place[:-1] for place in places)
    columns = [
        _column(place, [event.get(place) for event in events], is_alone=siblings[place[:-1]] == 1)
        for place in islice(places, COLUMNS_MAX)
    ]
    if not events:
        raise UsageError(f"{path} has no lines that can be read; a project is proposed from lines of events.")
    if any(map(_CONTROL.search, map(str, chain.from_iterable(places)))):
        raise UsageError(
            f"{path} is neither UTF-8 nor windows-1252. Save it as UTF-8, if it is Japanese by: "
            f"iconv -f SHIFT_JIS -t UTF-8 {path.name} > utf8{path.suffix}"
        )
    named = [column for column in columns if any(part.strip() for part in column.path)]
    words, marks = set[str](), dict.fromkeys((".", ","), 0)
    if lines.format == "csv":
        words = {word for column in named for word in set(column.texts).intersection(MISSING)}
        for column in named:
            column.texts = ["" if text.strip() in words else text for text in column.texts]
    for column in named:
        tried = spread(list(dict.fromkeys(filter(None, column.texts))), _TRIED)
        if column.has_other or sum(_is_read(partial(parse_time, zone="UTC"), text) for text in tried) > len(tried) / 2:
            continue  # with three places of a second, a time could be a number in groups
        if not all(_is_read(parse_decimal, text) for text in tried):
            read = {mark: sum(_is_read(partial(with_point, mark=mark), text) for text in tried) for mark in marks}
            for mark in marks:
                marks[mark] += read[mark] == max(read.values()) >= _SOME * len(tried)
    mark = max(marks, key=lambda mark: marks[mark]) if any(marks.values()) else ""
    different = set(zip(*(column.texts for column in named), strict=True))  # a line that is repeated counts once
    for at, column in enumerate(named):
        column.measure("" if column.has_other else mark)
        without, few = sum(not line[at] for line in different), _SELDOM * len(events)
        column.is_unique = len(column.distinct) == len(different) - without >= _SURE * len(events) and without <= few
    if words:
        layout = CsvLayout(layout.separator, layout.columns, layout.skip, frozenset(words))
    array = expression_text(RowValue(TEXT, each)) if each else ""
    return FileProfile(lines.format, named, layout, mark, beginning, line_count, array)


def _sampled(lines: Iterable[Line]) -> tuple[list[JsonMapping], int]:
    """Return columns of lines in file order, and the number of lines, up to READ_LINES_MAX."""
    numbered = zip(range(READ_LINES_MAX), lines, strict=False)
    first = [line.columns for _, line in islice(numbered, FIRST_LINES) if line.columns is not None]
    later: list[tuple[int, JsonMapping]] = []
    distance = 1
    number = len(first)
    for number, line in numbered:
        if number % distance or line.columns is None:
            continue
        later.append((number, line.columns))
        if len(later) == LATER_LINES:
            distance *= 2
            later = [(number, columns) for number, columns in later if not number % distance]
    return [*first, *(columns for _, columns in later)], number + 1


def spread(items: Sequence[Item], count: int) -> Sequence[Item]:
    """So many items at equal distances, the first and the last among them; all if there are no more.

    >>> spread("abcdefg", 3), spread("ab", 3)
    (['a', 'd', 'g'], 'ab')
    """
    if len(items) <= count:
        return items
    last = len(items) - 1
    return [items[index * last // (count - 1)] for index in range(count)]


def _column(place: ColumnPath, values: Sequence[object], *, is_alone: bool) -> FileColumn:
    path = tuple(part for part in place if isinstance(part, str))
    while len(path) > 1 and (path[-1] == TEXT_OF_ELEMENT or (is_alone and _TYPE_KEY.fullmatch(path[-1]))):
        path = ("", *path[:-1])  # which names it; no column of a line has this path
    return FileColumn(
        path,
        [text_of(value) or "" for value in values],
        expression_text(RowValue(TEXT, place)),
        any(isinstance(value, Instant) for value in values),
        any(isinstance(value, RawDuration) for value in values),
        any(isinstance(value, float) for value in values),
        any(value is not None and type(value) is not str for value in values),
    )


def _array_of(rows: Sequence[JsonMapping]) -> ColumnPath:
    """Return the path of the array whose items are the events: they have more columns than the message itself.

    Of several arrays it is one whose items have times, then the one with most items.
    """
    found = dict[ColumnPath, tuple[bool, int]]()
    for row in rows[:_TRIED]:
        own = dict(_leaves(row))
        for place, value in own.items():
            items = [dict(_leaves(item)) for item in value] if isinstance(value, list) else []
            has_times = any(_is_dated(value) for item in items[:_HEADER_LINES] for value in item.values())
            is_wide = bool(items) and len(items[0]) >= len(own)
            is_only = len(rows) == 1 and has_times and len(items) > 1
            if is_wide or is_only or place in found:
                before, count = found.get(place, (False, 0))
                found[place] = before or has_times, count + len(items)
    return max(found, key=lambda place: found[place], default=())


def _is_dated(value: object) -> bool:
    text = text_of(value) or ""
    if re.fullmatch(r"1\d{9}(\d{3})?", text):  # since 1970
        return True
    is_day = _DATED.fullmatch(text) is not None and not text.isdigit()
    return is_day and (
        _is_read(partial(parse_time, zone="UTC"), text)
        or any(_is_read(formatted_time, text, day, "UTC") for day in _DAYS)
    )


def _events(row: JsonMapping, each: ColumnPath) -> Iterator[dict[ColumnPath, Any]]:
    own = dict(_leaves(row))
    items = own.pop(each, None) if each else [{}]
    for item in items if isinstance(items, list) else []:
        yield {**dict(_leaves(item, (*each, ITEM))), **own}


def _leaves(row: Any, before: ColumnPath = ()) -> Iterator[tuple[ColumnPath, Any]]:
    for name, value in row.items() if isinstance(row, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*before, name))
        else:
            yield (*before, name), value


def _beginning(path: Path, lines: Sequence[str]) -> tuple[CsvLayout, str]:
    told = [line.strip().strip('"')[4:] for line in lines if line.lower().startswith(("sep=", '"sep='))]
    most = csv.field_size_limit()  # a longer line says little of how the others are written
    lines = ["" if line.lower().startswith(("sep=", '"sep=')) or len(line) > most else line for line in lines]
    try:
        tables = {
            sign: list(csv.reader([line.rstrip("\r\n") for line in lines], delimiter=sign))
            for sign in SEPARATORS.values()
        }
    except csv.Error as error:
        words = "a line ends in CR alone; save the file with LF or CR LF" if "new-line" in f"{error}" else error
        raise UsageError(f"{path} is no CSV file: {words}.") from None
    widths = {sign: mode([len(row) for row in rows if row] or [1]) for sign, rows in tables.items()}
    regular = {
        sign: sum(len(row) == width for row in tables[sign]) if width > 1 else 0 for sign, width in widths.items()
    }
    signs = [sign for sign in told if sign in tables] or list(SEPARATORS.values())
    enough = _SURE * max(regular[sign] for sign in signs)
    # A decimal comma in each line makes two regular columns, also of the lines before the header.
    sign = max((sign for sign in signs if regular[sign] >= enough), key=lambda sign: (widths[sign], regular[sign]))
    rows, width = tables[sign], widths[sign]
    filled = [sum(map(bool, map(str.strip, row))) for row in rows]
    reached = sorted(count for row, count in zip(rows, filled, strict=True) if len(row) == width)
    usual = reached[-2] if len(reached) > 1 else max(reached, default=0)
    is_first = (at for at, row in enumerate(rows) if len(row) == width and filled[at] >= 0.8 * usual)
    first = next(is_first, 0)
    cells = [cell.strip() for cell in rows[first]] if rows else []
    separator = sign if first and not told else None
    skip = first if first > len(told) else None  # the line of Excel itself is left out without being told
    reads = (partial(with_point, mark="."), partial(with_point, mark=","), partial(parse_time, zone="UTC"))
    is_value = any(_is_read(read, cell) for cell in cells for read in reads)
    dated = [cell for cell in cells if _DATED.fullmatch(cell)]
    if is_value or any(_is_read(formatted_time, cell, form, "UTC") for form in TIME_FORMS for cell in dated):
        names = tuple(f"column_{at}" for at in range(1, len(cells) + 1))
        return CsvLayout(separator, names, skip), "the first line is no header: it has values"
    if len(set(filter(None, cells))) < len(list(filter(None, cells))):
        names = tuple(cell if cells.count(cell) == 1 else f"{cell}_{at}" for at, cell in enumerate(cells, 1))
        return CsvLayout(separator, names, first + 1), "the header names a column twice: these names replace it"
    return CsvLayout(separator, None, skip), f"the header is line {first + 1}" if skip else ""


def _is_whole_of_script(text: str) -> bool:
    return not text.isascii() and text.strip().removeprefix("-").isdecimal()


def _is_read(read: Callable[..., object], *arguments: str) -> bool:
    with suppress(ValueError, OverflowError):
        read(*arguments)
        return True
    return False
