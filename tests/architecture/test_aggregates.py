"""An aggregate is named in its row of the table and, by its number, in the kernels; nowhere else."""

from __future__ import annotations

import ast

from shroff.language.aggregates import AGGREGATES
from tests.architecture.sources import Module, all_modules, imports

TABLE = "shroff.language.aggregates"
ROOMS = ("shroff.language.", "shroff.features.")
# Names that are something else as well, and where: the grammar, words for people.
ALSO = {
    "shroff.language.clauses": {"distinct", "last"},
    "shroff.language.parser": {"last"},
    "shroff.language.expression_text": {"min"},
    "shroff.rules.definitions": {"count", "mean", "std", "sum"},  # the exact form of a comparison with a mean
    "shroff.features.programs.compiler": {"min", "max"},
    "shroff.features.value_bounds": {"min", "max"},
    "shroff.services.laws.windows": {  # their laws, as terms of a solver
        *("count", "distinct", "first", "last", "max", "mean", "min", "share", "sum")
    },
}


def speaks_of_aggregates(module: Module) -> bool:
    """Elsewhere `count` or `share` is a key of a document: what knows neither the table nor the node is passed over."""
    known = {f"{TABLE}.AGGREGATES", "shroff.language.expression.Aggregate"}
    return module.name.startswith(ROOMS) or bool(known & imports(module))


def named(module: Module) -> set[str]:
    texts = {node.value for node in module.nodes if isinstance(node, ast.Constant)}
    return AGGREGATES.keys() & texts


def misplaced(modules: list[Module]) -> list[str]:
    return [
        f"{module.name}: {name}"
        for module in modules
        if module.name != TABLE and speaks_of_aggregates(module)
        for name in sorted(named(module) - ALSO.get(module.name, set()))
    ]


def test_aggregates_are_named_in_the_table_and_the_kernels_only():
    assert misplaced(all_modules()) == []


def test_what_is_something_else_as_well_still_is():
    assert {module.name: named(module) for module in all_modules() if module.name in ALSO} == ALSO


def test_a_name_that_stands_elsewhere_is_found():
    text = "from shroff.language.expression import Aggregate\ndef f(node): return node.function in {'sum', 'mean'}"
    planted = Module("shroff.rules.attic", is_package=False, text=text)
    in_features = Module("shroff.features.attic", is_package=False, text="NEEDS = {'quantile': 1}")
    elsewhere = Module("shroff.cli.attic", is_package=False, text="print({'count': 1})")

    assert misplaced([planted, in_features, elsewhere]) == [
        "shroff.rules.attic: mean",
        "shroff.rules.attic: sum",
        "shroff.features.attic: quantile",
    ]
