"""What a change reaches: by imports, by what is loaded by name, and by the table of rules; nearest first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import time_limit
from tools.imports import ImportGraph
from tools.reach import ROOT, changed_files, changed_lines, plan, target_of

pytestmark = pytest.mark.slow  # the graph takes five seconds


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return ImportGraph(ROOT)


def reaches(graph: ImportGraph, module: str, other: str) -> bool:
    """Tell whether one module imports another, directly or through others."""
    distance, _ = graph.distances([other])
    return module in distance


@pytest.mark.parametrize(
    "module, imported",
    [
        ("shroff.services.parts", "shroff.services.approvals.agreements"),  # by the end of its name
        ("shroff.services.jobs.kinds", "shroff.services.jobs.work"),  # by its name in a text
        ("shroff.web.table", "shroff.web.pages.cases.queue"),  # by a walk through its package
        ("shroff.web.table", "shroff_plugins.assistant.pages"),  # by entry points of a group
        ("shroff.services.adapter_factory", "shroff_plugins.connectors.redis_sender"),  # by an entry point
        ("shroff.cli.main", "shroff.cli.operations"),  # in a function
        ("tests.services.test_links", "shroff.services.links.operations"),
        ("tests.journeys.test_pruning", "shroff.services.retention.operations"),  # by the word of a command
        ("tests.journeys.test_pruning", "shroff.__main__"),
        ("tests.recovery.test_worker", "tests.recovery.conftest"),
    ],
)
def test_what_is_loaded_by_name_or_in_a_function_is_imported(graph: ImportGraph, module: str, imported: str):
    assert imported in graph.imported_by[module]


def test_imports_of_type_checkers_alone_are_none(graph: ImportGraph):
    assert "shroff.services.project" not in graph.imported_by["shroff.services.jobs.kinds"]


@pytest.mark.parametrize(
    "module", ["shroff.web.table", "shroff.cli.main", "shroff.services.project", "shroff.worker.inbox"]
)
def test_a_process_loads_nothing_that_its_module_does_not_reach(graph: ImportGraph, module: str):
    code = (
        f"import sys, {module}; print(*(name for name in sys.modules if name.partition('.')[0].startswith('shroff')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    own = [name for name in loaded if name in graph.paths and "import" in graph.paths[name].read_text("utf-8")]

    assert len(own) > 10
    assert {name for name in own if not reaches(graph, module, name)} - graph.of_each_run == set()


@pytest.mark.parametrize(
    "path, module",
    [
        ("src/shroff/log/lateness.py", "shroff.log.lateness"),
        ("src/shroff/web/pages/templates/queue.html", "shroff.web.pages.cases.queue"),
        ("src/shroff/web/pages/templates/job_parts.html", "shroff.web.pages.jobs"),
        ("src/shroff/adapters/postgres.sql", "shroff.adapters.log.postgresql"),
        ("src/shroff/operations/commands.txt", "shroff.operations.manifest"),
        ("src/shroff/people/common_words.txt", "shroff.people.passwords"),
        ("src/shroff/log/gone.py", "shroff.log.writer"),
    ],
)
def test_a_file_of_the_program_reaches_what_uses_it(graph: ImportGraph, path: str, module: str):
    target = target_of(graph, path)

    assert module in target.modules
    assert not target.is_all


@pytest.mark.parametrize(
    "path, test",
    [
        ("deploy/compose/compose.yaml", "tests.deploy.test_deploy"),
        ("docs/howto/backup.md", "tests.docs.test_pages"),
        ("examples/ulb/run.py", "tests.examples.test_examples"),
        ("clients/go/client.go", "tests.clients.test_clients"),
        ("tools/lock.py", "tests.tools.test_wheels"),
        ("Makefile", "tests.tools.test_suite"),
        ("README.md", "tests.docs.test_pages"),
        ("src/shroff/log/lateness.py", "tests.architecture.test_shape"),
    ],
)
def test_other_files_reach_the_tests_of_their_folder_and_those_that_read_them(graph: ImportGraph, path: str, test: str):
    assert test in target_of(graph, path).tests


@pytest.mark.parametrize(
    "path",
    [
        "tests/conftest.py",
        "tests/support/projects.py",
        "tests/golden/routes.txt",
        "pyproject.toml",
        "requirements/dev.txt",
        "src/shroff/__init__.py",
        "tools/servers/kafka.py",
        "of_a_kind_that_no_rule_knows.bin",
    ],
)
def test_what_all_tests_share_reaches_all(graph: ImportGraph, path: str):
    found = plan(graph, [path])

    assert len(found.reached) == found.n_tests == len(graph.tests)


def test_the_nearest_tests_come_first_and_each_folder_has_a_reason(graph: ImportGraph):
    found = plan(graph, ["src/shroff/log/lateness.py", "tests/web/test_why.py"])

    assert found.tests[:2] == ["tests/web/test_why.py", "tests/log/test_places.py"]
    assert [each.nearness for each in found.reached] == sorted(each.nearness for each in found.reached)
    assert found.tests == plan(graph, ["tests/web/test_why.py", "src/shroff/log/lateness.py"]).tests
    (of_log,) = [line for line in found.lines() if line.startswith("  tests/log (")]
    assert of_log.endswith("): test_places.py imports shroff.log.lateness")
    folders = {line.split()[0] for line in found.lines() if line.startswith("  tests/") and " (" in line}
    assert folders >= {f"tests/{Path(test).parts[1]}" for test in found.tests if len(Path(test).parts) == 3}


def test_of_equally_near_tests_those_come_first_that_have_the_words_of_the_changed_lines(graph: ImportGraph):
    path = "src/shroff/explain/links.py"
    text = (ROOT / path).read_text("utf-8").splitlines()
    (line,) = (number for number, row in enumerate(text, 1) if row.startswith("class Hub("))
    without, having = plan(graph, [path]).tests, plan(graph, [path], {path: [line]}).tests

    assert having.index("tests/services/test_links.py") < having.index("tests/explain/test_amounts.py")
    assert sorted(without) == sorted(having)


def test_a_change_is_what_differs_from_where_the_branch_left_main_or_else_from_the_last_commit(tmp_path: Path):
    def git(*words: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit(name: str) -> None:
        (tmp_path / name).write_text(name)
        git("add", ".")
        git("commit", "-m", name)

    git("init", "-b", "main")
    for name in ("a", "b"):
        commit(name)
    on_main = changed_files(tmp_path)[1]
    git("checkout", "-b", "branch")
    for name in ("c", "d"):
        commit(name)
    (tmp_path / "new").touch()
    (tmp_path / "a").unlink()

    assert on_main == ["b"]
    assert changed_files(tmp_path)[1] == ["a", "c", "d", "new"]
    assert changed_files(tmp_path, "HEAD")[1] == ["a", "new"]
    (tmp_path / "c").write_text("c\nmore\nlines\n")
    assert changed_lines(tmp_path, "HEAD") == {"c": {1, 2, 3}}


@pytest.mark.parametrize("minutes, passed, left", [("0", "2 passed", False), ("0.00001", "no tests ran", True)])
def test_a_run_whose_time_is_over_says_what_it_did_not_run(tmp_path: Path, minutes: str, passed: str, left: bool):
    (tmp_path / "test_a.py").write_text("def test_one(): pass\ndef test_two(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.time_limit", "-p", "no:randomly", "test_a.py"]
    environment = os.environ | {time_limit.MINUTES: minutes, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert passed in run.stdout, run.stderr
    assert ("not run: 2 tests of 1 files" in run.stdout) is left
    assert ("test_a.py (2)" in run.stdout) is left
