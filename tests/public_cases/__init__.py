"""What real people have: files and reports of the folder that lies beside the repository, run from there.

Each test module is one case, `test_NN_name.py`, and does what the README of its folder expects.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.beside import beside

if TYPE_CHECKING:
    from shroff.services.project import Project
    from shroff.services.proposals.project_text import ColumnPlan

SETTINGS: Final = "shroff: 1\nname: people\nmoney: EUR\n"


def copied(kind: str, case: str, folder: Path) -> Path:
    """The files of a case in `shared/KIND`, which may be without write bits, in a new folder."""
    shutil.copytree(beside(kind, case), folder, ignore=shutil.ignore_patterns("README.md"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    return folder


def project_of(case: str, folder: Path, *, settings: str = SETTINGS) -> Path:
    """A copy of a case's files in `folder/case`, with a shroff.yaml where it has none; gives that folder."""
    project = copied("cases", case, folder / case)
    if not (project / "shroff.yaml").exists():
        (project / "shroff.yaml").write_text(settings, encoding="utf-8")
    return project


def proposed(file: Path, folder: Path, *, is_ingested: bool = True) -> tuple[Project, str]:
    """The project that is proposed for a file, which was ingested into it, and its guesses, one on each line."""
    from shroff.services.project import propose_project

    project, _, proposal = propose_project(folder, file)
    if is_ingested:
        report = project.ingest([file])
        assert report.events.quarantined == 0
    return project, "\n".join(proposal.guesses)


def mapping_of(project: Project) -> str:
    return (project.context.paths.folder / "events.yaml").read_text(encoding="utf-8")


def planned(lines: str, folder: Path) -> tuple[dict[str, ColumnPlan], str]:
    """What becomes of each column of a CSV, before the proposal is tried with it, and the proposed events.yaml."""
    from shroff.services.proposals.profile import profile_of
    from shroff.services.proposals.project_text import Wishes, propose

    file = folder / "lines.csv"
    file.write_text(lines, encoding="utf-8")
    proposal = propose(profile_of(file), "people", Wishes({}))
    return {plan.column: plan for plan in proposal.columns}, proposal.files["events.yaml"]
