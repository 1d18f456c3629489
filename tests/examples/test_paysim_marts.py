"""PaySim's marts by their one command; figures of a known file that differ are told."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_the_known_figures_come_out_by_one_command(root, data, tmp_path):
    command = [sys.executable, str(root / "examples" / "paysim-marts" / "run.py"), str(data / "paysim_first19998.csv")]
    done = subprocess.run([*command, "--folder", str(tmp_path / "kept")], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "9 of 9 known figures agree." in done.stdout
    assert (tmp_path / "kept" / ".shroff" / "marts" / "marts.duckdb").is_file()
    assert not list(root.glob("examples/paysim-marts/**/*.csv"))
    full = [str(root / "examples" / "paysim-marts" / "check-full"), command[-1], "--folder", str(tmp_path / "full")]
    judged = subprocess.run(full, capture_output=True, text=True, check=False, env={"PYTHON": sys.executable})
    assert judged.returncode == 1
    assert "These differ: payments is 19999, and was 6362620; frauds is 81" in judged.stderr
