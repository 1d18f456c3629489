"""Mutants that are planted all at once, each behind a switch that a variable of the environment turns on.

So a module with a fault need not be imported anew, and one run of the tests tells which tests run each place.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from shroff.features.kernels.numbers import KERNEL_FILES
from tests.support.switched import ON, PASSED
from tools.mutations import Mutant, Text

MODULE: Final = Path("src") / "shroff" / "switches.py"  # of the clone in which mutants are planted
IMPORT: Final = "; from shroff.switches import is_on as is_on__"
SWITCH: Final = f"""
import os

_passed = set()


def is_on(number):
    if on := os.environ.get("{ON}"):
        return on == number
    if file := os.environ.get("{PASSED}"):
        place = number, os.environ.get("PYTEST_CURRENT_TEST", "")
        if place not in _passed:
            _passed.add(place)
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.write(descriptor, "\\t".join((*place, "\\n")).encode())
            os.close(descriptor)
    return False
"""
KINDS: Final = {
    "comparison turned": ast.Compare,
    "boundary moved": ast.Compare,
    "condition dropped": ast.BoolOp,
    "condition turned": ast.BoolOp,
    "sign": ast.BinOp,
    "not lost": ast.UnaryOp,
    "await lost": ast.Await,
}


def place_of(mutant: Mutant, text: Text) -> tuple[int, int] | None:
    """Return where the expression with a fault begins and ends; None where no switch can choose it.

    That is what a kernel is compiled from, and what is evaluated once, by an import.
    """
    kind = KINDS.get(mutant.kind)
    is_compiled = any(Path(mutant.path).match(f"src/shroff/{pattern}") for pattern in KERNEL_FILES)
    if kind is None or is_compiled or mutant.path.endswith("kernel.py"):
        return None
    end = mutant.start + len(mutant.before)
    found = (
        node
        for node in of_calls(text.tree)
        if isinstance(node, ast.expr)
        and isinstance(node, kind)
        and text.start(node) <= mutant.start
        and end <= text.end(node)
    )
    places = ((text.start(node), text.end(node)) for node in found)
    return min(places, key=lambda place: place[1] - place[0], default=None)


def of_calls(node: ast.AST, *, is_called: bool = False) -> Iterator[ast.AST]:
    """Yield the nodes that are evaluated by each call of a function, without those in texts with braces."""
    for name, value in ast.iter_fields(node):
        in_body = is_called or (
            name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        )
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue
            if in_body:
                yield child
            yield from of_calls(child, is_called=in_body)


def plant(root: Path, mutants: Mapping[str, Mutant]) -> list[str]:
    """Plant mutants in a clone, by their numbers, and return the numbers of those that have a switch."""
    by_path = defaultdict[str, list[tuple[int, int, str]]](list)
    for number, mutant in mutants.items():
        text = Text((root / mutant.path).read_text("utf-8"))
        if (place := place_of(mutant, text)) is not None:
            by_path[mutant.path].append((*place, number))
    for path, places in by_path.items():
        file = root / path
        source = file.read_text("utf-8")
        places.sort(key=lambda place: (place[0], -place[1]))
        (future,) = (line for line in source.splitlines() if line.startswith("from __future__ import"))
        planted = with_switches(source, 0, len(source), places, mutants)
        file.write_text(planted.replace(future, future + IMPORT, 1), "utf-8")
    (root / MODULE).write_text(SWITCH, "utf-8")
    return [number for places in by_path.values() for _, _, number in places]


def with_switches(
    source: str, begin: int, end: int, places: Sequence[tuple[int, int, str]], mutants: Mapping[str, Mutant]
) -> str:
    """Return a part of a module, with a switch at each of these places in it; a place may lie in another."""
    parts = []
    while places:
        first, last, number = places[0]
        inner = [place for place in places[1:] if place[1] <= last]
        places = places[1 + len(inner) :]
        mutant = mutants[number]
        fault = source[first : mutant.start] + mutant.after + source[mutant.start + len(mutant.before) : last]
        right = with_switches(source, first, last, inner, mutants)
        parts += [source[begin:first], f"(({fault}) if is_on__({number!r}) else ({right}))"]
        begin = last
    return "".join([*parts, source[begin:end]])
