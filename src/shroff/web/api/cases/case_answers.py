"""What goes with an answer: entries of lists, such as a blocked card, and money returned to the customer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from shroff.app.rules.list_operations import AddListEntry, RemoveListEntry
from shroff.cases import dispositions
from shroff.cases.pending_changes import ListAddition, SideEffects, refund_units
from shroff.errors import ShroffError, UsageError
from shroff.people.access import Right, Who
from shroff.people.audit import Act
from shroff.project.lists import Entry, ListChange
from shroff.rules.silences import rule_of
from shroff.web.http.messages import Request
from shroff.web.http.problems import ProblemError

if TYPE_CHECKING:
    from shroff.web.service import Service


class CaseListEntry(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of a list to add with the answer, such as a blocked card."""

    list: str
    value: str
    note: Annotated[str, msgspec.Meta(description="The reason, kept with the entry.")]
    expires_at: Annotated[str, msgspec.Meta(description="When the entry ends. Empty: never.")] = ""


def also_of(service: Service, who: Who, entries: Sequence[CaseListEntry], refund: str, reason: str = "") -> SideEffects:
    """What goes with an answer. Raises: NotAllowedError; UsageError for what it cannot do."""
    lists = service.project.lists
    if entries:
        who.require(Right.EDIT_LISTS)
    for entry in entries:
        if not entry.note.strip():
            raise UsageError(f"Adding {entry.value[:100]!r} to a list needs a reason.")
        if rule_of(entry.list) is not None:
            raise UsageError(f"{entry.list} is a list of silences: silence a rule on the page of a case.")
        if entry.list not in service.project.definitions.reference.lists:
            raise UsageError(f"there is no list {entry.list[:100]!r}.")
        there = lists.holding(entry.value).get(entry.list)
        if there is not None and not there.is_over(service.cases.now_ms()):
            raise UsageError(f"{entry.value[:100]!r} is in the list {entry.list} already.")
    is_asked = lists.need_second_person
    listed = [
        ListAddition(entry.list, entry.value, entry.note.strip(), entry.expires_at, is_asked) for entry in entries
    ]
    return SideEffects(reason, refund_units(refund, service.cases.money_places), tuple(listed))


async def listed(
    service: Service, request: Request, acted: dispositions.CaseAction, also: SideEffects
) -> list[ListChange]:
    """Write the entries of lists that go with an answer; where one cannot be written, the answer is undone, too."""
    changes: list[ListChange] = []
    for at, one in enumerate(also.listed):
        added = AddListEntry(name=one.list, value=one.value, note=one.note, expires_at=one.expires_at)
        try:
            changes.append(await service.operations.run(request.who, added))
        except (ShroffError, ProblemError):
            await service.in_thread(dispositions.undo, service.cases, request.who, acted.undo)
            await unlisted(service, request, also.listed[:at])
            raise
    return changes


async def unlisted(service: Service, request: Request, entries: Sequence[ListAddition]) -> None:
    """Take out the entries of an answer that was undone, and withdraw what was asked of a second person."""
    project = service.project
    for one in entries:
        subject, entry = f"list {one.list}", Entry(one.value, one.note, "", one.expires_at)
        wanted = await service.in_thread(project.lists.wanted, one.list, [entry])
        if one.is_asked:
            await service.in_thread(project.agreements.forget, subject, wanted)
            act = Act(request.who, "change.withdraw", subject, None, {"value": wanted["put"][0][0]})
            await service.in_thread(service.record_now, act)
        now = {each.value: each for each in await service.in_thread(project.lists.entries, one.list)}
        there = now.get(wanted["put"][0][0])
        if there is not None and (there.note, there.expires_at) == (one.note, one.expires_at):
            await service.operations.run(request.who, RemoveListEntry(name=one.list, value=one.value))
