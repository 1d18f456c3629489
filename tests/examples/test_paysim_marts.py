"""PaySim's marts by their one command; figures of a known file that differ are told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import duckdb
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(name="example")
def _example(root: Path) -> Any:
    spec = spec_from_file_location("paysim_marts", root / "examples" / "paysim-marts" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def each_changed(figures: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The figures with one of them another by one, each in turn; of a list its last number."""
    for name, value in figures.items():
        yield name, {**figures, name: [*value[:-1], value[-1] + 1] if isinstance(value, list) else value + 1}


@pytest.mark.parametrize("is_full", [True, False])
def test_each_known_figure_is_compared(example: Any, is_full: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for payments, known in example.KNOWN.items():
        if is_full != (payments == example.FULL):
            continue
        right = {"fraud by range": [6_900, 513, 231, 137, 88], "payments": payments, **known}
        example.compare("a.csv", right, is_full=is_full)
        judged = set(known) | ({"payments"} if is_full else set())
        assert f"{len(judged)} of {len(judged)} known figures agree." in capsys.readouterr().out

        for name, wrong in each_changed(right):
            if name in judged:
                with pytest.raises(example.FailedError, match=f"^These differ: {name} is [^;]*$"):
                    example.compare("a.csv", wrong, is_full=is_full)


def test_customers_of_equal_values_have_equal_scores_in_the_middle_of_where_they_stand(root: Path) -> None:
    paid = [(f"c-{n}", n // 4, 1 + n % 3, n % 2 * 10) for n in range(40)]  # who, last day, how often, how much each
    rows = [(who, date(2026, 3, 1) + timedelta(day), amount) for who, day, times, amount in paid for _ in range(times)]
    sql = (root / "examples/paysim-marts/marts/rfm.sql").read_text(encoding="utf-8")
    with duckdb.connect() as database:
        database.execute("CREATE TABLE payments (payer TEXT, day DATE, amount DECIMAL(18, 2))")
        database.executemany("INSERT INTO payments VALUES (?, ?, ?)", rows)
        found = {row[0]: row[1:] for row in database.execute(f"SELECT customer, r, f, m FROM ({sql})").fetchall()}

    def scores(values: list[int]) -> list[int]:
        middles = [sum(item < value for item in values) + sum(item <= value for item in values) for value in values]
        return [1 + 5 * middle // (2 * len(values)) for middle in middles]

    each = zip(
        scores([day for _, day, _, _ in paid]),
        scores([times for _, _, times, _ in paid]),
        scores([times * amount for _, _, times, amount in paid]),
        strict=True,
    )
    assert found == {who: score for (who, *_), score in zip(paid, each, strict=True)}
    assert {r for r, _, _ in found.values()} == {1, 2, 3, 4, 5}


@pytest.mark.long
def test_the_known_figures_come_out_by_one_command(
    root: Path, data: Path, tmp_path: Path, example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
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

    published = example.KNOWN[example.FULL]
    found = example.figures(tmp_path / "full")
    monkeypatch.setitem(example.KNOWN, found["payments"], {name: found[name] for name in published})
    monkeypatch.setattr(example, "FULL", found["payments"])
    example.compare("a.csv", found, is_full=True)
    for name in ("payments", *published):
        with pytest.raises(example.FailedError, match=f"^These differ: {name} is [^;]*$"):
            example.compare("a.csv", {**found, name: found[name] + 1}, is_full=True)
