"""Roles of a file's columns, by their names and values: time, id and amount of the event, and its label.

Whatever is guessed is kept with its reason, for a comment where it is used.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, compress, count, pairwise

from shroff.events.field_roles import KEYS, is_named
from shroff.events.keys import RESERVED
from shroff.language.calls import formatted_time
from shroff.language.types import CODES, ORIGINAL_PLACES, UNITS_MAX, places_of
from shroff.language.zone_words import is_zone_word
from shroff.services.proposals.profile import FileColumn, FileProfile

TYPE = "payment"
TYPES_MAX = 8
_LINE_ID = "join(row.file, ':', row.number)"
_ITEM_ID = "join(row.file, ':', row.number, '#', row.item)"
_NAME_MAX = 60  # characters of a proposed name; the language allows 100
_START = "time('2020-01-01', '%Y-%m-%d')"  # of a file whose times count from its own start
TAKEN = {*RESERVED, TYPE, "when", "zone", "each", "arrived", "columns", "skip", "decimal", "separator", "order"}
_SIGNS = {"£": "GBP", "€": "EUR", "¥": "JPY", "₹": "INR", "₩": "KRW", "₺": "TRY", "₦": "NGN", "$": "USD"}
FRAUD = "1 1.0 true t yes y ja oui si fraud fraudulent bad confirmed suspicious".split()
GENUINE = (
    "0|0.0|false|f|no|n|genuine|legit|legitimate|normal|good|ok|not fraud|non-fraud|nonfraud|-1|clean|nein|non"
).split("|")
_OFFSET = re.compile(r"[+-]\d\d:?\d\d")
_BY_FORM = re.compile(r"time\((.*), '([^']*)'\)(.*)")
_NAIVE_FORMS = tuple(f"%Y-%m-%d{sign}%H:%M:%S{part}" for sign in " T" for part in ("", ".%f"))
_UNITS = {"hour": "1h", "step": "1h", "minute": "1m", "day": "1d", "week": "7d", "month": "30d"}
_EPOCHS = (  # how many numbers since 1970 are taken, by their size
    (range(10**8, 10**10), "time(text(integer({}) * 1000))", "seconds since 1970"),
    (range(10**11, 10**13), "time(text(integer({})))", ""),
    (range(10**14, 10**16), "time(left({}, 13))", "microseconds since 1970"),
    (range(10**17, 10**19), "time(left({}, 13))", "nanoseconds since 1970"),
)


@dataclass(eq=False)
class ProposedField:
    """One field of the event type: its name, type, the expression that reads it, and a guess about it."""

    name: str
    type: str
    expression: str = ""
    guess: str = ""
    column: FileColumn | None = None


@dataclass(eq=False)
class Draft:
    """What is known of the proposal so far. `used` are columns that are something already."""

    profile: FileProfile
    guesses: list[str] = field(default_factory=list)
    used: list[FileColumn] = field(default_factory=list)
    zone_guessed: bool = False
    currencies: FileColumn | None = None  # the column of the currency, where there are several
    currency: str = ""  # of the project
    smallest: str = ""  # how whole numbers of smallest units are read, with `{}` for the column
    entity_guess: str = ""

    def guess(self, words: str, of: str = "") -> str:
        """A guess as a comment at the end of a line, which says what it is `of`; nothing for no words."""
        if not words:
            return ""
        self.guesses.append(f"{of}: {words}" if of else words)
        return f"  # guess: {words}"

    def free(self, *words: str) -> list[FileColumn]:
        """Columns that are nothing yet and whose names have one of these words."""
        rest = [column for column in self.profile.columns if not any(column is other for other in self.used)]
        return [column for column in rest if not words or any(has(column, word) for word in words)]


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
    """The column that says which lines are fraud; this and others that nobody knows yet are no fields."""
    found = []
    for column in draft.free("label"):
        words = {text.strip().lower() for text in column.distinct}
        if words and words <= {*FRAUD, *GENUINE} and len(words) <= 2:
            found.append((has(column, "known"), "flag" not in slug(column.path), column))
    draft.used += draft.free("known")
    best = max(found, key=lambda item: item[:2], default=None)
    if best is not None and best[2] not in draft.used:
        draft.used.append(best[2])
    return best[2] if best else None


def time_of(draft: Draft) -> ProposedField:
    """The field of the event's time, from what can be read as one; else times counted by the lines."""
    found: list[tuple[float, ProposedField, list[FileColumn]]] = []

    def add(
        column: FileColumn, fineness: float, expression: str, guess: str = "", more: Iterable[FileColumn] = ()
    ) -> None:
        names = 2 * has(column, "time") + 3 * has(column, "event") - 6 * has(column, "other_time")
        score = fineness + names - 4 * (not column.is_full) + len(column.distinct) / (len(column.texts) + 1)
        name = slug(column.path[-1:])
        name = "paid_at" if name in TAKEN or name.startswith(("c_", "column")) else name
        expression = expression or ("" if column.path == (name,) else column.row)
        found.append((score, ProposedField(name, "time", expression, guess, column), [column, *more]))

    columns = draft.free()
    clock = next((column for column in columns if column.is_clock and column.is_full), None)
    hour = next(
        (other for other in columns if re.search("hour|time", slug(other.path)) and other.is_whole and other.most < 24),
        None,
    )
    for column in columns:
        if column.is_time:
            add(column, 3, "")
        elif column.forms:
            form, guess = _form(column)
            if "%H" in form or "%I" in form:
                add(column, 3, f"time({column.row}, '{form}')", guess)
            elif clock is not None:
                clock_form = "%H:%M:%S" if clock.distinct[0].count(":") == 2 else "%H:%M"
                joined = f"join({column.row}, ' ', {clock.row})"
                add(column, 3, f"time({joined}, '{form} {clock_form}')", guess, [clock])
            elif hour is not None:
                add(column, 2, f"time({column.row}, '{form}') + integer({hour.row}) * 1h", guess, [hour])
            elif not column.is_whole or has(column, "time"):
                add(
                    column,
                    1,
                    f"time({column.row}, '{form}')",
                    guess or "the file has days only, so order within a day is that of the lines",
                )
        elif column.is_number and has(column, "time"):
            for sizes, expression, guess in _EPOCHS:
                if all(int(digits / 10**places) in sizes for digits, places in column.numbers):
                    read = column.row if not column.places else f"part({column.row}, '.', 1)"
                    add(
                        column,
                        3,
                        expression.format(read) if guess or column.is_float or not column.is_whole else "",
                        guess,
                    )
    parts = {slug(column.path): column for column in columns if column.is_whole}
    if clock is not None and {"year", "month", "day"} <= parts.keys():
        year, month, day = (parts[part] for part in ("year", "month", "day"))
        joined = f"join({year.row}, '-', {month.row}, '-', {day.row}, ' ', {clock.row})"
        form = "%Y-%m-%d %H:%M:%S" if clock.distinct[0].count(":") == 2 else "%Y-%m-%d %H:%M"
        add(clock, 4, f"time({joined}, '{form}')", more=[year, month, day])
    if not found:
        for column in draft.free("counted"):
            if (
                column.is_number
                and column.is_full
                and column.numbers
                and min(digits for digits, _ in column.numbers) >= 0
            ):
                unit = next((unit for word, unit in _UNITS.items() if word in slug(column.path)), "1s")
                unit = unit if column.most * int(unit[:-1]) * (30 if unit[-1] == "d" else 1) < 10**8 else "1s"
                add(column, 1, f"{_START} + integer({column.row}) * {unit}", f"units of {unit} since a day to be named")
    if not found:
        named = [f"{column.path[-1]} has no form of times that most lines share" for column in draft.free("time")]
        guess = f"{named[0] if named else 'no column has the time'}, so each line is a second after the one before"
        # at most 10,000 items of a message are events
        since = "row.number * 3h + row.item * 1s" if draft.profile.each else "row.number * 1s"
        return ProposedField("paid_at", "time", f"{_START} + {since}", guess)
    _, best, columns_of_it = max(found, key=lambda item: item[0])
    assert best.column is not None
    draft.used += columns_of_it
    is_naive = best.column.has_naive or (
        "row" in best.expression
        and "%" in best.expression
        and "%z" not in best.expression
        and "%Z" not in best.expression
        and "UTC" not in best.expression
    )
    draft.zone_guessed = is_naive and _START not in best.expression and not _is_zoned(draft, best)
    return best


def _is_zoned(draft: Draft, time: ProposedField) -> bool:
    """Whether a column has the zone of each line, by which the time is read from now on."""
    for column in draft.free("zone"):
        is_offset = all(map(_OFFSET.fullmatch, column.distinct))
        if not column.is_full or not (is_offset or all(map(is_zone_word, map(str.strip, column.distinct)))):
            continue
        assert time.column is not None
        expression, is_read = time.expression, _BY_FORM.fullmatch(time.expression)
        if is_read is None:
            forms = [form for form in _NAIVE_FORMS if all(_has_form(text, form) for text in time.column.distinct)]
            if not forms:
                continue
            text, form, rest = time.column.row, forms[0], ""
        else:
            text, form, rest = is_read.groups()
        parts = text[len("join(") : -1] if text.startswith("join(") else text
        expression = f"time(join({parts}, ' ', {column.row}), '{form} {'%z' if is_offset else '%Z'}'){rest}"
        time.expression = expression
        time.guess = "; ".join(filter(None, [f"in the zone that {column.path[-1]} names", time.guess]))
        return True
    return False


def _has_form(text: str, form: str) -> bool:
    with suppress(ValueError):
        formatted_time(text.strip(), form, "UTC")
        return True
    return False


def _form(column: FileColumn) -> tuple[str, str]:
    """The form of a column's times; where days and months could change places, the one in better order."""
    disorder: dict[str, tuple[bool, int, bool]] = {}
    for form in column.forms:
        times: list[int] = []
        with suppress(ValueError):  # one of them is no time
            times += [formatted_time(text.strip(), form, "UTC") for text in column.distinct[:300]]
        steps_back = sum(later < earlier for earlier, later in pairwise(times))
        steps_ahead = sum(earlier < later for earlier, later in pairwise(times))
        turns = min(steps_back, steps_ahead)  # the newest line may stand first
        disorder[form] = (not times, turns, "%p" in form and form.startswith("%d"))
    best = min(disorder, key=lambda form: disorder[form])
    others = [form for form in column.forms if form[:2] != best[:2]]
    return best, f"it could also be {others[0]}" if others else ""


def id_of(draft: Draft) -> ProposedField:
    """The field of the event's id: a column whose values are all different, else file and line."""
    found = []
    for column in draft.free("id"):
        is_other = any(has(column, key) for key in KEYS) and not has(column, "event")
        if (
            column.is_unique
            and not is_other
            and max(map(len, column.distinct)) <= 200
            and (column.is_whole or not column.is_number)
        ):
            exact = re.fullmatch("id|uuid|guid", slug(column.path[-1:])) is not None
            found.append((2 * has(column, "event") + exact, -len(column.path), column))
    if not found:
        why = "no column names each event, so its file and line do; the same file must keep its name"
        return ProposedField("payment_id", "text", _ITEM_ID if draft.profile.each else _LINE_ID, why)
    best = max(found, key=lambda item: item[:2])[2]
    draft.used.append(best)
    name = slug(best.path[-1:])
    name = f"{name}_" if name in TAKEN else name
    return ProposedField(name, "text", "" if best.path == (name,) and not best.has_other else best.row, column=best)


def money_of(draft: Draft) -> tuple[ProposedField | None, FileColumn | None]:
    """The field of the event's amount, and the column with its currency where there are several."""
    numbers = [column for column in draft.free() if column.is_number and not has(column, "no_money")]
    named = [column for column in numbers if has(column, "amount")]
    named = named or [column for column in numbers if has(column, "money")]
    named = [column for column in named if not has(column, "not_amount")] or named
    named = named or [
        column for column in numbers if not column.is_whole and column.places <= 3 and len(column.distinct) > 1
    ]
    if not named:
        return None, None
    best = named[0]
    draft.used.append(best)
    name = slug(best.path[-1:])
    name = "amount" if name.startswith(("column", "c_")) or name in TAKEN else name
    guess = "" if has(best, "amount") or has(best, "money") else "the amount"
    codes = [column for column in draft.free() if column.codes and column.codes <= CODES]
    code = next((column for column in codes if has(column, "currency")), None)
    several = code if code is not None and len(code.codes) > 1 else None
    found = ProposedField(
        name, "money" if best.is_full else "money?", "" if best.path == (name,) else best.row, guess, best
    )
    draft.smallest = _smallest_units(draft, best, code)
    if draft.smallest:
        assert code is not None
        found.expression = draft.smallest.replace("{}", best.row)
        found.guess = (
            f"whole numbers beside {code.path[-1]} are smallest units, so {best.most:.0f} is "
            f"{best.most * _unit_of(code.codes):.2f}; else read {best.row} as it is"
        )
    elif best.is_whole and code is not None and best.most >= 100 and any(map(places_of, code.codes)):
        found.guess = (
            f"all are whole numbers; are they smallest units? Then read money(integer({best.row}) * "
            f"{_unit_of(code.codes):g}), and {best.most:.0f} is {best.most * _unit_of(code.codes):.2f}"
        )
    elif best.places > max(ORIGINAL_PLACES, 2) and not best.is_float:
        found.expression, found.guess = f"money(text(round(number({best.row}), 2)))", "rounded to 2 places"
    elif best.most * 10 ** (2 if best.is_float else max(best.places, 2)) > UNITS_MAX:
        found.type = found.type.replace("money", "real")
    return found, several


def _smallest_units(draft: Draft, amount: FileColumn, code: FileColumn | None) -> str:
    """How amounts are read that a provider's JSON has as whole numbers of cents, with `{}` for the column; else ''.

    A currency beside whole numbers that are no texts says so, or one in small letters, or the name `value`. Where no
    currency of the file has places, its smallest unit is the unit.
    """
    if not amount.is_whole or code is None or draft.profile.format != "jsonl":
        return ""
    is_told = amount.has_other or code.codes.isdisjoint(code.distinct) or amount.path[-1] == "value"
    if not is_told or not any(map(places_of, code.codes)):
        return ""
    usual = _unit_of(code.codes)
    parts = [
        f"money(integer({{}}) * {10.0**-places:.{places}f}) when upper({code.row}) in {sorted(others)}"
        for places in range(ORIGINAL_PLACES + 1)
        if 10.0**-places != usual and (others := [currency for currency in code.codes if places_of(currency) == places])
    ]
    return " else ".join([*parts, f"money(integer({{}}) * {usual:g})"])


def _unit_of(codes: Iterable[str]) -> float:
    """The smallest unit of most of these currencies, in units."""
    return 10.0 ** -Counter(map(places_of, codes)).most_common(1)[0][0]


def types_of(draft: Draft, amount: ProposedField | None) -> tuple[FileColumn | None, set[str]]:
    """The column that names the type of each line, if lines of some types never have an amount; those types."""
    if amount is not None and amount.column is not None:
        amounts = amount.column.texts
        for column in draft.free("type"):
            others = {kind for kind, text in zip(column.texts, amounts, strict=True) if not text}
            is_clear = column.is_full and others.isdisjoint(compress(column.texts, amounts))
            if others and is_clear and len(column.distinct) <= TYPES_MAX:
                draft.used.append(column)
                amount.type = amount.type.replace("?", "", 1)
                return column, others
    return None, set()


def currency_of(draft: Draft, amount: ProposedField | None, several: FileColumn | None) -> tuple[str, str]:
    """The project's currency, and what was guessed of it."""
    column = amount.column if amount else None
    if several is not None:
        codes = [code for text in several.values if (code := text.strip().upper()) in several.codes]
        most = max(dict.fromkeys(codes), key=codes.count)
        return most, f"the most frequent of {len(set(codes))} currencies; fill tables/fx.csv with rates"
    alone = next(
        (
            column
            for column in draft.profile.columns
            if has(column, "currency") and column.codes and column.codes <= CODES
        ),
        None,
    )
    if alone is not None:
        return next(iter(alone.codes)), ""
    if column is not None:
        words = [part.upper() for part in slug(column.path).split("_")]
        signs = [code for sign, code in _SIGNS.items() if any(sign in text for text in column.distinct[:300])]
        said = [*signs, *(word for word in words if word in CODES and word not in {"ALL", "TOP", "TRY"})]
        if said:
            return said[0], f"the currency by the sign or name of {column.path[-1]}"
    return "EUR", f"EUR as the currency, since the file {'names none' if amount else 'has no amounts'}"
