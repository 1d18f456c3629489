"""Routes of what stands beside deciding: what happens now, the lists, people, the record, and how all of it is."""

from __future__ import annotations

from typing import Final

from shroff.app.models.promoting import Deployment
from shroff.people.access import Right
from shroff.web.api import health, live, models
from shroff.web.api.cases import labels
from shroff.web.api.rules import lists, thresholds
from shroff.web.http.routes import API, Route, Told
from shroff.web.http.schemas import list_of, record

_TEXT: Final = {"type": "string"}
_CUT: Final = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_NUMBERS: Final = record("numbers", numbers=list_of({"type": "integer"}))
_SECOND: Final = "A second person approves silences here."
_MENDED: Final = {
    400: "One of them is not there.",
    408: "The body came too slowly.",
    413: "The body is too long.",
    422: "The body cannot be read.",
    500: "",
    503: "",
}
PAGED: Final = {"limit": "How many, 1 to 500; 50 where it is left out.", "cursor": "The `next` of the answer before."}
_WRITTEN: Final = {
    400: "",
    404: "",
    408: "The body came too slowly.",
    409: _SECOND,
    413: "The body is too long.",
    422: "The body, or the list as it would be, has mistakes.",
    500: "",
    503: "",
}

MORE_ROUTES: Final = (
    Route(
        "GET",
        f"{API}/live",
        Right.READ_DECISIONS,
        live.live,
        Told(
            "What was taken and decided in a period up to the newest event, how quickly, and what waits.",
            "Its figures, as the screen Live shows them.",
            problems={400: "", 500: "", 503: ""},
            query={"period": "1h, 24h or 7d; 24h where it is left out."},
        ),
    ),
    Route(
        "GET",
        f"{API}/lists",
        Right.READ_DEFINITIONS,
        lists.all_lists,
        Told("The lists that rules and features read.", "Each with what reads it.", problems={500: ""}),
    ),
    Route(
        "GET",
        f"{API}/lists/{{list}}",
        Right.READ_DEFINITIONS,
        lists.one_list,
        Told("The entries of a list.", "In the order of its file.", problems={404: "", 500: ""}),
    ),
    Route(
        "PUT",
        f"{API}/lists/{{list}}",
        Right.EDIT_LISTS,
        lists.put_sheet,
        Told(
            "Many entries of a list as CSV, in place of those of the same value; `is_whole` for all there are to be.",
            "How many were added, changed and removed, and whether the log has it in force by now.",
            record("csv", csv={"type": "string"}, is_whole={"type": "boolean"}),
            _WRITTEN,
        ),
    ),
    Route(
        "POST",
        f"{API}/lists/{{list}}/entries",
        Right.EDIT_LISTS,
        lists.put_entry,
        Told(
            "An entry of a list, in place of the one of its value. Who added it is who asks.",
            "How many were added and changed, and whether the log has it in force by now.",
            record("value", value=_TEXT, note=_TEXT, expires_at=_TEXT),
            _WRITTEN,
        ),
    ),
    Route(
        "POST",
        f"{API}/lists/{{list}}/approve",
        Right.EDIT_LISTS,
        lists.approve,
        Told(
            "Approve, as a second person, a change of a list that somebody else asked for.",
            "How many were added, changed and removed, and whether the log has it in force by now.",
            record("etag", etag=_TEXT),
            {**_WRITTEN, 403: "Who asked for it, or a key.", 404: "Nobody asks for it."},
        ),
    ),
    Route(
        "DELETE",
        f"{API}/lists/{{list}}/entries/{{value}}",
        Right.EDIT_LISTS,
        lists.remove_entry,
        Told(
            "Take a value out of a list.",
            "How many were removed, and whether the log has it in force by now.",
            problems={400: "The value is not in the list.", 404: "", 409: _SECOND, 422: "", 500: "", 503: ""},
        ),
    ),
    Route(
        "GET",
        f"{API}/health",
        Right.READ_METRICS,
        health.health,
        Told(
            "What `shroff doctor` says of this project, at most a minute old; its sinks; what has drifted.",
            "Each finding with what to do.",
            problems={500: "", 503: ""},
        ),
    ),
    Route(
        "GET",
        f"{API}/quarantine",
        Right.MEND_INPUT,
        health.quarantine,
        Told(
            "Input that was refused, the newest first.",
            "Each with its reason, and its bytes unless they may hold what is personal.",
            problems={400: "", 500: "", 503: ""},
            query=PAGED,
        ),
    ),
    Route(
        "POST",
        f"{API}/quarantine/retry",
        Right.MEND_INPUT,
        health.retry,
        Told(
            "Bring entries of quarantine back in, as the project is now.",
            "What became of each.",
            _NUMBERS,
            _MENDED,
        ),
    ),
    Route(
        "POST",
        f"{API}/quarantine/drop",
        Right.MEND_INPUT,
        health.drop,
        Told("Remove entries of quarantine for ever.", "How many there were.", _NUMBERS, _MENDED),
    ),
    Route(
        "GET",
        f"{API}/models/{{id}}",
        Right.READ_DEFINITIONS,
        models.one_model,
        Told(
            "One model: its gates, what was measured, its promotions, its manifest.",
            "Everything that is known of it.",
            problems={404: "", 500: "", 503: ""},
        ),
    ),
    Route(
        "POST",
        f"{API}/models/{{id}}",
        Right.PROMOTE_MODELS,
        models.change_model,
        Told(
            "Promote a model, go back from it, put it in shadow or take it out; with a reason, which is recorded.",
            "What became of it, and whether the log has it in force by now.",
            record("do reason", do=_TEXT, reason=_TEXT, waive=list_of(_TEXT)),
            {status: words for status, words in _WRITTEN.items() if status != 409},
            others={409: ("It failed gates that nobody waives: the answer names them.", Deployment)},
        ),
    ),
    Route(
        "GET",
        f"{API}/thresholds",
        Right.READ_DEFINITIONS,
        thresholds.thresholds,
        Told(
            "Cut-offs of the score that cost least, as `shroff thresholds` gives them; by other costs, too.",
            "What they cost, and the curve. The ETag is that of policy.yaml.",
            problems={400: "There is no model, or no costs, to weigh by.", 404: "", 500: "", 503: ""},
            query={
                "event": "The event type, where models of several are in force.",
                "model": "A model that is not in force.",
                "missed": "Of what policy.yaml says that a missed fraud costs, so many per cent.",
                "false_decline": "What a false decline costs.",
                "review": "What a review costs.",
                "reviews_a_day": "How many reviews a day people have time for.",
                "review_at": "A cut-off to try: from here on a score is reviewed.",
                "decline_at": "The same: declined.",
            },
        ),
    ),
    Route(
        "PUT",
        f"{API}/thresholds/{{event}}",
        Right.SET_THRESHOLDS,
        thresholds.put_thresholds,
        Told(
            "Other cut-offs of the score of an event type, written into policy.yaml; with a reason, which is recorded.",
            "Whether the log has them in force by now.",
            record("reason", reason=_TEXT, review_at=_CUT, decline_at=_CUT),
            _WRITTEN | {412: "policy.yaml was changed meanwhile.", 428: "If-Match is missing."},
            headers={"If-Match": "The ETag of what was read."},
        ),
    ),
    Route(
        "GET",
        f"{API}/labels",
        Right.READ_DECISIONS,
        labels.labels,
        Told(
            "What labels say together: how many came, how fast, contradictions, those that wait, customers' answers.",
            "Of the log up to `counted_to`.",
            problems={500: "", 503: ""},
        ),
    ),
)
