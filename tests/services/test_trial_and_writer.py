"""The trial of a proposed project takes, repeats and refuses the lines that the writer does when it reads the file."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from shroff.errors import UsageError
from shroff.services import project as app
from shroff.services.proposals.trial import try_project
from tests.support.effort import long_after

pytestmark = pytest.mark.slow
BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
LINES_IN_COLUMNS = 2_500  # of which two runs are read as columns
HEADER = ["id", "created_at", "card", "amount", "is_fraud"]


def written(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def row(number: int, at: datetime) -> list[object]:
    return [f"p{number}", f"{at:%Y-%m-%dT%H:%M:%SZ}", f"c{number % 5}", f"{5 + number}.50", int(number % 7 == 0)]


def disturbed(rng: Random, rows: list[list[object]]) -> list[list[object]]:
    """Rows with late, repeated, changed, future and broken ones among them."""
    for _ in range(rng.randrange(1, 12)):
        at = rng.randrange(len(rows))
        other = list(rng.choice(rows))
        kind = rng.choice(["late", "repeated", "changed", "future", "broken", "verdict"])
        if kind == "late":
            other = row(1_000 + rng.randrange(3), BEGIN - timedelta(days=rng.randrange(9)))
        elif kind == "changed":
            other[3] = "1.25"
        elif kind == "future":
            other = row(2_000 + rng.randrange(3), datetime.now(UTC) + timedelta(days=3_000))
        elif kind == "broken":
            other[3] = "abc"
        elif kind == "verdict":
            other = [*row(3_000 + rng.randrange(99), BEGIN + timedelta(hours=at))[:4], "?"]
        rows.insert(at, other)
    return rows


@pytest.mark.parametrize("seed", long_after(6, range(60)))
def test_a_trial_counts_what_the_writer_does(tmp_path, seed):
    rng = Random(seed)
    rows = [row(number, BEGIN + timedelta(hours=number)) for number in range(40)]
    is_descending = rng.random() < 0.3
    source = written(tmp_path / "clean.csv", rows[::-1] if is_descending else rows)
    project, _, _ = app.propose_project(tmp_path / "bank", source, None)
    rows = disturbed(rng, rows)
    if rng.random() < 0.2:
        rows.sort(key=lambda cells: str(cells[1]), reverse=True)  # backwards, whatever the mapping says
    file = written(tmp_path / "file.csv", rows[::-1] if is_descending else rows)
    trial = try_project(project, file, "amount", 60)
    try:
        counts = project.ingest([file], order="file").events
    except UsageError as error:
        pytest.fail(str(error))

    tried = {"appended": trial.taken, "duplicates": trial.duplicates, "quarantined": trial.refused}
    assert tried == {name: getattr(counts, name) for name in tried}


@pytest.mark.parametrize("seed", long_after(3, range(30)))
def test_a_trial_by_columns_says_what_one_by_lines_says(tmp_path, seed):
    rng = Random(seed)
    rows = [row(number, BEGIN + timedelta(minutes=number)) for number in range(LINES_IN_COLUMNS)]
    project, _, _ = app.propose_project(tmp_path / "bank", written(tmp_path / "clean.csv", rows), None)
    for _ in range(6):
        rows = disturbed(rng, rows)
    rows += [["", "2026-01-09T09:00:00Z", "c1", "5.50", "?"], ['q"1', "2026-01-09T09:00:01Z", "c,1", "5.50", 1]]
    file = written(tmp_path / "file.csv", rows)
    file.write_text(file.read_text().replace("p77,", "\np77,"))

    by_lines = try_project(project, file, "amount", 600, is_quick=True)
    by_columns = try_project(project, file, "amount", 600, is_later=True)

    assert by_lines.is_whole
    assert by_lines.labels_refused > 0
    assert vars(by_columns) == vars(by_lines)
