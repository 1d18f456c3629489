"""Operations on quarantine: list, show, retry and drop rejected input."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
from msgspec import UNSET, UnsetType

from shroff.errors import UsageError
from shroff.events.event import TimeText, time_text
from shroff.operations.declaration import QUARANTINED, OperationAnswer, OperationRequest, Param, group, operation
from shroff.operations.pagination import LIMIT, Cursor, Limit, cursor_of, next_of, parted
from shroff.people.access import Who
from shroff.project.definitions import Definitions
from shroff.runtime.texts import TextTable, cut, headed, many, one_line
from shroff.services.quarantine.entries import QuarantineEntries
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.streams.log import Refused

SHOWN_MAX = 50  # entries that a list shows to people; --json has all
REASON_MAX = 140  # characters of a reason in a list; 'show' and --json have all of it
WORD_MAX = 10  # longest partial word dropped at the start of a reason's end
RAW_SHOWN = 2_000  # bytes of an entry in a list
NUMBERS_MAX = 10_000
BODY_BYTES_MAX = 256 * 1024
_WITHHELD = "its bytes are not shown, since they may hold values of personal fields: add --personal"
Numbers = Annotated[
    tuple[int, ...],
    msgspec.Meta(max_length=NUMBERS_MAX),
    Param("Entries by their numbers.", metavar="[NUMBER...]", is_argument=True),
]

group(
    "quarantine",
    """Show input that was refused, with its original bytes; retry it or drop it.

    Examples:
        shroff quarantine list
        shroff quarantine retry
    """,
)


class QuarantineEntry(OperationAnswer):
    """A refused input.

    `place` is its line, `row` its number among the lines of data. `fixed_by` is the event that was accepted after the
    input was corrected and sent again, such as payment/p-1; of a label the event that got it. `raw` is null if it may
    contain personal data that the caller may not see, and `raw_base64` has bytes that are no text.
    """

    number: int
    source: str
    place: str
    row: int | None
    type: str
    reason: str
    at: TimeText
    fixed_by: str | UnsetType | None = UNSET
    raw: str | UnsetType | None = UNSET
    raw_base64: str | UnsetType = UNSET

    @property
    def where(self) -> str:
        row = f" (row {self.row})" if self.place.isdecimal() and str(self.row) != self.place else ""
        return f"{self.source}:{self.place}{row}"

    def text(self) -> str:
        raw = _WITHHELD if self.raw is UNSET and self.raw_base64 is UNSET else self.raw or f"base64: {self.raw_base64}"
        what = f"{self.number}: {self.where}, {self.type or 'no event type'}"
        return "\n".join(map(one_line, (what, f"refused at {self.at}: {self.reason}", str(raw).rstrip("\n"))))

    def hints(self) -> Sequence[str]:
        return f"shroff quarantine retry {self.number}", f"shroff quarantine drop {self.number}"


def _entry(number: int, entry: Refused, *, place: str = "", **more: Any) -> QuarantineEntry:
    from shroff.events.formats.lines import line_and_row

    line, row = line_and_row(entry.place)
    return QuarantineEntry(
        number=number,
        source=entry.source,
        place=place or line,
        row=row,
        type=entry.type,
        reason=entry.reason,
        at=time_text(entry.at_ms),
        **more,
    )


# ---- looking


class ListQuarantine(OperationRequest["AllQuarantined"]):
    pass


ENTRIES: Final = TextTable(
    {
        "number": lambda entry: str(entry.number),
        "place": "where",
        "type": ("type", "?"),
        "reason": lambda entry: f"fixed by {entry.fixed_by}" if entry.fixed_by else _short(entry.reason),
    }
)


class AllQuarantined(OperationAnswer):
    """All refused input, oldest first."""

    count: int
    fixed: int
    entries: list[QuarantineEntry]

    def text(self) -> str:
        text = many(self.count, "entry is in quarantine", "entries are in quarantine")
        text += f", {self.fixed:,} of them fixed." if self.fixed else "."
        more = self.count - SHOWN_MAX
        return ENTRIES.headed(text, self.entries[:SHOWN_MAX]) + (
            f"\n  … and {more:,} more; --json has them all." if more > 0 else ""
        )

    def hints(self) -> Sequence[str]:
        if not self.entries:
            return ["shroff verify"]
        return f"shroff quarantine show {self.entries[0].number}", "shroff quarantine retry"


@operation("quarantine list", right="mend:input")
def list_quarantine(quarantine: QuarantineEntries, log: Log, request: ListQuarantine) -> AllQuarantined:
    """List refused input with the reason, oldest first.

    Input that was corrected and sent again is marked as fixed, with the accepted event.

    Examples:
        shroff quarantine list
    """
    from shroff.services.quarantine.entries import refused_parts

    shown, fixed = list[QuarantineEntry](), dict[int, str]()
    for entries in refused_parts(log):
        fixed |= quarantine.fixed(log, entries)
        shown += [_entry(number, entry, fixed_by=fixed.get(number)) for number, entry in entries]
    return AllQuarantined(count=len(shown), fixed=len(fixed), entries=shown)


class ShowNewestQuarantined(OperationRequest["QuarantinePage"]):
    limit: Limit = LIMIT
    cursor: Cursor = ""


class QuarantinePage(OperationAnswer):
    """Each entry with its reason. Its bytes are included unless they may contain personal data."""

    entries: list[QuarantineEntry]
    next: str | None


@operation("quarantine newest", right="mend:input", http="GET /quarantine", has_command=False)
def newest_quarantined(
    quarantine: QuarantineEntries, definitions: Definitions, who: Who, request: ShowNewestQuarantined
) -> QuarantinePage:
    """List quarantined input, newest first."""
    before = cursor_of({"cursor": request.cursor}, int)
    is_withheld = definitions.events.has_personal and "read:personal" not in who.rights
    page, last = parted(quarantine.newest(request.limit + 1, before), request.limit)
    entries = [
        _entry(
            number,
            entry,
            place=entry.place,
            fixed_by=fixed_by,
            raw=None if is_withheld else entry.raw[:RAW_SHOWN].decode("utf-8", "replace"),
        )
        for number, entry, fixed_by in page
    ]
    return QuarantinePage(entries=entries, next=None if last is None else next_of(last[0]))


class ShowQuarantined(OperationRequest[QuarantineEntry]):
    """
    Args:
        number: The entry.
        is_personal: Show bytes that may contain personal fields.
    """

    number: int
    is_personal: Annotated[bool, Param(flags="--personal")] = False


@operation("quarantine show", right="mend:input")
def show_quarantined(log: Log, definitions: Definitions, request: ShowQuarantined) -> QuarantineEntry:
    """Show one entry with its original bytes.

    Values of hashed fields are shown as hashes. In a project with personal fields, the bytes are shown only with
    --personal.

    Examples:
        shroff quarantine show 3
    """
    from shroff.worker.quarantine_retry import known_numbers

    ((number, entry),) = log.quarantine.entries(known_numbers(log, [request.number]))
    if definitions.events.has_personal and not request.is_personal:
        return _entry(number, entry)
    try:
        return _entry(number, entry, raw=entry.raw.decode())
    except UnicodeDecodeError:
        return _entry(number, entry, raw_base64=base64.b64encode(entry.raw).decode())


# ---- changing


class RetryQuarantined(OperationRequest["RetriedEntries"]):
    """Entries by their numbers; a request over HTTP names at least one.

    Args:
        files (FILE): A CSV file with the name of the lines' file: its column names are used instead of those they came
            with.
    """

    numbers: Numbers
    files: Annotated[tuple[Path, ...], Param(flags="--file", is_local=True)] = ()


class RetriedEntry(msgspec.Struct):
    """The result of one retried entry; `reason` says why it stays."""

    number: int
    source: str
    place: str
    outcome: str
    reason: str


class RetriedEntries(OperationAnswer):
    """The result for each entry."""

    read: int
    taken: int
    quarantined: int
    entries: list[RetriedEntry]

    def text(self) -> str:
        from shroff.log.writer import REFUSED

        counts = f"{self.taken:,} accepted, {self.quarantined:,} refused again"
        stays = [entry for entry in self.entries if entry.outcome == REFUSED]
        rows = [(str(stay.number), f"{stay.source}:{stay.place}", _short(stay.reason)) for stay in stays[:SHOWN_MAX]]
        return headed(f"{many(self.read, 'entry', 'entries')} retried: {counts}.", rows, ("number", "place", "reason"))

    def hints(self) -> Sequence[str]:
        return ["shroff quarantine drop NUMBER" if self.quarantined else "shroff verify"]

    def exit_status(self) -> int:
        return QUARANTINED if self.quarantined else 0


@operation(
    "quarantine retry",
    right="mend:input",
    http="POST /quarantine/retry",
    schema="QuarantineNumbers",
    body_bytes_max=BODY_BYTES_MAX,
)
def retry_quarantined(quarantine: QuarantineEntries, who: Who, request: RetryQuarantined) -> RetriedEntries:
    """Retry entries with the current project, all of them if no number is given; refused entries stay.

    Examples:
        shroff quarantine retry
        shroff quarantine retry 3 4
        shroff quarantine retry --file march.csv
    """
    if not request.numbers and who.kind in {"user", "key"}:  # only commands and programs may mean all entries by this
        raise UsageError(f"name 1 to {NUMBERS_MAX:,} entries of quarantine by their numbers.")
    tried = quarantine.retry(request.numbers, request.files)
    stays = sum(entry.stays for entry in tried)
    entries = [msgspec.convert(entry, RetriedEntry, from_attributes=True) for entry in tried]
    return RetriedEntries(read=len(tried), taken=len(tried) - stays, quarantined=stays, entries=entries)


class DropQuarantined(OperationRequest["DroppedEntries"]):
    """Entries by their numbers; a request over HTTP names at least one.

    Args:
        is_all: Drop every entry.
    """

    numbers: Numbers
    is_all: Annotated[bool, Param(flags="--all", is_local=True)] = False


class DroppedEntries(OperationAnswer):
    """The number of dropped entries."""

    dropped: int
    NEXT: ClassVar = ("shroff quarantine list",)

    def text(self) -> str:
        return f"{many(self.dropped, 'entry', 'entries')} dropped."


@operation(
    "quarantine drop",
    right="mend:input",
    http="POST /quarantine/drop",
    schema="QuarantineNumbers",
    body_bytes_max=BODY_BYTES_MAX,
)
def drop_quarantined(quarantine: QuarantineEntries, request: DropQuarantined) -> DroppedEntries:
    """Drop quarantined entries for good.

    Examples:
        shroff quarantine drop 3 4
        shroff quarantine drop --all
    """
    if bool(request.numbers) == request.is_all:
        raise UsageError("name the numbers to drop, or --all for every entry.")
    return DroppedEntries(dropped=quarantine.drop(request.numbers))


def _short(reason: str) -> str:
    """Shorten a reason to one line: its beginning, which names the field, and its end, which has the remedy.

    >>> _short(80 * "x " + "commas " + 66 * "y").partition("…")[2].rstrip("y")
    ' '
    """
    line = one_line(reason)
    begin, end = cut(line, REASON_MAX // 2), line[-REASON_MAX // 2 :]
    return line if len(line) <= REASON_MAX else f"{begin} {end[end.find(' ', 0, WORD_MAX) + 1 :].lstrip()}"
