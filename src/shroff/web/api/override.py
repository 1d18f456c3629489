"""Overrides: the outcome that a caller had given its customer before the decision came, stored beside the decision."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.people.audit import Act
from shroff.people.store import KeptAnswer

if TYPE_CHECKING:
    from shroff.people.access import Who
    from shroff.people.sql import Change
    from shroff.web.service import Service


async def kept(service: Service, who: Who, document: bytes, answered: str) -> bytes:
    """Store the override `answered` and return the decision with it; the first override of an event stays.

    The override is durable on return. A document of an event without a decision is returned unchanged.
    """
    decision = from_json(document)
    if "outcome" not in decision:
        return document
    event = decision["event"]
    id_ = decision["id"]
    override = answered

    def keep(change: Change, now_ms: int) -> None:
        nonlocal override
        hash_ = _hash(event, id_)
        earlier = change.find(KeptAnswer, hash_)
        if earlier is not None:
            override = earlier.outcome
            return
        change.put(KeptAnswer(hash_, answered, now_ms))
        after = {"answered": answered, "decided": decision["outcome"]}
        change.audit(Act(who, "event.answered", f"{event}/{id_}", None, after), now_ms)

    await service.changes.make(keep)
    return _with_override(document, override)


def told(service: Service, event: str, id_: str, document: bytes) -> bytes:
    """Return a decision with its experiments and its override. May wait for the log and the store."""
    if not service.arms.are_known([document]):
        service.read_arms([document])
    document = service.arms.beside(document)
    answered = answer(service, event, id_)
    return document if answered is None else _with_override(document, answered)


def answer(service: Service, event: str, id_: str) -> str | None:
    """Return the override of a decision, None if there is none. May wait for the store."""
    with service.desk.store.look() as reader:
        kept_answer = reader.find(KeptAnswer, _hash(event, id_))
    return None if kept_answer is None else kept_answer.outcome


def _with_override(document: bytes, answered: str) -> bytes:
    return document[:-1] + b',"answered":"%s"}' % answered.encode()


def _hash(event: str, id_: str) -> bytes:
    return sha256(to_json([event, id_])).digest()
