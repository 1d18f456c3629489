"""State of the project's rules: text, hits, versions, and the step of each draft."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

import msgspec

from shroff.app.rules.rule_drafts import StoredDraft
from shroff.app.rules.rule_files import RuleLocation
from shroff.errors import DefinitionError, UsageError
from shroff.explain.hit_records import HitRecords, RuleRecord
from shroff.log.rule_history import Histories, VersionOfRule
from shroff.log.ruletests import TestResult, run_tests_of
from shroff.people.store import AuditFilter, rows_of
from shroff.project.dependency_hash import teller_of
from shroff.rules.rule_text import in_words
from shroff.rules.silences import trial_of
from shroff.web.http.problems import ProblemError

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.people.audit import AuditEntry
    from shroff.people.store import Desk
    from shroff.project.definitions import Definitions
    from shroff.rules.definitions import Rule
    from shroff.web.service import Service

ACTIVE: Final = "active"
SHADOW: Final = "shadow"
DRAFT: Final = "draft"
OFF: Final = "off"
SLICE_S: Final = 0.02  # for which a page counts back at once; the rest is counted beside it, in slices as long
STATES: Final = (ACTIVE, SHADOW, DRAFT, OFF)


@dataclass(slots=True)
class RuleLooks:
    """Cached state of rules between requests."""

    records: HitRecords = field(default_factory=HitRecords)
    histories: Histories = field(default_factory=Histories)
    _lock: Lock = field(default_factory=Lock)
    _beside: asyncio.Task[bool] | None = None
    _tests: dict[str, tuple[Definitions, Rule, Sequence[TestResult]]] = field(default_factory=dict)

    def follow(self, project: Project, *, is_whole: bool) -> bool:
        """Bring both up to date with the log, where there is one; gives whether hits are counted as far as they go.

        `is_whole`: however long that takes.
        """
        while True:
            with self._lock:
                try:
                    with project.opened.reading() as log:
                        self.histories.follow(log)
                        self.records.zone = project.opened.systems.time_zone
                        self.records.follow(log, project.definitions, SLICE_S, project.opened.now_ms())
                except UsageError:  # there is no log yet
                    return True
            if self.records.is_whole or not is_whole:
                return self.records.is_whole

    def tests_of(self, project: Project, rule: Rule | None) -> Sequence[TestResult]:
        """The results of a rule's tests, which are the same as long as the definitions are. May take seconds."""
        if rule is None:
            return ()
        definitions, kept = project.definitions, self._tests.get(rule.id)
        if kept is None or kept[0] is not definitions or kept[1] is not rule:
            kept = self._tests[rule.id] = definitions, rule, run_tests_of(rule, definitions, project.opened.hasher)
        return kept[2]

    def count_on(self, project: Project, in_thread: Callable[[Callable[[], bool]], Awaitable[bool]]) -> None:
        """Count earlier hits in the background, as far as they go. In the event loop."""
        if self._beside is None or self._beside.done():
            with suppress(Exception):  # what failed there fails for whoever looks as well, and is told them
                _ = self._beside and self._beside.result()
            self._beside = asyncio.ensure_future(in_thread(lambda: self.follow(project, is_whole=True)))


@dataclass(frozen=True, slots=True)
class RuleLook:
    """One rule. `rule` is None where it is no rule of the project's files, or these have mistakes.

    `versions` are newest first; `is_in_force` says whether the log has what the file says; `says` is it read back;
    `has_all_hits` whether they are counted as far back as they go.
    """

    id: str
    rule: Rule | None
    standing: RuleLocation | None
    draft: StoredDraft | None
    record: RuleRecord
    versions: Sequence[VersionOfRule]
    says: str = ""
    has_all_hits: bool = True

    @property
    def state(self) -> str:
        """Active, in shadow, a draft alone, or taken out."""
        if self.standing is None and self.rule is not None:  # its file changed between two looks
            return SHADOW if self.rule.is_shadow else ACTIVE
        if self.standing is None:
            return DRAFT if self.draft is not None else OFF
        return SHADOW if self.standing.is_shadow else ACTIVE

    @property
    def is_in_force(self) -> bool:
        if self.standing is None and self.rule is not None:
            return True
        in_log = self.versions[0].text if self.versions else ""
        return in_log == ("" if self.standing is None else self.standing.text)

    @property
    def of(self) -> str:
        """The rule of which this is a trial; empty where it is none."""
        return trial_of(self.id)

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


def all_rules(service: Service, *, is_whole: bool = False) -> list[RuleLook]:
    """Every rule that there is, was, or is being written, by id; those that were taken out last. May wait.

    `is_whole`: with hits counted as far back as they go; else each says whether they are.
    """
    project, looks = service.project, service.rule_looks
    has_all = looks.follow(project, is_whole=is_whole)
    drafts, standings = {one.id: one for one in project.drafts.all()}, project.rules.standings()
    ids = {rule.id for rule in _rules(project)} | standings.keys() | drafts.keys() | looks.histories.of.keys()
    found = [_look(project, looks, id_, drafts.get(id_), standings.get(id_), has_all=has_all) for id_ in sorted(ids)]
    return sorted(found, key=lambda one: one.state == OFF)


def one_rule(service: Service, id_: str, *, is_whole: bool = False) -> RuleLook:
    """One rule, as `all_rules` gives it. Raises: ProblemError with 404 where nobody ever knew it."""
    project, looks = service.project, service.rule_looks
    has_all = looks.follow(project, is_whole=is_whole)
    found = _look(project, looks, id_, project.drafts.one(id_), project.rules.standing(id_), has_all=has_all)
    if found.rule is None and found.standing is None and found.draft is None and not found.versions:
        raise ProblemError(404, "no-rule", "There is no such rule", f"there is no rule {id_!r}, and there never was")
    return found


def _look(
    project: Project,
    looks: RuleLooks,
    id_: str,
    draft: StoredDraft | None,
    standing: RuleLocation | None,
    *,
    has_all: bool,
) -> RuleLook:
    rule = next((one for one in _rules(project) if one.id == id_), None)
    try:
        record = looks.records.record(id_, project.definitions)
    except DefinitionError:
        record = RuleRecord()
    says = "" if rule is None else in_words(rule, teller_of(project.definitions))
    return RuleLook(id_, rule, standing, draft, record, looks.histories.versions(id_), says, has_all)


def _rules(project: Project) -> Sequence[Rule]:
    try:
        return project.definitions.rules
    except DefinitionError:
        return ()


def reason_of(row: AuditEntry | None) -> str:
    """Why somebody changed a rule, as the audit log has it; empty where nothing was said."""
    return "" if row is None else str(msgspec.json.decode(row.after).get("reason", ""))


def who_changed(desk: Desk, look: RuleLook) -> dict[int, AuditEntry]:
    """User who made each version of a rule active, by its place, where the audit log has it. May wait.

    The same text may come into force twice, so each act stands for the newest version that has its text and no act yet.
    """
    acts: defaultdict[str, list[AuditEntry]] = defaultdict(list)
    for row in rows_of(desk.store, AuditFilter(subject=subject_of(look.id))):
        acts[_file_tag(row)].append(row)
    return {version.seq: acts[version.file_tag].pop() for version in look.versions if acts[version.file_tag]}


def subject_of(id_: str) -> str:
    """How the record of who did what calls a rule."""
    return f"rule {id_}"


def _file_tag(row: AuditEntry) -> str:
    after = msgspec.json.decode(row.after)
    return str(after.get("file_tag", "")) if isinstance(after, dict) else ""
