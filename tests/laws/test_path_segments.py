"""A value in the path of a request is one segment of it, and never leads to another route."""

from __future__ import annotations

import re
from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.client import ClientError, calls
from shroff.operations.declaration import OPERATIONS
from shroff.web import table
from shroff.web.pages.decision import decision_path, entity_path
from shroff_plugins.mcp.server import call_of

HOSTILE = ["..", ".", "../users", "a/b", "%2e%2e", "%2E", "a?b", "a#b", "..;", "//evil.example", "\\..", "a b", ""]
values = st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8"), max_size=8)
ROUTES = {f"{route.method} {route.path}": route for route in table.ROUTES if "{" in route.path}
DECLARED = {name: declared for name, declared in OPERATIONS.items() if "{" in declared.path}


def is_path_of(route: str, path: str, filled: dict[str, str]) -> bool:
    """Whether a client that resolves dot segments asks this route for these values."""
    segments = httpx2.URL(f"http://shroff.example{path}").raw_path.decode("ascii").split("/")
    expected = [filled[part[1:-1]] if part.startswith("{") else part for part in route.split("/")]
    return [unquote(segment) for segment in segments] == expected


def filled_path(route: str, data: st.DataObject) -> dict[str, str]:
    return {name: data.draw(values, name) for name in re.findall(r"\{(\w+)\}", route)}


@given(st.data())
def test_no_argument_of_an_assistant_leaves_the_route_of_its_tool(data):
    route = ROUTES[data.draw(st.sampled_from(sorted(ROUTES)))]
    filled = filled_path(route.path, data)
    parameters = [{"name": name, "in": "path"} for name in filled]
    tool = {"path": route.path, "method": route.method, "parameters": parameters}

    try:
        asked = call_of(tool, filled)
    except ClientError:
        assert {".", ".."} & set(filled.values())
    else:
        assert is_path_of(route.path, asked.path, filled)


@given(st.data())
def test_no_field_of_a_request_leaves_the_route_of_its_operation(data):
    declared = OPERATIONS[data.draw(st.sampled_from(sorted(DECLARED)))]
    filled = filled_path(declared.path, data)
    names = {field.wire: field.name for field in declared.fields}
    required = {field.name: "" for field in declared.fields if field.is_required}
    request = declared.request(**required | {names[wire]: value for wire, value in filled.items()})

    try:
        asked = calls.operation(request)
    except ClientError:
        assert {".", ".."} & set(filled.values())
    else:
        assert is_path_of(calls.API + declared.path, asked.path, filled)


@pytest.mark.parametrize(
    ("path_of", "route"), [(decision_path, "/decisions/{event}/{id}"), (entity_path, "/entities/{event}/{id}")]
)
@given(first=values, second=values)
def test_a_link_of_a_page_leads_to_what_it_names_or_to_a_search_for_it(path_of, route, first, second):
    path = path_of(first, second)

    if {".", ".."} & {first, second}:
        assert httpx2.URL(path).path == "/find"
        assert httpx2.URL(path).params["q"] == second
    else:
        assert is_path_of(route, path, {"event": first, "id": second})
