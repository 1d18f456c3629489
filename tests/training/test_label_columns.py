"""Labels of a Parquet file by columns: what validation gives row by row, or nothing."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.errors import UsageError
from shroff.events.formats.encodings import read_lines
from shroff.events.intake import Intake
from shroff.runtime.values import replace
from shroff.training.sets.label_columns import plain_labels
from tests.support.projects import definitions

MS = pa.timestamp("ms", tz="UTC")
DAY = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
PLAIN = {
    "event": pa.array(["p-1", "p-2", "é", "p-1"]),
    "verdict": pa.array(["fraud", "genuine", "unclear", "fraud"]),
    "source": pa.array(["chargeback", None, "customer", "analyst"]),
    "known_at": pa.array([DAY] * 4, MS),
    "reason": pa.array(["", None, "stolen", "a, b"]),
}


def by_rows(path: Path):
    """The labels as validation reads them; None where it refuses one."""
    project = definitions()
    intake = Intake(project.events, project.settings, None)
    found = [submission.label for submission in intake.submissions(read_lines(path), path.name, "label")]
    return None if None in found else found


def written(folder: Path, columns) -> Path:
    pq.write_table(pa.table(columns), folder / "labels.parquet", row_group_size=3)
    return folder / "labels.parquet"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("left_out", [(), ("source",), ("reason", "source")])
def test_plain_columns_give_what_validation_gives(tmp_path, unit, left_out):
    known_at = PLAIN["known_at"].cast(pa.timestamp(unit, tz="UTC"))
    columns = {**PLAIN, "known_at": known_at, "noted by": pa.array([1, 2, 3, 4])}
    path = written(tmp_path, {name: column for name, column in columns.items() if name not in left_out})

    assert plain_labels(path, definitions().events) == by_rows(path)
    assert len(by_rows(path)) == 4


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("event", pa.array(["p-1", "payment/p-2", "p-3", "p-4"])),
        ("event", pa.array(["p-1", None, "p-3", "p-4"])),
        ("event", pa.array(["p-1", "", "p-3", "p-4"])),
        ("event", pa.array(["p-1", "x" * 201, "p-3", "p-4"])),
        ("event", pa.array([1, 2, 3, 4])),
        ("verdict", pa.array(["fraud", " Fraud", "fraud", "fraud"])),
        ("verdict", pa.array(["fraud", None, "fraud", "fraud"])),
        ("verdict", pa.array(["fraud", "maybe", "fraud", "fraud"])),
        ("source", pa.array(["CHARGEBACK", None, "analyst", "analyst"])),
        ("source", pa.array(["", None, "analyst", "analyst"])),
        ("known_at", pa.array([DAY, None, DAY, DAY], MS)),
        ("known_at", pa.array([DAY.date()] * 4)),
        ("known_at", pa.array(["2026-03-01T00:00:00Z"] * 4)),
        ("known_at", pa.array([-62_135_596_800_001, 0, 0, 0]).cast(MS)),
        ("reason", pa.array(["x" * 65_537, None, None, None])),
        ("amount", pa.array([Decimal("1.50"), None, None, None])),
    ],
)
def test_whatever_is_not_plain_is_left_to_validation(tmp_path, name, column):
    assert plain_labels(written(tmp_path, {**PLAIN, name: column}), definitions().events) is None


def test_columns_and_rows_agree_on_random_files(tmp_path):
    """Whatever is in a file: the columns give what validation gives, or leave it to that."""
    chance, plain = Random(4), 0
    pools = {
        "event": ["p-1", "p-2", "é", "a b", "payment/p-1"],
        "verdict": ["fraud", "genuine", "unclear", "Fraud"],
        "source": ["chargeback", "import", None, ""],
        "reason": ["", None, "stolen", "x" * 300],
    }
    for _ in range(60):
        odd = chance.random() < 0.4
        drawn = {name: [chance.choice(pool if odd else pool[:3]) for _ in range(5)] for name, pool in pools.items()}
        columns = {name: pa.array(values, pa.string()) for name, values in drawn.items()}
        columns["known_at"] = pa.array([chance.randrange(-(10**13), 10**13) for _ in range(5)]).cast(MS)
        path = written(tmp_path, columns)
        found = plain_labels(path, definitions().events)
        plain += found is not None

        assert found in (None, by_rows(path))
    assert plain > 20


def test_projects_whose_labels_may_mean_more_are_left_to_validation(tmp_path):
    path, events = written(tmp_path, PLAIN), definitions().events
    (type_,) = [event for event in events.types.values() if event.is_decided]
    second = {**events.types, "other": replace(type_, name="other")}

    assert plain_labels(path, events) is not None
    assert plain_labels(path, replace(events, types=second)) is None


def test_a_damaged_file_is_refused(tmp_path):
    path = written(tmp_path, PLAIN)
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        plain_labels(path, definitions().events)
