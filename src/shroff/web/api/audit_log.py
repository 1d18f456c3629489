"""The audit log over HTTP, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroff.operations.pagination import limit_of
from shroff.people.access import Right
from shroff.people.audit_operations import AuditRows, ListAudit
from shroff.web.http.messages import Json, Request
from shroff.web.http.routes import PAGED, api

if TYPE_CHECKING:
    from shroff.web.service import Service

FILTERS = {
    "who": "The user or program: a name, or an id such as user-3.",
    "action": "The action, such as user.role, or a prefix: user.",
    "subject": "The object, such as user ann.",
    "from": "From this time on.",
    "to": "Before this time.",
}


async def list_audit(service: Service, request: Request) -> Json[AuditRows]:
    query = audit_query(request, limit_of(request.query_params))
    return Json(await service.run(request, query))


def audit_query(request: Request, limit: int) -> ListAudit:
    values = [request.query_params.get(name, "").strip() for name in (*FILTERS, "cursor")]
    who, action, subject, start, end, cursor = values
    return ListAudit(who=who, action=action, subject=subject, start=start, end=end, limit=limit, cursor=cursor)


ROUTES = (
    api("GET", "/audit", Right.READ_AUDIT, list_audit)(
        "List the audit log, newest first: who did what, with old and new values.",
        "A page of the audit log.",
        problems={400: ""},
        query=FILTERS | PAGED,
    ),
)
