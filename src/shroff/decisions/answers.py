"""What is answered for one submission: the decision, that there is none, or the problem, as one JSON object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from shroff.decisions.writer import REFUSED, UNTAKEN, Answer
from shroff.events.intake import Submission

GROUP_MAX: Final = 4_096
CONFLICT: Final = 409
UNPROCESSABLE: Final = 422


def answer_json(answer: Answer, **more: object) -> bytes:
    """The JSON of an answer; `more` stands in a problem document only, such as the line it was on."""
    if answer.document is not None:
        return answer.document
    if answer.kind in {REFUSED, UNTAKEN}:
        return msgspec.json.encode(problem_of(answer) | more)
    return msgspec.json.encode({"event": answer.type, "id": answer.id, "seq": answer.seq or None, "decided": False})


def problem_of(answer: Answer) -> dict[str, Any]:
    """The problem document (RFC 9457) of a submission that was not taken."""
    if answer.kind == UNTAKEN:
        detail = "no event type's 'when' takes this line; name its type, or write {\"payment\": {…}}"
        return {"type": "no-event-type", "title": "No event type takes this", "status": UNPROCESSABLE, "detail": detail}
    if answer.is_conflict:
        title = "This id is taken by other content"
        return {"type": "id-conflict", "title": title, "status": CONFLICT, "detail": answer.reason}
    return {"type": "invalid-event", "title": "The event was refused", "status": UNPROCESSABLE, "detail": answer.reason}


def in_groups(submissions: Iterable[Submission], has_more: Callable[[], bool]) -> Iterator[list[Submission]]:
    """The submissions in groups, each as large as it may be without waiting for input that is not there yet."""
    group: list[Submission] = []
    for one in submissions:
        group.append(one)
        if len(group) == GROUP_MAX or not has_more():
            yield group
            group = []
    if group:
        yield group
