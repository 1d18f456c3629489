"""Store jobs in the database of the log, beside the tables of users: SQLite, PostgreSQL. See `migrations_jobs/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Connection, Table, delete, func, insert, select, update

from shroff.jobs.due_times import ScheduleMark
from shroff.jobs.job import KEPT, OPEN, STATES, Job
from shroff.json_types import JsonObject, TextMapping
from shroff.people.sql import Change, SchemaPart, scripted, tables_of
from shroff.people.store import PeopleStore

VERSION = 1  # of the tables: the number of the last script
_COLUMNS: Final[TextMapping] = MappingProxyType(
    {  # letters of types as in people/sql.py
        "jobs": "id:t kind:t params:t who:t schedule:t due_ms:i state:t attempt:i retries:i timeout_ms:i made_ms:i "
        "begins_ms:i begun_ms:i ended_ms:i lease_ms:i is_stopping:b step:t done:i total:i lines_:l result:t why:t",
        "job_schedules": "name:t seen_ms:i is_paused:b",
    }
)


@cache
def _tables() -> Mapping[str, Table]:
    return tables_of(_COLUMNS)


PART = SchemaPart("jobs", VERSION, partial(scripted, "migrations_jobs", VERSION))


class SqlJobs:
    """The tables of jobs, created at their first use.

    A change locks out every other change, of any process, until its end. So values that it reads do not change before
    it writes. Cost in SQLite: a millisecond and a flush.
    """

    def __init__(self, people: PeopleStore) -> None:
        self._people = people

    @contextmanager
    def look(self) -> Iterator[JobQueries]:
        with self._people.look_beside(PART) as connection:
            yield JobQueries(connection)

    @contextmanager
    def change(self) -> Iterator[JobChange]:
        with self._people.change(PART) as people:
            yield JobChange(people)


class JobQueries:
    """Queries on one connection. Lists of jobs lack their logs and results."""

    def __init__(self, connection: Connection) -> None:
        tables = _tables()
        self._connection = connection
        self._jobs = tables["jobs"]
        self._marks = tables["job_schedules"]

    def job(self, id: str) -> Job | None:
        row = self._connection.execute(select(self._jobs).filter_by(id=id)).mappings().fetchone()
        return None if row is None else _job(row)

    def jobs(self, limit: int, before: str = "") -> list[Job]:
        """Return at most `limit` jobs, newest first, older than the job with the id `before`."""
        query = select(*self._light()).order_by(self._jobs.c.id.desc()).limit(limit)
        return self._read_jobs(query.where(self._jobs.c.id < before) if before else query)

    def jobs_of(self, kind: str, *, has_results: bool = False) -> list[Job]:
        """Return all jobs of a kind, newest first, with their results on request."""
        columns = self._light()
        if has_results:
            columns.append(self._jobs.c.result)
        query = select(*columns).filter_by(kind=kind)
        return self._read_jobs(query.order_by(self._jobs.c.id.desc()))

    def open_jobs(self) -> list[Job]:
        """Return the waiting and running jobs, oldest first."""
        return self._read_jobs(select(*self._light()).where(self._jobs.c.state.in_(OPEN)).order_by(self._jobs.c.id))

    def last_of_schedules(self, states: Sequence[str] = STATES) -> dict[str, Job]:
        """Return by name of the schedule its newest job in one of these states."""
        is_run = (self._jobs.c.schedule != "") & self._jobs.c.state.in_(states)
        newest = select(func.max(self._jobs.c.id)).where(is_run).group_by(self._jobs.c.schedule)
        return {job.schedule: job for job in self._read_jobs(select(*self._light()).where(self._jobs.c.id.in_(newest)))}

    def due_times_with_a_job(self, schedule: str, since_ms: int) -> set[int]:
        """Return the due times of a schedule from `since_ms` on that have a job, in any state."""
        query = select(self._jobs.c.due_ms).where(self._jobs.c.schedule == schedule, self._jobs.c.due_ms >= since_ms)
        return {int(row[0]) for row in self._connection.execute(query)}

    def marks(self) -> dict[str, ScheduleMark]:
        return {row[0]: ScheduleMark(*row[1:]) for row in self._connection.execute(select(self._marks))}

    def _light(self) -> list[Column[Any]]:
        return [column for column in self._jobs.columns if column.name not in {"lines_", "result"}]

    def _read_jobs(self, query: Any) -> list[Job]:
        return [_job(row) for row in self._connection.execute(query).mappings()]


class JobChange(JobQueries):
    """One transaction that changes jobs. `people` is the same transaction, for the audit log."""

    def __init__(self, people: Change) -> None:
        super().__init__(people.connection)
        self.people = people

    def add(self, job: Job) -> None:
        """Add a job, and delete the oldest ended ones of its kind beyond `KEPT`."""
        self._connection.execute(insert(self._jobs).values(_values(job)))
        query = (
            select(self._jobs.c.id)
            .where(self._jobs.c.kind == job.kind, self._jobs.c.state.not_in(OPEN))
            .order_by(self._jobs.c.id.desc())
        )
        old = [row[0] for row in self._connection.execute(query.offset(KEPT).limit(KEPT))]
        if old:
            self._connection.execute(delete(self._jobs).where(self._jobs.c.id.in_(old)))

    def put(self, job: Job) -> None:
        self._connection.execute(update(self._jobs).filter_by(id=job.id).values(_values(job)))

    def mark(self, name: str, mark: ScheduleMark) -> None:
        values = {"seen_ms": mark.seen_ms, "is_paused": mark.is_paused}
        changed = self._connection.execute(update(self._marks).filter_by(name=name).values(values))
        if changed.rowcount == 0 and name not in self.marks():
            self._connection.execute(insert(self._marks).values(name=name, **values))


def _values(job: Job) -> JsonObject:
    return dict(zip(_tables()["jobs"].c.keys(), msgspec.structs.astuple(job), strict=True))


def _job(row: Mapping[Any, Any]) -> Job:
    return Job(**{name.rstrip("_"): value for name, value in row.items()})
