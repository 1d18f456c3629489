"""Questions to customers about the events of a case: times, delivery and answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from shroff.cases.case import FRAUD
from shroff.events.event import TimeText, time_text
from shroff.notices.customer_answers import VERDICTS
from shroff.notices.store import DROPPED, REFUSED, UNKNOWN
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.cases.case import Alert
    from shroff.notices.sql import NoticeQueries, NoticeStore
    from shroff.notices.store import Question

_UNASKED = (REFUSED, UNKNOWN, DROPPED)


class CaseQuestion(msgspec.Struct):
    """A question to a customer about an event of a case."""

    event: str
    asked: TimeText
    until: TimeText
    verdict: str | None
    answered: TimeText | None
    trouble: str | None
    words: str | None


class Asked(FrozenStruct):
    """One question to a customer.

    Args:
        event: Its event, such as `payment/p-1`.
        said: Their answer as a verdict; empty before the answer.
        is_over: It expired without an answer.
        trouble: Why its delivery is in doubt; empty if it was delivered or is on its way.
    """

    event: str
    asked_ms: int
    ends_ms: int
    said: str
    said_ms: int
    is_over: bool
    trouble: str
    words: str = ""

    @property
    def document(self) -> CaseQuestion:
        answered = time_text(self.said_ms) if self.said else None
        return CaseQuestion(
            event=self.event,
            asked=time_text(self.asked_ms),
            until=time_text(self.ends_ms),
            verdict=self.said or None,
            answered=answered,
            trouble=self.trouble or None,
            words=self.words or None,
        )


def asked_about(notices: NoticeStore, alerts: Iterable[Alert], now_ms: int) -> list[Asked]:
    with notices.look() as look:
        about = look.questions_about({alert.named for alert in alerts})
        questions = [question for question in about if question.answer or not question.is_why]
        return [_asked(look, question, now_ms) for question in reversed(questions)]


def asked_in(notices: NoticeStore, alerts: Mapping[int, Sequence[Alert]], now_ms: int) -> dict[int, Asked]:
    """Map case numbers to the foremost question about the case's newest alerts.

    Cases without a question are left out. Cost: one query for all.
    """
    questions = asked_about(notices, [alert for those in alerts.values() for alert in those], now_ms)
    events = {number: {alert.named for alert in those} for number, those in alerts.items()}
    by_case = {
        number: [question for question in questions if question.event in names] for number, names in events.items()
    }
    return {number: foremost(those) for number, those in by_case.items() if those}


def foremost(asked: Sequence[Asked]) -> Asked:
    """Return the most telling question, newest first: one answered "no", else an answered one."""
    return max(asked, key=lambda question: (question.said == FRAUD, bool(question.said)))


def _asked(look: NoticeQueries, question: Question, now_ms: int) -> Asked:
    letter = None if question.answer else look.letter(question.letter)  # an answer proves delivery
    verdict = VERDICTS.get(question.answer, "")
    is_over = not verdict and now_ms >= question.ends_ms
    trouble = letter.reason or letter.state if letter is not None and letter.state in _UNASKED else ""
    return Asked(
        question.event,
        question.made_ms,
        question.ends_ms,
        verdict,
        question.answered_ms,
        is_over,
        trouble,
        question.words,
    )
