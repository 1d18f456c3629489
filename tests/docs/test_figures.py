"""Figures of pages are those of `bench/results`, and nothing that was measured is written by hand."""

from __future__ import annotations

import subprocess

import pytest

import docs.figures
from docs.figures import (
    PAGES,
    ROOT,
    WITH_FIGURES,
    FigureError,
    Measured,
    bare,
    figure,
    figure_and_time,
    has_changed,
    with_figures,
)

RESULTS = """# Ingest

<!-- measured 2026-11-20 1234abc src bench -->

| project | events | events/s, median (range) | µs |
|---|---|---|---|
| 8 features | 300,000 | 151,439 (151,057 to 152,983) | 0.8 |
| 40 features | 300,000 | 97,339 (94,667 to 98,684) | |
| 40 features | 10,000,000 | 61,579 | 0.9 |

<!-- measured 2026-11-26 5678def src -->
Ten million events on
another machine: 89,572 events/s.
"""


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "bench" / "results" / "ingest.md"
    path.parent.mkdir(parents=True)
    path.write_text(RESULTS)
    return path


@pytest.mark.parametrize("name", WITH_FIGURES)
def test_a_page_says_what_the_results_say(name):
    page = ROOT / name

    assert page.read_text(encoding="utf-8") == with_figures(page), "run python docs/build.py"


@pytest.mark.parametrize("name", PAGES)
def test_no_measured_number_of_a_page_is_written_by_hand(name):
    assert bare(ROOT / name) == []


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("40 features > events/s", "97,339"),
        ("40 features / 10,000,000 > events/s", "61,579"),
        ("8 features > µs", "0.8"),
        ("40 features > µs", "0.9"),  # the first of its rows that has a number there
        ("events on another machine: # events/s", "89,572"),
    ],
)
def test_a_figure_is_found_by_row_and_column_or_by_its_words(results, where, number):
    assert figure(results, where) == number


@pytest.mark.parametrize("where", ["50 features > events/s", "8 features > bytes", "a # of words"])
def test_a_figure_that_is_not_there_is_an_error(results, where):
    with pytest.raises(FigureError, match=r"ingest\.md"):
        figure(results, where)


def test_numbers_written_by_hand_are_found_and_conditions_and_others_are_not(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "It takes 4.2 ms and reads 1,000/s.\n"
        '[97,339](bench/results/ingest.md "300,000 > events/s") events/s over 300,000 events, not 300,001 events/s\n'
        "| Feast | 718 requests/s |\n"
        "```sh\nsleep 5 s\n```\n`keep: 30 s` and a window of 40 features\n"
    )

    assert bare(page) == ["1: 4.2", "1: 1,000", "2: 300,001"]


def test_a_figure_has_the_date_and_code_of_the_comment_before_it(results):
    times = [figure_and_time(results, where)[1] for where in ("40 features > µs", "events on another machine: #")]

    assert times == [Measured("2026-11-20", "1234abc", "src bench"), Measured("2026-11-26", "5678def", "src")]
    results.write_text(RESULTS.replace("<!-- measured", "<!--"))
    with pytest.raises(FigureError, match="does not say when"):
        figure(results, "40 features > µs")


@pytest.mark.parametrize("is_old", [True, False])
def test_the_last_figure_of_a_table_on_a_line_is_marked_if_it_is_older(results, monkeypatch, is_old):
    page = results.parents[2] / "page.md"
    mark = " (older, 2026-11-20)" * is_old
    first, last = (
        '[97,339](bench/results/ingest.md "40 features > events/s")',
        '[0.8](bench/results/ingest.md "8 > µs")',
    )
    page.write_text(f"{first} events/s, {last} µs (older, 2026-01-01).\n")
    monkeypatch.setattr(docs.figures, "has_history", lambda: True)
    monkeypatch.setattr(docs.figures, "has_changed", lambda _measured: is_old)
    monkeypatch.setattr(docs.figures, "ROOT", results.parents[2])

    assert with_figures(page) == f"{first} events/s, {last} µs{mark}.\n"


def test_code_has_changed_if_it_differs_is_gone_or_its_commit_is_unknown(tmp_path, monkeypatch):
    def git(*words):
        words = ("git", "-c", "user.name=a", "-c", "user.email=a@b.example", *words)
        return subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "one.py").write_text("1")
    (tmp_path / "two.py").write_text("2")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "--short", "HEAD")
    (tmp_path / "two.py").write_text("3")
    monkeypatch.setattr(docs.figures, "ROOT", tmp_path)
    measured = [
        (commit, "one.py"),
        (commit, "two.py"),
        (commit, "one.py two.py"),
        (commit, "gone.py"),
        ("abc", "one.py"),
    ]

    assert [has_changed(Measured("2026-11-26", *each)) for each in measured] == [False, True, True, True, True]
