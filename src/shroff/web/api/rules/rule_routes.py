"""The API of rules, their drafts and backtests, for the table of all routes."""

from __future__ import annotations

from typing import Any, Final

from shroff.people.access import Right
from shroff.web.api import projects
from shroff.web.api.rules import drafts, names, rules
from shroff.web.http.routes import API, Route, Told
from shroff.web.http.schemas import TEXT, record

_BODY: Final = {400: "", 408: "The body came too slowly.", 413: "The body is too long, or holds too many."}
_READ: Final = {404: "", 500: "", 503: ""}
_STEP: Final = {
    **_BODY,
    **_READ,
    403: "A second person has to approve it, or who asks wrote some of it.",
    412: "The draft was changed meanwhile.",
    422: "It has mistakes: each with its line and column.",
}
_PAGED: Final = {"limit": "How many, 1 to 500; 50 where it is left out.", "cursor": "The `next` of the answer before."}
_MATCH: Final = {"If-Match": "The ETag of what was read.", "If-None-Match": "*: the draft is new."}
_WHICH: Final = {
    "type": "object",
    "required": ["etag"],
    "additionalProperties": False,
    "properties": {"etag": TEXT, "file": TEXT},
}
_TEXT: Final = record("text", text=TEXT)
_BACK: Final = {
    "type": "object",
    "required": ["seq", "reason"],
    "additionalProperties": False,
    "properties": {"seq": {"type": "integer", "minimum": 0}, "reason": TEXT},
}


def _draft(method: str, path: str, handle: Any, told: Told, right: Right = Right.EDIT_RULES) -> Route:
    return Route(method, f"{API}/rules/{{rule}}/draft{path}", right, handle, told)


RULE_ROUTES: Final = (
    Route(
        "GET",
        f"{API}/records",
        Right.READ_DEFINITIONS,
        rules.records,
        Told(
            "Every rule with its state, and what it did in the newest part of the log.",
            "Those that were taken out stand last.",
            problems={500: "", 503: ""},
        ),
    ),
    Route(
        "GET",
        f"{API}/rules/{{rule}}/record",
        Right.READ_DEFINITIONS,
        rules.record,
        Told("One rule, read back in words, and what it did.", "It.", problems=_READ),
    ),
    Route(
        "GET",
        f"{API}/rules/{{rule}}/hits",
        Right.READ_DECISIONS,
        rules.hits,
        Told(
            "The newest events at which a rule hit, and what was found out about them.",
            "A part of them.",
            problems={400: "", **_READ},
            query=_PAGED,
        ),
    ),
    Route(
        "GET",
        f"{API}/rules/{{rule}}/history",
        Right.READ_DEFINITIONS,
        rules.history,
        Told(
            "What a rule said at each time, and who put it in force.",
            "Newest first; the text is null where the rule was taken out.",
            problems=_READ,
        ),
    ),
    Route(
        "POST",
        f"{API}/rules/{{rule}}/back",
        Right.EDIT_RULES,
        rules.back,
        Told(
            "Put a rule back to what it said from a place of the log on; 0 takes it out.",
            "In which file it stands, and whether the log has it in force by now.",
            _BACK,
            {**_BODY, **_READ, 409: "It is taken out already.", 422: "It does not fit the project now, or no reason."},
        ),
    ),
    Route(
        "GET",
        f"{API}/drafts",
        Right.READ_DEFINITIONS,
        drafts.drafts,
        Told("All drafts of rules.", "Without their texts.", problems=_READ),
    ),
    _draft(
        "GET",
        "",
        drafts.draft,
        Told("One draft, with its text.", "It, and its ETag.", problems=_READ),
        Right.READ_DEFINITIONS,
    ),
    _draft(
        "PUT",
        "",
        drafts.put_draft,
        Told(
            "Keep a text as the draft of a rule, mistakes and all. Nothing comes into force.",
            "It, its ETag, and what is to be said of it.",
            _TEXT,
            {
                **_BODY,
                412: "It was changed meanwhile.",
                422: "The body cannot be read.",
                428: "If-Match is missing.",
                500: "",
                503: "",
            },
            headers=_MATCH,
        ),
    ),
    _draft(
        "DELETE",
        "",
        drafts.delete_draft,
        Told(
            "Throw a draft away, and its trial.",
            "Which it was.",
            problems={**_READ, 400: "", 412: "It was changed meanwhile.", 422: "", 428: "If-Match is missing."},
            headers={"If-Match": "The ETag of what was read."},
        ),
    ),
    _draft(
        "POST",
        "/check",
        drafts.check,
        Told(
            "What is to be said of a text that nobody kept yet: mistakes with their places, tests, and it in words.",
            "`ok` says whether it could come into force.",
            _TEXT,
            {**_BODY, 422: "The body cannot be read.", 500: "", 503: ""},
        ),
        Right.READ_DEFINITIONS,
    ),
    _draft(
        "POST",
        "/shadow",
        drafts.post_shadow,
        Told(
            "Put a draft in shadow: a new rule as it is, a change of one as a trial under an id of its own.",
            "In which file it stands, and whether the log has it in force by now.",
            _WHICH,
            _STEP,
        ),
    ),
    _draft(
        "POST",
        "/approve",
        drafts.post_approve,
        Told("Approve a draft that others wrote.", "The draft.", _WHICH, _STEP),
        Right.APPROVE_RULES,
    ),
    _draft(
        "POST",
        "/activate",
        drafts.post_activate,
        Told(
            "Put a draft in force, in the place of the rule and of its trial.",
            "In which file it stands, and whether the log has it in force by now.",
            _WHICH,
            _STEP,
        ),
    ),
    Route(
        "GET",
        f"{API}/names",
        Right.READ_DEFINITIONS,
        names.names,
        Told(
            "What an expression of a rule may name: features, fields, functions, lists and tables, with their types.",
            "Each with what it means.",
            problems={500: "", 503: ""},
        ),
    ),
    Route(
        "GET",
        f"{API}/backtests",
        Right.READ_DEFINITIONS,
        projects.backtests,
        Told(
            "Backtests that were begun without waiting for them.",
            "The newest first, without their reports.",
            problems={500: "", 503: ""},
        ),
    ),
    Route(
        "GET",
        f"{API}/backtests/{{id}}",
        Right.READ_DEFINITIONS,
        projects.one_backtest,
        Told("How far a backtest is, and its report once it is done.", "It.", problems=_READ),
    ),
)
