"""README and docs: what they show runs and prints what they say; their links lead somewhere."""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.build import broken_links
from shroff.cli.demo import EVENTS
from shroff.cli.progress import COMPILING
from tests.docs.cells import alike, shown_by
from tests.docs.pages import ROOT, Step, agrees, all_pages, blocks, steps
from tests.support import forks
from tests.support.effort import IS_LONG

# The demo of the README is the longest: a minute on two cores, and the machine may be busy.
STEP_S_MAX = 180
# What `make test` tries; the other pages are long, and `.ci/run` tries those that a change reaches.
ALWAYS = ("README.md", "docs/tutorial/")
# The demo of its whole size takes half of a minute: tests/journeys/test_demo.py proves the command with fewer payments.
WHOLE_DEMO = "shroff demo --once --json"
BESIDE = {"docs/howto/rule-cookbook.md": "examples/cookbook/generate.py"}  # a file that the reader has copied
RUNNABLE = [page for page in all_pages() if steps(page.read_text(encoding="utf-8"))]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def of_its_tier(page: Path) -> object:
    return pytest.param(page, id=name(page), marks=[] if name(page).startswith(ALWAYS) else [pytest.mark.long])


@pytest.mark.slow
@pytest.mark.parametrize("page", [of_its_tier(page) for page in RUNNABLE])
def test_the_examples_of_a_page_run_and_print_what_it_shows(page, tmp_path):
    names: dict[str, object] = {}
    if name(page) in BESIDE:
        shutil.copy(ROOT / BESIDE[name(page)], tmp_path)
    for step in steps(page.read_text(encoding="utf-8")):
        if step.text == WHOLE_DEMO and not IS_LONG:
            continue
        status, printed = perform(step, tmp_path, names)
        place = f"{name(page)}:{step.line}: {step.text}\nprinted:\n{printed}"

        assert status == step.status, f"exit status {status} of {place}"
        assert step.shown is None or same(step, printed), f"not what the page shows: {place}"


def test_the_readme_has_examples_that_run():
    assert ROOT / "README.md" in RUNNABLE


def test_the_readme_shows_the_demo_as_large_as_it_is():
    (demo,) = [step for step in steps((ROOT / "README.md").read_text(encoding="utf-8")) if step.text == WHOLE_DEMO]

    assert demo.shown == f'...{{"events": {EVENTS}, ...'


@pytest.mark.parametrize("page", all_pages(), ids=name)
def test_the_links_of_a_page_lead_somewhere(page):
    assert broken_links(page) == []


@pytest.mark.parametrize("page", [*all_pages(), ROOT / "CONTRIBUTING.md"], ids=name)
def test_the_make_targets_that_a_page_names_exist(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    in_blocks = [
        found for _, _, body in blocks(text) for found in re.findall(r"^\$? ?make ([a-z]+)", body, re.MULTILINE)
    ]

    assert set(re.findall(r"`make ([a-z]+)", text)) | set(in_blocks) <= targets


def test_a_page_that_shows_something_else_is_found():
    assert not agrees("3 payments", "4 payments")
    assert not agrees("3 payments", "3 payments\nand an error")
    assert agrees("decided ... in ... s\n...\nok", "decided 7 in 0.3 s  \nx\ny\nok\n")


def test_what_a_first_run_compiles_is_no_part_of_what_a_page_shows(tmp_path):
    step = Step(1, "console", f"echo 'shroff: {COMPILING}' >&2; echo 'shroff: a warning' >&2; echo 3 payments")

    assert perform(step, tmp_path, {}) == (0, "shroff: a warning\n3 payments\n")


def test_commands_of_a_page_are_read_with_what_they_print():
    page = "```bash\ncat > a <<'END'\none\nEND\n```\n\n```console\n$ cat a\none\n$ false  # exit status 1\n```\n"
    pasted = "```bash\ncat a; false  # exit status 1\n```\n\n```text\none\n```\n\n```bash\ntrue\n```\n"

    assert steps(page) == [
        Step(2, "console", "cat > a <<'END'\none\nEND"),
        Step(8, "console", "cat a", "one"),
        Step(10, "console", "false  # exit status 1", None, 1),
    ]
    assert steps(pasted) == [Step(2, "console", "cat a; false  # exit status 1", "one", 1), Step(10, "console", "true")]


def test_what_has_several_lines_and_all_of_the_first_hour_can_be_pasted():
    prompts = [
        f"{path.name}:{line}"
        for path in all_pages()
        for line, kind, body in blocks(path.read_text(encoding="utf-8"))
        if kind == "console" and (path.name == "first-hour.md" or re.search("^> ", body, re.MULTILINE))
    ]

    assert prompts == []


def same(step: Step, printed: str) -> bool:
    return alike(step.shown or "") == alike(printed) if step.kind == "cell" else agrees(step.shown or "", printed)


@contextlib.contextmanager
def modules_of(folder: Path) -> Iterator[None]:
    """Forget the modules that a page imports from its folder: another test has its own of that name."""
    before = set(sys.modules)
    paths = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = paths
        for name in set(sys.modules) - before:
            module = sys.modules[name]
            places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
            if any(place and Path(place).resolve().is_relative_to(folder.resolve()) for place in places):
                del sys.modules[name]


def perform(step: Step, folder: Path, names: dict[str, object]) -> tuple[int, str]:
    """Run one step in a folder; its exit status and all it printed. Sessions leave what they name in `names`."""
    if step.kind == "cell":
        with contextlib.chdir(folder):
            return 0, shown_by(step.text, names)
    if step.kind == "session":
        test = doctest.DocTestParser().get_doctest(step.text, names, "page", None, step.line)
        printed: list[str] = []
        with contextlib.chdir(folder), modules_of(folder):
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            result = runner.run(test, out=printed.append, clear_globs=False)
        names |= test.globs
        return min(result.failed, 1), "".join(printed)
    command = ["bash", "-c", step.text] if step.kind == "console" else [forks.PYTHON, "-c", step.text]
    bin_folder = f"{forks.SHROFF.parent}{os.pathsep}{Path(sys.executable).parent}"
    environment = os.environ | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "TZ": "UTC",
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_S_MAX,
        check=False,
    )
    return done.returncode, done.stdout.replace(f"shroff: {COMPILING}\n", "")


def test_each_decision_has_a_number_of_its_own_and_stands_in_the_index():
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"^\| \[[0-9]{4}\]\((.+?)\): .* \| (.+) \|$", (folder / "index.md").read_text(), re.MULTILINE)
    numbers = {name: re.findall("^## ([0-9]{4}):", (folder / name).read_text(), re.MULTILINE) for name, _ in listed}
    every = [number for page in numbers.values() for number in page]

    assert {page.name for page in folder.glob("0*.md")} == {*numbers, "0000-template.md"}
    assert {name for name, row in listed if not set(numbers[name]) <= set(row.split(", "))} == set()
    assert sorted(every) == sorted(set(every))
