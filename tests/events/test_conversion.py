"""Amounts of many currencies: what is declared, what is refused with place and cure, and twenty events by hand."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

import shroff
from shroff.cli.main import run
from shroff.errors import InputError
from shroff.events.validation import EventValidator
from shroff.services.check.operations import rows_of_file
from tests.laws.test_currencies import FILES
from tests.support.projects import definitions, write_files

RATES = """currency,valid_from,rate
USD,2026-03-01,0.9
USD,2026-03-02T12:00:00Z,0.95
JPY,2026-03-01,0.0061
KWD,2026-03-01,3.005
GBP,2026-03-03,1.15
CLF,2026-03-01,35.55
"""
SENT = ("EUR", "USD", "JPY", "GBP")


def problems_of(changes: dict[str, str | None]) -> list[str]:
    from shroff.project.definitions import load_definitions

    files = FILES | {"tables/fx.csv": RATES} | changes
    found = load_definitions({name: text for name, text in files.items() if text is not None}).problems
    return [f"{problem.file}:{problem.line} {problem.path} {problem.message} {problem.hint}" for problem in found]


def admitted(fields: dict[str, object]):
    """Original, amount and rate of an event, as a file's."""
    given = definitions(FILES | {"tables/fx.csv": RATES})
    validator = EventValidator(given.events, given.settings, conversion=given.conversion)
    event = validator.admit("payment", {"id": "1", "card": "c"} | fields, is_strict=True)
    values = dict(zip(given.events.types["payment"].field_names, event.values, strict=True))
    return values["amount.original"], values["amount"], values["amount.rate"]


@pytest.mark.parametrize(
    ("at", "currency", "sent", "original", "amount", "rate"),
    [
        ("2026-03-01T10:00:00Z", "USD", "100.00", 1_000_000, 9_000, "0.9"),
        ("2026-03-02T11:59:59.999Z", "USD", "100", 1_000_000, 9_000, "0.9"),
        ("2026-03-02T12:00:00Z", "USD", "100", 1_000_000, 9_500, "0.95"),
        ("2026-03-01T00:00:00Z", "USD", "0.05", 500, 4, "0.9"),  # 4.5 cents: to the even one
        ("2026-03-01T00:00:00Z", "USD", "0.15", 1_500, 14, "0.9"),  # 13.5
        ("2026-03-01T00:00:00Z", "USD", "0.16", 1_600, 14, "0.9"),  # 14.4
        ("2026-02-28T23:59:59.999Z", "USD", "100", 1_000_000, None, None),
        ("2026-03-02T10:00:00Z", "JPY", "1000", 10_000_000, 610, "0.0061"),
        ("2026-03-02T10:00:00Z", "JPY", 123_456, 1_234_560_000, 75_308, "0.0061"),  # 753.0816
        ("2026-03-02T10:00:00Z", "JPY", "1", 10_000, 1, "0.0061"),  # 0.61 of a cent
        ("2026-03-02T10:00:00Z", "JPY", "0", 0, 0, "0.0061"),
        ("2026-03-02T10:00:00Z", "KWD", "1.005", 10_050, 302, "3.005"),  # 3.020025
        ("2026-03-02T10:00:00Z", "KWD", "0.001", 10, 0, "3.005"),
        ("2026-03-02T10:00:00Z", "CLF", "0.0001", 1, 0, "35.55"),
        ("2026-03-02T10:00:00Z", "CLF", "2.5001", 25_001, 8_888, "35.55"),  # 88.878555
        ("2026-03-02T23:59:59Z", "GBP", "10.00", 100_000, None, None),
        ("2026-03-03T00:00:00Z", "GBP", "10.00", 100_000, 1_150, "1.15"),
        ("2026-03-02T10:00:00Z", "EUR", "12.34", 123_400, 1_234, None),
        ("2026-03-02T10:00:00Z", "CHF", "12.34", 123_400, None, None),
        ("2026-03-02T10:00:00Z", "EUR", None, None, None, None),
    ],
)
def test_twenty_amounts_by_hand(at, currency, sent, original, amount, rate):
    assert admitted({"at": at, "currency": currency, "amount": sent}) == (original, amount, rate)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"currency": "JPY", "amount": "12.5"},
            "amount: expected an amount in JPY with at most 0 decimal places; found",
        ),
        ({"currency": "KWD", "amount": "1.0005"}, "amount: expected an amount in KWD with at most 3 decimal places"),
        ({"currency": "USX", "amount": "1"}, "currency: expected a currency of ISO 4217, such as EUR; found 'USX'"),
        ({"currency": "usd", "amount": "1"}, "currency: expected a currency of ISO 4217, such as EUR; found 'usd'"),
        ({"amount": "1"}, "currency: expected a currency of ISO 4217, such as EUR; it is missing"),
        (
            {"currency": "USD", "amount": "x"},
            "amount: expected an amount in USD with at most 2 decimal places; found 'x'",
        ),
        ({"currency": "USD", "amount": {"amount": "1", "currency": "EUR"}}, "found 'EUR' as its currency"),
        (
            {"currency": "JPY", "amount": "100000000001"},
            "'100000000001', above the largest amount with rates, 100,000,000,000 whole units. Convert it to",
        ),
        (
            {"currency": "KWD", "amount": "-100000000000.001"},
            "found '-100000000000.001', above the largest amount with rates",
        ),
        ({"currency": "USD", "amount": "-1.00"}, "amount: expected an amount, at least 0; found -1"),
        ({"currency": "USD", "amount.rate": "2"}, "amount.rate: the event type declares no such field"),
    ],
)
def test_what_is_no_amount_is_refused_by_its_field_and_currency(fields, words):
    with pytest.raises(InputError) as raised:
        admitted({"at": "2026-03-01T10:00:00Z"} | fields)

    assert words in str(raised.value)
    assert "places: " not in str(raised.value), "no setting gives another currency more places"


def test_an_amount_may_name_its_currency_itself():
    sent = {"at": "2026-03-01T10:00:00Z", "currency": "USD", "amount": {"amount": "1.00", "currency": "USD"}}

    assert admitted(sent) == (10_000, 90, "0.9")


ONE, TOP = FILES["events.yaml"], "shroff: 1\nname: fx\nmoney: "


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shroff.yaml": TOP + "EUR\n"}, "payment has money in other currencies"),
        ({"shroff.yaml": TOP + "{ currency: EUR, rates: fxx }\n"}, "declares no table 'fxx'. Did you mean fx?"),
        ({"events.yaml": ONE.replace("from: valid_from, ", "")}, "tables.fx table fx has no rates"),
        ({"events.yaml": ONE.replace("in currency", "in curency")}, "amount is money in curency, which is not a field"),
        ({"events.yaml": ONE.replace("currency: text?", "currency: text? hashed")}, "is not a field that holds a code"),
        ({"events.yaml": ONE.replace("money? in currency", "text? in currency")}, "'in' is not a mark of a field."),
        ({"tables/fx.csv": RATES + "USX,2026-03-01,1\n"}, "tables/fx.csv:8  'USX' is not a currency of ISO 4217."),
        ({"tables/fx.csv": RATES + "CHF,2026-03-01,0.00\n"}, "tables/fx.csv:8  the rate of CHF is 0.00; it is above 0"),
        ({"tables/fx.csv": RATES + "CHF,2026-03-01,\n"}, "the rate of CHF is empty"),
        ({"tables/fx.csv": RATES + "EUR,2026-03-01,1\n"}, "tables/fx.csv:8  EUR is the project's own currency"),
        ({"tables/fx.csv": RATES + "USD,2026-03-01,1\n"}, "fx.csv:8  'USD' is in line 2 too, from the same time."),
        ({"tables/fx.csv": RATES + "CHF,,1\n"}, "tables/fx.csv:8  valid_from: the cell is empty."),
        ({"features.yaml": "card:\n  a: last(original(payment.card))\n"}, "is text and no amount in another"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_cure(changes, words):
    assert any(words in problem for problem in problems_of(changes)), problems_of(changes)


def test_a_row_of_a_table_by_time_is_read_as_of_the_event():
    found = problems_of({"features.yaml": "card:\n  now: tables.fx[this.currency].rate\n"})

    assert found == []


def test_a_preview_of_a_file_has_the_amounts_that_ingest_gives(tmp_path):
    folder = write_files(tmp_path / "fx", FILES | {"tables/fx.csv": RATES})
    rows = [{"id": code, "at": "2026-03-02T10:00:00Z", "card": "c", "currency": code, "amount": "5"} for code in SENT]
    (file := tmp_path / "sent.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    project = shroff.open(folder)
    shown = rows_of_file(project, project.definitions, file, "payment", shown=len(rows))["rows"]
    project.ingest(file, as_type="payment")

    amounts = [None if row["fields"]["amount"] == "missing" else row["fields"]["amount"] for row in shown]
    frame = project.decisions()
    assert amounts == frame["amount"].to_pylist() == ["5.00", "4.50", "0.03", None]
    assert run(["-C", str(folder), "export", "decisions", "--out", str(out := tmp_path / "d.parquet")]) == 0
    assert pq.read_table(out).equals(frame), "as export gives it"
    again = project.decide(rows, as_type="payment").to_arrow()
    assert again.drop_columns("error").equals(frame)
