"""Roles of a file's columns, by their values and names: time and id of the event, and its label.

Whatever is guessed is kept with its reason, for a comment where it is used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, count, pairwise
from typing import NamedTuple

from shroff.errors import UsageError
from shroff.events.field_roles import KEYS, is_named
from shroff.events.keys import RESERVED
from shroff.language.calls import formatted_time
from shroff.language.zone_words import is_zone_word
from shroff.runtime.texts import one_line
from shroff.services.proposals.numbered_fields import SENT_AT, year_of
from shroff.services.proposals.profile import FileColumn, FileProfile
from shroff.services.proposals.times import TimeReading, clock_form, gaps_of, time_names, time_reading, time_values

TYPE = "payment"
_LINE_ID = "join(row.file, ':', row.number)"
_ITEM_ID = "join(row.file, ':', row.number, '#', row.item)"
_NAME_MAX = 60  # characters of a proposed name; the language allows 100
FIRST_DAY = "2020-01-01"  # of a file whose times count from its own start, until the user names it
TAKEN = {*RESERVED, TYPE, "when", "zone", "each", "arrived", "columns", "skip", "decimal", "separator", "order"}
FRAUD = "1 1.0 true t yes y ja oui si fraud fraudulent bad confirmed suspicious".split()
GENUINE = (
    "0|0.0|false|f|no|n|genuine|legit|legitimate|normal|good|ok|not fraud|non-fraud|nonfraud|-1|clean|nein|non"
).split("|")
_OFFSET = re.compile(r"[+-]\d\d:?\d\d")
_BY_FORM = re.compile(r"time\((.*), '([^']*)'\)(.*)")
_NAIVE_FORMS = tuple(f"%Y-%m-%d{sign}%H:%M:%S{part}" for sign in " T" for part in ("", ".%f"))
_PLAIN_VERDICTS = {"fraud", "fraudulent", "genuine", "legit", "legitimate", "not fraud", "non-fraud", "nonfraud"}
_UNITS = {"hour": "1h", "step": "1h", "minute": "1m", "day": "1d", "week": "7d", "month": "30d"}
_EQUAL = 1.5  # values of two candidates nearer than this do not tell them apart, so that names may
_ALIKE = 2.0  # of two names: the user is asked if no more than this speaks for the chosen one
_ALSO_MAX = 3
SAME = 0.95  # of the lines
_UNNAMED_LINES = 20  # which prove an id that no name tells
ROLES = ("id", "time", "money", "currency", "label", "label_time", "entity", "cents", "units", "zone", "first", "since")
_KINDS = {
    "time": "a time",
    "money": "an amount",
    "currency": "codes of currencies",
    "label": "a verdict of two values",
    "label_time": "the time of a label",
    "entity": "a key that is nothing else",
    "cents": "whole numbers of cents",
}


@dataclass(eq=False)
class ProposedField:
    name: str
    type: str
    expression: str = ""
    guess: str = ""
    column: FileColumn | None = None
    is_composed: bool = False  # an amount that does not stand in one column as it is
    other_units: str = ""  # role that reads a guessed amount otherwise

    @property
    def is_signed(self) -> bool:
        return self.column is not None and any(digits < 0 for digits, _ in self.column.numbers)


class Candidate(NamedTuple):
    """A column, maybe with others, in one role of the event: how much its values and its names speak for it."""

    values: float
    names: float
    field: ProposedField
    columns: Sequence[FileColumn]


@dataclass(eq=False)
class Draft:
    """What is known of the proposal so far. `used` are columns that are something already.

    `settled` are roles that the user has given to columns; `also` are other columns that a role could be, best first.
    """

    profile: FileProfile
    settled: Mapping[str, FileColumn] = field(default_factory=dict)
    guesses: list[str] = field(default_factory=list)
    used: list[FileColumn] = field(default_factory=list)
    also: dict[str, list[str]] = field(default_factory=dict)
    roles: dict[int, str] = field(default_factory=dict)  # by the identity of a column
    left_out: list[tuple[FileColumn, str]] = field(default_factory=list)  # with the reason
    later_by_name: list[FileColumn] = field(default_factory=list)  # known only afterwards, their values do not show it
    words: FileColumn | None = None  # called an amount, and no number
    close: set[str] = field(default_factory=set)  # roles for which another column is nearly as likely
    no_ids: frozenset[str] = frozenset()
    zone_guessed: bool = False
    currencies: FileColumn | None = None  # the column of the currency, where there are several
    currency: str = ""  # of the project
    is_currency_guessed: bool = False
    smallest: str = ""  # how whole numbers of smallest units are read, with `{}` for the column
    entity_guess: str = ""
    leading: FileColumn | None = None  # the key that features are about
    first_day: str = ""  # as the user named it
    is_counted: bool = False  # times count from the first day
    time: TimeReading | None = None
    dates: list[TimeReading] = field(default_factory=list)  # of other columns, which another form reads, too
    label: FileColumn | None = None

    def choose(self, role: str, candidates: Iterable[Candidate]) -> Candidate | None:
        """Return the candidate of the column that the user gave the role, else the best one by values.

        Names choose among those whose values are nearly equal, and never another.

        Raises: UsageError if the user's column cannot have the role.
        """
        ranked = sorted(candidates, key=lambda candidate: -candidate.values)
        enough = ranked[0].values - _EQUAL if ranked else 0.0
        ranked.sort(key=lambda candidate: (candidate.values <= enough, -candidate.names))
        settled = self.settled.get(role)
        if settled is not None:
            ranked.sort(key=lambda candidate: candidate.columns[0] is not settled)
            if not ranked or ranked[0].columns[0] is not settled:
                raise UsageError(
                    f"--role {role}={settled.name}: its values, such as {settled.example}, cannot be read as "
                    f"{_KINDS.get(role, role)}. Name another column."
                )
        if not ranked:
            return None
        best = ranked[0]
        others = [other for other in ranked[1:] if other.columns[0] is not best.columns[0]]
        others.sort(key=lambda other: best.names - other.names >= _ALIKE)
        self.also[role] = list(dict.fromkeys(other.columns[0].name for other in others))[:_ALSO_MAX]
        self.used += best.columns
        self.roles |= {id(column): role for column in best.columns}
        if others and settled is None and best.names - others[0].names < _ALIKE:
            self.close.add(role)
        return best

    @property
    def start(self) -> str:
        return f"time('{self.first_day or FIRST_DAY}', '%Y-%m-%d')"

    def leave_out(self, column: FileColumn, reason: str) -> None:
        self.used.append(column)
        self.left_out.append((column, reason))

    def guess(self, words: str, of: str = "") -> str:
        """A guess as a comment at the end of a line, which says what it is `of`; nothing for no words."""
        if not words:
            return ""
        self.guesses.append(f"{of}: {words}" if of else words)
        return f"  # guess: {one_line(words)}"

    def free(self, *words: str) -> list[FileColumn]:
        """Columns that are nothing yet and whose names have one of these words."""
        rest = [column for column in self.profile.columns if not any(column is other for other in self.used)]
        return [column for column in rest if not words or any(has(column, word) for word in words)]

    def free_for(self, role: str, *words: str) -> list[FileColumn]:
        """Like `free`, without columns that the user gave other roles."""
        reserved = {*self.settled.values()} - {self.settled.get(role)}
        return [column for column in self.free(*words) if column not in reserved]


def slug(path: Sequence[str]) -> str:
    """A name of the language for a column: `isFraud` is is_fraud, `Transaction ID` transaction_id."""
    text = unicodedata.normalize("NFKD", "_".join(path)).encode("ascii", "ignore").decode()
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
    text = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if len(text) > _NAME_MAX:
        text = text[-_NAME_MAX:].partition("_")[2] or text[-_NAME_MAX:]
    return text if text[:1].isalpha() else f"c_{text}" if text else "column"


def new_name(path: Sequence[str], names: Collection[str]) -> str:
    """A name for a column that no field has: of the end of its path, as short as it can be."""
    for parts in range(1, len(path) + 1):
        name = slug(path[-parts:])
        if name not in names and name not in TAKEN:
            return name
    name = slug(path[-1:])
    numbers = (f"{name}_{number}" for number in count(2))
    more = [f"{name}_value"] if name != "column" else []
    return next(other for other in chain(more, numbers) if other not in names)


def has(column: FileColumn, word: str) -> bool:
    return is_named(slug(column.path[-1:]), word)


def label_of(draft: Draft) -> FileColumn | None:
    candidates: list[Candidate] = []
    for column in draft.free_for("label"):
        values = {text.strip().lower() for text in column.distinct}
        is_settled = column is draft.settled.get("label")
        says_fraud = not values.isdisjoint(_PLAIN_VERDICTS)
        if not values or len(values) > 2 or not values <= {*FRAUD, *GENUINE}:
            continue
        if has(column, "label") or says_fraud or is_settled:
            names = 2.0 * has(column, "known") + ("flag" not in slug(column.path))
            candidates.append(Candidate(2.0 * says_fraud, names, ProposedField("", ""), [column]))
    best = draft.choose("label", candidates)
    draft.label = best.columns[0] if best else None
    return draft.label


def time_of(draft: Draft) -> ProposedField:
    """The field of the event's time, from what can be read as one; else times counted by the lines."""
    columns = draft.free_for("time")
    names = [slug(column.path[-1:]) for column in columns]
    readings = [time_reading(column, name, columns, is_event=True) for column, name in zip(columns, names, strict=True)]
    found = [(reading, name) for reading, name in zip(readings, names, strict=True) if reading is not None]
    candidates = [
        Candidate(values, time_names(name), _time_field(reading, name), [reading.column, *reading.more])
        for values, (reading, name) in zip(time_values([reading for reading, _ in found]), found, strict=True)
    ]
    candidates += _of_parts(columns)
    for column in columns:
        if column.path == SENT_AT and column.values:
            digits = f"right(join('0', {column.row}), 10)"  # a number of JSON has lost its zero
            digits = digits if column.has_other else column.row
            text = f"time(join('{year_of(column)}', {digits}), '%Y%m%d%H%M%S')"
            guess = f"the file has no year; are they of {year_of(column)}?"
            candidates.append(Candidate(9, 0, ProposedField("sent_at", "time", text, guess, column), [column]))
    if not candidates or "time" in draft.settled:
        candidates += _counted(draft)
    best = draft.choose("time", candidates)
    if best is None:
        named = [
            f"{column.path[-1]} has no form of times that most lines share" for column in draft.free_for("time", "time")
        ]
        guess = f"{named[0] if named else 'no column has the time'}, so each line is a second after the one before"
        # at most 10,000 items of a message are events
        since = "row.number * 3h + row.item * 1s" if draft.profile.each else "row.number * 1s"
        draft.is_counted = True
        return ProposedField("paid_at", "time", f"{draft.start} + {since}", guess)
    draft.time = next((reading for reading, _ in found if reading.column is best.columns[0]), None)
    draft.zone_guessed = draft.time.is_zoneless if draft.time else "%" in best.field.expression
    draft.is_counted = best.field.expression.startswith(f"{draft.start} +")
    draft.zone_guessed = draft.zone_guessed and not draft.is_counted
    draft.zone_guessed = draft.zone_guessed and not _is_zoned(draft, best.field)
    if draft.also["time"]:
        best.field.guess = joined(best.field.guess, f"it could also be {' or '.join(draft.also['time'])}")
    return best.field


def _is_zoned(draft: Draft, time: ProposedField) -> bool:
    """Whether a column has the zone of each line, with which the time is read from now on."""
    for column in draft.free("zone"):
        is_offset = all(map(_OFFSET.fullmatch, column.distinct))
        if not column.is_full or not (is_offset or all(map(is_zone_word, map(str.strip, column.distinct)))):
            continue
        assert time.column is not None
        is_read = _BY_FORM.fullmatch(time.expression)
        if is_read is None:
            forms = [form for form in _NAIVE_FORMS if all(_has_form(text, form) for text in time.column.distinct)]
            if not forms:
                continue
            text, form, rest = time.column.row, forms[0], ""
        else:
            text, form, rest = is_read.groups()
        parts = text[len("join(") : -1] if text.startswith("join(") else text
        time.expression = f"time(join({parts}, ' ', {column.row}), '{form} {'%z' if is_offset else '%Z'}'){rest}"
        time.guess = joined(f"in the zone that {column.path[-1]} names", time.guess)
        return True
    return False


def _has_form(text: str, form: str) -> bool:
    with suppress(ValueError):
        formatted_time(text.strip(), form, "UTC")
        return True
    return False


def joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _time_field(reading: TimeReading, name: str) -> ProposedField:
    column = reading.column
    name = "paid_at" if name in TAKEN or name.startswith(("c_", "column")) else name
    expression = reading.expression or ("" if column.path == (name,) else column.row)
    return ProposedField(name, "time", expression, reading.guess, column)


def _of_parts(columns: Sequence[FileColumn]) -> list[Candidate]:
    parts = {slug(column.path): column for column in columns if column.is_whole}
    if not {"year", "month", "day"} <= parts.keys():
        return []
    year, month, day = (parts[part] for part in ("year", "month", "day"))
    joined = f"{year.row}, '-', {month.row}, '-', {day.row}"
    clock = next((column for column in columns if column.is_clock and column.is_full), None)
    if clock is None:
        field = ProposedField("paid_at", "time", f"time(join({joined}), '%Y-%m-%d')")
        return [Candidate(3, 0, field, [day, year, month])]
    text = f"time(join({joined}, ' ', {clock.row}), '%Y-%m-%d {clock_form(clock)}')"
    name = slug(clock.path[-1:])
    name = "paid_at" if name in TAKEN else name
    return [Candidate(8, 0, ProposedField(name, "time", text, "", clock), [clock, year, month, day])]


def _counted(draft: Draft) -> list[Candidate]:
    candidates: list[Candidate] = []
    for column in draft.free_for("time"):
        is_possible = has(column, "counted") or column is draft.settled.get("time")
        if not is_possible or not (column.is_number and column.is_full) or column.is_percent:
            continue
        if min(digits for digits, _ in column.numbers) < 0:
            continue
        unit = next((unit for word, unit in _UNITS.items() if word in slug(column.path)), "1s")
        unit = unit if column.most * int(unit[:-1]) * (30 if unit[-1] == "d" else 1) < 10**8 else "1s"
        name = slug(column.path[-1:])
        name = "paid_at" if name in TAKEN or name.startswith(("c_", "column")) else name
        guess = f"numbers count steps of {unit} from {draft.first_day or 'a day that you name'}"
        read = ProposedField(name, "time", f"{draft.start} + integer({column.row}) * {unit}", guess, column)
        candidates.append(Candidate(len(column.distinct) / len(column.texts), 0, read, [column]))
    return candidates


def label_time_of(draft: Draft) -> TimeReading | None:
    """When the verdicts were known: a time that is never before the event's, and names a report or a dispute."""
    if draft.label is None:
        draft.choose("label_time", [])
        return None
    dropped = [column for column, _ in draft.left_out]
    candidates: list[Candidate] = []
    readings: list[TimeReading] = []
    for column in [*draft.free_for("label_time"), *dropped]:
        is_settled = column is draft.settled.get("label_time")
        reading = time_reading(column, slug(column.path[-1:]))
        if reading is None or not (is_settled or has(column, "label_time")):
            continue
        gaps = gaps_of(draft.time, reading) if draft.time is not None else []
        if is_settled or (gaps and sum(gap >= 0 for gap in gaps) >= SAME * len(gaps)):
            readings.append(reading)
            candidates.append(Candidate(0, has(column, "known"), ProposedField("", ""), [column]))
    best = draft.choose("label_time", candidates)
    if best is None:
        return None
    draft.left_out = [(column, reason) for column, reason in draft.left_out if column is not best.columns[0]]
    return next(reading for reading in readings if reading.column is best.columns[0])


def id_of(draft: Draft) -> ProposedField:
    """The field of the event's id: a column whose values are all different, else file and line."""
    best = draft.choose(
        "id", [candidate for column in draft.free_for("id") if (candidate := _id_candidate(draft, column))]
    )
    if best is None:
        why = (
            "no column that may be an id has another value for each event, so file and line name it; a renamed file "
            "has new events"
        )
        return ProposedField("payment_id", "text", _ITEM_ID if draft.profile.each else _LINE_ID, why)
    if draft.also["id"]:
        best.field.guess = joined(best.field.guess, f"it could also be {' or '.join(draft.also['id'])}")
    return best.field


def _id_candidate(draft: Draft, column: FileColumn) -> Candidate | None:
    name = slug(column.path[-1:])
    is_settled = column is draft.settled.get("id")
    is_event = has(column, "event")
    is_key = any(has(column, key) for key in KEYS) and not is_event
    longest = max(map(len, column.distinct), default=0)
    can_be = (
        column.is_unique
        and column.name not in draft.no_ids
        and not is_key
        and longest <= 200
        and (column.is_whole or not column.is_number)
    )
    if not (can_be or is_settled):
        return None
    is_exact = re.fullmatch("id|uuid|guid|hash", name) is not None
    names = 2.0 * is_event + 2.5 * is_exact - 0.1 * len(column.path)
    if is_exact and _is_counter(column):  # such as the index of a data frame
        names -= 1
    guess = ""
    if not has(column, "id") and not is_settled:
        is_written = (
            column.is_number or column.is_time or column.forms or has(column, "personal") or has(column, "mail")
        )
        is_code = all(re.fullmatch(r"(?=.*\d)\S{4,64}", text) for text in column.distinct)
        if is_written or not is_code or len(column.values) < _UNNAMED_LINES:
            return None
        names -= 3
        guess = "no column is called an id, and its values are all different"
    name = f"{name}_" if name in TAKEN else name
    expression = "" if column.path == (name,) and not column.has_other else column.row
    return Candidate(0, names, ProposedField(name, "text", expression, guess, column), [column])


def _is_counter(column: FileColumn) -> bool:
    return column.is_whole and all(int(two) - int(one) == 1 for one, two in pairwise(column.values[:100]))
