"""Override: the outcome that a caller had given its customer before the decision came; kept and shown with it."""

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
    """The decision with what was answered; of several that were told of one event, the first. It is durable then.

    A document that is no decision comes back as it is: its event is of a type that is not decided.
    """
    decision = from_json(document)
    if "outcome" not in decision:
        return document
    event = decision["event"]
    id_ = decision["id"]
    found = [answered]

    def keep(change: Change, now_ms: int) -> None:
        hash_ = _hash(event, id_)
        before = change.find(KeptAnswer, hash_)
        if before is not None:
            found[0] = before.outcome
            return
        change.put(KeptAnswer(hash_, answered, now_ms))
        after = {"answered": answered, "decided": decision["outcome"]}
        change.audit(Act(who, "event.answered", f"{event}/{id_}", None, after), now_ms)

    await service.changes.make(keep)
    return _beside(document, found[0])


def told(service: Service, event: str, id_: str, document: bytes) -> bytes:
    """Return a decision with its experiments and its override. May wait for the log and the store."""
    if not service.arms.are_known([document]):
        service.read_arms([document])
    document = service.arms.beside(document)
    answered = answer(service, event, id_)
    return document if answered is None else _beside(document, answered)


def answer(service: Service, event: str, id_: str) -> str | None:
    """The override of a decision; None where the decision came in time. May wait for the store."""
    with service.desk.store.look() as look:
        kept_answer = look.find(KeptAnswer, _hash(event, id_))
    return None if kept_answer is None else kept_answer.outcome


def _beside(document: bytes, answered: str) -> bytes:
    return document[:-1] + b',"answered":"%s"}' % answered.encode()


def _hash(event: str, id_: str) -> bytes:
    return sha256(to_json([event, id_])).digest()
