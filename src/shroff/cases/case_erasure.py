"""Notes and files in cases about events whose personal values are erased: count them, and remove them on request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shroff.cases.case import WRITTEN
from shroff.cases.case_history import ALL
from shroff.cases.case_service import CaseService
from shroff.people.access import Who
from shroff.people.audit import Act
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.cases.sql_reader import CaseReader


class WrittenNotes(FrozenStruct):
    """Numbers of the cases in which people wrote or attached something, and how many notes and files these have."""

    cases: tuple[int, ...] = ()
    notes: int = 0
    files: int = 0


def written_about(desk: CaseService, events: Sequence[str]) -> WrittenNotes:
    """Count notes and files in the cases of these events, such as `payment/p-1`. A case's notes about its other events
    count too.
    """
    cases = []
    notes = 0
    files = 0
    with desk.store.look() as reader:
        for number in numbers_about(reader, events):
            note_count = sum(line.what in WRITTEN and bool(line.words) for line in reader.history(number, ALL))
            attached = len(reader.attached(number))
            cases += [number] if note_count or attached else []
            notes = notes + note_count
            files = files + attached
    return WrittenNotes(tuple(cases), notes, files)


def numbers_about(reader: CaseReader, events: Sequence[str]) -> list[int]:
    typed_ids = [(type_, id_) for type_, _, id_ in (event.partition("/") for event in events)]
    return sorted({alert.case for alert in reader.alerts_of(typed_ids)})


def forget(desk: CaseService, who: Who, notes: WrittenNotes, subject: str) -> None:
    """Remove the notes and files; the audit log keeps `subject` and the counts."""
    with desk.store.change() as change:
        counts = {"cases": len(notes.cases), "notes": notes.notes, "files": notes.files}
        change.people.audit(Act(who, "case.erase", subject, None, counts), desk.now_ms())
        change.forget(notes.cases)
