"""Routes that take events and labels and respond with decisions, or score events without recording them."""

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
from shroff.worker.request_queue import PendingRequest
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
LABELS_TOLD = 20  # labels of one request that the audit log shows
# A list is parsed on the event loop if it has at most so many bytes, commas and line ends, and events. Longer ones
# would delay other requests: an event with errors takes 80 µs, and 10,000 empty ones in 30 KB take 0.8 s.
READ_AT_ONCE = 16 * 1024
PARTS_AT_ONCE = LIVE_MIN - 2
EVENTS_AT_ONCE = 50
SHOWN_AT_ONCE = 200  # answers that are written on the event loop
ONE_BYTES_MAX = 1024 * 1024  # of a single event; each of its texts has at most 65,536 bytes
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
    type_name = request.path_params["event"]
    _check_type(reader, type_name)
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


def _check_type(reader: RequestReader, name: str) -> None:
    if name not in reader.definitions.events.types:
        names = ", ".join(reader.types)
        raise ProblemError(404, "no-event-type", "There is no such event type", f"event types are {names}")


def post_one(
    service: Service, type_name: str, raw: bytes, sender: str, told: Callable[[], object]
) -> Callable[[], Response]:
    """Queue one event to be decided. The returned function makes the response, once `told` was called.

    Raises: as `post_events`.
    """
    writer = service.writer
    reader = writer.reader_now()
    _check_type(reader, type_name)
    mistakes: list[tuple[str, str]] = []
    submission = reader.one(type_name, raw, sender, mistakes)
    check_rate_of(service, sender, 1)
    request = PendingRequest([submission], reader, told)
    writer.put(request, writer.queue)

    def response() -> Response:
        (answer,) = writer.answers_of(request)
        return one_response(*shown(answer, mistakes))

    return response


async def post_labels(service: Service, request: Request) -> Response:
    """Pass labels to the process that leads the log, and record the caller in the audit log."""
    known_at = request.headers.get(KNOWN_AT, "")
    if known_at not in {"", SENT}:
        raise ProblemError(400, "bad-header", "A header cannot be read", f"Shroff-Known-At: {SENT}")
    reader = service.writer.label_reader()
    is_as_sent = known_at == SENT  # their `known_at` is the time of sending, as the true time is unknown
    body = await _body(request)
    submissions, mistakes = await _read(service, reader, LABEL, body, request.who.id)
    check_rate(service, request, len(submissions))
    if is_as_sent:
        submissions = [undated(submission) for submission in submissions]
    answers = await taken_labels(service, request.who, submissions)
    return await _listed(service, label_shown, answers, mistakes, body)


async def taken_labels(service: Service, who: Who, submissions: Sequence[Submission]) -> list[Answer]:
    """Record labels, wait for the writer, and return the results in order. The valid labels are in the audit log.

    Raises: TransientError if the writer takes too long.
    """
    if not submissions:
        return []
    labels = [submission.label for submission in submissions if submission.label is not None]
    subject = _labelled(labels[0]) if len(labels) == 1 else f"{len(labels)} labels"
    after = [{"event": _labelled(label), "verdict": label.verdict, "source": label.source} for label in labels]
    act = Act(who, "label.add", subject, None, after[:LABELS_TOLD]) if labels else None
    decimals = service.project.definitions.settings.money_places
    bodies = [labels_request(part, decimals) for part in batches(submissions, ROWS_MAX)]
    results = await service.writer.ask(act, LABELS, bodies)
    return [answer for result in results for answer in answers_of(result)]


def _labelled(label: LabelInput) -> str:
    """Name a label's event for the audit log: `payment/p-1`, or by its unique fields, hashed if they are personal."""
    if label.event_id or not label.unique:
        return f"{label.event_type}/{label.event_id}"
    return f"{label.event_type} with {', '.join(f'{name} {text[:ID_LENGTH_MAX]}' for name, text in label.unique)}"


async def score(service: Service, request: Request) -> Response:
    reader = service.writer.reader_now()
    type_name = request.path_params["event"]
    _check_type(reader, type_name)
    if is_explanation_asked(request):
        detail = "omit explain=1: only decisions in the log can be explained"
        raise ProblemError(400, "bad-query", "A score cannot be explained", detail)
    body = await _body(request)
    submissions, mistakes = await _read(service, reader, type_name, body, request.who.id)
    if len(submissions) > SCORED_MAX:
        detail = f"at most {SCORED_MAX} events are scored in one request, and this one has {len(submissions)}"
        raise ProblemError(413, "too-many", "There are too many events", detail)
    check_rate(service, request, len(submissions))
    answers = await service.writer.foreseen(submissions, reader)
    rendered = [shown(answer, errors) for answer, errors in zip(answers, mistakes, strict=True)]
    scored = [(status, foreseen_json(document) if status == 200 else document) for status, document in rendered]
    return _response(scored, body)


# ---- taking


def is_explanation_asked(request: Request) -> bool:
    """Return whether the query has `explain=1`. Raises: ProblemError for a value other than 0 and 1."""
    value = request.query_params.get("explain", "") if request.scope["query_string"] else ""
    if value not in {"", "0", "1"}:
        raise BadQueryError("explain: it is 1, or left out")
    return value == "1"


async def _taken(
    service: Service, request: Request, reader: RequestReader, type_name: str, *, is_explained: bool
) -> Response:
    body = await _body(request)
    if body.is_list and is_explained:
        detail = "omit explain=1, or send one event; no event of this request was accepted"
        raise ProblemError(400, "bad-query", "Only one event is explained at a time", detail)
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

    def write() -> Response:
        refusals: dict[tuple[str, bool, int], tuple[int, bytes]] = {}  # equal refusals are written once

        def render(answer: Answer, errors: Mistakes) -> tuple[int, bytes]:
            if answer.kind != REFUSED:
                return show(answer, errors)
            key = answer.reason, answer.is_conflict, id(errors)
            if key not in refusals:
                refusals[key] = show(answer, errors)
            return refusals[key]

        rendered = [render(answer, errors) for answer, errors in zip(answers, mistakes, strict=True)]
        return _response(rendered, body)

    return write() if len(answers) <= SHOWN_AT_ONCE else await service.written(write)


async def _body(request: Request) -> _Body:
    """Read the body. Raises: ProblemError with 415 if it is neither JSON nor JSON lines, with 413 if it is too long."""
    media_type = request.media_type
    are_lines = media_type in LINE_TYPES
    if not are_lines and media_type not in JSON_TYPES:
        accepted = {"accept-post": f"{JSON}, {LINES}"}
        detail = "send one event or a list as application/json, or JSON lines as application/x-ndjson"
        raise ProblemError(415, "wrong-media-type", "Unsupported content type", detail, accepted)
    raw = await request.body()
    is_list = are_lines or raw.lstrip(_SPACES).startswith(b"[")
    if not is_list and len(raw) > ONE_BYTES_MAX:
        detail = f"one event has at most {ONE_BYTES_MAX:,} bytes"
        raise ProblemError(413, "too-long", "The body is too long", detail)
    return _Body(raw, is_list, are_lines)


async def _read(
    service: Service, reader: RequestReader, type_name: str, body: _Body, sender: str
) -> tuple[Sequence[Submission], Sequence[Mistakes]]:
    raw = body.raw
    if not body.is_list:
        errors: list[tuple[str, str]] = []
        if len(raw) <= READ_AT_ONCE:
            return [reader.one(type_name, raw, sender, errors)], [errors]
        return [await service.read(reader.one, type_name, raw, sender, errors)], [errors]
    read = partial(reader.many, type_name, raw, sender, are_lines=body.are_lines)
    try:
        parts = raw.count(b",") + raw.count(b"\n")
        is_short = len(raw) <= READ_AT_ONCE and parts <= PARTS_AT_ONCE and raw.count(b"{") <= EVENTS_AT_ONCE
        return read() if is_short else await service.read(read)
    except TooMuchError as error:
        raise ProblemError(UNPROCESSABLE, "bad-list", "The list cannot be read", str(error)) from None


def check_rate(service: Service, request: Request, events: int) -> None:
    """Count these events of the caller. Raises: ProblemError with 429 if the caller exceeds its rate."""
    check_rate_of(service, request.who.id, events)


def check_rate_of(service: Service, sender: str, events: int) -> None:
    wait_s = service.pace.wait_s_of(sender, events)
    if wait_s > 0:
        headers = {"retry-after": str(max(1, round(wait_s + 0.5)))}
        detail = (
            f"this sender may send {service.limits.rate:,.0f} events a second; no event of this request was accepted"
        )
        raise ProblemError(429, "too-fast", "Rate limit exceeded", detail, headers)


# ---- answering


def shown(answer: Answer, mistakes: Mistakes = ()) -> tuple[int, bytes]:
    """Return the HTTP status and the JSON of an event's answer: a decision, a note that it has none, or a problem."""
    if answer.document is not None:
        return 200, answer.document
    if answer.kind in {REFUSED, UNTAKEN}:
        return _problem(answer, mistakes)
    undecided: Undecided = {"event": answer.type, "id": answer.id, "seq": answer.seq or None, "decided": False}
    return 200, to_json(undecided)


def label_shown(answer: Answer, mistakes: Mistakes = ()) -> tuple[int, bytes]:
    if answer.kind in {REFUSED, UNTAKEN}:
        return _problem(answer, mistakes)
    state = {DUPLICATE: "duplicate", WAITING: "pending"}.get(answer.kind, "appended")
    if answer.kind == WAITING and answer.seq:
        state = "appended"
    result: Labelled = {"label": answer.id, "state": state, "seq": answer.seq or None}
    if answer.in_force is not None:
        result["in_force"] = {"verdict": answer.in_force[0], "source": answer.in_force[1]}
    return 200, to_json(result)


def _problem(answer: Answer, mistakes: Mistakes) -> tuple[int, bytes]:
    document = problem_of(answer)
    if document["status"] != CONFLICT:
        if not mistakes:
            match = _PATH.match(answer.reason)
            mistakes = [(match[1], answer.reason[match.end() :])] if match else [("", answer.reason)]
        document["errors"] = at_paths(mistakes)
    return int(document["status"]), to_json(document)


def one_response(status: int, body: bytes) -> Response:
    return WrittenJson(body, status, media_type=JSON if status == 200 else PROBLEM)


def _response(rendered: Sequence[tuple[int, bytes]], request_body: _Body) -> Response:
    if not request_body.is_list:
        return one_response(*rendered[0])
    if request_body.are_lines:
        return Response(b"".join(body + b"\n" for _, body in rendered), media_type=LINES)
    bodies = [body for _, body in rendered] or [b""]
    # Brackets are added to the parts, since adding them after the join would copy megabytes twice
    bodies[0] = b"[" + bodies[0]
    bodies[-1] += b"]"
    return WrittenJson(b",".join(bodies))


async def _explained(service: Service, response: Response) -> Response:
    document = from_json(response.body)
    if "outcome" not in document:
        return response
    event = document["event"]
    id_ = document["id"]
    explanation = await service.in_thread(service.project.explain, f"{event}/{id_}")
    return Response(await service.in_thread(override.told, service, event, id_, explanation.json()), media_type=JSON)


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
