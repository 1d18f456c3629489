"""Whole numbers beside a currency are smallest units in a provider's JSON, and asked about in a CSV; never in silence.

Files of providers are those of `files/32-smallest-units` beside the clone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shroff.services import project as app
from tests.support.beside import beside

pytestmark = pytest.mark.slow


def line(number: int, amount: object, currency: str) -> dict[str, Any]:
    """A payment of a provider."""
    return {
        "id": f"pay_{number}",
        "created_at": f"2026-01-05T09:{number:02d}:00Z",
        "card": f"c{number % 2}",
        "money": {"amount": amount, "currency": currency},
    }


def proposed(folder: Path, file: Path) -> tuple[app.Project, list[str]]:
    """The project that is proposed from a file, which it has taken whole."""
    project, _, proposal = app.propose_project(folder / "bank", file, None)
    project.ingest([file])
    return project, proposal.guesses


def taken(project: app.Project, name: str) -> list[str]:
    return [str(amount) for amount in project.events("payment")[name].to_pylist()]


@pytest.mark.parametrize(
    ("name", "field", "first"),
    [
        ("razorpay.jsonl", "amount", ["0.99", "500.00", "1299.00"]),
        ("checkout.jsonl", "amount", ["25.99", "10.00", "10.00"]),
        ("klarna.jsonl", "order_amount", ["2599.00", "100.00", "100.00"]),
        ("square.json", "amount", ["0.05", "10.00", "1.00"]),
    ],
)
def test_amounts_of_providers_are_taken_in_units_and_the_guess_is_told(tmp_path, name, field, first):
    file = beside("files", "32-smallest-units", name)
    project, guesses = proposed(tmp_path, file)

    assert taken(project, field)[:3] == first
    assert any(guess.startswith(f"{field}: whole numbers beside") for guess in guesses)


def test_currencies_with_other_places_are_read_by_their_own(tmp_path):
    lines = [line(n, 12_346, code) for n, code in enumerate(["EUR", "USD", "JPY", "KWD", "EUR", "GBP"])]
    file = tmp_path / "mixed.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    project, _, _ = app.propose_project(tmp_path / "bank", file, None)
    (tmp_path / "bank/tables/fx.csv").write_text(
        "currency,valid_from,rate\n" + "".join(f"{code},2026-01-01,1\n" for code in ["USD", "JPY", "KWD", "GBP"])
    )
    project = app.open(tmp_path / "bank")
    project.ingest([file])

    assert taken(project, "amount") == ["123.46", "123.46", "12346.00", "12.35", "123.46", "123.46"]


def test_a_later_currency_is_read_in_hundredths_though_most_of_the_file_have_no_places(tmp_path):
    file = tmp_path / "few.jsonl"
    lines = [line(n, 12_346, "EUR JPY KRW".split()[n % 3]) for n in range(6)]
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    _, guesses = proposed(tmp_path, file)

    assert any("so 12346 is 123.46" in guess for guess in guesses)
    assert "else money(integer(row.money.amount) * 0.01)" in (tmp_path / "bank/events.yaml").read_text()


@pytest.mark.parametrize("amount", ["12.50", 12.5, "1250"])
def test_a_fraction_or_a_text_in_json_is_read_as_it_is(tmp_path, amount):
    file = tmp_path / "units.jsonl"
    file.write_text("".join(json.dumps(line(n, amount, "EUR")) + "\n" for n in range(5)))
    project, guesses = proposed(tmp_path, file)

    assert taken(project, "amount") == [f"{float(amount):.2f}"] * 5
    assert any("are they smallest units" in guess for guess in guesses) == (amount == "1250")


def test_a_currency_without_places_is_its_own_smallest_unit(tmp_path):
    file = tmp_path / "yen.jsonl"
    file.write_text("".join(json.dumps(line(n, 1250, "JPY")) + "\n" for n in range(5)))
    project, guesses = proposed(tmp_path, file)

    assert taken(project, "amount") == ["1250"] * 5
    assert not any("smallest" in guess for guess in guesses)


def test_whole_numbers_of_a_csv_are_taken_as_units_and_asked_about(tmp_path):
    file = tmp_path / "payments.csv"
    file.write_text(
        "payment_id,paid_at,card,amount,currency\n"
        + "".join(f"p{n},2026-01-05T09:0{n}:00Z,c{n % 2},{n}2599,EUR\n" for n in range(1, 6))
    )
    project, _, proposal = app.propose_project(tmp_path / "bank", file, None)
    guesses = proposal.guesses
    project.ingest([file])

    assert taken(project, "amount")[0] == "12599.00"
    (told,) = (guess for guess in guesses if guess.startswith("amount"))
    assert "are they smallest units, so that 52599 is 525.99? --role cents=amount reads them so" in told
