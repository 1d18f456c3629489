"""What the first load of a page weighs: all that came over the wire for it, packed as it was sent, none of it kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from playwright.sync_api import Browser, Request

PARTS: Final = ("page", "styles", "scripts", "fonts", "pictures")
_PARTS: Final[Mapping[str, str]] = {
    "document": "page",
    "stylesheet": "styles",
    "script": "scripts",
    "font": "fonts",
    "image": "pictures",
}


@dataclass(frozen=True, slots=True)
class Weight:
    """Bytes by part of a page, heads of answers with them. What was sent as no part of those is with the pictures."""

    by_part: Mapping[str, int]

    @property
    def whole(self) -> int:
        """All of them."""
        return sum(self.by_part.values())


def weigh(browser: Browser, urls: Sequence[str], signed_in: Any) -> list[Weight]:
    """Open pages, each as somebody whose browser never was here, by the `storage_state` of who is signed in.

    Streams that go on after the load do not count.
    """
    context = browser.new_context(storage_state=signed_in)
    try:
        page, came = context.new_page(), list[Request]()
        page.on("requestfinished", lambda request: came.append(request))  # noqa: PLW0108 - it writes on what it is given
        kept, found = context.new_cdp_session(page), list[Weight]()
        kept.send("Network.enable")
        kept.send("Network.setCacheDisabled", {"cacheDisabled": True})
        for url in urls:
            page.goto("about:blank")  # no script goes on asking
            came.clear()
            page.goto(url)
            page.evaluate("document.fonts.ready")
            by_part = dict.fromkeys(PARTS, 0)
            for request in came:
                size = request.sizes()
                by_part[_PARTS.get(request.resource_type, "pictures")] += (
                    size["responseBodySize"] + size["responseHeadersSize"]
                )
            found.append(Weight(by_part))
        return found
    finally:
        context.close()
