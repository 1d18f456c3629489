"""Files of cases over HTTP: sent and answered as their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from shroff.cases import case_actions
from shroff.cases.case_service import CaseChangedError, NoCaseError, NoFileError
from shroff.cases.files import SIZE_MAX, TYPES, named_for
from shroff.people.access import Right
from shroff.services.cases.documents import CaseFile, file_of
from shroff.web.http.messages import Json, Request, whole
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.web.service import Service


def number_of(request: Request) -> int:
    """The number of the case that is asked for. Raises: NoCaseError where it is none."""
    text = request.path_params["id"]
    if (number := whole(text)) is None:
        raise NoCaseError(f"there is no case {text[:40]!r}")
    return number


async def file(service: Service, request: Request) -> Response:
    """A file of a case, to be saved: no browser shows it as a page."""
    number = number_of(request)
    text = request.path_params["file"]
    if (wanted := whole(text)) is None:
        raise NoFileError(f"case {number} has no file {text[:40]!r}")
    found, content = await service.in_thread(case_actions.file_of, service.cases, request.who, number, wanted)
    name = named_for(found.name, found.media_type)  # one that was attached earlier may have any ending
    headers = {
        "content-type": found.media_type,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "content-security-policy": "default-src 'none'; sandbox",
    }
    return Response(content, headers=headers)


async def attach(service: Service, request: Request) -> Json[CaseFile]:
    kind = request.headers.get("content-type", "")
    content = await request.body(SIZE_MAX + 1)
    name = request.query_params.get("name", "")
    given = service.cases, request.who, number_of(request), name, kind, content
    return Json(file_of(await service.in_thread(case_actions.attach, *given)))


ROUTES = (
    api("GET", "/cases/{id}/files/{file}", Right.READ_CASES, file)(
        "Download a file of a case.",
        "The file's bytes.",
        problems={400: "", 404: ""},
        media_type="application/octet-stream",
    ),
    api("POST", "/cases/{id}/attach", Right.WORK_CASES, attach)(
        "Attach a file to a case. The body is the file; only allowed file types are accepted.",
        "The file's metadata.",
        {"type": "string", "format": "binary"},
        {404: "", 409: CaseChangedError.__doc__ or ""},
        query={"name": "The file's name."},
        required=("name",),
        body_types=tuple(TYPES),
    ),
)
