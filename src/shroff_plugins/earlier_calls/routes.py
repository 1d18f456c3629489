"""Routes of calls (calls.yaml) that post an event, with the paths and JSON of earlier services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from shroff.errors import InputError
from shroff.json_types import JsonObject
from shroff.plugins.events import secret_fields
from shroff.plugins.language import RowValue, Type, walk
from shroff.plugins.values import replace
from shroff.plugins.web import (
    ONE_BYTES_MAX,
    PROBLEM,
    READ_AT_ONCE,
    UNPROCESSABLE,
    Handle,
    ProblemError,
    Request,
    RequestReader,
    Right,
    Route,
    RouteDoc,
    WrittenJson,
    at_paths,
    check_rate,
    field_schema,
)
from shroff.plugins.web import event_answer as shown
from shroff_plugins.earlier_calls.call_reader import CallReader
from shroff_plugins.earlier_calls.calls import MappedCall
from shroff_plugins.earlier_calls.question_routes import body_of_call, other_path, question_routes
from shroff_plugins.earlier_calls.questions import AskingCall

if TYPE_CHECKING:
    from shroff.plugins.events import Event, EventType, Submission
    from shroff.plugins.project import Definitions
    from shroff.plugins.web import Service

PROBLEMS = {
    409: "The id is taken by an event with other content.",
    415: "The body is not JSON.",
    422: "The body is refused, with the path of each mistake in it.",
    429: "",
}
_JSON_TYPES: Final[Mapping[str, Sequence[str]]] = {
    "integer": ("integer", "string"),
    "boolean": ("boolean",),
    "real": ("number",),
    "duration": ("number",),
}


def call_routes(definitions: Definitions | None) -> Iterator[Route]:
    """Return the routes of a project's calls, each with and without a slash at its end."""
    if definitions is None:
        return
    for call in definitions.added.get("calls", {}).values():
        if isinstance(call, AskingCall):
            yield from question_routes(call, definitions.settings.money_places)
            continue
        event_type = definitions.events.types[call.event]
        right = Right.SUBMIT_EVENTS if call.writes else Right.SCORE
        handle = _handle(call.path)
        summary = (
            f"Decide a {call.event} in the format of an earlier service. It is durable before the response."
            if call.writes
            else f"Score a {call.event} in the format of an earlier service. Nothing is written."
        )
        answer = {
            "type": "object",
            "required": list(call.answer),
            "properties": {
                name: {
                    "type": "object",
                    "properties": {feature: _type_schema(definitions.features[feature].type) for feature in part},
                }
                if isinstance(part, tuple)
                else _type_schema(part.type)
                for name, part in call.answer.items()
            },
        }
        yield Route(
            "POST",
            call.path,
            right,
            handle,
            RouteDoc(
                summary,
                "The response that calls.yaml defines.",
                _body_schema(call, event_type),
                PROBLEMS,
                answer=answer,
            ),
        )
        yield Route("POST", other_path(call.path), right, handle, is_plain=True)


def _handle(path: str) -> Handle:
    readers: list[tuple[RequestReader, CallReader]] = []

    async def handle(service: Service, request: Request) -> Response:
        reader = service.writer.reader_now()
        if not readers or readers[0][0] is not reader:
            readers[:] = [(reader, _call_reader(path, reader.definitions))]
        return await _answer(service, request, reader, readers[0][1])

    return handle


def _call_reader(path: str, definitions: Definitions) -> CallReader:
    call = definitions.added.get("calls", {}).get(path)
    if not isinstance(call, MappedCall):
        message = f"calls.yaml has no {path} for events any more"
        raise ProblemError(404, "not-found", "Nothing is there", message)
    secret = secret_fields(definitions.events, call.event)
    return CallReader(call, definitions.events.types[call.event], secret, definitions.settings.money_places)


async def _answer(service: Service, request: Request, reader: RequestReader, calls: CallReader) -> Response:
    call = calls.call
    raw = await body_of_call(request, ONE_BYTES_MAX)
    check_rate(service, request, 1)
    client = request.who.id
    now_ms = service.project.context.now_ms()
    is_short = len(raw) <= READ_AT_ONCE
    submission, problems = (
        _submission_of(reader, calls, raw, client, now_ms)
        if is_short
        else await service.read(_submission_of, reader, calls, raw, client, now_ms)
    )
    if problems and not call.writes:
        message = str(InputError(problems))
        errors = at_paths(problems)
        raise ProblemError(UNPROCESSABLE, "invalid-event", "The event was refused", message, errors=errors)
    writer = service.writer
    alone = (submission,)
    (answer,) = await (writer.decided(alone, reader) if call.writes else writer.foreseen(alone, reader))
    status, body = shown(answer, problems)
    if status != 200:
        return WrittenJson(body, status, media_type=PROBLEM)
    if answer.document is None or submission.sent is None:
        message = f"{answer.type} {answer.id!r} is in the log and was not decided"
        raise ProblemError(404, "no-decision", "There is no such decision", message)
    return WrittenJson(calls.answer(submission.sent, answer.document))


def _submission_of(
    reader: RequestReader, calls: CallReader, raw: bytes, client: str, now_ms: int
) -> tuple[Submission, list[tuple[str, str]]]:
    """Return the submission of a body, and its mistakes with their paths. A body with mistakes is refused as
    received.
    """
    event: Event | None = None  # set if the body only exceeds bounds
    try:
        event_json, refused = calls.event_of(raw, now_ms)
        field_mistakes: list[tuple[str, str]] = []
        submission = reader.one(calls.call.event, event_json, client, field_mistakes, calls.hidden)
        problems = calls.merge_mistakes(refused, field_mistakes)
        if not problems:
            return submission, []
        event = None if refused else submission.refused
    except InputError as error:
        problems = list(error.mistakes)
    message = str(InputError(problems))
    refused_event = reader.refused(calls.mapped, calls.values_of(raw), raw, client, message)
    return replace(refused_event, refused=event), problems


# ---- for the OpenAPI document


def _type_schema(type_: Type) -> JsonObject:
    return {"type": [*_JSON_TYPES.get(type_.kind, ("string",)), "null"]}


def _body_schema(call: MappedCall, event_type: EventType) -> JsonObject:
    in_lists = {name for names in call.lists.values() for name in names}
    optional = set() if call.writes else {event_type.id_field, event_type.time_field}
    plain = [
        field for field in event_type.declared if field.name not in call.mapping.fields and field.name not in in_lists
    ]
    nodes = call.mapping.fields.values()
    read_names = {str(part.path[0]) for node in nodes for part in walk(node) if isinstance(part, RowValue)}
    properties: JsonObject = {name: {} for name in sorted(read_names - in_lists)}
    properties |= {field.name: field_schema(field, event_type) for field in plain}
    for name, list_names in call.lists.items():
        description = f"In this order: {', '.join(list_names)}."
        properties[name] = {
            "type": "array",
            "minItems": len(list_names),
            "maxItems": len(list_names),
            "description": description,
        }
    required = [field.name for field in plain if not field.shape.is_optional and field.name not in optional]
    return {
        "type": "object",
        "required": [*call.lists, *required],
        "additionalProperties": False,
        "properties": properties,
    }
