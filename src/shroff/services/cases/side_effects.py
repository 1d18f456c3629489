"""Side effects of an answer: list entries, such as a blocked card, and refunds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec

from shroff.cases.pending_changes import ListAddition, SideEffects, refund_units
from shroff.errors import UsageError
from shroff.people.access import Right
from shroff.project.lists import Entry, ListChange
from shroff.rules.silences import rule_of
from shroff.services.lists.files import ListEdit

if TYPE_CHECKING:
    from shroff.cases.case_service import CaseService
    from shroff.services.project import Project


class CaseListEntry(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of a list to add with the answer, such as a blocked card."""

    list: str
    value: str
    note: Annotated[str, msgspec.Meta(description="The reason, kept with the entry.")]
    expires_at: Annotated[str, msgspec.Meta(description="When the entry ends. Empty: never.")] = ""


def blocked(project: Project, desk: CaseService, blocks: Sequence[str], reason: str) -> list[CaseListEntry]:
    """Parse `--block LIST=VALUE`, without existing entries. Raises: UsageError."""
    pairs = [block.partition("=") for block in blocks]
    for block, (name, _, value) in zip(blocks, pairs, strict=True):
        if not (name and value):
            raise UsageError(f"--block {block}: write LIST=VALUE, such as blocked_cards=c-7.")
    if pairs and not reason.strip():
        raise UsageError("--block needs --reason, which is kept with the entry of the list.")
    return [CaseListEntry(name, value, reason) for name, _, value in pairs if not _is_in(project, desk, name, value)]


def _is_in(project: Project, desk: CaseService, name: str, value: str) -> bool:
    entry = project.lists.holding(value).get(name)
    return entry is not None and not entry.is_over(desk.now_ms())


def checked(
    project: Project, desk: CaseService, entries: Sequence[CaseListEntry], refund: str, reason: str = ""
) -> SideEffects:
    """Check and return the side effects of an answer. Raises: NotAllowedError; UsageError for invalid ones."""
    if entries:
        project.context.who.require(Right.EDIT_LISTS)
    for entry in entries:
        if not entry.note.strip():
            raise UsageError(f"Adding {entry.value[:100]!r} to a list needs a reason.")
        if rule_of(entry.list) is not None:
            raise UsageError(f"{entry.list} is a list of silences: silence a rule on the page of a case.")
        if entry.list not in project.definitions.reference.lists:
            raise UsageError(f"there is no list {entry.list[:100]!r}.")
        if _is_in(project, desk, entry.list, entry.value):
            raise UsageError(f"{entry.value[:100]!r} is in the list {entry.list} already.")
    is_asked = project.lists.need_second_person
    listed = [
        ListAddition(entry.list, entry.value, entry.note.strip(), entry.expires_at, is_asked) for entry in entries
    ]
    return SideEffects(reason, refund_units(refund, desk.money_places), tuple(listed))


@contextmanager
def writing(project: Project, also: SideEffects) -> Iterator[list[ListChange]]:
    """Write an answer's list entries before the answer, which is given in the body.

    If an entry or the answer fails, the entries are removed again. A kill in between leaves the entry and an open case,
    which somebody will answer, never an answer whose card is not blocked.
    """
    changes: list[ListChange] = []
    try:
        for entry in also.listed:
            changes.append(project.lists.add(entry.list, _entry(project, entry)))  # noqa: PERF401 - keeps the partial list
        yield changes
    except Exception:
        take_out(project, also.listed[: len(changes)])
        raise


def take_out(project: Project, entries: Sequence[ListAddition]) -> None:
    """Remove the list entries of an undone answer, and withdraw requests to a second person."""
    for added in entries:
        subject, wanted = f"list {added.list}", project.lists.wanted(added.list, ListEdit([_entry(project, added)]))
        value = wanted["put"][0][0]
        if added.is_asked:
            project.agreements.forget(subject, wanted)
            project.people.record("change.withdraw", subject, None, {"value": value})
        existing = {entry.value: entry for entry in project.lists.entries(added.list)}.get(value)
        if existing is not None and (existing.note, existing.expires_at) == (added.note, added.expires_at):
            project.lists.remove(added.list, added.value)


def _entry(project: Project, added: ListAddition) -> Entry:
    return Entry(added.value, added.note, project.context.who.name, added.expires_at)
