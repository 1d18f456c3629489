"""Lists of what is still allowed only shrink: each is compared with the one before this change, as git has it."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.sources import ROOT

LISTS = ("tests/architecture/shapes.toml", "pyproject.toml")
BRANCHES = ("origin/main", "main")


def git(*words: str, folder: Path = ROOT) -> str | None:
    """What a command of git writes; None where it fails, or where there is no git."""
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def before(folder: Path = ROOT) -> str | None:
    """The commit that this change begins at: where it left main, else the one before; None without a history."""
    head = git("rev-parse", "HEAD", folder=folder)
    left = (git("merge-base", "HEAD", branch, folder=folder) for branch in BRANCHES)
    known = [commit for commit in left if commit and commit != head]
    return known[0] if known else git("rev-parse", "--verify", "--quiet", "HEAD^", folder=folder)


def allowed(file: str, text: str) -> dict[str, Any]:
    """What a file allows, by names: numbers, and lists of names."""
    found = tomllib.loads(text)
    if file != "pyproject.toml":
        return dict(flat(found))
    tools = found["tool"]
    linter = tools.get("importlinter", {}).get("contracts", ())
    ignored = [line for contract in linter for line in contract.get("ignore_imports", ())]
    return {"ignore_imports": ignored, "ruff.ignore": tools.get("ruff", {}).get("lint", {}).get("ignore", [])}


def flat(found: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in found.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def grown(now: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """What allows more than before; a renamed entry of a list is one less and one more, and a new key is no growth."""
    said = []
    for name, value in now.items():
        known = old.get(name, value)
        if isinstance(value, list) and len(value) > len(known):
            said.append(f"{name}: {', '.join(sorted(set(value) - set(known)))}")
        elif isinstance(value, int) and value > known:
            said.append(f"{name}: {value}, before {known}")
    return said


@pytest.mark.parametrize("file", LISTS)
def test_a_list_of_what_is_allowed_only_shrinks(file):
    commit = before()
    if commit is None:
        pytest.skip("no git history here, so a list may have grown")
    old = git("show", f"{commit}:{file}")
    now = allowed(file, (ROOT / file).read_text(encoding="utf-8"))

    assert grown(now, allowed(file, old or "")) == []


def test_what_grew_is_named():
    old = {"classes": ["a.Wide"], "count": 3, "fewer": 9}

    assert grown({"classes": ["a.Wide", "b.Wider"]}, old) == ["classes: b.Wider"]
    assert grown({"count": 4, "fewer": 2}, old) == ["count: 4, before 3"]
    assert grown({"new": 4}, old) == []
    assert grown({"classes": ["c.Renamed"]}, old) == []


def test_the_commit_before_is_found_on_a_branch_on_main_in_a_shallow_clone_and_not_without_history(tmp_path):
    whole, shallow, bare = tmp_path / "whole", tmp_path / "shallow", tmp_path / "bare"
    whole.mkdir()
    run = ["-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m"]
    git("init", "-q", "-b", "main", folder=whole)
    commits = [
        git(*run, f"{number}", folder=whole) is not None and git("rev-parse", "HEAD", folder=whole)
        for number in range(3)
    ]
    assert before(whole) == commits[1]

    git("switch", "-q", "-c", "change", commits[1], folder=whole)
    git(*run, "a", folder=whole)
    git(*run, "b", folder=whole)
    assert before(whole) == commits[1]

    git("clone", "-q", "--depth", "2", f"file://{whole}", str(shallow), folder=tmp_path)
    assert before(shallow) == git("rev-parse", "HEAD^", folder=shallow)
    bare.mkdir()
    assert before(bare) is None
