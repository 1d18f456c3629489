"""Changes of models/in_force.json by promote, rollback, shadow and challenge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroff.errors import UsageError, nearest
from shroff.models.in_force import PREVIOUS_MAX, Challenger, InForce, Named, Promotion, Waiver, role_of
from shroff.runtime.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.models.registry import GateResult


def promoted(found: InForce, promotion: Promotion) -> InForce:
    """Set another champion; the old one can be restored by a rollback."""
    before = () if found.champion is None else (found.champion,)
    previous = (*found.previous, *before)[-PREVIOUS_MAX:]
    return _one_role(replace(found, champion=promotion, previous=previous))


def is_rollback(then: InForce, now: InForce) -> bool:
    champion = then.previous[-1] if then.previous else None
    return then.champion is not None and (now.champion, now.previous) == (champion, then.previous[:-1])


def rolled_back(found: InForce, event: str) -> InForce:
    """Restore the previous champion; without one, also remove the challenger."""
    if found.champion is None:
        raise UsageError(f"no model of {event} is active, so there is nothing to roll back.")
    champion = found.previous[-1] if found.previous else None
    challenger = None if champion is None else found.challenger
    return _one_role(replace(found, champion=champion, challenger=challenger, previous=found.previous[:-1]))


def _one_role(roles: InForce) -> InForce:
    id_ = "" if roles.champion is None else roles.champion.id
    challenger = roles.challenger if roles.challenger is None or roles.challenger.id != id_ else None
    shadow = tuple(model for model in roles.shadow if model.id != id_)
    return replace(roles, challenger=challenger, shadow=shadow)


def shadowed(found: InForce, model: Named) -> InForce:
    role = role_of(found, model.id)
    if role in {"champion", "challenger"}:
        raise UsageError(f"{model.id} is the {role} and its scores take effect, so it cannot be in shadow.")
    others = tuple(other for other in found.shadow if other.id != model.id)
    return replace(found, shadow=(*others, model))


def unshadowed(found: InForce, id_: str) -> InForce:
    if id_ not in {shadowed_model.id for shadowed_model in found.shadow}:
        raise UsageError(f"{id_} is not in shadow.")
    return replace(found, shadow=tuple(model for model in found.shadow if model.id != id_))


def challenged(found: InForce, challenger: Challenger) -> InForce:
    """Set the challenger, replacing any other, and take it out of shadow."""
    if found.champion is None:
        raise UsageError("there is no champion to challenge; promote a model first.")
    if found.champion.id == challenger.id:
        raise UsageError(f"{challenger.id} is the champion; choose another model as challenger.")
    shadow = tuple(model for model in found.shadow if model.id != challenger.id)
    return replace(found, challenger=challenger, shadow=shadow)


def unchallenged(found: InForce, id_: str) -> InForce:
    if found.challenger is None or found.challenger.id != id_:
        raise UsageError(f"{id_} is not the challenger.")
    return replace(found, challenger=None)


def waivers_of(id_: str, failed: Sequence[GateResult], waived: Sequence[str], reason: str, by: str) -> list[Waiver]:
    """Return the waivers. Each names metric and limit, as another limit is another gate.

    Raises: UsageError without reason or name, and for a gate that did not fail.
    """
    failed_by_words = {gate.words: gate for gate in failed}
    named = [" ".join(words.split()) for words in waived]
    for words in named:
        if words not in failed_by_words:
            raise UsageError(f"{words!r} is not a gate that {id_} failed. {_meant(words, failed)}")
    if named and not (reason.strip() and by.strip()):
        raise UsageError("a waiver needs a reason and a name: add --reason TEXT --by NAME.")
    gates = [failed_by_words[words] for words in dict.fromkeys(named)]
    return [Waiver(gate.name, reason.strip(), by.strip(), gate.limit) for gate in gates]


def _meant(words: str, failed: Sequence[GateResult]) -> str:
    if not failed:
        return "All its gates passed."
    limits = [gate.words for gate in failed if words and gate.name == words.split(maxsplit=1)[0]]
    if limits:
        return f"A waiver names the limit too: {' or '.join(map(repr, limits))}."
    return nearest(words, [gate.words for gate in failed]) or (
        f"Those that failed: {', '.join(repr(gate.words) for gate in failed)}."
    )
