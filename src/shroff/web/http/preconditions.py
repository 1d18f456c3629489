"""What who changes something says that they saw: If-Match (RFC 9110), read alike by all routes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shroff.web.http.messages import Request

ANY: Final = "*"
_TAG: Final = re.compile(r'(?:W/)?"([^"]*)"|([^\s,"]+)')


def tags_of(request: Request) -> list[str]:
    """The tags of If-Match, bare, as many as there are: weak ones count as strong, and quotes may be left out."""
    text = request.headers.get("if-match", "")
    return [quoted or plain for quoted, plain in _TAG.findall(text)]


async def seen(request: Request, now: Callable[[], Awaitable[str]]) -> str:
    """The one tag to hold a change against; empty where If-Match is not sent.

    Args:
        now: Gives the tag of what is there, or nothing; asked for several tags, and for `*`: whatever is there.
    """
    tags = tags_of(request)
    if not tags or (len(tags) == 1 and tags[0] != ANY):
        return tags[0] if tags else ""
    there = await now()
    return there if there in tags or (there and ANY in tags) else tags[0]


def tagged(tag: str) -> dict[str, str]:
    """The header that names the version of what is shown: a change sends it back in If-Match."""
    return {"etag": f'"{tag}"'}
