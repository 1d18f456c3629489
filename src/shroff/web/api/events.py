"""Events and labels in, decisions out: the routes that programs call all day."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple, NotRequired, TypedDict

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from starlette.responses import Response

from shroff.events.intake import undated
from shroff.events.mapping import LABEL
from shroff.events.readers import ID_LENGTH_MAX
from shroff.log.columns.lines import LIVE_MIN
from shroff.log.writer import DUPLICATE, REFUSED, UNTAKEN, WAITING, Answer
from shroff.operations.pagination import BadQueryError
from shroff.people.access import Right
from shroff.people.audit import Act
from shroff.project.policy import OUTCOMES
from shroff.web.api import override
from shroff.web.http.messages import JSON, LINES, PROBLEM, Request, WrittenJson
from shroff.web.http.openapi import EVENT
from shroff.web.http.problems import Problem, ProblemError, at_paths
from shroff.web.http.routes import api
from shroff.web.http.schemas import Decision, Label, Undecided
from shroff.worker.answers import CONFLICT, UNPROCESSABLE, foreseen_json, problem_of
from shroff.worker.inbox import LABELS, ROWS_MAX, answers_of, labels_request
from shroff.worker.ingest import batches
from shroff.worker.request_bodies import Mistakes, RequestReader, TooMuchError
from shroff.worker.writer_tasks import SCORED_MAX

if TYPE_CHECKING:
    from shroff.events.intake import Submission
    from shroff.events.validation import LabelInput
    from shroff.people.access import Who
    from shroff.web.service import Service

JSON_TYPES = frozenset([JSON, "", "text/json"])
LINE_TYPES = frozenset([LINES, "application/jsonl", "application/json-lines", "application/x-jsonlines"])
ANSWERED = "shroff-answered"
KNOWN_AT = "shroff-known-at"
SENT = "sent"
LABELS_TOLD = 20  # of those of one request that the record shows
READ_AT_ONCE = 16 * 1024  # bytes read on the event loop; longer bodies would delay others
PARTS_AT_ONCE = LIVE_MIN - 2  # commas and line ends of a list: so many events are read one by one
EVENTS_AT_ONCE = 50  # each takes 80 µs where it has mistakes; 10,000 empty ones take 30 KB and 0.8 s
SHOWN_AT_ONCE = 200  # answers
ONE_BYTES_MAX = 1024 * 1024  # an event's texts are at most 65,536 bytes each
_PATH = re.compile(r"([\w.]+): ")
_SPACES = b" \t\r\n"


class _Body(NamedTuple):
    """The body of a request: one event, or several as a JSON list or in lines."""

    raw: bytes
    is_list: bool
    are_lines: bool


class LabelInForce(TypedDict):
    """The current label of an event."""

    verdict: str
    source: str


class Labelled(TypedDict):
    """The result of recording a label."""

    label: str
    state: Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["appended", "pending", "duplicate"]})]
    seq: int | None
    in_force: NotRequired[LabelInForce]


async def post_events(service: Service, request: Request) -> Response:
    reader = service.writer.reader_now()
    type_name = _type_name(reader, request)
    answered = request.headers.get(ANSWERED, "")
    if answered and answered not in OUTCOMES:
        raise ProblemError(
            400, "bad-header", "A header cannot be read", f"Shroff-Answered: one of {', '.join(OUTCOMES)}"
        )
    is_explained = is_explanation_asked(request)
    response = await _taken(service, request, reader, type_name, is_explained=is_explained)
    if answered and response.status_code == 200 and response.body[:1] == b"{" and response.media_type == JSON:
        response = Response(await override.kept(service, request.who, bytes(response.body), answered), media_type=JSON)
    if is_explained and response.status_code == 200:
        return await _explained(service, response)
    return response


def _type_name(reader: RequestReader, request: Request) -> str:
    """The event type in the path. Raises: ProblemError 404 where there is none of this name."""
    name = request.path_params["event"]
    if name not in reader.definitions.events.types:
        there = ", ".join(reader.types)
        raise ProblemError(404, "no-event-type", "There is no such event type", f"event types are {there}")
    return str(name)


async def post_labels(service: Service, request: Request) -> Response:
    """One label, a list or JSON lines: asked of the process that leads the log, and recorded with who asked."""
    # Whether `known_at` is when the labels were sent, since nobody said when they became known
    said = request.headers.get(KNOWN_AT, "")
    if said not in {"", SENT}:
        raise ProblemError(400, "bad-header", "A header cannot be read", f"Shroff-Known-At: {SENT}")
    reader = service.writer.label_reader()
    is_as_sent = said == SENT
    body = await _body(request)
    submissions, mistakes = await _read(service, reader, LABEL, body, request.who.id)
    check_rate(service, request, len(submissions))
    if is_as_sent:
        submissions = [undated(submission) for submission in submissions]
    answers = await taken_labels(service, request.who, submissions)
    return await _listed(service, label_shown, answers, mistakes, body)


async def taken_labels(service: Service, who: Who, submissions: Sequence[Submission]) -> list[Answer]:
    """Results of labels; the request is in the audit log, with those that are labels."""
    if not submissions:
        return []
    named = [submission.label for submission in submissions if submission.label is not None]
    subject = _labelled(named[0]) if len(named) == 1 else f"{len(named)} labels"
    after = [{"event": _labelled(label), "verdict": label.verdict, "source": label.source} for label in named]
    act = Act(who, "label.add", subject, None, after[:LABELS_TOLD]) if named else None
    places = service.project.definitions.settings.money_places
    bodies = [labels_request(part, places) for part in batches(submissions, ROWS_MAX)]
    results = await service.writer.ask(act, LABELS, bodies)
    return [answer for result in results for answer in answers_of(result)]


def _labelled(label: LabelInput) -> str:
    """Which event a label names: `payment/p-1`; or by fields that are unique, those that are hashed by their hashes."""
    if label.event_id or not label.unique:
        return f"{label.event_type}/{label.event_id}"
    return f"{label.event_type} with {', '.join(f'{name} {text[:ID_LENGTH_MAX]}' for name, text in label.unique)}"


async def score(service: Service, request: Request) -> Response:
    reader = service.writer.reader_now()
    type_name = _type_name(reader, request)
    if is_explanation_asked(request):
        words = "omit explain=1: only decisions in the log can be explained"
        raise ProblemError(400, "bad-query", "A score cannot be explained", words)
    body = await _body(request)
    submissions, mistakes = await _read(service, reader, type_name, body, request.who.id)
    if len(submissions) > SCORED_MAX:
        words = f"at most {SCORED_MAX} events are scored in one request, and this one has {len(submissions)}"
        raise ProblemError(413, "too-many", "There are too many events", words)
    check_rate(service, request, len(submissions))
    answers = await service.writer.foreseen(submissions, reader)
    seen = [shown(*answered) for answered in zip(answers, mistakes, strict=True)]
    found = [(status, foreseen_json(document) if status == 200 else document) for status, document in seen]
    return _response(found, body)


# ---- taking


def is_explanation_asked(request: Request) -> bool:
    """Whether the decision is to come with its explanation: `?explain=1`. Raises: ProblemError where it says else."""
    found = request.query_params.get("explain", "") if request.scope["query_string"] else ""
    if found not in {"", "0", "1"}:
        raise BadQueryError("explain: it is 1, or left out")
    return found == "1"


async def _taken(
    service: Service, request: Request, reader: RequestReader, type_name: str, *, is_explained: bool
) -> Response:
    body = await _body(request)
    if body.is_list and is_explained:
        words = "omit explain=1, or send one event; no event of this request was accepted"
        raise ProblemError(400, "bad-query", "Only one event is explained at a time", words)
    submissions, mistakes = await _read(service, reader, type_name, body, request.who.id)
    check_rate(service, request, len(submissions))
    answers = await service.writer.decided(submissions, reader) if submissions else []
    return await _listed(service, shown, answers, mistakes, body)


async def _listed(
    service: Service,
    show: Callable[[Answer, Mistakes], tuple[int, bytes]],
    answers: Sequence[Answer],
    mistakes: Sequence[Mistakes],
    body: _Body,
) -> Response:
    if not body.is_list:
        return _response([show(answers[0], mistakes[0])], body)

    def made() -> Response:
        known: dict[tuple[str, bool, int], tuple[int, bytes]] = {}  # each refusal is written once

        def once(answer: Answer, own: Mistakes) -> tuple[int, bytes]:
            if answer.kind != REFUSED:
                return show(answer, own)
            key = answer.reason, answer.is_conflict, id(own)
            if key not in known:
                known[key] = show(answer, own)
            return known[key]

        found = [once(*each) for each in zip(answers, mistakes, strict=True)]
        return _response(found, body)

    return made() if len(answers) <= SHOWN_AT_ONCE else await service.written(made)


async def _body(request: Request) -> _Body:
    """The body. Raises: ProblemError with 415 for what is no JSON."""
    media_type = request.media_type
    are_lines = media_type in LINE_TYPES
    if not are_lines and media_type not in JSON_TYPES:
        accepted = {"accept-post": f"{JSON}, {LINES}"}
        words = "send one event or a list as application/json, or JSON lines as application/x-ndjson"
        raise ProblemError(415, "wrong-media-type", "Unsupported content type", words, accepted)
    raw = await request.body()
    is_list = are_lines or raw.lstrip(_SPACES).startswith(b"[")
    if not is_list and len(raw) > ONE_BYTES_MAX:
        words = f"one event has at most {ONE_BYTES_MAX:,} bytes"
        raise ProblemError(413, "too-long", "The body is too long", words)
    return _Body(raw, is_list, are_lines)


async def _read(
    service: Service, reader: RequestReader, type_name: str, body: _Body, place: str
) -> tuple[Sequence[Submission], Sequence[Mistakes]]:
    raw = body.raw
    if not body.is_list:
        own: list[tuple[str, str]] = []
        if len(raw) <= READ_AT_ONCE:
            return [reader.one(type_name, raw, place, own)], [own]
        return [await service.read(reader.one, type_name, raw, place, own)], [own]
    read = partial(reader.many, type_name, raw, place, are_lines=body.are_lines)
    try:
        parts = raw.count(b",") + raw.count(b"\n")
        is_short = len(raw) <= READ_AT_ONCE and parts <= PARTS_AT_ONCE and raw.count(b"{") <= EVENTS_AT_ONCE
        return read() if is_short else await service.read(read)
    except TooMuchError as error:
        raise ProblemError(UNPROCESSABLE, "bad-list", "The list cannot be read", str(error)) from None


def check_rate(service: Service, request: Request, events: int) -> None:
    """Raises: ProblemError with 429 where this key has sent too much."""
    check_rate_of(service, request.who.id, events)


def check_rate_of(service: Service, sender: str, events: int) -> None:
    """Like `check_rate`, for a sender by name."""
    wait_s = service.pace.wait_s_of(sender, events)
    if wait_s > 0:
        headers = {"retry-after": str(max(1, round(wait_s + 0.5)))}
        words = (
            f"this sender may send {service.limits.rate:,.0f} events a second; no event of this request was accepted"
        )
        raise ProblemError(429, "too-fast", "Rate limit exceeded", words, headers)


# ---- answering


def shown(answer: Answer, mistakes: Mistakes = ()) -> tuple[int, bytes]:
    """The status and the JSON of what became of an event."""
    if answer.document is not None:
        return 200, answer.document
    if answer.kind in {REFUSED, UNTAKEN}:
        return _problem(answer, mistakes)
    found: Undecided = {"event": answer.type, "id": answer.id, "seq": answer.seq or None, "decided": False}
    return 200, to_json(found)


def label_shown(answer: Answer, mistakes: Mistakes = ()) -> tuple[int, bytes]:
    """The same of a label."""
    if answer.kind in {REFUSED, UNTAKEN}:
        return _problem(answer, mistakes)
    state = {DUPLICATE: "duplicate", WAITING: "pending"}.get(answer.kind, "appended")
    if answer.kind == WAITING and answer.seq:
        state = "appended"
    found: Labelled = {"label": answer.id, "state": state, "seq": answer.seq or None}
    if answer.in_force is not None:
        found["in_force"] = {"verdict": answer.in_force[0], "source": answer.in_force[1]}
    return 200, to_json(found)


def _problem(answer: Answer, mistakes: Mistakes) -> tuple[int, bytes]:
    document = problem_of(answer)
    if document["status"] != CONFLICT:
        at = _PATH.match(answer.reason)
        found = mistakes or ([(at[1], answer.reason[at.end() :])] if at else [("", answer.reason)])
        document["errors"] = at_paths(found)
    return int(document["status"]), to_json(document)


def _response(found: Sequence[tuple[int, bytes]], asked: _Body) -> Response:
    if not asked.is_list:
        status, body = found[0]
        return WrittenJson(body, status, media_type=JSON if status == 200 else PROBLEM)
    if asked.are_lines:
        return Response(b"".join(body + b"\n" for _, body in found), media_type=LINES)
    bodies = [body for _, body in found] or [b""]
    bodies[0] = b"[" + bodies[0]
    bodies[-1] += b"]"  # here, since an answer of megabytes would be copied once more for each bracket
    return WrittenJson(b",".join(bodies))


async def _explained(service: Service, response: Response) -> Response:
    document = from_json(response.body)
    if "outcome" not in document:
        return response
    event = document["event"]
    id_ = document["id"]
    found = await service.in_thread(service.project.explain, f"{event}/{id_}")
    return Response(await service.in_thread(override.told, service, event, id_, found.json()), media_type=JSON)


_SENT = {
    413: "The body is too long, or has too many items.",
    415: "The body is neither JSON nor JSON lines.",
    422: "The event is refused; the problem has the path of each error.",
    429: "",
}
_DECIDED = Decision | Undecided | Problem
ROUTES = (
    api("POST", "/events/{event}", Right.SUBMIT_EVENTS, post_events)(
        "Send events and get decisions: one event, a list, or JSON lines. Each event is durable before the response.",
        "The decision. For several events, a list in the same order; each item is a decision or a problem.",
        EVENT,
        _SENT | {409: "The log has an event with this id and other content."},
        {"explain": "1: include the model's reasons and the entity's typical ranges; only for a single event."},
        {
            "Shroff-Answered": "Override: the outcome that the sender already gave its customer, because the "
            "decision came too late."
        },
        answer=_DECIDED,
        is_many=True,
        is_by_event=True,
    ),
    api("POST", "/score/{event}", Right.SCORE, score)(
        "Score an event, or each of a list, as if it arrived alone now. Nothing is written.",
        "The decision, without a sequence number.",
        EVENT,
        _SENT | {409: "The log has an event with this id and other content."},
        answer=_DECIDED,
        is_many=True,
        is_by_event=True,
    ),
    api("POST", "/labels", Right.WRITE_LABELS, post_labels)(
        "Send labels: one label, a list, or JSON lines.",
        "The result; for several labels, a list in the same order.",
        Label,
        _SENT | {422: "The label is refused; the problem has the path of each error."},
        headers={
            "Shroff-Known-At": (
                "sent: known_at is the time of sending, because the actual time is unknown. It counts as known at "
                "the time of its event if that is later."
            )
        },
        answer=Labelled | Problem,
        is_many=True,
    ),
)
