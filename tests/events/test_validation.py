"""Validation: what is admitted as which value, and what is refused in which words."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from shroff.errors import InputError
from shroff.events.definitions import Settings
from shroff.events.raw_values import Exact, Float32, Instant, Number, RawDuration, RefusedValue
from shroff.events.validation import EventValidator, LabelInput
from tests.support.declare import PAYMENT, declare

T0 = 1_772_359_200_000  # 2026-03-01T10:00:00Z
NEED = {"id": "p1", "at": "2026-03-01T10:00:00Z"}
HASHED = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text hashed, at: time, card: text hashed, amount: money? }
"""
SAVINGS = """
saving:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time }
withdrawal:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time }
"""


def validator(text: str = PAYMENT, hasher=None, **settings) -> EventValidator:
    money_places = settings.get("money_places", 2)
    return EventValidator(declare(text, money_places=money_places), Settings(**settings), hasher)


def value_of(field: str, value: object, **settings) -> object:
    events = declare(money_places=settings.get("money_places", 2))
    event = EventValidator(events, Settings(**settings)).admit("payment", {**NEED, field: value}, is_strict=True)
    return event.values[events.types["payment"].at(field)]


def mistakes_of(
    fields: dict[str, object], *, text: str = PAYMENT, is_strict: bool = True, hasher=None
) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        validator(text, hasher).admit("payment", fields, is_strict=is_strict)
    return dict(caught.value.mistakes)


def mistake(field: str, value: object) -> str:
    found = mistakes_of({**NEED, field: value})

    assert list(found) == [field]
    return found[field]


def test_an_event_has_its_id_its_time_and_its_values_in_the_order_of_the_fields():
    event = validator().admit("payment", {"amount": "1.10", "at": "2026-03-01T10:00:00Z", "id": "p1"}, is_strict=True)

    assert (event.type, event.id, event.time_ms) == ("payment", "p1", T0)
    assert event.values[:4] == ("p1", T0, None, 110)


@pytest.mark.parametrize(
    "given, units",
    [
        ("12.34", 1_234),
        ("12", 1_200),
        ("-0.01", -1),
        ("+1.5", 150),
        ("1.500", 150),  # zeros are not more places
        (".5", 50),
        (Number("12.35"), 1_235),
        (Number("1e2"), 10_000),
        (Number("9999999999999.99"), 999_999_999_999_999),
        (7, 700),
        (Decimal("1.10"), 110),
        (Exact(500, 2), 500),
        (Exact(5, 0), 500),
        ({"amount": "12.36", "currency": "EUR"}, 1_236),
        ({"amount": Number("12.36"), "currency": "EUR"}, 1_236),
        ("10000000000000.00", 10**15),
        (0.1, 10),
        (0.30000000000000004, 30),
        (9999999999999.98, 999_999_999_999_998),
        (1.005, 100),  # 1.005 is the shortest decimal, and half-even gives 1.00
        (1.015, 102),
        (1e16 / 1e5, 10**13),
        (Float32(131071.9921875), 13_107_199),  # the 32-bit float nearest to 131071.99
        (Float32(10_000_000.0), 10**9),
    ],
)
def test_money_is_read_from_each_of_its_forms(given, units):
    assert value_of("amount", given) == units


BOUNDED = """
payment:
  id: id
  time: at
  fields:
    id: text
    at: time >= 2020-01-01
    amount: money > 0
    rate: real? >= 0 and <= 1
    card: text? hashed
"""


@pytest.mark.parametrize(
    "given, words",
    [
        ({"amount": "0.01", "rate": 0}, {}),
        ({"amount": 1, "rate": 1.0}, {}),
        ({"amount": "0.00"}, {"amount": "decimal places, above 0; found 0.00"}),
        (
            {"amount": Number("-5"), "rate": 1.25},
            {"amount": "above 0; found -5.00", "rate": "at least 0 and at most 1; found 1.25"},
        ),
        (
            {"amount": "1", "at": 1_577_836_799_999},
            {"at": "not before 2020-01-01T00:00:00Z; found 2019-12-31T23:59:59.999Z"},
        ),
        ({"amount": "-1", "rate": "x"}, {"amount": "above 0", "rate": "found 'x'"}),
        ({"amount": 1, "id": 101}, {"id": "found the number 101; write it in quotes, or `FIELD: row.FIELD` under"}),
    ],
)
def test_a_value_outside_of_its_bounds_is_refused_with_them(given, words):
    fields = {**NEED, **given}
    found = mistakes_of(fields, text=BOUNDED) if words else {}

    assert found.keys() == words.keys()
    assert all(words[name] in found[name] for name in words), found
    if not words:
        validator(BOUNDED).admit("payment", fields, is_strict=True)


def test_money_keeps_the_places_of_its_currency():
    assert value_of("amount", "1.5", currency="ZAR", money_places=4) == 15_000


@pytest.mark.parametrize(
    "given, words",
    [
        ("1.005", "more than 2 decimal places"),
        (Number("1.005"), "the number 1.005, which has more than 2"),
        (Number("1.1000000000000000888"), "more than 2 decimal places"),
        (Exact(12_345, 3), "more than 2 decimal places"),
        ({"amount": "1.005", "currency": "EUR"}, "more than 2 decimal places"),
        ({"amount": "12.37", "currency": "USD"}, "'USD' as its currency, and this project's money is EUR"),
        ({"amount": "12.37"}, "not {amount, currency}"),
        ({"amount": "1", "currency": "EUR", "cents": 5}, "not {amount, currency}"),
        ({"amount": [1], "currency": "EUR"}, "found a list"),
        ("twelve", "found 'twelve'"),
        ("1.250,00", "found '1.250,00'"),
        ("1_000", "found '1_000'"),
        ("١٢", "found"),  # digits, but not ours
        ("£5", "found '£5'"),
        ("10000000000000.01", "beyond the largest value, 10^15"),
        (10**14, "beyond the largest value"),
        (1e300, "beyond the largest value"),
        (float("nan"), "not a finite number"),
        (True, "found true"),
        ([], "found a list"),
        ("9" * 500, "9" * 60 + "…"),
    ],
)
def test_money_that_is_none_is_refused_with_what_was_found(given, words):
    assert mistake("amount", given).startswith("expected an amount in EUR with at most 2 decimal places; ")
    assert words in mistake("amount", given)


@pytest.mark.parametrize(
    "field, given, value",
    [
        ("card", "a\x00b\n", "a\x00b\n"),
        ("card", " a ", " a "),
        ("card", "ä" * 32_768, "ä" * 32_768),
        ("channel", "web", "web"),
        ("colour", "mauve", "mauve"),
        ("points", 2**63 - 1, 2**63 - 1),
        ("points", "9007199254740993", 9_007_199_254_740_993),
        ("points", Number("7.0"), 7),
        ("points", 7.0, 7),
        ("weight", "0.0000025", 2),
        ("weight", Number("0.0000010000000000000000001"), 1),
        ("weight", 1, 1_000_000),
        ("two", "0.125", 12),
        ("two", Number("2.675"), 268),
        ("two", 2.675, 268),
        ("two", Exact(125, 3), 12),
        ("ratio", Number("1e-7"), 1e-7),
        ("ratio", "0.1", 0.1),
        ("ratio", 9_007_199_254_740_993, 9_007_199_254_740_992.0),
        ("ratio", -0.0, 0.0),
        ("ratio", Exact(1, 1), 0.1),
        ("ratio", Float32(0.10000000149011612), 0.10000000149011612),
        ("ok", True, True),
        ("ok", "false", False),
        ("wait", "1h30m", 5_400_000),
        ("wait", timedelta(seconds=2), 2_000),
        ("wait", 90, 90_000),
        ("wait", Number("-1.5"), -1_500),
        ("wait", 0.0025, 2),
        ("wait", RawDuration(5), 5),
        ("at", "2026-03-01T11:00:00+01:00", T0),
        ("at", T0, T0),
        ("at", str(T0), T0),
        ("at", Instant(T0), T0),
        ("at", datetime(2026, 3, 1, 10, tzinfo=UTC), T0),
        ("at", datetime(2026, 3, 1, 10), T0),  # noqa: DTZ001 (without a zone it is UTC)
        ("at", datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))), T0),
    ],
)
def test_a_value_is_read_as_its_type(field, given, value):
    assert value_of(field, given) == value
    assert type(value_of(field, given)) is type(value)


@pytest.mark.parametrize(
    "field, given, words",
    [
        ("card", 4_111, "found the number 4111"),
        ("card", "\ud800", "half of a surrogate pair"),
        ("card", "a" * 65_537, "65,537 bytes"),
        ("card", "ä" * 32_769, "65,538 bytes"),
        ("colour", "a" * 65_537, "65,537 bytes"),
        ("id", "a" * 201, "expected an id of at most 200 characters; found an id of 201 characters"),
        ("channel", "cheque", "one of pos, web, atm; found 'cheque'"),
        ("channel", "Web", "Did you mean web?"),
        ("points", "many", "found 'many'"),
        ("points", 2**63, "does not fit 64 bits"),
        ("points", Number("1.5"), "the number 1.5, which is not a whole number"),
        ("points", False, "found false"),
        ("points", Instant(T0), "found the time 2026-03-01T10:00:00Z"),
        ("ratio", "fast", "found 'fast'"),
        ("ratio", "nan", "found 'nan'"),
        ("ratio", Number("1e400"), "not a finite number"),
        ("ratio", float("inf"), "not a finite number"),
        ("ok", "perhaps", "found 'perhaps'"),
        ("ok", 1, "found the number 1"),
        ("ok", "True", "found 'True'; lower(row.FIELD) under `from` in events.yaml reads it"),
        ("ok", "yes", "found 'yes'"),
        ("wait", "soon", "not a duration"),
        ("wait", "5", "not a duration"),
        ("wait", True, "found true"),
        ("wait", 10**13, "more than 31,700 years"),
        ("at", "2026-03-01T10:00:00", "with its offset"),
        ("at", "2026-03-01", "found '2026-03-01'"),
        ("at", "2026-02-31T10:00:00Z", "found '2026-02-31T10:00:00Z': day is out of range for month"),
        ("at", Number("1.5e12"), "found the number 1.5e12"),
        ("at", "0000-01-01T00:00:00Z", "found '0000-01-01T00:00:00Z'"),
        ("at", -(10**14), "before the year 1"),
        ("at", 10**15, "not a time in milliseconds"),
        ("at", {"$date": 5}, "found an object"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_words(field, given, words):
    assert words in mistake(field, given)


@pytest.mark.parametrize("quotes", ["", "'", '"', "'\"", "\\'"])
@pytest.mark.parametrize(
    "field, given", [("at", "{} is not a time: 1"), ("amount", "{} is not a decimal number; for 1")]
)
def test_a_value_that_reads_like_the_parsers_hint_gives_none(field, given, quotes):
    value = given.format(quotes)

    assert mistake(field, value).endswith(f"; found {value!r}")


def test_empty_text_null_and_left_out_are_missing():
    event = validator().admit("payment", {**NEED, "card": "", "points": "", "ok": None}, is_strict=True)

    assert event.values[2:] == (None,) * 10


def test_every_mistake_of_an_event_is_named():
    found = mistakes_of({"at": "noon", "amount": "much", "points": 1, "chanel": "web"})

    assert sorted(found) == ["amount", "at", "chanel", "id"]
    assert found["id"].endswith("; it is missing")
    assert found["chanel"] == "the event type declares no such field. Did you mean channel?"


def test_of_many_fields_that_nothing_declares_a_few_are_named_and_none_at_length():
    with pytest.raises(InputError) as raised:
        validator().admit("payment", {**NEED, **{f"x{'y' * 5_000}{n}": n for n in range(1_000)}}, is_strict=True)

    assert len(raised.value.mistakes) == 11
    assert raised.value.mistakes[-1] == ("", "990 more names that nothing declares")
    assert len(str(raised.value)) < 5_000


def test_fields_that_the_type_does_not_declare_are_ignored_where_it_is_not_strict():
    assert validator().admit("payment", {**NEED, "chanel": "web"}, is_strict=False).values[4] is None


def test_an_unknown_event_type_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"payments: is not an event type\. Did you mean payment\?"):
        validator().admit("payments", NEED, is_strict=True)


def test_hashed_fields_are_replaced():
    event = validator(HASHED, hasher=lambda text: f"#{len(text)}").admit(
        "payment", {"id": "p1", "at": 0, "card": "4111111111111111"}, is_strict=True
    )

    assert (event.id, event.values[2]) == ("#2", "#16")


def test_without_a_hasher_the_clear_value_stays():
    event = validator(HASHED).admit("payment", {"id": "p1", "at": 0, "card": "4111"}, is_strict=True)

    assert event.values[2] == "4111"


@pytest.mark.parametrize("card", [4_111_111_111_111_111, "4111111111111111" * 5_000, ["4111111111111111"]])
def test_a_mistake_in_a_hashed_field_does_not_show_its_value(card):
    found = mistakes_of({"id": "p1", "at": 0, "card": card}, text=HASHED, hasher=str.upper)

    assert "4111" not in found["card"]
    assert "the field is hashed" in found["card"]


def test_what_a_mapping_refused_is_named_with_the_other_mistakes():
    found = mistakes_of({**NEED, "amount": RefusedValue("'x' is not a decimal number"), "points": "many"})

    assert found["amount"].endswith("; 'x' is not a decimal number")
    assert sorted(found) == ["amount", "points"]


LABEL = {"event": "payment/p-1", "verdict": "fraud", "known_at": "2026-03-01T10:00:00Z"}


def test_a_label_names_its_event_and_comes_from_an_import_unless_it_says_so():
    label = validator().admit_label({**LABEL, "reason": "stolen", "amount": "5.00"})

    assert label == LabelInput("payment", "p-1", "fraud", "import", T0, "stolen", 500)
    assert validator().admit_label({**LABEL, "source": "analyst"}).source == "analyst"


@pytest.mark.parametrize(
    "event, id_",
    [("p-1", "p-1"), ("march.csv:1", "march.csv:1"), ("payment/a/b", "a/b"), ("2026/03/p-1", "2026/03/p-1")],
)
def test_a_bare_id_stands_for_the_one_decided_type_and_may_hold_slashes(event, id_):
    label = validator().admit_label({**LABEL, "event": event})

    assert (label.event_type, label.event_id) == ("payment", id_)


@pytest.mark.parametrize("event", ["s-1", "savings/s-1"])
def test_a_bare_id_needs_one_decided_type(event):
    with pytest.raises(InputError, match=r"event: expected TYPE/ID, such as saving/p-1, since 2 event types"):
        validator(SAVINGS).admit_label({**LABEL, "event": event})


def test_the_id_of_a_label_is_hashed_where_its_events_id_is():
    assert validator(HASHED, hasher=lambda text: f"#{text}").admit_label(LABEL).event_id == "#p-1"


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("verdict", "bad", "verdict: expected one of fraud, genuine, unclear; found 'bad'"),
        ("source", "rumour", "source: expected one of chargeback"),
        ("known_at", None, "known_at: .*it is missing"),
        ("event", "payment/", "event: expected an id"),
        ("event", "a" * 201, "event: expected an id of 1 to 200 characters; found 201"),
        ("event", 101, "event: .*found the number 101; write it in quotes, or `FIELD: row.FIELD` under `from`"),
        ("amount", "1.234", "amount: .*more than 2 decimal places"),
    ],
)
def test_a_label_that_is_none_is_refused_in_words(field, value, words):
    with pytest.raises(InputError, match=words):
        validator().admit_label({**LABEL, field: value})


@pytest.mark.parametrize(
    "field, value, read",
    [
        ("verdict", "FRAUD", "fraud"),
        ("verdict", " Genuine ", "genuine"),
        ("source", "ChargeBack", "chargeback"),
        ("known_at", "2026-03-01", T0 - 10 * 3_600_000),
        ("known_at", date(2026, 3, 1), T0 - 10 * 3_600_000),
    ],
)
def test_a_label_is_written_as_banks_write_it(field, value, read):
    label = validator().admit_label({**LABEL, field: value})

    assert getattr(label, f"{field}_ms" if field == "known_at" else field) == read


@pytest.mark.parametrize(
    "field, value, cure",
    [
        ("verdict", "1", "'fraud' when row.verdict == '1' else 'genuine'"),
        ("known_at", "20.03.2026", "time(row.known_at, '%d.%m.%Y')"),
    ],
)
def test_another_form_of_a_label_is_refused_with_the_expression_that_reads_it_in_a_csv(field, value, cure):
    with pytest.raises(InputError, match=re.escape(f"found '{value}'. ") + ".*" + re.escape(cure)):
        validator().of_file("csv").admit_label({**LABEL, field: value})


@pytest.mark.parametrize(
    "field, sent",
    [
        ("verdict", "Betrug"),
        ("source", " Bank "),
        ("known_at", "20.03.2026"),
        ("known_at", "2026-02-31"),
        ("amount", "12,50"),
        ("amount", "$5"),
    ],
)
def test_a_label_that_is_no_line_of_csv_is_refused_as_it_was_sent_and_without_a_word_of_csv(field, sent):
    with pytest.raises(InputError) as caught:
        validator().admit_label({**LABEL, field: sent})

    assert f"found {sent!r}" in str(caught.value)
    assert "csv" not in str(caught.value).lower()


def test_a_label_over_http_has_no_other_fields():
    with pytest.raises(InputError, match=r"verdikt: the event type declares no such field\. Did you mean verdict\?"):
        validator().admit_label({**LABEL, "verdikt": "fraud"}, is_strict=True)
