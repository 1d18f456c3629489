"""Pagination of lists: page sizes, and cursors that hold the last row of a page."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import RefusalError
from shroff.json_types import TextMapping
from shroff.operations.declaration import Param

LIMIT = 50
LIMIT_MAX = 500
Limit = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX), Param(f"Page size, 1 to {LIMIT_MAX}. Default: {LIMIT}.")]
Cursor = Annotated[str, Param("`next` of the previous page.")]
One = TypeVar("One")


class BadQueryError(RefusalError):
    """The query cannot be parsed or validated."""

    status = 400
    code = "bad-query"
    title = "The query cannot be read"


def limit_of(query: TextMapping) -> int:
    """Return the page size of a query. Raises: BadQueryError if it is not a number from 1 to 500."""
    text = query.get("limit", str(LIMIT))
    if not (text.isdecimal() and text.isascii() and len(text) <= 3 and 1 <= int(text) <= LIMIT_MAX):
        raise BadQueryError(f"limit: it is 1 to {LIMIT_MAX}")
    return int(text)


def cursor_of(query: TextMapping, type_: type[One]) -> One | None:
    """Return the last row of the previous page; None for the first page. Raises: BadQueryError for a bad cursor."""
    text = query.get("cursor", "")
    if not text:
        return None
    try:
        return from_json(urlsafe_b64decode(text.encode("ascii", "strict")), type=type_)
    except (ValueError, RecursionError):
        raise BadQueryError("cursor: send the 'next' of the previous response unchanged") from None


def parted(found: Sequence[One], limit: int) -> tuple[Sequence[One], One | None]:
    """Cut rows, of which one more than `limit` were read, to a page; with its last row if another page follows.

    >>> parted([3, 2, 1], 2), parted([3, 2], 2)
    (([3, 2], 2), ([3, 2], None))
    """
    return (found[:limit], found[limit - 1]) if len(found) > limit else (found, None)


def next_of(value: Any) -> str:
    """Return the cursor of the page after the row `value`.

    >>> cursor_of({"cursor": next_of((7, "a"))}, tuple[int, str])
    (7, 'a')
    """
    return urlsafe_b64encode(to_json(value)).decode()
