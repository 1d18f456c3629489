"""What real people have: files and reports of the folder that lies beside the repository, run from there.

Each test module is one case, `test_NN_name.py`, and does what the README of its folder expects.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[3] / "shared" / "cases"
SETTINGS: Final = "shroff: 1\nname: people\nmoney: EUR\n"


def project_of(case: str, folder: Path, *, settings: str = SETTINGS) -> Path:
    """A copy of a case's files in `folder/case`, with a shroff.yaml where it has none; gives that folder."""
    project = folder / case
    shutil.copytree(FOLDER / case, project, ignore=shutil.ignore_patterns("README.md"))
    if not (project / "shroff.yaml").exists():
        (project / "shroff.yaml").write_text(settings, encoding="utf-8")
    return project
