"""Operations on lists: show, and change with audit and immediate activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from shroff.operations.declaration import LocalText, OperationAnswer, OperationRequest, Param, group, operation
from shroff.people.access import Who
from shroff.project import list_csv
from shroff.project.lists import Entry, ListChange, ListSummary, UnknownListError
from shroff.runtime.texts import TextTable, argument
from shroff.services.approvals.agreements import Agreements, ChangeAsked
from shroff.services.lists.files import ListFiles, NotRequestedError, SecondPersonError
from shroff.services.rules.files import ChangedMeanwhileError

BODY_BYTES_MAX = 8 * 1024 * 1024
NAMED_MAX = 3  # readers that an overview names
CHANGES = (UnknownListError, SecondPersonError)

group(
    "lists",
    """Show and change the lists of the project.

    A list is the file lists/NAME.csv. You can also edit it by hand; 'shroff apply' then makes it active. Changes by
    these commands are active at once, also in a running service.

    Examples:
        shroff lists
        shroff lists show blocked_cards
        shroff lists add blocked_cards 4111111111111111 --note 'reported stolen' --by ann
    """,
)


class OfList(OperationRequest[ListChange], rename={"name": "list"}):
    """A request about one list.

    Args:
        name: The list.
    """

    name: Annotated[str, Param(complete="list_names")]


# ---- looking


class ShowLists(OperationRequest["Lists"]):
    pass


class Lists(OperationAnswer):
    """All lists, with the rules and features that read each."""

    lists: list[ListSummary]

    TABLE: ClassVar = TextTable(
        {"list": "name", "entries": "entries", "read by": lambda row: _readers(row.read_by)}, "lists", "list"
    )

    def hints(self) -> Sequence[str]:
        return [f"shroff lists show {argument(self.lists[0].name)}" if self.lists else "shroff check"]


def _readers(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more if names else "nothing"


@operation("lists", right="read:definitions", http="GET /lists")
def show_lists(lists: ListFiles, request: ShowLists) -> Lists:
    """List the lists that rules and features read."""
    return Lists(lists=lists.all())


class ShowList(OperationRequest["ListEntries"], rename={"name": "list"}):
    """
    Args:
        name: The list.
    """

    name: Annotated[str, Param(complete="list_names")]


class ListEntries(OperationAnswer, rename={"tag": "etag"}):
    """The entries of a list, in the order of its file, and its changes that wait for a second person."""

    name: str
    tag: str
    entries: list[Entry]
    asked: list[ChangeAsked]

    def etag(self) -> str:
        return self.tag

    TABLE: ClassVar = TextTable(
        {"value": "value", "note": "note", "added by": "added_by", "expires": ("expires_at", "never")},
        "entries",
        "entry",
        "entries",
        head="{answer.name}: {count}.",
    )

    def hints(self) -> Sequence[str]:
        return f"shroff lists add {argument(self.name)} VALUE", "shroff lists"


@operation("lists show", right="read:definitions", http="GET /lists/{list}", refusals=[UnknownListError])
def show_list(lists: ListFiles, agreements: Agreements, request: ShowList) -> ListEntries:
    """Show the entries of a list, in the order of its file.

    Values that are compared with a hashed field are shown as hashes, as 'lists add' writes them.

    Examples:
        shroff lists show blocked_cards
    """
    requests = [waiting.document for waiting in agreements.asked(f"list {request.name}")]
    # Read before the entries: an outdated tag is rejected later, while a tag too new would hide a change
    tag = lists.tag(request.name)
    return ListEntries(name=request.name, tag=tag, entries=lists.entries(request.name), asked=requests)


# ---- changing


class MakeList(OfList):
    pass


@operation("lists make", right="edit:lists", has_command=False)
def make_list(lists: ListFiles, request: MakeList) -> ListChange:
    """Create a list without entries."""
    return lists.make(request.name)


class AddListEntry(OfList):
    """A new entry; its author is the caller.

    Args:
        value: The value.
        note: The reason, as free text.
        by: Who adds it, if the list has that column.  [default: the user of this command]
        expires_at (TIME): Expiry: applies to events before this.  [default: never]
    """

    value: str
    note: str = ""
    by: LocalText = ""
    expires_at: Annotated[str, Param(flags="--expires")] = ""


@operation(
    "lists add",
    right="edit:lists",
    http="POST /lists/{list}/entries",
    schema="NewListEntry",
    body_bytes_max=BODY_BYTES_MAX,
    refusals=CHANGES,
)
def add_list_entry(lists: ListFiles, who: Who, request: AddListEntry) -> ListChange:
    """Add a value to lists/NAME.csv and make it active; an entry with the same value is replaced.

    If the list is compared with a hashed field, the value is written as its hash.

    Examples:
        shroff lists add blocked_cards 4111111111111111
        shroff lists add blocked_cards c-17 --note 'reported stolen' --by ann --expires 2027-01-01T00:00:00Z
    """
    return lists.add(request.name, Entry(request.value, request.note, request.by or who.name, request.expires_at))


class RemoveListEntry(OfList):
    """
    Args:
        value: The value.
        reason: The reason, for the audit log.
    """

    value: str
    reason: str = ""


@operation("lists remove", right="edit:lists", http="DELETE /lists/{list}/entries/{value}", refusals=CHANGES)
def remove_list_entry(lists: ListFiles, request: RemoveListEntry) -> ListChange:
    """Remove a value from lists/NAME.csv and make that active.

    Examples:
        shroff lists remove blocked_cards c-17
    """
    return lists.remove(request.name, request.value, request.reason)


class ImportList(OfList):
    """Entries as CSV. With `is_whole`, all other entries of the list are removed.

    Args:
        csv (FILE): CSV with a first line of column names; value is required.
        is_whole: Remove all other entries of the list.
        etag: The ETag of the version that you read. Default: the current version.
    """

    csv: Annotated[str, Param(is_file=True)]
    is_whole: Annotated[bool, Param(flags="--whole")] = False
    etag: Annotated[str, Param(is_etag=True, is_optional=True, is_remote=True)] = ""


@operation(
    "lists import",
    right="edit:lists",
    http="PUT /lists/{list}",
    schema="ListSheet",
    body_bytes_max=BODY_BYTES_MAX,
    refusals=CHANGES,
)
def import_list(lists: ListFiles, who: Who, request: ImportList) -> ListChange:
    """Add entries of a CSV file to a list and make them active; entries with the same value are replaced.

    Examples:
        shroff lists import blocked_cards stolen.csv
        shroff lists import blocked_cards all.csv --whole
    """
    put = list_csv.read(request.csv, who.name)
    return lists.change(request.name, put, is_whole=request.is_whole, tag=request.etag)


class ApproveListChange(OfList):
    etag: str


@operation(
    "lists approve",
    right="edit:lists",
    http="POST /lists/{list}/approve",
    schema="ListApproval",
    body_bytes_max=BODY_BYTES_MAX,
    has_command=False,
    refusals=(UnknownListError, SecondPersonError, NotRequestedError, ChangedMeanwhileError),
)
def approve_list_change(lists: ListFiles, request: ApproveListChange) -> ListChange:
    """Approve, as the second person, a requested change of a list."""
    return lists.approve(request.name, request.etag)
