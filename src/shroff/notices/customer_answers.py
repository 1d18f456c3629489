"""Questions to customers and their answers, by signed links that expire and can be answered once.

The token of a link is the question's id (128 random bits) and a signature over that id, the decision's receipt, the
recipient and the expiry. The store has all of these but not the key, so nobody who reads it can make a link. The key is
derived from that of hashed fields.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec.json import encode as to_json

from shroff.events.event import time_text
from shroff.notices.store import NO_ONE, Due, Question
from shroff.people.access import RIGHTS, Role, Who
from shroff.people.audit import Act
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.notices.sql import NoticeStore

PATH = "/confirm/"  # path of a link; the token follows
ID_BYTES = 16
WRONG = "wrong"  # a customer's appeal against the decision
ANSWERS = ("yes", "no", WRONG)
OVERTURNED = {"genuine": "overturned", "fraud": "upheld"}  # result of an appeal by the analyst's verdict
VERDICTS = {"yes": "genuine", "no": "fraud"} | dict.fromkeys((WRONG, *OVERTURNED.values()), "unclear")
WORDS_MAX = 300  # characters of an appeal
SOURCE = "customer"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{64}")  # 48 bytes
_FORM = "shroff question 1"  # part of each signature, so that no signature of another form is valid here
_NOBODY = Question("", "", "", "", "", NO_ONE, 0, 0)
CUSTOMER = Who("program", "customer", "a customer", Role.VIEWER, RIGHTS[Role.VIEWER] - RIGHTS[Role.VIEWER])

SHROFF = Who("program", "shroff", "shroff", Role.SERVICE, RIGHTS[Role.SERVICE])


class State(StrEnum):
    """Validity of a link."""

    OPEN = "open"
    ANSWERED = "answered"
    ENDED = "ended"
    FORGED = "forged"  # or never existed


class LinkedQuestion(FrozenStruct):
    """The question of a link; empty if the link is forged."""

    state: State
    question: Question = _NOBODY


def token_of(key: bytes, question: Question) -> str:
    """Return the token of a question's link. It never changes, so a mail that is sent again has the same link."""
    return urlsafe_b64encode(bytes.fromhex(question.id) + _signature(key, question)).decode()


def _signature(key: bytes, question: Question) -> bytes:
    signed = (_FORM, question.id, question.event, question.receipt, question.who.hex(), question.ends_ms)
    return hmac.new(key, to_json(signed), hashlib.sha256).digest()


def look_up(store: NoticeStore, key: bytes, token: str, now_ms: int) -> LinkedQuestion:
    """Return the question of a link, unchanged. Takes the same steps whether a link is forged or never existed."""
    parts = _parts(token)
    if parts is None:
        return LinkedQuestion(State.FORGED)
    with store.look() as queries:
        return _link_state(key, queries.question(parts[0]), parts[1], now_ms)


def _parts(token: str) -> tuple[str, bytes] | None:
    """Split a token into id and signature; None if it does not have the form of a token."""
    if not _TOKEN.fullmatch(token):
        return None
    data = urlsafe_b64decode(token)
    return data[:ID_BYTES].hex(), data[ID_BYTES:]


def _link_state(key: bytes, question: Question | None, signature: bytes, now_ms: int) -> LinkedQuestion:
    is_ours = hmac.compare_digest(_signature(key, question or _NOBODY), signature)
    if question is None or not is_ours:
        return LinkedQuestion(State.FORGED)
    if question.answer:
        return LinkedQuestion(State.ANSWERED, question)
    return LinkedQuestion(State.ENDED if now_ms >= question.ends_ms else State.OPEN, question)


class Effect(FrozenStruct):
    """Effect of an answer: release of the event, request to the log for the label, and notifications."""

    is_released: bool
    kind: str  # kind of the request
    body: bytes
    dues: list[Due]


def answer(
    store: NoticeStore,
    key: bytes,
    token: str,
    said: str,
    now_ms: int,
    effect: Callable[[Question], Effect],
    words: str = "",
) -> LinkedQuestion:
    """Answer a question, once. One transaction stores the answer, the request for its label, the audit record and the
    notifications, so a kill leaves all or nothing.

    The first late answer is only recorded in the audit log. Return the state of the link before the answer; if it was
    open, the question now has its answer.

    Args:
        effect: Returns the effect of the answered question; called before the transaction.
    """
    assert said in ANSWERS, said
    linked = look_up(store, key, token, now_ms)
    parts = _parts(token)
    if linked.state is State.ENDED:
        _note_late(store, linked.question, said, now_ms)
    if linked.state is not State.OPEN or parts is None or linked.question.is_why != (said == WRONG):
        return linked
    answered = replace(linked.question, answer=said, answered_ms=now_ms, words=words[:WORDS_MAX])
    answer_effect = effect(answered)
    answered = replace(answered, is_released=answer_effect.is_released)
    with store.change() as change:
        linked = _link_state(key, change.question(parts[0]), parts[1], now_ms)
        if linked.state is not State.OPEN:
            return linked
        change.put_question(answered)
        details = {"answer": said, "released": answer_effect.is_released}
        change.people.audit(Act(CUSTOMER, "confirmation.answer", answered.event, None, details), now_ms)
        change.people.ask(answer_effect.kind, answer_effect.body, now_ms)
        change.add_dues(answer_effect.dues)
    return LinkedQuestion(State.OPEN, answered)


def _note_late(store: NoticeStore, question: Question, chosen: str, now_ms: int) -> None:
    """Record a late answer in the audit log, once, since the holder of the link may repeat it."""
    with store.change() as change:
        stored_question = change.question(question.id)
        if stored_question is not None and not stored_question.answered_ms:
            change.put_question(replace(stored_question, answered_ms=now_ms))
            act = Act(CUSTOMER, "confirmation.late", stored_question.event, None, {"answer": chosen})
            change.people.audit(act, now_ms)


def label_of(question: Question) -> bytes:
    """Return the label of an answer as JSON. Its source is weak: a customer may err, and another reader of the mail may
    lie.
    """
    was = {"yes": "it was them", "no": "it was not them", WRONG: "the decision is wrong"}[question.answer]
    label = {
        "event": question.event,
        "verdict": VERDICTS[question.answer],
        "source": SOURCE,
        "known_at": time_text(question.answered_ms),
        "reason": f"the customer says that {was}",
    }
    return to_json(label)
