"""SCIM 2.0 (RFC 7644): an identity provider adds, changes and disables users, with a key that allows nothing else."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from msgspec.json import decode as from_json
from starlette.responses import Response

from shroff.json_types import JsonObject, TextMapping
from shroff.people import directory
from shroff.people.access import Right
from shroff.web.http.messages import Json, Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route

if TYPE_CHECKING:
    from shroff.people.store import Desk, DirectoryEntry
    from shroff.web.service import Service

PATH = "/scim/v2"
MEDIA_TYPE = "application/scim+json"
BODY_BYTES_MAX = 4 * 1024 * 1024
COUNT_MAX = 200
_MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"
ABOUT = """/ServiceProviderConfig /ResourceTypes /ResourceTypes/User /ResourceTypes/Group /Schemas
    /Schemas/urn:ietf:params:scim:schemas:core:2.0:User /Schemas/urn:ietf:params:scim:schemas:core:2.0:Group"""


_ATTRIBUTE = {
    "type": "string",
    "multiValued": False,
    "required": False,
    "mutability": "readWrite",
    "returned": "default",
}
_TEXT = {"caseExact": False, "uniqueness": "none"}


@cache
def _about() -> Any:
    """Return the documents about this service by their paths.

    In their file a list names its resources by their paths, and an attribute omits the usual values.
    """
    documents = from_json(resources.files("shroff.web.api").joinpath("scim.json").read_bytes())
    for document in documents.values():
        if "attributes" in document:
            document["attributes"] = [_attribute(given) for given in document["attributes"]]
    for document in documents.values():
        if "Resources" in document:
            document["Resources"] = [documents[path] for path in document["Resources"]]
    return documents


def _attribute(given: JsonObject) -> JsonObject:
    usual = _ATTRIBUTE | (_TEXT if given.get("type", "string") in ("string", "reference") else {})
    parts = {"subAttributes": [_attribute(part) for part in given["subAttributes"]]} if "subAttributes" in given else {}
    return usual | given | parts


async def about(_: Service, request: Request) -> Response:
    return Json(_about()[request.scope["path"]], media_type=MEDIA_TYPE)


async def resource(service: Service, request: Request) -> Response:
    desk = service.desk
    who = request.who
    method = request.method
    if who.rights != {Right.PROVISION_USERS} or not desk.settings.group_roles:
        remedy = f"this needs sign_in.scim in shroff.yaml, and a key with the scope {Right.PROVISION_USERS} alone"
        raise ProblemError(403, "not-allowed", "You do not have permission", remedy)
    kind = request.scope["path"].split("/")[3]
    id_ = request.path_params.get("id", "")
    base_url = f"{service.address.of(request)}{PATH}/{kind}/"
    if method in {"GET", "HEAD"}:
        return Json(
            await service.in_thread(_read, desk, base_url, kind, id_, request.query_params), media_type=MEDIA_TYPE
        )
    raw = await request.body(BODY_BYTES_MAX)
    entry = await service.in_thread(directory.write, desk, who, method, kind, id_, raw)
    if method == "DELETE":
        return Response(status_code=204)
    return Json(_shown(base_url, entry), 200 if id_ else 201, {"location": base_url + entry.id}, MEDIA_TYPE)


def _read(desk: Desk, base_url: str, kind: str, id_: str, query: TextMapping) -> JsonObject:
    dropped = query.get("excludedAttributes", "").lower().replace(" ", "").split(",")
    with desk.store.look() as reader:
        if id_:
            return _shown(base_url, directory.find(reader, kind, id_), dropped)
        entries = [_shown(base_url, entry) for entry in reader.directory(kind)]
    matches = directory.search(entries, query.get("filter", ""))
    sort_by = query.get("sortBy")
    if sort_by:
        matches = directory.in_order(matches, sort_by, is_down=query.get("sortOrder", "").lower() == "descending")
    first = max(1, _number(query, "startIndex", 1))
    page = matches[first - 1 :][: max(0, min(_number(query, "count", COUNT_MAX), COUNT_MAX))]
    page = [_without(entry, dropped) for entry in page]
    return {
        "schemas": [f"{_MESSAGES}ListResponse"],
        "totalResults": len(matches),
        "startIndex": first,
        "itemsPerPage": len(page),
        "Resources": page,
    }


def _number(query: TextMapping, name: str, default: int) -> int:
    """Return a whole number of the query, or `default`. Raises: ScimError for any other text."""
    text = query.get(name, "")
    if not re.fullmatch("-?[0-9]{0,18}", text):
        raise directory.ScimError("invalidValue", f"{name}: {text[:40]!r} is not a whole number")
    return int(text) if text.strip("-") else default


async def bulk(_: Service, _request: Request) -> Response:
    """Raises: ProblemError with 501. `/ServiceProviderConfig` says that bulk requests are not supported."""
    raise ProblemError(
        501, "not-there-yet", "Not available yet", "bulk requests are not supported: send each by itself"
    )


def _shown(base_url: str, entry: DirectoryEntry, dropped: Collection[str] = ()) -> JsonObject:
    kind = entry.kind.removesuffix("s")
    return {
        "schemas": [f"urn:ietf:params:scim:schemas:core:2.0:{kind}"],
        "id": entry.id,
        "meta": {"resourceType": kind, "location": base_url + entry.id},
        **_without(from_json(entry.document), dropped),
    }


def _without(document: JsonObject, dropped: Collection[str]) -> JsonObject:
    return {name: value for name, value in document.items() if name.lower() not in dropped}


def refused(error: ProblemError) -> Response:
    document = {"schemas": [f"{_MESSAGES}Error"], "status": str(error.status), "detail": error.detail}
    if "-" not in error.code:
        document["scimType"] = error.code
    return Json(document, error.status, error.headers, MEDIA_TYPE)


ROUTES = tuple(
    Route(method, PATH + path, Right.PROVISION_USERS, handle, is_plain=True)
    for handle, methods, paths in (
        (about, "GET", ABOUT),
        (bulk, "POST", "/Bulk"),
        (resource, "GET POST", "/Users /Groups"),
        (resource, "GET PUT PATCH DELETE", "/Users/{id} /Groups/{id}"),
    )
    for path in paths.split()
    for method in methods.split()
)
