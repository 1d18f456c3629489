"""Plug-ins import only the public names of `shroff.plugins`, and each of these says what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path

import pytest

from docs.made_plugins import modules, names_of
from shroff.operations import manifest
from shroff.operations.declaration import OPERATIONS
from tests.architecture.sources import ROOT, SRC, Module, all_modules, imports

FOREIGN = (ROOT / "tests" / "foreign_adapters" / "src", ROOT / "examples" / "orders")
OF_ALL = (
    "shroff.client.",
    "shroff.errors.",
    "shroff.json_types.",
    "shroff.open",
    "shroff.testing.contracts.",
    "shroff.webhooks",
)


@cache
def public() -> frozenset[str]:
    """The names that a plug-in may import, dotted."""
    return frozenset(f"{module}.{name}" for module in modules() for name in names_of(module))


def foreign_modules() -> Iterator[Module]:
    for path in (path for folder in FOREIGN for path in sorted(folder.rglob("*.py"))):
        folder = next(folder for folder in FOREIGN if path.is_relative_to(folder))
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        yield Module(name, is_package=path.stem == "__init__", text=path.read_text(encoding="utf-8"))


def private(source: Module) -> list[str]:
    """What a module imports of shroff that is not public."""
    ours = (name for name in imports(source) if name.partition(".")[0] == "shroff")
    return sorted(
        f"{source.name} imports {name}"
        for name in ours
        if name not in {*public(), *modules()} and not name.startswith(OF_ALL)
    )


def test_plug_ins_import_only_public_names():
    plugins = [module for module in all_modules() if module.name.startswith("shroff_plugins.")]
    plugins += foreign_modules()

    assert len(plugins) > 15
    assert [line for plugin in plugins for line in private(plugin)] == []


@pytest.mark.parametrize(
    "text", ["from shroff.log.dedup_lookup import look", "import shroff.engine", "from shroff import log"]
)
def test_an_import_of_a_private_name_is_found(text):
    assert private(Module("shroff_plugins.planted", is_package=False, text=text))


def test_every_public_name_says_what_it_is():
    values = {name: getattr(import_module(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in public()}
    manifest.load_all()
    said = {declared.request: declared.summary for declared in OPERATIONS.values()}
    made = [name for name, value in values.items() if isclass(value) or isfunction(value)]
    lacking = [name for name in made if not (said.get(values[name]) or values[name].__doc__ or "").strip()]

    assert (len(modules()), len(values) > 300, lacking) == (18, True, [])


def test_the_product_names_no_plug_in():
    ours = [module for module in all_modules() if module.name.partition(".")[0] == "shroff"]

    assert [our.name for our in ours if "shroff_plugins" in our.text] == []


def test_every_plug_in_stands_on_the_architecture_page():
    page = (ROOT / "docs/explain/architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in Path(SRC / "shroff_plugins").glob("*/__init__.py")}

    assert folders - set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == set()
