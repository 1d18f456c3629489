"""The customer's page: the view of a link, and the effect of an answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from threading import Lock
from typing import TYPE_CHECKING

from msgspec import field

from shroff.events.labels import VerdictInForce
from shroff.json_types import JsonMapping, JsonObject
from shroff.log.flags import heard, verdicts
from shroff.notices.customer_answers import (
    OVERTURNED,
    SHROFF,
    SOURCE,
    VERDICTS,
    WRONG,
    Effect,
    LinkedQuestion,
    State,
    answer,
    label_of,
    look_up,
)
from shroff.notices.definitions import Notice
from shroff.notices.facts import Facts, NoticeEvent
from shroff.notices.services import NoticeServices
from shroff.notices.store import Question
from shroff.notices.texts.letters import HELD as HELD_OUTCOMES
from shroff.notices.texts.letters import Letters
from shroff.notices.texts.localization import until_text
from shroff.notices.texts.words import LANGUAGES, WORDS
from shroff.notices.triggers import answered
from shroff.people.audit import Act
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import LogReader

if TYPE_CHECKING:
    from shroff.notices.sql import NoticeStore

HELD = ("challenge", "review")  # outcomes that a customer's yes may end; never a decline
GENUINE = "genuine"


class Page(FrozenStruct):
    """A page for a customer. `kind` is question or why; after the answer no, yes, again, late or forged; for an appeal
    wrong, appealed, upheld or overturned.
    """

    kind: str
    values: JsonMapping = field(default_factory=dict)


class CustomerConfirmation:
    """Answers customers, from any thread. It opens its services for the first customer.

    Args:
        services: Returns the notice services.
        request: Converts a label's JSON to kind and body of a request to the log.
    """

    def __init__(self, services: Callable[[], NoticeServices], request: Callable[[bytes], tuple[str, bytes]]) -> None:
        self._opened = services
        self._request = request
        self._lock = Lock()
        self._services: NoticeServices | None = None
        self._store: NoticeStore | None = None

    def page(self, token: str, language: str = "") -> Page:
        """Return the page of a link, without a change."""
        services, store = self._services_and_store()
        linked = look_up(store, services.key, token, services.now_ms())
        return self._page_of(services, linked, language)

    def answer(self, token: str, said: str, language: str = "", words: str = "") -> Page:
        """Answer by a link, once; return the resulting page. `words` is the text of an appeal."""
        if said == WRONG and (page := self.page(token, language)).kind == "why" and not page.values["may_appeal"]:
            return page  # an approved payment took nothing from the customer
        services, store = self._services_and_store()
        linked = answer(
            store,
            services.key,
            token,
            said,
            services.now_ms(),
            lambda question: self._effect(services, question),
            words,
        )
        return self._page_of(services, linked, language, is_new=bool(linked.question.answer))

    def asked(self, token: str) -> tuple[str, str]:
        """Return state and event of a link's question, for staff: `yes`, `no`, `open` or `ended`. Both are empty
        without a question.
        """
        services, store = self._services_and_store()
        linked = look_up(store, services.key, token, services.now_ms())
        state = "" if linked.state is State.FORGED else linked.state.value
        return (linked.question.answer or state), (linked.question.event if state else "")

    def close(self) -> None:
        """Close the store. A second call does nothing."""
        with self._lock:
            if self._store is not None:
                with suppress(Exception):  # closing a broken connection may fail too
                    self._store.close()
            self._store = self._services = None

    # ---- effect of an answer, and pages

    def _services_and_store(self) -> tuple[NoticeServices, NoticeStore]:
        with self._lock:
            if self._services is None or self._store is None:
                self._services = self._opened()
                self._store = self._services.open_store()
            self._services.renew()
            return self._services, self._store

    def _effect(self, services: NoticeServices, question: Question) -> Effect:
        with closing(services.open_log()) as log:
            definitions = services.in_force(log)  # the policy may have changed since this was opened
            facts = Facts(definitions)
            event_facts = facts.notice_event(log, question.event)
            is_yes = question.answer == "yes"
            is_released = (
                is_yes and event_facts is not None and is_released_by_yes(log, definitions, facts, event_facts)
            )
            verdict = _verdict_after(log, question, 0 if event_facts is None else event_facts.seq)
        kind, body = self._request(label_of(question))
        return Effect(is_released, kind, body, answered(services.notices, question, question.answered_ms, verdict))

    def _page_of(
        self, services: NoticeServices, linked: LinkedQuestion, language: str, *, is_new: bool = False
    ) -> Page:
        if linked.state is State.FORGED:
            return Page("forged", self._common(services, language or LANGUAGES[0]))
        question = linked.question
        letters = services.letters
        with closing(services.open_log()) as log:
            notice_event = letters.facts.notice_event(log, question.event)
        notice = services.notices.get(question.notice)
        values = self._common(services, language or _language(letters, question, notice_event, services))
        zone = letters.facts.zone(notice, notice_event) if notice is not None else "UTC"
        values |= {"until": until_text(question.ends_ms, zone, values["language"]), "question": question}
        if linked.state is State.ENDED or notice is None or notice_event is None:
            return Page("late", values)
        if linked.state is State.ANSWERED:
            if not question.is_why:
                page = "again"
            elif question.answer == WRONG:
                page = "appealed"
            else:
                page = question.answer
            return Page(page, values | {"when": until_text(question.answered_ms, zone, values["language"])})
        if is_new:
            return Page(question.answer, values)
        values |= letters.question_values(notice, notice_event, question, values["language"])
        if question.is_why:
            reasons = reasons_in(notice, notice_event, values["language"])
            return Page(
                "why",
                values
                | {
                    "reasons": reasons,
                    "told": notice_event,
                    "may_appeal": notice_event.outcome != "approve",
                    "is_already_paid": notice.is_already_paid and notice_event.outcome in HELD_OUTCOMES,
                },
            )
        return Page("question", values)

    def _common(self, services: NoticeServices, language: str) -> JsonObject:
        sender = services.sender
        other_languages = [(other, WORDS[other]["language"]) for other in LANGUAGES if other != language]
        return {
            "words": WORDS[language],
            "language": language,
            "sender": sender.name,
            "help": sender.help_in(language),
            "others": other_languages,
        }


def _verdict_after(log: LogReader, question: Question, event_seq: int) -> VerdictInForce:
    """Return the active verdict of the event once the answer counts. Cost: 3 µs for each label after the event."""
    customer_verdict = VerdictInForce(VERDICTS[question.answer], SOURCE, question.answered_ms)
    current = verdicts(log, after=event_seq).get(question.event)
    return customer_verdict if current is None or customer_verdict.takes_over(current) else current


def is_released_by_yes(log: LogReader, definitions: Definitions, facts: Facts, notice_event: NoticeEvent) -> bool:
    """Whether a customer's yes releases this event: it is held but not declined, below the policy's limit, and no label
    contradicts. Cost: reads the labels after the event.
    """
    below = definitions.policy(notice_event.type).release_below_minor
    amount = facts.paid_minor(notice_event)
    if notice_event.outcome not in HELD or below is None or amount is None or amount >= below:
        return False
    verdict = verdicts(log, after=notice_event.seq).get(notice_event.name)
    return verdict is None or verdict.verdict == GENUINE


def reasons_in(notice: Notice, notice_event: NoticeEvent, language: str) -> list[str]:
    """Return the texts for a customer about the reasons of a decision, each once; the default text if there is none."""
    default = notice.reasons.get(("default", language), WORDS[language]["why_default"])
    return list(dict.fromkeys(notice.reasons.get((code, language), default) for code, _ in notice_event.reasons)) or [
        default
    ]


def settle_appeals(services: NoticeServices, store: NoticeStore, log: LogReader, after: int) -> int:
    """Decide appeals by the labels after a sequence number, with their notifications; return the sequence number read
    to.

    The first label after an appeal from anybody but the customer decides it: genuine overturns, fraud upholds.
    """
    upto = log.last_seq()
    with store.look() as queries:
        open_ = queries.appeals()
    for label in heard(log, after, upto) if open_ else ():
        end = OVERTURNED.get(label.verdict)
        for appeal in open_ if end is not None and label.source != SOURCE else ():
            if appeal.event != label.event or label.known_at_ms < appeal.answered_ms:
                continue
            with store.change() as change:
                appeal_question = change.question(appeal.id)
                if end is not None and appeal_question is not None and appeal_question.answer == WRONG:
                    decided = replace(appeal_question, answer=end)
                    now_ms = services.now_ms()
                    change.put_question(decided)
                    change.people.audit(
                        Act(SHROFF, "appeal.decide", appeal_question.event, None, {"appeal": end}), now_ms
                    )
                    in_force = verdicts(log).get(appeal.event, label)
                    change.add_dues(answered(services.notices, decided, now_ms, in_force))
    return upto


def _language(letters: Letters, question: Question, notice_event: NoticeEvent | None, services: NoticeServices) -> str:
    notice = services.notices.get(question.notice)
    return LANGUAGES[0] if notice is None else letters.facts.language(notice, notice_event)
