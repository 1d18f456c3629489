"""The page of the HTTP API, made from the table of routes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from docs.made_files import MADE, markdown_table
from shroff.client import Client
from shroff.operations.declaration import OPERATIONS
from shroff.people.access import RIGHTS, Right
from shroff.web.http.openapi import kind_of, schema_of, shapes
from shroff.web.http.routes import OPEN_BELOW, Route
from shroff.web.table import ROUTES

INTRODUCTION = (
    "The routes of `shroff serve`. A running service has this reference with the schemas of its own event types: "
    "as OpenAPI at `/api/openapi.json`, and as a page at `/api/docs`.\n\n"
    "Programs send `Authorization: Bearer KEY` with a key from `shroff keys create`. People sign in; their pages send "
    "the CSRF token in `X-CSRF-Token` with each change. Without either, only paths below\n"
    "{open} are available. All other requests get 401 or 403 before anything else is read.\n\n"
    "Errors are problem documents (RFC 9457), `application/problem+json`, with a stable `type`. All routes that need "
    "a right may answer 400, 401, 403, 500 and 503. All routes with a body may answer 408 (the body arrived too "
    "slowly), 413 (too long) and 422 (invalid). Each route below lists only further statuses and special meanings.\n\n"
    "A query with a name that its route does not list is refused with 400 `bad-query`, and the nearest name: a "
    "misspelled filter would answer for everything. Names that begin with `_` are ignored, so that a client may "
    "bypass caches with `?_=1767607800`.\n"
)
LIMITS = "\nFor rate limits and other limits of a client see [limits](limits.md); for metrics, [metrics](metrics.md).\n"


def api_page() -> str:
    """Routes and shapes."""
    open_below = ", ".join(f"`/{path}`" for path in OPEN_BELOW)
    told = [route for route in ROUTES if route.told is not None]
    parts = [MADE, "# HTTP API\n\n", INTRODUCTION.format(open=open_below), *(route_part(route) for route in told)]
    parts += [
        "\n## The client for Python\n\n",
        _client(),
        "\n## Operations\n\n",
        _operations(),
        LIMITS,
        "\n## Rights\n\n",
        _rights(),
        "\n## Schemas\n",
        *_shapes(),
    ]
    return "".join(parts)


def route_part(route: Route) -> str:
    told = route.told
    assert told is not None
    right = "for anybody" if route.right is None else f"right `{route.right.value}`"
    lines = [f"\n## {route.method} {route.path}\n\n{told.summary} *{right[0].upper()}{right[1:]}.*\n"]
    given = [(f"`{name}`", "query", words) for name, words in told.query.items()]
    given += [(f"`{name}`", "header", words) for name, words in told.headers.items()]
    if given:
        lines.append("\n" + markdown_table(("name", "in", "meaning"), given))
    if told.body is not None:
        many = ", or a list of them, or JSON lines (`application/x-ndjson`)" if told.is_many else ""
        lines.append(f"\nBody: {_named(schema_of(told.body))}{many}.\n")
    answers = {told.status: f"{told.meaning} {'' if route.answer is None else _named(schema_of(route.answer))}".strip()}
    answers |= {status: f"{words} {_named(schema_of(type_))}" for status, (words, type_) in told.others.items()}
    answers |= {status: words for status, words in told.problems.items() if words}
    rows = [(str(status), words) for status, words in sorted(answers.items())]
    lines.append("\n" + markdown_table(("status", "answer"), rows))
    return "".join(lines)


def _named(schema: Mapping[str, Any]) -> str:
    if "x-event" in schema:
        return "the fields of an event of this type"
    return "a JSON object" if schema.get("type") == "object" else kind_of(schema, _link)


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _client() -> str:
    """The methods of `shroff.client.Client`, as its docstrings have them."""
    words = (
        "`shroff.client` (extra `client`) has `Client(url, key, timeout=10.0)`, and `AsyncClient` with the same "
        "methods as coroutines. Both are context managers. What the service did not take (429, 503, no connection) is "
        "sent again until `timeout` is over. When an answer is lost, events, labels, scores and calls other than POST "
        "and PATCH are sent again. Any other call, such as a note, raises `UnavailableError`: it may have been taken."
        "\n\n"
    )
    rows = []
    for name, method in vars(Client).items():
        if not name.startswith("_"):
            names = ", ".join(parameter.name for parameter in list(inspect.signature(method).parameters.values())[1:])
            rows.append((f"`{name}({names})`", (inspect.getdoc(method) or "").partition("\n")[0]))
    return words + markdown_table(("call", "gives"), rows)


def _operations() -> str:
    """The declared operations, as programs call them."""
    words = (
        "`project.run(REQUEST)`, `client.send(REQUEST)` and `await client.send(REQUEST)` run an operation and give its "
        "answer, typed. By name, as the command has it, with the fields as keyword arguments: "
        '`project.call("lists show", name="cards")`, `client.call(...)`, `await client.call(...)`. Only operations '
        "with a route are available to clients.\n\n"
    )
    rows = []
    for name, operation in sorted(OPERATIONS.items()):
        fields = ", ".join(field.name if field.is_required else f"{field.name}=..." for field in operation.fields)
        request = f"`{operation.request.__module__}.{operation.request.__name__}({fields})`"
        rows.append(
            (
                name,
                request,
                f"`{operation.answer_name}`",
                f"`{operation.http}`" if operation.http else "",
                operation.summary,
            )
        )
    return words + markdown_table(("operation", "request", "answer", "route below /api/v1", "does"), rows)


def _rights() -> str:
    roles = list(RIGHTS)
    rows = [(f"`{right.value}`", *("yes" if right in RIGHTS[role] else "" for role in roles)) for right in Right]
    return markdown_table(("right", *(role.value for role in roles)), rows)


def _shapes() -> Iterator[str]:
    for name, schema in sorted(shapes(ROUTES).items()):
        rows = []
        for field, shape in schema["properties"].items():
            missing = "" if field in schema.get("required", ()) else "optional"
            rows.append((f"`{field}`", kind_of(shape, _link), missing, shape.get("description", "")))
        words = " ".join(schema.get("description", "").split())
        yield f"\n### {name}\n\n{words}\n\n{markdown_table(('field', 'type', '', 'meaning'), rows)}"
