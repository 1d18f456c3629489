"""Operations on drafts of rules: write, check, put in shadow, approve and activate."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeVar

import msgspec

from shroff.errors import Problem, RefusalError, UsageError
from shroff.events.event import TimeText, time_text
from shroff.json_types import JsonObject
from shroff.language.values import show_decimal
from shroff.operations.declaration import (
    InvalidRequestError,
    OperationAnswer,
    OperationRequest,
    Outcome_co,
    Param,
    group,
    operation,
)
from shroff.people.audit import checked_reason
from shroff.rules.texts import RuleForm, form_of, in_shadow, tag_of, with_form
from shroff.runtime.texts import TextTable
from shroff.services.approvals.agreements import Agreements
from shroff.services.backtest.operations import LogBacktests
from shroff.services.drafts import blast_radius as blast_radius  # noqa: PLC0414 - the manifest has one module of a word
from shroff.services.drafts import draft_laws as draft_laws  # noqa: PLC0414 - as above
from shroff.services.drafts.draft_files import RuleDraftFiles
from shroff.services.laws.proofs import LawProofs
from shroff.services.people.project_people import ProjectPeople
from shroff.services.project import Project
from shroff.services.rules.files import FOLDER, ChangedMeanwhileError, NoRuleError, Rules, subject_of
from shroff.services.writer.requests import WriterRequests

if TYPE_CHECKING:
    from shroff.services.drafts.draft_files import Checked, StoredDraft
    from shroff.services.rules.files import Before

BODY_BYTES_MAX = 512 * 1024  # a draft's text as JSON, with its escapes
SAID_MAX = 100  # mistakes, warnings and tests listed; the rest are counted
LINES_READ = 2_000  # of a draft's text, compared to find changes
LINES_KEPT = 20
LINE_MAX = 200  # characters
WRITTEN = "The file is written; it becomes active with the next command that writes."
_NEAR = re.compile(r"Did you mean ([A-Za-z0-9_.]+)\?")
_WORD = re.compile(r"[A-Za-z0-9_.]+")

group(
    "drafts",
    """Show drafts of rules.

    A draft is a text of one rule, in drafts/RULE.yaml, on its way to being active. It is edited in the service.

    Examples:
        shroff drafts
        shroff drafts show many_payments
    """,
)


class NoDraftError(RefusalError):
    """There is no such draft."""

    status, code, title = 404, "no-draft", "There is no such draft"


# ---- looking


class RuleDraft(OperationAnswer, rename={"tag": "etag"}):
    """A draft of a rule."""

    rule: str
    tag: str
    authors: list[str]
    saved_at: TimeText
    approved_by: str | None


AnyDraft = TypeVar("AnyDraft", bound=RuleDraft)


class RuleDrafts(OperationAnswer):
    """All drafts, without their texts."""

    drafts: list[RuleDraft]

    TABLE: ClassVar = TextTable({"rule": "rule", "by": "authors", "saved": "saved_at"}, "drafts", "draft")


class RuleDraftText(RuleDraft, rename={"source": "text", "tag": "etag"}):
    """A draft with its text."""

    source: str
    NEXT: ClassVar = ("shroff backtest --rules drafts/",)

    def text(self) -> str:
        return self.source.rstrip("\n")

    def etag(self) -> str:
        return self.tag


class DraftMistake(msgspec.Struct):
    """An error or warning with its position in a text; `instead` is the suggested word, if known."""

    line: int
    column: int
    length: int
    message: str
    hint: str
    instead: str | None


class DraftTest(msgspec.Struct):
    """The result of one test of a rule."""

    name: str
    events: int
    passed: bool
    problem: str | None


class DraftCheck(OperationAnswer, rename={"source": "text", "tag": "etag"}):
    """The result of checking a text: errors, warnings, tests, and its form. `more` counts those not listed."""

    ok: bool
    tag: str
    mistakes: list[DraftMistake]
    elsewhere: list[str]
    warnings: list[DraftMistake]
    says: str | None
    tests: list[DraftTest]
    more: dict[str, int]
    source: str = ""
    form: RuleForm | None = None


class RuleDraftChecked(RuleDraftText, rename={"source": "text", "tag": "etag"}):
    """A draft with its text, errors and warnings."""

    check: DraftCheck


def _shown(kind: type[AnyDraft], draft: StoredDraft, **more: Any) -> AnyDraft:
    approved_by = draft.note.approved_by if draft.is_approved else None
    return kind(
        rule=draft.id,
        tag=draft.tag,
        authors=[author.name for author in draft.note.authors],
        saved_at=time_text(draft.note.saved_at_ms),
        approved_by=None if approved_by is None else approved_by.name,
        **more,
    )


class ShowDrafts(OperationRequest[RuleDrafts]):
    pass


@operation("drafts", right="read:definitions", http="GET /drafts")
def show_drafts(drafts: RuleDraftFiles, request: ShowDrafts) -> RuleDrafts:
    """List all rule drafts."""
    return RuleDrafts(drafts=[_shown(RuleDraft, draft) for draft in drafts.all()])


class ShowDraft(OperationRequest[RuleDraftText]):
    """
    Args:
        rule: The rule.
    """

    rule: str


@operation("drafts show", right="read:definitions", http="GET /rules/{rule}/draft", refusals=[NoDraftError])
def show_draft(drafts: RuleDraftFiles, request: ShowDraft) -> RuleDraftText:
    """Show the text of a draft.

    Examples:
        shroff drafts show many_payments
    """
    draft = drafts.one(request.rule)
    if draft is None:
        raise NoDraftError(f"nobody has a draft of {request.rule!r}")
    return _shown(RuleDraftText, draft, source=draft.text)


# ---- checking


class CheckDraft(OperationRequest[DraftCheck], rename={"source": "text"}):
    """A text to check as a draft of a rule, with what a form changes in it.

    Args:
        rule: The rule.
        source: The text.
    """

    rule: str
    source: str
    form: RuleForm | None = None


@operation("drafts check", right="read:definitions", has_command=False)
def check_draft(drafts: RuleDraftFiles, request: CheckDraft) -> DraftCheck:
    """Check a text: errors with line and column, test results, and the rule in words. Some seconds for a long text."""
    text = request.source if request.form is None else with_form(request.source, request.form)
    return check_of(drafts.check(request.rule, text), text)


class CountDraft(OperationRequest["DraftCount"], rename={"source": "text"}):
    """
    Args:
        rule: The rule.
        source: The text.
    """

    rule: str
    source: str


class DraftCount(OperationAnswer):
    """Hits of a text among the events of the last 30 days of the log, and their amount.

    Until it is `complete`, it is of the events from `since` on, and the same question counts more of them. Without
    `as_of` they could not be counted: `why_not` says why.
    """

    as_of: TimeText | None = None
    since: TimeText | None = None
    complete: bool = False
    events: int = 0
    hits: int = 0
    money: str = ""
    why_not: str = ""


@operation("drafts count", right="read:decisions", has_command=False)
def count_draft(drafts: RuleDraftFiles, backtests: LogBacktests, request: CountDraft) -> DraftCount:
    """Count the hits of a text in the last 30 days, as of at most 10 minutes ago.

    Lists and tables are those of now; a backtest reads those of each event.
    """
    checked = drafts.check(request.rule, request.source)
    if not checked.rules or checked.definitions is None:
        return DraftCount(why_not="fix the errors first")
    try:
        count = backtests.count_hits(checked.rules, checked.definitions)
    except UsageError as error:
        return DraftCount(why_not=str(error))
    settings = checked.definitions.settings
    return DraftCount(
        as_of=time_text(count.as_of_ms),
        since=time_text(count.since_ms),
        complete=count.is_complete,
        events=count.events,
        hits=count.hits,
        money=f"{show_decimal(count.amount, settings.money_places)} {settings.currency}",
    )


def check_of(checked: Checked, text: str) -> DraftCheck:
    """Return the findings about a text: the first `SAID_MAX` of each kind, and the number of further ones."""
    from shroff.project.dependency_hash import teller_of
    from shroff.rules.rule_text import in_words

    lines, says = text.split("\n"), None
    if checked.rules and checked.definitions is not None:
        teller = teller_of(checked.definitions)
        says = " ".join(in_words(rule, teller) for rule in checked.rules)
    lists = {name: getattr(checked, name) for name in ("mistakes", "elsewhere", "warnings", "tests")}
    return DraftCheck(
        ok=checked.is_ok,
        tag=tag_of(text),
        mistakes=[mistake(problem, lines) for problem in checked.mistakes[:SAID_MAX]],
        elsewhere=[str(problem) for problem in checked.elsewhere[:SAID_MAX]],
        warnings=[mistake(problem, lines) for problem in checked.warnings[:SAID_MAX]],
        says=says,
        tests=[
            DraftTest(
                name=test.name,
                events=test.events,
                passed=test.problem is None,
                problem=None if test.problem is None else test.problem.message,
            )
            for test in checked.tests[:SAID_MAX]
        ],
        more={name: max(0, len(list_) - SAID_MAX) for name, list_ in lists.items()},
        source=text,
        form=form_of(text),
    )


def mistake(problem: Problem, lines: Sequence[str]) -> DraftMistake:
    line = lines[problem.line - 1] if 0 < problem.line <= len(lines) else ""
    word = _WORD.match(line, max(0, problem.column - 1))
    near = _NEAR.search(problem.hint)
    instead = near[1] if near and word else None
    if instead and word and "." in word[0] and "." not in instead:  # for `this.amuont` the hint has only the field
        instead = f"{word[0].rpartition('.')[0]}.{instead}"
    length = len(word[0]) if word else max(1, len(line) - problem.column + 1)
    return DraftMistake(problem.line, problem.column, length, problem.message, problem.hint, instead)


# ---- changing


class WriteDraft(OperationRequest[RuleDraftText], rename={"source": "text"}):
    """A text to save as a draft, if its version is still `etag`; empty for a new one."""

    rule: str
    source: str
    etag: str


@operation("drafts write", right="edit:rules", has_command=False)
def write_draft(
    drafts: RuleDraftFiles, rules: Rules, agreements: Agreements, people: ProjectPeople, request: WriteDraft
) -> RuleDraftText:
    """Save the draft of a rule, even if it has errors. Nothing becomes active."""
    authors = agreements.authors(of_two=drafts.need_second_person)
    before = drafts.one(request.rule)
    current = before or rules.standing(request.rule)  # the text that it replaces
    gone, new_lines = changed_lines("" if current is None else current.text, request.source)

    def recorded(_: str, new: str) -> None:
        old = {"draft": None if before is None else before.tag, "lines": gone}
        people.record("draft.write", subject_of(request.rule), old, {"draft": new, "lines": new_lines})

    draft = drafts.write(request.rule, request.source, request.etag, authors, recorded)
    return _shown(RuleDraftText, draft, source=draft.text)


class DropDraft(OperationRequest["DroppedDraft"]):
    """
    Args:
        etag: The ETag of the version that you read.
    """

    rule: str
    etag: Annotated[str, Param(is_etag=True)]


class DroppedDraft(OperationAnswer):
    """The rule whose draft was deleted."""

    dropped: str


@operation(
    "drafts drop",
    right="edit:rules",
    http="DELETE /rules/{rule}/draft",
    has_command=False,
    refusals=(NoDraftError, ChangedMeanwhileError, InvalidRequestError),
)
def drop_draft(
    drafts: RuleDraftFiles, rules: Rules, people: ProjectPeople, requests: WriterRequests, request: DropDraft
) -> DroppedDraft:
    """Delete a draft and its trial."""
    new_lines, _ = _of_draft(drafts, rules, request.rule)
    standing, draft = rules.standing(request.rule), drafts.one(request.rule)
    details = {"draft": "" if draft is None else draft.tag, "lines": new_lines}
    drafts.drop(request.rule, request.etag, lambda *_: people.record("draft.drop", subject_of(request.rule), details))
    if standing is not None:
        adopted(requests, standing.file.name)
    return DroppedDraft(dropped=request.rule)


class DraftStep(OperationRequest[Outcome_co]):
    """The version of a draft, the file for a new rule, and why: the reason is kept in the audit log."""

    rule: str
    etag: str
    file: str = ""
    reason: str = ""


class ShadowDraft(DraftStep["AdoptedFile"]):
    pass


class ApproveDraft(DraftStep[RuleDraft]):
    pass


class ActivateDraft(DraftStep["AdoptedFile"]):
    pass


class AdoptedFile(OperationAnswer):
    """The file of a rule, and whether the log uses it yet."""

    file: str
    in_force: bool
    why_not: str | None


_HTTP: Final[JsonObject] = {
    "has_command": False,
    "is_check": True,
    "body_bytes_max": BODY_BYTES_MAX,
    "refusals": (NoRuleError, ChangedMeanwhileError),
}


@operation("drafts shadow", right="edit:rules", http="POST /rules/{rule}/draft/shadow", **_HTTP)
def shadow_draft(project: Project, request: ShadowDraft) -> AdoptedFile:
    """Put a draft in shadow: a new rule under its own id, a changed rule as a trial under another id."""
    file, before = _step(project, request, "rule.shadow")
    used = list(project.rule_looks.kept.histories.of)
    return adopted(project.requests, project.drafts.shadow(request.rule, request.etag, file, used, before))


@operation("drafts approve", right="approve:rules", http="POST /rules/{rule}/draft/approve", **_HTTP)
def approve_draft(drafts: RuleDraftFiles, people: ProjectPeople, request: ApproveDraft) -> RuleDraft:
    """Approve a draft that others wrote."""

    def recorded(_: str, approved: str) -> None:
        people.record("draft.approve", subject_of(request.rule), None, {"draft": approved})

    return _shown(RuleDraft, drafts.approve(request.rule, request.etag, recorded))


@operation("drafts activate", right="edit:rules", http="POST /rules/{rule}/draft/activate", **_HTTP)
def activate_draft(project: Project, proofs: LawProofs, request: ActivateDraft) -> AdoptedFile:
    """Make a draft active; it replaces the rule and its trial. Laws that are required must be proved with it."""
    draft = project.drafts.one(request.rule)
    if draft is not None and project.drafts.check(request.rule, draft.text).is_ok:
        active = in_shadow(draft.text, shadow=False)
        proofs.require(project.drafts.check(request.rule, active).definitions)
    file, before = _step(project, request, "rule.activate")
    return adopted(project.requests, project.drafts.activate(request.rule, request.etag, file, before))


def _step(project: Project, request: DraftStep[AdoptedFile], action: str) -> tuple[str, Before]:
    """Return the file for a draft, and the function that records the step with changed lines and reason."""
    file = request.file or project.rule_looks.one(request.rule).home
    new_lines, gone = _of_draft(project.drafts, project.rules, request.rule)
    details: JsonObject = {"draft": request.etag, "lines": new_lines}
    details |= {"reason": checked_reason(request.reason)} if request.reason.strip() else {}
    return file, recorder(project.people, action, request.rule, details, {"lines": gone})


def adopted(requests: WriterRequests, file: str) -> AdoptedFile:
    why_not = requests.put_in_force(WRITTEN, [f"{FOLDER}{file}"], rows_alone=False)
    return AdoptedFile(file=file, in_force=not why_not, why_not=why_not or None)


def recorder(people: ProjectPeople, action: str, rule: str, after: JsonObject, before: object = None) -> Before:
    """Return a function that audits an action on a rule before it is done.

    The record has the tag of the file's new text, by which its version is found later.
    """

    def record(file: str, tag: str) -> None:
        people.record(action, subject_of(rule), before, {**after, "file": file, "file_tag": tag})

    return record


def _of_draft(drafts: RuleDraftFiles, rules: Rules, id_: str) -> tuple[list[str], list[str]]:
    draft, rule = drafts.one(id_), rules.standing(id_)
    gone, new = changed_lines("" if rule is None else rule.text, "" if draft is None else draft.text)
    return new, gone


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """Return the lines removed and added, shortened for the audit log."""
    old, new = before.splitlines()[:LINES_READ], after.splitlines()[:LINES_READ]
    return _lacking(old, new), _lacking(new, old)


def _lacking(lines: list[str], others: list[str]) -> list[str]:
    left, found = Counter(others), []
    for line in lines:
        left[line] -= 1
        if left[line] < 0 and line.strip():
            found.append(line.strip()[:LINE_MAX])
    return found[:LINES_KEPT]
