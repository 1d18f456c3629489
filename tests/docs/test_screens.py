"""The pictures of docs/screens/: one of every screen at least, as large as they say; none that nobody can renew."""

from __future__ import annotations

import pytest

from shroff.web.pages.rendering import tabs
from shroff.web.table import PAGES
from tools.screens import FOLDER, PICTURES, files

KB_MAX = 150
TAKEN = [(picture, view) for picture in PICTURES for view in picture.views]


def test_every_screen_of_the_top_bar_has_a_picture():
    assert {one.name.lower() for one in tabs(PAGES)} - {one.name for one in PICTURES} == set()


def test_there_are_those_pictures_that_are_taken_and_no_others():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(files())


@pytest.mark.parametrize("picture, view", TAKEN, ids=files())
def test_a_picture_is_as_large_as_its_screen(picture, view):
    data = (FOLDER / f"{picture.name}-{view.name}.webp").read_bytes()

    assert (data[:4], data[8:16]) == (b"RIFF", b"WEBPVP8X")
    assert 1 + int.from_bytes(data[24:27], "little") == view.width
    assert 1 + int.from_bytes(data[27:30], "little") == view.height
    assert len(data) < KB_MAX * 1_024
