"""Operations on notices: declarations, previews, test mails, letters, the built-in mailbox, questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from msgspec import UNSET, UnsetType

from shroff.errors import RefusalError, UsageError
from shroff.events.event import TimeText, time_text
from shroff.notices.store import FAILED, OPEN, STATES, OutgoingMessage
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, Record, group, operation
from shroff.operations.pagination import LIMIT, BadQueryError, Cursor, Limit, cursor_of, next_of, parted
from shroff.people.access import Who
from shroff.runtime.texts import TextTable, cut, many, one_line
from shroff.services.notices.files import NoticeFiles, SentLetters
from shroff.services.notices.views import NoticeViews

if TYPE_CHECKING:
    from shroff.notices.mailbox import StoredMail

REASON_MAX = 80  # characters of a reason in a list
BODY_BYTES_MAX = 4_096
Name = Annotated[str, Param("The notice.")]
EventOf = Annotated[str, Param("The event of the mail, as payment/p-1.  [default: the newest]")]
DayOf = Annotated[str, Param("The day of a report, as 2026-03-01.  [default: the last that was due]")]
LetterId = Annotated[str, Param("The letter.")]

group(
    "notices",
    """List notices, preview their mails, send a test, and resend failed letters.

    Examples:
        shroff notices
        shroff notices preview customer --event payment/p-1
        shroff notices test customer ann@bank.example
    """,
)


class UnknownMailError(RefusalError):
    """The mailbox has no mail of this name."""

    status, code, title = 404, "no-mail", "There is no such mail"


class UnknownNoticeError(RefusalError):
    """No notice has this name."""

    status, code, title = 404, "no-notice", "There is no such notice"


# ---- notices


class ListNotices(OperationRequest["Notices"]):
    pass


class NoticeShown(OperationAnswer):
    """A notice, without secrets and recipients' addresses."""

    name: str
    on: str
    event: str | None
    channel: str
    to: str | None
    asks: bool
    digest_s: float | None
    has_quiet_hours: bool
    verbose: bool

    @property
    def how(self) -> list[str]:
        applies = {"asks": self.asks, "digest": self.digest_s, "quiet hours": self.has_quiet_hours}
        return [word for word in applies if applies[word]]


class Notices(OperationAnswer):
    """The notices of the project."""

    notices: list[NoticeShown]

    TABLE: ClassVar = TextTable(
        {"notice": "name", "on": "on", "event": "event", "by": "channel", "how": "how"},
        "notices",
        empty="This project has no notices.",
    )

    def hints(self) -> Sequence[str]:
        return [f"shroff notices preview {self.notices[0].name}", "shroff notices letters"] if self.notices else ()


@operation("notices list", right="send:notices", http="GET /notices")
def list_notices(files: NoticeFiles, request: ListNotices) -> Notices:
    """List the notices of the project with their triggers and channels.

    Examples:
        shroff notices list
    """
    return Notices(
        notices=[
            NoticeShown(
                name=notice.name,
                on=notice.on,
                event=notice.event or None,
                channel=notice.channel,
                to=notice.recipient,
                asks=notice.asks,
                digest_s=notice.digest_ms / 1_000 if notice.digest_ms else None,
                has_quiet_hours=bool(notice.quiet),
                verbose=notice.is_verbose,
            )
            for notice in files.declared.values()
        ]
    )


def _check_known(files: NoticeFiles, name: str) -> None:
    try:
        files.one(name)
    except UsageError as error:
        raise UnknownNoticeError(str(error)) from None


class PreviewNotice(OperationRequest["MailPreview"]):
    """
    Args:
        html_file (FILE): Write the HTML into this file.
    """

    name: Name
    event: EventOf = ""
    day: DayOf = ""
    html_file: Annotated[Path | None, Param(flags="--html", is_local=True)] = None


class MailPreview(OperationAnswer, rename={"plain": "text"}):
    """Subject, plain text and HTML."""

    subject: str
    plain: str
    html: str

    def text(self) -> str:
        return f"Subject: {self.subject}\n\n{self.plain}"


@operation("notices preview", right="send:notices", http="GET /notices/{name}/preview", refusals=[UnknownNoticeError])
def preview_notice(files: NoticeFiles, notices: NoticeViews, request: PreviewNotice) -> MailPreview:
    """Preview the mail of a notice. Nothing is sent, and the link in it does not work.

    Examples:
        shroff notices preview customer
        shroff notices preview customer --event payment/p-1 --html mail.html
        shroff notices preview daily_figures --day 2026-03-04
    """
    from shroff.notices.mailbox import parts_of

    _check_known(files, request.name)
    subject, plain, html = parts_of(notices.preview(request.name, request.event, request.day).data)
    if request.html_file is not None:
        request.html_file.write_text(html, encoding="utf-8")
    return MailPreview(subject=subject, plain=plain, html=html)


class NoticeTest(OperationRequest["TestSent"]):
    """
    Args:
        to (ADDRESS): The recipient of the mail.
    """

    name: Name
    to: str
    event: EventOf = ""
    day: DayOf = ""


class TestSent(OperationAnswer):
    """Result of a test mail: accepted by the mail server, or the refused addresses.

    `folder` is where its file is if no server is set, for commands and programs on this machine.
    """

    sent: bool
    refused: list[str]
    folder: str | UnsetType = UNSET
    STATUS: ClassVar = "sent"

    def text(self) -> str:
        if self.refused:
            return f"It was refused: {self.refused[0]}"
        return f"It was accepted.{f' It is a file in {self.folder}.' if self.folder else ''}"


@operation(
    "notices test",
    right="send:notices",
    http="POST /notices/{name}/test",
    body_bytes_max=BODY_BYTES_MAX,
    audit="notice.test",
    refusals=[UnknownNoticeError],
)
def send_test(files: NoticeFiles, notices: NoticeViews, who: Who, record: Record, request: NoticeTest) -> TestSent:
    """Send the mail of a notice to an address, marked as a test. Exit status 1 if it is refused.

    Examples:
        shroff notices test customer ann@bank.example
    """
    _check_known(files, request.name)
    record(f"notice {request.name}", after={"event": request.event})
    refused = notices.test(request.name, request.to, request.event, request.day)
    folder = files.mail_folder if who.kind in {"command", "program"} else None
    return TestSent(sent=not refused, refused=refused, folder=folder or UNSET)


# ---- letters


class ListLetters(OperationRequest["LetterPage"]):
    state: Annotated[
        str, Param(f"Only letters in these states, with commas: {', '.join(STATES)}. Open: waiting or deferred.")
    ] = ""
    limit: Limit = LIMIT
    cursor: Cursor = ""


class LetterShown(OperationAnswer):
    """A message in the outbox, with its recipient masked as needed."""

    id: str
    notice: str
    rule: str | None
    to: str
    state: str
    attempts: int
    made: TimeText
    due: TimeText | None
    done: TimeText | None
    reason: str | None
    NEXT: ClassVar = ("shroff notices letters",)

    def text(self) -> str:
        return "It is sent again when a service or a worker runs." if self.state == OPEN else "It is not sent again."


def _letter(letter: OutgoingMessage) -> LetterShown:
    return LetterShown(
        id=letter.id,
        notice=letter.notice,
        rule=letter.rule or None,
        to=letter.shown,
        state=letter.state,
        attempts=letter.attempts,
        made=time_text(letter.made_ms),
        due=time_text(letter.due_ms) if letter.state == OPEN else None,
        done=time_text(letter.done_ms) if letter.done_ms else None,
        reason=letter.reason or None,
    )


def _state(letter: LetterShown) -> str:
    if letter.state != OPEN:
        return letter.state
    return "deferred" if letter.reason else "waiting"


LETTERS: Final = TextTable(
    {
        "letter": "id",
        "notice": "notice",
        "to": "to",
        "state": _state,
        "attempts": "attempts",
        "reason": lambda letter: cut(letter.reason or "", REASON_MAX),
    }
)


class LetterPage(OperationAnswer):
    """A page of letters, the number of pending notices, and what blocks all sending."""

    waiting: int
    trouble: str | None
    next: str | None
    letters: list[LetterShown]

    def text(self) -> str:
        return (
            f"{LETTERS.text(self.letters) or 'No letters.'}\n{many(self.waiting, 'notification')} not in a message yet."
        )

    def hints(self) -> Sequence[str]:
        failed = [letter.id for letter in self.letters if letter.state in FAILED]
        return [f"shroff notices retry {failed[0]}", f"shroff notices drop {failed[0]}"] if failed else ()


@operation("notices letters", right="send:notices", http="GET /outbox", refusals=[BadQueryError])
def list_letters(letters: SentLetters, request: ListLetters) -> LetterPage:
    """List the newest letters (mails, calls and documents): sent, waiting or refused.

    Examples:
        shroff notices letters
        shroff notices letters --state refused
    """
    before = cursor_of({"cursor": request.cursor}, tuple[int, str])
    waiting, _, rows, failing = letters.page(request.state, before, request.limit + 1)
    shown, last = parted(rows, request.limit)
    return LetterPage(
        waiting=waiting,
        trouble=failing[0].reason if failing else None,
        next=None if last is None else next_of((last.made_ms, last.id)),
        letters=[_letter(row) for row in shown],
    )


class RetryLetter(OperationRequest[LetterShown]):
    id: LetterId


@operation("notices retry", right="send:notices", http="POST /outbox/{id}/retry", audit="notice.retry")
def retry_letter(letters: SentLetters, record: Record, request: RetryLetter) -> LetterShown:
    """Send a letter again that was refused, or whose delivery is unknown.

    Examples:
        shroff notices retry 4f2a09c1d7e3b85566aa01fe
    """
    record(f"letter {one_line(request.id)}")
    return _letter(letters.retry(request.id))


class DropLetter(OperationRequest[LetterShown]):
    id: LetterId


@operation("notices drop", right="send:notices")
def drop_letter(letters: SentLetters, request: DropLetter) -> LetterShown:
    """Drop a letter that was refused, or whose delivery is unknown: 'doctor' no longer counts it.

    Examples:
        shroff notices drop 4f2a09c1d7e3b85566aa01fe
    """
    return _letter(letters.drop(request.id))


# ---- the built-in mailbox


class ListMails(OperationRequest["Mailbox"]):
    limit: Limit = LIMIT


class KeptMail(OperationAnswer, rename={"sender": "from", "plain": "text"}):
    """A mail of the built-in mailbox; a list leaves its texts out."""

    name: str
    subject: str
    sender: str
    to: str
    at: TimeText
    plain: str | UnsetType = UNSET
    html: str | UnsetType = UNSET


class Mailbox(OperationAnswer):
    """The newest mails of the built-in mailbox, without their texts."""

    mails: list[KeptMail]


def _kept(mail: StoredMail) -> KeptMail:
    return KeptMail(name=mail.name, subject=mail.subject, sender=mail.sender, to=mail.to, at=time_text(mail.at_ms))


@operation("notices mailbox", right="send:notices", http="GET /mailbox", has_command=False)
def list_mails(letters: SentLetters, request: ListMails) -> Mailbox:
    """List the built-in mailbox: mails stored as files, if no mail server is set."""
    return Mailbox(mails=[_kept(mail) for mail in letters.mails(request.limit)])


class ShowMail(OperationRequest[KeptMail]):
    """
    Args:
        name: The mail.
    """

    name: str


@operation(
    "notices mail", right="send:notices", http="GET /mailbox/{name}", refusals=[UnknownMailError], has_command=False
)
def show_mail(letters: SentLetters, request: ShowMail) -> KeptMail:
    """Get one mail of the built-in mailbox."""
    mail = letters.mail(request.name)
    if mail is None:
        raise UnknownMailError("the mailbox has no mail of this name")
    shown = _kept(mail)
    shown.plain, shown.html = mail.text, mail.html
    return shown


# ---- questions to customers


class ListQuestions(OperationRequest["Questions"]):
    """
    Args:
        event: The event type.
        id: The event's id.
    """

    event: str
    id: str


class QuestionShown(OperationAnswer):
    """A question to a customer, and the answer: nothing of its link, and not who was asked."""

    notice: str
    event: str
    asked: TimeText
    until: TimeText
    answer: str | None
    answered: TimeText | None
    released: bool


class Questions(OperationAnswer):
    """The questions about one decision, oldest first."""

    questions: list[QuestionShown]


@operation("notices questions", right="read:decisions", http="GET /decisions/{event}/{id}/questions", has_command=False)
def list_questions(letters: SentLetters, request: ListQuestions) -> Questions:
    """List the questions to customers about a decision, and their answers."""
    return Questions(
        questions=[
            QuestionShown(
                notice=question.notice,
                event=question.event,
                asked=time_text(question.made_ms),
                until=time_text(question.ends_ms),
                answer=question.answer or None,
                answered=time_text(question.answered_ms) if question.answer else None,
                released=question.is_released,
            )
            for question in letters.questions(f"{request.event}/{request.id}")
        ]
    )


class LinkReasons(OperationRequest["ReasonsLink"]):
    """
    Args:
        event: Its event, as payment/p-1.
    """

    event: str


class ReasonsLink(OperationAnswer):
    """The link, and until when it shows the reasons."""

    link: str
    until: TimeText

    def text(self) -> str:
        return self.link


@operation("why", right="work:cases", http="POST /notices/why", body_bytes_max=BODY_BYTES_MAX, audit="notice.link")
def link_reasons(letters: SentLetters, record: Record, request: LinkReasons) -> ReasonsLink:
    """Make a link for the customer to a page with the reasons of a decision, where they can say that it is wrong.

    The page names no rule, feature or threshold; its texts are `reasons` of a notice. Anybody with the link can use it.
    "This is wrong" opens a case, and its answer by an analyst is on the page, in a notice, and a label.

    Examples:
        shroff why payment/p-1
    """
    link, question = letters.link(request.event)
    record(request.event, after={"until": time_text(question.ends_ms)})
    return ReasonsLink(link=link, until=time_text(question.ends_ms))
