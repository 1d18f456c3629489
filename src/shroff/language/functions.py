"""The functions of the language: arguments, results and reference texts; `calls` computes their values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from shroff.language import calls
from shroff.language.call_checks import (
    NUMERIC,
    Kinds,
    Sign,
    sign_convert,
    sign_extreme,
    sign_fixed,
    sign_join,
    sign_matches,
    sign_reals,
    sign_round,
    sign_same,
    sign_speed,
    sign_text,
    sign_time,
    sign_time_part,
)
from shroff.language.calls import Make
from shroff.language.types import BOOLEAN, INTEGER, REAL, TEXT, Type, number
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS, finite
from shroff.runtime.values import FrozenStruct


class Function(FrozenStruct):
    """A function of the language.

    Args:
        form, meaning, example: Texts for the reference and for hints.
        sign: Checks a call.
        make: Returns the function of values for a checked call.
    """

    form: str
    sign: Sign
    make: Make
    meaning: str
    example: str

    @property
    def name(self) -> str:
        return self.form.partition("(")[0]


def _plain(evaluate: Callable[..., Any]) -> Make:
    return lambda types, signature: evaluate


def _fixed(
    form: str, kinds: tuple[Kinds, ...], result: Type, evaluate: Callable[..., Any], meaning: str, example: str
) -> Function:
    return Function(form, partial(sign_fixed, kinds=kinds, result=result), _plain(evaluate), meaning, example)


_T = ("text",)
_I = ("integer",)
_SIGN_TWO_TEXTS = partial(sign_fixed, kinds=(_T, _T), result=REAL)
_FUNCTIONS = (
    Function("abs(x)", sign_same, _plain(calls.size), "The value without its sign.", "abs(-5)"),
    Function(
        "min(a, b, …)",
        sign_extreme,
        _plain(min),
        "The least of two or more values. With one argument it is an aggregate.",
        "min(3, 2.5)",
    ),
    Function(
        "max(a, b, …)",
        sign_extreme,
        _plain(max),
        "The greatest of two or more values. With one argument it is an aggregate.",
        "max(3, 2.5)",
    ),
    Function(
        "round(x, places)",
        sign_round,
        calls.make_round,
        "Rounded half-even to 0 to 12 places, which are written out.",
        "round(2.675, 2)",
    ),
    Function(
        "floor(x)",
        partial(sign_fixed, kinds=(NUMERIC,), result=INTEGER),
        calls.make_floor,
        "The greatest integer that is not above x.",
        "floor(-1.5)",
    ),
    Function("sqrt(x)", sign_reals, _plain(calls.root), "The real root; of a negative number missing.", "sqrt(2)"),
    _fixed("length(text)", (_T,), INTEGER, len, "How many code points a text has.", "length('Bär')"),
    _fixed("lower(text)", (_T,), TEXT, str.lower, "In lower case.", "lower('POS')"),
    _fixed("upper(text)", (_T,), TEXT, str.upper, "In upper case.", "upper('pos')"),
    _fixed("left(text, n)", (_T, _I), TEXT, calls.left, "The first n code points.", "left('411111', 2)"),
    _fixed(
        "part(text, separator, n)",
        (_T, _T, _I),
        TEXT,
        calls.part,
        "The n-th part of a text cut at a separator, counted from 1; missing where there are fewer.",
        "part('DE-Berlin', '-', 2)",
    ),
    Function(
        "join(a, b, …)",
        sign_join,
        _plain(calls.join),
        "Texts and integers, one after the other.",
        "join('file.csv', ':', 12)",
    ),
    Function(
        "text(x)",
        sign_text,
        calls.make_text,
        "The value as text, as a reason shows it; a real with all its digits.",
        "text(1d12h)",
    ),
    _fixed(
        "starts_with(text, start)",
        (_T, _T),
        BOOLEAN,
        str.startswith,
        "Whether a text begins with another.",
        "starts_with('Büro', 'Bü')",
    ),
    _fixed(
        "ends_with(text, end)",
        (_T, _T),
        BOOLEAN,
        str.endswith,
        "Whether a text ends with another.",
        "ends_with('Büro', 'ro')",
    ),
    _fixed(
        "contains(text, part)",
        (_T, _T),
        BOOLEAN,
        str.__contains__,
        "Whether a text has another in it.",
        "contains('Büro', 'ü')",
    ),
    _fixed(
        "replace(text, old, new)",
        (_T, _T, _T),
        TEXT,
        calls.replace,
        "With each `old` replaced by `new`.",
        "replace('£12.50', '£', '')",
    ),
    _fixed(
        "subnet(ip, bits)",
        (_T, _I),
        TEXT,
        calls.subnet,
        "The network of an address, of 4 or 16 bytes; missing where the text is not an address.",
        "subnet('192.0.2.77', 24)",
    ),
    _fixed(
        "domain(mail)",
        (_T,),
        TEXT,
        calls.domain,
        "What follows the last `@`, in lower case; missing without one.",
        "domain('ann@Example.com')",
    ),
    Function(
        "time(text, format, zone)",
        sign_time,
        calls.make_time,
        "A time from text: RFC 3339 or epoch milliseconds, or by a format of C's `strptime`. Without an offset in "
        "the text it is of the zone, UTC if none is named. `%Z` reads a zone such as `EDT`, `CET` or `Europe/Berlin`.",
        "time('01-Mar-26', '%d-%b-%y', 'Europe/Berlin')",
    ),
    Function(
        "integer(x)",
        partial(sign_convert, result="integer"),
        calls.make_convert,
        "The integer that a text or number is; missing where it has a fraction or does not fit 64 bits.",
        "integer('42')",
    ),
    Function(
        "number(x)",
        partial(sign_convert, result="number"),
        calls.make_convert,
        "An exact number of six places, rounded half-even.",
        "number('0.1234567')",
    ),
    Function(
        "money(x)",
        partial(sign_convert, result="money"),
        calls.make_convert,
        "An amount in the project's currency. A text with more places than the currency has is missing.",
        "money('12.50')",
    ),
    Function(
        "hour(time, zone)",
        sign_time_part,
        calls.make_time_part(lambda local: local // HOUR_MS % 24),
        "The hour of the day, 0 to 23, in UTC or the zone, which may be any text; missing where it is no zone.",
        "hour(time('2026-03-01T22:30:00Z'), 'Europe/Berlin')",
    ),
    Function(
        "minute(time, zone)",
        sign_time_part,
        calls.make_time_part(lambda local: local // MINUTE_MS % 60),
        "The minute of the hour, 0 to 59; zones as with `hour`.",
        "minute(time('2026-03-01T22:30:00Z'), 'Asia/Kathmandu')",
    ),
    # 1970-01-01 was a Thursday.
    Function(
        "weekday(time, zone)",
        sign_time_part,
        calls.make_time_part(lambda ms: (ms // DAY_MS + 3) % 7),
        "The day of the week: Monday is 0, Sunday 6.",
        "weekday(time('2026-03-01T22:30:00Z'))",
    ),
    Function(
        "day(time, zone)",
        sign_time_part,
        calls.make_time_part(lambda local: local // DAY_MS),
        "The date as days since 1970-01-01.",
        "day(time('2026-03-01T22:30:00Z'))",
    ),
    Function(
        "day_of_month(time, zone)",
        sign_time_part,
        calls.make_time_part(calls.day_of_month),
        "The day of the month, from 1.",
        "day_of_month(time('2026-03-31T22:30:00Z'), 'Europe/Berlin')",
    ),
    Function(
        "month(time, zone)",
        sign_time_part,
        calls.make_time_part(calls.month),
        "Months since January 1970.",
        "month(time('2026-03-01T22:30:00Z'))",
    ),
    _fixed(
        "seconds(duration)",
        (("duration",),),
        REAL,
        lambda ms: ms / 1_000.0,
        "A duration in seconds.",
        "seconds(1m500ms)",
    ),
    _fixed("trim(text)", (_T,), TEXT, str.strip, "Without white space at both ends.", "trim(' Bär ')"),
    _fixed(
        "right(text, n)",
        (_T, _I),
        TEXT,
        lambda text, count: text[-count:] if count > 0 else "",
        "The last n code points.",
        "right('411111', 2)",
    ),
    _fixed(
        "middle(text, start, n)",
        (_T, _I, _I),
        TEXT,
        lambda text, start, n: text[max(start - 1, 0) : max(start - 1 + n, 0)],
        "The n code points from `start` on, counted from 1.",
        "middle('411122', 4, 2)",
    ),
    _fixed(
        "digits(text)",
        (_T,),
        INTEGER,
        lambda text: sum(map(str.isdecimal, text)),
        "How many code points are decimal digits.",
        "digits('ab12@example.com')",
    ),
    _fixed(
        "entropy(text)",
        (_T,),
        number(),
        calls.entropy,
        "The Shannon entropy of its code points in bits, rounded half-even to six places; 0 of an empty text.",
        "entropy('aab')",
    ),
    Function(
        "matches(text, pattern)",
        sign_matches,
        calls.make_matches,
        "Whether the whole text has a form, which is written out: `9` is a digit, `A` a letter, `?` any character, "
        "`*` any run of characters, none too; a sign after `\\` stands for itself.",
        "matches('DE44 5001', 'AA99 *')",
    ),
    Function(
        "similarity(a, b)",
        _SIGN_TWO_TEXTS,
        calls.make_similarity,
        "How alike two texts are, 0 to 1, both in NFKC and case folded: 1 less the Levenshtein distance by the "
        f"length of the longer; 1 of two empty texts. Missing where one has more than {calls.COMPARED_MAX:,} code "
        "points.",
        "similarity('Meier', 'meyer')",
    ),
    Function(
        "name_similarity(a, b)",
        _SIGN_TWO_TEXTS,
        calls.make_name_similarity,
        "How alike two names are, 0 to 1, whatever the order of their words: Jaro-Winkler of the words, folded as "
        "by `similarity`, sorted and joined by a space; above 0.7, each of up to 4 equal first characters "
        "adds a tenth of the rest to 1. Missing as there.",
        "name_similarity('Meier, Ann', 'Ann Meier')",
    ),
    Function(
        "distance(lat1, lon1, lat2, lon2)",
        partial(sign_reals, count=4, result=INTEGER),
        _plain(calls.distance),
        "Meters between two places on the great circle of a sphere of radius 6,371,008.8 m; missing outside 90 "
        "degrees of latitude and 180 of longitude.",
        "distance(40.6413, -73.7781, -37.0082, 174.785)",
    ),
    Function(
        "speed(meters, duration)",
        sign_speed,
        _plain(lambda meters, span_ms: finite(meters * 3_600.0 / max(abs(span_ms), 1_000))),
        "Kilometers per hour; missing if too large. Less than a second counts as one second; the sign of the "
        "duration does not matter.",
        "speed(14_202_000, 2h)",
    ),
    Function("log(x)", sign_reals, _plain(calls.log), "The natural logarithm; missing of 0 and below.", "log(10)"),
    Function("exp(x)", sign_reals, _plain(calls.exp), "The power of e; missing if too large.", "exp(1)"),
    Function(
        "power(x, y)",
        partial(sign_reals, count=2),
        _plain(calls.power),
        "A power; missing if it is no finite real number.",
        "power(2, 0.5)",
    ),
    _fixed(
        "mod(a, b)",
        (_I, _I),
        INTEGER,
        lambda a, b: a % b if b else None,
        "The rest of a by b, with the sign of b; missing by 0.",
        "mod(-7, 3)",
    ),
)
DECIMALS = frozenset(["integer", "number", "money"])  # functions that parse a decimal
FUNCTIONS: Final[dict[str, Function]] = {function.name: function for function in _FUNCTIONS}
OF_OTHERS = {  # functions of other languages, and what to write here
    name: words
    for names, words in (
        (("if", "iif", "ifelse", "iff", "case"), "Write 'pos' when … else 'web'."),
        (("coalesce", "ifnull", "nvl", "fillna"), "Write a else b."),
        (("isnull", "isna", "isnan", "isblank", "is_missing"), "Write x is missing."),
        (("concat", "concatenate", "strcat"), "Write join(a, b)."),
        (("bool", "boolean"), "Write row.column == true."),
        (("avg", "average"), "Write mean(x) over a window."),
        (("float", "decimal", "numeric"), "Write number(x)."),
        (("len", "strlen"), "Write length(text)."),
        (("stddev", "stdev"), "Write std(x) over a window."),
        (("substr", "substring", "mid"), "Write middle(text, start, n), or part(text, separator, n)."),
        (("levenshtein", "fuzzy", "jaro_winkler"), "Write similarity(a, b), or name_similarity(a, b)."),
        (("regex", "regexp", "like", "match"), "Write matches(text, 'AA99*')."),
        (("pow", "strip", "ln"), "Write power(x, y), trim(text) or log(x)."),
    )
    for name in names
}
