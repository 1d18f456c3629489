"""What an event says to people: which fields, in which order, and how their values are written."""

from __future__ import annotations

import pytest

from shroff.events.definitions import EventType
from shroff.events.summary import summary_of
from shroff.project.definitions import load_definitions
from shroff.services.results.operations import result_fields
from tests.laws.test_currencies import FILES as FILES_OF_CURRENCIES
from tests.support.projects import FILES, definitions

CARD = f"hashed:{'0' * 32}:4417"


def payment(fields: str, summary: str = "") -> EventType:
    lines = f"  id: id\n  time: at\n  decide: true\n  fields: {{ id: text, at: time, {fields} }}\n{summary}"
    return definitions(
        {"events.yaml": f"payment:\n{lines}", "features.yaml": None, "rules/large.yaml": None}
    ).events.types["payment"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("amount: money, card: text", "amount"),
        ("device: text?, shop_country: text, fee: money?, amount: money", "fee shop_country device"),
        ("channel: text, merchant_city: text, merchant: text", "merchant merchant_city channel"),
        ("country: text, city: text, merchant: text, channel: text, device: text, amount: money",
         "amount merchant country city channel"),
        ("note: text", ""),
    ],
)  # fmt: skip
def test_without_a_summary_it_is_the_first_money_and_what_is_named_like_a_place(fields, expected):
    assert " ".join(payment(fields).summary) == expected


def test_a_summary_shows_the_fields_that_it_names_in_its_order_and_no_others():
    shape = payment("amount: money, merchant: text, web: boolean?, parts: integer?, card: text hashed, tip: money?",
                    "  summary: [merchant, parts, amount, web, card, tip]")  # fmt: skip
    found = summary_of(
        shape,
        {"id": "p", "amount": "1661.9", "merchant": "Corvane", "web": True, "parts": 1200, "card": CARD, "tip": "5.00"},
        "EUR",
    )

    assert (found.title, found.amount) == ("1,661.9 EUR to Corvane", "1661.9")
    assert found.rest == ("parts 1,200", "web yes", "•••• 4417", "tip 5.00 EUR")
    assert [(part.label, part.text) for part in found.parts][:2] == [("merchant", "Corvane"), ("parts", "1,200")]


@pytest.mark.parametrize(
    ("fields", "title", "line"),
    [
        ({"amount": "240.00", "merchant_name": "Corvane"}, "240.00 EUR to Corvane", "240.00 EUR to Corvane"),
        ({"amount": "240.00", "channel": "web"}, "240.00 EUR", "240.00 EUR, web"),
        ({"merchant_name": "Corvane", "channel": "web"}, "Corvane", "Corvane, web"),
        ({"channel": "web"}, "web", "web"),
        ({"amount": "5.00", "merchant_city": "Ulm"}, "5.00 EUR", "5.00 EUR, Ulm"),
        ({}, "", ""),
    ],
)
def test_what_is_missing_is_left_out(fields, title, line):
    shape = payment("amount: money?, merchant_name: text?, merchant_city: text?, channel: text?")
    found = summary_of(shape, fields, "EUR")

    assert (found.title, found.line) == (title, line)


def test_a_key_is_called_by_the_field_that_names_it():
    shape = payment("card: text, card_label: text?, shop: text, shop_name: text?, device_name: boolean?")
    named, bare = [
        summary_of(shape, {"card": "c-1", "shop": "m-1", "device_name": True, **more}, "EUR")
        for more in ({"card_label": "•••• 4821", "shop_name": "Corvane"}, {"card_label": None})
    ]

    assert [named.name_of("card", "c-1"), named.name_of("shop", "m-1")] == ["•••• 4821", "Corvane"]
    assert [bare.name_of("card", "c-1"), named.name_of("device", "d-1")] == ["c-1", "d-1"]


def test_a_key_is_called_by_its_name_before_its_label_and_never_by_a_hash():
    fields = {"card": "c-1", "card_name": CARD, "shop": "m-1", "shop_label": "No. 1", "shop_name": "Corvane"}
    shape = payment("card: text, card_name: text? hashed, shop: text, shop_label: text?, shop_name: text?")

    assert summary_of(shape, fields, "EUR").names == {"shop": "Corvane"}
    assert summary_of(shape, {**fields, "shop_name": None}, "EUR").names == {"shop": "No. 1"}


def test_an_event_of_a_type_that_is_not_declared_any_more_says_nothing():
    assert summary_of(None, {"amount": "5.00"}, "EUR").line == ""


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("[amount, merchnat]", "payment has no field 'merchnat'. Did you mean merchant?"),
        ("[amount, mail]", "mail is personal"),
        ("[amount, amount]", "names amount twice"),
        ("amount", "must be a list, not a value"),
    ],
)
def test_check_refuses_a_summary_that_cannot_be_shown(written, words):
    events = FILES["events.yaml"].replace(
        "card: text?, amount: money }",
        f"card: text?, amount: money, merchant: text?, mail: text? personal }}\n  summary: {written}",
    )
    problems = load_definitions({**FILES, "events.yaml": events}).problems

    assert [words in f"{problem.message} {problem.hint}" for problem in problems] == [True]
    assert problems[0].line == 7


@pytest.mark.parametrize("written", ["[card]", "[amount, card]", "[]"])
def test_a_summary_is_in_no_version_and_makes_no_other_type(written):
    events = FILES["events.yaml"].replace("entities:", f"  summary: {written}\nentities:")
    described, plain = definitions({"events.yaml": events}), definitions()

    assert described.versions == plain.versions
    assert described.events == plain.events
    assert described.events.types["payment"].summary != plain.events.types["payment"].summary


def test_an_entity_called_summary_is_in_the_version():
    more = FILES["events.yaml"] + "  summary: { payment: id }\n"

    assert definitions({"events.yaml": more}).versions.definitions != definitions().versions.definitions


def test_an_amount_of_another_currency_stands_beside_the_converted_one():
    given = definitions(FILES_OF_CURRENCIES | {"tables/fx.csv": "currency,valid_from,rate\nJPY,2026-03-01,0.006\n"})
    type_ = given.events.types["payment"]
    says = [
        summary_of(type_, fields, "EUR").money
        for fields in (
            {"amount": "6.00", "amount.original": "1000", "amount.rate": "0.006", "currency": "JPY"},
            {"amount": "12.30", "amount.original": "12.3", "currency": "EUR"},
            {"amount.original": "1.5", "currency": "KWD"},
            {"currency": "KWD"},
        )
    ]

    assert says == ["6.00 EUR (1,000 JPY)", "12.30 EUR", "1.500 KWD", ""]


def test_events_are_counted_by_declared_fields_of_few_values():
    known = definitions(FILES_OF_CURRENCIES | {"tables/fx.csv": "currency,valid_from,rate\n"})
    type_ = known.events.types["payment"]

    assert [field.name for field in type_.fields if field.is_made] == ["amount.original", "amount.rate"]
    assert sorted(type_.countable) == result_fields(known) == ["account", "card", "currency"]
