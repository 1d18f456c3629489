"""Pages of the lists that rules read: entries with author and reason, changes by hand or as CSV."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlencode

import msgspec
from msgspec.json import decode as from_json
from starlette.responses import Response

from shroff.errors import DefinitionError, RefusalError, UsageError
from shroff.events.event import time_text
from shroff.json_types import JsonObject
from shroff.language.expression import InList, ItemField, ThisField, walk
from shroff.language.values import parse_duration, zone_named
from shroff.operations.declaration import OperationRequest
from shroff.people import oidc
from shroff.people.access import Right
from shroff.people.store import AuditFilter
from shroff.project import list_csv
from shroff.project.lists import Entry, ListChange, known_list
from shroff.rules.silences import rule_of
from shroff.services.lists.files import WAITS
from shroff.services.lists.operations import AddListEntry, ApproveListChange, ImportList, MakeList, RemoveListEntry
from shroff.web.http.messages import NOTHING, Form, Request
from shroff.web.http.routes import Handle, Route, Screen
from shroff.web.pages.decision import entity_path
from shroff.web.pages.renderer import csv_file, page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.events.definitions import Entity
    from shroff.project.definitions import Definitions
    from shroff.services.project import Project
    from shroff.web.service import Service

SHOWN = 500
COUNTED = ("added", "changed", "removed", "repeated")  # counts of a change, which the next page shows
LASTS = {"1d": "1 day", "7d": "7 days", "30d": "30 days", "90d": "90 days", "": "no end"}  # choices on a key's page
Reader: TypeAlias = "Callable[[Service, Request, Form], OperationRequest[ListChange]]"


# ---- download


async def download(service: Service, request: Request) -> Response:
    name = known_list(request.path_params["list"], service.project.definitions)
    return await csv_file(service, name, lambda: [list_csv.written(service.project.lists.entries(name)).encode()])


# ---- changing


async def make_list(service: Service, request: Request) -> Response:
    name = (await request.form())["name"].strip()
    try:
        await service.run(request, MakeList(name=name))
    except (UsageError, DefinitionError) as error:
        return await show(service, request, mistake=_words(error), name=name)
    return see_other(f"/lists/{name}?said=made")


def _changes(operation: Reader, *, to_form: bool = True) -> Handle:
    async def handle(service: Service, request: Request) -> Response:
        form = await request.form()
        try:
            change = await service.in_thread(operation, service, request, form)
            result: ListChange = await service.run(request, change)
        except RefusalError:
            raise
        except (UsageError, DefinitionError) as error:
            return await show_one(service, request, mistake=_words(error), form=form)
        removed = change.value if isinstance(change, RemoveListEntry) and change.reason else ""
        return _back(form if to_form else NOTHING, result, removed)

    return handle


def _added(service: Service, request: Request, form: Form) -> AddListEntry:
    entry = entry_of(service, request, form)
    name = request.path_params["list"]
    return AddListEntry(name=name, value=entry.value, note=entry.note, expires_at=entry.expires_at)


def _removed(service: Service, request: Request, form: Form) -> RemoveListEntry:
    reason = form["note"].strip()
    if not reason and not form.get("undo"):
        raise UsageError("Give a reason for removing it.")
    return RemoveListEntry(name=request.path_params["list"], value=form["value"], reason=reason)


def _restored(service: Service, request: Request, form: Form) -> AddListEntry:
    name = request.path_params["list"]
    entry = _removed_before(service, name, form["value"])
    if entry is None:
        raise UsageError("There is nothing to undo.")
    return AddListEntry(name=name, value=entry.value, note=entry.note, expires_at=entry.expires_at, by=entry.added_by)


def _removed_before(service: Service, name: str, value: str) -> Entry | None:
    with service.desk.store.look() as people:
        rows = people.record(AuditFilter(action="list.change", subject=f"list {name}"), is_newest_first=True)
    for row in rows:
        before = from_json(row.before) if row.before else None
        for entry in before if isinstance(before, list) else ():
            if entry["value"] == value:
                return msgspec.convert(entry, Entry)
    return None


def _imported(service: Service, request: Request, form: Form) -> ImportList:
    return ImportList(name=request.path_params["list"], csv=form["csv"], is_whole=form.get("is_whole") == "yes")


def _approved(service: Service, request: Request, form: Form) -> ApproveListChange:
    return ApproveListChange(name=request.path_params["list"], etag=form["etag"])


def entry_of(service: Service, request: Request, form: Form) -> Entry:
    """Return the entry of a form. A form with `lasts`, from the page of a key, needs a note. Raises: UsageError."""
    expires_at = instant(form["expires_at"], form.get("zone", "UTC"))
    note = form["note"].strip()
    lasts = form.get("lasts")
    if lasts is not None and not note:
        raise UsageError("An entry needs a reason.")
    if lasts:
        if lasts not in LASTS:
            raise UsageError(f"An entry lasts {', '.join(filter(None, LASTS))}, or has no end.")
        expires_at = time_text(service.project.context.now_ms() + parse_duration(lasts))
    return Entry(form["value"].strip(), note, request.who.name, expires_at)


def instant(text: str, zone: str) -> str:
    """Convert a day or time to UTC, in RFC 3339; without an offset it is in `zone`. Raises: UsageError."""
    text = text.strip()
    if not text:
        return ""
    try:
        at = datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.replace(tzinfo=zone_named(zone))).astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: before the year 1 in UTC
        raise UsageError(f"{text!r} is not a time; write it as 2027-01-31 or 2027-01-31T12:00.") from None
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _back(form: Form, change: ListChange, removed: str) -> Response:
    """Return to the page of the form, with the result and a way to restore the removed value."""
    counts = {name: str(getattr(change, name)) for name in COUNTED if getattr(change, name)}
    state = "asked" if change.why_not == WAITS else "waits"
    query = {"said": "done" if change.in_force else state, **counts}
    back = oidc.back_of(form["back"])
    path = back.partition("?")[0] if form.get("back") else f"/lists/{change.list}"
    if form.get("back") and change.in_force and change.added:
        query["to"] = change.list
    if removed and change.in_force:
        query |= {"to": change.list, "gone": removed}
    return see_other(f"{path}?{urlencode(query)}")


def _words(error: UsageError | DefinitionError) -> str:
    if isinstance(error, DefinitionError):
        return f"{sentence(error.problems[0].message)} Nothing was changed."
    return sentence(str(error))


# ---- pages


async def show(service: Service, request: Request, mistake: str = "", name: str = "") -> Response:
    lists = await service.in_thread(service.project.lists.all)
    context = {"lists": lists, "mistake": mistake, "name": name}
    return await page(service, request, "lists.html", **context)


async def show_one(service: Service, request: Request, mistake: str = "", form: Form = NOTHING) -> Response:
    name = request.path_params["list"]
    text = request.query_params.get("q", "").strip()
    return await page(
        service,
        request,
        "list.html",
        name=name,
        text=text,
        **await service.in_thread(_look, service.project, name, text),
        mistake=mistake,
        form={key: form[key] for key in ("value", "note", "expires_at", "csv")},
        gone=undone_by(request)[1],
        asked=await service.in_thread(service.project.agreements.asked, f"list {name}"),
        is_silence=rule_of(name) is not None,
    )


def _look(project: Project, name: str, text: str) -> JsonObject:
    """Return the newest entries of a list that contain a text, and counts of `matching` and all entries.

    Reads the whole list.
    """
    entity = _entity_of(project.definitions, name)
    now_ms = project.context.now_ms()
    text = text.lower()
    entries = project.lists.entries(name)
    matching = [entry for entry in entries if text in f"{entry.value}\n{entry.note}\n{entry.added_by}".lower()]
    lines = [
        {"entry": entry, "is_over": entry.is_over(now_ms), "path": entity_path(entity, entry.value) if entity else ""}
        for entry in islice(reversed(matching), SHOWN)
    ]
    summary = next(list_ for list_ in project.lists.all() if list_.name == name)
    return {"summary": summary, "lines": lines, "matching": len(matching), "count": len(entries)}


def undone_by(request: Request) -> tuple[str, str]:
    """Return the list of the last change, which can be undone, and the removed value; both may be empty."""
    return request.query_params.get("to", ""), request.query_params.get("gone", "")


# ---- lists and entities


def standings(project: Project, entity: str, key: str) -> list[JsonObject]:
    """Return the lists that rules check for keys of an entity, each with this key's active entry."""
    names = [name for name in lists_of(project.definitions, entity) if rule_of(name) is None]
    now_ms = project.context.now_ms()
    entries = project.lists.holding(key) if names else {}
    active = {name: entry for name, entry in entries.items() if not entry.is_over(now_ms)}
    return [{"name": name, "entry": active.get(name), "does": _does(project.definitions, name)} for name in names]


def _does(definitions: Definitions, name: str) -> str:
    effects = {
        rule.effect
        for rule in definitions.rules
        if any(isinstance(part, InList) and part.list == name for part in walk(rule.when))
    }
    if effects == {"allow"}:
        return "Allow"
    return "Block" if effects & {"decline", "challenge"} else "Add"


def lists_of(definitions: Definitions, entity: str) -> list[str]:
    """Return the lists that rules check for the fields of an entity's key, sorted."""
    fields = _fields_of(definitions.events.entities[entity])
    nodes = [feature.node for feature in definitions.features.values()]
    for rule in definitions.rules:
        nodes += [rule.when, *(part for part in rule.reason if not isinstance(part, str))]
    checks = [part for node in nodes for part in walk(node) if isinstance(part, InList)]
    names = {
        part.list for part in checks if isinstance(part.operand, ThisField | ItemField) and part.operand.name in fields
    }
    return sorted(names)


def _fields_of(entity: Entity) -> set[str]:
    alone = [key[0] for key in entity.keys.values() if len(key) == 1]
    return {node.name for node in alone if isinstance(node, ThisField | ItemField)}


def _entity_of(definitions: Definitions, name: str) -> str:
    entities = [entity for entity in definitions.events.entities if name in lists_of(definitions, entity)]
    return entities[0] if len(entities) == 1 else ""


ROUTES = (
    Route("GET", "/lists", Right.READ_DEFINITIONS, show, screen=Screen("Lists", "Policy", 3)),
    Route("POST", "/lists", Right.EDIT_LISTS, make_list),
    Route("GET", "/lists/{list}", Right.READ_DEFINITIONS, show_one),
    Route("GET", "/lists/{list}/csv", Right.READ_DEFINITIONS, download),
    Route("POST", "/lists/{list}", Right.EDIT_LISTS, _changes(_added)),
    Route("POST", "/lists/{list}/out", Right.EDIT_LISTS, _changes(_removed)),
    Route("POST", "/lists/{list}/back", Right.EDIT_LISTS, _changes(_restored)),
    Route("POST", "/lists/{list}/csv", Right.EDIT_LISTS, _changes(_imported, to_form=False)),
    Route("POST", "/lists/{list}/approve", Right.EDIT_LISTS, _changes(_approved)),
)
