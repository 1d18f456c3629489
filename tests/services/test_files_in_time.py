"""Features and training straight from files refuse the rows that a log would: mistyped years, and the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv as pa_csv
from pyarrow import parquet as pq

from shroff.log.columns.tables import Way
from shroff.services import project as app
from tests.support.learnable import FILES, make_project

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
COUNT, SLIP, FUTURE = 3_000, 1_500, 2_000


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    return make_project(tmp_path / "bank", model=FILES["model.yaml"], policy="")


def rows(slip: str = "2025-02-01T00:00:00Z", future: str = "2062-01-01T00:00:00Z") -> list[dict[str, str]]:
    """Payments of some years, an hour and a half apart; one has the year of another, and one lies ahead."""
    found = [
        {
            "id": f"p{number}",
            "at": f"{FIRST + timedelta(minutes=90 * number):%Y-%m-%dT%H:%M:%SZ}",
            "card": f"c{number % 7}",
            "amount": "10.00",
            "channel": "web",
        }
        for number in range(COUNT)
    ]
    found[SLIP]["at"], found[FUTURE]["at"] = slip or found[SLIP]["at"], future or found[FUTURE]["at"]
    return found


def written(path: Path, given: list[dict[str, str]]) -> Path:
    table = pa.Table.from_pylist(given)
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    elif path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=500)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_features_of_files_are_those_of_a_log_of_them(bank: Path, tmp_path: Path, ending: str):
    path = written(tmp_path / f"f{ending}", rows())
    project = app.open(bank)
    project.ingest([path], as_type="payment")
    logged = project.features("payment")
    for engine in ("batch", "online", "naive"):
        report = project.tables.write_features("payment", [path], tmp_path / "out.parquet", Way(engine))
        assert (report.left.refused, report.left.too_late, report.rows) == (2, 0, COUNT - 2)
        reasons = [item.reason for item in report.left.first]
        assert "is far after the rows around it" in reasons[0]
        assert "ahead in shroff.yaml allows 1d" in reasons[1]
        counted = pq.read_table(tmp_path / "out.parquet")
        assert counted["card.payments_1d"].to_pylist() == logged["card.payments_1d"].to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_files_without_a_slip_lose_nothing(bank: Path, tmp_path: Path, ending: str):
    given = rows("", "")
    gap = [{**row, "at": row["at"].replace("2020-0", "2022-0")} if at > SLIP else row for at, row in enumerate(given)]
    path = written(tmp_path / f"f{ending}", gap)

    report = app.open(bank).tables.write_features("payment", [path], tmp_path / "out.parquet", Way("batch"))
    assert report.left.refused == 0
