"""The record of who did what, and who may do what: users, their sessions, the keys of programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from shroff.errors import NotAllowedError, UsageError
from shroff.operations.pagination import cursor_of, next_of, parted
from shroff.people import keys, links, sessions, users
from shroff.people.access import RIGHTS, Right, Role
from shroff.people.audit import Verified
from shroff.web.api.people import NewKey, NewUser, UserChange, changed_user, made_key, made_user, rows_of, wanted_of
from shroff.web.http.messages import Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.audit_words import RIGHT_WORDS, action_words, changes_of
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service

ROWS_SHOWN: Final = 50
AUDIT: Final = "/settings/audit"
USERS: Final = "/settings/users"
KEYS: Final = "/settings/keys"
FILTERS: Final = ("who", "action", "subject", "from", "to")
LASTING: Final = {"30d": "30 days", "90d": "90 days", "365d": "1 year", "": "never"}
NOTHING: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class SettingsTab:
    """A tab of the settings and the right to see it."""

    name: str
    path: str
    right: Right


TABS: Final = (
    SettingsTab("Audit log", AUDIT, Right.READ_AUDIT),
    SettingsTab("Users", USERS, Right.MANAGE_USERS),
    SettingsTab("API keys", KEYS, Right.MANAGE_KEYS),
)


async def first(service: Service, request: Request) -> Response:
    """The first part that they may see."""
    return see_other(_tabs(request)[0].path)


# ---- the record


async def audit(service: Service, request: Request) -> Response:
    """Rows of the record."""
    return await _audit(service, request)


async def verify(service: Service, request: Request) -> Response:
    """Whether the record is whole."""
    found = await service.in_thread(service.project.people.verify_audit)
    return await _audit(service, request, found)


async def _audit(service: Service, request: Request, verified: Verified | None = None) -> Response:
    query = request.query_params
    try:
        wanted = wanted_of(query)
    except UsageError as error:
        raise ProblemError(400, "bad-query", "The query cannot be read", str(error)) from None
    before = cursor_of(query, int)
    rows, last = parted(await service.in_thread(rows_of, service.desk, wanted, before, ROWS_SHOWN + 1), ROWS_SHOWN)
    known = await service.in_thread(users.all_users, service.desk)
    names = {one.id: one.display_name for one in known}
    given = {name: query.get(name, "").strip() for name in FILTERS}
    kept = {name: text for name, text in given.items() if text}
    older = urlencode({**kept, "cursor": next_of(last.number)}) if last is not None else ""
    return await _page(
        service,
        request,
        "settings_audit.html",
        rows=[(row, changes_of(row, names)) for row in rows],
        action_words=action_words,
        given=given,
        older=older,
        is_first=before is None,
        verified=verified,
    )


# ---- users and sessions


async def show_users(service: Service, request: Request) -> Response:
    """Page of the users and their sessions."""
    return await _users(service, request)


async def add_user(service: Service, request: Request) -> Response:
    """Let somebody sign in; shows the link by which they set a password, this one time."""
    form = await request.form()
    given = NewUser(*(form.get(name, "").strip() for name in ("name", "role", "display_name", "email")))
    try:
        user, link = await service.in_thread(made_user, service.desk, request.who, given)
    except UsageError as error:
        return await _users(service, request, mistake=sentence(str(error)), form=form)
    return await _users(service, request, link=_whole(service, request, link), of=user.name)


async def change_user(service: Service, request: Request) -> Response:
    """Action of a button beside a user: change the role, disable, enable, new link, delete."""
    form, name = await request.form(), request.path_params["name"]
    desk, who, link = service.desk, request.who, ""
    try:
        match form.get("do"):
            case "role":
                await service.in_thread(changed_user, desk, who, name, UserChange(role=form.get("role", "")))
            case "disable" | "enable" as do:
                await service.in_thread(changed_user, desk, who, name, UserChange(disabled=do == "disable"))
            case "link":
                link = await service.in_thread(links.for_password, desk, who, name)
            case "delete":
                await service.in_thread(users.delete, desk, who, name)
            case _:
                raise ProblemError(400, "bad-form", "The form cannot be read", "do: the action is missing")
    except UsageError as error:
        return await _users(service, request, mistake=sentence(str(error)))
    return await _users(service, request, link=_whole(service, request, link), of=name) if link else see_other(USERS)


async def end_session(service: Service, request: Request) -> Response:
    """End a session."""
    try:
        await service.in_thread(sessions.end_named, service.desk, request.who, request.path_params["id"])
    except UsageError as error:
        return await _users(service, request, mistake=sentence(str(error)))
    return see_other(USERS)


async def _users(
    service: Service,
    request: Request,
    *,
    mistake: str = "",
    form: Mapping[str, str] = NOTHING,
    link: str = "",
    of: str = "",
) -> Response:
    found = await service.in_thread(users.all_users, service.desk)
    there = await service.in_thread(sessions.open_sessions, service.desk)
    return await _page(
        service,
        request,
        "settings_users.html",
        users=[(one, users.signs_in_by(one)) for one in found],
        sessions=there,
        roles=[role.value for role in users.PEOPLE],
        may=_may(),
        right_words=RIGHT_WORDS,
        mistake=mistake,
        form={name: form.get(name, "") for name in ("name", "role", "display_name", "email")},
        link=link,
        of=of,
        me=request.who.name,
        idle_s=service.desk.times.idle_ms // 1_000,
        lasts_s=service.desk.times.lasts_ms // 1_000,
    )


def _may() -> list[tuple[Right, list[bool]]]:
    """Each right, and whether each role of people has it."""
    return [(right, [right in RIGHTS[role] for role in users.PEOPLE]) for right in Right]


def _whole(service: Service, request: Request, path: str) -> str:
    """A link as it is sent to somebody."""
    return service.address.of(request) + path


# ---- keys


async def show_keys(service: Service, request: Request) -> Response:
    """The keys of programs."""
    return await _keys(service, request)


async def make_key(service: Service, request: Request) -> Response:
    """Make a key; shows its text, this one time."""
    form = await request.form()
    scopes = form.get("scopes", "").replace(",", " ").split()
    given = NewKey(form.get("name", ""), form.get("role", ""), scopes, form.get("expires", ""))
    try:
        key, text = await service.in_thread(made_key, service.desk, request.who, given)
    except (UsageError, NotAllowedError) as error:
        return await _keys(service, request, mistake=sentence(str(error)), form=form)
    return await _keys(service, request, made=key.name, text=text)


async def revoke_key(service: Service, request: Request) -> Response:
    """End a key."""
    try:
        await service.in_thread(keys.revoke, service.desk, request.who, request.path_params["id"])
    except UsageError as error:
        return await _keys(service, request, mistake=sentence(str(error)))
    return see_other(KEYS)


async def _keys(
    service: Service,
    request: Request,
    *,
    mistake: str = "",
    form: Mapping[str, str] = NOTHING,
    made: str = "",
    text: str = "",
) -> Response:
    found = await service.in_thread(keys.all_keys, service.desk)
    return await _page(
        service,
        request,
        "settings_keys.html",
        keys=found[::-1],
        now_ms=service.desk.now_ms(),
        roles=[role.value for role in Role],
        lasting=LASTING,
        mistake=mistake,
        form={name: form.get(name, "") for name in ("name", "role", "scopes", "expires")},
        made=made,
        text=text,
    )


# ---- all of them


async def _page(service: Service, request: Request, template: str, status: int = 200, /, **shown: Any) -> Response:
    return await page(service, request, template, status, tabs=_tabs(request), path=request.path, **shown)


def _tabs(request: Request) -> list[SettingsTab]:
    return [one for one in TABS if request.who.may(one.right)]


ROUTES: Final = (
    Route("GET", "/settings", Right.READ_AUDIT, first, is_page=True, screen=Screen("Settings", 120)),
    Route("GET", AUDIT, Right.READ_AUDIT, audit, is_page=True),
    Route("POST", AUDIT, Right.READ_AUDIT, verify, is_page=True),
    Route("GET", USERS, Right.MANAGE_USERS, show_users, is_page=True),
    Route("POST", USERS, Right.MANAGE_USERS, add_user, is_page=True),
    Route("POST", f"{USERS}/{{name}}", Right.MANAGE_USERS, change_user, is_page=True),
    Route("POST", "/settings/sessions/{id}", Right.MANAGE_USERS, end_session, is_page=True),
    Route("GET", KEYS, Right.MANAGE_KEYS, show_keys, is_page=True),
    Route("POST", KEYS, Right.MANAGE_KEYS, make_key, is_page=True),
    Route("POST", f"{KEYS}/{{id}}", Right.MANAGE_KEYS, revoke_key, is_page=True),
)
