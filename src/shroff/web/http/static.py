"""Static files of the pages: only files of the package, by their exact names."""

from __future__ import annotations

import gzip
import hashlib
import re
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.runtime.values import FrozenStruct
from shroff.web.http.messages import Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route

if TYPE_CHECKING:
    from shroff.web.service import Service

FOLDER = Path(__file__).parents[1] / "pages" / "static"
# The page that checks proofs, which is built: in a wheel it lies beside the static files, in a clone in `verify`.
VERIFIER = "verify.html"
_VERIFIERS = (FOLDER.parent / VERIFIER, Path(__file__).parents[4] / "verify" / VERIFIER)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_PACKED = frozenset({".html", ".css", ".js", ".svg", ".txt"})
FOR_EVER = "public, max-age=31536000, immutable"


class StaticFile(FrozenStruct):
    """Content of a file. `packed` is its gzip form, empty for media types that are compressed already."""

    raw: bytes
    packed: bytes
    media_type: str


@cache
def static_files() -> dict[str, StaticFile]:
    files: dict[str, StaticFile] = {}
    for path in (*sorted(FOLDER.iterdir()), *[path for path in _VERIFIERS if path.exists()][:1]):
        media_type = TYPES.get(path.suffix)
        if media_type is not None:
            raw = path.read_bytes()
            packed = gzip.compress(raw, mtime=0) if path.suffix in _PACKED else b""
            files[path.name] = StaticFile(raw, packed, media_type)
    return files


@cache
def version() -> str:
    """Return a hash of all files. Each file's address contains it, so that browsers may cache files forever."""
    digest = hashlib.sha256()
    for name, static_file in static_files().items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(static_file.raw).digest())
    return digest.hexdigest()[:12]


@cache
def verifier_policy() -> str:
    """Return the content security policy of the page that checks proofs: its own script and style alone."""
    page = static_files()[VERIFIER].raw
    parts = (re.search(rb"<%b[^>]*>(.*?)</%b>" % (tag, tag), page, re.DOTALL) for tag in (b"script", b"style"))
    script, style = (b64encode(hashlib.sha256(part[1] if part else b"").digest()).decode() for part in parts)
    return f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; frame-ancestors 'none'"


def static(name: str) -> str:
    assert name in static_files(), name
    return f"/static/{version()}/{name}"


async def file(service: Service, request: Request) -> Response:
    """Send a file. It must not be cached at an address with another version, as pages of a replaced service have it."""
    static_file = static_files().get(request.path_params["name"])
    if static_file is None:
        raise ProblemError(404, "not-found", "Page not found", "this file does not exist")
    is_current = request.path_params["version"] == version()
    headers = {"cache-control": FOR_EVER if is_current else "no-cache", "vary": "accept-encoding"}
    if static_file.media_type == TYPES[".html"]:
        headers["content-security-policy"] = verifier_policy()
    if static_file.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(static_file.packed, 200, headers | {"content-encoding": "gzip"}, static_file.media_type)
    return Response(static_file.raw, 200, headers, static_file.media_type)


ROUTES = (Route("GET", "/static/{version}/{name}", None, file, is_plain=True),)
