"""Questions to customers about the events of a case: when, whether the mail left, and the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

from shroff.cases.case import FRAUD
from shroff.events.event import TimeText, time_text
from shroff.notices.questions import VERDICTS
from shroff.notices.store import DROPPED, REFUSED, UNKNOWN

if TYPE_CHECKING:
    from shroff.cases.case import Alert, Case
    from shroff.notices.store import NoticeLook, OutgoingMessage, Question
    from shroff.web.service import Service

EVENTS_MAX: Final = 20  # newest events of each case of the queue that are looked at
_UNASKED: Final = (REFUSED, UNKNOWN, DROPPED)


class CaseQuestion(TypedDict):
    """A question to a customer about an event of a case."""

    event: str
    asked: TimeText
    until: TimeText
    verdict: str | None
    answered: TimeText | None
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to a customer.

    Args:
        event: What it is about, such as `payment/p-1`.
        said: Their answer as a verdict; empty before there is one.
        is_over: Nobody has answered within its time.
        trouble: Why nobody knows whether they got the question; empty where they did, or it is on its way.
    """

    event: str
    asked_ms: int
    ends_ms: int
    said: str
    said_ms: int
    is_over: bool
    trouble: str


def asked_about(service: Service, alerts: Iterable[Alert]) -> list[Asked]:
    """The questions about the events of alerts, newest first."""
    now_ms, events = service.cases.now_ms(), {alert.named for alert in alerts}
    with service.notices.look() as look:
        found = look.questions_about(events)
        return [_asked(look, one, now_ms) for one in reversed(found)]


def newest_alerts(service: Service, cases: Sequence[Case]) -> dict[int, Sequence[Alert]]:
    """The newest alerts of each of these cases, by its number. Cost: a question to the store for each."""
    with service.cases.store.look() as looks:
        return {case.number: looks.alerts(case.number, EVENTS_MAX) for case in cases}


def asked_in(service: Service, alerts: Mapping[int, Sequence[Alert]]) -> dict[int, Asked]:
    """For each of some cases, by its number, the foremost question about its newest alerts.

    Cases of which nobody was asked are left out. Cost: a question to the store for all.
    """
    cases_of: dict[str, list[int]] = {}
    for number, those in alerts.items():
        for alert in those:
            cases_of.setdefault(alert.named, []).append(number)
    now_ms, asked = service.cases.now_ms(), dict[int, list[Asked]]()
    with service.notices.look() as look:
        for one in reversed(look.questions_about(cases_of)):
            for number in cases_of[one.event]:
                asked.setdefault(number, []).append(_asked(look, one, now_ms))
    return {number: foremost(found) for number, found in asked.items()}


def foremost(asked: Sequence[Asked]) -> Asked:
    """Of questions, newest first, the one that says most: a "no" before any other answer, that before none."""
    return max(asked, key=lambda one: (one.said == FRAUD, bool(one.said)))


def shown(one: Asked) -> CaseQuestion:
    """A question for programs."""
    return {
        "event": one.event,
        "asked": time_text(one.asked_ms),
        "until": time_text(one.ends_ms),
        "verdict": one.said or None,
        "answered": time_text(one.said_ms) if one.said else None,
        "trouble": one.trouble or None,
    }


def _asked(look: NoticeLook, one: Question, now_ms: int) -> Asked:
    letter = None if one.answer else look.letter(one.letter)  # who answered has got it
    said = VERDICTS.get(one.answer, "")
    is_over = not said and now_ms >= one.ends_ms
    return Asked(one.event, one.made_ms, one.ends_ms, said, one.answered_ms, is_over, _trouble(letter))


def _trouble(letter: OutgoingMessage | None) -> str:
    return letter.reason or letter.state if letter is not None and letter.state in _UNASKED else ""
