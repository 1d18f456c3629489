"""The newest decisions, by outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from shroff.errors import UsageError
from shroff.people.access import Right
from shroff.project.policy import OUTCOMES
from shroff.web.http.messages import Request
from shroff.web.http.paging import cursor_of, next_of
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.decision import decision_path
from shroff.web.pages.rendering import page

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.streams.log import DecisionRow, Log
    from shroff.web.service import Service

SHOWN: Final = 50
LOOKED_AT: Final = 20_000  # places for one page, newest first
_BLOCK: Final = 2_000
NOT_APPROVED: Final = "not-approved"
WHICH: Final = (NOT_APPROVED, *OUTCOMES, "all")


@dataclass(frozen=True, slots=True)
class Line:
    """One decision of the list."""

    row: DecisionRow
    at_ms: int
    document: Mapping[str, Any]
    path: str

    @property
    def reason(self) -> str:
        reasons = self.document["reasons"]
        return str(reasons[0]["text"]) if reasons else ""


@dataclass(frozen=True, slots=True)
class DecisionsPart:
    """A part of the list; `looked_to` is the place down to which all were looked at, 0 for the first of the log."""

    lines: Sequence[Line]
    looked_to: int


async def show(service: Service, request: Request) -> Response:
    """The newest decisions, by outcome."""
    which = request.query_params.get("outcome", NOT_APPROVED)
    if which not in WHICH:
        raise ProblemError(400, "bad-query", "The query cannot be read", f"outcome: one of {', '.join(WHICH)}")
    before = cursor_of(request.query_params, int)
    part = await service.in_thread(_part, service.project, which, before)
    older = next_of(part.looked_to) if part.looked_to else None
    return page(service, request, "decisions.html", part=part, which=which, all_which=WHICH, older=older, before=before)


def _part(project: Project, which: str, before: int | None) -> DecisionsPart:
    try:
        with project.opened.reading() as log:
            return _read(log, which, log.last_seq() + 1 if before is None else before)
    except UsageError:  # there is no log yet
        return DecisionsPart([], 0)


def _read(log: Log, which: str, before: int) -> DecisionsPart:
    rows: list[DecisionRow] = []
    end, least = before - 1, max(0, before - 1 - LOOKED_AT)
    while end > least and len(rows) < SHOWN:
        start = max(least, end - _BLOCK)
        block = [row for part in log.decisions_after(start, end) for row in part if _is_wanted(row, which)]
        rows += reversed(block)
        end = start
    if len(rows) > SHOWN:
        rows = rows[:SHOWN]
        end = rows[-1].seq
    return DecisionsPart([_line(log, row) for row in rows], end)


def _is_wanted(row: DecisionRow, which: str) -> bool:
    return which == "all" or (row.outcome != "approve" if which == NOT_APPROVED else row.outcome == which)


def _line(log: Log, row: DecisionRow) -> Line:
    record = log.find(row.event, [row.id])[row.id]
    return Line(row, record.time_ms, msgspec.json.decode(row.document), decision_path(row.event, row.id))


ROUTES: Final = (Route("GET", "/decisions", Right.READ_DECISIONS, show, is_page=True, screen=Screen("Decisions", 30)),)
