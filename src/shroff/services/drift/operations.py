"""Operation that measures drift of the champion's inputs, its score and the label delay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec.structs import asdict

from shroff.events.event import time_text
from shroff.json_types import JsonObject
from shroff.operations.declaration import AsEvent, LocalSwitch, OperationRequest, ProgressSteps, ReportAnswer, operation
from shroff.runtime.texts import argument, one_line, percent, table
from shroff.services.health.checks import HealthChecks

if TYPE_CHECKING:
    from shroff.monitoring.drift import Drift
    from shroff.monitoring.drift_report import DriftReport


class MeasureDrift(OperationRequest["DriftAnswer"]):
    """
    Args:
        reference (model|LENGTH): The reference data: model for the champion's training data, or a period before the
            recent one, as 90d.
        recent (LENGTH): The length of the recent period.
        as_of (TIME): End of the recent period; a day is its start, UTC.  [default: the newest event of the type]
        fail: Exit with status 1 if something has drifted.
    """

    event: Annotated[str | None, AsEvent("Event type, if several have a model, active or in model.yaml.")] = None
    reference: str = "model"
    recent: str = "7d"
    as_of: str | None = None
    fail: LocalSwitch = False


class DriftAnswer(ReportAnswer["DriftReport"]):
    """Drift of each input, the score and the label delay, largest first."""

    event: str
    as_of: str
    model: str
    reference: JsonObject
    recent: JsonObject
    limit: float
    moved: list[str]
    unclear: list[str]
    inputs: list[JsonObject]
    redefined: tuple[str, ...]
    label_delay_days: dict[str, float | None]
    remarks: tuple[str, ...]
    fails = False

    def text(self) -> str:
        report: DriftReport = self.report
        count = len(self.inputs)
        by = f" by {self.model}" if self.model else ""
        moved = f"{len(self.moved):,} of {count:,} drifted" if self.moved else "no drift"
        if unclear := len(self.unclear):
            few = f"too few events to judge {unclear:,} of {count:,}"
            moved = f"unclear, {few}" if unclear == count else f"{moved}, {few}"
        heads = "||index|by chance|test|p|missing|before|unseen".split("|")
        lines = [
            f"{self.event}{by}: {moved}, as of {self.as_of}.",
            f"  reference  {report.reference.says}",
            f"  recent     {report.recent.says}",
            "",
            table([_row(drift) for drift in report.found], heads),
        ]
        if None not in report.label_delay_days:
            before, now = report.label_delay_days
            lines += ["", f"  Median label delay: {now:.1f} days; {before:.1f} days in the reference."]
        return "\n".join([*lines, *(f"  {one_line(remark)}" for remark in self.remarks)])

    def hints(self) -> Sequence[str]:
        return [*([f"shroff train --as {argument(self.event)}"] if self.moved else []), "shroff doctor"]

    def exit_status(self) -> int:
        return 1 if self.moved and self.fails else 0


@operation("drift", right="read:definitions", is_long=True)
def measure_drift(health: HealthChecks, progress: ProgressSteps, request: MeasureDrift) -> DriftAnswer:
    """Measure drift of the champion's inputs, its score and the label delay, largest first.

    The measure is the population stability index (PSI): below 0.1 little has changed, from 0.2 on much has. An item
    has drifted if its PSI is at least 0.2 and above what chance gives for samples of these sizes. `doctor` reports
    drift until it ends.

    Examples:
        shroff drift
        shroff drift --reference 90d --recent 14d
        shroff drift --fail --json
    """
    from shroff.monitoring.drift import LIMIT

    reading = progress.counting("reading events")
    report = health.drift(
        request.event, reference=request.reference, recent=request.recent, as_of=request.as_of, reading=reading
    )
    answer = DriftAnswer(
        event=report.event,
        as_of=time_text(report.as_of_ms),
        model=report.model,
        reference=report.reference.as_document(),
        recent=report.recent.as_document(),
        limit=LIMIT,
        moved=[drift.name for drift in report.moved],
        unclear=[drift.name for drift in report.unclear],
        inputs=[
            {**asdict(drift), "has_moved": drift.has_moved, "is_unclear": drift.is_unclear} for drift in report.found
        ],
        redefined=report.redefined,
        label_delay_days=dict(zip(("reference", "recent"), report.label_delay_days, strict=True)),
        remarks=report.remarks,
    ).about(report)
    answer.fails = request.fail
    return answer


def _row(drift: Drift) -> tuple[str, ...]:
    test = "-" if drift.statistic is None else f"{drift.test} {drift.statistic:.3g}"
    p_value = "-" if drift.p_value is None else f"{drift.p_value:.2g}"
    mark = "too few" if drift.is_unclear else ""
    if drift.has_moved:
        mark = "moved"
    shares = (percent(share, ".1") for share in (drift.missing_now, drift.missing_before, drift.unseen))
    return drift.name, mark, f"{drift.psi:.3f}", f"{drift.psi_by_chance:.3f}", test, p_value, *shares
