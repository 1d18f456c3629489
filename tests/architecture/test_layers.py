"""Rooms import only rooms below them (order: pyproject.toml); late imports and those for type checking count."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import grimp
import pytest
from importlinter.application import use_cases
from importlinter.configuration import configure
from importlinter.contracts.layers import LayersContract

from tests.architecture.sources import ROOT, SRC


def contract_options() -> dict[str, Any]:
    configure()
    contracts = use_cases.read_user_options(str(ROOT / "pyproject.toml")).contracts_options
    return next(contract for contract in contracts if contract["type"] == "layers")


@cache
def imports_of_the_package() -> grimp.ImportGraph:
    return grimp.build_graph("shroff", cache_dir=None)


def keeps_layers(graph: grimp.ImportGraph) -> bool:
    contract = LayersContract("layers", {"root_packages": ["shroff"]}, contract_options())
    return contract.check(deepcopy(graph), verbose=False).kept


def rooms() -> list[str]:
    return [name.strip() for layer in contract_options()["layers"] for name in layer.split("|")]


def test_rooms_import_only_rooms_below_them():
    assert keeps_layers(imports_of_the_package()), "run .venv/bin/lint-imports to see which imports point upwards"


@pytest.mark.parametrize(
    "importer, imported",
    [
        ("shroff.language.parser", "shroff.features.naive"),  # upwards
        ("shroff.features.plan", "shroff.streams.log"),  # sideways
        ("shroff.engine.step", "shroff.log.dedup_lookup"),
        ("shroff.client.calls", "shroff.web.server"),
        ("shroff.streams.log", "shroff.testing.contracts"),
        ("shroff.errors", "shroff.config"),
    ],
)
def test_an_import_upwards_or_sideways_is_found(importer, imported):
    graph = imports_of_the_package()
    assert not graph.direct_import_exists(importer=importer, imported=imported)
    graph.add_import(importer=importer, imported=imported)
    try:
        assert not keeps_layers(graph)
    finally:
        graph.remove_import(importer=importer, imported=imported)


def test_a_room_without_a_layer_is_found():
    graph = imports_of_the_package()
    graph.add_module("shroff.attic")
    try:
        assert not keeps_layers(graph)
    finally:
        graph.remove_module("shroff.attic")


def test_the_architecture_page_tells_of_each_room():
    page = (ROOT / "docs" / "explain" / "architecture.md").read_text(encoding="utf-8")
    packages = [room for room in rooms() if (SRC / "shroff" / room).is_dir()]

    assert [room for room in packages if f"| `{room}`" not in page] == []
