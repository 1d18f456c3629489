"""Promoting models: what becomes of models/in_force.json, and the calls by which an opened project changes it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from shroff import config
from shroff.decisions.additions import Additions, Waits
from shroff.decisions.progress import unheard
from shroff.errors import DefinitionError, Problem, UsageError, nearest
from shroff.events.event import time_text
from shroff.models.in_force import (
    FILE,
    PREVIOUS_MAX,
    Challenger,
    Everything,
    InForce,
    Named,
    Promotion,
    Waiver,
    read_in_force,
    text_of,
)
from shroff.models.registry import GateResult, Registry, Stored, Summary

PROMOTED: Final = "promoted"
REFUSED: Final = "refused"
ROLLED_BACK: Final = "rolled back"
IN_SHADOW: Final = "in shadow"
OUT_OF_SHADOW: Final = "out of shadow"
CHALLENGES: Final = "challenges"
NO_CHALLENGER: Final = "challenges no more"
SAME: Final = "same"
TRIED: Final = ("champion", "challenger", "shadow")  # roles in which a model scores
WRITTEN: Final = f"{FILE} is written; it comes into force with the next command that writes."


@dataclass(frozen=True, slots=True)
class Deployment:
    """What became of a call that changes which models are in force.

    `champion` and `before` are the champion's id behind the call and in front of it, empty
    for none; `failed` are gates that keep a model from being promoted. `why_not` says why a
    change that is written is not in force yet.
    """

    event: str
    model: str
    what: str
    champion: str = ""
    before: str = ""
    failed: tuple[GateResult, ...] = ()
    in_force: bool = False
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of the registry with what it is now: champion, challenger, in shadow, before; nothing."""

    summary: Summary
    role: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that is known of one model. `promotions` are those that in_force.json still has."""

    stored: Stored
    role: str = ""
    promotions: tuple[Promotion, ...] = field(default=())


# ---- what becomes of the file


def promoted(found: InForce, promotion: Promotion) -> InForce:
    """With another champion; the one before it can be gone back to. A model has one role."""
    if found.champion is not None and found.champion.id == promotion.id:
        raise UsageError(f"{promotion.id} is the champion already.")
    before = () if found.champion is None else (found.champion,)
    previous = (*found.previous, *before)[-PREVIOUS_MAX:]
    return _one_role(msgspec.structs.replace(found, champion=promotion, previous=previous))


def rolled_back(found: InForce, event: str) -> InForce:
    """With the champion before; where there was none, without, and without a challenger to it."""
    if found.champion is None:
        raise UsageError(f"no model of {event} is in force, so there is nothing to go back from.")
    champion = found.previous[-1] if found.previous else None
    challenger = None if champion is None else found.challenger
    return _one_role(
        msgspec.structs.replace(found, champion=champion, challenger=challenger, previous=found.previous[:-1])
    )


def _one_role(found: InForce) -> InForce:
    """Without the champion among those that are tried."""
    id_ = "" if found.champion is None else found.champion.id
    challenger = found.challenger if found.challenger is None or found.challenger.id != id_ else None
    shadow = tuple(one for one in found.shadow if one.id != id_)
    return msgspec.structs.replace(found, challenger=challenger, shadow=shadow)


def shadowed(found: InForce, model: Named) -> InForce:
    """With a model in shadow."""
    role = role_of(found, model.id)
    if role in {"champion", "challenger"}:
        raise UsageError(f"{model.id} is the {role} and scores with effect; in shadow are those that do not.")
    others = tuple(one for one in found.shadow if one.id != model.id)
    return msgspec.structs.replace(found, shadow=(*others, model))


def unshadowed(found: InForce, id_: str) -> InForce:
    """Without a model in shadow."""
    if id_ not in {one.id for one in found.shadow}:
        raise UsageError(f"{id_} is not in shadow.")
    return msgspec.structs.replace(found, shadow=tuple(one for one in found.shadow if one.id != id_))


def challenged(found: InForce, challenger: Challenger) -> InForce:
    """With a challenger in the place of any other, and not in shadow any more."""
    if found.champion is None:
        raise UsageError("there is no champion to challenge; promote a model first.")
    if found.champion.id == challenger.id:
        raise UsageError(f"{challenger.id} is the champion, which no model challenges but another.")
    shadow = tuple(one for one in found.shadow if one.id != challenger.id)
    return msgspec.structs.replace(found, challenger=challenger, shadow=shadow)


def unchallenged(found: InForce, id_: str) -> InForce:
    """Without the challenger."""
    if found.challenger is None or found.challenger.id != id_:
        raise UsageError(f"{id_} is not the challenger.")
    return msgspec.structs.replace(found, challenger=None)


def role_of(found: InForce, id_: str) -> str:
    """What a model is now; empty for nothing."""
    if found.champion is not None and found.champion.id == id_:
        return "champion"
    if found.challenger is not None and found.challenger.id == id_:
        return "challenger"
    if id_ in {one.id for one in found.shadow}:
        return "shadow"
    return "before" if id_ in {one.id for one in found.previous} else ""


def waivers_of(stored: Stored, waived: Sequence[str], reason: str, by: str) -> tuple[Waiver, ...]:
    """The gates that somebody waives. Raises: UsageError without reason or name, and for a gate that did not fail."""
    failed = [gate.name for gate in stored.failed]
    for name in waived:
        if name not in failed:
            there = f"Those that failed: {', '.join(failed)}." if failed else "All its gates passed."
            raise UsageError(f"{name!r} is no gate that {stored.id} failed. {nearest(name, failed) or there}")
    if waived and not (reason.strip() and by.strip()):
        raise UsageError("a waiver is recorded with its reason and who gives it: --reason TEXT --by NAME.")
    return tuple(Waiver(name, reason.strip(), by.strip()) for name in dict.fromkeys(waived))


# ---- the calls


class Promotions(Additions):
    """Which models of the registry are in force: asked, and changed beside a process that writes too."""

    __slots__ = ()

    @property
    @abstractmethod
    def registry(self) -> Registry:
        """The models of the project."""

    def models(self) -> list[Listed]:
        """The models of the registry, by id, with what each is now."""
        in_force = self._in_force()
        return [Listed(one, _role(in_force, one.id)) for one in self.registry.summaries()]

    def model(self, id_: str) -> Shown:
        """One model. Raises: UsageError where there is none; RegistryError where it is damaged."""
        stored, in_force = self.registry.read(id_), self._in_force()
        found = in_force.get(stored.event, InForce())
        all_of_them = [*found.previous, *([found.champion] if found.champion else [])]
        return Shown(stored, role_of(found, id_), tuple(one for one in all_of_them if one.id == id_))

    def promote(
        self, id_: str, *, waive: Sequence[str] = (), reason: str = "", by: str = "", waits: Waits = unheard
    ) -> Deployment:
        """Make a model the champion of its event type, if its gates passed or are waived with reason and name.

        Raises: UsageError where there is no such model; RegistryError where it cannot be loaded; DefinitionError where
            what it reads does not fit the project.
        """
        stored = self._loadable(id_)
        waived = waivers_of(stored, waive, reason, by)
        failed = tuple(gate for gate in stored.failed if gate.name not in {one.gate for one in waived})
        if failed:
            now = self._in_force().get(stored.event, InForce())
            champion = "" if now.champion is None else now.champion.id
            return Deployment(stored.event, id_, REFUSED, champion, champion, failed)
        promotion = Promotion(id_, stored.digest, time_text(self.now_ms()), by, waived)
        return self._change(stored.event, id_, PROMOTED, partial(promoted, promotion=promotion), waits)

    def rollback(self, event: str = "", waits: Waits = unheard) -> Deployment:
        """Go back to the champion before; where there was none, rules alone decide. `event` may be left out of one.

        Raises: UsageError where no model is in force.
        """
        event = self._one_event(event)

        def back(found: InForce) -> InForce:
            changed = rolled_back(found, event)
            if changed.champion is not None:
                self.registry.load(changed.champion.id, changed.champion.digest)
            return changed

        return self._change(event, "", ROLLED_BACK, back, waits)

    def shadow(self, id_: str, *, stop: bool = False, waits: Waits = unheard) -> Deployment:
        """Put a model in shadow, where it scores every event without effect; with `stop`, take it out."""
        if stop:
            event = self._event_of(id_)
            return self._change(event, id_, OUT_OF_SHADOW, partial(unshadowed, id_=id_), waits)
        stored = self._loadable(id_)
        named = Named(id_, stored.digest)
        return self._change(stored.event, id_, IN_SHADOW, partial(shadowed, model=named), waits)

    def challenge(self, id_: str, share: float, entity: str, waits: Waits = unheard) -> Deployment:
        """Let a model score a share of an entity's keys in the champion's place, by a hash of model and key.

        Raises: UsageError where there is no champion, or its gates failed: it decides, so it has to pass them.
        """
        if not 0 < share <= 1:
            raise UsageError(f"a share is above 0 % and at most 100 %, not {share * 100:g} %.")
        stored = self._loadable(id_)
        if stored.failed:
            names = ", ".join(gate.name for gate in stored.failed)
            raise UsageError(f"{id_} failed its gates ({names}), and a challenger decides. Put it in shadow instead.")
        challenger = Challenger(id_, stored.digest, share, entity)
        return self._change(stored.event, id_, CHALLENGES, partial(challenged, challenger=challenger), waits)

    def unchallenge(self, id_: str, waits: Waits = unheard) -> Deployment:
        """Give the challenger's keys back to the champion."""
        event = self._event_of(id_)
        return self._change(event, id_, NO_CHALLENGER, partial(unchallenged, id_=id_), waits)

    # ---- how

    def _loadable(self, id_: str) -> Stored:
        stored = self.registry.read(id_)
        self.registry.load(id_, stored.digest)
        return stored

    def _in_force(self) -> Everything:
        problems: list[Problem] = []
        text = config.read_files(self.places.folder, []).get(FILE)
        found = read_in_force(text, problems)
        if problems:
            raise DefinitionError(problems)
        return found

    def _one_event(self, event: str, otherwise: str = "so there is nothing to go back from") -> str:
        known = [name for name, one in self._in_force().items() if one.champion is not None]
        if event in known or (not event and len(known) == 1):
            return event or known[0]
        if not known:
            raise UsageError(f"no model is in force, {otherwise}.")
        if not event:
            raise UsageError(f"models of several event types are in force; name one: {', '.join(known)}.")
        hint = nearest(event, known) or f"There is one of {', '.join(known)}."
        raise UsageError(f"no model of {event!r} is in force. {hint}")

    def _event_of(self, id_: str) -> str:
        """The event type of a model that has a role; its folder need not be there."""
        for event, found in self._in_force().items():
            if role_of(found, id_):
                return event
        raise UsageError(f"{id_} is neither in shadow nor a challenger. 'shroff models list' says what is.")

    def _change(
        self, event: str, id_: str, what: str, change: Callable[[InForce], InForce], waits: Waits
    ) -> Deployment:
        """Change the file as a whole or not at all, and have the process that writes the log adopt it."""
        with config.editing(self.places):
            in_force = self._in_force()
            before = in_force.get(event, InForce())
            after = change(before)
            if after != before:
                text = text_of({**in_force, event: after})
                self.check_with({FILE: text})
                config.write_text(self.places.folder / FILE, text)
        self.reload()
        done, why_not = self._put_in_force(waits, WRITTEN)
        now, then = ("" if one.champion is None else one.champion.id for one in (after, before))
        return Deployment(event, id_ or now, what if after != before else SAME, now, then, (), done, why_not)


def _role(in_force: Mapping[str, InForce], id_: str) -> str:
    return next((role for one in in_force.values() if (role := role_of(one, id_))), "")
