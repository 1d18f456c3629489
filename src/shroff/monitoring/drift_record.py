"""Last drift results and their alerts. Metrics, `doctor` and pages read them; services/drift/records.py stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shroff.events.event import time_text
from shroff.language.values import parse_time
from shroff.monitoring.doctor import NOTE, OK, Finding
from shroff.monitoring.drift import LIMIT, DriftBin
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.monitoring.drift_report import DriftReport

ALERTS_KEPT = 1_000
SHOWN = 5  # names in a line of `doctor`


class DriftFigure(FrozenStruct):
    """The drift of one item, for metrics."""

    name: str
    psi: float
    has_moved: bool
    missing_now: float
    unseen: float
    is_unclear: bool = False
    missing_before: float = 0.0
    bins: tuple[DriftBin, ...] = ()


class DriftLook(FrozenStruct):
    """The last drift check of an event type; `reference` and `recent` describe the periods that it compared."""

    looked_at: str
    as_of: str
    model: str
    reference_rows: int
    recent_rows: int
    limit: float
    figures: tuple[DriftFigure, ...]
    reference: str = ""
    recent: str = ""


class DriftAlert(FrozenStruct):
    """Drift from the check at `since` to the one at `until`, or ongoing if that is empty.

    Args:
        id: Unique id of the alert.
        moved: Everything that had moved at any check since.
    """

    id: str
    event: str
    since: str
    until: str
    moved: tuple[str, ...]


class DriftRecord(msgspec.Struct, frozen=True):
    """The last check of each event type, and alerts, oldest first."""

    version: int = 1
    looks: dict[str, DriftLook] = {}
    alerts: tuple[DriftAlert, ...] = ()

    def open_alert(self, event: str) -> DriftAlert | None:
        return next((alert for alert in reversed(self.alerts) if alert.event == event and not alert.until), None)


def with_look(record: DriftRecord, report: DriftReport, looked_at: str, newest_ms: int) -> DriftRecord:
    """Add a report to the record: it raises, continues or ends an alert. A report older than the last one is ignored.

    Otherwise a check of a quiet month in the past would end an alert of today. A check beyond the newest event counts
    as one at that event, so it does not block later ones. An alert continues while there are too few events to tell
    whether what it is about still differs.
    """
    last = record.looks.get(report.event)
    as_of_ms = min(report.as_of_ms, newest_ms)
    if last is not None and as_of_ms < parse_time(last.as_of) <= newest_ms:
        return record
    fields = msgspec.structs.fields(DriftFigure)
    figures = tuple(DriftFigure(*(getattr(drift, field.name) for field in fields)) for drift in report.found)
    moment = time_text(as_of_ms)
    before = report.reference
    now = report.recent
    rows = before.rows, now.rows
    look = DriftLook(looked_at, moment, report.model, *rows, LIMIT, figures, before.says, now.says)
    ongoing = record.open_alert(report.event)
    moved = tuple(progress.name for progress in report.moved)
    alerts = tuple(alert for alert in record.alerts if alert is not ongoing)
    is_unclear = ongoing is not None and any(drift.name in ongoing.moved for drift in report.unclear)
    if moved and ongoing is not None:
        alerts += (replace(ongoing, moved=tuple(dict.fromkeys([*ongoing.moved, *moved]))),)
    elif moved:
        alerts += (DriftAlert(f"drift-{report.event}-{looked_at}", report.event, looked_at, "", moved),)
    elif ongoing is not None:
        alerts += (ongoing if is_unclear else replace(ongoing, until=looked_at),)
    return DriftRecord(record.version, {**record.looks, report.event: look}, alerts[-ALERTS_KEPT:])


def findings(record: DriftRecord) -> list[Finding]:
    return [_finding(event, look, record.open_alert(event)) for event, look in sorted(record.looks.items())]


def _finding(event: str, look: DriftLook, alert: DriftAlert | None) -> Finding:
    looked = f"checked {look.looked_at}, as of {look.as_of}"
    unclear = sum(figure.is_unclear for figure in look.figures)
    few = f"too few events to judge {unclear:,} of {len(look.figures):,} ({look.recent_rows:,} recent)"
    if alert is None and unclear == len(look.figures) > 0:
        return Finding("drift", NOTE, f"{event}: {few}; {looked}", "Use a longer period: 'shroff drift --recent 30d'.")
    if alert is None:
        message = f"{event}: no drift in {len(look.figures):,}"
        return Finding("drift", OK, f"{message}{f', {few}' if unclear else ''}; {looked}")
    moved = [f"{figure.name} ({figure.psi:.2f})" for figure in look.figures if figure.has_moved]
    more = f" and {len(moved) - SHOWN:,} more" if len(moved) > SHOWN else ""
    if not moved:
        moved = list(alert.moved)
        more = f", and at the last check: {few}"
    message = f"{event}: {', '.join(moved[:SHOWN])}{more} drifted, since {alert.since}; {looked}"
    cure = (
        "'shroff drift' shows by how much. Check the input first. If customers behave differently, "
        "train again: 'shroff train'."
    )
    return Finding("drift", NOTE, message, cure)
