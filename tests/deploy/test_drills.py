"""Drills: a fault of a service under load raises its alert, and nothing is lost or doubled."""

from __future__ import annotations

import pytest

from tests.support import forks
from tools import drills


@pytest.mark.long
@pytest.mark.parametrize("drill", drills.DRILLS, ids=lambda drill: drill.name)
def test_a_fault_raises_its_alert_and_loses_and_doubles_nothing(drill, tmp_path, monkeypatch):
    monkeypatch.delenv(forks.FOLDER, raising=False)  # a process that another one runs for it cannot be frozen

    found = drills.run(drill, tmp_path)

    assert (found.lost, found.doubled) == (0, 0)
    assert found.alert_s < 60
    assert found.again < found.sent / 2
    assert (found.again > 0) <= (drill.name == "disk")


def test_the_table_has_a_row_for_each_drill_and_one_for_the_random_faults():
    results = [drills.Result(drill, 3.14, 0.55, 1_202, 3, 0, 1) for drill in drills.DRILLS]
    *_, first = [line for line in drills.page(results).splitlines() if "is killed (`kill -9`)" in line]
    *_, campaign = [line for line in drills.page(results).splitlines() if "make faults" in line]

    assert first.endswith("| ShroffDown | 3.1 | 1m | 0.6 | 1,202 | 3 | 0 | 1 |")
    assert campaign.count("|") == first.count("|") == 10
    assert "at most" in campaign
