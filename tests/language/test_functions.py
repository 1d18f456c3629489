"""Each function of the language on its edges, by both evaluators."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import JaroWinkler, Levenshtein

from shroff.language import calls
from shroff.language.calls import COMPARED_MAX, TEXT_LENGTH_MAX, local_ms
from shroff.language.checker import check
from shroff.language.columns import ColumnSource, column_of, evaluate_columns, values_of
from shroff.language.expression import Node, RowValue
from shroff.language.functions import FUNCTIONS
from shroff.language.names import DeclaredNames, Scope
from shroff.language.row import Evaluate, Reference, compile_row
from shroff.language.syntax import ExpressionError
from shroff.language.values import Value, is_zone

SCOPE = Scope(DeclaredNames(), "a test", reads_row=True)


def value(text: str, **row: str | None) -> Value:
    """The value of an expression over texts of one row; both evaluators must agree on it."""
    node = check(text, SCOPE)

    def leaf(part: Node) -> Evaluate:
        assert isinstance(part, RowValue)
        return lambda _: row[part.path[0]]

    def column(part: Node):
        assert isinstance(part, RowValue)
        return column_of([row[part.path[0]]], part.type)

    found = compile_row(node, leaf)(None)
    assert values_of(evaluate_columns(node, ColumnSource(1, column, Reference(), np.zeros(1, np.int64)))) == [found]
    return found


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_example_of_a_function_has_a_value(function):
    assert function.example.startswith(f"{function.name}(")
    assert function.form.startswith(f"{function.name}(")
    assert value(function.example) is not None


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_function_of_missing_is_missing(function):
    form = {
        "min": "min(integer(row.x), 1)",
        "max": "max(1, integer(row.x))",
        "round": "round(number(row.x), 2)",
        "left": "left(row.x, 2)",
        "part": "part(row.x, '-', 1)",
        "join": "join('a', row.x)",
        "starts_with": "starts_with('a', row.x)",
        "ends_with": "ends_with(row.x, 'a')",
        "contains": "contains(row.x, '')",
        "replace": "replace('a', 'a', row.x)",
        "subnet": "subnet(row.x, 8)",
    }
    for name in ("abs", "floor", "sqrt"):
        form[name] = f"{name}(integer(row.x))"
    for name in ("similarity", "name_similarity"):
        form[name] = f"{name}('a', row.x)"
    form |= {
        "right": "right(row.x, 2)",
        "middle": "middle(row.x, 1, 2)",
        "matches": "matches(row.x, '*')",
        "mod": "mod(integer(row.x), 2)",
        "log": "log(integer(row.x))",
        "exp": "exp(integer(row.x))",
        "power": "power(integer(row.x), 0)",
        "distance": "distance(integer(row.x), 0, 0, 0)",
        "speed": "speed(integer(row.x), 1h)",
        "seconds": "seconds(time(row.x) - time('0'))",
    }
    for name in ("hour", "minute", "weekday", "day", "day_of_month", "month"):
        form[name] = f"{name}(time(row.x), 'Europe/Berlin')"

    assert value(form.get(function.name, f"{function.name}(row.x)"), x=None) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("abs(-9_223_372_036_854_775_808)", 2**63),
        ("min(3, 2.5)", 25),
        ("max(1, 1.0)", 10),
        ("round(2.5, 0)", 2),
        ("round(3.5, 0)", 4),
        ("round(-2.5, 0)", -2),
        ("round(0.125, 2)", 12),
        ("round(7, 3)", 7),
        ("round(sqrt(2), 3)", 1.414),
        ("round(0 - sqrt(0.04), 0)", 0.0),
        ("floor(-0.5)", -1),
        ("floor(-0.0)", 0),
        ("floor(sqrt(2))", 1),
        ("floor(money('2.99'))", 2),
        ("sqrt(-1)", None),
        ("sqrt(0)", 0.0),
        ("length('')", 0),
        ("length('e\u0301🙂')", 3),
        ("lower('ÄÖ')", "äö"),
        ("upper('straße')", "STRASSE"),
        ("left('äöü', 2)", "äö"),
        ("left('abc', 0)", ""),
        ("left('abc', -1)", ""),
        ("left('abc', 999_999_999_999_999_999_999)", "abc"),
        ("part('a-b-c', '-', 3)", "c"),
        ("part('a-b-c', '-', 4)", None),
        ("part('a-b-c', '-', 0)", None),
        ("part('a-b-c', '-', -1)", None),
        ("part('abc', '', 1)", "abc"),
        ("part('a--b', '-', 2)", ""),
        ("join('a')", "a"),
        ("join(1, -2, 'x')", "1-2x"),
        ("text(true)", "true"),
        ("text(money('12.50'))", "12.50"),
        ("text(0.50)", "0.5"),
        ("text(1 / 3)", "0.3333333333333333"),
        ("text(36h)", "1d12h"),
        ("text(time('2026-03-01T23:30:00+01:00'))", "2026-03-01T22:30:00Z"),
        ("replace('aaa', 'aa', 'b')", "ba"),
        ("replace('ab', '', '-')", "-a-b-"),
        ("subnet('192.0.2.77', 24)", "192.0.2.0/24"),
        ("subnet('2001:db8::77', 32)", "2001:db8::/32"),
        ("subnet('192.0.2.77', 33)", None),
        ("subnet('192.0.2.77', -1)", None),
        ("subnet('192.0.2.77/8', 24)", None),
        ("subnet('300.0.2.77', 24)", None),
        ("subnet('', 0)", None),
        ("domain('a@b@Ä.COM')", "ä.com"),
        ("domain('nobody')", None),
        ("domain('nobody@')", None),
        ("integer('9223372036854775807')", 2**63 - 1),
        ("integer('9223372036854775808')", None),
        ("integer('7.0')", 7),
        ("integer(7.5)", None),
        ("integer(sqrt(49))", 7),
        ("integer(sqrt(2))", None),
        ("integer('')", None),
        ("number('1e3')", 1_000_000_000),
        ("number('x')", None),
        ("number(1 / 3)", 333_333),
        ("money('12.345')", None),
        ("money('٣')", None),
        ("money(12.345)", 1_234),
        ("money(1 / 8)", 12),
        ("money('10000000000000.01')", None),
        ("time('2026-03-01')", None),
        ("time('1772404200000')", 1_772_404_200_000),
        ("time('01-Mar-26', '%d-%b-%y')", 1_772_323_200_000),
        ("time('01-Mar-26', '%d-%b-%y', 'Europe/Berlin')", 1_772_319_600_000),
        ("time('2026-03-01 10:00:00.5+0100', '%Y-%m-%d %H:%M:%S.%f%z')", 1_772_355_600_500),
        ("time('31-Feb-26', '%d-%b-%y')", None),
        ("time('9999-12-31 23:59:59.999999', '%Y-%m-%d %H:%M:%S.%f')", 253_402_300_799_999),
        ("hour(time('-1'))", 23),
        ("weekday(time('0'))", 3),
        ("weekday(time('-1'))", 2),
        ("day(time('-1'))", -1),
        ("hour(time('2026-03-29T01:00:00Z'), 'Europe/Berlin')", 3),
        ("hour(time('2026-03-29T00:59:59.999Z'), 'Europe/Berlin')", 1),
        ("hour(time('2026-03-01T22:30:00Z'), 'Asia/Kathmandu')", 4),
        ("day(time('2026-03-01T23:30:00Z'), 'Europe/Berlin')", 20_514),
        ("minute(time('2026-03-01T22:30:59.999Z'), 'Asia/Kathmandu')", 15),
        ("month(time('1969-12-31T23:59:59Z'))", -1),
        ("month(time('1969-12-31T23:59:59Z'), 'Europe/Berlin')", 0),
        ("day_of_month(time('2024-02-29T12:00:00Z'))", 29),
        ("month(time('0') + 100_000_000 * 100000d)", None),
        ("hour(time('2026-03-01T22:30:00Z'), lower('UTC'))", None),
        ("hour(time('2026-03-01T22:30:00Z'), join('Asia/', 'Kathmandu'))", 4),
        ("hour(time('2026-03-01T22:30:00Z'), join('../', 'UTC'))", None),
        ("seconds(1h500ms)", 3_600.5),
        ("trim(' \t\u00a0é ')", "é"),
        ("right('abc', 2)", "bc"),
        ("right('abc', 0)", ""),
        ("right('abc', 9)", "abc"),
        ("middle('a🙂bc', 2, 2)", "🙂b"),
        ("middle('abc', 0, 2)", "a"),
        ("middle('abc', 3, 9)", "c"),
        ("middle('abc', 1, -1)", ""),
        ("middle('abc', 4, 1)", ""),
        ("digits('a1٣²')", 2),
        ("entropy('')", 0),
        ("entropy('aaaa')", 0),
        ("entropy('aabb')", 1_000_000),
        ("entropy('abcabc')", 1_584_963),
        ("log(0)", None),
        ("log(1)", 0.0),
        ("log(0 - 1)", None),
        ("exp(0)", 1.0),
        ("exp(710)", None),
        ("exp(0 - 800)", 0.0),
        ("power(4, 0.5)", 2.0),
        ("power(-8, 1 / 3)", None),
        ("power(-2, 3)", -8.0),
        ("power(0, -1)", None),
        ("power(0, 0)", 1.0),
        ("mod(7, -3)", -2),
        ("mod(7, 0)", None),
        ("speed(1_000, 0s)", 3_600.0),
        ("speed(1_000, -1h)", 1.0),
        ("speed(power(10, 308), 1s)", None),
        ("integer(9_223_372_036_854_775_807 + 1)", None),
        ("minute(time('2000-04-02T03:30:59Z'), 'America/St_Johns')", 0),
        ("minute(time('2000-04-02T03:31:00Z'), 'America/St_Johns')", 1),
        ("hour(time('2000-04-02T03:30:59Z'), 'America/St_Johns')", 0),
        ("hour(time('2000-04-02T03:31:00Z'), 'America/St_Johns')", 1),
        ("hour(time('9999-12-31T23:59:59Z'), 'America/New_York')", 18),
        ("distance(0, 0, 0, 180)", 20_015_114),
        ("distance(90, 17, -90, 4)", 20_015_114),
        ("distance(52.5, 13.4, 52.5, 13.4)", 0),
        ("distance(0, 180, 0, -180)", 0),
        ("distance(90.1, 0, 0, 0)", None),
        ("distance(0, 0, 0, -180.000001)", None),
        ("matches('2026-03', '9999-99')", True),
        ("matches('2026-03x', '9999-99')", False),
        ("matches('', '*')", True),
        ("matches('', '?')", False),
        ("matches('a.b', 'A.A')", True),
        ("matches('axb', 'A.A')", False),
        ("matches('9A?*', '\\9\\A\\?\\*')", True),
        ("matches('8A', '\\9A')", False),
        ("matches('é1', 'A9')", True),
        ("matches('a1b2c', '*9*9*')", True),
        ("matches('xabcabd', '*ab*abd')", True),
        ("matches('ab\ncd', 'ab*d')", True),
        ("similarity('', '')", 1.0),
        ("similarity('', 'a')", 0.0),
        ("similarity('ＡＢ', 'ab')", 1.0),
        ("similarity('straße', 'STRASSE')", 1.0),
        ("name_similarity('', ' ')", 1.0),
        ("name_similarity('Müller  Anna', 'anna MÜLLER')", 1.0),
        ("hour(time('0') + 100_000_000 * 100000d, 'Europe/Berlin')", None),
        ("hour(time('0001-01-01T00:00:00Z'), 'America/New_York')", None),
    ],
)
def test_a_function_gives(text, wanted):
    found = value(text)

    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize("function", ["similarity", "name_similarity"])
@pytest.mark.parametrize("text", ["a" * (COMPARED_MAX + 1), "\ufdfa" * COMPARED_MAX, "\u0301\u0316" * 15_000])
def test_a_text_that_is_too_long_is_compared_with_none(function, text):
    assert value(f"{function}(row.x, row.y)", x="a" * COMPARED_MAX, y="b" * COMPARED_MAX) == 0.0
    assert value(f"{function}(row.x, row.y)", x="a", y=text) is None


def test_a_run_of_any_characters_costs_no_more_for_being_written_often():
    assert value(f"matches(row.x, '{'*a' * 200}b')", x="a" * 20_000) is False


@pytest.mark.parametrize(
    "text",
    ["matches(row.x, 'a\\')", "matches(row.x, row.x)", "hour(time(row.x), 'Mars')", "hour(time(row.x), 'localtime')"],
)
def test_a_pattern_and_a_zone_that_are_wrong_are_mistakes_of_the_definition(text):
    with pytest.raises(ExpressionError, match=r"matches takes|cannot read the pattern|knows no time zone"):
        check(text, SCOPE)


@pytest.mark.parametrize("zone", ["localtime", "europe/berlin", "right/UTC", "posix/UTC", "Europe", "../UTC", ""])
def test_a_zone_that_machines_differ_on_is_none(zone):
    assert not is_zone(zone)
    assert value("hour(time('2026-03-01T10:00:00Z'), row.x)", x=zone) is None


_TEXTS = st.text("abcdefÄéß ﬁΩжяか中\u0301-'", max_size=12)


@given(_TEXTS, _TEXTS)
def test_similarity_is_what_rapidfuzz_says(a, b):
    def folded(text):
        return unicodedata.normalize("NFKC", text).casefold()

    def words(text):
        return " ".join(sorted(folded(text).split()))

    assert value("similarity(row.a, row.b)", a=a, b=b) == Levenshtein.normalized_similarity(folded(a), folded(b))
    assert value("name_similarity(row.a, row.b)", a=a, b=b) == JaroWinkler.similarity(words(a), words(b))


PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def sine(x):
    total, term, power = Decimal(0), x, 1
    while abs(term) > Decimal("1e-45"):
        total, power = total + term, power + 2
        term = -term * x * x / (power * (power - 1))
    return total


def great_circle(lat1, lon1, lat2, lon2):
    """Meters, with forty digits: a float is near the angle, and what is left is its own sine."""
    with localcontext(prec=50):
        a, b, c, d = (Decimal(angle) * PI / 180 for angle in (lat1, lon1, lat2, lon2))
        square = sine((c - a) / 2) ** 2 + sine(a + PI / 2) * sine(c + PI / 2) * sine((d - b) / 2) ** 2
        across, along = square.sqrt(), max(1 - square, Decimal(0)).sqrt()
        near = Decimal(math.atan2(across, along))
        return Decimal("6371008.8") * 2 * (near + across * sine(near + PI / 2) - along * sine(near))


def degrees(most):
    return st.floats(-most, most) | st.sampled_from([0.0, 45.0, 90.0, -most, most]) | st.floats(-1e-6, 1e-6)


@given(degrees(90), degrees(180), degrees(90), degrees(180), st.sampled_from(["free", "near", "opposite"]))
def test_distance_is_within_a_meter_of_a_calculation_with_forty_digits(lat1, lon1, lat2, lon2, kind):
    if kind == "near":
        lat2, lon2 = (max(min(a + b * 1e-5, most), -most) for a, b, most in ((lat1, lat2, 90), (lon1, lon2, 180)))
    if kind == "opposite":
        lat2, lon2 = -lat1, lon1 - 180 if lon1 > 0 else lon1 + 180

    assert abs(calls.distance(lat1, lon1, lat2, lon2) - great_circle(lat1, lon1, lat2, lon2)) < 0.501


@given(st.floats(1e-300, 1e300), st.floats(-300, 300))
def test_logarithm_and_powers_are_the_nearest_floats(x, y):
    with localcontext(prec=80):
        log, exp, power = Decimal(x).ln(), Decimal(y).exp(), Decimal(x) ** Decimal(y)

    assert (calls.log(x), calls.exp(y)) == (float(log), float(exp))
    assert calls.power(x, y) == (float(power) if math.isfinite(float(power)) else None)


@given(st.text("abcdef1", max_size=40))
def test_entropy_is_that_of_shannon(text):
    shares = [text.count(sign) / len(text) for sign in set(text)]

    assert calls.entropy(text) == pytest.approx(-sum(share * math.log2(share) for share in shares) * 1e6, abs=0.51)


def test_a_text_that_is_no_value_is_missing_in_a_rule_and_a_mistake_in_a_mapping():
    node = check("integer('many')", SCOPE)

    assert compile_row(node, lambda _: lambda row: row)(None) is None
    with pytest.raises(ValueError, match="'many' is not a decimal number"):
        compile_row(node, lambda _: lambda row: row, strict=True)(None)


def test_a_result_out_of_range_is_a_mistake_of_the_line_in_a_mapping():
    node = check("hour(time('0') + 100_000_000 * 100000d, 'Europe/Berlin')", SCOPE)

    with pytest.raises(ValueError, match="out of range"):
        compile_row(node, lambda _: lambda row: row, strict=True)(None)


def test_a_text_does_not_grow_beyond_what_a_field_holds():
    long = "a" * TEXT_LENGTH_MAX

    assert value("join(row.x, '')", x=long) == long
    assert value("join(row.x, row.x)", x=long) is None
    assert value("replace(row.x, 'a', row.x)", x=long) is None
    assert value("replace(row.x, '', row.x)", x=long) is None
    assert value("replace(row.x, 'a', '')", x=long) == ""


def test_a_long_text_is_no_time_and_is_not_kept():
    assert value("time(row.x, '%d %b %Y')", x="1" + " " * 65_000 + "Mar 2026") is None
    assert value("time(row.x, '%d-%b-%y')", x="01-Mar-26" + " " * 65_000) == 1_772_323_200_000


@given(
    st.sampled_from(
        ["%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y", "%Y%m%d%H%M%S", "%Y-%m-%d %M", "%Y-%m-%d  %H", " %Y-%m-%d", "%Y-%m-%d%%"]
    ),
    st.lists(st.sampled_from(["0", "1", "2", "3", "9", "11", "05", "60", "2026", "500000", " ", "٣"]), min_size=7),
    st.booleans(),
)
def test_a_time_of_a_form_is_what_strptime_says(form, numbers, is_padded):
    text = form
    for name, number in zip("YmdHMSf", numbers, strict=False):
        text = text.replace(f"%{name}", number.zfill({"Y": 4, "f": 6}.get(name, 2)) if is_padded else number)
    try:
        moment = datetime.strptime(text.strip(), form).replace(tzinfo=UTC)
    except ValueError:
        wanted = None
    else:
        wanted = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)

    assert value(f"time(row.x, '{form}')", x=text) == wanted


@given(
    st.integers(-2_208_988_800_000, 4_102_444_800_000),  # 1900 to 2100
    st.sampled_from(
        ["Europe/Berlin", "Africa/Monrovia", "Australia/Lord_Howe", "America/St_Johns", "Europe/Amsterdam"]
    ),
)
def test_the_clock_of_a_zone_is_what_zoneinfo_says(time_ms, zone):
    shown = datetime.fromtimestamp(time_ms // 1_000, UTC).astimezone(ZoneInfo(zone))
    wall_ms = int(shown.replace(tzinfo=UTC).timestamp()) * 1_000 + time_ms % 1_000

    assert local_ms(time_ms, zone) == wall_ms
