"""Lists: what is in them, and changing them, each change recorded with what was there before, and put in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec

from shroff.app.rules.silences import THE_WAY
from shroff.errors import NotAllowedError
from shroff.people.access import Right
from shroff.people.audit import Act
from shroff.people.store import AuditFilter
from shroff.project.lists import ADDED, CHANGED, REMOVED, Edited, Entry, ListSummary
from shroff.rules.silences import rule_of
from shroff.web.api.rules import list_csv
from shroff.web.api.rules.drafts import WAITS, ChangeAsked, agreed, asked_document
from shroff.web.http.messages import Json, Request, decoded
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import api
from shroff.web.http.schemas import Adopted

if TYPE_CHECKING:
    from shroff.web.service import Service

BODY_BYTES_MAX: Final = 8 * 1024 * 1024
CHANGE: Final = "list.change"  # in the record
TOLD_MAX: Final = 50  # entries of one change that the record holds whole; of more it has the numbers


class NewListEntry(msgspec.Struct, forbid_unknown_fields=True):
    """A new entry; its author is the caller."""

    value: str
    note: str = ""
    expires_at: str = ""


class ListApproval(msgspec.Struct, forbid_unknown_fields=True):
    """The requested change to approve."""

    etag: str


class _Wanted(msgspec.Struct):
    """A change of a list as it waits for a second person."""

    put: list[tuple[str, str, str]]
    out: list[str]
    is_whole: bool


class ListSheet(msgspec.Struct, forbid_unknown_fields=True):
    """Entries as CSV. With `is_whole`, all other entries of the list are removed."""

    csv: str
    is_whole: bool = False


class Lists(TypedDict):
    """All lists."""

    lists: list[ListSummary]


class ListEntries(TypedDict):
    """One list, and its changes that wait for a second person."""

    name: str
    entries: list[Entry]
    asked: list[ChangeAsked]


class ListChange(Adopted):
    """The numbers of added, changed and removed entries."""

    list: str
    added: int
    changed: int
    removed: int


async def all_lists(service: Service, request: Request) -> Json[Lists]:
    """All lists by their names."""
    return Json({"lists": await service.in_thread(service.project.lists.all)})


async def one_list(service: Service, request: Request) -> Json[ListEntries]:
    """The entries of a list."""
    name = known(service, request)

    def answer() -> Json[ListEntries]:
        entries = service.project.lists.entries(name)
        asked = [asked_document(one) for one in service.project.agreements.asked(f"list {name}")]
        return Json({"name": name, "entries": entries, "asked": asked})

    return await service.in_thread(answer)  # a list may have a million entries


async def put_entry(service: Service, request: Request) -> Json[ListChange]:
    """An entry in place of the one of its value, or beside all others."""
    given = await service.in_thread(decoded, await request.body(BODY_BYTES_MAX), NewListEntry)
    entry = Entry(given.value, given.note, request.who.name, given.expires_at)
    return Json(await change(service, request, known(service, request), [entry]))


async def remove_entry(service: Service, request: Request) -> Json[ListChange]:
    """Take a value out."""
    return Json(await change(service, request, known(service, request), out=[request.path_params["value"]]))


async def put_sheet(service: Service, request: Request) -> Json[ListChange]:
    """Many entries as CSV."""
    given = await service.in_thread(decoded, await request.body(BODY_BYTES_MAX), ListSheet)
    name, entries = known(service, request), await service.in_thread(list_csv.read, given.csv, request.who.name)
    return Json(await change(service, request, name, entries, is_whole=given.is_whole))


async def change(
    service: Service,
    request: Request,
    name: str,
    put: Sequence[Entry] = (),
    out: Sequence[str] = (),
    *,
    is_whole: bool = False,
    reason: str = "",
) -> ListChange:
    """Change a list by who asks; what became of it, and whether it is in force. `reason` says why values leave it.

    It stands in the record before it is written: a list that nobody changed can never be other than it was.

    Raises: as `ListFiles.write`; TransientError where it cannot be recorded, and nothing is changed;
    ProblemError with 409 for a silence that a second person has to approve.
    """
    if put and rule_of(name) is not None and service.project.silences.need_second_person:
        words = f"a second person approves silences here; {THE_WAY}"
        raise ProblemError(409, "second-person", "This needs a second person", words)
    if rule_of(name) is None and service.project.lists.need_second_person:
        return await _by_two(service, request, name, put, out, is_whole=is_whole, reason=reason)
    return await _changed(service, request, name, put, out, is_whole=is_whole, reason=reason)


async def approve(service: Service, request: Request) -> Json[ListChange]:
    """Make a change of a list that somebody else asked for."""
    given = decoded(await request.body(BODY_BYTES_MAX), ListApproval)
    return Json(await approve_for(service, request, known(service, request), given.etag))


async def approve_for(service: Service, request: Request, name: str, tag: str) -> ListChange:
    """The same, for pages too. Raises: ProblemError with 404 where nobody asks for it; NotAllowedError."""
    found = await service.in_thread(service.project.agreements.asked, f"list {name}")
    asked = next((one for one in found if one.tag == tag), None)
    if asked is None:
        raise ProblemError(404, "not-asked", "No such change is requested", "reload the list")
    if request.who.kind != "user":
        raise NotAllowedError("approving a list change needs a signed-in user, not an API key")
    if request.who.id in {author.id for author in asked.authors}:
        raise NotAllowedError(f"{request.who.name} requested this change; another person must approve it")
    change = msgspec.convert(asked.change, _Wanted)
    put = [Entry(value, note, asked.by, expires_at) for value, note, expires_at in change.put]
    return await _by_two(service, request, name, put, change.out, is_whole=change.is_whole)


async def _by_two(
    service: Service,
    request: Request,
    name: str,
    put: Sequence[Entry],
    out: Sequence[str],
    *,
    is_whole: bool,
    reason: str = "",
) -> ListChange:
    """Change a list if somebody else asked for the same; else keep that it is asked for."""
    subject = f"list {name}"
    wanted = await service.in_thread(wanted_of, service, name, put, out, is_whole)
    values, gone = [row[0] for row in wanted["put"]], wanted["out"]
    parts = [f"put {len(put)} in" if len(put) != 1 else f"put {values[0]} in"] if put or is_whole else []
    parts += [f"take {', '.join(gone)} out{f' ({reason})' if reason else ''}"] if gone else []
    says = " and ".join(parts) + (", and nothing else is to be in it" if is_whole else "")
    if not await agreed(service, request, subject, wanted, says, may_approve=True):
        return {"list": name, "added": 0, "changed": 0, "removed": 0, "in_force": False, "why_not": WAITS}
    told = await _changed(service, request, name, put, out, is_whole=is_whole, reason=reason)
    await service.in_thread(service.project.agreements.forget, subject, wanted)
    return told


def wanted_of(
    service: Service,
    name: str,
    put: Sequence[Entry],
    out: Sequence[str] = (),
    is_whole: bool = False,  # noqa: FBT001, FBT002 - run in a thread
) -> dict[str, Any]:
    """A change of a list as it waits for a second person. Raises: UsageError."""
    hashed = service.project.lists.hashed
    values = hashed(name, [one.value for one in put])
    rows = [[value, one.note, one.expires_at] for value, one in zip(values, put, strict=True)]
    return {"put": rows, "out": hashed(name, out), "is_whole": is_whole}


async def _changed(
    service: Service,
    request: Request,
    name: str,
    put: Sequence[Entry],
    out: Sequence[str],
    *,
    is_whole: bool,
    reason: str = "",
) -> ListChange:
    def recorded(found: Edited) -> None:
        after = _told(found.after) or ({"reason": reason} if reason else None)
        act = Act(request.who, CHANGE, f"list {name}", _told(found.before), after)
        service.record_now(act)

    def write() -> Edited:
        return service.project.lists.write(name, put, out, is_whole=is_whole, before=recorded)

    found = await service.in_thread(write)
    counts = found.counts
    told: ListChange = {
        "list": name,
        "added": counts[ADDED],
        "changed": counts[CHANGED],
        "removed": counts[REMOVED],
        "in_force": True,
        "why_not": None,
    }
    if found.before or found.after:
        told["why_not"] = await service.adopted() or None
        told["in_force"] = told["why_not"] is None
    return told


def removed(service: Service, name: str, value: str) -> Entry | None:
    """The entry of a value that was taken out of a list last, as the audit log has it; None where it has none."""
    with service.desk.store.look() as people:
        rows = people.record(AuditFilter(action=CHANGE, subject=f"list {name}"), is_newest_first=True)
    for row in rows:
        before = msgspec.json.decode(row.before) if row.before else None
        for entry in before if isinstance(before, list) else ():
            if entry["value"] == value:
                return msgspec.convert(entry, Entry)
    return None


async def make(service: Service, request: Request, name: str) -> None:
    """A new list without entries. Raises: UsageError."""
    act = Act(request.who, "list.make", f"list {name}")
    await service.in_thread(service.project.lists.make, name, lambda: service.record_now(act))
    await service.adopted()


def known(service: Service, request: Request) -> str:
    """The list that is asked for. Raises: ProblemError with 404."""
    name, lists = request.path_params["list"], service.project.definitions.reference.lists
    if name not in lists:
        raise ProblemError(404, "no-list", "There is no such list", f"there are {', '.join(sorted(lists)) or 'none'}")
    return name


def _told(entries: Sequence[Entry]) -> Any:
    """Entries for the record."""
    if not entries:
        return None
    return [asdict(entry) for entry in entries] if len(entries) <= TOLD_MAX else {"entries": len(entries)}


_SECOND: Final = "Silences need approval by a second person here."
_WRITTEN: Final = {404: "", 409: _SECOND, 422: "The body or the resulting list is invalid."}

ROUTES: Final = (
    api("GET", "/lists", Right.READ_DEFINITIONS, all_lists)(
        "List the lists that rules and features read.", "Each list with the rules and features that read it."
    ),
    api("GET", "/lists/{list}", Right.READ_DEFINITIONS, one_list)(
        "Get the entries of a list.", "The entries, in the order of its file.", problems={404: ""}
    ),
    api("PUT", "/lists/{list}", Right.EDIT_LISTS, put_sheet)(
        "Upload entries as CSV; entries with the same value are replaced. With `is_whole`, all other entries are "
        "removed.",
        "The numbers of added, changed and removed entries, and whether they are active in the log yet.",
        ListSheet,
        _WRITTEN,
    ),
    api("POST", "/lists/{list}/entries", Right.EDIT_LISTS, put_entry)(
        "Add an entry to a list, or replace the one with the same value. The caller is recorded as its author.",
        "The numbers of added and changed entries, and whether they are active in the log yet.",
        NewListEntry,
        _WRITTEN,
    ),
    api("POST", "/lists/{list}/approve", Right.EDIT_LISTS, approve)(
        "Approve, as the second person, a requested change of a list.",
        "The numbers of added, changed and removed entries, and whether they are active in the log yet.",
        ListApproval,
        _WRITTEN | {403: "The caller requested the change, or is an API key.", 404: "No such change is requested."},
    ),
    api("DELETE", "/lists/{list}/entries/{value}", Right.EDIT_LISTS, remove_entry)(
        "Remove a value from a list.",
        "The number of removed entries, and whether that is active in the log yet.",
        problems={400: "The list has no such value.", 404: "", 409: _SECOND, 422: ""},
    ),
)
