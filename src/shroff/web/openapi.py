"""The OpenAPI document: made from the table of routes, and from the event types of the project that is served."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING, Any, Final

import shroff
from shroff.events.definitions import Events
from shroff.web import case_documents
from shroff.web.http import Request, Response, json_response
from shroff.web.routes import Route
from shroff.web.schemas import SCHEMAS, event_schema, ref

if TYPE_CHECKING:
    from shroff.web.service import Service

COMMON: Final = {
    400: "The request cannot be carried out as asked.",
    401: "It is not known who asks.",
    403: "Who asks may not do this.",
    404: "There is no such thing.",
    429: "This key sends too much; Retry-After says when to go on.",
    500: "The service failed, or what is stored is damaged.",
    503: "Not now, and nothing of it was done unless it says otherwise; Retry-After says when.",
}
HTML: Final = b"text/html; charset=utf-8"
STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}"
    "h2{margin-top:2.5rem;border-top:1px solid #d0d7de;padding-top:1rem;font-size:1.1rem}"
    "code,pre{font:14px/1.4 ui-monospace,monospace;background:#f3f4f6;border-radius:4px}code{padding:.1em .3em}"
    "pre{padding:.8rem;overflow:auto}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d0d7de;vertical-align:top}"
    "@media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e8ea}code,pre{background:#22272b}"
    "h2,th,td{border-color:#3a4147}a{color:#8ab4ff}}"
)


async def document(service: Service, request: Request) -> Response:
    """The document itself."""
    return json_response(openapi(service.routes, service.project.definitions.events))


async def page(service: Service, request: Request) -> Response:
    """The document as a page, for people: no script, nothing from anywhere else."""
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'; base-uri 'none'"
    headers = ((b"content-security-policy", policy.encode()),)
    text = "".join(_page(openapi(service.routes, service.project.definitions.events)))
    return Response(text.encode(), media_type=HTML, headers=headers)


def openapi(routes: Sequence[Route], events: Events) -> dict[str, Any]:
    """The document of these routes, for a project with these events."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.told is None:
            continue
        if route.told.is_by_event:
            for name in events.types:
                own = paths.setdefault(route.path.replace("{event}", name), {})
                own[route.method.lower()] = _operation(route, name)
        else:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    schemas = {
        **SCHEMAS,
        **case_documents.SCHEMAS,
        **{f"event.{name}": event_schema(type_) for name, type_ in events.types.items()},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "shroff",
            "version": shroff.__version__,
            "description": "Events go in, decisions with their reasons come out.",
        },
        "security": [{"key": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(sorted(schemas.items())),
        },
    }


def _operation(route: Route, event: str = "") -> dict[str, Any]:
    told = route.told
    assert told is not None
    names = [
        segment[1:-1] for segment in route.segments if segment.startswith("{") and not (event and segment == "{event}")
    ]
    answers = {200: told.answer, **dict.fromkeys(told.problems, ref("Problem"))}
    if told.accepted:
        answers[202] = {"type": "object"}
    if route.right is not None:
        answers |= dict.fromkeys((401, 403), ref("Problem"))
    found: dict[str, Any] = {
        "operationId": _id_of(route, event),
        "summary": told.summary,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
            *(
                _parameter(name, "query", words, is_required=name in told.required)
                for name, words in told.query.items()
            ),
            *(_parameter(name, "header", words) for name, words in told.headers.items()),
        ],
        "responses": {str(status): _answer(status, schema, route, event) for status, schema in sorted(answers.items())},
    }
    if route.right is None:
        found["security"] = []
    else:
        found["description"] = f"Takes the right `{route.right.value}`."
    if told.body is not None:
        content = {kind: {"schema": told.body} for kind in told.body_types}
        found["requestBody"] = {
            "required": not told.may_lack_body,
            "content": content or _content(told.body, event, is_many=told.is_many),
        }
    return found


def _parameter(name: str, place: str, words: str, *, is_required: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "in": place, "description": words, "schema": {"type": "string"}}
    return {**found, "required": True} if is_required else found


def _answer(status: int, schema: Mapping[str, Any] | None, route: Route, event: str) -> dict[str, Any]:
    told = route.told
    assert told is not None
    words = COMMON.get(status, told.problems.get(status, told.meaning) if status != 200 else told.meaning)
    if status == 200:
        if schema is None:
            return {"description": words, "content": {told.media_type: {"schema": {"type": "string"}}}}
        return {"description": words, "content": _content(schema, event, is_many=told.is_many)}
    if status == 202:
        return {"description": told.accepted, "content": {"application/json": {"schema": schema}}}
    return {
        "description": told.problems.get(status) or words,
        "content": {"application/problem+json": {"schema": schema}},
    }


def _content(schema: Mapping[str, Any], event: str, *, is_many: bool) -> dict[str, Any]:
    one = ref(f"event.{event}") if event and schema == EVENT else schema
    if not is_many:
        return {"application/json": {"schema": one}}
    many = {"oneOf": [one, {"type": "array", "items": one}]}
    lines = {"type": "string", "description": "JSON lines: one on each."}
    return {"application/json": {"schema": many}, "application/x-ndjson": {"schema": lines}}


EVENT: Final[Mapping[str, Any]] = {"x-event": True}  # stands for the schema of the path's event type


def _id_of(route: Route, event: str) -> str:
    words = [segment.strip("{}") for segment in route.segments if segment not in {"api", "v1", ""}]
    return "_".join([route.method.lower(), *(event if word == "event" and event else word for word in words)])


# ---- for people


def _page(found: Mapping[str, Any]) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>shroff API</title><style>{STYLE}</style><h1>shroff API</h1>"
    yield "<p>Send a key as <code>Authorization: Bearer KEY</code>. Errors are problem documents (RFC 9457). "
    yield 'The same as a document: <a href="/api/openapi.json">/api/openapi.json</a>.</p>'
    for path, methods in found["paths"].items():
        for method, one in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(one['summary'])} "
            yield f"{escape(one.get('description', 'For anybody.')).replace('`', '')}</p>"
            yield from _parameters(one["parameters"])
            if "requestBody" in one:
                kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in one["requestBody"]["content"])
                yield f"<p>Body: {kinds}, {_named(one['requestBody']['content'])}</p>"
            yield "<table>"
            for status, answer in one["responses"].items():
                yield f"<tr><td>{status}</td><td>{escape(answer['description'])}</td>"
                yield f"<td>{_named(answer['content'])}</td></tr>"
            yield "</table>"
    yield "<h1>Shapes</h1>"
    for name, schema in found["components"]["schemas"].items():
        yield f'<h2 id="{escape(name)}">{escape(name)}</h2>'
        yield from _properties(schema)


def _parameters(parameters: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    told = [one for one in parameters if one["in"] != "path"]
    if told:
        yield "<table>"
        for one in told:
            yield f"<tr><td><code>{escape(one['name'])}</code></td><td>{one['in']}</td>"
            yield f"<td>{escape(one['description'])}</td></tr>"
        yield "</table>"


def _named(content: Mapping[str, Any]) -> str:
    """Links to the shapes that a content has."""
    names = dict.fromkeys(_refs(content))
    return ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names) or "JSON"


def _refs(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield str(value["$ref"]).rpartition("/")[2]
        for one in value.values():
            yield from _refs(one)
    elif isinstance(value, list):
        for one in value:
            yield from _refs(one)


def _properties(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "<table>"
    for name, one in schema.get("properties", {}).items():
        kinds = one.get("type", "")
        kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
        words = one.get("description", "")
        if "enum" in one:
            words = f"{words} One of {', '.join(str(value) for value in one['enum'] if value is not None)}.".strip()
        is_required = "" if name in schema.get("required", ()) else "may be missing"
        yield f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind) or _named(one)}</td>"
        yield f"<td>{is_required}</td><td>{escape(words)}</td></tr>"
    yield "</table>"
