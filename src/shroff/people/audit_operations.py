"""Operations on the audit log: list its rows, verify its hash chain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.config import ProjectPaths
from shroff.errors import ReadOnlyError, UsageError
from shroff.events.event import TimeText, time_text
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, Warn, group, operation
from shroff.people.audit import note_head, noted_head, verify
from shroff.people.store import AuditFilter, Desk, rows_of
from shroff.replay.notebook import moment_ms
from shroff.runtime.texts import TextTable, cut, many

if TYPE_CHECKING:
    from shroff.people.audit import AuditEntry

RIGHT = "read:audit"
WIDTH = 60
Value = Annotated[object, msgspec.Meta(description="The value before or after, as any JSON; null if there was none.")]

group(
    "audit",
    """Show and verify the audit log: every write by a person, a program or a command, with old and new values.

    Its rows form a hash chain, and its end is sealed with a key of the project (.shroff/hash.key).

    Examples:
        shroff audit
        shroff audit verify
        shroff audit list --who ann --from 2026-11-01 --json
    """,
)


class AuditRow(msgspec.Struct, rename={"before": "from", "after": "to"}):
    """A row of the audit log."""

    number: int
    at: TimeText
    who: str
    name: str
    via: str
    action: str
    subject: str
    before: Value
    after: Value
    previous: str
    hash: str

    @classmethod
    def of(cls, row: AuditEntry) -> AuditRow:
        old_value = from_json(row.before)
        after = from_json(row.after)
        names = (row.who, row.name, row.via, row.action, row.subject)
        return cls(row.number, time_text(row.at_ms), *names, old_value, after, row.previous.hex(), row.hash.hex())


class ListAudit(OperationRequest["AuditRows"], rename={"start": "from", "end": "to"}):
    """
    Args:
        who: The user or program: a name, or an id such as user-3.
        action: The action, or all actions with this prefix: user.role, user.
        subject: The object: 'user ann', payment/p-1.
        start (TIME): Rows from this time on; a day is its start, UTC.
        end (TIME): Rows before this time.
        limit: Maximum number, newest first.  [default: 100]
        cursor (NEXT): Continue after another page: its 'next'.
    """

    who: str = ""
    action: str = ""
    subject: str = ""
    start: Annotated[str | None, Param(flags="--from")] = None
    end: Annotated[str | None, Param(flags="--to")] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100
    cursor: str = ""


class AuditRows(OperationAnswer):
    """A page of the audit log, the newest first. `next` is the cursor of the following page."""

    rows: list[AuditRow]
    next: str | None
    NEXT: ClassVar = ("shroff audit verify",)

    TABLE: ClassVar = TextTable(
        {
            "row": "number",
            "time": "at",
            "who": "name",
            "via": "via",
            "action": "action",
            "subject": lambda row: cut(row.subject, WIDTH),
            "to": lambda row: cut(_json(row.after), WIDTH),
        },
        "rows",
        "row",
        head="{count}, newest first.",
    )


def _json(value: object) -> str:
    return "" if value is None else to_json(value, order="deterministic").decode()


@operation("audit list", right=RIGHT)
def list_audit(desk: Desk, request: ListAudit) -> AuditRows:
    """Show rows of the audit log, newest first.

    Examples:
        shroff audit list
        shroff audit list --who ann --action user --from 2026-11-01 --to 2026-12-01
        shroff audit list --subject 'user ann' --json
    """
    times = moment_ms(request.start or None, "from"), moment_ms(request.end or None, "to")
    audit_filter = AuditFilter(
        request.who.strip(), request.action.strip().removesuffix("."), request.subject.strip(), *times
    )
    if request.cursor and not (request.cursor.isascii() and request.cursor.isdecimal() and len(request.cursor) < 19):
        raise UsageError("cursor: send the 'next' of the previous response unchanged")
    before_number = int(request.cursor) if request.cursor else None
    with desk.store.look() as queries:
        rows = queries.record(audit_filter, before=before_number, limit=request.limit + 1, is_newest_first=True)
    page_rows = rows[: request.limit]
    return AuditRows(
        rows=[AuditRow.of(row) for row in page_rows], next=str(page_rows[-1].number) if rows != page_rows else None
    )


class VerifyAudit(OperationRequest["AuditCheck"]):
    pass


class AuditBreak(msgspec.Struct):
    """A row that does not match, and the reason."""

    row: int
    why: str


class AuditCheck(OperationAnswer):
    """The result. `breaks` are the first 100 rows that do not match, `rows` those before the first."""

    ok: bool
    rows: int
    breaks: list[AuditBreak]
    STATUS: ClassVar = "ok"

    def text(self) -> str:
        if self.ok:
            return f"{many(self.rows, 'row')}, none changed or removed since it was recorded."
        lines = [f"Broken at row {broken.row:,}: {broken.why}." for broken in self.breaks]
        return "\n".join([*lines, f"{many(self.rows, 'row')} before the first of them are intact."])

    def hints(self) -> Sequence[str]:
        return ["shroff audit list"] if self.ok else ("shroff audit list --limit 20", "shroff doctor")


@operation("audit verify", right=RIGHT, http="POST /audit/verify")
def verify_audit(desk: Desk, places: ProjectPaths, warn: Warn, request: VerifyAudit) -> AuditCheck:
    """Verify the hash chain of the audit log and its sealed end.

    Exit status 1 if a row was changed, removed, inserted or moved, or rows are missing at the end; the output names
    each row that does not match, 100 at most. A verified audit log is noted in .shroff/audit.head. With this note, this
    machine detects an older copy put in its place.

    Examples:
        shroff audit verify
        shroff audit verify --json
    """
    noted = noted_head(places)
    with desk.store.look() as queries:
        head = queries.head()
    upto = 0 if head is None else head.number
    checked = verify(takewhile(lambda row: row.number <= upto, rows_of(desk.store)), head, desk.store.seal, noted)
    with desk.store.look() as queries:  # rows behind the head: they came meanwhile, or nobody recorded them
        if queries.record(AuditFilter(), after=upto, limit=1) and queries.head() == head:
            checked = verify(rows_of(desk.store), head, desk.store.seal, noted)
    if not checked.breaks and head is not None and head.number and noted != (head.number, head.hash):
        try:
            note_head(places, head.number, head.hash)
        except ReadOnlyError as error:
            warn(f"{error} An older copy in its place would not be noticed by this.")
    return AuditCheck(
        ok=not checked.breaks, rows=checked.rows, breaks=[AuditBreak(*audit_break) for audit_break in checked.breaks]
    )
