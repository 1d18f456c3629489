"""`make wheels`: a missing wheel fails anywhere; an index that cannot be asked fails in CI, and is told elsewhere."""

from __future__ import annotations

import os
import sys

import pytest

from tools import wheels

MISSING = "error: No solution\n  cause: Because old-abacus==2 has no usable wheels, we can conclude this.\nhint: build"
REFUSED = "error: Failed to fetch\n  cause: client error (Connect)\n  cause: Connection refused (os error 111)"


@pytest.fixture(autouse=True)
def _nothing_was_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("ended", "said", "ci", "status", "told"),
    [
        (0, "", "true", 0, "wheels for Linux x86-64, Python 3.11 to 3.14: all there"),
        (1, MISSING, "", 1, "Linux x86-64, Python 3.11: Because old-abacus==2 has no usable wheels, we can"),
        (2, REFUSED, "true", 1, "FAILED: the package index could not be asked for wheels: Connection refused"),
        (2, REFUSED, "", 0, "skipped: the package index could not be asked for wheels: Connection refused"),
    ],
)
def test_wheels_are_asked_for_and_the_answer_is_told(monkeypatch, capsys, ended, said, ci, status, told):
    asked = []
    monkeypatch.setattr(wheels, "program", lambda: sys.executable)
    monkeypatch.setattr(
        wheels,
        "ask",
        lambda *given, **apart: asked.append((given[-1], *given[2][:1], *apart)) or (ended, wheels.reason(said)),
    )
    monkeypatch.setenv("CI", ci)

    assert wheels.main(platforms={"Linux x86-64": "x86_64-manylinux_2_28"}) == status
    assert told in capsys.readouterr().out
    pythons = ["3.11", "3.12", "3.13", "3.14"]
    assert sorted(asked) == sorted(
        [(python, extra) for python in pythons for extra in ("analytics", "prove")]
        + [(text, "dbt", "lock") for text in ("3.11", "3.14")]
    )


def test_without_uv_that_is_told(monkeypatch, capsys):
    monkeypatch.setattr(wheels, "program", lambda: None)
    monkeypatch.delenv("CI", raising=False)

    assert wheels.main() == 0
    assert "uv is not installed; run `make setup`" in capsys.readouterr().out


def test_that_all_are_there_is_asked_again_after_a_day_or_for_another_package(monkeypatch, capsys, tmp_path):
    asked = []
    answers = [(1, MISSING), (0, "")]
    monkeypatch.setattr(wheels, "program", lambda: sys.executable)
    monkeypatch.setattr(wheels, "ask", lambda *given, **apart: asked.append(given[1]) or answers[0])
    monkeypatch.setattr(wheels, "LOCK", tmp_path / "lock.txt")
    project = tmp_path / "pyproject.toml"
    project.write_text("[project]\n")
    (tmp_path / "lock.txt").write_text("numba==1\n")

    def is_asked() -> bool:
        asked.clear()
        wheels.main(project)
        return bool(asked)

    assert (is_asked(), is_asked()) == (True, True), "one is missing"
    del answers[0]
    assert (is_asked(), is_asked()) == (True, False)
    assert "all there, as the index said within a day" in capsys.readouterr().out
    (tmp_path / "lock.txt").write_text("numba==2\n")
    assert (is_asked(), is_asked()) == (True, False)
    for answer in tmp_path.glob("shroff-servers/wheels-*"):
        os.utime(answer, (0, 0))
    assert is_asked()
