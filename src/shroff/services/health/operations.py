"""Operation that checks a project for problems and suggests remedies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from msgspec import UNSET, UnsetType

from shroff.operations.declaration import OperationRequest, ProgressSteps, ReportAnswer, operation
from shroff.runtime.texts import one_line
from shroff.services.health.checks import HealthChecks

if TYPE_CHECKING:
    from shroff.monitoring.doctor import Finding, Findings


class ExamineProject(OperationRequest["Diagnosis"]):
    """
    Args:
        bundle (FILE): Also write a bug report: a ZIP file with versions, settings without secrets, counts, the last
            unexpected errors and these findings.
    """

    bundle: Path | None = None


class Diagnosis(ReportAnswer["Findings"]):
    """Findings of `doctor`; `parts` are those of the bug report in `bundle`."""

    ok: bool
    findings: list[Finding]
    bundle: str | UnsetType = UNSET
    parts: list[str] | UnsetType = UNSET
    STATUS: ClassVar = "ok"

    def hints(self) -> Sequence[str]:
        return ["shroff verify" if self.ok else "shroff check"]


@operation("doctor", right="read:metrics")
def examine_project(health: HealthChecks, progress: ProgressSteps, request: ExamineProject) -> Diagnosis:
    """Check the project, its log, its folders, the clock and the versions; print each problem and its remedy.

    Examples:
        shroff doctor
        shroff -C mybank doctor --json
        shroff doctor --bundle report.zip
    """
    findings: Findings = health.doctor()
    answer = Diagnosis(ok=not findings.of("wrong"), findings=list(findings)).about(findings)
    if request.bundle is not None:
        answer.bundle, answer.parts = str(request.bundle), health.bug_report(findings, request.bundle)
        file = one_line(request.bundle)
        progress.warn(f"The bug report is in {file}. It has no events and no secrets; read it before you send it.")
    return answer
