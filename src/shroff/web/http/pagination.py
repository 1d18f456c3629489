"""Lists in parts: how many are wanted, and where the part before ended."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from shroff.web.http.problems import ProblemError

LIMIT: Final = 50
LIMIT_MAX: Final = 500

One = TypeVar("One")


def limit_of(query: Mapping[str, str]) -> int:
    """How many are wanted. Raises: ProblemError where it is no number from 1 to 500."""
    text = query.get("limit", str(LIMIT))
    if not (text.isdecimal() and text.isascii() and len(text) <= 3 and 1 <= int(text) <= LIMIT_MAX):
        raise ProblemError(400, "bad-query", "The query cannot be read", f"limit: it is 1 to {LIMIT_MAX}")
    return int(text)


def cursor_of(query: Mapping[str, str], type_: type[One]) -> One | None:
    """Where the part before ended; None for the first one. Raises: ProblemError where nobody gave that cursor."""
    text = query.get("cursor", "")
    if not text:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(text.encode("ascii", "strict")), type=type_)
    except (ValueError, RecursionError):
        words = "cursor: send the 'next' of the previous response unchanged"
        raise ProblemError(400, "bad-query", "The query cannot be read", words) from None


def parted(found: Sequence[One], limit: int) -> tuple[Sequence[One], One | None]:
    """One page of up to one row more than is wanted, and its last row where there is more behind.

    >>> parted([3, 2, 1], 2), parted([3, 2], 2)
    (([3, 2], 2), ([3, 2], None))
    """
    return (found[:limit], found[limit - 1]) if len(found) > limit else (found, None)


def next_of(value: Any) -> str:
    """The cursor of what ended here.

    >>> cursor_of({"cursor": next_of((7, "a"))}, tuple[int, str])
    (7, 'a')
    """
    return urlsafe_b64encode(msgspec.json.encode(value)).decode()
