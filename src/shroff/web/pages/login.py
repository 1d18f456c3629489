"""Pages to sign in and out: by password, passkey, second factor, one-time link, or an OpenID provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict
from urllib.parse import quote, urlsplit

from starlette.responses import Response

from shroff.errors import PausedError, SignInError, TransientError, UsageError
from shroff.people import factors, links, oidc, passkeys, sessions
from shroff.people.access import network_of
from shroff.people.sessions import SignedIn
from shroff.web.http.address import origin_of
from shroff.web.http.authentication import COOKIE
from shroff.web.http.concurrency_limits import too_many
from shroff.web.http.messages import NOTHING, Form, Json, Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route
from shroff.web.pages.confirm import is_too_much
from shroff.web.pages.renderer import alone, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.people.store import Desk
    from shroff.web.service import Service

VISIT = "shroff_visit"
FIRST = "/"
FACTOR = "/login/factor"
WORK = "/queue"


async def ask(service: Service, request: Request) -> Response:
    """Redirect to the sign-in, which leads back to the requested page."""
    if request.path.startswith("/first/"):  # an address of the first run, which has ended
        back = FIRST
    elif request.method in {"GET", "HEAD"}:
        query = request.scope["query_string"].decode("latin-1")
        back = f"{request.path}?{query}" if query else request.path
    else:
        back = _page_of_form(service, request)
    return see_other("/login" if back == FIRST else f"/login?back={quote(back, safe='')}")


def _page_of_form(service: Service, request: Request) -> str:
    """Return the page from which a form was sent, by its Referer; the first page if that is another site."""
    try:
        page = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return FIRST
    home = urlsplit(service.address.of(request))
    if (page.scheme, page.netloc) != (home.scheme, home.netloc):
        return FIRST
    return oidc.back_of(f"{page.path}?{page.query}" if page.query else page.path)


async def show(service: Service, request: Request) -> Response:
    back = oidc.back_of(request.query_params.get("back", ""))
    return _login(service, back, is_unsaved="unsaved" in request.query_params)


class FormSession(TypedDict):
    """Session of a browser: its user's name, and the CSRF token of its forms; both empty if it has ended."""

    user: str
    csrf: str


async def show_session(service: Service, request: Request) -> Json[FormSession]:
    """Return the browser's session, so that a page can ask the user before it sends a form without one."""
    token = request.cookies.get(COOKIE, "")
    signed_in = await service.known(service.gate.signed_in, token) if token else None
    if signed_in is None:
        return Json({"user": "", "csrf": ""})
    return Json({"user": signed_in.user.name, "csrf": signed_in.csrf})


async def sign_in(service: Service, request: Request) -> Response:
    service.address.check_origin(request)
    form = await request.form()
    name = form["name"]
    back = oidc.back_of(form["back"])
    password = form["password"]
    before = request.cookies.get(COOKIE, "")
    try:
        signed_in = await service.signing.run(
            network_of(request.address), sessions.sign_in, service.desk, name, password, request.address, before
        )
    except (SignInError, ProblemError) as error:  # ProblemError if too many sign in at once
        return _login(service, back, name, sentence(str(error)), _status(error))
    return let_in(service, request, signed_in, back)


async def show_factor(
    service: Service, request: Request, form: Form = NOTHING, mistake: str = "", status: int = 200
) -> Response:
    token = request.cookies.get(COOKIE, "")
    back = form.get("back") or request.query_params.get("back", "")
    try:
        asked = await service.in_thread(factors.asked, service.desk, token)
    except SignInError:
        return see_other("/login")
    return alone("factor.html", status, asked=asked, back=oidc.back_of(back), mistake=mistake)


async def use_factor(service: Service, request: Request) -> Response:
    service.address.check_origin(request)
    form = await request.form()
    token = request.cookies.get(COOKIE, "")
    code, action, password = (form[name] for name in ("code", "do", "password"))
    try:
        signed_in, codes = await service.signing.run(
            network_of(request.address), factors.prove, service.desk, token, code, request.address, action, password
        )
    except (SignInError, ProblemError) as error:
        return await show_factor(service, request, form, sentence(str(error)), _status(error))
    back = oidc.back_of(form["back"])
    response = let_in(service, request, signed_in, back)
    if not codes:
        return response
    page = alone("recovery.html", codes=codes, back=back)
    page.headers["set-cookie"] = response.headers["set-cookie"]
    return page


async def use_passkey(service: Service, request: Request) -> Response:
    """Handle both steps of a passkey: send the challenge, and check the browser's response.

    This signs in, or adds or removes a passkey of a signed-in user.
    """
    service.address.check_origin(request)
    form = await request.form()
    desk = service.desk
    sender = request.address
    back = oidc.back_of(form["back"])
    origin = origin_of(service.address.of(request))
    tokens = [request.cookies.get(name, "") for name in (COOKIE, VISIT)]
    try:
        _refuse_flood(service, request)
        result = await service.signing.run(network_of(sender), passkeys.take, desk, origin, *tokens, form, sender)
    except (SignInError, UsageError, ProblemError) as error:
        return alone("passkey.html", _status(error), begun=None, back=back, mistake=sentence(str(error)))
    if isinstance(result, SignedIn):
        return let_in(service, request, result, back)
    page = alone("passkey.html", begun=result, back=back, mistake="")
    return _with_cookie(service, request, page, VISIT, result[0], passkeys.LASTS_MS // 1_000)


def _status(error: Exception) -> int:
    return 429 if isinstance(error, PausedError) else getattr(error, "status", 403)


async def sign_out(service: Service, request: Request) -> Response:
    token = request.cookies.get(COOKIE, "")
    form = await request.form()
    signed_in = await service.known(service.gate.signed_in, token) if token else None
    if signed_in is not None:
        if not signed_in.is_own(form["csrf"]):
            raise ProblemError(403, "no-csrf", "The form was not sent from this service", "press Sign out there")
        await service.in_thread(sessions.sign_out, service.desk, token)
    return _with_cookie(service, request, see_other("/login"), COOKIE, "", 0)


async def show_link(service: Service, request: Request, form: Form = NOTHING, mistake: str = "") -> Response:
    """Show the page of a one-time link. Opening it changes nothing, since programs that scan mails open links."""
    try:
        user = await service.in_thread(links.asks_for, service.desk, request.path_params["token"])
    except SignInError as error:
        return _link_gone(error)
    names = {name: form[name] for name in ("name", "display_name")}
    return alone("link.html", 422 if mistake else 200, user=user, mistake=mistake, **names)


async def use_link(service: Service, request: Request) -> Response:
    """Use a one-time link: it creates the first admin, or sets a user's password."""
    service.address.check_origin(request)
    form = await request.form()
    token = request.path_params["token"]
    before = request.cookies.get(COOKIE, "")
    try:
        is_first = await service.in_thread(links.asks_for, service.desk, token) is None
        signed_in = await service.signing.run(
            network_of(request.address), _use, service.desk, token, form, request.address, before
        )
    except SignInError as error:
        return _link_gone(error)
    except UsageError as error:
        return await show_link(service, request, form, sentence(str(error)))
    return let_in(service, request, signed_in, WORK if is_first else FIRST)


async def show_once(service: Service, request: Request) -> Response:
    try:
        user = await service.in_thread(links.asks_for, service.desk, request.path_params["token"], links.ONCE)
    except SignInError as error:
        token = request.cookies.get(COOKIE, "")
        is_in = bool(token) and await service.known(service.gate.signed_in, token) is not None
        return see_other(WORK) if is_in else _link_gone(error)
    return alone("once.html", user=user)


async def use_once(service: Service, request: Request) -> Response:
    service.address.check_origin(request)
    token = request.path_params["token"]
    before = request.cookies.get(COOKIE, "")
    try:
        signed_in = await service.in_thread(links.sign_in, service.desk, token, request.address, before)
    except SignInError as error:
        return _link_gone(error)
    return let_in(service, request, signed_in, WORK)


def _link_gone(error: SignInError) -> Response:
    more = sentence(str(error))
    return alone("end.html", 404, title="This link does not work", words=more, way="/login", way_says="Sign in")


def _use(desk: Desk, token: str, form: Form, address: str, before: str) -> SignedIn:
    if form["password"] != form["again"]:
        raise UsageError("the two passwords differ")
    name = form["name"]
    display_name = form["display_name"]
    return links.use(
        desk, token, form["password"], name=name, display_name=display_name or name, address=address, before=before
    )


async def begin_visit(service: Service, request: Request) -> Response:
    _refuse_flood(service, request)
    provider = _provider(service)
    back = request.query_params.get("back", FIRST)
    try:
        begun = await service.in_thread(oidc.begin, service.desk, provider, _redirect_uri(service, request), back)
    except (TransientError, UsageError) as error:
        return _login(service, oidc.back_of(back), mistake=sentence(str(error)), status=503)
    return _with_cookie(service, request, see_other(begun.url), VISIT, begun.token, oidc.LASTS_MS // 1_000)


async def end_visit(service: Service, request: Request) -> Response:
    provider = _provider(service)
    query = request.query_params
    if "error" in query:
        return _login(service, FIRST, mistake="Sign-in with the provider failed. Try again.", status=403)
    answer = oidc.ProviderAnswer(query.get("state", ""), query.get("code", ""), query.get("iss", ""))
    token, before = (request.cookies.get(name, "") for name in (VISIT, COOKIE))
    uri = _redirect_uri(service, request)
    try:
        signed_in, back = await service.in_thread(
            oidc.finish, service.desk, provider, uri, token, answer, request.address, before
        )
    except (SignInError, TransientError, UsageError) as error:
        status = 403 if isinstance(error, SignInError) else 503
        return _login(service, FIRST, mistake=sentence(str(error)), status=status)
    return _with_cookie(service, request, let_in(service, request, signed_in, back), VISIT, "", 0)


def _refuse_flood(service: Service, request: Request) -> None:
    """Raises: ProblemError with 429 for too many requests of one address, since each one is stored for a while."""
    if is_too_much(service, request):
        raise too_many("too many sign-ins begin at this address; try again in a minute")


def _provider(service: Service) -> oidc.Provider:
    provider = service.settings.provider
    if provider is None:
        raise ProblemError(404, "not-found", "Page not found", "no identity provider is configured")
    return provider


def _login(
    service: Service, back: str, name: str = "", mistake: str = "", status: int = 200, *, is_unsaved: bool = False
) -> Response:
    provider = service.settings.provider
    return alone(
        "login.html",
        status,
        back=back,
        name=name,
        mistake=mistake,
        is_unsaved=is_unsaved,
        provider=provider and (urlsplit(provider.issuer).hostname or ""),  # the URL may contain a password
        passwords=service.desk.settings.has_passwords,
        passkeys=passkeys.has_library(),
    )


def let_in(service: Service, request: Request, signed_in: SignedIn, back: str) -> Response:
    """Set the session's cookie and redirect to `back`, or to the second factor if that is still missing."""
    seconds = service.desk.settings.lasts_ms // 1_000
    path = f"{FACTOR}?back={quote(back, safe='')}" if signed_in.is_half else back
    return _with_cookie(service, request, see_other(path), COOKIE, signed_in.token, seconds)


def _with_cookie(
    service: Service, request: Request, response: Response, name: str, value: str, seconds: int
) -> Response:
    secure = "; Secure" if service.address.is_encrypted(request) else ""
    text = f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    response.headers.append("set-cookie", text)
    return response


def _redirect_uri(service: Service, request: Request) -> str:
    return service.address.of(request) + oidc.PATH


ROUTES = (
    Route("GET", "/login", None, show),
    Route("POST", "/login", None, sign_in),
    Route("GET", "/login/session", None, show_session, is_plain=True),
    Route("GET", FACTOR, None, show_factor),
    Route("POST", FACTOR, None, use_factor),
    Route("POST", "/login/passkey", None, use_passkey),
    Route("POST", "/login/out", None, sign_out),
    Route("GET", f"{links.PATH}{{token}}", None, show_link),
    Route("POST", f"{links.PATH}{{token}}", None, use_link),
    Route("GET", f"{links.ONCE}{{token}}", None, show_once),
    Route("POST", f"{links.ONCE}{{token}}", None, use_once),
    Route("GET", f"{oidc.PATH}/begin", None, begin_visit),
    Route("GET", oidc.PATH, None, end_visit),
)
