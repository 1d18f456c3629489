"""Templates of pages and reports are read line by line."""

from __future__ import annotations

from tests.architecture.sources import ROOT

LINE_MAX = 160  # characters: an element, or some words of a sentence


def test_a_line_of_a_template_fits_on_a_screen():
    long = [
        f"{path.name}:{number}"
        for path in sorted((ROOT / "src").rglob("*.html"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > LINE_MAX
    ]
    assert long == []
