"""The public names of the package, in a golden file: what is taken away, renamed or added shows in a review.

`python -m tests.architecture.test_public_api` writes the file anew.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path

import shroff
from shroff import config
from shroff.app.forwarded import FORWARDED
from shroff.app.opened import Opened
from shroff.app.project import Project

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
    yield "shroff.open"
    yield from members("Project", Project)
    for name, part in parts_of(made()).items():
        yield from members(f"Project.{name}", type(part))
    yield from (f"Project.{old} -> Project.{new}" for old, new in FORWARDED.items())


def made() -> Project:
    """A project of a folder that is not there: neither it nor its parts open anything."""
    return Project(Opened(config.Places(Path("nowhere"))))


def parts_of(project: Project) -> dict[str, object]:
    names = [name for name, value in vars(Project).items() if isinstance(value, cached_property)]
    return {name: getattr(project, name) for name in names}


def members(name: str, owner: type) -> Iterator[str]:
    for member in sorted(dir(owner)):
        value = inspect.getattr_static(owner, member)
        if member.startswith("_"):
            continue
        is_call = inspect.isfunction(value)
        yield (
            f"{name}.{member}({', '.join(list(inspect.signature(value).parameters)[1:])})"
            if is_call
            else f"{name}.{member}"
        )


def test_the_public_names_are_those_of_the_golden_file():
    assert callable(shroff.open)
    assert sorted(set(public_names())) == GOLDEN.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    GOLDEN.write_text("".join(f"{name}\n" for name in sorted(set(public_names()))), encoding="utf-8")
