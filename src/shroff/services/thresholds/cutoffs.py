"""Thresholds of the score: compute the cheapest by the policy's costs, and write them to policy.yaml."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from msgspec import UNSET, UnsetType
from msgspec.json import decode as from_json

from shroff import config
from shroff.json_types import TextDict, TextMapping
from shroff.models.in_force import version_of
from shroff.operations.declaration import ReportAnswer
from shroff.runtime.atomic_files import own
from shroff.runtime.values import FrozenStruct
from shroff.services.models.promotion import Promotions
from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople
from shroff.services.project_files import checked_with
from shroff.services.rules.files import ChangedMeanwhileError, NotActiveError, is_version
from shroff.services.writer.requests import WriterRequests

if TYPE_CHECKING:
    from pathlib import Path

    from shroff.models.evaluation.cost_table import Cuts
    from shroff.models.registry import Stored
    from shroff.people.audit import AuditEntry
    from shroff.project.policy import Policy
    from shroff.rules.definitions import Rule
    from shroff.training.cutoffs import Cutoffs, WhatIf

Costs = TextMapping
NO_COSTS: Final[Costs] = {}
APPLY = "thresholds.apply"  # action in the audit log
CUTS = ("review_at", "decline_at")
AMOUNTS = ("false_decline", "review", "reviews_a_day")
WRITTEN = "The thresholds are written; they become active with the next command that writes."


class AppliedCutoffs(ReportAnswer[tuple[str, str]]):
    """Whether they are active in the log yet, and a warning where arm B was promoted and is not proven better."""

    in_force: bool
    why_not: str | None
    warning: str | UnsetType = UNSET
    NEXT: ClassVar = ("shroff results", "shroff audit list")

    def etag(self) -> str:
        return self.report[0]

    def text(self) -> str:
        warning = f" {self.warning}" if self.warning else ""
        return f"{self.report[1]} {'All is active now.' if self.in_force else self.why_not}{warning}"


class EndedExperiment(NamedTuple):
    """An experiment of policy.yaml that ends; with `is_promoted` its rules stay as in arm B."""

    name: str
    is_promoted: bool
    warning: str | UnsetType = UNSET


class CutoffsChange(FrozenStruct):
    """A change of thresholds and costs in the audit log."""

    before: TextMapping
    after: TextMapping

    @classmethod
    def of(cls, row: AuditEntry) -> CutoffsChange:
        return cls(*(from_json(text or "{}", type=TextDict) for text in (row.before, row.after)))

    @staticmethod
    def cuts(side: TextMapping) -> Cuts:
        review_at, decline_at = (float(side[name]) if name in side else None for name in CUTS)
        return review_at, decline_at

    @staticmethod
    def costs(side: TextMapping) -> TextDict:
        return {name: side[name] for name in ("missed_fraud", *AMOUNTS) if name in side}

    def can_be_undone(self, policy: Policy) -> bool:
        """Return whether its thresholds are active, and each of its costs had a value before."""
        is_active = self.cuts(self.after) == (policy.review_at, policy.decline_at)
        return is_active and self.costs(self.after).keys() == self.costs(self.before).keys()


class ScoreCutoffs(ProjectPart):
    """The thresholds of a project's policy."""

    _models: Promotions
    _people: ProjectPeople
    _requests: WriterRequests

    def thresholds(
        self, event: str = "", *, model: str = "", apply: bool = False, what_if: WhatIf | None = None
    ) -> tuple[Cutoffs, AppliedCutoffs | None]:
        """Compute the thresholds of the score with the lowest cost by the policy; with `apply`, make them active.

        Args:
            event: The event type of the champion; optional if only one has an active model.
            model: A model of the registry instead.
            what_if: Other costs and review capacity, and thresholds to try.

        Raises: ChangedMeanwhileError if the champion or policy.yaml changed in between; UsageError if there is no
            model, or no test rows or costs.
        """
        from shroff.training.cutoffs import WhatIf, cutoffs_of

        tag = self.policy_tag
        stored = self._registry.read(model) if model else self._champion(event)
        settings = self._definitions.models.get(stored.event)
        cutoffs = cutoffs_of(self._definitions, settings, stored, what_if or WhatIf())
        if not apply:
            return cutoffs, None
        if not model and self._champion(stored.event).id != stored.id:
            message = f"{stored.id} is not the champion of {stored.event} any more; run the command again."
            raise ChangedMeanwhileError(message)
        best = cutoffs.found.best
        return cutoffs, self.write(stored.event, (best.review_at, best.decline_at), model=stored.id, tag=tag)

    @property
    def policy_tag(self) -> str:
        """Hash of policy.yaml."""
        return sha256(self._policy_text().encode()).hexdigest()[:32]

    def write(
        self,
        event: str,
        cuts: Cuts,
        costs: Costs = NO_COSTS,
        *,
        model: str = "",
        reason: str = "",
        tag: str = "",
        ends: EndedExperiment | None = None,
    ) -> AppliedCutoffs:
        """Write thresholds of an event type into policy.yaml and make them active.

        They are audited first, and not written if that fails.

        Args:
            cuts: The thresholds for review and decline; None for no threshold.
            costs: Other costs to write with them, in the notation of policy.yaml.
            model: The model whose test rows they were chosen on, for the audit log.
            tag: The `policy_tag` of the policy that they were chosen for, or several separated by commas; without it,
                any current policy is overwritten.
            ends: The experiment of the event type that ends with this change.

        Raises: ChangedMeanwhileError; NotActiveError if an experiment ends and its policy or rules in the files are not
            active; UsageError if policy.yaml cannot be changed; DefinitionError if the project would have errors.
        """
        from shroff.project.policy_text import POLICY, costs_of, without_experiment

        with config.editing(self._paths):
            if tag and not is_version(tag, self.policy_tag):
                raise ChangedMeanwhileError(f"{POLICY} was changed meanwhile; run the command again.")
            known, drawn = self._definitions.policy(event), self._drawn(ends)
            self._context.reload()
            policy = self._definitions.policy(event)
            if ends and (policy, self._drawn(ends)) != (known, drawn):
                raise NotActiveError("the files have changes that are not active: run 'shroff apply' or undo them.")
            text, changed = self.proposed(event, cuts, costs)
            promoted = drawn if ends and ends.is_promoted else []
            files = self._switched(promoted)
            files[POLICY] = without_experiment(changed, event) if ends else changed
            checked_with(self._context, files)
            before, after = _cuts_told((policy.review_at, policy.decline_at)), _cuts_told(cuts) | dict(costs)
            there = costs_of(text, event) if costs else {}
            before |= {name: there[name] for name in costs if name in there}
            switched = ", ".join(f"{rule.id} {'off' if rule.is_drawn_out else 'on'}" for rule in promoted)
            told = (("model", model), ("reason", reason), ("rules", switched))
            more = {name: text for name, text in told if text}
            self._people.record(APPLY, f"policy of {event}", before, after | more)
            for name, text in files.items():  # policy.yaml last, so that the experiment stays until then
                config.write_text(own(self._paths.folder, name), text)
        self._context.reload()
        why_not = self._requests.put_in_force(WRITTEN, [*files])
        words = f"Experiment {ends.name} ended: all keys get arm {'AB'[ends.is_promoted]}. " if ends else ""
        words += f"Written: {', '.join(files)}."
        warning = ends.warning if ends else UNSET
        answer = AppliedCutoffs(in_force=not why_not, why_not=why_not or None, warning=warning)
        return answer.about((self.policy_tag, words))

    @property
    def folder(self) -> Path:
        return self._paths.folder

    @property
    def basis(self) -> tuple[str, ...]:
        """Versions of the active models, costs and settings: equal as long as all of them are."""
        versions, models = self._definitions.versions, self._definitions.models
        return version_of(self._models.in_force()), versions.definitions, versions.policy, repr(models)

    def model_ids(self) -> list[str]:
        """List the models of the registry, newest first."""
        return [model.id for model in self._models.all()]

    def proposed(self, event: str, cuts: Cuts, costs: Costs = NO_COSTS) -> tuple[str, str]:
        """Return the text of policy.yaml, and the text that `write` would write. Raises: UsageError as `write`."""
        from shroff.project.policy_text import with_costs, with_cutoffs

        text = self._policy_text()
        return text, with_costs(with_cutoffs(text, event, *cuts), event, costs)

    def costs(self, event: str, what_if: WhatIf) -> TextDict:
        """Return the costs of a what-if that differ from policy.yaml, in its notation."""
        from shroff.project.policy_text import costs_of

        current = costs_of(self._policy_text(), event)
        requested = {name: getattr(what_if, name) for name in AMOUNTS}
        changed = {name: f"{value:.10g}" for name, value in requested.items() if value is not None}
        if what_if.missed_share != 1:
            now = current["missed_fraud"]
            changed["missed_fraud"] = f"{f'({now})' if ' ' in now else now} * {what_if.missed_share:.10g}"
        return {name: text for name, text in changed.items() if not _is_same(text, current.get(name, ""))}

    def _drawn(self, ends: EndedExperiment | None) -> list[Rule]:
        return [rule for rule in self._definitions.rules if ends and rule.drawn_as == ends.name]

    def _switched(self, rules: list[Rule]) -> TextDict:
        """Return the rule files, by name, in which each rule acts for all keys as in arm B."""
        from shroff.rules import texts

        files = config.read_files(self._paths.folder, [])
        changed = dict[str, str]()
        for rule in rules:
            assert rule.place is not None, "a rule of a file"
            name = rule.place.file
            rule_text = changed.get(name, files[name])
            text = texts.in_shadow(texts.rule_texts(rule_text)[rule.id].text, shadow=rule.is_drawn_out)
            changed[name] = texts.with_rule(rule_text, rule.id, text)
        return changed

    def _policy_text(self) -> str:
        from shroff.project.policy_text import POLICY

        path = own(self._paths.folder, POLICY)
        return config.read_text(path) if path.exists() else ""

    def _champion(self, event: str) -> Stored:
        event = self._models.one_event(event, "so there is no score to choose thresholds for")
        champion = self._models.in_force()[event].champion
        assert champion is not None, "an event type with an active model"
        return self._registry.read(champion.id, champion.digest)


def _cuts_told(cuts: Cuts) -> TextDict:
    return {name: str(cut) for name, cut in zip(CUTS, cuts, strict=True) if cut is not None}


def _is_same(text: str, other: str) -> bool:
    with suppress(ValueError):
        return float(text) == float(other.replace("_", ""))
    return text == other
