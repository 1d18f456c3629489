"""The public names of the package, in a golden file: what is taken away, renamed or added shows in a review.

`python -m tests.architecture.test_public_api` writes the file anew.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import shroff
from shroff import config
from shroff.services.context import ProjectContext
from shroff.services.project import Project
from tests.architecture.test_plugins import public as public_to_plugins

GOLDEN = Path(__file__).with_name("public_api.txt")
MODULES = ("shroff", "shroff.client", "shroff.errors", "shroff.webhooks")


def public_names() -> Iterator[str]:
    for module in MODULES:
        found = import_module(module)
        for name in sorted(getattr(found, "__all__", None) or vars(found)):
            value = getattr(found, name)
            if (
                name.startswith("_")
                or inspect.ismodule(value)
                or getattr(value, "__module__", "").split(".")[0] != "shroff"
            ):
                continue
            yield f"{module}.{name}"
            if module == "shroff.client" and inspect.isclass(value):
                yield from members(f"{module}.{name}", value)
    yield from public_to_plugins()
    yield "shroff.open"
    yield from members("Project", Project)
    for name, part in parts_of(made()).items():
        yield from members(f"Project.{name}", type(part))


def made() -> Project:
    """A project of a folder that is not there: neither it nor its parts open anything."""
    return Project(ProjectContext(config.ProjectPaths(Path("nowhere"))))


def parts_of(project: Project) -> dict[str, object]:
    names = [name for name, value in inspect.getmembers(Project) if isinstance(value, cached_property)]
    return {name: getattr(project, name) for name in names}


def members(name: str, owner: type) -> Iterator[str]:
    for member in sorted(dir(owner)):
        value = inspect.getattr_static(owner, member)
        if member.startswith("_"):
            continue
        yield f"{name}.{member}({', '.join(arguments(value))})" if inspect.isfunction(value) else f"{name}.{member}"


def arguments(call: Callable[..., object]) -> Iterator[str]:
    """The names that a call of a part takes, in order; those of `**options: Unpack[...]` one by one."""
    for parameter in list(inspect.signature(call).parameters.values())[1:]:
        if parameter.kind is not parameter.VAR_KEYWORD or "Unpack[" not in str(parameter.annotation):
            yield parameter.name
        else:
            known = vars(sys.modules[call.__module__])
            yield from typed_names(str(parameter.annotation).removeprefix("Unpack[").removesuffix("]"), known)


def typed_names(name: str, known: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a TypedDict that a module defines, or imports for type checkers alone."""
    if name not in known:
        tree = ast.parse(Path(known["__file__"]).read_text(encoding="utf-8"))
        imported = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
        module = next(node.module for node in imported if name in {alias.name for alias in node.names})
        known = vars(import_module(module))
    yield from known[name].__annotations__


def test_the_public_names_are_those_of_the_golden_file():
    assert callable(shroff.open)
    assert sorted(set(public_names())) == GOLDEN.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    GOLDEN.write_text("".join(f"{name}\n" for name in sorted(set(public_names()))), encoding="utf-8")
