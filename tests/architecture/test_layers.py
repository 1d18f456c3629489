"""Imports point down the list of docs/explain/layers.md; neighbours of a line do not know each other."""

from __future__ import annotations

import re

import pytest

from tests.architecture.sources import ROOT, Module, all_modules, imports

UNDER_EVERYTHING = {"errors", "config"}


def layers() -> list[set[str]]:
    """The list on the page, top first: one set of packages per line."""
    page = (ROOT / "docs" / "explain" / "layers.md").read_text(encoding="utf-8")
    block = re.search(r"```layers\n(.*?)```", page, re.DOTALL)
    assert block, "docs/explain/layers.md has no ```layers block"
    lines = [line.split("#")[0] for line in block[1].splitlines()]
    return [{name.strip() for name in line.split("|")} for line in lines if line.strip()]


def violations(source: Module, order: list[set[str]]) -> list[str]:
    """What a module imports that it must not know, in words."""
    depth = {name: place for place, names in enumerate(order) for name in names}
    own = part(source.name)
    wrong = []
    for target in sorted(imports(source)):
        other = part(target)
        if not target.startswith("shroff.") or other == own or other.startswith("__"):
            continue
        if own == "":  # the package itself: `shroff.open` is all it may reach for
            allowed = other == "app"
        elif own == "testing":
            allowed = True
        elif other in UNDER_EVERYTHING:
            allowed = own != "errors"
        else:
            allowed = own in depth and other in depth and depth[own] < depth[other]
        if not allowed:
            wrong.append(f"{source.name} imports {target}")
    return wrong


def part(name: str) -> str:
    """The piece of the package a dotted name belongs to: `features` of `shroff.features.naive`."""
    pieces = name.split(".")
    if pieces[1:2] == ["__main__"]:
        return "cli"
    return pieces[1] if len(pieces) > 1 else ""


def test_imports_point_down_only():
    order = layers()

    assert [line for source in all_modules() for line in violations(source, order)] == []


def test_every_package_has_its_layer():
    known = set().union(*layers(), UNDER_EVERYTHING, {"", "testing"})

    assert {part(source.name) for source in all_modules()} - known == set()


@pytest.mark.parametrize(
    "name, text",
    [
        ("shroff.language.parser", "import shroff.features.naive"),
        ("shroff.language.parser", "from shroff import events"),
        ("shroff.features.plan", "from shroff.streams.log import Log"),
        ("shroff.features.plan", "from ..streams import log"),
        ("shroff.rules.files", "def late():\n    from shroff.decisions import engine"),
        ("shroff.client.calls", "from shroff.web import api"),
        ("shroff.streams.log", "from shroff.testing import contracts"),
        ("shroff.errors", "from shroff import config"),
        ("shroff", "from shroff import features"),
    ],
)
def test_an_import_upwards_or_sideways_is_found(name, text):
    assert violations(Module(name, is_package=False, text=text), layers())


@pytest.mark.parametrize(
    "name, text",
    [
        ("shroff.cli.main", "from shroff.app import open"),
        ("shroff.features.naive", "from shroff.language import types\nfrom . import plan\nimport numpy"),
        ("shroff.streams.log", "from shroff.errors import StateError"),
        ("shroff", "from shroff.app import open"),
    ],
)
def test_an_import_downwards_is_allowed(name, text):
    assert violations(Module(name, is_package=name == "shroff", text=text), layers()) == []
