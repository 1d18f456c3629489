"""Promoting models: what becomes of models/in_force.json, and the calls by which an opened project changes it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec

from shroff import config
from shroff.app.additions import Additions, Waits
from shroff.errors import DefinitionError, Problem, UsageError, nearest
from shroff.events.event import time_text
from shroff.log.deeds import Deed
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
    role_of,
    text_of,
)
from shroff.models.registry import GateResult, Registry, Stored, Summary
from shroff.runtime.progress import unheard

PROMOTED: Final = "promoted"
REFUSED: Final = "refused"
ROLLED_BACK: Final = "rolled back"
IN_SHADOW: Final = "in shadow"
OUT_OF_SHADOW: Final = "out of shadow"
CHALLENGES: Final = "challenges"
NO_CHALLENGER: Final = "challenges no more"
SAME: Final = "same"
INPUTS: Final = "inputs"  # what fails where they mean something else now
WRITTEN: Final = f"{FILE} is written; it comes into force with the next command that writes."
OVERTAKEN: Final = "another command has changed the models since; 'shroff models list' says which are in force"


class NoChampionError(UsageError):
    """No model is in force where one is asked for; each way in says how another one is named there."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What became of a call that changes which models are in force.

    `champion` and `before` are the champion's id behind the call and in front of it, empty
    for none; `failed` are gates that keep a model from being promoted. `why_not` says why a
    change that is written is not in force yet, and `unused` that the champion's score changes no decision, with the
    cure.
    """

    event: str
    model: str
    what: str
    champion: str = ""
    before: str = ""
    failed: tuple[GateResult, ...] = ()
    in_force: bool = False
    why_not: str = ""
    unused: str = ""

    @property
    def failure(self) -> str:
        """Which gates keep the model from being promoted, in words; empty for none."""
        return failure_of(self.failed)


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of the registry with what it is now: champion, challenger, in shadow, before; nothing.

    `redefined` names the inputs of one that scores which mean something else now than when it was trained; `unused`
    says of a champion that its score changes no decision, with the cure.
    """

    summary: Summary
    role: str = ""
    redefined: tuple[str, ...] = ()
    unused: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that is known of one model. `promotions` are those that in_force.json still has.

    `redefined` names the inputs that mean something else now than when it was trained.
    """

    stored: Stored
    role: str = ""
    promotions: tuple[Promotion, ...] = field(default=())
    redefined: tuple[str, ...] = ()


def failure_of(failed: Sequence[GateResult]) -> str:
    """Which gates a model failed, in words; empty for none."""
    return f"it failed {', '.join(dict.fromkeys(gate.name for gate in failed))}" if failed else ""


# ---- what becomes of the file


def promoted(found: InForce, promotion: Promotion) -> InForce:
    """With another champion; the one before it can be gone back to. A model has one role."""
    before = () if found.champion is None else (found.champion,)
    previous = (*found.previous, *before)[-PREVIOUS_MAX:]
    return _one_role(msgspec.structs.replace(found, champion=promotion, previous=previous))


def is_rollback(then: InForce, now: InForce) -> bool:
    """Whether a file says just what going back from what was in force `then` comes to."""
    champion = then.previous[-1] if then.previous else None
    return then.champion is not None and (now.champion, now.previous) == (champion, then.previous[:-1])


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


def waivers_of(id_: str, failed: Sequence[GateResult], waived: Sequence[str], reason: str, by: str) -> list[Waiver]:
    """The gates that somebody waives, each named by metric and limit: another limit is another gate.

    Raises: UsageError without reason or name, and for a gate that did not fail.
    """
    known = {gate.words: gate for gate in failed}
    named = [" ".join(words.split()) for words in waived]
    for words in named:
        if words not in known:
            raise UsageError(f"{words!r} is no gate that {id_} failed. {_meant(words, failed)}")
    if named and not (reason.strip() and by.strip()):
        raise UsageError("a waiver is recorded with its reason and who gives it: --reason TEXT --by NAME.")
    gates = [known[words] for words in dict.fromkeys(named)]
    return [Waiver(gate.name, reason.strip(), by.strip(), gate.limit) for gate in gates]


def _meant(words: str, failed: Sequence[GateResult]) -> str:
    """What to write instead of what names no failed gate."""
    if not failed:
        return "All its gates passed."
    limits = [gate.words for gate in failed if words and gate.name == words.split(maxsplit=1)[0]]
    if limits:
        return f"A waiver names the limit too: {' or '.join(map(repr, limits))}."
    return nearest(words, [gate.words for gate in failed]) or (
        f"Those that failed: {', '.join(repr(gate.words) for gate in failed)}."
    )


# ---- the calls


class Promotions(Additions):
    """Which models of the registry are in force: asked, and changed beside a process that writes too."""

    __slots__ = ()

    @property
    @abstractmethod
    def registry(self) -> Registry:
        """The models of the project."""

    def models(self) -> list[Listed]:
        """The models of the registry, the newest first, with what each is now."""
        in_force = self._in_force()
        changed: dict[str, tuple[str, ...]] = {}
        unused: dict[str, Problem] = {}
        with suppress(DefinitionError):  # models can be listed beside mistakes
            unused = self.definitions.unused_scores()
            scorers = (one for scoring in self.definitions.scoring.values() for one in scoring.all)
            changed = {one.id: one.redefined for one in scorers}
        found = sorted(self.registry.summaries(), key=lambda one: one.made_at, reverse=True)  # of equal ones by id
        return [
            Listed(one, _role(in_force, one.id), changed.get(one.id, ()), _words(unused.get(one.id))) for one in found
        ]

    def model(self, id_: str) -> Shown:
        """One model. Raises: UsageError where there is none; RegistryError where it is damaged."""
        stored, in_force = self.registry.read(id_), self._in_force()
        found = in_force.get(stored.event, InForce())
        all_of_them = [*found.previous, *([found.champion] if found.champion else [])]
        promotions = tuple(one for one in all_of_them if one.id == id_)
        changed: tuple[str, ...] = ()
        with suppress(DefinitionError):
            changed = self.definitions.redefined(stored.event, stored.manifest)
        return Shown(stored, role_of(found, id_), promotions, changed)

    def promote(
        self, id_: str, *, waive: Sequence[str] = (), reason: str = "", by: str = "", waits: Waits = unheard
    ) -> Deployment:
        """Make a model the champion of its event type, if its gates pass or are waived with reason and name.

        Gates are asked again: a comparison with a champion that is not in force any more does not pass, nor does what
        model.yaml asks today and the model does not hold, nor inputs that mean something else now than when it was
        trained.

        Args:
            waive: Gates that failed, each by metric and limit: `calibration_error at most 0.02`.

        Raises: UsageError where there is no such model; RegistryError where it cannot be loaded; DefinitionError where
            what it reads does not fit the project.
        """
        from shroff.models.evaluation.gates import (
            beside_champion,  # its libraries take time that lists of models need not
        )

        stored = self._loadable(id_)

        def change(found: InForce, then: InForce) -> InForce:
            if role_of(found, id_) == "champion":
                if role_of(then, id_) == "champion":
                    raise UsageError(f"{id_} is the champion already.")
                return found
            gates = beside_champion(self._asked_again(stored), stored, found.champion)
            failed = [gate for gate in gates if not gate.passed]
            waived = waivers_of(id_, failed, waive, reason, by)
            names = {(one.gate, one.limit) for one in waived}
            left = tuple(gate for gate in failed if (gate.name, gate.limit) not in names)
            if left:
                raise _GatesError(left, "" if found.champion is None else found.champion.id)
            return promoted(found, Promotion(id_, stored.digest, time_text(self.now_ms()), by, tuple(waived)))

        try:
            return self._change(stored.event, id_, PROMOTED, change, waits, by)
        except _GatesError as error:
            return Deployment(stored.event, id_, REFUSED, error.champion, error.champion, error.failed)

    def rollback(self, event: str = "", waits: Waits = unheard, *, by: str = "") -> Deployment:
        """Go back to the champion before; where there was none, rules alone decide. `event` may be left out of one.

        `by` names who does it, for the record.

        Its gates are not asked: to go back is always possible where the model can be loaded.

        Raises: UsageError where no model is in force.
        """
        event = self._one_event(event, is_logged=True)

        def back(found: InForce, then: InForce) -> InForce:
            changed = found if is_rollback(then, found) else rolled_back(found, event)
            if changed.champion is not None:
                self.registry.load(changed.champion.id, changed.champion.digest)
            return changed

        return self._change(event, "", ROLLED_BACK, back, waits, by)

    def shadow(self, id_: str, *, stop: bool = False, waits: Waits = unheard) -> Deployment:
        """Put a model in shadow, where it scores every event without effect; with `stop`, take it out."""
        if stop:

            def change(found: InForce, then: InForce) -> InForce:
                is_done = role_of(found, id_) != "shadow" and role_of(then, id_) == "shadow"
                return found if is_done else unshadowed(found, id_)

            return self._change(self._event_tried(id_), id_, OUT_OF_SHADOW, change, waits)
        stored = self._loadable(id_)
        named = Named(id_, stored.digest)
        return self._change(stored.event, id_, IN_SHADOW, lambda found, _then: shadowed(found, named), waits)

    def challenge(self, id_: str, share: float, entity: str, waits: Waits = unheard) -> Deployment:
        """Let a model score a share of an entity's keys in the champion's place, by a hash of model and key.

        With which champion it was compared when it was trained does not matter: now it is compared with this one.

        Args:
            share: A number above 0 and at most 1: 0.1 is a tenth of the keys.
            entity: Whose keys these are.

        Raises: UsageError where the share is no such number, where there is no champion, or its gates fail: it decides,
            so it has to pass them.
        """
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise UsageError(f"a share is a number above 0 and at most 1, such as 0.1 for 10 %, not {share!r}.")
        if not 0 < share <= 1:
            raise UsageError(f"a share is above 0 % and at most 100 %, not {share * 100:g} %.")
        stored = self._loadable(id_)
        names = ", ".join(dict.fromkeys(gate.name for gate in self._asked_again(stored) if not gate.passed))
        if names:
            raise UsageError(f"{id_} failed its gates ({names}), and a challenger decides. Put it in shadow instead.")
        challenger = Challenger(id_, stored.digest, share, entity)
        return self._change(stored.event, id_, CHALLENGES, lambda found, _then: challenged(found, challenger), waits)

    def unchallenge(self, id_: str, waits: Waits = unheard) -> Deployment:
        """Give the challenger's keys back to the champion."""

        def change(found: InForce, then: InForce) -> InForce:
            is_done = found.challenger is None and role_of(then, id_) == "challenger"
            return found if is_done else unchallenged(found, id_)

        return self._change(self._event_tried(id_), id_, NO_CHALLENGER, change, waits)

    # ---- how

    def _loadable(self, id_: str) -> Stored:
        stored = self.registry.read(id_)
        self.registry.load(id_, stored.digest)
        return stored

    def _asked_again(self, stored: Stored) -> list[GateResult]:
        """The gates of a model as the project asks them today."""
        from shroff.models.evaluation.gates import CURE, asked_again

        self.reload()
        settings = self.definitions.models.get(stored.event)
        gates = asked_again(stored, settings.gates if settings else ())
        changed = self.definitions.redefined(stored.event, stored.manifest)
        if changed:
            note = f"{', '.join(changed)}: declared anew since it was trained; {CURE}"
            gates.append(GateResult(INPUTS, None, "as trained", passed=False, note=note))
        return gates

    def _in_force(self) -> Everything:
        problems: list[Problem] = []
        text = config.read_files(self.places.folder, []).get(FILE)
        found = read_in_force(text, problems)
        if problems:
            raise DefinitionError(problems)
        return found

    def _logged(self) -> Everything | None:
        """The models that the log has in force; None where there is no log, or none that can be read.

        It may be behind the file: a process that was killed, or told to wait, changed that one alone.
        """
        if not self.has_log():
            return None
        files = self._files_in_force()
        return read_in_force(files.get(FILE), []) if files else None

    def _one_event(
        self, event: str, otherwise: str = "so there is nothing to go back from", *, is_logged: bool = False
    ) -> str:
        """The event type that is meant of those that have a champion; with `is_logged`, in the log too."""
        scored = [self._in_force(), (self._logged() or {}) if is_logged else {}]
        known = list(dict.fromkeys(name for part in scored for name, one in part.items() if one.champion is not None))
        if event in known or (not event and len(known) == 1):
            return event or known[0]
        if not known:
            raise NoChampionError(f"no model is in force, {otherwise}.")
        if not event:
            raise UsageError(f"models of several event types are in force; name one: {', '.join(known)}.")
        hint = nearest(event, known) or f"There is one of {', '.join(known)}."
        raise UsageError(f"no model of {event!r} is in force. {hint}")

    def _event_tried(self, id_: str) -> str:
        """The event type of a model that has a role; its folder need not be there."""
        for known in (self._in_force(), self._logged() or {}):
            for event, found in known.items():
                if role_of(found, id_):
                    return event
        raise UsageError(f"{id_} is neither in shadow nor a challenger. 'shroff models list' says what is.")

    def _change(
        self,
        event: str,
        id_: str,
        what: str,
        change: Callable[[InForce, InForce], InForce],
        waits: Waits,
        by: str = "",
    ) -> Deployment:
        """Change the file as a whole or not at all, and have the process that writes the log adopt it.

        The change stands in the record first, and is not made where that fails.

        What the file has and the log has not, since a process was killed between the two, is put in force now.

        Args:
            change: What is to stand in the file, of what stands there and what the log has in force.
        """
        with config.editing(self.places):
            in_force, logged = self._in_force(), self._logged()
            found = in_force.get(event, InForce())
            before = found if logged is None else logged.get(event, InForce())
            after = change(found, before)
            is_new = after != found or after.meaning() != before.meaning()
            before = found if after != found else before
            now, then = ("" if one.champion is None else one.champion.id for one in (after, before))
            text = text_of({**in_force, event: after})
            if after != found:
                self.check_with({FILE: text})
            if is_new:
                told = {"champion": now, "what": what, **({"by": by} if by else {})}
                self.record(Deed("model.change", f"model {id_ or now or then}", {"champion": then}, told))
            if after != found:
                config.write_text(self.places.folder / FILE, text)
        self.reload()
        done, why_not = self._put_in_force(waits, WRITTEN)
        active = (self._logged() or {}).get(event, InForce()) if done else after
        if active.meaning() != after.meaning():
            done, why_not = False, OVERTAKEN
        unused = _words(self.definitions.unused_scores().get(now))
        return Deployment(event, id_ or now, what if is_new else SAME, now, then, (), done, why_not, unused)


class _GatesError(Exception):
    """A model is not promoted: it fails gates that nobody waives."""

    def __init__(self, failed: tuple[GateResult, ...], champion: str) -> None:
        super().__init__(champion)
        self.failed, self.champion = failed, champion


def _words(problem: Problem | None) -> str:
    return "" if problem is None else f"{problem.message} {problem.hint}"


def _role(in_force: Mapping[str, InForce], id_: str) -> str:
    return next((role for one in in_force.values() if (role := role_of(one, id_))), "")
