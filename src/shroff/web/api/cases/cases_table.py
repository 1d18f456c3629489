"""The routes of cases, with the right that each takes and what the OpenAPI document says of it."""

from __future__ import annotations

from typing import Any, Final

from shroff.cases.files import TYPES
from shroff.cases.filters import MEANINGS
from shroff.people.access import Right
from shroff.web.api.cases import cases, silencing
from shroff.web.api.cases.case_documents import VERDICT
from shroff.web.http.routes import API, Handle, Route, Told
from shroff.web.http.schemas import TEXT, TIME, list_of, record

_ONE: Final = f"{API}/cases/{{id}}"
_BODY: Final = {400: "", 408: "The body came too slowly.", 413: "The body is too long.", 422: "It cannot be read."}
_READ: Final = {400: "", 404: "", 500: "", 503: ""}
_CHANGE: Final = {
    **_BODY,
    404: "",
    409: "Somebody else was first: the problem says who, when, and that nothing was saved.",
    500: "",
    503: "",
}
_SEEN: Final = {"If-Match": "The tag that the case was read with; left out, the newest is meant."}
_PAGED: Final = {"limit": "How many, 1 to 500; 50 where it is left out.", "cursor": "The `next` of the answer before."}
_NOTHING: Final[dict[str, Any]] = {"type": "object", "additionalProperties": False}
_WRITTEN: Final = record("text", text=TEXT)
_UNDO: Final = record("undo", undo={"type": "integer"})


def _act(verb: str, handle: Handle, summary: str, body: dict[str, Any]) -> Route:
    """Something that is done with one case."""
    may_lack = body is _NOTHING
    told = Told(summary, "The case as it is now.", body, _CHANGE, headers=_SEEN, may_lack_body=may_lack)
    return Route("POST", f"{_ONE}/{verb}", Right.WORK_CASES, handle, told)


ROUTES: Final = (
    Route(
        "GET",
        f"{API}/cases",
        Right.READ_CASES,
        cases.cases,
        Told(
            "The queue: cases that a filter finds, least time left first.",
            "A part of them, and how many there are.",
            problems={400: "", 500: "", 503: ""},
            query={**MEANINGS, **_PAGED},
        ),
    ),
    Route(
        "GET",
        _ONE,
        Right.READ_CASES,
        cases.case,
        Told("One case with its alerts, notes, history and files.", "It, and its ETag.", None, _READ),
    ),
    Route(
        "GET",
        f"{_ONE}/files/{{file}}",
        Right.READ_CASES,
        cases.file,
        Told(
            "A file of a case.",
            "Its bytes.",
            None,
            _READ,
            media_type="application/octet-stream",
        ),
    ),
    _act("claim", cases.claim, "Take a case; it stays with who took it until the lock ends.", _NOTHING),
    _act("release", cases.release, "Give a case back.", _NOTHING),
    _act(
        "assign",
        cases.assign,
        "Give a case to a user by name, or to nobody.",
        record("to", to={"type": ["string", "null"]}),
    ),
    _act("note", cases.note, "Write something down in a case.", _WRITTEN),
    Route(
        "POST",
        f"{_ONE}/attach",
        Right.WORK_CASES,
        cases.attach,
        Told(
            "Attach a file to a case: its bytes as they are, of one of the kinds that are allowed.",
            "What is kept of it.",
            {"type": "string", "format": "binary"},
            _CHANGE,
            query={"name": "The file's name."},
            required=("name",),
            body_types=tuple(TYPES),
        ),
    ),
    _act(
        "decide",
        cases.decide,
        "Answer a case: it closes at once, and labels of its events are written 8 s later, unless it is undone.",
        record(
            "verdict",
            verdict=VERDICT,
            event={"type": "string", "description": "Answers only this one of its events, such as payment/p-1."},
            reason={"type": "string", "description": "The reason of the labels."},
        ),
    ),
    _act("escalate", cases.escalate, "Put a case before those who decide what is hard.", _WRITTEN),
    _act("snooze", cases.snooze, "Put a case away until a moment.", record("until", until=TIME)),
    _act(
        "silence",
        silencing.silence,
        "Let a rule be silent for whom the case is about, for events before a time; says whether that is in force.",
        record("rule until text", rule=TEXT, until=TIME, text=TEXT),
    ),
    _act(
        "end-silence",
        silencing.end,
        "Let a rule that is silent for whom the case is about speak again; says whether that is in force.",
        record("rule", rule=TEXT),
    ),
    _act(
        "approve-silence",
        silencing.approve,
        "Let a rule be silent as somebody else asked for, where a second person approves that; by who signed in.",
        record("rule etag", rule=TEXT, etag=TEXT),
    ),
    _act("reopen", cases.reopen, "Open a closed case again.", _WRITTEN),
    _act("undo", cases.undo, "Take back what was done a moment ago, by the number it was given.", _UNDO),
    Route(
        "POST",
        f"{API}/cases/claim-next",
        Right.WORK_CASES,
        cases.claim_next,
        Told(
            "Claim the case with the least time left of those that a filter finds, and that are free or one's own; two "
            "who ask never get the same.",
            "It, or null where there is none.",
            _NOTHING,
            {**_BODY, 500: "", 503: ""},
            query={
                **MEANINGS,
                "state": f"{MEANINGS['state'].partition(' Left out')[0]} Of these, open, snoozed and escalated cases "
                "can be claimed. Left out: open ones.",
            },
            may_lack_body=True,
        ),
    ),
    Route(
        "POST",
        f"{API}/cases/bulk",
        Right.WORK_CASES,
        cases.bulk,
        Told(
            "Decide, claim or snooze many cases at once; all that can be done is.",
            "What came of each, and the number that takes all of it back.",
            record(
                "action cases",
                action={"type": "string", "enum": ["decide", "claim", "snooze"]},
                cases=list_of(record("id", id={"type": "integer"}, tag=TEXT)),
                verdict=VERDICT,
                reason=TEXT,
                until=TIME,
            ),
            {**_BODY, 500: "", 503: ""},
        ),
    ),
    Route(
        "POST",
        f"{API}/cases/undo",
        Right.WORK_CASES,
        cases.undo,
        Told(
            "Take back what was done with one or many cases a moment ago.",
            "The cases as they are now; those that somebody changed meanwhile stay as they are.",
            _UNDO,
            _CHANGE,
        ),
    ),
    Route(
        "GET",
        f"{API}/views",
        Right.READ_CASES,
        cases.views,
        Told(
            "Filters that are kept: those that everybody has, one's own, and those that others share.",
            "Each with how many cases it finds now.",
            problems={500: "", 503: ""},
        ),
    ),
    Route(
        "PUT",
        f"{API}/views/{{name}}",
        Right.READ_CASES,
        cases.put_view,
        Told(
            "Keep a filter under a name of one's own, new or changed.",
            "It, with its count.",
            record("query", query=TEXT, shared={"type": "boolean"}),
            {**_BODY, 500: "", 503: ""},
        ),
    ),
    Route(
        "DELETE",
        f"{API}/views/{{name}}",
        Right.READ_CASES,
        cases.remove_view,
        Told("Let go of a view of one's own.", "Its name.", None, _READ),
    ),
    Route(
        "GET",
        f"{API}/capacity",
        Right.READ_CASES,
        cases.capacity,
        Told(
            "How the day goes: what people can look at, what was done, when the queue is clear, second looks.",
            "By the clock of the service.",
            problems={400: "", 422: "The query cannot be read.", 500: "", 503: ""},
            query={"since": "When the day began; midnight UTC where it is left out."},
        ),
    ),
)
