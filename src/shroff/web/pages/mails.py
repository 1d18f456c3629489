"""Pages of mails: the built-in mailbox, the outbox, and a preview of each notice.

The HTML of a mail is shown in a frame that may run and load nothing, so that its content cannot affect the page.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import HTMLResponse, Response

from shroff.cases.case import FRAUD
from shroff.errors import ShroffError, TransientError, UsageError
from shroff.json_types import JsonObject, TextMapping
from shroff.notices.customer_answers import ANSWERS
from shroff.notices.definitions import OF_EVENTS
from shroff.notices.store import FAILED, OPEN, STATES
from shroff.notices.texts.mails import one_line
from shroff.operations.pagination import cursor_of, next_of, parted
from shroff.people.access import Right
from shroff.people.addresses import masked
from shroff.services.notices.operations import (
    ListNotices,
    MailPreview,
    NoticeTest,
    PreviewNotice,
    RetryLetter,
    UnknownNoticeError,
)
from shroff.web.http.messages import Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.decision import decision_path
from shroff.web.pages.renderer import POLICY, page, see_other

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shroff.cases.case import Alert
    from shroff.notices.definitions import Notice
    from shroff.notices.mailbox import StoredMail
    from shroff.web.service import Service

SHOWN = 50
NOTICES = "/mails/notices"
IN_FRAME = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
_FRAMING = f"{POLICY}; frame-src 'self'"


class PreviewOf(NamedTuple):
    """The event whose mail is previewed, or the day of a report; empty for the newest."""

    event: str
    day: str


async def mailbox(service: Service, request: Request) -> Response:
    project = service.project
    mails, last = parted(await service.in_thread(project.letters.mails, SHOWN + 1), SHOWN)
    asked = await service.in_thread(_asked, service, mails)
    has_server = not project.context.systems.mails_are_files
    context: JsonObject = {"mails": mails, "asked": asked, "is_cut": last is not None, "masked": masked}
    return await page(service, request, "mails.html", **context, has_server=has_server)


async def mail(service: Service, request: Request) -> Response:
    """Show a mail without the customer's link, which only the mail's file has."""
    stored = await _kept(service, request)
    asked = (await service.in_thread(_asked, service, [stored])).get(stored.name)
    folder = service.project.notice_files.mail_folder
    return _framing(await page(service, request, "mail.html", mail=stored, folder=folder, asked=asked, masked=masked))


def _asked(service: Service, mails: Iterable[StoredMail]) -> dict[str, JsonObject]:
    """Return answer, event, path and newest case of each mail with a question; empty if they cannot be read."""
    with suppress(ShroffError):
        asked = {mail.name: service.confirming.asked(mail.token) for mail in mails if mail.token}
        named = (event.partition("/") for _, event in asked.values() if event)
        events = {f"{type_}/{id_}": (type_, id_) for type_, _, id_ in named}
        with service.cases.store.look() as reader:
            alerts = {alert.named: alert for alert in reader.alerts_of(events.values())}
        return {
            name: {
                "said": _answer(state, alerts.get(event)),
                "event": event,
                "path": decision_path(*events[event]) if event else "",
                "case": alerts[event].case if event in alerts else 0,
            }
            for name, (state, event) in asked.items()
        }
    return {}


def _answer(state: str, alert: Alert | None) -> str:
    """Return the customer's answer, which may have come as a label, or else the state of the link."""
    if alert is None or not alert.customer or state in ANSWERS:
        return state
    return {FRAUD: "no", "genuine": "yes"}.get(alert.customer, state)


async def mail_html(service: Service, request: Request) -> Response:
    return _in_frame((await _kept(service, request)).html)


async def _kept(service: Service, request: Request) -> StoredMail:
    mail = await service.in_thread(service.project.letters.mail, request.path_params["name"])
    if mail is None:
        raise ProblemError(404, "no-mail", "There is no such mail", "the mailbox has no mail of this name")
    return mail


# ---- letters


async def letters(service: Service, request: Request) -> Response:
    state = request.query_params.get("state", "")
    before = cursor_of(request.query_params, tuple[int, str])
    waiting, counts, letters, _ = await service.in_thread(service.project.letters.page, state, before, SHOWN + 1)
    rows, last = parted(letters, SHOWN)
    older = None if last is None else next_of((last.made_ms, last.id))
    leaving = await service.in_thread(service.health.leaving, service.work.sinks)
    context: JsonObject = {"letters": rows, "waiting": waiting, "older": older, "before": before}
    failed = {name: count for name, count in counts.items() if name in FAILED}
    further = {
        "counts": counts,
        "failed": failed,
        "state": state,
        "states": STATES,
        "again": FAILED,
        "leaving": leaving,
        "open": OPEN,
        "are_files": service.project.context.systems.mails_are_files,
    }
    return await page(service, request, "letters.html", **context, **further)


async def retry(service: Service, request: Request) -> Response:
    await service.run(request, RetryLetter(id=request.path_params["id"]))
    return see_other("/mails/letters")


# ---- notices


async def notices(service: Service, request: Request) -> Response:
    listing = await service.run(request, ListNotices())
    return await page(service, request, "notices.html", notices=listing.notices)


async def notice(service: Service, request: Request) -> Response:
    return await _notice(service, request, _of(request.query_params))


async def notice_html(service: Service, request: Request) -> Response:
    return _in_frame((await _previewed(service, request, _of(request.query_params))).html)


async def test(service: Service, request: Request) -> Response:
    form = await request.form()
    to = form["to"].strip()
    of = _of(form)
    test = NoticeTest(name=request.path_params["name"], to=to, event=of.event, day=of.day)
    try:
        refused = (await service.run(request, test)).refused
    except UnknownNoticeError:
        raise
    except (UsageError, TransientError) as error:
        refused = [str(error)]
    tried = ("bad", f"Not sent: {refused[0]}") if refused else ("good", f"Sent to {to}.")
    return await _notice(service, request, of, tried, to)


async def _notice(
    service: Service, request: Request, of: PreviewOf, tried: tuple[str, str] | None = None, to: str = ""
) -> Response:
    notice = await _declared(service, request)
    preview: MailPreview | None = None
    why_not = ""
    try:
        preview = await _previewed(service, request, of)
    except UsageError as error:
        why_not = str(error)
    values = {"name": notice.name, "of": of, "mail": preview, "why_not": why_not, "tried": tried}
    kind = {"is_report": notice.on == "report", "is_of_event": notice.on in OF_EVENTS, "asks": notice.asks}
    to = to or _own_address(request)
    return _framing(await page(service, request, "notice.html", **values, **kind, to=to))


def _of(given: TextMapping) -> PreviewOf:
    return PreviewOf(given.get("event", ""), given.get("day", ""))


async def _previewed(service: Service, request: Request, of: PreviewOf) -> MailPreview:
    preview = PreviewNotice(name=request.path_params["name"], event=of.event, day=of.day)
    return await service.run(request, preview)


async def _declared(service: Service, request: Request) -> Notice:
    name = request.path_params["name"]
    notice = (await service.in_thread(lambda: service.project.notice_files.declared)).get(name)
    if notice is None:
        raise UnknownNoticeError(f"notices/{one_line(name)}.yaml is not there")
    return notice


def _own_address(request: Request) -> str:
    assert request.signed_in is not None
    return request.signed_in.user.email


# ---- frames


def _framing(response: Response) -> Response:
    response.headers["content-security-policy"] = _FRAMING
    return response


def _in_frame(html: str) -> Response:
    prefix, tag, suffix = html.partition("<head>")
    text = f'{prefix}{tag}<base target="_blank">{suffix}' if tag else html
    return HTMLResponse(text, headers={"content-security-policy": IN_FRAME})


ROUTES = (
    Route("GET", "/mails", Right.SEND_NOTICES, mailbox, screen=Screen("Mails", "System", 4)),
    Route("GET", "/mails/kept/{name}", Right.SEND_NOTICES, mail),
    Route("GET", "/mails/kept/{name}/html", Right.SEND_NOTICES, mail_html),
    Route("GET", "/mails/letters", Right.SEND_NOTICES, letters, screen=Screen("Outbox", "System", 5)),
    Route("POST", "/mails/letters/{id}/retry", Right.SEND_NOTICES, retry),
    Route("GET", NOTICES, Right.SEND_NOTICES, notices, screen=Screen("Notifications", "System", 6)),
    Route("GET", f"{NOTICES}/{{name}}", Right.SEND_NOTICES, notice),
    Route("GET", f"{NOTICES}/{{name}}/html", Right.SEND_NOTICES, notice_html),
    Route("POST", f"{NOTICES}/{{name}}/test", Right.SEND_NOTICES, test),
)
