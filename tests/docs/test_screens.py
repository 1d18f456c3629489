"""The pictures of docs/screens/: one of every screen at least, as large as they say; none that nobody can renew."""

from __future__ import annotations

import re

import pytest

from shroff.web.pages.renderer import tabs
from shroff.web.table import PAGES, table
from tests.docs.pages import ROOT, all_pages
from tools.screens import FOLDER, PICTURES, files

KB_MAX = 150
WITHOUT = {"build-marts.md", "count-funnels.md"}  # their screens have no picture: the demo has no marts and funnels
NO_SCREENS = {  # parts of pages, files, and ways to other pages
    "/",
    "/analytics/counts.csv",
    "/analytics/funnels/users.csv",
    "/decisions/decisions.csv",
    "/decisions/{event}/{id}/why",
    "/disputes/{event}/{id}/pack",
    "/lists/{list}/csv",
    "/links/ring",
    "/live/stream",
    "/login/oidc",
    "/login/oidc/begin",
    "/mails/kept/{name}/html",
    "/models/{id}/card",
    "/mails/notices/{name}/html",
    "/queue/peek/{id}",
    "/queue/stream",
    "/queue/why/{id}",
    "/results/results.csv",
    "/settings",
}
TAKEN = [(picture, view) for picture in PICTURES for view in picture.views]


def test_every_screen_of_a_group_has_a_picture():
    named = {screen.name.lower().replace(" ", "-") for screen in tabs(PAGES)}

    assert named - {picture.name for picture in PICTURES} == set()


def test_every_page_of_the_service_says_what_it_is_for_what_is_wrong_and_what_to_do_next():
    pages = {route.path for route in table() if route.method == "GET" and route.is_page} - NO_SCREENS
    text = (ROOT / "docs" / "howto" / "use-the-screens.md").read_text(encoding="utf-8")
    part = text.partition("## What each screen is for")[2].partition("## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if "`/" in line]

    assert sorted(row[0].partition("`")[2].rstrip("`") for row in rows) == sorted(pages)
    assert [row for row in rows if len(row) != 4 or not all(row)] == []


def test_there_are_those_pictures_that_are_taken_and_no_others():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(files())


@pytest.mark.parametrize("picture, view", TAKEN, ids=files())
def test_a_picture_is_as_large_as_its_screen(picture, view):
    data = (FOLDER / f"{picture.name}-{view.name}.webp").read_bytes()

    assert (data[:4], data[8:16]) == (b"RIFF", b"WEBPVP8X")
    assert 1 + int.from_bytes(data[24:27], "little") == view.width
    assert 1 + int.from_bytes(data[27:30], "little") == view.height
    assert len(data) < KB_MAX * 1_024


def test_a_how_to_with_a_section_about_a_screen_has_a_picture():
    about = {
        path: path.read_text(encoding="utf-8")
        for path in (ROOT / "docs" / "howto").glob("*.md")
        if re.search(r"^#+ .*\b(browser|screens?|queue)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert len(about) >= 6
    assert {path.name for path, text in about.items() if "](../screens/" not in text} == WITHOUT


def test_every_picture_of_a_page_has_an_alternative_text():
    pictures = [
        text for path in all_pages() for text in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", path.read_text("utf-8"))
    ]

    assert len(pictures) > 20
    assert [target for words, target in pictures if len(words) < 4] == []
