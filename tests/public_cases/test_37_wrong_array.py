"""Of several arrays of a message the one with times, then with most items, has the events."""

from __future__ import annotations

import json

import pytest

from tests.public_cases import mapping_of, proposed
from tests.support.beside import beside

ITEMS = [{"id": f"t{n}", "at": f"2026-03-0{n}T10:00:00Z", "amount": f"{n}.50"} for n in range(1, 5)]
ACCOUNTS = [{"account": f"a{n}", "name": "x", "kind": "y"} for n in range(9)]


def test_transactions_are_the_events_of_an_answer_with_accounts(tmp_path):
    project, _ = proposed(beside("files", "37-wrong-array", "plaid.json"), tmp_path / "p")

    assert "each: row.transactions" in mapping_of(project)
    assert project.events("payment").num_rows == 6


@pytest.mark.parametrize(
    "message",
    [
        {"accounts": ACCOUNTS, "booked": ITEMS},
        {"booked": ITEMS, "accounts": ACCOUNTS},
        {"data": {"links": [{"href": "x"}], "booked": ITEMS}, **{f"more{n}": n for n in range(9)}},
        {"booked": [{**item, "at": 1_767_225_600 + 90_000 * n} for n, item in enumerate(ITEMS)], "accounts": ACCOUNTS},
    ],
)
def test_the_array_with_times_is_taken(tmp_path, message):
    file = tmp_path / "f.json"
    file.write_text(json.dumps(message))
    project, _ = proposed(file, tmp_path / "p")

    assert project.events("payment").num_rows == 4
