"""A role that the user gave to a column has an effect, or is refused; no other role takes its column."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from shroff.errors import UsageError
from shroff.services import project as app
from shroff.services.proposals.proposing import ProposedProject

pytestmark = pytest.mark.slow
LINES = 30
WEI = [f"{number}5{'0' * (16 + number % 3)}" for number in range(1, LINES + 1)]


def csv_file(folder: Path, header: str, line: str, lines: int = LINES) -> Path:
    """A CSV file whose lines differ by `{n}`, and by `{d}` of two digits."""
    file = folder / "march.csv"
    file.write_text(f"{header}\n" + "".join(f"{line.format(n=n, d=f'{n:02d}')}\n" for n in range(10, 10 + lines)))
    return file


def proposed(file: Path, *ignored: str, **roles: str) -> ProposedProject:
    return app.propose_project(file.parent / "bank", file, roles=roles, ignored=ignored)[2]


def roles_of(proposal: ProposedProject) -> dict[str, str]:
    """Columns by role."""
    return {document["role"]: document["column"] for document in proposal.columns if document["role"]}


def example(proposal: ProposedProject, column: str) -> str:
    return next(str(document["example"]) for document in proposal.columns if document["column"] == column)


def payments(folder: Path) -> Path:
    header = "ref,booked_at,reported_at,card,amount,total,empty,is_fraud"
    line = "r{n},2026-03-01T10:{d}:00Z,2026-03-02T10:{d}:00Z,c{d[0]},{n}.25,{n}.75,,{d[0]}"
    text = csv_file(folder, header, line).read_text().replace(",3\n", ",0\n").replace(",2\n", ",0\n")
    (folder / "march.csv").write_text(text)
    return folder / "march.csv"


def iso_8583(file: Path, sent_at: str = "0301101500") -> Path:
    """Messages with fields by their numbers."""
    lines = [
        {
            "2": f"411111111111{number % 5:04d}",
            "3": "000000",
            "4": f"{1250 + number:012d}",
            "7": sent_at and f"03011015{number:02d}",
            "11": f"{number:06d}",
            "18": "5411",
            "37": f"{600_100_000_000 + number}",
            "41": f"TERM{number % 4}",
            "49": "978",
        }
        for number in range(LINES)
    ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


@pytest.mark.parametrize("column", ["EUR", "USD"])
def test_an_amount_is_taken_from_a_column_that_is_called_like_a_currency(tmp_path, column):
    file = csv_file(tmp_path, "id,date,EUR,USD", "p{n},2026-03-01T10:{d}:00Z,{n}.25,{n}.75")

    assert roles_of(proposed(file, money=column))["money"] == column


@pytest.mark.parametrize(
    "roles",
    [
        {"money": "amount", "cents": "total"},
        {"units": "total", "money": "amount"},
        {"cents": "a", "units": "b"},
        {"cents": "a", "units": "a"},
    ],
)
def test_an_amount_that_is_settled_in_two_columns_is_refused(tmp_path, roles):
    file = csv_file(tmp_path, "id,at,amount,total,a,b", "p{n},2026-03-01T10:{d}:00Z,{n}00,{n}50,{n},{n}1")

    with pytest.raises(UsageError, match=r"is the amount|of one amount"):
        proposed(file, **roles)


@pytest.mark.parametrize(("roles", "first"), [({"units": "value"}, "1.5e+18 "), ({}, "1.5 ")])
def test_whole_numbers_of_a_token_are_read_as_they_are_if_the_user_says_so(tmp_path, roles, first):
    file = tmp_path / "wei.csv"
    lines = (f"h{at},2026-03-01T10:{at:02d}:00Z,w{at % 5},{value}\n" for at, value in enumerate(WEI))
    file.write_text("hash,at,sender,value\n" + "".join(lines))
    proposal = proposed(file, **roles)

    assert example(proposal, "value").startswith(first)
    assert proposal.tried["refused"] == 0


@pytest.mark.parametrize(("role", "amount"), [("units", "1250.00 EUR"), ("cents", "12.50 EUR"), ("money", "12.50 EUR")])
def test_the_amount_of_numbered_fields_is_read_as_the_user_says(tmp_path, role, amount):
    proposal = proposed(iso_8583(tmp_path / "messages.jsonl"), **{role: "4"})

    assert example(proposal, "amount_4").startswith(amount)
    assert proposal.tried["refused"] == 0


@pytest.mark.parametrize(
    ("names", "line", "amounts"),
    [
        ("amount,cents", "{n},{d}", ["10.10", "11.11", "12.12"]),
        ("amount_units,amount_cents", "-{n},{d}", ["-10.10", "-11.11", "-12.12"]),
        ("amount,amount_cents", "-0,0{d[1]}", ["0.00", "-0.01", "-0.02"]),
        ("amount,fee_cents", "{n},{d}", ["10.00", "11.00", "12.00"]),
        ("amount,cents", "{n},{d}00", ["10.00", "11.00", "12.00"]),
        ("amount,amount_minor", "{n},{d}", ["10.10", "11.11", "12.12"]),
        ("amount,minor", "{n},{d}", ["10.00", "11.00", "12.00"]),  # such as the age of somebody under age
        ("amount,fraction", "{n},{d}", ["10.00", "11.00", "12.00"]),
        ("amount,cents", "{n},1", ["10.00", "11.00", "12.00"]),  # a flag
    ],
)
def test_an_amount_has_its_hundredths_in_a_column_of_their_own(tmp_path, names, line, amounts):
    proposal = proposed(csv_file(tmp_path, f"id,at,card,{names}", "p{n},2026-03-01T10:{d}:00Z,c{d[0]}," + line))

    assert example(proposal, names.partition(",")[0]) == " · ".join(f"{amount} EUR" for amount in amounts)
    assert proposal.tried["refused"] == 0


@pytest.mark.parametrize(
    ("roles", "amount", "choices"),
    [
        ({}, "10.10", [["amount", "units=amount"]]),
        ({"money": "amount"}, "10.10", [["amount", "units=amount"]]),
        ({"units": "amount"}, "10.00", []),
    ],
)
def test_hundredths_in_a_column_of_their_own_are_a_question_that_a_role_answers(tmp_path, roles, amount, choices):
    file = csv_file(tmp_path, "id,at,card,amount,cents", "p{n},2026-03-01T10:{d}:00Z,c{d[0]},{n},{d}")
    proposal = proposed(file, **roles)

    assert example(proposal, "amount").startswith(f"{amount} EUR")
    assert [question["choices"] for question in proposal.questions if question["role"] == "money"] == choices


@pytest.mark.parametrize(("code", "amount"), [("978", "12.50 EUR"), ("392", "1250 JPY"), ("840 978", "12.50 USD")])
def test_the_number_of_a_currency_is_its_code(tmp_path, code, amount):
    file = iso_8583(tmp_path / "messages.jsonl")
    lines = file.read_text().replace("978", code.split()[0]).splitlines()
    lines[-1] = lines[-1].replace(code.split()[0], code.split()[-1])
    file.write_text("\n".join(lines))
    proposal = proposed(file)

    assert example(proposal, "amount_4").startswith(amount)
    assert proposal.tried["refused"] == 0


def test_a_numbered_time_that_lost_its_zero_as_a_number_of_json_is_read(tmp_path):
    file = iso_8583(tmp_path / "messages.jsonl")
    file.write_text(re.sub(r'"7": "0(\d+)"', r'"7": \1', file.read_text()))
    proposal = proposed(file)

    assert "1 March 2026, 10:15:01 UTC" in example(proposal, "sent_at_7")
    assert proposal.tried["refused"] == 0


def test_a_date_that_is_the_entity_is_not_called_unreadable(tmp_path):
    file = csv_file(tmp_path, "id,date,amount", "p{n},2026-03-01T10:{d}:00Z,{n}.25")
    proposal = proposed(file, entity="date")

    assert [guess for guess in proposal.guesses if "each line is a second" in guess] == [
        "paid_at: no column has the time, so each line is a second after the one before"
    ]


@pytest.mark.parametrize("time", ["2026-03-01 10:{d}:00,123", "2026-03-01T10:{d}:00,123Z", "01.03.2026 10:{d}:00,123"])
def test_a_comma_before_the_fraction_of_a_second_is_read(tmp_path, time):
    proposal = proposed(csv_file(tmp_path, "id;at;amount", f"p{{n}};{time};{{n}},50"))

    assert example(proposal, "at").startswith("1 March 2026, 10:10:00.123 UTC")
    assert example(proposal, "amount").startswith("10.50 EUR")


def test_a_clock_of_its_own_has_a_fraction(tmp_path):
    proposal = proposed(csv_file(tmp_path, "id,date,time,amount", "p{n},2026-03-01,10:{d}:00.250,{n}.50"))

    assert example(proposal, "date").startswith("1 March 2026, 10:10:00.250 UTC")


@pytest.mark.parametrize("header", ["id,at,card,amount,currency", "id,at,card,amount,note"])
def test_cents_that_are_written_as_floats_are_cents(tmp_path, header):
    file = csv_file(tmp_path, header, "p{n},2026-03-01T10:{d}:00Z,c{d[0]},12{n}.0,EUR")
    proposal = proposed(file, cents="amount")

    assert example(proposal, "amount").startswith("12.10 EUR")
    assert proposal.tried["refused"] == 0


@pytest.mark.parametrize("header", ["id,at,card,amount,currency", "id,at,card,amount,note"])
def test_cents_with_fractions_are_refused(tmp_path, header):
    file = csv_file(tmp_path, header, "p{n},2026-03-01T10:{d}:00Z,c{d[0]},12.{n},EUR")

    with pytest.raises(UsageError, match="cannot be read as whole numbers of cents"):
        proposed(file, cents="amount")


@pytest.mark.parametrize(
    ("column", "was"), [("ref", "id"), ("booked_at", "time"), ("is_fraud", "label"), ("amount", "money")]
)
def test_an_entity_is_the_users_column_though_another_role_would_take_it(tmp_path, column, was):
    file = payments(tmp_path)
    assert roles_of(proposed(file, "total"))[was] == column
    proposal = app.propose_project(tmp_path / "other", file, roles={"entity": column}, ignored=["total"])[2]

    assert next(document["role"] for document in proposal.columns if document["column"] == column) == "entity"
    assert roles_of(proposal).get(was) != column
    assert proposal.tried["refused"] == 0


@pytest.mark.parametrize(
    ("roles", "ignored"),
    [({"entity": "empty"}, ()), ({"entity": "card"}, ("card",)), ({"entity": "ref", "id": "ref"}, ())],
)
def test_an_entity_that_would_have_no_effect_is_refused(tmp_path, roles, ignored):
    with pytest.raises(UsageError, match="cannot be read as a key that is nothing else"):
        proposed(payments(tmp_path), *ignored, **roles)


def test_the_time_of_verdicts_without_a_label_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read as the time of a label"):
        proposed(payments(tmp_path), "is_fraud", label_time="reported_at")


def test_the_event_has_another_time_than_its_verdict(tmp_path):
    assert roles_of(proposed(payments(tmp_path), label_time="booked_at"))["time"] == "reported_at"


def test_the_time_of_verdicts_is_taken_beside_a_time_of_several_columns(tmp_path):
    header = "id,year,month,day,clock,known,amount,is_fraud"
    file = csv_file(tmp_path, header, "p{n},2026,3,1,10:{d}:00,2026-03-02T10:{d}:00Z,{n}.25,0")
    proposal = proposed(file, label_time="known")

    assert roles_of(proposal)["label_time"] == "known"
    assert "known_at: time(row.known)" in (tmp_path / "bank/events.yaml").read_text()
    assert proposal.tried["labels"] == LINES


def test_messages_without_their_time_are_read_by_their_other_fields(tmp_path):
    proposal = proposed(iso_8583(tmp_path / "messages.jsonl", sent_at=""))

    assert roles_of(proposal)["money"] == "amount_4"
    assert "time" not in roles_of(proposal)


@pytest.mark.parametrize("values", [range(50), [0.5] * 50])
def test_numbered_columns_of_a_data_frame_are_no_fields_of_messages(tmp_path, values):
    file = tmp_path / "features.jsonl"
    lines = [{str(at): value * (1 + line) for at, value in enumerate(values)} for line in range(LINES)]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    columns = {document["column"] for document in proposed(file).columns}

    assert columns == {str(at) for at in range(50)}


def test_numbered_fields_are_settled_by_their_numbers(tmp_path):
    proposal = proposed(iso_8583(tmp_path / "messages.jsonl"), "2", id="11")
    columns = {document["column"]: document for document in proposal.columns}

    assert columns["trace_code_11"]["role"] == "id"
    assert columns["card_number_2"]["field"] is None


def test_rates_are_asked_for_beside_the_currency_that_the_user_names(tmp_path):
    file = csv_file(tmp_path, "id,at,amount,currency", "p{n},2026-03-01T10:{d}:00Z,{n}.25,EUR")
    file.write_text(file.read_text().replace("19.25,EUR", "19.25,GBP"))
    proposed(file, currency="USD")
    settings = (tmp_path / "bank" / "shroff.yaml").read_text()

    assert "{ currency: USD, rates: fx }" in settings
    assert "fill tables/fx.csv with rates" in settings
    assert "most frequent" not in settings
