"""The first page, and what somebody sees of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroff.web.http import Request, Response
from shroff.web.pages.rendering import page, screens_of, see_other

if TYPE_CHECKING:
    from shroff.web.service import Service


async def first(service: Service, request: Request) -> Response:
    """Go on with the first screen that they may see."""
    screens = screens_of(request.who)
    return see_other(screens[0].path if screens else "/me")


async def me(service: Service, request: Request) -> Response:
    """Who is signed in, what they may do, and the way out."""
    return page(service, request, "me.html", signed_in=request.signed_in)
