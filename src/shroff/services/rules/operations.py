"""Operations on single rules: show, history, restore, and rule files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import msgspec

from shroff.errors import RefusalError
from shroff.events.event import TimeText, time_text, time_text_or_none
from shroff.explain.hit_records import RulePrecision
from shroff.json_types import JsonObject
from shroff.language.values import show_decimal
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, group, operation
from shroff.project.definitions import Definitions
from shroff.rules.texts import tag_of
from shroff.runtime.texts import TextTable, argument, many
from shroff.services.approvals.agreements import Agreements, ChangeAsked
from shroff.services.drafts.draft_files import RuleDraftFiles
from shroff.services.drafts.operations import AdoptedFile, adopted, recorder
from shroff.services.lists.files import SecondPersonError
from shroff.services.people.project_people import ProjectPeople
from shroff.services.project import Project
from shroff.services.rules import hit_operations as hit_operations  # noqa: PLC0414 - the manifest has one module of a word
from shroff.services.rules import name_operations as name_operations  # noqa: PLC0414 - the same
from shroff.services.rules.files import NoRuleError, Rules, subject_of
from shroff.services.rules.overview import RuleLooks
from shroff.services.writer.requests import WriterRequests

if TYPE_CHECKING:
    from shroff.rules.definitions import Rule
    from shroff.services.rules.files import RuleFile
    from shroff.services.rules.overview import RuleLook

BODY_BYTES_MAX = 64 * 1024
FILE_BYTES_MAX = 2 * 1024 * 1024

group(
    "rules",
    """Show rules with their state, hits and precision, and their versions.

    Hits are counted over the newest part of the log.

    Examples:
        shroff rules
        shroff rules show many_payments
        shroff rules history many_payments
    """,
)


class NoVersionError(RefusalError):
    """There is no such rule, or no such version."""

    status, code, title = 404, "no-version", "There is no such version"


class RuleIsOffError(RefusalError):
    """The rule is already removed."""

    status, code, title = 409, "is-off", "The rule is already removed"


class NoReasonError(RefusalError):
    """The version does not fit the current project, or the reason is missing."""

    status, code, title = 422, "no-reason", "A reason is missing"


class RuleCounts(msgspec.Struct):
    """Statistics of a rule over the newest part of the log.

    `fraud` and `fraud_money` are of all hits labeled fraud; `older_*` are hits past the label delay, by label. The
    precision is the share of frauds among older hits that are not unclear; those without a label count as genuine. It
    is null without such hits, and if no event of that type has a label.
    """

    hits: int
    in_shadow: int
    fraud: int
    older_fraud: int
    older_genuine: int
    older_unclear: int
    older_none: int
    immature: int
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    money: str
    fraud_money: str


class RuleState(OperationAnswer):
    """One rule and its statistics."""

    id: str
    state: str
    file: str | None
    effect: str | None
    in_force: bool
    trial: str | None
    draft: str | None
    changed_at: TimeText | None
    record: RuleCounts


AnyState = TypeVar("AnyState", bound=RuleState)


class RuleStates(OperationAnswer):
    """All rules with their statistics since a time; removed ones come last."""

    since: TimeText | None
    rules: list[RuleState]

    TABLE: ClassVar = TextTable(
        {
            "rule": "id",
            "state": "state",
            "effect": "effect",
            "hits": "record.hits",
            "precision, %": lambda rule: _percent(rule.record.precision),
        },
        "rules",
        "rule",
        head="{count}.{answer.from_when}",
    )

    @property
    def from_when(self) -> str:
        return f" Hits since {self.since}." if self.since else ""

    def hints(self) -> Sequence[str]:
        return [f"shroff rules show {argument(self.rules[0].id)}"] if self.rules else []


class RuleWhole(RuleState, rename={"source": "text"}):
    """One rule with its text, and its changes that wait for a second person."""

    source: str
    says: str | None
    asked: list[ChangeAsked]

    def text(self) -> str:
        counts = self.record
        summary = (
            f"{many(counts.hits, 'hit')}, {counts.in_shadow:,} of them in shadow; of older ones {counts.older_fraud:,} "
        )
        summary += f"fraud, {counts.older_genuine + counts.older_none:,} genuine or unlabeled. "
        summary += f"Precision, %: {_percent(counts.precision) or 'unknown'}."
        return "\n".join(
            [f"{self.id}: {self.state}. {self.says or ''}".rstrip(), summary, "", self.source.rstrip("\n")]
        )

    def hints(self) -> Sequence[str]:
        return [f"shroff rules history {argument(self.id)}"]


class RuleVersion(msgspec.Struct):
    """The text of a rule from a sequence number of the log on; null if it was removed."""

    seq: int
    time: TimeText
    file: str
    text: str | None
    by: str | None
    reason: str | None


class RuleVersions(OperationAnswer):
    """All versions of a rule, newest first; the text is null if the rule was removed."""

    versions: list[RuleVersion]

    TABLE: ClassVar = TextTable(
        {
            "seq": "seq",
            "time": "time",
            "by": "by",
            "reason": "reason",
            "": lambda version: "" if version.text else "removed",
        },
        "versions",
        "version",
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"


class ShowRules(OperationRequest[RuleStates]):
    pass


@operation("rules", right="read:definitions", http="GET /records")
def show_rules(rule_looks: RuleLooks, definitions: Definitions, request: ShowRules) -> RuleStates:
    """List every rule with its state and its statistics over the newest part of the log."""
    rules = rule_looks.list_all(is_whole=True)
    since_ms = rule_looks.records.since_ms
    return RuleStates(since=time_text_or_none(since_ms), rules=[_state(RuleState, look, definitions) for look in rules])


class ShowRule(OperationRequest[RuleWhole]):
    """
    Args:
        rule: The rule.
    """

    rule: str


@operation("rules show", right="read:definitions", http="GET /rules/{rule}/record", refusals=[NoRuleError])
def show_rule(rule_looks: RuleLooks, agreements: Agreements, definitions: Definitions, request: ShowRule) -> RuleWhole:
    """Show one rule in words, with its statistics.

    Examples:
        shroff rules show many_payments
    """
    rule = rule_looks.one(request.rule, is_whole=True)
    requests = [waiting.document for waiting in agreements.asked(subject_of(request.rule))]
    return _state(RuleWhole, rule, definitions, source=rule.text, says=rule.says or None, asked=requests)


def _state(kind: type[AnyState], look: RuleLook, definitions: Definitions, **more: Any) -> AnyState:
    record, places = look.record, definitions.settings.money_places
    return kind(
        id=look.id,
        state=look.state,
        file=None if look.standing is None else look.standing.file.name,
        effect=", ".join(dict.fromkeys(rule.effect for rule in look.rules)) or None,
        in_force=look.is_in_force,
        trial=None if look.standing is None else look.standing.trial or None,
        draft=None if look.draft is None else look.draft.tag,
        changed_at=time_text_or_none(look.changed_at_ms),
        record=RuleCounts(
            hits=record.hits,
            in_shadow=record.in_shadow,
            fraud=record.frauds,
            older_fraud=record.older_fraud,
            older_genuine=record.older_genuine,
            older_unclear=record.older_unclear,
            older_none=record.older_none,
            immature=record.immature,
            money=show_decimal(record.amount_minor, places),
            fraud_money=show_decimal(record.fraud_minor, places),
            **record.precision,
        ),
        **more,
    )


class ShowRuleHistory(OperationRequest[RuleVersions]):
    """
    Args:
        rule: The rule.
    """

    rule: str


@operation("rules history", right="read:definitions", http="GET /rules/{rule}/history", refusals=[NoRuleError])
def show_rule_history(rule_looks: RuleLooks, request: ShowRuleHistory) -> RuleVersions:
    """List the versions of a rule, with their authors.

    Examples:
        shroff rules history many_payments
    """
    from shroff.services.rules.overview import reason_of

    rule = rule_looks.one(request.rule)
    who = rule_looks.who_changed(rule)
    return RuleVersions(
        versions=[
            RuleVersion(
                seq=version.seq,
                time=time_text(version.at_ms),
                file=version.file,
                text=version.text or None,
                by=who[version.seq].name if version.seq in who else None,
                reason=reason_of(who.get(version.seq)) or None,
            )
            for version in rule.versions
        ]
    )


class RestoreRule(OperationRequest[AdoptedFile]):
    rule: str
    seq: Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 0})]
    reason: str


@operation(
    "rules back",
    right="edit:rules",
    http="POST /rules/{rule}/back",
    schema="RuleReturn",
    has_command=False,
    is_check=True,
    body_bytes_max=BODY_BYTES_MAX,
    refusals=(NoVersionError, RuleIsOffError, NoReasonError),
)
def restore_rule(
    drafts: RuleDraftFiles,
    rules: Rules,
    rule_looks: RuleLooks,
    agreements: Agreements,
    people: ProjectPeople,
    requests: WriterRequests,
    request: RestoreRule,
) -> AdoptedFile:
    """Restore a rule's version from a sequence number of the log; 0 removes the rule.

    Where a second person approves rules, it waits until somebody else asks for the same.
    """
    from shroff.people.access import Right
    from shroff.services.lists.files import WAITS
    from shroff.services.rules.overview import OFF

    id_, seq, subject = request.rule, request.seq, subject_of(request.rule)
    if not (reason := request.reason.strip()):
        raise NoReasonError("give a reason; it is recorded in the audit log")
    look = rule_looks.one(id_)
    text = "" if seq == 0 else next((version.text for version in look.versions if version.seq == seq), None)
    if text is None:
        raise NoVersionError(f"{id_} did not change at sequence number {seq}")
    if seq == 0 and look.state == OFF:
        raise RuleIsOffError(f"no file has {id_}")
    if drafts.need_second_person:
        change = {"seq": seq, "text": tag_of(text), "now": tag_of(look.text)}
        says = f"{f'roll back to the version of sequence number {seq}' if text else 'take it out'}: {reason}"
        if not agreements.agrees(subject, change, says, Right.APPROVE_RULES):
            return AdoptedFile(file=look.home, in_force=False, why_not=WAITS)
    details = {"reason": request.reason, "version": seq}
    before = recorder(people, "rule.back" if text else "rule.off", id_, details)
    put = rules.put_back(id_, text, look.home, before)
    agreements.forget(subject)
    return adopted(requests, put)


# ---- files


class RuleOfFile(RulePrecision):
    """A rule and its statistics; `older_*` count hits past the label delay, by label."""

    id: str
    on: str
    by: str
    effect: str
    shadow: bool
    rollout: float
    notify: str | None
    tests: int
    hits: int
    fraud: int
    older_fraud: int
    older_genuine: int
    older_none: int


class RuleFileShown(OperationAnswer, rename={"tag": "etag"}):
    """A file of rules."""

    file: str
    tag: str
    rules: list[RuleOfFile]

    def etag(self) -> str:
        return self.tag


class RuleFiles(OperationAnswer):
    """All files of rules."""

    files: list[RuleFileShown]


class RuleFileText(RuleFileShown, rename={"source": "text", "tag": "etag"}):
    """A file of rules with its text."""

    source: str


class RuleFileWritten(RuleFileShown, rename={"tag": "etag"}):
    """The written rule file; `in_force` says whether it is active in the log yet."""

    in_force: bool
    why_not: str | None


class NoRuleFileError(RefusalError):
    """There is no such file of rules."""

    status, code, title = 404, "no-rules", "There is no such file of rules"


class ShowRuleFiles(OperationRequest[RuleFiles]):
    pass


class ShowRuleFile(OperationRequest[RuleFileText]):
    file: str


class WriteRuleFile(OperationRequest[RuleFileWritten], rename={"source": "text"}):
    """
    Args:
        etag: The ETag of the version that you read.
    """

    file: str
    source: str
    etag: Annotated[str, Param(is_etag=True, may_be_new=True)]


@operation("rules files", right="read:definitions", http="GET /rules", has_command=False)
def show_rule_files(project: Project, request: ShowRuleFiles) -> RuleFiles:
    """List the rule files."""
    project.rule_looks.follow(is_whole=True)
    return RuleFiles(files=[RuleFileShown(**_of_file(project, file)) for file in project.rules.files()])


@operation(
    "rules file", right="read:definitions", http="GET /rules/{file}", has_command=False, refusals=[NoRuleFileError]
)
def show_rule_file(project: Project, request: ShowRuleFile) -> RuleFileText:
    """Get one rule file with its text."""
    if (file := project.rules.file(request.file)) is None:
        raise NoRuleFileError(f"there is no file rules/{request.file}")
    project.rule_looks.follow(is_whole=True)
    return RuleFileText(**_of_file(project, file), source=file.text)


@operation(
    "rules write",
    right="edit:rules",
    http="PUT /rules/{file}",
    schema="NewRuleFile",
    has_command=False,
    is_check=True,
    body_bytes_max=FILE_BYTES_MAX,
    refusals=[SecondPersonError],
)
def write_rule_file(project: Project, request: WriteRuleFile) -> RuleFileWritten:
    """Replace the text of a rule file: it is checked with its tests, written, and made active."""
    if project.drafts.need_second_person:
        raise SecondPersonError("a second person approves rules here; write a draft, by PUT /api/v1/rules/{rule}/draft")
    before = project.rules.file(request.file)

    def recorded(file: str, new: str) -> None:
        old = None if before is None else before.tag
        project.people.record("rules.put", f"rules/{file}", old, new)

    project.rules.write(request.file, request.source, request.etag, recorded)
    done, now = adopted(project.requests, request.file), project.rules.file(request.file)
    assert now is not None
    return RuleFileWritten(**_of_file(project, now), in_force=done.in_force, why_not=done.why_not)


def _of_file(project: Project, file: RuleFile) -> JsonObject:
    def shown(rule: Rule) -> RuleOfFile:
        found = project.rule_looks.records.record(rule.id, project.definitions)
        return {
            "id": rule.id,
            "on": rule.on,
            "by": rule.by,
            "effect": rule.effect,
            "shadow": rule.is_shadow,
            "rollout": rule.rollout,
            "notify": rule.notify,
            "tests": len(rule.tests),
            "hits": found.hits,
            "fraud": found.frauds,
            "older_fraud": found.older_fraud,
            "older_genuine": found.older_genuine,
            "older_none": found.older_none,
            **found.precision,
        }

    return {"file": file.name, "tag": file.tag, "rules": [shown(rule) for rule in file.rules]}
