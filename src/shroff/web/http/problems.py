"""Problem documents (RFC 9457): the responses to requests that fail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import NotRequired, TypedDict, Unpack, cast

from shroff.errors import (
    DefinitionError,
    LogBusyError,
    NotAllowedError,
    NotThereYetError,
    RefusalError,
    ShroffError,
    TransientError,
    UsageError,
)
from shroff.json_types import TextMapping

PROBLEMS_MAX = 100  # errors of definitions in one response
RETRY_AFTER = {"retry-after": "1"}

Path = tuple[str, str]


class Mistake(TypedDict):
    """An error: for input its path and `detail`; for the project's files the position, a message and a hint."""

    path: str
    detail: NotRequired[str]
    file: NotRequired[str]
    line: NotRequired[int]
    column: NotRequired[int]
    message: NotRequired[str]
    hint: NotRequired[str]


class ProblemMore(TypedDict, total=False):
    """Additional fields of some problem documents."""

    errors: list[Mistake]
    instance: str
    ready: bool
    state: str
    by: str | None
    at: str | None
    verdict: str | None
    tag: str
    saved: bool
    url: str


class Problem(ProblemMore):
    """A problem document (RFC 9457).

    `type` is stable, for programs. `ready` and `state` come from a service that accepts no events. `by`, `at`, `state`,
    `verdict`, `tag` and `saved` describe a case that another user changed first. `instance` refers to a failure in the
    service's own log; `url` to a conflicting job.
    """

    type: str
    title: str
    status: int
    detail: str


class ProblemError(Exception):
    """An error whose handler answers the request with this problem document."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        headers: TextMapping | None = None,
        **more: Unpack[ProblemMore],
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = headers
        self.more = more


def problem(status: int, code: str, title: str, detail: str, **more: Unpack[ProblemMore]) -> Problem:
    return {"type": code, "title": title, "status": status, "detail": detail, **more}


def at_paths(mistakes: Iterable[Path]) -> list[Mistake]:
    """Convert pairs of path and message to errors of a problem document."""
    return [{"path": path, "detail": detail} for path, detail in mistakes]


def of_error(error: ShroffError) -> ProblemError:
    """Return the problem for an error. Its texts may be shown to the client."""
    detail = str(error)
    match error:
        case NotAllowedError():
            return ProblemError(403, "not-allowed", "You do not have permission", detail)
        case NotThereYetError():
            return ProblemError(501, "not-there-yet", "Not available yet", detail)
        case DefinitionError():
            first = DefinitionError(error.problems[:PROBLEMS_MAX])
            more = len(error.problems) - PROBLEMS_MAX
            detail = f"{first}\nand {more:,} more" if more > 0 else detail
            errors = [cast("Mistake", asdict(problem)) for problem in first.problems]
            return ProblemError(422, "bad-definition", "The project's files would have errors", detail, errors=errors)
        case RefusalError():
            return ProblemError(
                error.status, error.code, error.title, detail, error.headers, **cast("ProblemMore", error.more)
            )
        case UsageError():
            return ProblemError(400, "bad-request", "Invalid request", detail)
        case LogBusyError() | TransientError():
            return ProblemError(503, "not-now", "Temporarily unavailable", detail, RETRY_AFTER)
        case _:
            return ProblemError(500, "broken", "Internal failure", detail)
