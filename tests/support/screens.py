"""Somebody who works with the screens of a real service in a real Chromium."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page

from shroff.app import project as app
from shroff.people import links
from tests.support.served import Served
from tools.browser import browser
from tools.servers.errors import UnavailableError

PASSWORD = "correct horse battery"
PATIENCE_MS = 60_000


@contextmanager
def signed_in(service: Served, name: str = "mira", width: int = 1280) -> Iterator[Page]:
    """The first admin's browser, on the first page. Whatever a page's scripts say is wrong fails the test."""
    project = app.open_exactly(service.folder)
    with project.people.open() as desk:
        link = links.first(desk, project.opened.who)
    with _chromium() as found:
        page = found.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{service.url}{link}")
        for field, text in (("name", name), ("password", PASSWORD), ("again", PASSWORD)):
            page.fill(f"[name={field}]", text)
        page.keyboard.press("Enter")
        page.wait_for_selector("nav.screens")
        yield page
        assert wrong == []


@contextmanager
def _chromium() -> Iterator[object]:
    try:
        with browser() as found:
            yield found
    except UnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(reason=f"Chromium cannot be had here: {error}")
