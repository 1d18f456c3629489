"""The clone itself: locks that say nothing of the machine that made them, and a wheel that has all it needs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, SRC, Module, all_modules, imports
from tests.architecture.test_secrets import leaks

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
NAMES_A_MACHINE = re.compile(r"://|--(extra-)?index-url|--find-links|--trusted-host|(?<![\w.])/\w|file:")


NAMED = re.compile(
    r"(?<![\w/.-])(?:(src/shroff|src/shroff_plugins|tests|bench|docs|tools)/|(shroff|shroff_plugins)/)([\w./-]*\w\.(?:py|md|toml|sql|yaml))\b"
)
MADE_UP = {
    "tests/tools/test_reach.py",
    "tests/tools/test_suite.py",
    "tests/architecture/test_repository.py",
    "docs/explain/comparison.md",
}  # paths of tests that there are not, to be judged; paths of other repositories
WRITTEN_WHEN_ASKED = {"bench/results/few.md", "bench/results/mutants.md"}


def missing_paths(text: str) -> list[str]:
    """Paths of the repository that a text names and that lead nowhere."""
    named = {f"{'src/' * bool(package)}{folder or package}/{rest}" for folder, package, rest in NAMED.findall(text)}
    return sorted(path for path in named - WRITTEN_WHEN_ASKED if not (ROOT / path).exists())


def test_every_path_that_code_and_docs_name_leads_somewhere():
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "pyproject.toml", ROOT / "Makefile"]
    files += [file for folder in ("src", "tests", "bench", "tools", "docs") for file in (ROOT / folder).rglob("*.py")]
    kept = [file for file in files if file.name != "CHANGELOG.md" and str(file.relative_to(ROOT)) not in MADE_UP]
    wrong = {file: missing_paths(file.read_text(encoding="utf-8")) for file in kept}

    assert {str(file): paths for file, paths in wrong.items() if paths} == {}


def test_a_path_that_leads_nowhere_is_found():
    named = "src/" + "shroff/features/attic.py", "shroff" + "/features/attic.py", "docs" + "/explain/attic.md"

    assert [bool(missing_paths(f"see `{path}`")) for path in named] == [True, True, True]
    assert missing_paths("src/shroff/features/naive.py, shroff/features/naive.py and docs/index.md") == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_index_and_no_folder(lock):
    lines = lock.read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if NAMES_A_MACHINE.search(line)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_requirement_of_a_lock_has_a_hash(lock):
    requirements = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", lock.read_text(encoding="utf-8")))

    assert len(requirements) > 5
    assert [text for text in requirements if "==" not in text or "--hash=sha256:" not in text] == []


def test_every_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = {normal(line) for line in (ROOT / "requirements/core.txt").read_text().splitlines() if "==" in line}

    assert {normal(text) for text in project["dependencies"]} - locked == set()


# What an import is called on the package index, where that is another name.
DISTRIBUTIONS = {
    "argon2": "argon2-cffi",
    "backports": "backports-zstd",
    "bson": "pymongo",
    "compression": "backports-zstd",  # what Python 3.14 calls it
    "google.api_core": "google-cloud-pubsub",
    "google.auth": "google-cloud-pubsub",
    "google.cloud": "google-cloud-pubsub",
    "google.protobuf": "protobuf",
    "google.pubsub_v1": "google-cloud-pubsub",
    "opentelemetry": "opentelemetry-sdk",
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-http",
    "sklearn": "scikit-learn",
    "xgboost": "xgboost-cpu",
    "yaml": "pyyaml",
    "z3": "z3-solver",
}
# Parts that nothing but their own extra imports; every other module must import an extra's library when it needs it.
OF_EXTRAS = (
    "shroff.adapters",
    "shroff.testing",
    "shroff.events.avro.values",
    "shroff.services.laws.",
    "shroff_plugins.",
)


@cache
def declared() -> tuple[set[str], set[str]]:
    """The distributions that the core names, and those of all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    return {normal(text) for text in project["dependencies"]}, {normal(text) for text in extras}


def undeclared(source: Module) -> set[str]:
    """What a module imports that nothing declares; or that only an extra does, and a core module imports at once."""
    core, extras = declared()
    eager = {alias.name for node in source.tree.body if isinstance(node, ast.Import) for alias in node.names}
    eager |= {node.module or "" for node in source.tree.body if isinstance(node, ast.ImportFrom)}
    wrong = set()
    for name in imports(source):
        top = name.split(".")[0]
        if top in {"shroff", "shroff_plugins"} or top in sys.stdlib_module_names:
            continue
        package = DISTRIBUTIONS.get(".".join(name.split(".")[:2]), DISTRIBUTIONS.get(top, top.replace("_", "-")))
        late = source.name.startswith(OF_EXTRAS) or not any(text.split(".")[0] == top for text in eager)
        if package not in core and not (package in extras and late):
            wrong.add(f"{source.name} imports {top}")
    return wrong


def test_every_import_is_of_a_declared_requirement():
    assert set().union(*(undeclared(source) for source in all_modules())) == set()


@pytest.mark.parametrize("text", ["import abacus", "def f():\n    import abacus.beads", "import optuna"])
def test_an_import_that_nothing_declares_would_be_seen(text):
    assert undeclared(Module("shroff.planted", is_package=False, text=text))


def test_every_extra_stands_on_the_page_about_installing():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs/howto/install.md").read_text(encoding="utf-8")

    assert project["optional-dependencies"].keys() == set(re.findall(r"`(\w+)`", " ".join(rows_of(page, "extra"))))


def rows_of(page: str, head: str) -> list[str]:
    """The first cells of the table whose head begins so, without what stands in brackets."""
    table = page.partition(f"| {head} |")[2].partition("\n\n")[0]
    return [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("name", ["llvmlite", "numba"])
def test_a_requirement_whose_private_parts_are_used_has_an_upper_bound(name):
    texts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]

    assert [text for text in texts if normal(text) == name and ",<" in text]


def test_a_lock_that_names_an_index_would_be_seen():
    assert NAMES_A_MACHINE.search("--index-url https://example.org/simple")
    assert NAMES_A_MACHINE.search("#    uv pip compile /home/me/shroff/pyproject.toml")
    assert not NAMES_A_MACHINE.search("    #   -c requirements/core.txt")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this platform, as `make build` makes it."""
    hatchling, folder = Path(sys.executable).parent / "hatchling", tmp_path_factory.mktemp("wheel")
    env = os.environ | {"SHROFF_KERNELS": "1"}
    done = subprocess.run(
        [hatchling, "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env=env,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (made,) = folder.glob("*.whl")
    return made


WITHOUT_COMPILER = "import sys; sys.modules['numba'] = None; from shroff.cli.main import main; main(sys.argv[1:])"


@pytest.mark.slow
def test_a_machine_that_never_saw_it_decides_from_the_wheel_without_a_compiler(wheel, tmp_path):
    installed, home = tmp_path / "installed", tmp_path / "home"
    home.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    env = {"HOME": str(home), "PYTHONPATH": str(installed), "PATH": os.environ["PATH"]}
    before = set(installed.rglob("*.kernel"))
    for words in ("init bank --template payments", "-C bank decide bank/examples/payment.json --as payment"):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_COMPILER, *words.split()],
            cwd=home,
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )

    assert '"outcome":' in done.stdout
    assert set(installed.rglob("*.kernel")) == before
    assert not list(home.rglob("*.kernel"))


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(wheel):
    assert re.fullmatch(r"shroff-[\d.]+-py3-none-(manylinux_2_17|macosx_11_0)_\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
        (shown,) = (archive.read(name).decode() for name in packed if name.endswith("/METADATA"))
        found = [f"{name}, {leak}" for name in packed for leak in leaks(archive.read(name))]
    sources = {path.relative_to(SRC).as_posix() for path in SRC.rglob("*") if path.is_file()}

    assert {name for name in sources if "__pycache__" not in name} - packed == set()
    assert found == []
    assert {"shroff/py.typed", "shroff/web/pages/verify.html"} <= packed
    assert re.search(r"\n!\[[^\]]+\]\(https://\S+\.webp\)\n", shown)
    assert re.findall(r"\]\((?!https://)[^)]*\)", shown) == []


@pytest.mark.slow
def test_the_source_distribution_holds_what_make_and_the_tests_need(tmp_path):
    hatchling = Path(sys.executable).parent / "hatchling"
    subprocess.run([hatchling, "build", "-t", "sdist", "-d", tmp_path], cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    folders = "src tests docs examples bench tools requirements".split()
    sources = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for ending in ("py", "md", "yaml", "txt", "sql")
        for path in (ROOT / folder).rglob(f"*.{ending}")
        if ".shroff" not in path.parts
    }

    assert len(sources) > 500
    assert sources - names == set()
    assert {"Makefile", "pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"} <= names


def normal(requirement: str) -> str:
    """A requirement's name as the index writes it: `backports-zstd` of `backports.zstd>=1.0`."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()
