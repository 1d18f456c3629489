"""Promotions: models/in_force.json and the calls that change it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from shroff import config
from shroff.errors import DefinitionError, Problem, UsageError, nearest
from shroff.events.event import time_text
from shroff.models.in_force import (
    FILE,
    Challenger,
    Everything,
    InForce,
    Named,
    Promotion,
    read_in_force,
    role_of,
    text_of,
)
from shroff.models.registry import CARD, GateResult, Stored
from shroff.runtime.atomic_files import own
from shroff.runtime.texts import Printed
from shroff.services.models.deployment import (
    CHALLENGES,
    IN_SHADOW,
    NO_CHALLENGER,
    OUT_OF_SHADOW,
    PROMOTED,
    REFUSED,
    ROLLED_BACK,
    SAME,
    Deployment,
    ListedModel,
    ModelDetails,
)
from shroff.services.models.frames import ModelList
from shroff.services.models.role_changes import (
    challenged,
    is_rollback,
    promoted,
    rolled_back,
    shadowed,
    unchallenged,
    unshadowed,
    waivers_of,
)
from shroff.services.parts import ProjectPart, ProjectParts
from shroff.services.people.project_people import ProjectPeople
from shroff.services.project_files import checked_with
from shroff.services.rules.files import ChangedMeanwhileError
from shroff.services.writer.requests import WriterRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shroff.replay.notebook import Moment
    from shroff.streams.log import Record
    from shroff.training.comparison import Comparison
    from shroff.training.train import TrainReport

INPUTS = "inputs"  # fails if the definition of an input changed
WRITTEN = f"{FILE} is written; it becomes active with the next command that writes."
OVERTAKEN = "another command has changed the models since; 'shroff models list' shows the active ones"


class NoChampionError(UsageError):
    """No model is in force where one is asked for; each way in says how another one is named there."""


def _overtaken(id_: str, champion: str, now: str) -> str:
    then = champion or "rules alone"
    cure = f"Compare them with 'shroff models compare {now} {id_}'" if now else "Find out why it was rolled back"
    return (
        f"{id_} is not promoted: it was judged against {then}, and {now or 'no model'} is the champion now. "
        f"{cure}, then run 'shroff models promote {id_}'"
    )


# ---- the calls


class Promotions(Printed, ProjectPart):
    """Active models of the registry: read and change them, also beside a writer."""

    _people: ProjectPeople
    _requests: WriterRequests

    def __repr__(self) -> str:
        return repr(self.all())

    def all(self) -> ModelList:
        """List the models of the registry with their state, newest first."""
        in_force = self.in_force()
        changed: dict[str, tuple[str, ...]] = {}
        unused: dict[str, Problem] = {}
        with suppress(DefinitionError):  # models can be listed although definitions have errors
            unused = self._definitions.unused_scores()
            scorers = (scorer for scoring in self._definitions.scoring.values() for scorer in scoring.all)
            changed = {scorer.id: scorer.redefined for scorer in scorers}
        summaries = sorted(
            self._registry.summaries(), key=lambda summary: summary.made_at, reverse=True
        )  # equal times: by id
        return ModelList(
            ListedModel(
                **asdict(model),
                role=next(filter(None, (role_of(roles, model.id) for roles in in_force.values())), ""),
                redefined=changed.get(model.id, ()),
                unused=_words(unused.get(model.id)),
                unwaived=in_force.get(model.event, InForce()).unwaived(model.id, model.failed),
            )
            for model in summaries
        )

    def add(
        self,
        fitted: Any,
        check: Any,
        event: str | None = None,
        *,
        inputs: Sequence[str] | None = None,
        trained_until: Moment | None = None,
        as_of: Moment | None = None,
        promote: bool = False,
        calibrate: bool = False,
        tolerance: float | None = None,
        by: str = "",
    ) -> TrainReport:
        """Add a fitted classifier of XGBoost, LightGBM or scikit-learn; see `Training.import_model`.

        Args:
            check: The frame that it scores, with the inputs as its columns: `X_test`.
            inputs: The expressions of model.yaml that its columns are; by default the names of the columns.
        """
        return ProjectParts(self._context).training.import_model(
            fitted,
            event,
            check=check,
            inputs=inputs,
            trained_until=trained_until,
            as_of=as_of,
            promote=promote,
            calibrate=calibrate,
            tolerance=tolerance,
            by=by,
        )

    def one(self, id_: str) -> ModelDetails:
        """Get one model. Raises: UsageError if there is none; RegistryError if it is damaged."""
        stored, in_force = self._registry.read(id_), self.in_force()
        roles = in_force.get(stored.event, InForce())
        promotions = tuple(champion for champion in roles.champions if champion.id == id_)
        changed: tuple[str, ...] = ()
        with suppress(DefinitionError):
            changed = self._definitions.redefined(stored.event, stored.manifest)
        return ModelDetails(stored, role_of(roles, id_), promotions, changed)

    def promote(
        self, id_: str, *, waive: Sequence[str] = (), reason: str = "", by: str = "", champion: str | None = None
    ) -> Deployment:
        """Promote a model to champion of its event type, if its gates pass or are waived with reason and name.

        Gates are checked again. These fail: a comparison with a former champion, new gates of model.yaml that the model
        does not pass, and inputs whose definition has changed since training.

        Args:
            waive: Gates that failed, each by metric and limit: `calibration_error at most 0.02`.
            champion: Id of the champion that the model was judged against, empty for rules alone; None replaces any
                champion.

        Raises: ChangedMeanwhileError if another champion is active than the one that it was judged against;
            UsageError if there is no such model; RegistryError if it cannot be loaded; DefinitionError if its inputs do
            not fit the project.
        """
        from shroff.models.evaluation.gates import (
            beside_champion,  # imported here: its libraries load slowly, and lists of models need none
        )

        stored = self._loadable(id_)

        def change(found: InForce, then: InForce) -> InForce:
            if role_of(found, id_) == "champion":
                if role_of(then, id_) == "champion":
                    raise UsageError(f"{id_} is already the champion.")
                return found
            now = "" if found.champion is None else found.champion.id
            if champion is not None and now != champion:
                raise ChangedMeanwhileError(_overtaken(id_, champion, now))
            gates = beside_champion(self._asked_again(stored), stored, found.champion)
            failed = [gate for gate in gates if not gate.passed]
            waived = waivers_of(id_, failed, waive, reason, by)
            names = {(waiver.gate, waiver.limit) for waiver in waived}
            left = tuple(gate for gate in failed if (gate.name, gate.limit) not in names)
            if left:
                raise _GatesError(left, "" if found.champion is None else found.champion.id)
            return promoted(found, Promotion(id_, stored.digest, time_text(self._now_ms()), by, tuple(waived)))

        try:
            done = self._change(stored.event, id_, PROMOTED, change, by)
        except _GatesError as error:
            return Deployment(stored.event, id_, REFUSED, error.champion, error.champion, error.failed)
        config.write_text(own(self._paths.folder, f"models/{id_}/{CARD}"), self.card(id_))
        return done

    def card(self, id_: str) -> str:
        """Render the card of a model as one HTML page, from its folder and the control events of the log.

        The same log yields the same bytes.
        """
        from shroff.services.models.card import card_of

        controls: list[Record] = []
        if self._log.exists():
            with self._log.reading() as log:
                controls = log.controls()
        details = self.one(id_)
        now = self.in_force().get(details.stored.event, InForce())
        return card_of(details, now, controls, self._definitions)

    def rollback(self, event: str = "", *, champion: str = "", by: str = "") -> Deployment:
        """Return to the previous champion; without one, rules alone decide. `event` is optional with one model.

        `champion`: the model to roll back, if it must be this one. `by`: the user, for the audit log.

        Its gates are not checked, so a rollback is possible whenever the model can be loaded.

        Raises: UsageError if no model is active, or another than `champion` is.
        """
        event = self.one_event(event, is_logged=True)

        def back(found: InForce, then: InForce) -> InForce:
            if champion and role_of(found, champion) != "champion":
                raise UsageError(f"{champion} is not the champion; only the champion can be rolled back.")
            changed = found if is_rollback(then, found) else rolled_back(found, event)
            if changed.champion is not None:
                self._registry.load(changed.champion.id, changed.champion.digest)
            return changed

        return self._change(event, "", ROLLED_BACK, back, by)

    def shadow(self, id_: str, *, stop: bool = False, by: str = "") -> Deployment:
        """Put a model in shadow: it scores every event, without effect. With `stop`, take it out.

        `by`: the user, for the audit log.
        """
        if stop:

            def change(found: InForce, then: InForce) -> InForce:
                is_done = role_of(found, id_) != "shadow" and role_of(then, id_) == "shadow"
                return found if is_done else unshadowed(found, id_)

            return self._change(self._event_tried(id_), id_, OUT_OF_SHADOW, change, by)
        stored = self._loadable(id_)
        named = Named(id_, stored.digest)
        return self._change(stored.event, id_, IN_SHADOW, lambda active, _then: shadowed(active, named), by)

    def challenge(self, id_: str, share: float, entity: str) -> Deployment:
        """Let a model score a share of an entity's keys instead of the champion, by a hash of model and key.

        It is compared with the current champion, whichever it was compared with at training.

        Args:
            share: A number above 0 and at most 1: 0.1 is a tenth of the keys.
            entity: The entity of the keys.

        Raises: UsageError for an invalid share, without a champion, or if a gate fails, since a challenger decides.
        """
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise UsageError(f"a share is a number above 0 and at most 1, such as 0.1 for 10 %, not {share!r}.")
        if not 0 < share <= 1:
            raise UsageError(f"a share is above 0 % and at most 100 %, not {share * 100:g} %.")
        stored = self._loadable(id_)
        names = ", ".join(dict.fromkeys(gate.name for gate in self._asked_again(stored) if not gate.passed))
        if names:
            raise UsageError(
                f"{id_} failed its gates ({names}), and a challenger makes decisions. Put it in shadow instead."
            )
        challenger = Challenger(id_, stored.digest, share, entity)
        return self._change(stored.event, id_, CHALLENGES, lambda challenge, _then: challenged(challenge, challenger))

    def unchallenge(self, id_: str) -> Deployment:
        """End a challenge; the champion scores these keys again."""

        def change(found: InForce, then: InForce) -> InForce:
            is_done = found.challenger is None and role_of(then, id_) == "challenger"
            return found if is_done else unchallenged(found, id_)

        return self._change(self._event_tried(id_), id_, NO_CHALLENGER, change)

    # ---- how

    def _loadable(self, id_: str) -> Stored:
        stored = self._registry.read(id_)
        self._registry.load(id_, stored.digest)
        return stored

    def _asked_again(self, stored: Stored) -> list[GateResult]:
        """Evaluate a model's gates by the project's current settings."""
        from shroff.models.evaluation.gates import CURE, asked_again

        self._context.reload()
        settings = self._definitions.models.get(stored.event)
        gates = asked_again(stored, settings.gates if settings else ())
        changed = self._definitions.redefined(stored.event, stored.manifest)
        if changed:
            note = f"{', '.join(changed)}: changed since the model was trained; {CURE}"
            gates.append(GateResult(INPUTS, None, "as trained", passed=False, note=note))
        return gates

    def in_force(self) -> Everything:
        problems: list[Problem] = []
        text = config.read_files(self._paths.folder, [], (FILE,)).get(FILE)
        by_event = read_in_force(text, problems)
        if problems:
            raise DefinitionError(problems)
        return by_event

    def _logged(self) -> Everything | None:
        """Return the models that are active in the log; None without a readable log.

        The log may be behind the file, which a process that was killed or must wait has changed alone.
        """
        if not self._log.exists():
            return None
        files = self._requests.files_in_force()
        return read_in_force(files.get(FILE), []) if files else None

    def one_event(
        self, event: str, otherwise: str = "so there is nothing to roll back", *, is_logged: bool = False
    ) -> str:
        """Resolve the event type among those with a champion; with `is_logged`, also those in the log."""
        scored = [self.in_force(), (self._logged() or {}) if is_logged else {}]
        event_types = list(
            dict.fromkeys(name for part in scored for name, roles in part.items() if roles.champion is not None)
        )
        if event in event_types or (not event and len(event_types) == 1):
            return event or event_types[0]
        if not event_types:
            raise NoChampionError(f"no model is active, {otherwise}.")
        if not event:
            raise UsageError(f"several event types have an active model; name one: {', '.join(event_types)}.")
        hint = nearest(event, event_types) or f"There is one of {', '.join(event_types)}."
        raise UsageError(f"no model of {event!r} is active. {hint}")

    def _event_tried(self, id_: str) -> str:
        """Return the event type of a model that has a role; its folder may be missing."""
        for active in (self.in_force(), self._logged() or {}):
            for event, force in active.items():
                if role_of(force, id_):
                    return event
        raise UsageError(f"{id_} is neither in shadow nor a challenger. 'shroff models list' shows the roles.")

    def _change(
        self, event: str, id_: str, what: str, change: Callable[[InForce, InForce], InForce], by: str = ""
    ) -> Deployment:
        """Change the file atomically, then have the process that writes the log adopt it.

        The change is audited first, and not made if that fails. Changes that a killed process wrote only to the file
        are activated too.

        Args:
            change: Returns the new roles, from those in the file and those active in the log.
        """
        with config.editing(self._paths):
            in_force, logged = self.in_force(), self._logged()
            file_roles = in_force.get(event, InForce())
            before = file_roles if logged is None else logged.get(event, InForce())
            after = change(file_roles, before)
            is_new = after != file_roles or after.meaning() != before.meaning()
            before = file_roles if after != file_roles else before
            now, then = ("" if roles.champion is None else roles.champion.id for roles in (after, before))
            text = text_of({**in_force, event: after})
            if after != file_roles:
                checked_with(self._context, {FILE: text})
            if is_new:
                details = {"champion": now, "what": what, **({"by": by} if by else {})}
                self._people.record("model.change", f"model {id_ or now or then}", {"champion": then}, details)
            if after != file_roles:
                config.write_text(own(self._paths.folder, FILE), text)
        self._context.reload()
        why_not = self._requests.put_in_force(WRITTEN, [FILE])
        active = after if why_not else (self._logged() or {}).get(event, InForce())
        if active.meaning() != after.meaning():
            why_not = OVERTAKEN
        unused = _words(self._definitions.unused_scores().get(now))
        return Deployment(event, id_ or now, what if is_new else SAME, now, then, (), not why_not, why_not, unused)

    def compare(
        self, *models: str, as_of: Moment | None = None, reading: Callable[[int], None] | None = None
    ) -> Comparison:
        """Compare two models on the same events: the paired difference, and the smallest detectable one.

        Models that are active or in shadow are compared on the events that both scored; others on events in the test
        folds of both.

        Args:
            models: The champion and another, or only the other; none if exactly one is in shadow or a challenger.
            as_of: Use the labels known at this time; by default the time of the log's last record.

        Raises: UsageError if the pair is not clear, or no event was scored by both.
        """
        from shroff.log.later_labels import last_moment
        from shroff.replay.notebook import moment_ms
        from shroff.training.comparison import compare_tested, compare_tried, tried_pair

        if len(models) > 2 or len(set(models)) != len(models):
            raise UsageError("name two different models to compare.")
        otherwise = "so name two: shroff models compare ONE OTHER"
        event = self._registry.read(models[-1]).event if models else self.one_event("", otherwise)
        scoring = self._definitions.scoring_of(event)
        pair = tried_pair(scoring, models)
        if pair is not None:
            with self._log.reading() as log:
                as_of_ms = last_moment(log, self._now_ms(), moment_ms(as_of))
                return compare_tried(log, self._definitions, *pair, event, as_of_ms=as_of_ms or 0, reading=reading)
        first = models[0] if len(models) == 2 or scoring.champion is None else scoring.champion.id
        return compare_tested(self._definitions, self._registry.read(first), self._registry.read(models[-1]))


class _GatesError(Exception):
    """A model is not promoted: it fails gates that nobody waives."""

    def __init__(self, failed: tuple[GateResult, ...], champion: str) -> None:
        super().__init__(champion)
        self.failed, self.champion = failed, champion


def _words(problem: Problem | None) -> str:
    return "" if problem is None else f"{problem.message} {problem.hint}"
