"""Times with fractions of a second are times, and say nothing about how decimals are written."""

from __future__ import annotations

import pytest

from tests.public_cases import planned
from tests.support.beside import SHARED

FOLDER = SHARED / "files" / "31-fractions-of-seconds"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.csv")), ids=lambda path: path.stem)
def test_amounts_and_places_keep_their_point(tmp_path, file):
    plans, events = planned(file.read_text(), tmp_path)

    assert [plans["amount"].type, plans[list(plans)[1]].role] == ["money", "time"]
    assert "lat" not in plans or plans["lat"].type == "number?"
    assert "decimal: ','" not in events


@pytest.mark.parametrize(
    "form",
    [
        "2026-03-01T10:00:00.{:03}",
        "2026-03-01 10:00:00.{:03}456",
        "01.03.2026 10:00:00.{:03}",
        "2026/03/01 10:00:00.{:03}",
    ],
)
def test_times_of_other_forms(tmp_path, form):
    rows = [f"p{n},{form.format(n * 7)},c{n % 3},{n}2.50,52.5200{n:02}" for n in range(1, 13)]
    plans, events = planned("\n".join(["id,seen,card,amount,lat", *rows]), tmp_path)

    assert [plans[name].type for name in ("seen", "amount", "lat")] == ["time", "money", "number?"]
    assert "decimal: ','" not in events
