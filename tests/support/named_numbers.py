"""Numbers with a name that pages, answers and files show: each with its subject, so that they can be compared.

A page shows a named number in a column of a table, whose rows are subjects, or in a list of terms, whose subject is
that of the page. Which names and keys there are says `operations.numbers`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

from shroff.operations.numbers import NUMBERS

ALL = ("all", "")
NUMBER_OF_NAME = {number.name.lower(): key for key, number in NUMBERS.items()}
UNKNOWN = {"not known", "no data", "none", "–", "too few known", ""}
Subject = tuple[str, str]


@dataclass(frozen=True)
class Shown:
    """A number as one place shows it: None for one that is not known, and how many places it has."""

    number: str
    subject: Subject
    unit: str
    value: Decimal | None
    where: str

    def agrees_with(self, other: Shown) -> bool:
        """Whether both are the same value, rounded once to the fewer places of the two."""
        if self.value is None or other.value is None:
            return self.value is other.value
        places = max(self.value.as_tuple().exponent, other.value.as_tuple().exponent)
        unit = Decimal(1).scaleb(places)
        return abs(self.value - other.value) <= unit / 2


@dataclass
class _Table:
    heads: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class _Page(HTMLParser):
    """Tables and terms of a page; of a cell the text up to its first line break."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[_Table] = []
        self.terms: list[tuple[str, str]] = []
        self._text: list[str] | None = None
        self._term = ""
        self._in_head = False
        self._code: str | None = None  # of a row whose head shows a title for it

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append(_Table())
        elif tag in {"thead", "tbody"}:
            self._in_head = tag == "thead"
        elif tag == "tr" and self.tables and not self._in_head:
            self.tables[-1].rows.append([])
        elif tag in {"th", "td", "dt", "dd"}:
            self._text = []
            self._code = None
        elif tag == "span" and self._text is not None and not self._in_head:
            title = dict(attrs).get("title") or ""
            if self._code is None and re.fullmatch(r"[a-z][a-z0-9_]*", title):
                self._code = title
        elif tag == "br" and self._text is not None:
            self._text.append("\n")

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"th", "td", "dt", "dd"} or self._text is None:
            return
        text, self._text = "".join(self._text), None
        if tag == "dt":
            self._term = _words(text)
        elif tag == "dd":
            self.terms.append((self._term, _words(text.partition("\n")[0])))
            self._term = ""  # further ones explain the first
        elif self._in_head:
            self.tables[-1].heads.append(_words(text))
        elif self.tables and self.tables[-1].rows:
            row = self.tables[-1].rows[-1]
            is_subject = not row and self._code is not None
            row.append(self._code if is_subject else _words(text.partition("\n")[0]))


def _words(text: str) -> str:
    return " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())


def _number_of(name: str) -> str | None:
    """The number of a heading, without its currency, its range and what it counts from."""
    bare = re.sub(r"(, [A-Z]{3}$| \(90 % range\)$| since \d.*$)", "", name)
    return NUMBER_OF_NAME.get(bare.lower())


def _value(text: str) -> tuple[str, Decimal | None] | None:
    """Unit and value of a text that begins with a number, None for any other text."""
    if text.lower() in UNKNOWN:
        return "", None
    found = re.match(r"[+−-]?[\d,]+(\.\d+)?", text)
    if found is None:
        return None
    value = Decimal(found[0].replace(",", "").replace("−", "-"))
    if text[found.end() :].lstrip().startswith("%"):
        return "share", value.scaleb(-2)
    return ("decimal" if found[1] else "whole"), value


def of_page(path: str, html: str, subject: Subject = ALL) -> Iterator[Shown]:
    """The named numbers of a page; on the page of a rule, rows of tables are of this rule."""
    page = _Page()
    page.feed(html)
    within = f"{subject[1]} " if subject[0] == "rule" else ""
    for table in page.tables:
        for row in table.rows:
            kind = table.heads[0].lower() if table.heads else ""
            of_row = ALL if row[:1] == ["All"] else (f"{within}{kind}", row[0] if row else "")
            for head, cell in zip(table.heads[1:], row[1:], strict=False):
                yield from _shown(head, cell, of_row, path)
    for term, text in page.terms:
        yield from _shown(term, text, subject, path)


def _shown(name: str, text: str, subject: Subject, where: str) -> Iterator[Shown]:
    number, value = _number_of(name), _value(text)
    if number is not None and value is not None:
        yield Shown(number, subject, value[0], value[1], where)


def of_json(answer: str, row: Mapping[str, Any], subject: Subject, where: str) -> Iterator[Shown]:
    """The named numbers of one row of an answer, by the keys that the table of numbers has for it."""
    for name, number in NUMBERS.items():
        found: Any = row
        for part in number.keys.get(answer, "?").split("."):
            found = found.get(part, ...) if isinstance(found, Mapping) else ...
        if found is not ... and number.unit != "range":
            if isinstance(found, Mapping):  # with its interval
                found = found["share"]
            yield Shown(name, subject, number.unit, None if found is None else Decimal(str(found)), where)


def of_amounts(row: Mapping[str, Any], subject: Subject, where: str) -> Iterator[Shown]:
    """The amounts of the events that numbers of results count, as pages show them by money."""
    for name, number in NUMBERS.items():
        key = number.keys.get("results", "")
        if key in row["money"]:
            text = row["money"][key]
            yield Shown(name, subject, "decimal", None if text is None else Decimal(text), where)


def of_results(found: Mapping[str, Any], where: str) -> Iterator[Shown]:
    """The named numbers of an answer of results, those of a period by its first day."""
    for row in [*found["rows"], found["total"]]:
        subject = ALL if row is found["total"] else (found["by"], _subject(row))
        row = _as_screens(row)
        yield from of_json("results", row, subject, where)
        yield from of_amounts(row, subject, where)


def of_mail(text: str, subject: Subject, where: str) -> Iterator[Shown]:
    """The named numbers of the text of a mail: a line for each, with the amount behind the count."""
    for line in text.splitlines():
        name, *cells = re.split(r" {2,}", line.strip())
        for cell in cells:
            yield from _shown(name, cell, subject, where)


def of_csv(by: str, text: str, where: str) -> Iterator[Shown]:
    """The named numbers of the CSV of results."""
    for row in map(_as_screens, csv.DictReader(io.StringIO(text))):
        for name, number in NUMBERS.items():
            key = number.keys.get("results", "?")
            column = next((name for name in (key, f"{key}.share") if name in row), None)
            if column is not None and number.unit != "range":
                value = Decimal(row[column]) if row[column] else None
                yield Shown(name, (by, _subject(row)), number.unit, value, where)


def _as_screens(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row with the false declines that screens show: none are known if no decline has a label."""
    if not 0 < int(row["declined"]) == int(row["unlabeled_declines"]):
        return row
    unknown: dict[str, Any] = {name: None for name in row if name.endswith("false_declines")}
    if isinstance(row.get("money"), Mapping):
        unknown["money"] = {**row["money"], "false_declines": None}
    return {**row, **unknown}


def _subject(row: Mapping[str, Any]) -> str:
    """A row of results by its value, else its first day as pages write it."""
    if "value" in row:
        return str(row["value"])
    year, month, day = row["from"].split("-")
    months = "January February March April May June July August September October November December".split()
    return f"{int(day)} {months[int(month) - 1]} {year}"


def differing(shown: Iterable[Shown]) -> list[str]:
    """What two places say differently of one number and subject, a line for each such place."""
    places: dict[tuple[str, Subject, bool], list[Shown]] = defaultdict(list)
    for one in shown:
        is_money = NUMBERS[one.number].unit != "money" and one.unit == "decimal" and _is_amount(one)
        places[one.number, one.subject, is_money].append(one)
    found = []
    for (number, subject, _), (first, *others) in sorted(places.items()):
        name = f"{NUMBERS[number].name} of {' '.join(subject)}"
        found += [
            f"{name}: {first.where} says {first.value}, {other.where} {other.value}"
            for other in others
            if not first.agrees_with(other)
        ]
    return found


def _is_amount(shown: Shown) -> bool:
    """Whether a count is shown by money: then its name stands for the amounts of the events."""
    return NUMBERS[shown.number].unit == "events"
