"""State of each rule of the project: its text, draft, versions, hits and test results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.json import decode as from_json

from shroff.engine.exploration import DRAWS
from shroff.errors import DefinitionError, UsageError
from shroff.explain.hit_records import HitRecords, RuleRecord
from shroff.log.rule_history import Histories, RecordedRuleHits, VersionOfRule
from shroff.log.ruletests import TestResult, run_tests_of
from shroff.people.store import AuditFilter, rows_of
from shroff.project.dependency_hash import teller_of
from shroff.rules.rule_text import in_words
from shroff.rules.silences import trial_of
from shroff.runtime.values import FrozenStruct
from shroff.services.drafts.draft_files import RuleDraftFiles, StoredDraft
from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople
from shroff.services.rules.files import NoRuleError, RuleLocation, Rules, subject_of

if TYPE_CHECKING:
    from asyncio import Future

    from shroff.people.audit import AuditEntry
    from shroff.project.definitions import Definitions
    from shroff.rules.definitions import Rule

ACTIVE = "active"
SHADOW = "shadow"
DRAFT = "draft"
OFF = "off"
# Time a page spends counting earlier hits; the rest is counted in the background, in slices of this length.
SLICE_S = 0.02
STATES = (ACTIVE, SHADOW, DRAFT, OFF)


class RuleStatistics(Struct):
    """Cache of a project's rules: hits, versions and test results."""

    records: HitRecords = field(default_factory=HitRecords)
    histories: Histories = field(default_factory=Histories)
    lock: Lock = field(default_factory=Lock)
    tests: dict[str, tuple[Definitions, Rule, Sequence[TestResult]]] = {}
    counting: Future[bool] | None = None  # in a service: background count of earlier hits


class RuleLook(FrozenStruct):
    """State of one rule.

    Args:
        rules: The rule, or the rows of its table; empty if the project's files lack it or have errors.
        versions: Newest first.
        says: The rule in words.
        has_all_hits: Whether all earlier hits are counted.
    """

    id: str
    rules: Sequence[Rule]
    standing: RuleLocation | None
    draft: StoredDraft | None
    record: RuleRecord
    versions: Sequence[VersionOfRule]
    says: str = ""
    has_all_hits: bool = True

    @property
    def rule(self) -> Rule | None:
        return next(iter(self.rules), None)

    @property
    def state(self) -> str:
        if self.standing is None and self.rule is not None:  # its file changed between two reads
            return SHADOW if self.rule.is_shadow else ACTIVE
        if self.standing is None:
            return DRAFT if self.draft is not None else OFF
        return SHADOW if self.standing.is_shadow else ACTIVE

    @property
    def is_known(self) -> bool:
        """Whether the rule exists, existed, or has a draft."""
        return bool(self.rule or self.standing or self.draft or self.versions)

    @property
    def is_in_force(self) -> bool:
        """Whether the log has the file's text."""
        if self.standing is None and self.rule is not None:
            return True
        in_log = self.versions[0].text if self.versions else ""
        return in_log == ("" if self.standing is None else self.standing.text)

    @property
    def of(self) -> str:
        """Rule of which this is a trial; empty if it is none."""
        return trial_of(self.id)

    @property
    def home(self) -> str:
        """Default file: its current or last one, or one named after the rule."""
        if self.standing is not None:
            return self.standing.file.name
        return self.versions[0].file if self.versions else f"{self.id}.yaml"

    @property
    def changed_at_ms(self) -> int | None:
        return self.versions[0].at_ms if self.versions else None

    @property
    def text(self) -> str:
        """Current text: in its file, else in its draft, else as it was last active."""
        if self.standing is not None:
            return self.standing.text
        if self.draft is not None:
            return self.draft.text
        return next((version.text for version in self.versions if version.text), "")


class RuleLooks(ProjectPart):
    """State of the rules of a project. Statistics are shared by all who open the project in this process."""

    _drafts: RuleDraftFiles
    _people: ProjectPeople
    _rules: Rules

    @cached_property
    def kept(self) -> RuleStatistics:
        return self._context.rule_statistics.get(RuleStatistics)

    @property
    def records(self) -> HitRecords:
        return self.kept.records

    def follow(self, *, is_whole: bool) -> bool:
        """Bring statistics up to date with the log, if there is one; return whether all earlier hits are counted.

        While the project's files have errors, only versions are read.

        Args:
            is_whole: Count to the end, however long it takes, unless the lake cannot be reached.
        """
        try:
            with self._log.reading() as log:
                while True:
                    with self.kept.lock:
                        self.kept.histories.follow(log)
                    self.records.zone = self._systems.time_zone
                    definitions = self._valid_definitions()
                    if definitions is None:
                        return False
                    self.records.follow(log, definitions, SLICE_S, self._now_ms())
                    if self.records.is_whole or self.records.is_away or not is_whole:
                        return self.records.is_whole
        except UsageError:  # no log yet
            return True

    def tests_of(self, rule: Rule) -> Sequence[TestResult]:
        """Return the results of a rule's tests, cached while the definitions stay the same. May take seconds."""
        definitions, cached = self._definitions, self.kept.tests.get(rule.id)
        if cached is None or cached[0] is not definitions or cached[1] is not rule:
            cached = self.kept.tests[rule.id] = (definitions, rule, run_tests_of(rule, definitions, self._log.hasher))
        return cached[2]

    def list_all(self, *, is_whole: bool = False) -> list[RuleLook]:
        """List every rule that exists, existed, or has a draft, by id, removed ones last. May wait.

        With `is_whole`, all earlier hits are counted; else `has_all_hits` says whether they are.
        """
        has_all = self.follow(is_whole=is_whole)
        drafts = {draft.id: draft for draft in self._drafts.all()}
        standings = self._rules.standings()
        definitions = self._valid_definitions()
        ids = (
            {rule.id.partition(".")[0] for rule in (() if definitions is None else definitions.rules)}
            | standings.keys()
            | drafts.keys()
            | self.kept.histories.of.keys()
        )
        rules = [self._look(id_, drafts.get(id_), standings.get(id_), has_all=has_all) for id_ in sorted(ids)]
        return sorted(rules, key=lambda look: look.state == OFF)

    def one(self, id_: str, *, is_whole: bool = False) -> RuleLook:
        """Return one rule, as `list_all`. Raises: NoRuleError if there never was one."""
        rule = self.look_up(id_, is_whole=is_whole)
        if not rule.is_known:
            if self.is_experiment(id_):
                raise NoRuleError(f"{id_!r} is an experiment of policy.yaml, not a rule. Run 'shroff experiment {id_}'")
            raise NoRuleError(f"there is no rule {id_!r}, and there never was")
        return rule

    def is_experiment(self, id_: str) -> bool:
        """Return whether policy.yaml has or had an experiment of this name."""
        definitions = self._valid_definitions()
        if definitions is not None and any(experiment.id == id_ for experiment in definitions.experiments):
            return True
        if not self._log.exists():
            return False
        with self._log.reading() as log:
            return id_ in RecordedRuleHits().others(log) - DRAWS

    def look_up(self, id_: str, *, is_whole: bool = False) -> RuleLook:
        """Like `one`, but also for an unknown rule."""
        has_all = self.follow(is_whole=is_whole)
        return self._look(id_, self._drafts.one(id_), self._rules.standing(id_), has_all=has_all)

    def _look(self, id_: str, draft: StoredDraft | None, standing: RuleLocation | None, *, has_all: bool) -> RuleLook:
        definitions = self._valid_definitions()
        rules = [] if definitions is None else [rule for rule in definitions.rules if rule.is_of(id_)]
        record = RuleRecord() if definitions is None else self.records.record(id_, definitions)
        says = " ".join(in_words(rule, teller_of(self._definitions)) for rule in rules)
        return RuleLook(id_, rules, standing, draft, record, self.kept.histories.versions(id_), says, has_all)

    def _valid_definitions(self) -> Definitions | None:
        try:
            return self._definitions
        except DefinitionError:
            return None

    def who_changed(self, look: RuleLook) -> dict[int, AuditEntry]:
        """Return the audit entries of activations by the sequence number of the rule's version. May wait.

        The same text may be activated twice, so each entry counts for the newest version with its text that has no
        entry yet.
        """
        acts: defaultdict[str, list[AuditEntry]] = defaultdict(list)
        with self._people.open() as desk:
            for row in rows_of(desk.store, AuditFilter(subject=subject_of(look.id))):
                after = from_json(row.after)
                acts[str(after.get("file_tag", "")) if isinstance(after, dict) else ""].append(row)
        return {version.seq: acts[version.file_tag].pop() for version in look.versions if acts[version.file_tag]}


def reason_of(row: AuditEntry | None) -> str:
    return "" if row is None else str(from_json(row.after).get("reason", ""))
