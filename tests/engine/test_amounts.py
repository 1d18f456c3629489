"""Amounts of one currency alone, as columns: no rate is in a whole batch, and no amount in another."""

from __future__ import annotations

import json

import pytest

from shroff.log.columns import file_runs
from shroff.services import project as app
from tests.laws.test_currencies import FILES
from tests.support.projects import write_files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"currency": "EUR", "amount": "12.30"}, ["12.30", "12.3", "EUR", None]),
        ({"currency": "CZK", "amount": "12.30"}, [None, "12.3", "CZK", None]),
        ({"currency": "EUR"}, [None, None, "EUR", None]),
        ({}, [None, None, None, None]),
        (
            {"currency": "KWD", "amount": "99999999999"},
            [None, "99999999999", "KWD", "999"],
        ),  # beyond the largest amount
    ],
)
def test_a_batch_of_one_currency_is_written_and_a_remark_says_only_that_no_rate_was_valid(
    tmp_path, monkeypatch, fields, shown
):
    monkeypatch.setattr(file_runs, "COLUMNS_MIN", 1)
    lines = [
        {"id": f"p{number}", "at": f"2026-03-01T10:{number:02d}:00Z", "card": "c"} | fields for number in range(40)
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = {"tables/fx.csv": "currency,valid_from,rate\nUSD,2026-03-01,0.9\nKWD,2026-03-01,999\n"}
    project = app.open(write_files(tmp_path / "fx", FILES | table))
    project.ingest(tmp_path / "events.jsonl", as_type="payment")
    (single,) = project.decide([lines[0] | {"id": "single"}])
    with project.log.reading() as log:
        documents = [json.loads(row.document) for rows in log.decisions.after() for row in rows]

    assert len(documents) == 41
    assert [single.amount, single.original, single.currency, single.rate] == shown
    assert all(
        [document[name] for name in ("amount", "original", "currency", "rate")] == shown for document in documents
    )
    assert all((document["remark"] is not None) == (fields.get("currency") == "CZK") for document in documents)
