"""Routes that save the draft of a rule, and that check an unsaved text and count its hits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shroff.operations.declaration import Param
from shroff.people.access import Right
from shroff.rules.texts import RuleForm
from shroff.services.drafts.operations import (
    BODY_BYTES_MAX,
    CheckDraft,
    CountDraft,
    DraftCheck,
    DraftCount,
    RuleDraftChecked,
    WriteDraft,
)
from shroff.web.http.messages import Json, Request, decoded, precondition, tagged
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.web.service import Service


class DraftBody(msgspec.Struct, forbid_unknown_fields=True):
    """A draft's text."""

    text: str


class FormBody(DraftBody):
    """A draft's text, and a form whose values replace those of the text."""

    form: RuleForm | None = None


async def put_draft(service: Service, request: Request) -> Json[RuleDraftChecked]:
    id_ = request.path_params["rule"]
    tag = precondition(request, Param(may_be_new=True))
    body = decoded(await request.body(BODY_BYTES_MAX), DraftBody)
    saved = await service.run(request, WriteDraft(rule=id_, source=body.text, etag=tag))
    findings = await service.checked(request.who, service.of_draft, CheckDraft(rule=id_, source=saved.source))
    return Json(RuleDraftChecked(**msgspec.structs.asdict(saved), check=findings), headers=tagged(saved.tag))


async def check(service: Service, request: Request) -> Json[DraftCheck]:
    body = decoded(await request.body(BODY_BYTES_MAX), FormBody)
    rule = request.path_params["rule"]
    query = CheckDraft(rule=rule, source=body.text, form=body.form)
    return Json(await service.checked(request.who, service.of_draft, query))


async def count(service: Service, request: Request) -> Json[DraftCount]:
    body = decoded(await request.body(BODY_BYTES_MAX), DraftBody)
    query = CountDraft(rule=request.path_params["rule"], source=body.text)
    return Json(await service.in_thread(service.of_draft, query))


_DRAFT = "/rules/{rule}/draft"
_MATCH = {"If-Match": "The ETag of the version that you read.", "If-None-Match": "*: the draft is new."}

ROUTES = (
    api("PUT", _DRAFT, Right.EDIT_RULES, put_draft)(
        "Save the draft of a rule, even if it has errors. Nothing becomes active.",
        "The draft, its ETag, and its errors and warnings.",
        DraftBody,
        {412: "The draft has been changed since.", 428: "If-Match is missing."},
        headers=_MATCH,
    ),
    api("POST", f"{_DRAFT}/check", Right.READ_DEFINITIONS, check)(
        "Check an unsaved text: errors with line and column, test results, the rule in words, and as a form.",
        "`ok` says whether it could become active.",
        FormBody,
    ),
    api("POST", f"{_DRAFT}/count", Right.READ_DECISIONS, count)(
        "Count the hits of an unsaved text among the events of the last 30 days, and their amount.",
        "As of at most 10 minutes ago. Until `complete`, the events from `since` on are counted, and the next request "
        "counts more. `why_not` says why a text cannot be counted.",
        DraftBody,
    ),
)
