"""Summaries are those of the plain definition: each event in one window, each window with a row, again the same."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.summarized import BEGIN_MS, COLUMNS, EVERY_MS, Bank, bank_in, by_definition, text_of, week

FIRST_MS = BEGIN_MS - BEGIN_MS % EVERY_MS
TABLES = ("transaction_summaries", "fraud_summaries")


def rows_of(bank: Bank, table: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(bank.folder / "summaries.db")) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(f'SELECT * FROM "{table}" ORDER BY window_start')]


def ms_of(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def summarized(bank: Bank) -> list[tuple[Any, ...]]:
    """The rows that are there, in the form of the definition."""
    found = []
    all_, fraud = (rows_of(bank, table) for table in TABLES)
    for one, other in zip(all_, fraud, strict=True):
        assert one["window_start"] == other["window_start"]
        start = ms_of(one["window_start"])
        assert ms_of(one["window_end"]) == ms_of(other["window_end"]) == start + EVERY_MS
        found.append((start, _content(one), one["fraud_count"], _content(other)))
    return found


def _content(row: dict[str, Any]) -> tuple[Any, ...]:
    counts = {column: json.loads(row[column]) for column in COLUMNS}
    assert all(list(one) == sorted(one) for one in counts.values())
    average = row["average_amount"]
    exact = None if average is None else Decimal(str(average))
    return counts, row["transaction_count"], Decimal(str(row["amount_sum"])), exact, row["confirmed_fraud_count"]


@pytest.mark.parametrize(("by", "seed"), [("ingest_time", 1), ("event_time", 2)])
def test_every_window_of_a_week_has_the_row_of_the_definition(tmp_path: Path, by: str, seed: int):
    bank = bank_in(tmp_path / "bank", by=by)
    bank.write(week(seed))
    first, last = FIRST_MS - 72 * EVERY_MS, bank.now_ms - bank.now_ms % EVERY_MS + EVERY_MS

    built = bank.project.summaries.build(text_of(first), text_of(last))

    assert built == ((last - first) // EVERY_MS, 2 * built.windows, built.rows)
    found = summarized(bank)
    assert found == by_definition(bank, first, last, by)
    assert sum(row[1][1] for row in found) == len(bank.events) > 100
    assert sum(row[1][2] for row in found) == sum(Decimal(one["amount"]) for one in bank.events)


def test_a_rebuild_leaves_every_row_as_it_is_and_a_correction_counts(tmp_path: Path):
    bank = bank_in(tmp_path / "bank")
    batches = week(3, 40)
    bank.write(batches)
    assert bank.project.summaries.build().changed > 0
    before = [rows_of(bank, table) for table in TABLES]
    bank.now_ms += 3_600_000

    assert bank.project.summaries.build(text_of(FIRST_MS), before[0][-1]["window_end"] + "Z").changed == 0
    assert [rows_of(bank, table) for table in TABLES] == before

    name = next(one["id"] for one in bank.events if bank.verdicts.get(one["id"]) != "fraud")
    bank.write([(bank.now_ms, [("label", _label(name, bank.now_ms))])])
    bank.project.summaries.build(text_of(FIRST_MS), before[0][-1]["window_end"] + "Z")
    (changed,) = [row for row, old in zip(rows_of(bank, TABLES[0]), before[0], strict=True) if row != old]
    assert (changed["revision"], changed["created_at"]) == (1, text_of(bank.now_ms)[:-1].replace("T", " "))


def _label(name: str, at_ms: int) -> dict[str, str]:
    return {"event": f"payment/{name}", "verdict": "fraud", "source": "analyst", "known_at": text_of(at_ms)}
