"""The stored record of drift checks: one document in the database of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroff.monitoring.drift_record import DriftRecord, with_look
from shroff.services.documents import Documents
from shroff.services.parts import ProjectPart

if TYPE_CHECKING:
    from shroff.monitoring.drift_report import DriftReport

KIND = "drift"
NAME = "record"


class DriftRecords(ProjectPart):
    """The drift record of a project."""

    _documents: Documents

    def read(self) -> DriftRecord:
        return self._documents.read(KIND, DriftRecord).get(NAME, DriftRecord())

    def add(self, report: DriftReport, looked_at: str, newest_ms: int) -> None:
        with self._documents.edit(KIND, DriftRecord) as stored:
            stored[NAME] = with_look(stored.get(NAME, DriftRecord()), report, looked_at, newest_ms)
