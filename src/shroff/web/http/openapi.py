"""The OpenAPI document and its page, generated from the table of routes and the project's event types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from inspect import cleandoc
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

import msgspec
from markupsafe import Markup
from msgspec.json import encode as to_json
from starlette.responses import Response

import shroff
from shroff.events.definitions import Events
from shroff.json_types import JsonMapping, JsonObject
from shroff.web.http.messages import Json, Request
from shroff.web.http.problems import Problem
from shroff.web.http.routes import Route
from shroff.web.http.schemas import event_schema, ref
from shroff.web.pages.renderer import alone

if TYPE_CHECKING:
    from shroff.web.service import Service

COMMON = {
    400: "The request is not valid.",
    401: "There is no valid session or API key.",
    403: "The caller lacks the right.",
    404: "Not found.",
    408: "The body arrived too slowly.",
    413: "The body is too long.",
    422: "The body cannot be parsed or validated.",
    429: "Rate limit of this key; Retry-After says when to retry.",
    500: "The service failed, or stored data is damaged.",
    503: "Unavailable now; nothing was done unless the problem says otherwise. Retry-After says when to retry.",
}
OF_ALL = frozenset({400, 401, 403, 500, 503})  # statuses of every route that needs a right
WITH_BODY = frozenset({408, 413, 422})
_LINKED = re.compile("\0([^\0]+)\0")  # names of schemas in the text of `kind_of`
_REF = re.compile(rb'"#/components/schemas/([^"]+)"')


async def document(service: Service, request: Request) -> Response:
    return Json(await service.in_thread(openapi, service.routes, service.project.definitions.events))


async def page(service: Service, request: Request) -> Response:
    api = await service.in_thread(openapi, service.routes, service.project.definitions.events)

    def kind(schema: JsonMapping) -> Markup:
        text = escape(kind_of(schema, "\0{}\0".format))
        return Markup(_LINKED.sub(r'<a href="#\1">\1</a>', text))  # noqa: S704 - the text is escaped

    return alone("api.html", api=api, refs=_refs, kind=kind)


def openapi(routes: Sequence[Route], events: Events) -> JsonObject:
    paths: dict[str, JsonObject] = {}
    for route in routes:
        if route.told is None:
            continue
        if route.told.is_by_event:
            for name in events.types:
                by_method = paths.setdefault(route.path.replace("{event}", name), {})
                by_method[route.method.lower()] = _operation(route, name)
        else:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    schemas = {**shapes(routes), **{f"event.{name}": event_schema(type_) for name, type_ in events.types.items()}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "shroff",
            "version": shroff.__version__,
            "description": "Send events, get decisions with their reasons.",
        },
        "security": [{"key": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(sorted(schemas.items())),
        },
    }


def shapes(routes: Sequence[Route]) -> JsonObject:
    return _components(tuple(dict.fromkeys(_types(routes))))


def kind_of(schema: JsonMapping, link: Callable[[str], str]) -> str:
    """Describe in words the JSON that a schema allows; `link` formats the names of schemas.

    >>> kind_of({"anyOf": [{"type": "array", "items": ref("Case")}, {"type": "null"}]}, str.lower)
    'list of case or null'
    """
    if "$ref" in schema:
        return link(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind_of(kind, link) for kind in schema["anyOf"]))
    kinds = schema.get("type", "any JSON")
    kind = " or ".join(kinds) if isinstance(kinds, list) else schema.get("format", kinds)
    if "enum" in schema:
        return f"{kind} ({', '.join(str(choice) for choice in schema['enum'] if choice is not None)})"
    inner = schema.get({"array": "items", "object": "additionalProperties"}.get(kind, ""))
    return f"{'list' if kind == 'array' else kind} of {kind_of(inner, link)}" if inner else kind


def _types(routes: Sequence[Route]) -> Iterator[Any]:
    yield Problem
    for route in routes:
        if route.told is None:
            continue
        for type_ in (route.told.body, route.answer, *(type_ for _, type_ in route.told.others.values())):
            if type_ is not None and not isinstance(type_, Mapping):
                yield from _members(type_)


def _members(type_: Any) -> tuple[Any, ...]:
    return get_args(type_) if get_origin(type_) in {Union, UnionType} else (type_,)


@cache
def _components(types: tuple[Any, ...]) -> JsonObject:
    schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")[1]
    return {
        name: {**schema, "description": cleandoc(schema.get("description", ""))} for name, schema in schemas.items()
    }


def schema_of(type_: Any) -> JsonMapping:
    if isinstance(type_, Mapping):
        return type_
    refs = [ref(member.__name__) for member in _members(type_)]
    return refs[0] if len(refs) == 1 else {"anyOf": refs}


def _operation(route: Route, event: str = "") -> JsonObject:
    doc = route.told
    assert doc is not None
    names = [
        segment[1:-1] for segment in route.segments if segment.startswith("{") and not (event and segment == "{event}")
    ]
    statuses = {doc.status, *doc.problems, *doc.others}
    if route.right is not None:
        statuses |= OF_ALL
    if doc.body is not None:
        statuses |= WITH_BODY
    operation: JsonObject = {
        "operationId": _id_of(route, event),
        "summary": doc.summary,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
            *(
                _parameter(name, "query", meaning, is_required=name in doc.required)
                for name, meaning in doc.query.items()
            ),
            *(_parameter(name, "header", meaning) for name, meaning in doc.headers.items()),
        ],
        "responses": {str(status): _answer(status, route, event) for status in sorted(statuses)},
    }
    if route.right is None:
        operation["security"] = []
    else:
        operation["description"] = f"Needs the permission `{route.right.value}`."
        operation["security"] = [{"key": [route.right.value]}]
    if doc.body is not None:
        body = schema_of(doc.body)
        content = {kind: {"schema": body} for kind in doc.body_types}
        operation["requestBody"] = {
            "required": not doc.may_lack_body,
            "content": content or _content(body, event, is_many=doc.is_many),
        }
    return operation


def _parameter(name: str, location: str, meaning: str, *, is_required: bool = False) -> JsonObject:
    parameter: JsonObject = {"name": name, "in": location, "description": meaning, "schema": {"type": "string"}}
    return {**parameter, "required": True} if is_required else parameter


def _answer(status: int, route: Route, event: str) -> JsonObject:
    doc = route.told
    assert doc is not None
    if status == doc.status:
        answer = route.answer
        content = (
            {kind: {"schema": {"type": "string"}} for kind in doc.media_type.split(" or ")}
            if answer is None
            else _content(schema_of(answer), event, is_many=doc.is_many)
        )
        return {"description": doc.meaning, "content": content}
    if status in doc.others:
        meaning, type_ = doc.others[status]
        return {"description": meaning, "content": {"application/json": {"schema": schema_of(type_)}}}
    meaning = doc.problems.get(status) or COMMON.get(status, doc.meaning)
    return {"description": meaning, "content": {"application/problem+json": {"schema": ref("Problem")}}}


def _content(schema: JsonMapping, event: str, *, is_many: bool) -> JsonObject:
    single = ref(f"event.{event}") if event and schema == EVENT else schema
    if not is_many:
        return {"application/json": {"schema": single}}
    many = {"oneOf": [single, {"type": "array", "items": single}]}
    lines = {"type": "string", "description": "JSON lines: one on each."}
    return {"application/json": {"schema": many}, "application/x-ndjson": {"schema": lines}}


EVENT: Final[JsonMapping] = {"x-event": True}  # placeholder of the schema of the path's event type


def _id_of(route: Route, event: str) -> str:
    names = [segment.strip("{}") for segment in route.segments if segment not in {"api", "v1", ""}]
    return "_".join([route.method.lower(), *(event if name == "event" and event else name for name in names)])


def _refs(content: JsonMapping) -> list[str]:
    return [name.decode() for name in dict.fromkeys(_REF.findall(to_json(content)))]


ROUTES = (
    Route("GET", "/api/openapi.json", None, document, is_plain=True),
    Route("GET", "/api/docs", None, page, is_plain=True),
)
