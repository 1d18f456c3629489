""".github/workflows as it is, with faults planted in it; scripts of its steps that can run here are run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess

import pytest
import yaml

from shroff import __version__
from tests.deploy import checks, pipelines
from tools import release

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.slow
@pytest.mark.parametrize("check", pipelines.CHECKS, ids=lambda check: check.__name__)
def test_no_fault_is_found(check):
    assert check(pipelines.WORKFLOWS) == []


FAULTS = [  # (a check, a file, a text in it, what stands there instead, what is found)
    (pipelines.linted, "tests.yml", "timeout-minutes: 60", "timeout-minute: 60", "timeout-minute"),
    (pipelines.linted, "tests.yml", "ubuntu-24.04, macos-15", "ubuntu-24.04, macos-1", "macos-1"),
    (pipelines.linted, "release.yml", "steps.image.outputs.digest", "steps.images.outputs.digest", "images"),
    (pipelines.linted, "promote.yml", 'create "promote-$ENVIRONMENT-$VERSION"', "create promote-$VERSION", "SC2086"),
    (pipelines.safe, "tests.yml", "persist-credentials: false", "fetch-depth: 1", "credential persistence"),
    (
        pipelines.safe,
        "promote.yml",
        '"$ENVIRONMENT" "$VERSION"',
        '"${{ inputs.version }}" "$VERSION"',
        "template-injection",
    ),
    (pipelines.safe, "tests.yml", "  pull_request:", "  pull_request_target:", "dangerous-triggers"),
    (pipelines.safe, "nightly.yml", "@3d3c42e5aac5ba805825da76410c181273ba90b1", "@v7", "unpinned-uses"),
    (
        pipelines.own,
        "nightly.yml",
        "@3d3c42e5aac5ba805825da76410c181273ba90b1",
        "@v7",
        "not a commit that was verified",
    ),
    (pipelines.own, "nightly.yml", "@3d3c42e5", "@3d3c42e6", "not a commit that was verified"),
    (pipelines.own, "release.yml", "# v4.1.0", "# v4.0.0", "not a commit that was verified"),
    (pipelines.own, "tests.yml", "permissions: { contents: read }", "permissions: { contents: write }", "may write"),
    (pipelines.own, "tests.yml", "\npermissions: {}", "", "must be {}"),
    (pipelines.own, "tests.yml", "    timeout-minutes: 60\n", "", "no timeout-minutes"),
    (pipelines.own, "tests.yml", ', "3.14"', "", "with ['3.11'"),
    (pipelines.own, "nightly.yml", "[ingest, ", "[ingests, ", "bench/ingests"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("check", "file", "old", "new", "words"), FAULTS, ids=lambda value: None)
def test_a_planted_fault_is_found(tmp_path, check, file, old, new, words):
    planted = tmp_path / ".github/workflows"
    shutil.copytree(pipelines.WORKFLOWS, planted)
    text = (planted / file).read_text(encoding="utf-8")
    assert old in text, "the text has changed; plant the fault in what is there now"
    (planted / file).write_text(text.replace(old, new), encoding="utf-8")
    found = "\n".join(check(planted))

    assert words in found, found


# --- scripts of steps: each is run here, is what CI runs anyway, or cannot be run here

CI = {
    ".ci/run",
    "make setup",
    "make build",
    "make setup PYTHON=python3",
    "make check",
    "make test-long",
    'make bench NAME="$NAME"',
}
ELSEWHERE = ("docker login", "docker buildx", "helm push", "uv publish", "gh release")  # they need a registry or GitHub


def script(name, job, words):
    (found,) = {
        step["run"] for workflow, its, step in pipelines.steps(pipelines.WORKFLOWS)
        if (workflow, its) == (name, job) and words in step.get("run", "")
    }  # fmt: skip
    return found


HERE = {
    key: script(*key)
    for key in (
        ("release", "build", "tools.release check"),
        ("release", "build", "tools.release build"),
        ("release", "build", "cyclonedx-py"),
        ("release", "build", "helm package"),
        ("promote", "propose", "tools.release promote"),
        ("promote", "propose", "tests.deploy.cluster"),
        ("promote", "propose", "gh pr create"),
    )
}


def test_each_script_of_a_step_is_run_here_or_cannot_be():
    given = {step["run"] for *_, step in pipelines.steps(pipelines.WORKFLOWS) if "run" in step}
    left = given - CI - set(HERE.values())

    assert [item for item in left if not any(words in item for words in ELSEWHERE)] == []
    for target in ("setup", "check", "test-long", "bench", "build"):
        subprocess.run(["make", "-n", target], cwd=checks.ROOT, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path):
    """A clone of what a release is made of, and a way to run a script of a step there."""
    root = tmp_path / "clone"
    root.mkdir()
    for name in ("deploy", "requirements", "tools", "src", "tests/deploy"):
        shutil.copytree(checks.ROOT / name, root / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CHANGELOG.md", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(checks.ROOT / name, root / name)
    (root / ".venv").symlink_to(checks.ROOT / ".venv")
    helm, _ = checks.tool("helm")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "helm").symlink_to(helm)
    (programs / "gh").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/gh\n')
    (programs / "gh").chmod(0o755)

    def run(*key, is_right=True, **env):
        given = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "GITHUB_ACTOR": "ann", **env}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", HERE[key]]
        done = subprocess.run(command, cwd=root, env=given, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == is_right, done.stdout + done.stderr
        return done.stdout + done.stderr

    return root, run


@pytest.mark.slow
def test_a_tag_is_released_only_if_package_chart_and_changelog_agree(clone):
    root, run = clone
    key = ("release", "build", "tools.release check")
    changes = (root / "CHANGELOG.md").read_text()
    early = run(*key, is_right=False, GITHUB_REF_NAME="v9.0.0")
    (root / "CHANGELOG.md").write_text(
        changes.replace(f"## Unreleased ({__version__})", f"## {__version__} (2026-12-01)")
    )
    right = run(*key, GITHUB_REF_NAME=f"v{__version__}")
    run("release", "build", "helm package")

    assert "the tag is 9.0.0, but the package is" in early
    assert f"has no heading '## {__version__}'" in early
    assert right == f"{__version__}\n"
    assert [path.name for path in (root / "dist").iterdir()] == [f"shroff-{__version__}.tgz"]


@pytest.mark.slow
def test_an_image_is_promoted_by_a_pull_request_first_to_staging_then_to_production(clone, tmp_path):
    root, run = clone
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "origin"], check=True)
    for words in (["init", "-q"], ["remote", "add", "origin", tmp_path / "origin"], ["add", "deploy", "tests"],
                  ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "start"]):  # fmt: skip
        subprocess.run(["git", *words], cwd=root, check=True)
    env = {"VERSION": "0.2.0", "DIGEST": DIGEST}
    key = ("promote", "propose", "tools.release promote")
    early = run(*key, is_right=False, ENVIRONMENT="production", **env)
    for environment in ("staging", "production"):
        run(*key, ENVIRONMENT=environment, **env)
        run("promote", "propose", "tests.deploy.cluster")
        run("promote", "propose", "gh pr create", ENVIRONMENT=environment, **env)
    log = ["git", "--git-dir", tmp_path / "origin", "log", "--format=%s", "--name-only", "promote-production-0.2.0"]
    pushed = subprocess.run(log, check=True, capture_output=True, text=True).stdout
    values = yaml.safe_load((root / "deploy/helm/values/production.yaml").read_text())["image"]

    assert "promote there first" in early
    assert (values["tag"], values["digest"]) == ("0.2.0", DIGEST)
    assert f"shroff:0.2.0@{DIGEST}" in (root / "tests/deploy/manifests/production.yaml").read_text()
    assert pushed.split("\n\n")[0] == "deploy: 0.2.0 in production"
    assert "deploy/helm/values/production.yaml" in pushed
    assert (tmp_path / "gh").read_text().count("pr create --fill --base main") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["promote", "staging", "latest", DIGEST], "not latest"),
        (["promote", "staging", "0.2.0", "sha256:12"], "not 0.2.0 sha256:12"),
        (["promote", "elsewhere", "0.2.0", DIGEST], "python -m tools.release"),
        ([], "python -m tools.release"),
    ],
)
def test_a_promotion_that_is_unclear_is_refused(words, said):
    with pytest.raises(ValueError, match=said):
        release.main(words)


@pytest.mark.long
@pytest.mark.slow
def test_the_wheel_is_built_twice_with_the_same_bytes_and_its_parts_are_listed(clone):
    root, run = clone
    said = run("release", "build", "tools.release build")
    run("release", "build", "cyclonedx-py")
    (wheel,) = (root / "dist").glob("*.whl")
    listed = json.loads((root / "dist/shroff.cdx.json").read_text())

    assert f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}" in said
    assert {"numba", "starlette"} <= {component["name"] for component in listed["components"]}
