"""Paths among the parameters of jobs: who asks for a job may be far away, so they lead to few places.

A kind declares each as `OutPath` or `InPath`; both checks follow from that.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from shroff import config
from shroff.errors import UsageError
from shroff.language.yaml import text as yamltext
from shroff.project.settings.systems import SYSTEM_KEYS
from shroff.runtime.own_files import leads_out

if TYPE_CHECKING:
    from shroff.app.project import Project

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
        for one in type_.types if isinstance(type_, msgspec.inspect.UnionType) else (type_,):
            if isinstance(one, msgspec.inspect.Metadata) and "below" in (one.extra or {}):
                found[field.name] = str((one.extra or {})["below"])
    return found


def path_mistakes(params: msgspec.Struct) -> Iterator[tuple[str, str]]:
    """Parameters that are no path below their folder, by the text alone, with what to write instead."""
    for name, below in paths_of(type(params)).items():
        if (text := getattr(params, name)) is None:
            continue
        parts = text.split("/")
        is_plain = text.isprintable() and "://" not in text and not any(one[:1] in {"", "."} for one in parts)
        if not is_plain:
            shown = f"{below or 'drafts'}/{parts[-1].lstrip('.') or 'x'}"
            yield name, f"{text!r} is not a path below the project's folder. Write one such as {shown}."
        elif below and (parts[0] != below or len(parts) == 1):
            yield name, f"a job writes below {below}/ only, and this is {text!r}. Write {below}/{text}."


def path_of(project: Project, params: msgspec.Struct, name: str) -> Path:
    """Where a parameter leads, links followed, to be read or written now.

    Raises: UsageError where a link leads out of its folder; for a secret; for an output where shroff.yaml has a place.
    """
    text: str = getattr(params, name)
    below = paths_of(type(params))[name]
    home = project.opened.places.folder.resolve()
    path = (home / text).resolve()
    if leads_out(home, path) or not path.is_relative_to(home / below):
        raise UsageError(f"{name}: {text!r} leads to a place that jobs do not {'write' if below else 'read'}.")
    if below and any(path.is_relative_to(one) or one.is_relative_to(path) for one in _named(home)):
        words = f"{config.PROJECT_FILE} has something else there. Write another path below {below}/."
        raise UsageError(f"{name}: {text!r} is taken: {words}")
    return path


def _named(home: Path) -> Iterator[Path]:
    """What shroff.yaml has for outside systems, each text as the path in the project's folder that it may be."""
    tree = yamltext.read(config.read_settings(home), config.PROJECT_FILE, [])
    top = tree.entries if isinstance(tree, yamltext.Mapping) else ()
    nodes = [value for key, value in top if key.text in SYSTEM_KEYS]
    while nodes:
        if isinstance(node := nodes.pop(), yamltext.Scalar):
            path = (home / node.text.rpartition("://")[2].lstrip("/")).resolve()
            if path != home:
                yield path
        else:
            nodes += [one for _, one in node.entries] if isinstance(node, yamltext.Mapping) else node.items
