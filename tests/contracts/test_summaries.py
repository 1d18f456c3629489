"""What tables of summaries promise, in each database: the same rows, and several writers that do no harm."""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.databases.sql_database import SqlDatabase
from shroff.adapters.summaries.sql import SqlSummaries
from shroff.analytics.summaries import SummaryRow, WindowSummary
from shroff.errors import UsageError
from shroff.project.settings.summaries import SummarySettings

START_MS = 1_780_000_200_000
EVERY_MS = 300_000


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/s.db"
    return str(request.getfixturevalue(request.param).address)


@pytest.fixture
def settings() -> SummarySettings:
    table = f"s{uuid.uuid4().hex[:12]}"
    return SummarySettings("", "payment", {"land": "country", "order": "kind"}, table=table, fraud_table=f"{table}_f")


def opened(address: str, settings: SummarySettings, now_ms: int = START_MS) -> Any:
    return closing(SqlSummaries(address, settings, ("GBP", 2), lambda: now_ms))


def window(number: int, count: int = 2, confirmed: int = 0) -> WindowSummary:
    lands = {"DE": count, "ä \"'%": 1} if count else {}
    average = Decimal("10.0350") if count else None
    all_ = SummaryRow(
        {"land": lands, "order": {}}, count, Decimal(count) * Decimal("10.035") + Decimal("0.00"), average, 0
    )
    fraud = SummaryRow({"land": {}, "order": {}}, 0, Decimal("0.00"), None, confirmed)
    return WindowSummary(START_MS + number * EVERY_MS, START_MS + (number + 1) * EVERY_MS, all_, fraud)


def rows(address: str, table: str) -> list[tuple[Any, ...]]:
    """The rows of a table or view by hand, as each driver gives them, made alike."""
    database = SqlDatabase(address, "a test")
    with closing(database), database.begun() as connection:
        found = connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY window_start").fetchall()
    return [tuple(map(alike, row)) for row in found]


def alike(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Decimal | float):
        return Decimal(str(value)).normalize()
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, str) and value[:4].isdecimal():
        return datetime.fromisoformat(value)
    return value


def at(number: int) -> datetime:
    return datetime.fromtimestamp((START_MS + number * EVERY_MS) / 1_000, UTC).replace(tzinfo=None)


def test_rows_and_views_are_the_same_in_every_database(address: str, settings: SummarySettings):
    with opened(address, settings) as store:
        store.begin((7,))

        assert store.write([window(0), window(1, 0, 3)], (7,), START_MS + 2 * EVERY_MS) == 4
        assert store.write([window(0), window(1, 0, 3)], (7,)) == 0
        assert store.written([START_MS, START_MS + EVERY_MS, START_MS + 2 * EVERY_MS]) == [
            START_MS,
            START_MS + EVERY_MS,
        ]
        assert store.followed() == ((7,), START_MS + 2 * EVERY_MS)
    counts = ['{"DE": 2, "ä \\"\'%": 1}', "{}"]
    one = (at(0), at(1), 0, at(0), *counts, 2, Decimal("20.07"), Decimal("10.035"), "GBP", 0, 0)
    none = (at(1), at(2), 0, at(0), "{}", "{}", 0, alike(0.0), None, "GBP", 0, 0)
    assert [tuple(map(alike, row)) for row in rows(address, settings.table)] == [
        tuple(map(alike, one)),
        tuple(map(alike, none)),
    ]
    assert [row[-1] for row in rows(address, settings.fraud_table)] == [0, 3]
    assert [row[7:9] for row in rows(address, f"{settings.table}_text")] == [("£20.07", "£10.04"), ("£0.00", None)]


def test_an_older_row_never_takes_the_place_of_a_newer_one(address: str, settings: SummarySettings):
    with opened(address, settings) as one, opened(address, settings, START_MS + 1) as other:
        assert one.begin((5, 5)) == other.begin((6, 5)) == ((5, 5), None)

        assert other.write([window(0, 3)], (6, 5)) == 2
        assert one.write([window(0, 2)], (5, 5)) is None
        assert one.write([window(0, 2)], (5, 9)) is None
        assert one.write([window(0, 4)], (6, 6)) == 1
        one.settle((6, 6))
        other.settle((6, 5))
        assert other.followed() == ((6, 6), None)
    assert [row[2:4] for row in rows(address, settings.table)] == [(1, at(0))]


def test_tables_of_other_settings_or_of_a_longer_log_are_refused(address: str, settings: SummarySettings):
    with opened(address, settings) as store:
        store.begin((9,))
        with pytest.raises(UsageError, match=r"of a longer log.*Name other tables"):
            store.begin((8,))
    settings = SummarySettings(
        **{**{k: getattr(settings, k) for k in settings.__slots__}, "every_ms": 60_000, "amount": "x"}
    )
    with opened(address, settings) as store, pytest.raises(UsageError, match=r"\(amount, every_ms differ\)"):
        store.begin((9,))
