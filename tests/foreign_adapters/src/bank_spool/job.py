"""A kind of job: counts the lines of a file of the sink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bank_spool.operations import CountSpool
from shroff.plugins.operations import JobKind, JobParams, JobRun
from shroff.plugins.project import Project


class CountParams(JobParams, frozen=True):
    """Count the lines that the sink `decided` has written."""


def count(project: Project, params: CountParams, run: JobRun) -> Mapping[str, Any]:
    run.step("counting")
    return {"lines": project.run(CountSpool()).lines}


KIND = JobKind("spool-lines", CountParams, "bank_spool.job:count")
