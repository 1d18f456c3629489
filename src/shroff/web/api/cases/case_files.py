"""Routes that attach a file to a case and download it. Bodies are the bytes of the file."""

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
    """Return the case number in the path. Raises: NoCaseError if it is no number."""
    text = request.path_params["id"]
    number = whole(text)
    if number is None:
        raise NoCaseError(f"there is no case {text[:40]!r}")
    return number


async def file(service: Service, request: Request) -> Response:
    """Send a file of a case as a download, which browsers do not open as a page."""
    number = number_of(request)
    text = request.path_params["file"]
    file_number = whole(text)
    if file_number is None:
        raise NoFileError(f"case {number} has no file {text[:40]!r}")
    metadata, content = await service.in_thread(case_actions.file_of, service.cases, request.who, number, file_number)
    name = named_for(metadata.name, metadata.media_type)  # files attached by earlier versions may have any extension
    headers = {
        "content-type": metadata.media_type,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "content-security-policy": "default-src 'none'; sandbox",
    }
    return Response(content, headers=headers)


async def attach(service: Service, request: Request) -> Json[CaseFile]:
    kind = request.headers.get("content-type", "")
    content = await request.body(SIZE_MAX + 1)
    name = request.query_params.get("name", "")
    arguments = service.cases, request.who, number_of(request), name, kind, content
    return Json(file_of(await service.in_thread(case_actions.attach, *arguments)))


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
