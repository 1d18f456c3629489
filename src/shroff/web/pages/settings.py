"""Pages of settings: the audit log, users and their sessions, and API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import Response

from shroff.errors import NotAllowedError, UsageError
from shroff.events.event import read_time
from shroff.operations.pagination import BadQueryError
from shroff.people.access import RIGHTS, Right, Role
from shroff.people.audit_operations import AuditCheck, VerifyAudit
from shroff.people.key_operations import CreateKey, RevokeKey, ShowKeys
from shroff.people.user_operations import (
    AddUser,
    ChangeUser,
    DeleteUser,
    EndSession,
    LinkUser,
    ResetFactor,
    ShowSessions,
    ShowUsers,
    SignOutUser,
    UserLink,
)
from shroff.people.users import PEOPLE
from shroff.web.api.audit_log import FILTERS, audit_query
from shroff.web.http.messages import NOTHING, Form, Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.audit_words import action_words, changes_of
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.operations.declaration import OperationRequest
    from shroff.web.service import Service

ROWS_SHOWN = 50
AUDIT = "/settings/audit"
USERS = "/settings/users"
KEYS = "/settings/keys"
OF_USER = ("name", "role", "display_name", "email")  # fields of the form to add a user


async def first(_service: Service, _request: Request) -> Response:
    return see_other(AUDIT)


# ---- the audit log


async def audit(service: Service, request: Request, verified: AuditCheck | None = None) -> Response:
    query = audit_query(request, ROWS_SHOWN)
    try:
        answer = await service.run(request, query)
    except UsageError as error:
        raise BadQueryError(str(error)) from None
    all_users = await service.run(request, ShowUsers())
    names = {user.id: user.display_name for user in all_users.users}
    given = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    filters = {name: text for name, text in given.items() if text}
    return await page(
        service,
        request,
        "settings_audit.html",
        rows=[(row, changes_of(row.before, row.after, names)) for row in answer.rows],
        action_words=action_words,
        given=given,
        older=urlencode({**filters, "cursor": answer.next}) if answer.next else "",
        is_first=not query.cursor,
        verified=verified,
    )


async def verify(service: Service, request: Request) -> Response:
    return await audit(service, request, await service.run(request, VerifyAudit()))


# ---- users and sessions


async def show_users(
    service: Service,
    request: Request,
    *,
    mistake: str = "",
    form: Form = NOTHING,
    link: str | None = None,
    of: str = "",
) -> Response:
    users = (await service.run(request, ShowUsers())).users
    return await page(
        service,
        request,
        "settings_users.html",
        users=users,
        names={user.name: user.display_name for user in users},
        keys=(await service.run(request, ShowKeys())).keys,
        sessions=(await service.run(request, ShowSessions())).sessions,
        roles=[role.value for role in PEOPLE],
        rights=[(right, [right in RIGHTS[role] for role in PEOPLE]) for right in Right],
        mistake=mistake,
        form={name: form[name] for name in OF_USER},
        link=link,
        of=of,
        me=request.who.name,
        settings=service.desk.settings,
    )


async def add_user(service: Service, request: Request) -> Response:
    form = await request.form()
    try:
        added = await service.run(request, AddUser(**{name: form[name].strip() for name in OF_USER}))
    except UsageError as error:
        return await show_users(service, request, mistake=sentence(str(error)), form=form)
    return await show_users(service, request, link=added.url, of=added.user.name)


async def change_user(service: Service, request: Request) -> Response:
    form = await request.form()
    name = request.path_params["name"]
    acts: dict[str, OperationRequest[Any]] = {
        "role": ChangeUser(name=name, role=form["role"]),
        "disable": ChangeUser(name=name, disabled=True),
        "enable": ChangeUser(name=name, disabled=False),
        "link": LinkUser(name=name),
        "delete": DeleteUser(name=name),
        "factor": ResetFactor(name=name, code=form["code"]),
        "sessions": SignOutUser(name=name),
    }
    act = acts.get(form["do"])
    if act is None:
        raise ProblemError(400, "bad-form", "The form cannot be read", "do: the action is missing")
    return await _act(service, request, act)


async def end_session(service: Service, request: Request) -> Response:
    return await _act(service, request, EndSession(id=request.path_params["id"]))


async def _act(service: Service, request: Request, act: OperationRequest[Any]) -> Response:
    try:
        answer = await service.run(request, act)
    except UsageError as error:
        return await show_users(service, request, mistake=sentence(str(error)))
    if isinstance(answer, UserLink):
        return await show_users(service, request, link=answer.url, of=answer.user or "")
    return see_other(USERS)


# ---- keys


async def show_keys(
    service: Service, request: Request, *, mistake: str = "", form: Form = NOTHING, made: str = "", text: str = ""
) -> Response:
    keys = (await service.run(request, ShowKeys())).keys[::-1]
    now_ms = service.desk.now_ms()
    return await page(
        service,
        request,
        "settings_keys.html",
        keys=[(key, bool(key.expires_at) and read_time(key.expires_at or "") <= now_ms) for key in keys],
        roles=[role.value for role in Role],
        mistake=mistake,
        form={name: form[name] for name in ("name", "role", "scopes", "expires")},
        made=made,
        text=text,
    )


async def create_key(service: Service, request: Request) -> Response:
    form = await request.form()
    name, role, scopes, expires = (form[key] for key in ("name", "role", "scopes", "expires"))
    scope_names = tuple(scopes.replace(",", " ").split())
    try:
        created = await service.run(request, CreateKey(name=name, role=role, scopes=scope_names, expires=expires))
    except (UsageError, NotAllowedError) as error:
        return await show_keys(service, request, mistake=sentence(str(error)), form=form)
    return await show_keys(service, request, made=created.name, text=created.key)


async def revoke_key(service: Service, request: Request) -> Response:
    try:
        await service.run(request, RevokeKey(key=request.path_params["id"]))
    except UsageError as error:
        return await show_keys(service, request, mistake=sentence(str(error)))
    return see_other(KEYS)


ROUTES = (
    Route("GET", "/settings", Right.READ_AUDIT, first),
    Route("GET", AUDIT, Right.READ_AUDIT, audit, screen=Screen("Audit log", "System", 9)),
    Route("POST", AUDIT, Right.READ_AUDIT, verify),
    Route("GET", USERS, Right.MANAGE_USERS, show_users, screen=Screen("Users", "System", 7)),
    Route("POST", USERS, Right.MANAGE_USERS, add_user),
    Route("POST", f"{USERS}/{{name}}", Right.MANAGE_USERS, change_user),
    Route("POST", "/settings/sessions/{id}", Right.MANAGE_USERS, end_session),
    Route("GET", KEYS, Right.MANAGE_KEYS, show_keys, screen=Screen("API keys", "System", 8)),
    Route("POST", KEYS, Right.MANAGE_KEYS, create_key),
    Route("POST", f"{KEYS}/{{id}}", Right.MANAGE_KEYS, revoke_key),
)
