"""Generated expressions and rows for the laws of the language.

Expressions are generated as text, by the kind of value they give, so that reading and
typing are part of what a law holds. A few do not type (a product of more than 12 places):
`typed` leaves those out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random

from hypothesis import assume
from hypothesis import strategies as st

from shroff.language.checker import check
from shroff.language.expression import Node
from shroff.language.names import DeclaredNames, Scope, TableShape
from shroff.language.row import Reference
from shroff.language.syntax import ExpressionError
from shroff.language.types import BOOLEAN, DURATION, INTEGER, REAL, TEXT, TIME, Type, money, number
from shroff.language.values import Value
from shroff.project.table_files import load_table

FIELDS = {
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
    "nets": TableShape(TEXT, {"country": TEXT, "cost": money(2)}, kind="network"),
    "starts": TableShape(TEXT, {"level": INTEGER, "share": REAL}, since="since", kind="prefix"),
    "levels": TableShape(INTEGER, {"weight": number(2), "since": TIME, "length": DURATION}),
}
NAMES = DeclaredNames(
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
NETS = "network,country,cost\n192.0.0.0/8,DE,1.50\n192.0.2.0/24,FR,\n::/0,,2.00\n"
STARTS = "key,since,level,share\na,1970-01-01,1,0.5\na,2001-09-09,2,\n1-3,1950-01-01,,0.25\n12.,1969-12-31,4,1\n"
BINS = "bin,country,level,share,cost,open\nö,DE,3,0.25,10000000000000.00,true\npos,,,,,\n"
LEVELS = "key,weight,since,length\n0,1.50,1970-01-01,1ms\n7,,2001-09-09T01:46:40Z,\n"
REFERENCE = Reference(
    lists={"blocked": {"ö": None, "pos": 0, "a": 10**12, "": 5}},
    tables={
        "bins": load_table("tables/bins.csv", BINS, TABLES["bins"], "bin", 2, []),
        "nets": load_table("tables/nets.csv", NETS, TABLES["nets"], "network", 2, []),
        "starts": load_table("tables/starts.csv", STARTS, TABLES["starts"], "key", 2, []),
        "levels": load_table("tables/levels.csv", LEVELS, TABLES["levels"], "key", 2, []),
    },
)

# ---- rows

COUNT_OF_ROWS = 40
# Small values, so that many are equal, and the edges of each type.
UNITS = [0, 1, -1, 2, 7, 70, 100, 150, 1010, -250, 10**15, -(10**15), 10**15 - 1]
INTEGERS = [0, 1, -1, 2, 3, 7, 100, 2**63 - 1, -(2**63), 2**53, 2**53 + 1, -(2**53) - 1, 10**9]
REALS = [0.0, 0.7, 1.0, 1.5, 2.0, 10.1, -0.5, 0.1, 5e-324, 1e19, 2.0**53, 1e200, 1.7976931348623157e308, -1e308]
TEXTS = ["", "a", "ö", "pos", "Ö@Exämple.COM", "a-b-c", "12.50", "-7", " 3 ", "1e2", "9" * 30, "🙂é\u0301"]
TEXTS += ["192.0.2.77", "2001:db8::1", "01-Mar-26", "2026-03-01T22:30:00.123Z", "x" * 40_000]
# Both sides of a change of the clock, Monrovia's odd one, and beyond the years 1 to 9999.
TIMES = [0, -1, 1_774_745_999_999, 1_774_746_000_000, 10**12, 63_593_069_999, 63_593_070_000]
TIMES += [-62_140_000_000_000, 253_410_000_000_000]
SPANS = [0, 1, -1, 1_000, 86_400_000, -(10**12), 2**62]
VALUES: dict[str, Sequence[Value]] = {
    "integer": INTEGERS,
    "number": UNITS,
    "money": UNITS,
    "real": REALS,
    "text": TEXTS,
    "choice": ["pos", "web", "x"],
    "boolean": [True, False],
    "time": TIMES,
    "duration": SPANS,
}
Row = dict[str, Value]


def rows_of(seed: int) -> list[Row]:
    """Rows for this seed; in each, one value in six is missing."""
    chance = Random(seed)
    kinds = {f"this.{name}": type_.kind for name, type_ in FIELDS.items()}
    kinds |= {name: type_.kind for name, type_ in FEATURES.items()} | {"score": "real", "row.Col": "text"}
    return [
        {name: None if chance.random() < 1 / 6 else _value(chance, kind) for name, kind in kinds.items()}
        for _ in range(COUNT_OF_ROWS)
    ]


def _value(chance: Random, kind: str) -> Value:
    value = chance.choice(VALUES[kind])
    if kind == "time" and chance.random() < 0.5:
        return chance.randrange(-62_135_596_800_000, 253_402_300_800_000)
    if kind == "real" and chance.random() < 0.3:
        return chance.uniform(-100, 100)
    return value


SEEDS = st.integers(0, 2**32)

# ---- expressions, as text

LEAVES = {
    "integer": ["this.points", "card.count", "0", "7", "1_000", "9_223_372_036_854_775_807"],
    "number": ["this.weight", "this.two", "0.5", "0.95", "1.000001", "999_999_999_999_999.9"],
    "money": ["this.amount", "this.fee", "card.spent", "money('10.10')"],
    "real": ["this.ratio", "this.speed", "card.mean", "score"],
    "text": ["this.name", "this.mail", "row.Col", "'ö'", "'it''s'", "''", "'pos'", "'12.50'", "'-'"],
    "choice": ["this.channel", "this.kind"],
    "boolean": ["this.ok", "this.sure", "true", "false"],
    "time": ["this.at", "this.seen", "payment.at", "time('2026-03-29T01:30:00Z')"],
    "duration": ["this.wait", "0s", "36h", "182d12h", "1ms"],
}
EXACT = ("integer", "number", "money")
NUMERIC = (*EXACT, "real")
ANY = ("text", "choice", "boolean", "time", "duration", *NUMERIC)
TEXTUAL = ("text", "choice")
ZONES = ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Africa/Monrovia", "UTC"]
PARTS = ["hour", "minute", "weekday", "day", "day_of_month", "month"]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]
AMONG = ["in", "not in"]

# A form is a template and what stands in its places: a tuple of kinds, or a list of texts.
Form = tuple


def sums(kind: str) -> list[Form]:
    return [("{} {} {}", (kind,), ["+", "-"], (kind,)), ("-{}", (kind,)), ("abs({})", (kind,))]


def extremes(kind: str) -> list[Form]:
    return [("{}({}, {}, {})", ["min", "max"], (kind,), (kind,), (kind,))]


def of_every_kind(kind: str) -> list[Form]:
    return [
        ("{} else {}", (kind,), (kind,)),
        ("{} when {}", (kind,), ("boolean",)),
        ("{} when {} else {}", (kind,), ("boolean",), (kind,)),
        ("{} else missing", (kind,)),
        ("missing else {}", (kind,)),
    ]


FORMS: dict[str, list[Form]] = {
    "integer": [
        *sums("integer"),
        *extremes("integer"),
        ("{} * {}", ("integer",), ("integer",)),
        ("floor({})", NUMERIC),
        ("integer({})", ("text", *NUMERIC)),
        ("round({}, 3)", ("integer",)),
        ("length({})", TEXTUAL),
        ("{}({})", PARTS, ("time",)),
        ("{}({}, '{}')", PARTS, ("time",), ZONES),
        ("{}({}, part('Asia/Kathmandu-UTC-x', '-', {}))", PARTS, ("time",), ("integer",)),
        ("digits({})", TEXTUAL),
        ("mod({}, {})", ("integer",), ("integer",)),
        ("distance({}, {}, {}, {})", NUMERIC, NUMERIC, NUMERIC, NUMERIC),
        ("tables.{}[{}].level", ["bins", "starts"], ("text",)),
    ],
    "number": [
        *sums("number"),
        *extremes("number"),
        ("{} + {}", ("number",), ("integer",)),
        ("{} * {}", ("number",), ("integer",)),
        ("{} * {}", ("number",), ("number",)),
        ("{} else {}", ("number",), ("integer",)),
        ("number({})", ("text", *NUMERIC)),
        ("round({}, {})", ("number",), ["0", "1", "2", "12"]),
        ("entropy({})", TEXTUAL),
        ("tables.levels[{}].weight", ("integer",)),
    ],
    "money": [
        *sums("money"),
        *extremes("money"),
        ("{} * {}", ("money",), ("integer", "number")),
        ("{} * {}", ("integer", "number"), ("money",)),
        ("money({})", ("text", *NUMERIC)),
        ("round({}, {})", ("money",), ["0", "1", "2"]),
        ("tables.{}[{}].cost", ["bins", "nets"], ("text",)),
    ],
    "real": [
        *sums("real"),
        *extremes("real"),
        ("{} {} {}", ("real",), ["+", "-", "*", "/"], NUMERIC),
        ("{} {} {}", NUMERIC, ["+", "-", "*", "/"], ("real",)),
        ("{} / {}", EXACT, EXACT),
        ("{} / {}", ("duration",), ("duration",)),
        ("{} else {}", ("real",), EXACT),
        ("sqrt({})", NUMERIC),
        ("round({}, {})", ("real",), ["0", "2", "12"]),
        ("{}({})", ["log", "exp"], NUMERIC),
        ("power({}, {})", NUMERIC, NUMERIC),
        ("speed({}, {})", NUMERIC, ("duration",)),
        ("seconds({})", ("duration",)),
        ("{}(left({}, 9), {})", ["similarity", "name_similarity"], ("text",), ("choice",)),
        ("tables.{}[{}].share", ["bins", "starts"], ("text",)),
    ],
    "text": [
        ("{}({})", ["lower", "upper", "domain", "trim"], TEXTUAL),
        ("{}({}, {})", ["left", "right"], ("text",), ("integer",)),
        ("middle({}, {}, {})", ("text",), ("integer",), ("integer",)),
        ("part({}, {}, {})", ("text",), ("text",), ("integer",)),
        ("join({}, {})", ("text", "choice", "integer"), ("text", "integer")),
        ("text({})", ANY),
        ("replace({}, {}, {})", ("text",), ("text",), ("text",)),
        ("subnet({}, {})", ("text",), ("integer",)),
        ("tables.{}[{}].country", ["bins", "nets"], TEXTUAL),
        ("{} else {}", ("choice",), ("text",)),
    ],
    "choice": [],
    "boolean": [
        ("{} {} {}", NUMERIC, COMPARISONS, NUMERIC),
        ("{} {} {}", ("time",), COMPARISONS, ("time",)),
        ("{} {} {}", ("duration",), COMPARISONS, ("duration",)),
        ("{} {} {}", TEXTUAL, COMPARISONS, TEXTUAL),
        ("{} {} {}", ("boolean",), ["==", "!="], ("boolean",)),
        ("{} {} {}", ("boolean",), ["and", "or"], ("boolean",)),
        ("not {}", ("boolean",)),
        ("{} is missing", ANY),
        ("{} == missing", ANY),
        ("{} {} [{}, {}]", NUMERIC, AMONG, NUMERIC, NUMERIC),
        ("{} {} [{}, 'pos', {}]", TEXTUAL, AMONG, ("text",), ["'a'", "missing"]),
        ("{} {} []", ("text",), AMONG),
        ("{} {} {} .. {}", NUMERIC, AMONG, NUMERIC, NUMERIC),
        ("{} {} {} .. {}", ("time",), AMONG, ("time",), ("time",)),
        ("{} {} lists.blocked", TEXTUAL, AMONG),
        ("{}({}, {})", ["starts_with", "ends_with", "contains"], ("text",), TEXTUAL),
        ("matches({}, '{}')", TEXTUAL, ["A*", "999?*", "*-*", "\\\\A"]),
        ("tables.bins[{}].open", ("text",)),
    ],
    "time": [
        *extremes("time"),
        ("{} {} {}", ("time",), ["+", "-"], ("duration",)),
        ("{} + {}", ("duration",), ("time",)),
        ("time({})", ("text",)),
        ("time({}, '%d-%b-%y')", ("text",)),
        ("time({}, '%d-%b-%y', '{}')", ("text",), ZONES),
        ("tables.levels[{}].since", ("integer",)),
    ],
    "duration": [
        *sums("duration"),
        *extremes("duration"),
        ("{} - {}", ("time",), ("time",)),
        ("{} * {}", ("duration",), ("integer",)),
        ("{} * {}", ("integer",), ("duration",)),
        ("tables.levels[{}].length", ("integer",)),
    ],
}
for kind_, forms_ in FORMS.items():
    forms_ += of_every_kind(kind_)
KINDS = list(FORMS)


def write(random: Random, kind: str, depth: int) -> str:
    """An expression that gives this kind of value, with at most `depth` levels."""
    if depth == 0 or random.random() < 1 / 4:
        return random.choice(LEAVES[kind])
    template, *places = random.choice(FORMS[kind])
    parts = []
    for place in places:
        chosen = random.choice(place)
        parts.append(chosen if isinstance(place, list) else f"({write(random, chosen, depth - 1)})")
    return template.format(*parts)


def text_of(seed: int, depth: int = 3) -> str:
    """The expression of a number, of any kind."""
    random = Random(seed)
    return write(random, random.choice(KINDS), depth)


def texts(depth: int = 3) -> st.SearchStrategy[str]:
    """Texts of expressions of every kind, most of them with up to `depth` levels.

    Each is made of a number that hypothesis draws, evenly and fast; what fails is looked for again with fewer levels.
    """
    return st.builds(text_of, SEEDS, st.sampled_from([*range(1, depth), *[depth] * 3]))


def some_texts(count: int, depth: int = 3) -> Iterator[str]:
    """The first of these expressions, always the same ones, but those that do not type."""
    for seed in range(count):
        text = text_of(seed, depth)
        with suppress(ExpressionError):
            check(text, SCOPE)
            yield text


def typed(text: str) -> Node:
    """The typed expression; an example that does not type is left out."""
    try:
        return check(text, SCOPE)
    except ExpressionError as error:
        assume(not any(words in error.message for words in ("places", "characters", "always missing")))
        raise
