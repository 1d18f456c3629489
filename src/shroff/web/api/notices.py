"""Notices over HTTP: what is declared, previews and tests, what waits and what was refused, the built-in mailbox."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Final, NotRequired, TypedDict

import msgspec

from shroff.events.event import TimeText, time_text
from shroff.notices.mailbox import StoredMail, kept_mail, kept_mails
from shroff.notices.store import FAILED, OPEN, REFUSED, SENT, STATES, UNKNOWN, OutgoingMessage, Question
from shroff.notices.texts.mails import one_line
from shroff.operations.pagination import cursor_of, limit_of, next_of, parted
from shroff.people.access import Right
from shroff.people.audit import Act
from shroff.web.http.messages import Json, Request, decoded
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.notices.definitions import Notice
    from shroff.notices.mailer import Mail
    from shroff.web.service import Service

BODY_BYTES_MAX: Final = 4_096


class NoticeTest(msgspec.Struct, forbid_unknown_fields=True):
    """The recipient of a test mail, and its event or, for a report, its day."""

    to: str
    event: str = ""
    day: str = ""


class NoticeShown(TypedDict):
    """A notice, without secrets and recipients' addresses."""

    name: str
    on: str
    event: str | None
    channel: str
    to: str | None
    asks: bool
    digest_s: float | None
    verbose: bool


class Notices(TypedDict):
    """The notices of the project."""

    notices: list[NoticeShown]


class MailPreview(TypedDict):
    """The subject and the texts of a mail."""

    subject: str
    text: str
    html: str


class TestSent(TypedDict):
    """Result of a test mail: accepted by the mail server, or the refused addresses."""

    sent: bool
    refused: list[str]


class LetterShown(TypedDict):
    """A message in the outbox, with its recipient masked as needed."""

    id: str
    notice: str
    rule: str | None
    to: str
    state: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(STATES)})]
    attempts: int
    made: TimeText
    due: TimeText | None
    done: TimeText | None
    reason: str | None


class Outbox(TypedDict):
    """A page of letters, the number of pending notices, and what blocks all sending."""

    waiting: int
    trouble: str | None
    next: str | None
    letters: list[LetterShown]


KeptMail = TypedDict(
    "KeptMail",
    {
        "name": str,
        "subject": str,
        "from": str,
        "to": str,
        "at": TimeText,
        "text": NotRequired[str],
        "html": NotRequired[str],
    },
)


class Mailbox(TypedDict):
    """The newest mails of the built-in mailbox, without their texts."""

    mails: list[KeptMail]


class QuestionShown(TypedDict):
    """A question to a customer, and the answer."""

    notice: str
    event: str
    asked: TimeText
    until: TimeText
    answer: str | None
    answered: TimeText | None
    released: bool


class Questions(TypedDict):
    """The questions about one decision, oldest first."""

    questions: list[QuestionShown]


async def all_notices(service: Service, request: Request) -> Json[Notices]:
    """The notices of the project."""
    found = await service.in_thread(lambda: service.project.notice_files.declared)
    return Json({"notices": [notice_shown(one) for one in found.values()]})


async def preview(service: Service, request: Request) -> Json[MailPreview]:
    """The mail that a notice would send."""
    name, query = request.path_params["name"], request.query_params
    await _known(service, name)
    mail = await service.in_thread(service.project.notices.preview, name, query.get("event", ""), query.get("day", ""))
    return Json(mail_shown(mail))


async def test(service: Service, request: Request) -> Json[TestSent]:
    """Send that mail to an address, now."""
    given = decoded(await request.body(BODY_BYTES_MAX), NoticeTest)
    name = request.path_params["name"]
    await _known(service, name)
    await service.recorded(Act(request.who, "notice.test", f"notice {name}", None, {"event": given.event}))
    refused = await service.in_thread(service.project.notices.test, name, given.to, given.event, given.day)
    return Json({"sent": not refused, "refused": refused})


async def outbox(service: Service, request: Request) -> Json[Outbox]:
    """Pending notices, and letters in a state."""
    query = request.query_params
    states = [one for one in query.get("state", "").split(",") if one]
    if any(state not in STATES for state in states):
        raise ProblemError(400, "bad-query", "The query cannot be read", f"state: of {', '.join(STATES)}")
    limit, before = limit_of(query), cursor_of(query, tuple[int, str])
    waiting, _, found = await service.in_thread(letters_of, service.project, states, before, limit + 1)
    letters, last = parted(found, limit)
    cursor = None if last is None else next_of((last.made_ms, last.id))
    trouble = [sink.trouble.words for sink in service.work.sinks if sink.trouble is not None and sink.name == "notices"]
    return Json(
        {
            "waiting": waiting,
            "trouble": trouble[0] if trouble else None,
            "next": cursor,
            "letters": [letter_shown(letter) for letter in letters],
        }
    )


async def retry(service: Service, request: Request) -> Json[LetterShown]:
    """Have a letter leave again that was refused."""
    id_ = request.path_params["id"]
    await service.recorded(Act(request.who, "notice.retry", f"letter {one_line(id_)}"))
    return Json(letter_shown(await service.in_thread(service.project.letters.retry, id_)))


async def mailbox(service: Service, request: Request) -> Json[Mailbox]:
    """The mails that lie as files, where no server takes them."""
    limit = limit_of(request.query_params)
    found = await service.in_thread(kept_mails, service.project.opened.places.mail, limit)
    return Json({"mails": [_kept_shown(one, is_whole=False) for one in found]})


async def mailbox_mail(service: Service, request: Request) -> Json[KeptMail]:
    """One of them, with its texts."""
    found = await service.in_thread(kept_mail, service.project.opened.places.mail, request.path_params["name"])
    if found is None:
        raise ProblemError(404, "no-mail", "There is no such mail", "the mailbox has no mail of this name")
    return Json(_kept_shown(found, is_whole=True))


async def questions(service: Service, request: Request) -> Json[Questions]:
    """Questions to customers about a decision, and their answers."""
    event = f"{request.path_params['event']}/{request.path_params['id']}"
    found = await service.in_thread(_questions, service.project, event)
    return Json({"questions": [question_shown(one) for one in found]})


# ---- how it is shown


def notice_shown(one: Notice) -> NoticeShown:
    """A notice, without secrets and addresses of recipients."""
    return {
        "name": one.name,
        "on": one.on,
        "event": one.event or None,
        "channel": one.channel,
        "to": one.recipient,
        "asks": one.asks,
        "digest_s": one.digest_ms / 1_000 if one.digest_ms else None,
        "verbose": one.is_verbose,
    }


def letter_shown(one: OutgoingMessage) -> LetterShown:
    """A letter, to whom only as people may see it."""
    return {
        "id": one.id,
        "notice": one.notice,
        "rule": one.rule or None,
        "to": one.shown,
        "state": one.state,
        "attempts": one.attempts,
        "made": time_text(one.made_ms),
        "due": time_text(one.due_ms) if one.state == OPEN else None,
        "done": time_text(one.done_ms) if one.done_ms else None,
        "reason": one.reason or None,
    }


def question_shown(one: Question) -> QuestionShown:
    """A question: nothing of its link, and not who was asked."""
    return {
        "notice": one.notice,
        "event": one.event,
        "asked": time_text(one.made_ms),
        "until": time_text(one.ends_ms),
        "answer": one.answer or None,
        "answered": time_text(one.answered_ms) if one.answer else None,
        "released": one.is_released,
    }


def mail_shown(mail: Mail) -> MailPreview:
    """The subject and the texts of a mail."""
    from email import message_from_bytes
    from email.policy import SMTP

    message = message_from_bytes(mail.data, policy=SMTP)
    plain, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    return {
        "subject": str(message["Subject"]),
        "text": "" if plain is None else plain.get_content(),
        "html": "" if html is None else html.get_content(),
    }


def _kept_shown(one: StoredMail, *, is_whole: bool) -> KeptMail:
    head: KeptMail = {
        "name": one.name,
        "subject": one.subject,
        "from": one.sender,
        "to": one.to,
        "at": time_text(one.at_ms),
    }
    return {**head, "text": one.text, "html": one.html} if is_whole else head


def letters_of(
    project: Project, states: list[str], before: tuple[int, str] | None, limit: int
) -> tuple[int, dict[str, int], list[OutgoingMessage]]:
    """How much waits to become letters; letters that are not done, by state; those in states, or all, newest first."""
    with closing(project.notice_files.open_store()) as store, store.look() as look:
        return (
            look.count_waiting(),
            look.count_letters((OPEN, *FAILED)),
            look.letters(states, before=before, limit=limit),
        )


def _questions(project: Project, event: str) -> list[Question]:
    with closing(project.notice_files.open_store()) as store, store.look() as look:
        return look.questions_about([event])


async def _known(service: Service, name: str) -> None:
    """Raises: ProblemError with 404 where there is no notice of this name."""
    if name not in await service.in_thread(lambda: service.project.notice_files.declared):
        raise ProblemError(404, "no-notice", "There is no such notice", f"notices/{one_line(name)}.yaml is not there")


ROUTES: Final = (
    api("GET", "/notices", Right.SEND_NOTICES, all_notices)(
        "List the notices of the project.", "Each notice, without secrets."
    ),
    api("GET", "/notices/{name}/preview", Right.SEND_NOTICES, preview)(
        "Preview the mail of a notice. Nothing is sent, and the link in it does not work.",
        "Subject, plain text and HTML.",
        problems={400: "", 404: "No notice has this name."},
        query={
            "event": "The event, such as payment/p-1. Default: the newest that fits.",
            "day": "The day of a report, such as 2026-03-01. Default: the last that was due.",
        },
    ),
    api("POST", "/notices/{name}/test", Right.SEND_NOTICES, test)(
        "Send the mail of a notice to an address, marked as a test.",
        "Whether the mail server accepted it, or why not.",
        NoticeTest,
        {404: "No notice has this name.", 422: "The body is refused."},
    ),
    api("GET", "/outbox", Right.SEND_NOTICES, outbox)(
        "List the messages of notices in the outbox (letters): mails, calls and documents, newest first.",
        "A page of letters, the number of pending notices, and what blocks all sending.",
        problems={400: ""},
        query={
            "state": f"Only letters in these states, with commas: {OPEN}, {SENT}, {REFUSED}, {UNKNOWN}, dropped.",
            "limit": "Maximum number, 1 to 500. Default: 50.",
            "cursor": "`next` of the previous page.",
        },
    ),
    api("POST", "/outbox/{id}/retry", Right.SEND_NOTICES, retry)(
        "Send a letter again that was refused, or whose delivery is unknown.", "The letter.", problems={400: ""}
    ),
    api("GET", "/mailbox", Right.SEND_NOTICES, mailbox)(
        "List the built-in mailbox: mails stored as files, if no mail server is set.",
        "The newest mails, without their texts.",
        problems={400: ""},
        query={"limit": "Maximum number, 1 to 500. Default: 50."},
    ),
    api("GET", "/mailbox/{name}", Right.SEND_NOTICES, mailbox_mail)(
        "Get one mail of the built-in mailbox.", "The mail with its texts.", problems={400: "", 404: ""}
    ),
    api("GET", "/decisions/{event}/{id}/questions", Right.READ_DECISIONS, questions)(
        "List the questions to customers about a decision, and their answers.",
        "The questions, oldest first.",
        problems={400: ""},
    ),
)
