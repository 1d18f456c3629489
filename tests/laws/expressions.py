"""Generated expressions and rows for the laws of the language.

Expressions are generated as text, by the kind of value they give, so that reading and
typing are part of what a law holds. A few do not type (a product of more than 12 places):
`typed` leaves those out.
"""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from shroff.language.checker import check
from shroff.language.expression import Node
from shroff.language.names import Names, Scope, TableShape
from shroff.language.row import Reference
from shroff.language.syntax import ExpressionError
from shroff.language.types import BOOLEAN, DURATION, INTEGER, REAL, TEXT, TIME, Type, money, number

FIELDS = {
    "small": INTEGER,
    "points": INTEGER,
    "weight": number(),
    "two": number(2),
    "amount": money(2),
    "fee": money(4),
    "ratio": REAL,
    "speed": REAL,
    "name": TEXT,
    "mail": TEXT,
    "channel": Type("choice", choices=("pos", "web")),
    "kind": Type("choice", choices=("pos", "x"), is_open=True),
    "ok": BOOLEAN,
    "sure": BOOLEAN,
    "at": TIME,
    "seen": TIME,
    "wait": DURATION,
}
FEATURES = {"card.mean": REAL, "card.spent": money(2), "card.count": INTEGER}
TABLES = {
    "bins": TableShape(TEXT, {"country": TEXT, "level": INTEGER, "share": REAL, "cost": money(2), "open": BOOLEAN}),
    "levels": TableShape(INTEGER, {"weight": number(2), "since": TIME, "length": DURATION}),
}
NAMES = Names(
    events={"payment": FIELDS},
    entities={"card": frozenset(["payment"])},
    decided=frozenset(["payment"]),
    lists=frozenset(["blocked"]),
    tables=TABLES,
)
SCOPE = Scope(
    NAMES,
    "a rule",
    this=("payment",),
    feature=FEATURES.get,
    feature_names=lambda: sorted(FEATURES),
    reads_row=True,
    reads_score=True,
)
REFERENCE = Reference(
    lists={"blocked": {"ö": None, "pos": 0, "a": 10**12, "": 5}},
    tables={
        "bins": {
            "ö": {"country": "DE", "level": 3, "share": 0.25, "cost": 10**15, "open": True},
            "pos": {"country": None, "level": None, "share": None, "cost": None, "open": None},
        },
        "levels": {0: {"weight": 150, "since": 0, "length": 1}, 7: {"weight": None, "since": 10**12, "length": None}},
    },
)

# ---- values

INTEGERS = st.integers(-5, 5) | st.sampled_from([2**63 - 1, -(2**63), 2**53, 2**53 + 1, -(2**53) - 1, 10**15, 10**9])
UNITS = st.integers(-300, 300) | st.sampled_from([10**15, -(10**15), 10**15 - 1, 70, 1010])
REALS = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0) | st.sampled_from(
    [0.0, 0.7, 10.1, 5e-324, -1.7976931348623157e308, 2.0**53, 0.1, -0.5, 1e19]
)
SOME_TEXTS = ["", "a", "ö", "pos", "Ö@Exämple.COM", "a-b-c", "12.50", "-7", " 3 ", "1e2", "192.0.2.77", "2001:db8::1"]
TEXTS = st.sampled_from([*SOME_TEXTS, "9" * 30, "🙂é\u0301", "01-Mar-26", "2026-03-01T22:30:00.123Z"]) | st.text(max_size=4)
# Years 1 to 9999 and a little beyond, where zones have no answer.
TIMES = st.integers(-62_140_000_000_000, 253_410_000_000_000) | st.sampled_from([0, -1, 1_774_745_999_999, 10**12])
SPANS = st.integers(-(10**12), 10**12) | st.sampled_from([0, 1, 86_400_000, 2**62])
VALUES = {
    "integer": INTEGERS,
    "number": UNITS,
    "money": UNITS,
    "real": REALS,
    "text": TEXTS,
    "boolean": st.booleans(),
    "time": TIMES,
    "duration": SPANS,
}


def row_values(name: str, type_: Type) -> st.SearchStrategy:
    if name == "small":
        return st.none() | st.integers(-3, 3)
    if type_.kind == "choice":
        return st.none() | st.sampled_from(["pos", "web", "x"])
    return st.none() | VALUES[type_.kind]


ROWS = st.fixed_dictionaries(
    {f"this.{name}": row_values(name, type_) for name, type_ in FIELDS.items()}
    | {name: row_values(name, type_) for name, type_ in FEATURES.items()}
    | {"score": st.none() | st.floats(0, 1).map(lambda value: value + 0.0), "row.Col": st.none() | TEXTS}
)

# ---- expressions, as text

LEAVES = {
    "integer": ["this.small", "this.points", "card.count", "0", "7", "1_000", "9_223_372_036_854_775_807", "row.number"],
    "number": ["this.weight", "this.two", "0.5", "0.95", "1.000001", "999999999999999999999999999.9"],
    "money": ["this.amount", "this.fee", "card.spent", "money('10.10')"],
    "real": ["this.ratio", "this.speed", "card.mean", "score"],
    "text": ["this.name", "this.mail", "row.Col", "'ö'", "'it''s'", "''", "'pos'", "'12.50'", "'-'"],
    "choice": ["this.channel", "this.kind"],
    "boolean": ["this.ok", "this.sure", "true", "false"],
    "time": ["this.at", "this.seen", "payment.at", "time('2026-03-29T01:30:00Z')"],
    "duration": ["this.wait", "0s", "36h", "182d12h", "1ms"],
}
LEAVES["integer"].remove("row.number")  # the line's number is the reader's, not a column of a row here
EXACT = ["integer", "number", "money"]
NUMERIC = [*EXACT, "real"]
ORDERED = ["time", "duration", "text"]
ZONES = ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Africa/Monrovia", "UTC"]


def expressions(kind: str, depth: int) -> st.SearchStrategy[str]:
    """Texts of expressions that give this kind of value, with at most `depth` levels."""
    leaves = st.sampled_from(LEAVES[kind])
    return leaves if depth <= 0 else leaves | st.deferred(lambda: st.one_of(_forms(kind, depth - 1)))


def _form(template: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda texts: template.format(*texts))


def _forms(kind: str, depth: int) -> list[st.SearchStrategy[str]]:
    def of(*kinds: str) -> st.SearchStrategy[str]:
        return st.one_of([expressions(one, depth) for one in kinds]).map(lambda text: f"({text})")

    same, condition = of(kind), of("boolean")
    forms = [
        _form("{} else {}", same, same),
        _form("{} when {}", same, condition),
        _form("{} when {} else {}", same, condition, same),
        _form("{} else missing", same),
        _form("missing else {}", same),
    ]
    return forms + _OF_KIND[kind](of)


def _sums(of, kind: str) -> list[st.SearchStrategy[str]]:
    operator = st.sampled_from(["+", "-"])
    return [_form("{} {} {}", of(kind), operator, of(kind)), _form("-{}", of(kind)), _form("abs({})", of(kind))]


def _extremes(of, kind: str) -> list[st.SearchStrategy[str]]:
    return [_form("{}({}, {}, {})", st.sampled_from(["min", "max"]), of(kind), of(kind), of(kind))]


def _integers(of) -> list[st.SearchStrategy[str]]:
    part = st.sampled_from(["hour", "weekday", "day"])
    return [
        *_sums(of, "integer"),
        *_extremes(of, "integer"),
        _form("{} * {}", of("integer"), of("integer")),
        _form("floor({})", of(*NUMERIC)),
        _form("integer({})", of("text", *NUMERIC)),
        _form("round({}, 3)", of("integer")),
        _form("length({})", of("text", "choice")),
        _form("{}({})", part, of("time")),
        _form("{}({}, '{}')", part, of("time"), st.sampled_from(ZONES)),
        _form("tables.bins[{}].level", of("text")),
    ]


def _numbers(of) -> list[st.SearchStrategy[str]]:
    return [
        *_sums(of, "number"),
        *_extremes(of, "number"),
        _form("{} + {}", of("number"), of("integer")),
        _form("{} * {}", of("number"), of("integer")),
        _form("{} * {}", of("number"), of("number")),
        _form("{} else {}", of("number"), of("integer")),
        _form("number({})", of("text", *NUMERIC)),
        _form("round({}, {})", of("number"), st.sampled_from(["0", "1", "2", "12"])),
        _form("tables.levels[{}].weight", of("integer")),
    ]


def _monies(of) -> list[st.SearchStrategy[str]]:
    return [
        *_sums(of, "money"),
        *_extremes(of, "money"),
        _form("{} * {}", of("money"), of("integer", "number")),
        _form("{} * {}", of("integer", "number"), of("money")),
        _form("money({})", of("text", *NUMERIC)),
        _form("round({}, {})", of("money"), st.sampled_from(["0", "1", "2"])),
        _form("tables.bins[{}].cost", of("text")),
    ]


def _reals(of) -> list[st.SearchStrategy[str]]:
    operator = st.sampled_from(["+", "-", "*", "/"])
    return [
        *_sums(of, "real"),
        *_extremes(of, "real"),
        _form("{} {} {}", of("real"), operator, of(*NUMERIC)),
        _form("{} {} {}", of(*NUMERIC), operator, of("real")),
        _form("{} / {}", of(*EXACT), of(*EXACT)),
        _form("{} / {}", of("duration"), of("duration")),
        _form("{} else {}", of("real"), of(*EXACT)),
        _form("sqrt({})", of(*NUMERIC)),
        _form("round({}, {})", of("real"), st.sampled_from(["0", "2", "12"])),
        _form("tables.bins[{}].share", of("text")),
    ]


def _texts(of) -> list[st.SearchStrategy[str]]:
    return [
        _form("{}({})", st.sampled_from(["lower", "upper", "domain"]), of("text", "choice")),
        _form("left({}, {})", of("text"), of("integer")),
        _form("part({}, {}, {})", of("text"), of("text"), of("integer")),
        _form("join({}, {})", of("text", "choice", "integer"), of("text", "integer")),
        _form("text({})", of("text", "choice", "boolean", "time", "duration", *NUMERIC)),
        _form("replace({}, {}, {})", of("text"), of("text"), of("text")),
        _form("subnet({}, {})", of("text"), of("integer")),
        _form("tables.bins[{}].country", of("text", "choice")),
        _form("{} else {}", of("choice"), of("text")),
    ]


def _booleans(of) -> list[st.SearchStrategy[str]]:
    compare = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    among, spread = st.sampled_from(["in", "not in"]), st.sampled_from(["in", "not in"])
    every = ["text", "choice", "boolean", "time", "duration", *NUMERIC]
    return [
        _form("{} {} {}", of(*NUMERIC), compare, of(*NUMERIC)),
        *[_form("{} {} {}", of(kind), compare, of(kind)) for kind in ORDERED],
        _form("{} {} {}", of("choice"), compare, of("text", "choice")),
        _form("{} {} {}", of("boolean"), st.sampled_from(["==", "!="]), of("boolean")),
        _form("{} and {}", of("boolean"), of("boolean")),
        _form("{} or {}", of("boolean"), of("boolean")),
        _form("not {}", of("boolean")),
        _form("{} is missing", of(*every)),
        _form("{} == missing", of(*every)),
        _form("{} {} [{}, {}]", of(*NUMERIC), among, of(*NUMERIC), of(*NUMERIC)),
        _form("{} {} [{}, 'pos', {}]", of("text", "choice"), among, of("text"), st.sampled_from(["'a'", "missing"])),
        _form("{} {} []", of("text"), among),
        _form("{} {} {} .. {}", of(*NUMERIC), spread, of(*NUMERIC), of(*NUMERIC)),
        _form("{} {} {} .. {}", of("time"), spread, of("time"), of("time")),
        _form("{} {} lists.blocked", of("text", "choice"), among),
        _form("{}({}, {})", st.sampled_from(["starts_with", "ends_with", "contains"]), of("text"), of("text", "choice")),
        _form("tables.bins[{}].open", of("text")),
    ]


def _times(of) -> list[st.SearchStrategy[str]]:
    return [
        *_extremes(of, "time"),
        _form("{} {} {}", of("time"), st.sampled_from(["+", "-"]), of("duration")),
        _form("{} + {}", of("duration"), of("time")),
        _form("time({})", of("text")),
        _form("time({}, '%d-%b-%y')", of("text")),
        _form("time({}, '%d-%b-%y', '{}')", of("text"), st.sampled_from(ZONES)),
        _form("tables.levels[{}].since", of("integer")),
    ]


def _durations(of) -> list[st.SearchStrategy[str]]:
    return [
        *_sums(of, "duration"),
        *_extremes(of, "duration"),
        _form("{} - {}", of("time"), of("time")),
        _form("{} * {}", of("duration"), of("integer")),
        _form("{} * {}", of("integer"), of("duration")),
        _form("tables.levels[{}].length", of("integer")),
    ]


_OF_KIND = {
    "integer": _integers,
    "number": _numbers,
    "money": _monies,
    "real": _reals,
    "text": _texts,
    "choice": lambda of: [],
    "boolean": _booleans,
    "time": _times,
    "duration": _durations,
}
KINDS = list(_OF_KIND)


def texts(depth: int = 3) -> st.SearchStrategy[str]:
    """Texts of expressions of every kind."""
    return st.sampled_from(KINDS).flatmap(lambda kind: expressions(kind, depth))


def typed(text: str) -> Node:
    """The typed expression; an example that does not type is left out."""
    try:
        return check(text, SCOPE)
    except ExpressionError as error:
        assume(not any(words in error.message for words in ("places", "characters", "always missing")))
        raise
