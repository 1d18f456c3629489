"""The amount of an event is neither a part of it nor what came of it later."""

from __future__ import annotations

import pytest

from tests.public_cases import planned
from tests.support.beside import beside


@pytest.mark.parametrize(("name", "column"), [("shopify", "Total"), ("loans", "loan_amnt")])
def test_the_amount_of_a_sale_and_of_a_loan(tmp_path, name, column):
    plans, _ = planned(beside("files", "39-which-amount", f"{name}.csv").read_text(), tmp_path)

    assert plans[column].role == "money"


@pytest.mark.parametrize(
    ("other", "column", "value"),
    [
        ("refunded_amount", "amount", "0.00"),
        ("discount", "total", "1.00"),
        ("fee", "amount", "0.30"),
        ("tax_amount", "amount", "1.90"),
    ],
)
def test_an_amount_beside_another_one(tmp_path, other, column, value):
    rows = [f"p{n},2026-03-01T10:00:{n:02}Z,c{n % 3},{value},{n * 7}.50" for n in range(1, 13)]
    plans, _ = planned("\n".join([f"id,at,card,{other},{column}", *rows]), tmp_path)

    assert plans[column].role == "money"
