"""How values are read from text and shown: edges of each type, hostile text, and back again."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.errors import Problem
from shroff.events.event import read_time
from shroff.language import loader
from shroff.language.field_types import TypeTextError, parse_field_type
from shroff.language.types import BOOLEAN as BOOLEAN_TYPE
from shroff.language.types import DURATION as DURATION_TYPE
from shroff.language.types import INTEGER, REAL, TEXT, TIME, money, number
from shroff.language.values import (
    divide_half_even,
    parse_boolean,
    parse_decimal,
    parse_duration,
    parse_integer,
    parse_money,
    parse_number,
    parse_real,
    parse_share,
    parse_time,
    rescale_half_even,
    show,
    show_decimal,
    show_duration,
    show_number,
    show_time,
    to_real,
    with_point,
)
from shroff.language.yaml import text as yamltext
from tests.support.effort import quickest_s

REFUSED_WITHIN_S = 0.1  # of the processor, far above what it takes, since other programs share the machine


def two_places(text: str) -> int:
    return parse_money(text, 2)


def six_places(text: str) -> int:
    return parse_number(text, 6)


def said(read: Callable[[str], object], text: str) -> str:
    with pytest.raises(ValueError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("read", "text", "wanted"),
    [
        (parse_integer, "9223372036854775807", 2**63 - 1),
        (parse_integer, "-9223372036854775808", -(2**63)),
        (parse_integer, " +7 ", 7),
        (parse_integer, "7.00", 7),
        (parse_integer, "12e2", 1_200),
        (parse_integer, "1200e-2", 12),
        (six_places, "0.0000005", 0),
        (six_places, "0.0000015", 2),
        (six_places, "-0.0000015", -2),
        (six_places, "-0", 0),
        (six_places, ".5", 500_000),
        (six_places, "5.", 5_000_000),
        (two_places, "12.340", 1_234),
        (two_places, "1e13", 10**15),
        (two_places, "-10000000000000.00", -(10**15)),
        (parse_real, "-0.0", 0.0),
        (parse_real, "1e308", 1e308),
        (parse_real, "1e-320", 1e-320),
        (parse_boolean, "false", False),
        (parse_duration, "182d12h", 15_768_000_000),
        (parse_duration, "2w", 1_209_600_000),
        (parse_duration, "0ms", 0),
        (parse_time, "1970-01-01T00:00:00Z", 0),
        (parse_time, "1970-01-01t01:00:00+01:00", 0),
        (parse_time, "1970-01-01 00:00:00.0019Z", 1),
        (parse_time, "1969-12-31T23:59:59.999Z", -1),
        (parse_time, "2016-12-31T23:59:60Z", 1_483_228_800_000),
        (parse_time, "2016-12-31T15:59:60.25-08:00", 1_483_228_800_250),
        (parse_time, "0001-01-01T00:00:00Z", -62_135_596_800_000),
        (parse_time, "9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        (parse_time, "-1500", -1_500),
    ],
)
def test_a_value_is_read_by_its_digits(read, text, wanted):
    assert read(text) == wanted
    assert type(read(text)) is type(wanted)
    assert math.copysign(1, read(text)) == math.copysign(1, wanted)


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (parse_integer, "9223372036854775808", "does not fit 64 bits"),
        (parse_integer, "7.5", "not a whole number"),
        (parse_integer, "", "not a decimal number"),
        (parse_integer, "0x10", "not a decimal number"),
        (parse_integer, "1_000", "not a decimal number"),
        (parse_integer, "٣", "not a decimal number"),
        (parse_integer, "１２", "not a decimal number"),
        (parse_integer, "1,5", "not a decimal number"),
        (parse_integer, "--1", "not a decimal number"),
        (parse_integer, ".", "not a decimal number"),
        (parse_integer, "e5", "not a decimal number"),
        (parse_integer, "NaN", "not a decimal number"),
        (two_places, "1.005", "more than 2 decimal places"),
        (two_places, "10000000000000.01", "10^15 smallest units"),
        (six_places, "1000000000.000001", "10^15 smallest units"),
        (six_places, "1e401", "too many digits"),
        (parse_real, "inf", "not a decimal number"),
        (parse_real, "nan", "not a decimal number"),
        (parse_real, "1e399", "not a finite number"),
        (parse_boolean, "True", "neither true nor false"),
        (parse_duration, "7", "not a duration"),
        (parse_duration, "7 d", "not a duration"),
        (parse_duration, "-7d", "not a duration"),
        (parse_duration, "٧d", "not a duration"),
        (parse_duration, "1.5h", "not a duration"),
        (parse_duration, "100000000000000d", "too long"),
        (parse_time, "2026-03-01T10:00:00", "with its offset"),
        (parse_time, "2026-02-30T10:00:00Z", "not a time"),
        (parse_time, "2026-03-01T24:00:00Z", "not a time"),
        (parse_time, "2026-03-01T10:00:61Z", "not a time"),
        (parse_time, "2026-03-01T10:00:60Z", "23:59:60 UTC on the last day of a month"),
        (parse_time, "2026-03-01T23:59:60Z", "23:59:60 UTC on the last day of a month"),
        (parse_time, "2026-03-31T23:59:60+01:00", "23:59:60 UTC on the last day of a month"),
        (parse_time, "9999-12-31T23:59:60Z", "not a time"),
        (parse_time, "0001-01-01T00:00:60+00:01", "not a time"),
        (parse_time, "2026-03-01T10:00:00 Z", "not a time"),
        (parse_time, "2026-03-01 10:00:00 +01:00", "not a time"),
        (parse_time, "2026-03-01T10:00Z", "not a time"),
        (read_time, "2026-03-01T24:00:00Z", "not a time"),
        (parse_time, "2026-03-01T10:00:00+24:00", "at most 23:59"),
        (parse_time, "٢٠٢٦-03-01T10:00:00Z", "not a time"),
        (parse_time, "2026-03-01", "not a time"),
        (parse_time, "999999999999999", "not a time in milliseconds"),
        (parse_time, "9999999999999999", "not a time"),
    ],
)
def test_what_is_no_value_is_refused_in_words(read, text, words):
    assert words in said(read, text)


@pytest.mark.parametrize(
    "read", [parse_integer, six_places, two_places, parse_real, parse_duration, parse_time, parse_boolean]
)
@pytest.mark.parametrize("text", ["9", "9d", "0.", "1e", "-", "\u0663", "2026-", " "])
def test_a_text_of_a_million_characters_is_refused_at_once(read, text):
    long = text * (1_000_000 // len(text))

    assert quickest_s(lambda: said(read, long)) < REFUSED_WITHIN_S
    assert len(said(read, long)) < 300


@pytest.mark.parametrize(
    ("value", "type_", "wanted"),
    [
        (None, TEXT, "missing"),
        (1_250, money(2), "12.50"),
        (-5, money(2), "-0.05"),
        (12_345, money(3), "12.34"),
        (12_355, money(3), "12.36"),
        (1_500_000, number(), "1.5"),
        (-100, number(2), "-1"),
        (0, number(), "0"),
        (0.1 + 0.2, REAL, "0.3"),
        (1e21, REAL, "1e+21"),
        (True, BOOLEAN_TYPE, "true"),
        (0, TIME, "1970-01-01T00:00:00Z"),
        (-1, TIME, "1969-12-31T23:59:59.999Z"),
        (-62_135_596_800_000, TIME, "0001-01-01T00:00:00Z"),
        (2**100, TIME, f"{2**100} ms"),
        (131_400_500, DURATION_TYPE, "1d12h30m500ms"),
        (-1_000, DURATION_TYPE, "-1s"),
        (0, DURATION_TYPE, "0ms"),
        (-7, INTEGER, "-7"),
        ("ö", TEXT, "ö"),
    ],
)
def test_a_value_is_shown_for_people(value, type_, wanted):
    assert show(value, type_, 2) == wanted


@pytest.mark.parametrize(
    ("units", "places", "wanted", "rounded"),
    [(25, 1, 0, 2), (35, 1, 0, 4), (-25, 1, 0, -2), (-35, 1, 0, -4), (251, 2, 0, 3), (7, 0, 3, 7_000), (5, 3, 2, 0)],
)
def test_fewer_places_are_rounded_half_even(units, places, wanted, rounded):
    assert rescale_half_even(units, places, wanted) == rounded


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**6))
def test_division_rounds_to_the_nearest_and_ties_to_the_even_one(dividend, divisor):
    found = divide_half_even(dividend, divisor)
    distance = abs(2 * (dividend - found * divisor))

    assert distance < divisor or (distance == divisor and found % 2 == 0)


@given(st.integers(-(2**127), 2**127), st.integers(0, 12))
def test_a_decimal_is_read_as_it_was_shown(units, places):
    assert parse_decimal(show_decimal(units, places)) == (units, places)


@given(st.integers(-(10**15), 10**15))
def test_a_number_is_read_as_it_was_shown(units):
    assert parse_number(show_number(units, 6), 6) == units


@given(st.integers(0, 2**61 - 1))
def test_a_duration_is_read_as_it_was_shown(value_ms):
    assert parse_duration(show_duration(value_ms)) == value_ms


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_time_is_read_as_it_was_shown(value_ms):
    assert parse_time(show_time(value_ms)) == value_ms


def test_an_exact_value_becomes_the_nearest_float_beyond_53_bits():
    # 2^53 + 1 lies between two floats; after a first rounding, dividing by 10 would round again.
    assert to_real(2**53 + 1, 0) == 2.0**53
    assert to_real(10**15 * 10 + 7, 1) == 1_000_000_000_000_000.7
    assert to_real(70, 2) == 0.7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("txt", "Did you mean text?"),
        ("text(5)", "has no options in brackets"),
        ("number(13)", "0 to 12"),
        ("number(x)", "0 to 12"),
        ("choice", "its texts in brackets"),
        ("choice(a, a)", "is used twice"),
        ("choice(a,,b)", "its texts in brackets"),
        ("integer hashed", "only text can be hashed"),
        ("text hashd", "Did you mean hashed?"),
        ("text unique unique", "is used twice"),
        ("string", "Did you mean text?"),
        ("hashed", "Did you mean text hashed?"),
        ("", "is not a type"),
        ("text ??", "is not a type"),
        ("text > 0", "text takes no bounds; integer, number"),
        ("boolean > 0", "takes no bounds"),
        ("money > ", "is not a bound"),
        ("money > 0, < 5", "is not a bound"),
        ("money => 0", "is not a type"),
        ("money > 0.001", "more than 2 decimal places"),
        ("integer >= 0.5", "more than 0 decimal places"),
        ("money > x", "not a decimal number"),
        ("money > 0 and >= 1", "two lower or two upper"),
        ("integer > 4 and < 5", "no value is above 4 and below 5"),
        ("time > 5", "is not a time"),
        ("duration > 5", "is not a duration"),
        ("real < 1e399", "not a finite"),
    ],
)
def test_a_field_type_is_refused_with_what_would_be_right(text, words):
    with pytest.raises(TypeTextError, match=words.replace("?", r"\?")):
        parse_field_type(text, money_places=2)


@pytest.mark.parametrize(
    ("text", "least", "most", "words"),
    [
        ("money > 0", 1, math.inf, "above 0"),
        ("money? >= 0", 0, math.inf, "at least 0"),
        ("money>-1_000.50 and <=1e3", -100_049, 100_000, "above -1_000.50 and at most 1e3"),
        ("integer unique < 5 and >= 1", 1, 4, "below 5 and at least 1"),
        ("number(1) >= 1.50", 15, math.inf, "at least 1.50"),
        ("real > 0", 5e-324, math.inf, "above 0"),
        ("duration <= 1m", -math.inf, 60_000, "at most 1m"),
        ("time >= 1970-01-02", 86_400_000, math.inf, "not before 1970-01-02T00:00:00Z"),
        ("time < 1970-01-01T01:00:00+01:00", -math.inf, -1, "before 1970-01-01T00:00:00Z"),
    ],
)
def test_the_bounds_of_a_field_are_its_least_and_its_greatest_value(text, least, most, words):
    bounds = parse_field_type(text, money_places=2).bounds

    assert (bounds.least, bounds.most, str(bounds)) == (least, most, words)


@pytest.mark.parametrize(
    "text",
    [
        "money > 0" + " and > 0" * 6_000,
        "a " * 500_000,
        "text?" + " hashed" * 100_000,
        "choice(" + "a," * 300_000,
        "(" * 1_000_000,
        "text " + "a" * 60_000 + "!",
    ],
)
def test_a_hostile_field_type_is_refused_at_once(text):
    def refused():
        with pytest.raises(TypeTextError):
            parse_field_type(text, money_places=2)

    assert quickest_s(refused) < REFUSED_WITHIN_S


def test_a_share_is_the_number_of_its_digits_whoever_reads_it():
    problems = list[Problem]()
    for thousandth in range(1_001):
        text = f"{thousandth / 10:g}%"
        found = loader.percent(yamltext.read(text, "x.yaml", problems), problems, "share")

        assert (parse_share(text), found) == (float(f"{thousandth}e-3"),) * 2, text
    assert not problems


@given(st.text("0123456789.,' ()-", min_size=1, max_size=14))
def test_a_decimal_with_a_comma_is_read_as_its_mirror_with_a_point(text):
    mirrored = text.translate(str.maketrans(",.", ".,"))

    def read(written, mark):
        try:
            return with_point(written, mark)
        except ValueError:
            return None

    assert read(text, ",") == read(mirrored, ".")


@pytest.mark.parametrize("text", ["1234.500", "12345.678", "1234567.890", "10:00:00.123", "2026-03-01T10:00:00.123456"])
def test_a_point_is_no_decimal_comma(text):
    with pytest.raises(ValueError, match="is not a decimal number with a comma"):
        with_point(text, ",")
