"""The documentation site: every page in its navigation, every link right, console blocks that can be copied."""

from __future__ import annotations

import json
import sys

import pytest

from docs import site


@pytest.mark.slow
@pytest.mark.long  # the links of each page are tried by test_pages
def test_the_site_is_built_from_all_pages_without_a_broken_link(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "SITE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["site.py", "--version", "9.9"])

    assert site.main() == 0
    assert json.loads((tmp_path / "html" / "versions.json").read_text())[0]["version"] == "9.9"
    assert "language-console" in (tmp_path / "html/9.9/howto/write-a-rule/index.html").read_text()
    assert len(list((tmp_path / "html/9.9").rglob("index.html"))) > len(list((site.ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize(
    ("page", "link", "copied"),
    [
        ("docs/howto/index.md", "../../CONTRIBUTING.md", "../CONTRIBUTING.md"),
        ("docs/index.md", "../examples/README.md", "examples/index.md"),
        ("examples/README.md", "../docs/howto/run-a-worker.md", "../howto/run-a-worker.md"),
        ("docs/roadmap.md", "../pyproject.toml", "https://shroff.example/shroff/blob/main/pyproject.toml"),
        ("docs/roadmap.md", "../bench/results", "https://shroff.example/shroff/tree/main/bench/results"),
        ("docs/howto/index.md", "nowhere.md", "nowhere.md"),
    ],
)
def test_a_link_leads_to_the_same_page_on_the_site(page, link, copied):
    assert site.moved(site.ROOT / page, link) == copied


def test_a_page_that_no_index_names_is_an_error(monkeypatch):
    monkeypatch.setattr(site, "ITEM", site.re.compile(r"\[[^\]]*\]\(((?!install)[\w./-]+\.md)\)"))
    titles = {page: page.stem for page in (site.ROOT / "docs").rglob("*.md")}

    with pytest.raises(SystemExit, match=r"docs/howto/index\.md lacks install\.md"):
        site.navigation(titles)
