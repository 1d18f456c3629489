"""Jobs of an opened project: job desk and schedules."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from shroff import config
from shroff.errors import DefinitionError, Problem, ShroffError
from shroff.events.event import time_text
from shroff.jobs.job import Job
from shroff.language.yaml import text as yamltext
from shroff.project.schedules import FILE, Schedule, load_schedules
from shroff.services.parts import ProjectPart, ProjectParts
from shroff.services.people.project_people import ProjectPeople

if TYPE_CHECKING:
    from shroff.people.store import PeopleStore
    from shroff.services.context import ProjectContext
    from shroff.services.jobs.desk import JobDesk

READ_EVERY_S = 2.0


class ProjectJobs(ProjectPart):
    """Background jobs of a project."""

    _people: ProjectPeople

    def __init__(self, context: ProjectContext, people: ProjectPeople) -> None:
        self._context = context
        self._people = people
        self._read_s = -READ_EVERY_S
        self._text = ""
        self._schedules: Mapping[str, Schedule] = {}

    @contextmanager
    def open(self) -> Iterator[JobDesk]:
        """Open the job desk, on the service's database connections or its own."""
        with self._people.open() as people:
            yield self.desk(people.store)

    def desk(self, people: PeopleStore) -> JobDesk:
        from shroff.adapters.jobs.sql import SqlJobs
        from shroff.services.jobs.desk import JobDesk

        return JobDesk(SqlJobs(people), self._now_ms, self.schedules)

    def schedules(self) -> Mapping[str, Schedule]:
        """Get the schedules of schedules.yaml; the file is read again after changes. Raises: DefinitionError."""
        now_s = time.monotonic()
        if now_s - self._read_s < READ_EVERY_S:
            return self._schedules
        text = config.read_files(self._paths.folder, [], (FILE,)).get(FILE, "")
        if text != self._text:
            self._schedules = _checked(text)
            self._text = text
        self._read_s = now_s
        return self._schedules


def failing_schedules(context: ProjectContext) -> list[tuple[str, str]]:
    """List the schedules whose newest run failed, or that no process runs, with the reason.

    Empty if schedules.yaml or the jobs cannot be read.
    """
    jobs, failed, overdue = ProjectParts(context).jobs, list[Job](), dict[str, int]()
    with suppress(ShroffError):
        if jobs.schedules():
            with jobs.open() as desk:
                failed, overdue = desk.failing(), desk.overdue()
    words = "the run of {} failed: {}; 'shroff jobs show {}'"
    found = [(job.schedule, words.format(time_text(job.due_ms), job.why, job.id)) for job in failed]
    words = "it was due at {}, and no process runs jobs: start 'shroff serve' or 'shroff jobs work'"
    return found + [(name, words.format(time_text(due_ms))) for name, due_ms in overdue.items()]


def _checked(text: str) -> Mapping[str, Schedule]:
    from shroff.services.jobs.kinds import schedule_problems

    problems = list[Problem]()
    tree = yamltext.read(text, FILE, problems)
    found = load_schedules(tree, problems)
    problems += schedule_problems(tree, found)
    if problems:
        raise DefinitionError(problems)
    return found
