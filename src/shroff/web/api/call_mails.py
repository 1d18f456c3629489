"""Calls of earlier services (calls.yaml) that send mails: only to recipients that the call names, once for each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shroff.errors import UsageError
from shroff.people.audit import Act
from shroff.web.http.problems import ProblemError

if TYPE_CHECKING:
    from shroff.project.questions import AskingCall, MailAsked
    from shroff.web.http.messages import Request
    from shroff.web.service import Service

KEY: Final = "Idempotency-Key"
KEY_LENGTH_MAX: Final = 200
HEADERS: Final = {KEY: "A text of your own for this mail: the same request with the same key sends nothing again."}
MAIL_PROBLEMS: Final = {
    400: "",
    409: "The key was used for another mail, or nobody knows whether its mail was sent.",
    415: "The body is no JSON.",
    422: "The body is refused, a recipient is none of the call's, or the mail server accepts none of them.",
    429: "",
}


async def sent(service: Service, request: Request, call: AskingCall, mail: MailAsked) -> dict[str, Any]:
    """Send a mail, and say to how many. Raises: ProblemError where nothing is sent; TransientError."""
    strangers = [one for one in mail.to if one not in call.recipients]
    if strangers:
        words = f"{len(strangers)} of the recipients are none of calls.yaml; nothing was sent"
        raise ProblemError(422, "bad-recipient", "The request was refused", words)
    key = request.headers.get(KEY, "")
    if len(key) > KEY_LENGTH_MAX:
        words = f"{KEY}: it has {KEY_LENGTH_MAX} characters at most"
        raise ProblemError(400, "bad-header", "A header cannot be read", words)
    to = list(dict.fromkeys(mail.to))
    await service.recorded(Act(request.who, "mail.send", f"call {call.path}", None, {"recipients": len(to)}))
    letters = service.project.letters
    try:
        refused = await service.in_thread(letters.send_once, call.path, to, mail.subject, mail.text, key)
    except UsageError as error:
        raise ProblemError(409, "not-sent", "The mail was not sent", str(error)) from None
    if len(refused) >= len(to):
        raise ProblemError(422, "mail-refused", "The mail server refused the mail", refused[0])
    return {"sent": len(to) - len(refused)}
