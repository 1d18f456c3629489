"""The start page of each role, and the user's own page: permissions, time zone, theme, password and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.errors import PausedError, SignInError, UsageError
from shroff.people import passkeys, sessions, users
from shroff.people.access import Right, Role
from shroff.people.store import token_hash
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route
from shroff.web.pages.login import let_in
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service

ME = "/me"
DISPLAY = f"{ME}/display"
START = {Role.AUTHOR: "/rules", Role.VIEWER: "/results"}
PASSWORDS = ("password", "new", "again")


async def first(_: Service, request: Request) -> Response:
    queue = "/queue" if request.who.may(Right.READ_CASES) else ME
    return see_other(START.get(request.who.role, queue))


async def change_password(service: Service, request: Request) -> Response:
    """Change the user's password: all their sessions end, and this browser gets a new one."""
    form = await request.form()
    signed_in = request.signed_in
    assert signed_in is not None
    current, new, again = (form[name] for name in PASSWORDS)
    if new != again:
        return await me(service, request, "The two new passwords differ.")
    try:
        signed_in_again = await service.signing.run(
            request.who.id, sessions.change_password, service.desk, signed_in, current, new, request.address
        )
    except (SignInError, UsageError) as error:
        return await me(service, request, sentence(str(error)), 429 if isinstance(error, PausedError) else 422)
    return let_in(service, request, signed_in_again, f"{ME}?said=changed")


async def set_display(service: Service, request: Request) -> Response:
    form = await request.form()
    zone = form["zone"].strip()
    theme = form["theme"]
    try:
        await service.in_thread(users.set_screen, service.desk, request.who, zone, theme)
    except UsageError as error:
        return await me(service, request, sentence(str(error)), zone=zone)
    return see_other(f"{ME}?said=saved")


async def end_sessions(service: Service, request: Request) -> Response:
    signed_in = request.signed_in
    id_ = (await request.form())["id"]
    assert signed_in is not None
    if id_:
        await service.in_thread(sessions.end_named, service.desk, request.who, id_)
    else:
        await service.in_thread(sessions.end_all, service.desk, request.who, request.who.name, signed_in.token)
    return see_other(f"{ME}?said=ended")


async def me(
    service: Service, request: Request, mistake: str = "", status: int = 422, zone: str | None = None
) -> Response:
    signed_in = request.signed_in
    assert signed_in is not None
    context = {
        "opened": await service.in_thread(sessions.open_sessions, service.desk),
        "own": token_hash(signed_in.token),
        "signed_in": signed_in,
        "passkeys": passkeys.of(signed_in.user) if passkeys.has_library() else None,
        "mistake": mistake,
        "zone": signed_in.user.zone if zone is None else zone,
        "zones": users.zones(),
        "theme": signed_in.user.theme,
    }
    return await page(service, request, "me.html", status if mistake else 200, **context)


ROUTES = (
    Route("GET", "/", None, first),
    Route("GET", ME, None, me),
    Route("POST", ME, None, change_password),
    Route("POST", f"{ME}/sessions", None, end_sessions),
    Route("POST", DISPLAY, None, set_display),
)
