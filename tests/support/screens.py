"""Somebody who works with the screens of a real service in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page

from shroff.people import links
from shroff.services import project as app
from tests.support.patience import PATIENCE_MS
from tests.support.served import Served

PASSWORD = "correct horse battery"


@contextmanager
def signed_in(service: Served, browser: Browser, name: str = "mira", width: int = 1280) -> Iterator[Page]:
    """The first admin's first page, in a context of its own. Whatever a script says is wrong fails the test."""
    project = app.open_exactly(service.folder)
    with project.people.open() as desk:
        link = links.first(desk, project.context.who)
    with browser.new_context(viewport={"width": width, "height": 900}) as context:
        page = context.new_page()
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
