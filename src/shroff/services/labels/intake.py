"""Records labels: in the log, or through its inbox while another process writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroff.errors import LogBusyError
from shroff.events.event import time_text
from shroff.events.formats.encodings import read_lines
from shroff.events.raw_values import canonical_json, kept_bytes
from shroff.json_types import JsonMapping, JsonObject
from shroff.people.audit import Action
from shroff.runtime.progress import Progress, counted
from shroff.services.ingest.event_ingest import EventIngest
from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople
from shroff.services.project_files import intake_of
from shroff.services.writer.requests import WriterRequests
from shroff.streams.log import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path

    from shroff.events.intake import Submission
    from shroff.events.validation import LabelInput
    from shroff.log.writer import Answer, Prepared
    from shroff.worker.answers import Events
    from shroff.worker.forwarded_input import HandedLines
    from shroff.worker.ingest import IngestReport


class LabelIntake(ProjectPart):
    """Single labels for the log of a project.

    Where another process writes, each goes into the log's inbox, and the call returns when that process has committed
    it.
    """

    _taking: EventIngest
    _people: ProjectPeople
    _requests: WriterRequests

    # ---- labels and quarantine

    def add(
        self,
        event: str,
        verdict: str,
        *,
        source: str | None = None,
        known_at: str | datetime | None = None,
        reason: str | None = None,
        amount: str | Decimal | None = None,
    ) -> Answer:
        """Record one label of an event: `payment/p-1`, or `p-1` if only one type is decided.

        For the arguments see `Project.label`.

        Raises: UsageError for an invalid label if there is no log yet, and so no quarantine.
        """
        import msgspec

        from shroff.events.intake import undated
        from shroff.events.raw_values import text_of
        from shroff.log.writer import DUPLICATE, Answer
        from shroff.worker.inbox import LABELS, answers_of, labels_request

        event, now_ms = self._whole(event), self._now_ms()
        row = {"event": event, "verdict": verdict, "known_at": time_text(now_ms)}
        values = {"source": source, "known_at": known_at, "reason": reason, "amount": amount}
        texts = {name: text_of(value) for name, value in values.items()}
        row |= {name: text for name, text in texts.items() if text is not None}
        raw = msgspec.json.encode({"label": row})
        intake = intake_of(self._context, keeps_hashes=True)
        submission = intake.submit("label", row, source="shroff label", place="1", raw=raw, is_strict=True)
        submission = undated(submission) if known_at is None else submission
        action, label = None, submission.label
        if submission.refusal is not None:
            self._requests.needs_log(f"and the label was refused: {submission.refusal}")
        if label is not None:
            if known_at is None and self._is_said(label):
                return Answer(DUPLICATE, "label", event, is_label=True)
            action = Action("label.add", event, None, {"verdict": verdict, "source": label.source})
        return answers_of(self._requests.ask(LABELS, labels_request([submission], intake.money_places), action))[0]

    def _whole(self, event: str) -> str:
        """Return TYPE/ID of an event; an id may itself begin with the type."""
        type_, _, id_ = event.partition("/")
        if (type_,) != tuple(self._definitions.events.decided) or not self._log.exists():
            return event
        with self._log.reading() as log:
            is_id = not log.find(type_, [id_]) and log.find(type_, [event])
        return f"{type_}/{event}" if is_id else event

    def _is_said(self, label: LabelInput) -> bool:
        from shroff.log.history import is_said

        if not self._log.exists():
            return False
        with self._log.reading() as log:
            return is_said(log, label, self._definitions.settings.money_places)

    def add_file(self, file: Path, progress: Progress | None = None) -> IngestReport:
        """Record the labels of a file, as `ingest` does; while another process writes, through the inbox in batches."""

        def take() -> IngestReport:
            try:
                return self._taking.ingest(file, as_type="label", is_hashed=True, progress=progress)
            except LogBusyError:
                return self._label_file_beside(file, progress)

        return self._audited(file.name, take)

    def add_rows(self, rows: Iterable[JsonMapping], source: str) -> IngestReport:
        """Record labels without a mapping: the fields as given, each placed by its row number."""
        intake = intake_of(self._context, keeps_hashes=True)
        labels = (
            intake.submit(
                "label",
                row,
                source=source,
                place=str(line),
                raw=kept_bytes(canonical_json({"label": row})),
                is_strict=False,
            )
            for line, row in enumerate(rows, start=1)
        )
        return self._audited(source, lambda: self._recorded(labels))

    def _audited(self, name: str, take: Callable[[], IngestReport]) -> IngestReport:
        """Record labels, then audit their counts unless none was appended; a failure is audited without counts."""
        end, counts = self._requests.end_of_log(), None
        try:
            report = take()
            counts = report.labels
            return report
        finally:
            if self._requests.end_of_log() > end if counts is None else counts.appended or counts.pending:
                self._people.record("label.file", f"file {name}", None, counts)

    def add_frame(
        self,
        labels: Events,
        verdict: str | None = None,
        *,
        source: str | None = None,
        known_at: str | datetime | None = None,
        reason: str | None = None,
        amount: str | Decimal | None = None,
    ) -> IngestReport:
        """Record labels of a program: `event` and the other fields of a label in each row; mappings do not apply.

        `verdict`, `source`, `known_at`, `reason` and `amount` are defaults for rows without a value. Without
        `known_at`, a label is known from now on.
        """
        import msgspec

        from shroff.worker.answers import json_lines, rows_of

        now = time_text(self._now_ms())
        arguments = {"verdict": verdict, "source": source, "known_at": known_at, "reason": reason, "amount": amount}
        defaults = {name: value for name, value in arguments.items() if value is not None}
        rows = ({"known_at": now, **defaults, **_given(row)} for row in rows_of(labels))
        return self.add_rows([msgspec.json.decode(line) for line in json_lines(rows, is_strict=True)], "frame")

    def _label_file_beside(self, file: Path, progress: Progress | None) -> IngestReport:
        intake = intake_of(self._context, keeps_hashes=True)
        with read_lines(file, tell=self._context.warnings.once) as lines:
            return self._recorded(counted(intake.submissions(lines, file.name, "label"), progress))

    def _recorded(self, labels: Iterable[Submission]) -> IngestReport:
        """Record labels through requests of many; without another writer, this process carries them out."""
        from shroff.log.writer import Prepared
        from shroff.worker.inbox import LABELS, ROWS_MAX, answers_of, labels_request
        from shroff.worker.ingest import IngestReport, batches

        places, requests = self._definitions.settings.money_places, self._requests
        report = IngestReport()
        for part in batches(labels, ROWS_MAX):
            report.add(Prepared(Batch(), answers_of(requests.ask(LABELS, labels_request(part, places)))))
        return report

    def hand(self, lines: HandedLines) -> Prepared | None:
        """Send lines of a file to the process that writes the log; return their results, or None if another process has
        read further.

        Raises: UsageError if too many of them are late; then none was appended.
        """
        import msgspec

        from shroff.worker.inbox import LINES, taken_of

        return taken_of(self._requests.ask(LINES, msgspec.json.encode(lines)))


def _given(row: JsonMapping) -> JsonObject:
    """Return the values that are not missing; NaN, which pandas uses, differs from itself."""
    return {name: value for name, value in row.items() if value is not None and value == value}  # noqa: PLR0124 (the test for NaN)
