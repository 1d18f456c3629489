"""Cases of an opened project: the store, the follower of the log, the backlog."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from shroff import config
from shroff.errors import ReadOnlyError
from shroff.language.yaml import text as yamltext
from shroff.project.reference import parse_cell
from shroff.project.settings.casework import CaseSettings, load_case_settings
from shroff.runtime.values import replace
from shroff.services.notices.files import NoticeFiles
from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople

RINGS = "rings"  # table of rings; `shroff rings build` names each by its first key
RING = "ring"  # its column of ring names, and the entity of cases about rings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shroff.cases.alert_consumer import AlertConsumer
    from shroff.cases.alert_rules import RecentDecisions
    from shroff.cases.case_erasure import WrittenNotes
    from shroff.cases.case_queries import Backlog
    from shroff.cases.case_service import CaseService, NotesEscalations
    from shroff.cases.dispositions import CaseAction
    from shroff.notices.sql import NoticeStore
    from shroff.people.store import Desk
    from shroff.streams.log import Log


class ProjectCases(ProjectPart):
    """Cases of an opened project."""

    _notice_files: NoticeFiles
    _people: ProjectPeople

    @property
    def settings(self) -> CaseSettings:
        """Settings of cases. Errors in them are reported with the other files."""
        text = config.read_files(self._paths.folder, [], (config.PROJECT_FILE,)).get(config.PROJECT_FILE, "")
        return load_case_settings(yamltext.read(text, config.PROJECT_FILE, []), [])

    def desk(self, people: Desk) -> CaseService:
        """Return the case service on the database connections of `people`."""
        from shroff.cases.case_service import CaseService
        from shroff.cases.sql import CaseStore

        definitions = self._definitions
        budgets = [policy.reviews_a_day for policy in definitions.policies.values() if policy.reviews_a_day is not None]
        return CaseService(
            CaseStore(people.store),
            people.store,
            people.now_ms,
            self.settings,
            definitions.settings.currency,
            definitions.settings.money_places,
            sum(budgets) if budgets else None,
            zone=self._systems.time_zone,
            escalations=partial(self._escalations, people),
        )

    @contextmanager
    def _escalations(self, people: Desk) -> Iterator[NotesEscalations | None]:
        """Yield the notifier for users to whom a case is escalated; the log stays open meanwhile."""
        with self._log.reading() as log:
            yield self._notice_files.case_notices(people.store, log)

    def join_rings(self, desk: CaseService | None = None) -> int | None:
        """Join the open cases of each ring of the active table `rings`; return the number of cases closed by that, or
        None if the table in the files is not the active one.

        Cost: reads each open case about a key of the table; a follower pays that once, after it has caught up.
        """
        from shroff.cases.case_actions import join
        from shroff.cases.case_service import CLOCK
        from shroff.log.active_files import followed
        from shroff.project.table_files import table_file

        definitions = self._definitions
        rows = definitions.reference.tables.get(RINGS)
        if RING not in self.settings.about.values() or not rows:
            return 0
        with self._log.reading() as log:
            active, file = followed(log, self._context.read_once)[0].files, table_file(RINGS, definitions.files)
        if active.get(file) != definitions.files.get(file):
            return None
        if desk is None:
            with self._raised() as opened:
                return self.join_rings(opened)
        key_type = definitions.events.tables[RINGS].key

        def ring_of(key: str) -> str | None:
            with suppress(ValueError):
                ring = rows.value(RING, parse_cell(key, key_type, 0), 0)
                return None if ring is None else str(ring)
            return None

        return join(desk, CLOCK, RING, definitions.events.table_keys[RINGS], ring_of)

    @contextmanager
    def open(self) -> Iterator[CaseService]:
        """Open the cases after raising new alerts of the log and running due tasks, as a service does continuously."""
        from shroff.cases.timers import carry_out

        if self._context.case_service is not None:
            yield self._context.case_service
            return
        with self._raised() as desk:
            with self._as_far_as_written("due tasks were not run"):
                self.join_rings(desk)
                carry_out(desk)
            yield desk

    @property
    def are_carried_out(self) -> bool:
        """Whether a service writes the labels of answers once they can no longer be undone."""
        return self._context.case_service is not None

    def carry_out_now(self, desk: CaseService, acted: CaseAction) -> None:
        """Request the labels of an answer from the log at once; it can no longer be undone then."""
        from shroff.cases.timers import carry_out

        with desk.store.change() as change:
            pending = change.pending(acted.undo)
            if pending is not None:
                change.put_pending(replace(pending, due_ms=pending.at_ms))
        carry_out(desk)

    def notices(self, desk: CaseService) -> NoticeStore:
        return self._notice_files.store_beside(desk.people)

    def written_about(self, events: Sequence[str]) -> WrittenNotes:
        """List notes and files in cases about these events."""
        from shroff.cases.case_erasure import written_about

        with self._people.open() as people:
            return written_about(self.desk(people), events)

    def forget_written(self, found: WrittenNotes, of: str) -> None:
        """Delete notes and files. `of` is their entity key, for the audit log."""
        from shroff.cases.case_erasure import forget

        with self._people.open() as people:
            forget(self.desk(people), self._context.who, found, of)

    def follower(self, desk: CaseService, log: Log, recent: RecentDecisions | None = None) -> AlertConsumer:
        """Return a consumer that raises alerts from a log opened for reading; `recent` caches its newest decisions."""
        from shroff.cases.alert_consumer import AlertConsumer

        tells = self._notice_files.case_notices(desk.people, log)
        summaries = {name: type_.summary for name, type_ in self._definitions.events.types.items()}
        settings = replace(desk.settings, summaries=summaries)
        return AlertConsumer(log, desk.store, settings, desk.money_places, desk.now_ms, tells, recent)

    def backlog(self) -> Backlog:
        """Get the backlog for people, after raising the log's alerts."""
        from shroff.cases.case_queries import backlog

        with self._raised() as desk:
            return backlog(desk)

    def worked_ms(self, start_ms: int, end_ms: int) -> int:
        """Sum the time from claim to decision of the cases decided in [start, end), each at most a lock's length."""
        with self._people.open() as people:
            desk = self._context.case_service or self.desk(people)
            with desk.store.look() as look:
                return look.worked_ms(start_ms, end_ms, desk.settings.lock_ms)

    @contextmanager
    def _raised(self) -> Iterator[CaseService]:
        with self._people.open() as people:
            desk = self.desk(people)
            with self._log.reading() as log, self._as_far_as_written("alerts without a case yet are left out"):
                self.follower(desk, log).follow()
            yield desk

    @contextmanager
    def _as_far_as_written(self, consequence: str) -> Iterator[None]:
        """Turn a read-only error into a warning that says what is left out."""
        try:
            yield
        except ReadOnlyError as error:
            self._context.warnings.append(f"{consequence}: {error}.")
