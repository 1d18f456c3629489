"""The customer's page behind a link of a mail: it shows a question, and its buttons answer once.

The page has no session, cookie or script. Anybody with the link may answer, so it shows nothing about the customer
beyond the mail, sends no referrer, and is not cached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.responses import HTMLResponse, Response

from shroff.errors import ShroffError, TransientError
from shroff.json_types import JsonObject, TextMapping
from shroff.notices.customer_answers import ANSWERS, WORDS_MAX
from shroff.notices.texts.words import LANGUAGES, WORDS
from shroff.people.access import network_of
from shroff.runtime.texts import one_line
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route
from shroff.web.pages.renderer import environment

if TYPE_CHECKING:
    from shroff.notices.customer_confirmation import Page
    from shroff.web.service import Service

BODY_BYTES_MAX = 4_096  # for 300 characters of four bytes, each written as %xx
ASKING = ("question", "why")
ANSWERED = dict.fromkeys(ASKING, 400) | dict.fromkeys(("again", "appealed", "upheld", "overturned"), 409)
STATUS = {"forged": 404, "late": 410}
POLICY = (
    "default-src 'none'; style-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-robots-tag": "noindex, nofollow",
    "cross-origin-opener-policy": "same-origin",
}


async def show(service: Service, request: Request) -> Response:
    """Show the page of a link. It changes nothing, since programs that scan mails open links."""
    if is_too_much(service, request):
        return _busy(request, 429)
    try:
        page = await service.in_thread(service.confirming.page, request.path_params["token"], _language(request))
    except ShroffError as error:
        return _away(service, request, error)
    return _page(page, request)


async def answer(service: Service, request: Request) -> Response:
    if is_too_much(service, request):
        return _busy(request, 429)
    choice, remark = _answer(await request.body(BODY_BYTES_MAX))
    token = request.path_params["token"]
    language = _language(request)
    try:
        if choice:
            page = await service.in_thread(service.confirming.answer, token, choice, language, remark)
        else:
            page = await service.in_thread(service.confirming.page, token, language)
    except ShroffError as error:
        return _away(service, request, error)
    if page.kind in {"yes", "no", "wrong"}:
        service.writer.queue.wake()  # the label waits in the log's inbox
    return _page(page, request, status=ANSWERED.get(page.kind, 0) if choice or page.kind in ASKING else 0)


def _away(service: Service, request: Request, error: ShroffError) -> Response:
    if not isinstance(error, TransientError):
        service.tell(f"customers cannot answer: {error}")
    return _busy(request, 503)


def _answer(body: bytes) -> tuple[str, str]:
    try:
        form = dict(parse_qsl(body.decode("ascii"), max_num_fields=4))
    except ValueError:
        return "", ""
    choice = form.get("answer", "")
    remark = one_line(" ".join(form.get("words", "").split()))
    return (choice, remark) if choice in ANSWERS and len(remark) <= WORDS_MAX else ("", "")


def _language(request: Request) -> str:
    language = request.query_params.get("language", "")
    return language if language in LANGUAGES else ""


def is_too_much(service: Service, request: Request) -> bool:
    return service.strangers.wait_s_of(network_of(request.address), 1) > 0


def _busy(request: Request, status: int) -> Response:
    language = _language(request) or LANGUAGES[0]
    values: JsonObject = {"words": WORDS[language], "language": language, "sender": "", "others": []}
    return _rendered("busy", values, status, HEADERS | {"retry-after": "60"})


def _page(page: Page, request: Request, status: int = 0) -> Response:
    values = dict(page.values)
    if not _language(request) and page.kind == "forged":
        values |= _as_asked(request, values)
    return _rendered(page.kind, values, status or STATUS.get(page.kind, 200))


def _as_asked(request: Request, values: JsonObject) -> JsonObject:
    preferred = request.headers.get("accept-language", "")[:2].lower()
    if preferred not in LANGUAGES or preferred == values["language"]:
        return {}
    others = [(language, WORDS[language]["language"]) for language in LANGUAGES if language != preferred]
    is_own = values["help"] not in {word["help"] for word in WORDS.values()}
    help_ = values["help"] if is_own else WORDS[preferred]["help"]
    return {"words": WORDS[preferred], "language": preferred, "others": others, "help": help_}


def _rendered(kind: str, values: JsonObject, status: int, headers: TextMapping = HEADERS) -> Response:
    name = f"confirm_{kind}.html" if kind in ASKING else "confirm_end.html"
    text = environment().get_template(name).render(**values, kind=kind)
    return HTMLResponse(text, status, headers)


ROUTES = (Route("GET", "/confirm/{token}", None, show), Route("POST", "/confirm/{token}", None, answer))
