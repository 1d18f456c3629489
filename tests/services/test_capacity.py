"""Capacity: the formula, the sizes that the page shows, and a sample that is really decided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import shroff
from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.runtime.texts import bytes_text
from shroff.services.health.capacity import (
    CORES,
    PROCESS_BYTES,
    SPARE,
    CapacityEstimate,
    EventRate,
    MeasuredEvents,
    measure,
)
from tests.support.projects import FILES, write_files

PAGE = Path(__file__).parents[2] / "docs" / "explain" / "capacity.md"
MEASURED = MeasuredEvents(10_000_000, 89_572, 261, 98, 0, 0, 30)


def test_the_sizes_of_the_page_follow_from_the_measured_figures():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text("utf-8").split("## Three sizes")[1].splitlines()
        if line.startswith("| ") and line[2].isdigit()
    ]

    assert len(rows) == 3
    for per_day, peak, *shown in rows:
        rate = float(peak.split()[0].replace(",", ""))
        found = CapacityEstimate.of(MEASURED, EventRate(float(per_day.replace(",", "")), rate, 400))
        sizes = bytes_text(found.memory_bytes), bytes_text(found.disk_bytes)
        assert shown == [str(found.processes), str(found.cores), *sizes]


@pytest.mark.parametrize(
    ("rate", "reach", "peak", "processes", "held_days"),
    [(100, 1, 60, 1, 1), (100, 1, 60.1, 2, 1), (100, None, 60, 1, 10), (100, 400, 60, 1, 10)],
)
def test_a_machine_is_what_the_page_says(rate: float, reach: float | None, peak: float, processes: int, held_days: int):
    measured = MeasuredEvents(1_000, rate, 1_000, 40, 640, 250, reach)
    found = CapacityEstimate.of(measured, EventRate(1_000, peak, 10))
    few_keys = CapacityEstimate.of(measured, EventRate(1_000, peak, 10, 7))

    state = (40 + 640 / 4) * 1_000 * held_days
    assert (found.processes, found.cores) == (processes, CORES * processes)
    assert found.memory_bytes == (processes * PROCESS_BYTES + state) * SPARE
    assert found.disk_bytes == (1_000 * 1_000 * 10 + 3 * state) * SPARE
    assert found.keys == 250 * held_days
    assert few_keys.keys == 7
    assert few_keys.memory_bytes == (processes * PROCESS_BYTES + 40 * 1_000 * held_days + 640 * 7) * SPARE


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((0, 1, 1), "above 0"),
        ((86_400 * 5, 4, 1), "5 a second on average"),
        ((10, 1, -1), "above 0"),
        ((10, 1, 1, 0), "above 0"),
    ],
)
def test_a_rate_that_cannot_be_is_refused(asked: tuple[float, ...], words: str):
    with pytest.raises(UsageError, match=words):
        EventRate(*asked)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_files(tmp_path / "small", FILES)


def payments(path: Path, count: int) -> Path:
    same = {"amount": "150.00"}
    times = (f"2026-01-05T10:{n // 60:02}:{n % 60:02}Z" for n in range(count))
    lines = (same | {"id": f"p{n}", "at": at, "card": f"c{n % 50}"} for n, at in enumerate(times))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.slow
def test_a_sample_of_a_file_or_of_the_log_is_decided_and_the_log_stays_as_it_is(small: Path, tmp_path: Path):
    file = payments(tmp_path / "payments.jsonl", 1_500)
    by_file = measure(shroff.open(small).context, file, "payment")
    has_log_after_file = shroff.open(small).log.exists()
    shroff.open(small).ingest(file, as_type="payment")
    with shroff.open(small).log.reading() as log:
        before = log.last_seq()
        by_log = measure(shroff.open(small).context)
        after = log.last_seq()

    assert (has_log_after_file, after) == (False, before)
    for found in (by_file, by_log):
        assert (found.events, found.reach_days) == (1_500, None)  # `frauds` counts without an end
        assert found.rate > 0
        assert 200 < found.log_bytes < 5_000
        assert found.keys == 50
        assert 10 < found.event_bytes < 200
        assert 200 < found.key_bytes < 10_000


def test_the_command_needs_enough_events_and_prints_the_machine(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    few, enough = payments(tmp_path / "few.jsonl", 20), payments(tmp_path / "enough.jsonl", 1_200)
    asked = ["-C", str(small), "capacity", "--as", "payment", "--per-day", "5000", "--peak", "10"]
    statuses = [run([*asked, str(few)]), run([*asked, "--keep", "2y", str(few)]), run([*asked, "--json", str(enough)])]
    said = capsys.readouterr()

    assert statuses == [2, 2, 0]
    assert "a sample of 20 events says little" in said.err
    assert "'2y' is not a duration" in said.err
    assert json.loads(said.out)["processes"] == 1
