"""The editor of a rule: the text of its draft, findings about it, and the steps until it is active."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from shroff.errors import DefinitionError, NotAllowedError, ShroffError, UsageError
from shroff.json_types import JsonObject
from shroff.language.aggregates import AGGREGATES
from shroff.language.functions import FUNCTIONS
from shroff.operations.declaration import OperationRequest
from shroff.people.access import Right
from shroff.people.audit import checked_reason
from shroff.people.users import all_users
from shroff.project.dependency_hash import teller_of
from shroff.project.laws import FOLDER as LAWS
from shroff.rules.keys import TOLD
from shroff.rules.silences import trial_of
from shroff.rules.texts import in_shadow, renamed
from shroff.runtime.values import FrozenStruct
from shroff.services.drafts.blast_radius import ShowBlastRadius
from shroff.services.drafts.draft_files import TOO_LONG, StoredDraft, is_short
from shroff.services.drafts.draft_laws import ProveDraft
from shroff.services.drafts.operations import (
    ActivateDraft,
    ApproveDraft,
    CheckDraft,
    DraftCheck,
    DropDraft,
    ShadowDraft,
    WriteDraft,
)
from shroff.services.rules.files import ChangedMeanwhileError
from shroff.services.rules.name_operations import cookbook
from shroff.services.rules.overview import RuleLook
from shroff.web.api.rules.backtests import BacktestRun
from shroff.web.http.messages import Request
from shroff.web.http.routes import Handle, Route
from shroff.web.pages.decision import rule_path
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.rules.approvals import approvers
from shroff.web.pages.rules.backtests import worth
from shroff.web.pages.rules.diffs import DiffLine, diff
from shroff.web.pages.rules.table import common, may_approve
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.services.project import Project
    from shroff.web.service import Service

START = """- id: {id}
  on: {event}
  by: {entity}
  when: this.amount > 1_000
  reason: "an amount of {{this.amount}}"
  effect: review
"""
_READ_BY = re.compile(r"(?m)^  (on|by): (\w+)")
DONE_STEP = "done"
NOW = "now"
STOP = "stop"
TODO = "todo"


class Typed(FrozenStruct):
    """Content of the editor: the text, and the tag and draft from which the user began."""

    text: str
    tag: str
    kept: StoredDraft | None

    @property
    def is_kept(self) -> bool:
        return self.kept is not None and self.kept.text == self.text


async def show(service: Service, request: Request) -> Response:
    id_ = request.path_params["rule"]
    look = await service.in_thread(service.project.rule_looks.look_up, id_)
    if trial_of(id_):
        return see_other(f"{rule_path(trial_of(id_))}/draft")
    text = look.text or _start(service.project, id_)
    if look.draft is None and look.standing is not None:
        text = await service.in_thread(_with_effect, text)
    elif look.draft is not None:
        text = look.draft.text
    return await _editor(service, request, look, Typed(text, "" if look.draft is None else look.draft.tag, look.draft))


async def keep(service: Service, request: Request) -> Response:
    form = await request.form()
    id_ = request.path_params["rule"]
    text = form["text"].replace("\r\n", "\n")
    tag = form["tag"]
    try:
        await service.run(request, WriteDraft(rule=id_, source=text, etag=tag))
    except UsageError as error:
        look = await service.in_thread(service.project.rule_looks.look_up, id_)
        draft = look.draft
        if not isinstance(error, ChangedMeanwhileError):
            return await _editor(service, request, look, Typed(text, tag, draft), str(error), 422)
        by = draft.note.authors[-1].name if draft is not None and draft.note.authors else "somebody"
        message = (
            f"{by} changed this draft meanwhile, so yours was not saved. See the differences; "
            "saving again replaces their draft with yours."
        )
        typed = Typed(text, "" if draft is None else draft.tag, draft)
        return await _editor(service, request, look, typed, message, 412)
    return see_other(f"{rule_path(id_)}/draft")


def _step(operation: Callable[..., OperationRequest[Any]], *names: str, end: str = "") -> Handle:
    """Return the handler of a step, which leads to the rule's page or to `end` below it. The editor shows errors.

    Args:
        names: Fields of the form that the operation takes, in addition to the draft's tag.
    """

    async def handle(service: Service, request: Request) -> Response:
        form = await request.form()
        id_ = request.path_params["rule"]
        arguments = {name: form[name] for name in names}
        try:
            if "reason" in arguments:
                arguments["reason"] = checked_reason(arguments["reason"])
            await service.run(request, operation(rule=id_, etag=form["tag"], **arguments))
        except (UsageError, NotAllowedError, DefinitionError) as error:
            mistake, status = _prevented(error)
        else:
            look = await service.in_thread(service.project.rule_looks.look_up, id_)
            return see_other(f"{rule_path(id_)}{end}" if look.is_known else "/rules")
        look = await service.in_thread(service.project.rule_looks.look_up, id_)
        draft = look.draft
        typed = Typed(look.text, "", None) if draft is None else Typed(draft.text, draft.tag, draft)
        return await _editor(service, request, look, typed, mistake, status)

    return handle


def _prevented(error: ShroffError) -> tuple[str, int]:
    if isinstance(error, ChangedMeanwhileError):
        return "The draft was changed meanwhile. Review it before you continue.", 412
    if isinstance(error, DefinitionError):
        of_laws = [sentence(problem.message) for problem in error.problems if problem.file.startswith(LAWS)]
        return " ".join(of_laws) or "The draft has errors, or its tests fail. Fix them first.", 422
    return sentence(str(error)), 403 if isinstance(error, NotAllowedError) else 422


async def _editor(
    service: Service, request: Request, look: RuleLook, typed: Typed, mistake: str = "", status: int = 200
) -> Response:
    draft = typed.kept
    project = service.project
    radius = ""
    if "radius" in request.query_params and request.who.may(Right.READ_DECISIONS):
        radius = (await service.run(request, ShowBlastRadius(rule=look.id))).text()
    laws = ""
    if "laws" in request.query_params:
        try:
            laws = (await service.run(request, ProveDraft(rule=look.id))).text()
        except (UsageError, DefinitionError) as error:
            laws = sentence(str(error))
    judged = await service.in_thread(service.backtests.last_of, look.id, typed.tag) if typed.tag else None
    against = look.standing.text if look.standing is not None else next((v.text for v in look.versions if v.text), "")
    other_draft = draft.text if draft is not None and not typed.is_kept else ""
    is_long = not is_short(typed.text)
    if is_long and not mistake:
        mistake = sentence(TOO_LONG)
        status = 422

    def findings() -> JsonObject:
        """Check the text. Each step parses it as YAML, so this runs on a thread."""
        text = "" if is_long else typed.text
        check = service.of_draft(CheckDraft(rule=look.id, source=text))
        shadowed = not is_long and _is_shadowed(look, typed)
        return {
            "said": check,
            "is_shadowed": shadowed,
            "steps": _steps(project, typed, check, judged, is_shadowed=shadowed),
            "against": _activated(look, against, text) if against and text else (),
            "theirs": diff(other_draft, text) if other_draft and text else (),
        }

    return await page(
        service,
        request,
        "editor.html",
        status,
        look=look,
        typed=typed,
        draft=draft,
        has_against=bool(against),
        mistake=mistake,
        radius=radius,
        laws=laws,
        worth=None if judged is None else worth((await service.in_thread(service.backtests.get, judged.id)).report),
        palette=(project.definitions, teller_of(project.definitions), AGGREGATES.values(), FUNCTIONS.values()),
        cookbook=cookbook(),
        files=[file.name for file in await service.in_thread(project.rules.files)],
        file=look.home,
        events=project.definitions.events,
        notified=sorted({*TOLD, *(rule.notify for rule in project.definitions.rules if rule.notify)}),
        needs_second=project.drafts.need_second_person,
        may_edit=request.who.may(Right.EDIT_RULES),
        may_judge=request.who.may(Right.RUN_BACKTESTS),
        may_approve=may_approve(request.who, draft),
        approvers=await service.in_thread(_approvers, service, draft),
        **await service.checked(request.who, findings),
        **await common(service, has_all_hits=look.has_all_hits),
    )


def _approvers(service: Service, draft: StoredDraft | None) -> list[str]:
    """Return the display names of the users who can approve a draft; none if a second person is not needed."""
    if draft is None or not service.project.drafts.need_second_person:
        return []
    return approvers(all_users(service.desk), Right.APPROVE_RULES, [author.name for author in draft.note.authors])


def _start(project: Project, id_: str) -> str:
    events = project.definitions.events
    event = next(iter(events.decided), "payment")
    entity = next((name for name, text in events.entities.items() if event in text.keys), "card")
    return START.format(id=id_, event=event, entity=entity)


def _with_effect(text: str) -> str:
    try:
        return in_shadow(text, shadow=False)
    except UsageError:  # the text is not one rule
        return text


def _activated(look: RuleLook, against: str, text: str) -> Sequence[DiffLine]:
    if look.standing is not None and look.standing.is_shadow:
        return diff(against, _with_effect(text))
    return diff(_with_effect(against), text)


def _is_shadowed(look: RuleLook, typed: Typed) -> bool:
    standing = look.standing
    if standing is None or not typed.is_kept:
        return False
    try:
        shadow_text = in_shadow(typed.text, shadow=True)
        if standing.is_shadow:
            return standing.text.strip() == shadow_text.strip()
        return bool(standing.trial) and standing.trial_text.strip() == renamed(shadow_text, standing.trial).strip()
    except UsageError:
        return False


def _steps(
    project: Project, typed: Typed, check: DraftCheck, judged: BacktestRun | None, *, is_shadowed: bool
) -> Sequence[tuple[str, str, str]]:
    mistakes = len(check.mistakes) + len(check.elsewhere) + check.more["mistakes"] + check.more["elsewhere"]
    tests = len(check.tests) + check.more["tests"]
    # At least one test failed if the check is not ok, even if it is not among the first tests, which are listed
    failed = sum(not test.passed for test in check.tests) or int(not check.ok)
    steps = list[tuple[str, str, str]]()
    if mistakes:
        steps += [(f"Draft, {mistakes} mistake{'' if mistakes == 1 else 's'}", STOP, ""), ("Tests", TODO, "")]
    else:
        steps.append(("Draft", DONE_STEP if typed.is_kept else NOW, ""))
        if failed:
            steps.append((f"{failed} of {tests} tests fail", STOP, ""))
        elif tests:
            steps.append((f"{tests} test{' passes' if tests == 1 else 's pass'}", DONE_STEP, ""))
        else:
            steps.append(("No tests", TODO, ""))
    if judged is None:
        steps.append(("Backtest", TODO, ""))
    else:
        steps.append(("Backtest", DONE_STEP if judged.state == "done" else NOW, f"/backtests/{judged.id}"))
    steps.append(("Shadow", DONE_STEP if is_shadowed else TODO, ""))
    if project.drafts.need_second_person:
        approved = typed.is_kept and typed.kept is not None and typed.kept.is_approved
        steps.append(("Approval by a second person", DONE_STEP if approved else TODO, ""))
    return [*steps, ("Active", TODO, "")]


async def show_cookbook(service: Service, request: Request) -> Response:
    """Show rules against known kinds of fraud, first those whose events and entities this project has."""
    recipes = cookbook()
    missing = {recipe.id: _missing(service.project, recipe.text) for recipe in recipes}
    return await page(
        service,
        request,
        "cookbook.html",
        recipes=sorted(recipes[:-1], key=lambda recipe: bool(missing[recipe.id])) + recipes[-1:],
        missing=missing,
        features=recipes[-1].id,
    )


def _missing(project: Project, text: str) -> list[str]:
    events = project.definitions.events
    declared = {"on": ("event", events.types), "by": ("entity", events.entities)}
    missing = []
    for key, name in _READ_BY.findall(text)[:2]:
        noun, names = declared[key]
        if name not in names:
            missing.append(f"the {noun} {name}")
    return missing


ROUTES = (
    Route("GET", "/rules/cookbook/recipes", Right.READ_DEFINITIONS, show_cookbook),
    Route("GET", "/rules/{rule}/draft", Right.READ_DEFINITIONS, show),
    Route("POST", "/rules/{rule}/draft", Right.EDIT_RULES, keep),
    *(
        Route("POST", f"/rules/{{rule}}/draft/{name}", right, handle)
        for name, right, handle in (
            ("drop", Right.EDIT_RULES, _step(DropDraft)),
            ("shadow", Right.EDIT_RULES, _step(ShadowDraft, "file", end="/draft")),
            ("approve", Right.APPROVE_RULES, _step(ApproveDraft, end="/draft")),
            ("activate", Right.EDIT_RULES, _step(ActivateDraft, "file", "reason")),
        )
    ),
)
