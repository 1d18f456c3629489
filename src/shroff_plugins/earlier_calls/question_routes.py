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
    CountsAsked,
    EventsAsked,
    FactsAsked,
    FlagsAsked,
    FunnelAsked,
    MailAsked,
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
        return await _answered(service, request, reader)

    yield Route(method, call.path, right, handle, _route_doc(reader))
    yield Route(method, other_path(call.path), right, handle, is_plain=True)


def other_path(path: str) -> str:
    """Return a path with a slash at its end added or removed."""
    return path.removesuffix("/") if path.endswith("/") else f"{path}/"


async def body_of_call(request: Request, size_max: int) -> bytes:
    if request.media_type not in JSON_TYPES:
        accepted = {"accept-post": JSON}
        words = "send one JSON object as application/json"
        raise ProblemError(415, "wrong-media-type", "Unsupported content type", words, accepted)
    return await request.body(size_max)


async def _answered(service: Service, request: Request, reader: QuestionReader) -> Response:
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
            questions = [(query, reader.asked(query))]
    except InputError as error:
        errors = at_paths(error.mistakes)
        raise ProblemError(422, "bad-question", "The request was refused", str(error), errors=errors) from None
    check_rate(service, request, len(questions))
    if reader.call.recipients:
        ((columns, mail),) = questions
        assert isinstance(mail, MailAsked)
        return WrittenJson(reader.answer(columns, await _sent(service, request, reader.call, mail)))
    ask = _ASKS[reader.call.reads]
    project = service.operations.acting(request.who)
    try:
        texts = [reader.answer(columns, await ask(service, project, asked)) for columns, asked in questions]
    except (UsageError, DefinitionError, InputError) as error:  # a value that an expression of the answer cannot read
        raise ProblemError(422, "bad-question", "No answer is possible", str(error)) from None
    return WrittenJson(b"[" + b",".join(texts) + b"]" if reader.call.many else texts[0])


# ---- queries


async def _counts(service: Service, project: Project, asked: CountsAsked) -> Found:
    found = await service.in_thread(
        lambda: project.call(
            "counts",
            start_date=asked.start_date,
            end_date=asked.end_date,
            event_types=asked.event_types,
            by=asked.by or None,
            zone=asked.zone,
            where=asked.where,
        )
    )
    sums: Counter[tuple[str, str | None]] = Counter()
    for row in found.rows:
        value = None if row.value is msgspec.UNSET else row.value
        if asked.values is None or value in asked.values:
            sums[row.type, value] += row.count
    rows = [{"type": type_, "value": value, "count": count} for (type_, value), count in sums.items()]
    return {"rows": rows, "total": sum(sums.values())}


async def _facts(service: Service, project: Project, asked: FactsAsked) -> Found:
    given = {"entity": asked.entity, "key": asked.key, "as_of": asked.as_of}
    facts = await service.in_thread(lambda: project.call("facts", **given, features=asked.features, since=asked.since))
    return {**msgspec.to_builtins(facts)}


async def _flags(service: Service, project: Project, asked: FlagsAsked) -> Found:
    _check_entity(project, asked.entity)
    found = await service.in_thread(flagged, project, asked.entity, asked.key, asked.fields, asked.limit)
    return {"flags": await shown(service, found)}


async def _funnel(service: Service, project: Project, asked: FunnelAsked) -> Found:
    found = await service.in_thread(
        lambda: project.call(
            "funnel",
            funnel=asked.funnel,
            start_date=asked.start_date,
            end_date=asked.end_date,
            zone=asked.zone,
            split="",
        )
    )
    steps = {row.step: row for row in reversed(found.rows) if row.day == found.last}
    row = steps.get(asked.step) if asked.step is not None else next(reversed(steps.values()), None)
    if row is None:
        known = [*reversed(steps)]
        hint = nearest(asked.step or "", known) or f"There is {', '.join(known)}."
        raise UsageError(f"{asked.step!r} is not a step of {asked.funnel} from which users drop off. {hint}")
    return {**msgspec.to_builtins(row)}


async def _events(service: Service, project: Project, asked: EventsAsked) -> Found:
    def read() -> Sequence[KeyEvent]:
        _check_entity(project, asked.entity)
        with project.log.reading() as log:
            look = project.history.entities(log)
            if asked.key.endswith("*"):
                keys, _ = look.newest_keys(asked.entity, asked.key[:-1], limit=asked.limit)
                found = [event for key in keys for event in look.timeline(asked.entity, key, limit=asked.limit).events]
                return sorted(found, key=lambda event: -event.record.seq)[: asked.limit]
            return look.timeline(asked.entity, known_key(project, asked.entity, asked.key), limit=asked.limit).events

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


async def _sent(service: Service, request: Request, call: AskingCall, mail: MailAsked) -> Found:
    """Send a mail; return the number of recipients. Raises: ProblemError if nothing is sent; TransientError."""
    strangers = [recipient for recipient in mail.to if recipient not in call.recipients]
    if strangers:
        words = f"recipients that are not in calls.yaml: {len(strangers)}; nothing was sent"
        raise ProblemError(422, "bad-recipient", "The request was refused", words)
    key = request.headers.get(KEY, "")
    if len(key) > KEY_LENGTH_MAX:
        words = f"{KEY}: it has {KEY_LENGTH_MAX} characters at most"
        raise ProblemError(400, "bad-header", "A header cannot be read", words)
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
