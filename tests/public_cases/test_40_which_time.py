"""The time of an event is when it happened, not when a policy, an account or a life began."""

from __future__ import annotations

import pytest

from tests.public_cases import planned
from tests.support.beside import beside


def test_the_time_of_a_claim(tmp_path):
    plans, _ = planned(beside("files", "40-which-time", "claims.csv").read_text(), tmp_path)

    assert plans["incident_date"].role == "time"
    assert "policy_bind_date" in plans["incident_date"].also


@pytest.mark.parametrize(
    ("other", "column"),
    [
        ("account_opened", "paid_at"),
        ("date_of_birth", "transaction_date"),
        ("card_issued", "purchase_time"),
        ("policy_start", "claim_date"),
        ("member_since", "event_time"),
        ("registered_on", "date"),
    ],
)
def test_a_time_beside_an_earlier_one(tmp_path, other, column):
    rows = [
        f"p{n},{1990 + 5 * n % 20}-0{n % 9 + 1}-11,2026-03-{n:02},c{n % 3},{n * 7}.50,{int(n % 5 == 0)}"
        for n in range(1, 25)
    ]
    plans, _ = planned("\n".join([f"id,{other},{column},card,amount,is_fraud", *rows]), tmp_path)

    assert plans[column].role == "time"
