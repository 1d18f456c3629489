"""Templates of pages are read line by line."""

from __future__ import annotations

from tests.architecture.sources import ROOT

LINE_MAX = 160  # characters: an element, or some words of a sentence


def test_a_line_of_a_template_fits_on_a_screen():
    long = [
        f"{path.name}:{number}"
        for folder in ("shroff/web/pages", "shroff_plugins/analytics", "shroff_plugins/assistant")
        for path in sorted((ROOT / "src" / folder / "templates").glob("*.html"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > LINE_MAX
    ]
    assert long == []
