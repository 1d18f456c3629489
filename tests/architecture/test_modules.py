"""What holds for every module: a docstring, a bounded length, and no way to run a user's text as code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

import pytest

from tests.architecture.sources import Module, all_modules

LINES_MAX = 500
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
# What may, as its only texts are those of this package's own functions, by `inspect.getsource`.
OWN_CODE = {"shroff.features.online.undo_kernel": {"compile", "exec"}}
# Reading these formats can run what is in them.
UNSAFE_MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
UNSAFE_ARGUMENTS = {"allow_pickle"}
ARGS = re.compile(r"^Args:\n((?:    .*\n?|\n)+)", re.MULTILINE)
ITEM = re.compile(r"^    (\w[\w, ]*?)(?: \(.*\))?:", re.MULTILINE)


def forbidden(source: Module) -> list[str]:
    """Every use of something that runs data as code, with its line."""
    allowed = OWN_CODE.get(source.name, ())
    return [f"{source.name}:{line} uses {name}" for line, name in uses(source.nodes) if name not in allowed]


def uses(nodes: Iterable[ast.AST]) -> list[tuple[int, str]]:
    found = []
    for node in nodes:
        match node:
            case ast.Name(id=name) if name in RUNS_CODE:
                found.append((node.lineno, name))
            case ast.Attribute(value=ast.Name(id="builtins" | "__builtins__"), attr=name) if name in RUNS_CODE:
                found.append((node.lineno, name))
            case ast.Import(names=names):
                found += [(node.lineno, n.name) for n in names if n.name.split(".")[0] in UNSAFE_MODULES]
            case ast.ImportFrom(module=str(name)) if name.split(".")[0] in UNSAFE_MODULES:
                found.append((node.lineno, name))
            case ast.keyword(arg=str(name)) if name in UNSAFE_ARGUMENTS:
                found.append((node.value.lineno, name))
            case (
                ast.List(elts=[ast.Attribute(attr="executable"), *words])
                | ast.Tuple(elts=[ast.Attribute(attr="executable"), *words])
            ) if not (words and isinstance(words[0], ast.Constant) and words[0].value == "-P"):
                found.append((node.lineno, "a Python that imports from the current folder, without -P"))
    return found


def too_long(source: Module) -> bool:
    """Whether a module is longer than the limit without a first line that says why."""
    lines = source.text.splitlines()
    return len(lines) > LINES_MAX and "because" not in lines[0]


def test_every_module_says_what_it_is():
    silent = [source.name for source in all_modules() if not ast.get_docstring(source.tree)]

    assert silent == []


def test_what_the_system_says_of_a_file_is_told_with_a_cure():
    bare = re.compile(r"\{[^{}]+\} cannot be (?:read|written|made|removed): \{error\.strerror")
    found = [f"{source.name}: {match[0]}" for source in all_modules() for match in bare.finditer(source.text)]

    assert found == [], "write errors.os_words(error, path, ' cannot be ...'), which knows what to do"


def test_nothing_runs_a_users_text_as_code():
    assert [line for source in all_modules() for line in forbidden(source)] == []


def test_a_module_above_500_lines_says_why_in_its_first_line():
    assert [source.name for source in all_modules() if too_long(source)] == []


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "run = exec",
        "import builtins\nbuiltins.compile('', '', 'exec')",
        "import pickle",
        "from pickle import loads",
        "import numpy\nnumpy.load('x', allow_pickle=True)",
        "__import__('os')",
        "run([sys.executable, '-m', 'shroff'])",
        "command = (sys.executable, '-c', code)",
    ],
)
def test_a_use_of_code_as_data_is_found(text):
    assert forbidden(Module("shroff.planted", is_package=False, text=text))


def test_looking_alike_is_not_forbidden():
    text = "import re\nre.compile('a')\nself.evaluate(1)\nfrom ast import literal_eval"
    text += "\nrun([sys.executable, '-P', '-m', 'shroff'])"

    assert forbidden(Module("shroff.planted", is_package=False, text=text)) == []


def test_length_is_judged_by_lines_and_reason():
    body = "x = 1\n" * LINES_MAX

    assert too_long(Module("shroff.planted", is_package=False, text='"""All of it."""\n' + body))
    assert not too_long(Module("shroff.planted", is_package=False, text="# long because one loop\n" + body))
    assert not too_long(Module("shroff.planted", is_package=False, text='"""All of it."""\n'))


def declared(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """The parameters of a function; the fields of a class, and the parameters of what makes it."""
    if not isinstance(node, ast.ClassDef):
        return {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
    names = set()
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            names.add(part.target.id)
        elif isinstance(part, ast.FunctionDef):
            names |= {part.name} | (declared(part) if part.name == "__init__" else set())
    return names


def undeclared(source: Module) -> list[str]:
    """The names under `Args:` of a docstring that are no parameter, field or property there."""
    found = []
    for node in source.nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        said = ARGS.search(ast.get_docstring(node) or "")
        if said is None:
            continue
        names = declared(node)
        named = [name.strip() for line in ITEM.findall(said[1]) for name in line.split(",")]
        found += [
            f"{source.name}:{node.lineno}: {name}" for name in named if name not in names and f"_{name}" not in names
        ]
    return found


def test_each_documented_argument_exists():
    assert [line for source in all_modules() for line in undeclared(source)] == []
