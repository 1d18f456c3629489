"""Renew `requirements/*.txt`: the newest versions that fit, each file with its hashes.

One lock serves Python 3.11 to 3.14 on every platform. It names no package index and
no folder of the machine that made it, so it is the same wherever it is made.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.wheels import program

ROOT = Path(__file__).resolve().parent.parent
# What the image of deploy/image has beside the core: all that a setting of shroff.yaml may name on a server.
IMAGE = "analytics geo jobs kafka mariadb mongo objects otel passkeys postgres pubsub redis sns sso"
# Of each package one version for all of these, so that what is tested on one of them holds on the others.
OPTIONS = (
    "--universal",
    "--python-version=3.11",
    "--fork-strategy=fewest",
    "--generate-hashes",
    "--no-emit-index-url",
    "--upgrade",
    "--quiet",
)


def main() -> int:
    """Write the locks; dev.txt takes the versions of core.txt, build.txt and image.txt those of dev.txt.

    checkers.txt is apart: checkov pins what it needs, in older versions than ours.
    """
    lock("core.txt", "pyproject.toml")
    lock("dev.txt", "pyproject.toml", "requirements/dev.in", "-c", "requirements/core.txt")
    lock("build.txt", "requirements/build.in", "-c", "requirements/dev.txt")
    lock("checkers.txt", "requirements/checkers.in")
    extras = [f"--extra={name}" for name in IMAGE.split()]
    lock("image.txt", "pyproject.toml", *extras, "-c", "requirements/dev.txt")
    return 0


def lock(name: str, *sources: str) -> None:
    """Resolve the sources into one file."""
    header = "--custom-compile-command=make lock"  # else uv writes the command line with its paths
    uv = program() or sys.exit("make lock: uv is not installed; run `make setup`")
    command = [uv, "pip", "compile", *sources, *OPTIONS, header, "-o", f"requirements/{name}"]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
