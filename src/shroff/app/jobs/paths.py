"""Paths among the parameters of jobs: who asks for a job may be far away, so they lead to few places.

A kind declares each as `OutPath` or `InPath`; both checks follow from that.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Final

import msgspec

OUT: Final = "out"  # the folder of a project below which jobs write
PATH_MAX: Final = 300
OutPath = Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_MAX, extra={"below": OUT})]
InPath = Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_MAX, extra={"below": ""})]


@cache
def paths_of(params: type[msgspec.Struct]) -> dict[str, str]:
    """The parameters that are paths, each with the folder in the project that it is below."""
    found = {}
    for field in msgspec.structs.fields(params):
        type_ = msgspec.inspect.type_info(field.type)
        for part in type_.types if isinstance(type_, msgspec.inspect.UnionType) else (type_,):
            if isinstance(part, msgspec.inspect.Metadata) and "below" in (part.extra or {}):
                found[field.name] = str((part.extra or {})["below"])
    return found


def path_mistakes(params: msgspec.Struct) -> Iterator[tuple[str, str]]:
    """Parameters that are no path below their folder, by the text alone, with what to write instead."""
    for name, below in paths_of(type(params)).items():
        if (text := getattr(params, name)) is None:
            continue
        parts = text.split("/")
        is_plain = text.isprintable() and "://" not in text and not any(part[:1] in {"", "."} for part in parts)
        if not is_plain:
            shown = f"{below or 'drafts'}/{parts[-1].lstrip('.') or 'x'}"
            yield name, f"{text!r} is not a path below the project's folder. Write one such as {shown}."
        elif below and (parts[0] != below or len(parts) == 1):
            yield name, f"a job writes below {below}/ only, and this is {text!r}. Write {below}/{text}."
