"""Known holes of what the project stands on: `make secure`. Dangerous code is found by ruff, as a part of `make lint`.

pip-audit asks a public list about every locked dependency: it is not among the tools of the clone, as most machines
that build may not ask; where it is installed and gets an answer, a hole fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = "requirements/core.txt"
AUDIT: Final = ("--disable-pip", "--require-hashes", "-r", LOCK, "--format", "json", "--progress-spinner", "off")


def asked(path: str | None = None) -> int:
    """Ask pip-audit, if it is on the path; 1 where it names a hole."""
    own = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which("pip-audit", path=path or own)
    if program is None:
        print(f"pip-audit is not installed: nobody was asked about known holes in {LOCK}")
        return 0
    found = subprocess.run([program, *AUDIT], cwd=ROOT, check=False, capture_output=True, text=True)
    try:
        dependencies: list[dict[str, Any]] = json.loads(found.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = (found.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"pip-audit could not ask about {LOCK}: {said}")
        return 0
    unasked = [dependency["skip_reason"] for dependency in dependencies if "skip_reason" in dependency]
    if dependencies and len(unasked) == len(dependencies):  # it ends well then, and says that it found nothing
        print(f"pip-audit could not ask about {LOCK}: {unasked[0]}")
        return 0
    holes = [(dependency, hole) for dependency in dependencies for hole in dependency.get("vulns", ())]
    for dependency, hole in holes:
        mended = ", ".join(hole.get("fix_versions", ())) or "no version yet"
        print(f"{dependency['name']} {dependency['version']}: {hole['id']}, mended in {mended}")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(asked())
