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
    with desk.store.look() as look:
        for number in numbers_about(look, events):
            note_count = sum(line.what in WRITTEN and bool(line.words) for line in look.history(number, ALL))
            attached = len(look.attached(number))
            cases += [number] if note_count or attached else []
            notes = notes + note_count
            files = files + attached
    return WrittenNotes(tuple(cases), notes, files)


def numbers_about(look: CaseReader, events: Sequence[str]) -> list[int]:
    """Return the sorted numbers of the cases with alerts of these events."""
    typed_ids = [(type_, id_) for type_, _, id_ in (event.partition("/") for event in events)]
    return sorted({alert.case for alert in look.alerts_of(typed_ids)})


def forget(desk: CaseService, who: Who, found: WrittenNotes, of: str) -> None:
    """Remove the notes and files; the audit log keeps `of` and the counts."""
    with desk.store.change() as change:
        counts = {"cases": len(found.cases), "notes": found.notes, "files": found.files}
        change.people.audit(Act(who, "case.erase", of, None, counts), desk.now_ms())
        change.forget(found.cases)
