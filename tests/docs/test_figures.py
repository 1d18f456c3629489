"""Figures of pages are those of `bench/results`, and nothing that was measured is written by hand."""

from __future__ import annotations

import pytest

from docs.figures import PAGES, ROOT, FigureError, bare, figure, with_figures

RESULTS = """# Ingest

| project | events | events/s, median (range) | µs |
|---|---|---|---|
| 8 features | 300,000 | 151,439 (151,057 to 152,983) | 0.8 |
| 40 features | 300,000 | 97,339 (94,667 to 98,684) | |
| 40 features | 10,000,000 | 61,579 | 0.9 |

Ten million events on
another machine: 89,572 events/s.
"""


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "bench" / "results" / "ingest.md"
    path.parent.mkdir(parents=True)
    path.write_text(RESULTS)
    return path


@pytest.mark.parametrize("name", PAGES)
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
