"""Routes of calls (calls.yaml) that query the analytics or send a mail, with the paths and shapes of earlier
services.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from shroff.errors import DefinitionError, InputError, UsageError, nearest
from shroff.json_types import JsonObject
from shroff.plugins.web import (
    JSON,
    JSON_TYPES,
    Act,
    ProblemError,
    Request,
    Right,
    Route,
    RouteDoc,
    WrittenJson,
    at_paths,
    check_rate,
    event_shown,
    flagged,
    known_key,
)
from shroff.plugins.web import flags_shown as shown
from shroff_plugins.earlier_calls.question_reader import QuestionReader
from shroff_plugins.earlier_calls.questions import (
    AskingCall,
    CountsQuery,
    EventsQuery,
    FactsQuery,
    FlagsQuery,
    FunnelQuery,
    MailRequest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.plugins.log import KeyEvent
    from shroff.plugins.project import Project
    from shroff.plugins.web import Service
    from shroff_plugins.earlier_calls.questions import Part

BODY_BYTES_MAX = 64 * 1024
KEY = "Idempotency-Key"
KEY_LENGTH_MAX = 200
HEADERS = {KEY: "A unique text for this mail: repeating the request with the same key sends nothing."}
MAIL_PROBLEMS = {
    400: "",
    409: "The key was used for another mail, or it is unknown whether its mail was sent.",
    415: "The body is not JSON.",
    422: "The body is refused, a recipient is not allowed, or the mail server accepts none of them.",
    429: "",
}

Found = JsonObject


def question_routes(call: AskingCall, money_places: int) -> Iterator[Route]:
    """Yield the routes of one call, with and without a slash at the end."""
    reader = QuestionReader(call, money_places)
    method = call.method.upper()
    right = Right.SEND_NOTICES if call.recipients else Right.READ_DECISIONS

    async def handle(service: Service, request: Request) -> Response:
        return await _answer(service, request, reader)

    yield Route(method, call.path, right, handle, _route_doc(reader))
    yield Route(method, other_path(call.path), right, handle, is_plain=True)


def other_path(path: str) -> str:
    """Return a path with a slash at its end added or removed."""
    return path.removesuffix("/") if path.endswith("/") else f"{path}/"


async def body_of_call(request: Request, size_max: int) -> bytes:
    if request.media_type not in JSON_TYPES:
        accepted = {"accept-post": JSON}
        hint = "send one JSON object as application/json"
        raise ProblemError(415, "wrong-media-type", "Unsupported content type", hint, accepted)
    return await request.body(size_max)


async def _answer(service: Service, request: Request, reader: QuestionReader) -> Response:
    raw = b""
    if request.method == "POST":
        raw = await body_of_call(request, BODY_BYTES_MAX)
        if not raw and reader.call.default:
            raw = b"{}"
    try:
        if request.method == "POST":
            questions = reader.questions_of(raw)
        else:
            query = dict(request.query_params)
            questions = [(query, reader.query_of(query))]
    except InputError as error:
        errors = at_paths(error.mistakes)
        raise ProblemError(422, "bad-question", "The request was refused", str(error), errors=errors) from None
    check_rate(service, request, len(questions))
    if reader.call.recipients:
        ((columns, mail),) = questions
        assert isinstance(mail, MailRequest)
        return WrittenJson(reader.answer(columns, await _send_mail(service, request, reader.call, mail)))
    ask = _ASKS[reader.call.reads]
    project = service.operations.acting(request.who)
    try:
        texts = [reader.answer(columns, await ask(service, project, parsed)) for columns, parsed in questions]
    except (UsageError, DefinitionError, InputError) as error:  # a value that an expression of the answer cannot read
        raise ProblemError(422, "bad-question", "No answer is possible", str(error)) from None
    return WrittenJson(b"[" + b",".join(texts) + b"]" if reader.call.many else texts[0])


# ---- queries


async def _counts(service: Service, project: Project, query: CountsQuery) -> Found:
    answer = await service.in_thread(
        lambda: project.call(
            "counts",
            start_date=query.start_date,
            end_date=query.end_date,
            event_types=query.event_types,
            by=query.by or None,
            zone=query.zone,
            where=query.where,
        )
    )
    sums: Counter[tuple[str, str | None]] = Counter()
    for row in answer.rows:
        value = None if row.value is msgspec.UNSET else row.value
        if query.values is None or value in query.values:
            sums[row.type, value] += row.count
    rows = [{"type": type_, "value": value, "count": count} for (type_, value), count in sums.items()]
    return {"rows": rows, "total": sum(sums.values())}


async def _facts(service: Service, project: Project, query: FactsQuery) -> Found:
    key_fields = {"entity": query.entity, "key": query.key, "as_of": query.as_of}
    facts = await service.in_thread(
        lambda: project.call("facts", **key_fields, features=query.features, since=query.since)
    )
    return {**msgspec.to_builtins(facts)}


async def _flags(service: Service, project: Project, query: FlagsQuery) -> Found:
    _check_entity(project, query.entity)
    flags = await service.in_thread(flagged, project, query.entity, query.key, query.fields, query.limit)
    return {"flags": await shown(service, flags)}


async def _funnel(service: Service, project: Project, query: FunnelQuery) -> Found:
    answer = await service.in_thread(
        lambda: project.call(
            "funnel",
            funnel=query.funnel,
            start_date=query.start_date,
            end_date=query.end_date,
            zone=query.zone,
            split="",
        )
    )
    steps = {row.step: row for row in reversed(answer.rows) if row.day == answer.last}
    row = steps.get(query.step) if query.step is not None else next(reversed(steps.values()), None)
    if row is None:
        newest_steps = [*reversed(steps)]
        hint = nearest(query.step or "", newest_steps) or f"There is {', '.join(newest_steps)}."
        raise UsageError(f"{query.step!r} is not a step of {query.funnel} from which users drop off. {hint}")
    return {**msgspec.to_builtins(row)}


async def _events(service: Service, project: Project, query: EventsQuery) -> Found:
    def read() -> Sequence[KeyEvent]:
        _check_entity(project, query.entity)
        with project.log.reading() as log:
            reader = project.history.entities(log)
            if query.key.endswith("*"):
                keys, _ = reader.newest_keys(query.entity, query.key[:-1], limit=query.limit)
                events = [
                    event for key in keys for event in reader.timeline(query.entity, key, limit=query.limit).events
                ]
                return sorted(events, key=lambda event: -event.record.seq)[: query.limit]
            return reader.timeline(query.entity, known_key(project, query.entity, query.key), limit=query.limit).events

    return {"events": [event_shown(event) for event in await service.in_thread(read)]}


def _check_entity(project: Project, name: str) -> None:
    entities = project.definitions.events.entities
    if name not in entities:
        raise UsageError(f"{name!r} is not an entity. {nearest(name, entities) or ', '.join(entities)}")


_ASKS: Final[Mapping[str, Callable[[Service, Project, Any], Awaitable[Found]]]] = {
    "counts": _counts,
    "facts": _facts,
    "flags": _flags,
    "funnels": _funnel,
    "events": _events,
}


# ---- what can be sent


async def _send_mail(service: Service, request: Request, call: AskingCall, mail: MailRequest) -> Found:
    """Send a mail; return the number of recipients. Raises: ProblemError if nothing is sent; TransientError."""
    strangers = [recipient for recipient in mail.to if recipient not in call.recipients]
    if strangers:
        message = f"recipients that are not in calls.yaml: {len(strangers)}; nothing was sent"
        raise ProblemError(422, "bad-recipient", "The request was refused", message)
    key = request.headers.get(KEY, "")
    if len(key) > KEY_LENGTH_MAX:
        message = f"{KEY}: it has {KEY_LENGTH_MAX} characters at most"
        raise ProblemError(400, "bad-header", "A header cannot be read", message)
    to = list(dict.fromkeys(mail.to))
    await service.changes.record(Act(request.who, "mail.send", f"call {call.path}", None, {"recipients": len(to)}))
    letters = service.project.letters
    try:
        refused = await service.in_thread(letters.send_once, call.path, to, mail.subject, mail.text, key)
    except UsageError as error:
        raise ProblemError(409, "not-sent", "The mail was not sent", str(error)) from None
    if len(refused) >= len(to):
        raise ProblemError(422, "mail-refused", "The mail server refused the mail", refused[0])
    return {"sent": len(to) - len(refused)}


# ---- for the OpenAPI document


def _route_doc(reader: QuestionReader) -> RouteDoc:
    call = reader.call
    names = sorted(reader.known)
    summary = f"Answer a query of an earlier service, by {call.reads}. Nothing is written."
    answer = _shape(call.part)
    if call.is_of_rows:
        answer = {"type": "array", "items": answer}
    if call.method == "get":
        query = dict.fromkeys(names, "In the format of the earlier service.")
        problems = {400: "", 422: "The query is refused.", 429: ""}
        return RouteDoc(summary, "The response that calls.yaml defines.", problems=problems, query=query, answer=answer)
    body: JsonObject = {"type": "object", "properties": {name: {} for name in names}, "additionalProperties": False}
    if call.many:
        answer = {"type": "array", "items": answer}
        body = {
            "type": "object",
            "required": [] if call.default else [call.many],
            "properties": {call.many: {"type": "array", "items": body, "minItems": 1}},
            "additionalProperties": False,
        }
    if call.recipients:
        return RouteDoc(
            "A mail, in the format of the earlier service.",
            "The mail was sent.",
            body,
            MAIL_PROBLEMS,
            headers=HEADERS,
            answer=answer,
        )
    problems = {415: "The body is not JSON.", 422: "The body is refused, with the path of each mistake in it.", 429: ""}
    return RouteDoc(summary, "The response that calls.yaml defines.", body, problems, answer=answer)


def _shape(part: Part) -> JsonObject:
    if not isinstance(part, Mapping):
        return {}
    properties = {name: _shape(member) for name, member in part.items()}
    return {"type": "object", "required": list(part), "properties": properties}
