"""The project itself: its rules as files, and its audit log."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypedDict

import msgspec

from shroff.app.rules.rule_files import RuleFile
from shroff.errors import DefinitionError
from shroff.explain.hit_records import RulePrecision, RuleRecord
from shroff.operations.pagination import limit_of
from shroff.people.access import Right
from shroff.people.audit import Act
from shroff.people.audit_operations import AuditRows, ListAudit
from shroff.web.http.messages import Json, Request, decoded, precondition, tagged
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import PAGED, api
from shroff.web.http.schemas import Adopted

if TYPE_CHECKING:
    from shroff.rules.definitions import Rule
    from shroff.web.service import Service

BODY_BYTES_MAX = 2 * 1024 * 1024
FILTERS = {
    "who": "The user or program: a name, or an id such as user-3.",
    "action": "The action, such as user.role, or a prefix: user.",
    "subject": "The object, such as user ann.",
    "from": "From this time on.",
    "to": "Before this time.",
}


# ---- rules


class RuleOfFile(RulePrecision):
    """A rule and its statistics. `fraud` and `genuine` count mature hits."""

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
    genuine: int


class RuleFileShown(TypedDict):
    """A file of rules."""

    file: str
    etag: str
    rules: list[RuleOfFile]


class RuleFiles(TypedDict):
    """All files of rules."""

    files: list[RuleFileShown]


class RuleFileText(RuleFileShown):
    """A file of rules with its text."""

    text: str


class RuleFileWritten(RuleFileShown, Adopted):
    """The written rule file."""


async def rules(service: Service, request: Request) -> Json[RuleFiles]:
    """All files of rules, and the rules in each."""

    def answer() -> Json[RuleFiles]:
        _count_hits(service)
        return Json({"files": [_shown(file, service) for file in service.project.rules.files()]})

    return await service.in_thread(answer)


async def rule_file(service: Service, request: Request) -> Json[RuleFileText]:
    """One file of rules, with its text; its ETag is asked for by who changes it."""

    def answer() -> Json[RuleFileText]:
        found = service.project.rules.file(request.path_params["file"])
        if found is None:
            words = f"there is no file rules/{request.path_params['file']}"
            raise ProblemError(404, "no-rules", "There is no such file of rules", words)
        _count_hits(service)
        return Json({**_shown(found, service), "text": found.text}, headers=tagged(found.tag))

    return await service.in_thread(answer)


class NewRuleFile(msgspec.Struct, forbid_unknown_fields=True):
    """A file's new text."""

    text: str


async def put_rules(service: Service, request: Request) -> Json[RuleFileWritten]:
    """A new text for a file of rules: checked with its tests, written, and put in force."""
    name, tag = request.path_params["file"], precondition(request)
    given = await service.in_thread(decoded, await request.body(BODY_BYTES_MAX), NewRuleFile)
    project = service.project
    if project.drafts.need_second_person:
        words = "a second person approves rules here; write a draft, by PUT /api/v1/rules/{rule}/draft"
        raise ProblemError(409, "second-person", "This needs a second person", words)
    before = await service.in_thread(project.rules.file, name)

    def recorded(file: str, new: str) -> None:
        old = None if before is None else before.tag
        service.record_now(Act(request.who, "rules.put", f"rules/{file}", old, new))

    await service.checked(request.who, project.rules.write, name, given.text, tag, recorded)
    now = await service.in_thread(project.rules.file, name)
    assert now is not None
    why_not = await service.adopted()
    shown = await service.in_thread(_shown, now, service)
    return Json({**shown, "in_force": not why_not, "why_not": why_not or None}, headers=tagged(now.tag))


def _count_hits(service: Service) -> None:
    with suppress(DefinitionError):  # a file can be read, and mended, whatever is wrong with it
        service.project.rule_looks.follow(is_whole=True)


def _shown(file: RuleFile, service: Service) -> RuleFileShown:
    definitions = service.project.definitions if file.rules else None

    def shown(rule: Rule) -> RuleOfFile:
        found = RuleRecord() if definitions is None else service.project.rule_looks.records.record(rule.id, definitions)
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
            "genuine": found.genuine,
            **found.precision,
        }

    return {"file": file.name, "etag": file.tag, "rules": [shown(rule) for rule in file.rules]}


# ---- the audit log


async def list_audit(service: Service, request: Request) -> Json[AuditRows]:
    """A page of the audit log."""
    wanted = audit_query(request, limit_of(request.query_params))
    return Json(await service.run(request, wanted))


def audit_query(request: Request, limit: int) -> ListAudit:
    """The filters in a request's query."""
    given = [request.query_params.get(name, "").strip() for name in (*FILTERS, "cursor")]
    who, action, subject, start, end, cursor = given
    return ListAudit(who=who, action=action, subject=subject, start=start, end=end, limit=limit, cursor=cursor)


ROUTES = (
    api("GET", "/audit", Right.READ_AUDIT, list_audit)(
        "List the audit log, newest first: who did what, with old and new values.",
        "A page of the audit log.",
        problems={400: ""},
        query={**FILTERS, **PAGED},
    ),
    api("GET", "/rules", Right.READ_DEFINITIONS, rules)("List the rule files.", "Files with their rules."),
    api("GET", "/rules/{file}", Right.READ_DEFINITIONS, rule_file)(
        "Get one rule file with its text.", "The file; the header ETag has its tag.", problems={404: ""}
    ),
    api("PUT", "/rules/{file}", Right.EDIT_RULES, put_rules)(
        "Replace the text of a rule file: it is checked with its tests, written, and made active.",
        "The file; `in_force` says whether it is active in the log yet.",
        NewRuleFile,
        {
            409: "Changes of rules need a second person here: write a draft instead.",
            412: "The file has been changed since.",
            422: "The project would be invalid; each error has file, line and column.",
            428: "If-Match is missing.",
        },
        headers={"If-Match": "The ETag of the version that you read.", "If-None-Match": "*: the file is new."},
    ),
)
