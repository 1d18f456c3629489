"""A kind of job: counts the lines of a file of the sink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shroff.app.jobs.kinds import JobKind, JobParams
from shroff.app.jobs.work import JobRun
from shroff.app.project import Project


class CountParams(JobParams, frozen=True):
    """Count the lines that the sink `decided` has written."""


def count(project: Project, params: CountParams, run: JobRun) -> Mapping[str, Any]:
    run.step("counting")
    return {"lines": lines_of(project)}


def lines_of(project: Project) -> int:
    file = project.opened.places.folder / "out" / "decisions.jsonl"
    return len(file.read_bytes().splitlines()) if file.exists() else 0


KIND = JobKind("spool-lines", CountParams, "bank_spool.job:count")
