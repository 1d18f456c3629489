"""The checks of .github/workflows: each takes the folder and gives the faults it finds, as in `checks.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.deploy import checks

WORKFLOWS = checks.ROOT / ".github/workflows"
# The commit of each tag, as `git rev-parse TAG^{commit}` says in a clone of the action's repository.
PINS = {
    "actions/checkout": ("v7.0.1", "3d3c42e5aac5ba805825da76410c181273ba90b1"),
    "actions/setup-python": ("v7.0.0", "5fda3b95a4ea91299a34e894583c3862153e4b97"),
    "actions/upload-artifact": ("v7.0.0", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f"),
    "actions/download-artifact": ("v8.0.1", "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c"),
    "actions/attest-build-provenance": ("v4.1.0", "a2bbfa25375fe432b6a289bc6b6cd05ecd0c4c32"),
    "actions/attest-sbom": ("v4.1.0", "c604332985a26aa8cf1bdc465b92731239ec6b9e"),
}
# What a job may write, and for which reason; all else is `contents: read`.
RIGHTS = {
    ("release", "build"): {"id-token", "attestations"},
    ("release", "kernels"): {"id-token", "attestations"},
    ("release", "image"): {"packages"},
    ("release", "registry"): {"packages", "id-token", "attestations"},
    ("release", "pypi"): {"id-token"},
    ("release", "page"): {"contents"},
    ("promote", "propose"): {"contents", "pull-requests"},
}
PYTHONS, SYSTEMS = {"3.11", "3.12", "3.13", "3.14"}, {"ubuntu-24.04", "macos-15"}


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Each workflow by its name. YAML 1.1 reads the key `on` as true."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yml"))}


def steps(folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The name of the workflow, that of the job, and each of its steps."""
    for name, workflow in read(folder).items():
        for job, its in workflow["jobs"].items():
            yield from ((name, job, step) for step in its["steps"])


def linted(folder: Path) -> list[str]:
    """What actionlint says, which asks shellcheck about scripts."""
    shell, _ = checks.tool("shellcheck")
    found = [str(path) for path in sorted(folder.glob("*.yml"))]
    return checks.judged(".github/workflows", ["actionlint", "-shellcheck", shell, "-pyflakes=", *found])


def safe(folder: Path) -> list[str]:
    """What zizmor says: templates in scripts, credentials that stay, caches, wide rights."""
    return checks.judged(".github/workflows", ["zizmor", "--offline", "--no-progress", "--quiet", str(folder)])


def own(folder: Path) -> list[str]:
    """Actions that are not pinned, rights without a reason, jobs without an end, systems and Pythons that lack."""
    found = []
    for path in sorted(folder.glob("*.yml")):
        for action, pin, tag in re.findall(r"uses: (\S+?)@(\S+)(?: # (\S+))?", path.read_text(encoding="utf-8")):
            if (tag, pin) != PINS.get(action):
                found.append(f"{path.name}: {action}@{pin} {tag}: not a commit that was verified")
    given = read(folder)
    for name, workflow in given.items():
        if workflow.get("permissions") != {}:
            found.append(f"{name}.yml: permissions of all jobs must be {{}}")
        if "pull_request_target" in str(workflow):
            found.append(f"{name}.yml: pull_request_target runs changes of strangers with our rights")
        for job, its in workflow["jobs"].items():
            writes = {key for key, value in its.get("permissions", {}).items() if value != "read"}
            if extra := writes - RIGHTS.get((name, job), set()):
                found.append(f"{name}.yml: {job}: may write {sorted(extra)}")
            if "timeout-minutes" not in its:
                found.append(f"{name}.yml: {job}: no timeout-minutes")
    matrix = given["tests"]["jobs"]["quick"]["strategy"]["matrix"]
    if (set(matrix["python"]), set(matrix["system"])) != (PYTHONS, SYSTEMS):
        found.append(f"tests.yml: tests must run on {sorted(SYSTEMS)} with {sorted(PYTHONS)}")
    names = given["nightly"]["jobs"]["bench"]["strategy"]["matrix"]["name"]
    there = {path.stem for path in (checks.ROOT / "bench").glob("*.py")}
    return found + [f"nightly.yml: there is no bench/{name}.py" for name in names if name not in there]


CHECKS = (linted, safe, own)
