"""Responses of a service, as values and errors.

ClientError
├── RefusedError        the event or label: its id is taken, or it has mistakes; `errors` has the path of each
├── NotAllowedError     the key is not known, or may not do this
├── UnavailableError    not now: it was tried again until there was no more time, if it may be sent twice
└── TimedOutError       no answer within the timeout; what was sent may have been taken
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any, TypeAlias

from msgspec.json import decode as from_json

from shroff.engine.decision import Decision, Undecided, kind_of
from shroff.json_types import JsonMapping, JsonObject, TextMapping
from shroff.runtime.values import FrozenStruct, frozen

OUTCOMES = ("approve", "challenge", "review", "decline")
RETRY_S_MAX = 5.0


class ClientError(Exception):
    """A call was not answered as it was meant to be. `problem` is the problem document, where there was one."""

    def __init__(self, words: str, problem: JsonMapping | None = None) -> None:
        super().__init__(words)
        self.problem = dict(problem or {})

    @property
    def status(self) -> int:
        """The HTTP status; 0 where there was no answer."""
        return int(self.problem.get("status", 0))


class RefusedError(ClientError):
    """An event or a label was refused. The same again is refused again."""

    @property
    def errors(self) -> Sequence[JsonMapping]:
        """Each mistake: its `path` and `detail`."""
        found: Sequence[JsonMapping] = self.problem.get("errors", ())
        return found


class NotAllowedError(ClientError):
    """The key is not known, or may not do this."""


class UnavailableError(ClientError):
    """The service could not take it now, for as long as it was tried. The same again, by the same id, is harmless.

    A change without an id, such as a note or a new key, is not sent again after its answer was lost: look whether it
    was made.
    """


class TimedOutError(ClientError):
    """There was no answer in time. The same again, by the same id, is harmless."""


@frozen
class StandIn:
    """Fallback where no decision came in time: send the event again, with the same id.

    `late` is the decision to come: a future of `concurrent.futures`, or a task of `asyncio` from the `AsyncClient`.
    """

    event: str
    outcome: str
    late: Any = field(compare=False, repr=False)


class Labelled(FrozenStruct):
    """Result of a label: `appended`, `pending` until its event comes, or `duplicate`."""

    label: str
    state: str
    seq: int | None = None
    in_force: TextMapping | None = None


Answer: TypeAlias = Decision | Undecided


def answer_of(body: bytes) -> Answer:
    """A decision, or that there is none; `seq` is 0 where nothing was written. Raises: ClientError for neither."""
    try:
        if b'"decided":false' in body[-32:]:
            return from_json(body, type=Undecided)
        return from_json(body.replace(b'"seq":null', b'"seq":0', 1), type=kind_of(body))
    except ValueError as error:
        raise ClientError(f"the service answered something else than a decision: {error}") from None


def place_of(body: bytes) -> Answer | RefusedError:
    """Value at one place of a list."""
    if body.startswith(b'{"type"'):
        found = from_json(body, type=JsonObject)
        return RefusedError(str(found.get("detail", "")), found)
    return answer_of(body)


def error_of(status: int, body: bytes) -> ClientError:
    """The error that an answer stands for."""
    problem: JsonObject = {}
    try:
        problem = from_json(body, type=JsonObject)
    except ValueError:
        problem = {"status": status, "detail": "the answer is not a problem document; is this a shroff service?"}
    words = f"{problem.get('title', 'HTTP')} ({status}): {problem.get('detail', '')}"
    if status in {401, 403}:
        return NotAllowedError(words, problem)
    if status in {409, 413, 415, 422}:
        return RefusedError(words, problem)
    return UnavailableError(words, problem) if status in {429, 503} else ClientError(words, problem)


def retry_s(headers: TextMapping, tries: int) -> float:
    """How long to wait before the next try: as the service says, else a tenth of a second and then longer."""
    told = headers.get("retry-after", "")
    return min(float(told) if told.isdecimal() else 0.1 * 2**tries, RETRY_S_MAX)


def check_otherwise(otherwise: str | None) -> None:
    """Raises: ValueError where it is no outcome."""
    if otherwise is not None and otherwise not in OUTCOMES:
        raise ValueError(f"otherwise is one of {', '.join(OUTCOMES)}, not {otherwise!r}")
