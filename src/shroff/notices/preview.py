"""Trying notices: previews, test mails, and letters sent again by hand."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import closing
from datetime import date
from email import message_from_bytes
from email.policy import SMTP
from typing import TYPE_CHECKING, Final

from shroff.errors import UsageError
from shroff.json_types import JsonMapping
from shroff.notices.customer_answers import PATH
from shroff.notices.definitions import OF_EVENTS, Notice
from shroff.notices.facts import NoticeEvent
from shroff.notices.mailer import Mail
from shroff.notices.notification_routes import addresses_of
from shroff.notices.reports.daily import day_before, due_for, report_due, report_values
from shroff.notices.reports.report_figures import reckoned
from shroff.notices.services import NoticeServices
from shroff.notices.store import DROPPED, FAILED, NO_ONE, OPEN, Due, OutgoingMessage, Question
from shroff.notices.texts.letters import Letters
from shroff.notices.texts.mails import RenderedText, mail_of
from shroff.notices.triggers import due_of
from shroff.people.addresses import is_address
from shroff.runtime.values import replace
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.notices.sql import NoticeStore

LOOK_BACK = 2_000  # records searched for an event to show
NOWHERE = "preview@localhost"
NO_LINK = "preview-this-link-answers-nothing"
_SAMPLES: Final[Mapping[str, JsonMapping]] = {
    "failure": {"words": "sink decided is failing: its server does not answer"},
    "spike": {"count": 120, "usual": "4.0"},
    "traffic": {
        "field": "merchant",
        "value": "m-17",
        "count": 14,
        "usual": "0.3",
        "minutes": 15,
        "path": "/decisions?text=m-17",
    },
    "case": {"case": 12, "words": "9 payments in 10 minutes"},
    "verdict": {"verdict": "genuine", "source": "analyst", "old_verdict": "fraud", "old_source": "customer"},
    "answer": {"answer": "no", "released": False},
    "sent": {"of": "customer", "words": ""},
    "refused": {"of": "customer", "words": "550 no such mailbox"},
    "nothing": {"count": 4_812},
}


def preview(services: NoticeServices, notice: Notice, log: Log, event: str = "", day: date | None = None) -> Mail:
    """Render the mail that a notice would send for an event, or for the report of a day, with current data.

    Raises: UsageError if the notice sends no mail, or there is nothing to show.
    """
    if day is not None and notice.on != "report":
        raise UsageError(f"notice {notice.name} is not a report, so it is of no day. Name an event.")
    if notice.channel != "mail":
        raise UsageError(f"notice {notice.name} sends no mail: it is for a {notice.channel}.")
    letters = services.letters
    event_facts = None
    if notice.on in OF_EVENTS:
        event_facts = _event(letters, notice, log, event)
    if notice.on == "report":
        now_ms = services.now_ms()
        due = report_due(notice, now_ms) or _yesterday(notice, now_ms) if day is None else due_for(notice, day, now_ms)
        rendered = letters.report(notice, report_values(services, notice, due, log))
    else:
        rendered = _render_preview(services, letters, notice, event_facts, log)
    if rendered.trouble:
        raise UsageError(rendered.trouble)
    addresses = addresses_of(services, letters.facts, notice, event_facts) or (NOWHERE,)
    return mail_of(
        rendered, id=preview_id(notice.name), sender=services.mail_from, recipients=addresses, made_ms=services.now_ms()
    )


def preview_id(notice: str) -> str:
    """Return the id of all previews and tests of a notice."""
    return f"preview-{notice}"


def _event(letters: Letters, notice: Notice, log: Log, event: str) -> NoticeEvent:
    if event:
        event_facts = letters.facts.notice_event(log, event)
        if event_facts is None:
            raise UsageError(f"there is no event {event!r}. Name one as payment/p-1.")
        return event_facts
    last = log.last_seq()
    records = [row for rows in log.read(max(last - LOOK_BACK, log.pruned_to()), last) for row in rows]
    for record in reversed(records):
        is_meant = record.kind == "event" and (record.type == notice.event or not notice.event)
        if is_meant and (event_facts := letters.facts.notice_event(log, f"{record.type}/{record.id}")) is not None:
            return event_facts
    raise UsageError(f"the log has no {notice.event or 'event'} yet that notice {notice.name} could show.")


def _render_preview(
    services: NoticeServices, letters: Letters, notice: Notice, notice_event: NoticeEvent | None, log: Log
) -> RenderedText:
    now_ms = services.now_ms()
    if notice.asks and notice_event is not None:
        question = Question(
            "", "", notice.name, notice_event.name, notice_event.receipt, NO_ONE, now_ms, now_ms + notice.lasts_ms
        )
        return letters.question(notice, notice_event, question, services.sender.url.rstrip("/") + PATH + NO_LINK)
    event = "" if notice_event is None else notice_event.name
    rule = notice_event.flags[0].rule if notice_event is not None and notice_event.flags else "a_rule"
    return letters.notice(
        notice,
        [due_of(notice, notice.on, "preview", now_ms, event=event, rule=rule, told=_SAMPLES.get(notice.on, {}))],
        log,
    )


def _yesterday(notice: Notice, now_ms: int) -> Due:
    """Return the latest report that was due, even if it is too late to send it."""
    half_day_ms = 43_200_000  # of two times this far apart, one is at most `LATE_MS` after a daily report
    return report_due(notice, now_ms - half_day_ms) or due_for(notice, day_before(notice, now_ms), now_ms)


def make_report(services: NoticeServices, notice: Notice, log: Log, day: date | None, at_ms: int) -> tuple[date, bool]:
    """Request the report of a day, unless it exists; return the day and whether the report is new.

    The default is the day before `at_ms`. The figures are computed now and stored.
    Raises: UsageError if the notice is not a report.
    """
    if notice.on != "report":
        raise UsageError(f"notice {notice.name} is on {notice.on}, and makes no reports: write 'on: report'.")
    day = day or day_before(notice, at_ms)
    due = due_for(notice, day, services.now_ms())
    with closing(services.open_store()) as store:
        with store.look() as queries:
            is_known = queries.find(Due, due.key) is not None
        if is_known:
            return day, False
        due = reckoned(services, notice, due, log)
        with store.change() as change:
            return day, change.add_due(due)


def addressed(mail: Mail, to: str) -> Mail:
    """Readdress a mail as a test, with its own Message-ID, because mail programs show a repeated id only once.

    Raises: UsageError for an invalid address.
    """
    if not is_address(to):
        raise UsageError(f"{to!r} is not a mail address, such as ann@bank.example.")
    message = message_from_bytes(mail.data, policy=SMTP)
    del message["To"]
    message["To"] = to
    message.replace_header("Message-ID", f"<{secrets.token_hex(6)}.{str(message['Message-ID']).strip('<>')}>")
    message.replace_header("Subject", f"[Test] {message['Subject']}")
    message["X-Shroff-Test"] = "yes"
    return replace(mail, recipients=(to,), data=message.as_bytes())


def again(store: NoticeStore, id: str, now_ms: int) -> OutgoingMessage:
    """Send a failed letter again, to all its recipients, even those who may have it.

    Raises: UsageError for any other letter.
    """
    fresh = {"state": OPEN, "due_ms": now_ms, "claimed_ms": 0, "doubts": 0, "done_ms": 0, "made_ms": now_ms}
    return _change_letter(store, id, "sent again", fresh)


def given_up(store: NoticeStore, id: str, now_ms: int) -> OutgoingMessage:
    """Give up a failed letter. Raises: UsageError for any other."""
    return _change_letter(store, id, "given up", {"state": DROPPED, "done_ms": now_ms})


def _change_letter(store: NoticeStore, id: str, action: str, values: JsonMapping) -> OutgoingMessage:
    with store.change() as change:
        letter = change.letter(id)
        if letter is None:
            raise UsageError(f"there is no letter {id!r}. 'shroff notices letters' lists those there are.")
        if letter.state not in FAILED:
            raise UsageError(f"letter {id} is {letter.state}, so it is not {action}.")
        changed = replace(letter, **values)
        change.put_letter(changed)
    return changed
