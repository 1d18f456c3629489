"""Every route of the service, with the right that it takes and what the OpenAPI document says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shroff.backtest.document import ReportDocument
from shroff.people.access import Right
from shroff.web.api import entities, events, notices, operating, projects, reading
from shroff.web.api.calls import call_routes
from shroff.web.api.cases import cases_table, flags
from shroff.web.api.rules import changes
from shroff.web.api.rules.backtests import BacktestRun
from shroff.web.api.rules.rule_routes import RULE_ROUTES
from shroff.web.api.table_more import MORE_ROUTES
from shroff.web.api.table_people import PEOPLE_ROUTES
from shroff.web.http import openapi
from shroff.web.http.openapi import EVENT
from shroff.web.http.problems import Problem
from shroff.web.http.routes import API, Route, Table, Told
from shroff.web.http.schemas import Decision, Undecided, record, ref
from shroff.web.pages.table import PAGES

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions

_NOT_READY: Final = {429: "", 503: "", 500: ""}
_BODY: Final = {400: "", 408: "The body came too slowly.", 413: "The body is too long, or holds too many."}
_JSON_BODY: Final = _BODY | {415: "The body is neither JSON nor JSON lines."}
_READ: Final = {400: "", 404: "", 500: "", 503: ""}
_PAGED: Final = {"limit": "How many, 1 to 500; 50 where it is left out.", "cursor": "The `next` of the answer before."}
_DECIDED: Final = Decision | Undecided | Problem

ROUTES: Final = (
    Route(
        "GET",
        "/health/live",
        None,
        operating.live,
        Told("Whether the process answers at all.", "It does."),
    ),
    Route(
        "GET",
        "/health/ready",
        None,
        operating.ready,
        Told(
            "Whether events are taken now.",
            "They are.",
            problems={503: "They are not: `state` says what it does instead, and `ready` is false."},
        ),
    ),
    Route(
        "GET",
        "/metrics",
        Right.READ_METRICS,
        operating.metrics,
        Told("All that is counted, for Prometheus.", "In Prometheus' text form."),
    ),
    Route("GET", "/api/openapi.json", None, openapi.document),
    Route("GET", "/api/docs", None, openapi.page),
    Route(
        "POST",
        f"{API}/events/{{event}}",
        Right.SUBMIT_EVENTS,
        events.post_events,
        Told(
            "Events in, decisions out: one event, a list, or JSON lines. Each is durable before it is answered.",
            "The decision of one event; of several, for each place what one would have got, problems included.",
            EVENT,
            {
                **_JSON_BODY,
                **_NOT_READY,
                409: "The id is taken by an event with other content.",
                422: "The event is refused, with the path of each mistake.",
            },
            {"explain": "1: with the model's reasons and what is usual for its entities; of one event."},
            {"Shroff-Answered": "The outcome that who sends it answered already, since the decision came too late."},
            answer=_DECIDED,
            is_many=True,
            is_by_event=True,
        ),
    ),
    Route(
        "POST",
        f"{API}/score/{{event}}",
        Right.SCORE,
        events.score,
        Told(
            "What would be decided of an event, or of each of a list, if it came alone now. Nothing is written.",
            "The decision, without a place in the log.",
            EVENT,
            {
                **_JSON_BODY,
                **_NOT_READY,
                409: "The id is taken by an event with other content.",
                422: "The event is refused, with the path of each mistake.",
            },
            answer=_DECIDED,
            is_many=True,
            is_by_event=True,
        ),
    ),
    Route(
        "POST",
        f"{API}/labels",
        Right.WRITE_LABELS,
        events.post_labels,
        Told(
            "What was found out about events: one label, a list, or JSON lines.",
            "What became of it; of several, for each place.",
            ref("Label"),
            {**_JSON_BODY, **_NOT_READY, 422: "The label is refused, with the path of each mistake."},
            headers={
                "Shroff-Known-At": "sent: nobody said when it became known, and known_at is when it was sent. It is "
                "known at the time of its event then, where that is later."
            },
            answer=events.Labelled | Problem,
            is_many=True,
        ),
    ),
    Route(
        "GET",
        f"{API}/decisions/{{event}}/{{id}}",
        Right.READ_DECISIONS,
        reading.decision,
        Told(
            "A decision.",
            "The bytes as they were answered; and `answered`, what was answered before it came.",
            problems=_READ,
            query={"explain": "1: as `/explain` gives it."},
        ),
    ),
    Route(
        "GET",
        f"{API}/decisions/{{event}}/{{id}}/explain",
        Right.READ_DECISIONS,
        reading.explain,
        Told(
            "A decision with the model's reasons, its features beside earlier ones, and its rules in words.",
            "The decision, with `explanation`.",
            problems=_READ,
        ),
    ),
    Route(
        "GET",
        f"{API}/decisions/{{event}}/{{id}}/replay",
        Right.READ_DECISIONS,
        reading.replay,
        Told(
            "The same decision computed again from the log.",
            "Whether every byte is the same.",
            problems=_READ,
        ),
    ),
    Route(
        "GET",
        f"{API}/flags",
        Right.READ_DECISIONS,
        flags.flags,
        Told(
            "Flags of one key of an entity, the newest first.",
            "A part of them.",
            problems={400: "", 500: "", 503: ""},
            query={"entity": "Such as card.", "key": "Such as c-1.", **_PAGED},
            required=("entity", "key"),
        ),
    ),
    Route(
        "PATCH",
        f"{API}/flags/{{id}}",
        Right.WRITE_LABELS,
        flags.judge,
        Told(
            "Say whether a flag was right. It becomes the label fraud or genuine of its event, by an analyst.",
            "The flag.",
            record(
                "accuracy",
                accuracy={"type": "string", "enum": ["FALSE_ALARM", "ACCURATE_PREDICTION"]},
                reason={"type": ["string", "null"]},
            ),
            {**_BODY, 404: "", 422: "The body cannot be read.", 500: "", 503: ""},
        ),
    ),
    Route(
        "GET",
        f"{API}/entities/{{entity}}/{{key}}",
        Right.READ_DECISIONS,
        entities.entity,
        Told(
            "One key of an entity: events, features as of the last decision, flags, and whom it shares something with.",
            "Of the newest million places of the log; `next` goes on before them.",
            problems=_READ,
            query=_PAGED,
        ),
    ),
    Route(
        "GET",
        f"{API}/models",
        Right.READ_DEFINITIONS,
        projects.models,
        Told(
            "The models of the registry, the newest first.",
            "Each with what it is now.",
            problems={500: "", 503: ""},
        ),
    ),
    Route(
        "GET",
        f"{API}/rules",
        Right.READ_DEFINITIONS,
        projects.rules,
        Told(
            "The files of rules.",
            "Each with its rules.",
            problems={500: ""},
        ),
    ),
    Route(
        "GET",
        f"{API}/rules/{{file}}",
        Right.READ_DEFINITIONS,
        projects.rule_file,
        Told("One file of rules, with its text.", "It, and its ETag.", problems={404: "", 500: ""}),
    ),
    Route(
        "PUT",
        f"{API}/rules/{{file}}",
        Right.EDIT_RULES,
        projects.put_rules,
        Told(
            "A new text for a file of rules: checked with its tests, written, and put in force.",
            "It; `in_force` says whether the log has it in force by now.",
            record("text", text={"type": "string"}),
            {
                **_BODY,
                409: "A second person approves rules here: write a draft.",
                412: "The file was changed meanwhile.",
                422: "The project would have mistakes: each with file, line and column.",
                428: "If-Match is missing.",
                500: "",
                503: "",
            },
            headers={"If-Match": "The ETag of what was read.", "If-None-Match": "*: the file is new."},
        ),
    ),
    *notices.ROUTES,
    *changes.ROUTES,
    Route(
        "POST",
        f"{API}/backtests",
        Right.RUN_BACKTESTS,
        projects.backtest,
        Told(
            "What a draft of rules, a policy or a model would have decided, against what was decided.",
            "The report, as `shroff backtest --json` gives it.",
            {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "rule": {"type": ["string", "null"], "description": "The kept draft of this rule."},
                    "wait": {"type": "boolean", "description": "false: answered at once by 202, and how to ask."},
                    "rules": {"type": "object", "additionalProperties": {"type": "string"}},
                    "policy": {"type": ["string", "null"]},
                    "model": {"type": ["string", "null"]},
                    "from": {"type": ["string", "null"]},
                    "to": {"type": ["string", "null"]},
                    "as_of": {"type": ["string", "null"]},
                },
            },
            {
                **_BODY,
                404: "There is no draft of that rule.",
                422: "The draft cannot be judged.",
                500: "",
                503: "Another backtest runs, or this one takes too long.",
            },
            answer=ReportDocument,
            others={202: ("It was begun: how far it is. `Location` says where to ask for its report.", BacktestRun)},
        ),
    ),
    *cases_table.ROUTES,
    *RULE_ROUTES,
    *MORE_ROUTES,
    *PEOPLE_ROUTES,
)


def table(definitions: Definitions | None = None) -> Table:
    """The table of all routes, with those of the calls that a project declares."""
    calls = () if definitions is None else call_routes(definitions)
    return Table([*ROUTES, *PAGES, *calls])
