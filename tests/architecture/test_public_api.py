"""The public names of the package, in a golden file: what is taken away, renamed or added shows in a review.

`python -m tests.architecture.test_public_api` writes the file anew.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import shroff
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
